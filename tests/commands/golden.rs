//! Every command with good, bad, missing, wrong-form and boundary requests.
//!
//! `golden.txt` is a transcript. `>` is sent, `<` comes back, log lines first, as a client sees them.
//! `@` is what happens meanwhile. `UPDATE_GOLDEN=1` writes the `<` lines anew.

use std::{
    convert::Infallible,
    fmt::Write,
    fs,
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};

use embassy_futures::{
    join::join,
    poll_once,
    select::{Either4, select4},
    yield_now,
};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embassy_time::{Duration, Timer};
use metertrekker::{
    app::{
        monitor::{Failure, Monitor},
        ntp,
        stats::Stats,
    },
    settings::{KEYS, Settings},
    smartmeter::{
        answer::{Answer, Whole},
        command::COMMANDS,
        device::{Client, Device, Link, News, Peer},
        journal::{self, Journal, MAX_TEXT},
        line::{self, Line, Lines},
        log::Level,
        stream::Packet,
    },
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};

use ufmt::uwrite;

use super::{
    goldens,
    sessions::with_device,
    telegrams::{old, one_phase, reading, three_phases},
    time_server::TimeServer,
};

type Flash = RamFlash<4096, 2>;

const PATH: &str = "tests/commands/golden.txt";

/// Milliseconds since 1970 when the transcript begins.
const EPOCH: u64 = 1_614_680_860_182;

fn client(name: &str) -> Client {
    let peer = match name {
        "console" => Peer::Console,
        "mqtt" => Peer::Mqtt,
        port => Peer::Network(SocketAddr::new(
            [192, 168, 0, 7].into(),
            port.parse().expect("a port"),
        )),
    };
    Client::new(peer, Level::Info)
}

/// The transcript with the answers of today.
async fn replayed(script: &str) -> String {
    let mut flash = Some((Flash::new(), Flash::new()));
    let mut lines = script.lines().peekable();
    let mut out = String::new();
    while lines.peek().is_some() {
        let (state, log) = flash.take().unwrap();
        let mut store = Store::open(state, 0..8192).await.unwrap();
        let mut journal = Journal::open(log, 0..8192).await.unwrap();
        {
            let store = Mutex::new(&mut store);
            let journal = Mutex::new(&mut journal);
            until_restart(&mut lines, &store, &journal, &mut out).await;
        }
        flash = Some((store.into_flash(), journal.into_flash()));
    }
    out
}

async fn until_restart<'f>(
    lines: &mut impl Iterator<Item = &str>,
    store: &metertrekker::storage::Shared<'f, Flash>,
    journal: &journal::Shared<'f, Flash>,
    out: &mut String,
) {
    let stats = Stats::new();
    let clock = || Some(EPOCH + embassy_time::Instant::now().as_millis());
    let device = Device::open("smartmeterX", clock, store, &stats)
        .await
        .with_journal(journal);
    device.set_address(Some([192, 168, 0, 138].into()));
    // Three seconds from what the board thinks.
    let network = TimeServer::new(EPOCH + 3_000);
    let started = Signal::<NoopRawMutex, ()>::new();
    let timing = async {
        started.wait().await;
        ntp::run(&device, &network, 1).await
    };
    let script = script(lines, &device, journal, &network, &started, out);
    let carrying = join(carry(&device), publish(&device));
    match select4(device.keep_log(), timing, carrying, script).await {
        Either4::First(never) | Either4::Second(never) | Either4::Third((never, _)) => {
            match never {}
        }
        Either4::Fourth(()) => {}
    }
}

/// Wherever samples go, they are gone.
async fn carry(device: &Device<'_, '_, Flash>) -> Infallible {
    loop {
        device.outlet(&mut Packet::new()).await;
    }
}

async fn publish(device: &Device<'_, '_, Flash>) -> Infallible {
    let mut samples = false;
    loop {
        if let News::Turned(on) = device.news(samples, &mut Packet::new()).await {
            samples = on;
        }
    }
}

async fn script(
    lines: &mut impl Iterator<Item = &str>,
    device: &Device<'_, '_, Flash>,
    journal: &journal::Shared<'_, Flash>,
    network: &TimeServer,
    started: &Signal<NoopRawMutex, ()>,
    out: &mut String,
) {
    let mut listener = device.log.listen().unwrap();
    let mut the_client = client("49152");
    let mut answer = Answer::new();
    for line in lines {
        let mut input = Lines::new();
        if line.starts_with('<') {
            continue;
        }
        writeln!(out, "{line}").unwrap();
        if let Some(request) = line.strip_prefix("> ") {
            let request = request.replace("{long}", &"x".repeat(600));
            let request = request.replace("{64}", &"x".repeat(64));
            let request = request.replace("{65}", &"x".repeat(65));
            answer.clear();
            match input.next(&mut format!("{request}\r\n").as_bytes()) {
                Some(Line::Text(line)) => device.answer(line, &mut the_client, &mut answer).await,
                Some(Line::TooLong) => device.answer_too_long(line::MAX, &mut answer),
                None => panic!("no line"),
            }
            let mut all = String::new();
            while let Some(entry) = listener.try_next_message_pure() {
                all += &entry.line();
            }
            all += &String::from_utf8_lossy(answer.bytes());
            while device.more(&mut the_client, &mut answer) {
                all += &String::from_utf8_lossy(answer.bytes());
            }
            while device.last_packet(&the_client, &mut Packet::new()) {}
            // Who keeps the log, and who carries samples, has its turn.
            yield_now().await;
            for line in all.split_terminator("\r\n") {
                writeln!(out, "< {line}").unwrap();
            }
        }
        let Some(event) = line.strip_prefix('@') else {
            continue;
        };
        match event.split(' ').collect::<Vec<_>>()[..] {
            ["client", name] => the_client = client(name),
            ["telegram", "three"] => device.believed(&reading(&three_phases(0))),
            ["telegram", "three", wh] => {
                device.believed(&reading(&three_phases(wh.parse().unwrap())));
            }
            ["telegram", "one"] => device.believed(&reading(&one_phase())),
            ["telegram", "old"] => device.believed(&reading(&old())),
            ["seconds", count] => Timer::after(Duration::from_secs(count.parse().unwrap())).await,
            ["stream", "connects"] => assert!(device.raw_joined(([192, 168, 0, 9], 49_999).into())),
            ["stream", "leaves"] => device.raw_left(([192, 168, 0, 9], 49_999).into()),
            ["broker", "connects"] => device.connected("192.168.1.10", Duration::MIN),
            ["broker", "leaves"] => {
                let retry = Duration::from_secs(1);
                device.disconnected::<Infallible>("192.168.1.10", Failure::Closed, retry);
            }
            // The network is there.
            ["network"] => started.signal(()),
            ["time", "server", "answers"] => network.answers(22),
            ["time", "server", "silent"] => network.is_silent(),
            // What the board has been told to do.
            ["change"] => {
                let change = poll_once(device.changed());
                writeln!(out, "< {change:?}").unwrap();
            }
            ["flash", state] => journal.lock().await.flash().set_broken(state == "broken"),
            ["warnings", count] => {
                for n in 0..count.parse().unwrap() {
                    device.tell(Level::Warning, |text| {
                        uwrite!(text, "\"warning\" {}\\", n).unwrap()
                    });
                    listener.try_next_message_pure();
                    yield_now().await;
                }
            }
            ["radio"] => device.is_access_point("smartmeterX"),
            ["radio", ssid, rssi] => {
                let link = Link {
                    ssid: ssid.try_into().unwrap(),
                    bssid: [0x02, 0, 0x5E, 0x10, 0, 0xAF],
                    rssi: rssi.parse().unwrap(),
                };
                device.is_in_network(link, [192, 168, 0, 139].into());
            }
            ["restart"] => return,
            _ => panic!("{line}"),
        }
    }
}

fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_request_has_its_answer() {
    let golden = golden();
    let replayed = block_on_virtual(replayed(&golden));
    if goldens::is_updated("UPDATE_GOLDEN") {
        fs::write(PATH, replayed).unwrap();
        return;
    }
    for (number, (is, should)) in replayed.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, should, "{PATH}:{}", number + 1);
    }
    assert_eq!(replayed, golden);
}

#[test]
fn every_answer_is_one_json_object_and_every_command_is_asked() {
    let golden = golden();
    let mut asked = Vec::new();
    for line in golden
        .lines()
        .filter_map(|line| line.strip_prefix("< Info:{"))
    {
        let json: serde_json::Value = serde_json::from_str(&format!("{{{line}")).expect(line);
        if json["error"] != true {
            asked.extend(json["cmd"].as_str().map(String::from));
        }
    }
    // They have no answer.
    let without = ["restart", "factoryReset", "basicReset"];
    for command in COMMANDS {
        let good = asked.iter().any(|asked| asked == command.name);
        assert!(good || without.contains(&command.name), "{}", command.name);
        let request = format!(r#"> {{"cmd":"{}""#, command.name);
        assert!(golden.contains(&request), "{}", command.name);
    }
}

#[test]
fn the_documented_form_of_each_command_is_taken() {
    with_device(
        "x",
        || None,
        async |device, _| {
            device.believed(&reading(&three_phases(0)));
            for command in COMMANDS {
                // They are about what is not there.
                if ["stop", "reqSamples", "unlock"].contains(&command.name) {
                    continue;
                }
                let mut answer = <Whole>::new();
                let line = format!(r#"{{"cmd":"{}"{}}}"#, command.name, command.arguments);
                let mut client = client("49152");
                device
                    .answer_whole(line.as_bytes(), &mut client, &mut answer)
                    .await;
                device.hung_up(&client);
                let text = String::from_utf8_lossy(answer.bytes());
                assert!(!text.contains(r#""error":true"#), "{line} {text}");
            }
        },
    );
}

#[test]
fn the_longest_answers_fit() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let name = "x".repeat(31);
        let mut journal = Journal::open(Flash::new(), 0..8192).await.unwrap();
        let rows: Vec<_> = (1..=MAX_TEXT).map(|length| "\"".repeat(length)).collect();
        for row in &rows {
            journal.append(row).await.unwrap();
        }
        let journal = Mutex::new(&mut journal);
        let device = Device::open(&name, || Some(u64::MAX), &store, &stats)
            .await
            .with_journal(&journal);
        device.believed(&reading(&three_phases(0)));
        let mut client = client("console");
        let mut answer = <Whole>::new();
        // Each at its longest, of what takes most room in JSON.
        for key in KEYS {
            let zone = format!("<{}>0", "A".repeat(45));
            let longest = [
                "00112233445566778899aabbccddeeff",
                &zone,
                "65535",
                "3600",
                "120",
                "false",
                "optional",
                "dsmr4",
                "modem",
                "3",
            ];
            let quotes = [64, 32].map(|count| "\"".repeat(count));
            let topic = format!("/{}", "\"".repeat(63));
            let mut values = quotes
                .iter()
                .map(String::as_str)
                .chain([topic.as_str()])
                .chain(longest);
            let value = values.find(|value| Settings::default().set(key.name, value).is_ok());
            let line =
                serde_json::json!({"cmd": "settings", "payload": {key.name: value.unwrap()}});
            answer.clear();
            device
                .answer_whole(line.to_string().as_bytes(), &mut client, &mut answer)
                .await;
            assert!(
                answer.bytes().starts_with(br#"Info:{"error":false"#),
                "{line}"
            );
        }
        // Each of the networks too, and the device is in one of them.
        for number in 0..5 {
            let ssid = format!("{number}{}", "\"".repeat(31));
            let password = "\"".repeat(63);
            let line =
                serde_json::json!({"cmd": "addWifi", "payload": {"ssid": ssid, "pwd": password}});
            answer.clear();
            device
                .answer_whole(line.to_string().as_bytes(), &mut client, &mut answer)
                .await;
            let json: serde_json::Value = serde_json::from_slice(answer.json()).expect("addWifi");
            assert_eq!(
                (&json["error"], &json["pwd"]),
                (&false.into(), &password.into())
            );
        }
        let unknown = "\u{1}".repeat(32);
        let line = serde_json::json!({"cmd": "delWifi", "payload": {"ssid": unknown}});
        answer.clear();
        device
            .answer_whole(line.to_string().as_bytes(), &mut client, &mut answer)
            .await;
        let json: serde_json::Value = serde_json::from_slice(answer.json()).expect("delWifi");
        assert_eq!(json["msg"], format!("SSID {unknown} not found"));
        let link = Link {
            ssid: "\"".repeat(32).as_str().try_into().unwrap(),
            bssid: [255; 6],
            rssi: -128,
        };
        device.is_in_network(link, Ipv6Addr::from([0xFF; 16]).into());
        for command in ["settings", "info", "getPower", "getEnergy"] {
            answer.clear();
            let line = format!(r#"{{"cmd":"{command}"}}"#);
            device
                .answer_whole(line.as_bytes(), &mut client, &mut answer)
                .await;
            let json: serde_json::Value = serde_json::from_slice(answer.json()).expect(command);
            assert_eq!(json["cmd"], command);
        }
        let mut answer = Answer::new();
        let line = br#"{"cmd":"getLog"}"#;
        device.answer(line, &mut client, &mut answer).await;
        let mut all = Vec::from(answer.bytes());
        while device.more(&mut client, &mut answer) {
            assert!(!answer.bytes().is_empty());
            all.extend_from_slice(answer.bytes());
        }
        let (log, end) = std::str::from_utf8(&all)
            .unwrap()
            .split_once("\r\n")
            .unwrap();
        assert_eq!(end, "Info:{\"error\":false,\"cmd\":\"getLog\"}\r\n");
        let json: serde_json::Value = serde_json::from_str(&log["Info:".len()..]).unwrap();
        let read: Vec<_> = json["msg"].as_str().unwrap().split("//n").collect();
        let read = &read[1..read.len() - 1];
        assert!(
            read.len() > 30
                && rows
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .ends_with(read)
        );
    });
}
