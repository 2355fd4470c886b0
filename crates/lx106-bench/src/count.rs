//! Instructions from the cycle counter.

use xtensa_lx::timer;

/// Under `-icount shift=10` an instruction takes 1024 ns of the emulator's time, and the counter runs at 40 MHz in
/// it: 40.96 ticks for each. Less than one tick is lost, so a count is exact.
const HUNDREDTH_TICKS: u64 = 4096;

unsafe extern "C" {
    safe fn two_a_round(rounds: u32);
}

/// The instructions that `work` takes, up to a hundred million, and what it returns.
pub fn instructions<T>(work: impl FnOnce() -> T) -> (u32, T) {
    let (empty, ()) = between(|| ());
    let (all, result) = between(work);
    (all - empty, result)
}

// Not inlined: the compiler would have its callers' arithmetic done between the two readings.
#[inline(never)]
fn between<T>(work: impl FnOnce() -> T) -> (u32, T) {
    let start = timer::get_cycle_count();
    let result = work();
    let ticks = timer::get_cycle_count().wrapping_sub(start);
    let count = (u64::from(ticks) * 100 + HUNDREDTH_TICKS / 2) / HUNDREDTH_TICKS;
    (count as u32, result)
}

/// What is counted for a loop of 2000 instructions: another number means another emulator.
pub fn known_loop() -> u32 {
    let rounds = |rounds| between(move || two_a_round(rounds)).0;
    rounds(1001) - rounds(1)
}
