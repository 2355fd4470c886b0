//! Tells the network what this device is called (RFC 6762), and answers who asks.
//!
//! A name is asked for before it is used. When another device has it, this one adds `-2` and so on to what
//! it is called in the network, and says so in the log: the device's own name, and with it the topics of its
//! commands, stay as they are, since only a user knows which of the two is to be renamed.

use core::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use edge_nal::{MulticastV4, UdpBind, UdpReceive, UdpSend};
use embassy_futures::select::{Either, Either3, select, select3};
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::uwrite;

use super::random::Random;
use crate::{
    mdns::{GROUP, Identity, Incoming, LABEL, PORT, Query, RECORDS, Records, To},
    settings::Text,
    smartmeter::device::Device,
};

/// Everybody.
const ALL: SocketAddr = SocketAddr::new(IpAddr::V4(GROUP), PORT);

/// How often a name is asked for before it is used, and from one time to the next (§8.1).
const PROBES: u32 = 3;
const PROBE: Duration = Duration::from_millis(250);

/// How long whoever gives way waits before it asks again (§8.2).
const YIELD: Duration = Duration::from_secs(1);

/// After so many names that were taken it waits for a while: somebody may be answering to all (§8.1).
const HASTY: u32 = 15;
const PATIENCE: Duration = Duration::from_secs(5);

/// How often everything is told unasked, and from one time to the next (§8.3).
const ANNOUNCEMENTS: u32 = 2;

/// The same is told everybody once in this time at most (§6), and more often only to who asks whether a name
/// is free.
const PAUSE: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(250);

/// Answers that others may have too wait for as many milliseconds as chance has it, from 20 to 120 (§6).
const LEAST_DELAY: u64 = 20;
const DELAYS: u64 = 101;

/// How long it takes until the network is tried again.
const RETRY: Duration = Duration::from_secs(30);

type Label = Text<LABEL>;

/// Answers for the device, whose raw stream is on `stream_port`, for ever. `packet` has [`LEAST`](crate::mdns::LEAST)
/// bytes; with more, more is said at once. RAM of what it returns: 1.2 kB at most, beside the socket's own (measured with 64-bit pointers).
pub async fn run<F, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    packet: &mut [u8],
    stream_port: u16,
    seed: u32,
) -> Infallible
where
    F: NorFlash,
    N: UdpBind,
{
    let Some(mut watcher) = device.network() else {
        return core::future::pending().await;
    };
    let mut random = Random::new(seed);
    let mut complained = false;
    let mut address = watcher.try_get().flatten();
    loop {
        let speaking = async {
            let address = match address {
                Some(IpAddr::V4(address)) => address,
                Some(IpAddr::V6(_)) => {
                    device.is_called_nothing("it needs an IPv4 address");
                    return core::future::pending().await;
                }
                None => return core::future::pending().await,
            };
            loop {
                let spoken =
                    speak(device, network, address, packet, stream_port, &mut random).await;
                if let Err(_) = spoken
                    && !core::mem::replace(&mut complained, true)
                {
                    device.is_called_nothing("port 5353 cannot be used for multicast");
                }
                Timer::after(RETRY).await;
            }
        };
        match select(watcher.changed(), speaking).await {
            Either::First(now) => address = now,
            Either::Second(never) => match never {},
        }
    }
}

/// Speaks at one address until that fails.
async fn speak<F, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    address: Ipv4Addr,
    packet: &mut [u8],
    stream_port: u16,
    random: &mut Random,
) -> Result<Infallible, N::Error>
where
    F: NorFlash,
    N: UdpBind,
{
    let mut socket = network.bind((address, PORT).into()).await?;
    socket.join_v4(GROUP, address).await?;
    let mut speaker = Speaker {
        device,
        socket,
        packet,
        random,
        address,
        stream_port,
        sent: [None; RECORDS],
    };
    let mut number = 1;
    loop {
        let mut label = Label::new();
        let name = device.name();
        // There is room for both.
        let _ = match number {
            1 => label.push_str(&name),
            _ => uwrite!(label, "{}-{}", name.as_str(), number),
        };
        let end = speaker.be(&label, number > 1).await?;
        match end {
            End::Renamed => number = 1,
            End::Taken => {
                number = number % 99 + 1;
                if number > HASTY {
                    Timer::after(PATIENCE).await;
                }
            }
        }
    }
}

/// Why the device is not called so any more.
enum End {
    /// Another device is.
    Taken,
    /// It has another name.
    Renamed,
}

/// What came of asking for a name.
enum Asked {
    Free,
    Ended(End),
}

struct Speaker<'s, 'd, 'f, F, S> {
    device: &'s Device<'d, 'f, F>,
    socket: S,
    packet: &'s mut [u8],
    random: &'s mut Random,
    address: Ipv4Addr,
    stream_port: u16,
    /// When everybody was told each record.
    sent: [Option<Instant>; RECORDS],
}

impl<F: NorFlash, S: UdpReceive + UdpSend> Speaker<'_, '_, '_, F, S> {
    fn chance(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.random.below(below))
    }

    /// Is called so as long as nobody else is. `instead` of its own name that is worth a word.
    async fn be(&mut self, name: &str, instead: bool) -> Result<End, S::Error> {
        let me = Identity {
            name,
            address: self.address,
            stream_port: self.stream_port,
        };
        let mut says = instead;
        loop {
            if let Asked::Ended(end) = self.ask(me).await? {
                return Ok(end);
            }
            if core::mem::take(&mut says) {
                self.device.is_called(name);
            }
            self.sent = [None; RECORDS];
            match self.answer(me).await? {
                End::Renamed => {
                    self.tell(me, To::Bye, Records::NAMED, Records::NONE)
                        .await?;
                    return Ok(End::Renamed);
                }
                // §9: both ask again, and one of them gives way.
                End::Taken => {}
            }
        }
    }

    /// Asks whether the name is free.
    async fn ask(&mut self, me: Identity<'_>) -> Result<Asked, S::Error> {
        // A street that comes back from a power cut does not ask in chorus.
        let mut due = Instant::now() + self.chance(PROBE.as_millis());
        let mut asked = 0;
        loop {
            let heard = select3(
                Timer::at(due),
                self.socket.receive(self.packet),
                self.device.renamed(),
            );
            match heard.await {
                Either3::First(()) if asked == PROBES => return Ok(Asked::Free),
                Either3::First(()) => {
                    asked += 1;
                    due = Instant::now() + PROBE;
                    let length = me.probe(self.packet);
                    self.send(ALL, length).await?;
                }
                Either3::Second(received) => {
                    let (length, from) = received?;
                    match self.understand(me, length, from) {
                        Some(Incoming::Claim) => return Ok(Asked::Ended(End::Taken)),
                        // §8.2: of two who ask at once the one with the greater address has it.
                        Some(Incoming::Query(Query {
                            rival: Some(rival), ..
                        })) if rival > self.address => {
                            asked = 0;
                            due = Instant::now() + YIELD;
                        }
                        _ => {}
                    }
                }
                Either3::Third(()) => return Ok(Asked::Ended(End::Renamed)),
            }
        }
    }

    /// Tells everything unasked, and answers until the name is taken or changed.
    async fn answer(&mut self, me: Identity<'_>) -> Result<End, S::Error> {
        let mut announced = 0;
        let mut due = Instant::now();
        loop {
            let heard = select3(
                Timer::at(due),
                self.socket.receive(self.packet),
                self.device.renamed(),
            );
            match heard.await {
                Either3::First(()) => {
                    announced += 1;
                    due = match announced {
                        ANNOUNCEMENTS => Instant::MAX,
                        _ => Instant::now() + PAUSE,
                    };
                    self.tell(me, To::All, Records::ANNOUNCED, Records::NONE)
                        .await?;
                }
                Either3::Second(received) => {
                    let (length, from) = received?;
                    match self.understand(me, length, from) {
                        None => {}
                        Some(Incoming::Claim) => return Ok(End::Taken),
                        Some(Incoming::Query(query)) => self.reply(me, query, from).await?,
                    }
                }
                Either3::Third(()) => return Ok(End::Renamed),
            }
        }
    }

    /// What a packet means. Nobody takes the name from another port than everybody's, or from afar (§6, §11).
    fn understand(&self, me: Identity<'_>, length: usize, from: SocketAddr) -> Option<Incoming> {
        let may_contest = from.port() == PORT && is_near(from.ip(), self.address);
        match me.read(self.packet.get(..length).unwrap_or_default())? {
            Incoming::Claim if !may_contest => None,
            Incoming::Query(query) if !may_contest => Some(Incoming::Query(Query {
                rival: None,
                ..query
            })),
            incoming => Some(incoming),
        }
    }

    async fn reply(
        &mut self,
        me: Identity<'_>,
        query: Query,
        from: SocketAddr,
    ) -> Result<(), S::Error> {
        if from.port() != PORT {
            // Answers are longer than questions, and only neighbours get them (§11).
            if is_near(from.ip(), self.address) {
                let to = To::One { end: query.end };
                let (length, _) = me.answer(self.packet, to, query.answers, query.extra);
                // Whether it can be reached is its own business.
                let _ = self.send(from, length).await;
            }
            return Ok(());
        }
        let pause = match query.is_probe {
            true => PROBE_PAUSE,
            false => {
                let delay = Duration::from_millis(LEAST_DELAY) + self.chance(DELAYS);
                Timer::after(delay).await;
                PAUSE
            }
        };
        let mut due = query.answers;
        for number in query.answers.numbers() {
            let sent = self.sent.get(number).copied().flatten();
            if sent.is_some_and(|at| at.elapsed() < pause) {
                due = due.without(number);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        self.tell(me, To::All, due, query.extra).await
    }

    /// Tells everybody these records, in as many packets as it takes.
    async fn tell(
        &mut self,
        me: Identity<'_>,
        to: To,
        records: Records,
        extra: Records,
    ) -> Result<(), S::Error> {
        let mut due = records;
        while !due.is_empty() {
            let (length, left) = me.answer(self.packet, to, due, extra);
            if left == due {
                break;
            }
            self.send(ALL, length).await?;
            due = left;
        }
        let now = Some(Instant::now());
        for number in records.numbers() {
            if let Some(sent) = self.sent.get_mut(number) {
                *sent = now;
            }
        }
        Ok(())
    }

    async fn send(&mut self, to: SocketAddr, length: usize) -> Result<(), S::Error> {
        let packet = self.packet.get(..length).unwrap_or_default();
        self.socket.send(to, packet).await
    }
}

/// Whether who asks is in the same network, as far as addresses tell.
fn is_near(who: IpAddr, me: Ipv4Addr) -> bool {
    let IpAddr::V4(who) = who else { return false };
    let near = who.octets().get(..3) == me.octets().get(..3);
    near || who.is_private() || who.is_link_local() || who.is_loopback()
}
