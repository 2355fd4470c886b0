//! Keeps the device in one of its Wi-Fi networks, and makes it an access point while there is none.
//!
//! There is one interface at a time. The access point stays open while networks are looked for and joined, so
//! that a wrong password throws nobody out who is about to mend it; it is closed when a network has let the
//! device in, and whoever was connected over it is disconnected then.

use core::{convert::Infallible, future::Future, net::Ipv4Addr};

use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, TimeoutError, Timer, with_timeout};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite};

use crate::{
    settings::{Name, RadioSleep},
    smartmeter::device::{Device, Link},
    wifi::{Candidate, Candidates, Found, NETWORKS, Ssid},
};

/// From one look for networks to the next.
const RESCAN: Duration = Duration::from_secs(30);

/// How long it may take to look for networks: all channels, and each twice.
const SCAN: Duration = Duration::from_secs(10);

/// How long a network may take to let the device in.
const ASSOCIATE: Duration = Duration::from_secs(5);

/// How long it may take to give it an address.
const DHCP: Duration = Duration::from_secs(8);

/// How often it is looked how strong the network is, and whether the radio is to send with another power.
const LOOK: Duration = Duration::from_secs(10);

/// From a network's loss to the search for another: one that comes and goes is no reason to be busy.
const PAUSE: Duration = Duration::from_secs(1);

/// The same is said of a network once in this time, unless the networks are changed.
const SILENCE: Duration = Duration::from_secs(3600);

/// What the device was started by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Power has come, or may have failed: what feeds the radio has to be charged first.
    Power,
    /// It was asked to start over, and had power all the time.
    Restart,
}

/// A network to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its name.
    pub ssid: &'a str,
    /// Its password; empty for none.
    pub password: &'a str,
    /// The access point to be taken.
    pub bssid: [u8; 6],
    /// The channel that this is on.
    pub channel: u8,
}

/// Why a network did not let the device in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The password is wrong.
    Password,
    /// It is not there any more.
    Gone,
    /// Something else.
    Failed,
}

/// A radio that is a station or an access point, and what the TCP/IP stack above it is set to. It is off at first.
///
/// What waits leaves nothing half done when its future is dropped: the radio may be told anything next.
pub trait Radio {
    /// Switches it on: a station in no network. Nothing else of this is asked for while it is off, but to leave and to close.
    fn turn_on(&mut self);

    /// Switches it off, in no network and without an access point, if it is on.
    fn turn_off(&mut self);

    /// Sends with at most so many dBm from now on.
    fn set_power(&mut self, dbm: u8);

    /// Sleeps so from now on while it has nothing to do.
    fn set_sleep(&mut self, sleep: RadioSleep);

    /// Looks for networks on all channels and shows each to `see`. An open access point stays open.
    ///
    /// # Errors
    /// It cannot look.
    fn scan(
        &mut self,
        see: &mut dyn FnMut(&Found<'_>),
    ) -> impl Future<Output = Result<(), Refused>>;

    /// Is let into a network. An open access point stays open, and keeps the interface.
    ///
    /// # Errors
    /// [`Refused`].
    fn join(&mut self, target: &Target<'_>) -> impl Future<Output = Result<(), Refused>>;

    /// Gives the station the interface and waits until DHCP has given it an address.
    fn address(&mut self) -> impl Future<Output = Ipv4Addr>;

    /// Waits for another address; `None`: the network is lost.
    fn changed(&mut self) -> impl Future<Output = Option<Ipv4Addr>>;

    /// How strong the network is, in dBm, while the device is in one.
    fn rssi(&mut self) -> Option<i8>;

    /// Leaves the network, also one that has not let the device in yet.
    fn leave(&mut self);

    /// Opens an access point without password, and gives it the interface, at
    /// [`ACCESS_POINT`](crate::wifi::ACCESS_POINT). Clients expect DHCP there: a board with a radio runs
    /// [`dhcp`](super::dhcp) beside it.
    fn open(&mut self, name: &str);

    /// Closes the access point, if it is open.
    fn close(&mut self);
}

/// Why a known network that is there is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It does not let the device in.
    Refused(Refused),
    /// It does not answer.
    Silence,
    /// It gives no address.
    Address,
    /// It wants a password, and none is known.
    Locked,
    /// It wants no password, but one is known: it may not be what it is called.
    Open,
}

impl uDisplay for Obstacle {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        f.write_str(match self {
            Self::Refused(Refused::Password) => "wrong password",
            Self::Refused(Refused::Gone) => "it has gone",
            Self::Refused(Refused::Failed) => "it cannot be joined",
            Self::Silence => "no answer in 5 s",
            Self::Address => "no address in 8 s",
            Self::Locked => "it wants a password",
            Self::Open => "it wants no password",
        })
    }
}

/// Keeps the device in a network, for ever, beginning when the start delay is over. RAM of what it returns: 1.0 kB at most, beside the radio's own (measured with 64-bit
/// pointers).
///
/// # Cancellation Safety
/// Network and access point are left when the future is dropped, and the radio is off.
pub async fn run<F: NorFlash, R: Radio>(
    device: &Device<'_, '_, F>,
    radio: &mut R,
    start: Start,
) -> Infallible {
    let mut station = Station {
        device,
        radio,
        access_point: None,
        power: None,
        sleep: None,
        complaints: [None; NETWORKS],
        version: device.networks_version(),
    };
    // Whatever it was before.
    station.rest();
    device.is_off_air();
    if start == Start::Power {
        Timer::after(device.start_delay()).await;
    }
    station.radio.turn_on();
    loop {
        let next = Instant::now() + RESCAN;
        station.take_up();
        if station.connect().await {
            station.stay().await;
            Timer::after(PAUSE).await;
            continue;
        }
        station.open();
        Timer::at(next).await;
    }
}

struct Station<'r, 'd, 'f, F, R: Radio> {
    device: &'r Device<'d, 'f, F>,
    radio: &'r mut R,
    /// What it is called, while it is open.
    access_point: Option<Name>,
    /// What the radio was last told.
    power: Option<u8>,
    sleep: Option<RadioSleep>,
    /// When something was said of the network at each place.
    complaints: [Option<Instant>; NETWORKS],
    version: u32,
}

impl<F, R: Radio> Station<'_, '_, '_, F, R> {
    /// Is in no network, and none itself.
    fn rest(&mut self) {
        self.radio.leave();
        self.radio.close();
        self.radio.turn_off();
        self.access_point = None;
    }
}

impl<F, R: Radio> Drop for Station<'_, '_, '_, F, R> {
    fn drop(&mut self) {
        self.rest();
    }
}

impl<F: NorFlash, R: Radio> Station<'_, '_, '_, F, R> {
    /// Takes up what a user has changed.
    fn take_up(&mut self) {
        let power = Some(self.device.transmit_power());
        if self.power != power {
            self.power = power;
            self.radio.set_power(self.device.transmit_power());
        }
        self.settle();
        let version = self.device.networks_version();
        if self.version != version {
            self.version = version;
            // Whoever tries another password wants to know.
            self.complaints = [None; NETWORKS];
        }
    }

    /// Lets the radio sleep, or not: an access point that sleeps would not hear its clients.
    fn settle(&mut self) {
        let sleep = match self.access_point {
            Some(_) => RadioSleep::None,
            None => self.device.radio_sleep(),
        };
        if self.sleep.replace(sleep) != Some(sleep) {
            self.radio.set_sleep(sleep);
        }
    }

    /// Goes through the known networks that are there, the strongest first; `true`: the device is in one.
    async fn connect(&mut self) -> bool {
        let device = self.device;
        if !device.knows_networks() {
            return false;
        }
        let mut candidates = Candidates::default();
        let scan = &mut |found: &Found<'_>| device.found(found, &mut candidates);
        // What was found before it failed is as good as any.
        let _ = with_timeout(SCAN, self.radio.scan(scan)).await;
        while let Some(candidate) = candidates.strongest() {
            let Some((ssid, joined)) = self.join(candidate).await else {
                continue;
            };
            let complaint = self.complaints.get_mut(usize::from(candidate.place));
            match joined {
                Ok(address) => {
                    complaint.map(Option::take);
                    let link = Link {
                        ssid,
                        bssid: candidate.bssid,
                        rssi: candidate.rssi,
                    };
                    device.is_in_network(link, address.into());
                    return true;
                }
                Err(obstacle) => {
                    self.radio.leave();
                    if let Some(complaint) = complaint
                        && complaint.is_none_or(|at| at.elapsed() >= SILENCE)
                    {
                        *complaint = Some(Instant::now());
                        device.is_not_in_network(&ssid, obstacle);
                    }
                }
            }
        }
        false
    }

    /// Joins a network. `None` when it has been forgotten meanwhile, or cannot be read.
    async fn join(&mut self, candidate: Candidate) -> Option<(Ssid, Result<Ipv4Addr, Obstacle>)> {
        let (ssid, password) = self.device.credentials(candidate.place)?;
        let obstacle = match (candidate.is_secured, password.is_empty()) {
            (true, true) => Some(Obstacle::Locked),
            (false, false) => Some(Obstacle::Open),
            _ => None,
        };
        if let Some(obstacle) = obstacle {
            return Some((ssid, Err(obstacle)));
        }
        let target = Target {
            ssid: &ssid,
            password: &password,
            bssid: candidate.bssid,
            channel: candidate.channel,
        };
        let joined = match with_timeout(ASSOCIATE, self.radio.join(&target)).await {
            Ok(joined) => joined.map_err(Obstacle::Refused),
            Err(TimeoutError) => Err(Obstacle::Silence),
        };
        if let Err(obstacle) = joined {
            return Some((ssid, Err(obstacle)));
        }
        if self.access_point.take().is_some() {
            self.radio.close();
            self.settle();
            self.device.is_off_air();
        }
        let address = with_timeout(DHCP, self.radio.address()).await;
        Some((ssid, address.map_err(|TimeoutError| Obstacle::Address)))
    }

    /// Stays in the network until it is lost.
    async fn stay(&mut self) {
        loop {
            match select(self.radio.changed(), Timer::after(LOOK)).await {
                Either::First(Some(address)) => self.device.set_address(Some(address.into())),
                Either::First(None) => break,
                Either::Second(()) => {
                    self.take_up();
                    if let Some(rssi) = self.radio.rssi() {
                        self.device.is_received(rssi);
                    }
                }
            }
        }
        self.radio.leave();
        self.device.has_lost_network();
    }

    /// Makes the device an access point of its name.
    fn open(&mut self) {
        let name = self.device.name();
        if self.access_point.as_ref() == Some(&name) {
            return;
        }
        if self.access_point.is_some() {
            self.radio.close();
        }
        let name = &*self.access_point.insert(name);
        self.radio.open(name);
        self.device.is_access_point(name);
        self.settle();
    }
}
