//! The commands on the chip's instruction set: over the emulated network, over MQTT and on the console, compared with the same
//! device on this machine.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use embassy_sync::mutex::Mutex;
use metertrekker::{
    app::{monitor::Monitor, server::PORT, stats::Stats},
    p1::framing::LINE_MAX,
    reading::Reading,
    settings::{KEYS, Settings},
    smartmeter::{
        answer::Whole,
        device::{Client, Device, Peer},
        line::MAX,
        log::Level,
    },
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};
use serde_json::Value as Json;
use support::child::{PATIENCE, Running};
use support::firmware::{self, text};
use support::peers::{Mosquitto, MosquittoConfig, free_port};
use support::qemu::{Board, fixture, ledger, qemu};

/// Clients at a time, as the board's file says.
const SESSIONS: usize = 1;

/// Samples a second, likewise.
const MAX_RATE: u32 = 50;

/// A client over the emulated network.
struct Caller {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Caller {
    /// Connects, and again while nobody answers: the emulator accepts before the image has an address.
    fn connect(port: u16) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut caller = Self::answered(port);
            if caller.line().starts_with(r#"Info:{"cmd":"info","#) {
                return caller;
            }
            // The board may not have seen yet that another has gone.
            assert!(Instant::now() < deadline, "no room on port {port}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Connects, and again while the one socket for it is not back from the last.
    fn answered(port: u16) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(caller) = Self::try_connect(port) {
                return caller;
            }
            assert!(Instant::now() < deadline, "no answer on port {port}");
        }
    }

    fn try_connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let patience = stream.set_read_timeout(Some(Duration::from_secs(3)));
        patience.expect("a time limit");
        // What was accepted and never answered is closed, or silent.
        stream.peek(&mut [0]).ok().filter(|count| *count > 0)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let lines = BufReader::new(stream.try_clone().expect("a clone"));
        Some(Self { stream, lines })
    }

    fn send(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("the board takes it");
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().into()
    }

    /// The next line that is no line of the log.
    fn answer(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("Info:[") {
                return line;
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }
}

/// The image with the commands' port forwarded to a free one.
fn start(words: &[&str]) -> Option<(Board, u16)> {
    let port = free_port();
    let network = format!("user,model=open_eth,hostfwd=tcp:127.0.0.1:{port}-:{PORT}");
    let own = ["interval=0", "stats=1", "time_server=-"];
    let mut board = Board::begin(&["-nic", &network], &[&own, words].concat())?;
    board.connect();
    board.wait_for_event("network up", 1);
    Some((board, port))
}

const VOLTAGE: &str = r#"{"cmd":"getVoltage"}"#;

/// Has the meter speak until the board has understood it.
fn tell(board: &mut Board) {
    board.send(&fixture("meters/esmr50.p1"));
    board.wait_for_event("accepted", 1);
}

fn reading() -> Reading {
    let telegram = fixture("meters/esmr50.p1");
    assert!(telegram.len() < 2 * LINE_MAX);
    let lines = String::from_utf8(telegram).expect("text");
    let mut reading = Reading::new();
    let mut lines = lines.lines();
    let header = lines.next().expect("a header");
    reading.begin(header.strip_prefix('/').expect("a header").as_bytes());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('!')) {
        // What is of no use is none here either.
        let _ = reading.line(line.as_bytes());
    }
    reading.settle();
    reading
}

/// What differs between two runs, or two machines, by its nature.
const OF_THE_MOMENT: [&str; 6] = ["sys_time", "ts", "startTs", "start", "days", "msg_time"];

fn comparable(line: &str) -> String {
    let Some(Ok(Json::Object(mut object))) =
        line.strip_prefix("Info:").map(serde_json::from_str::<Json>)
    else {
        return line.into();
    };
    for key in OF_THE_MOMENT {
        object.remove(key);
    }
    if object.get("cmd").is_some_and(|cmd| cmd == "resetEnergy") {
        object.remove("msg");
    }
    Json::Object(object).to_string()
}

#[test]
fn every_request_is_answered_as_on_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = format!("state={}", folder.path().join("state").display());
    let Some((mut board, port)) = start(&[&state]) else {
        return;
    };
    tell(&mut board);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands/golden.txt");
    let golden = fs::read_to_string(golden).expect("the transcript");
    let mut caller = Caller::connect(port);
    caller.ask(r#"{"cmd":"log","level":"error"}"#);
    let mut count = 0;
    block_on_virtual(async {
        let mut store = Store::open(RamFlash::<4096, 2>::new(), 0..8192)
            .await
            .unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("Metertrekker-qemu", || None, &store, &stats)
            .await
            .with_max_rate(MAX_RATE);
        device.address.set(Some([10, 0, 2, 15].into()));
        device.believed(&reading());
        let of_the_run = |settings: &mut Settings| {
            settings.set("interval", "0").unwrap();
            settings.set("time_server", "-").unwrap();
        };
        device.adjust(of_the_run);
        let mut client = Client::new(Peer::Network(([10, 0, 2, 2], 1).into()), Level::Error);
        for request in golden.lines().filter_map(|line| line.strip_prefix("> ")) {
            let request = request.replace("{long}", &"x".repeat(600));
            let request = request.replace("{64}", &"x".repeat(64));
            let request = request.replace("{65}", &"x".repeat(65));
            // They start the board over, wait for a server, choose what is told, or keep their state in the two flashes.
            let apart = [
                "restart",
                "factoryReset",
                "basicReset",
                r#""ntp"#,
                "timeServer",
                r#""log""#,
                "unlock",
                "getLog",
                "clearLog",
                r#""sample""#,
                "dailyRestart",
                "streamServer",
            ];
            if apart.iter().any(|command| request.contains(command)) {
                continue;
            }
            let before = device.settings();
            let mut expected = <Whole>::new();
            match request.len() > MAX {
                true => device.answer_too_long(MAX, &mut expected),
                false => {
                    device
                        .answer_whole(request.trim().as_bytes(), &mut client, &mut expected)
                        .await
                }
            }
            // The board starts over when its settings change.
            if device.settings() != before {
                device.adjust(|settings| settings.clone_from(&before));
                continue;
            }
            let expected = String::from_utf8(expected.bytes().to_vec()).unwrap();
            let expected = expected.trim_end();
            caller.send(&request);
            if expected.is_empty() {
                continue;
            }
            let answer = caller.answer();
            // It keeps no log without a file for it, here as there.
            assert_eq!(comparable(&answer), comparable(expected), "{request}");
            count += 1;
        }
    });
    assert!(count > 90, "{count}");
    // A change of settings goes deepest.
    let set = caller.ask(r#"{"cmd":"mqttServer","payload":{"server":"192.0.2.1"}}"#);
    assert!(set.contains(r#""error":false"#), "{set}");
    assert_eq!(
        board.console().wait_for_end().code(),
        Some(6),
        "it is to be started again"
    );
    let stats = board.wait_for_stats("counters", |_| true);
    assert!(stats.get("stack") <= ledger("stack"), "{stats:?}");
    assert!(stats.get("stack_start") <= ledger("stack"), "{stats:?}");
}

#[test]
fn one_too_many_is_turned_away_and_one_that_is_cut_leaves_its_place() {
    let Some((mut board, port)) = start(&[]) else {
        return;
    };
    tell(&mut board);
    let mut inside: Vec<Caller> = (0..SESSIONS).map(|_| Caller::connect(port)).collect();
    for _ in 0..3 {
        let mut next = Caller::answered(port);
        assert!(next.line().contains("already"), "it is told so");
        assert_eq!(next.line(), "", "it is closed");
    }
    for caller in &mut inside {
        assert!(caller.ask(VOLTAGE).contains("voltage"));
    }
    let cut = inside.pop().expect("one");
    // In the middle of a line.
    (&cut.stream)
        .write_all(br#"{"cmd":"getV"#)
        .expect("it is taken");
    cut.stream.shutdown(Shutdown::Both).expect("it is cut");
    drop(cut);
    thread::sleep(Duration::from_millis(500));
    let mut next = Caller::connect(port);
    assert!(next.ask(VOLTAGE).contains(r#""error":false"#));
}

#[test]
fn samples_have_the_telegrams_values() {
    let Some((mut board, port)) = start(&["interval=3600"]) else {
        return;
    };
    tell(&mut board);
    let mut caller = Caller::connect(port);
    caller.ask(r#"{"cmd":"log","level":"error"}"#);
    let voltage: Json = serde_json::from_str(&caller.ask(VOLTAGE)["Info:".len()..]).expect("JSON");
    let request =
        r#"{"cmd":"sample","payload":{"type":"TCP","rate":32000,"measures":"v,i","prefix":false}}"#;
    let answer: Json = serde_json::from_str(&caller.ask(request)["Info:".len()..]).expect("JSON");
    assert_eq!(answer["samplingrate"], MAX_RATE);
    let chunk = answer["chunksize"].as_u64().expect("a size") as usize;
    let mut bytes = vec![0; 3 * chunk];
    std::io::Read::read_exact(&mut caller.lines, &mut bytes).expect("samples");
    for sample in bytes.chunks_exact(24) {
        for phase in 0..3 {
            let value = f32::from_le_bytes(sample[8 * phase..][..4].try_into().expect("four"));
            let expected = voltage["voltage"][phase].as_f64().expect("a number");
            assert!(
                (f64::from(value) - expected).abs() < 0.01,
                "{value} {expected}"
            );
        }
    }
}

fn mosquitto() -> Option<Mosquitto> {
    Mosquitto::start(MosquittoConfig::default())
}

#[test]
fn a_command_over_mqtt_is_answered() {
    let Some(broker) = mosquitto() else { return };
    let Some(mut board) = Board::with_broker(&broker, &["name=meter1", "time_server=-"]) else {
        return;
    };
    let mut subscriber = broker.subscribe("powermeter/#");
    board.wait_for_event("connected", 1);
    tell(&mut board);
    broker.publish("powermeter/meter1/cmd", VOLTAGE, 0, false);
    subscriber.wait_until("the answer", |messages| {
        let mut messages = messages.iter();
        messages.any(|message| {
            message.topic == "powermeter/meter1/state/info" && message.text().contains("voltage")
        })
    });
}

#[test]
fn what_is_set_survives_a_power_cut_and_the_log_tells_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = ["state", "log"].map(|name| {
        let path = folder.path().join(name);
        format!("{name}={}", path.display())
    });
    let words = words.each_ref().map(String::as_str);
    let Some((board, port)) = start(&words) else {
        return;
    };
    let mut caller = Caller::connect(port);
    assert!(caller.ask(r#"{"cmd":"foo"}"#).contains("unknown command"));
    let calibration = r#"{"cmd":"calibration","cal":[1.5,1,1,1,1,1]}"#;
    assert!(caller.ask(calibration).contains(r#""error":false"#));
    // Killed, like a power cut.
    drop(board);
    let (_board, port) = start(&words).expect("QEMU");
    let mut caller = Caller::connect(port);
    let info = caller.ask(r#"{"cmd":"info"}"#);
    assert!(info.contains(r#""calibration":[1.5,1,1,1,1,1]"#), "{info}");
    let log = caller.ask(r#"{"cmd":"getLog"}"#);
    assert_eq!(log.matches("Reboot").count(), 2, "{log}");
    assert!(log.contains("Received unknown command"), "{log}");
}

/// The port that a run says it serves.
fn port_of(run: &mut Running) -> u16 {
    run.wait_for("its port", |lines| {
        let line = lines.iter().find(|line| line.starts_with("commands "))?;
        line.rsplit(':').next()?.parse().ok()
    })
}

#[test]
fn a_flag_wins_until_its_setting_is_changed() {
    if qemu("qemu.elf").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "--board", "qemu", "--state", text(folder.path())];
    let flags = ["--set", "interval=60", "--set", "root=flag"];
    let mut run = firmware::start(&[&run[..], &flags].concat());
    let port = port_of(&mut run);
    let mut caller = Caller::connect(port);
    // The board starts over, and again.
    for request in [
        r#"{"cmd":"settings","payload":{"interval":30}}"#,
        r#"{"cmd":"restart"}"#,
    ] {
        caller.send(request);
        while !caller.line().is_empty() {}
        caller = Caller::connect(port);
        let settings = caller.ask(r#"{"cmd":"settings"}"#);
        assert!(settings.contains(r#""interval":30"#), "{settings}");
        assert!(settings.contains(r#""root":"flag""#), "{settings}");
    }
}

#[test]
fn what_is_set_on_the_console_starts_the_board_over_and_stays() {
    if qemu("qemu.elf").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let console = folder.path().join("console");
    let state = folder.path().join("state");
    let run = ["run", "--board", "qemu", "--console", text(&console)];
    let mut run = firmware::start(&[&run[..], &["--state", text(&state)]].concat());
    let port = port_of(&mut run);
    let mut caller = Caller::connect(port);
    let before = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(before.contains(r#""mqtt_server":"-""#), "{before}");
    let mut terminal = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&console)
        .expect("the console");
    let set = "{\"cmd\":\"mqttServer\",\"payload\":{\"server\":\"192.0.2.1\"}}\n";
    terminal.write_all(set.as_bytes()).expect("it is typed");
    let mut answer = String::new();
    let mut shown = BufReader::new(terminal);
    while !answer.contains("mqttServer") {
        answer.clear();
        shown.read_line(&mut answer).expect("an answer");
    }
    assert!(answer.contains(r#""error":false"#), "{answer}");
    run.wait_for_line("started over");
    // The old connection is gone, the port is the same.
    while !caller.line().is_empty() {}
    let mut caller = Caller::connect(port);
    let after = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(after.contains(r#""mqtt_server":"192.0.2.1""#), "{after}");
    caller.send(r#"{"cmd":"restart"}"#);
    while !caller.line().is_empty() {}
    let mut caller = Caller::connect(port);
    let after = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(after.contains(r#""mqtt_server":"192.0.2.1""#), "{after}");
    assert_eq!(KEYS.len(), after.matches("\":").count() - 3, "{after}");
}
