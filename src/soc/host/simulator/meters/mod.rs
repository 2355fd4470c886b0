//! What each kind of meter prints: header, objects in their order, widths and units.

mod at;
mod be;
mod ch;
mod hu;
mod il;
mod lt;
mod lu;
mod metcom;
mod nl;
mod nordic;
mod predsmr;
mod warmtelink;

use std::format;
use std::prelude::v1::*;

use super::household::Tariff;
use super::kind::Kind;
use super::meter::Meter;
use super::telegram::{Case, Digits, Objects, Telegram, fixed};

/// The telegram a faultless meter has at this moment.
pub(super) fn telegram(meter: &Meter) -> Telegram {
    let mut objects = Objects::default();
    let id = meter.digits(0) % 1_000_000;
    let header = match meter.kind {
        Kind::Dsmr22 => {
            nl::dsmr22(meter, &mut objects);
            format!("/ISk5\\2MT382-{id:06}")
        }
        Kind::Dsmr30 => {
            nl::dsmr30(meter, &mut objects);
            format!("/ISk5\\2MT383-{id:06}")
        }
        Kind::Dsmr40 => {
            nl::dsmr40(meter, &mut objects);
            format!("/KMP5 SIMA{id:06}")
        }
        Kind::Dsmr42 => {
            nl::dsmr42(meter, &mut objects);
            format!("/XMX5LGSIM{id:06}")
        }
        Kind::Esmr50 => {
            nl::esmr50(meter, &mut objects);
            format!("/Ene5\\SIM{id:06}")
        }
        Kind::Esmr50OnePhase => {
            nl::esmr50(meter, &mut objects);
            format!("/ISK5\\2SIM{id:06}")
        }
        Kind::Be => {
            be::objects(meter, &mut objects);
            format!("/FLU5\\253{id:06}_A")
        }
        Kind::Lu => {
            lu::objects(meter, &mut objects);
            format!("/Lux5\\253{id:06}_D")
        }
        Kind::Se => {
            nordic::objects(meter, &mut objects, "kvarh", "kvar");
            format!("/ELL5\\253{id:06}_A")
        }
        Kind::Fi => {
            nordic::objects(meter, &mut objects, "kVArh", "kVAr");
            format!("/LGF5SIM{id:06}")
        }
        Kind::Hu => {
            hu::sanxing(meter, &mut objects);
            format!("/AUX5{:010}", meter.digits(0) % 10_000_000_000)
        }
        Kind::HuHolley => {
            hu::holley(meter, &mut objects);
            format!("/HLY5/SIM{id:06}-METER")
        }
        Kind::Lt => {
            lt::objects(meter, &mut objects);
            format!("/ESO5\\253{id:06}_C")
        }
        Kind::Ch => {
            ch::objects(meter, &mut objects);
            format!("/GRE5\\253{id:06}_A")
        }
        Kind::At => {
            at::objects(meter, &mut objects);
            format!("/EST5\\253{id:06}_A")
        }
        Kind::Il => {
            il::objects(meter, &mut objects);
            format!("/KFM5SIM{id:06}-METER")
        }
        Kind::Mcs301 => {
            metcom::objects(meter, &mut objects);
            format!("/MCS5\\@{:014}", meter.digits(0))
        }
        Kind::Warmtelink => {
            warmtelink::objects(meter, &mut objects);
            String::from("/NWA-WARMTELINK")
        }
        Kind::Ace4000 => {
            predsmr::objects(meter, &mut objects);
            format!("/ACE4\\3kSIMV{:02}.{:02}", id % 4, id % 90)
        }
    };
    Telegram {
        header: header.into_bytes(),
        blank_line: true,
        objects: objects.0,
        blank_end: false,
        glued_end: false,
        bare_lf: false,
        check: meter.kind.check(),
        digits: Digits {
            case: Case::Upper,
            padded: meter.kind != Kind::Warmtelink,
            spoiled: 0,
        },
    }
}

/// A number in thousandths with its unit, `digits` wide: `000057.460*kWh` for 9.
fn milli(value: i64, digits: usize, unit: &str) -> String {
    format!("{}*{unit}", fixed(value, digits, 3))
}

/// Volts with one decimal from mV: F4(1).
fn volts(millivolts: i64) -> String {
    format!("{}*V", fixed((millivolts + 50) / 100, 4, 1))
}

/// Whole amperes from mA: F3(0).
fn amperes(milliamperes: i64) -> String {
    format!("{}*A", fixed((milliamperes + 500) / 1_000, 3, 0))
}

/// Amperes with two decimals from mA: F5(2).
fn amperes_2(milliamperes: i64) -> String {
    format!("{}*A", fixed((milliamperes + 5) / 10, 5, 2))
}

/// A counter of five digits: F5(0).
fn counter(value: i64) -> String {
    fixed(value, 5, 0)
}

/// The OBIS group C of a quantity on L1, which each further phase moves by 20.
fn on_phase(c: usize, phase: usize) -> String {
    format!("1-0:{}", c + 20 * phase)
}

/// Phases that the house has: 1 or 3 of them.
fn phases(meter: &Meter) -> std::ops::Range<usize> {
    0..if meter.kind.three_phase() { 3 } else { 1 }
}

/// 1.7.0 and 2.7.0 as F5(3) kW.
fn power(meter: &Meter, o: &mut Objects) {
    o.add("1-0:1.7.0", milli(meter.power_in(), 5, "kW"));
    o.add("1-0:2.7.0", milli(meter.power_out(), 5, "kW"));
}

/// 21.7.0, 41.7.0, 61.7.0, then 22.7.0, 42.7.0, 62.7.0, `digits` wide in kW.
fn power_per_phase(meter: &Meter, o: &mut Objects, digits: usize) {
    let net = meter.flows.net();
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(21, phase));
        o.add(&id, milli(net[phase].max(0), digits, "kW"));
    }
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(22, phase));
        o.add(&id, milli((-net[phase]).max(0), digits, "kW"));
    }
}

/// 23.7.0, 43.7.0, 63.7.0, then 24.7.0, 44.7.0, 64.7.0, `digits` wide.
fn reactive_per_phase(meter: &Meter, o: &mut Objects, digits: usize, unit: &str) {
    let reactive = meter.flows.reactive();
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(23, phase));
        o.add(&id, milli(reactive[phase].max(0), digits, unit));
    }
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(24, phase));
        o.add(&id, milli((-reactive[phase]).max(0), digits, unit));
    }
}

/// 32.7.0, 52.7.0, 72.7.0 as F4(1) V.
fn voltages(meter: &Meter, o: &mut Objects) {
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(32, phase));
        o.add(&id, volts(meter.house.voltages()[phase]));
    }
}

/// 31.7.0, 51.7.0, 71.7.0, printed by `print` from mA.
fn currents(meter: &Meter, o: &mut Objects, print: fn(i64) -> String) {
    for phase in phases(meter) {
        let id = format!("{}.7.0", on_phase(31, phase));
        o.add(&id, print(meter.house.currents()[phase]));
    }
}

/// Voltage sags and swells per phase: few, and the same for the meter's whole simulated life.
fn sags_and_swells(meter: &Meter, o: &mut Objects) {
    for phase in phases(meter) {
        let id = format!("{}.32.0", on_phase(32, phase));
        o.add(&id, counter((meter.digits(20 + phase as i64) % 7) as i64));
    }
    for phase in phases(meter) {
        let id = format!("{}.36.0", on_phase(32, phase));
        o.add(&id, counter((meter.digits(30 + phase as i64) % 3) as i64));
    }
}

/// 96.7.21 and 96.7.9: short and long failures.
fn failure_counters(meter: &Meter, o: &mut Objects) {
    o.add("0-0:96.7.21", counter((meter.digits(10) % 12) as i64 + 2));
    o.add("0-0:96.7.9", counter(meter.recent_failures().len() as i64));
}

/// 99.97.0 with these failures: number, what is captured, then end and duration of each.
pub(super) fn failure_log(meter: &Meter, failures: &[(i64, i64)]) -> String {
    let mut line = format!("1-0:99.97.0({})(0-0:96.7.19)", failures.len());
    for (end, seconds) in failures {
        line += &format!("({})({seconds:010}*s)", meter.stamp_of(*end));
    }
    line
}

/// Import and export of two tariffs in kWh under `a` (`1-0` or `1-1`); `first` is tariff 1.
fn tariffs(meter: &Meter, o: &mut Objects, a: &str, first: Tariff, digits: usize) {
    let second = match first {
        Tariff::Low => Tariff::Normal,
        Tariff::Normal => Tariff::Low,
    };
    for (n, tariff) in [(1, first), (2, second)] {
        let id = format!("{a}:1.8.{n}");
        o.add(&id, milli(meter.import(tariff), digits, "kWh"));
    }
    for (n, tariff) in [(1, first), (2, second)] {
        let id = format!("{a}:2.8.{n}");
        o.add(&id, milli(meter.export(tariff), digits, "kWh"));
    }
}

/// 96.14.0; `first` is what `0001` means.
fn tariff_indicator(meter: &Meter, o: &mut Objects, first: Tariff) {
    let value = if meter.tariff() == first {
        "0001"
    } else {
        "0002"
    };
    o.add("0-0:96.14.0", value);
}

/// Power factor in thousandths, negative while power is given back.
fn power_factor(active: i64, reactive: i64) -> i64 {
    let apparent = super::household::apparent(active, reactive);
    (active * 1_000).checked_div(apparent).unwrap_or(1_000)
}
