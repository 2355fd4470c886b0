//! Narrow loads from flash: the right value in the right register, and nothing else changed.
#![no_std]
#![no_main]

#[path = "../mirror.rs"]
mod mirror;
#[path = "../support.rs"]
mod support;

use core::sync::atomic::{AtomicU32, Ordering};

use mirror::{mirrored, pattern, run_with, Registers, FLASH, MASKED, OPEN};
use support::{check, say_hex};
use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::{entry, exception::Context};

const CCOMPARE: u32 = 1 << 6;

/// The places in a word, the two bases and the destinations of each kind of load.
const KINDS: [(&str, usize); 3] = [("l8ui", 1), ("l16ui", 2), ("l16si", 2)];
const PER_KIND: usize = 4 * 2 * 16;

extern "C" {
    static LOADS: [u32; 3 * PER_KIND];
    static mut mirror_by_tables: u32;
}

fn code(index: usize) -> u32 {
    let loads = &raw const LOADS;
    unsafe { (*loads)[index] }
}

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static RIGHT_INSIDE: AtomicU32 = AtomicU32::new(0);
static INTERRUPTED_AT: AtomicU32 = AtomicU32::new(0);

/// Reads narrowly itself, with all that is held back at that moment.
#[xtensa_lx_rt::interrupt]
fn on_timer(level: u32, frame: Context) {
    let _ = level;
    interrupt::disable_mask(CCOMPARE);
    let address = mirrored(FLASH.0.as_ptr() as u32);
    let byte = unsafe { (address as *const u8).add(5).read_volatile() };
    let half = unsafe { (address as *const u16).add(3).read_volatile() };
    let signed = unsafe { (address as *const i16).add(1).read_volatile() };
    let right = byte == 0x36 && half == 0xb847 && signed == 0x2493;
    let add =
        |to: &AtomicU32, count| to.store(to.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    add(&RIGHT_INSIDE, u32::from(right));
    add(&INTERRUPTS, 1);
    INTERRUPTED_AT.store(frame.PC, Ordering::Relaxed);
}

/// What the load must give, byte by byte.
fn expected(kind: usize, at: usize) -> u32 {
    let low = u32::from(FLASH.0[at]);
    let half = low | u32::from(FLASH.0[at + KINDS[kind].1 - 1]) << 8;
    match kind {
        0 => low,
        1 => half,
        _ => half as u16 as i16 as u32,
    }
}

/// One load, with an interrupt so many cycles after `alarm` has been set; whether registers and SAR are what they must be.
fn load(index: usize, at: usize, ps: u32, start: &Registers, alarm: Option<u32>) -> bool {
    let destination = index % 16;
    let base = if index / 16 % 2 == 0 { 3 } else { destination };
    let mut registers = *start;
    // The code loads from two bytes ahead.
    registers[base] = mirrored(FLASH.0.as_ptr() as u32) + at as u32 - 2;
    let mut wanted = registers;
    wanted[destination] = expected(index / PER_KIND, at);
    let code = code(index);
    if let Some(cycles) = alarm {
        timer::set_ccompare0(timer::get_cycle_count().wrapping_add(cycles));
        unsafe { interrupt::enable_mask(CCOMPARE) };
    }
    unsafe { run_with(&mut registers, code, ps) };
    let right = registers == wanted;
    if !right {
        say_hex("load", index as u32);
        for (found, wanted) in registers.iter().zip(wanted) {
            say_hex("  found", *found);
            say_hex("  wanted", wanted);
        }
    }
    right
}

/// Each kind of load, at each place, of each datum.
fn each_place(names: [&str; 3], start: &Registers, is_possible: impl Fn(usize) -> bool) {
    for (kind, (name, (_, size))) in names.iter().zip(KINDS).enumerate() {
        let mut right = true;
        let loads = kind * PER_KIND..(kind + 1) * PER_KIND;
        for index in loads.filter(|index| is_possible(*index)) {
            for at in (0..=8 - size).step_by(size) {
                right &= load(index, at, MASKED, start, None);
            }
        }
        check(name, right);
    }
}

/// An interrupt at each moment: before, after, and while it is held back by the load's exception.
fn at_each_moment(start: &Registers, names: [&str; 3]) {
    for counter in [&INTERRUPTS, &RIGHT_INSIDE] {
        counter.store(0, Ordering::Relaxed);
    }
    let (mut right, mut count, mut held_back) = (true, 0, 0);
    for delay in 20..220 {
        // A prime, to meet all registers, places and kinds; a1 is the interrupts' stack.
        let mut index = delay as usize * 37 % (3 * PER_KIND);
        index += usize::from(index % 16 == 1);
        right &= load(index, 2, OPEN, start, Some(delay));
        count += 1;
        while INTERRUPTS.load(Ordering::Relaxed) < count {}
        held_back += u32::from(INTERRUPTED_AT.load(Ordering::Relaxed) == code(index) + 3);
    }
    let [with, within, held] = names;
    check(with, right);
    check(within, RIGHT_INSIDE.load(Ordering::Relaxed) == count);
    // One instruction takes 1.28 cycles; the handler has some 45.
    check(held, held_back > 30);
    if held_back <= 30 {
        say_hex("held back:", held_back);
    }
}

#[entry]
fn main() -> ! {
    mirror::install();
    check(
        "constants lie in flash",
        FLASH.0.as_ptr() as u32 >> 20 == 0x402,
    );
    let places = (0..3 * PER_KIND).all(|index| code(index) % 4 == (index / 32 % 4) as u32);
    check("loads at each place in a word", places);

    // The stack pointer is no address either: whoever used it would fault.
    let names = ["l8ui", "l16ui", "l16si"];
    each_place(names, &pattern(), |_| true);
    let mut stack = [0u32; 512];
    let mut start = pattern();
    start[1] = stack.as_mut_ptr_range().end as u32;
    at_each_moment(
        &start,
        [
            "with interrupts",
            "within interrupts",
            "interrupts held back meanwhile",
        ],
    );

    // Once more by the tables of the chip's ROM, whose vector stores registers on the stack first: so the stack pointer is one.
    mirror::enter_into_table();
    unsafe { (&raw mut mirror_by_tables).write_volatile(1) };
    let names = ["l8ui by tables", "l16ui by tables", "l16si by tables"];
    let has_stack = |index| !(index % 16 == 1 && index / 16 % 2 == 1);
    each_place(names, &start, has_stack);
    at_each_moment(
        &start,
        [
            "with interrupts by tables",
            "within interrupts by tables",
            "interrupts held back by tables",
        ],
    );
    semihosting::exit(0)
}
