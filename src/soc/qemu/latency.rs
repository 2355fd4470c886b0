//! How long it takes from the UART to the network card, by the cycle counter.

use core::sync::atomic::{AtomicU32, Ordering};

use xtensa_lx::timer;

/// Frames of this length carry a telegram's messages; acknowledgements and what keeps a connection alive are shorter.
const MESSAGES: usize = 200;

/// The counter when bytes were last fetched from the UART; 0 once messages have left since.
static FETCHED: AtomicU32 = AtomicU32::new(0);
static CYCLES: AtomicU32 = AtomicU32::new(0);

/// Bytes have been fetched from the UART.
pub(super) fn fetched() {
    FETCHED.store(timer::get_cycle_count() | 1, Ordering::Relaxed);
}

/// A frame of this length is handed to the network card.
pub(super) fn handed_over(length: usize) {
    let fetched = FETCHED.load(Ordering::Relaxed);
    if length >= MESSAGES && fetched != 0 {
        FETCHED.store(0, Ordering::Relaxed);
        CYCLES.store(
            timer::get_cycle_count().wrapping_sub(fetched),
            Ordering::Relaxed,
        );
    }
}

/// Cycles from the bytes that completed the last published telegram to its first frame.
pub(super) fn cycles() -> u32 {
    CYCLES.load(Ordering::Relaxed)
}
