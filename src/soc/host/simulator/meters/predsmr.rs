//! ACE4000, older than DSMR: IEC style with `*255`, gas as 24 rows of value, then date.

use std::format;
use std::prelude::v1::*;

use super::super::calendar::local;
use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    let mut add = |id: &str, value: String| o.line(format!("{id}*255({value})"));
    add("0-0:96.1.0", format!("{:016}", meter.digits(0)));
    add("1-0:1.8.0", kwh(meter.import_total()));
    add("1-0:1.8.1", kwh(meter.import_total()));
    add("1-0:2.8.0", kwh(meter.export_total()));
    add("1-0:2.8.1", kwh(meter.export_total()));
    let tariff = if meter.tariff() == Tariff::Low {
        "02"
    } else {
        "01"
    };
    add("0-0:96.14.0", tariff.into());
    add("1-0:15.7.0", format!("{:06}*W", meter.flows.total().abs()));
    add("0-0:17.0.0", "0085*A".into());
    add("0-0:96.3.10", "1".into());
    add(
        "0-3:96.1.0",
        format!("{:08}         ", meter.digits(1) % 100_000_000),
    );
    // One slot per hour of the day, overwritten in turn: the oldest row is not the first.
    let mut rows = meter.captures.clone();
    rows.sort_by_key(|row| (local(row.at, meter.zone()).hour, row.at));
    for row in rows {
        let t = local(row.at, meter.zone());
        o.line(format!(
            "7-0:23.1.0*255({}*m3)({:02}-{:02}-{:02} {:02}:00:00)",
            fixed(row.gas, 8, 3),
            t.year % 100,
            t.month,
            t.day,
            t.hour
        ));
    }
    o.line("7-0:24.4.0*255(0)");
}

fn kwh(watt_hours: i64) -> String {
    format!("{}*kWh", fixed(watt_hours, 9, 3))
}
