//! A mutex for what interrupt handlers and the rest share.

use core::cell::UnsafeCell;

pub use mutex_trait::{self, Mutex};

/// Data that is accessed with interrupts masked.
///
/// Right on a single core only.
#[derive(Default)]
pub struct CriticalSectionMutex<T> {
    data: UnsafeCell<T>,
}

impl<T> CriticalSectionMutex<T> {
    /// Wraps `data`.
    pub const fn new(data: T) -> Self {
        Self {
            data: UnsafeCell::new(data),
        }
    }
}

impl<T> Mutex for &'_ CriticalSectionMutex<T> {
    type Data = T;

    fn lock<R>(&mut self, f: impl FnOnce(&mut Self::Data) -> R) -> R {
        // SAFETY: interrupts are masked, so nobody else runs; `f` cannot lock again, since it has no other way to the data than through
        // `self`, which is borrowed.
        crate::interrupt::free(|_| f(unsafe { &mut *self.data.get() }))
    }
}

// SAFETY: `lock` is the only access. The data may be taken over by an interrupt handler, hence `Send`.
unsafe impl<T: Send> Sync for CriticalSectionMutex<T> {}
