//! The RTC's memory, which outlives a reset but no loss of power, in a file; and all ways to a reset.

use core::ffi::c_void;

use xtensa_lx::timer;

use super::{Own, flash, refuse, say, start::leave, status, timers, words::words};
use crate::soc::esp8266::sdk::{ResetInfo, Timer};

/// Blocks of four bytes; the SDK's are the first 64.
const BLOCKS: u32 = 192;
const BYTES: usize = 4 * BLOCKS as usize;
/// Behind them in the file: whether the power was on all the time.
const POWERED: u32 = BYTES as u32;
const IS_POWERED: [u8; 4] = *b"RTC1";
const SIZE: u32 = POWERED + 4;

/// `enum rst_reason`, user_interface.h.
mod reason {
    pub const WATCHDOG: u32 = 1;
    pub const EXCEPTION: u32 = 2;
    pub const SOFT_WATCHDOG: u32 = 3;
    pub const RESTART: u32 = 4;
}

/// From `system_restart` to the reset.
const RESTART_MS: u32 = 100;

const NOTHING: ResetInfo = ResetInfo {
    reason: 0,
    cause: 0,
    epc1: 0,
    epc2: 0,
    epc3: 0,
    address: 0,
    depc: 0,
};

struct Rtc {
    file: u32,
    memory: [u32; BLOCKS as usize],
    info: ResetInfo,
}

#[unsafe(link_section = ".stand_in.rtc")]
static RTC: Own<Rtc> = Own::new(Rtc {
    file: 0,
    memory: [0; BLOCKS as usize],
    info: NOTHING,
});

#[unsafe(link_section = ".stand_in.rtc.timer")]
static RESTART: Own<Timer> = Own::new(Timer::new());

/// Words as the file has them.
fn bytes(memory: &mut [u32; BLOCKS as usize]) -> &mut [u8] {
    // SAFETY: words are bytes.
    unsafe { core::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), BYTES) }
}

/// Finds out why the chip starts, as libmain does. What was without power holds anything.
pub fn start() {
    let file = flash::open(words().rtc, SIZE);
    let mut powered = [0; 4];
    flash::get(file, POWERED, &mut powered);
    // Whoever ends the emulator cuts the power.
    flash::put(file, POWERED, &[0; 4]);
    RTC.with(|rtc| {
        rtc.file = file;
        if powered == IS_POWERED {
            flash::get(file, 0, bytes(&mut rtc.memory));
            // SAFETY: seven words.
            rtc.info = unsafe { rtc.memory.as_ptr().cast::<ResetInfo>().read() };
        } else {
            let mut noise = timer::get_cycle_count() | 1;
            for word in &mut rtc.memory {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                *word = noise;
            }
        }
        rtc.memory.iter_mut().take(7).for_each(|word| *word = 0);
    });
}

#[unsafe(no_mangle)]
extern "C" fn system_get_rst_info() -> *const ResetInfo {
    // SAFETY: written before the glue runs, and never again.
    unsafe { &raw const (*RTC.0.get()).info }
}

/// The words that a call is about.
fn range(function: &str, block: u8, length: u16) -> core::ops::Range<usize> {
    let words = usize::from(length).div_ceil(4);
    let start = usize::from(block);
    if start + words > BLOCKS as usize || !length.is_multiple_of(4) {
        refuse!("{}: {} bytes at block {}", function, length, block);
    }
    start..start + words
}

#[unsafe(no_mangle)]
unsafe extern "C" fn system_rtc_mem_read(block: u8, to: *mut c_void, length: u16) -> bool {
    let range = range("system_rtc_mem_read", block, length);
    RTC.with(|rtc| {
        let from = rtc.memory.get(range).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.cast(), from.len()) };
    });
    true
}

#[unsafe(no_mangle)]
unsafe extern "C" fn system_rtc_mem_write(block: u8, from: *const c_void, length: u16) -> bool {
    let range = range("system_rtc_mem_write", block, length);
    RTC.with(|rtc| {
        let to = rtc.memory.get_mut(range).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { core::ptr::copy_nonoverlapping(from.cast(), to.as_mut_ptr(), to.len()) };
    });
    true
}

/// Keeps why.
fn keep(info: ResetInfo) {
    RTC.with(|rtc| {
        // SAFETY: seven words.
        unsafe { rtc.memory.as_mut_ptr().cast::<ResetInfo>().write(info) };
    });
}

/// Resets, with the power on.
fn reset() -> ! {
    RTC.with(|rtc| {
        flash::put(rtc.file, 0, bytes(&mut rtc.memory));
        flash::put(rtc.file, POWERED, &IS_POWERED);
    });
    leave(status::RESET)
}

/// As libmain's way to each of its resets: of what was kept before only a fault stays, and all else is an ordinary restart.
fn restart_now() -> ! {
    let kept = RTC.with(|rtc| rtc.memory[0]);
    if !(reason::EXCEPTION..=reason::SOFT_WATCHDOG).contains(&kept) {
        keep(ResetInfo {
            reason: reason::RESTART,
            ..NOTHING
        });
    }
    reset()
}

/// As libmain's handler of faults: cause, place and address are kept for who asks after the reset.
pub fn reset_by_exception(cause: u32, pc: u32, address: u32) -> ! {
    say!("exception {} at {:x}, address {:x}", cause, pc, address);
    keep(ResetInfo {
        reason: reason::EXCEPTION,
        cause,
        epc1: pc,
        address,
        ..NOTHING
    });
    restart_now()
}

/// Nothing of the SDK's ran for too long: its watchdog (`pp_soft_wdt_feed_local`) writes 3 into a register, which the restart overwrites,
/// and keeps nothing.
pub fn reset_by_watchdog() -> ! {
    restart_now()
}

/// As libmain's handler of the hardware's watchdog (`wdt_feed`), which keeps where it was; the hardware then resets the chip.
pub fn reset_by_hardware(pc: u32) -> ! {
    keep(ResetInfo {
        reason: reason::WATCHDOG,
        epc1: pc,
        ..NOTHING
    });
    reset()
}

#[unsafe(no_mangle)]
extern "C" fn system_restart_local() {
    restart_now()
}

extern "C" fn restart(_: *mut c_void) {
    system_restart_local();
}

#[unsafe(no_mangle)]
extern "C" fn system_restart() {
    let timer = RESTART.0.get();
    timers::ets_timer_disarm(timer);
    timers::ets_timer_setfn(timer, restart, core::ptr::null_mut());
    timers::ets_timer_arm_new(timer, RESTART_MS, false, true);
}
