//! Belgium: eMUCS-P1 1.7.1.

use std::format;
use std::prelude::v1::*;

use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, hex};
use super::{
    amperes_2, currents, milli, power, power_per_phase, tariff_indicator, tariffs, voltages,
};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("0-0:96.1.4", "50217");
    o.add("0-0:96.1.1", hex(&meter.serial(0)));
    o.add("0-0:96.1.2", hex(&format!("54{:016}", meter.digits(40))));
    o.add("0-0:1.0.0", meter.stamp());
    // Tariff 1 is the day here.
    tariffs(meter, o, "1-0", Tariff::Normal, 9);
    tariff_indicator(meter, o, Tariff::Normal);
    o.add("1-0:1.4.0", milli(meter.demand(), 5, "kW"));
    let peak = meter.demand.peak;
    let (stamp, value) = (meter.stamp_of(peak.at), milli(peak.watts, 5, "kW"));
    o.line(format!("1-0:1.6.0({stamp})({value})"));
    o.line(peaks(meter));
    power(meter, o);
    power_per_phase(meter, o, 5);
    voltages(meter, o);
    currents(meter, o, amperes_2);
    o.add("0-0:96.3.10", "1");
    o.add("0-0:17.0.0", "999.9*kW");
    o.add("1-0:31.4.0", "999*A");
    o.add("0-0:96.13.0", "");

    let captured = meter.captured();
    let stamp = meter.stamp_of(captured.at);
    o.add("0-1:24.1.0", "003");
    o.add("0-1:96.1.1", hex(&meter.serial(1)));
    o.add("0-1:24.4.0", "1");
    o.line(format!(
        "0-1:24.2.3({stamp})({})",
        milli(captured.gas, 8, "m3")
    ));
    o.add("0-2:24.1.0", "007");
    o.add("0-2:96.1.1", hex(&meter.serial(2)));
    o.line(format!(
        "0-2:24.2.1({stamp})({})",
        milli(captured.water, 8, "m3")
    ));
}

/// 98.1.0: the peak of each of the last thirteen months, with the month's end and the peak's.
fn peaks(meter: &Meter) -> String {
    let months = &meter.demand.months;
    let mut line = format!("0-0:98.1.0({})(1-0:1.6.0)(1-0:1.6.0)", months.len());
    for month in months {
        line += &format!(
            "({})({})({})",
            meter.stamp_of(month.end),
            meter.stamp_of(month.peak.at),
            milli(month.peak.watts, 5, "kW")
        );
    }
    line
}
