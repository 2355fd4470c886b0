//! One line of a telegram: `A-B:C.D.E(value)(value)…` (P1 companion standard 5.0.2 §6.3).

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_till},
    character::complete::{one_of, u8 as number_u8},
    combinator::opt,
    sequence::{delimited, preceded},
};

use super::obis::Obis;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// An object: its id and its bracketed values.
    Object(Obis, Groups<'a>),
    /// Bracketed values that belong to the object before: DSMR 2.2's gas reading.
    Continuation(Groups<'a>),
    /// Nothing.
    Blank,
    /// No line of a telegram.
    Odd(Oddity),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It does not follow the grammar.
    Malformed,
    /// It does not, and its brackets do not balance: part of it is lost.
    Unbalanced,
}

impl<'a> Line<'a> {
    /// Reads a line without its line end. Any bytes are welcome.
    pub fn parse(text: &'a [u8]) -> Self {
        let parsed = match text.first() {
            None => return Self::Blank,
            Some(b'(') => groups(text).map(|(rest, groups)| (rest, Self::Continuation(groups))),
            Some(_) => object(text).map(|(rest, (id, groups))| (rest, Self::Object(id, groups))),
        };
        match parsed {
            Ok((_, line)) => line,
            Err(_) if text.trim_ascii().is_empty() => Self::Blank,
            Err(_) => Self::Odd(oddity(text)),
        }
    }
}

fn oddity(text: &[u8]) -> Oddity {
    let count = |bracket| text.iter().filter(|byte| **byte == bracket).count();
    if count(b'(') == count(b')') {
        Oddity::Malformed
    } else {
        Oddity::Unbalanced
    }
}

fn object(input: &[u8]) -> IResult<&[u8], (Obis, Groups<'_>)> {
    (obis, groups).parse(input)
}

/// An OBIS id as meters print it. The standard's examples, and so its simulators, misprint the
/// first `.` as `:`; German and pre-DSMR meters add the F group as `*255`, one example as `.255`.
pub fn obis(input: &[u8]) -> IResult<&[u8], Obis> {
    let (input, (a, _, b, _, c, _, d, _, e, _)) = (
        number_u8,
        tag("-"),
        number_u8,
        tag(":"),
        number_u8,
        one_of(".:"),
        number_u8,
        tag("."),
        number_u8,
        opt(preceded(one_of("*."), number_u8)),
    )
        .parse(input)?;
    match Obis::new(a, b, c, d, e) {
        Some(id) => Ok((input, id)),
        None => Err(nom::Err::Error(nom::error::Error::new(
            input,
            nom::error::ErrorKind::Verify,
        ))),
    }
}

fn group(input: &[u8]) -> IResult<&[u8], &[u8]> {
    delimited(tag("("), take_till(|byte| byte == b')'), tag(")")).parse(input)
}

/// At least one group up to the end of the line.
fn groups(input: &[u8]) -> IResult<&[u8], Groups<'_>> {
    let (mut rest, _) = group(input)?;
    while rest.first() == Some(&b'(') {
        rest = group(rest)?.0;
    }
    let text = &input[..input.len() - rest.len()];
    nom::combinator::all_consuming(nom::character::complete::space0).parse(rest)?;
    Ok((&[], Groups(text)))
}

/// The bracketed values of a line, as an iterator over what stands between the brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups<'a>(&'a [u8]);

impl<'a> Groups<'a> {
    /// The values with their brackets, as sent.
    pub fn raw(&self) -> &'a [u8] {
        self.0
    }

    /// Takes up what [`raw`](Self::raw) gave out.
    ///
    /// Bytes that are no groups yield none.
    pub fn of(raw: &'a [u8]) -> Self {
        Self(raw)
    }
}

impl<'a> Iterator for Groups<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (rest, value) = group(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn object_of(text: &[u8]) -> (Obis, Vec<&[u8]>) {
        match Line::parse(text) {
            Line::Object(id, groups) => (id, groups.collect()),
            other => panic!("{}: {other:?}", text.escape_ascii()),
        }
    }

    fn id(a: u8, b: u8, c: u8, d: u8, e: u8) -> Obis {
        Obis::new(a, b, c, d, e).unwrap()
    }

    #[test]
    fn an_object_is_its_id_and_its_groups() {
        assert_eq!(
            object_of(b"0-1:24.2.1(190827155500S)(00304.089*m3)"),
            (
                id(0, 1, 24, 2, 1),
                [&b"190827155500S"[..], b"00304.089*m3"].to_vec()
            )
        );
        assert_eq!(
            object_of(b"0-0:96.13.0()"),
            (id(0, 0, 96, 13, 0), [&b""[..]].to_vec())
        );
    }

    #[test]
    fn misprinted_separators_and_f_groups_are_read() {
        let current = id(1, 0, 31, 7, 0);
        assert_eq!(object_of(b"1-0:31.7.0.255(001*A)").0, current);
        assert_eq!(object_of(b"1-0:31.7.0*255(001*A)").0, current);
        assert_eq!(object_of(b"1-0:72:32.0(00000)").0, id(1, 0, 72, 32, 0));
        assert_eq!(object_of(b"1-0:99:97.0()").0, id(1, 0, 99, 97, 0));
    }

    #[test]
    fn any_byte_may_stand_in_a_value() {
        let line = [&b"0-0:96.13.0("[..], &[0xFF; 1024], b")"].concat();
        assert_eq!(object_of(&line).1, [&[0xFF; 1024][..]]);
        assert_eq!(object_of(b"1-0:1.8.0(\0(!/)  ").1, [b"\0(!/"]);
    }

    #[test]
    fn a_line_that_begins_with_a_bracket_continues_the_one_before() {
        let Line::Continuation(groups) = Line::parse(b"(00024.123)") else {
            panic!("no continuation");
        };
        assert_eq!(groups.collect::<Vec<_>>(), [b"00024.123"]);
    }

    #[test]
    fn blank_lines_are_blank() {
        assert_eq!(Line::parse(b""), Line::Blank);
        assert_eq!(Line::parse(b"  "), Line::Blank);
    }

    #[test]
    fn other_lines_are_odd_and_say_whether_a_bracket_is_missing() {
        for text in [
            &b"hello"[..],
            b"1-0:1.8(1)",
            b"1-0:1.8.1",
            b"1-0:256.8.1(1)",
            b"16-0:1.8.1(1)",
            b"1-16:1.8.1(1)",
            b"1-0:1.8.1(1) // low",
            b"1-0:1.8.1(1)2(3)",
            b"-0:1.8.1(1)",
        ] {
            let odd = Line::parse(text);
            assert_eq!(odd, Line::Odd(Oddity::Malformed), "{}", text.escape_ascii());
        }
        for text in [&b"1-0:1.8.1(1"[..], b"1-0:1.8.1 1)", b"(1)(", b"("] {
            let odd = Line::parse(text);
            assert_eq!(
                odd,
                Line::Odd(Oddity::Unbalanced),
                "{}",
                text.escape_ascii()
            );
        }
    }
}
