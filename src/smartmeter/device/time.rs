//! What the device knows of the time, and who tells it.

use embassy_time::{Duration, Instant, with_timeout};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::uwrite;

use super::Device;
use crate::{
    app::ntp::{Failure, Synced},
    p1::timestamp::Utc,
    settings::Text,
    smartmeter::{clock::Clock, log::Level},
};

/// A clock that is moved by so many milliseconds says so; less is how exact a meter is.
const STEP: u64 = 2_000;

/// How long a client waits for the time server.
const ANSWER: Duration = Duration::from_secs(2);

impl<F: NorFlash> Device<'_, '_, F> {
    /// The time server and its port.
    pub fn time_server(&self) -> (Text<64>, u16) {
        let settings = &self.state.borrow().settings;
        (settings.time_server.clone(), settings.time_port)
    }

    /// Waits until there is another time server.
    pub async fn time_server_changed(&self) {
        self.time_server_changed.wait().await;
    }

    /// Waits until somebody wants the time server to be asked.
    pub async fn time_wanted(&self) {
        self.time_wanted.wait().await;
    }

    /// A packet came from the time server's address that is no reply of its.
    pub fn stray_time(&self) {
        self.stats.stray_times.count();
    }

    /// The time server has told the time.
    pub fn synced(&self, synced: &Synced) {
        self.stats.times.count();
        self.set_clock(|clock| clock.told_by_server(synced.time.utc, synced.at));
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "NTP synced with conf: {}", synced.time.confidence);
        });
        self.tried(Some(synced.time.confidence));
    }

    /// The time server has not told the time; `says_so` to the clients.
    pub fn not_synced(&self, failure: Failure, says_so: bool) {
        self.stats.failed_times.count();
        if says_so {
            let (server, _) = self.time_server();
            self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "No time from {}: {}", server.as_str(), failure);
            });
        }
        self.tried(None);
    }

    /// There is no time server, and somebody wants the time.
    pub fn has_no_time_server(&self) {
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(text, "No time server is set");
        });
        self.tried(None);
    }

    /// Who has wanted it meanwhile gets what there is now.
    fn tried(&self, synced: Option<u32>) {
        self.time_wanted.reset();
        self.timed.sender().send(synced);
    }

    /// The meter has told the time.
    pub(super) fn told_by_meter(&self, utc: Utc, at: Instant) {
        self.set_clock(|clock| clock.told_by_meter(utc, at));
    }

    fn set_clock(&self, set: impl FnOnce(&mut Clock)) {
        let before = self.now();
        set(&mut self.state.borrow_mut().clock);
        let (Some(before), Some(now)) = (before, self.now()) else {
            return;
        };
        if before.0.abs_diff(now.0) >= STEP {
            let way = if now > before { "forward" } else { "back" };
            let seconds = before.0.abs_diff(now.0) / 1000;
            self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "The clock was set {} by {} s", way, seconds);
            });
        }
    }

    /// Has the time server asked and waits for what comes of it: by how many milliseconds the time may
    /// be wrong.
    pub(super) fn sync(&self) -> impl Future<Output = Option<u32>> {
        self.sync_for(ANSWER)
    }

    /// The same, and waits no longer than so.
    pub(super) async fn sync_for(&self, patience: Duration) -> Option<u32> {
        // There is one for each client that can be.
        let mut timed = self.timed.receiver()?;
        // Of an earlier attempt.
        let _ = timed.try_changed();
        self.time_wanted.signal(());
        let patience = patience.min(ANSWER);
        with_timeout(patience, timed.changed()).await.ok().flatten()
    }

    /// Has the time server asked.
    pub(super) fn sync_in_background(&self) {
        self.time_wanted.signal(());
    }
}
