//! Switzerland: Groupe E, energy and power in the 1-1 group.

use std::format;

use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, hex};
use super::{
    amperes_2, currents, failure_counters, failure_log, milli, power_per_phase, sags_and_swells,
    tariff_indicator, tariffs, voltages,
};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("0-0:1.0.0", meter.stamp());
    o.add("0-0:0.0.0", meter.stamp12_of(meter.now));
    tariffs(meter, o, "1-1", Tariff::Normal, 9);
    tariff_indicator(meter, o, Tariff::Normal);
    o.add("1-1:1.7.0", milli(meter.power_in(), 5, "kW"));
    o.add("1-1:2.7.0", milli(meter.power_out(), 5, "kW"));
    failure_counters(meter, o);
    o.line(failure_log(meter, meter.recent_failures()));
    sags_and_swells(meter, o);
    voltages(meter, o);
    currents(meter, o, amperes_2);
    o.add("0-0:96.13.0", "");
    o.add("0-0:96.1.4", format!("{:05}", meter.digits(0) % 100_000));
    o.add("0-0:96.1.2", hex(&" ".repeat(48)));
    power_per_phase(meter, o, 5);
    o.add("0-0:96.13.1", "");
    let peak = meter.demand.peak;
    let stamp = meter.stamp_of(peak.at);
    o.line(format!(
        "1-1:1.6.0({stamp})({})",
        milli(peak.watts, 5, "kW")
    ));
    // A count without the peaks it counts, as these meters print it.
    o.add("0-0:98.1.0", "12");
    o.add("1-0:1.4.0", milli(meter.demand(), 5, "kW"));
}
