//! Stand-in for `xtensa-lx-rt` 0.12: start-up, exceptions and interrupts of the lx106, without inline assembly.
//!
//! Feature `vectors` brings the vectors (`asm/vectors.S`), the entry `_start` and the linker script `link.x`; the chip's vendor libraries
//! have their own. `link.x` includes `board.x`, where the board lays out its memories.
#![no_std]

pub mod exception;
mod fault;

pub use xtensa_lx_rt_proc_macros::{entry, exception, interrupt, pre_init};

/// Clears the words from `start` to `end`.
///
/// # Safety
/// Nobody may use the memory between them yet; both are addresses of words.
pub unsafe fn zero_bss(start: *mut u32, end: *mut u32) {
    let mut word = start;
    while word < end {
        // SAFETY: between the two, see above. Volatile: the compiler would make a call to `memset` of this, which is fine, and
        // `memset` of a loop like this one.
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

/// Prepares the memory and runs what `#[entry]` marks.
///
/// # Safety
/// Once, by the start-up code, with a stack.
#[unsafe(no_mangle)]
#[allow(non_snake_case)] // The name that esp8266-hal calls.
pub unsafe extern "C" fn Reset() -> ! {
    unsafe extern "C" {
        static mut _bss_start: u32;
        static mut _bss_end: u32;
        static mut _data_start: u32;
        static mut _data_end: u32;
        static _sidata: u32;
    }
    unsafe extern "Rust" {
        fn __pre_init();
    }
    unsafe extern "C" {
        fn main() -> !;
    }
    // SAFETY: nothing runs yet that could use this memory, and the linker script defines the bounds as words.
    unsafe {
        __pre_init();
        zero_bss(&raw mut _bss_start, &raw mut _bss_end);
        // An emulator or a ROM loads data where it belongs.
        if &raw const _sidata != &raw const _data_start {
            init_data(&raw mut _data_start, &raw mut _data_end, &raw const _sidata);
        }
        main()
    }
}

#[unsafe(no_mangle)]
extern "Rust" fn xtensa_lx_rt_no_pre_init() {}
