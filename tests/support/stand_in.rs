//! The chip's own glue in the emulator, with a stand-in for the vendor's functions: the image that `cargo xtask test chip` has built.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use metertrekker::app::server::PORT;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::caller::TheDevice;
use super::child::PATIENCE;
use super::emulator::{Emulated, Emulator, NEVER, Stats, With, wait_long};
use super::peers::{Mosquitto, Subscriber, free_port};
use super::published::wait_for_quiet;
use super::qemu::{fixture, ledger_of, owned, qemu_of};

/// What the emulator ends with: a word cannot be used, the chip is reset, the glue did what a chip does not forgive, and the power is cut.
pub const UNUSABLE: i32 = 4;
pub const RESET: i32 = 6;
pub const REFUSED: i32 = 7;
pub const CUT: i32 = 9;

/// The network that is in the air, with its password.
pub const NETWORK: (&str, &str) = ("home", "secret-1");

/// Instructions take the time that 31 million in a second take, and time stands still while QEMU waits for this machine.
pub const COUNTED: [&str; 2] = ["-icount", "shift=5"];

/// The meter sends whether it is asked or not.
pub const UNASKED: &str = "unasked=true";

/// From a telegram of most meters to the next.
pub const SECOND: Duration = Duration::from_secs(1);

/// The longest that we keep the SDK from its work, in microseconds.
const LONGEST_US: u32 = 10_000;

/// This machine's loopback, seen from a network that has it.
const GATEWAY: &str = "10.0.2.2";

/// A network card whose network is QEMU's own.
pub const CARD: [&str; 2] = ["-nic", "user,model=open_eth,id=net0"];

/// A chip: its flash, and what outlives a reset. It is on while it is a [`Run`].
#[derive(Clone)]
pub struct Chip {
    folder: Arc<TempDir>,
    image: &'static str,
}

impl Chip {
    /// One whose flash is erased, with P1 beside the console.
    pub fn new() -> Self {
        Self::of("d1-mini-stand-in.elf")
    }

    /// The same with P1 away from the console, as a new one is to be wired.
    pub fn swapped() -> Self {
        Self::of("d1-mini-swap-stand-in.elf")
    }

    fn of(image: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            folder: Arc::new(folder),
            image,
        }
    }

    /// Its flash.
    pub fn flash(&self) -> PathBuf {
        self.folder.path().join("flash")
    }

    /// Switches it on, in the air of [`NETWORK`]; `None` when something is missing here.
    pub fn start(&self) -> Option<Run> {
        self.start_with(&[])
    }

    /// The same with these words for the image.
    pub fn start_with(&self, words: &[&str]) -> Option<Run> {
        self.start_on(words, &CARD)
    }

    /// The same with arguments for QEMU, a network card among them.
    pub fn start_on(&self, words: &[&str], arguments: &[&str]) -> Option<Run> {
        self.begin(owned(words), owned(arguments))
    }

    fn begin(&self, words: Vec<String>, arguments: Vec<String>) -> Option<Run> {
        let mut command = qemu_of("chip", self.image)?;
        let (ssid, password) = NETWORK;
        let own = format!(
            "flash={} rtc={} network={ssid},{password},6,-60 report=1 {}",
            self.flash().display(),
            self.folder.path().join("rtc").display(),
            words.join(" ")
        );
        command.args(&arguments).args(["-append", &own]);
        Some(Run {
            emulator: Emulator::start(command.stdin(Stdio::piped()), &self.folder, COUNTERS),
            chip: self.clone(),
            words,
            arguments,
        })
    }

    /// Switches it on for the first time and sets it up as a user does: by lines that are typed in its first ten seconds. It starts over
    /// then, and is off.
    pub fn set_up(&self, broker: &Mosquitto, settings: &[(&str, &str)]) -> Option<()> {
        self.set_up_with(&[], broker, settings)
    }

    /// The same with these words for the image.
    pub fn set_up_with(
        &self,
        words: &[&str],
        broker: &Mosquitto,
        settings: &[(&str, &str)],
    ) -> Option<()> {
        let mut run = self.start_with(words)?;
        let _meter = words.contains(&UNASKED).then(|| run.talks(SECOND));
        run.set_up(broker, settings);
        assert_eq!(run.end(), Some(RESET));
        // A change of settings goes deepest.
        has_stack_left(&run.last_stats());
        Some(())
    }
}

/// A chip that is on, and how it was switched on.
pub struct Run {
    emulator: Emulator,
    chip: Chip,
    words: Vec<String>,
    arguments: Vec<String>,
}

impl Deref for Run {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl DerefMut for Run {
    fn deref_mut(&mut self) -> &mut Emulator {
        &mut self.emulator
    }
}

impl Run {
    /// Its flash.
    pub fn flash(&self) -> PathBuf {
        self.chip.flash()
    }

    /// Has a meter send a telegram again and again, as long as that lives.
    pub fn talks(&self, every: Duration) -> Talking {
        let line = self.file("p1");
        let until = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&until);
        thread::spawn(move || {
            let telegram = fixture("meters/esmr50.p1");
            let start = Instant::now();
            // QEMU makes its socket when it starts.
            let mut line = loop {
                match UnixStream::connect(&line) {
                    Ok(line) => break line,
                    Err(e) => assert!(start.elapsed() < PATIENCE, "the UART's socket: {e}"),
                }
                thread::sleep(Duration::from_millis(10));
            };
            let mut next = Instant::now();
            // It ends with the emulator, too.
            while !is_over.load(Ordering::Relaxed) && line.write_all(&telegram).is_ok() {
                next += every;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Talking(until)
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        self.console().type_line(line);
    }

    /// Has the receiver listen to the console until its own network is there: a busy machine may need longer than the first ten seconds.
    fn hold_console(&mut self) {
        let is_up = wait_long(|| {
            self.types("");
            thread::sleep(Duration::from_millis(200));
            self.count("network up 192.168.4.1") > 0
        });
        assert!(is_up, "its own network");
    }

    /// Types a line and waits for what it is answered.
    pub fn ask(&mut self, line: &str) -> String {
        for _ in 0..5 {
            let answer = self.try_ask(line);
            let json = answer.strip_prefix("Info:").unwrap_or_default();
            // Else an event was told in the middle of it: there is one transmitter.
            if serde_json::from_str::<Json>(json).is_ok() {
                return answer;
            }
        }
        panic!("no whole answer to {line}");
    }

    fn try_ask(&mut self, line: &str) -> String {
        let answers = |lines: &[String]| {
            let all = lines.iter().filter(|line| line.starts_with("Info:{"));
            all.cloned().collect::<Vec<_>>()
        };
        // What is told at a start or a change has been told by then.
        thread::sleep(Duration::from_millis(300));
        let before = answers(&self.running().lines()).len();
        self.types(line);
        let what = format!("an answer to {line}");
        self.console()
            .wait_for(&what, |lines| answers(lines).get(before).cloned())
    }

    /// The same when it has to be one that it is well.
    pub fn order(&mut self, line: &str) -> String {
        let answer = self.ask(line);
        assert!(answer.contains(r#""error":false"#), "{line}: {answer}");
        answer
    }

    /// Types what a device needs to know.
    pub fn set_up(&mut self, broker: &Mosquitto, settings: &[(&str, &str)]) {
        self.hold_console();
        let (ssid, password) = NETWORK;
        self.order(&format!(
            r#"{{"cmd":"addWifi","payload":{{"ssid":"{ssid}","pwd":"{password}"}}}}"#
        ));
        let mut all = json!({
            "interval": 0,
            "time_server": "-",
            "mqtt_server": GATEWAY,
            "mqtt_port": broker.port(),
        });
        for (key, value) in settings {
            all[key] = Json::from(*value);
        }
        // In one line: after it the chip starts over.
        self.order(&json!({"cmd": "settings", "payload": all}).to_string());
    }

    /// [`Emulated::with_commands`] with these words for the image and arguments for QEMU.
    pub fn with_commands_and(words: &[&str], arguments: &[&str]) -> Option<(Self, u16)> {
        let chip = Chip::new();
        let mut run = chip.start()?;
        run.hold_console();
        // Values are a telegram's for so long, also on a busy machine.
        let lasting = r#"{"interval":0,"time_server":"-","timeout":120}"#;
        run.order(&format!(r#"{{"cmd":"settings","payload":{lasting}}}"#));
        assert_eq!(run.end(), Some(RESET));
        let port = free_port();
        let network = format!(
            "user,model=open_eth,net=192.168.4.0/24,host={},dhcpstart=192.168.4.15,hostfwd=tcp:127.0.0.1:{port}-192.168.4.1:{PORT}",
            Self::HOST
        );
        let arguments = [&["-nic", &*network], arguments].concat();
        let mut run = chip.start_on(words, &arguments).expect("QEMU");
        run.wait_for_event("network up 192.168.4.1", 1);
        Some((run, port))
    }
}

/// A meter that talks.
pub struct Talking(Arc<AtomicBool>);

impl Drop for Talking {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Emulated for Run {
    const NAME: &'static str = "Metertrekker-c0ffee";
    const SESSIONS: usize = 1;
    const MAX_RATE: u32 = 50;
    const ADDRESS: [u8; 4] = [192, 168, 4, 1];
    const HOST: &'static str = "192.168.4.2";
    /// Each takes half a second: QEMU's network is slow to acknowledge, and the connection has room for one segment.
    const TELEGRAMS: u32 = 200;
    const DEEPEST: u32 = 6_000;

    fn at_broker(broker: &Mosquitto, with: &With<'_>) -> Option<Self> {
        let chip = Chip::new();
        chip.set_up(broker, with.settings)?;
        let meter = with.meter.map(|baud| format!("meter={baud}"));
        let words: Vec<&str> = meter.iter().map(String::as_str).collect();
        chip.start_on(&words, &[&CARD, with.arguments].concat())
    }

    /// At its access point, whose network QEMU plays.
    fn with_commands() -> Option<(Self, u16)> {
        Self::with_commands_and(&[], &[])
    }

    fn cut_power(&mut self) {
        self.console().kill();
        let (words, arguments) = (self.words.clone(), self.arguments.clone());
        *self = self.chip.begin(words, arguments).expect("QEMU");
    }

    /// It opens its access point meanwhile, and looks again after half a minute.
    fn wait_for_lost_network(&mut self) {
        self.wait_for_event("stand-in: access point Metertrekker-c0ffee", 1);
        self.wait_for_event("network up 192.168.4.1", 1);
    }

    /// One after the other, each when what the last says is published: a meter sends the next after a second, not at once.
    fn send_all(&mut self, pieces: &[Vec<u8>], subscriber: &Subscriber) {
        // Longer than QEMU's network waits with an acknowledgement, which is 0.2 s: the connection has room for one segment.
        const QUIET: Duration = Duration::from_millis(300);
        for piece in pieces {
            let accepted = self.count("accepted ");
            let refused = self.count("refused ");
            let told = subscriber.messages().len();
            self.send(piece);
            let within = |seconds, enough: &dyn Fn() -> bool| {
                let deadline = Instant::now() + Duration::from_secs(seconds);
                while !enough() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(20));
                }
            };
            // Some have no verdict; and the first is not heard as long as the console has the receiver.
            within(12, &|| {
                self.count("accepted ") > accepted || self.count("refused ") > refused
            });
            // One that is older than the last is accepted, and says nothing.
            if self.count("accepted ") > accepted {
                within(3, &|| subscriber.messages().len() > told);
            }
            wait_for_quiet(subscriber, QUIET);
        }
    }

    fn is_well(&mut self) {
        // A frame may be under way at the moment of counting.
        let is_free = wait_long(|| self.next_stats().get("radio_buffers") == 0);
        assert!(is_free, "buffers of the radio are kept");
        let stats = self.last_stats();
        has_stack_left(&stats);
    }

    fn has_been_well(&mut self) {
        let stats = self.last_stats();
        assert_eq!(stats.get("radio_buffers"), 0, "{stats:?}");
        has_stack_left(&stats);
        if self.arguments.iter().any(|word| word == COUNTED[0]) {
            assert!(stats.get("longest_us") < LONGEST_US, "{stats:?}");
        }
    }

    /// The firmware tells its own counters every minute, in several lines.
    fn has_lost_nothing(&mut self, telegrams: u32) {
        let all = format!(" published={telegrams} ");
        let told = |run: &Self| {
            let lines = run.running().lines();
            let lines = lines.iter().filter(|line| line.starts_with("stats "));
            // The last that was told comes first.
            let last: Vec<&str> = lines.rev().map(String::as_str).collect();
            let is_whole = last.first().is_some_and(|line| line.contains(" stack="));
            let whole = last.join(" ");
            (is_whole && whole.contains(&all)).then_some(whole)
        };
        assert!(wait_long(|| told(self).is_some()), "not{all}");
        let stats = told(self).and_then(|lines| Stats::of("stats ", &lines));
        let stats = stats.expect("counters");
        stats.has_none_of(&NEVER);
        stats.has_none_of(&["frames_missed", "frames_unsent"]);
        assert_eq!(stats.get("connections"), 1, "{stats:?}");
        // What was taken of the heap has been given back.
        let stats = self.next_stats();
        assert!(stats.get("heap_pieces") <= 4, "{stats:?}");
        assert!(stats.get("heap_low") > 4096, "{stats:?}");
        assert_eq!(stats.get("frames_thrown"), 0, "{stats:?}");
    }

    fn adapt(device: &mut TheDevice<'_, '_>) {
        device.set_max_rate(Self::MAX_RATE);
        device.has_no_outlet();
    }
}

const COUNTERS: &str = "stand-in: heap=";

/// The stack was never deeper than the board's ledger says, whenever an interrupt came.
fn has_stack_left(stats: &Stats) {
    for deepest in ["stack_start", "stack"] {
        let most = ledger_of("d1-mini", "stack");
        assert!(stats.get(deepest) <= most, "{deepest}: {stats:?}");
    }
}
