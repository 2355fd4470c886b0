//! From the start-up code to the image's own.

use crate::{init_data, zero_bss};

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
