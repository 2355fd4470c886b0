//! Copies and comparisons from flash, and into IRAM, between readings of the cycle counter: a trace tells what they load and store.
#![no_std]
#![no_main]

#[path = "../support.rs"]
mod support;

use core::hint::black_box;

use support::check;
use xtensa_lx::{semihosting, timer};
use xtensa_lx_rt::entry;

extern "C" {
    fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8;
    fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32;
    fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8;
    fn strlen(text: *const u8) -> usize;
}

#[repr(align(4))]
struct Text([u8; 32]);

static FLASH: Text = Text(*b"what is read often, is in words\0");

/// With a word behind what is copied there, for what moves on.
#[link_section = ".iram.words"]
static mut IRAM: Text = Text([0; 32]);

fn copy_and_compare(flash: *const u8, to: *mut u8) -> bool {
    let mut right = true;
    for length in 0..24 {
        for place in 0..16 {
            unsafe {
                let (from, to) = (flash.add(place & 3), to.add(place >> 2));
                memcpy(to, from, length);
                right &= memcmp(to, from, length) == 0;
                memmove(to, from, length);
                right &= memcmp(from, to, length) == 0;
                right &= strlen(from) == 31 - (place & 3);
            }
        }
    }
    right
}

#[entry]
fn main() -> ! {
    let mut room = [0u8; 32];
    let (flash, to) = (black_box(FLASH.0.as_ptr()), black_box(room.as_mut_ptr()));
    let iram = black_box((&raw mut IRAM).cast::<u8>());
    let mut right = flash as u32 >> 20 == 0x402 && iram as u32 >> 20 == 0x401;
    let begin = timer::get_cycle_count();
    right &= copy_and_compare(flash, to);
    let middle = timer::get_cycle_count();
    right &= copy_and_compare(flash, iram);
    for length in 0..24 {
        for place in 0..4 {
            unsafe {
                memset(iram.add(place), 0x55, length);
                // Up and down, over itself, and out again.
                memmove(iram.add(place), iram.add(4), length);
                memmove(iram.add(4), iram.add(place), length);
                memcpy(to, iram.add(place), length);
            }
        }
    }
    let end = timer::get_cycle_count();
    check(
        "copied and compared",
        right && begin != middle && middle != end,
    );
    semihosting::exit(0)
}
