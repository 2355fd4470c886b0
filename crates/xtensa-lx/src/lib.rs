//! Stand-in for `xtensa-lx` 0.7: the same names, for the lx106 alone, without inline assembly.
//!
//! A stock compiler refuses `asm!` for Xtensa, so the few instructions that Rust has no word for are functions in `asm/*.S`.
#![no_std]

pub mod interrupt;
pub mod mutex;
pub mod semihosting;
pub mod timer;

unsafe extern "C" {
    fn xtensa_lx_set_vecbase(base: *const u32);
    safe fn xtensa_lx_get_prid() -> u32;
    safe fn xtensa_lx_get_sp() -> *const u32;
    safe fn xtensa_lx_break();
}

/// Moves the exception vectors.
///
/// # Safety
/// There must be vectors at `base`, aligned to 256 bytes.
#[inline]
pub unsafe fn set_vecbase(base: *const u32) {
    // SAFETY: the caller's promise.
    unsafe { xtensa_lx_set_vecbase(base) }
}

/// The stack pointer.
#[inline]
pub fn get_stack_pointer() -> *const u32 {
    xtensa_lx_get_sp()
}

/// The core's number.
#[inline]
pub fn get_processor_id() -> u32 {
    xtensa_lx_get_prid()
}

/// Stops in the debugger, if one is attached.
#[inline]
pub fn debug_break() {
    xtensa_lx_break();
}
