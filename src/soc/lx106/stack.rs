//! How deep the stack has ever been.
#![allow(unsafe_code)] // Looks at the stack's memory.

use xtensa_lx::get_stack_pointer;

/// What no code leaves behind by chance.
const PAINT: u32 = 0x5AC4_5AC4;

/// Below the painting function's own frame nothing lives, but an interrupt may come.
const MARGIN: usize = 512;

unsafe extern "C" {
    static mut _stack_limit: u32;
    static _stack_end: u32;
    // What somebody else writes to in there now and then; none of it, where both are the same.
    static _stack_hole_start: u32;
    static _stack_hole_end: u32;
}

/// Paints what is free of the stack: early, and again to see how deep it goes from then on.
pub fn paint() {
    let mut place = &raw mut _stack_limit;
    let end = get_stack_pointer() as usize - MARGIN;
    while (place as usize) < end {
        // SAFETY: between the end of all data and the stack's end nobody else has anything.
        unsafe {
            place.write_volatile(PAINT);
            place = place.add(1);
        }
    }
}

/// Whether the stack has, since the last [`paint`], been so deep that what lies below it may be overwritten.
pub fn is_used_up() -> bool {
    // SAFETY: a word of the stack's memory.
    unsafe { (&raw const _stack_limit).read_volatile() != PAINT }
}

/// The most bytes that were in use since the last [`paint`].
pub fn high_water() -> u32 {
    let end = (&raw const _stack_end) as usize;
    let hole = (&raw const _stack_hole_start)..(&raw const _stack_hole_end);
    let mut place = (&raw const _stack_limit).cast::<u32>();
    // SAFETY: the linker script gives the stack whole words between the two.
    while (place as usize) < end
        && (hole.contains(&place) || unsafe { place.read_volatile() } == PAINT)
    {
        place = place.wrapping_add(1);
    }
    (end - place as usize) as u32
}
