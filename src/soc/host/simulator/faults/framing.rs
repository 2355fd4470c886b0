//! Oddities of header, line ends and check.

use std::prelude::v1::*;

use super::super::kind::Check;
use super::super::meter::Meter;
use super::super::telegram::{Case, Telegram};
use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    Fault::telegram(
        "header-blank",
        "a blank behind the header's baud digit",
        |t, _| insert_at(t, 5, b' '),
    ),
    Fault::telegram("header-nine", "9 for a baud digit", |t, _| {
        t.header.get_mut(4).is_some_and(|byte| {
            *byte = b'9';
            true
        })
    }),
    Fault::telegram("header-no-baud", "a header without a baud digit", |t, _| {
        t.header = Vec::from("/SIM_P1_3N400V");
        true
    }),
    Fault::telegram("header-slash", "a slash inside the header", |t, _| {
        insert_at(t, 5, b'/')
    }),
    Fault::telegram(
        "no-blank-line",
        "no blank line behind the header",
        |t, _| std::mem::replace(&mut t.blank_line, false),
    ),
    Fault::telegram("blank-end", "a blank line before the end", |t, _| {
        t.blank_end = true;
        true
    }),
    Fault::telegram(
        "glued-end",
        "the last object and the ! on one line",
        |t, _| {
            t.glued_end = true;
            true
        },
    ),
    Fault::telegram(
        "lf",
        "LF for CR LF, the check still that of CR LF",
        |t, _| {
            t.bare_lf = true;
            true
        },
    ),
    Fault::telegram("lower-crc", "a check in lower case", |t, _| {
        t.digits.case = Case::Lower;
        t.check != Check::None
    }),
    Fault::telegram(
        "mixed-crc",
        "a check whose first letter is in lower case",
        |t, _| {
            t.digits.case = Case::Mixed;
            t.check != Check::None
        },
    ),
    Fault::telegram(
        "unpadded-crc",
        "a check without its leading zeros, if it has any",
        |t, _| std::mem::replace(&mut t.digits.padded, false) && t.check != Check::None,
    ),
    Fault::telegram(
        "no-crc",
        "a bare ! where there should be a check",
        |t, _| std::mem::replace(&mut t.check, Check::None) != Check::None,
    ),
    Fault::telegram("crc", "a wrong check", spoil),
];

fn insert_at(t: &mut Telegram, at: usize, byte: u8) -> bool {
    let fits = t.header.len() >= at;
    if fits {
        t.header.insert(at, byte);
    }
    fits
}

fn spoil(t: &mut Telegram, _: &Meter) -> bool {
    t.digits.spoiled = 0x0010;
    t.check != Check::None
}
