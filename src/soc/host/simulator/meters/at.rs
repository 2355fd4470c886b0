//! Austria: the text inside the frames of Energienetze Steiermark, in whole units.

use std::format;
use std::prelude::v1::*;

use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::Objects;

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    let (day, night) = (Tariff::Normal, Tariff::Low);
    let inductive = meter.quadrant(0) + meter.quadrant(1);
    let capacitive = meter.quadrant(2) + meter.quadrant(3);
    let reactive = meter.reactive();
    o.add("1-3:0.2.8", "50");
    o.add("0-0:1.0.0", meter.stamp());
    for (c, unit, power, total, second, now) in [
        (
            1,
            "Wh",
            "W",
            meter.import_total(),
            meter.import(night),
            meter.power_in(),
        ),
        (
            2,
            "Wh",
            "W",
            meter.export_total(),
            meter.export(night),
            meter.power_out(),
        ),
        (3, "varh", "var", inductive, inductive / 3, reactive.max(0)),
        (
            4,
            "varh",
            "var",
            capacitive,
            capacitive / 3,
            (-reactive).max(0),
        ),
    ] {
        o.add(&format!("1-0:{c}.8.0"), format!("{total:09}*{unit}"));
        o.add(
            &format!("1-0:{c}.8.1"),
            format!("{:09}*{unit}", total - second),
        );
        o.add(&format!("1-0:{c}.8.2"), format!("{second:09}*{unit}"));
        o.add(&format!("1-0:{c}.7.0"), format!("{now:09}*{power}"));
    }
    let tariff = if meter.tariff() == day {
        "0001"
    } else {
        "0002"
    };
    o.add("0-0:96.14.0", tariff);
}
