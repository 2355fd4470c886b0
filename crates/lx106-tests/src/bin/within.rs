//! A fault in an interrupt handler: reported like any other.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::entry;

const CCOMPARE: u32 = 1 << 6;

extern "C" {
    fn do_something_illegal();
}

#[xtensa_lx_rt::interrupt]
fn on_timer() {
    unsafe { do_something_illegal() };
}

#[entry]
fn main() -> ! {
    support::say_hex("function", do_something_illegal as *const () as u32);
    unsafe { interrupt::enable_mask(CCOMPARE) };
    timer::set_ccompare0(timer::get_cycle_count().wrapping_add(1_000));
    interrupt::wait();
    semihosting::exit(0)
}
