//! The chip's instruction set, emulated: images that try the core, and the board's image on telegrams through the UART.

mod support;

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use metertrekker::p1::cipher::{Keys, Secret};
use metertrekker::reading::{Reading, Skip};
use metertrekker::receiver::{CrcPolicy, Proof, Receiver, Refusal};
use support::child::Running;
use support::peers::did_not_run;
use support::qemu::{Board, fixture, qemu, telegrams};

/// What an image of `crates/lx106-tests` printed, and the status with which it ended.
struct Output {
    lines: Vec<String>,
    status: Option<i32>,
}

/// Runs an image of `crates/lx106-tests` to its end.
fn run(image: &str) -> Option<Output> {
    run_with_word(image, "")
}

/// As [`run`], with a word on the image's command line.
fn run_with_word(image: &str, word: &str) -> Option<Output> {
    let mut command = qemu(&format!("self-tests/{image}.elf"))?;
    // By instructions, not by the PC's clock: the images set alarms a few instructions ahead.
    command.args(["-nic", "none", "-serial", "none", "-icount", "shift=5"]);
    command.args(["-append", word]);
    let mut running = Running::start(image, &mut command);
    let status = running.wait_for_end();
    Some(Output {
        lines: running.lines(),
        status: status.code(),
    })
}

/// An image that judges itself: it must say `ok` so many times, nothing else, and end well.
fn all_ok(image: &str, checks: usize) {
    let Some(output) = run(image) else { return };
    let lines = output.lines;
    assert!(
        lines.iter().all(|line| line.starts_with("ok ")),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), checks, "{lines:#?}");
    assert_eq!(output.status, Some(0));
}

#[test]
fn ccompare_interrupts_come_and_change_no_register() {
    all_ok("timer", 5);
}

#[test]
fn a_handler_may_spoil_its_context_and_the_shift_register() {
    all_ok("spoil", 2);
}

#[test]
fn critical_sections_nest() {
    all_ok("nested", 5);
}

#[test]
fn an_exception_handler_gets_cause_and_registers() {
    all_ok("handled", 3);
}

#[test]
fn esp8266_hal_links_and_drives_its_registers() {
    all_ok("hal", 2);
}

#[test]
fn outputs_of_a_board_start_off_and_drive_their_pins() {
    // Six checks of each of eight pins, with either level on, and one without a pin.
    all_ok("pins", 8 * 2 * 6 + 1);
}

#[test]
fn narrow_accesses_change_their_register_or_their_part_of_a_word_alone() {
    all_ok("narrow", 19);
}

#[test]
fn copying_filling_and_comparing_do_as_loops_over_bytes() {
    all_ok("memory", 22);
}

/// Runs the image `refused` with a word and checks its report: what is neither a narrow load from flash nor a narrow
/// store into IRAM is a fault, with all registers.
fn refused(word: &str) {
    let Some(output) = run_with_word("refused", word) else {
        return;
    };
    let lines = &output.lines;
    assert_eq!(output.status, Some(3), "{word}: {lines:#?}");
    let named = |at: usize, name: &str| lines[at].strip_prefix(name).expect("its value").to_owned();
    let (place, address) = (named(0, "place "), named(1, "address "));
    let stack = named(2, "stack ");
    let start = format!("Fault: load or store error (cause 3) at pc {place}, ps ");
    let end = format!(", sar 0000000d, address {address}");
    assert!(lines[3].starts_with(&start), "{word}: {lines:#?}");
    assert!(lines[3].ends_with(&end), "{word}: {lines:#?}");
    let mut registers = lines[4..].iter().flat_map(|line| line.split_whitespace());
    for number in 0..16u32 {
        assert_eq!(registers.next(), Some(&*format!("a{number}")), "{word}");
        let value = registers.next().expect("a value");
        match number {
            1 => assert_eq!(value, stack, "{word}"),
            4 => assert_eq!(
                u32::from_str_radix(value, 16).expect("an address") & !(1 << 31),
                u32::from_str_radix(&address, 16).expect("an address"),
                "{word}"
            ),
            _ => assert_eq!(value, format!("5a00{number:x}0a5"), "{word}"),
        }
    }
    assert_eq!(registers.next(), None, "{word}");
}

#[test]
fn what_is_no_narrow_access_to_flash_or_iram_is_reported_with_all_registers() {
    for word in [
        "byte-in-ram",
        "odd-halfword",
        "word",
        "short-word",
        "store-byte",
        "store-halfword",
        "store-word",
        "store-byte-in-rom",
        "store-byte-behind-iram",
        "store-odd-halfword",
        "store-word-in-iram",
    ] {
        refused(word);
    }
}

/// The place that an image named before it went wrong: `function 40210123`.
fn named_place(lines: &[String]) -> u32 {
    let digits = lines[0].strip_prefix("function ").expect("a place");
    u32::from_str_radix(digits, 16).expect("an address")
}

/// Checks the report of an illegal instruction with known registers.
fn illegal_at_known_place(output: &Output) {
    let lines = &output.lines;
    assert_eq!(output.status, Some(3), "{lines:#?}");
    assert_eq!(lines.len(), 6, "{lines:#?}");
    // Two loads of three bytes stand before it.
    let expected = format!(
        "Fault: illegal instruction (cause 0) at pc {:08x}, ps ",
        named_place(lines) + 6
    );
    assert!(lines[1].starts_with(&expected), "{lines:#?}");
    assert!(lines[2].starts_with("a0  "), "{lines:#?}");
    assert!(lines[3].starts_with("a4  44444444  a5  "), "{lines:#?}");
    assert!(lines[5].ends_with("  a15 fffffabc"), "{lines:#?}");
}

#[test]
fn an_illegal_instruction_is_reported_with_place_and_registers() {
    let Some(output) = run("illegal") else { return };
    illegal_at_known_place(&output);
}

#[test]
fn a_fault_in_an_interrupt_handler_is_reported_like_any_other() {
    let Some(output) = run("within") else { return };
    illegal_at_known_place(&output);
}

#[test]
fn a_fault_without_a_stack_is_reported() {
    let Some(output) = run("double") else { return };
    let lines = output.lines;
    assert_eq!(output.status, Some(3), "{lines:#?}");
    let start =
        "Fault while an exception was being taken: load or store to nowhere (cause 15) at pc 4010";
    assert!(lines[0].starts_with(start), "{lines:#?}");
    // Just below the address 16 that was its stack pointer.
    assert!(lines[1].contains("  a1  ffffff50  "), "{lines:#?}");
}

/// What the same code says on this machine.
fn verdicts_here(bytes: &[u8]) -> Vec<String> {
    verdicts_with(None, bytes)
}

fn verdicts_with(keys: Option<Keys>, bytes: &[u8]) -> Vec<String> {
    fn line(verdict: Result<Proof, Refusal>, reading: &Reading) -> String {
        match verdict {
            Ok(Proof::Crc) => format!("accepted {} crc", reading.len()),
            Ok(Proof::Tag) => format!("accepted {} tag", reading.len()),
            Ok(Proof::None) => format!("accepted {} none", reading.len()),
            Err(refusal) => format!("refused {} {}", refusal.name(), refusal.bytes()),
        }
    }
    let mut staged = Reading::new();
    let mut receiver = Receiver::new(CrcPolicy::Auto, &mut staged);
    receiver.set_keys(keys);
    let mut skipped = |_: &[u8], _: Skip| {};
    let mut verdicts = Vec::new();
    let mut input = bytes;
    while let Some(verdict) = receiver.next(&mut input, &mut skipped) {
        verdicts.push(line(verdict, receiver.reading()));
    }
    while let Some(verdict) = receiver.silence(&mut skipped) {
        verdicts.push(line(verdict, receiver.reading()));
    }
    verdicts
}

#[test]
fn telegrams_at_full_speed_are_judged_as_on_this_machine() {
    let Some(mut board) = Board::without_broker(&[]) else {
        return;
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut bytes = telegrams(&fixtures.join("meters"));
    bytes.extend(telegrams(&fixtures.join("broken")));
    bytes.extend(fixture("meters/esmr50.p1"));
    let expected = verdicts_here(&bytes);
    assert!(expected.len() > 100, "{} verdicts", expected.len());
    board.send(&bytes);
    assert_eq!(board.verdicts(expected.len()), expected);
}

#[test]
fn encrypted_frames_are_opened_as_on_this_machine() {
    const KEY: &str = "73696d756c61746564206d6574657221";
    let key = format!("decryption_key={KEY}");
    let Some(mut board) = Board::without_broker(&[&key]) else {
        return;
    };
    let names = ["at", "lu", "lu_for_another", "lu_line", "lu_stale"];
    let bytes: Vec<u8> = names
        .iter()
        .flat_map(|name| fixture(&format!("encrypted/{name}.bin")))
        .collect();
    let expected = verdicts_with(Keys::of(Secret::parse(KEY), None), &bytes);
    let accepted = |proof: &str| expected.iter().filter(|line| line.ends_with(proof)).count();
    assert_eq!(
        (accepted(" crc"), accepted(" tag")),
        (9, 1),
        "{expected:#?}"
    );
    assert_eq!(expected.len(), 12, "{expected:#?}");
    board.send(&bytes);
    assert_eq!(board.verdicts(expected.len()), expected);
}

#[test]
fn the_corpus_is_judged_as_on_this_machine() {
    let Some(folder) = env::var_os("P1_CORPUS") else {
        did_not_run("P1_CORPUS is not set: it names the folder with the corpus of real telegrams");
        return;
    };
    let Some(mut board) = Board::without_broker(&[]) else {
        return;
    };
    let bytes = telegrams(Path::new(&folder));
    let expected = verdicts_here(&bytes);
    assert!(expected.len() > 50, "{} verdicts", expected.len());
    board.send(&bytes);
    assert_eq!(board.verdicts(expected.len()), expected);
}

#[test]
fn a_telegram_cut_off_is_given_up_after_a_second_of_silence() {
    let Some(mut board) = Board::without_broker(&[]) else {
        return;
    };
    let whole = fixture("meters/esmr50.p1");
    let start = Instant::now();
    board.send(&whole[..whole.len() / 2]);
    let verdicts = board.verdicts(1);
    let took = start.elapsed();
    assert_eq!(verdicts, [format!("refused truncated {}", whole.len() / 2)]);
    // By the core's own clock; a busy machine makes it late, a wrong clock early.
    assert!(took > Duration::from_millis(900), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    board.send(&whole);
    assert_eq!(board.verdicts(2)[1], verdicts_here(&whole)[0]);
}

/// Processor time that QEMU has used.
fn processor_time(board: &Board) -> Duration {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", board.running().id())).expect("a process");
    // After the name in brackets; utime and stime are fields 14 and 15, in hundredths of a second (proc(5)).
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split(' ')
        .collect();
    let ticks: u64 = fields[12..14]
        .iter()
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(10 * ticks)
}

#[test]
fn the_core_sleeps_while_nothing_comes() {
    let Some(board) = Board::without_broker(&[]) else {
        return;
    };
    let before = processor_time(&board);
    thread::sleep(Duration::from_secs(2));
    let spent = processor_time(&board) - before;
    assert!(spent < Duration::from_millis(500), "{spent:?} of 2 s");
}
