//! A fault without a stack to take it on.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use xtensa_lx_rt::entry;

extern "C" {
    fn lose_the_stack() -> !;
}

#[entry]
fn main() -> ! {
    unsafe { lose_the_stack() }
}
