//! Time for embassy from the cycle counter.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;
use xtensa_lx::{interrupt, timer};

use crate::p1::value::divided_by_ten;

/// The comparator's interrupt.
pub(super) const INTERRUPT: u32 = 1 << 6;

/// 40 MHz: measured on this machine type against the PC's clock.
const CYCLES_PER_US: u32 = 40;

/// The counter wraps after 107 s and has to be looked at before; half of that also tells a deadline ahead from one passed.
const LONGEST_WAIT_US: u32 = (1 << 31) / CYCLES_PER_US;

struct Clock {
    /// The counter when `now` was last asked for.
    seen: u32,
    /// Cycles that do not make a microsecond yet.
    rest: u32,
    us: u64,
    alarms: Queue,
}

impl Clock {
    fn now(&mut self) -> u64 {
        let count = timer::get_cycle_count();
        // No overflow: the counter is looked at often enough.
        let cycles = count.wrapping_sub(self.seen) + self.rest;
        self.seen = count;
        let us = whole_us(cycles);
        self.rest = cycles - us * CYCLES_PER_US;
        self.us += u64::from(us);
        self.us
    }

    /// Wakes what is due and sets the comparator to the next alarm.
    fn wake_due(&mut self) {
        loop {
            let now = self.now();
            let next = self.alarms.next_expiration(now);
            let wait = next.saturating_sub(now).min(u64::from(LONGEST_WAIT_US)) as u32;
            let deadline = self.seen.wrapping_add(wait * CYCLES_PER_US);
            timer::set_ccompare0(deadline);
            // A deadline that has passed before it was set would be met on the counter's next round.
            if deadline.wrapping_sub(timer::get_cycle_count()) as i32 > 0 {
                return;
            }
        }
    }
}

/// Whole microseconds. The time is asked for several times per message, and a division is dear here.
fn whole_us(cycles: u32) -> u32 {
    const { assert!(CYCLES_PER_US == 4 * 10) }
    divided_by_ten(cycles >> 2).0
}

struct CycleCounter(Mutex<RefCell<Clock>>);

impl Driver for CycleCounter {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.0.borrow_ref_mut(cs).now())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut clock = self.0.borrow_ref_mut(cs);
            if clock.alarms.schedule_wake(at, waker) {
                clock.wake_due();
            }
        });
    }
}

time_driver_impl!(static DRIVER: CycleCounter = CycleCounter(Mutex::new(RefCell::new(Clock {
    seen: 0,
    rest: 0,
    us: 0,
    alarms: Queue::new(),
}))));

/// Lets alarms come.
pub(super) fn start() {
    on_interrupt();
    // SAFETY: the handler below quiets it.
    unsafe { interrupt::enable_mask(INTERRUPT) };
}

/// Handles the comparator's interrupt; setting the comparator quiets it.
pub(super) fn on_interrupt() {
    critical_section::with(|cs| DRIVER.0.borrow_ref_mut(cs).wake_due());
}
