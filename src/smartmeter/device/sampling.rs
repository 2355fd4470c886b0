//! The one sampling that there can be at a time, whose it is and who carries its samples.

use core::net::SocketAddr;

use embassy_futures::select::select;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Client, Device, Peer, State, events::Ip};
use crate::{
    settings::Text,
    smartmeter::{
        answer::{Answer, Reply},
        command::Refusal,
        fixed::{Rounded, Short},
        log::{Entry, Level},
        request::{Place, Request},
        sampling::{Measures, Order, Sink, Wrong, lead},
        stream::{PacketView, Sample, Stream, VALUE_DECIMALS, thousandths},
        time::{Long, Moment, digits},
    },
};

/// How often the time server is asked for a time that is exact enough.
const ATTEMPTS: usize = 3;

/// Who waits for the time server has so much left before its sampling begins, in ms; less it could not order.
const SPARE: u32 = 600;

/// How often it is told that samples are lost.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Decimals of a rate that was reached.
const RATE_DECIMALS: u8 = 6;

/// Who carries samples away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// The session of this client.
    Session(Peer),
    /// Whoever serves raw streams and sends datagrams.
    Outlet,
    /// Whoever publishes.
    Broker,
}

/// Tells each carrier that there may be something to do; of the sessions only one is ever concerned.
#[derive(Default)]
pub(super) struct Changed {
    session: Signal<CriticalSectionRawMutex, ()>,
    outlet: Signal<CriticalSectionRawMutex, ()>,
    broker: Signal<CriticalSectionRawMutex, ()>,
}

impl Changed {
    fn signal(&self) {
        for carrier in [&self.session, &self.outlet, &self.broker] {
            carrier.signal(());
        }
    }

    async fn wait(&self, carrier: Carrier) {
        match carrier {
            Carrier::Session(_) => self.session.wait().await,
            Carrier::Outlet => self.outlet.wait().await,
            Carrier::Broker => self.broker.wait().await,
        }
    }
}

/// What there is to do for whoever serves raw streams and sends datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlet {
    /// A packet goes to the client of raw streams.
    Raw,
    /// A packet goes there.
    Datagram(SocketAddr),
    /// Datagrams are over, or the client of raw streams has got all that it will get.
    Over,
}

/// What there is to say over MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Samples are made, or no longer.
    Turned(bool),
    /// A sample of these measures, as it was at that time.
    Sample(Measures, Moment),
}

/// A sampling from the moment that it was asked for to its last packet.
pub(super) struct Sampling {
    owner: Peer,
    sink: Sink,
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
    /// It was said that it has begun, or need not be.
    is_told: bool,
    /// Datagrams that could not be sent.
    failed: u32,
    /// When lost samples may be told again.
    tells_lost_at: Instant,
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

    fn carrier(&self) -> Carrier {
        match self.sink {
            Sink::Tcp | Sink::Serial => Carrier::Session(self.owner),
            Sink::Udp(_) | Sink::Ffmpeg => Carrier::Outlet,
            Sink::Mqtt => Carrier::Broker,
        }
    }

    /// Whether it ends when the connection of whoever asked for it does.
    fn ends_with(&self, peer: Peer) -> bool {
        self.owner == peer && !matches!(self.sink, Sink::Ffmpeg | Sink::Mqtt)
    }

    fn is_raw(&self) -> bool {
        self.sink == Sink::Ffmpeg && !self.is_stopped
    }

    /// The time of the next sample.
    fn next_at(&self) -> Moment {
        let since = self
            .stream
            .next_at()
            .saturating_duration_since(self.started);
        Moment(self.began.0.saturating_add(since.as_millis()))
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

    /// On this board nobody runs who sends datagrams, so that nobody can order them.
    pub fn has_no_outlet(&self) {
        self.has_outlet.set(false);
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
        self.can_carry(&order, client)?;
        let mut reached = None;
        if let Some(confidence) = order.confidence {
            reached = self.sync_within(confidence).await;
            reached.ok_or(Refusal::Confidence(confidence))?;
        } else if let Some(start) = order.start {
            // Without it the time that there is has to do; the log says so. By that time the start may be near, or
            // not be what it seems.
            let ahead = lead(start, self.now_or_epoch()).unwrap_or(u32::MAX);
            let patience = Duration::from_millis(ahead.saturating_sub(SPARE).into());
            let _ = self.sync_for(patience).await;
        }
        // Meanwhile another client may have been faster, and a connection gone.
        let owner = self.can_carry(&order, client)?;
        if let Some(peer) = self.in_the_way(&order, owner) {
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
            self.begin(&order, owner, started, began);
        }
        answer.object(|answer| {
            answer.head(ahead.is_none(), name);
            order.describe(answer);
            if let Some(reached) = reached {
                answer.number("ntpConfidence", reached);
            }
            // The device's own tools look for the name that the answer to `stop` has.
            for key in ["startTs", "start_ts"] {
                answer.composed(key, |text| {
                    let _ = uwrite!(text, "{}", Stamp(began));
                });
            }
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

    /// Whose sampling it would be; or why there is no way for its samples to go.
    fn can_carry(&self, order: &Order, client: &Client) -> Result<Peer, Refusal> {
        match (order.sink, client.peer) {
            (Sink::Udp(_), Peer::Network(_)) if self.has_outlet.get() => Ok(client.peer),
            (Sink::Tcp, Peer::Network(_)) | (Sink::Serial, Peer::Console) => Ok(client.peer),
            (Sink::Mqtt, _) if self.connected.get() => Ok(client.peer),
            (Sink::Mqtt, _) => Err(Refusal::Argument("Not connected to the MQTT Server")),
            (Sink::Ffmpeg, _) => match self.raw.get() {
                Some(peer) => Ok(Peer::Network(peer)),
                None => Err(Refusal::Argument("Could not connect to TCP stream")),
            },
            (sink, _) => {
                let name = Text::try_from(sink.name()).unwrap_or_default();
                Err(Refusal::Sample(Wrong::Sink(name)))
            }
        }
    }

    /// Whose sampling goes on, or will, and is not the one that is ordered anew.
    fn in_the_way(&self, order: &Order, owner: Peer) -> Option<Peer> {
        let sampling = self.sampling.borrow();
        let other = sampling.as_ref()?;
        let anew = match other.has_begun(Instant::now()) {
            true => other.is_raw() && order.sink == Sink::Ffmpeg,
            false => other.owner == owner,
        };
        (!anew).then_some(other.owner)
    }

    /// Whether a request orders the raw stream anew, which it may while that goes on.
    pub(super) fn is_order_of_raw_stream(&self, request: &Request<'_>) -> bool {
        let sampling = self.sampling.borrow();
        let sink: Result<Option<Text<8>>, _> = request.text(Place::Payload, "type");
        request.command.as_str() == "sample"
            && sampling.as_ref().is_some_and(Sampling::is_raw)
            && sink.is_ok_and(|sink| sink.as_deref() == Some(Sink::Ffmpeg.name()))
    }

    fn begin(&self, order: &Order, owner: Peer, started: Instant, began: Moment) {
        let now = Instant::now();
        let state = self.state.borrow();
        let values = state.values.fresh(now, state.most_age()).ok();
        let held = Sample::of(order.measures, values, &state.calibration);
        self.rate.set(order.rate);
        *self.sampling.borrow_mut() = Some(Sampling {
            owner,
            sink: order.sink,
            measures: order.measures,
            flow_control: order.flow_control,
            rate: order.rate,
            stream: Stream::new(order, held, started),
            started,
            began,
            is_fresh: values.is_some(),
            is_stopped: false,
            is_told: started <= now,
            failed: 0,
            tells_lost_at: now,
        });
        self.sampling_changed.signal();
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
        self.sampling_changed.signal();
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
            self.sampling_changed.signal();
        }
    }

    /// Lets so many samples go of a sampling with flow control.
    pub(super) fn request_samples(&self, samples: i64) -> Result<(), Refusal> {
        let mut sampling = self.sampling.borrow_mut();
        let begun = sampling
            .as_mut()
            .filter(|sampling| !sampling.is_stopped && sampling.has_begun(Instant::now()));
        let sampling = begun.ok_or(Refusal::Idle)?;
        if !sampling.flow_control {
            return Err(Refusal::Argument(
                "This sampling goes unasked: order it with flowCtr",
            ));
        }
        match samples {
            10..=2000 => sampling.stream.request(samples as u32),
            _ => return Err(Refusal::Samples(samples)),
        }
        self.sampling_changed.signal();
        Ok(())
    }

    /// Waits for the next packet of this client's samples, for ever when it has none.
    ///
    /// # Cancellation Safety
    /// No packet is lost: it ends when there is one.
    pub async fn next_packet(&self, client: &Client, packet: &mut PacketView) {
        let carrier = Carrier::Session(client.peer);
        while self.packet(carrier, packet).is_none() {
            // Its own command is what would change that.
            if self.carrier() != Some(carrier) {
                return core::future::pending().await;
            }
            self.until_ready(carrier).await;
        }
    }

    /// Waits for what there is to do for whoever serves raw streams and sends datagrams, and writes the
    /// packet if there is one.
    ///
    /// # Cancellation Safety
    /// Nothing is lost: it ends when there is something.
    pub async fn outlet(&self, packet: &mut PacketView) -> Outlet {
        loop {
            if self.outlet_over.take() {
                return Outlet::Over;
            }
            match self.packet(Carrier::Outlet, packet) {
                Some((Sink::Udp(port), Peer::Network(peer), _)) => {
                    return Outlet::Datagram(SocketAddr::new(peer.ip(), port));
                }
                Some(_) => return Outlet::Raw,
                None if self.outlet_over.get() => {}
                None => self.until_ready(Carrier::Outlet).await,
            }
        }
    }

    /// Waits for what there is to say over MQTT, and writes the sample if it is one; whether samples are
    /// made `was` said last.
    ///
    /// # Cancellation Safety
    /// Nothing is lost: it ends when there is something.
    pub async fn news(&self, was: bool, sample: &mut PacketView) -> News {
        loop {
            let is = self.sampler().is_some();
            if is != was {
                return News::Turned(is);
            }
            if let Some(news) = self.published_sample(sample) {
                return news;
            }
            self.until_ready(Carrier::Broker).await;
        }
    }

    /// Writes the next sample that goes over MQTT, when there is one.
    fn published_sample(&self, sample: &mut PacketView) -> Option<News> {
        let (_, _, (measures, at)) = self.packet(Carrier::Broker, sample)?;
        Some(News::Sample(measures, at))
    }

    /// Writes what a stop leaves to be published, sample by sample.
    pub fn last_news(&self, sample: &mut PacketView) -> Option<News> {
        self.is_stopped()
            .then(|| self.published_sample(sample))
            .flatten()
    }

    /// Writes a sample as it is published.
    pub fn sample_news(&self, measures: Measures, at: Moment, sample: &[u8], answer: &mut Answer) {
        answer.object(|answer| {
            answer.string("unit", measures.unit());
            answer.composed("ts", |text| {
                let _ = uwrite!(text, "{}", Stamp(at));
            });
            answer.numbers("values", VALUE_DECIMALS, thousandths(sample));
        });
    }

    fn carrier(&self) -> Option<Carrier> {
        self.sampling.borrow().as_ref().map(Sampling::carrier)
    }

    /// Waits until there may be a packet for this carrier.
    async fn until_ready(&self, carrier: Carrier) {
        let now = Instant::now();
        let part = self.now_or_epoch().0 % 1000;
        let second = now.saturating_add(Duration::from_millis(1000 - part));
        let at = {
            let sampling = self.sampling.borrow();
            sampling.as_ref().and_then(|sampling| {
                if sampling.started > now {
                    return Some(sampling.started);
                }
                let own = sampling.carrier() == carrier;
                match own.then(|| sampling.stream.ready_at()).flatten()? {
                    // What is ready and does not go waits for the next second and its slot.
                    ready if ready <= now => Some(second),
                    // And a slot ends with its second.
                    ready if sampling.stream.has_slot() => Some(ready.min(second)),
                    ready => Some(ready),
                }
            })
        };
        let timer = async {
            match at {
                Some(at) => Timer::at(at).await,
                None => core::future::pending().await,
            }
        };
        select(timer, self.sampling_changed.wait(carrier)).await;
    }

    /// Writes the next packet for this carrier when there is one, and says where it goes, whose it is,
    /// what is in it and of what time.
    fn packet(
        &self,
        carrier: Carrier,
        packet: &mut PacketView,
    ) -> Option<(Sink, Peer, (Measures, Moment))> {
        let now = self.now();
        let mut place = self.sampling.borrow_mut();
        let sampling = place
            .as_mut()
            .filter(|sampling| sampling.carrier() == carrier)?;
        if !sampling.is_told && sampling.has_begun(Instant::now()) {
            sampling.is_told = true;
            let began = sampling.began;
            self.tell(Level::Debug, |text| {
                let _ = uwrite!(text, "StartSampling @ {}", Long(self.local(began)));
            });
        }
        self.advance(sampling);
        let about = (
            sampling.sink,
            sampling.owner,
            (sampling.measures, sampling.next_at()),
        );
        if sampling.stream.packet(now, packet) {
            return Some(about);
        }
        match sampling.stream.slot_over(now) {
            Some((sent, 0)) => self.tell(Level::Info, |text| {
                let _ = uwrite!(text, "sent {} samples", sent);
            }),
            Some((_, left)) => self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "not finisched {} missing", left);
            }),
            None => {}
        }
        if sampling.is_stopped {
            self.over(&mut place);
        }
        None
    }

    /// Writes what is still to go after a stop, packet by packet.
    pub fn last_packet(&self, client: &Client, packet: &mut PacketView) -> bool {
        self.is_stopped() && self.packet(Carrier::Session(client.peer), packet).is_some()
    }

    fn is_stopped(&self) -> bool {
        let is_stopped = |sampling: &Sampling| sampling.is_stopped;
        self.sampling.borrow().as_ref().is_some_and(is_stopped)
    }

    /// There is no such sampling any more. It is not moved: it has a kilobyte. Nothing that is called here may look at it.
    fn over(&self, place: &mut Option<Sampling>) {
        let Some(sampling) = place else { return };
        if sampling.carrier() == Carrier::Outlet {
            // What is stopped has no connection any more either.
            if sampling.sink == Sink::Ffmpeg {
                self.raw.set(None);
            }
            self.outlet_over.set(true);
        }
        self.overflowed(sampling.stream.newly_lost());
        if sampling.failed > 0 {
            self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "{} UDP packets could not be sent", sampling.failed);
            });
        }
        *place = None;
        self.sampling_changed.signal();
    }

    /// Ends the sampling that `is_it`, and says so with `words` if it was not stopped already.
    fn cut(&self, is_it: impl FnOnce(&Sampling) -> bool, words: fn(Sink) -> &'static str) {
        let place = &mut *self.sampling.borrow_mut();
        let Some(sampling) = place.as_ref().filter(|sampling| is_it(sampling)) else {
            return;
        };
        if !sampling.is_stopped {
            let sink = sampling.sink;
            self.tell(Level::Error, |text| {
                let _ = uwrite!(text, "{}", words(sink));
            });
        }
        self.over(place);
    }

    /// A client has gone, and its sampling with it.
    pub fn hung_up(&self, client: &Client) {
        self.cut(
            |sampling| sampling.ends_with(client.peer),
            |sink| match sink {
                Sink::Udp(_) => "TCP/UDP disconnected while streaming",
                Sink::Serial => "The console was closed while streaming",
                _ => "TCP disconnected while streaming",
            },
        );
    }

    /// The broker has gone, and what was published with it.
    pub(super) fn broker_lost(&self) {
        self.cut(
            |sampling| sampling.sink == Sink::Mqtt,
            |_| "MQTT Server disconnected while streaming",
        );
    }

    /// All clients over the network have gone, and with them every sampling but that of the console.
    pub(super) fn network_hung_up(&self) {
        self.raw.set(None);
        self.cut(
            |sampling| sampling.sink != Sink::Serial,
            |_| "Stop sampling (Network disconnect)",
        );
    }

    /// A client has come for the raw stream. It gets it at once, or is turned away while anything else is
    /// sampled or another client has it; when the commands are locked, it waits for a client who may
    /// order it.
    pub fn raw_joined(&self, peer: SocketAddr) -> bool {
        let order = Order::raw(self.max_rate);
        let owner = Peer::Network(peer);
        if self.raw.get().is_some() || self.in_the_way(&order, owner).is_some() {
            self.tell(Level::Info, |text| {
                let _ = uwrite!(text, "Stream client {} turned away: busy", owner);
            });
            return false;
        }
        self.raw.set(Some(peer));
        self.tell(Level::Info, |text| {
            let (ip, port) = (Ip(peer.ip()), peer.port());
            let _ = uwrite!(text, "Stream client {} connected on port {}", ip, port);
        });
        if !self.has_password() {
            self.begin(&order, owner, Instant::now(), self.now_or_epoch());
        }
        true
    }

    /// The client of the raw stream has gone, whoever has closed the connection.
    pub fn raw_left(&self, peer: SocketAddr) {
        if self.raw.get() == Some(peer) {
            self.cut(
                |sampling| sampling.sink == Sink::Ffmpeg,
                |_| "TCP disconnected while streaming",
            );
            self.raw.set(None);
        }
        self.tell(Level::Info, |text| {
            let (ip, port) = (Ip(peer.ip()), peer.port());
            let _ = uwrite!(text, "Stream client disconnected {} port {}", ip, port);
        });
    }

    /// Whether this is the client of the raw stream.
    pub fn is_raw_client(&self, peer: SocketAddr) -> bool {
        self.raw.get() == Some(peer)
    }

    /// A datagram could not be sent. The first is told, and in the end how many there were.
    pub fn datagram_failed(&self, to: SocketAddr) {
        let mut sampling = self.sampling.borrow_mut();
        let Some(sampling) = sampling.as_mut() else {
            return;
        };
        sampling.failed = sampling.failed.saturating_add(1);
        if sampling.failed == 1 {
            self.tell(Level::Warning, |text| {
                let (ip, port) = (Ip(to.ip()), to.port());
                let _ = uwrite!(text, "Nobody takes UDP packets at {} port {}", ip, port);
            });
        }
    }

    /// Makes the samples that are due, and tells when samples are lost: at once, and then once an hour how many, so
    /// that whoever is too slow for good does not fill the log.
    pub(super) fn tell_lost(&self) {
        let now = Instant::now();
        let lost = self.sampling.borrow_mut().as_mut().map(|sampling| {
            self.advance(sampling);
            if now < sampling.tells_lost_at {
                return 0;
            }
            let lost = sampling.stream.newly_lost();
            if lost > 0 {
                sampling.tells_lost_at = now.saturating_add(TELL_AGAIN);
            }
            lost
        });
        self.overflowed(lost.unwrap_or(0));
    }

    /// Tells of so many samples that are lost, if there are any.
    fn overflowed(&self, lost: u64) {
        if lost == 0 {
            return;
        }
        self.tell(Level::Error, |text| {
            let words = "Overflow during ringBuffer write, lost";
            let _ = uwrite!(text, "{} {} samples", words, lost);
        });
    }

    /// The line of each second: that this device is alive, and how it samples.
    pub fn liveness(&self) -> Entry {
        self.tell_lost();
        let going = self.sampling.borrow().as_ref().and_then(|sampling| {
            let goes_on = sampling.has_begun(Instant::now()) && !sampling.is_stopped;
            goes_on.then(|| (sampling.rate, sampling.stream.made()))
        });
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
