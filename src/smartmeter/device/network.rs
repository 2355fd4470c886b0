//! The device's name, the networks that it knows, and the one that it is in.

use core::{
    cell::{Cell, RefCell},
    net::IpAddr,
};

use embassy_sync::{
    blocking_mutex::raw::CriticalSectionRawMutex,
    signal::Signal,
    watch::{Receiver, Watch},
};
use embassy_time::Duration;
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Device, at_once, events::Ip};
use crate::{
    app::wifi::Obstacle,
    settings::{Name, RadioSleep, cut},
    smartmeter::{answer::Answer, command::Refusal, log::Level},
    storage::{Key, Store, Value},
    wifi::{ACCESS_POINT, Candidates, Found, Password, Ssid},
};

/// Who has to know when the network is another: three who serve clients, who lets those of raw streams in, who calls the
/// stream server, mDNS, DHCP.
const WATCHERS: usize = 7;

/// Waits for another address.
pub type Watcher<'d> = Receiver<'d, CriticalSectionRawMutex, Option<IpAddr>, WATCHERS>;

/// The Wi-Fi network that the device is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name; empty for none.
    pub ssid: Ssid,
    /// Its access point.
    pub bssid: [u8; 6],
    /// How strong it is, in dBm.
    pub rssi: i8,
}

/// What is known of the network. RAM: 0.1 kB.
pub struct Networks {
    /// `None` on a board that has no radio.
    link: RefCell<Option<Link>>,
    address: Watch<CriticalSectionRawMutex, Option<IpAddr>, WATCHERS>,
    renamed: Signal<CriticalSectionRawMutex, ()>,
    /// Counts the changes of the known networks.
    version: Cell<u32>,
}

impl Networks {
    pub(super) const fn new() -> Self {
        Self {
            link: RefCell::new(None),
            address: Watch::new(),
            renamed: Signal::new(),
            version: Cell::new(0),
        }
    }

    fn count(&self) {
        self.version.set(self.version.get().wrapping_add(1));
    }

    /// What `info` says of the radio.
    pub(super) fn show(&self, answer: &mut Answer) {
        let link = self.link.borrow();
        let Some(link) = link.as_ref() else { return };
        if link.ssid.is_empty() {
            answer.string("ssid", "-");
            answer.number("rssi", 0);
            answer.string("bssid", "-");
            return;
        }
        answer.string("ssid", &link.ssid);
        answer.number("rssi", link.rssi);
        answer.composed("bssid", |text| {
            let _ = uwrite!(text, "{}", Mac(link.bssid));
        });
    }
}

impl<F: NorFlash> Device<'_, '_, F> {
    /// What the device is called.
    pub fn name(&self) -> Name {
        self.state.borrow().name.clone()
    }

    #[inline(never)]
    pub(super) fn rename(&self, name: &Name) -> Result<(), Refusal> {
        self.put(Key::Name, name.as_bytes())?;
        let before = core::mem::replace(&mut self.state.borrow_mut().name, name.clone());
        self.tell(Level::Info, |text| {
            let _ = uwrite!(text, "MDNS Name: {}", name.as_str());
        });
        if before != *name {
            self.renamed.signal(());
            self.networks.renamed.signal(());
        }
        Ok(())
    }

    /// The device is about to be called again what its board calls it; `true`: it was not before.
    pub(super) fn forget_name(&self) -> bool {
        let before = {
            let mut state = self.state.borrow_mut();
            core::mem::replace(&mut state.name, cut(self.board_name))
        };
        let is_another = before != self.name();
        if is_another {
            self.networks.renamed.signal(());
        }
        is_another
    }

    /// Waits for another name.
    pub async fn renamed(&self) {
        self.networks.renamed.wait().await;
    }

    #[inline(never)]
    pub(super) fn add_network(&self, ssid: &Ssid, password: &str) -> Result<(), Refusal> {
        // Held to the end, so that two clients at once do not take the same place.
        let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
        let place = {
            let known = &self.state.borrow().networks;
            if known.find(ssid.as_bytes()).is_some() {
                return Err(Refusal::NetworkKnown(ssid.clone()));
            }
            known.free().ok_or(Refusal::NetworksFull)?
        };
        self.keep_network(store, place, ssid, password)?;
        let known = &mut self.state.borrow_mut().networks;
        known.name(place, ssid.clone());
        known.secure(place, !password.is_empty());
        self.networks.count();
        Ok(())
    }

    #[inline(never)]
    pub(super) fn remove_network(&self, ssid: &Ssid) -> Result<(), Refusal> {
        let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
        let place = self.state.borrow().networks.find(ssid.as_bytes());
        let place = place.ok_or_else(|| Refusal::NetworkUnknown(ssid.clone()))?;
        self.keep_network(store, place, "", "")?;
        self.state.borrow_mut().networks.name(place, Ssid::new());
        self.networks.count();
        Ok(())
    }

    /// Keeps name and password, both or none, which are empty for no network.
    fn keep_network(
        &self,
        store: &mut Store<F>,
        place: u8,
        ssid: &str,
        password: &str,
    ) -> Result<(), Refusal> {
        let mut value = |key| {
            let text = match key {
                Key::Ssid(_) => ssid,
                _ => password,
            };
            Value::from_slice(text.as_bytes()).unwrap_or_default()
        };
        let keys = [Key::WifiPassword(place), Key::Ssid(place)];
        self.put_all(store, &keys, &mut value)
    }

    /// Writes the names of the networks, in one string.
    pub(super) fn show_networks(&self, answer: &mut Answer) {
        let state = self.state.borrow();
        answer.composed("ssids", |text| {
            let _ = uwrite!(text, "[");
            for (index, ssid) in state.networks.names().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                let _ = uwrite!(text, "{}{}", separator, ssid);
            }
            let _ = uwrite!(text, "]");
        });
    }

    /// Whether there is a network that could be joined.
    pub fn knows_networks(&self) -> bool {
        !self.state.borrow().networks.is_empty()
    }

    /// Adds a network that was found to `candidates`, if it is known.
    pub fn found(&self, found: &Found<'_>, candidates: &mut Candidates) {
        candidates.take(&self.state.borrow().networks, found);
    }

    /// Name and password of a known network; `None` when it is known no longer.
    pub fn credentials(&self, place: u8) -> Option<(Ssid, Password)> {
        // As long as this is held, nobody forgets the network.
        let store = &mut *self.store.try_lock().ok()?;
        let ssid = self.state.borrow().networks.ssid(place);
        let mut room = [0; size_of::<Password>()];
        let stored = at_once(store.get(Key::WifiPassword(place), &mut room));
        let Ok(password) = stored else {
            self.stats.storage_errors.count();
            return None;
        };
        let password = core::str::from_utf8(password.unwrap_or_default()).ok()?;
        let password = Password::try_from(password).ok()?;
        (!ssid.is_empty()).then_some((ssid, password))
    }

    /// Another number whenever networks were added or removed.
    pub fn networks_version(&self) -> u32 {
        self.networks.version.get()
    }

    /// How strongly the radio may send, in dBm.
    pub fn transmit_power(&self) -> u8 {
        self.state.borrow().settings.transmit_power
    }

    /// How long after power-up the radio stays off.
    pub fn start_delay(&self) -> Duration {
        Duration::from_secs(self.state.borrow().settings.start_delay.into())
    }

    /// Whether the radio sleeps while the device is in a network.
    pub fn radio_sleep(&self) -> RadioSleep {
        self.state.borrow().settings.radio_sleep
    }

    /// The network is there at this address, on a board that has nothing to do for it; `None`: it is away.
    pub fn set_address(&self, address: Option<IpAddr>) {
        let before = self.address.replace(address);
        if before == address {
            return;
        }
        // On a PC they may have come over the loopback before there was an address.
        self.hung_up_all();
        self.networks.address.sender().send(address);
    }

    /// Tells who waits for it of another address; `None` when too many wait already.
    pub fn network(&self) -> Option<Watcher<'_>> {
        self.networks.address.receiver()
    }

    /// The device has a radio, and is in no network.
    pub fn is_off_air(&self) {
        *self.networks.link.borrow_mut() = Some(Link::default());
        self.set_address(None);
    }

    /// It is in a Wi-Fi network.
    pub fn is_in_network(&self, link: Link, address: IpAddr) {
        self.tell(Level::Info, |text| {
            let (ssid, rssi) = (link.ssid.as_str(), link.rssi);
            let _ = uwrite!(
                text,
                "Network Connected: {} ({} dBm), IP: {}",
                ssid,
                rssi,
                Ip(address)
            );
        });
        *self.networks.link.borrow_mut() = Some(link);
        self.set_address(Some(address));
    }

    /// How strong that network is now, in dBm.
    pub fn is_received(&self, rssi: i8) {
        if let Some(link) = self.networks.link.borrow_mut().as_mut() {
            link.rssi = rssi;
        }
    }

    /// Another device has this one's name in the network, so that it is called `instead` there.
    pub fn is_called(&self, instead: &str) {
        self.tell(Level::Warning, |text| {
            let name = self.name();
            let _ = uwrite!(
                text,
                "mDNS: {} is taken, this is {}.local",
                name.as_str(),
                instead
            );
        });
    }

    /// Nobody in the network can be told its name.
    pub fn is_called_nothing(&self, why: &str) {
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(text, "mDNS is off: {}", why);
        });
    }

    /// A known network is there, and of no use.
    pub fn is_not_in_network(&self, ssid: &Ssid, obstacle: Obstacle) {
        self.tell(Level::Warning, |text| {
            let _ = uwrite!(text, "Wi-Fi {}: {}", ssid.as_str(), obstacle);
        });
    }

    /// It has lost that network.
    pub fn has_lost_network(&self) {
        self.tell(Level::Error, |text| {
            let _ = uwrite!(text, "Network Disconnected");
        });
        self.is_off_air();
    }

    /// It is an access point.
    pub fn is_access_point(&self, name: &str) {
        self.tell(Level::Info, |text| {
            let ip = Ip(ACCESS_POINT.into());
            let _ = uwrite!(text, "Access point {} is open, IP: {}", name, ip);
        });
        *self.networks.link.borrow_mut() = Some(Link::default());
        self.set_address(Some(ACCESS_POINT.into()));
    }

    /// Whether it is an access point now.
    pub fn is_open(&self) -> bool {
        let off_air =
            (self.networks.link.borrow().as_ref()).is_some_and(|link| link.ssid.is_empty());
        off_air && self.address.get() == Some(ACCESS_POINT.into())
    }

    /// Who was connected over the last network is gone without a word.
    fn hung_up_all(&self) {
        self.clients.set(0);
        self.network_hung_up();
    }
}

/// The address of an access point, `02:00:5E:10:00:01`.
struct Mac([u8; 6]);

impl uDisplay for Mac {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for (index, byte) in self.0.into_iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            for digit in [byte >> 4, byte & 15] {
                let digit = DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?');
                f.write_char(char::from(digit))?;
            }
        }
        Ok(())
    }
}
