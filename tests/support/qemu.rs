//! The emulated lx106: QEMU with an image that `cargo xtask test lx106` has built.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::child::{PATIENCE, Running};
use super::peers::{Mosquitto, did_not_run, find};

/// The program of the emulator, with an image; `None` when one of the two is missing.
pub fn qemu(image: &str) -> Option<Command> {
    qemu_of("lx106", image)
}

/// The same with an image that another tier builds.
pub fn qemu_of(tier: &str, image: &str) -> Option<Command> {
    let qemu = find("qemu-system-xtensa", "`./test` installs it")?;
    let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("firmware")
        .join(image);
    if !path.is_file() {
        did_not_run(&format!(
            "{image} is not built: `cargo xtask test {tier}` builds it"
        ));
        return None;
    }
    let mut command = Command::new(qemu);
    command
        .args(["-M", "lx60-nommu", "-cpu", "lx106"])
        .args(["-semihosting", "-display", "none", "-kernel"])
        .arg(path);
    Some(command)
}

/// The board's image, with a line to its UART and one to the emulator's monitor.
pub struct Board {
    running: Running,
    folder: TempDir,
    line: Option<UnixStream>,
}

impl Board {
    /// Starts the image with these words, without a network, and waits until it is ready.
    pub fn without_broker(words: &[&str]) -> Option<Self> {
        let words = [&["network=false"], words].concat();
        let mut board = Self::begin(&["-nic", "none"], &words)?;
        board.connect();
        Some(board)
    }

    /// Starts the image with a broker and these words, and waits until it is ready.
    pub fn with_broker(broker: &Mosquitto, words: &[&str]) -> Option<Self> {
        Self::with_broker_and(broker, words, &[])
    }

    /// As [`with_broker`](Self::with_broker), with more arguments for QEMU.
    pub fn with_broker_and(broker: &Mosquitto, words: &[&str], more: &[&str]) -> Option<Self> {
        let port = format!("mqtt_port={}", broker.port());
        // This machine's loopback, seen from inside.
        let own = ["mqtt_server=10.0.2.2", &port, "interval=0", "stats=1"];
        let network = ["-nic", "user,model=open_eth,id=net0"];
        let mut board = Self::begin(&[&network, more].concat(), &[&own, words].concat())?;
        board.connect();
        Some(board)
    }

    /// Starts the image with these arguments for QEMU and these words for the image.
    pub fn begin(arguments: &[&str], words: &[&str]) -> Option<Self> {
        let mut command = qemu("qemu.elf")?;
        let folder = tempfile::tempdir().expect("a folder");
        for (option, socket) in [("-serial", "p1"), ("-monitor", "monitor")] {
            let path = folder.path().join(socket);
            let socket = format!("unix:{},server=on,wait=off", path.display());
            command.args([option, &socket]);
        }
        command.args(arguments).args(["-append", &words.join(" ")]);
        let running = Running::start("QEMU", &mut command);
        Some(Self {
            running,
            folder,
            line: None,
        })
    }

    /// Waits until the image is ready, and opens the line to its UART.
    pub fn connect(&mut self) {
        self.running.wait_for("it is ready", |lines| {
            lines
                .iter()
                .any(|line| line.starts_with("ready "))
                .then_some(())
        });
        let line = UnixStream::connect(self.folder.path().join("p1"));
        self.line = Some(line.expect("the UART's socket"));
    }

    /// The emulator.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The emulator, to wait for something.
    pub fn console(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Sends bytes to the UART, which takes them as fast as the image fetches them.
    pub fn send(&mut self, bytes: &[u8]) {
        let line = self.line.as_mut().expect("the UART is connected");
        line.write_all(bytes).expect("the UART takes bytes");
    }

    /// Tells the emulator's monitor something.
    pub fn tell_monitor(&self, command: &str) {
        let monitor = UnixStream::connect(self.folder.path().join("monitor"));
        let mut monitor = monitor.expect("the monitor's socket");
        // The monitor drops what comes with the connection's end.
        let told = writeln!(monitor, "{command}");
        told.expect("the monitor takes it");
        thread::sleep(Duration::from_millis(300));
    }

    /// The first `count` verdicts on telegrams.
    pub fn verdicts(&mut self, count: usize) -> Vec<String> {
        self.running
            .wait_for(&format!("{count} verdicts"), |lines| {
                let verdicts: Vec<String> = lines
                    .iter()
                    .filter(|line| line.starts_with("accepted ") || line.starts_with("refused "))
                    .cloned()
                    .collect();
                (verdicts.len() >= count).then_some(verdicts)
            })
    }

    /// Waits for so many lines that start with `word`.
    pub fn wait_for_event(&mut self, word: &str, count: usize) {
        let what = format!("{count} of {word:?}");
        self.running.wait_for(&what, |lines| {
            let found = lines.iter().filter(|line| line.starts_with(word)).count();
            (found >= count).then_some(())
        });
    }

    /// Waits for a line of counters of which `enough` says so.
    pub fn wait_for_stats(&mut self, what: &str, enough: impl Fn(&Stats) -> bool) -> Stats {
        self.running.wait_for(what, |lines| {
            let mut all = lines.iter().filter_map(|line| Stats::of(line));
            all.rfind(|stats| enough(stats))
        })
    }

    /// The counters as they are from now on.
    pub fn next_stats(&mut self) -> Stats {
        let before = self.count_of_stats();
        let deadline = Instant::now() + PATIENCE;
        while self.count_of_stats() == before {
            assert!(Instant::now() < deadline, "no counters");
            thread::sleep(Duration::from_millis(50));
        }
        self.wait_for_stats("counters", |_| true)
    }

    fn count_of_stats(&self) -> usize {
        let lines = self.running.lines();
        lines
            .iter()
            .filter(|line| Stats::of(line).is_some())
            .count()
    }
}

/// A line of counters.
#[derive(Debug)]
pub struct Stats(String);

impl Stats {
    fn of(line: &str) -> Option<Self> {
        let counters = line.strip_prefix("stats ")?;
        // The last of them: without it the line is still being written.
        counters.contains(" stack=").then(|| Self(counters.into()))
    }

    /// A counter's value.
    pub fn get(&self, name: &str) -> u32 {
        let mut pairs = self.0.split(' ').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(found, _)| *found == name);
        let (_, value) = value.unwrap_or_else(|| panic!("no counter {name} in {self:?}"));
        value.parse().expect("a number")
    }
}

/// Bytes of a line of the emulated board's ledger.
pub fn ledger(line: &str) -> u32 {
    ledger_of("qemu", line)
}

/// Bytes of a line of a board's ledger.
pub fn ledger_of(board: &str, line: &str) -> u32 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("boards").join(board).with_extension("toml");
    let text = fs::read_to_string(path).expect("the board's file");
    let board: toml::Table = text.parse().expect("TOML");
    let bytes = board["ram"]["lines"][line]["bytes"].as_integer();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .expect("a number")
}

/// A fixture's bytes.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All telegrams of a folder, one after the other.
pub fn telegrams(folder: &Path) -> Vec<u8> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "p1"))
        .collect();
    names.sort();
    names
        .iter()
        .flat_map(|path| fs::read(path).expect("a telegram"))
        .collect()
}
