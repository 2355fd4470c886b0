//! The device that the commands are about: its settings, what its meter last said, and what it has
//! counted.
//!
//! Clients ask through [`Device::answer`]; the meter task tells it of readings as its [`Monitor`](crate::app::monitor::Monitor).
//! What a command changes is in flash before it is answered.

mod commands;
mod events;
mod logbook;
mod network;
mod remote;
mod sampling;
mod time;

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};

use embassy_futures::{
    block_on,
    select::{Either3, select3},
};
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal, watch::Watch};
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::uwrite;

use self::{
    commands::Shown,
    sampling::{Changed, Ended, Sampling},
};
pub use self::{
    events::Ip,
    network::{Link, Networks},
    sampling::{News, Outlet},
};
use super::{
    clock::{Board, Clock},
    command::Refusal,
    energy::{Energy, Kept},
    flood::Flood,
    journal::{self, Cursor},
    log::{CLIENTS, Cut, Entry, Level, Log},
    sampling::MAX_RATE,
    switches::Switches,
    time::{Local, Moment},
    values::{Calibration, UNCALIBRATED, Values},
};
use crate::{
    app::stats::{Counter, Stats},
    settings::{KEYS, Name, Settings, Text, cut, is_name},
    storage::{Key, Shared, Store, Value},
    wifi::{Known, NETWORKS, Ssid},
};

/// How often what was counted is kept. A power cut costs the split of so much, never the sum.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// From a restart's announcement to the restart.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Hz that are shown before there was a sampling, as the SmartMeter does.
const RATE: u32 = 8_000;

/// How long it may take to tell the network that a name is not used any more.
const FAREWELL: Duration = Duration::from_millis(100);

/// Within this time after its start a device does not start over by the clock.
const A_MINUTE: Duration = Duration::from_secs(60);

/// Whose commands these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Network(SocketAddr),
    /// Whoever holds the cable.
    Console,
    /// Whoever publishes to the broker.
    Mqtt,
}

/// What is remembered of a client while it is there.
#[derive(Debug, Clone)]
pub struct Client {
    /// Who it is.
    pub peer: Peer,
    /// What it wants to be told.
    pub level: Level,
    unlocked: bool,
    /// What of its answer is still to be written.
    rest: Option<Rest>,
}

/// What of an answer is still to be written.
#[derive(Debug, Clone)]
enum Rest {
    /// That all is set up, behind a sampling's last samples.
    SetUp,
    /// The second third of `info`.
    Info,
    /// The names of the networks, and the end of `info`.
    Networks { of_info: bool },
    /// The settings from this one on.
    Settings(Shown),
    /// Rows of the log in flash.
    Log(Cursor),
    /// How a sampling went, behind its last samples.
    Stopped(Ended),
}

impl Client {
    /// A new client.
    pub const fn new(peer: Peer, level: Level) -> Self {
        Self {
            peer,
            level,
            unlocked: false,
            rest: None,
        }
    }

    /// Whether it is told at once who this is; a console is there before anybody listens.
    pub fn is_greeted(&self) -> bool {
        matches!(self.peer, Peer::Network(_))
    }
}

/// What the board has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The tasks have to take up the settings.
    Settings,
    /// The same, and whoever speaks in the old name says good-bye before.
    Name,
    /// Everything starts over.
    Restart,
}

struct State {
    name: Name,
    networks: Known,
    settings: Settings,
    calibration: Calibration,
    daily_restart: Option<(u8, u8)>,
    values: Values,
    switches: Switches,
    energy: Energy,
    /// What of it is in flash.
    kept: Option<Kept>,
    clock: Clock,
}

impl State {
    fn new(name: &str, clock: Clock) -> Self {
        Self {
            name: cut(name),
            networks: Known::default(),
            settings: Settings::default(),
            calibration: UNCALIBRATED,
            daily_restart: None,
            values: Values::default(),
            switches: Switches::default(),
            energy: Energy::default(),
            kept: None,
            clock,
        }
    }
}

/// The device. RAM: 3.4 kB, of which the settings are almost one, and samples that wait.
pub struct Device<'d, 'f, F> {
    /// What the board calls itself, until a user does.
    board_name: &'d str,
    store: &'d Shared<'f, F>,
    stats: &'d Stats,
    started: Instant,
    /// This device's own address, which the board knows.
    pub address: Cell<Option<IpAddr>>,
    networks: Networks,
    /// What every client is told.
    pub log: Log,
    /// Where of that warnings and errors are kept, on boards that have room for it.
    journal: Option<&'d journal::Shared<'f, F>>,
    flood: RefCell<Flood>,
    /// Lines that were not kept; those that came too fast to see their level are among them.
    log_lost: Counter,
    /// What [`Journal::erases`](journal::Journal::erases) has last said.
    log_erases: Cell<u32>,
    max_rate: u32,
    /// Hz of the last sampling.
    rate: Cell<u32>,
    // Neither is borrowed across an await.
    sampling: RefCell<Option<Sampling>>,
    sampling_changed: Changed,
    /// The client on the port of raw streams.
    raw: Cell<Option<SocketAddr>>,
    /// Whether anybody sends datagrams.
    has_outlet: Cell<bool>,
    /// What the raw stream's client or a UDP port was to get has come to its end, and nobody knows yet.
    outlet_over: Cell<bool>,
    state: RefCell<State>,
    connected: Cell<bool>,
    /// A breaker or relay is another than was published.
    has_switched: Cell<bool>,
    switched: Signal<CriticalSectionRawMutex, ()>,
    /// Clients over TCP.
    clients: Cell<u8>,
    /// It was said that the broker cannot be reached.
    complained: Cell<bool>,
    /// When the newest telegram is taken up, at the latest.
    up_to_date: Cell<Instant>,
    /// It was said that the P1 port cannot be read.
    port_complained: Cell<bool>,
    settings_changed: Signal<CriticalSectionRawMutex, ()>,
    renamed: Signal<CriticalSectionRawMutex, ()>,
    server_changed: Signal<CriticalSectionRawMutex, ()>,
    time_server_changed: Signal<CriticalSectionRawMutex, ()>,
    time_wanted: Signal<CriticalSectionRawMutex, ()>,
    /// By how many milliseconds the time may be wrong since the last attempt to get it, for all who may
    /// wait for it; `None` when that was a failure.
    timed: Watch<CriticalSectionRawMutex, Option<u32>, { CLIENTS + 1 }>,
    restart: Signal<CriticalSectionRawMutex, ()>,
}

impl<'d, 'f, F: NorFlash> Device<'d, 'f, F> {
    /// The device as its flash knows it. What cannot be read is counted, and has its default then.
    pub async fn open(
        name: &'d str,
        board: Board,
        store: &'d Shared<'f, F>,
        stats: &'d Stats,
    ) -> Self {
        let device = Self::new(name, board, store, stats);
        device.recall();
        device
    }

    /// The device as it is when nothing was ever set. [`recall`](Self::recall) it next.
    pub fn new(name: &'d str, board: Board, store: &'d Shared<'f, F>, stats: &'d Stats) -> Self {
        Self {
            board_name: name,
            store,
            stats,
            started: Instant::now(),
            address: Cell::new(None),
            networks: Networks::new(),
            log: Log::new(),
            journal: None,
            flood: RefCell::new(Flood::new()),
            log_lost: Counter::default(),
            log_erases: Cell::new(0),
            max_rate: MAX_RATE,
            rate: Cell::new(RATE),
            sampling: RefCell::new(None),
            sampling_changed: Changed::default(),
            raw: Cell::new(None),
            has_outlet: Cell::new(true),
            outlet_over: Cell::new(false),
            state: RefCell::new(State::new(name, Clock::new(board))),
            connected: Cell::new(false),
            has_switched: Cell::new(false),
            switched: Signal::new(),
            clients: Cell::new(0),
            complained: Cell::new(false),
            up_to_date: Cell::new(Instant::MIN),
            port_complained: Cell::new(false),
            settings_changed: Signal::new(),
            renamed: Signal::new(),
            server_changed: Signal::new(),
            time_server_changed: Signal::new(),
            time_wanted: Signal::new(),
            timed: Watch::new(),
            restart: Signal::new(),
        }
    }

    /// Keeps warnings and errors in `journal`, as long as [`keep_log`](Self::keep_log) runs.
    pub fn set_journal(&mut self, journal: &'d journal::Shared<'f, F>) {
        self.journal = Some(journal);
    }

    /// The same.
    #[must_use]
    pub fn with_journal(mut self, journal: &'d journal::Shared<'f, F>) -> Self {
        self.set_journal(journal);
        self
    }

    /// Takes up what is in flash. What cannot be read is counted, and has its default then.
    #[inline(never)]
    pub fn recall(&self) {
        if self.try_recall().is_err() {
            let clock = self.state.borrow().clock.clone();
            *self.state.borrow_mut() = State::new(self.board_name, clock);
            self.stats.storage_errors.count();
        }
    }

    fn try_recall(&self) -> Result<(), Refusal> {
        at_once(async {
            let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
            let mut buffer = [0; 1];
            let resetting = store.get(Key::Reset, &mut buffer).await;
            if let Some(mark) = resetting.map_err(|_| Refusal::Storage)? {
                // Since before the restart, or since a cut of power while all was being forgotten.
                drop_all(store, Reset::of(mark))?;
            }
            // Older values of a key come before its newest.
            let seen = store.each(|key, value| {
                let state = &mut *self.state.borrow_mut();
                match key {
                    Key::Setting(id) => recall_setting(&mut state.settings, id, value),
                    Key::Calibration => {
                        state.calibration = UNCALIBRATED;
                        for (factor, bytes) in state.calibration.iter_mut().zip(value.as_chunks().0)
                        {
                            *factor = i32::from_le_bytes(*bytes);
                        }
                    }
                    Key::DailyRestart => {
                        state.daily_restart = match *value {
                            [hour @ 0..24, minute @ 0..60] => Some((hour, minute)),
                            _ => None,
                        }
                    }
                    Key::Energy => {
                        state.kept = Kept::from_bytes(value);
                        state.energy = Energy::new(state.kept);
                    }
                    Key::Name => {
                        let given = core::str::from_utf8(value).ok();
                        let given = given.filter(|name| is_name(name));
                        state.name = cut(given.unwrap_or(self.board_name));
                    }
                    Key::Ssid(place) => {
                        let ssid = core::str::from_utf8(value).ok();
                        let ssid = ssid.and_then(|ssid| Ssid::try_from(ssid).ok());
                        state.networks.name(place, ssid.unwrap_or_default());
                    }
                    Key::WifiPassword(place) => state.networks.secure(place, !value.is_empty()),
                    Key::Stamp(_) | Key::Text(_) | Key::Reset | Key::Detected => {}
                }
            });
            seen.await.map_err(|_| Refusal::Storage)
        })
    }

    /// Changes settings for this run; flash keeps its own.
    pub fn adjust(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state.borrow_mut().settings);
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.state.borrow().settings.clone()
    }

    /// Waits until the board has something to do.
    pub async fn changed(&self) -> Change {
        let changed = select3(
            self.restart.wait(),
            self.renamed.wait(),
            self.settings_changed.wait(),
        );
        let change = match changed.await {
            Either3::First(()) => return Change::Restart,
            Either3::Second(()) => Change::Name,
            Either3::Third(()) => Change::Settings,
        };
        // Whoever takes the settings up connects anew.
        self.connected.set(false);
        self.broker_lost();
        self.complained.set(false);
        change
    }

    /// The server to be offered the protocol; `-` for none.
    pub fn stream_server(&self) -> Text<64> {
        self.state.borrow().settings.stream_server.clone()
    }

    /// Waits until there is another server to be offered the protocol.
    pub async fn server_changed(&self) {
        self.server_changed.wait().await;
    }

    /// The time: a time server's, or the board's, or the meter's.
    pub fn now(&self) -> Option<Moment> {
        self.state.borrow().clock.at(Instant::now())
    }

    fn now_or_epoch(&self) -> Moment {
        self.now().unwrap_or(Moment(0))
    }

    /// What a clock in this device's zone shows at that time.
    fn local(&self, at: Moment) -> Local {
        self.state.borrow().settings.time_zone.local(at)
    }

    fn local_now(&self) -> Local {
        self.local(self.now_or_epoch())
    }

    /// Tells all clients.
    pub fn tell(&self, level: Level, write: impl FnOnce(&mut Cut<'_>)) {
        self.log.tell(Entry::new(level, self.local_now(), write));
    }

    /// Keeps what was counted and starts over by the clock, for ever.
    pub async fn keep_house(&self) -> Infallible {
        let mut kept = Instant::now();
        loop {
            Timer::after(Duration::from_secs(1)).await;
            // There may be no client who would be told each second.
            self.tell_lost();
            if kept.elapsed() >= KEEP_EVERY {
                kept = Instant::now();
                // It is counted, and tried again.
                let _ = self.keep_energy();
            }
            if self.started.elapsed() > A_MINUTE && self.is_daily_restart() {
                self.tell(Level::Info, |text| {
                    let _ = uwrite!(text, "Daily restart now!");
                });
                Timer::after(LAST_WORDS).await;
                self.restart();
            }
        }
    }

    fn is_daily_restart(&self) -> bool {
        let wanted = self.state.borrow().daily_restart;
        wanted.is_some_and(|(hour, minute)| {
            self.now().is_some_and(|now| {
                let now = self.local(now).calendar();
                (now.hour, now.minute) == (hour.into(), minute.into())
            })
        })
    }

    fn put(&self, key: Key, value: &[u8]) -> Result<(), Refusal> {
        let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
        self.put_in(store, key, value)
    }

    // Inlined, whoever keeps something would have room for the work's state for as long as it runs.
    #[inline(never)]
    fn put_in(&self, store: &mut Store<F>, key: Key, value: &[u8]) -> Result<(), Refusal> {
        match at_once(store.put(key, value)) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.stats.storage_errors.count();
                Err(Refusal::Storage)
            }
        }
    }

    #[inline(never)]
    fn put_all(
        &self,
        store: &mut Store<F>,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
    ) -> Result<(), Refusal> {
        match at_once(store.put_all(keys, value)) {
            Ok(_) => Ok(()),
            Err(_) => {
                self.stats.storage_errors.count();
                Err(Refusal::Storage)
            }
        }
    }

    /// Keeps the energy across a restart.
    ///
    /// # Errors
    /// [`Refusal::Storage`].
    pub fn keep_energy(&self) -> Result<(), Refusal> {
        // First, so that what is kept is what is counted then, and not what a reset has made an end of.
        let store = &mut *self.store.try_lock().map_err(|_| {
            self.stats.storage_errors.count();
            Refusal::Storage
        })?;
        let (counted, kept) = {
            let state = self.state.borrow();
            (state.energy.counted(), state.kept)
        };
        let Some(counted) = counted.filter(|_| counted != kept) else {
            return Ok(());
        };
        self.put_in(store, Key::Energy, &counted.to_bytes())?;
        self.state.borrow_mut().kept = Some(counted);
        Ok(())
    }

    fn restart(&self) {
        // What cannot be kept is counted. Whose flash fails needs a restart more than others.
        let _ = self.keep_energy();
        self.restart.signal(());
    }

    async fn reset(&self, reset: Reset) -> Result<(), Refusal> {
        // All that is marked so goes at the start: it takes longer than anybody may be kept waiting, and what others keep until then
        // goes with it.
        self.put(Key::Reset, &reset.mark())?;
        if reset == Reset::All && self.forget_name() {
            Timer::after(FAREWELL).await;
        }
        self.restart.signal(());
        Ok(())
    }
}

/// Does what has to do with flash. On every board its driver blocks, since a chip runs nothing from a flash that it
/// erases, and nobody holds a lock of it while it waits for something else; so nobody has to keep the state of such work, 0.4 to 0.8 kB for each place that waits for it.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    block_on(work)
}

fn recall_setting(settings: &mut Settings, id: u8, value: &[u8]) {
    let key = KEYS.iter().find(|key| key.id == id);
    let (Some(key), Ok(value)) = (key, core::str::from_utf8(value)) else {
        return;
    };
    // One that is no longer valid has its default.
    if value.is_empty() || settings.set(key.name, value).is_err() {
        let _ = settings.set(key.name, &key.default());
    }
}

/// What is forgotten at a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    All,
    AllButName,
}

impl Reset {
    /// The mark in flash, whose meaning stays for ever.
    fn mark(self) -> [u8; 1] {
        match self {
            Self::All => [1],
            Self::AllButName => [2],
        }
    }

    fn of(mark: &[u8]) -> Self {
        match mark {
            [2] => Self::AllButName,
            _ => Self::All,
        }
    }
}

/// Forgets all that a user has set, and that it was to be forgotten.
fn drop_all<F: NorFlash>(store: &mut Store<F>, reset: Reset) -> Result<(), Refusal> {
    at_once(async {
        if reset == Reset::All {
            let removed = store.remove(Key::Name).await;
            removed.map_err(|_| Refusal::Storage)?;
        }
        for place in 0..NETWORKS as u8 {
            // In this order there is never a network without its password.
            for key in [Key::Ssid(place), Key::WifiPassword(place)] {
                store.remove(key).await.map_err(|_| Refusal::Storage)?;
            }
        }
        for key in KEYS {
            let removed = store.remove(Key::Setting(key.id)).await;
            removed.map_err(|_| Refusal::Storage)?;
        }
        for key in [
            Key::Calibration,
            Key::DailyRestart,
            Key::Energy,
            Key::Detected,
            Key::Reset,
        ] {
            store.remove(key).await.map_err(|_| Refusal::Storage)?;
        }
        Ok(())
    })
}
