//! The publisher task: one MQTT session for ever, and every reading on it.

use core::net::SocketAddr;

use edge_nal::{Dns, TcpConnect};
use embassy_futures::{
    select::{Either3, select3},
    yield_now,
};
use embassy_time::{Duration, Instant, TimeoutError, Timer, with_deadline, with_timeout};
use embedded_storage_async::nor_flash::NorFlash;
use minimq::{
    Buffers, ConfigBuilder, ConfigError, ConnectEvent, Connection, Error, Io, PeerError, PubError,
    Publication, QoS, ResourceError, Session, TopicFilter, Will,
};
use ufmt::uwrite;

use super::{
    address::resolve,
    backoff::Backoff,
    detection::{Detected, Detection},
    mailbox::Mailbox,
    monitor::{Drop, Failure, Monitor},
    remote::{BASE, Remote},
    stats::Stats,
    transport::{GATHER, Gathered, Gathering},
};
use crate::{
    metric::Device,
    publish::{
        Overflow,
        changes::{Changes, Memory},
        influx, topics,
    },
    reading::{Reading, Value},
    settings::Settings,
    storage::{Key, Shared},
};

/// Bytes for the largest packet that a broker sends to this client.
pub const RX_BUFFER: usize = 512;

/// Bytes for packets under way: two unacknowledged InfluxDB lines of a three-phase meter, and the
/// message being written.
pub const TX_BUFFER: usize = 2560;

/// Room for a topic: root and topic of a metric.
const TOPIC_MAX: usize = 160;

/// Limit for each step of connecting, and for handing one telegram's messages to the network.
const STEP: Duration = Duration::from_secs(10);

/// How long the messages of a reading may wait for room, which comes with acknowledgements.
const PATIENCE: Duration = Duration::from_secs(2);

/// After so long without a sign of the broker, in which it should have acknowledged something, the
/// connection is given up. The session pings a broker only while it has nothing to publish, and TCP
/// alone takes a quarter of an hour to notice that the far end has gone.
const UNANSWERED: Duration = Duration::from_secs(20);

/// The session is kept by the broker for so long, so that a line that was under way when the
/// connection broke is sent again.
const SESSION_EXPIRY_SECONDS: u32 = 3600;

const KEEP_ALIVE_SECONDS: u16 = 60;

const ONLINE: &[u8] = b"online";
/// The last will, and the good-bye.
pub const OFFLINE: &[u8] = b"offline";

type Topic = heapless::String<TOPIC_MAX>;

/// What the publisher task works with.
pub struct Publisher<'s, 'a, 'f, N, F, M, R> {
    /// The network.
    pub network: &'s N,
    /// What is to be published where.
    pub settings: &'s Settings,
    /// The device's name, in topics of commands, and the MQTT client id unless the settings have another.
    pub name: &'s str,
    /// Where readings come from.
    pub mailbox: &'s Mailbox<'a>,
    /// What survives a restart.
    pub store: &'s Shared<'f, F>,
    /// What the meter task finds out of the port, and should survive too.
    pub detection: &'s Detection,
    /// The counters.
    pub stats: &'s Stats,
    /// Who is told.
    pub monitor: &'s M,
    /// Commands over MQTT; `&()` for none.
    pub remote: &'s R,
    /// Parts the ways of devices that lost their broker at the same moment.
    pub seed: u32,
}

/// What the MQTT session works in, gathering so many bytes before any are written.
pub struct Room<const GATHERED: usize = GATHER> {
    rx: [u8; RX_BUFFER],
    tx: [u8; TX_BUFFER],
    gathered: heapless::Vec<u8, GATHERED>,
}

impl Room {
    /// Empty.
    pub const fn new() -> Self {
        Self::with_gathered()
    }
}

impl<const GATHERED: usize> Room<GATHERED> {
    /// Empty, for a network that gathers more or less by itself.
    pub const fn with_gathered() -> Self {
        Self {
            rx: [0; RX_BUFFER],
            tx: [0; TX_BUFFER],
            gathered: heapless::Vec::new(),
        }
    }

    /// Room for whoever needs some before there is a session.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.tx
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// The status's topic, below the root.
pub const STATUS: &str = "/status";

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// The session has it.
    Handed,
    /// It will never fit.
    TooLarge,
    /// There was no room beside what is unacknowledged.
    NoRoom,
}

/// Why there is no connection any more.
enum Lost<E> {
    /// The broker's name does not resolve.
    Name(E),
    /// No TCP connection.
    Connect(E),
    /// A step took too long.
    Timeout,
    /// The session ended.
    Session(Error<E>),
}

impl<E> From<Error<E>> for Lost<E> {
    fn from(error: Error<E>) -> Self {
        Self::Session(error)
    }
}

impl<E> From<TimeoutError> for Lost<E> {
    fn from(_: TimeoutError) -> Self {
        Self::Timeout
    }
}

impl<E> Lost<E> {
    fn failure(&self) -> Failure<'_, E> {
        match self {
            Self::Name(error) => Failure::Name(error),
            Self::Connect(error) => Failure::Connect(error),
            Self::Timeout => Failure::Timeout,
            Self::Session(Error::Transport(error)) => Failure::Transport(error),
            Self::Session(Error::Peer(PeerError::Rejected(reason))) => Failure::Refused(*reason),
            Self::Session(Error::Disconnected | Error::WriteZero) => Failure::Closed,
            Self::Session(Error::Resource(_)) => Failure::Settings,
            Self::Session(_) => Failure::Protocol,
        }
    }
}

/// A connection whose writes are gathered.
type Link<'c, 'b, 'g, S> = Connection<'c, 'b, Gathering<'g, S>>;

impl<N, F, M, R, E> Publisher<'_, '_, '_, N, F, M, R>
where
    N: TcpConnect<Error = E> + Dns<Error = E>,
    E: embedded_io_async::Error,
    F: NorFlash,
    M: Monitor,
    R: Remote,
{
    /// Publishes every reading until the mailbox is closed and all is acknowledged. Without a
    /// broker it tries again for ever.
    ///
    /// # Errors
    /// A setting is too long for the MQTT session.
    pub async fn run<const GATHERED: usize>(
        &mut self,
        room: &mut Room<GATHERED>,
    ) -> Result<(), ConfigError> {
        let Room { rx, tx, gathered } = room;
        let mut changes = Changes::new();
        self.recall(&mut changes).await;
        let mut session = Session::new(self.config(Buffers::new(rx, tx))?);
        let mut backoff = Backoff::new(self.seed);
        let mut since = Instant::now();
        let mut in_flight = false;
        loop {
            let connections = self.stats.connections.get();
            in_flight |= !session.is_publish_quiescent();
            let until_lost =
                self.connection(&mut session, gathered, &mut changes, &mut in_flight, since);
            let Err(lost) = until_lost.await else {
                return Ok(());
            };
            if self.stats.connections.get() != connections {
                since = Instant::now();
                backoff.reset();
            } else {
                self.stats.failed_connections.count();
            }
            let retry = backoff.wait();
            let server = &self.settings.mqtt_server;
            self.monitor.disconnected(server, lost.failure(), retry);
            Timer::after(retry).await;
        }
    }

    /// A topic of the settings. One that is too long is cut: the settings' own never are.
    fn topic(&self, below: &str) -> Topic {
        let mut topic = Topic::new();
        let _ = topic.push_str(&self.settings.root);
        let _ = topic.push_str(below);
        topic
    }

    fn config<'b>(&self, buffers: Buffers<'b>) -> Result<ConfigBuilder<'b>, ConfigError>
    where
        Self: 'b,
    {
        let settings = self.settings;
        let client_id = if settings.client_id.is_empty() {
            self.name
        } else {
            &settings.client_id
        };
        let will = Will::new(&self.topic(STATUS), OFFLINE, &[])?;
        let config = ConfigBuilder::new(buffers)
            .client_id(client_id)?
            .keepalive_interval(KEEP_ALIVE_SECONDS)
            .session_expiry_interval(SESSION_EXPIRY_SECONDS)
            .autodowngrade_qos()
            .will(will.retained().qos(QoS::AtLeastOnce))?;
        if settings.mqtt_user.is_empty() {
            return Ok(config);
        }
        config.auth(&settings.mqtt_user, settings.mqtt_password.as_bytes())
    }

    /// One connection, from its making to its end. `Ok` when there is nothing more to publish.
    async fn connection(
        &mut self,
        session: &mut Session<'_>,
        gathered: &mut Gathered,
        changes: &mut Changes,
        in_flight: &mut bool,
        since: Instant,
    ) -> Result<(), Lost<E>> {
        let network = self.network;
        let port = self.settings.mqtt_port;
        let server = self.settings.mqtt_server.as_str();
        let resolved = with_timeout(STEP, resolve(network, server)).await?;
        let address = resolved.map_err(Lost::Name)?;
        let connected = network.connect(SocketAddr::new(address, port));
        let stream = with_timeout(STEP, connected)
            .await?
            .map_err(Lost::Connect)?;
        let handshake = session.connect(Gathering::new(stream, gathered));
        let mut link = with_timeout(STEP, handshake).await??;
        let after = since.elapsed();
        self.stats.connections.count();
        self.monitor.connected(&self.settings.mqtt_server, after);
        let in_flight = core::mem::take(in_flight);
        if link.connect_event() == ConnectEvent::Connected {
            changes.lost();
            if in_flight {
                self.drop_message(Drop::InFlight);
            }
        }
        changes.new_connection();
        let announced = self.announce(&mut link, after);
        with_timeout(STEP, announced).await??;
        with_timeout(STEP, self.subscribe(&mut link)).await??;
        let mut answered = Instant::now();
        let mut rejected = self.stats.rejected.get();
        loop {
            let ready = self.remote.ready();
            match select3(self.mailbox.take(), self.progress(&mut link), ready).await {
                Either3::First(Some(reading)) => {
                    if link.session().is_publish_quiescent() {
                        answered = Instant::now();
                    }
                    let published = self.publish(&mut link, &reading, changes);
                    with_timeout(STEP, published).await??;
                    reading.done();
                }
                Either3::First(None) => return self.finish(link, changes).await,
                Either3::Second(progress) => {
                    progress?;
                    answered = Instant::now();
                }
                Either3::Third(()) => {
                    let published = self.publish_remote(&mut link);
                    with_timeout(STEP, published).await??;
                }
            }
            // What a broker has rejected is as good as lost: it is due again.
            if self.stats.rejected.get() != rejected {
                rejected = self.stats.rejected.get();
                changes.lost();
            }
            self.keep(&link, changes).await;
            if !link.session().is_publish_quiescent() && answered.elapsed() > UNANSWERED {
                return Err(Lost::Timeout);
            }
        }
    }

    /// Waits until the session has got any further.
    ///
    /// # Cancellation Safety
    /// No byte is lost or repeated.
    async fn progress<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
    ) -> Result<(), Lost<E>> {
        let error = match link.poll().await {
            Ok(message) => {
                // A command that the broker has kept would be done again and again.
                if let Some(message) = message.filter(|message| !message.retained())
                    && !self.remote.received(message.topic(), message.payload())
                {
                    self.stats.lost_commands.count();
                }
                return Ok(());
            }
            Err(error) => error,
        };
        match error {
            // One message was refused; the connection is as good as before.
            Error::Peer(PeerError::Rejected(reason)) if link.is_connected() => {
                self.stats.rejected.count();
                self.monitor.rejected(reason);
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    /// Asks for commands, if there is anybody to do them.
    async fn subscribe<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
    ) -> Result<(), Lost<E>> {
        if !self.remote.is_there() {
            return Ok(());
        }
        let (mut own, mut all) = (Topic::new(), Topic::new());
        // Names are short.
        let _ = uwrite!(own, "{}/{}/+", BASE, self.name);
        let _ = uwrite!(all, "{}/+", BASE);
        let filters = [TopicFilter::new(&own), TopicFilter::new(&all)];
        link.subscribe(&filters, &[]).await?;
        Ok(())
    }

    /// Publishes the answer to a command.
    async fn publish_remote<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
    ) -> Result<(), Lost<E>> {
        let mut topic = Topic::new();
        let below = self.remote.topic();
        let _ = uwrite!(topic, "{}/{}/{}", BASE, self.name, below);
        let answer = |buffer: &mut [u8]| self.remote.write(buffer);
        let (qos, until) = (QoS::AtMostOnce, Instant::now() + PATIENCE);
        self.send(link, &topic, qos, false, answer, until).await?;
        self.remote.done();
        Ok(())
    }

    /// Birth and notification.
    async fn announce<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
        after: Duration,
    ) -> Result<(), Lost<E>> {
        let birth = |buffer: &mut [u8]| copy(ONLINE, buffer);
        let (qos, until) = (QoS::AtLeastOnce, Instant::now() + PATIENCE);
        let mut topic = self.topic(STATUS);
        self.send(link, &topic, qos, true, birth, until).await?;
        let tenths = after.as_millis() / 100;
        let mut text = heapless::String::<128>::new();
        // A name that is too long cuts the message short, which does no harm.
        let _ = uwrite!(
            text,
            "{} (re)connected after {}.{}s",
            self.name,
            tenths / 10,
            tenths % 10
        );
        let notify = |buffer: &mut [u8]| copy(text.as_bytes(), buffer);
        let qos = QoS::AtMostOnce;
        topic = self.topic(&self.settings.notify_topic);
        self.send(link, &topic, qos, false, notify, until).await?;
        Ok(())
    }

    /// Hands all of a reading's messages to the session: the InfluxDB lines first, then the topics.
    async fn publish<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
        reading: &Reading,
        changes: &mut Changes,
    ) -> Result<(), Lost<E>> {
        changes.correct(reading);
        let settings = self.settings;
        let until = Instant::now() + PATIENCE;
        let (once, known) = (QoS::AtLeastOnce, &*changes);
        // The devices whose lines found no room, `None` for the electricity meter.
        let mut missing = heapless::Vec::<Option<Device>, { 1 + Device::COUNT }>::new();
        let mut whole = true;
        let mut line_sent = |device, sent| {
            whole &= sent == Sent::Handed;
            if sent == Sent::NoRoom {
                // There is one place for each.
                let _ = missing.push(device);
            }
        };
        let mut topic = self.topic(&settings.influx_topic);
        if influx::has_electricity(reading) {
            let changed = |value: &Value<'_>| known.is_changed(value);
            let line = |buffer: &mut [u8]| influx::electricity(reading, settings, &changed, buffer);
            let sent = self.send(link, &topic, once, false, line, until);
            line_sent(None, sent.await?);
        }
        for device in Device::ALL {
            let at = reading.newest_at(device);
            if at.is_some_and(|at| known.is_newer(device, at.utc)) {
                let line = |buffer: &mut [u8]| influx::device(device, reading, settings, buffer);
                let sent = self.send(link, &topic, once, false, line, until);
                line_sent(Some(device), sent.await?);
            }
        }
        for (below, value) in topics::values(reading, settings) {
            if !known.is_topic_due(&value) {
                continue;
            }
            topic.clear();
            let joined = topic.push_str(&settings.root).and(topic.push_str(below));
            if joined.is_err() {
                self.drop_message(Drop::TooLarge);
                whole = false;
                continue;
            }
            let payload = |buffer: &mut [u8]| topics::payload(&value, settings, buffer);
            let qos = QoS::AtMostOnce;
            let sent = self.send(link, &topic, qos, true, payload, until);
            whole &= sent.await? == Sent::Handed;
        }
        // The network sends what it has while this waits: who was woken before the second turn has had one.
        yield_now().await;
        yield_now().await;
        changes.published(reading, |value| missing.contains(&value.metric.device));
        if whole {
            self.stats.published.count();
        }
        Ok(())
    }

    /// Hands one message to the session, and waits for room at most `until` then. One that does not
    /// fit is counted and told, and the others go on.
    async fn send<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
        topic: &str,
        qos: QoS,
        retained: bool,
        payload: impl Fn(&mut [u8]) -> Result<usize, Overflow>,
        until: Instant,
    ) -> Result<Sent, Lost<E>> {
        loop {
            let told = |buffer: &mut [u8]| {
                let len = payload(buffer)?;
                let written = buffer.get(..len).unwrap_or_default();
                self.monitor.published(topic, written, retained);
                Ok(len)
            };
            let mut publication = Publication::new(topic, told).qos(qos);
            if retained {
                publication = publication.retain();
            }
            let too_large = match link.publish(publication).await {
                Ok(_) => return Ok(Sent::Handed),
                Err(PubError::Session(Error::Resource(ResourceError::PacketTooLarge))) => true,
                // What is unacknowledged shares the buffer.
                Err(
                    PubError::Payload(Overflow)
                    | PubError::Session(Error::Resource(_) | Error::NotReady),
                ) => link.session().is_publish_quiescent(),
                Err(PubError::Session(error)) => return Err(error.into()),
            };
            if too_large {
                self.drop_message(Drop::TooLarge);
                return Ok(Sent::TooLarge);
            }
            match with_deadline(until, self.progress(link)).await {
                Ok(progress) => progress?,
                Err(TimeoutError) => {
                    self.drop_message(Drop::Unacknowledged);
                    return Ok(Sent::NoRoom);
                }
            }
        }
    }

    fn drop_message(&self, what: Drop) {
        let counter = match what {
            Drop::Superseded => &self.stats.superseded,
            Drop::TooLarge => &self.stats.too_large,
            Drop::Unacknowledged => &self.stats.unacknowledged,
            Drop::InFlight => &self.stats.lost_in_flight,
        };
        counter.count();
        self.monitor.dropped(what);
    }

    /// Says good-bye when the broker has acknowledged everything.
    async fn finish<S: Io<Error = E>>(
        &mut self,
        mut link: Link<'_, '_, '_, S>,
        changes: &mut Changes,
    ) -> Result<(), Lost<E>> {
        let rejected = self.stats.rejected.get();
        self.settle(&mut link).await?;
        if self.stats.rejected.get() != rejected {
            changes.lost();
        }
        self.keep(&link, changes).await;
        let farewell = |buffer: &mut [u8]| copy(OFFLINE, buffer);
        let (qos, until) = (QoS::AtLeastOnce, Instant::now() + PATIENCE);
        let topic = self.topic(STATUS);
        let sent = self.send(&mut link, &topic, qos, true, farewell, until);
        with_timeout(STEP, sent).await??;
        self.settle(&mut link).await?;
        with_timeout(STEP, link.disconnect()).await??;
        let pushed = with_timeout(STEP, link.into_inner().push()).await?;
        pushed.map_err(|error| Lost::Session(Error::Transport(error)))
    }

    /// Waits until the broker has acknowledged everything.
    async fn settle<S: Io<Error = E>>(
        &self,
        link: &mut Link<'_, '_, '_, S>,
    ) -> Result<(), Lost<E>> {
        while !link.session().is_publish_quiescent() {
            with_timeout(STEP, self.progress(link)).await??;
        }
        Ok(())
    }

    async fn recall(&mut self, changes: &mut Changes) {
        let mut store = self.store.lock().await;
        let mut detected = Detected::default();
        let recalled = store.each(|key, value| {
            let memory = match (key, value) {
                (Key::Stamp(device), &[a, b, c, d]) => {
                    Memory::Stamp(device, u32::from_le_bytes([a, b, c, d]))
                }
                (Key::Text(name), &[a, b, c, d]) => {
                    Memory::Text(name, u32::from_le_bytes([a, b, c, d]))
                }
                (Key::Detected, value) => {
                    detected = Detected::from_bytes(value);
                    return;
                }
                _ => return,
            };
            changes.recall(memory);
        });
        if recalled.await.is_err() {
            self.stats.storage_errors.count();
        }
        self.detection.remember(detected);
    }

    /// Keeps across restarts what has been published, as soon as the broker has it all.
    async fn keep<S: Io<Error = E>>(&mut self, link: &Link<'_, '_, '_, S>, changes: &mut Changes) {
        if !link.session().is_publish_quiescent() {
            return;
        }
        loop {
            let memory = changes.to_keep();
            let (key, value) = match memory {
                Some(Memory::Stamp(device, utc)) => (Key::Stamp(device), utc.to_le_bytes()),
                Some(Memory::Text(name, print)) => (Key::Text(name), print.to_le_bytes()),
                None => match self.detection.to_keep() {
                    Some(detected) => (Key::Detected, detected.to_bytes()),
                    None => return,
                },
            };
            if self.store.lock().await.put(key, &value).await.is_err() {
                self.stats.storage_errors.count();
            }
            // One that cannot be kept is not tried again and again.
            if let Some(memory) = memory {
                changes.kept(memory);
            }
            // Each looks through the flash for its place: on a chip nothing else runs meanwhile.
            yield_now().await;
        }
    }
}

fn copy(bytes: &[u8], buffer: &mut [u8]) -> Result<usize, Overflow> {
    let room = buffer.get_mut(..bytes.len()).ok_or(Overflow)?;
    room.copy_from_slice(bytes);
    Ok(bytes.len())
}
