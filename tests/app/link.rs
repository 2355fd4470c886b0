//! A network with one broker on it, whose connections fragment, pend and fail when told to, and the
//! publisher task on it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::pending,
    io,
};

use edge_nal::{AddrType, Close, Dns, Readable, TcpConnect, TcpShutdown, TcpSplit};
use embassy_futures::select::{Either, select};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, mutex::Mutex, signal::Signal};
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{ErrorType, Read, Write};
use metertrekker::{
    app::{
        detection::Detection,
        mailbox::Mailbox,
        monitor::{Monitor, Silent},
        publisher::{Publisher, Room},
        remote::Remote,
        stats::Stats,
    },
    reading::Reading,
    settings::Settings,
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::{Shared, Store},
};

use super::{
    broker::{Broker, Manners, Packet, Publish, message},
    recorder::Recorder,
    telegrams::{Telegram, deliver, offer},
};

/// How a step of connecting goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Works,
    Fails,
    Hangs,
}

/// What happens to what is written once some bytes have gone through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    #[default]
    Never,
    /// Writing and reading fail.
    Fails(usize),
    /// Writing waits for ever.
    Stalls(usize),
    /// Writing works, but nothing arrives any more, in either direction.
    Vanishes(usize),
}

/// What becomes of one attempt to connect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    pub name: Step,
    pub connect: Step,
    pub cut: Cut,
    /// Reads and writes take a few bytes at a time, and their time, drawn from this seed.
    pub ragged: Option<u64>,
}

type Answers = VecDeque<(Instant, Option<Vec<u8>>)>;

#[derive(Default)]
struct State {
    broker: Broker,
    fates: VecDeque<Fate>,
    /// The fate once those are used up.
    last: Fate,
    connections: usize,
    log: Vec<(u64, usize, Packet)>,
    answers: Answers,
    written: usize,
    random: u64,
}

/// The network.
#[derive(Default)]
pub struct Network {
    state: RefCell<State>,
    wake: Signal<NoopRawMutex, ()>,
}

impl Network {
    pub fn new(manners: Manners) -> Self {
        let network = Self::default();
        network.state.borrow_mut().broker.manners = manners;
        network
    }

    /// Decides what becomes of the next attempts to connect.
    pub fn fates(self, fates: impl IntoIterator<Item = Fate>) -> Self {
        self.state.borrow_mut().fates.extend(fates);
        self
    }

    /// Decides what becomes of every later one.
    pub fn then(self, fate: Fate) -> Self {
        self.state.borrow_mut().last = fate;
        self
    }

    /// Changes the broker's ways at run time.
    pub fn manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state.borrow_mut().broker.manners);
    }

    /// The broker hands a message on to the client.
    pub fn push(&self, topic: &str, payload: &str, retained: bool) {
        let bytes = message(topic, payload, retained);
        let answer = (Instant::now(), Some(bytes));
        self.state.borrow_mut().answers.push_back(answer);
        self.wake.signal(());
    }

    /// The broker closes the connection.
    pub fn hang_up(&self) {
        self.state
            .borrow_mut()
            .answers
            .push_back((Instant::now(), None));
        self.wake.signal(());
    }

    /// What the broker got: the millisecond, the number of the connection from 1, the packet.
    pub fn log(&self) -> Vec<(u64, usize, Packet)> {
        self.state.borrow().log.clone()
    }

    /// The messages among it.
    pub fn messages(&self) -> Vec<(usize, Publish)> {
        let log = self.log().into_iter();
        log.filter_map(|(_, connection, packet)| match packet {
            Packet::Publish(publish) => Some((connection, publish)),
            _ => None,
        })
        .collect()
    }

    /// The payloads of a topic, as far as a broker that gets a message twice can tell them apart.
    pub fn payloads(&self, topic: &str) -> Vec<String> {
        let messages = self.messages().into_iter();
        messages
            .filter(|(_, publish)| publish.topic == topic)
            .map(|(_, publish)| publish.payload)
            .collect()
    }

    pub fn retained(&self, topic: &str) -> Option<String> {
        self.state.borrow().broker.retained.get(topic).cloned()
    }

    /// Bytes that were written to the connection at hand.
    pub fn written(&self) -> usize {
        self.state.borrow().written
    }
}

async fn step(step: Step) -> io::Result<()> {
    match step {
        Step::Works => Ok(()),
        Step::Fails => Err(io::ErrorKind::ConnectionRefused.into()),
        Step::Hangs => pending().await,
    }
}

impl Dns for Network {
    type Error = io::Error;

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> io::Result<IpAddr> {
        assert_eq!(host, "broker.test");
        let fate = {
            let mut state = self.state.borrow_mut();
            let fate = state.fates.front().copied().unwrap_or(state.last);
            if fate.name != Step::Works {
                state.fates.pop_front();
            }
            fate
        };
        step(fate.name).await?;
        Ok(Ipv4Addr::LOCALHOST.into())
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> io::Result<usize> {
        panic!("nobody asks for this")
    }
}

impl TcpConnect for Network {
    type Error = io::Error;
    type Socket<'a> = Socket<'a>;

    async fn connect(&self, remote: SocketAddr) -> io::Result<Socket<'_>> {
        assert_eq!(remote, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1883));
        let fate = {
            let mut state = self.state.borrow_mut();
            let last = state.last;
            state.fates.pop_front().unwrap_or(last)
        };
        step(fate.connect).await?;
        let mut state = self.state.borrow_mut();
        state.connections += 1;
        state.broker.accept();
        state.answers.clear();
        state.written = 0;
        state.random = fate.ragged.unwrap_or(0).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Ok(Socket {
            network: self,
            fate,
        })
    }
}

pub struct Socket<'n> {
    network: &'n Network,
    fate: Fate,
}

impl Socket<'_> {
    /// Lets a ragged link take its time, and says how many bytes it takes then.
    async fn ragged(&self) -> usize {
        if self.fate.ragged.is_none() {
            return usize::MAX;
        }
        loop {
            let drawn = {
                let random = &mut self.network.state.borrow_mut().random;
                *random ^= *random << 13;
                *random ^= *random >> 7;
                *random ^= *random << 17;
                *random >> 33
            };
            match drawn % 4 {
                0 => embassy_futures::yield_now().await,
                1 => Timer::after(Duration::from_micros(drawn % 900)).await,
                _ => return 1 + (drawn / 4 % 97) as usize,
            }
        }
    }
}

impl ErrorType for Socket<'_> {
    type Error = io::Error;
}

impl Read for Socket<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.ragged().await.min(buffer.len());
        loop {
            let next = {
                let mut state = self.network.state.borrow_mut();
                match self.fate.cut {
                    Cut::Fails(at) if state.written >= at => {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    Cut::Vanishes(at) if state.written > at => None,
                    _ => match state.answers.front_mut() {
                        Some((due, bytes)) if *due <= Instant::now() => {
                            let Some(bytes) = bytes else { return Ok(0) };
                            let count = most.min(bytes.len());
                            buffer[..count].copy_from_slice(&bytes[..count]);
                            bytes.drain(..count);
                            if bytes.is_empty() {
                                state.answers.pop_front();
                            }
                            return Ok(count);
                        }
                        Some((due, _)) => Some(*due),
                        None => None,
                    },
                }
            };
            let due = async {
                match next {
                    Some(due) => Timer::at(due).await,
                    None => pending().await,
                }
            };
            select(due, self.network.wake.wait()).await;
        }
    }
}

impl Write for Socket<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.ragged().await.min(bytes.len());
        let written = self.network.state.borrow().written;
        let (count, heard) = match self.fate.cut {
            Cut::Never => (most, most),
            Cut::Fails(at) if written >= at => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Cut::Stalls(at) if written >= at => pending().await,
            Cut::Fails(at) | Cut::Stalls(at) => (most.min(at - written), usize::MAX),
            Cut::Vanishes(at) => (most, at.saturating_sub(written)),
        };
        let mut state = self.network.state.borrow_mut();
        state.written += count;
        let (packets, answers) = state.broker.take(&bytes[..count.min(heard)]);
        let (now, connection) = (Instant::now(), state.connections);
        let packets = packets.into_iter();
        let packets = packets.map(|packet| (now.as_millis(), connection, packet));
        state.log.extend(packets);
        let answers = answers.into_iter();
        state
            .answers
            .extend(answers.map(|(wait, bytes)| (now + wait, bytes)));
        Ok(count)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Readable for Socket<'_> {
    async fn readable(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TcpShutdown for Socket<'_> {
    async fn close(&mut self, _: Close) -> io::Result<()> {
        Ok(())
    }

    async fn abort(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TcpSplit for Socket<'_> {
    type Read<'a>
        = Self
    where
        Self: 'a;
    type Write<'a>
        = Self
    where
        Self: 'a;

    fn split(&mut self) -> (Self, Self) {
        panic!("nobody splits this")
    }
}

/// The flash of a device under test.
pub type Flash = RamFlash<4096, 2>;

/// A store on flash that has never been used.
pub async fn blank() -> Store<Flash> {
    opened(Flash::new()).await
}

/// What a restart finds.
pub async fn opened(flash: Flash) -> Store<Flash> {
    Store::open(flash, 0..8192).await.expect("flash that works")
}

/// The meter's end of the mailbox.
pub struct Feed<'m, 'a> {
    mailbox: &'m Mailbox<'a>,
    room: Cell<Option<&'a mut Reading>>,
    /// What the meter's task would have found out.
    pub detection: &'m Detection,
}

impl Feed<'_, '_> {
    /// A reading as from a line: the newest wins.
    pub fn offer(&self, telegram: &Telegram) {
        let mut room = self.room.take().expect("one caller");
        offer(self.mailbox, &mut room, &telegram.bytes());
        self.room.set(Some(room));
    }

    /// A reading as from a file: none is lost.
    pub async fn deliver(&self, telegram: &Telegram) {
        self.deliver_bytes(&telegram.bytes()).await;
    }

    /// As [`deliver`](Self::deliver), for the bytes of any telegram.
    pub async fn deliver_bytes(&self, telegram: &[u8]) {
        let mut room = self.room.take().expect("one caller");
        deliver(self.mailbox, &mut room, telegram).await;
        self.room.set(Some(room));
    }
}

/// How a run ends when its script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The mailbox is closed and the publisher says good-bye.
    Goodbye,
    /// The power is cut.
    Cut,
}

/// How long a good-bye may take.
const GOODBYE: Duration = Duration::from_secs(600);

/// What came of a run.
pub struct Outcome {
    pub stats: Stats,
    pub told: Recorder,
    /// When it ended, in ms.
    pub end: u64,
}

/// Settings with a broker's name.
pub fn settings(changes: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    settings.set("mqtt_server", "broker.test").unwrap();
    for (name, value) in changes {
        settings.set(name, value).unwrap();
    }
    settings
}

/// Runs the publisher in virtual time until `script` has come to its end.
pub fn publish(
    network: &Network,
    settings: &Settings,
    store: &mut Store<Flash>,
    end: End,
    script: impl AsyncFnOnce(&Feed<'_, '_>),
) -> Outcome {
    block_on_virtual(session(network, settings, store, end, script))
}

/// Runs the publisher on any network until `script` has come to its end.
pub async fn session<N>(
    network: &N,
    settings: &Settings,
    store: &mut Store<Flash>,
    end: End,
    script: impl AsyncFnOnce(&Feed<'_, '_>),
) -> Outcome
where
    N: TcpConnect<Error = io::Error> + Dns<Error = io::Error>,
{
    session_with(
        network,
        settings,
        &Mutex::new(store),
        &(),
        &Silent,
        end,
        script,
    )
    .await
}

/// The same with somebody who answers commands, and is told too.
pub async fn session_with<N>(
    network: &N,
    settings: &Settings,
    store: &Shared<'_, Flash>,
    remote: &impl Remote,
    monitor: &impl Monitor,
    end: End,
    script: impl AsyncFnOnce(&Feed<'_, '_>),
) -> Outcome
where
    N: TcpConnect<Error = io::Error> + Dns<Error = io::Error>,
{
    let (stats, told) = (Stats::new(), Recorder::default());
    let both = (&told, monitor);
    let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
    let mut room = Room::new();
    let end = {
        let mailbox = Mailbox::new(&mut one);
        let detection = Detection::new();
        let feed = Feed {
            mailbox: &mailbox,
            room: Cell::new(Some(&mut other)),
            detection: &detection,
        };
        let mut publisher = Publisher {
            network,
            settings,
            name: "Metertrekker-test",
            mailbox: &mailbox,
            store,
            detection: &detection,
            stats: &stats,
            monitor: &both,
            remote,
            seed: 1,
        };
        let script = async {
            script(&feed).await;
            mailbox.close();
            if end == End::Goodbye {
                Timer::after(GOODBYE).await;
                panic!("it does not end");
            }
        };
        match select(publisher.run(&mut room), script).await {
            Either::First(Ok(())) => assert_eq!(end, End::Goodbye, "it ended before its script"),
            Either::First(Err(error)) => panic!("{error:?}"),
            Either::Second(()) => {}
        }
        Instant::now().as_millis()
    };
    Outcome { stats, told, end }
}

/// As [`publish`] on blank flash, with the default settings and a good-bye.
pub fn simply(network: &Network, script: impl AsyncFnOnce(&Feed<'_, '_>)) -> Outcome {
    let mut store = metertrekker::soc::host::executor::block_on(blank());
    publish(network, &settings(&[]), &mut store, End::Goodbye, script)
}

pub async fn pause(milliseconds: u64) {
    Timer::after(Duration::from_millis(milliseconds)).await;
}
