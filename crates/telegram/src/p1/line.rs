//! One line of a telegram: `A-B:C.D.E(value)(value)…` (P1 companion standard 5.0.2 §6.3).

use nom::{IResult, Parser, combinator::all_consuming, multi::fold_many1};

use super::{
    obis::Obis,
    value::{self, Quantity},
};

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
    /// Reads a line without its line end. Any bytes are welcome. That the groups of an object are
    /// whole is for their reader to ask: [`Groups::quantity`] or [`Groups::checked`].
    #[inline]
    pub fn parse(text: &'a [u8]) -> Self {
        match obis(text) {
            Ok((groups, id)) => Self::Object(id, Groups(groups)),
            Err(_) if text.first() == Some(&b'(') => Self::Continuation(Groups(text)),
            Err(_) if text.trim_ascii().is_empty() => Self::Blank,
            Err(_) => Self::Odd(oddity(text)),
        }
    }
}

/// Whether a line that follows no grammar has lost a bracket.
pub fn oddity(text: &[u8]) -> Oddity {
    let open = text.iter().fold(0i32, |open, byte| match byte {
        b'(' => open.wrapping_add(1),
        b')' => open.wrapping_sub(1),
        _ => open,
    });
    if open == 0 {
        Oddity::Malformed
    } else {
        Oddity::Unbalanced
    }
}

/// An OBIS id as meters print it. The standard's examples, and so its simulators, misprint the
/// first `.` as `:`; German and pre-DSMR meters add the F group as `*255`, one example as `.255`.
// On the chip it has the registers to itself.
#[cfg_attr(target_os = "none", inline(never))]
#[cfg_attr(not(target_os = "none"), inline)]
fn obis(input: &[u8]) -> IResult<&[u8], Obis, ()> {
    let [a @ b'0'..=b'9', b'-', b @ b'0'..=b'9', b':', input @ ..] = input else {
        return Err(nom::Err::Error(()));
    };
    let (input, c) = number(input)?;
    let [b'.' | b':', input @ ..] = input else {
        return Err(nom::Err::Error(()));
    };
    let (input, d) = number(input)?;
    let [b'.', input @ ..] = input else {
        return Err(nom::Err::Error(()));
    };
    let (input, e) = number(input)?;
    let input = match input {
        [b'(', ..] => input,
        _ => f_group(input)?,
    };
    let id = Obis::new(a - b'0', b - b'0', c, d, e).ok_or(nom::Err::Error(()))?;
    Ok((input, id))
}

/// The F group, and what follows it up to the first bracket: nothing.
fn f_group(input: &[u8]) -> Result<&[u8], nom::Err<()>> {
    let [b'*' | b'.', input @ ..] = input else {
        return Err(nom::Err::Error(()));
    };
    match number(input)?.0 {
        input @ [b'(', ..] => Ok(input),
        _ => Err(nom::Err::Error(())),
    }
}

/// A number up to 255. Three of these stand in every line, which is why they are not left to a
/// combinator.
#[inline(always)]
fn number(input: &[u8]) -> IResult<&[u8], u8, ()> {
    let [first, behind @ ..] = input else {
        return Err(nom::Err::Error(()));
    };
    let mut value = value::digit(*first).ok_or(nom::Err::Error(()))?;
    let mut rest = behind;
    while let [byte, behind @ ..] = rest
        && let Some(digit) = value::digit(*byte)
        && value < 256
    {
        value = value * 10 + digit;
        rest = behind;
    }
    let value = u8::try_from(value).map_err(|_| nom::Err::Error(()))?;
    Ok((rest, value))
}

#[inline]
fn group(input: &[u8]) -> IResult<&[u8], &[u8], ()> {
    if let [b'(', value @ ..] = input
        && let Some(end) = value.iter().position(|byte| *byte == b')')
        && let Some((value, [_, rest @ ..])) = value.split_at_checked(end)
    {
        return Ok((rest, value));
    }
    Err(nom::Err::Error(()))
}

/// The bracketed values of a line, as an iterator over what stands between the brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups<'a>(&'a [u8]);

impl<'a> Groups<'a> {
    /// A single group that is a number with or without a unit, as nearly every line has it, in one
    /// pass. Whether the unit is one (and not some further groups) is left to its reader.
    // On the chip it has the registers to itself.
    #[cfg_attr(target_os = "none", inline(never))]
    #[cfg_attr(not(target_os = "none"), inline)]
    pub fn quantity(&self) -> Option<Quantity<'a>> {
        let text = self.0.strip_prefix(b"(")?;
        let (rest, number) = value::number(text).ok()?;
        let unit = match rest {
            [b')'] => &[],
            [b'*', unit @ .., b')'] => unit,
            _ => return None,
        };
        Some(Quantity { number, unit })
    }

    /// The value of a single group with nothing behind it.
    #[inline]
    pub fn single(&self) -> Option<&'a [u8]> {
        match self.0 {
            [b'(', value @ .., b')'] if !value.contains(&b')') => Some(value),
            _ => None,
        }
    }

    /// The groups, when there is nothing but whole groups up to the end of the line, blanks aside.
    pub fn checked(&self) -> Option<Self> {
        let text = self.0.trim_ascii_end();
        let whole = all_consuming(fold_many1(group, || (), |(), _| ())).parse(text);
        whole.ok().map(|_| Self(text))
    }

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
            Line::Object(id, groups) => (id, groups.checked().unwrap().collect()),
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
            b"1-0:1000.8.1(1)",
            b"1-0:.8.1(1)",
            b"16-0:1.8.1(1)",
            b"1-16:1.8.1(1)",
            b"-0:1.8.1(1)",
            b"1-0:1.8.1*(1)",
        ] {
            let odd = Line::parse(text);
            assert_eq!(odd, Line::Odd(Oddity::Malformed), "{}", text.escape_ascii());
        }
        let odd = Line::parse(b"1-0:1.8.1 1)");
        assert_eq!(odd, Line::Odd(Oddity::Unbalanced));
    }

    #[test]
    fn groups_that_are_not_whole_are_told() {
        for text in [
            &b"1-0:1.8.1(1"[..],
            b"1-0:1.8.1(1) // low",
            b"1-0:1.8.1(1)2(3)",
            b"(1)(",
            b"(",
        ] {
            let (Line::Object(_, groups) | Line::Continuation(groups)) = Line::parse(text) else {
                panic!("{} has no groups", text.escape_ascii());
            };
            assert_eq!(groups.checked(), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_single_number_is_read_in_one_pass() {
        let quantity = |text: &'static [u8]| Groups(text).quantity();
        assert_eq!(quantity(b"(00.454*kW)").unwrap().unit, b"kW");
        assert_eq!(quantity(b"(0002)").unwrap().number.mantissa, 2);
        assert_eq!(quantity(b"(1)(2)"), None);
        assert_eq!(quantity(b"(1"), None);
        assert_eq!(quantity(b"()"), None);
    }
}
