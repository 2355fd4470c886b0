//! The SDK's timers: a list, looked through by a task of its own.

use core::{ffi::c_void, ptr::null_mut};

use super::{Own, only_in_tasks, refuse, tasks, tick};
use crate::soc::esp8266::sdk::{Event, Timer};

/// What `next` is while the timer is in no list.
const NOT_LISTED: *mut Timer = usize::MAX as *mut Timer;

/// The vendor's limit.
const LONGEST_MS: u32 = 6_870_947;

struct List {
    first: *mut Timer,
    is_posted: bool,
}

#[unsafe(link_section = ".stand_in.timers")]
static LIST: Own<List> = Own::new(List {
    first: null_mut(),
    is_posted: false,
});

#[unsafe(link_section = ".stand_in.timers.queue")]
static QUEUE: Own<[Event; 2]> = Own::new(
    [Event {
        signal: 0,
        parameter: 0,
    }; 2],
);

/// Microseconds to ticks.
fn ticks(us: u64) -> u32 {
    (us * 5 / 16) as u32
}

/// Makes the task.
pub fn start() {
    // SAFETY: a static.
    unsafe { tasks::make(serve, tasks::TIMERS, QUEUE.0.get().cast(), 2) };
}

impl List {
    fn unlink(&mut self, timer: *mut Timer) -> bool {
        let mut link = &raw mut self.first;
        // SAFETY: the timers in the list are alive until they are disarmed.
        unsafe {
            while !(*link).is_null() {
                if *link == timer {
                    *link = (*timer).next;
                    (*timer).next = NOT_LISTED;
                    return true;
                }
                link = &raw mut (**link).next;
            }
        }
        false
    }

    /// Puts it behind those that are due before.
    fn link(&mut self, timer: *mut Timer) {
        let mut link = &raw mut self.first;
        // SAFETY: as above.
        unsafe {
            while !(*link).is_null() && (**link).expire.wrapping_sub((*timer).expire) as i32 <= 0 {
                link = &raw mut (**link).next;
            }
            (*timer).next = *link;
            *link = timer;
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn ets_timer_disarm(timer: *mut Timer) {
    only_in_tasks("ets_timer_disarm");
    LIST.with(|list| list.unlink(timer));
}

#[unsafe(no_mangle)]
pub extern "C" fn ets_timer_setfn(
    timer: *mut Timer,
    function: extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    only_in_tasks("ets_timer_setfn");
    if LIST.with(|list| list.unlink(timer)) {
        refuse!("ets_timer_setfn with an armed timer: the list would end there");
    }
    // SAFETY: the caller's.
    unsafe {
        (*timer).function = Some(function);
        (*timer).argument = argument;
        (*timer).next = NOT_LISTED;
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn ets_timer_arm_new(timer: *mut Timer, time: u32, repeats: bool, in_ms: bool) {
    only_in_tasks("ets_timer_arm_new");
    // SAFETY: the caller's.
    if unsafe { (*timer).function }.is_none() {
        refuse!("ets_timer_arm_new with a timer that has no function");
    }
    if time == 0 || (in_ms && time > LONGEST_MS) {
        refuse!("ets_timer_arm_new with a time of {}", time);
    }
    let us = u64::from(time) * if in_ms { 1000 } else { 1 };
    let now = ticks(tick::now_us());
    LIST.with(|list| {
        list.unlink(timer);
        // SAFETY: the caller's.
        unsafe {
            (*timer).expire = now.wrapping_add(ticks(us));
            (*timer).period = if repeats { ticks(us) } else { 0 };
        }
        list.link(timer);
    });
}

/// From the interrupt: sends the task a message when a timer is due.
pub fn look() {
    let now = ticks(tick::now_us());
    let is_due = LIST.with(|list| {
        let is_due = list.is_due(now) && !list.is_posted;
        list.is_posted |= is_due;
        is_due
    });
    if is_due {
        tasks::post(tasks::TIMERS, 0, 0);
    }
}

impl List {
    fn is_due(&self, now: u32) -> bool {
        // SAFETY: as above.
        unsafe { self.first.as_ref() }
            .is_some_and(|first| now.wrapping_sub(first.expire) as i32 >= 0)
    }
}

/// The task: calls what is due.
extern "C" fn serve(_: *mut Event) {
    LIST.with(|list| list.is_posted = false);
    loop {
        let now = ticks(tick::now_us());
        let due = LIST.with(|list| {
            let timer = list.first;
            if !list.is_due(now) {
                return None;
            }
            list.unlink(timer);
            // SAFETY: it was in the list.
            let (function, argument, period) =
                unsafe { ((*timer).function, (*timer).argument, (*timer).period) };
            if period > 0 {
                // SAFETY: as above.
                unsafe { (*timer).expire = now.wrapping_add(period) };
                list.link(timer);
            }
            Some((function?, argument))
        });
        let Some((function, argument)) = due else {
            return;
        };
        function(argument);
    }
}
