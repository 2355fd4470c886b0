//! The cycle counter and its comparator.

unsafe extern "C" {
    safe fn xtensa_lx_get_ccount() -> u32;
    safe fn xtensa_lx_get_ccompare0() -> u32;
    safe fn xtensa_lx_set_ccompare0(cycle: u32);
}

/// The cycle at which the comparator raises its interrupt.
#[inline]
pub fn get_ccompare0() -> u32 {
    xtensa_lx_get_ccompare0()
}

/// Sets that cycle and quiets the interrupt.
#[inline]
pub fn set_ccompare0(cycle: u32) {
    xtensa_lx_set_ccompare0(cycle);
}

/// Cycles since reset, modulo 2³².
#[inline]
pub fn get_cycle_count() -> u32 {
    xtensa_lx_get_ccount()
}

/// Spins for so many cycles.
#[inline]
pub fn delay(clocks: u32) {
    let start = get_cycle_count();
    while get_cycle_count().wrapping_sub(start) < clocks {}
}
