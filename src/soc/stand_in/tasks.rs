//! The ROM's tasks, 32 by priority, each with a queue of messages in memory of its owner.

use core::ffi::c_int;

use xtensa_lx::{interrupt, timer};

use super::{Own, only_in_tasks, refuse, tick};
use crate::soc::esp8266::sdk::Event;

/// Tasks of the SDK: its timers', the radio's, and that of the station's frames, whose number is the vendor's; the access point's is the next.
pub const TIMERS: u8 = 31;
pub const RADIO: u8 = 27;
pub const STATION: u8 = 28;

/// How many of the ROM's a user may have, and what the SDK adds to their numbers.
const USERS: u8 = 3;
const BELOW_USERS: u8 = 2;

type Function = extern "C" fn(*mut Event);

#[derive(Clone, Copy)]
struct Task {
    function: Option<Function>,
    queue: *mut Event,
    length: u8,
    first: u8,
    count: u8,
}

struct Tasks {
    tasks: [Task; 32],
    /// The one that runs, and since when, by CCOUNT.
    running: Option<(u8, u32)>,
    /// Since when, without the stand-in's looks.
    began: u32,
    /// Cycles of erases in it.
    excused: u32,
    work: Work,
    longest: Longest,
    /// The longest in which something was erased, that left out.
    erasing: Longest,
    /// A task of the user's has run.
    has_run: bool,
}

/// The longest time that a task of the user's ran.
#[derive(Clone, Copy)]
pub struct Longest {
    pub cycles: u32,
    /// What it did meanwhile.
    pub work: Work,
}

impl Longest {
    const NONE: Self = Self {
        cycles: 0,
        work: Work::NONE,
    };
}

/// Calls that take time on a chip.
#[derive(Clone, Copy)]
pub struct Work {
    pub reads: u32,
    pub writes: u32,
    pub erases: u32,
    /// Looks at the transmitter.
    pub looks: u32,
}

impl Work {
    const NONE: Self = Self {
        reads: 0,
        writes: 0,
        erases: 0,
        looks: 0,
    };
}

#[unsafe(link_section = ".stand_in.tasks")]
static TASKS: Own<Tasks> = Own::new(Tasks {
    tasks: [Task {
        function: None,
        queue: core::ptr::null_mut(),
        length: 0,
        first: 0,
        count: 0,
    }; 32],
    running: None,
    began: 0,
    excused: 0,
    work: Work::NONE,
    longest: Longest::NONE,
    erasing: Longest::NONE,
    has_run: false,
});

/// Makes a task, as the ROM does.
///
/// # Safety
/// The queue lives for ever, and has so many places.
pub unsafe fn make(function: Function, number: u8, queue: *mut Event, length: u8) {
    TASKS.with(|tasks| {
        if let Some(task) = tasks.tasks.get_mut(usize::from(number)) {
            *task = Task {
                function: Some(function),
                queue,
                length,
                first: 0,
                count: 0,
            };
        }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn system_os_task(
    function: Function,
    priority: u8,
    queue: *mut Event,
    length: u8,
) -> bool {
    only_in_tasks("system_os_task");
    if priority >= USERS || queue.is_null() || length == 0 {
        refuse!("system_os_task: priority {}, length {}", priority, length);
    }
    // SAFETY: the caller's promise.
    unsafe { make(function, priority + BELOW_USERS, queue, length) };
    true
}

/// Leaves a message; `false`: the queue is full.
pub fn post(number: u8, signal: u32, parameter: u32) -> bool {
    TASKS.with(|tasks| {
        let Some(task) = tasks.tasks.get_mut(usize::from(number)) else {
            refuse!("a message for task {}", number);
        };
        if task.function.is_none() {
            refuse!("a message for task {}, which is not there", number);
        }
        if task.count == task.length {
            return false;
        }
        let place = (usize::from(task.first) + usize::from(task.count)) % usize::from(task.length);
        // SAFETY: in the queue, which lives for ever.
        unsafe { task.queue.add(place).write(Event { signal, parameter }) };
        task.count += 1;
        true
    })
}

/// Takes a message that waits for a task.
pub fn take(number: u8) -> Option<Event> {
    TASKS.with(|tasks| tasks.tasks.get_mut(usize::from(number))?.take())
}

/// A task is there no longer.
pub fn unmake(number: u8) {
    TASKS.with(|tasks| {
        if let Some(task) = tasks.tasks.get_mut(usize::from(number)) {
            task.function = None;
        }
    });
}

impl Task {
    fn take(&mut self) -> Option<Event> {
        if self.count == 0 {
            return None;
        }
        // SAFETY: written by `post`.
        let event = unsafe { self.queue.add(self.first.into()).read() };
        self.first = (self.first + 1) % self.length;
        self.count -= 1;
        Some(event)
    }
}

/// The ROM's: ends with interrupts let in.
#[unsafe(no_mangle)]
extern "C" fn ets_post(number: u8, signal: u32, parameter: u32) -> c_int {
    let is_posted = post(number, signal, parameter);
    let state = interrupt::mask();
    // SAFETY: the level alone is changed, as the ROM does.
    unsafe { interrupt::restore(state & !0xf) };
    c_int::from(!is_posted)
}

/// The message that is next: the highest task's first.
fn next() -> Option<(Function, Event)> {
    TASKS.with(|tasks| {
        let mut numbered = tasks.tasks.iter_mut().enumerate().rev();
        let (number, function, event) =
            numbered.find_map(|(number, task)| Some((number, task.function?, task.take()?)))?;
        tasks.running = Some((number as u8, timer::get_cycle_count()));
        tasks.began = tick::own();
        tasks.excused = 0;
        tasks.work = Work::NONE;
        Some((function, event))
    })
}

/// The ROM's loop.
pub fn run() -> ! {
    loop {
        let state = interrupt::mask();
        let Some((function, mut event)) = next() else {
            // What is raised from here on ends the sleep.
            interrupt::wait();
            continue;
        };
        // SAFETY: the state from above.
        unsafe { interrupt::restore(state) };
        function(&raw mut event);
        if interrupt::get_level() != 0 {
            refuse!("a task ends with interrupts masked");
        }
        ended();
    }
}

fn ended() {
    let now = tick::own();
    TASKS.with(|tasks| {
        let Some((number, _)) = tasks.running.take() else {
            return;
        };
        let cycles = now.wrapping_sub(tasks.began).saturating_sub(tasks.excused);
        // The first time all is started: before, nothing was asked of the SDK that could wait.
        if (BELOW_USERS..BELOW_USERS + USERS).contains(&number)
            && core::mem::replace(&mut tasks.has_run, true)
        {
            let longest = match tasks.work.erases {
                0 => &mut tasks.longest,
                _ => &mut tasks.erasing,
            };
            if cycles > longest.cycles {
                *longest = Longest {
                    cycles,
                    work: tasks.work,
                };
            }
        }
    });
}

/// Cycles since the task that runs was called, as it sees them itself.
pub fn ran() -> u32 {
    let now = timer::get_cycle_count();
    TASKS.with(|tasks| match tasks.running {
        Some((_, since)) => now.wrapping_sub(since),
        None => 0,
    })
}

/// The task that runs is held up by an erase for so many cycles.
pub fn excuse(cycles: u32) {
    TASKS.with(|tasks| tasks.excused = tasks.excused.saturating_add(cycles));
}

/// The task that runs does something that takes time.
pub fn does(add: impl FnOnce(&mut Work)) {
    TASKS.with(|tasks| add(&mut tasks.work));
}

/// The longest times that a task of the user's ran: without an erase, and with one, which is left out.
pub fn longest() -> [Longest; 2] {
    TASKS.with(|tasks| [tasks.longest, tasks.erasing])
}

/// Whether a task keeps the SDK from feeding its watchdog; `fed` is when it was last fed by hand.
pub fn hangs(now: u32, fed: u32) -> bool {
    let since = TASKS.with(|tasks| tasks.running.map(|(_, since)| since));
    since.is_some_and(|since| {
        let limit = tick::WATCHDOG_S * tick::HZ;
        now.wrapping_sub(since) > limit && now.wrapping_sub(fed) > limit
    })
}
