//! How long the whole firmware takes from a telegram's end until the network card has its first segment.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::firmware;

/// CCOUNT's cycles per instruction under `-icount shift=10`, which gives an instruction 1024 ns: 40 MHz.
const CYCLES: f64 = 40.96;

/// How long to wait for a line of the console.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes the telegram twice on the emulated board, to a broker of this machine.
///
/// Returns instructions for the first, of which every topic is due, and for the second.
pub fn measure(image: &Path, telegram: &Path) -> Result<[u32; 2], String> {
    let bytes =
        fs::read(telegram).map_err(|e| format!("cannot read {}: {e}", telegram.display()))?;
    // What is left to come is the check's last digit and the line end.
    let most = bytes.len().saturating_sub(3);
    let mut bench = Bench::start(image)?;
    bench.wait_for("connected ")?;
    let mut instructions = [0; 2];
    for (n, instructions) in instructions.iter_mut().enumerate() {
        bench.send(&bytes[..most])?;
        thread::sleep(Duration::from_millis(300));
        bench.send(&bytes[most..])?;
        while counter(&bench.wait_for("stats ")?, "published") != Some(n as u32 + 1) {}
        // By the next line its segments have left.
        let stats = bench.wait_for("stats ")?;
        let cycles =
            counter(&stats, "cycles_to_card").ok_or("the image tells no cycles_to_card")?;
        *instructions = (f64::from(cycles) / CYCLES).round() as u32;
    }
    Ok(instructions)
}

fn counter(stats: &str, name: &str) -> Option<u32> {
    let mut pairs = stats.split(' ').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name)?.1.parse().ok()
}

/// The board and its broker, which end with it.
struct Bench {
    broker: Child,
    emulator: Child,
    line: UnixStream,
    console: Receiver<String>,
}

impl Bench {
    fn start(image: &Path) -> Result<Self, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|e| format!("no free port: {e}"))?.port();
        // Without a configuration it listens on the loopback alone.
        let broker = Command::new("mosquitto")
            .args(["-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start mosquitto: {e}"))?;
        let socket = image.with_file_name("bench.p1");
        let serial = format!("unix:{},server=on", socket.display());
        let words = format!("mqtt_server=10.0.2.2 mqtt_port={port} interval=0 stats=1");
        let mut emulator = firmware::emulator(image)
            .args(["-monitor", "none", "-serial", &serial])
            .args(["-nic", "user,model=open_eth"])
            .args(["-icount", "shift=10", "-append", &words])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start the emulator: {e}"))?;
        // It waits for somebody at the other end.
        let line = connect(&socket)?;
        let stdout = emulator.stdout.take().ok_or("no console")?;
        let (sender, console) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Nobody waits for more once the bench has ended.
            lines
                .take_while(|line| sender.send(line.clone()).is_ok())
                .count()
        });
        Ok(Self {
            broker,
            emulator,
            line,
            console,
        })
    }

    fn wait_for(&self, start: &str) -> Result<String, String> {
        loop {
            let line = self.console.recv_timeout(PATIENCE);
            let line = line.map_err(|_| format!("the emulator has not said {start:?}"))?;
            if line.starts_with(start) {
                return Ok(line);
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.line.write_all(bytes);
        sent.map_err(|e| format!("the emulated UART: {e}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for child in [&mut self.emulator, &mut self.broker] {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn connect(socket: &Path) -> Result<UnixStream, String> {
    let mut last = String::new();
    for _ in 0..100 {
        match UnixStream::connect(socket) {
            Ok(line) => return Ok(line),
            Err(e) => last = format!("the emulated UART at {}: {e}", socket.display()),
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(last)
}
