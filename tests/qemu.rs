//! The whole firmware on the chip's instruction set: telegrams through the emulated UART, messages at a real broker.

mod support;

use std::fs;
use std::process::Command;

use metertrekker::settings::KEYS;
use rustix::process::Signal;
use support::firmware::{self, text};
use support::peers::free_port;
use support::published::{INFLUX, POWER, STATUS, mosquitto, of_the_meter, published_here};
use support::qemu::{Board, fixture, qemu};
use support::scenarios::scenarios;

scenarios! { Board:
    every_meter_is_published_as_on_this_machine,
    real_telegrams_are_published_as_on_this_machine,
    telegrams_among_noise_and_parts_of_telegrams_are_published_as_on_this_machine,
    a_broker_that_comes_back_is_served_again,
    a_network_that_vanishes_and_comes_back_is_used_again,
    a_broker_is_found_by_its_name,
    what_was_published_is_remembered_across_a_restart,
    line_settings_that_were_found_are_tried_first_after_a_restart,
    a_meter_that_speaks_for_minutes_leaves_nothing_behind,
    a_telegrams_messages_share_their_segments,
}

/// Instructions from the telegram's last digit until the network card has its first segment. `cargo xtask bench --board qemu` tells
/// the figure for other telegrams.
#[test]
fn a_telegrams_first_segment_is_soon_with_the_network_card() {
    let Some(broker) = mosquitto() else { return };
    // By instructions, each of 1024 ns; while the core sleeps its time is the PC's.
    let counting = ["-icount", "shift=10"];
    let Some(mut board) = Board::with_broker_and(&broker, &[], &counting) else {
        return;
    };
    board.wait_for_event("connected ", 1);
    let telegram = fixture("meters/esmr50.p1");
    let (most, end) = telegram.split_at(telegram.len() - 3);
    board.send(most);
    // Counting takes instructions too: not while the last ones come.
    board.next_stats();
    board.send(end);
    let stats = board.wait_for_stats("it is published", |stats| stats.get("published") == 1);
    let instructions = stats.get("cycles_to_card") / 41;
    assert!((10_000..115_000).contains(&instructions), "{instructions}");
}

/// What the image says to a word that it cannot use, and the emulator's status.
fn refusal(word: &str) -> Option<(String, Option<i32>)> {
    let mut board = Board::begin(&["-nic", "none"], &["interval=0", "network=false", word])?;
    let status = board.console().wait_for_end();
    Some((board.running().lines().join("\n"), status.code()))
}

#[test]
fn a_word_that_cannot_be_used_is_answered_with_what_could() {
    for (word, answer) in [
        (
            "interval=9",
            "interval=9: give seconds, 10 to 3600, or 0 for every telegram",
        ),
        (
            "recording",
            "recording: a setting is given as KEY=VALUE, such as interval=0",
        ),
        ("recording=yes", "recording=yes: give true or false"),
        ("name=", "name=: give the device's name, 1 to 31 characters"),
        ("stats=3601", "stats=3601: give seconds, 0 to 3600"),
        ("end=now", "end=now: give stdin or never"),
        (
            "broker=0",
            "broker=0: give a TCP port of this machine, 1 to 65535",
        ),
        ("network=no", "network=no: give true or false"),
        (
            "log=/dev/null",
            "log=/dev/null: the file has 0 bytes where 40960 are expected; move it away to start anew",
        ),
        (
            "console=/nowhere/tty",
            "console=/nowhere/tty: it cannot be opened (errno 2); name what is there",
        ),
        (
            "state=/nowhere/state",
            "state=/nowhere/state: the file cannot be opened or made (errno 2); name another one",
        ),
        (
            "state=/dev/null",
            "state=/dev/null: the file has 0 bytes where 16384 are expected; move it away to start anew",
        ),
    ] {
        let Some(refused) = refusal(word) else { return };
        assert_eq!(refused, (answer.to_owned(), Some(4)));
    }
    let (answer, status) = refusal("intervall=9").expect("QEMU");
    let keys = KEYS.map(|key| key.name).join(", ");
    let run = "state, log, console, broker, network, name, recording, stats, end";
    let all = format!("{keys}, {run}");
    let expected = format!("intervall=9: there is no such setting; there are {all}");
    assert_eq!(answer, expected);
    assert_eq!(status, Some(4));
}

/// Runs the program with the emulated board.
fn run_board(more: &[&str]) -> Option<firmware::Ended> {
    qemu("qemu.elf")?;
    Some(firmware::run(&[&["run", "--board", "qemu"], more].concat()))
}

#[test]
fn the_command_runs_the_board_on_a_recording_and_publishes_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegrams");
    let bytes = [fixture("meters/esmr50.p1"), fixture("meters/be.p1")].concat();
    fs::write(&file, &bytes).expect("telegrams are written");
    let Some(expected) = published_here(&bytes) else {
        return;
    };
    let Some(broker) = mosquitto() else { return };
    let mut subscriber = broker.subscribe("#");
    // A name is resolved here, and the board gets what leads to this machine.
    let address = format!("localhost:{}", broker.port());
    // A comma means something on the emulator's command line.
    let name = "gas, or so";
    let setting = format!("gas_measurement={name}");
    let once = ["--once", "--p1", text(&file), "--broker", &address];
    let Some(ended) = run_board(&[&once[..], &["--set", &setting]].concat()) else {
        return;
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.ends_with("2 telegrams, 2 published\n"),
        "{ended:?}"
    );
    let messages = subscriber.wait_until("the good-bye", |messages| {
        let mut last = messages.iter().rev();
        last.any(|message| message.topic == STATUS && message.text() == "offline")
    });
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(topic, text)| match text.strip_prefix("gas,") {
            Some(rest) if topic == INFLUX => (topic, format!("gas\\,\\ or\\ so,{rest}")),
            _ => (topic, text),
        })
        .collect();
    assert_eq!(of_the_meter(&messages), expected);
}

#[test]
fn the_command_shows_what_the_board_publishes_and_ends_it_well() {
    if qemu("qemu.elf").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    // A telegram that comes before the broker is there does not replace the first.
    let mut run = firmware::start(&[
        "run",
        "--board",
        "qemu",
        "--state",
        text(&state),
        "--set",
        "interval=10",
    ]);
    for shown in [
        "board    ready",
        "connected to the broker",
        "board    accepted 35 crc",
        "pwutseltronics/influx/metertrekker electricity,",
        POWER,
    ] {
        run.wait_for_line(shown);
    }
    run.signal(Signal::INT);
    assert_eq!(run.wait_for_end().code(), Some(0), "{:?}", run.lines());
    let lines = run.lines();
    let last = lines.last().expect("lines");
    assert!(
        last.contains(" telegrams, ") && !last.contains("dropped"),
        "{last}"
    );
    assert!(
        lines.contains(&format!("{STATUS} offline")),
        "no good-bye: {lines:#?}"
    );
}

#[test]
fn a_recording_for_the_board_fails_in_a_sentence_when_it_cannot_be_published() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegrams");
    fs::write(&file, fixture("meters/esmr50.p1")).expect("a telegram is written");
    let away = format!("127.0.0.1:{}", free_port());
    let once = ["--once", "--p1", text(&file), "--broker", &away];
    let Some(ended) = run_board(&once) else {
        return;
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.contains("gave up after 10 s") && last.contains("refused"),
        "{ended:?}"
    );
}

#[test]
fn without_an_image_the_command_says_how_to_get_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("debug/metertrekker");
    fs::create_dir_all(program.parent().expect("a folder")).expect("it is made");
    fs::copy(env!("CARGO_BIN_EXE_metertrekker"), &program).expect("a copy");
    let output = Command::new(&program)
        .args(["run", "--board", "qemu"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cargo xtask firmware qemu"), "{said}");
}
