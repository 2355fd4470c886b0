//! Sweden (Energiföretagen H1, version 2.0) and Finland (SK 13-1): one list, spelled differently.

use std::format;
use std::prelude::v1::*;

use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};
use super::{currents, milli, power_per_phase, reactive_per_phase, voltages};

pub(super) fn objects(meter: &Meter, o: &mut Objects, energy: &str, power: &str) {
    o.add("0-0:1.0.0", meter.stamp());
    o.add("1-0:1.8.0", milli(meter.import_total(), 11, "kWh"));
    o.add("1-0:2.8.0", milli(meter.export_total(), 11, "kWh"));
    let inductive = meter.quadrant(0) + meter.quadrant(1);
    let capacitive = meter.quadrant(2) + meter.quadrant(3);
    o.add("1-0:3.8.0", milli(inductive, 11, energy));
    o.add("1-0:4.8.0", milli(capacitive, 11, energy));
    o.add("1-0:1.7.0", milli(meter.power_in(), 7, "kW"));
    o.add("1-0:2.7.0", milli(meter.power_out(), 7, "kW"));
    let reactive = meter.reactive();
    o.add("1-0:3.7.0", milli(reactive.max(0), 7, power));
    o.add("1-0:4.7.0", milli((-reactive).max(0), 7, power));
    power_per_phase(meter, o, 7);
    reactive_per_phase(meter, o, 7, power);
    voltages(meter, o);
    currents(meter, o, |milliamperes| {
        format!("{}*A", fixed((milliamperes + 50) / 100, 4, 1))
    });
}
