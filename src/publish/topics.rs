//! The payloads of the per-metric MQTT topics.

use super::{Output, Overflow, json};
use crate::{
    metric::Brief,
    reading::{Content, Reading, Value},
    settings::Settings,
};

/// The values of a reading that have a topic, in the telegram's order: of several that feed one
/// topic the newest, without the phases that are switched off.
pub fn values<'a>(
    reading: &'a Reading,
    settings: &'a Settings,
) -> impl Iterator<Item = (&'static str, Value<'a>)> {
    let wanted = |brief: Brief| brief.has_topic() && brief.is_within(settings.phases);
    // In one step: each moves the value once more.
    let values = reading.values_of(wanted);
    values.filter_map(|value| Some((value.metric.topic.filter(|_| value.newest)?, value)))
}

/// Writes a value's payload into `buffer` and returns its length: a number alone, or in the
/// original's form with its leading zeros and unit; text as it is; a list as JSON.
///
/// # Errors
/// The payload is longer than `buffer`.
pub fn payload(
    value: &Value<'_>,
    settings: &Settings,
    buffer: &mut [u8],
) -> Result<usize, Overflow> {
    if let Content::Log(groups) = value.content {
        return json::list(groups, buffer);
    }
    let mut out = Output::new(buffer);
    match value.content {
        Content::Number { sent, unit, .. } if settings.payload_unit => {
            out.written(|room| sent.write_as_sent(room))?;
            if let Some(unit) = unit {
                out.byte(b' ')?;
                out.bytes(unit.as_str().as_bytes())?;
            }
        }
        Content::Number { number, .. } => out.written(|room| number.write(room))?,
        Content::Text(text) => out.bytes(text)?,
        Content::Log(_) => {}
    }
    Ok(out.len())
}
