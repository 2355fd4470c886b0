//! Station and access point of the vendor's radio, in an air that the words of the run describe.

use core::{
    ffi::c_void,
    ptr::{self, null_mut},
};

use super::{
    Own, frames, heap, only_in_tasks, refuse, timers,
    words::{Network, words},
};
use crate::soc::esp8266::sdk::{
    self, ApConfig, Bss, ScanConfig, StationConfig, Timer, WifiEvent, event, reason,
};

/// Modes as bits.
const STATION: u8 = 1;
const ACCESS_POINT: u8 = 2;

/// How long a look for networks takes, a connection, and what the station tells of itself.
const SCAN_MS: u32 = 400;
const CONNECT_MS: u32 = 200;
const TELL_MS: u32 = 20;
/// From a failure to the next try, for who has not switched that off.
const RETRY_MS: u32 = 1000;

/// `wifi_station_get_connect_status`, user_interface.h.
mod connection {
    pub const IDLE: u8 = 0;
    pub const CONNECTING: u8 = 1;
    pub const NO_AP_FOUND: u8 = 3;
    pub const CONNECT_FAIL: u8 = 4;
    pub const GOT_IP: u8 = 5;
}

/// What the station is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Station {
    Idle,
    Connecting,
    Connected,
}

type OnEvent = extern "C" fn(*const WifiEvent);
type OnScanned = extern "C" fn(*const Bss, u32);

/// Where the mask lies in a frame's information: behind name, its length and address.
const INFO: usize = 40;

struct Wifi {
    /// What is set before the SDK starts anything, it starts with.
    is_started: bool,
    mode: u8,
    /// Forced sleep, for who has neither station nor access point: let in, and begun.
    may_sleep: bool,
    sleeps: bool,
    is_link_up: bool,
    station: Station,
    status: u8,
    network: Option<Network>,
    ssid: [u8; 32],
    password: [u8; 64],
    bssid: Option<[u8; 6]>,
    refuses_open: bool,
    handler: Option<OnEvent>,
    scanned: Option<OnScanned>,
    reconnects: bool,
    connects: bool,
    has_dhcp: bool,
    has_dhcps: bool,
    /// What the next message to the handler is.
    told: Option<(u32, u8)>,
    is_open: bool,
}

#[unsafe(link_section = ".stand_in.wifi")]
static WIFI: Own<Wifi> = Own::new(Wifi {
    is_started: false,
    // What a new module remembers.
    mode: STATION | ACCESS_POINT,
    may_sleep: false,
    sleeps: false,
    is_link_up: true,
    station: Station::Idle,
    status: connection::IDLE,
    network: None,
    ssid: [0; 32],
    password: [0; 64],
    bssid: None,
    refuses_open: false,
    handler: None,
    scanned: None,
    reconnects: true,
    connects: true,
    has_dhcp: true,
    has_dhcps: true,
    told: None,
    is_open: false,
});

#[unsafe(link_section = ".stand_in.wifi.connecting")]
static CONNECTING: Own<Timer> = Own::new(Timer::new());
#[unsafe(link_section = ".stand_in.wifi.scanning")]
static SCANNING: Own<Timer> = Own::new(Timer::new());
#[unsafe(link_section = ".stand_in.wifi.telling")]
static TELLING: Own<Timer> = Own::new(Timer::new());

unsafe extern "C" {
    fn dhcp_start(netif: *mut sdk::Netif) -> i8;
    fn dhcps_start(info: *const c_void, netif: *mut sdk::Netif);
}

fn after(timer: &Own<Timer>, ms: u32, function: extern "C" fn(*mut c_void)) {
    let timer = timer.0.get();
    timers::ets_timer_disarm(timer);
    timers::ets_timer_setfn(timer, function, null_mut());
    timers::ets_timer_arm_new(timer, ms, false, true);
}

/// The radio's own addresses; QEMU's network has others.
pub fn address(number: u8) -> [u8; 6] {
    match number {
        sdk::STATION => [0x5c, 0xcf, 0x7f, 0xc0, 0xff, 0xee],
        _ => [0x5e, 0xcf, 0x7f, 0xc0, 0xff, 0xee],
    }
}

/// The access point of the network at a place.
fn bssid(place: usize) -> [u8; 6] {
    [0x02, 0, 0, 0, 0, place as u8 + 1]
}

/// Whether frames go over an interface.
pub fn is_on_air(number: u8) -> bool {
    WIFI.with(|wifi| match number {
        sdk::STATION => wifi.station == Station::Connected,
        _ => wifi.is_open,
    })
}

/// The network is plugged in, or pulled: then there is nobody in the air.
pub fn link_changed(is_up: bool) {
    let is_lost = WIFI.with(|wifi| {
        wifi.is_link_up = is_up;
        !is_up && wifi.station == Station::Connected
    });
    if is_lost {
        // BEACON_TIMEOUT, user_interface.h.
        disconnected(200, connection::NO_AP_FOUND);
    }
}

/// The station is in no network any more, or did not come into one.
fn disconnected(why: u8, status: u8) {
    let retries = WIFI.with(|wifi| {
        wifi.station = Station::Idle;
        wifi.network = None;
        wifi.status = status;
        wifi.told = Some((event::DISCONNECTED, why));
        wifi.reconnects && why != reason::ASSOC_LEAVE
    });
    frames::set_up(sdk::STATION, false);
    after(&TELLING, TELL_MS, tell);
    if retries {
        after(&CONNECTING, RETRY_MS, connect);
    }
}

/// A task of the SDK's tells the glue.
extern "C" fn tell(_: *mut c_void) {
    let (told, handler) = WIFI.with(|wifi| (wifi.told.take(), wifi.handler));
    let (Some((event, why)), Some(handler)) = (told, handler) else {
        return;
    };
    let mut info = [0xa5; INFO];
    if let Some(place) = info.get_mut(sdk::DISCONNECTED_REASON)
        && event == event::DISCONNECTED
    {
        *place = why;
    }
    let told = WifiEvent { event, info };
    handler(&raw const told);
}

#[unsafe(no_mangle)]
extern "C" fn wifi_set_event_handler_cb(handler: OnEvent) {
    WIFI.with(|wifi| wifi.handler = Some(handler));
}

/// The SDK starts what the mode says.
pub fn start() {
    let mode = WIFI.with(|wifi| {
        wifi.is_started = true;
        core::mem::take(&mut wifi.mode)
    });
    let _ = wifi_set_opmode_current(mode);
}

/// A station that is there by now connects by itself when nobody has forbidden it.
pub fn started() {
    let connects = WIFI.with(|wifi| wifi.connects && wifi.mode & STATION != 0);
    if connects {
        refuse!("nobody has switched off that the station connects by itself");
    }
}

fn has_station() -> bool {
    WIFI.with(|wifi| wifi.mode & STATION != 0)
}

#[unsafe(no_mangle)]
extern "C" fn wifi_set_opmode_current(mode: u8) -> bool {
    only_in_tasks("wifi_set_opmode_current");
    if mode > 3 {
        refuse!("wifi_set_opmode_current: {}", mode);
    }
    let (before, is_started, sleeps) = WIFI.with(|wifi| {
        let before = core::mem::replace(&mut wifi.mode, mode);
        (before, wifi.is_started, wifi.sleeps || wifi.may_sleep)
    });
    if !is_started {
        return true;
    }
    if mode != 0 && sleeps {
        refuse!(
            "wifi_set_opmode_current: {} while the radio is made to sleep",
            mode
        );
    }
    let gone = before & !mode;
    if gone & STATION != 0 {
        timers::ets_timer_disarm(CONNECTING.0.get());
        timers::ets_timer_disarm(SCANNING.0.get());
        WIFI.with(|wifi| {
            (wifi.station, wifi.status) = (Station::Idle, connection::IDLE);
            (wifi.network, wifi.scanned) = (None, None);
        });
        frames::remove(sdk::STATION);
    }
    if gone & ACCESS_POINT != 0 {
        WIFI.with(|wifi| wifi.is_open = false);
        frames::remove(sdk::ACCESS_POINT);
    }
    if mode & !before & STATION != 0 {
        WIFI.with(|wifi| (wifi.has_dhcp, wifi.reconnects) = (true, true));
        frames::add(sdk::STATION);
    }
    if mode & !before & ACCESS_POINT != 0 {
        frames::add(sdk::ACCESS_POINT);
        WIFI.with(|wifi| (wifi.is_open, wifi.has_dhcps) = (true, true));
        frames::set_up(sdk::ACCESS_POINT, true);
        // SAFETY: as libmain does.
        unsafe { dhcps_start(ptr::null(), sdk_netif(sdk::ACCESS_POINT)) };
    }
    true
}

fn sdk_netif(number: u8) -> *mut sdk::Netif {
    sdk::eagle_lwip_getif(number)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wifi_get_macaddr(number: u8, to: *mut u8) -> bool {
    let address = address(number);
    // SAFETY: the caller's promise.
    unsafe { ptr::copy_nonoverlapping(address.as_ptr(), to, address.len()) };
    true
}

#[unsafe(no_mangle)]
extern "C" fn system_phy_set_max_tpw(quarter_dbm: u8) {
    if quarter_dbm > 82 {
        refuse!("system_phy_set_max_tpw: {}", quarter_dbm);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wifi_station_set_config_current(config: *mut StationConfig) -> bool {
    only_in_tasks("wifi_station_set_config_current");
    // SAFETY: the caller's promise.
    let config = unsafe { &*config };
    WIFI.with(|wifi| {
        wifi.ssid = config.ssid;
        wifi.password = config.password;
        wifi.bssid = (config.bssid_set != 0).then_some(config.bssid);
        wifi.refuses_open = config.no_open_or_wep;
    });
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_connect() -> bool {
    only_in_tasks("wifi_station_connect");
    if !has_station() {
        return false;
    }
    let was = WIFI.with(|wifi| {
        wifi.status = connection::CONNECTING;
        core::mem::replace(&mut wifi.station, Station::Connecting)
    });
    if was == Station::Connected {
        frames::set_up(sdk::STATION, false);
        WIFI.with(|wifi| wifi.told = Some((event::DISCONNECTED, reason::ASSOC_LEAVE)));
        after(&TELLING, TELL_MS, tell);
    }
    after(&CONNECTING, CONNECT_MS, connect);
    true
}

/// Zeros do not belong to it.
fn text(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default()
}

/// Decides whether a network lets the station in.
extern "C" fn connect(_: *mut c_void) {
    let networks = words().networks;
    let outcome = WIFI.with(|wifi| {
        wifi.station = Station::Connecting;
        let mut numbered = networks.iter().enumerate();
        let found = numbered.find_map(|(place, network)| {
            let network = (*network)?;
            let is_it = network.ssid.as_bytes() == text(&wifi.ssid)
                && wifi.bssid.is_none_or(|wanted| wanted == bssid(place));
            (is_it && wifi.is_link_up).then_some(network)
        });
        let Some(network) = found else {
            return Err((reason::NO_AP_FOUND, connection::NO_AP_FOUND));
        };
        if network.password.is_empty() && wifi.refuses_open {
            return Err((reason::NO_AP_FOUND, connection::NO_AP_FOUND));
        }
        if network.password.as_bytes() != text(&wifi.password) {
            return Err((reason::HANDSHAKE_TIMEOUT, connection::CONNECT_FAIL));
        }
        wifi.station = Station::Connected;
        wifi.status = connection::GOT_IP;
        wifi.network = Some(network);
        wifi.told = Some((event::CONNECTED, 0));
        Ok(wifi.has_dhcp)
    });
    match outcome {
        Ok(has_dhcp) => {
            frames::set_up(sdk::STATION, true);
            if has_dhcp {
                // SAFETY: as libmain does.
                unsafe { dhcp_start(sdk_netif(sdk::STATION)) };
            }
            after(&TELLING, TELL_MS, tell);
        }
        Err((why, status)) => disconnected(why, status),
    }
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_disconnect() -> bool {
    only_in_tasks("wifi_station_disconnect");
    timers::ets_timer_disarm(CONNECTING.0.get());
    let was = WIFI.with(|wifi| wifi.station);
    if was != Station::Idle {
        disconnected(reason::ASSOC_LEAVE, connection::IDLE);
    }
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_set_auto_connect(on: u8) -> bool {
    if !has_station() {
        refuse!("wifi_station_set_auto_connect is refused without a station");
    }
    WIFI.with(|wifi| wifi.connects = on != 0);
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_set_reconnect_policy(on: bool) -> bool {
    WIFI.with(|wifi| wifi.reconnects = on);
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_dhcpc_stop() -> bool {
    if !has_station() {
        refuse!("wifi_station_dhcpc_stop is refused without a station");
    }
    WIFI.with(|wifi| wifi.has_dhcp = false);
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_get_rssi() -> i8 {
    WIFI.with(|wifi| wifi.network.map_or(31, |network| network.rssi))
}

#[unsafe(no_mangle)]
extern "C" fn wifi_station_get_connect_status() -> u8 {
    WIFI.with(|wifi| wifi.status)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wifi_station_scan(_config: *mut ScanConfig, done: OnScanned) -> bool {
    only_in_tasks("wifi_station_scan");
    let is_busy = WIFI.with(|wifi| {
        wifi.scanned.is_some() || wifi.station == Station::Connecting || wifi.mode & STATION == 0
    });
    if is_busy {
        return false;
    }
    WIFI.with(|wifi| wifi.scanned = Some(done));
    after(&SCANNING, SCAN_MS, scanned);
    true
}

/// Shows what is in the air: a list in the vendor's heap, which is gone when the glue has seen it.
extern "C" fn scanned(_: *mut c_void) {
    let (done, is_link_up) = WIFI.with(|wifi| (wifi.scanned.take(), wifi.is_link_up));
    let Some(done) = done else { return };
    let mut first: *mut Bss = null_mut();
    let mut status = 0;
    for (place, network) in words().networks.iter().enumerate() {
        let Some(network) = network.filter(|_| is_link_up) else {
            continue;
        };
        let memory = heap::pvPortMalloc(size_of::<Bss>(), c"".as_ptr(), 0, false);
        let found = memory.cast::<Bss>();
        if found.is_null() {
            status = 1;
            break;
        }
        let mut ssid = [0; 32];
        for (place, byte) in ssid.iter_mut().zip(network.ssid.bytes()) {
            *place = byte;
        }
        // SAFETY: there is room for it.
        unsafe {
            found.write(Bss {
                next: first,
                bssid: bssid(place),
                ssid,
                ssid_len: network.ssid.len() as u8,
                channel: network.channel,
                rssi: network.rssi,
                // AUTH_WPA2_PSK, user_interface.h.
                authmode: if network.password.is_empty() {
                    sdk::OPEN
                } else {
                    3
                },
            });
        }
        first = found;
    }
    done(first, status);
    while !first.is_null() {
        // SAFETY: made above.
        let next = unsafe { (*first).next }.cast_mut();
        heap::vPortFree(first.cast(), c"".as_ptr(), 0);
        first = next;
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn wifi_softap_set_config_current(config: *mut ApConfig) -> bool {
    only_in_tasks("wifi_softap_set_config_current");
    // SAFETY: the caller's promise.
    let config = unsafe { &*config };
    let is_open = WIFI.with(|wifi| wifi.is_open);
    if !is_open
        || !(1..=32).contains(&config.ssid_len)
        || !(1..=13).contains(&config.channel)
        || !(1..=8).contains(&config.max_connection)
        || !(100..=60_000).contains(&config.beacon_interval)
    {
        refuse!("wifi_softap_set_config_current: what the SDK does not take");
    }
    let name = config.ssid.get(..usize::from(config.ssid_len));
    let name = name.and_then(|name| core::str::from_utf8(name).ok());
    super::say!("access point {}", name.unwrap_or("?"));
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_softap_dhcps_stop() -> bool {
    WIFI.with(|wifi| wifi.has_dhcps = false);
    true
}

/// Between beacons, while the station is in a network.
#[unsafe(no_mangle)]
extern "C" fn wifi_set_sleep_type(kind: u32) -> bool {
    only_in_tasks("wifi_set_sleep_type");
    let is_open = WIFI.with(|wifi| wifi.is_open);
    match kind {
        sdk::NONE_SLEEP => {}
        sdk::MODEM_SLEEP if !is_open => {}
        _ => refuse!("wifi_set_sleep_type: {}, access point {}", kind, is_open),
    }
    super::say!("radio sleep {}", kind);
    true
}

#[unsafe(no_mangle)]
extern "C" fn wifi_fpm_set_sleep_type(kind: u32) {
    only_in_tasks("wifi_fpm_set_sleep_type");
    if kind != sdk::MODEM_SLEEP {
        refuse!(
            "wifi_fpm_set_sleep_type: {} stops more than the radio",
            kind
        );
    }
}

#[unsafe(no_mangle)]
extern "C" fn wifi_fpm_open() {
    only_in_tasks("wifi_fpm_open");
    WIFI.with(|wifi| wifi.may_sleep = true);
}

#[unsafe(no_mangle)]
extern "C" fn wifi_fpm_close() {
    only_in_tasks("wifi_fpm_close");
    if WIFI.with(|wifi| core::mem::take(&mut wifi.sleeps)) {
        refuse!("wifi_fpm_close while the radio sleeps");
    }
    WIFI.with(|wifi| wifi.may_sleep = false);
}

/// Until it is woken, or for so many microseconds, which nobody asks for here.
#[unsafe(no_mangle)]
extern "C" fn wifi_fpm_do_sleep(us: u32) -> i8 {
    only_in_tasks("wifi_fpm_do_sleep");
    let (mode, may_sleep) = WIFI.with(|wifi| (wifi.mode, wifi.may_sleep));
    if mode != 0 || !may_sleep || us != sdk::FOR_EVER {
        refuse!(
            "wifi_fpm_do_sleep: mode {}, let in {}, {} us",
            mode,
            may_sleep,
            us
        );
    }
    WIFI.with(|wifi| wifi.sleeps = true);
    super::say!("radio off");
    0
}

#[unsafe(no_mangle)]
extern "C" fn wifi_fpm_do_wakeup() {
    only_in_tasks("wifi_fpm_do_wakeup");
    if WIFI.with(|wifi| core::mem::take(&mut wifi.sleeps)) {
        super::say!("radio on");
    }
}
