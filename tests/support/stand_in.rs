//! The chip's own glue in the emulator, with a stand-in for the vendor's functions: the image that `cargo xtask test chip` has built.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::child::Running;
use super::peers::Mosquitto;
use super::qemu::{ledger_of, qemu_of};

/// What the emulator ends with: the chip is reset, and the power is cut.
pub const RESET: i32 = 6;
pub const CUT: i32 = 9;

/// The network that is in the air, with its password.
pub const NETWORK: (&str, &str) = ("home", "secret-1");

/// A chip: its flash, and what outlives a reset. It is on while it is a [`Run`].
pub struct Chip {
    folder: TempDir,
}

/// What a run is given beside the chip.
pub struct With<'a> {
    /// Words for the image.
    pub words: &'a [&'a str],
    /// Arguments for QEMU, a network card among them.
    pub arguments: &'a [&'a str],
}

impl Default for With<'_> {
    fn default() -> Self {
        Self {
            words: &[],
            arguments: &["-nic", "user,model=open_eth,id=net0"],
        }
    }
}

impl Chip {
    /// One whose flash is erased.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    /// Its flash.
    pub fn flash(&self) -> PathBuf {
        self.folder.path().join("flash")
    }

    /// Switches it on, in the air of [`NETWORK`]; `None` when something is missing here.
    pub fn start(&self, with: &With<'_>) -> Option<Run> {
        let mut command = qemu_of("chip", "d1-mini-stand-in.elf")?;
        let path = |name: &str| self.folder.path().join(name);
        for (option, socket) in [("-serial", "p1"), ("-monitor", "monitor")] {
            let _ = fs::remove_file(path(socket));
            let socket = format!("unix:{},server=on,wait=off", path(socket).display());
            command.args([option, &socket]);
        }
        let (ssid, password) = NETWORK;
        let own = format!(
            "flash={} rtc={} network={ssid},{password},6,-60 report=1 {}",
            path("flash").display(),
            path("rtc").display(),
            with.words.join(" ")
        );
        command.args(with.arguments).args(["-append", &own]);
        let running = Running::start_with_input("QEMU", command.stdin(Stdio::piped()));
        Some(Run {
            running,
            folder: self.folder.path().to_owned(),
            line: None,
        })
    }

    /// Switches it on for the first time and sets it up as a user does: by lines that are typed in its first ten seconds. It starts over
    /// then, and is off.
    pub fn set_up(&self, broker: &Mosquitto) -> Option<()> {
        let mut run = self.start(&With::default())?;
        run.set_up(broker);
        assert_eq!(run.end(), Some(RESET));
        // A change of settings goes deepest.
        run.last_counters().has_stack_left();
        Some(())
    }
}

/// A chip that is on.
pub struct Run {
    running: Running,
    folder: PathBuf,
    line: Option<UnixStream>,
}

impl Run {
    /// What it shows, to wait for something.
    pub fn console(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.running.type_line(line);
    }

    /// Types a line and waits for what it is answered.
    pub fn ask(&mut self, line: &str) -> String {
        let answers = |lines: &[String]| {
            let all = lines.iter().filter(|line| line.starts_with("Info:{"));
            all.cloned().collect::<Vec<_>>()
        };
        // An event that is told meanwhile would stand in the middle of the answer: there is one transmitter.
        thread::sleep(Duration::from_millis(300));
        let before = answers(&self.running.lines()).len();
        self.types(line);
        let what = format!("an answer to {line}");
        self.running
            .wait_for(&what, |lines| answers(lines).get(before).cloned())
    }

    /// Types what a device needs to know.
    pub fn set_up(&mut self, broker: &Mosquitto) {
        self.wait_for("network up 192.168.4.1", 1);
        let (ssid, password) = NETWORK;
        for line in [
            format!(r#"{{"cmd":"addWifi","payload":{{"ssid":"{ssid}","pwd":"{password}"}}}}"#),
            r#"{"cmd":"settings","payload":{"interval":0,"time_server":"-"}}"#.to_owned(),
            format!(
                r#"{{"cmd":"mqttServer","payload":{{"server":"10.0.2.2","port":{}}}}}"#,
                broker.port()
            ),
        ] {
            let answer = self.ask(&line);
            assert!(answer.contains(r#""error":false"#), "{line}: {answer}");
        }
    }

    /// Waits until the emulator ends, and returns its status.
    pub fn end(&mut self) -> Option<i32> {
        self.running.wait_for_end().code()
    }

    /// Waits for so many lines that start with `word`.
    pub fn wait_for(&mut self, word: &str, count: usize) {
        let what = format!("{count} of {word:?}");
        self.running.wait_for(&what, |lines| {
            let found = lines.iter().filter(|line| line.starts_with(word)).count();
            (found >= count).then_some(())
        });
    }

    /// How many lines start so.
    pub fn count(&self, word: &str) -> usize {
        let lines = self.running.lines();
        lines.iter().filter(|line| line.starts_with(word)).count()
    }

    /// Sends bytes as the meter, which waits until it is asked for them.
    pub fn send(&mut self, bytes: &[u8]) {
        let path = self.folder.join("p1");
        let line = self
            .line
            .get_or_insert_with(|| UnixStream::connect(path).expect("the UART's socket"));
        line.write_all(bytes).expect("the UART takes bytes");
    }

    /// Tells the emulator's monitor something.
    pub fn tell_monitor(&self, command: &str) {
        let monitor = UnixStream::connect(self.folder.join("monitor"));
        let mut monitor = monitor.expect("the monitor's socket");
        // The monitor drops what comes with the connection's end.
        writeln!(monitor, "{command}").expect("the monitor takes it");
        thread::sleep(Duration::from_millis(300));
    }

    /// The stand-in's counters as they are from now on.
    pub fn counters(&mut self) -> Counters {
        let count = self.count(COUNTERS);
        self.wait_for(COUNTERS, count + 1);
        self.last_counters()
    }

    /// The counters that were told last: at its end, those of the whole run.
    pub fn last_counters(&mut self) -> Counters {
        self.running.wait_for("counters", |lines| {
            let last = lines.iter().rfind(|line| line.starts_with(COUNTERS));
            last.map(|line| Counters(line.clone()))
        })
    }

    /// Ends the run well: nothing was lost or kept that should not be.
    pub fn is_well(&mut self) {
        let counters = self.counters();
        assert_eq!(counters.get("radio_buffers"), 0, "{counters:?}");
        counters.has_stack_left();
    }
}

const COUNTERS: &str = "stand-in: heap=";

/// What the stand-in has counted.
#[derive(Debug)]
pub struct Counters(String);

impl Counters {
    /// The stack was never deeper than the board's ledger says, whenever an interrupt came.
    fn has_stack_left(&self) {
        for deepest in ["stack_start", "stack"] {
            let most = ledger_of("d1-mini", "stack");
            assert!(self.get(deepest) <= most, "{deepest}: {self:?}");
        }
    }

    /// A counter's value.
    pub fn get(&self, name: &str) -> u32 {
        let mut pairs = self.0.split(' ').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(found, _)| *found == name);
        let (_, value) = value.unwrap_or_else(|| panic!("no counter {name} in {self:?}"));
        value.parse().expect("a number")
    }
}
