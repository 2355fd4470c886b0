//! What the lx106 is everywhere, on a chip and emulated: one core, one level of interrupts.
#![allow(unsafe_code)] // Interrupts are masked here.

// The chip's is one of the tasks of its SDK.
#[cfg(not(soc = "esp8266"))]
pub mod executor;
pub mod net;
pub mod stack;

use xtensa_lx::interrupt;

struct CriticalSection;

critical_section::set_impl!(CriticalSection);

// SAFETY: one core, and all of its interrupts are masked between the two.
unsafe impl critical_section::Impl for CriticalSection {
    unsafe fn acquire() -> u32 {
        interrupt::mask()
    }

    unsafe fn release(state: u32) {
        // SAFETY: what `acquire` returned, in reverse order, as critical_section demands.
        unsafe { interrupt::restore(state) }
    }
}
