//! MetCom MCS301, a Dutch business meter with formats of its own.

use std::format;
use std::prelude::v1::*;

use super::super::calendar::local;
use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed, hex};
use super::{failure_counters, on_phase, sags_and_swells};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("1-3:0.2.8", "50");
    o.add("0-0:1.0.0", dlms_clock(meter));
    o.add(
        "0-0:96.1.1",
        hex(&format!("{:08}", meter.digits(0) % 100_000_000)),
    );
    for (id, value) in [
        ("1-0:1.8.1", meter.import(Tariff::Low)),
        ("1-0:1.8.2", meter.import(Tariff::Normal)),
        ("1-0:2.8.1", meter.export(Tariff::Low)),
        ("1-0:2.8.2", meter.export(Tariff::Normal)),
    ] {
        o.add(id, format!("{}*kWh", fixed(value / 10, 9, 2)));
    }
    // Not a tariff number: this meter prints something else here.
    o.add("0-0:96.14.0", "5431");
    o.add("1-0:1.7.0", kw_4(meter.power_in()));
    o.add("1-0:2.7.0", kw_4(meter.power_out()));
    failure_counters(meter, o);
    let mut log = format!(
        "1-0:99.97.0({})(0-0:96.7.19)",
        meter.recent_failures().len()
    );
    for (end, seconds) in meter.recent_failures() {
        log += &format!("({})({seconds})", meter.stamp_of(*end));
    }
    o.line(log);
    sags_and_swells(meter, o);
    o.add("0-0:96.13.0", "");
    let mut per_phase = |c: usize, values: [String; 3]| {
        for (phase, value) in values.into_iter().enumerate() {
            o.add(&format!("{}.7.0", on_phase(c, phase)), value);
        }
    };
    let (volts, amperes) = (meter.house.voltages(), meter.house.currents());
    per_phase(32, volts.map(|mv| format!("{}*V", fixed(mv / 10, 5, 2))));
    per_phase(31, amperes.map(|ma| format!("{ma}*mA")));
    let net = meter.flows.net();
    per_phase(21, net.map(|watts| kw_4(watts.max(0))));
    per_phase(22, net.map(|watts| kw_4((-watts).max(0))));
    o.add("0-1:24.1.0", "000");
    o.add("0-1:96.1.0", "");
    o.line("0-1:24.2.1(000101000000W)(00000000.0000)");
}

fn kw_4(watts: i64) -> String {
    format!("{}*kW", fixed(watts * 10, 5, 4))
}

/// A DLMS date-time (IEC 62056-6-2) as hex: year, month, day, weekday from 1, hour, minute,
/// second, hundredths, minutes from UTC, status with summer time in its top bit.
fn dlms_clock(meter: &Meter) -> String {
    let t = local(meter.now, meter.zone());
    let (deviation, status) = if t.summer { (120, 0x80) } else { (60, 0) };
    format!(
        "{:04X}{:02X}{:02X}{:02X}{:02X}{:02X}{:02X}00{deviation:04X}{status:02X}",
        t.year,
        t.month,
        t.day,
        t.weekday + 1,
        t.hour,
        t.minute,
        t.second
    )
}
