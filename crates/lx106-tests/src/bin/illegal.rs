//! An illegal instruction that nobody handles: the report.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use xtensa_lx::semihosting;
use xtensa_lx_rt::entry;

extern "C" {
    fn do_something_illegal();
}

#[entry]
fn main() -> ! {
    support::say_hex("function", do_something_illegal as *const () as u32);
    unsafe { do_something_illegal() };
    semihosting::exit(0)
}
