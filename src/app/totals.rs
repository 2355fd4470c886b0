//! A guard against registers that go backwards.
//!
//! A CRC of 16 bits lets one damaged telegram in 65,536 through, and old meters have none. An
//! energy register that falls is a wrong reading, and statistics made of it stay wrong.

use crate::{
    metric::{Base, Brief},
    p1::{
        crc::{Rule, Running},
        value::Number,
    },
    reading::{Content, Reading},
};

/// Registers watched, the first of a telegram: two directions with up to eight tariffs each.
const REGISTERS: usize = 16;

/// The most decimals that a register may have, and of which more would not fit.
const DECIMALS: u32 = 18;

/// After so many falls in a row it was the earlier value that was wrong.
const PATIENCE: u8 = 3;

/// Remembers the energy registers of the meter at hand. RAM: 0.3 kB.
#[derive(Debug, Default)]
pub struct Totals {
    meter: u16,
    registers: heapless::Vec<(u16, Number), REGISTERS>,
    falls: u8,
}

impl Totals {
    /// No meter yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the reading may be published: no energy register is below its last value, the meter
    /// is another one, or several readings in a row agree that it is.
    pub fn admit(&mut self, reading: &Reading) -> bool {
        let meter = meter(reading);
        if meter == self.meter && self.falls_below(reading) {
            self.falls += 1;
            if self.falls < PATIENCE {
                return false;
            }
        }
        self.falls = 0;
        self.meter = meter;
        self.registers.clear();
        for register in registers(reading) {
            if self.registers.push(register).is_err() {
                break;
            }
        }
        true
    }

    fn falls_below(&self, reading: &Reading) -> bool {
        registers(reading).any(|(index, number)| {
            let mut known = self.registers.iter();
            known.any(|(known, last)| *known == index && is_less(number, *last))
        })
    }
}

fn registers(reading: &Reading) -> impl Iterator<Item = (u16, Number)> {
    let is_register =
        |brief: Brief| brief.measures(Base::Wh) && brief.is_number() && !brief.has_device();
    let values = reading.values_of(is_register);
    values.filter_map(|value| match value.content {
        Content::Number { number, .. } => Some((value.index, number)),
        _ => None,
    })
}

/// Compares by value, whatever the number of decimals.
fn is_less(number: Number, last: Number) -> bool {
    if number.decimals == last.decimals {
        return number.mantissa < last.mantissa;
    }
    // Whole and part by themselves: the lx106 has no numbers of 128 bits that can be trusted.
    let parts = |number: Number| {
        let decimals = u32::from(number.decimals).min(DECIMALS);
        let one = 10i64.pow(decimals);
        let part = number.mantissa % one * 10i64.pow(DECIMALS - decimals);
        (number.mantissa / one, part)
    };
    parts(number) < parts(last)
}

/// The meter's identity: its header and serial numbers.
pub fn meter(reading: &Reading) -> u16 {
    let mut crc = Running::new(Rule::Arc);
    crc.update(reading.header());
    for value in reading.values_of(|brief| brief.is_tag_of(None)) {
        if let Content::Text(text) = value.content {
            crc.update(text);
        }
    }
    crc.value()
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn reading(serial: &str, low: &str, high: &str) -> Reading {
        let mut reading = Reading::new();
        reading.begin(b"ABC5x");
        for line in [
            format!("0-0:96.1.1({serial})"),
            format!("1-0:1.8.1({low}*kWh)"),
            format!("1-0:1.8.2({high}*kWh)"),
            "1-0:1.7.0(00.100*kW)".into(),
        ] {
            reading.line(line.as_bytes()).unwrap();
        }
        reading.settle();
        reading
    }

    #[test]
    fn registers_may_stay_and_rise() {
        let mut totals = Totals::new();
        assert!(totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(totals.admit(&reading("41", "000001.001", "000002.000")));
        assert!(totals.admit(&reading("41", "000001.01", "000002.000")));
    }

    #[test]
    fn a_fall_is_not_admitted_and_changes_nothing() {
        let mut totals = Totals::new();
        assert!(totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(!totals.admit(&reading("41", "000000.000", "000002.000")));
        assert!(totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(!totals.admit(&reading("41", "000000.999", "000002.000")));
    }

    #[test]
    fn three_falls_in_a_row_prove_the_earlier_value_wrong() {
        let mut totals = Totals::new();
        assert!(totals.admit(&reading("41", "900001.000", "000002.000")));
        assert!(!totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(!totals.admit(&reading("41", "000001.001", "000002.000")));
        assert!(totals.admit(&reading("41", "000001.002", "000002.000")));
        assert!(!totals.admit(&reading("41", "000001.001", "000002.000")));
    }

    #[test]
    fn decimals_are_compared_by_value() {
        let number = |mantissa, decimals| Number {
            mantissa,
            decimals,
            width: 0,
        };
        for (one, other, less) in [
            (number(1_000, 3), number(1, 0), false),
            (number(999, 3), number(1, 0), true),
            (number(1, 0), number(1_001, 3), true),
            (number(i64::MAX, 18), number(10, 0), true),
            (number(i64::MAX, 0), number(1, 18), false),
            (number(-1, 0), number(-999, 3), true),
            (number(-1_001, 3), number(-1, 0), true),
        ] {
            assert_eq!(is_less(one, other), less, "{one:?} {other:?}");
        }
    }

    #[test]
    fn another_meter_begins_where_it_is() {
        let mut totals = Totals::new();
        assert!(totals.admit(&reading("41", "000001.000", "000002.000")));
        assert!(totals.admit(&reading("42", "000000.000", "000000.000")));
    }
}
