//! Numbers with a fixed number of decimals, in and out: no floats.

use ufmt::{Formatter, uDisplay, uWrite};

use crate::p1::value::{FORMATTED_MAX, Number};

/// Reads a JSON number, times 10^`decimals`; what is behind them is cut off. `None` for anything else
/// and for what does not fit.
pub fn parse(text: &str, decimals: u8) -> Option<i64> {
    let bytes = text.trim_ascii().as_bytes();
    let (negative, mut rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (number, exponent) = match rest.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0),
    };
    rest = number;
    let point = rest.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    if whole.is_empty() || point.is_some() && fraction.is_empty() {
        return None;
    }
    // Digits that count, those in front of the point and so many behind it.
    let count = whole.len() as i64 + i64::from(decimals) + i64::from(exponent);
    let mut value = 0i64;
    let digits = whole.iter().chain(fraction);
    let mut place = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        if place < count {
            let digit = i64::from(digit - b'0');
            value = value.checked_mul(10)?.checked_add(digit)?;
        }
        place += 1;
    }
    while place < count && value != 0 {
        value = value.checked_mul(10)?;
        place += 1;
    }
    Some(if negative { -value } else { value })
}

fn exponent(text: &[u8]) -> Option<i16> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i16, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add((digit - b'0').into())
    });
    Some(if negative { -value } else { value })
}

/// `value` / 10^`decimals`, printed without trailing zeros: `228.4`, `0.05`, `-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// The digits.
    pub value: i64,
    /// How many of them stand behind the point.
    pub decimals: u8,
}

impl uDisplay for Short {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let (mut value, mut decimals) = (self.value, self.decimals);
        while decimals > 0 && value % 10 == 0 {
            value /= 10;
            decimals -= 1;
        }
        print(value, decimals, f)
    }
}

/// `value` / 10^`decimals` rounded to `places` behind the point, all of them printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounded {
    /// The digits.
    pub value: i64,
    /// How many of them stand behind the point.
    pub decimals: u8,
    /// How many are printed.
    pub places: u8,
}

impl uDisplay for Rounded {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let (mut value, mut decimals) = (self.value, self.decimals);
        if decimals > self.places {
            let unit = power_of_ten(decimals - self.places);
            let half = if value < 0 { -(unit / 2) } else { unit / 2 };
            value = value.saturating_add(half) / unit;
            decimals = self.places;
        }
        while decimals < self.places {
            value = value.saturating_mul(10);
            decimals += 1;
        }
        print(value, decimals, f)
    }
}

/// All that fit. Multiplied one by one they took a tenth of what a telegram costs here: the lx106 has no product of 64 bits.
static POWERS_OF_TEN: [i64; 19] = powers_of_ten();

const fn powers_of_ten() -> [i64; 19] {
    let mut powers = [1; 19];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
}

/// 10^`exponent`, at most what fits.
pub fn power_of_ten(exponent: u8) -> i64 {
    let power = POWERS_OF_TEN.get(usize::from(exponent)).copied();
    power.unwrap_or(i64::MAX)
}

fn print<W: uWrite + ?Sized>(
    value: i64,
    decimals: u8,
    f: &mut Formatter<'_, W>,
) -> Result<(), W::Error> {
    let number = Number {
        mantissa: value,
        decimals,
        width: 0,
    };
    let mut buffer = [0; FORMATTED_MAX];
    f.write_str(core::str::from_utf8(number.format(&mut buffer)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use heapless::String;

    use ufmt::uwrite;

    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (text, decimals, expected) in [
            ("0", 0, Some(0)),
            ("-0", 3, Some(0)),
            ("1.05", 6, Some(1_050_000)),
            (" 4000 ", 0, Some(4000)),
            ("0.9999999", 6, Some(999_999)),
            ("-2.5e1", 1, Some(-250)),
            ("12e-1", 1, Some(12)),
            ("12e-1", 0, Some(1)),
            ("1E+3", 0, Some(1000)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("1e18", 0, Some(1_000_000_000_000_000_000)),
            ("1e19", 0, None),
            ("0e99999999", 0, Some(0)),
            ("1e-99999999", 0, Some(0)),
            ("", 0, None),
            ("-", 0, None),
            (".5", 1, None),
            ("5.", 1, None),
            ("1e", 0, None),
            ("1x", 0, None),
            ("1e5x", 0, None),
        ] {
            assert_eq!(parse(text, decimals), expected, "{text}");
        }
    }

    #[test]
    fn powers_of_ten_are_those_that_fit() {
        for exponent in 0..=u8::MAX {
            let power = 10i64.checked_pow(exponent.into());
            assert_eq!(
                power_of_ten(exponent),
                power.unwrap_or(i64::MAX),
                "10^{exponent}"
            );
        }
    }

    fn short(value: i64, decimals: u8) -> String<40> {
        let mut text = String::<40>::new();
        uwrite!(text, "{}", Short { value, decimals }).unwrap();
        text
    }

    fn rounded(value: i64, decimals: u8, places: u8) -> String<40> {
        let mut text = String::<40>::new();
        let rounded = Rounded {
            value,
            decimals,
            places,
        };
        uwrite!(text, "{}", rounded).unwrap();
        text
    }

    #[test]
    fn numbers_are_printed() {
        assert_eq!(short(228_400, 3), "228.4");
        assert_eq!(short(-3_000, 3), "-3");
        assert_eq!(short(50, 3), "0.05");
        assert_eq!(short(0, 3), "0");
        assert_eq!(short(i64::MIN, 6), "-9223372036854.775808");
        assert_eq!(rounded(1_004_999, 6, 2), "1.00");
        assert_eq!(rounded(1_005_000, 6, 2), "1.01");
        assert_eq!(rounded(-1_005_000, 6, 2), "-1.01");
        assert_eq!(rounded(-1, 6, 2), "0.00");
        assert_eq!(rounded(7, 0, 4), "7.0000");
        assert_eq!(rounded(i64::MAX, 0, 0), "9223372036854775807");
    }
}
