//! What is entered into the ROM's table of exceptions.

/// The address of the handler of narrow loads (`asm/xtos.S`), for cause 3. What is no narrow load from flash it hands on to the ROM's
/// wrapper of handlers in C.
pub fn narrow_load() -> usize {
    unsafe extern "C" {
        fn xtensa_lx_rt_xtos_narrow_load();
    }
    xtensa_lx_rt_xtos_narrow_load as *const () as usize
}
