//! What raises the same cause but is no narrow load from flash, nor a narrow store into IRAM: it is reported with all registers. The word on
//! the command line says which.
#![no_std]
#![no_main]

#[path = "../mirror.rs"]
mod mirror;
#[path = "../support.rs"]
mod support;

use mirror::{mirrored, pattern, run_with, FLASH, MASKED};
use support::{check, say_hex};
use xtensa_lx::semihosting;
use xtensa_lx_rt::entry;

extern "C" {
    static REFUSED: [u32; 7];
}

static mut RAM: u32 = 0;

const IRAM: u32 = 0x4010_0000;
const IRAM_LENGTH: u32 = 0x8000;

#[entry]
fn main() -> ! {
    mirror::install();
    let mut buffer = [0; 64];
    let word = semihosting::arguments(&mut buffer).and_then(|mut words| words.nth(1));
    let flash = FLASH.0.as_ptr() as u32;
    let ram = &raw const RAM as u32;
    let (case, address) = match word.map_or(&b""[..], |word| word.to_bytes()) {
        b"byte-in-ram" => (0, ram),
        b"odd-halfword" => (1, flash + 1),
        b"word" => (2, flash),
        b"short-word" => (3, flash),
        b"store-byte" => (4, flash + 3),
        b"store-halfword" => (5, flash + 2),
        b"store-word" => (6, flash),
        b"store-byte-in-rom" => (4, IRAM - 1),
        b"store-byte-behind-iram" => (4, IRAM + IRAM_LENGTH),
        b"store-odd-halfword" => (5, IRAM + 0x7ff1),
        b"store-word-in-iram" => (6, IRAM + 0x7ff0),
        _ => {
            check("a case", false);
            semihosting::exit(1)
        }
    };
    let mut stack = [0u32; 1024];
    let mut registers = pattern();
    registers[1] = stack.as_mut_ptr_range().end as u32;
    registers[4] = mirrored(address);
    let refused = &raw const REFUSED;
    let code = unsafe { (*refused)[case] };
    say_hex("place", code);
    say_hex("address", address);
    say_hex("stack", registers[1]);
    unsafe { run_with(&mut registers, code, MASKED) };
    check("not reached", false);
    semihosting::exit(1)
}
