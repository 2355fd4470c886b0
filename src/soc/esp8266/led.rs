//! What the LED says.
//!
//! | seen | state |
//! |---|---|
//! | blinks evenly, four times a second | no Wi-Fi: networks are looked for |
//! | two flashes, every two seconds | in a network, no broker |
//! | three flashes, every two seconds | broker there, no telegram from the meter |
//! | one flash, every four seconds | all is well |
//!
//! It says the first that is true. It is dark for most of the time: a P1 port has little power to give.

use core::{cell::Cell, convert::Infallible};

use embassy_time::{Duration, Instant, Timer};

use super::output::Output;
use crate::{
    app::monitor::{Failure, Monitor},
    p1::port::LineSettings,
    reading::Reading,
    receiver::Proof,
};

/// How often it is looked whether something else is to be said.
const LOOK: Duration = Duration::from_millis(500);

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The device is in no network.
    Searching,
    /// The broker does not answer.
    NoBroker,
    /// The meter sends nothing that can be read.
    NoTelegram,
    /// Telegrams come, and go to the broker.
    Well,
}

/// Milliseconds.
struct Pattern {
    flashes: u64,
    lit: u64,
    dark: u64,
    period: u64,
}

impl State {
    /// What is to be said of a device that is in a network, connected to its broker, and receives telegrams; the first that is not so
    /// counts.
    pub const fn of(in_network: bool, connected: bool, telegrams: bool) -> Self {
        match (in_network, connected, telegrams) {
            (false, ..) => Self::Searching,
            (true, false, _) => Self::NoBroker,
            (true, true, false) => Self::NoTelegram,
            (true, true, true) => Self::Well,
        }
    }

    const fn pattern(self) -> Pattern {
        let (flashes, lit, dark, period) = match self {
            Self::Searching => (1, 125, 125, 250),
            Self::NoBroker => (2, 100, 200, 2_000),
            Self::NoTelegram => (3, 100, 200, 2_000),
            Self::Well => (1, 100, 200, 4_000),
        };
        Pattern {
            flashes,
            lit,
            dark,
            period,
        }
    }

    /// Whether the LED is lit at `now`.
    pub fn is_lit(self, now: Instant) -> bool {
        let pattern = self.pattern();
        let flash = pattern.lit + pattern.dark;
        let time = now.as_millis() % pattern.period;
        time < pattern.flashes * flash && time % flash < pattern.lit
    }

    /// The next moment at which that may change.
    pub fn changes(self, now: Instant) -> Instant {
        let pattern = self.pattern();
        let flash = pattern.lit + pattern.dark;
        let start = now.as_millis() / pattern.period * pattern.period;
        let time = now.as_millis() - start;
        let within = time % flash;
        let next = if time >= pattern.flashes * flash {
            pattern.period
        } else if within < pattern.lit {
            time - within + pattern.lit
        } else {
            (time - within + flash).min(pattern.period)
        };
        Instant::from_millis(start + next)
    }
}

/// Knows what the LED has to say of meter and broker.
#[derive(Debug, Default)]
pub struct Watch {
    connected: Cell<bool>,
    telegrams: Cell<bool>,
}

impl Watch {
    /// Nothing has come, nothing is connected.
    pub const fn new() -> Self {
        Self {
            connected: Cell::new(false),
            telegrams: Cell::new(false),
        }
    }

    /// What is to be said.
    pub fn state(&self, in_network: bool) -> State {
        State::of(in_network, self.connected.get(), self.telegrams.get())
    }

    /// Drives the LED, for ever.
    pub async fn show(&self, in_network: impl Fn() -> bool, led: &mut impl Output) -> Infallible {
        loop {
            let now = Instant::now();
            let state = self.state(in_network());
            led.set(state.is_lit(now));
            Timer::at(state.changes(now).min(now + LOOK)).await;
        }
    }
}

impl Monitor for Watch {
    fn accepted(&self, _reading: &Reading, _proof: Proof) {
        self.telegrams.set(true);
    }

    fn no_telegram(
        &self,
        _waited: Duration,
        _received: u32,
        _line: LineSettings,
        _next: LineSettings,
    ) {
        self.telegrams.set(false);
    }

    fn connected(&self, _server: &str, _after: Duration) {
        self.connected.set(true);
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        _server: &str,
        _failure: Failure<'_, E>,
        _retry: Duration,
    ) {
        self.connected.set(false);
    }
}
