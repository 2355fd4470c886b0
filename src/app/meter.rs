//! The meter task: asks for telegrams, proves them, hands readings on.

use core::future::pending;

use embassy_futures::select::{Either3, select3};
use embassy_time::{Duration, Instant, Timer};

use super::{
    detection::{Detected, Detection},
    mailbox::{Mailbox, Offered},
    monitor::{Drop, Monitor},
    stats::{CountSkipped, Stats},
    totals::Totals,
};
use crate::{
    p1::{cipher::Keys, foreign::Lookout, port::Port},
    reading::Reading,
    receiver::{Proof, Receiver, Refusal},
    settings::Settings,
};

/// After so long without a byte a begun telegram will not go on. The slowest meters pause for
/// 2 s between telegrams (DSMR 4.2.2 §6.1) and not at all within one.
const SILENCE: Duration = Duration::from_secs(1);

/// Pause before a port that failed is tried again.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// A port that is encrypted says so with every frame; people are told so often.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// While nothing is asked for, or somebody else has the receiver: how often it is seen to whether that is still so.
const GLANCE: Duration = Duration::from_secs(1);

/// A publisher that waits for a reading goes first: the monitor takes it up when it has been dealt with, or after so
/// long, which nobody notices who asks for values.
pub const PRECEDENCE: Duration = Duration::from_millis(200);

/// Bytes fetched from the port at once.
const CHUNK: usize = 256;

/// What the meter task works with.
pub struct Meter<'s, 'a, M> {
    receiver: Receiver<'a>,
    settings: &'s Settings,
    mailbox: &'s Mailbox<'a>,
    stats: &'s Stats,
    monitor: &'s M,
    detection: &'s Detection,
    totals: Totals,
    /// From when on a telegram is wanted.
    due: Instant,
    /// Since when it has been waited for, and the bytes that came since.
    asked: Instant,
    received: u32,
    /// When the monitor takes up the reading in the mailbox at the latest, if it has not.
    take_up: Option<Instant>,
    /// Bytes come and no telegrams: there may be something else on the line.
    lookout: Option<Lookout>,
    /// Bytes of noise counted so far.
    noise: u32,
    /// Index of the line settings in use.
    line: usize,
    waits: bool,
    /// Which reason for frames that cannot be opened was told, and when.
    told: Option<(usize, Instant)>,
}

impl<'s, 'a, M: Monitor> Meter<'s, 'a, M> {
    /// A meter task that fills `staged` with telegrams and puts readings into `mailbox`.
    pub fn new(
        staged: &'a mut Reading,
        settings: &'s Settings,
        mailbox: &'s Mailbox<'a>,
        stats: &'s Stats,
        monitor: &'s M,
        detection: &'s Detection,
    ) -> Self {
        let now = Instant::now();
        Self {
            receiver: Receiver::new(settings.crc, staged),
            settings,
            mailbox,
            stats,
            monitor,
            detection,
            totals: Totals::new(),
            due: now,
            asked: now,
            received: 0,
            take_up: None,
            lookout: None,
            noise: 0,
            line: 0,
            waits: false,
            told: None,
        }
    }

    /// Reads `port` until its input ends, which a line's never does, and closes the mailbox then.
    ///
    /// A telegram is asked for when the interval has passed, and the request released as soon as
    /// one is proved (P1 companion standard 5.0.2 §5.3), unless the monitor wants every one. A
    /// meter that streams all the time is as good: what comes in between is proved and not
    /// published.
    pub async fn run(&mut self, port: &mut impl Port) {
        self.waits = port.waits();
        let settings = self.settings;
        let keys = Keys::of(settings.decryption_key, settings.authentication_key);
        self.receiver.set_keys(keys);
        let known = self.detection.recalled().await;
        self.receiver.set_prints_crc(known.prints_crc());
        let lines = self.settings.line.candidates();
        let line = lines.iter().position(|line| known.line() == Some(*line));
        self.line = line.unwrap_or(0);
        if let Some(line) = lines.get(self.line) {
            port.set_line(*line);
        }
        let mut buffer = [0; CHUNK];
        let mut last_byte = Instant::now();
        let mut requested = None;
        loop {
            let now = Instant::now();
            let wanted = self.is_wanted(now);
            let asked = wanted || self.monitor.wants_every();
            // On a PC that is a call to the operating system, and this loop turns often.
            if requested.replace(asked) != Some(asked) {
                port.request(asked);
            }
            let silent = self
                .receiver
                .is_within_telegram()
                .then_some(last_byte + SILENCE);
            let is_listening = port.is_listening();
            if !is_listening {
                // Nobody misses what could not be heard: waiting begins when it is looked again.
                self.asked = now + GLANCE;
                self.received = 0;
            }
            let turn = match (wanted, asked) {
                (true, _) if !is_listening => now + GLANCE,
                (true, _) => self.timeout(),
                (false, true) => self.due,
                // Somebody may want every telegram from any moment on.
                (false, false) => self.due.min(now + GLANCE),
            };
            let wake = [silent, self.take_up];
            let wake = wake.into_iter().flatten().fold(turn, Instant::min);
            let (mailbox, is_behind) = (self.mailbox, self.take_up.is_some());
            let dealt_with = async {
                match is_behind {
                    true => mailbox.dealt_with().await,
                    false => pending().await,
                }
            };
            match select3(port.read(&mut buffer), Timer::at(wake), dealt_with).await {
                Either3::First(Ok(0)) => break,
                Either3::First(Ok(count)) => {
                    self.received = self.received.saturating_add(count as u32);
                    let mut bytes = buffer.get(..count).unwrap_or_default();
                    if let Some(lookout) = &mut self.lookout {
                        lookout.take(bytes);
                    }
                    while let Some(outcome) = {
                        let counted = &mut CountSkipped(self.stats);
                        self.receiver.next(&mut bytes, counted)
                    } {
                        self.outcome(outcome).await;
                    }
                    self.count_noise();
                    self.stats.line_errors.set(port.line_errors());
                    // After the mailbox has had its time, which a source that waits grants it.
                    last_byte = Instant::now();
                }
                Either3::First(Err(error)) => {
                    self.stats.port_errors.count();
                    self.monitor.port_failed(&error);
                    self.silence(true).await;
                    Timer::after(PORT_RETRY).await;
                }
                Either3::Second(()) => {
                    let now = Instant::now();
                    if self.take_up.is_some_and(|at| now >= at) {
                        self.catch_up();
                    }
                    if silent.is_some_and(|silent| now >= silent) {
                        self.silence(port.is_listening()).await;
                    }
                    if self.is_wanted(now) && now >= self.timeout() && port.is_listening() {
                        self.timed_out(port, now);
                    }
                }
                Either3::Third(()) => self.catch_up(),
            }
        }
        self.silence(true).await;
        self.catch_up();
        port.request(false);
        self.mailbox.close();
    }

    /// Has the monitor take up what went to the publisher first.
    fn catch_up(&mut self) {
        if self.take_up.take().is_some() {
            self.mailbox.look(|reading| self.monitor.believed(reading));
        }
    }

    fn count_noise(&mut self) {
        let noise = self.receiver.noise();
        self.stats.noise.add(noise.wrapping_sub(self.noise));
        self.noise = noise;
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.every() || now >= self.due
    }

    fn every(&self) -> bool {
        self.waits || self.settings.interval == 0
    }

    /// When the wait for a telegram is over.
    fn timeout(&self) -> Instant {
        self.asked.max(self.due) + Duration::from_secs(self.settings.timeout.into())
    }

    /// No telegram has come in time: another speed may help, and trying goes on for ever.
    fn timed_out(&mut self, port: &mut impl Port, now: Instant) {
        let lines = self.settings.line.candidates();
        let next = (self.line + 1) % lines.len().max(1);
        let (Some(line), Some(other)) = (lines.get(self.line), lines.get(next)) else {
            return;
        };
        let waited = now - self.asked.max(self.due);
        self.stats.timeouts.count();
        self.monitor
            .no_telegram(waited, self.received, *line, *other);
        if let Some(protocol) = self.lookout.as_ref().and_then(Lookout::found) {
            self.monitor.foreign_port(protocol);
        }
        // Only from now on, since nearly all ports are what they seem.
        self.lookout = (self.received > 0).then(Lookout::default);
        if line != other {
            port.set_line(*other);
        }
        self.line = next;
        self.asked = now;
        self.received = 0;
    }

    /// The line is silent: what has begun is given up, or ends here. If nobody listens it is not the meter who has cut it off.
    async fn silence(&mut self, is_heard: bool) {
        while let Some(outcome) = self.receiver.silence(&mut CountSkipped(self.stats)) {
            if is_heard || outcome.is_ok() {
                self.outcome(outcome).await;
            }
        }
    }

    /// Whether people should be told.
    fn is_news(&mut self, refusal: Refusal) -> bool {
        if !matches!(refusal, Refusal::Encrypted { .. } | Refusal::Key { .. }) {
            return true;
        }
        let (reason, now) = (refusal.index(), Instant::now());
        let told = self.told.filter(|(told, at)| {
            *told == reason && now.saturating_duration_since(*at) < TELL_AGAIN
        });
        if told.is_none() {
            self.told = Some((reason, now));
        }
        told.is_none()
    }

    async fn outcome(&mut self, outcome: Result<Proof, Refusal>) {
        let proof = match outcome {
            Ok(proof) => proof,
            Err(refusal) => {
                if let Some(counter) = self.stats.refused.get(refusal.index()) {
                    counter.count();
                }
                if self.is_news(refusal) {
                    self.monitor.refused(refusal);
                }
                return;
            }
        };
        // In the order in which they came.
        self.catch_up();
        self.told = None;
        self.lookout = None;
        if let Some(line) = self.settings.line.candidates().get(self.line) {
            let prints_crc = self.receiver.prints_crc();
            self.detection.note(Detected::new(*line, prints_crc));
        }
        let now = Instant::now();
        let is_wanted = self.is_wanted(now);
        let reading = self.receiver.reading();
        self.stats.accepted.count();
        self.monitor.accepted(reading, proof);
        self.asked = now;
        self.received = 0;
        if !self.totals.admit(reading) {
            self.stats.fallen_totals.count();
            return self.monitor.totals_fell();
        }
        if self.waits {
            self.monitor.believed(reading);
            self.mailbox.deliver(reading).await;
            self.asked = Instant::now();
            return;
        }
        let goes_first = is_wanted && self.mailbox.is_awaited();
        if !goes_first {
            self.monitor.believed(reading);
        }
        if !is_wanted {
            return;
        }
        let offered = self.mailbox.offer(reading);
        if offered != Offered::Placed {
            self.stats.superseded.count();
            self.monitor.dropped(Drop::Superseded);
        }
        // When the publisher is still busy, the next telegram will do, not the next interval's.
        if offered != Offered::Busy {
            self.due = now + Duration::from_secs(self.settings.interval.into());
        }
        self.take_up = goes_first.then_some(now + PRECEDENCE);
    }
}
