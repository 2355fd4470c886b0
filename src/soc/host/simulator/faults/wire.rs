//! What happens to a telegram's bytes on their way.

use std::prelude::v1::*;

use super::super::kind::Format;
use super::super::meter::Meter;
use super::{Dice, Fault};

pub(super) const FAULTS: &[Fault] = &[
    Fault::wire(
        "parity",
        "even parity in bit 7, as 8N1 reads a 7E1 line",
        parity,
    ),
    Fault::wire(
        "glitch",
        "some bytes inside are 0x00, 0xFF, / or !",
        |bytes, dice, _| glitch(bytes, dice),
    ),
    Fault::wire("cut", "the telegram stops in the middle", cut),
    Fault::wire("headless", "the telegram's beginning is missing", headless),
    Fault::wire(
        "restart",
        "a telegram stops in the middle, then comes whole",
        restart,
    ),
    Fault::wire("doubled", "the telegram comes twice", doubled),
    Fault::wire(
        "breaks",
        "0x00 and 0xFF before and behind",
        |bytes, dice, _| around(bytes, dice, &[0x00, 0xFF]),
    ),
    Fault::wire(
        "noise",
        "0x00, 0xFF, / and ! before and behind",
        |bytes, dice, _| around(bytes, dice, &[0x00, 0xFF, b'/', 0xFE, b'!', 0x80, 0x00]),
    ),
    Fault::wire("missing", "the telegram does not come", |bytes, _, _| {
        bytes.clear();
        true
    }),
];

fn parity(bytes: &mut Vec<u8>, _: &mut Dice, meter: &Meter) -> bool {
    for byte in bytes {
        if byte.count_ones() % 2 == 1 {
            *byte |= 0x80;
        }
    }
    meter.kind.line().format == Format::SevenEven
}

/// Somewhere in the middle half.
fn middle(bytes: &[u8], dice: &mut Dice) -> usize {
    bytes.len() / 4 + dice.below(bytes.len() / 2)
}

fn glitch(bytes: &mut [u8], dice: &mut Dice) -> bool {
    for _ in 0..3 {
        let at = middle(bytes, dice);
        let noise = [0x00, 0xFF, b'/', b'!'][dice.below(4)];
        if let Some(byte) = bytes.get_mut(at) {
            // Never the byte that was there, so that no glitch goes unseen.
            *byte = if *byte == noise { 0x80 } else { noise };
        }
    }
    true
}

fn cut(bytes: &mut Vec<u8>, dice: &mut Dice, _: &Meter) -> bool {
    bytes.truncate(middle(bytes, dice));
    true
}

fn headless(bytes: &mut Vec<u8>, dice: &mut Dice, _: &Meter) -> bool {
    bytes.drain(..middle(bytes, dice));
    true
}

fn restart(bytes: &mut Vec<u8>, dice: &mut Dice, _: &Meter) -> bool {
    let mut piece = bytes[..middle(bytes, dice)].to_vec();
    // Up to a line end: a request that is raised again begins a new line.
    while piece.last().is_some_and(|byte| *byte != b'\n') {
        piece.pop();
    }
    bytes.splice(0..0, piece);
    true
}

fn doubled(bytes: &mut Vec<u8>, _: &mut Dice, _: &Meter) -> bool {
    bytes.extend_from_within(..);
    true
}

fn around(bytes: &mut Vec<u8>, dice: &mut Dice, noise: &[u8]) -> bool {
    let mut some = || -> Vec<u8> {
        let length = 3 + dice.below(30);
        (0..length)
            .map(|_| noise[dice.below(noise.len())])
            .collect()
    };
    let (before, behind) = (some(), some());
    bytes.splice(0..0, before);
    bytes.extend(behind);
    true
}
