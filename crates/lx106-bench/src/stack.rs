//! How deep the stack gets: painted before, looked at behind.

use xtensa_lx::get_stack_pointer;

const PAINT: u32 = 0x5AA5_C33C;

/// The painter's own frame, and some more, stays as it is.
const OWN: usize = 32;

unsafe extern "C" {
    static mut _stack_limit: u32;
}

/// The bytes of stack that `work` takes, and what it returns. Less than 32 is told as 32.
#[inline(never)]
pub fn depth<T>(work: impl FnOnce() -> T) -> (u32, T) {
    let top = get_stack_pointer().cast_mut();
    let limit = &raw mut _stack_limit;
    let painted = top.wrapping_sub(OWN);
    let mut word = limit;
    while word < painted {
        // SAFETY: between the last static and this function's frame there is nothing in use.
        unsafe { word.write_volatile(PAINT) };
        word = word.wrapping_add(1);
    }
    let result = work();
    let mut word = limit;
    // SAFETY: as above, for reading.
    while word < painted && unsafe { word.read_volatile() } == PAINT {
        word = word.wrapping_add(1);
    }
    ((top as usize - word as usize) as u32, result)
}
