//! InfluxDB line protocol: `measurement,tag=… field=…,field=… time`.
//!
//! The electricity meter makes one line per reading, each M-Bus device one when it has a newer
//! value. Column names are the metrics' names; the line's time is the meter's, in nanoseconds.

use super::{Output, Overflow};
use crate::{
    metric::{Brief, Device},
    p1::{
        timestamp::{self, Letter, Utc},
        value::Number,
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
    let measurement = settings.electricity_measurement.as_bytes();
    let mut line = Line::new(measurement, settings, buffer)?;
    line.tags(reading, None)?;
    line.fields(reading, None, changed)?;
    line.finish(reading.clock().map(|at| at.utc))
}

/// Whether the electricity line would have a field: a Warmtelink has no electricity.
pub fn has_electricity(reading: &Reading) -> bool {
    let mut fields = reading.values_of(|brief| brief.is_field_of(None));
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
    let Some(at) = reading.newest_at(device) else {
        return Ok(0);
    };
    let measurement = match device {
        Device::Gas => settings.gas_measurement.as_bytes(),
        // A measurement of its own: its columns are not the main meter's.
        Device::Electricity => b"submeter",
        other => other.name().as_bytes(),
    };
    let mut line = Line::new(measurement, settings, buffer)?;
    line.tags(reading, Some(device))?;
    line.timestamp(at)?;
    let start = line.out.len();
    line.fields(reading, Some(device), &|_| true)?;
    if line.out.len() == start {
        return Ok(0);
    }
    line.finish(Some(at.utc))
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

    fn tags(&mut self, reading: &Reading, device: Option<Device>) -> Result<(), Overflow> {
        for value in reading.values_of(|brief| brief.is_tag_of(device)) {
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

    // In a function of its own it has the registers to itself.
    #[inline(never)]
    fn fields(
        &mut self,
        reading: &Reading,
        device: Option<Device>,
        changed: &impl Fn(&Value<'_>) -> bool,
    ) -> Result<(), Overflow> {
        let phases = self.phases;
        let field = |brief: Brief| brief.is_field_of(device) && brief.is_within(phases);
        for value in reading.values_of(field).filter(|value| value.newest) {
            let metric = value.metric;
            match value.content {
                Content::Number { number, .. } => {
                    self.column(metric.name)?;
                    // Without a suffix it is a float, also when it has no decimals: the columns of
                    // an existing database keep their type.
                    self.out.written(|room| number.write(room))?;
                }
                _ if !changed(&value) => {}
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

    #[inline]
    fn column(&mut self, name: &str) -> Result<(), Overflow> {
        self.out.byte(if self.fields { b',' } else { b' ' })?;
        self.fields = true;
        self.out.bytes(name.as_bytes())?;
        self.out.byte(b'=')
    }

    #[inline(never)]
    fn string(&mut self, name: &str, text: &[u8]) -> Result<(), Overflow> {
        self.column(name)?;
        self.out.byte(b'"')?;
        self.escaped(text, b"\"\\")?;
        self.out.byte(b'"')
    }

    /// Text with a backslash before each of `special`. What would end the line, or is no UTF-8 as
    /// the protocol wants it, is replaced; so is a backslash that has no escape itself, as in a tag:
    /// readers do not agree on what it does to the character behind it.
    #[inline(never)]
    fn escaped(&mut self, text: &[u8], special: &[u8]) -> Result<(), Overflow> {
        if text.iter().all(|byte| is_plain(*byte)) {
            return self.out.bytes(text);
        }
        let utf8 = core::str::from_utf8(text).is_ok();
        for &byte in text {
            let byte = match byte {
                0..b' ' | 0x7F => b' ',
                0x80.. if !utf8 => b'?',
                b'\\' if !special.contains(&b'\\') => b'/',
                byte => byte,
            };
            if special.contains(&byte) {
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
            self.out.written(|room| Number::from(utc).write(room))?;
            self.out.bytes(b"000000000")?;
        }
        Ok(self.out.len())
    }
}

/// Whether a byte means itself wherever it stands in a line. Nearly all texts have no other.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b'=' | b'\\')
}
