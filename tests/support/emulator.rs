//! A board that is on in QEMU, whichever it is: its console, its meter's line, its counters, and what scenarios want of it.

use std::fs;
use std::io::{Read, Write};
use std::ops::DerefMut;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::caller::TheDevice;
use super::child::{PATIENCE, Running};
use super::peers::{Mosquitto, Subscriber};

/// What its monitor asks with.
const PROMPT: &[u8] = b"(qemu) ";

/// QEMU with an image, a line to its UART and one to its monitor.
pub struct Emulator {
    running: Running,
    folder: Arc<TempDir>,
    line: Option<UnixStream>,
    /// What the board's lines of counters begin with.
    counters: &'static str,
}

impl Emulator {
    /// Starts QEMU with its sockets in a folder, and the standard input that the command has.
    pub fn start(command: &mut Command, folder: &Arc<TempDir>, counters: &'static str) -> Self {
        for (option, socket) in [("-serial", "p1"), ("-monitor", "monitor")] {
            let path = folder.path().join(socket);
            // Of the last run.
            let _ = fs::remove_file(&path);
            let socket = format!("unix:{},server=on,wait=off", path.display());
            command.args([option, &socket]);
        }
        let running = Running::start_with_input("QEMU", command);
        Self {
            running,
            folder: Arc::clone(folder),
            line: None,
            counters,
        }
    }

    /// A file of the board's.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has shown.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// What it shows, to wait for something.
    pub fn console(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Sends bytes as the meter. They are taken as fast as the image fetches them, or as it asks for them.
    pub fn send(&mut self, bytes: &[u8]) {
        let path = self.file("p1");
        let line = self
            .line
            .get_or_insert_with(|| UnixStream::connect(path).expect("the UART's socket"));
        line.write_all(bytes).expect("the UART takes bytes");
    }

    /// Tells the emulator's monitor something.
    pub fn tell_monitor(&self, command: &str) {
        let monitor = UnixStream::connect(self.file("monitor"));
        let mut monitor = monitor.expect("the monitor's socket");
        monitor
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        // The monitor drops what comes with the connection's end.
        writeln!(monitor, "{command}").expect("the monitor takes it");
        let mut said = Vec::new();
        let mut byte = [0];
        // It asks for a command twice: before this one, and when it is done.
        while said
            .windows(PROMPT.len())
            .filter(|part| part == &PROMPT)
            .count()
            < 2
        {
            monitor.read_exact(&mut byte).expect("the monitor's prompt");
            said.extend(byte);
        }
    }

    /// How many lines start so.
    pub fn count(&self, word: &str) -> usize {
        let lines = self.running.lines();
        lines.iter().filter(|line| line.starts_with(word)).count()
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
        let word = self.counters;
        self.running.wait_for(what, |lines| {
            let mut all = lines.iter().filter_map(|line| Stats::of(word, line));
            all.rfind(|stats| enough(stats))
        })
    }

    /// The counters that were told last: at its end, those of the whole run.
    pub fn last_stats(&mut self) -> Stats {
        self.wait_for_stats("counters", |_| true)
    }

    /// The counters as they are from now on.
    pub fn next_stats(&mut self) -> Stats {
        let before = self.count(self.counters);
        self.wait_for_event(self.counters, before + 1);
        self.last_stats()
    }

    /// Waits until the emulator ends, and returns its status.
    pub fn end(&mut self) -> Option<i32> {
        self.running.wait_for_end().code()
    }
}

/// A line of counters.
#[derive(Debug)]
pub struct Stats(String);

impl Stats {
    /// A line that begins with this word.
    pub fn of(word: &str, line: &str) -> Option<Self> {
        line.starts_with(word).then(|| Self(line.into()))
    }

    /// A counter's value.
    pub fn get(&self, name: &str) -> u32 {
        let mut pairs = self.0.split(' ').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(found, _)| *found == name);
        let (_, value) = value.unwrap_or_else(|| panic!("no counter {name} in {self:?}"));
        value.parse().expect("a number")
    }

    /// These are all 0.
    pub fn has_none_of(&self, names: &[&str]) {
        for name in names {
            assert_eq!(self.get(name), 0, "{name}: {self:?}");
        }
    }
}

/// Counters of the firmware that stay 0 while nothing goes wrong.
pub const NEVER: [&str; 13] = [
    "refused",
    "fell",
    "noise",
    "overrun",
    "framing",
    "parity",
    "superseded",
    "too_large",
    "unacknowledged",
    "in_flight",
    "rejected",
    "failed_connections",
    "storage_errors",
];

/// What a board is given beside its broker.
#[derive(Clone, Copy, Default)]
pub struct With<'a> {
    /// Settings.
    pub settings: &'a [(&'a str, &'a str)],
    /// Arguments for QEMU beside its network card, whose name is `net0`.
    pub arguments: &'a [&'a str],
    /// All that is sent is a recording, which the line holds back while nobody takes it; where the line can.
    pub is_recording: bool,
    /// What the meter speaks with; where the line has a speed, and unless it is 115200 8N1.
    pub meter: Option<u32>,
}

/// A board in the emulator that is on, as the scenarios of all boards want it.
pub trait Emulated: DerefMut<Target = Emulator> + Sized {
    /// What it is called.
    const NAME: &'static str;
    /// Clients of the commands at a time, and samples a second: as the board's file says.
    const SESSIONS: usize;
    const MAX_RATE: u32;
    /// Where it is reached by [`Emulated::with_commands`], and where it reaches this machine's loopback then.
    const ADDRESS: [u8; 4];
    const HOST: &'static str;
    /// How many telegrams are enough to see that nothing is left behind.
    const TELEGRAMS: u32;
    /// Bytes of stack, which it stays below while it receives and publishes.
    const DEEPEST: u32;

    /// A device that has been set up, and is on: in its network soon, and at this broker, where it publishes each telegram. `None` when
    /// something is missing here.
    fn at_broker(broker: &Mosquitto, with: &With<'_>) -> Option<Self>;

    /// A device that has an address, without a broker, and this machine's port that is the one of its commands.
    fn with_commands() -> Option<(Self, u16)>;

    /// Switches it off without a word, and on again.
    fn cut_power(&mut self);

    /// Waits until it has seen that its network is gone.
    fn wait_for_lost_network(&mut self);

    /// Sends telegrams no faster than all of them are published.
    fn send_all(&mut self, pieces: &[Vec<u8>], subscriber: &Subscriber);

    /// Nothing was lost, or kept that should not be.
    fn is_well(&mut self);

    /// The same when it has ended.
    fn has_been_well(&mut self);

    /// Nothing was lost on the way of so many telegrams.
    fn has_lost_nothing(&mut self, telegrams: u32);

    /// Makes a device on this machine what the board is.
    fn adapt(device: &mut TheDevice<'_, '_>);
}

/// How long a board may take for what it does after half a minute.
pub fn wait_long(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE + Duration::from_secs(60);
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}
