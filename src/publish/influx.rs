//! InfluxDB line protocol: `measurement,tag=… field=…,field=… time`.
//!
//! The electricity meter makes one line per reading, each M-Bus device one when it has a newer
//! value. Column names are the metrics' names; the line's time is the meter's, in nanoseconds.

use super::{Output, Overflow};
use crate::{
    metric::{Device, Influx, Metric},
    p1::{
        timestamp::{self, Letter, Utc},
        value::FORMATTED_MAX,
    },
    reading::{At, Content, Reading, Value},
    settings::Settings,
};

/// Writes the electricity line into `buffer` and returns its length; 0 when it would have no field.
/// Text columns are taken where `changed` says so, others always.
///
/// # Errors
/// The line is longer than `buffer`.
pub fn electricity(
    reading: &Reading,
    settings: &Settings,
    changed: &impl Fn(&Value<'_>) -> bool,
    buffer: &mut [u8],
) -> Result<usize, Overflow> {
    if !has_electricity(reading) {
        return Ok(0);
    }
    let belongs = |metric: &Metric| metric.device.is_none();
    let measurement = settings.electricity_measurement.as_bytes();
    let mut line = Line::new(measurement, settings, buffer)?;
    line.tags(reading, belongs)?;
    line.fields(reading, belongs, changed)?;
    line.finish(reading.clock().map(|at| at.utc))
}

/// Whether the electricity line would have a field: a Warmtelink has no electricity.
pub fn has_electricity(reading: &Reading) -> bool {
    let field = |metric: &Metric| metric.device.is_none() && metric.influx == Influx::Field;
    let mut fields = reading.values_of(field);
    fields.any(|value| matches!(value.content, Content::Number { .. }))
}

/// Writes the line of an M-Bus device into `buffer` and returns its length; 0 when the reading has
/// no value of it.
///
/// # Errors
/// The line is longer than `buffer`.
pub fn device(
    device: Device,
    reading: &Reading,
    settings: &Settings,
    buffer: &mut [u8],
) -> Result<usize, Overflow> {
    let belongs = |metric: &Metric| metric.device == Some(device);
    let Some(at) = newest_at(device, reading) else {
        return Ok(0);
    };
    let measurement = match device {
        Device::Gas => settings.gas_measurement.as_bytes(),
        // A measurement of its own: its columns are not the main meter's.
        Device::Electricity => b"submeter",
        other => other.name().as_bytes(),
    };
    let mut line = Line::new(measurement, settings, buffer)?;
    line.tags(reading, belongs)?;
    line.timestamp(at)?;
    line.fields(reading, belongs, &|_| true)?;
    line.finish(Some(at.utc))
}

/// When the newest value of a device was taken.
pub fn newest_at(device: Device, reading: &Reading) -> Option<At> {
    let mut values = reading.values_of(|metric| metric.device == Some(device));
    let newest = values.find(|value| value.newest && value.at.is_some())?;
    newest.at
}

/// A line being written.
struct Line<'a> {
    out: Output<'a>,
    phases: u8,
    fields: bool,
}

impl<'a> Line<'a> {
    fn new(
        measurement: &[u8],
        settings: &Settings,
        buffer: &'a mut [u8],
    ) -> Result<Self, Overflow> {
        let mut line = Self {
            out: Output::new(buffer),
            phases: settings.phases,
            fields: false,
        };
        line.escaped(measurement, b", ")?;
        Ok(line)
    }

    fn tags(
        &mut self,
        reading: &Reading,
        belongs: impl Fn(&Metric) -> bool,
    ) -> Result<(), Overflow> {
        let tag = |metric: &Metric| metric.influx == Influx::Tag && belongs(metric);
        for value in reading.values_of(tag) {
            let Content::Text(text) = value.content else {
                continue;
            };
            // An empty tag value is none.
            if !value.newest || text.is_empty() {
                continue;
            }
            self.out.byte(b',')?;
            self.out.bytes(value.metric.name.as_bytes())?;
            self.out.byte(b'=')?;
            self.escaped(text, b",= ")?;
        }
        Ok(())
    }

    fn fields(
        &mut self,
        reading: &Reading,
        belongs: impl Fn(&Metric) -> bool,
        wanted: &impl Fn(&Value<'_>) -> bool,
    ) -> Result<(), Overflow> {
        let phases = self.phases;
        let field = |metric: &Metric| {
            let switched_on = metric.phase.is_none_or(|phase| phase <= phases);
            metric.influx == Influx::Field && switched_on && belongs(metric)
        };
        let mut digits = [0; FORMATTED_MAX];
        for value in reading.values_of(field) {
            let metric = value.metric;
            if !value.newest || !wanted(&value) {
                continue;
            }
            match value.content {
                Content::Number { number, .. } => {
                    self.column(metric.name)?;
                    // Without a suffix it is a float, also when it has no decimals: the columns of
                    // an existing database keep their type.
                    self.out.bytes(number.format(&mut digits))?;
                }
                Content::Text(text) => self.string(metric.name, text)?,
                Content::Log(groups) => self.string(metric.name, groups.raw())?,
            }
        }
        Ok(())
    }

    /// The meter's own form of a time stamp, which the original kept as a column.
    fn timestamp(&mut self, at: At) -> Result<(), Overflow> {
        let letter: &[u8] = match at.letter {
            Letter::Summer => b"S",
            Letter::Winter => b"W",
            Letter::Missing => b"",
        };
        let digits = timestamp::local(at.utc, at.letter).compact();
        self.column("timestamp")?;
        self.out.byte(b'"')?;
        self.out.bytes(&digits)?;
        self.out.bytes(letter)?;
        self.out.byte(b'"')
    }

    fn column(&mut self, name: &str) -> Result<(), Overflow> {
        self.out.byte(if self.fields { b',' } else { b' ' })?;
        self.fields = true;
        self.out.bytes(name.as_bytes())?;
        self.out.byte(b'=')
    }

    fn string(&mut self, name: &str, text: &[u8]) -> Result<(), Overflow> {
        self.column(name)?;
        self.out.byte(b'"')?;
        self.escaped(text, b"\"\\")?;
        self.out.byte(b'"')
    }

    /// Text with a backslash before each of `special`. What would end the line, or is no UTF-8 as
    /// the protocol wants it, is replaced; so is a backslash that has no escape itself, as in a tag:
    /// readers do not agree on what it does to the character behind it.
    fn escaped(&mut self, text: &[u8], special: &[u8]) -> Result<(), Overflow> {
        let utf8 = core::str::from_utf8(text).is_ok();
        for &byte in text {
            let byte = match byte {
                0..b' ' | 0x7F => b' ',
                0x80.. if !utf8 => b'?',
                b'\\' if !special.contains(&b'\\') => b'/',
                byte => byte,
            };
            // Most are letters and digits, which nobody treats specially.
            if !byte.is_ascii_alphanumeric() && special.contains(&byte) {
                self.out.byte(b'\\')?;
            }
            self.out.byte(byte)?;
        }
        Ok(())
    }

    fn finish(mut self, utc: Option<Utc>) -> Result<usize, Overflow> {
        if !self.fields {
            return Ok(0);
        }
        // A meter without clock leaves the time to whoever stores the line.
        if let Some(utc) = utc {
            self.out.byte(b' ')?;
            self.out.integer(utc)?;
            self.out.bytes(b"000000000")?;
        }
        Ok(self.out.len())
    }
}
