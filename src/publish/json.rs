//! Lists of the meter as JSON.

use super::{Output, Overflow};
use crate::p1::{
    line::Groups,
    timestamp::{Calendar, Stamp, tst},
    value::quantity,
};

/// Writes a list of the meter as a JSON array of rows and returns its length. A row begins at each
/// time stamp that follows something else: the failure log (P1 companion standard 5.0.2 §6.12,
/// 1-0:99.97.0) becomes `[["2019-02-01T22:52:31Z",3231],…]`, the end of each failure and its
/// seconds. Stamps are UTC, numbers keep their decimals, anything else is a string; a row whose
/// stamp is unset is an empty place in the meter's memory and left out.
///
/// # Errors
/// The text is longer than `buffer`.
pub fn list(groups: Groups<'_>, buffer: &mut [u8]) -> Result<usize, Overflow> {
    let mut out = Output::new(buffer);
    let mut row = Row::None;
    out.byte(b'[')?;
    for group in entries(groups) {
        match stamp(group) {
            Some(stamp) => {
                let continues = row == Row::Stamps;
                if !continues {
                    row.close(&mut out)?;
                    row = Row::Stamps;
                }
                match stamp {
                    Stamp::At(utc, _) => {
                        row.separate(continues, &mut out)?;
                        out.byte(b'"')?;
                        out.bytes(&Calendar::of(utc).iso8601())?;
                        out.byte(b'"')?;
                    }
                    Stamp::Unset if continues => out.bytes(b",null")?,
                    Stamp::Unset => row = Row::Skipped,
                }
            }
            None if row == Row::Skipped => {}
            None => {
                row.separate(row != Row::None, &mut out)?;
                row = Row::Values;
                element(group, &mut out)?;
            }
        }
    }
    row.close(&mut out)?;
    out.byte(b']')?;
    Ok(out.len())
}

/// Where in a row the writer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// In none.
    None,
    /// Behind its leading time stamps.
    Stamps,
    /// Behind a value.
    Values,
    /// In one that is left out.
    Skipped,
}

impl Row {
    fn close(self, out: &mut Output<'_>) -> Result<(), Overflow> {
        match self {
            Self::Stamps | Self::Values => out.byte(b']'),
            Self::None | Self::Skipped => Ok(()),
        }
    }

    fn separate(self, continues: bool, out: &mut Output<'_>) -> Result<(), Overflow> {
        if continues {
            return out.byte(b',');
        }
        if out.len() > 1 {
            out.byte(b',')?;
        }
        out.byte(b'[')
    }
}

fn stamp(group: &[u8]) -> Option<Stamp> {
    if group.is_empty() { None } else { tst(group) }
}

/// The groups behind the count and the ids of what is listed.
fn entries(groups: Groups<'_>) -> impl Iterator<Item = &[u8]> {
    let is_head = |group: &&[u8]| {
        let count = group.len() <= 2 && group.iter().all(u8::is_ascii_digit);
        count || group.contains(&b':') && group.contains(&b'.')
    };
    groups.skip_while(is_head)
}

fn element(group: &[u8], out: &mut Output<'_>) -> Result<(), Overflow> {
    match quantity(group) {
        Ok(quantity) => out.written(|room| quantity.number.write(room)),
        Err(_) => string(group, out),
    }
}

/// A JSON string; bytes that are no UTF-8 become `?`.
fn string(text: &[u8], out: &mut Output<'_>) -> Result<(), Overflow> {
    let utf8 = core::str::from_utf8(text).is_ok();
    out.byte(b'"')?;
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.bytes(&[b'\\', byte])?,
            0..b' ' | 0x7F => out.byte(b' ')?,
            0x80.. if !utf8 => out.byte(b'?')?,
            byte => out.byte(byte)?,
        }
    }
    out.byte(b'"')
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn json(raw: &str) -> String {
        let mut buffer = [0; 1024];
        let len = list(Groups::of(raw.as_bytes()), &mut buffer).unwrap();
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
        text
    }

    #[test]
    fn the_failure_log_is_rows_of_end_and_seconds() {
        assert_eq!(
            json("(2)(0-0:96.7.19)(190201235231W)(0000003231*s)(190827155511S)(0000001489*s)"),
            r#"[["2019-02-01T22:52:31Z",3231],["2019-08-27T13:55:11Z",1489]]"#
        );
    }

    #[test]
    fn empty_lists_and_dummy_entries_are_left_out() {
        for empty in [
            "()",
            "(0)()",
            "(0)(0-0:96.7.19)",
            "(1)(0-0:96.7.19)(000101000001W)(2147483647*s)",
        ] {
            assert_eq!(json(empty), "[]", "{empty}");
        }
        assert_eq!(
            json("(2)(0:96.7.19)(000101000001W)(2147483647*s)(190201235231W)(12)"),
            r#"[["2019-02-01T22:52:31Z",12]]"#
        );
    }

    #[test]
    fn peaks_are_rows_of_two_stamps_and_a_value() {
        assert_eq!(
            json(
                "(2)(1-0:1.6.0)(1-0:1.6.0)(230201000000W)(230117224500W)(04.329*kW)\
                 (230301000000W)(632525252525W)(00.000*kW)"
            ),
            r#"[["2023-01-31T23:00:00Z","2023-01-17T21:45:00Z",4.329],["2023-02-28T23:00:00Z",null,0.000]]"#
        );
    }

    #[test]
    fn registers_are_one_row() {
        assert_eq!(
            json("(230401000000S)(000100.500*kWh)(00.1*kW)(x\"y)"),
            r#"[["2023-03-31T22:00:00Z",100.500,0.1,"x\"y"]]"#
        );
    }

    #[test]
    fn a_small_buffer_is_told() {
        let groups = Groups::of(b"(190201235231W)(1)");
        assert_eq!(list(groups, &mut [0; 20]), Err(Overflow));
    }
}
