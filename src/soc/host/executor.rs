//! Runs a future on the calling thread.
//!
//! The timers of embassy-time keep their entry inside an embassy task, so the future has to run as
//! one. Each thread keeps one executor with one task, which lends itself to one future after the
//! other; several futures at a time are joined by the caller (`embassy_futures::join`).
#![allow(unsafe_code)] // The raw executor of embassy has no safe way in.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::mem::transmute;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::boxed::Box;
use std::sync::{Condvar, Mutex, PoisonError};
use std::vec::Vec;

use embassy_executor::raw::{AvailableTask, Executor, TaskStorage};

use super::time::{Clock, Entered, VirtualClock};

/// Runs `future` to its end in the time the thread is in (real unless inside one of the other two).
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    run(future, Clock::current(), Idle::Park)
}

/// Runs `future` to its end in the time of `clock`, which somebody else, or the future itself,
/// advances.
pub fn block_on_clock<T>(clock: VirtualClock, future: impl Future<Output = T>) -> T {
    run(future, clock.0, Idle::Park)
}

/// Runs `future` to its end in virtual time that starts at 0 and jumps to the next alarm whenever
/// nothing else can run.
///
/// # Panics
/// When the future waits for something that no alarm of its own can bring, such as a socket: time
/// would have run away from it.
pub fn block_on_virtual<T>(future: impl Future<Output = T>) -> T {
    run(future, VirtualClock::new().0, Idle::Jump)
}

/// What to do when nothing can run.
#[derive(Clone, Copy)]
enum Idle {
    /// Sleep until the next alarm or a wake-up from another thread.
    Park,
    /// Move the virtual clock to the next alarm.
    Jump,
}

/// Where an executor's thread sleeps.
struct Bell {
    rung: Mutex<bool>,
    condition: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_one();
    }

    /// Whether it was rung since the last call.
    fn answer(&self) -> bool {
        core::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sleeps until it is rung, at most for `limit`.
    fn wait(&self, limit: Option<Duration>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung {
            rung = match limit {
                Some(limit) => match self.condition.wait_timeout(rung, limit) {
                    Ok((rung, _)) => rung,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                // Waking for no reason does no harm: the caller looks again.
                None => self
                    .condition
                    .wait(rung)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        *rung = false;
    }
}

/// embassy calls this, from any thread, when an executor has something to do.
#[unsafe(export_name = "__pender")]
fn pender(context: *mut ()) {
    // SAFETY: all executors of a host program are made by `Runner::new`, whose context is a `Bell`
    // that lives for ever.
    let bell: &'static Bell = unsafe { &*context.cast::<Bell>() };
    bell.ring();
}

/// A future lent to a task; its owner waits on the stack below until it has ended.
type Lent = Pin<&'static mut dyn Future<Output = ()>>;

/// An executor with its only task. Both live for ever, since wakers and alarms may refer to the
/// task at any time; that is about 300 bytes per thread.
#[derive(Clone, Copy)]
struct Runner {
    executor: &'static Executor,
    task: &'static TaskStorage<Lent>,
    bell: &'static Bell,
}

impl Runner {
    fn new() -> Self {
        let bell: &'static Bell = Box::leak(Box::new(Bell {
            rung: Mutex::new(false),
            condition: Condvar::new(),
        }));
        let context = core::ptr::from_ref(bell).cast_mut().cast();
        Self {
            executor: Box::leak(Box::new(Executor::new(context))),
            task: Box::leak(Box::new(TaskStorage::new())),
            bell,
        }
    }

    fn poll(self) {
        // SAFETY: never reentrant. The executor is used by the `run` that took this runner out of
        // the pool and by nobody else, and the pender only rings the bell.
        unsafe { self.executor.poll() }
    }

    fn run(self, future: Lent, done: &Cell<bool>, clock: &Clock, idle: Idle) {
        let task = loop {
            // A late wake-up for the future before this one may still be queued.
            self.poll();
            if let Some(task) = AvailableTask::claim(self.task) {
                break task;
            }
        };
        self.executor.spawner().spawn(task.initialize(|| future));
        loop {
            self.poll();
            if done.get() {
                return;
            }
            let next = clock.wake_due();
            match idle {
                Idle::Park => {
                    let limit = match next {
                        u64::MAX => None,
                        // A virtual clock rings the bell itself when it is advanced.
                        _ if clock.is_virtual() => None,
                        next => Some(Duration::from_micros(next.saturating_sub(clock.now()))),
                    };
                    self.bell.wait(limit);
                }
                Idle::Jump if self.bell.answer() => {}
                Idle::Jump => {
                    assert!(
                        next != u64::MAX,
                        "the future waits, but no alarm is set that could end it"
                    );
                    clock.advance_to(next);
                }
            }
        }
    }
}

std::thread_local! {
    /// Runners at rest, all of the real clock: an alarm may outlive the future that set it, and a
    /// task must never be in the queues of two clocks.
    static RUNNERS: RefCell<Vec<Runner>> = const { RefCell::new(Vec::new()) };
}

fn run<T>(future: impl Future<Output = T>, clock: &'static Clock, idle: Idle) -> T {
    let _entered = Entered::new(clock);
    let runner = match clock.is_virtual() {
        true => Runner::new(),
        false => RUNNERS
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(Runner::new),
    };
    let mut output = None;
    let done = Cell::new(false);
    {
        let future = pin!(async {
            output = Some(future.await);
            done.set(true);
        });
        let future: Pin<&mut dyn Future<Output = ()>> = future;
        // SAFETY: only `runner.run` polls the task that gets this reference. It returns when the
        // future has ended and the task has dropped the reference, and when it unwinds instead, the
        // runner is not put back, so nobody polls the task again.
        let future = unsafe { transmute::<Pin<&mut dyn Future<Output = ()>>, Lent>(future) };
        runner.run(future, &done, clock, idle);
    }
    if !clock.is_virtual() {
        RUNNERS.with_borrow_mut(|runners| runners.push(runner));
    }
    match output {
        Some(output) => output,
        None => unreachable!("`run` returns after the output was stored"),
    }
}
