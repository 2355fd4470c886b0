//! Stand-in for `xtensa-lx-rt` 0.12: start-up, exceptions and interrupts of the lx106, without inline assembly.
//!
//! Feature `vectors` brings the vectors (`asm/vectors.S`), the entry `_start` and the linker script `link.x`; the chip's vendor libraries
//! have their own: for those, feature `xtos` has the handler of narrow loads and stores alone. `link.x` includes `board.x`, where the board lays out its memories.
#![no_std]

pub mod exception;
// It and the start-up need symbols of an image.
#[cfg(all(target_arch = "xtensa", not(feature = "xtos")))]
mod fault;
#[cfg(target_arch = "xtensa")]
mod start;
#[cfg(all(target_arch = "xtensa", feature = "xtos"))]
mod xtos;

#[cfg(target_arch = "xtensa")]
pub use start::Reset;
pub use xtensa_lx_rt_proc_macros::{entry, exception, interrupt, pre_init};
#[cfg(all(target_arch = "xtensa", feature = "xtos"))]
pub use xtos::narrow_load;

/// Clears the words from `start` to `end`.
///
/// # Safety
/// Nobody may use the memory between them yet; both are addresses of words.
pub unsafe fn zero_bss(start: *mut u32, end: *mut u32) {
    let mut word = start;
    while word < end {
        // SAFETY: between the two, see above. Volatile, so that it stays a loop and needs nothing else while memory is not in order.
        unsafe {
            word.write_volatile(0);
            word = word.add(1);
        }
    }
}

/// Copies words from `source` on to those from `start` to `end`.
///
/// # Safety
/// As for [`zero_bss`]; there must be as many words at `source`.
pub unsafe fn init_data(start: *mut u32, end: *mut u32, source: *const u32) {
    let mut word = start;
    let mut source = source;
    while word < end {
        // SAFETY: see above.
        unsafe {
            word.write_volatile(source.read_volatile());
            word = word.add(1);
            source = source.add(1);
        }
    }
}
