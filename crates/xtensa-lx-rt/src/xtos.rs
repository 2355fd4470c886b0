//! What is entered into the ROM's table of exceptions.

/// The address of the handler of narrow loads and stores (`asm/xtos.S`), for cause 3. What is neither a narrow load from flash nor a narrow
/// store into IRAM it hands on to the ROM's wrapper of handlers in C.
pub fn narrow_load() -> usize {
    unsafe extern "C" {
        fn xtensa_lx_rt_xtos_narrow_load();
    }
    xtensa_lx_rt_xtos_narrow_load as *const () as usize
}
