//! What was found out of the P1 port, and is remembered across restarts: its line settings, and who prints CRCs.
//!
//! The meter task finds it out. Whoever has the store, the publisher as a rule, recalls it at the start and keeps it.

use core::cell::Cell;

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::Instant;
use embedded_storage_async::nor_flash::NorFlash;

use super::stats::Stats;
use crate::{
    p1::port::LineSettings,
    settings::LineMode,
    storage::{Key, Shared},
};

/// Flash is written so often at most, in seconds: two meters on one line take turns with every telegram.
const WRITE_PAUSE: u32 = 3600;

/// Every line setting that can be found. What is kept in flash relies on their order.
const LINES: &[LineSettings] = LineMode::Auto.candidates();

/// What was found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detected {
    /// The meter that prints CRCs, as [`Receiver::prints_crc`](crate::receiver::Receiver::prints_crc) names it.
    prints_crc: Option<u16>,
    line: u8,
}

impl Detected {
    /// A telegram was accepted with these line settings.
    pub fn new(line: LineSettings, prints_crc: Option<u16>) -> Self {
        let place = LINES.iter().position(|other| *other == line).unwrap_or(0);
        Self {
            prints_crc,
            line: place as u8,
        }
    }

    /// The line settings; `None` for those of another version.
    pub fn line(self) -> Option<LineSettings> {
        LINES.get(usize::from(self.line)).copied()
    }

    /// The meter that prints CRCs.
    pub fn prints_crc(self) -> Option<u16> {
        self.prints_crc
    }

    /// The form in flash.
    pub fn to_bytes(self) -> [u8; 4] {
        let [low, high] = self.prints_crc.unwrap_or_default().to_le_bytes();
        [self.line, self.prints_crc.is_some().into(), low, high]
    }

    /// What such bytes mean; nothing is known where they are none.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let &[line, prints, low, high] = bytes else {
            return Self::default();
        };
        let meter = u16::from_le_bytes([low, high]);
        Self {
            prints_crc: (prints == 1).then_some(meter),
            line,
        }
    }
}

/// The place where the meter task and the store's owner meet.
#[derive(Default)]
pub struct Detection {
    known: Cell<Detected>,
    kept: Cell<Detected>,
    recalled: Signal<CriticalSectionRawMutex, ()>,
    /// From which second on flash may be written.
    next_write: Cell<u32>,
}

impl Detection {
    /// Nothing has been recalled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what flash holds: the default for nothing. The meter task waits for it.
    pub fn remember(&self, kept: Detected) {
        self.known.set(kept);
        self.kept.set(kept);
        self.recalled.signal(());
    }

    /// Waits for what was known before the restart.
    pub async fn recalled(&self) -> Detected {
        self.recalled.wait().await;
        self.known.get()
    }

    /// Notes what is known now.
    pub fn note(&self, detected: Detected) {
        self.known.set(detected);
    }

    /// What is to be written to flash: nothing, as long as that has it or was written a short while ago. What is given
    /// here is taken to be written.
    pub fn to_keep(&self) -> Option<Detected> {
        let now = Instant::now().as_secs() as u32;
        let known = self.known.get();
        if known == self.kept.get() || now < self.next_write.get() {
            return None;
        }
        self.kept.set(known);
        self.next_write.set(now.saturating_add(WRITE_PAUSE));
        Some(known)
    }

    /// Recalls it from the store.
    pub async fn recall<F: NorFlash>(&self, store: &Shared<'_, F>, stats: &Stats) {
        let mut buffer = [0; 4];
        let mut store = store.lock().await;
        let stored = store.get(Key::Detected, &mut buffer).await;
        if stored.is_err() {
            stats.storage_errors.count();
        }
        let stored = stored.ok().flatten().unwrap_or_default();
        self.remember(Detected::from_bytes(stored));
    }

    /// Keeps it in the store, when there is news.
    pub async fn keep<F: NorFlash>(&self, store: &Shared<'_, F>, stats: &Stats) {
        let Some(detected) = self.to_keep() else {
            return;
        };
        let mut store = store.lock().await;
        let stored = store.put(Key::Detected, &detected.to_bytes()).await;
        if stored.is_err() {
            stats.storage_errors.count();
        }
    }
}
