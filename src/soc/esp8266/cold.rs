//! What is seldom used lies in IRAM, in statics of the section `.bss.cold`: `link.x` has the place, the board's file the sum.
//!
//! There the core stores words only; each narrower load or store costs an exception of 50 to 77 instructions, and copying writes words
//! whose other bytes stay. So nothing lies there that runs for each byte or value of a telegram, that an interrupt writes, or that the
//! vendor's libraries use.

use core::{mem::MaybeUninit, pin::Pin};

/// Room for a future, which lies in the task's own static otherwise.
#[repr(align(8))]
pub struct Room<const BYTES: usize> {
    /// Written by [`pin`] only.
    _bytes: MaybeUninit<[u8; BYTES]>,
}

/// The bytes of the future that a function makes.
pub const fn size<A, B, F>(_: fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// Has a future in its room for ever.
#[inline(always)]
pub fn pin<F: Future + 'static, const BYTES: usize>(
    room: &'static mut MaybeUninit<Room<BYTES>>,
    future: F,
) -> Pin<&'static mut F> {
    const { assert!(size_of::<F>() <= BYTES && align_of::<F>() <= align_of::<Room<BYTES>>()) };
    let place = room.as_mut_ptr().cast::<F>();
    // SAFETY: there is room, see above, which nobody else has, and from which the future is never moved.
    unsafe {
        place.write(future);
        Pin::new_unchecked(&mut *place)
    }
}

/// Clears all that lies there, as libmain does what lies in data memory.
pub fn clear() {
    unsafe extern "C" {
        static mut _cold_start: u32;
        static mut _cold_end: u32;
    }
    // SAFETY: the linker's, from word to word; libmain calls us before anybody uses them.
    unsafe { xtensa_lx_rt::zero_bss(&raw mut _cold_start, &raw mut _cold_end) };
}
