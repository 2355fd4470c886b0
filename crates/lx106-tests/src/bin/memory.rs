//! Copying, filling and comparing against loops over bytes: short lengths, all alignments, from RAM, IRAM and flash, in RAM and
//! in IRAM.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use core::hint::black_box;
use core::ptr::addr_of_mut;

use support::{check, say_hex};
use xtensa_lx::semihosting;
use xtensa_lx_rt::entry;

extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8;
    fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32;
    fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32;
    fn strlen(text: *const u8) -> usize;
}

const ROOM: usize = 96;
const LENGTHS: core::ops::Range<usize> = 0..41;

#[derive(Clone, Copy)]
#[repr(align(4))]
struct Bytes([u8; ROOM]);

const fn numbered() -> Bytes {
    let mut bytes = [0; ROOM];
    let mut at = 0;
    while at < ROOM {
        // No two alike, no zero, and both signs.
        bytes[at] = (at as u8).wrapping_mul(5).wrapping_add(0x71);
        at += 1;
    }
    Bytes(bytes)
}

static FLASH: Bytes = numbered();
static mut RAM: Bytes = numbered();
static mut TO: Bytes = Bytes([0; ROOM]);
static mut WANTED: Bytes = Bytes([0; ROOM]);
#[link_section = ".iram.memory_to"]
static mut IRAM_TO: Bytes = Bytes([0; ROOM]);
#[link_section = ".iram.memory_from"]
static mut IRAM_FROM: Bytes = numbered();

// Volatile, or the compiler would make calls of it to what is tested.
fn byte(of: *const u8, at: usize) -> u8 {
    unsafe { of.add(at).read_volatile() }
}

fn put(to: *mut u8, at: usize, byte: u8) {
    unsafe { to.add(at).write_volatile(byte) }
}

fn fill(to: *mut u8, with: impl Fn(usize) -> u8) {
    (0..ROOM).for_each(|at| put(to, at, with(at)));
}

fn same(one: *const u8, other: *const u8) -> bool {
    (0..ROOM).all(|at| byte(one, at) == byte(other, at))
}

/// Whether `holds` for each length and each pair of alignments; names the first for which it does not.
fn each(what: &str, mut holds: impl FnMut(usize, usize, usize) -> bool) {
    for length in LENGTHS {
        for to in 0..4 {
            for from in 0..4 {
                if !holds(length, to, from) {
                    check(what, false);
                    say_hex("length, to, from", (length << 8 | to << 4 | from) as u32);
                    return;
                }
            }
        }
    }
    check(what, true);
}

type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;

fn copies(what: &str, copy: Copy, source: *const u8, to: *mut u8) {
    let wanted = addr_of_mut!(WANTED).cast::<u8>();
    each(what, |length, place, from| {
        fill(to, |_| 0xee);
        fill(wanted, |_| 0xee);
        // A word in front, to see what is written there.
        for at in 0..length {
            put(wanted, 4 + place + at, byte(source, from + at));
        }
        let target = unsafe { to.add(4 + place) };
        let result = unsafe { copy(target, source.add(from), length) };
        result == target && same(to, wanted)
    });
}

/// Moves within one buffer by up to nine bytes, forth and back.
fn moves(copy: Copy, what: &str, to: *mut u8, distances: core::ops::RangeInclusive<isize>) {
    let wanted = addr_of_mut!(WANTED).cast::<u8>();
    for distance in distances {
        for length in LENGTHS {
            for from in 12..16usize {
                let target = from.wrapping_add_signed(distance);
                fill(to, |at| FLASH.0[at]);
                fill(wanted, |at| FLASH.0[at]);
                for at in 0..length {
                    put(wanted, target + at, FLASH.0[from + at]);
                }
                let result = unsafe { copy(to.add(target), to.add(from), length) };
                if result != unsafe { to.add(target) } || !same(to, wanted) {
                    check(what, false);
                    say_hex("distance", distance as u32);
                    say_hex("length, from", (length << 8 | from) as u32);
                    return;
                }
            }
        }
    }
    check(what, true);
}

fn compares(what: &str, one: *const u8, other: *mut u8) {
    each(what, |length, place, from| {
        fill(other, |_| 0xee);
        for at in 0..length {
            put(other, place + at, byte(one, from + at));
        }
        let (one, other) = unsafe { (one.add(from), other.add(place)) };
        let (result, equal) = unsafe { (memcmp(one, other, length), bcmp(one, other, length)) };
        if result != 0 || equal != 0 {
            return false;
        }
        (0..length).all(|at| {
            let was = byte(other, at);
            let changed = was ^ 0x80;
            // Behind the first difference comes one the other way round.
            let spoil = |at, byte| {
                if at < length {
                    put(other, at, byte);
                }
            };
            let next = byte(other, at + 1);
            spoil(at, changed);
            spoil(at + 1, if changed > was { 0 } else { 255 });
            let there = unsafe { memcmp(one, other, length) };
            let back = unsafe { memcmp(other, one, length) };
            let unequal = unsafe { bcmp(one, other, length) } != 0;
            spoil(at, was);
            spoil(at + 1, next);
            (there < 0) == (was < changed)
                && (there > 0) == (was > changed)
                && back == -there
                && unequal
        })
    });
}

fn fills(what: &str, to: *mut u8) {
    let wanted = addr_of_mut!(WANTED).cast::<u8>();
    each(what, |length, place, value| {
        // The low byte alone counts.
        let value = [0, 0x7f, 0x1234_5680, -1][value];
        fill(to, |_| 0xee);
        fill(wanted, |_| 0xee);
        (0..length).for_each(|at| put(wanted, 4 + place + at, value as u8));
        let target = unsafe { to.add(4 + place) };
        let result = unsafe { memset(target, value, length) };
        result == target && same(to, wanted)
    });
}

#[entry]
fn main() -> ! {
    let flash = black_box(FLASH.0.as_ptr());
    let ram = addr_of_mut!(RAM).cast::<u8>();
    let to = addr_of_mut!(TO).cast::<u8>();
    let iram = addr_of_mut!(IRAM_FROM).cast::<u8>();
    let iram_to = addr_of_mut!(IRAM_TO).cast::<u8>();
    check("constants lie in flash", flash as u32 >> 20 == 0x402);
    let in_iram = [iram, iram_to].map(|place| place as u32 >> 20 == 0x401);
    check("the others in IRAM", in_iram == [true; 2]);
    copies("memcpy from RAM", memcpy, ram, to);
    copies("memcpy from flash", memcpy, flash, to);
    copies("memcpy from IRAM", memcpy, iram, to);
    copies("memcpy from RAM to IRAM", memcpy, ram, iram_to);
    copies("memcpy from flash to IRAM", memcpy, flash, iram_to);
    copies("memcpy within IRAM", memcpy, iram, iram_to);
    copies("memmove from RAM", memmove, ram, to);
    copies("memmove from flash", memmove, flash, to);
    copies("memmove from RAM to IRAM", memmove, ram, iram_to);
    copies("memmove from flash to IRAM", memmove, flash, iram_to);
    moves(memmove, "memmove within", to, -9..=9);
    moves(memmove, "memmove within IRAM", iram_to, -9..=9);
    moves(memcpy, "memcpy to the front", to, -9..=0);
    moves(memcpy, "memcpy to the front in IRAM", iram_to, -9..=0);
    fills("memset", to);
    fills("memset in IRAM", iram_to);
    compares("memcmp with RAM", ram, to);
    compares("memcmp with flash", flash, to);
    compares("memcmp with IRAM", iram, iram_to);
    let text = black_box(b"\x01\x80\xffabcdefghi\0".as_ptr());
    let right = (0..13).all(|from| unsafe { strlen(text.add(from)) } == 12 - from);
    check("strlen", right);
    semihosting::exit(0)
}
