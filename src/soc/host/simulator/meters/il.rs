//! Israel: Kaifa, with three tariffs in their own register numbers.

use std::format;

use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};
use super::{currents, milli, power, voltages};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    let (day, night) = (Tariff::Normal, Tariff::Low);
    o.add("1-3:0.2.8", "50");
    o.add("0-0:1.0.0", meter.stamp());
    o.add("0-0:96.1.1", format!("K{:05}", meter.digits(0) % 100_000));
    for (c, first, third) in [
        (1, meter.import(day), meter.import(night)),
        (2, meter.export(day), meter.export(night)),
    ] {
        for (e, value) in [(11, first), (12, 0), (13, third)] {
            o.add(&format!("1-0:{c}.8.{e}"), milli(value, 9, "kWh"));
        }
    }
    o.add(
        "0-0:96.14.1",
        if meter.tariff() == day { "01" } else { "03" },
    );
    power(meter, o);
    o.add("0-0:96.13.0", "");
    voltages(meter, o);
    currents(meter, o, |milliamperes| {
        format!("{}*A", fixed((milliamperes + 50) / 100, 4, 1))
    });
    let last = meter.demand.last;
    let quarter = meter.stamp_of(meter.house.now() - meter.house.now().rem_euclid(900));
    let (taken, given) = (last.import / 3_600, last.export / 3_600);
    o.line(format!(
        "1-0:99.1.0(1)(0-0:96.10.7)(1-0:1.29.0)(1-0:2.29.0)({quarter})(00)({})({})",
        milli(taken, 9, "kWh"),
        milli(given, 9, "kWh")
    ));
}
