//! Interrupts from CCOMPARE: they come, on time, and leave no trace in what they interrupt.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use core::sync::atomic::{AtomicU32, Ordering};

use support::{check, say_hex};
use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::{entry, exception::Context};

const CCOMPARE: u32 = 1 << 6;
const PERIOD: u32 = 2_000;

static SEEN: AtomicU32 = AtomicU32::new(0);
static LEVEL: AtomicU32 = AtomicU32::new(0);
static PC: AtomicU32 = AtomicU32::new(0);
static DONE: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(0);

extern "C" {
    fn hold_registers(flag: *const u32) -> u32;
}

#[xtensa_lx_rt::interrupt]
fn on_timer(level: u32, frame: Context) {
    let seen = SEEN.load(Ordering::Relaxed) + 1;
    SEEN.store(seen, Ordering::Relaxed);
    LEVEL.store(level, Ordering::Relaxed);
    PC.store(frame.PC, Ordering::Relaxed);
    if seen == MOST.load(Ordering::Relaxed) {
        DONE.store(1, Ordering::Relaxed);
        interrupt::disable_mask(CCOMPARE);
    }
    timer::set_ccompare0(timer::get_cycle_count().wrapping_add(PERIOD));
}

fn start(most: u32) {
    SEEN.store(0, Ordering::Relaxed);
    DONE.store(0, Ordering::Relaxed);
    MOST.store(most, Ordering::Relaxed);
    timer::set_ccompare0(timer::get_cycle_count().wrapping_add(PERIOD));
    unsafe { interrupt::enable_mask(CCOMPARE) };
}

#[entry]
fn main() -> ! {
    start(100);
    let changed = unsafe { hold_registers(DONE.as_ptr()) };
    check("no register changed", changed == 0);
    if changed != 0 {
        say_hex("changed registers, bit 16 is SAR:", changed);
    }
    check("100 interrupts", SEEN.load(Ordering::Relaxed) == 100);
    check("on level 1", LEVEL.load(Ordering::Relaxed) == 1);
    let place = hold_registers as *const () as u32;
    let offset = PC.load(Ordering::Relaxed).wrapping_sub(place);
    check("the context names the place", offset < 300);

    let begin = timer::get_cycle_count();
    start(1);
    while DONE.load(Ordering::Relaxed) == 0 {
        interrupt::mask();
        if DONE.load(Ordering::Relaxed) == 0 {
            interrupt::wait();
        }
    }
    let slept = timer::get_cycle_count().wrapping_sub(begin);
    check("asleep until the interrupt", slept >= PERIOD);
    semihosting::exit(0)
}
