//! Narrow loads from flash and stores into IRAM: the right value in the right place, and nothing else changed.
#![no_std]
#![no_main]

#[path = "../mirror.rs"]
mod mirror;
#[path = "../support.rs"]
mod support;

use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU32, Ordering};

use mirror::{mirrored, pattern, run_with, Iram, Registers, FLASH, MASKED, OPEN};
use support::{check, say_hex};
use xtensa_lx::{interrupt, semihosting, timer};
use xtensa_lx_rt::{entry, exception::Context};

const CCOMPARE: u32 = 1 << 6;

/// The bytes of each kind of access; loads come first.
const KINDS: [usize; 5] = [1, 2, 2, 1, 2];
const NAMES: [&str; 5] = ["l8ui", "l16ui", "l16si", "s8i", "s16i"];
const NAMES_BY_TABLES: [&str; 5] = [
    "l8ui by tables",
    "l16ui by tables",
    "l16si by tables",
    "s8i by tables",
    "s16i by tables",
];
const FIRST_STORE: usize = 3;
/// The places in a word, the two bases and the registers of each.
const PER_KIND: usize = 4 * 2 * 16;
const ALL: usize = KINDS.len() * PER_KIND;

extern "C" {
    static ACCESSES: [u32; ALL];
    static mut mirror_by_tables: u32;
}

fn code(index: usize) -> u32 {
    let accesses = &raw const ACCESSES;
    unsafe { (*accesses)[index] }
}

/// What is stored to, with a word on either side.
#[link_section = ".iram.narrow_target"]
static mut TARGET: Iram<16> = Iram([0; 16]);

/// What an interrupt's handler stores to.
#[link_section = ".iram.narrow_target"]
static mut TARGET_WITHIN: Iram<8> = Iram([0; 8]);

/// What an interrupt's handler leaves there.
const LEFT_WITHIN: [u8; 8] = [0, 0, 0, 0x5a, 0, 0, 0x34, 0x12];

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
static RIGHT_INSIDE: AtomicU32 = AtomicU32::new(0);
static INTERRUPTED_AT: AtomicU32 = AtomicU32::new(0);

/// Reads and writes narrowly itself, with all that is held back at that moment.
#[xtensa_lx_rt::interrupt]
fn on_timer(level: u32, frame: Context) {
    let _ = level;
    interrupt::disable_mask(CCOMPARE);
    let address = mirrored(FLASH.0.as_ptr() as u32);
    let byte = unsafe { (address as *const u8).add(5).read_volatile() };
    let half = unsafe { (address as *const u16).add(3).read_volatile() };
    let signed = unsafe { (address as *const i16).add(1).read_volatile() };
    let target = addr_of_mut!(TARGET_WITHIN).cast::<[u8; 8]>();
    let stored = mirrored(target as u32);
    unsafe {
        target.write_volatile([0; 8]);
        (stored as *mut u8).add(3).write_volatile(0x5a);
        (stored as *mut u16).add(3).write_volatile(0x1234);
    }
    let stored = unsafe { target.read_volatile() };
    let right = byte == 0x36 && half == 0xb847 && signed == 0x2493 && stored == LEFT_WITHIN;
    let add =
        |to: &AtomicU32, count| to.store(to.load(Ordering::Relaxed) + count, Ordering::Relaxed);
    add(&RIGHT_INSIDE, u32::from(right));
    add(&INTERRUPTS, 1);
    INTERRUPTED_AT.store(frame.PC, Ordering::Relaxed);
}

/// What a load must give, byte by byte.
fn expected(kind: usize, at: usize) -> u32 {
    let low = u32::from(FLASH.0[at]);
    let half = low | u32::from(FLASH.0[at + KINDS[kind] - 1]) << 8;
    match kind {
        0 => low,
        1 => half,
        _ => half as u16 as i16 as u32,
    }
}

/// One access, with an interrupt so many cycles after `alarm` has been set; whether registers, SAR and what is stored to are what they
/// must be.
fn access(index: usize, at: usize, ps: u32, start: &Registers, alarm: Option<u32>) -> bool {
    let kind = index / PER_KIND;
    let is_store = kind >= FIRST_STORE;
    let register = index % 16;
    let base = if index / 16 % 2 == 0 { 3 } else { register };
    let target = addr_of_mut!(TARGET).cast::<[u8; 16]>();
    let address = match is_store {
        true => target as u32 + 4,
        false => FLASH.0.as_ptr() as u32,
    };
    let mut registers = *start;
    // The code accesses two bytes ahead.
    registers[base] = mirrored(address) + at as u32 - 2;
    let mut wanted = registers;
    let mut wanted_bytes = [
        0x11, 0x82, 0x93, 0x24, 0xa5, 0x36, 0x47, 0xb8, 0, 0, 0, 0, 0xff, 0xfe, 0xfd, 0xfc,
    ];
    unsafe { target.write_volatile(wanted_bytes) };
    match is_store {
        true => {
            let bytes = registers[register].to_le_bytes();
            wanted_bytes[4 + at] = bytes[0];
            wanted_bytes[4 + at + KINDS[kind] - 1] = bytes[KINDS[kind] - 1];
        }
        false => wanted[register] = expected(kind, at),
    }
    let code = code(index);
    if let Some(cycles) = alarm {
        timer::set_ccompare0(timer::get_cycle_count().wrapping_add(cycles));
        unsafe { interrupt::enable_mask(CCOMPARE) };
    }
    unsafe { run_with(&mut registers, code, ps) };
    let bytes = unsafe { target.read_volatile() };
    let right = registers == wanted && bytes == wanted_bytes;
    if !right {
        say_hex("access", index as u32);
        for (found, wanted) in registers.iter().zip(wanted) {
            say_hex("  found", *found);
            say_hex("  wanted", wanted);
        }
        for (found, wanted) in bytes.iter().zip(wanted_bytes) {
            say_hex(
                "  found byte, wanted",
                u32::from(*found) << 8 | u32::from(wanted),
            );
        }
    }
    right
}

/// Each kind of access, at each place, of each datum.
fn each_place(names: [&str; KINDS.len()], start: &Registers, is_possible: impl Fn(usize) -> bool) {
    for (kind, (name, size)) in names.iter().zip(KINDS).enumerate() {
        let mut right = true;
        let accesses = kind * PER_KIND..(kind + 1) * PER_KIND;
        for index in accesses.filter(|index| is_possible(*index)) {
            for at in (0..=8 - size).step_by(size) {
                right &= access(index, at, MASKED, start, None);
            }
        }
        check(name, right);
    }
}

/// An interrupt at each moment: before, after, and while it is held back by the access's exception.
fn at_each_moment(start: &Registers, names: [&str; 3]) {
    for counter in [&INTERRUPTS, &RIGHT_INSIDE] {
        counter.store(0, Ordering::Relaxed);
    }
    let (mut right, mut count) = (true, 0);
    // Of loads, and of stores.
    let mut held_back = [0; 2];
    for delay in 20..420 {
        // A prime, to meet all registers, places and kinds; a1 is the interrupts' stack.
        let mut index = delay as usize * 37 % ALL;
        index += usize::from(index % 16 == 1);
        right &= access(index, 2, OPEN, start, Some(20 + delay % 200));
        count += 1;
        while INTERRUPTS.load(Ordering::Relaxed) < count {}
        let kind = usize::from(index / PER_KIND >= FIRST_STORE);
        held_back[kind] += u32::from(INTERRUPTED_AT.load(Ordering::Relaxed) == code(index) + 3);
    }
    let [with, within, held] = names;
    check(with, right);
    check(within, RIGHT_INSIDE.load(Ordering::Relaxed) == count);
    // One instruction takes 1.28 cycles; the handler has some 45, or 70.
    let enough = held_back.iter().all(|times| *times > 30);
    check(held, enough);
    if !enough {
        held_back
            .iter()
            .for_each(|times| say_hex("held back:", *times));
    }
}

#[entry]
fn main() -> ! {
    mirror::install();
    check(
        "constants lie in flash",
        FLASH.0.as_ptr() as u32 >> 20 == 0x402,
    );
    let targets = [
        addr_of_mut!(TARGET) as u32,
        addr_of_mut!(TARGET_WITHIN) as u32,
    ];
    check(
        "targets lie in IRAM",
        targets
            .iter()
            .all(|target| target >> 15 == 0x4010_0000 >> 15),
    );
    let places = (0..ALL).all(|index| code(index) % 4 == (index / 32 % 4) as u32);
    check("accesses at each place in a word", places);

    // The stack pointer is no address either: whoever used it would fault.
    each_place(NAMES, &pattern(), |_| true);
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
    let has_stack = |index| !(index % 16 == 1 && index / 16 % 2 == 1);
    each_place(NAMES_BY_TABLES, &start, has_stack);
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
