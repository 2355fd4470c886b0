//! Real programs on loopback: mosquitto, Telegraf, InfluxDB, chrony, Zeroconf. Each has a free port and its state in a folder of its own, and
//! ends with its owner.
//!
//! A peer that is not installed is a panic under `CI=true`. Elsewhere `start` says on standard error what did not run,
//! past the test harness's capture, and returns `None`: the test ends there.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::child::{PATIENCE, Running};

/// A loopback port that nobody listened on a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port on loopback")
        .port()
}

/// Where a program is, on PATH or where Debian keeps daemons.
pub fn find(program: &str, install: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/local/sbin".into(), "/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(program, install);
    }
    found
}

fn missing(program: &str, install: &str) {
    did_not_run(&format!("{program} is not installed: {install}"));
}

/// Tells why the test did not run; under CI that is a failure.
pub fn did_not_run(why: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{why}");
    let test = thread::current().name().unwrap_or("test").to_owned();
    // In one piece, since other tests write at the same time.
    let _ = io::stderr().write_all(format!("\ndid not run: {test}: {why}\n").as_bytes());
}

/// What a [`Mosquitto`] is to be like.
#[derive(Clone, Copy, Default)]
pub struct MosquittoConfig<'a> {
    /// A free one unless given.
    pub port: Option<u16>,
    /// User and password that it wants; anybody may come in unless given.
    pub login: Option<(&'a str, &'a str)>,
    /// The highest QoS it takes, 2 unless given.
    pub max_qos: Option<u8>,
    /// Whether retained messages and sessions outlive a stop.
    pub persistent: bool,
}

/// A broker, MQTT 3.1.1 and 5 on one port.
pub struct Mosquitto {
    port: u16,
    program: PathBuf,
    folder: TempDir,
    login: Option<(String, String)>,
    running: Running,
}

impl Mosquitto {
    /// Starts a broker and waits until it listens.
    pub fn start(config: MosquittoConfig) -> Option<Mosquitto> {
        let program = find("mosquitto", "apt-get install mosquitto")?;
        find("mosquitto_sub", "apt-get install mosquitto-clients")?;
        let folder = tempfile::tempdir().expect("a folder for mosquitto");
        // Between the look for a free port and its use, somebody else may take it.
        let (port, running) = (0..5)
            .find_map(|_| {
                let port = config.port.unwrap_or_else(free_port);
                fs::write(
                    folder.path().join("mosquitto.conf"),
                    mosquitto_conf(port, &config, folder.path()),
                )
                .expect("mosquitto.conf is written");
                Some((port, run_mosquitto(&program, folder.path())?))
            })
            .expect("a port that nobody else takes");
        let login = config
            .login
            .map(|(user, password)| (user.to_owned(), password.to_owned()));
        Some(Mosquitto {
            port,
            program,
            folder,
            login,
            running,
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it in good order: its clients see the connection close.
    pub fn stop(&mut self) {
        self.running.stop();
    }

    /// Starts it again on the same port after [`stop`](Self::stop).
    pub fn start_again(&mut self) {
        self.running.stop();
        self.running = run_mosquitto(&self.program, self.folder.path())
            .unwrap_or_else(|| panic!("somebody else has taken port {}", self.port));
    }

    /// Changes the one login of a broker that has one, while it runs.
    pub fn change_login(&mut self, user: &str, password: &str) {
        set_password(self.folder.path(), user, password);
        self.login = Some((user.to_owned(), password.to_owned()));
        self.running.signal(Signal::HUP);
        self.running.wait_for_line("Reloading config");
    }

    /// Its log, to wait for something that a client does.
    pub fn log(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Publishes one message through mosquitto_pub and waits until the broker has taken it.
    pub fn publish(&self, topic: &str, payload: &str, qos: u8, retain: bool) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-t", topic, "-m", payload, "-q", &qos.to_string()]);
        if retain {
            command.arg("-r");
        }
        let output = command.output().expect("mosquitto_pub starts");
        assert!(
            output.status.success(),
            "mosquitto_pub: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Subscribes a mosquitto_sub.
    pub fn subscribe(&self, topic: &str) -> Subscriber {
        Subscriber::start(self.client("mosquitto_sub"), topic)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = client(program, self.port);
        if let Some((user, password)) = &self.login {
            command.args(["-u", user, "-P", password]);
        }
        command
    }
}

fn client(program: &str, port: u16) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    command
}

fn mosquitto_conf(port: u16, config: &MosquittoConfig, folder: &Path) -> String {
    let folder = folder.display();
    let mut conf = format!("listener {port} 127.0.0.1\nlog_type all\nlog_dest stderr\n");
    // As root it would become a user of its own, who may not read a folder of ours.
    conf += "user root\n";
    // Else QoS 1 waits for a subscriber that is behind, and QoS 0 overtakes it.
    conf += "max_inflight_messages 0\nmax_queued_messages 0\n";
    if let Some(qos) = config.max_qos {
        let _ = writeln!(conf, "max_qos {qos}");
    }
    if config.persistent {
        let _ = writeln!(conf, "persistence true\npersistence_location {folder}/");
    }
    match config.login {
        Some((user, password)) => {
            set_password(Path::new(&folder.to_string()), user, password);
            let _ = writeln!(
                conf,
                "allow_anonymous false\npassword_file {folder}/passwords"
            );
        }
        None => conf += "allow_anonymous true\n",
    }
    conf
}

fn set_password(folder: &Path, user: &str, password: &str) {
    let status = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(folder.join("passwords"))
        .args([user, password])
        .status()
        .expect("mosquitto_passwd starts");
    assert!(status.success(), "mosquitto_passwd: {status}");
}

/// Starts it and waits until it serves; `None` if its port is taken.
fn run_mosquitto(program: &Path, folder: &Path) -> Option<Running> {
    let mut running = Running::start(
        "mosquitto",
        Command::new(program)
            .arg("-c")
            .arg(folder.join("mosquitto.conf")),
    );
    let serves = running.wait_for("its start", |log| {
        log.iter().find_map(|line| {
            if line.contains("Address already in use") {
                return Some(false);
            }
            (line.contains("mosquitto version") && line.ends_with("running")).then_some(true)
        })
    });
    serves.then_some(running)
}

/// A message as a subscriber got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    /// It was there before the subscription.
    pub retained: bool,
    pub qos: u8,
    pub payload: Vec<u8>,
}

impl Message {
    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A mosquitto_sub that collects what it gets.
pub struct Subscriber {
    running: Running,
}

impl Subscriber {
    /// Subscribes to a broker that is no [`Mosquitto`] of ours.
    pub fn to_port(port: u16, topic: &str) -> Option<Subscriber> {
        find("mosquitto_sub", "apt-get install mosquitto-clients")?;
        Some(Subscriber::start(client("mosquitto_sub", port), topic))
    }

    /// Waits until the broker has confirmed the subscription: nothing published after this is missed.
    fn start(mut command: Command, topic: &str) -> Subscriber {
        // Payloads in hexadecimal: one may contain a line end.
        command.args([
            "-d",
            "-t",
            topic,
            "-q",
            "2",
            "-F",
            "message\t%t\t%r\t%q\t%x",
        ]);
        let mut running = Running::start("mosquitto_sub", &mut line_buffered(&command));
        running.wait_for_line("Subscribed (mid:");
        Subscriber { running }
    }

    /// All messages so far, in their order.
    pub fn messages(&self) -> Vec<Message> {
        self.running
            .lines()
            .iter()
            .filter_map(|line| message(line))
            .collect()
    }

    /// Waits until `enough` says so of the messages so far, and returns them.
    pub fn wait_until(&mut self, what: &str, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        self.running.wait_for(what, |lines| {
            let messages: Vec<Message> = lines.iter().filter_map(|line| message(line)).collect();
            enough(&messages).then_some(messages)
        })
    }

    /// Waits for so many messages.
    pub fn wait_for_count(&mut self, count: usize) -> Vec<Message> {
        self.wait_until(&format!("{count} messages"), |messages| {
            messages.len() >= count
        })
    }
}

/// The same command with its output buffered by the line, also into a pipe.
fn line_buffered(command: &Command) -> Command {
    let mut wrapped = Command::new("stdbuf");
    wrapped
        .arg("-oL")
        .arg(command.get_program())
        .args(command.get_args());
    wrapped
}

fn message(line: &str) -> Option<Message> {
    let mut parts = line.strip_prefix("message\t")?.split('\t');
    let (topic, retained, qos, payload) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Message {
        topic: topic.to_owned(),
        retained: retained == "1",
        qos: qos.parse().ok()?,
        payload: (0..payload.len() / 2)
            .map(|i| u8::from_str_radix(payload.get(2 * i..2 * i + 2)?, 16).ok())
            .collect::<Option<_>>()?,
    })
}

/// Telegraf with configuration files of the caller's.
pub struct Telegraf {
    running: Running,
}

impl Telegraf {
    /// Starts it and does not wait: when it is ready depends on its configuration.
    pub fn start(configs: &[&Path], envs: &[(&str, &str)]) -> Option<Telegraf> {
        // Where `cargo xtask tools` puts it: target/tools beside target/tmp.
        let built =
            Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/telegraf/telegraf");
        let program = if built.is_file() {
            built
        } else {
            find("telegraf", "`cargo xtask tools` builds it")?
        };
        let mut command = Command::new(program);
        command.envs(envs.iter().copied());
        for config in configs {
            command.arg("--config").arg(config);
        }
        Some(Telegraf {
            running: Running::start("telegraf", &mut command),
        })
    }

    /// Ends it in good order: what it holds is written first.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

/// Debian's InfluxDB 1.6, asked over HTTP.
pub struct Influxd {
    port: u16,
    running: Running,
    // Removed only after the program has ended: fields are dropped in their order.
    _folder: TempDir,
}

impl Influxd {
    /// Starts it and waits until it answers.
    pub fn start() -> Option<Influxd> {
        let program = find("influxd", "apt-get install influxdb")?;
        let folder = tempfile::tempdir().expect("a folder for influxd");
        let conf = folder.path().join("influxdb.conf");
        fs::write(&conf, influxdb_conf(folder.path())).expect("influxdb.conf is written");
        let mut running =
            Running::start("influxd", Command::new(program).arg("-config").arg(&conf));
        // It picks its port itself and tells.
        let port = running.wait_for("its port", |log| {
            let line = log.iter().find(|line| line.contains("Listening on HTTP"))?;
            let (_, rest) = line.split_once("addr=127.0.0.1:")?;
            rest.split(' ').next()?.parse().ok()
        });
        Some(Influxd {
            port,
            running,
            _folder: folder,
        })
    }

    /// Its HTTP address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The answer to an InfluxQL query, times in ns; an error in the answer is a panic.
    pub fn query(&self, database: &str, query: &str) -> Json {
        let path = format!(
            "/query?epoch=ns&db={}&q={}",
            percent(database),
            percent(query)
        );
        let body = http_get(self.port, &path);
        let answer: Json = serde_json::from_str(&body)
            .unwrap_or_else(|e| panic!("influxd answers no JSON ({e}): {body}"));
        assert!(
            answer["error"].is_null() && answer["results"][0]["error"].is_null(),
            "influxd answers {query} with {body}"
        );
        answer["results"][0].clone()
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

/// An NTP server that tells this machine's time as one of stratum 3 does, and sets no clock.
pub struct Chrony {
    port: u16,
    _folder: TempDir,
    running: Running,
}

impl Chrony {
    /// Starts it and waits until it listens.
    pub fn start() -> Option<Chrony> {
        // Where `./test` unpacks it, beside target/tmp.
        let unpacked =
            Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/chrony/usr/sbin/chronyd");
        let program = match unpacked.is_file() {
            true => unpacked,
            false => find("chronyd", "`./test` unpacks it")?,
        };
        let folder = tempfile::tempdir().expect("a folder for chrony");
        let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.local_addr())
            .expect("a free port on loopback")
            .port();
        let conf = folder.path().join("chrony.conf");
        let pid = folder.path().join("pid");
        let text = format!(
            "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\nlocal stratum 3\ncmdport 0\npidfile {}\n",
            pid.display()
        );
        fs::write(&conf, text).expect("chrony.conf is written");
        let mut command = Command::new(program);
        // Without a hand on the clock (-x) it needs no rights (-U), and no other user either.
        command
            .args(["-x", "-U", "-d", "-u", "root", "-f"])
            .arg(conf);
        let mut running = Running::start("chronyd", &mut command);
        running.wait_for_line("Disabled control of system clock");
        Some(Chrony {
            port,
            _folder: folder,
            running,
        })
    }

    /// Its UDP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

/// A resolver that browses for this device's services at an address of this machine, and prints what comes and goes;
/// resolver.py says how. It has Debian's Python, whose package has Zeroconf.
pub fn resolver(address: &str) -> Option<Running> {
    const PYTHON: &str = "/usr/bin/python3";
    let has_zeroconf = Command::new(PYTHON)
        .args(["-c", "import zeroconf"])
        .output();
    if !has_zeroconf.is_ok_and(|output| output.status.success()) {
        missing("Zeroconf for Python", "apt-get install python3-zeroconf");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/resolver.py");
    let mut command = Command::new(PYTHON);
    command.args([script, address]).stdin(Stdio::piped());
    let mut running = Running::start_with_input("resolver.py", &mut command);
    running.wait_for_line("browsing");
    Some(running)
}

/// Both of a device's services, as the resolver prints them, with its stream on the usual port.
pub fn services(name: &str, host: &str, address: &str) -> [String; 2] {
    services_at(name, host, address, 54322)
}

/// The same with it on any port.
pub fn services_at(name: &str, host: &str, address: &str, stream: u16) -> [String; 2] {
    let texts = "auth_upload=yes board=metertrekker ssh_upload=no tcp_check=no";
    [
        format!("+ {name}._elec._tcp.local. {host}.local. {address}:{stream}"),
        format!("+ {name}._arduino._tcp.local. {host}.local. {address}:3232 {texts}"),
    ]
}

/// Waits until the resolver has printed all of these.
pub fn wait_for_all(resolver: &mut Running, lines: &[String]) {
    for line in lines {
        resolver.wait_for(line, |printed| printed.contains(line).then_some(()));
    }
}

fn influxdb_conf(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"reporting-enabled = false
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:0"
[ifql]
enabled = false
"#
    )
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The body of the answer. HTTP 1.0, so that it comes in one piece and ends with the connection.
fn http_get(port: u16, path: &str) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answer = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.unwrap_or_else(|e| panic!("no answer from {address}: {e}"));
    match answer.split_once("\r\n\r\n") {
        Some((_, body)) => body.to_owned(),
        None => panic!("no HTTP from {address}: {answer}"),
    }
}
