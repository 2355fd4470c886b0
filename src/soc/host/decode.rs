//! `metertrekker decode`: captured bytes to one JSON object per telegram.

use std::{
    boxed::Box,
    fmt, format,
    io::{self, Read, Write},
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    metric::Device,
    p1::{cipher::Keys, timestamp::Calendar, value::FORMATTED_MAX},
    publish::influx,
    reading::{Content, Reading, Skip, Value},
    receiver::{CrcPolicy, Proof, Receiver, Refusal},
    settings::Settings,
};

/// One accepted telegram, as printed.
#[derive(Serialize)]
struct Telegram {
    header: String,
    version: Option<String>,
    crc: &'static str,
    timestamp: Option<String>,
    values: Vec<Entry>,
    skipped: Vec<SkippedLine>,
    influx: Vec<String>,
}

#[derive(Serialize)]
struct Entry {
    obis: String,
    name: &'static str,
    value: Box<RawValue>,
    unit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

#[derive(Serialize)]
struct SkippedLine {
    line: String,
    reason: &'static str,
}

/// One refused telegram, as printed.
#[derive(Serialize)]
struct Refused {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
}

/// What came of the input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bytes read.
    pub bytes: u64,
    /// Telegrams accepted.
    pub accepted: u32,
    /// Telegrams refused.
    pub refused: u32,
    /// Bytes outside of any telegram.
    pub noise: u32,
}

impl Summary {
    /// Everything that claimed to be a telegram was one, and there was one at least.
    pub fn is_clean(&self) -> bool {
        self.accepted > 0 && self.refused == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bytes,
            accepted,
            refused,
            noise,
        } = self;
        if *bytes == 0 {
            return write!(f, "the input is empty");
        }
        if *accepted == 0 {
            return write!(
                f,
                "no valid telegram in {bytes} bytes ({refused} refused, {noise} bytes of noise): \
                 is this a capture of a P1 port?"
            );
        }
        write!(
            f,
            "{accepted} telegrams accepted, {refused} refused, {noise} bytes between them"
        )
    }
}

/// Decodes all telegrams of `input`, one JSON object on a line of `output` each; encrypted ones with `keys`.
///
/// # Errors
/// The input cannot be read or the output cannot be written.
pub fn decode(
    mut input: impl Read,
    mut output: impl Write,
    keys: Option<Keys>,
) -> io::Result<Summary> {
    let settings = Settings::default();
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut staged));
    receiver.set_keys(keys);
    let mut summary = Summary::default();
    let mut skipped = vec![];
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        summary.bytes += count as u64;
        let mut bytes = &buffer[..count];
        loop {
            let mut note = |line: &[u8], reason: Skip| {
                skipped.push(SkippedLine {
                    line: text(line),
                    reason: reason.name(),
                });
            };
            let outcome = if count > 0 {
                receiver.next(&mut bytes, &mut note)
            } else {
                receiver.silence(&mut note)
            };
            let Some(outcome) = outcome else { break };
            let skipped = core::mem::take(&mut skipped);
            match outcome {
                Ok(proof) => {
                    summary.accepted += 1;
                    let telegram = telegram(receiver.reading(), proof, skipped, &settings);
                    serde_json::to_writer(&mut output, &telegram)?;
                }
                Err(refusal) => {
                    summary.refused += 1;
                    serde_json::to_writer(&mut output, &refused(refusal))?;
                }
            }
            output.write_all(b"\n")?;
        }
        if count == 0 {
            break;
        }
    }
    output.flush()?;
    summary.noise = receiver.noise();
    Ok(summary)
}

fn telegram(
    reading: &Reading,
    proof: Proof,
    skipped: Vec<SkippedLine>,
    settings: &Settings,
) -> Telegram {
    let mut lines = vec![];
    let mut buffer = vec![0; 4096];
    if let Ok(len @ 1..) = influx::electricity(reading, settings, &|_| true, &mut buffer) {
        lines.push(text(&buffer[..len]));
    }
    for device in Device::ALL {
        if let Ok(len @ 1..) = influx::device(device, reading, settings, &mut buffer) {
            lines.push(text(&buffer[..len]));
        }
    }
    Telegram {
        header: text(reading.header()),
        version: reading.version().map(text),
        crc: match proof {
            Proof::Crc => "ok",
            Proof::Tag => "tag",
            Proof::None => "none",
        },
        timestamp: reading.clock().map(|at| iso8601(at.utc)),
        values: reading.values().map(entry).collect(),
        skipped,
        influx: lines,
    }
}

fn entry(value: Value<'_>) -> Entry {
    let (json, unit) = match value.content {
        // As the meter printed it: whoever decodes wants to see what is on the line.
        Content::Number { sent, unit, .. } => {
            let mut buffer = [0; FORMATTED_MAX];
            (text(sent.format(&mut buffer)), unit)
        }
        Content::Text(characters) => (quoted(characters), None),
        Content::Log(groups) => (quoted(groups.raw()), None),
    };
    Entry {
        obis: value.obis.to_string(),
        name: value.metric.name,
        value: RawValue::from_string(json).unwrap_or_default(),
        unit: unit.map(|unit| unit.as_str()),
        timestamp: value.at.map(|at| iso8601(at.utc)),
    }
}

fn refused(refusal: Refusal) -> Refused {
    let hex = |crc: u16| format!("{crc:04X}");
    let (expected, found, hint) = match refusal {
        Refusal::Crc {
            expected,
            found,
            bare_line_ends,
            ..
        } => (
            Some(hex(expected)),
            Some(found.map_or_else(|| "unreadable".to_string(), hex)),
            bare_line_ends
                .then_some("lines end in LF alone; the CRC is computed over CR LF, so this capture has lost bytes"),
        ),
        Refusal::Encrypted { .. } => (
            None,
            None,
            Some("the port is encrypted; --decryption-key opens its frames"),
        ),
        Refusal::Key { .. } => (
            None,
            None,
            Some("the key is another meter's, or the frame is damaged"),
        ),
        _ => (None, None, None),
    };
    Refused {
        error: refusal.name(),
        expected,
        found,
        bytes: refusal.bytes(),
        hint,
    }
}

fn iso8601(utc: u32) -> String {
    text(&Calendar::of(utc).iso8601())
}

/// Characters of the meter as text; bytes that are none become U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quoted(characters: &[u8]) -> String {
    serde_json::Value::String(text(characters)).to_string()
}
