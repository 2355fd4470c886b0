//! Console and end of the test images.
#![allow(dead_code)] // Each image uses some of it.

use xtensa_lx::semihosting;

pub fn say(text: &str) {
    let _ = semihosting::write(semihosting::STDOUT, text.as_bytes());
}

/// A line of `label` and eight hexadecimal digits.
pub fn say_hex(label: &str, value: u32) {
    say(label);
    let mut line = *b" ........\n";
    for (place, digit) in line[1..9].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (28 - 4 * place)) as usize & 0xf];
    }
    let _ = semihosting::write(semihosting::STDOUT, &line);
}

pub fn check(what: &str, holds: bool) {
    say(if holds { "ok    " } else { "WRONG " });
    say(what);
    say("\n");
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    say("panic\n");
    semihosting::exit(1)
}

#[no_mangle]
extern "C" fn __fault_write(bytes: *const u8, length: usize) {
    // SAFETY: the hook's contract.
    let _ = semihosting::write(semihosting::STDOUT, unsafe {
        core::slice::from_raw_parts(bytes, length)
    });
}

#[no_mangle]
extern "C" fn __fault_end() -> ! {
    semihosting::exit(3)
}
