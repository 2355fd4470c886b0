//! Critical sections within each other: the inner one's end lets no interrupt in.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use core::sync::atomic::{AtomicU32, Ordering};

use support::check;
use xtensa_lx::mutex::{CriticalSectionMutex, Mutex};
use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::entry;

const CCOMPARE: u32 = 1 << 6;

static SEEN: AtomicU32 = AtomicU32::new(0);
static SHARED: CriticalSectionMutex<u32> = CriticalSectionMutex::new(0);

#[xtensa_lx_rt::interrupt]
fn on_timer() {
    SEEN.store(SEEN.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    (&SHARED).lock(|shared| *shared += 10);
    interrupt::disable_mask(CCOMPARE);
}

/// Far enough ahead to be written in time: a cycle that has passed comes again in 107 s.
fn raise() {
    timer::set_ccompare0(timer::get_cycle_count().wrapping_add(100_000));
    while interrupt::get() & CCOMPARE == 0 {}
}

fn seen() -> u32 {
    SEEN.load(Ordering::Relaxed)
}

#[entry]
fn main() -> ! {
    unsafe { interrupt::enable_mask(CCOMPARE) };
    interrupt::free(|_| {
        interrupt::free(|_| raise());
        check("not seen behind the inner section", seen() == 0);
        (&SHARED).lock(|shared| *shared += 1);
        check("not seen behind a mutex either", seen() == 0);
    });
    check("seen behind the outer section", seen() == 1);
    check("level 0 again", interrupt::get_level() == 0);
    (&SHARED).lock(|shared| check("both wrote", *shared == 11));
    semihosting::exit(0)
}
