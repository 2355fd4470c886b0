//! Lithuania: the longest of ESO's three lists.

use std::format;
use std::prelude::v1::*;

use super::super::household::{Tariff, apparent};
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};
use super::{counter, milli, on_phase, power_factor, power_per_phase, reactive_per_phase};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("0-0:1.0.0", meter.stamp());
    energy(meter, o);
    voltage_and_current(meter, o);
    power(meter, o);
    averages(meter, o);
    quality(meter, o);
}

/// Totals, then four tariffs of each; the third and fourth are not in use.
fn energy(meter: &Meter, o: &mut Objects) {
    let (day, night) = (Tariff::Normal, Tariff::Low);
    let inductive = meter.quadrant(0) + meter.quadrant(1);
    let capacitive = meter.quadrant(2) + meter.quadrant(3);
    let rows = [
        (1, "kWh", meter.import_total(), meter.import(night)),
        (2, "kWh", meter.export_total(), meter.export(night)),
        (3, "kvarh", inductive, inductive / 3),
        (4, "kvarh", capacitive, capacitive / 3),
    ];
    for (c, unit, total, _) in rows {
        o.add(&format!("1-0:{c}.8.0"), milli(total, 11, unit));
    }
    for (c, unit, total, second) in rows {
        for (e, value) in [total - second, second, 0, 0].into_iter().enumerate() {
            o.add(&format!("1-0:{c}.8.{}", e + 1), milli(value, 11, unit));
        }
    }
    let tariff = if meter.tariff() == day {
        "0001"
    } else {
        "0002"
    };
    o.add("0-0:96.14.0", tariff);
}

fn voltage_and_current(meter: &Meter, o: &mut Objects) {
    // kV and kA with three decimals leave whole volts and amperes.
    let (volts, amperes) = (meter.house.voltages(), meter.house.currents());
    for phase in 0..3 {
        let kilovolts = milli(volts[phase] / 1_000, 7, "kV");
        o.add(&format!("{}.7.0", on_phase(32, phase)), &kilovolts);
        o.add(&format!("{}.24.0", on_phase(32, phase)), &kilovolts);
        let kiloamperes = milli((amperes[phase] + 500) / 1_000, 7, "kA");
        o.add(&format!("{}.7.0", on_phase(31, phase)), kiloamperes);
    }
    let sum: i64 = amperes.iter().sum();
    o.add(
        "1-0:12.7.0",
        milli(volts.iter().sum::<i64>() / 3_000, 7, "kV"),
    );
    o.add("1-0:11.7.0", milli((sum / 3 + 500) / 1_000, 7, "kA"));
    o.add("1-0:91.7.0", milli(0, 7, "kA"));
    o.add("1-0:90.7.0", milli((sum + 500) / 1_000, 7, "kA"));
    o.add(
        "1-0:14.7.0",
        milli((meter.house.frequency() + 500) / 1_000, 7, "kHz"),
    );
}

fn power(meter: &Meter, o: &mut Objects) {
    let (total, net) = (meter.flows.total(), meter.flows.net());
    let (var, vars) = (meter.reactive(), meter.flows.reactive());
    o.add("1-0:1.7.0", milli(meter.power_in(), 11, "kW"));
    o.add("1-0:2.7.0", milli(meter.power_out(), 11, "kW"));
    o.add("1-0:15.7.0", milli(total.abs(), 11, "kW"));
    power_per_phase(meter, o, 11);
    reactive_per_phase(meter, o, 11, "kvar");
    let sums = [
        (9, total, var),
        (29, net[0], vars[0]),
        (49, net[1], vars[1]),
        (69, net[2], vars[2]),
    ];
    for (c, active, reactive) in sums {
        let value = if active >= 0 {
            apparent(active, reactive)
        } else {
            0
        };
        o.add(&format!("1-0:{c}.7.0"), milli(value, 11, "kVA"));
    }
    for (c, active, reactive) in sums {
        let value = if active < 0 {
            apparent(active, reactive)
        } else {
            0
        };
        o.add(&format!("1-0:{}.7.0", c + 1), milli(value, 11, "kVA"));
    }
    for (c, active, reactive) in sums {
        let factor = fixed(power_factor(active, reactive), 4, 3);
        o.add(&format!("1-0:{}.7.0", c + 4), factor);
    }
    o.add("1-0:13.3.0", fixed(power_factor(total, var).min(900), 4, 3));
}

fn averages(meter: &Meter, o: &mut Objects) {
    let quarter = meter.demand.quarter;
    let lived = (meter.house.now() % 900).max(1);
    let average = quarter.import / lived;
    o.add("1-0:1.24.0", milli(average, 11, "kW"));
    o.add(
        "1-0:16.24.0",
        milli((quarter.import - quarter.export) / lived, 11, "kW"),
    );
    o.add(
        "1-0:15.24.0",
        milli((quarter.import + quarter.export) / lived, 11, "kW"),
    );
    o.add("1-0:0.8.2", "00900*s");
    for (d, quarter) in [(4, quarter), (5, meter.demand.last)] {
        let (taken, given) = (quarter.import / 900, quarter.export / 900);
        for (c, value, unit) in [
            (1, taken, "kW"),
            (2, given, "kW"),
            (3, taken * 18 / 100, "kvar"),
            (4, given * 18 / 100, "kvar"),
            (9, taken * 102 / 100, "kVA"),
            (10, given * 102 / 100, "kVA"),
        ] {
            o.add(&format!("1-0:{c}.{d}.0"), milli(value, 11, unit));
        }
    }
}

/// Sags and swells with their durations and magnitudes, then the firmware.
fn quality(meter: &Meter, o: &mut Objects) {
    o.add("0-0:96.7.21", counter((meter.digits(10) % 90) as i64));
    for (d, unit, range) in [
        (33, "s", 9_000),
        (34, "V", 200),
        (37, "s", 300),
        (38, "V", 260),
    ] {
        for phase in 0..3 {
            let value = meter.digits(50 + d + phase as i64) % range;
            let id = format!("{}.{d}.0", on_phase(32, phase));
            o.add(&id, format!("{value:05}*{unit}"));
        }
    }
    o.add("1-0:0.2.0", "01.07");
    o.add("1-0:0.2.8", format!("{:08X}", meter.digits(47) as u32));
    o.add("1-1:0.2.0", "01.31");
    o.add("1-1:0.2.8", format!("{:08X}", meter.digits(48) as u32));
}
