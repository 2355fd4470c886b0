//! A client of the commands over an emulated network, and what it is answered against the same device on this machine.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use embassy_sync::mutex::Mutex;
use metertrekker::{
    app::{monitor::Monitor, stats::Stats},
    p1::framing::LINE_MAX,
    reading::Reading,
    settings::Settings,
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

use super::child::PATIENCE;
use super::qemu::fixture;

/// A device on this machine, with its flash in memory.
pub type TheDevice<'d, 'f> = Device<'d, 'f, RamFlash<4096, 2>>;

/// A client over the emulated network.
pub struct Caller {
    pub stream: TcpStream,
    pub lines: BufReader<TcpStream>,
}

impl Caller {
    /// Connects, and again while nobody answers: the emulator accepts before the image has an address.
    pub fn connect(port: u16) -> Self {
        Self::connect_to((Ipv4Addr::LOCALHOST, port).into())
    }

    /// The same on another address.
    pub fn connect_to(address: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut caller = Self::answered_at(address);
            if caller.line().starts_with(r#"Info:{"cmd":"info","#) {
                return caller;
            }
            // The board may not have seen yet that another has gone.
            assert!(Instant::now() < deadline, "no room on {address}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Connects, and again while the one socket for it is not back from the last.
    pub fn answered(port: u16) -> Self {
        Self::answered_at((Ipv4Addr::LOCALHOST, port).into())
    }

    fn answered_at(address: SocketAddr) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(caller) = Self::try_connect(address) {
                return caller;
            }
            assert!(Instant::now() < deadline, "no answer on {address}");
        }
    }

    /// Connects, if somebody answers.
    fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        let patience = stream.set_read_timeout(Some(Duration::from_secs(3)));
        patience.expect("a time limit");
        // What was accepted and never answered is closed, or silent.
        stream.peek(&mut [0]).ok().filter(|count| *count > 0)?;
        Some(Self::over(stream))
    }

    /// At the other end of a connection.
    pub fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let lines = BufReader::new(stream.try_clone().expect("a clone"));
        Self { stream, lines }
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("the board takes it");
    }

    /// The next line; empty at the end, in whatever way the other side went.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Err(e) if e.kind() == ErrorKind::ConnectionReset => String::new(),
            read => {
                read.expect("a line");
                line.trim_end().into()
            }
        }
    }

    /// The next line that is no line of the log.
    pub fn answer(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("Info:[") {
                return line;
            }
        }
    }

    /// Sends a line and returns its answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    /// The same, as JSON.
    pub fn ask_json(&mut self, line: &str) -> Json {
        let answer = self.ask(line);
        let json = answer.strip_prefix("Info:").map(serde_json::from_str);
        json.and_then(Result::ok)
            .unwrap_or_else(|| panic!("{line}: {answer}"))
    }

    /// Asks until the answer is as it should be.
    pub fn ask_until(&mut self, line: &str, enough: impl Fn(&Json) -> bool) -> Json {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask_json(line);
            if enough(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{line}: {answer}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Reads on until a line has this in it.
    pub fn told(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
            assert!(Instant::now() < deadline, "{line} instead of {part}");
        }
    }
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

/// What only a board with a radio and a log has to say in `info`.
const OF_A_BOARD: [&str; 5] = ["ssid", "bssid", "rssi", "log_erases", "log_lost"];

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
    if object.get("cmd").is_some_and(|cmd| cmd == "info") {
        for key in OF_A_BOARD {
            object.remove(key);
        }
    }
    Json::Object(object).to_string()
}

/// Sends each request of the transcript and compares the answers with those of a device on this machine that has seen the same telegram;
/// returns how many there were. `adapt` makes that one what the board is.
pub fn every_request(
    caller: &mut Caller,
    name: &str,
    address: [u8; 4],
    adapt: impl FnOnce(&mut TheDevice<'_, '_>),
) -> usize {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands/golden.txt");
    let golden = fs::read_to_string(golden).expect("the transcript");
    caller.ask(r#"{"cmd":"log","level":"error"}"#);
    let mut count = 0;
    block_on_virtual(async {
        let mut store = Store::open(RamFlash::<4096, 2>::new(), 0..8192)
            .await
            .unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let mut device = Device::open(name, || None, &store, &stats).await;
        adapt(&mut device);
        device.address.set(Some(address.into()));
        device.believed(&reading());
        let of_the_run = |settings: &mut Settings| {
            settings.set("interval", "0").unwrap();
            settings.set("time_server", "-").unwrap();
            settings.set("timeout", "120").unwrap();
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
    count
}
