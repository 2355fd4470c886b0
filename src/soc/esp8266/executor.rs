//! Runs embassy's tasks as one of the SDK's.
//!
//! The SDK's tasks do not interrupt each other, and the SDK works only between them: so the executor is polled once for each message
//! to its task, and goes on with another message when more is to be done.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw::Executor};
use static_cell::{ConstStaticCell, StaticCell};

use super::{
    port,
    sdk::{self, Event},
};
use crate::soc::lx106::stack;

/// The lowest that a user can have: nothing of the SDK's waits for us.
const PRIORITY: u8 = 0;
/// The ROM's number of that task: the SDK has two below it.
const TASK: u8 = PRIORITY + 2;

/// There is never more than one message.
const QUEUE: usize = 2;

/// Something has been woken since the executor last looked.
static PENDING: AtomicBool = AtomicBool::new(false);
/// There is a message, so that no other is needed; or no task yet that could have one.
static POSTED: AtomicBool = AtomicBool::new(true);

static EXECUTOR: StaticCell<Executor> = StaticCell::new();
static EVENTS: ConstStaticCell<[Event; QUEUE]> = ConstStaticCell::new(
    [Event {
        signal: 0,
        parameter: 0,
    }; QUEUE],
);

/// The executor, for the SDK's task; set once before that is made.
static mut RUNNING: Option<&'static Executor> = None;

/// embassy calls this when the executor has something to do: always in our own code, whose caller ends with [`kick`].
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Has the executor polled if something was woken: at the end of all that the SDK calls.
///
/// Not within a critical section: the ROM lets interrupts in.
pub fn kick() {
    if PENDING.load(Ordering::Acquire) {
        post();
    }
}

/// Has the executor polled: from interrupts, too. It and all that it calls is in IRAM or ROM.
#[unsafe(link_section = ".iram.post")]
#[inline(never)]
pub extern "C" fn post() {
    if POSTED.load(Ordering::Acquire) {
        return;
    }
    POSTED.store(true, Ordering::Release);
    let state = xtensa_lx::interrupt::mask();
    if sdk::ets_post(TASK, 0, 0) != 0 {
        POSTED.store(false, Ordering::Release);
    }
    // SAFETY: the state from above; the ROM has let interrupts in.
    unsafe { xtensa_lx::interrupt::restore(state) };
}

/// Spawns what `start` does, and runs it from now on.
pub fn run(start: impl FnOnce(Spawner)) {
    let executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    start(executor.spawner());
    // SAFETY: the task that reads it is made below.
    unsafe { (&raw mut RUNNING).write(Some(executor)) };
    let events = EVENTS.take();
    // SAFETY: the queue lives for ever, and has so many places.
    let made = unsafe { sdk::system_os_task(poll, PRIORITY, events.as_mut_ptr(), QUEUE as u8) };
    // The SDK refuses a priority above 2 and a queue that is null or empty, and these are constants.
    assert!(made);
    POSTED.store(false, Ordering::Release);
    post();
}

/// The SDK's task.
extern "C" fn poll(_: *mut Event) {
    POSTED.store(false, Ordering::Release);
    PENDING.store(false, Ordering::Release);
    port::uart0().turn();
    // SAFETY: written before this task was made.
    if let Some(executor) = unsafe { (&raw const RUNNING).read() } {
        // SAFETY: never reentrant, since tasks of the SDK do not interrupt each other.
        unsafe { executor.poll() };
    }
    // What was below it cannot be trusted any more: better a reset than wrong readings.
    assert!(!stack::is_used_up());
    kick();
}
