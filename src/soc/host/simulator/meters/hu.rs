//! Hungary: Sanxing (E.ON) and Holley.

use std::format;
use std::prelude::v1::*;
use std::vec;

use super::super::household::{Registers, Tariff};
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};
use super::{amperes, currents, power, power_factor, tariff_indicator, volts};

pub(super) fn sanxing(meter: &Meter, o: &mut Objects) {
    head(meter, o);
    o.add("0-0:96.50.68", "ON");
    o.add("0-0:17.0.0", "90.000*kW");
    list(meter, o, |milli, unit| {
        format!("{}*{unit}", fixed(milli, 9, 3))
    });
    o.line(snapshot(meter));
    o.add("0-0:96.13.0", vec![0xFF; 1_024]);
}

/// As the other, with two decimals and a blank behind each unit.
pub(super) fn holley(meter: &Meter, o: &mut Objects) {
    head(meter, o);
    o.add("0-0:96.3.10", "ON");
    o.add("0-0:17.0.0", "24000*W ");
    list(meter, o, |milli, unit| {
        format!("{}*{unit} ", fixed(milli / 10, 8, 2))
    });
    o.add("0-0:96.13.0", "");
}

fn head(meter: &Meter, o: &mut Objects) {
    o.add("0-0:1.0.0", meter.stamp());
    o.add("0-0:42.0.0", meter.serial(0));
    o.add(
        "0-0:96.1.0",
        format!("{:010}", meter.digits(0) % 10_000_000_000),
    );
    tariff_indicator(meter, o, Tariff::Normal);
}

fn list(meter: &Meter, o: &mut Objects, energy: fn(i64, &str) -> String) {
    let (day, night) = (Tariff::Normal, Tariff::Low);
    for (c, total, first, second) in [
        (
            1,
            meter.import_total(),
            meter.import(day),
            meter.import(night),
        ),
        (
            2,
            meter.export_total(),
            meter.export(day),
            meter.export(night),
        ),
    ] {
        for (e, value) in [total, first, second, 0, 0].into_iter().enumerate() {
            o.add(&format!("1-0:{c}.8.{e}"), energy(value, "kWh"));
        }
    }
    let inductive = meter.quadrant(0) + meter.quadrant(1);
    let capacitive = meter.quadrant(2) + meter.quadrant(3);
    o.add("1-0:3.8.0", energy(inductive, "kvarh"));
    o.add("1-0:4.8.0", energy(capacitive, "kvarh"));
    for n in 0..4 {
        o.add(
            &format!("1-0:{}.8.0", 5 + n),
            energy(meter.quadrant(n), "kvarh"),
        );
    }
    o.add(
        "1-0:15.8.0",
        energy(meter.import_total() + meter.export_total(), "kWh"),
    );
    for phase in 0..3 {
        let id = format!("1-0:{}.7.0", 32 + 20 * phase);
        o.add(&id, volts(meter.house.voltages()[phase]));
    }
    currents(meter, o, amperes);
    let (net, reactive) = (meter.flows.net(), meter.flows.reactive());
    let factor = |active: i64, reactive| fixed(power_factor(active, reactive).abs(), 4, 3);
    o.add("1-0:13.7.0", factor(meter.flows.total(), meter.reactive()));
    for phase in 0..3 {
        let id = format!("1-0:{}.7.0", 33 + 20 * phase);
        o.add(&id, factor(net[phase], reactive[phase]));
    }
    let hertz = fixed((meter.house.frequency() + 5) / 10, 4, 2);
    o.add("1-0:14.7.0", format!("{hertz}*Hz"));
    power(meter, o);
    let given = meter.power_out() > 0;
    let total = meter.reactive();
    let quadrant = match (given, total >= 0) {
        (false, true) => 5,
        (true, true) => 6,
        (true, false) => 7,
        (false, false) => 8,
    };
    for n in 5..=8 {
        let value = if n == quadrant { total.abs() } else { 0 };
        o.add(
            &format!("1-0:{n}.7.0"),
            format!("{}*kvar", fixed(value, 5, 3)),
        );
    }
    for phase in 0..3 {
        o.add(&format!("1-0:{}.4.0", 31 + 20 * phase), "200*A");
    }
}

/// 98.1.0 here is how the last month ended: thirteen registers, then six peaks of power.
fn snapshot(meter: &Meter) -> String {
    let Registers {
        import,
        export,
        quadrants,
        ..
    } = meter.demand.snapshot;
    let hours = |seconds: u64| (seconds / 3_600) as i64;
    let ([in_low, in_day], [out_low, out_day]) = (import.map(hours), export.map(hours));
    let [q1, q2, q3, q4] = quadrants.map(hours);
    let kwh = [
        in_low + in_day,
        in_day,
        in_low,
        out_low + out_day,
        out_day,
        out_low,
    ];
    let kvarh = [q1 + q2, q3 + q4, q1, q2, q3, q4];
    let month = meter.demand.months[meter.demand.months.len() - 1];
    let taken = month.peak.watts;
    let peaks = [
        taken,
        taken,
        taken * 9 / 10,
        taken / 2,
        taken / 2,
        taken * 2 / 5,
    ];

    let mut line = format!("0-0:98.1.0({})", meter.stamp_of(month.end));
    for value in kwh {
        line += &format!("({}*kWh)", fixed(value, 9, 3));
    }
    for value in kvarh {
        line += &format!("({}*kvarh)", fixed(value, 9, 3));
    }
    line += &format!("({}*kWh)", fixed(kwh[0] + kwh[3], 9, 3));
    for value in peaks {
        line += &format!("({}*kW)", fixed(value, 5, 3));
    }
    line
}
