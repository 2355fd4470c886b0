//! The one sampling that there can be at a time, and whose it is.

use embassy_futures::select::select;
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Client, Device, Peer, State, events::Ip};
use crate::{
    settings::Text,
    smartmeter::{
        answer::Reply,
        command::Refusal,
        fixed::{Rounded, Short},
        log::{Entry, Level},
        sampling::{Measures, Order, Sink, Wrong, lead},
        stream::{PacketView, Sample, Stream},
        time::{Long, Moment, digits},
    },
};

/// How often the time server is asked for a time that is exact enough.
const ATTEMPTS: usize = 3;

/// Decimals of a rate that was reached.
const RATE_DECIMALS: u8 = 6;

/// A sampling from the moment that it was asked for to its last packet.
pub(super) struct Sampling {
    owner: Peer,
    measures: Measures,
    flow_control: bool,
    rate: u32,
    stream: Stream,
    /// When it has begun, or will.
    started: Instant,
    began: Moment,
    /// There are values that are not too old.
    is_fresh: bool,
    is_stopped: bool,
}

/// How a sampling went.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    made: u64,
    sent: u64,
    duration: Duration,
    from: Moment,
    to: Moment,
}

impl Sampling {
    fn has_begun(&self, now: Instant) -> bool {
        self.started <= now
    }
}

impl<F: NorFlash> Device<'_, '_, F> {
    /// Lets this board make at most so many samples a second.
    pub fn set_max_rate(&mut self, max_rate: u32) {
        self.max_rate = max_rate;
        self.rate.set(self.rate.get().min(max_rate));
    }

    /// The same.
    #[must_use]
    pub fn with_max_rate(mut self, max_rate: u32) -> Self {
        self.set_max_rate(max_rate);
        self
    }

    /// Whose sampling goes on.
    pub(super) fn sampler(&self) -> Option<Peer> {
        let sampling = self.sampling.borrow();
        let sampling = sampling.as_ref()?;
        sampling.has_begun(Instant::now()).then_some(sampling.owner)
    }

    /// Makes the samples that are due, of what the meter says and for as long as that is not too old.
    fn advance(&self, sampling: &mut Sampling) {
        let now = Instant::now();
        let state = self.state.borrow();
        if sampling.is_fresh
            && let Some(old) = state.old_at()
            && now > old
        {
            let nothing = Sample::of(sampling.measures, None, &state.calibration);
            sampling.stream.hold(nothing, old);
            sampling.is_fresh = false;
        }
        sampling.stream.advance(now);
    }

    /// Makes the samples of what the meter has said before it speaks again.
    pub(super) fn sample_until_now(&self) {
        if let Some(sampling) = self.sampling.borrow_mut().as_mut() {
            self.advance(sampling);
        }
    }

    /// The meter has spoken.
    pub(super) fn sample_from_now(&self) {
        if let Some(sampling) = self.sampling.borrow_mut().as_mut() {
            let state = self.state.borrow();
            let values = Some(&state.values);
            let sample = Sample::of(sampling.measures, values, &state.calibration);
            sampling.stream.hold(sample, Instant::now());
            sampling.is_fresh = true;
        }
    }

    /// Begins a sampling, or says why not.
    pub(super) async fn start_sampling(
        &self,
        order: Order,
        name: &str,
        client: &Client,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        if !matches!(
            (order.sink, client.peer),
            (Sink::Tcp, Peer::Network(_)) | (Sink::Serial, Peer::Console)
        ) {
            let name = Text::try_from(order.sink.name()).unwrap_or_default();
            return Err(Refusal::Sample(Wrong::Sink(name)));
        }
        let mut reached = None;
        if let Some(confidence) = order.confidence {
            reached = self.sync_within(confidence).await;
            reached.ok_or(Refusal::Confidence(confidence))?;
        } else if order.start.is_some() {
            // Without it the time that there is has to do; the log says so.
            let _ = self.sync().await;
        }
        // Another client may have been faster. One that has not begun may be ordered anew by its own.
        let is_other =
            |other: &&Sampling| other.has_begun(Instant::now()) || other.owner != client.peer;
        let other = self
            .sampling
            .borrow()
            .as_ref()
            .filter(is_other)
            .map(|other| other.owner);
        if let Some(peer) = other {
            return Err(Refusal::Busy(peer));
        }
        let (now, at) = (self.now_or_epoch(), Instant::now());
        let began = order.start.unwrap_or(now);
        let lead = order.start.map(|start| lead(start, now));
        let ahead = match lead {
            Some(Ok(ahead)) => Some(u64::from(ahead)),
            None => Some(0),
            Some(Err(_)) => None,
        };
        if let Some(ahead) = ahead {
            let started = at.saturating_add(Duration::from_millis(ahead));
            let state = self.state.borrow();
            let values = state.values.fresh(at, state.most_age()).ok();
            let held = Sample::of(order.measures, values, &state.calibration);
            self.rate.set(order.rate);
            *self.sampling.borrow_mut() = Some(Sampling {
                owner: client.peer,
                measures: order.measures,
                flow_control: order.flow_control,
                rate: order.rate,
                stream: Stream::new(&order, held, started),
                started,
                began,
                is_fresh: values.is_some(),
                is_stopped: false,
            });
        }
        answer.object(|answer| {
            answer.head(ahead.is_none(), name);
            order.describe(answer);
            if let Some(reached) = reached {
                answer.number("ntpConfidence", reached);
            }
            answer.composed("startTs", |text| {
                let _ = uwrite!(text, "{}", Stamp(began));
            });
            let Some(lead) = lead else { return };
            answer.composed("msg", |text| {
                let began = Long(self.local(began));
                let _ = uwrite!(text, "Should sample at: {}//n", began);
                let _ = match lead {
                    Ok(lead) => uwrite!(text, "Start sampling in: {}ms", lead),
                    Err(lead) => uwrite!(text, "Cannot start sampling in: {}ms", lead),
                };
            });
        });
        Ok(())
    }

    /// Asks the time server until it was heard within so many milliseconds; within how many it was.
    async fn sync_within(&self, confidence: u32) -> Option<u32> {
        for _ in 0..ATTEMPTS {
            let reached = self.sync().await;
            if reached.is_some_and(|reached| reached <= confidence) {
                return reached;
            }
        }
        None
    }

    /// Ends the sampling, whoever's it is. What is still to go goes before the answer when it is the
    /// client's own.
    pub(super) fn stop_sampling(&self) -> Result<Ended, Refusal> {
        let now = self.now_or_epoch();
        let mut sampling = self.sampling.borrow_mut();
        let sampling = sampling.as_mut().filter(|sampling| !sampling.is_stopped);
        let sampling = sampling.ok_or(Refusal::Idle)?;
        self.advance(sampling);
        let ended = Instant::now();
        sampling.stream.end(ended, Some(now));
        sampling.is_stopped = true;
        self.sampling_changed.signal(());
        Ok(Ended {
            made: sampling.stream.made(),
            sent: sampling.stream.sent_in_the_end(),
            duration: ended.saturating_duration_since(sampling.started),
            from: sampling.began,
            to: now,
        })
    }

    /// Hands over how a sampling went.
    pub(super) fn stopped(&self, ended: &Ended, reply: &mut dyn Reply) {
        reply.object(|answer| {
            answer.head(false, "stop");
            answer.string("msg", "Received stop command");
            answer.number("sample_duration", ended.duration.as_millis());
            answer.number("samples", ended.made);
            answer.number("sent_samples", ended.sent);
            answer.composed("start_ts", |text| {
                let _ = uwrite!(text, "{}", Stamp(ended.from));
            });
            answer.composed("stop_ts", |text| {
                let _ = uwrite!(text, "{}", Stamp(ended.to));
            });
            answer.composed("ip", |text| {
                if let Some(address) = self.address.get() {
                    let _ = uwrite!(text, "{}", Ip(address));
                }
            });
            // In microseconds: a short sampling at a high rate has few milliseconds to go by.
            let rate = average(ended.made, ended.duration.as_micros());
            let rate = Short {
                value: rate,
                decimals: RATE_DECIMALS,
            };
            answer.number("avg_rate", rate);
        });
    }

    /// Lets samples go or holds them back, if there are any.
    pub(super) fn clear_to_send(&self, clear: bool) {
        if let Some(sampling) = self.sampling.borrow_mut().as_mut() {
            sampling.stream.clear_to_send(clear);
            self.sampling_changed.signal(());
        }
    }

    /// Lets so many samples go of a sampling with flow control.
    pub(super) fn request_samples(&self, samples: i64) -> Result<(), Refusal> {
        let mut sampling = self.sampling.borrow_mut();
        let begun = sampling.as_mut().filter(|sampling| {
            sampling.flow_control && !sampling.is_stopped && sampling.has_begun(Instant::now())
        });
        let sampling = begun.ok_or(Refusal::Idle)?;
        match samples {
            10..=2000 => sampling.stream.request(samples as u32),
            _ => return Err(Refusal::Samples(samples)),
        }
        self.sampling_changed.signal(());
        Ok(())
    }

    /// Waits for the next packet of this client's samples, for ever when it has none.
    ///
    /// # Cancellation Safety
    /// No packet is lost: it ends when there is one.
    pub async fn next_packet(&self, client: &Client, packet: &mut PacketView) {
        loop {
            if self.packet(client, packet) {
                return;
            }
            let ready = {
                let sampling = self.sampling.borrow();
                let own = sampling.as_ref().filter(|own| own.owner == client.peer);
                own.map(|own| own.stream.ready_at())
            };
            let Some(ready) = ready else {
                return core::future::pending().await;
            };
            let timer = async {
                match ready {
                    // What is ready and does not go waits for the next second and its slot.
                    Some(ready) if ready <= Instant::now() => {
                        let part = self.now_or_epoch().0 % 1000;
                        Timer::after(Duration::from_millis(1000 - part)).await;
                    }
                    Some(ready) => Timer::at(ready).await,
                    None => core::future::pending().await,
                }
            };
            select(timer, self.sampling_changed.wait()).await;
        }
    }

    /// Writes the next packet of this client's samples when there is one.
    fn packet(&self, client: &Client, packet: &mut PacketView) -> bool {
        let now = self.now();
        let mut place = self.sampling.borrow_mut();
        let Some(sampling) = place
            .as_mut()
            .filter(|sampling| sampling.owner == client.peer)
        else {
            return false;
        };
        self.advance(sampling);
        let is_there = sampling.stream.packet(now, packet);
        if !is_there && sampling.is_stopped {
            *place = None;
        }
        is_there
    }

    /// Writes what is still to go after a stop, packet by packet.
    pub fn last_packet(&self, client: &Client, packet: &mut PacketView) -> bool {
        let is_stopped = |sampling: &Sampling| sampling.is_stopped;
        let stopped = self.sampling.borrow().as_ref().is_some_and(is_stopped);
        stopped && self.packet(client, packet)
    }

    /// A client has gone, and its sampling with it.
    pub fn hung_up(&self, client: &Client) {
        let taken = {
            let mut sampling = self.sampling.borrow_mut();
            sampling.take_if(|sampling| sampling.owner == client.peer)
        };
        if taken.is_some_and(|sampling| !sampling.is_stopped) {
            self.tell(Level::Error, |text| {
                let _ = match client.peer {
                    Peer::Network(_) => uwrite!(text, "TCP disconnected while streaming"),
                    _ => uwrite!(text, "The console was closed while streaming"),
                };
            });
        }
    }

    /// The line of each second: that this device is alive, and how it samples.
    pub fn liveness(&self) -> Entry {
        let (mut lost, mut going) = (0, None);
        if let Some(sampling) = self.sampling.borrow_mut().as_mut() {
            self.advance(sampling);
            lost = sampling.stream.newly_lost();
            if sampling.has_begun(Instant::now()) && !sampling.is_stopped {
                going = Some((sampling.rate, sampling.stream.made()));
            }
        }
        if lost > 0 {
            self.tell(Level::Error, |text| {
                let words = "Overflow during ringBuffer write, lost";
                let _ = uwrite!(text, "{} {} samples", words, lost);
            });
        }
        Entry::new(Level::Info, self.local_now(), |text| {
            if let Some((rate, made)) = going {
                let rate = Rounded {
                    value: rate.into(),
                    decimals: 0,
                    places: 2,
                };
                let _ = uwrite!(text, "{}Hz, {}s", rate, made);
            }
        })
    }
}

/// Hz in millionths, of so many samples in so many microseconds. In two parts, of which each fits.
fn average(samples: u64, micros: u64) -> i64 {
    const MILLION: u64 = 1_000_000;
    let scaled = samples.saturating_mul(MILLION);
    let (Some(whole), Some(rest)) = (scaled.checked_div(micros), scaled.checked_rem(micros)) else {
        return 0;
    };
    let part = rest.saturating_mul(MILLION) / micros;
    let rate = whole.saturating_mul(MILLION).saturating_add(part);
    rate.try_into().unwrap_or(i64::MAX)
}

impl State {
    /// Seconds after which values are too old.
    pub(super) fn most_age(&self) -> u64 {
        u64::from(self.settings.interval) + u64::from(self.settings.timeout)
    }

    /// When the values that there are become too old.
    fn old_at(&self) -> Option<Instant> {
        // They are, when a whole second more has passed.
        self.values
            .at()?
            .checked_add(Duration::from_secs(self.most_age() + 1))
    }
}

/// `1614697441.119`.
struct Stamp(Moment);

impl uDisplay for Stamp {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let Moment(milliseconds) = self.0;
        uwrite!(f, "{}.", milliseconds / 1000)?;
        digits(f, (milliseconds % 1000) as u32, 3)
    }
}
