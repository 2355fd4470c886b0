//! Networks on the air and a radio among them, in virtual time. Whatever a radio with one interface cannot do is
//! a panic.

use std::{cell::RefCell, future::pending, net::Ipv4Addr};

use embassy_time::{Instant, Timer};
use metertrekker::{
    app::wifi::{Radio, Refused, Target},
    settings::RadioSleep,
    wifi::Found,
};

/// What a network does with a station.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Lets it in when the password is right, and gives it an address.
    Good,
    /// Answers nobody.
    Silent,
    /// Lets it in and gives it no address.
    NoDhcp,
}

/// A network on the air.
#[derive(Clone)]
pub struct Network {
    pub ssid: &'static str,
    pub password: &'static str,
    pub rssi: i8,
    pub manners: Manners,
    /// The last byte of the station's address, and of the access point's.
    pub number: u8,
}

pub fn network(ssid: &'static str, password: &'static str, rssi: i8, number: u8) -> Network {
    Network {
        ssid,
        password,
        rssi,
        manners: Manners::Good,
        number,
    }
}

#[derive(Default)]
struct State {
    networks: Vec<Network>,
    joined: Option<u8>,
    has_address: bool,
    open: Option<String>,
    power: Option<u8>,
    is_on: bool,
    /// When it was switched on last.
    on_since: Option<Instant>,
    sleep: Option<RadioSleep>,
    log: Vec<(u64, String)>,
}

/// The air, with one radio.
#[derive(Default)]
pub struct Air(RefCell<State>);

impl Air {
    pub fn new(networks: &[Network]) -> Self {
        let air = Self::default();
        air.has(networks);
        air
    }

    /// From now on these are there.
    pub fn has(&self, networks: &[Network]) {
        self.0.borrow_mut().networks = networks.to_vec();
    }

    /// What the radio was told since this was last asked for, and in which second.
    pub fn log(&self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }

    /// The same without the time.
    pub fn told(&self) -> Vec<String> {
        self.log().into_iter().map(|(_, told)| told).collect()
    }

    pub fn access_point(&self) -> Option<String> {
        self.0.borrow().open.clone()
    }

    /// The network that the radio is in.
    pub fn joined(&self) -> Option<u8> {
        self.0.borrow().joined
    }

    pub fn power(&self) -> Option<u8> {
        self.0.borrow().power
    }

    /// When the radio was switched on last, while it is on.
    pub fn on_since(&self) -> Option<Instant> {
        let state = self.0.borrow();
        state.on_since.filter(|_| state.is_on)
    }

    pub fn sleep(&self) -> Option<RadioSleep> {
        self.0.borrow().sleep
    }

    fn assert_on(&self) {
        assert!(self.0.borrow().is_on, "it is off");
    }

    fn tell(&self, what: impl Into<String>) {
        let second = Instant::now().as_secs();
        self.0.borrow_mut().log.push((second, what.into()));
    }
}

impl Radio for &Air {
    fn turn_on(&mut self) {
        let mut state = self.0.borrow_mut();
        assert!(!state.is_on, "it is on");
        state.is_on = true;
        state.on_since = Some(Instant::now());
        // It has forgotten what it was told.
        (state.power, state.sleep) = (None, None);
    }

    fn turn_off(&mut self) {
        assert_eq!((self.joined(), self.access_point()), (None, None));
        self.0.borrow_mut().is_on = false;
    }

    fn set_sleep(&mut self, sleep: RadioSleep) {
        self.assert_on();
        self.0.borrow_mut().sleep = Some(sleep);
    }

    fn set_power(&mut self, dbm: u8) {
        self.assert_on();
        self.0.borrow_mut().power = Some(dbm);
    }

    async fn scan(&mut self, see: &mut dyn FnMut(&Found<'_>)) -> Result<(), Refused> {
        self.tell("scan");
        self.assert_on();
        assert_eq!(self.joined(), None, "it would lose its network");
        Timer::after_secs(2).await;
        let networks = self.0.borrow().networks.clone();
        for network in &networks {
            see(&Found {
                ssid: network.ssid.as_bytes(),
                bssid: [2, 0, 0x5E, 0x10, 0, network.number],
                rssi: network.rssi,
                channel: network.number % 13 + 1,
                is_secured: !network.password.is_empty(),
            });
        }
        Ok(())
    }

    async fn join(&mut self, target: &Target<'_>) -> Result<(), Refused> {
        self.tell(format!("join {}", target.ssid));
        self.assert_on();
        assert_eq!(self.joined(), None, "it is in a network");
        Timer::after_secs(1).await;
        let networks = self.0.borrow().networks.clone();
        let network = networks
            .iter()
            .find(|network| network.number == target.bssid[5]);
        let Some(network) = network else {
            return Err(Refused::Gone);
        };
        assert_eq!(target.ssid, network.ssid);
        assert_eq!(target.channel, network.number % 13 + 1);
        if network.manners == Manners::Silent {
            return pending().await;
        }
        if target.password != network.password {
            return Err(Refused::Password);
        }
        self.0.borrow_mut().joined = Some(network.number);
        Ok(())
    }

    async fn address(&mut self) -> Ipv4Addr {
        assert_eq!(
            self.access_point(),
            None,
            "the access point has the interface"
        );
        let joined = self.joined().expect("a network");
        let networks = self.0.borrow().networks.clone();
        let network = networks.iter().find(|network| network.number == joined);
        if network.is_none_or(|network| network.manners == Manners::NoDhcp) {
            return pending().await;
        }
        Timer::after_secs(1).await;
        self.0.borrow_mut().has_address = true;
        [192, 168, 0, joined].into()
    }

    async fn changed(&mut self) -> Option<Ipv4Addr> {
        assert!(self.0.borrow().has_address);
        loop {
            let joined = self.joined();
            let there = |network: &Network| Some(network.number) == joined;
            if !self.0.borrow().networks.iter().any(there) {
                self.tell("lost");
                return None;
            }
            Timer::after_millis(100).await;
        }
    }

    fn rssi(&mut self) -> Option<i8> {
        let state = self.0.borrow();
        let joined = |network: &&Network| Some(network.number) == state.joined;
        state
            .networks
            .iter()
            .find(joined)
            .map(|network| network.rssi)
    }

    fn leave(&mut self) {
        let mut state = self.0.borrow_mut();
        state.joined = None;
        state.has_address = false;
    }

    fn open(&mut self, name: &str) {
        self.tell(format!("open {name}"));
        self.assert_on();
        assert_eq!(self.joined(), None, "one interface at a time");
        let before = self.0.borrow_mut().open.replace(name.into());
        assert_eq!(before, None, "it is open");
    }

    fn close(&mut self) {
        if self.0.borrow_mut().open.take().is_some() {
            self.tell("close");
        }
    }
}
