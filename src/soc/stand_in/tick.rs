//! Time by CCOUNT, and what is looked at each millisecond.

use xtensa_lx::timer;

use super::{
    Own, console, frames, heap, interrupts, misuse, only_in_tasks, rtc, say, tasks, timers, uart,
    words::{Fault, words},
};

/// Of CCOUNT on this machine.
pub const HZ: u32 = 40_000_000;
const CYCLES_PER_US: u32 = HZ / 1_000_000;
/// From one look to the next.
const CYCLES: u32 = HZ / 1000;

/// How long a task may keep the SDK's watchdog from being fed.
pub const WATCHDOG_S: u32 = 3;

/// When what was ordered goes wrong.
const FAULT_MS: u32 = 3_000;

/// When an interrupt does what it may not.
const MISUSE_MS: u32 = 500;

/// How often it is looked whether somebody has typed, and whether the network is there.
const CONSOLE_MS: u32 = 10;
const LINK_MS: u32 = 250;

struct Clock {
    seen: u32,
    rest: u32,
    us: u64,
    /// What was looked at last.
    ms: u32,
    fed: u32,
    /// Cycles that the looks have taken.
    spent: u32,
}

#[unsafe(link_section = ".stand_in.clock")]
static CLOCK: Own<Clock> = Own::new(Clock {
    seen: 0,
    rest: 0,
    us: 0,
    ms: 0,
    fed: 0,
    spent: 0,
});

/// Microseconds since start.
pub fn now_us() -> u64 {
    CLOCK.with(|clock| {
        let count = timer::get_cycle_count();
        let cycles = count.wrapping_sub(clock.seen) + clock.rest;
        clock.seen = count;
        clock.us += u64::from(cycles / CYCLES_PER_US);
        clock.rest = cycles % CYCLES_PER_US;
        clock.us
    })
}

#[unsafe(no_mangle)]
extern "C" fn system_get_time() -> u32 {
    now_us() as u32
}

#[unsafe(no_mangle)]
extern "C" fn system_soft_wdt_feed() {
    only_in_tasks("system_soft_wdt_feed");
    CLOCK.with(|clock| clock.fed = timer::get_cycle_count());
}

/// Lets the interrupt come.
pub fn start() {
    let now = timer::get_cycle_count();
    CLOCK.with(|clock| (clock.seen, clock.fed) = (now, now));
    order_next(now);
    interrupts::let_in(interrupts::TICK);
}

/// One that had passed before it was set, because the PC was busy, would come on the counter's next round, after 107 s.
fn order_next(mut now: u32) {
    loop {
        let next = now.wrapping_add(CYCLES);
        timer::set_ccompare0(next);
        now = timer::get_cycle_count();
        if next.wrapping_sub(now) as i32 > 0 {
            return;
        }
    }
}

/// CCOUNT without what the stand-in's looks have taken, which a chip does not have.
pub fn own() -> u32 {
    CLOCK.with(|clock| timer::get_cycle_count().wrapping_sub(clock.spent))
}

/// The interrupt, which came at `pc`.
pub fn on_interrupt(pc: u32) {
    let now = timer::get_cycle_count();
    look(now, pc);
    let spent = timer::get_cycle_count().wrapping_sub(now);
    CLOCK.with(|clock| clock.spent = clock.spent.wrapping_add(spent));
}

fn look(now: u32, pc: u32) {
    order_next(now);
    let ms = (now_us() / 1000) as u32;
    let (last, fed) = CLOCK.with(|clock| (core::mem::replace(&mut clock.ms, ms), clock.fed));
    // A tick that came late stands for all that did not come.
    let each = |period: u32| ms / period != last / period;
    timers::look();
    if each(CONSOLE_MS) {
        console::look();
    }
    if each(LINK_MS) {
        frames::look_at_link();
    }
    uart::tick(now);
    let words = words();
    if words.report > 0 && each(words.report * 1000) {
        report();
    }
    if tasks::hangs(now, fed) {
        say!("the watchdog is not fed");
        rtc::reset_by_watchdog();
    }
    if each(MISUSE_MS) {
        misuse::in_interrupt();
    }
    if last < FAULT_MS && ms >= FAULT_MS {
        match words.fault {
            Some(Fault::Panic) => use_up_stack(),
            Some(Fault::Exception | Fault::Watchdog) => frames::break_down(),
            Some(Fault::Hardware) => rtc::reset_by_hardware(pc),
            None => {}
        }
    }
}

unsafe extern "C" {
    static mut _stack_limit: u32;
}

/// Writes where the stack has its end.
fn use_up_stack() {
    // SAFETY: nobody has anything there, but the mark that is to go.
    unsafe { (&raw mut _stack_limit).write_volatile(0) };
}

/// A line of counters.
pub fn report() {
    let heap = heap::counters();
    let frames = frames::counters();
    let [longest, erasing] = tasks::longest();
    let (written, erased, amid) = super::flash::counters();
    say!(
        "heap={} heap_low={} heap_pieces={} heap_refused={} radio_buffers={} frames_in={} frames_out={} frames_thrown={} longest_us={} longest_reads={} longest_writes={} longest_looks={} erasing_us={} joined={} stack_start={} stack={} flash_written={} flash_erased={} flash_erased_amid={}",
        heap.free,
        heap.lowest,
        heap.pieces,
        heap.refused,
        frames.held,
        frames.received,
        frames.sent,
        frames.thrown,
        longest.cycles / CYCLES_PER_US,
        longest.work.reads,
        longest.work.writes,
        longest.work.looks,
        erasing.cycles / CYCLES_PER_US,
        uart::joined(),
        crate::soc::esp8266::run::stack_start(),
        crate::soc::lx106::stack::high_water(),
        written,
        erased,
        amid
    );
}
