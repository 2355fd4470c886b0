//! The time of a time server (RFC 5905, a client without a past: each reply is believed by itself).

use core::{convert::Infallible, net::SocketAddr};

use edge_nal::{Dns, UdpConnect, UdpReceive, UdpSend};
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite};

use super::address::{resolve, unspecified};
use crate::{
    ntp::{self, Refusal, Time},
    smartmeter::device::Device,
};

/// How long a reply may take.
const WAIT: Duration = Duration::from_millis(200);

/// From one success to the next attempt.
const RESYNC: Duration = Duration::from_secs(120);

/// The same, when the server wants to be asked less often than that, at most (2^17 s, MAXPOLL of RFC 5905
/// §7.2).
const SELDOM: Duration = Duration::from_secs(131_072);

/// A failure is followed by the next attempt after the fourth part of that: 30 s.
const RETRY_PART: u32 = 4;

/// Whoever wants the time at once gets it once in this time: servers do not like to be asked more often.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a name may take to be resolved.
const NAME: Duration = Duration::from_secs(10);

/// Packets that are looked at for a reply. More are not sent by accident.
const STRAYS: usize = 8;

/// A reply, and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Synced {
    /// What it says.
    pub time: Time,
    /// When it came.
    pub at: Instant,
}

/// Why there is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its name does not resolve.
    Name,
    /// It cannot be sent to.
    Network,
    /// It has not answered in time.
    Silence,
    /// It has answered something else.
    Refused(Refusal),
}

impl uDisplay for Failure {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        match self {
            Self::Name => f.write_str("its name does not resolve"),
            Self::Network => f.write_str("it cannot be reached"),
            Self::Silence => f.write_str("it does not answer within 200 ms"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// Keeps the device's clock by the time server of the settings, for ever. `seed` should not be known to
/// others.
pub async fn run<F, N>(device: &Device<'_, '_, F>, network: &N, seed: u64) -> Infallible
where
    F: NorFlash,
    N: UdpConnect + Dns,
{
    let mut random = Random(seed);
    loop {
        let (server, port) = device.time_server();
        let keeping = async {
            match server.as_str() {
                "-" => without(device).await,
                server => keep(device, network, (server, port), &mut random).await,
            }
        };
        // In this order, so that nobody asks a server that is no longer wanted.
        match select(device.time_server_changed(), keeping).await {
            Either::First(()) => {}
            Either::Second(never) => match never {},
        }
    }
}

/// Without a server nobody is asked.
async fn without<F: NorFlash>(device: &Device<'_, '_, F>) -> Infallible {
    loop {
        device.time_wanted().await;
        device.has_no_time_server();
    }
}

async fn keep<F, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    server: (&str, u16),
    random: &mut Random,
) -> Infallible
where
    F: NorFlash,
    N: UdpConnect + Dns,
{
    let mut resync = RESYNC;
    let mut complains = true;
    loop {
        let asked = Instant::now();
        let next = match ask(device, network, server, random.next()).await {
            Ok(synced) => {
                complains = true;
                device.synced(&synced);
                asked + resync
            }
            Err(failure) => {
                // Once is enough to say it, unless somebody asks.
                device.not_synced(failure, complains);
                complains = false;
                match failure {
                    // RFC 5905 §7.4: ask less often, and not at all.
                    Failure::Refused(Refusal::Kiss(code)) if &code == b"RATE" => {
                        resync = (resync * 2).min(SELDOM);
                        asked + resync
                    }
                    Failure::Refused(Refusal::Kiss(code))
                        if [*b"DENY", *b"RSTR"].contains(&code) =>
                    {
                        Instant::MAX
                    }
                    _ => asked + resync / RETRY_PART,
                }
            }
        };
        let wanted = async {
            Timer::after(PAUSE).await;
            device.time_wanted().await;
        };
        if let Either::Second(()) = select(Timer::at(next), wanted).await {
            complains = true;
        }
    }
}

/// Asks once.
async fn ask<F, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    (server, port): (&str, u16),
    cookie: u64,
) -> Result<Synced, Failure>
where
    F: NorFlash,
    N: UdpConnect + Dns,
{
    let resolved = with_timeout(NAME, resolve(network, server)).await;
    let address = resolved.ok().and_then(Result::ok).ok_or(Failure::Name)?;
    let remote = SocketAddr::new(address, port);
    // A port of its own for each request: one more thing that a forger has to guess (RFC 9109 §3).
    let socket = network.connect(unspecified(remote), remote).await;
    let mut socket = socket.map_err(|_| Failure::Network)?;
    let sent = Instant::now();
    let answered = async {
        let request = ntp::request(cookie);
        let done = socket.send(remote, &request).await;
        done.map_err(|_| Failure::Network)?;
        for _ in 0..STRAYS {
            let mut buffer = [0; ntp::LENGTH];
            let (length, from) = socket
                .receive(&mut buffer)
                .await
                .map_err(|_| Failure::Network)?;
            let at = Instant::now();
            // Not every board's sockets see to it.
            if from != remote {
                device.stray_time();
                continue;
            }
            let packet = buffer.get(..length).unwrap_or(&buffer);
            match ntp::time(packet, cookie, at.saturating_duration_since(sent)) {
                Ok(time) => return Ok(Synced { time, at }),
                Err(refusal) if refusal.is_stray() => device.stray_time(),
                Err(refusal) => return Err(Failure::Refused(refusal)),
            }
        }
        Err(Failure::Silence)
    };
    with_timeout(WAIT, answered)
        .await
        .unwrap_or(Err(Failure::Silence))
}

/// SplitMix64 (Steele, Lea, Flood 2014), stirred by the moment of each call.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let stir = Instant::now().as_ticks();
        self.0 = self
            .0
            .wrapping_add(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(stir);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
