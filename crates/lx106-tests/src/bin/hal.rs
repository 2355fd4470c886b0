//! esp8266-hal, unmodified: it links, and its registers are where the chip has them. The emulator has plain memory there.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use esp8266_hal::prelude::*;
use esp8266_hal::target::Peripherals;
use support::check;
use xtensa_lx::semihosting;

#[entry]
fn main() -> ! {
    let Some(peripherals) = Peripherals::take() else {
        check("the peripherals are free", false);
        semihosting::exit(1)
    };
    let pins = peripherals.GPIO.split();
    let mut led = pins.gpio2.into_push_pull_output();
    let Ok(()) = led.set_high();
    // GPIO_OUT_W1TS
    let set = unsafe { (0x6000_0304 as *const u32).read_volatile() };
    check("GPIO2 is set", set & 1 << 2 != 0);
    check(
        "the peripherals are given once",
        Peripherals::take().is_none(),
    );
    semihosting::exit(0)
}
