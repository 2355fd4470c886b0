//! Luxembourg: Smarty P1 1.1.3, the text that its encrypted frames carry.

use std::format;
use std::prelude::v1::*;

use super::super::meter::Meter;
use super::super::telegram::{Objects, hex};
use super::{
    amperes, counter, currents, milli, power, power_per_phase, reactive_per_phase, sags_and_swells,
    voltages,
};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("1-3:0.2.8", "42");
    o.add("0-0:1.0.0", meter.stamp());
    o.add("0-0:42.0.0", hex(&meter.serial(0)));
    o.add("1-0:1.8.0", milli(meter.import_total(), 9, "kWh"));
    o.add("1-0:2.8.0", milli(meter.export_total(), 9, "kWh"));
    let (inductive, capacitive) = (
        meter.quadrant(0) + meter.quadrant(1),
        meter.quadrant(2) + meter.quadrant(3),
    );
    o.add("1-0:3.8.0", milli(inductive, 9, "kvarh"));
    o.add("1-0:4.8.0", milli(capacitive, 9, "kvarh"));
    power(meter, o);
    let reactive = meter.reactive();
    o.add("1-0:3.7.0", milli(reactive.max(0), 5, "kvar"));
    o.add("1-0:4.7.0", milli((-reactive).max(0), 5, "kvar"));
    o.add("0-0:17.0.0", "27.600*kVA");
    let apparent = super::super::household::apparent(meter.flows.total(), reactive);
    let (taken, given) = if meter.power_out() > 0 {
        (0, apparent)
    } else {
        (apparent, 0)
    };
    o.add("1-0:9.7.0", milli(taken, 5, "kVA"));
    o.add("1-0:10.7.0", milli(given, 5, "kVA"));
    o.line("1-1:31.4.0(040*A)(-040*A)");
    o.add("0-0:96.3.10", "1");
    o.add("0-1:96.3.10", "0");
    o.add("0-2:96.3.10", "0");
    o.add("0-0:96.7.21", counter((meter.digits(10) % 12) as i64));
    sags_and_swells(meter, o);
    for text in [
        "0-0:96.13.0",
        "0-0:96.13.2",
        "0-0:96.13.3",
        "0-0:96.13.4",
        "0-0:96.13.5",
    ] {
        o.add(text, "");
    }
    voltages(meter, o);
    currents(meter, o, amperes);
    power_per_phase(meter, o, 5);
    reactive_per_phase(meter, o, 5, "kvar");

    let captured = meter.captured();
    o.add("0-1:24.1.0", "003");
    o.add("0-1:96.1.0", hex(&meter.serial(1)));
    let stamp = meter.stamp_of(captured.at);
    o.line(format!(
        "0-1:24.2.1({stamp})({})",
        milli(captured.gas, 8, "m3")
    ));
    o.add("0-1:24.4.0", "1");
}
