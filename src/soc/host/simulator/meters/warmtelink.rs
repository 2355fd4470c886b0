//! Warmtelink: the P1 port of a Dutch district heat meter.

use std::format;

use super::super::meter::Meter;
use super::super::telegram::{Objects, fixed};

pub(super) fn objects(meter: &Meter, o: &mut Objects) {
    o.add("1-3:0.2.8", "50");
    o.add("0-0:1.1.0", meter.stamp());
    o.add("0-0:96.1.1", format!("SIM{:013}", meter.digits(0)));
    o.add("0-0:96.13.1", "");
    o.add("0-0:96.13.0", "");
    let captured = meter.captured();
    o.add("0-1:24.1.0", "012");
    // Neither hex of text nor a plain number, as these ids are.
    o.add(
        "0-1:96.1.0",
        format!("{:08}2D2C0B0C", meter.digits(3) % 100_000_000),
    );
    let (stamp, heat) = (meter.stamp_of(captured.at), captured.heat / 1_000);
    o.line(format!("0-1:24.2.1({stamp})({}*GJ)", fixed(heat, 4, 3)));
}
