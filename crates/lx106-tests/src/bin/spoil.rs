//! A handler that spoils what it may: the context, which is its argument, and the shift register.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering};

use support::{check, say_hex};
use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::{entry, exception::Context};

const CCOMPARE: u32 = 1 << 6;

static DONE: AtomicU32 = AtomicU32::new(0);
static SHIFTED: AtomicU32 = AtomicU32::new(0);

extern "C" {
    fn hold_registers(flag: *const u32) -> u32;
}

/// What `#[interrupt]` exports, with the context where the compiler's own code would write to it.
#[no_mangle]
extern "C" fn __level_1_interrupt(_level: u32, frame: &mut Context) {
    *frame = Context {
        PC: 0xdead_beef,
        PS: 0xdead_beef,
        A: [0xdead_beef; 16],
        SAR: 0xdead_beef,
        EXCCAUSE: 0,
        EXCVADDR: 0,
    };
    black_box(frame);
    SHIFTED.store(black_box(1u32) << black_box(5u32), Ordering::Relaxed);
    DONE.store(1, Ordering::Relaxed);
    interrupt::disable_mask(CCOMPARE);
}

#[entry]
fn main() -> ! {
    timer::set_ccompare0(timer::get_cycle_count().wrapping_add(2_000));
    unsafe { interrupt::enable_mask(CCOMPARE) };
    let changed = unsafe { hold_registers(DONE.as_ptr()) };
    check("no register changed", changed == 0);
    if changed != 0 {
        say_hex("changed registers, bit 16 is SAR:", changed);
    }
    check("the handler ran", SHIFTED.load(Ordering::Relaxed) == 32);
    semihosting::exit(0)
}
