//! An illegal instruction that the image handles itself.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use support::check;
use xtensa_lx::semihosting;
use xtensa_lx_rt::{
    entry, exception,
    exception::{Context, ExceptionCause},
};

extern "C" {
    fn do_something_illegal();
}

#[exception]
fn on_exception(cause: ExceptionCause, frame: Context) {
    check("the cause", cause == ExceptionCause::Illegal);
    check("a4", frame.A[4] == 0x4444_4444);
    let offset = frame.PC - do_something_illegal as *const () as u32;
    check("the place", offset < 16);
    semihosting::exit(0)
}

#[entry]
fn main() -> ! {
    unsafe { do_something_illegal() };
    check("not reached", false);
    semihosting::exit(1)
}
