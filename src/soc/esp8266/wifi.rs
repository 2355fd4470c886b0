//! The vendor's station and access point under the Wi-Fi state machine of [`crate::app::wifi`].

use core::{cell::RefCell, future::poll_fn, net::Ipv4Addr, task::Poll};

use critical_section::Mutex;
use embassy_net::{ConfigV4, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::{Duration, Timer};

use super::{
    executor,
    radio::{self, Interface},
    sdk::{self, ApConfig, Bss, ScanConfig, StationConfig, WifiEvent, event, reason},
};
use crate::{
    app::wifi::{Radio, Refused, Target},
    settings::RadioSleep,
    wifi::{ACCESS_POINT, Found},
};

/// How often it is looked whether the interface has an address: the stack has one place for who waits for that.
const LOOK: Duration = Duration::from_millis(100);

/// The channel of the access point while the station is in no network; with one, the radio takes that's.
const CHANNEL: u8 = 1;

/// As many clients as the access point takes.
const CLIENTS: u8 = 4;

/// In 1/1024 s.
const BEACON_INTERVAL: u16 = 100;

/// What the radio sends with at most: it would take 82 for 20.5 dBm.
const MOST_DBM: u8 = 20;

/// The station's way into a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Station {
    Idle,
    Joining,
    Joined,
    Refused(Refused),
    Lost,
}

struct State {
    station: Station,
    scan: Scan,
    waiting: WakerRegistration,
}

/// A look for networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    Idle,
    Looking,
    Done,
    Failed,
}

static STATE: Mutex<RefCell<State>> = Mutex::new(RefCell::new(State {
    station: Station::Idle,
    scan: Scan::Idle,
    waiting: WakerRegistration::new(),
}));

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    critical_section::with(|cs| f(&mut STATE.borrow_ref_mut(cs)))
}

/// Who is shown the networks that are found, while somebody looks.
struct Seer(Option<*mut dyn FnMut(&Found<'_>)>);

// SAFETY: one core, and no interrupt uses it.
unsafe impl Send for Seer {}

static SEER: Mutex<RefCell<Seer>> = Mutex::new(RefCell::new(Seer(None)));

/// Takes the seer back when whoever lent it is done, or gone.
struct Loan;

impl Loan {
    fn lend<'s>(see: &'s mut dyn FnMut(&Found<'_>)) -> Self {
        // SAFETY: the pointer is taken back before the borrow ends, see `Drop`.
        let see = unsafe {
            core::mem::transmute::<
                &'s mut dyn FnMut(&Found<'_>),
                *mut (dyn FnMut(&Found<'_>) + 'static),
            >(see)
        };
        critical_section::with(|cs| SEER.borrow_ref_mut(cs).0 = Some(see));
        Self
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        critical_section::with(|cs| SEER.borrow_ref_mut(cs).0 = None);
    }
}

/// Has the SDK start neither station nor access point, whatever it remembers. For `user_init`: the SDK starts them after it.
pub fn keep_off() {
    sdk::wifi_set_opmode_current(sdk::NULL_MODE);
}

/// Prepares the radio, and has it sleep until it is [turned on](Radio::turn_on).
pub fn start() {
    sdk::wifi_set_event_handler_cb(on_event);
    sleep();
}

/// Closes the radio for as long as there is no station. The SDK does it when it has nothing else to do, so its noise is there until then.
fn sleep() {
    sdk::wifi_fpm_set_sleep_type(sdk::MODEM_SLEEP);
    sdk::wifi_fpm_open();
    // It stops for ever with a station, and refuses before it was opened: neither is so here.
    sdk::wifi_fpm_do_sleep(sdk::FOR_EVER);
}

/// A task of the SDK comes here.
extern "C" fn on_event(event: *const WifiEvent) {
    // SAFETY: the SDK's, or null; it is looked at before this returns.
    let Some(WifiEvent { event, info }) = (unsafe { event.as_ref() }) else {
        return;
    };
    match *event {
        event::CONNECTED => {
            with(|state| state.station = Station::Joined);
            radio::set_joined(true);
        }
        event::DISCONNECTED => {
            let why = info.get(sdk::DISCONNECTED_REASON).copied();
            let why = why.unwrap_or_default();
            let refused = refused(why);
            with(|state| {
                state.station = match state.station {
                    // Of the network before: it was left for this one.
                    Station::Joining if why == reason::ASSOC_LEAVE => Station::Joining,
                    Station::Joining => Station::Refused(refused),
                    Station::Joined => Station::Lost,
                    other => other,
                };
            });
            radio::set_joined(false);
        }
        _ => return,
    }
    with(|state| state.waiting.wake());
    executor::kick();
}

fn refused(why: u8) -> Refused {
    match why {
        reason::NO_AP_FOUND => Refused::Gone,
        reason::AUTH_FAIL | reason::HANDSHAKE_TIMEOUT | reason::HANDSHAKE_4WAY_TIMEOUT => {
            Refused::Password
        }
        _ if sdk::wifi_station_get_connect_status() == sdk::WRONG_PASSWORD => Refused::Password,
        _ => Refused::Failed,
    }
}

/// A task of the SDK comes here with the networks that it has found; the list is its own.
extern "C" fn on_scanned(first: *const Bss, status: u32) {
    let seer = critical_section::with(|cs| SEER.borrow_ref(cs).0);
    let mut next = first;
    // SAFETY: the SDK's list, which stands until this returns.
    while let Some(bss) = unsafe { next.as_ref() } {
        next = bss.next;
        let length = usize::from(bss.ssid_len).min(bss.ssid.len());
        let found = Found {
            ssid: bss.ssid.get(..length).unwrap_or_default(),
            bssid: bss.bssid,
            rssi: bss.rssi,
            channel: bss.channel,
            is_secured: bss.authmode != sdk::OPEN,
        };
        if let Some(see) = seer {
            // SAFETY: lent until `Loan` is dropped, which takes it away; nobody else calls it meanwhile, since tasks of the SDK do not
            // interrupt each other.
            unsafe { (*see)(&found) };
        }
    }
    with(|state| {
        state.scan = match status {
            0 => Scan::Done,
            _ => Scan::Failed,
        };
        state.waiting.wake();
    });
    executor::kick();
}

/// The radio as the state machine has it.
pub struct Wifi {
    stack: Stack<'static>,
    address: Option<Ipv4Addr>,
    is_on: bool,
    is_open: bool,
}

impl Wifi {
    /// The radio, and the stack above it.
    pub const fn new(stack: Stack<'static>) -> Self {
        Self {
            stack,
            address: None,
            is_on: false,
            is_open: false,
        }
    }

    fn current(&self) -> Option<Ipv4Addr> {
        self.stack
            .config_v4()
            .map(|config| config.address.address())
    }
}

/// `text` with zeros behind it.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
        *place = byte;
    }
    bytes
}

impl Radio for Wifi {
    fn turn_on(&mut self) {
        // The first does nothing when the radio has not closed yet, the second when it has not been asked to.
        sdk::wifi_fpm_do_wakeup();
        sdk::wifi_fpm_close();
        sdk::wifi_set_opmode_current(sdk::STATION_MODE);
        // It does nothing by itself; all three are for a station that is there.
        sdk::wifi_station_set_auto_connect(0);
        sdk::wifi_station_set_reconnect_policy(false);
        sdk::wifi_station_dhcpc_stop();
        self.is_on = true;
    }

    fn turn_off(&mut self) {
        if core::mem::take(&mut self.is_on) {
            sdk::wifi_set_opmode_current(sdk::NULL_MODE);
            sleep();
        }
    }

    fn set_sleep(&mut self, sleep: RadioSleep) {
        sdk::wifi_set_sleep_type(match sleep {
            RadioSleep::None => sdk::NONE_SLEEP,
            RadioSleep::Modem => sdk::MODEM_SLEEP,
        });
    }

    fn set_power(&mut self, dbm: u8) {
        sdk::system_phy_set_max_tpw(dbm.min(MOST_DBM) * 4);
    }

    async fn scan(&mut self, see: &mut dyn FnMut(&Found<'_>)) -> Result<(), Refused> {
        let _loan = Loan::lend(see);
        with(|state| state.scan = Scan::Looking);
        let mut config = ScanConfig {
            ssid: core::ptr::null_mut(),
            bssid: core::ptr::null_mut(),
            channel: 0,
            show_hidden: 0,
            kind: 0,
            times: [0; 2],
        };
        // SAFETY: the SDK copies what it needs.
        if !unsafe { sdk::wifi_station_scan(&raw mut config, on_scanned) } {
            return Err(Refused::Failed);
        }
        poll_fn(|context| {
            with(|state| match state.scan {
                Scan::Done => Poll::Ready(Ok(())),
                Scan::Failed | Scan::Idle => Poll::Ready(Err(Refused::Failed)),
                Scan::Looking => {
                    state.waiting.register(context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    async fn join(&mut self, target: &Target<'_>) -> Result<(), Refused> {
        let mut config = StationConfig {
            ssid: padded(target.ssid),
            password: padded(target.password),
            channel: target.channel,
            bssid_set: 1,
            bssid: target.bssid,
            weakest: 0,
            least_secure: sdk::OPEN,
            no_open_or_wep: !target.password.is_empty(),
            all_channels: false,
        };
        // SAFETY: the SDK copies it.
        if !unsafe { sdk::wifi_station_set_config_current(&raw mut config) } {
            return Err(Refused::Failed);
        }
        with(|state| state.station = Station::Joining);
        if !sdk::wifi_station_connect() {
            with(|state| state.station = Station::Idle);
            return Err(Refused::Failed);
        }
        poll_fn(|context| {
            with(|state| match state.station {
                Station::Joined => Poll::Ready(Ok(())),
                Station::Refused(refused) => Poll::Ready(Err(refused)),
                Station::Lost | Station::Idle => Poll::Ready(Err(Refused::Failed)),
                Station::Joining => {
                    state.waiting.register(context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    async fn address(&mut self) -> Ipv4Addr {
        self.stack.set_config_v4(ConfigV4::None);
        radio::give(Interface::Station);
        self.stack.set_config_v4(ConfigV4::Dhcp(Default::default()));
        loop {
            if let Some(address) = self.current() {
                self.address = Some(address);
                return address;
            }
            Timer::after(LOOK).await;
        }
    }

    async fn changed(&mut self) -> Option<Ipv4Addr> {
        loop {
            if with(|state| state.station) != Station::Joined {
                self.address = None;
                return None;
            }
            let address = self.current();
            if let Some(address) = address
                && self.address != Some(address)
            {
                self.address = Some(address);
                return Some(address);
            }
            Timer::after(LOOK).await;
        }
    }

    fn rssi(&mut self) -> Option<i8> {
        // In no network it is 31.
        Some(sdk::wifi_station_get_rssi()).filter(|rssi| *rssi < 0)
    }

    fn leave(&mut self) {
        with(|state| state.station = Station::Idle);
        radio::set_joined(false);
        sdk::wifi_station_disconnect();
        self.address = None;
        if !self.is_open {
            radio::give(Interface::None);
            self.stack.set_config_v4(ConfigV4::None);
        }
    }

    fn open(&mut self, name: &str) {
        sdk::wifi_set_opmode_current(sdk::STATION_AND_AP_MODE);
        let mut config = ApConfig {
            ssid: padded(name),
            password: [0; 64],
            ssid_len: name.len().min(32) as u8,
            channel: CHANNEL,
            authmode: sdk::OPEN,
            hidden: 0,
            max_connection: CLIENTS,
            beacon_interval: BEACON_INTERVAL,
        };
        // SAFETY: the SDK copies it. One that it does not take, none of ours is, would leave its own access point open.
        let _ = unsafe { sdk::wifi_softap_set_config_current(&raw mut config) };
        sdk::wifi_softap_dhcps_stop();
        self.is_open = true;
        radio::give(Interface::AccessPoint);
        self.stack.set_config_v4(ConfigV4::Static(StaticConfigV4 {
            address: Ipv4Cidr::new(ACCESS_POINT, 24),
            gateway: None,
            dns_servers: Default::default(),
        }));
    }

    fn close(&mut self) {
        if core::mem::take(&mut self.is_open) {
            sdk::wifi_set_opmode_current(sdk::STATION_MODE);
            radio::give(Interface::None);
            self.stack.set_config_v4(ConfigV4::None);
        }
    }
}
