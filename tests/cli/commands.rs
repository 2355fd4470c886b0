//! The command protocol of a running program: sockets, console, restarts.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use metertrekker::{
    soc::host::flash::{FileFlash, SECTOR},
    storage::{Key, Store},
};
use rustix::process::Signal;

use crate::support::child::{PATIENCE, Running};
use crate::support::firmware::{self, command, text};
use crate::support::peers::Subscriber;

/// A client that waits for the lines it wants.
pub struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Client {
        Client::connect_to("127.0.0.1", port)
    }

    fn connect_to(address: &str, port: u16) -> Client {
        Client::of(TcpStream::connect((address, port)).unwrap())
    }

    fn of(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            lines: BufReader::new(stream),
        }
    }

    /// A client and what it is told first.
    pub fn greeted(port: u16) -> (Client, serde_json::Value) {
        Client::greeted_at("127.0.0.1", port)
    }

    /// The same at another address.
    pub fn greeted_at(address: &str, port: u16) -> (Client, serde_json::Value) {
        Client::connect_to(address, port).greeting()
    }

    /// The same over a connection that the device has made.
    pub fn over(stream: TcpStream) -> (Client, serde_json::Value) {
        Client::of(stream).greeting()
    }

    fn greeting(self) -> (Client, serde_json::Value) {
        let mut client = self;
        let line = client.line().expect("a greeting");
        let json = line.strip_prefix("Info:").expect("its prefix");
        (client, serde_json::from_str(json).unwrap())
    }

    /// The next line, `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.strip_suffix("\r\n").expect("CR LF").to_owned()),
            // It was reset rather than closed.
            Err(error) => {
                assert_ne!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock,
                    "no line in time"
                );
                None
            }
        }
    }

    /// What comes next, lines or not.
    pub fn reader(&mut self) -> &mut impl BufRead {
        &mut self.lines
    }

    pub fn send(&mut self, request: &str) {
        let line = format!("{request}\r\n");
        self.lines.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// The answer to a request; lines of the log before it are passed.
    pub fn ask(&mut self, request: &str) -> serde_json::Value {
        self.send(request);
        loop {
            let line = self.line().expect("an answer");
            if let Some(json) = line
                .strip_prefix("Info:")
                .filter(|json| json.starts_with('{'))
            {
                return serde_json::from_str(json).unwrap();
            }
        }
    }

    /// The answer once it is no error: the first telegram has to come.
    pub fn ask_until(
        &mut self,
        request: &str,
        good: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(request);
            if good(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The port in the line that says where `what` is.
pub fn port(running: &mut Running, what: &str) -> u16 {
    running.wait_for(what, |lines| {
        let line = lines.iter().find(|line| line.starts_with(what))?;
        let separator = if what == "broker" { "port " } else { ":" };
        let (_, rest) = line.split_once(separator)?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    })
}

/// Starts the program, which is to ask no server of the internet for the time.
pub fn start(state: &Path, args: &[&str]) -> Running {
    let own = ["run", "--state", text(state), "--set", "time_server=-"];
    firmware::start(&[&own, args].concat())
}

#[test]
fn a_client_asks_sets_and_starts_over_and_what_it_set_survives_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, greeting) = Client::greeted(at);
    assert_eq!(greeting["type"], "smartmeter");
    client.ask_until(r#"{"cmd":"getVoltage"}"#, |answer| answer["error"] == false);
    // How much it is depends on the hour: by day the simulated household's roof may give all it takes.
    assert_eq!(client.ask(r#"{"cmd":"getEnergy"}"#)["error"], false);
    let _others = [Client::greeted(at), Client::greeted(at)];
    let mut fourth = Client::connect(at);
    assert!(fourth.line().unwrap().contains("three clients"));
    assert_eq!(fourth.line(), None);

    let set = r#"{"cmd":"settings","payload":{"root":"home","client_id":"me"}}"#;
    assert_eq!(client.ask(set)["error"], false);
    assert_eq!(
        client.ask(r#"{"cmd":"dailyRestart","hour":4,"minute":5}"#)["error"],
        false
    );
    running.wait_for_line("home/status online");
    client.send(r#"{"cmd":"restart"}"#);
    while client.line().is_some() {}
    running.wait_for_line("started over");
    let (_, greeting) = Client::greeted(at);
    assert_eq!(greeting["dailyReset"], "@04:05:00");
    running.kill();

    // A flag wins, and what it wins over stays.
    let mut running = start(folder.path(), &["--set", "root=flag"]);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    let settings = &client.ask(r#"{"cmd":"settings"}"#)["settings"];
    assert_eq!(
        (settings["root"].as_str(), settings["client_id"].as_str()),
        (Some("flag"), Some("me"))
    );
    running.signal(Signal::INT);
    assert!(running.wait_for_end().success());

    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    assert_eq!(
        client.ask(r#"{"cmd":"settings"}"#)["settings"]["root"],
        "home"
    );
    client.send(r#"{"cmd":"factoryReset"}"#);
    while client.line().is_some() {}
    let (mut client, greeting) = Client::greeted(at);
    assert_eq!(greeting["dailyReset"], "None");
    assert_eq!(
        client.ask(r#"{"cmd":"settings"}"#)["settings"]["root"],
        "pwutseltronics"
    );
}

#[test]
fn a_flag_wins_until_its_setting_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--set", "interval=60", "--set", "root=flag"];
    let mut running = start(folder.path(), &flags);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    let set = r#"{"cmd":"settings","payload":{"interval":30}}"#;
    assert_eq!(client.ask(set)["error"], false);
    for _ in 0..2 {
        client.send(r#"{"cmd":"restart"}"#);
        while client.line().is_some() {}
        (client, _) = Client::greeted(at);
        let settings = &client.ask(r#"{"cmd":"settings"}"#)["settings"];
        assert_eq!(settings["interval"], 30);
        assert_eq!(settings["root"], "flag");
    }
    drop(running);
    // The simulated meter's interval is a flag like another.
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    let set = r#"{"cmd":"settings","payload":{"interval":15}}"#;
    assert_eq!(client.ask(set)["error"], false);
    client.send(r#"{"cmd":"restart"}"#);
    while client.line().is_some() {}
    let (mut client, _) = Client::greeted(at);
    let settings = &client.ask(r#"{"cmd":"settings"}"#)["settings"];
    assert_eq!(settings["interval"], 15);
}

#[test]
fn a_stored_password_without_its_user_is_a_warning_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let mut running = start(state, &[]);
    port(&mut running, "commands");
    running.signal(Signal::INT);
    assert!(running.wait_for_end().success());
    // As an earlier version has taken it.
    let flash = FileFlash::open(state.join("flash.bin"), 4).unwrap();
    embassy_futures::block_on(async {
        let mut store = Store::open(flash, 0..4 * SECTOR as u32).await.unwrap();
        store.put(Key::Setting(15), b"x").await.unwrap();
    });
    let mut running = start(state, &[]);
    let at = port(&mut running, "commands");
    running.wait_for_line("mqtt_password is set and mqtt_user is not");
    let (mut client, _) = Client::greeted(at);
    let set = r#"{"cmd":"mqttServer","payload":{"server":"-","user":"me"}}"#;
    assert_eq!(client.ask(set)["error"], false);
}

#[test]
fn warnings_and_errors_survive_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    client.send(r#"{"cmd":"foo"}"#);
    client.send("{\"no \\JSON");
    // The lines of the log that end so.
    let log = |client: &mut Client, end: &str| {
        let log = client.ask_until(r#"{"cmd":"getLog"}"#, |answer| {
            let text = answer["msg"].as_str().unwrap_or_default();
            text.ends_with(&format!("{end}//n*** LOGFile *** "))
        });
        assert_eq!(log["cmd"], "log");
        let text = log["msg"].as_str().unwrap();
        let rows: Vec<_> = text.split("//n").map(String::from).collect();
        rows[1..rows.len() - 1].to_vec()
    };
    let before = log(&mut client, "deserializeJson() failed: __no \\JSON");
    assert!(before[0].ends_with(": Reboot"), "{before:?}");
    assert!(before[1].ends_with("Received unknown command") && before[1].starts_with("[W]"));
    assert_eq!(before.len(), 3);
    running.kill();

    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    let after = log(&mut client, ": Reboot");
    assert_eq!((&after[..3], after.len()), (&before[..], 4));
    running.stop();
}

#[test]
fn a_device_is_configured_over_its_console() {
    let folder = tempfile::tempdir().unwrap();
    let console = folder.path().join("console");
    // The broker of another process is the one to be found.
    let other = folder.path().join("other");
    let mut broker = start(&other, &[]);
    let broker_port = port(&mut broker, "broker");
    let state = folder.path().join("state");
    let args = ["--broker", "127.0.0.1:1", "--console", text(&console)];
    let mut running = start(&state, &args);
    running.wait_for_line("console ");
    let mut typed = OpenOptions::new().write(true).open(&console).unwrap();
    let mut shown = BufReader::new(File::open(&console).unwrap());
    // Warnings and answers, in any order.
    let mut answer = |part: &str| loop {
        let mut line = String::new();
        assert!(shown.read_line(&mut line).unwrap() > 0);
        if line.contains(part) {
            return line;
        }
    };
    typed.write_all(b"{\"cmd\":\"getFoo\"}\n").unwrap();
    assert!(answer("getFoo").contains("unknown command"));
    let request = format!(
        "{{\"cmd\":\"mqttServer\",\"payload\":{{\"server\":\"localhost\",\"port\":{broker_port}}}}}\r\n"
    );
    typed.write_all(request.as_bytes()).unwrap();
    assert!(answer("mqttServer").contains("\"error\":false"));
    // That broker speaks MQTT 3.1.1 on this port, so it is reached, and says so.
    running.wait_for("another broker", |lines| {
        let last = lines.iter().rev().find(|line| line.contains("broker"))?;
        (!last.contains("127.0.0.1:1:")).then_some(())
    });
    running.signal(Signal::INT);
    assert!(running.wait_for_end().success());
    assert!(!console.exists(), "the console's link is left behind");
}

#[test]
fn commands_come_over_mqtt_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "broker");
    let Some(mut subscriber) = Subscriber::to_port(at, "powermeter/#") else {
        return;
    };
    let status = subscriber.wait_until("the status", |messages| {
        messages
            .iter()
            .any(|message| message.topic.ends_with("/state/sample"))
    });
    let json: serde_json::Value = serde_json::from_str(&status[0].text()).unwrap();
    assert!(
        json["power"].is_number() && json["volt"].as_f64() > Some(200.0),
        "{json}"
    );
    let mut publish = std::process::Command::new("mosquitto_pub");
    let payload = r#"{"cmd":"getVoltage"}"#;
    publish.args(["-p", &at.to_string(), "-t", "powermeter/cmd", "-m", payload]);
    assert!(publish.status().unwrap().success());
    subscriber.wait_until("the answer", |messages| {
        let mut answers = messages
            .iter()
            .filter(|message| message.topic.ends_with("/state/info"));
        answers.any(|message| {
            message
                .text()
                .starts_with(r#"{"error":false,"cmd":"getVoltage""#)
        })
    });
}

#[test]
fn standard_input_is_the_meter_or_the_console() {
    let ended = firmware::run(&["run", "--p1", "-", "--console", "-"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("give --console a path"),
        "{}",
        ended.stderr
    );
    let mut child = command(&["run", "--console", "-"]);
    let mut running =
        Running::start_with_input("metertrekker", child.stdin(std::process::Stdio::piped()));
    running.wait_for_line("standard input and output");
    running.stop();
}
