//! What the targets share: the project's own readers of the tests, and a way past the check.

#[path = "../../tests/support/influx_line.rs"]
pub mod influx_line;
#[path = "../../tests/support/second_reader.rs"]
pub mod second_reader;

use second_reader::crc_of;

/// The same bytes from their first `/` through their last `!`, with the right check behind it, so
/// that what is behind the check is reached too. Without a `!` one is added.
pub fn with_right_check(data: &[u8]) -> Option<Vec<u8>> {
    let start = data.iter().position(|byte| *byte == b'/')?;
    let telegram = &data[start..];
    let end = telegram.iter().rposition(|byte| *byte == b'!');
    let mut telegram = telegram[..end.unwrap_or(telegram.len())].to_vec();
    telegram.push(b'!');
    let end = format!("{:04X}\r\n", crc_of(&telegram));
    telegram.extend(end.as_bytes());
    Some(telegram)
}
