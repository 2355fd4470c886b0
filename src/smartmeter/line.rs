//! What a client sends, cut into lines.

/// Bytes of the longest command, without its line end.
pub const MAX: usize = 599;

/// A line as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without line end and the blanks around them.
    Text(&'a [u8]),
    /// It had more than [`MAX`] bytes.
    TooLong,
}

/// Seconds of silence after which what has come of a line is all of it.
const SILENCE: u8 = 10;

/// Collects bytes until a line's end, which is a LF; a CR before it is a blank. RAM: 0.6 kB.
#[derive(Debug, Default)]
pub struct Lines {
    /// With room for the CR.
    buffer: heapless::Vec<u8, { MAX + 1 }>,
    too_long: bool,
    ended: bool,
    /// Seconds since something came.
    silence: u8,
}

impl Lines {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            buffer: heapless::Vec::new(),
            too_long: false,
            ended: false,
            silence: 0,
        }
    }

    /// To be asked each second: whether a line has waited for its end for so long that it has to be given one.
    pub fn is_overdue(&mut self) -> bool {
        self.silence = self.silence.saturating_add(1);
        let is_begun = !self.buffer.is_empty() || self.too_long;
        is_begun && !self.ended && self.silence >= SILENCE
    }

    /// Takes bytes from the front of `input`, through the next line's end if there is one: that line
    /// is returned, and the rest stays for the next call.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Line<'_>> {
        if !input.is_empty() {
            self.silence = 0;
        }
        if core::mem::take(&mut self.ended) {
            self.buffer.clear();
            self.too_long = false;
        }
        let end = input.iter().position(|byte| *byte == b'\n');
        let (piece, rest) = match end {
            Some(end) => (&input[..end], &input[end + 1..]),
            None => (*input, &[][..]),
        };
        *input = rest;
        self.too_long |= self.buffer.extend_from_slice(piece).is_err();
        end?;
        self.ended = true;
        let text = self.buffer.trim_ascii();
        Some(match self.too_long || text.len() > MAX {
            true => Line::TooLong,
            false => Line::Text(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use super::*;

    /// The lines that come out when the bytes go in by `size` at a time.
    fn lines(bytes: &[u8], size: usize) -> Vec<String> {
        let mut lines = Lines::new();
        let mut all = Vec::new();
        for mut piece in bytes.chunks(size) {
            while let Some(line) = lines.next(&mut piece) {
                all.push(match line {
                    Line::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    Line::TooLong => "too long".into(),
                });
            }
        }
        all
    }

    #[test]
    fn any_fragmentation_gives_the_same_lines() {
        let fits = "x".repeat(MAX);
        let bytes = format!("one\r\n\ntwo\n{fits}\r\n{fits}y\n{fits}{fits}\n  ?\r\nunfinished");
        let expected = ["one", "", "two", &fits, "too long", "too long", "?"];
        for size in [1, 2, 3, 7, 64, 599, 600, 5_000] {
            assert_eq!(lines(bytes.as_bytes(), size), expected, "{size}");
        }
    }
}
