//! Telegrams made for one test, and what is read from them.

use metertrekker::reading::{Content, Reading, Skip, Value};
use metertrekker::receiver::{CrcPolicy, Receiver};

use super::second_reader::crc_of;

/// A telegram of these lines with its right check; `header` without its `/`.
pub fn telegram(header: &str, lines: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("/{header}\r\n\r\n").into_bytes();
    for line in lines {
        bytes.extend(line.as_ref());
        bytes.extend(b"\r\n");
    }
    bytes.push(b'!');
    let end = format!("{:04X}\r\n", crc_of(&bytes));
    bytes.extend(end.as_bytes());
    bytes
}

/// What a telegram holds, and the lines that were skipped with their reasons.
pub fn read(bytes: &[u8]) -> (Box<Reading>, Vec<(String, Skip)>) {
    let mut reading = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut reading));
    let mut skipped = vec![];
    let mut note = |line: &[u8], reason| {
        skipped.push((String::from_utf8_lossy(line).into_owned(), reason));
    };
    let mut input = bytes;
    let outcome = receiver.next(&mut input, &mut note);
    assert!(
        matches!(outcome, Some(Ok(_))),
        "{outcome:?} for {}",
        bytes.escape_ascii()
    );
    drop(receiver);
    (reading, skipped)
}

/// The content of a value as a person would write it: `1.5 kW` in the row's unit, the text, or the
/// list as sent.
pub fn shown(value: &Value<'_>) -> String {
    match value.content {
        Content::Number { number, .. } => {
            let mut buffer = [0; metertrekker::p1::value::FORMATTED_MAX];
            let digits = String::from_utf8(number.format(&mut buffer).to_vec()).unwrap();
            match value.metric.unit {
                Some(unit) => format!("{digits} {}", unit.as_str()),
                None => digits,
            }
        }
        Content::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Content::Log(groups) => String::from_utf8_lossy(groups.raw()).into_owned(),
    }
}

/// What counts under a metric's name: of several the newest.
pub fn newest(reading: &Reading, name: &str) -> Vec<String> {
    let values = reading.values();
    let named = values.filter(|value| value.metric.name == name && value.newest);
    named.map(|value| shown(&value)).collect()
}
