//! Time for embassy on a PC: real, or virtual for a test.
//!
//! Virtual time belongs to a thread, not to the process, so that tests may run side by side: what
//! [`block_on_virtual`](super::executor::block_on_virtual) runs sees its own clock, everything else
//! the real one.
//!
//! Nothing here waits. The executors ask for what is due before they park, and park no longer
//! than until the next alarm.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;
use std::boxed::Box;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use embassy_time::{Duration, Instant};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

/// What [`utc_now_seconds`] says when a virtual clock shows 0: 2025-01-01 00:00:00 UTC.
pub const VIRTUAL_EPOCH: u64 = 1_735_689_600;

/// A source of ticks (1 us) with the alarms set on it.
pub(super) struct Clock {
    /// Ticks of a virtual clock; `None` follows the PC's monotonic clock.
    virtual_now: Option<AtomicU64>,
    alarms: Mutex<Queue>,
}

impl Clock {
    const fn new(virtual_now: Option<AtomicU64>) -> Self {
        Self {
            virtual_now,
            alarms: Mutex::new(Queue::new()),
        }
    }

    /// The clock that the calling thread sees.
    pub(super) fn current() -> &'static Self {
        // A thread that is being torn down has no thread-locals left, and no virtual time either.
        CURRENT.try_with(Cell::get).ok().flatten().unwrap_or(&REAL)
    }

    /// Whether the clock moves only when told to.
    pub(super) fn is_virtual(&self) -> bool {
        self.virtual_now.is_some()
    }

    /// Ticks since the clock started.
    pub(super) fn now(&self) -> u64 {
        static START: OnceLock<std::time::Instant> = OnceLock::new();
        match &self.virtual_now {
            Some(now) => now.load(Ordering::SeqCst),
            None => {
                let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
                u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
            }
        }
    }

    /// Wakes what is due and returns the tick of the next alarm, `u64::MAX` for none.
    pub(super) fn wake_due(&self) -> u64 {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.next_expiration(self.now())
    }

    /// Moves a virtual clock forward to `tick` and wakes what is due; the real clock stays.
    pub(super) fn advance_to(&self, tick: u64) {
        if let Some(now) = &self.virtual_now {
            now.fetch_max(tick, Ordering::SeqCst);
            self.wake_due();
        }
    }
}

static REAL: Clock = Clock::new(None);

std::thread_local! {
    static CURRENT: Cell<Option<&'static Clock>> = const { Cell::new(None) };
}

/// While it lives, the thread sees the clock it was made with.
pub(super) struct Entered(Option<&'static Clock>);

impl Entered {
    pub(super) fn new(clock: &'static Clock) -> Self {
        Self(CURRENT.replace(Some(clock)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

struct ThreadClock;

impl Driver for ThreadClock {
    fn now(&self) -> u64 {
        Clock::current().now()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // The executor that polls the caller asks for the next alarm before it parks, so nobody
        // needs to be told of an earlier one.
        let mut alarms = Clock::current()
            .alarms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        alarms.schedule_wake(at, waker);
    }
}

time_driver_impl!(static DRIVER: ThreadClock = ThreadClock);

/// A clock that starts at 0 and moves only by [`advance`](Self::advance), from any thread.
///
/// Each one made stays in memory until the process ends (about 100 bytes): tasks may hold alarms on
/// it at any time.
#[derive(Clone, Copy)]
pub struct VirtualClock(pub(super) &'static Clock);

impl VirtualClock {
    /// A new clock, at 0.
    #[must_use]
    #[allow(clippy::new_without_default)] // It leaks, which a `default()` should not.
    pub fn new() -> Self {
        Self(Box::leak(Box::new(Clock::new(Some(AtomicU64::new(0))))))
    }

    /// Moves the clock on and wakes everything due by then.
    pub fn advance(&self, by: Duration) {
        self.0
            .advance_to(self.0.now().saturating_add(by.as_ticks()));
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_ticks(self.0.now())
    }
}

/// Moves the virtual time of the calling thread on; does nothing in real time.
pub fn advance(by: Duration) {
    let clock = Clock::current();
    clock.advance_to(clock.now().saturating_add(by.as_ticks()));
}

/// Seconds since 1970-01-01 00:00:00 UTC by the PC's clock, or [`VIRTUAL_EPOCH`] onwards in virtual
/// time.
#[must_use]
pub fn utc_now_seconds() -> u64 {
    utc_now_milliseconds() / 1000
}

/// The same in milliseconds.
#[must_use]
pub fn utc_now_milliseconds() -> u64 {
    let clock = Clock::current();
    if clock.is_virtual() {
        return VIRTUAL_EPOCH * 1000 + Instant::from_ticks(clock.now()).as_millis();
    }
    // A PC whose clock is before 1970 has no idea of the date.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}
