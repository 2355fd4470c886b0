//! What stands in for the vendor's functions where the chip's own glue runs in the emulator: tasks, timers, heap, flash, radio, and the
//! receiver's registers.
//!
//! [`esp8266`](super::esp8266) is linked with this as it is linked with the libraries on a chip, by the names of functions that the
//! vendor's headers and the ROM have; `docs/esp8266.md` tells what that shows. Frames go over QEMU's network card, time is CCOUNT's,
//! flash and the RTC's memory are files. It is strict: what a chip would not forgive ends the emulator with a sentence and status 7.
//!
//! Its variables lie beside the chip's memory (`stand_in.x`), so that the glue finds what the chip would leave it.

mod console;
mod flash;
mod frames;
mod heap;
mod interrupts;
#[allow(dead_code)] // The emulated board uses all of it.
#[path = "../qemu/mac.rs"]
mod mac;
mod misuse;
mod rtc;
mod start;
mod tasks;
mod tick;
mod timers;
pub mod uart;
mod wifi;
mod words;

use core::cell::UnsafeCell;

/// Something of the stand-in's. Interrupts are masked while somebody looks at it.
struct Own<T>(UnsafeCell<T>);

// SAFETY: one core, whose interrupts are masked whenever it is used.
unsafe impl<T> Sync for Own<T> {}

impl<T> Own<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// `look` comes back to nothing of this.
    fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        critical_section::with(|_| {
            // SAFETY: nobody interrupts, and `look` comes here no second time.
            look(unsafe { &mut *self.0.get() })
        })
    }
}

/// What the emulator ends with.
mod status {
    /// A double exception, or a debugger's.
    pub const STOPPED: u8 = 3;
    /// A word cannot be used.
    pub const UNUSABLE: u8 = 4;
    /// The chip would be reset: start again.
    pub const RESET: u8 = 6;
    /// The glue did what a chip does not forgive.
    pub const REFUSED: u8 = 7;
    /// The power was cut where a word said so.
    pub const CUT: u8 = 9;
}

/// Tells what is so, in a line of its own.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = ufmt::uwriteln!(crate::soc::stand_in::console::Lines, $($text)*);
    }};
}

/// Tells what the chip would not forgive, and ends the emulator.
macro_rules! refuse {
    ($($text:tt)*) => {{
        let _ = ufmt::uwriteln!(crate::soc::stand_in::console::Lines, $($text)*);
        crate::soc::stand_in::start::leave(crate::soc::stand_in::status::REFUSED)
    }};
}

pub(self) use {refuse, say};

/// Only tasks may call most of the vendor's functions, and not while they mask interrupts: those let them in.
fn only_in_tasks(function: &str) {
    if interrupts::is_within() {
        refuse!("{} is called by an interrupt", function);
    }
    if xtensa_lx::interrupt::get_level() != 0 {
        refuse!("{} lets interrupts into a critical section", function);
    }
}
