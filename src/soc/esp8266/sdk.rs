//! What the vendor's libraries and the mask ROM offer: NONOS SDK 3.0.6.
//!
//! Each name is followed by the header of the SDK that declares it, or by "ROM" (`rom.x` has the address). `layouts.c` has the
//! cross compiler compare the structures with those headers at each build.

use core::{
    ffi::{c_char, c_int, c_void},
    mem::offset_of,
};

/// `ETSEvent`, ets_sys.h.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Event {
    pub signal: u32,
    pub parameter: u32,
}

/// `ETSTimer`, ets_sys.h. The SDK keeps it in a list while it is armed.
#[repr(C)]
pub struct Timer {
    pub next: *mut Timer,
    /// In ticks of 3.2 µs.
    pub expire: u32,
    pub period: u32,
    pub function: Option<extern "C" fn(*mut c_void)>,
    pub argument: *mut c_void,
}

impl Timer {
    pub const fn new() -> Self {
        Self {
            next: core::ptr::null_mut(),
            expire: 0,
            period: 0,
            function: None,
            argument: core::ptr::null_mut(),
        }
    }
}

/// `partition_item_t`, user_interface.h.
#[repr(C)]
pub struct Partition {
    pub kind: u32,
    pub address: u32,
    pub size: u32,
}

/// `partition_type_t`, user_interface.h.
pub mod partition {
    pub const RF_CALIBRATION: u32 = 4;
    pub const PHY_DATA: u32 = 5;
    pub const SYSTEM_PARAMETER: u32 = 6;
    /// The first that is the user's own.
    pub const CUSTOMER: u32 = 100;
}

/// `struct rst_info`, user_interface.h.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct ResetInfo {
    pub reason: u32,
    pub cause: u32,
    pub epc1: u32,
    pub epc2: u32,
    pub epc3: u32,
    pub address: u32,
    pub depc: u32,
}

/// `struct netif`, lwip/netif.h.
#[repr(C)]
pub struct Netif {
    pub next: *mut Netif,
    pub ip: u32,
    pub mask: u32,
    pub gateway: u32,
    pub input: Option<Input>,
    pub output: Option<extern "C" fn(*mut Netif, *mut Pbuf, *const u32) -> i8>,
    pub linkoutput: Option<unsafe extern "C" fn(*mut Netif, *mut Pbuf) -> i8>,
    pub state: *mut c_void,
    pub dhcp: *mut c_void,
    pub dhcps_pcb: *mut c_void,
    pub dhcp_event: *mut c_void,
    pub hostname: *mut c_char,
    pub mtu: u16,
    pub hwaddr_len: u8,
    pub hwaddr: [u8; 6],
    pub flags: u8,
    pub name: [u8; 2],
    pub number: u8,
}

/// `netif_input_fn`, lwip/netif.h.
pub type Input = unsafe extern "C" fn(*mut Pbuf, *mut Netif) -> i8;

/// `NETIF_FLAG_UP`, lwip/netif.h.
pub const NETIF_UP: u8 = 1;

const _: () = {
    assert!(offset_of!(Netif, input) == 16);
    assert!(offset_of!(Netif, linkoutput) == 24);
    assert!(offset_of!(Netif, state) == 28);
    assert!(offset_of!(Netif, hwaddr) == 51);
    assert!(offset_of!(Netif, flags) == 57);
    assert!(offset_of!(Netif, number) == 60);
};

/// `struct pbuf`, lwip/pbuf.h.
#[repr(C)]
pub struct Pbuf {
    pub next: *mut Pbuf,
    pub payload: *mut u8,
    pub total: u16,
    pub length: u16,
    pub kind: u8,
    pub flags: u8,
    pub references: u16,
    pub radio: *mut c_void,
}

const _: () = {
    assert!(size_of::<Pbuf>() == 20);
    assert!(offset_of!(Pbuf, payload) == 4);
    assert!(offset_of!(Pbuf, total) == 8);
    assert!(offset_of!(Pbuf, length) == 10);
    assert!(offset_of!(Pbuf, kind) == 12);
    assert!(offset_of!(Pbuf, references) == 14);
    assert!(offset_of!(Pbuf, radio) == 16);
};

/// `struct bss_info`, user_interface.h, as far as it is looked at.
#[repr(C)]
pub struct Bss {
    pub next: *const Bss,
    pub bssid: [u8; 6],
    pub ssid: [u8; 32],
    pub ssid_len: u8,
    pub channel: u8,
    pub rssi: i8,
    pub authmode: u32,
}

const _: () = {
    assert!(offset_of!(Bss, bssid) == 4);
    assert!(offset_of!(Bss, ssid) == 10);
    assert!(offset_of!(Bss, ssid_len) == 42);
    assert!(offset_of!(Bss, channel) == 43);
    assert!(offset_of!(Bss, rssi) == 44);
    assert!(offset_of!(Bss, authmode) == 48);
};

/// `AUTH_OPEN`, user_interface.h.
pub const OPEN: u32 = 0;

/// `struct station_config`, user_interface.h.
#[repr(C)]
pub struct StationConfig {
    pub ssid: [u8; 32],
    pub password: [u8; 64],
    pub channel: u8,
    pub bssid_set: u8,
    pub bssid: [u8; 6],
    pub weakest: i8,
    pub least_secure: u32,
    pub no_open_or_wep: bool,
    pub all_channels: bool,
}

const _: () = {
    assert!(size_of::<StationConfig>() == 116);
    assert!(offset_of!(StationConfig, channel) == 96);
    assert!(offset_of!(StationConfig, bssid) == 98);
    assert!(offset_of!(StationConfig, weakest) == 104);
    assert!(offset_of!(StationConfig, least_secure) == 108);
    assert!(offset_of!(StationConfig, all_channels) == 113);
};

/// `struct softap_config`, user_interface.h.
#[repr(C)]
pub struct ApConfig {
    pub ssid: [u8; 32],
    pub password: [u8; 64],
    pub ssid_len: u8,
    pub channel: u8,
    pub authmode: u32,
    pub hidden: u8,
    pub max_connection: u8,
    pub beacon_interval: u16,
}

const _: () = {
    assert!(size_of::<ApConfig>() == 108);
    assert!(offset_of!(ApConfig, ssid_len) == 96);
    assert!(offset_of!(ApConfig, authmode) == 100);
    assert!(offset_of!(ApConfig, beacon_interval) == 106);
};

/// `struct scan_config`, user_interface.h.
#[repr(C)]
pub struct ScanConfig {
    pub ssid: *mut u8,
    pub bssid: *mut u8,
    pub channel: u8,
    pub show_hidden: u8,
    pub kind: u32,
    pub times: [u32; 2],
}

const _: () = assert!(size_of::<ScanConfig>() == 24);

/// `System_Event_t`, user_interface.h. What follows depends on the event.
#[repr(C)]
pub struct WifiEvent {
    pub event: u32,
    pub info: [u8; 40],
}

/// Where `reason` stands in the information of `EVENT_STAMODE_DISCONNECTED`.
pub const DISCONNECTED_REASON: usize = 39;

/// Events, user_interface.h.
pub mod event {
    pub const CONNECTED: u32 = 0;
    pub const DISCONNECTED: u32 = 1;
}

/// Why a connection ended, user_interface.h.
pub mod reason {
    /// The station itself has left.
    pub const ASSOC_LEAVE: u8 = 8;
    pub const HANDSHAKE_4WAY_TIMEOUT: u8 = 15;
    pub const NO_AP_FOUND: u8 = 201;
    pub const AUTH_FAIL: u8 = 202;
    pub const HANDSHAKE_TIMEOUT: u8 = 204;
}

/// `STATION_WRONG_PASSWORD`, user_interface.h.
pub const WRONG_PASSWORD: u8 = 2;

/// Modes, user_interface.h.
pub const NULL_MODE: u8 = 0;
pub const STATION_MODE: u8 = 1;
pub const STATION_AND_AP_MODE: u8 = 3;

/// `enum sleep_type`, user_interface.h.
pub const NONE_SLEEP: u32 = 0;
pub const MODEM_SLEEP: u32 = 2;

/// What `wifi_fpm_do_sleep` takes for "until it is woken"; nothing else is taken as long.
pub const FOR_EVER: u32 = 0x0fff_ffff;

/// Why the chip was reset, `enum rst_reason` in user_interface.h.
pub mod reset {
    pub const WATCHDOG: u32 = 1;
    pub const EXCEPTION: u32 = 2;
    pub const SOFT_WATCHDOG: u32 = 3;
    pub const RESTART: u32 = 4;
}

/// Interfaces, user_interface.h.
pub const STATION: u8 = 0;
pub const ACCESS_POINT: u8 = 1;

/// A handler in the ROM's table of exceptions that are handled in C.
pub type Handler = Option<unsafe extern "C" fn(*mut c_void, c_int)>;

unsafe extern "C" {
    // user_interface.h
    pub fn system_os_task(
        task: extern "C" fn(*mut Event),
        priority: u8,
        queue: *mut Event,
        length: u8,
    ) -> bool;
    pub safe fn system_init_done_cb(done: extern "C" fn());
    pub safe fn system_get_time() -> u32;
    pub safe fn system_get_free_heap_size() -> u32;
    pub safe fn system_get_rst_info() -> *const ResetInfo;
    pub safe fn system_restart();
    pub safe fn system_soft_wdt_feed();
    pub safe fn system_set_os_print(on: u8);
    pub safe fn system_phy_set_max_tpw(quarter_dbm: u8);
    pub fn system_rtc_mem_read(block: u8, to: *mut c_void, length: u16) -> bool;
    pub fn system_rtc_mem_write(block: u8, from: *const c_void, length: u16) -> bool;
    pub fn system_partition_table_regist(table: *const Partition, count: u32, map: u32) -> bool;
    pub safe fn wifi_set_opmode_current(mode: u8) -> bool;
    pub safe fn wifi_set_sleep_type(kind: u32) -> bool;
    pub safe fn wifi_fpm_set_sleep_type(kind: u32);
    pub safe fn wifi_fpm_open();
    pub safe fn wifi_fpm_close();
    pub safe fn wifi_fpm_do_sleep(us: u32) -> i8;
    pub safe fn wifi_fpm_do_wakeup();
    pub fn wifi_get_macaddr(interface: u8, address: *mut u8) -> bool;
    pub safe fn wifi_set_event_handler_cb(handler: extern "C" fn(*const WifiEvent));
    pub fn wifi_station_set_config_current(config: *mut StationConfig) -> bool;
    pub safe fn wifi_station_connect() -> bool;
    pub safe fn wifi_station_disconnect() -> bool;
    pub safe fn wifi_station_set_auto_connect(on: u8) -> bool;
    pub safe fn wifi_station_set_reconnect_policy(on: bool) -> bool;
    pub safe fn wifi_station_dhcpc_stop() -> bool;
    pub safe fn wifi_station_get_rssi() -> i8;
    pub safe fn wifi_station_get_connect_status() -> u8;
    pub fn wifi_station_scan(config: *mut ScanConfig, done: extern "C" fn(*const Bss, u32))
    -> bool;
    pub fn wifi_softap_set_config_current(config: *mut ApConfig) -> bool;
    pub safe fn wifi_softap_dhcps_stop() -> bool;

    // osapi.h
    pub fn ets_timer_setfn(
        timer: *mut Timer,
        function: extern "C" fn(*mut c_void),
        argument: *mut c_void,
    );
    pub fn ets_timer_arm_new(timer: *mut Timer, time: u32, repeats: bool, in_ms: bool);
    pub fn ets_timer_disarm(timer: *mut Timer);
    pub safe fn os_random() -> u32;

    // mem.h
    pub fn pvPortMalloc(size: usize, file: *const c_char, line: u32, iram: bool) -> *mut c_void;
    pub fn vPortFree(memory: *mut c_void, file: *const c_char, line: u32);

    // spi_flash.h. `__real_`: the reading function passes through ours, see `rf`.
    pub safe fn spi_flash_erase_sector(sector: u16) -> c_int;
    pub fn spi_flash_write(to: u32, from: *const u32, size: u32) -> c_int;
    #[link_name = "__real_spi_flash_read"]
    pub fn spi_flash_read(from: u32, to: *mut u32, size: u32) -> c_int;

    // ets_sys.h
    pub fn ets_isr_attach(number: u32, handler: extern "C" fn(*mut c_void), argument: *mut c_void);
    pub safe fn ets_isr_unmask(mask: u32);

    // In libmain, without a header: gives a received frame's buffer back to the radio. As lwIP's `pbuf_free` does.
    pub fn system_pp_recycle_rx_pkt(buffer: *mut c_void);
    // In libmain, without a header: the interface of the station (0) or the access point (1), null while it is not there.
    pub safe fn eagle_lwip_getif(interface: u8) -> *mut Netif;
    // In libmain, without a header: resets the chip at once, as `system_restart` does after 0.1 s.
    pub safe fn system_restart_local();

    // ROM: the task's number is that of `system_os_task` and two. Ends with interrupts let in, whatever they were before.
    pub safe fn ets_post(task: u8, signal: u32, parameter: u32) -> c_int;
    // ROM: enters a C handler into the table of exceptions and returns the one before.
    pub fn _xtos_set_exception_handler(cause: c_int, handler: Handler) -> Handler;
}
