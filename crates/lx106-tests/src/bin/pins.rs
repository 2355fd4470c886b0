//! The ESP8266's outputs, by esp8266-hal unmodified. The emulator has plain memory in the place of registers: the last write stays.
#![no_std]
#![no_main]

#[path = "../../../../src/soc/esp8266/output.rs"]
mod output;
#[path = "../../../../src/soc/esp8266/pins.rs"]
mod pins;
#[path = "../support.rs"]
mod support;

use esp8266_hal::prelude::entry;
use output::Output;
use pins::{Gpio0, Gpio12, Gpio13, Gpio14, Gpio15, Gpio2, Gpio4, Gpio5, Nowhere, Start};
use support::check;
use xtensa_lx::semihosting;

/// Registers of the GPIO block and the pins' connections (ESP8266 Technical Reference, appendix).
const OUT_W1TS: u32 = 0x6000_0304;
const OUT_W1TC: u32 = 0x6000_0308;
const ENABLE_W1TS: u32 = 0x6000_0310;
const PIN0: u32 = 0x6000_0328;
const MUX: u32 = 0x6000_0800;

fn read(address: u32) -> u32 {
    // SAFETY: memory that nobody else uses.
    unsafe { (address as *const u32).read_volatile() }
}

fn write(address: u32, value: u32) {
    // SAFETY: as above.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Tries a pin whose connections are at `offset`, and which is a GPIO by `function` there.
fn try_out<P: Start>(number: u32, offset: u32, function: u32) {
    for on_is_high in [false, true] {
        for register in [OUT_W1TS, OUT_W1TC, ENABLE_W1TS] {
            write(register, 0);
        }
        // Pulled up, something else, open drain.
        write(MUX + offset, 1 << 7 | 1 << 8 | 3 << 4);
        write(PIN0 + 4 * number, 1 << 2);
        // SAFETY: one after the other.
        let mut pin = unsafe { P::start(on_is_high) };
        let bit = 1 << number;
        let (on, off) = match on_is_high {
            true => (OUT_W1TS, OUT_W1TC),
            false => (OUT_W1TC, OUT_W1TS),
        };
        check("it is off", read(off) == bit && read(on) == 0);
        check("it is an output", read(ENABLE_W1TS) == bit);
        check("it is a GPIO", read(MUX + offset) == function << 4);
        check("it drives both levels", read(PIN0 + 4 * number) == 0);
        write(off, 0);
        pin.set(true);
        check("it goes on", read(on) == bit && read(off) == 0);
        write(on, 0);
        pin.set(false);
        check("it goes off", read(off) == bit && read(on) == 0);
    }
}

#[entry]
fn main() -> ! {
    try_out::<Gpio0>(0, 0x34, 0);
    try_out::<Gpio2>(2, 0x38, 0);
    try_out::<Gpio4>(4, 0x3c, 0);
    try_out::<Gpio5>(5, 0x40, 0);
    try_out::<Gpio12>(12, 0x04, 3);
    try_out::<Gpio13>(13, 0x08, 3);
    try_out::<Gpio14>(14, 0x0c, 3);
    try_out::<Gpio15>(15, 0x10, 3);
    write(ENABLE_W1TS, 0);
    // SAFETY: it has no pin.
    unsafe { Nowhere::start(true) }.set(true);
    check("no pin is none", read(ENABLE_W1TS) == 0);
    semihosting::exit(0)
}
