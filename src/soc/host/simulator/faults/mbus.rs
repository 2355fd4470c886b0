//! Oddities of the meters behind the meter: channels that moved, died, or never said anything.

use std::format;
use std::prelude::v1::*;

use super::super::meter::Meter;
use super::super::telegram::{Telegram, fixed, hex};
use super::Fault;

pub(super) const FAULTS: &[Fault] = &[
    Fault::telegram(
        "heat-channel",
        "one more channel: district heat in GJ",
        |t, meter| {
            let heat = format!("{}*GJ", fixed(meter.captured().heat / 1_000, 8, 3));
            add_channel(t, meter, "004", 3, &heat)
        },
    ),
    Fault::telegram(
        "cooling-channel",
        "one more channel: cooling in GJ",
        |t, meter| {
            let cold = format!("{}*GJ", fixed(meter.captured().heat / 7_000, 8, 3));
            add_channel(t, meter, "010", 5, &cold)
        },
    ),
    Fault::telegram("water-channel", "one more channel: water", |t, meter| {
        let water = format!("{}*m3", fixed(meter.captured().water, 8, 3));
        add_channel(t, meter, "007", 2, &water)
    }),
    Fault::telegram(
        "slave-channel",
        "one more channel: an electricity meter",
        |t, meter| {
            let energy = format!("{}*kWh", fixed(meter.import_total() / 9, 8, 3));
            add_channel(t, meter, "002", 4, &energy)
        },
    ),
    Fault::telegram(
        "empty-reading",
        "the first channel's reading is a unit alone",
        empty_reading,
    ),
    Fault::telegram(
        "no-reading",
        "the first channel has not been read yet",
        no_reading,
    ),
    Fault::telegram(
        "one-line-gas",
        "the value of 24.3.0 on the same line",
        one_line_gas,
    ),
    Fault::telegram("gas-channel-2", "every channel is one higher", |t, _| {
        shift(t, 1)
    }),
    Fault::telegram("gas-channel-3", "every channel is two higher", |t, _| {
        shift(t, 2)
    }),
    Fault::telegram(
        "dead-channel",
        "a dead channel 1 first: stamp 632525252525S, no unit",
        |t, meter| dead(t, meter, "632525252525S", "00000.000"),
    ),
    Fault::telegram(
        "dead-channel-old",
        "a dead channel 1 first: a stamp of years ago",
        |t, meter| {
            let stamp = meter.stamp_of(meter.failures[0].0);
            dead(t, meter, &stamp, "04711.088*m3")
        },
    ),
    Fault::telegram(
        "dead-channel-1970",
        "a dead channel 1 first: a stamp of 1970",
        |t, meter| dead(t, meter, "700101010000W", "00000000"),
    ),
    Fault::telegram(
        "dead-channel-2000",
        "a dead channel 1 first: a stamp of 2000",
        |t, meter| dead(t, meter, "000101000000W", "00000.000*m3"),
    ),
    Fault::telegram(
        "dead-channel-empty",
        "an unpaired channel 1 first: all empty",
        |t, _| {
            let reading = reading_id(t);
            reading.is_some() && shift(t, 1) && {
                let id = reading.unwrap_or_default();
                insert(
                    t,
                    &[
                        "0-1:24.1.0()".into(),
                        "0-1:96.1.0()".into(),
                        format!("0-1:{id}()"),
                    ],
                );
                true
            }
        },
    ),
];

/// The channel of an M-Bus object: 1 to 9.
fn channel(line: &[u8]) -> Option<u8> {
    let [b'0', b'-', n @ b'1'..=b'9', b':', rest @ ..] = line else {
        return None;
    };
    (rest.starts_with(b"24.") || rest.starts_with(b"96.1.")).then_some(n - b'0')
}

/// `24.2.1`, `24.2.3` or `24.3.0`: what this meter's first channel prints its reading as.
fn reading_id(t: &Telegram) -> Option<&'static str> {
    ["24.2.3", "24.3.0", "24.2.1"]
        .into_iter()
        .find(|id| t.position(&format!("0-1:{id}")).is_some())
}

/// `96.1.0`, or `96.1.1` in Belgium.
fn serial_id(t: &Telegram) -> &'static str {
    if t.position("0-1:96.1.1").is_some() {
        "96.1.1"
    } else {
        "96.1.0"
    }
}

fn shift(t: &mut Telegram, by: u8) -> bool {
    let mut any = false;
    for line in &mut t.objects {
        let Some(n) = channel(line) else {
            continue;
        };
        let from = [b'0', b'-', b'0' + n, b':'];
        // A 24.3.0 names its channel twice.
        for at in 0..line.len() - 4 {
            if line[at..at + 4] == from && (at == 0 || line[at - 1] == b'(') {
                line[at + 2] = b'0' + n + by;
            }
        }
        any = true;
    }
    any
}

/// Puts lines before the first channel.
fn insert(t: &mut Telegram, lines: &[String]) {
    let at = t.objects.iter().position(|line| channel(line).is_some());
    let at = at.unwrap_or(t.objects.len());
    let lines = lines.iter().map(|line| line.clone().into_bytes());
    t.objects.splice(at..at, lines);
}

fn dead(t: &mut Telegram, meter: &Meter, stamp: &str, value: &str) -> bool {
    let (Some(reading), serial) = (reading_id(t), serial_id(t)) else {
        return false;
    };
    shift(t, 1);
    let id = hex(&meter.serial(9));
    let mut lines = Vec::from(["0-1:24.1.0(003)".into(), format!("0-1:{serial}({id})")]);
    if reading == "24.3.0" {
        let stamp = &stamp[..12];
        lines.push(format!("0-1:24.3.0({stamp})(00)(60)(1)(0-1:24.2.1)(m3)"));
        lines.push(format!("({})", value.trim_end_matches("*m3")));
    } else {
        lines.push(format!("0-1:{reading}({stamp})({value})"));
    }
    insert(t, &lines);
    true
}

fn add_channel(t: &mut Telegram, meter: &Meter, device: &str, serial: i64, value: &str) -> bool {
    let taken = t.objects.iter().filter_map(|line| channel(line)).max();
    let n = taken.unwrap_or(0) + 1;
    let id = hex(&meter.serial(serial));
    let stamp = meter.stamp_of(meter.captured().at);
    let serial = serial_id(t);
    for line in [
        format!("0-{n}:24.1.0({device})"),
        format!("0-{n}:{serial}({id})"),
        format!("0-{n}:24.2.1({stamp})({value})"),
    ] {
        t.objects.push(line.into_bytes());
    }
    true
}

/// Replaces the last group of the first channel's reading.
fn last_group(t: &mut Telegram, new: impl Fn(&str) -> String) -> bool {
    let Some(id) = reading_id(t) else {
        return false;
    };
    let Some(line) = t.object(&format!("0-1:{id}")) else {
        return false;
    };
    let text = String::from_utf8_lossy(line).into_owned();
    let Some((rest, group)) = text.rsplit_once('(') else {
        return false;
    };
    *line = format!("{rest}({})", new(group.trim_end_matches(')'))).into_bytes();
    true
}

fn empty_reading(t: &mut Telegram, _: &Meter) -> bool {
    if reading_id(t) == Some("24.3.0") {
        return false;
    }
    last_group(t, |group| match group.split_once('*') {
        Some((_, unit)) => format!("*{unit}"),
        None => String::new(),
    })
}

fn no_reading(t: &mut Telegram, _: &Meter) -> bool {
    match reading_id(t) {
        None | Some("24.3.0") => false,
        Some(id) => super::objects::set(t, &format!("0-1:{id}"), "(632525252525W)(00000.000)"),
    }
}

fn one_line_gas(t: &mut Telegram, _: &Meter) -> bool {
    let Some(at) = t.position("0-1:24.3.0") else {
        return false;
    };
    let value = t.objects.remove(at + 1);
    t.objects[at].extend(value);
    true
}
