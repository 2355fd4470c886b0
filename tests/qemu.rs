//! The whole firmware on the chip's instruction set: telegrams through the emulated UART, messages at a real broker.

mod support;

use std::env;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use metertrekker::app::transport::SEGMENT;
use metertrekker::settings::KEYS;
use rustix::process::Signal;
use support::firmware::{self, text};
use support::peers::{did_not_run, find, free_port};
use support::published::{
    INFLUX, POWER, STATUS, mosquitto, of_the_meter, on, published_here, wait_for,
};
use support::qemu::{Board, fixture, ledger, qemu, telegrams};
use tempfile::TempDir;

/// Reads the UART like a file: nothing is dropped, however fast it comes.
const RECORDING: &str = "recording=true";

/// Publishes `bytes` on both machines and compares.
fn is_published_as_here(bytes: &[u8], telegrams: usize) {
    let Some(expected) = published_here(bytes) else {
        return;
    };
    assert!(expected.len() > 10 * telegrams, "{}", expected.len());
    let Some(broker) = mosquitto() else { return };
    let mut subscriber = broker.subscribe("#");
    let Some(mut board) = Board::with_broker(&broker, &[RECORDING]) else {
        return;
    };
    board.send(bytes);
    let messages = subscriber.wait_until("as many messages as on this machine", |messages| {
        of_the_meter(messages).len() >= expected.len()
    });
    for (there, here) in of_the_meter(&messages).iter().zip(&expected) {
        assert_eq!(there, here);
    }
    let stats = board.next_stats();
    assert!(stats.get("published") as usize >= telegrams, "{stats:?}");
    for lost in ["superseded", "too_large", "unacknowledged", "in_flight"] {
        assert_eq!(stats.get(lost), 0, "{stats:?}");
    }
    assert_eq!(of_the_meter(&subscriber.messages()).len(), expected.len());
}

#[test]
fn every_meter_is_published_as_on_this_machine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    is_published_as_here(&telegrams(&folder), 100);
}

#[test]
fn real_telegrams_are_published_as_on_this_machine() {
    let Some(folder) = env::var_os("P1_CORPUS") else {
        did_not_run("P1_CORPUS is not set: it names the folder with the corpus of real telegrams");
        return;
    };
    is_published_as_here(&telegrams(Path::new(&folder)), 60);
}

#[test]
fn telegrams_among_noise_and_parts_of_telegrams_are_published_as_on_this_machine() {
    let whole = fixture("meters/esmr50.p1");
    let noise: Vec<u8> = (0..3_000_u32).map(|n| (n * 181 % 251) as u8).collect();
    let mut bytes = Vec::new();
    for between in [
        &noise,
        &whole[..400],
        &whole[700..],
        &fixture("broken/esmr50_crc.p1"),
        &fixture("broken/esmr50_long_line.p1"),
        &fixture("broken/esmr50_cut.p1"),
        b"!",
    ] {
        bytes.extend_from_slice(&whole);
        bytes.extend_from_slice(between);
    }
    bytes.extend_from_slice(&whole);
    is_published_as_here(&bytes, 6);
}

#[test]
fn a_broker_that_comes_back_is_served_again() {
    let Some(mut broker) = mosquitto() else {
        return;
    };
    let Some(mut board) = Board::with_broker(&broker, &[]) else {
        return;
    };
    let mut subscriber = broker.subscribe("#");
    board.wait_for_event("connected", 1);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    broker.stop();
    // How the end of the connection arrives, as a close or as a reset, is up to QEMU's network.
    board.wait_for_event("disconnected connect refused ", 1);
    broker.start_again();
    let mut subscriber = broker.subscribe("#");
    board.wait_for_event("connected", 2);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    assert!(on(&subscriber, STATUS).contains(&"online".into()));
    let stats = board.next_stats();
    assert_eq!(stats.get("connections"), 2);
    assert_eq!(stats.get("published"), 2);
}

#[test]
fn a_link_that_comes_back_is_used_again() {
    let Some(broker) = mosquitto() else { return };
    let Some(mut board) = Board::with_broker(&broker, &[]) else {
        return;
    };
    let mut subscriber = broker.subscribe("#");
    board.wait_for_event("connected", 1);
    board.wait_for_event("network up 10.0.2.15", 1);
    board.tell_monitor("set_link net0 off");
    board.wait_for_event("network down", 1);
    board.tell_monitor("set_link net0 on");
    board.wait_for_event("network up 10.0.2.15", 2);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    board.wait_for_stats("it published", |stats| stats.get("published") == 1);
}

/// Runs the test once more, alone in namespaces of its own, where `resolv.conf` names a server on the loopback; `true` there.
fn in_namespaces(test: &str) -> bool {
    const INSIDE: &str = "METERTREKKER_IN_NAMESPACES";
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(unshare) = find("unshare", "apt-get install util-linux") else {
        return false;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let servers = folder.path().join("resolv.conf");
    fs::write(&servers, "nameserver 127.0.0.1\n").expect("it is written");
    let script = r#"ip link set lo up && mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;
    let output = Command::new(unshare)
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&servers)
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{output:?}");
    false
}

/// Answers questions for IPv4 addresses (RFC 1035 §4.1): one name is known.
fn serve_names(known: &'static [u8], address: [u8; 4]) {
    let socket = UdpSocket::bind("127.0.0.1:53").expect("the name server's port");
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let question = &question[..length];
            let found = question[12..].starts_with(known);
            let mut answer = question.to_vec();
            // A response, recursion available; NXDOMAIN for other names.
            answer[2..4].copy_from_slice(&[0x81, if found { 0x80 } else { 0x83 }]);
            if found {
                answer[7] = 1;
                answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, client).expect("an answer is sent");
        }
    });
}

#[test]
fn a_broker_is_found_by_its_name() {
    if !in_namespaces("a_broker_is_found_by_its_name") {
        return;
    }
    serve_names(b"\x06broker\x04test\0", [10, 0, 2, 2]);
    let broker = mosquitto().expect("mosquitto");
    let named = ["mqtt_server=broker.test"];
    let mut board = Board::with_broker(&broker, &named).expect("QEMU");
    let mut subscriber = broker.subscribe("#");
    board.wait_for_event("connected", 1);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    let unknown = ["mqtt_server=nobody.test"];
    let mut board = Board::with_broker(&broker, &unknown).expect("QEMU");
    board.wait_for_event("disconnected name not_found ", 2);
}

/// Plays one telegram to a board with this state file and ends it when all is kept; returns the
/// measurements of its InfluxDB lines.
fn measurements_with(state: &Path) -> Option<Vec<String>> {
    let broker = mosquitto()?;
    let mut subscriber = broker.subscribe("#");
    let state = format!("state={}", state.display());
    let mut board = Board::with_broker(&broker, &[&state])?;
    board.wait_for_event("connected", 1);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, "pwutseltronics/energy/gas/reading", 1);
    board.wait_for_stats("it published", |stats| stats.get("published") == 1);
    // What the broker has acknowledged is kept at once: long before the next line of counters.
    let stats = board.next_stats();
    assert_eq!(stats.get("storage_errors"), 0);
    for deepest in ["stack_start", "stack"] {
        assert!(
            stats.get(deepest) <= ledger("stack"),
            "{deepest}: {stats:?}"
        );
    }
    let lines = on(&subscriber, INFLUX);
    let measurement = |line: &String| line.split(',').next().unwrap_or_default().to_owned();
    Some(lines.iter().map(measurement).collect())
}

#[test]
fn what_was_published_is_remembered_across_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let Some(first) = measurements_with(&state) else {
        return;
    };
    assert_eq!(first, ["electricity", "gas"]);
    assert_eq!(fs::metadata(&state).expect("the state").len(), 4 * 4096);
    assert_eq!(measurements_with(&state).expect("QEMU"), ["electricity"]);
    fs::remove_file(&state).expect("it is removed");
    assert_eq!(measurements_with(&state).expect("QEMU"), first);
}

/// What the board says when no telegram comes: the speed that was tried, and the next.
fn wait_for_silence(board: &mut Board) -> String {
    board.console().wait_for("a silence", |lines| {
        let line = lines.iter().rfind(|line| line.starts_with("silent "))?;
        let (_, speeds) = line.split_once(" 0 ")?;
        Some(speeds.to_owned())
    })
}

#[test]
fn line_settings_that_were_found_are_tried_first_after_a_restart() {
    let Some(broker) = mosquitto() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let state = format!("state={}", folder.path().join("state").display());
    let words = [state.as_str(), "timeout=10"];
    let Some(mut board) = Board::with_broker(&broker, &words) else {
        return;
    };
    assert_eq!(wait_for_silence(&mut board), "115200 9600");
    board.send(&fixture("meters/dsmr22.p1"));
    board.wait_for_stats("it published", |stats| stats.get("published") == 1);
    assert_eq!(board.next_stats().get("storage_errors"), 0);
    drop(board);
    let mut board = Board::with_broker(&broker, &words).expect("QEMU");
    assert_eq!(wait_for_silence(&mut board), "9600 115200");
}

#[test]
fn ten_minutes_of_telegrams_at_full_speed_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegrams");
    firmware::simulate(&file, &["--meter", "esmr50", "--count", "600"]);
    let bytes = fs::read(&file).expect("telegrams");
    let Some(broker) = mosquitto() else { return };
    let Some(mut board) = Board::with_broker(&broker, &[RECORDING]) else {
        return;
    };
    board.wait_for_event("connected", 1);
    let mut stack = Vec::new();
    for (part, bytes) in bytes.chunks(bytes.len().div_ceil(4)).enumerate() {
        board.send(bytes);
        let telegrams = 150 * (part as u32 + 1);
        // The last of a part may be cut in two.
        let stats = board.wait_for_stats("a part is published", |stats| {
            stats.get("published") + 1 >= telegrams
        });
        stack.push(stats.get("stack"));
    }
    let stats = board.wait_for_stats("all are published", |stats| stats.get("published") == 600);
    stack.push(stats.get("stack"));
    for never in [
        "refused",
        "fell",
        "noise",
        "overrun",
        "superseded",
        "too_large",
        "unacknowledged",
        "in_flight",
        "rejected",
        "failed_connections",
        "frames_damaged",
        "frames_unsent",
    ] {
        assert_eq!(stats.get(never), 0, "{never}: {stats:?}");
    }
    assert_eq!(stats.get("connections"), 1);
    // An interrupt may come at the deepest place, or not.
    let (first, last) = (stack[0], stack[stack.len() - 1]);
    assert!(last < 4_224 && last - first < 512, "{stack:?}");
    assert!(stats.get("stack_start") <= ledger("stack"), "{stats:?}");
}

/// The data of each segment that the board has sent, from the packets of a capture (libpcap's file format, little-endian as QEMU
/// writes it here).
fn segments(packets: &[u8], port: u16) -> Vec<&[u8]> {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("a word"));
    let mut segments = Vec::new();
    let mut rest = packets;
    while let Some((head, after)) = rest.split_at_checked(16) {
        let length = word(&head[8..]) as usize;
        // The last one may be half written.
        let Some((frame, after)) = after.split_at_checked(length) else {
            break;
        };
        rest = after;
        // Ethernet's type is IPv4, its protocol TCP.
        if frame[12..14] != [8, 0] || frame[23] != 6 {
            continue;
        }
        let ip = &frame[14..];
        let tcp = &ip[4 * usize::from(ip[0] & 15)..];
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let headers = ip.len() - tcp.len() + 4 * usize::from(tcp[12] >> 4);
        if u16::from_be_bytes([tcp[2], tcp[3]]) == port && total > headers {
            segments.push(&tcp[headers + tcp.len() - ip.len()..total + tcp.len() - ip.len()]);
        }
    }
    segments
}

#[test]
fn a_telegrams_messages_share_their_segments() {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("capture");
    let Some(broker) = mosquitto() else { return };
    let dump = format!("filter-dump,id=dump,netdev=net0,file={}", text(&capture));
    let capturing = ["-object", &dump];
    let Some(mut board) = Board::with_broker_and(&broker, &[], &capturing) else {
        return;
    };
    // Not one with a message of a kilobyte: it has to wait until the InfluxDB lines are acknowledged.
    let meters = ["dsmr22", "esmr50", "be", "se", "lt", "dsmr22"];
    // The file has a header.
    let mut before = 24;
    for (number, meter) in meters.into_iter().enumerate() {
        board.send(&fixture(&format!("meters/{meter}.p1")));
        board.wait_for_stats("it is published", |stats| {
            stats.get("published") as usize > number
        });
        let captured = fs::read(&capture).expect("a capture");
        let sizes: Vec<usize> = segments(&captured[before..], broker.port())
            .into_iter()
            // What the commands' device publishes comes when it likes.
            .filter(|data| has(data, "pwutseltronics/") || !has(data, "powermeter/"))
            .map(<[u8]>::len)
            .collect();
        before = captured.len();
        if number == 0 {
            // The session's beginning is among them.
            continue;
        }
        let bytes = sizes.iter().sum::<usize>();
        assert!(bytes > 500, "{meter}: {bytes} bytes");
        let least = bytes.div_ceil(SEGMENT);
        assert_eq!(sizes.len(), least, "{meter}: {sizes:?}");
    }
}

fn has(data: &[u8], part: &str) -> bool {
    data.windows(part.len())
        .any(|window| window == part.as_bytes())
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
    board.wait_for_event("connected", 1);
    let telegram = fixture("meters/esmr50.p1");
    let (most, end) = telegram.split_at(telegram.len() - 3);
    board.send(most);
    thread::sleep(Duration::from_millis(300));
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
    let mut run = firmware::start(&["run", "--board", "qemu", "--state", text(&state)]);
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
