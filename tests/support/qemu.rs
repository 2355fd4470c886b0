//! The emulated lx106: QEMU with an image that `cargo xtask test lx106` has built.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use metertrekker::app::server::PORT;
use tempfile::TempDir;

use super::caller::TheDevice;
use super::emulator::{Emulated, Emulator, NEVER, With};
use super::peers::{Mosquitto, Subscriber, did_not_run, find, free_port};

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

/// The board's image, and what it was started with.
pub struct Board {
    emulator: Emulator,
    folder: Arc<TempDir>,
    arguments: Vec<String>,
    words: Vec<String>,
}

impl Deref for Board {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        &self.emulator
    }
}

impl DerefMut for Board {
    fn deref_mut(&mut self) -> &mut Emulator {
        &mut self.emulator
    }
}

/// This machine's loopback, seen from inside.
const HOST: &str = "10.0.2.2";

/// Values are a telegram's for so long, also on a busy machine.
const LASTING: &str = "timeout=120";

impl Board {
    /// Starts the image with these words, without a network, and waits until it is ready.
    pub fn without_broker(words: &[&str]) -> Option<Self> {
        let words = [&["network=false"], words].concat();
        let mut board = Self::begin(&["-nic", "none"], &words)?;
        board.wait_until_ready();
        Some(board)
    }

    /// Starts the image with a broker and these words, and waits until it is ready.
    pub fn with_broker(broker: &Mosquitto, words: &[&str]) -> Option<Self> {
        Self::with_broker_and(broker, words, &[])
    }

    /// As [`with_broker`](Self::with_broker), with more arguments for QEMU.
    pub fn with_broker_and(broker: &Mosquitto, words: &[&str], more: &[&str]) -> Option<Self> {
        let server = format!("mqtt_server={HOST}");
        let port = format!("mqtt_port={}", broker.port());
        let own = [&*server, &port, "interval=0", "stats=1"];
        let network = ["-nic", "user,model=open_eth,id=net0"];
        let mut board = Self::begin(&[&network, more].concat(), &[&own, words].concat())?;
        board.wait_until_ready();
        Some(board)
    }

    /// Starts the image with the commands' port and others forwarded to free ones, and waits until it has an address.
    pub fn with_ports<const N: usize>(ports: [u16; N], words: &[&str]) -> Option<(Self, [u16; N])> {
        let here = ports.map(|_| free_port());
        let pairs: Vec<_> = here.into_iter().zip(ports).collect();
        let network = format!("user,model=open_eth{}", forwarded(&pairs));
        let board = Self::in_network(&["-nic", &network], words)?;
        Some((board, here))
    }

    /// Starts the image without a broker, and waits until it has an address.
    pub fn in_network(network: &[&str], words: &[&str]) -> Option<Self> {
        let own = ["interval=0", "stats=1", "time_server=-", LASTING];
        let mut board = Self::begin(network, &[&own, words].concat())?;
        board.wait_until_ready();
        board.wait_for_event("network up", 1);
        Some(board)
    }

    /// Starts the image with these arguments for QEMU and these words for the image.
    pub fn begin(arguments: &[&str], words: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        Self::begin_in(Arc::new(folder), owned(arguments), owned(words))
    }

    fn begin_in(folder: Arc<TempDir>, arguments: Vec<String>, words: Vec<String>) -> Option<Self> {
        let mut command = qemu("qemu.elf")?;
        command.args(&arguments).args(["-append", &words.join(" ")]);
        command.stdin(Stdio::null());
        Some(Self {
            emulator: Emulator::start(&mut command, &folder, "stats "),
            folder,
            arguments,
            words,
        })
    }

    fn wait_until_ready(&mut self) {
        self.wait_for_event("ready ", 1);
    }

    /// The first `count` verdicts on telegrams.
    pub fn verdicts(&mut self, count: usize) -> Vec<String> {
        self.console()
            .wait_for(&format!("{count} verdicts"), |lines| {
                let verdicts: Vec<String> = lines
                    .iter()
                    .filter(|line| line.starts_with("accepted ") || line.starts_with("refused "))
                    .cloned()
                    .collect();
                (verdicts.len() >= count).then_some(verdicts)
            })
    }
}

/// Words that outlive their owner.
pub fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Ports of this machine that are the board's.
pub fn forwarded(ports: &[(u16, u16)]) -> String {
    let ports = ports.iter();
    ports
        .map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-:{there}"))
        .collect()
}

/// Words for what the board keeps, in files of a folder.
fn kept_in(folder: &Path) -> [String; 2] {
    ["state", "log"].map(|name| format!("{name}={}", folder.join(name).display()))
}

impl Emulated for Board {
    const NAME: &'static str = "Metertrekker-qemu";
    const SESSIONS: usize = 3;
    const MAX_RATE: u32 = 32_000;
    const ADDRESS: [u8; 4] = [10, 0, 2, 15];
    const HOST: &'static str = HOST;
    const TELEGRAMS: u32 = 600;
    const DEEPEST: u32 = 4_224;

    fn at_broker(broker: &Mosquitto, with: &With<'_>) -> Option<Self> {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut words = owned(&["interval=0", "stats=1", "time_server=-", LASTING]);
        words.extend([
            format!("mqtt_server={HOST}"),
            format!("mqtt_port={}", broker.port()),
            format!("recording={}", with.is_recording),
        ]);
        words.extend(kept_in(folder.path()));
        let settings = with.settings.iter();
        words.extend(settings.map(|(key, value)| format!("{key}={value}")));
        let network = ["-nic", "user,model=open_eth,id=net0"];
        let arguments = owned(&[&network, with.arguments].concat());
        let mut board = Self::begin_in(folder, arguments, words)?;
        board.wait_until_ready();
        Some(board)
    }

    fn with_commands() -> Option<(Self, u16)> {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let port = free_port();
        let network = format!("user,model=open_eth{}", forwarded(&[(port, PORT)]));
        let mut words = owned(&["interval=0", "stats=1", "time_server=-", LASTING]);
        words.extend(kept_in(folder.path()));
        let mut board = Self::begin_in(folder, owned(&["-nic", &network]), words)?;
        board.wait_for_event("network up", 1);
        Some((board, port))
    }

    fn cut_power(&mut self) {
        self.console().kill();
        let (folder, arguments, words) = (&self.folder, &self.arguments, &self.words);
        let again = Self::begin_in(Arc::clone(folder), arguments.clone(), words.clone());
        *self = again.expect("QEMU");
        self.wait_until_ready();
    }

    fn wait_for_lost_network(&mut self) {
        self.wait_for_event("network down", 1);
    }

    fn send_all(&mut self, pieces: &[Vec<u8>], _: &Subscriber) {
        self.send(&pieces.concat());
    }

    fn is_well(&mut self) {
        self.next_stats();
        self.has_been_well();
    }

    fn has_been_well(&mut self) {
        let stats = self.last_stats();
        for deepest in ["stack_start", "stack"] {
            assert!(
                stats.get(deepest) <= ledger("stack"),
                "{deepest}: {stats:?}"
            );
        }
        for never in ["storage_errors", "frames_damaged", "frames_unsent"] {
            assert_eq!(stats.get(never), 0, "{never}: {stats:?}");
        }
    }

    fn has_lost_nothing(&mut self, telegrams: u32) {
        let stats = self.wait_for_stats("all are published", |stats| {
            stats.get("published") == telegrams
        });
        stats.has_none_of(&NEVER);
        assert_eq!(stats.get("connections"), 1);
    }

    fn adapt(device: &mut TheDevice<'_, '_>) {
        device.set_max_rate(Self::MAX_RATE);
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
    files(folder).concat()
}

/// The files of a folder that have telegrams.
pub fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "p1"))
        .collect();
    names.sort();
    let read = |path: &PathBuf| fs::read(path).expect("a telegram");
    names.iter().map(read).collect()
}
