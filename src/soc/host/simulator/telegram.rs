//! One telegram before it becomes bytes: header, object lines, and how they are framed.

use std::format;
use std::prelude::v1::*;

use crc::{CRC_16_ARC, CRC_16_IBM_SDLC, Crc};

use super::kind::Check;

/// The letters among the digits of the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Lower,
    /// The first letter in lower case, the others in upper case.
    Mixed,
}

/// How the digits of the check are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub case: Case,
    /// Four digits, with leading zeros.
    pub padded: bool,
    /// Bits turned over in the check's value; zero leaves it right.
    pub spoiled: u16,
}

/// A telegram as the meter has it, line by line. Bytes, since a value may hold any.
#[derive(Clone, Debug)]
pub(super) struct Telegram {
    /// From `/` to before the line end.
    pub header: Vec<u8>,
    pub blank_line: bool,
    /// Without line ends.
    pub objects: Vec<Vec<u8>>,
    /// A blank line before the `!`.
    pub blank_end: bool,
    /// The last object and the `!` share a line.
    pub glued_end: bool,
    /// LF where CR LF should be; the check stays that of CR LF.
    pub bare_lf: bool,
    pub check: Check,
    pub digits: Digits,
}

impl Telegram {
    /// The bytes on the line.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        bytes.extend(b"\r\n");
        if self.blank_line {
            bytes.extend(b"\r\n");
        }
        for object in &self.objects {
            bytes.extend(object);
            bytes.extend(b"\r\n");
        }
        if self.glued_end {
            bytes.truncate(bytes.len() - 2);
        } else if self.blank_end {
            bytes.extend(b"\r\n");
        }
        bytes.push(b'!');
        bytes.extend(self.check_digits(&bytes).bytes());
        bytes.extend(b"\r\n");
        if self.bare_lf {
            bytes.retain(|byte| *byte != b'\r');
        }
        bytes
    }

    fn check_digits(&self, bytes: &[u8]) -> String {
        let value = match self.check {
            Check::None => return String::new(),
            Check::Arc => Crc::<u16>::new(&CRC_16_ARC).checksum(bytes),
            // The catalogue's name for CRC-16/X-25.
            Check::X25 => Crc::<u16>::new(&CRC_16_IBM_SDLC).checksum(bytes),
        } ^ self.digits.spoiled;
        let text = if self.digits.padded {
            format!("{value:04X}")
        } else {
            format!("{value:X}")
        };
        match self.digits.case {
            Case::Upper => text,
            Case::Lower => text.to_lowercase(),
            Case::Mixed => {
                let letter = text.find(|digit: char| digit.is_ascii_alphabetic());
                let (lower, upper) = text.split_at(letter.map_or(0, |at| at + 1));
                lower.to_lowercase() + upper
            }
        }
    }

    /// Index of the first object with exactly this id.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.objects.iter().position(|line| has_id(line, id))
    }

    /// The line of the first object with exactly this id.
    pub fn object(&mut self, id: &str) -> Option<&mut Vec<u8>> {
        self.objects.iter_mut().find(|line| has_id(line, id))
    }
}

/// Whether a line is an object of this id.
pub(super) fn has_id(line: &[u8], id: &str) -> bool {
    line.strip_prefix(id.as_bytes())
        .is_some_and(|rest| matches!(rest.first(), Some(b'(' | b'*')))
}

/// An object list while a meter prints it.
#[derive(Debug, Default)]
pub(super) struct Objects(pub Vec<Vec<u8>>);

impl Objects {
    /// `id(value)`.
    pub fn add(&mut self, id: &str, value: impl AsRef<[u8]>) {
        let mut line = Vec::from(id);
        line.push(b'(');
        line.extend(value.as_ref());
        line.push(b')');
        self.0.push(line);
    }

    /// A line as it is.
    pub fn line(&mut self, line: impl Into<Vec<u8>>) {
        self.0.push(line.into());
    }
}

/// A fixed-point number of `digits` digits in all, `decimals` of them behind the point: the
/// standards' `Fn(x,x)`. A sign comes on top, and digits that do not fit are kept.
pub(super) fn fixed(value: i64, digits: usize, decimals: usize) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let all = format!("{:0digits$}", value.unsigned_abs());
    let (whole, fraction) = all.split_at(all.len() - decimals);
    if decimals == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// Text as the standards print octet strings: two upper-case hex digits per byte.
pub(super) fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_width() {
        assert_eq!(fixed(57_460, 9, 3), "000057.460");
        assert_eq!(fixed(498, 5, 3), "00.498");
        assert_eq!(fixed(2, 3, 0), "002");
        assert_eq!(fixed(-910, 4, 3), "-0.910");
        assert_eq!(fixed(123_456, 5, 3), "123.456");
    }

    #[test]
    fn both_checks_have_their_catalogue_value() {
        assert_eq!(Crc::<u16>::new(&CRC_16_ARC).checksum(b"123456789"), 0xBB3D);
        assert_eq!(
            Crc::<u16>::new(&CRC_16_IBM_SDLC).checksum(b"123456789"),
            0x906E
        );
    }

    #[test]
    fn an_id_is_matched_whole() {
        assert!(has_id(b"1-0:1.8.1(000000.000*kWh)", "1-0:1.8.1"));
        assert!(has_id(b"1-0:1.8.1*255(000000.000*kWh)", "1-0:1.8.1"));
        assert!(!has_id(b"1-0:1.8.11(000000.000*kWh)", "1-0:1.8.1"));
    }
}
