//! Runs tasks, and sleeps when there is nothing to do.
#![allow(unsafe_code)] // The raw executor of embassy has no safe way in.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw::Executor};
use xtensa_lx::interrupt;

use super::stack;

/// Something has been woken since the executor last looked.
static PENDING: AtomicBool = AtomicBool::new(false);

/// embassy calls this, also from interrupt handlers, when the executor has something to do.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Runs what `start` spawns, for ever.
pub fn run(start: impl FnOnce(Spawner)) -> ! {
    let executor = Executor::new(core::ptr::null_mut());
    // SAFETY: this function never returns, so its variables live for ever.
    let executor: &'static Executor = unsafe { &*&raw const executor };
    start(executor.spawner());
    loop {
        PENDING.store(false, Ordering::Release);
        // SAFETY: never reentrant, since the pender only leaves a note.
        unsafe { executor.poll() };
        // What was below it cannot be trusted any more: better a reset than wrong readings.
        assert!(!stack::is_used_up());
        let state = interrupt::mask();
        if PENDING.load(Ordering::Acquire) {
            // SAFETY: the state from above.
            unsafe { interrupt::restore(state) };
        } else {
            // What is raised from here on ends the sleep.
            interrupt::wait();
        }
    }
}
