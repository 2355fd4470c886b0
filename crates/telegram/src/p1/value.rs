//! Numbers as the meter prints them: fixed-point integers, never floats.

use nom::{IResult, Parser, character::complete::alphanumeric0, combinator::all_consuming};

/// The most digits a number may have: what surely fits 64 bits.
const DIGITS_MAX: usize = 18;

/// A decimal number: `mantissa` / 10^`decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// All digits as one integer, with the sign.
    pub mantissa: i64,
    /// How many of the digits stand behind the point.
    pub decimals: u8,
    /// How many stood before it, leading zeros included.
    pub width: u8,
}

impl From<u32> for Number {
    fn from(whole: u32) -> Self {
        Self {
            mantissa: whole.into(),
            decimals: 0,
            width: 0,
        }
    }
}

/// A number with the unit that was printed, which may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity<'a> {
    /// The number.
    pub number: Number,
    /// The unit's characters.
    pub unit: &'a [u8],
}

/// Why a value is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotANumber {
    /// There are no digits, and maybe a unit (`()`, `(*m3)`): the meter has no value to give.
    Empty,
    /// Other characters, or more digits than any meter counts.
    Malformed,
}

/// Reads `[blank][sign]digits[.digits][*][blank][unit][blank]`. Belgian meters leave the `*` out, Holley
/// meters put a blank behind the unit.
///
/// # Errors
/// [`NotANumber`].
pub fn quantity(text: &[u8]) -> Result<Quantity<'_>, NotANumber> {
    match all_consuming(printed).parse(text) {
        Ok((_, quantity)) => Ok(quantity),
        Err(_) if matches!(text.trim_ascii(), [] | [b'*', ..]) => Err(NotANumber::Empty),
        Err(_) => Err(NotANumber::Malformed),
    }
}

fn printed(input: &[u8]) -> IResult<&[u8], Quantity<'_>, ()> {
    let (input, number) = number(blanks(input))?;
    let (input, unit) = alphanumeric0(blanks(input.strip_prefix(b"*").unwrap_or(input)))?;
    Ok((blanks(input), Quantity { number, unit }))
}

/// What follows the blanks.
fn blanks(mut input: &[u8]) -> &[u8] {
    while let [blank, rest @ ..] = input
        && blank.is_ascii_whitespace()
    {
        input = rest;
    }
    input
}

/// Digits with at most one point among them, at the front of `input`. It sees most of a telegram's
/// bytes, so it is a loop and no combinator.
#[inline(always)]
pub fn number(input: &[u8]) -> IResult<&[u8], Number, ()> {
    let (negative, text) = match input {
        [b'-', text @ ..] => (true, text),
        [b'+', text @ ..] => (false, text),
        text => (false, text),
    };
    let mut value = 0u32;
    let mut rest = digits(text, &mut value);
    let width = text.len() - rest.len();
    let mut decimals = 0;
    if let [b'.', fraction @ ..] = rest {
        rest = digits(fraction, &mut value);
        decimals = fraction.len() - rest.len();
    }
    if width == 0 || width + decimals > DIGITS_MAX {
        return Err(nom::Err::Error(()));
    }
    // Nine digits fit 32 bits. More are so rare that they are read again.
    let magnitude = match width + decimals {
        ..=9 => i64::from(value),
        _ => large(text.get(..text.len() - rest.len()).unwrap_or_default()),
    };
    let number = Number {
        mantissa: if negative { -magnitude } else { magnitude },
        decimals: decimals as u8,
        width: width as u8,
    };
    Ok((rest, number))
}

/// Adds the leading digits of `text` to `value`, as far as 32 bits go, and returns what follows them.
#[inline(always)]
fn digits<'a>(text: &'a [u8], value: &mut u32) -> &'a [u8] {
    let mut rest = text;
    while let [byte, behind @ ..] = rest
        && let Some(digit) = digit(*byte)
    {
        *value = value.wrapping_mul(10).wrapping_add(digit);
        rest = behind;
    }
    rest
}

/// A digit in a register's width, which spares the chip to cut it to a byte's.
#[inline(always)]
pub(super) fn digit(byte: u8) -> Option<u32> {
    let digit = u32::from(byte).wrapping_sub(u32::from(b'0'));
    (digit < 10).then_some(digit)
}

#[cold]
fn large(text: &[u8]) -> i64 {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

impl Number {
    /// The number times 10^`shift`, exactly: units differ by powers of ten (Wh and kWh), so the
    /// point moves and the digits stay. `None` when it does not fit.
    pub fn shifted(self, shift: i8) -> Option<Self> {
        let decimals = i16::from(self.decimals) - i16::from(shift);
        if (0..=DIGITS_MAX as i16).contains(&decimals) {
            return Some(Self {
                decimals: decimals as u8,
                ..self
            });
        }
        let grown = 10i64.checked_pow(u32::from(decimals.unsigned_abs()))?;
        let mantissa = self.mantissa.checked_mul(grown)?;
        (decimals < 0).then_some(Self {
            mantissa,
            decimals: 0,
            ..self
        })
    }

    /// The number without leading zeros, all its decimals kept: `57.460`, `-0.065`, `2`.
    pub fn format(self, buffer: &mut [u8; FORMATTED_MAX]) -> &[u8] {
        let length = self.write(buffer).unwrap_or(0);
        buffer.get(..length).unwrap_or_default()
    }

    /// As [`format`](Self::format), with the leading zeros as sent: `000057.460`.
    pub fn format_as_sent(self, buffer: &mut [u8; FORMATTED_MAX]) -> &[u8] {
        let length = self.write_as_sent(buffer).unwrap_or(0);
        buffer.get(..length).unwrap_or_default()
    }

    /// Writes what [`format`](Self::format) gives to the front of `room` and returns its length; `None` when
    /// there is too little room.
    #[inline]
    pub fn write(self, room: &mut [u8]) -> Option<usize> {
        self.write_padded(1, room)
    }

    /// As [`write`](Self::write), with the leading zeros as sent.
    pub fn write_as_sent(self, room: &mut [u8]) -> Option<usize> {
        self.write_padded(usize::from(self.width).clamp(1, DIGITS_MAX), room)
    }

    fn write_padded(self, width: usize, room: &mut [u8]) -> Option<usize> {
        let Ok(mut left) = u32::try_from(self.mantissa.unsigned_abs()) else {
            return self.write_large(width, room);
        };
        let digits = self.digits(width, |count| {
            TENS.get(count).is_some_and(|ten| left >= *ten)
        });
        self.fill(digits, room, || {
            let (tenth, digit) = divided_by_ten(left);
            left = tenth;
            digit as u8
        })
    }

    /// A 64-bit division is slow on a 32-bit core.
    #[cold]
    fn write_large(self, width: usize, room: &mut [u8]) -> Option<usize> {
        let mut left = self.mantissa.unsigned_abs();
        let digits = self.digits(width, |count| left >= 10u64.saturating_pow(count as u32));
        self.fill(digits, room, || {
            let digit = left % 10;
            left /= 10;
            digit as u8
        })
    }

    /// How many digits are to be written, when so many at least stand before the point.
    #[inline(always)]
    fn digits(self, width: usize, has_more_than: impl Fn(usize) -> bool) -> usize {
        let mut count = width + usize::from(self.decimals).min(DIGITS_MAX);
        while has_more_than(count) {
            count += 1;
        }
        count
    }

    /// Writes sign, point and so many digits, which come from the last to the first.
    #[inline(always)]
    fn fill(self, digits: usize, room: &mut [u8], mut next: impl FnMut() -> u8) -> Option<usize> {
        let decimals = usize::from(self.decimals).min(DIGITS_MAX);
        let sign = usize::from(self.mantissa < 0);
        let point = sign + digits - decimals;
        let length = point + usize::from(decimals > 0) + decimals;
        let (whole, fraction) = room.get_mut(..length)?.split_at_mut_checked(point)?;
        if let [point, fraction @ ..] = fraction {
            *point = b'.';
            for place in fraction.iter_mut().rev() {
                *place = b'0' + next();
            }
        }
        for place in whole.iter_mut().rev() {
            *place = b'0' + next();
        }
        if self.mantissa < 0 {
            *whole.first_mut()? = b'-';
        }
        Some(length)
    }
}

/// The powers of ten that 32 bits hold.
static TENS: [u32; 10] = {
    let mut tens = [1; 10];
    let mut at = 1;
    while at < tens.len() {
        tens[at] = tens[at - 1] * 10;
        at += 1;
    }
    tens
};

/// Quotient and remainder. The chip has no divider and no long product, of which a compiler would make one: it would
/// call a function of a hundred instructions for each digit.
#[inline]
pub fn divided_by_ten(value: u32) -> (u32, u32) {
    if let Ok(small) = u16::try_from(value) {
        // 0.8 / 8 in units of 2^-19, with a product of 32 bits.
        let quotient = (u32::from(small) * 0xCCCD) >> 19;
        return (quotient, value - quotient * 10);
    }
    // 0.8, as the sum of 1/2 + 1/4 with its own sixteenth, and so on. It falls short by less than one digit's worth.
    let mut quotient = (value >> 1) + (value >> 2);
    quotient += quotient >> 4;
    quotient += quotient >> 8;
    quotient += quotient >> 16;
    quotient >>= 3;
    let rest = value - quotient * 10;
    if rest < 10 {
        (quotient, rest)
    } else {
        (quotient + 1, rest - 10)
    }
}

/// Room for any formatted number: sign, leading zeros, digits, point.
pub const FORMATTED_MAX: usize = 2 * DIGITS_MAX + 4;

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn read(text: &str) -> (i64, u8, &str) {
        let quantity = quantity(text.as_bytes()).unwrap_or_else(|e| panic!("{text:?}: {e:?}"));
        let unit = core::str::from_utf8(quantity.unit).unwrap();
        (quantity.number.mantissa, quantity.number.decimals, unit)
    }

    #[test]
    fn numbers_keep_their_decimals() {
        assert_eq!(read("000057.460*kWh"), (57_460, 3, "kWh"));
        assert_eq!(read("001*A"), (1, 0, "A"));
        assert_eq!(read("00008"), (8, 0, ""));
        assert_eq!(read("0.48*A"), (48, 2, "A"));
        assert_eq!(read("-063*A"), (-63, 0, "A"));
        assert_eq!(read("-0.123"), (-123, 3, ""));
        assert_eq!(read(" 12.5*V"), (125, 1, "V"));
        assert_eq!(
            read("99999999.9999999*kWh"),
            (999_999_999_999_999, 7, "kWh")
        );
        assert_eq!(read("230.*V"), (230, 0, "V"));
    }

    #[test]
    fn odd_units_are_read() {
        assert_eq!(read("000123.456kWh"), (123_456, 3, "kWh"));
        assert_eq!(read("000123.45*kWh "), (12_345, 2, "kWh"));
        assert_eq!(read("000123.45* kWh"), (12_345, 2, "kWh"));
        assert_eq!(read("00304.089*m3"), (304_089, 3, "m3"));
    }

    #[test]
    fn nothing_is_not_zero() {
        for text in ["", " ", "*m3", "*"] {
            assert_eq!(
                quantity(text.as_bytes()),
                Err(NotANumber::Empty),
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_text_is_no_number() {
        for text in [
            "TARIFF 1",
            "12,5*V",
            "1.2.3",
            "ON",
            "--1",
            "1.5*k(",
            "1234567890123456789",
            "\u{ff}",
        ] {
            let found = quantity(text.as_bytes());
            assert_eq!(found, Err(NotANumber::Malformed), "{text:?}");
        }
    }

    fn text(number: Number, as_sent: bool) -> String {
        let mut buffer = [0; FORMATTED_MAX];
        let bytes = if as_sent {
            number.format_as_sent(&mut buffer)
        } else {
            number.format(&mut buffer)
        };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn formatting_drops_leading_zeros_only() {
        for (sent, plain) in [
            ("000057.460", "57.460"),
            ("00000.000", "0.000"),
            ("0002", "2"),
            ("-063", "-63"),
            ("-0.065", "-0.065"),
            ("000", "0"),
            ("99999999.9999999", "99999999.9999999"),
            ("999999999999999999", "999999999999999999"),
            ("000000000000000.001", "0.001"),
        ] {
            let number = quantity(sent.as_bytes()).unwrap().number;
            assert_eq!(text(number, false), plain);
            assert_eq!(text(number, true), sent);
        }
    }

    #[test]
    fn a_number_is_written_where_there_is_room() {
        for sent in ["57.460", "-0.065", "2", "-99999999999.9"] {
            let number = quantity(sent.as_bytes()).unwrap().number;
            let mut room = [0; FORMATTED_MAX];
            for length in 0..sent.len() {
                assert_eq!(number.write(&mut room[..length]), None, "{sent}");
            }
            assert_eq!(number.write(&mut room), Some(sent.len()));
            assert_eq!(&room[..sent.len()], sent.as_bytes());
        }
        for whole in [0, 9, 10, u32::MAX] {
            let mut room = [0; FORMATTED_MAX];
            let length = Number::from(whole).write(&mut room).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&room[..length]),
                std::format!("{whole}")
            );
        }
    }

    #[test]
    fn ten_divides_exactly_without_a_division() {
        let all = (0..=100_000).chain((1..=u32::MAX / 9973).map(|n| n * 9973));
        let edges = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, !(1u32 << bit)]);
        let tens = (0..=u32::MAX / 10_007).map(|n| (n * 10_007) / 10 * 10);
        for value in all.chain(edges).chain(tens).chain([u32::MAX]) {
            assert_eq!(divided_by_ten(value), (value / 10, value % 10), "{value}");
        }
    }

    #[test]
    fn units_shift_the_point_exactly() {
        let shifted = |sent: &str, by| {
            let number = quantity(sent.as_bytes()).unwrap().number;
            number.shifted(by).map(|number| text(number, false))
        };
        assert_eq!(shifted("000000123", -3).as_deref(), Some("0.123"));
        assert_eq!(shifted("0000.236", 3).as_deref(), Some("236"));
        assert_eq!(shifted("1.5", 3).as_deref(), Some("1500"));
        assert_eq!(shifted("-2", 3).as_deref(), Some("-2000"));
        assert_eq!(shifted("999999999999999999", 3), None);
        assert_eq!(shifted("0.00000000000000001", -3), None);
    }
}
