//! The Netherlands: DSMR 2.2, 3.0, 4.0, 4.2 and ESMR 5.0.

use std::format;
use std::prelude::v1::*;

use super::super::household::Tariff;
use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed, hex};
use super::{
    amperes, currents, failure_counters, failure_log, milli, power, power_per_phase,
    sags_and_swells, tariff_indicator, tariffs, voltages,
};

pub(super) fn dsmr22(meter: &Meter, o: &mut Objects) {
    o.add("0-0:96.1.1", hex(&meter.serial(0)));
    tariffs(meter, o, "1-0", Tariff::Low, 8);
    tariff_indicator(meter, o, Tariff::Low);
    o.add("1-0:1.7.0", kw_2(meter.power_in(), 6));
    o.add("1-0:2.7.0", kw_2(meter.power_out(), 6));
    texts(o);
    gas_2_2(meter, o, "3");
}

pub(super) fn dsmr30(meter: &Meter, o: &mut Objects) {
    o.add("0-0:96.1.1", hex(&meter.serial(0)));
    tariffs(meter, o, "1-0", Tariff::Low, 8);
    tariff_indicator(meter, o, Tariff::Low);
    o.add("1-0:1.7.0", kw_2(meter.power_in(), 5));
    o.add("1-0:2.7.0", kw_2(meter.power_out(), 5));
    o.add("0-0:17.0.0", "016*A");
    o.add("0-0:96.3.10", "1");
    texts(o);
    gas_2_2(meter, o, "03");
}

pub(super) fn dsmr40(meter: &Meter, o: &mut Objects) {
    head(meter, o, "40");
    o.add("0-0:17.0.0", "999.9*kW");
    o.add("0-0:96.3.10", "1");
    power_quality(meter, o);
    texts(o);
    currents(meter, o, amperes);
    power_per_phase(meter, o, 5);
    gas(meter, o);
    o.add("0-1:24.4.0", "1");
}

pub(super) fn dsmr42(meter: &Meter, o: &mut Objects) {
    head(meter, o, "42");
    power_quality(meter, o);
    texts(o);
    currents(meter, o, amperes);
    power_per_phase(meter, o, 5);
    gas(meter, o);
}

pub(super) fn esmr50(meter: &Meter, o: &mut Objects) {
    head(meter, o, "50");
    power_quality(meter, o);
    o.add("0-0:96.13.0", "");
    voltages(meter, o);
    currents(meter, o, amperes);
    power_per_phase(meter, o, 5);
    gas(meter, o);
}

fn head(meter: &Meter, o: &mut Objects, version: &str) {
    o.add("1-3:0.2.8", version);
    o.add("0-0:1.0.0", meter.stamp());
    o.add("0-0:96.1.1", hex(&meter.serial(0)));
    tariffs(meter, o, "1-0", Tariff::Low, 9);
    tariff_indicator(meter, o, Tariff::Low);
    power(meter, o);
}

fn power_quality(meter: &Meter, o: &mut Objects) {
    failure_counters(meter, o);
    o.line(failure_log(meter, meter.recent_failures()));
    sags_and_swells(meter, o);
}

fn texts(o: &mut Objects) {
    o.add("0-0:96.13.1", "");
    o.add("0-0:96.13.0", "");
}

fn gas(meter: &Meter, o: &mut Objects) {
    let captured = meter.captured();
    o.add("0-1:24.1.0", "003");
    o.add("0-1:96.1.0", hex(&meter.serial(1)));
    let value = milli(captured.gas, 8, "m3");
    let stamp = meter.stamp_of(captured.at);
    o.line(format!("0-1:24.2.1({stamp})({value})"));
}

/// The two-line object: what and when, then the value alone.
fn gas_2_2(meter: &Meter, o: &mut Objects, device_type: &str) {
    let captured = meter.captured();
    o.add("0-1:24.1.0", device_type);
    o.add("0-1:96.1.0", hex(&meter.serial(1)));
    let stamp = meter.stamp12_of(captured.at);
    o.line(format!("0-1:24.3.0({stamp})(00)(60)(1)(0-1:24.2.1)(m3)"));
    o.line(format!("({})", fixed(captured.gas, 8, 3)));
    o.add("0-1:24.4.0", "1");
}

/// kW with two decimals from W.
fn kw_2(watts: i64, digits: usize) -> String {
    format!("{}*kW", fixed(watts / 10, digits, 2))
}
