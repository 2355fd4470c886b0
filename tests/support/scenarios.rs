//! What every board in the emulator has to do: each function is a test of each of them.

use std::env;
use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metertrekker::app::transport::SEGMENT;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde_json::Value as Json;

use super::caller::{self, Caller};
use super::emulator::{Emulated, With, wait_long};
use super::firmware::{self, text};
use super::namespace::{is_inside, is_inside_with_names, serve_names};
use super::peers::{Chrony, Message, Mosquitto, Subscriber, did_not_run};
use super::published::{
    INFLUX, POWER, STATUS, mosquitto, of_the_meter, on, published_here, wait_for, wait_for_quiet,
};
use super::qemu::{files, fixture};
use super::samples::{changes, packet, sample, spoken};
use super::telegram::telegram;

/// Makes tests of a board of these scenarios.
#[allow(unused_macros, reason = "no test uses all of this")]
macro_rules! scenarios {
    ($board:ty: $($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                support::scenarios::$name::<$board>();
            }
        )*
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use scenarios;

/// What the emulator ends with when the board has to be started again.
const START_AGAIN: Option<i32> = Some(6);

/// A board that is at its broker, and all that it has published from now on.
fn at_broker<B: Emulated>(broker: &Mosquitto, with: &With<'_>) -> Option<(B, Subscriber)> {
    let mut board = B::at_broker(broker, with)?;
    board.wait_for_event("network up 10.0.2.15", 1);
    board.wait_for_event("connected ", 1);
    Some((board, broker.subscribe("#")))
}

/// Publishes these on both machines, and compares.
fn are_published_as_here<B: Emulated>(pieces: &[Vec<u8>], least: usize) {
    let Some(expected) = published_here(&pieces.concat()) else {
        return;
    };
    assert!(expected.len() > least, "{}", expected.len());
    let Some(broker) = mosquitto() else { return };
    let recording = With {
        is_recording: true,
        ..With::default()
    };
    let Some((mut board, mut subscriber)) = at_broker::<B>(&broker, &recording) else {
        return;
    };
    board.send_all(pieces, &subscriber);
    let count = |messages: &[Message]| of_the_meter(messages).len();
    let mut seen = 0;
    // As long as more and more are published.
    while seen < expected.len() {
        let messages = subscriber.wait_until("more messages", |messages| {
            count(messages) > seen || count(messages) >= expected.len()
        });
        seen = count(&messages);
    }
    for (there, here) in of_the_meter(&subscriber.messages()).iter().zip(&expected) {
        assert_eq!(there, here);
    }
    board.is_well();
    assert_eq!(of_the_meter(&subscriber.messages()).len(), expected.len());
    assert_eq!(board.count("dropped "), 0);
}

pub fn every_meter_is_published_as_on_this_machine<B: Emulated>() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let pieces = files(&folder);
    assert!(pieces.len() > 100, "{}", pieces.len());
    are_published_as_here::<B>(&pieces, 10 * pieces.len());
}

pub fn real_telegrams_are_published_as_on_this_machine<B: Emulated>() {
    let Some(folder) = env::var_os("P1_CORPUS") else {
        did_not_run("P1_CORPUS is not set: it names the folder with the corpus of real telegrams");
        return;
    };
    let mut pieces = files(Path::new(&folder));
    for piece in &mut pieces {
        // Else the next one begins within its line, or after it, as the board takes a pause for a line's end.
        if !piece.ends_with(b"\n") {
            piece.extend(b"\r\n");
        }
    }
    are_published_as_here::<B>(&pieces, 600);
}

pub fn telegrams_among_noise_and_parts_of_telegrams_are_published_as_on_this_machine<
    B: Emulated,
>() {
    let whole = fixture("meters/esmr50.p1");
    let noise: Vec<u8> = (0..3_000_u32).map(|n| (n * 181 % 251) as u8).collect();
    let mut pieces = Vec::new();
    for between in [
        &noise,
        &whole[..400],
        &whole[700..],
        &fixture("broken/esmr50_crc.p1"),
        &fixture("broken/esmr50_long_line.p1"),
        &fixture("broken/esmr50_cut.p1"),
        b"!",
    ] {
        pieces.push([&whole[..], between].concat());
    }
    pieces.push(whole);
    are_published_as_here::<B>(&pieces, 60);
}

pub fn a_broker_that_comes_back_is_served_again<B: Emulated>() {
    let Some(mut broker) = mosquitto() else {
        return;
    };
    let Some((mut board, mut subscriber)) = at_broker::<B>(&broker, &With::default()) else {
        return;
    };
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    broker.stop();
    // How the end of the connection arrives, as a close or as a reset, is up to QEMU's network.
    board.wait_for_event("disconnected connect refused ", 1);
    broker.start_again();
    let mut subscriber = broker.subscribe("#");
    board.wait_for_event("connected ", 2);
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    assert!(on(&subscriber, STATUS).contains(&"online".into()));
    board.is_well();
}

pub fn a_network_that_vanishes_and_comes_back_is_used_again<B: Emulated>() {
    let Some(broker) = mosquitto() else { return };
    let Some((mut board, subscriber)) = at_broker::<B>(&broker, &With::default()) else {
        return;
    };
    board.tell_monitor("set_link net0 off");
    board.wait_for_lost_network();
    board.tell_monitor("set_link net0 on");
    assert!(wait_long(|| board.count("network up 10.0.2.15") == 2));
    // A meter speaks on and on: one telegram may come while another speed is tried.
    let is_published = wait_long(|| {
        board.send(&fixture("meters/esmr50.p1"));
        thread::sleep(Duration::from_secs(1));
        !on(&subscriber, POWER).is_empty()
    });
    assert!(is_published);
    board.is_well();
}

pub fn a_broker_is_found_by_its_name<B: Emulated>() {
    if !is_inside_with_names("a_broker_is_found_by_its_name") {
        return;
    }
    serve_names(b"\x06broker\x04test\0", [10, 0, 2, 2]);
    let broker = mosquitto().expect("mosquitto");
    let named = |name| With {
        settings: Box::leak(Box::new([("mqtt_server", name)])),
        ..With::default()
    };
    let (mut board, mut subscriber) = at_broker::<B>(&broker, &named("broker.test")).expect("QEMU");
    board.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    let mut board = B::at_broker(&broker, &named("nobody.test")).expect("QEMU");
    board.wait_for_event("disconnected name not_found ", 2);
}

pub fn what_was_published_is_remembered_across_a_restart<B: Emulated>() {
    let Some(broker) = mosquitto() else { return };
    let Some((mut board, mut subscriber)) = at_broker::<B>(&broker, &With::default()) else {
        return;
    };
    let lines = |subscriber: &Subscriber| -> Vec<String> {
        let measurement = |line: &String| line.split(',').next().unwrap_or_default().to_owned();
        on(subscriber, INFLUX).iter().map(measurement).collect()
    };
    let telegram = fixture("meters/esmr50.p1");
    board.send(&telegram);
    wait_for(&mut subscriber, INFLUX, 2);
    assert_eq!(lines(&subscriber), ["electricity", "gas"]);
    // What the broker has acknowledged is kept at once: before the board looks at a command that comes behind it.
    let commands = broker.subscribe("powermeter/#");
    is_answered::<B>(&broker, commands);
    board.is_well();
    // The power goes, and with it all but flash: the gas meter's value is not published a second time.
    board.cut_power();
    board.wait_for_event("connected ", 1);
    let mut subscriber = broker.subscribe("#");
    board.send(&telegram);
    wait_for(&mut subscriber, INFLUX, 1);
    wait_for_quiet(&subscriber, Duration::from_secs(1));
    assert_eq!(lines(&subscriber), ["electricity"]);
    board.is_well();
}

pub fn line_settings_that_were_found_are_tried_first_after_a_restart<B: Emulated>() {
    let Some(broker) = mosquitto() else { return };
    let slow = With {
        settings: &[("timeout", "10")],
        meter: Some(9600),
        ..With::default()
    };
    let Some((mut board, subscriber)) = at_broker::<B>(&broker, &slow) else {
        return;
    };
    // What it says when no telegram comes: the speed that was tried, and the next.
    let tried = |board: &mut B| {
        assert!(wait_long(|| board.count("silent ") > 0));
        let lines = board.running().lines();
        let mut silences = lines.iter().filter_map(|line| line.strip_prefix("silent "));
        let (_, speeds) = silences.next()?.split_once(" 0 ")?;
        Some(speeds.to_owned())
    };
    assert_eq!(tried(&mut board).as_deref(), Some("115200 9600"));
    // As often as a meter does: on a busy machine the board may not have changed its speed yet.
    let heard = wait_long(|| {
        board.send(&fixture("meters/dsmr22.p1"));
        thread::sleep(Duration::from_secs(1));
        !on(&subscriber, POWER).is_empty()
    });
    assert!(heard, "no telegram at the new speed");
    board.is_well();
    board.cut_power();
    assert_eq!(tried(&mut board).as_deref(), Some("9600 115200"));
}

/// The telegrams of a recording, one by one.
fn each_of(recording: &[u8]) -> Vec<&[u8]> {
    let mut lines = recording.split_inclusive(|byte| *byte == b'\n');
    let (mut telegrams, mut start, mut end) = (Vec::new(), 0, 0);
    for line in &mut lines {
        end += line.len();
        if line.starts_with(b"!") {
            telegrams.push(&recording[start..end]);
            start = end;
        }
    }
    telegrams
}

pub fn a_meter_that_speaks_for_minutes_leaves_nothing_behind<B: Emulated>() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegrams");
    firmware::simulate(
        &file,
        &["--meter", "esmr50", "--count", &B::TELEGRAMS.to_string()],
    );
    let bytes = fs::read(&file).expect("telegrams");
    let telegrams = each_of(&bytes);
    assert_eq!(telegrams.len(), B::TELEGRAMS as usize);
    let Some(broker) = mosquitto() else { return };
    // What it says of silence would cut its counters off, which it tells every minute.
    let recording = With {
        settings: &[("timeout", "100")],
        is_recording: true,
        ..With::default()
    };
    let Some((mut board, _)) = at_broker::<B>(&broker, &recording) else {
        return;
    };
    let mut subscriber = broker.subscribe(POWER);
    let mut stack = Vec::new();
    for (sent, telegram) in telegrams.into_iter().enumerate() {
        board.send(telegram);
        // One is received while the one before is published.
        wait_for(&mut subscriber, POWER, sent);
        if sent % 50 == 49 {
            stack.push(board.next_stats().get("stack"));
        }
    }
    wait_for(&mut subscriber, POWER, B::TELEGRAMS as usize);
    board.has_lost_nothing(B::TELEGRAMS);
    for never in ["refused ", "fell", "dropped ", "rejected ", "disconnected "] {
        assert_eq!(board.count(never), 0, "{never}");
    }
    stack.push(board.next_stats().get("stack"));
    // An interrupt may come at the deepest place, or not.
    let (first, last) = (stack[0], stack[stack.len() - 1]);
    assert!(last < B::DEEPEST && last - first < 512, "{stack:?}");
    board.is_well();
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
            segments.push(&ip[headers..total]);
        }
    }
    segments
}

pub fn a_telegrams_messages_share_their_segments<B: Emulated>() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("capture");
    let Some(broker) = mosquitto() else { return };
    let dump = format!("filter-dump,id=dump,netdev=net0,file={}", text(&capture));
    let capturing = With {
        arguments: &["-object", &dump],
        ..With::default()
    };
    let Some((mut board, subscriber)) = at_broker::<B>(&broker, &capturing) else {
        return;
    };
    // Not one with a message of a kilobyte: it has to wait until the InfluxDB lines are acknowledged.
    let meters = ["dsmr22", "esmr50", "be", "se", "lt", "dsmr22"];
    // The file has a header.
    let mut before = 24;
    for (number, meter) in meters.into_iter().enumerate() {
        board.send(&fixture(&format!("meters/{meter}.p1")));
        board.wait_for_event("accepted ", number + 1);
        wait_for_quiet(&subscriber, Duration::from_secs(1));
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

/// What the commands' clients ask again and again.
pub const VOLTAGE: &str = r#"{"cmd":"getVoltage"}"#;

/// Has the meter speak until the board has understood it.
fn tell<B: Emulated>(board: &mut B, telegram: &[u8]) {
    let before = board.count("accepted ");
    board.send(telegram);
    board.wait_for_event("accepted ", before + 1);
}

pub fn every_request_is_answered_as_on_this_machine<B: Emulated>() {
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    tell(&mut board, &fixture("meters/esmr50.p1"));
    let mut caller = Caller::connect(port);
    let count = caller::every_request(&mut caller, B::NAME, B::ADDRESS, |device| B::adapt(device));
    assert!(count > 90, "{count}");
    // A change of settings goes deepest.
    let set = caller.ask(r#"{"cmd":"mqttServer","payload":{"server":"192.0.2.1"}}"#);
    assert!(set.contains(r#""error":false"#), "{set}");
    assert_eq!(board.end(), START_AGAIN);
    board.has_been_well();
}

pub fn one_too_many_is_turned_away_and_one_that_is_cut_anywhere_leaves_its_place<B: Emulated>() {
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    tell(&mut board, &fixture("meters/esmr50.p1"));
    let mut inside: Vec<Caller> = (0..B::SESSIONS).map(|_| Caller::connect(port)).collect();
    for _ in 0..3 {
        let mut next = Caller::answered(port);
        assert!(next.line().contains("already"), "it is told so");
        assert_eq!(next.line(), "", "it is closed");
    }
    for caller in &mut inside {
        assert!(caller.ask(VOLTAGE).contains("voltage"));
    }
    // At every byte. The other places are taken, so the one that is cut has to be free again each time.
    let line = format!("{VOLTAGE}\n");
    let mut last = inside.pop().expect("one");
    for length in 0..=line.len() {
        let part = line.as_bytes().get(..length).expect("a part");
        (&last.stream).write_all(part).expect("it is taken");
        last.stream.shutdown(Shutdown::Both).expect("it is cut");
        last = Caller::connect(port);
    }
    inside.push(last);
    for caller in &mut inside {
        assert!(caller.ask(VOLTAGE).contains(r#""error":false"#));
    }
    board.is_well();
}

/// A client that asks and asks, and never reads.
pub fn one_that_never_reads_its_answers_keeps_nobody_waiting_and_loses_its_place<B: Emulated>() {
    if !is_inside("one_that_never_reads_its_answers_keeps_nobody_waiting_and_loses_its_place") {
        return;
    }
    // Elsewhere this machine takes megabytes for who does not read them.
    fs::write("/proc/sys/net/ipv4/tcp_wmem", "4096 16384 16384").expect("the network is its own");
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    // A board may listen to its console first.
    tell(&mut board, &fixture("meters/esmr50.p1"));
    let deaf = Caller::connect(port);
    let small = set_socket_recv_buffer_size(&deaf.stream, 4096);
    small.expect("a small buffer");
    let mut others: Vec<Caller> = (1..B::SESSIONS).map(|_| Caller::connect(port)).collect();
    let asking = deaf.stream.try_clone().expect("a clone");
    let asks = thread::spawn(move || {
        // It ends with the connection.
        while (&asking).write_all(b"{\"cmd\":\"settings\"}\n").is_ok() {}
    });
    // Once all that is between here and there is full, it is given up.
    let mut telegrams = 0;
    let ended = wait_long(|| {
        tell(&mut board, &fixture("meters/esmr50.p1"));
        telegrams += 1;
        for other in &mut others {
            let answer = other.ask(VOLTAGE);
            assert!(answer.contains("voltage"), "{telegrams}: {answer}");
        }
        asks.is_finished()
    });
    assert!(ended, "it is given up");
    asks.join().expect("it has asked");
    assert!(telegrams > 2, "{telegrams}");
    let mut next = Caller::connect(port);
    assert!(next.ask(VOLTAGE).contains("voltage"), "there is a place");
    board.is_well();
}

pub fn the_time_is_that_of_a_real_server<B: Emulated>() {
    let Some(mut chrony) = Chrony::start() else {
        return;
    };
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    let meters_time = ["0-0:1.0.0(200101120000W)"];
    tell(&mut board, &telegram("ABC5meter", &meters_time));
    let mut caller = Caller::connect(port);
    let server = format!(r#""server":"{}","port":{}"#, B::HOST, chrony.port());
    caller.send(&format!(r#"{{"cmd":"timeServer","payload":{{{server}}}}}"#));
    let mut lines = vec![caller.line()];
    while !lines
        .iter()
        .any(|line| line.contains(r#""cmd":"timeServer""#))
    {
        lines.push(caller.line());
    }
    let is_set = |line: &String| line.contains("The clock was set forward by ");
    // A busy machine may be too late for its 200 ms, and is asked again.
    for _ in 0..20 {
        caller.send(r#"{"cmd":"ntp"}"#);
        while !lines
            .last()
            .is_some_and(|line: &String| line.contains(r#""cmd":"ntp""#))
        {
            lines.push(caller.line());
        }
        if lines.iter().any(is_set) {
            break;
        }
        lines.push(String::new());
    }
    let set = lines.iter().find(|line| is_set(line));
    let set = set.unwrap_or_else(|| panic!("no time: {lines:?}"));
    let by = set
        .rsplit("forward by ")
        .next()
        .and_then(|by| by.split(' ').next());
    let by: u64 = by.and_then(|by| by.parse().ok()).expect("seconds");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    // 2020-01-01 11:00:00 UTC, and how long the test has taken.
    let before = now.as_secs() - by;
    assert!(before.abs_diff(1_577_876_400) < 120, "{set}");
    chrony.stop();
    caller.send(r#"{"cmd":"ntp"}"#);
    caller.told("Error syncing time");
}

pub fn samples_have_the_telegrams_values<B: Emulated>() {
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    tell(&mut board, &spoken(1));
    let mut caller = Caller::connect(port);
    caller.ask(r#"{"cmd":"log","level":"error"}"#);
    let request = r#"{"cmd":"sample","payload":{"type":"TCP","rate":32000,"flowCtr":true}}"#;
    let answer = caller.ask_json(request);
    assert_eq!(answer["samplingrate"], B::MAX_RATE);
    // What takes a second, or less.
    let some = B::MAX_RATE.min(1000) as usize;
    caller.send(&format!(r#"{{"cmd":"reqSamples","samples":{some}}}"#));
    let mut got = Vec::new();
    let mut count = 0;
    let mut take = |got: &mut Vec<_>, least: usize| {
        while got.len() < least {
            let (number, samples) = packet(&mut caller.lines);
            assert_eq!(number, count);
            count += 1;
            got.extend(samples);
        }
        got.len()
    };
    assert_eq!(take(&mut got, some), some);
    tell(&mut board, &spoken(2));
    (&caller.stream)
        .write_all(b"{\"cmd\":\"cts\",\"value\":true}\n")
        .expect("it is taken");
    while changes(&got).len() < 2 {
        let least = got.len() + some;
        take(&mut got, least);
    }
    assert_eq!(changes(&got), [1, 2].map(sample));
}

/// What the log has kept: told in pieces, before the answer.
fn log_of(caller: &mut Caller) -> String {
    caller.send(r#"{"cmd":"getLog"}"#);
    let mut log = String::new();
    loop {
        let line = caller.answer();
        if line.contains(r#""cmd":"getLog""#) {
            return log;
        }
        log.push_str(&line);
    }
}

pub fn what_is_set_survives_a_power_cut_and_the_log_tells_of_it<B: Emulated>() {
    let Some((mut board, port)) = B::with_commands() else {
        return;
    };
    let mut caller = Caller::connect(port);
    let starts = |log: &str| log.matches("Reboot").count();
    let before = starts(&log_of(&mut caller));
    let unknown = caller.ask(r#"{"cmd":"foo"}"#);
    assert!(unknown.contains("unknown command"), "{unknown}");
    let calibration = r#"{"cmd":"calibration","cal":[1.5,1,1,1,1,1]}"#;
    assert!(caller.ask(calibration).contains(r#""error":false"#));
    board.cut_power();
    let mut caller = Caller::connect(port);
    let info = caller.ask(r#"{"cmd":"info"}"#);
    assert!(info.contains(r#""calibration":[1.5,1,1,1,1,1]"#), "{info}");
    let log = log_of(&mut caller);
    assert_eq!(starts(&log), before + 1, "{log}");
    assert!(log.contains("Received unknown command"), "{log}");
}

/// Topics of the commands' own.
fn topic<B: Emulated>(of: &str) -> String {
    format!("powermeter/{}/{of}", B::NAME)
}

/// A board that has understood a telegram and listens to commands over MQTT, and what it says there.
fn listening<B: Emulated>(broker: &Mosquitto, telegram: &[u8]) -> Option<(B, Subscriber)> {
    let mut board = B::at_broker(broker, &With::default())?;
    let mut subscriber = broker.subscribe("powermeter/#");
    board.wait_for_event("connected ", 1);
    tell(&mut board, telegram);
    // It is connected a little earlier than it listens.
    let status = topic::<B>("state/sample");
    subscriber.wait_until("its status", |messages| {
        messages.iter().any(|message| message.topic == status)
    });
    Some((board, subscriber))
}

pub fn a_command_over_mqtt_is_answered<B: Emulated>() {
    let Some(broker) = mosquitto() else { return };
    let telegram = fixture("meters/esmr50.p1");
    let Some((_board, subscriber)) = listening::<B>(&broker, &telegram) else {
        return;
    };
    is_answered::<B>(&broker, subscriber);
}

/// Asks a board that listens over MQTT, and waits for its answer.
fn is_answered<B: Emulated>(broker: &Mosquitto, mut subscriber: Subscriber) {
    broker.publish(&topic::<B>("cmd"), VOLTAGE, 0, false);
    let answers = topic::<B>("state/info");
    subscriber.wait_until("the answer", |messages| {
        let mut messages = messages.iter();
        messages.any(|message| message.topic == answers && message.text().contains("voltage"))
    });
}

pub fn samples_go_through_a_broker<B: Emulated>() {
    let Some(broker) = mosquitto() else { return };
    let Some((mut board, mut subscriber)) = listening::<B>(&broker, &spoken(1)) else {
        return;
    };
    let order = r#"{"cmd":"sample","payload":{"type":"MQTT","rate":20,"measures":"v,i_L1"}}"#;
    broker.publish(&topic::<B>("cmd"), order, 0, false);
    let answers = topic::<B>("state/info");
    let sent = |messages: &[Message]| -> Vec<String> {
        let own = messages.iter().filter(|m| m.topic == answers);
        let json = own.filter_map(|m| serde_json::from_str::<Json>(&m.text()).ok());
        json.filter(|json| json["values"].is_array())
            .map(|json| json["values"].to_string())
            .collect()
    };
    subscriber.wait_until("5 samples", |messages| sent(messages).len() >= 5);
    board.send(&spoken(2));
    let last = |messages: &[Message]| sent(messages).pop();
    let new = subscriber.wait_until("a new sample", |messages| {
        last(messages).is_some_and(|values| values == "[231.2,3000]")
    });
    let mut values = sent(&new);
    values.dedup();
    assert_eq!(values, ["[231.1,2000]", "[231.2,3000]"]);
    broker.publish(&topic::<B>("cmd"), r#"{"cmd":"stop"}"#, 0, false);
    let status = topic::<B>("state/sample");
    subscriber.wait_until("off", |messages| {
        let mut messages = messages.iter();
        messages.any(|message| message.topic == status && message.text() == "off")
    });
}
