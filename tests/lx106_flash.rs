//! What is loaded from flash, or loaded and stored in IRAM, in less than words: on the chip each such access is an exception of 50 to 77
//! instructions.
//!
//! QEMU gives and takes bytes everywhere. So its trace tells the registers before each such instruction, and with them the address.
//! docs/numbers.md keeps the figures; `--nocapture` shows them.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::peers::{Mosquitto, MosquittoConfig, find, free_port};
use support::qemu::{Board, qemu};
use support::watch::Watch;

/// ROM, IRAM and flash on the chip.
const WORDS_ONLY: std::ops::Range<u32> = 0x4000_0000..0x4030_0000;

/// A narrow load or store: the number of its base register and the offset.
struct Access {
    base: usize,
    offset: u32,
}

/// The narrow accesses of an image by address, and the address where the cycle counter is read.
fn disassembled(image: &Path) -> Option<(BTreeMap<u32, Access>, u32)> {
    let objdump = find("xtensa-lx106-elf-objdump", "`./test` installs it")?;
    let output = Command::new(objdump)
        .arg("-d")
        .arg(image)
        .output()
        .expect("objdump starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut accesses = BTreeMap::new();
    let mut mark = None;
    for line in text.lines() {
        if let Some(place) = line.strip_suffix(" <xtensa_lx_get_ccount>:") {
            mark = u32::from_str_radix(place, 16).ok();
        }
        // `40210595:	02a282        	l8ui	a8, a2, 2`
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        if let [
            place,
            _,
            "l8ui" | "l16ui" | "l16si" | "s8i" | "s16i",
            operands,
        ] = fields[..]
        {
            let place = u32::from_str_radix(place.trim_end_matches(':'), 16).expect("an address");
            let operands: Vec<&str> = operands.split(", ").collect();
            let access = Access {
                base: operands[1][1..].parse().expect("a register"),
                offset: offset(operands[2]),
            };
            accesses.insert(place, access);
        }
    }
    Some((accesses, mark.expect("a reading of the cycle counter")))
}

/// As objdump writes it: large ones in hex.
fn offset(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).expect("an offset in hex"),
        None => text.parse().expect("an offset"),
    }
}

/// How many accesses that the chip does not do by itself come behind each reading of the cycle counter.
fn counted(image: &str, input: Option<&Path>) -> Option<Vec<u32>> {
    let mut command = qemu(image)?;
    let path = Path::new(command.get_args().last().expect("the image"));
    let (accesses, mark) = disassembled(path)?;
    let places: Vec<String> = accesses
        .keys()
        .chain([&mark])
        .map(|place| format!("{place:#x}+1"))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("trace");
    let status = command
        .args(["-monitor", "none", "-nic", "none", "-serial", "none"])
        // One instruction at a time, or only the first of a block would be told.
        .args(["-icount", "shift=10", "-singlestep"])
        .args(["-d", "exec,cpu,nochain", "-dfilter", &places.join(",")])
        .arg("-D")
        .arg(&log)
        .stdin(match input {
            Some(input) => Stdio::from(File::open(input).expect("a telegram")),
            None => Stdio::null(),
        })
        .stdout(Stdio::null())
        .status()
        .expect("QEMU starts");
    assert_eq!(status.code(), Some(0), "{image}");
    let trace = fs::read_to_string(&log).expect("a trace");
    Some(count(&trace, &accesses, mark))
}

/// Reads `PC=40210595`, then lines of ` A00=40210103  A01=3fff8de0 …`.
fn count(trace: &str, accesses: &BTreeMap<u32, Access>, mark: u32) -> Vec<u32> {
    let mut counts = Vec::new();
    let mut access = None;
    for line in trace.lines() {
        if let Some(place) = line.strip_prefix("PC=") {
            let place = u32::from_str_radix(place, 16).expect("an address");
            access = accesses.get(&place);
            if place == mark {
                counts.push(0);
            }
        } else if let (true, Some(Access { base, offset })) = (line.starts_with(" A"), access)
            && let Some(at) = line.find(&format!(" A{base:02}="))
            && let Some(count) = counts.last_mut()
        {
            let value = u32::from_str_radix(&line[at + 5..at + 13], 16).expect("a register");
            *count += u32::from(WORDS_ONLY.contains(&value.wrapping_add(*offset)));
        }
    }
    counts
}

#[test]
fn copying_filling_and_comparing_take_words() {
    let Some(counts) = counted("self-tests/words.elf", None) else {
        return;
    };
    // From flash, into IRAM, and what comes behind.
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert_eq!(counts[..2], [0, 0]);
}

/// Counts for a telegram what `crates/lx106-bench` measures, which is each thing twice: nothing, then the work.
fn within(telegram: &str, bounds: [(&str, u32); 6]) {
    let telegram = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/meters")
        .join(telegram);
    let Some(counts) = counted("bench.elf", Some(&telegram)) else {
        return;
    };
    // The known loop comes first, twice.
    let found: Vec<u32> = counts.iter().skip(4).copied().collect();
    let found: Vec<u32> = found.chunks(4).map(|four| four[2]).collect();
    println!("{}: {found:?}", telegram.display());
    assert_eq!(found.len(), bounds.len(), "{counts:?}");
    for ((what, bound), found) in bounds.iter().zip(&found) {
        assert!(found <= bound, "{what}: {found} above {bound}");
    }
}

#[test]
fn a_telegram_is_received_with_few_exceptions() {
    within(
        "esmr50.p1",
        [
            ("frame", 3),
            ("first", 52),
            ("receive", 52),
            ("publish", 170),
            ("verdict", 0),
            ("line", 72),
        ],
    );
}

/// What a chip's boards have in IRAM, but for the access point's, which the emulated board has not.
const COLD: [&str; 4] = [
    "3run15COMMAND_BUFFERS",
    "3run12TIME_BUFFERS",
    "3run5ROOMS",
    "3run6REMOTE",
];

/// How long it is watched what one thing takes.
const WATCHED: Duration = Duration::from_secs(4);

/// Names by address: of functions, and of variables with their lengths.
type Symbols = (BTreeMap<u32, String>, Vec<(String, u32, u32)>);

fn symbols(image: &Path) -> Option<Symbols> {
    let nm = find("xtensa-lx106-elf-nm", "`./test` installs it")?;
    let output = Command::new(nm).arg("-S").arg(image).output();
    let text = String::from_utf8(output.expect("nm starts").stdout).expect("text");
    let (mut functions, mut variables) = (BTreeMap::new(), Vec::new());
    let number = |digits| u32::from_str_radix(digits, 16).expect("hex");
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [place, _, "t" | "T" | "w" | "W", name] | [place, "t" | "T", name] => {
                functions.insert(number(place), name.to_owned());
            }
            [place, length, "b" | "B" | "d" | "D", name] => {
                variables.push((name.to_owned(), number(place), number(length)));
            }
            _ => {}
        }
    }
    Some((functions, variables))
}

/// Whole words, and copies, which take words in IRAM, are left out.
fn narrow(
    places: &[u32],
    accesses: &BTreeMap<u32, Access>,
    functions: &BTreeMap<u32, String>,
) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for place in places.iter().filter(|place| accesses.contains_key(place)) {
        let (_, name) = functions.range(..=place).next_back().expect("a function");
        if !["memcpy", "memmove", "memset"].contains(&&**name) {
            *counts.entry(name.clone()).or_default() += 1;
        }
    }
    counts
}

/// What waits for commands over MQTT all the time.
const WAITING: &str = "answer_mqtt_task";

#[test]
fn what_lies_in_iram_on_a_chip_is_seldom_accessed_narrowly() {
    let Some(broker) = Mosquitto::start(MosquittoConfig::default()) else {
        return;
    };
    let gdb = free_port();
    let words = ["stats=0", "time_server=-"];
    let debugger = ["-gdb", &format!("tcp:127.0.0.1:{gdb}")];
    let Some(mut board) = Board::with_broker_and(&broker, &words, &debugger) else {
        return;
    };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("firmware/qemu.elf");
    let (Some((accesses, _)), Some((functions, variables))) = (disassembled(&path), symbols(&path))
    else {
        return;
    };
    let ranges = COLD.map(|cold| {
        let found = variables.iter().find(|(name, ..)| name.ends_with(cold));
        let (_, place, length) = found.expect("a variable");
        *place..*place + *length
    });
    board.console().wait_for_line("connected");
    let mut watch = Watch::start(gdb, &ranges);
    let mut watched = || narrow(&watch.accesses(WATCHED), &accesses, &functions);
    let idle = watched();
    println!("idle: {idle:#?}");
    let idle: u32 = idle.values().sum();

    let telegram = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters/esmr50.p1");
    board.send(&fs::read(telegram).expect("a telegram"));
    let telegram = watched();
    println!("with a telegram: {telegram:#?}");
    // The publisher looks for commands; a status may come meanwhile. Nobody else has to do with these.
    let who = ["publish_task", WAITING, "remote", "answer"];
    for name in telegram.keys() {
        assert!(who.iter().any(|who| name.contains(who)), "{name}");
    }
    let others = telegram.iter().filter(|(name, _)| !name.contains(WAITING));
    let count: u32 = others.map(|(_, count)| count).sum();
    assert!(count <= 20, "{count} with a telegram");

    broker.publish("powermeter/cmd", "{\"cmd\":\"info\"}", 0, false);
    let command = watched();
    println!("with a command: {command:#?}");
    let command: u32 = command.values().sum();
    // It came, and had its answer.
    assert!(
        idle + 10 < command && command <= idle + 120,
        "{command} with a command, {idle} without"
    );
    drop(watch);
    board.console().wait_for_line("accepted 35 crc");
}
