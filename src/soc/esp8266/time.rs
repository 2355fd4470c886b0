//! Time for embassy from the SDK's microseconds, and alarms by one of its timers.

use core::{cell::RefCell, ffi::c_void, task::Waker};

use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::Queue;

use super::{
    executor,
    sdk::{self, Timer},
};

/// The SDK's microseconds wrap after 71 minutes and have to be looked at before; its timers take up to 113 minutes.
const LONGEST_WAIT_MS: u64 = 30 * 60 * 1000;

struct Clock {
    /// The SDK's microseconds when `now` was last asked for.
    seen: u32,
    us: u64,
    alarms: Queue,
}

impl Clock {
    fn now(&mut self) -> u64 {
        let count = sdk::system_get_time();
        self.us += u64::from(count.wrapping_sub(self.seen));
        self.seen = count;
        self.us
    }

    /// Wakes what is due, and returns the milliseconds until the next is.
    fn wake_due(&mut self) -> u32 {
        loop {
            let now = self.now();
            let next = self.alarms.next_expiration(now);
            if next > now {
                return whole_ms(next - now).min(LONGEST_WAIT_MS) as u32;
            }
        }
    }
}

/// Milliseconds that are not too few.
fn whole_ms(us: u64) -> u64 {
    // A division of 64 bits is dear, and one of 32 is enough for all that is not cut off anyway.
    match u32::try_from(us) {
        Ok(us) => u64::from(us.div_ceil(1000)),
        Err(_) => LONGEST_WAIT_MS,
    }
}

/// Only tasks of the SDK use it, ours and that of its timers; they do not interrupt each other.
struct SdkTime(Mutex<RefCell<Clock>>);

/// The SDK's timer.
struct Alarm(core::cell::UnsafeCell<Timer>);

// SAFETY: as for `SdkTime`.
unsafe impl Sync for Alarm {}

static ALARM: Alarm = Alarm(core::cell::UnsafeCell::new(Timer::new()));

impl Driver for SdkTime {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.0.borrow_ref_mut(cs).now())
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        let wait = critical_section::with(|cs| {
            let mut clock = self.0.borrow_ref_mut(cs);
            let is_next = clock.alarms.schedule_wake(at, waker);
            is_next.then(|| clock.wake_due())
        });
        if let Some(wait) = wait {
            arm(wait);
        }
    }
}

time_driver_impl!(static DRIVER: SdkTime = SdkTime(Mutex::new(RefCell::new(Clock {
    seen: 0,
    us: 0,
    alarms: Queue::new(),
}))));

/// The SDK lets interrupts in when it is done, so not within a critical section.
fn arm(wait_ms: u32) {
    // SAFETY: the timer lives for ever; the SDK alone looks into it.
    unsafe {
        sdk::ets_timer_disarm(ALARM.0.get());
        sdk::ets_timer_arm_new(ALARM.0.get(), wait_ms.max(1), false, true);
    }
}

/// Lets alarms come.
pub fn start() {
    // SAFETY: as above; it is not armed.
    unsafe {
        sdk::ets_timer_disarm(ALARM.0.get());
        sdk::ets_timer_setfn(ALARM.0.get(), on_alarm, core::ptr::null_mut());
    }
    on_alarm(core::ptr::null_mut());
}

/// The SDK's task for timers comes here.
extern "C" fn on_alarm(_: *mut c_void) {
    let wait = critical_section::with(|cs| DRIVER.0.borrow_ref_mut(cs).wake_due());
    arm(wait);
    executor::kick();
}
