//! `metertrekker run`: the firmware on this machine.

mod device;
mod emulated;
mod firmware;
mod view;
mod watch;

use core::{
    cell::Cell,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use std::{
    ffi::OsString,
    format, fs, io,
    path::PathBuf,
    string::{String, ToString},
    vec::Vec,
};

use embassy_sync::mutex::Mutex;
use embassy_time::{Instant, Timer};

use super::{
    broker::{self, Broker},
    console,
    executor::block_on,
    flash::{self, FileFlash},
    net::Listener,
    p1::{self, HostPort, SimulatedPort, Source},
    simulator::{Kind, Simulator, UnknownKind},
};
use crate::{
    app::{outlet, server, stats::Stats},
    p1::port::Port,
    settings::{KEYS, SettingError, Settings},
    smartmeter::journal::{self, Journal},
    storage::{self, Store},
};
use device::StateDir;
use firmware::{Clients, Firmware};
use view::View;

/// Reads telegrams and publishes them; without options, from a simulated meter to a broker of its own
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where telegrams come from: a serial device, a file, - for stdin, tcp://HOST:PORT, or
    /// sim:KIND, the built-in meter (sim: for the usual one)
    #[arg(long, default_value = "sim:", value_name = "SOURCE")]
    pub p1: String,

    /// Where the firmware runs: on this machine, or on an ESP8266's core in QEMU
    #[arg(long, default_value = "host")]
    pub board: Board,

    /// The MQTT 5 broker; without it one is started in this process
    #[arg(long, value_name = "HOST[:PORT]")]
    pub broker: Option<String>,

    /// Stop at the input's end, when the broker has acknowledged everything
    #[arg(long)]
    pub once: bool,

    /// Folder for what survives a restart [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,

    /// Address that the broker in this process and the command protocol listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub listen: IpAddr,

    /// The serial console of the command protocol: - for standard input and output, or a path that
    /// becomes a pty
    #[arg(long, value_name = "PATH")]
    pub console: Option<OsString>,

    /// A setting for this run, as interval=0; may be given several times (--help shows all)
    #[arg(long, value_name = "KEY=VALUE", long_help = settings_help())]
    pub set: Vec<String>,
}

/// Where the firmware runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// This machine.
    Host,
    /// An emulated lx106, from the image that `cargo xtask firmware qemu` builds.
    Qemu,
}

fn settings_help() -> String {
    let rows = KEYS
        .iter()
        .map(|key| format!("  {:<24} {}\n", key.name, key.expected));
    let rows = rows.collect::<String>();
    format!(
        "A setting for this run; may be given several times:\n{}",
        rows.trim_end()
    )
}

/// Why a run cannot start, or ended without success.
#[derive(Debug)]
pub enum Error {
    /// A `--set` without `=`.
    NotASetting(String),
    /// No setting has this name.
    UnknownSetting(String),
    /// The value is out of its range, which follows.
    BadSetting(String, &'static str),
    /// `--broker` cannot be understood.
    Broker(String),
    /// A password without the user that it belongs to.
    PasswordAlone,
    /// The P1 source cannot be opened.
    P1(p1::Error),
    /// `--once` with an input that has no end.
    Endless(Source),
    /// No simulated meter has this name.
    Simulator(UnknownKind),
    /// The broker in this process cannot start.
    OwnBroker(broker::Error),
    /// The state's folder cannot be made.
    StateDir(PathBuf, io::Error),
    /// The state's file cannot be opened.
    Flash(flash::Error),
    /// The state cannot be read.
    Storage(storage::Error<flash::Error>),
    /// The log cannot be read.
    Journal(journal::Error<flash::Error>),
    /// The console cannot be opened.
    Console(console::Place, io::Error),
    /// Telegrams and commands cannot both come from standard input.
    TwoInputs,
    /// No port for commands can be had at this address.
    Listen(IpAddr, io::Error),
    /// The interrupt key cannot be watched.
    Interrupt(ctrlc::Error),
    /// The input ended without one valid telegram.
    NothingValid(String),
    /// The broker was not reached in time, and why.
    Unreachable(String),
    /// Not everything that was read has been published.
    Incomplete(u32),
    /// There is no image for the emulator.
    NoImage(PathBuf),
    /// The emulator is not installed.
    NoEmulator,
    /// The emulated board has ended by itself.
    Board(String),
    /// A setting is too long for MQTT.
    Mqtt(minimq::ConfigError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASetting(text) => {
                write!(
                    f,
                    "--set {text}: a setting is given as KEY=VALUE, such as interval=0"
                )
            }
            Self::UnknownSetting(name) => {
                write!(f, "--set {name}: there is no such setting; there are ")?;
                for (index, key) in KEYS.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{}", key.name)?;
                }
                Ok(())
            }
            Self::BadSetting(text, expected) => write!(f, "--set {text}: give {expected}"),
            Self::Broker(text) => write!(
                f,
                "--broker {text}: give HOST or HOST:PORT, an IPv6 address in brackets, and a port \
                 from 1 to 65535"
            ),
            Self::PasswordAlone => f.write_str(
                "mqtt_password is set and mqtt_user is not: give --set mqtt_user=NAME too",
            ),
            Self::Endless(source) => write!(
                f,
                "{source} never ends, so --once would wait for ever: leave it out, or give a file, - \
                 or tcp://HOST:PORT"
            ),
            Self::P1(error) => error.fmt(f),
            Self::Simulator(error) => error.fmt(f),
            Self::OwnBroker(error) => error.fmt(f),
            Self::StateDir(path, error) => write!(
                f,
                "{}: the folder for the state cannot be made: {error}",
                path.display()
            ),
            Self::Flash(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
            Self::Console(place, error) => write!(f, "{place}: no console there: {error}"),
            Self::TwoInputs => f.write_str(
                "standard input cannot be both the meter and the console: give --console a path",
            ),
            Self::Listen(address, error) => {
                write!(f, "{address}: commands cannot be listened for: {error}")
            }
            Self::Interrupt(error) => write!(f, "Ctrl-C cannot be watched: {error}"),
            Self::NothingValid(source) => write!(
                f,
                "{source}: the input ended without a valid telegram; `cargo run -- decode FILE` shows \
                 why"
            ),
            Self::Unreachable(reason) => f.write_str(reason),
            Self::Incomplete(count) => write!(
                f,
                "{count} messages or readings were dropped or rejected; the lines above say why"
            ),
            Self::NoImage(path) => write!(
                f,
                "{}: there is no such image; `cargo xtask firmware qemu` builds it, as `./run --board \
                 qemu` does",
                path.display()
            ),
            Self::NoEmulator => f.write_str(
                "qemu-system-xtensa is not on PATH: install it with `apt-get install qemu-system-misc`",
            ),
            Self::Board(end) => write!(f, "the emulated board ended: {end}"),
            Self::Mqtt(error) => write!(f, "the settings do not fit MQTT: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// With `--once`: how long the broker or the source may be away, and an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// After Ctrl-C: how long the good-bye may take. The emulated board looks half a second long whether more comes.
const FAREWELL: Duration = Duration::from_secs(2);
const EMULATED_FAREWELL: Duration = Duration::from_secs(10);

/// How long the broker in this process goes on after the good-bye.
const LAST_DELIVERY: Duration = Duration::from_millis(100);

/// Runs the firmware until Ctrl-C, or with `--once` until the input's end.
///
/// # Errors
/// [`Error`], whose text is for the user.
pub fn run(options: &Options) -> Result<(), Error> {
    let mut flags = Flags::new(options)?;
    let source = Source::parse(&options.p1).map_err(Error::P1)?;
    if options.once && !source.ends() {
        return Err(Error::Endless(source));
    }
    let console = options.console.clone().map(console::Place::from);
    if console == Some(console::Place::Standard) && options.p1 == "-" {
        return Err(Error::TwoInputs);
    }
    match source {
        Source::Simulator(ref kind) => {
            let kind = match kind.as_str() {
                "" => Kind::default(),
                name => Kind::from_str(name).map_err(Error::Simulator)?,
            };
            let seed = 1;
            let start = super::time::utc_now_seconds() as i64;
            let meter = Simulator::new(kind, seed, start);
            // Whoever looks at a simulated meter wants to see it move.
            flags.lively = true;
            let about = format!("simulated, {} ({})", kind.about(), source);
            with_port(options, &flags, SimulatedPort::new(meter), &about)
        }
        Source::Input(ref input) => {
            let mut port = HostPort::open(input.clone()).map_err(Error::P1)?;
            if options.once {
                port = port.as_recording();
            }
            with_port(options, &flags, port, &source.to_string())
        }
    }
}

/// The settings of the command line, which win over those in flash and leave them alone.
#[derive(Debug, Clone, Default)]
struct Flags {
    settings: Vec<(String, String)>,
    /// Every telegram is published, unless an interval was chosen.
    lively: bool,
}

impl Flags {
    fn new(options: &Options) -> Result<Self, Error> {
        let mut flags = Self::default();
        // To see that they are valid.
        let mut settings = Settings::default();
        for text in &options.set {
            let Some((name, value)) = text.split_once('=') else {
                return Err(Error::NotASetting(text.clone()));
            };
            settings.set(name, value).map_err(|error| match error {
                SettingError::UnknownKey => Error::UnknownSetting(name.into()),
                SettingError::BadValue { expected } => Error::BadSetting(text.clone(), expected),
            })?;
            flags.settings.push((name.into(), value.into()));
        }
        if let Some(broker) = &options.broker {
            let wrong = |_| Error::Broker(broker.clone());
            let parts = host_and_port(broker);
            let (host, port) = parts.ok_or_else(|| wrong(SettingError::UnknownKey))?;
            settings.set("mqtt_server", host).map_err(wrong)?;
            flags.settings.push(("mqtt_server".into(), host.into()));
            if let Some(port) = port {
                settings.set("mqtt_port", port).map_err(wrong)?;
                flags.settings.push(("mqtt_port".into(), port.into()));
            }
        }
        Ok(flags)
    }

    fn names(&self, wanted: &str) -> bool {
        self.settings.iter().any(|(name, _)| name == wanted)
    }

    /// Gives up what a client has changed meanwhile.
    fn yield_to(&mut self, changed: &[&str]) {
        self.lively &= !changed.contains(&"interval");
        self.settings
            .retain(|(name, _)| !changed.contains(&name.as_str()));
    }

    fn apply(&self, settings: &mut Settings) {
        let given = self.names("interval");
        if self.lively && !given && settings.interval == Settings::default().interval {
            settings.interval = 0;
        }
        for (name, value) in &self.settings {
            // They were found to be valid.
            let _ = settings.set(name, value);
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address.
fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    if Ipv6Addr::from_str(text).is_ok() {
        return Some((text, None));
    }
    match text.split_once(':') {
        Some((host, port)) => (!port.starts_with('/')).then_some((host, Some(port))),
        None => Some((text, None)),
    }
}

fn with_port(
    options: &Options,
    flags: &Flags,
    mut port: impl Port,
    about: &str,
) -> Result<(), Error> {
    let state = StateDir::open(options.state.as_deref())?;
    let flash = FileFlash::open(state.flash(), device::SECTORS).map_err(Error::Flash)?;
    let range = || 0..(device::SECTORS * flash::SECTOR) as u32;
    let mut opened = block_on(Store::open(flash, range())).map_err(Error::Storage)?;
    let store = Mutex::new(&mut opened);
    let (interrupt, interrupted) = async_channel::bounded::<()>(1);
    let asked = AtomicBool::new(false);
    let temporary = state.temporary();
    let handler = move || {
        // The second time, whoever presses it has no patience left.
        if asked.swap(true, Ordering::Relaxed) {
            if let Some(path) = &temporary {
                // What is left behind in a temporary folder does no harm.
                let _ = fs::remove_dir_all(path);
            }
            std::process::exit(130);
        }
        let _ = interrupt.try_send(());
    };
    ctrlc::set_handler(handler).map_err(Error::Interrupt)?;
    let mut settings = block_on(firmware::stored(&state, &store));
    flags.apply(&mut settings);
    let is_password_alone = settings.is_password_alone();
    if is_password_alone && (flags.names("mqtt_user") || flags.names("mqtt_password")) {
        return Err(Error::PasswordAlone);
    }
    let view = View::new(options.once);
    if is_password_alone {
        // Whoever could set it right by command has to be let in.
        view.line(std::format_args!(
            "warning  mqtt_password is set and mqtt_user is not: neither is used"
        ));
    }
    view.line(std::format_args!("meter    {about}"));
    let broker = match settings.mqtt_server.as_str() {
        "-" => Some(Broker::start(options.listen).map_err(Error::OwnBroker)?),
        server => {
            let port = settings.mqtt_port;
            view.line(std::format_args!("broker   {server}, port {port}"));
            None
        }
    };
    if let Some(broker) = &broker {
        let port = broker.v4_port;
        view.line(std::format_args!(
            "broker   in this process, port {port}; all that is published:"
        ));
        view.line(std::format_args!(
            "         mosquitto_sub -p {port} -t '#' -v"
        ));
    }
    let stats = Stats::new();
    let result = match options.board {
        Board::Host => {
            let flash = FileFlash::open(state.log(), device::LOG_SECTORS).map_err(Error::Flash)?;
            let range = 0..(device::LOG_SECTORS * flash::SECTOR) as u32;
            let mut journal = block_on(Journal::open(flash, range)).map_err(Error::Journal)?;
            let journal = Mutex::new(&mut journal);
            let mut clients = Clients::open(options, &view)?;
            view.line(std::format_args!("state    {state}"));
            let firmware = Firmware {
                state: &state,
                store: &store,
                journal: &journal,
                flags,
                broker: broker.as_ref().map(|broker| broker.v5_port),
                once: options.once,
                view: &view,
                stats: &stats,
                interrupted,
            };
            block_on(firmware.run(&mut port, &mut clients))
        }
        Board::Qemu => {
            let listen = match options.once {
                true => None,
                false => Some(forwarded(options.listen, &view)?),
            };
            let console = firmware::console(options, &view)?;
            view.line(std::format_args!("state    {state}"));
            let mut board = emulated::Board {
                flags: flags.clone(),
                broker: broker.as_ref().map(|broker| broker.v5_port),
                name: state.device_name(),
                flash: state.flash(),
                log: state.log(),
                listen,
                console,
                once: options.once,
            };
            // The flash stays locked, but the board has it in between.
            let mut flash = Some(opened.into_flash());
            let stored = || {
                let Some(taken) = flash.take() else {
                    return Ok(Settings::default());
                };
                let mut store = block_on(Store::open(taken, range())).map_err(Error::Storage)?;
                let settings = block_on(firmware::stored(&state, &Mutex::new(&mut store)));
                flash = Some(store.into_flash());
                Ok(settings)
            };
            block_on(emulated::run(
                &mut board,
                stored,
                &mut port,
                &view,
                &stats,
                interrupted,
            ))
        }
    };
    view.finish(&stats);
    if let Some(broker) = broker {
        // The broker has the last messages; its other clients are about to get them.
        std::thread::sleep(LAST_DELIVERY);
        drop(broker);
    }
    match result {
        // After Ctrl-C a broker that is away is no failure.
        Err(Error::Unreachable(_)) if view.was_interrupted() => Ok(()),
        Err(error) => Err(error),
        Ok(()) if options.once && stats.accepted.get() == 0 && !view.was_interrupted() => {
            Err(Error::NothingValid(about.into()))
        }
        Ok(()) if options.once && stats.dropped() > 0 && !view.was_interrupted() => {
            Err(Error::Incomplete(stats.dropped()))
        }
        Ok(()) => Ok(()),
    }
}

/// Where the emulator lets clients of the commands in, and of raw streams: on other ports when the usual ones are taken.
fn forwarded(address: IpAddr, view: &View) -> Result<[SocketAddrV4; 2], Error> {
    let refused = |error| Error::Listen(address, error);
    let IpAddr::V4(address) = address else {
        let why = "the emulator's network forwards IPv4 only";
        return Err(refused(io::Error::new(io::ErrorKind::Unsupported, why)));
    };
    let free = |port| {
        let wanted = SocketAddr::new(address.into(), port);
        // Free at this moment, that is.
        let found = Listener::bind(wanted).and_then(|listener| listener.address());
        Ok(SocketAddrV4::new(address, found.map_err(refused)?.port()))
    };
    let [commands, streams] = [free(server::PORT)?, free(outlet::PORT)?];
    view.line(std::format_args!("commands {commands}"));
    view.line(std::format_args!("stream   {streams}"));
    Ok([commands, streams])
}

/// Ends when it makes no sense to wait for the broker or the source any longer. A board that is not yet `up` need not have a
/// broker.
async fn given_up(view: &View, once: bool, up: &Cell<bool>, farewell: Duration) -> Error {
    let mut away = Instant::now();
    let mut stopped: Option<Instant> = None;
    loop {
        Timer::after_millis(50).await;
        let now = Instant::now();
        if view.is_connected() || !up.get() {
            away = now;
        }
        if view.is_stopping() {
            stopped.get_or_insert(now);
        }
        let limit = |since: Instant, limit: Duration| {
            now.saturating_duration_since(since).as_millis() as u128 >= limit.as_millis()
        };
        if once
            && view
                .port_failing()
                .is_some_and(|since| limit(since, PATIENCE))
        {
            return Error::Unreachable(view.port_unreachable(PATIENCE));
        }
        let farewell = view.was_interrupted() && stopped.is_some_and(|at| limit(at, farewell));
        let unanswered = once && stopped.is_some_and(|at| limit(at, PATIENCE));
        let unreachable = once && limit(away, PATIENCE);
        if farewell || unanswered || unreachable {
            return Error::Unreachable(view.unreachable(PATIENCE));
        }
    }
}
