//! Objects that some meters print differently, or not at all. The check stays right.

use std::format;
use std::prelude::v1::*;
use std::vec;

use super::super::kind::Kind;
use super::super::meter::Meter;
use super::super::meters::failure_log;
use super::super::telegram::{Telegram, has_id, hex};
use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    Fault::telegram("message", "a short text message", message),
    Fault::telegram(
        "long-message",
        "a text message of 1024 characters",
        long_message,
    ),
    Fault::telegram(
        "plain-message",
        "a text message that is not hex",
        plain_message,
    ),
    Fault::telegram("text-code", "a numeric text code in 96.13.1", text_code),
    Fault::telegram("raw-ff", "1024 raw 0xFF bytes for a text message", raw_ff),
    Fault::telegram(
        "long-line",
        "a line longer than any standard allows",
        long_line,
    ),
    Fault::telegram("plain-id", "an equipment id that is not hex", plain_id),
    Fault::telegram(
        "masked-id",
        "an equipment id of x's, as in captures",
        masked_id,
    ),
    Fault::telegram(
        "odd-id",
        "an equipment id with an odd number of hex digits",
        odd_id,
    ),
    Fault::telegram(
        "letter-version",
        "a version that is a letter",
        letter_version,
    ),
    Fault::telegram(
        "hex-version",
        "the Belgian version as hex of text",
        hex_version,
    ),
    Fault::telegram(
        "lost-clock",
        "a clock that lost its time: 000101000000W",
        lost_clock,
    ),
    Fault::telegram("other-clock", "the clock under 0-0:1.1.0", other_clock),
    Fault::telegram(
        "no-asterisk",
        "energy with its unit but no asterisk",
        no_asterisk,
    ),
    Fault::telegram("unit-blank", "a blank behind every unit", unit_blank),
    Fault::telegram(
        "leading-blank",
        "a blank before every number",
        leading_blank,
    ),
    Fault::telegram("empty-values", "some objects without a value", empty_values),
    Fault::telegram("many-decimals", "energy with eight decimals", many_decimals),
    Fault::telegram("milliampere", "currents in mA", milliampere),
    Fault::telegram(
        "ct-units",
        "a transformer meter: Wh and W, and its ratios",
        ct_units,
    ),
    Fault::telegram(
        "zero-voltage",
        "no voltage on L2, as on a delta grid",
        zero_voltage,
    ),
    Fault::telegram(
        "zero-totals",
        "all energy registers at zero, check right",
        zero_totals,
    ),
    Fault::telegram("extra-tariffs", "tariffs 3 to 5, all zero", extra_tariffs),
    Fault::telegram("tariff-text", "the tariff as TARIFF 1", tariff_text),
    Fault::telegram("breaker-off", "the breaker is open", breaker_off),
    Fault::telegram(
        "comma-limit",
        "two limits in one pair of brackets",
        comma_limit,
    ),
    Fault::telegram("colon", "a colon where the first dot should be", colon),
    Fault::telegram("dot-255", "an id with .255", dot_255),
    Fault::telegram("star-255", "ids with *255", star_255),
    Fault::telegram(
        "unknown-object",
        "objects that no standard knows",
        unknown_object,
    ),
    Fault::telegram("log-empty", "failure log: ()", |t, _| log(t, "()")),
    Fault::telegram("log-none", "failure log: (0)(0-0:96.7.19)", |t, _| {
        log(t, "(0)(0-0:96.7.19)")
    }),
    Fault::telegram("log-blank", "failure log: (0)()", |t, _| log(t, "(0)()")),
    Fault::telegram(
        "log-dummy",
        "failure log: an entry that never was",
        |t, _| log(t, "(1)(0-0:96.7.19)(000101000001W)(2147483647*s)"),
    ),
    Fault::telegram("log-ten", "failure log: ten entries", log_ten),
    Fault::telegram(
        "log-count",
        "failure log: its number is not that of its entries",
        log_count,
    ),
    Fault::telegram(
        "log-no-unit",
        "failure log: durations without unit",
        log_no_unit,
    ),
    Fault::telegram(
        "log-misprint",
        "failure log: the separators of an old example",
        log_misprint,
    ),
    Fault::telegram(
        "reversed-peak",
        "1.6.0 with its value before a stamp of 12",
        reversed_peak,
    ),
    Fault::telegram("no-peaks", "98.1.0 with no months", |t, _| {
        peaks(t, "(0)(1-0:1.6.0)(1-0:1.6.0)()()()")
    }),
    Fault::telegram(
        "peak-never",
        "98.1.0 with a month whose peak never was",
        |t, _| {
            peaks(
                t,
                "(2)(1-0:1.6.0)(1-0:1.6.0)(241001000000S)(35255255255255255S)(00.000*kW)\
             (241101000000W)(632525252525W)(00.000*kW)",
            )
        },
    ),
];

/// Replaces everything behind the id of an object.
pub(super) fn set(t: &mut Telegram, id: &str, groups: impl AsRef<[u8]>) -> bool {
    let Some(line) = t.object(id) else {
        return false;
    };
    line.truncate(id.len());
    line.extend(groups.as_ref());
    true
}

fn replace(line: &mut Vec<u8>, from: &[u8], to: &[u8]) -> bool {
    let Some(at) = line.windows(from.len()).position(|bytes| bytes == from) else {
        return false;
    };
    line.splice(at..at + from.len(), to.iter().copied());
    true
}

/// Bends every line; whether any was bent.
fn each(t: &mut Telegram, mut edit: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
    let mut any = false;
    for line in &mut t.objects {
        any |= edit(line);
    }
    any
}

/// The first of these ids that the telegram has.
fn first(t: &Telegram, ids: &[&'static str]) -> Option<&'static str> {
    ids.iter().copied().find(|id| t.position(id).is_some())
}

fn is_energy(line: &[u8]) -> bool {
    ["1-0:1.8.", "1-0:2.8.", "1-1:1.8.", "1-1:2.8."]
        .iter()
        .any(|id| line.starts_with(id.as_bytes()))
}

fn text(t: &mut Telegram, value: &[u8]) -> bool {
    let mut groups = vec![b'('];
    groups.extend(value);
    groups.push(b')');
    if !set(t, "0-0:96.13.0", &groups) {
        let mut line = Vec::from("0-0:96.13.0");
        line.extend(groups);
        t.objects.push(line);
    }
    true
}

fn message(t: &mut Telegram, _: &Meter) -> bool {
    text(
        t,
        hex("Works on the grid on Tuesday, 09:00 to 11:30").as_bytes(),
    )
}

/// `length` characters of words.
fn words(length: usize) -> String {
    "The grid operator says hello. "
        .chars()
        .cycle()
        .take(length)
        .collect()
}

fn long_message(t: &mut Telegram, _: &Meter) -> bool {
    text(t, hex(&words(1_024)).as_bytes())
}

fn plain_message(t: &mut Telegram, _: &Meter) -> bool {
    text(t, b"Call 000 before digging")
}

fn text_code(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "0-0:96.13.1", "(3031203631203831)")
}

fn raw_ff(t: &mut Telegram, meter: &Meter) -> bool {
    // Sanxing meters have it of their own accord.
    meter.kind != Kind::Hu && text(t, &[0xFF; 1_024])
}

fn long_line(t: &mut Telegram, _: &Meter) -> bool {
    text(t, hex(&words(2_048)).as_bytes())
}

fn plain_id(t: &mut Telegram, meter: &Meter) -> bool {
    let id = meter.digits(0) % 100_000;
    set(t, "0-0:96.1.1", format!("(K{id:05}-sim)"))
}

fn masked_id(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "0-0:96.1.1", "(xxxxxxxxxxxxx)")
}

fn odd_id(t: &mut Telegram, meter: &Meter) -> bool {
    let id = hex(&meter.serial(0));
    set(t, "0-0:96.1.1", format!("({})", &id[1..]))
}

fn letter_version(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "1-3:0.2.8", "(P)")
}

fn hex_version(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "0-0:96.1.4", "(3530323137)")
}

fn lost_clock(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "0-0:1.0.0", "(000101000000W)") || set(t, "0-0:1.1.0", "(000101000000W)")
}

fn other_clock(t: &mut Telegram, _: &Meter) -> bool {
    t.object("0-0:1.0.0")
        .is_some_and(|line| replace(line, b"0-0:1.0.0", b"0-0:1.1.0"))
}

fn no_asterisk(t: &mut Telegram, _: &Meter) -> bool {
    each(t, |line| {
        is_energy(line) && (replace(line, b"*kWh", b"kWh") || replace(line, b"*Wh", b"Wh"))
    })
}

fn unit_blank(t: &mut Telegram, _: &Meter) -> bool {
    each(t, |line| {
        let is_unit = line
            .iter()
            .rposition(|byte| *byte == b'*')
            .is_some_and(|at| line[at + 1..].first().is_some_and(u8::is_ascii_alphabetic));
        is_unit && line.ends_with(b")") && {
            line.insert(line.len() - 1, b' ');
            true
        }
    })
}

fn leading_blank(t: &mut Telegram, _: &Meter) -> bool {
    each(t, |line| is_energy(line) && replace(line, b"(", b"( "))
}

fn empty_values(t: &mut Telegram, _: &Meter) -> bool {
    let mut any = false;
    for id in [
        "1-0:2.7.0",
        "1-0:31.7.0",
        "1-0:32.7.0",
        "0-0:17.0.0",
        "0-0:96.7.21",
    ] {
        any |= set(t, id, "()");
    }
    any
}

fn many_decimals(t: &mut Telegram, meter: &Meter) -> bool {
    let more = format!("{:05}*kWh", meter.now * 7_919 % 100_000);
    each(t, |line| {
        is_energy(line) && replace(line, b"*kWh", more.as_bytes())
    })
}

fn milliampere(t: &mut Telegram, meter: &Meter) -> bool {
    let mut any = false;
    let ids = ["1-0:31.7.0", "1-0:51.7.0", "1-0:71.7.0"];
    for (id, current) in ids.into_iter().zip(meter.house.currents()) {
        any |= set(t, id, format!("({current:05}*mA)"));
    }
    any
}

fn ct_units(t: &mut Telegram, _: &Meter) -> bool {
    let any = each(t, |line| {
        ["*kWh", "*kW", "*kVArh", "*kVAr", "*kvarh", "*kvar"]
            .iter()
            .any(|unit| {
                let bare = unit.replace('k', "");
                replace(line, unit.as_bytes(), bare.as_bytes())
            })
    });
    t.objects.push(Vec::from("1-0:0.4.2(060)"));
    t.objects.push(Vec::from("1-0:0.4.3(001.00)"));
    any
}

fn zero_voltage(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "1-0:52.7.0", "(000.0*V)")
}

/// The value of a line with zeros for digits.
fn zeroed(line: &[u8]) -> Vec<u8> {
    let value = line
        .iter()
        .position(|byte| *byte == b'(')
        .unwrap_or(line.len());
    let mut line = line.to_vec();
    for byte in &mut line[value..] {
        if byte.is_ascii_digit() {
            *byte = b'0';
        }
    }
    line
}

fn zero_totals(t: &mut Telegram, _: &Meter) -> bool {
    each(t, |line| {
        is_energy(line) && {
            *line = zeroed(line);
            true
        }
    })
}

fn extra_tariffs(t: &mut Telegram, _: &Meter) -> bool {
    let (Some(import), Some(export)) = (t.position("1-0:1.8.2"), t.position("1-0:2.8.2")) else {
        return false;
    };
    // From the end, so that the first position stays right.
    for at in [import.max(export), import.min(export)] {
        for tariff in [b'5', b'4', b'3'] {
            let mut line = zeroed(&t.objects[at]);
            line["1-0:1.8.".len()] = tariff;
            t.objects.insert(at + 1, line);
        }
    }
    true
}

fn tariff_text(t: &mut Telegram, _: &Meter) -> bool {
    set(t, "0-0:96.14.0", "(TARIFF 1)")
}

fn breaker_off(t: &mut Telegram, _: &Meter) -> bool {
    let Some(id) = first(t, &["0-0:96.50.68", "0-0:96.3.10"]) else {
        return false;
    };
    t.object(id)
        .is_some_and(|line| replace(line, b"(ON)", b"(OFF)") || replace(line, b"(1)", b"(0)"))
}

fn comma_limit(t: &mut Telegram, _: &Meter) -> bool {
    let Some(id) = first(t, &["1-0:31.4.0", "1-1:31.4.0"]) else {
        return false;
    };
    t.object(id).is_some_and(|line| {
        *line = Vec::from("1-1:31.4.0(30.0*A,-65.0*A)");
        true
    })
}

fn colon(t: &mut Telegram, _: &Meter) -> bool {
    let ids = [
        "1-0:72.32.0",
        "1-0:72.7.0",
        "1-0:32.7.0",
        "1-0:1.7.0",
        "0-1:24.1.0",
    ];
    let Some(id) = first(t, &ids) else {
        return false;
    };
    t.object(id).is_some_and(|line| replace(line, b".", b":"))
}

fn dot_255(t: &mut Telegram, _: &Meter) -> bool {
    let Some(id) = first(t, &["1-0:31.7.0", "1-0:1.7.0", "0-1:24.1.0"]) else {
        return false;
    };
    t.object(id)
        .is_some_and(|line| replace(line, b"(", b".255("))
}

fn star_255(t: &mut Telegram, _: &Meter) -> bool {
    each(t, |line| {
        !line.starts_with(b"(")
            && !line.windows(5).any(|w| w == b"*255(")
            && replace(line, b"(", b"*255(")
    })
}

fn unknown_object(t: &mut Telegram, _: &Meter) -> bool {
    let middle = t.objects.len() / 2;
    // Never between a 24.3.0 and the value on its next line.
    let at = if t.objects[middle].starts_with(b"(") {
        middle + 1
    } else {
        middle
    };
    t.objects
        .insert(at, Vec::from("9-9:99.99.9(12.5*furlong)(?)"));
    t.objects.push(Vec::from("1-0:250.250.250.255(00042)"));
    true
}

fn log(t: &mut Telegram, groups: &str) -> bool {
    set(t, "1-0:99.97.0", groups)
}

fn log_ten(t: &mut Telegram, meter: &Meter) -> bool {
    t.object("1-0:99.97.0").is_some_and(|line| {
        *line = failure_log(meter, &meter.failures).into_bytes();
        true
    })
}

fn log_count(t: &mut Telegram, _: &Meter) -> bool {
    t.object("1-0:99.97.0")
        .is_some_and(|line| replace(line, b"(2)", b"(7)"))
}

fn log_no_unit(t: &mut Telegram, _: &Meter) -> bool {
    t.object("1-0:99.97.0").is_some_and(|line| {
        let mut any = false;
        while replace(line, b"*s)", b")") {
            any = true;
        }
        any
    })
}

fn log_misprint(t: &mut Telegram, _: &Meter) -> bool {
    t.object("1-0:99.97.0").is_some_and(|line| {
        replace(line, b"99.97.0", b"99:97.0") && replace(line, b"(0-0:96.7.19)", b"(0:96.7.19)")
    })
}

fn reversed_peak(t: &mut Telegram, _: &Meter) -> bool {
    let Some(line) = t
        .objects
        .iter_mut()
        .find(|line| has_id(line, "1-0:1.6.0") || has_id(line, "1-1:1.6.0"))
    else {
        return false;
    };
    // `1-0:1.6.0(stamp)(value)`
    let groups: Vec<Vec<u8>> = line[9..]
        .split(|byte| matches!(byte, b'(' | b')'))
        .filter(|group| !group.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let [stamp, value] = &groups[..] else {
        return false;
    };
    line.truncate(9);
    line.push(b'(');
    line.extend(value);
    line.extend(b")(");
    line.extend(stamp.iter().filter(|byte| byte.is_ascii_digit()));
    line.push(b')');
    true
}

/// The list of peaks; elsewhere 98.1.0 is something else.
fn peaks(t: &mut Telegram, groups: &str) -> bool {
    let is_list = t
        .object("0-0:98.1.0")
        .is_some_and(|line| line.windows(11).any(|bytes| bytes == b"(1-0:1.6.0)"));
    is_list && set(t, "0-0:98.1.0", groups)
}
