//! What the glue must never do, done once by the stand-in in its place: so that a test sees each refusal.

use core::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

use super::{
    Own, frames, heap, say, start::leave, status, tasks, timers, uart as line, wifi, words::words,
};
use crate::soc::esp8266::{
    registers::{Mapped, Registers, uart},
    sdk::{self, ApConfig, Event, Netif, Partition, Pbuf, Timer, partition},
};

unsafe extern "C" {
    // The glue's.
    fn pbuf_alloc(layer: u32, length: u16, kind: u32) -> *mut Pbuf;
}

/// Who does it.
enum Who {
    /// A task.
    Task,
    /// A task that masks interrupts.
    Masked,
    /// An interrupt.
    Interrupt,
}
use Who::{Interrupt, Masked, Task};

#[unsafe(link_section = ".stand_in.misuse.timer")]
static TIMER: Own<Timer> = Own::new(Timer::new());
#[unsafe(link_section = ".stand_in.misuse.event")]
static EVENT: Own<Event> = Own::new(Event {
    signal: 0,
    parameter: 0,
});
/// Memory to read and write.
#[unsafe(link_section = ".stand_in.misuse.words")]
static MEMORY: Own<[u32; 8]> = Own::new([0; 8]);

/// Erased in the board's map as long as nobody has updated it over the air.
const FREE: u32 = 0x10_0000;

extern "C" fn nothing(_: *mut c_void) {}
extern "C" fn no_event(_: *mut Event) {}
unsafe extern "C" fn no_exception(_: *mut c_void, _: c_int) {}
/// A handler that lets interrupts in before it has quieted its own.
extern "C" fn hasty(_: *mut c_void) {
    Mapped.write(uart::INT_ENA, !0);
    sdk::ets_post(2, 0, 0);
}
extern "C" fn mask(_: *mut Event) {
    xtensa_lx::interrupt::mask();
}

fn read(from: u32, to: *mut u32, size: u32) {
    // SAFETY: refused, or there is room.
    unsafe { sdk::spi_flash_read(from, to, size) };
}

fn write(to: u32, word: u32) {
    // SAFETY: one word.
    unsafe { sdk::spi_flash_write(to, &raw const word, 4) };
}

fn allocate(size: usize) -> *mut c_void {
    heap::pvPortMalloc(size, c"".as_ptr(), 0, false)
}

fn free(memory: *mut c_void) {
    heap::vPortFree(memory, c"".as_ptr(), 0);
}

fn make_task(priority: u8, length: u8) {
    // SAFETY: a static with as many places, or refused.
    unsafe { sdk::system_os_task(no_event, priority, EVENT.0.get(), length) };
}

fn set_timer() -> *mut Timer {
    let timer = TIMER.0.get();
    timers::ets_timer_setfn(timer, nothing, null_mut());
    timer
}

fn arm(timer: *mut Timer, time: u32) {
    timers::ets_timer_arm_new(timer, time, false, true);
}

fn register(parts: &[Partition]) {
    // SAFETY: as many as there are.
    unsafe { sdk::system_partition_table_regist(parts.as_ptr(), parts.len() as u32, 4) };
}

const fn part(kind: u32, address: u32, size: u32) -> Partition {
    Partition {
        kind,
        address,
        size,
    }
}

/// The radio, which the glue has closed.
fn open_radio() {
    sdk::wifi_fpm_do_wakeup();
    sdk::wifi_fpm_close();
}

/// Hands a frame to an interface as it is after a change.
fn send(change: impl FnOnce(&mut Netif, &mut Pbuf)) {
    /// `PBUF_RAW`, `PBUF_RAM`, lwip/pbuf.h.
    const RAW: u32 = 3;
    const RAM: u32 = 0;
    open_radio();
    sdk::wifi_set_opmode_current(sdk::STATION_AND_AP_MODE);
    let netif = sdk::eagle_lwip_getif(sdk::ACCESS_POINT);
    // SAFETY: all is there at the start, and the emulator ends here.
    unsafe {
        let frame = pbuf_alloc(RAW, 60, RAM);
        change(&mut *netif, &mut *frame);
        if let Some(output) = (*netif).linkoutput {
            output(netif, frame);
        }
    }
}

fn access_point(change: impl FnOnce(&mut ApConfig)) {
    // SAFETY: bytes, and numbers.
    let mut config: ApConfig = unsafe { core::mem::zeroed() };
    (config.ssid_len, config.channel, config.max_connection) = (1, 1, 4);
    config.beacon_interval = 100;
    change(&mut config);
    open_radio();
    sdk::wifi_set_opmode_current(sdk::STATION_AND_AP_MODE);
    // SAFETY: a configuration.
    unsafe { sdk::wifi_softap_set_config_current(&raw mut config) };
}

/// All, by name.
const ALL: &[(&str, Who, fn())] = &[
    ("post_to_nobody", Task, || {
        tasks::post(20, 0, 0);
    }),
    ("post_too_high", Task, || {
        tasks::post(32, 0, 0);
    }),
    ("task_priority", Task, || make_task(3, 1)),
    ("task_queue", Task, || make_task(1, 0)),
    ("task_masked", Masked, || make_task(1, 1)),
    ("task_ends_masked", Task, || {
        // SAFETY: a static.
        unsafe { tasks::make(mask, 20, EVENT.0.get(), 1) };
        tasks::post(20, 0, 0);
    }),
    ("timer_armed", Task, || {
        let timer = set_timer();
        arm(timer, 1000);
        timers::ets_timer_setfn(timer, nothing, null_mut());
    }),
    ("timer_no_function", Task, || arm(TIMER.0.get(), 1000)),
    ("timer_no_time", Task, || arm(set_timer(), 0)),
    ("timer_too_long", Task, || arm(set_timer(), 6_870_948)),
    ("timer_interrupt", Interrupt, || arm(TIMER.0.get(), 1000)),
    ("timer_masked", Masked, || {
        timers::ets_timer_disarm(TIMER.0.get());
    }),
    ("flash_unaligned", Task, || {
        read(FREE + 2, MEMORY.0.get().cast(), 4)
    }),
    ("flash_unaligned_memory", Task, || {
        let place = MEMORY.0.get().cast::<u8>().wrapping_add(1);
        read(FREE, place.cast(), 4);
    }),
    ("flash_bytes", Task, || read(FREE, MEMORY.0.get().cast(), 5)),
    ("flash_beyond", Task, || {
        read(0x40_0000, MEMORY.0.get().cast(), 4)
    }),
    ("flash_unerased", Task, || {
        write(FREE, 0);
        write(FREE, 1);
    }),
    ("flash_interrupt", Interrupt, || {
        read(FREE, MEMORY.0.get().cast(), 4)
    }),
    ("flash_erase_beyond", Task, || {
        sdk::spi_flash_erase_sector(0x400);
    }),
    ("flash_erase_masked", Masked, || {
        sdk::spi_flash_erase_sector(0x100);
    }),
    // Until somebody types something long.
    ("flash_erase_amid", Task, || {
        while !line::is_spoken_to() {}
        sdk::spi_flash_erase_sector(0x100);
    }),
    ("partitions_missing", Task, || register(&[])),
    ("partitions_overlap", Task, || {
        register(&[
            part(partition::RF_CALIBRATION, 0x3f_b000, 0x2000),
            part(partition::PHY_DATA, 0x3f_c000, 0x1000),
            part(partition::SYSTEM_PARAMETER, 0x3f_d000, 0x3000),
        ]);
    }),
    ("rtc_beyond", Task, || {
        // SAFETY: refused.
        unsafe { sdk::system_rtc_mem_read(190, MEMORY.0.get().cast(), 12) };
    }),
    ("rtc_bytes", Task, || {
        // SAFETY: refused.
        unsafe { sdk::system_rtc_mem_write(100, MEMORY.0.get().cast(), 3) };
    }),
    ("heap_foreign", Task, || free(MEMORY.0.get().cast())),
    ("heap_twice", Task, || {
        let memory = allocate(16);
        free(memory);
        free(memory);
    }),
    ("heap_behind", Task, || {
        let memory = allocate(16);
        // SAFETY: in the heap.
        unsafe { memory.cast::<u32>().add(5).write(0) };
        free(memory);
    }),
    ("heap_far_behind", Task, || {
        let memory = allocate(16);
        // SAFETY: in the heap.
        unsafe { memory.cast::<u8>().write_bytes(0, 64) };
        allocate(4096);
    }),
    ("heap_interrupt", Interrupt, || free(allocate(16))),
    ("heap_masked", Masked, || free(allocate(16))),
    ("buffer_foreign", Task, || {
        // SAFETY: refused.
        unsafe { sdk::system_pp_recycle_rx_pkt(MEMORY.0.get().cast()) };
    }),
    ("buffer_twice", Task, || {
        // SAFETY: refused.
        unsafe { sdk::system_pp_recycle_rx_pkt(frames::buffer()) };
    }),
    ("frame_headroom", Task, || {
        send(|_, frame| frame.payload = frame.payload.wrapping_sub(4));
    }),
    ("frame_short", Task, || {
        send(|_, frame| (frame.length, frame.total) = (13, 13));
    }),
    ("frame_parts", Task, || send(|_, frame| frame.total += 1)),
    ("frame_gone", Task, || {
        send(|netif, _| netif.number = sdk::STATION);
    }),
    ("frame_nowhere", Task, || {
        send(|netif, frame| {
            if let Some(output) = netif.linkoutput {
                // SAFETY: refused.
                unsafe { output(null_mut(), frame) };
            }
        });
    }),
    ("wifi_mode", Task, || {
        sdk::wifi_set_opmode_current(4);
    }),
    ("wifi_power", Task, || sdk::system_phy_set_max_tpw(83)),
    ("wifi_auto_connect", Task, || {
        sdk::wifi_station_set_auto_connect(0);
    }),
    ("wifi_no_station", Task, || {
        sdk::wifi_station_dhcpc_stop();
    }),
    ("wifi_left_alone", Task, || {
        open_radio();
        sdk::wifi_set_opmode_current(sdk::STATION_MODE);
        sdk::wifi_station_set_auto_connect(1);
        wifi::started();
    }),
    ("wifi_access_point", Task, || {
        access_point(|config| config.channel = 14)
    }),
    ("wifi_config_masked", Masked, || {
        // SAFETY: refused.
        unsafe { sdk::wifi_station_set_config_current(null_mut()) };
    }),
    ("wifi_sleep", Task, || {
        sdk::wifi_set_sleep_type(1);
    }),
    ("wifi_sleep_kind", Task, || sdk::wifi_fpm_set_sleep_type(1)),
    ("wifi_sleep_not_open", Task, || {
        open_radio();
        sdk::wifi_fpm_do_sleep(sdk::FOR_EVER);
    }),
    ("wifi_wake_by_mode", Task, || {
        sdk::wifi_set_opmode_current(sdk::STATION_MODE);
    }),
    ("wifi_close_asleep", Task, || sdk::wifi_fpm_close()),
    ("uart_empty", Task, || {
        // What has been typed is there until it is read.
        for _ in 0..4 * uart::FIFO_BYTES {
            Mapped.read(uart::FIFO);
        }
    }),
    ("uart_full", Task, || {
        // Some leave meanwhile.
        for _ in 0..4 * uart::FIFO_BYTES {
            Mapped.write(uart::FIFO, 0);
        }
    }),
    ("uart_unknown", Task, || {
        Mapped.read(uart::FIFO + 0x3c);
    }),
    ("uart_unknown_write", Task, || {
        Mapped.write(uart::FIFO + 0x3c, 0)
    }),
    // Until somebody types.
    ("uart_not_quieted", Task, || {
        // SAFETY: handles nothing.
        unsafe { sdk::ets_isr_attach(5, nothing, null_mut()) };
    }),
    ("uart_hasty", Task, || {
        // SAFETY: comes to no end.
        unsafe { sdk::ets_isr_attach(5, hasty, null_mut()) };
    }),
    ("interrupt_unknown", Task, || {
        // SAFETY: refused.
        unsafe { sdk::ets_isr_attach(4, nothing, null_mut()) };
    }),
    ("interrupt_mask_unknown", Task, || {
        sdk::ets_isr_unmask(1 << 4)
    }),
    ("exception_unknown", Task, || {
        // SAFETY: refused.
        unsafe { sdk::_xtos_set_exception_handler(64, Some(no_exception)) };
    }),
    ("exception_unhandled", Task, || {
        // SAFETY: it is not: the word is none, and its cause has the handler of one that nobody handles.
        unsafe {
            let unhandled = sdk::_xtos_set_exception_handler(1, None);
            sdk::_xtos_set_exception_handler(9, unhandled);
            core::hint::black_box((0x3ffe_8001 as *const u32).read_volatile());
        }
    }),
];

fn ordered() -> Option<&'static (&'static str, Who, fn())> {
    let name = words().misuse;
    ALL.iter().find(|(known, ..)| *known == name)
}

/// Does what was ordered, once all is started.
pub fn at_start() {
    match ordered() {
        Some((_, Task, misuse)) => misuse(),
        Some((_, Masked, misuse)) => critical_section::with(|_| misuse()),
        Some((_, Interrupt, _)) => {}
        None if words().misuse.is_empty() => {}
        None => {
            for (name, ..) in ALL {
                say!("misuse={}", *name);
            }
            leave(status::UNUSABLE)
        }
    }
}

/// The same from an interrupt.
pub fn in_interrupt() {
    if let Some((_, Interrupt, misuse)) = ordered() {
        misuse();
    }
}
