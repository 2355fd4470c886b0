//! The report of a fault: cause, place and registers, on a console that the image names.
//!
//! Hooks: `__fault_write(bytes, length)` prints, `__fault_end() -> !` resets or ends the emulator.

use crate::exception::Context;

unsafe extern "C" {
    fn __fault_write(bytes: *const u8, length: usize);
    fn __fault_end() -> !;
}

fn text(text: &str) {
    // SAFETY: the hook reads these bytes and no other.
    unsafe { __fault_write(text.as_ptr(), text.len()) }
}

fn hex(value: u32) {
    let mut digits = [0; 8];
    for (place, digit) in digits.iter_mut().enumerate() {
        let nibble = (value >> (28 - 4 * place)) as u8 & 0xf;
        *digit = match nibble {
            0..=9 => b'0' + nibble,
            _ => b'a' - 10 + nibble,
        };
    }
    // SAFETY: as above.
    unsafe { __fault_write(digits.as_ptr(), digits.len()) }
}

fn decimal(value: u32) {
    if value > 9 {
        decimal(value / 10);
    }
    let digit = b'0' + (value % 10) as u8;
    // SAFETY: as above.
    unsafe { __fault_write(&digit, 1) }
}

fn cause(number: u32) -> &'static str {
    match number {
        0 => "illegal instruction",
        1 => "system call",
        2 => "fetch error",
        3 => "load or store error",
        4 => "interrupt without a handler",
        6 => "division by zero",
        8 => "privileged instruction",
        9 => "unaligned load or store",
        14 => "fetch from nowhere",
        15 => "load or store to nowhere",
        20 => "fetch prohibited",
        28 => "load prohibited",
        29 => "store prohibited",
        _ => "exception",
    }
}

/// One line with cause, pc and address; four with the registers.
fn report(whence: &str, what: &str, number: u32, frame: &Context) -> ! {
    text("Fault");
    text(whence);
    text(": ");
    text(what);
    text(" (cause ");
    decimal(number);
    text(") at pc ");
    hex(frame.PC);
    text(", ps ");
    hex(frame.PS);
    text(", sar ");
    hex(frame.SAR);
    text(", address ");
    hex(frame.EXCVADDR);
    for (number, value) in (0u32..).zip(frame.A) {
        text(match number % 4 {
            0 => "\na",
            _ => "  a",
        });
        decimal(number);
        text(if number < 10 { "  " } else { " " });
        hex(value);
    }
    text("\n");
    // SAFETY: it has no conditions.
    unsafe { __fault_end() }
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_fault(number: u32, frame: &Context) -> ! {
    report("", cause(number), number, frame)
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_double_fault(number: u32, frame: &Context) -> ! {
    report(
        " while an exception was being taken",
        cause(number),
        number,
        frame,
    )
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_nmi_fault(number: u32, frame: &Context) -> ! {
    report(
        "",
        "non-maskable interrupt without a handler",
        number,
        frame,
    )
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_debug_fault(number: u32, frame: &Context) -> ! {
    report("", "breakpoint without a debugger", number, frame)
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_unhandled_interrupt(_level: u32, frame: &Context) -> ! {
    report("", cause(4), 4, frame)
}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_discard(_bytes: *const u8, _length: usize) {}

#[unsafe(no_mangle)]
extern "C" fn xtensa_lx_rt_halt() -> ! {
    loop {
        // Masked, so that nothing wakes what has failed.
        xtensa_lx::interrupt::mask();
    }
}

/// What an interrupt of esp8266-hal does when nobody handles it.
#[unsafe(no_mangle)]
extern "C" fn __default_interrupt(_frame: &Context) {}
