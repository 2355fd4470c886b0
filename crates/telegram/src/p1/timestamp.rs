//! The meter's time stamps (`TST`, P1 companion standard 5.0.2 §6.4) to UTC.

/// A point in time: seconds since 1970-01-01T00:00:00Z.
pub type Utc = u32;

const DAY: u32 = 86_400;

/// The letter behind a time stamp's digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letter {
    /// `S`: daylight saving time, UTC+2.
    Summer,
    /// `W`: standard time, UTC+1. Swedish and Finnish meters keep it all year.
    Winter,
    /// None: local time.
    Missing,
}

/// What stands in a time stamp's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// A point in time, and how it was marked.
    At(Utc, Letter),
    /// The meter's way to say that there is none: an unset clock (`000101000000W`), a channel
    /// never read (`632525252525W`, DLMS "not specified"), an empty bracket.
    Unset,
}

/// Reads `YYMMDDhhmmss` + `S` (daylight saving, UTC+2) or `W` (UTC+1). Without the letter (DSMR
/// 2.2 and 3.0, Dutch meters only) the stamp is local time, and Europe's rule decides. Pre-DSMR
/// meters write `YY-MM-DD hh:mm:ss`.
///
/// `None`: these bytes are no time stamp.
pub fn tst(bytes: &[u8]) -> Option<Stamp> {
    if bytes.is_empty() {
        return Some(Stamp::Unset);
    }
    if let [y0, y1, b'-', m0, m1, b'-', d0, d1, b' ', time @ ..] = bytes
        && let [h0, h1, b':', n0, n1, b':', s0, s1] = time
    {
        let digits = [*y0, *y1, *m0, *m1, *d0, *d1, *h0, *h1, *n0, *n1, *s0, *s1];
        return stamp(&digits, b"");
    }
    let (digits, letter) = bytes.split_at_checked(12)?;
    stamp(digits, letter)
}

fn stamp(digits: &[u8], letter: &[u8]) -> Option<Stamp> {
    let mut pairs = [0u32; 6];
    for ([tens, ones], value) in digits.as_chunks().0.iter().zip(&mut pairs) {
        *value = u32::from(decimal(*tens)?) * 10 + u32::from(decimal(*ones)?);
    }
    let [year, month, day, hour, minute, second] = pairs;
    // 35255255255255255S: the same "not specified", its fields not cut to two digits.
    if letter.len() > 1 {
        let tail = letter.strip_suffix(b"S").or(letter.strip_suffix(b"W"))?;
        let unset = tail.len() == 5 && tail.iter().all(u8::is_ascii_digit);
        return (unset && digits.starts_with(b"35255")).then_some(Stamp::Unset);
    }
    let letter = match letter {
        b"S" => Letter::Summer,
        b"W" => Letter::Winter,
        b"" => Letter::Missing,
        _ => return None,
    };
    // Meters count from 2000 and are younger than that; 63 is 0xFFFF - 2000 cut to two digits, 70
    // is where clocks begin that were never set.
    if year == 0 || year >= 63 {
        return Some(Stamp::Unset);
    }
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let local = days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let summer = match letter {
        Letter::Summer => true,
        Letter::Winter => false,
        Letter::Missing => european_summer(year, local),
    };
    let utc = local - if summer { 7200 } else { 3600 };
    Some(Stamp::At(utc, letter))
}

fn decimal(digit: u8) -> Option<u8> {
    digit.is_ascii_digit().then(|| digit - b'0')
}

/// Days of a month of 2000 + `year`, up to 2099.
pub fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of 2000 + `year`; 2000 to 2099 has a leap year every four years.
pub fn days_since_1970(year: u32, month: u32, day: u32) -> u32 {
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = year.div_ceil(4) + u32::from(year.is_multiple_of(4) && month > 2);
    let before = BEFORE.get((month as usize).wrapping_sub(1)).unwrap_or(&0);
    10_957 + year * 365 + leap_days + before + day - 1
}

/// Whether Central European local time `local` (seconds) is daylight saving time: from the last
/// Sunday of March, 2:00, to the last Sunday of October, 3:00 (directive 2000/84/EC). The hour that
/// occurs twice is taken as winter time.
fn european_summer(year: u32, local: u32) -> bool {
    let last_sunday = |month| {
        let last = days_since_1970(year, month, 31);
        last - (last + 4) % 7
    };
    let start = last_sunday(3) * DAY + 2 * 3600;
    let end = last_sunday(10) * DAY + 2 * 3600;
    (start..end).contains(&local)
}

/// The calendar fields that a meter shows at `utc`, when it marks its stamps with `letter`.
pub fn local(utc: Utc, letter: Letter) -> Calendar {
    let standard = utc + 3600;
    let summer = match letter {
        Letter::Summer => true,
        Letter::Winter => false,
        Letter::Missing => {
            let year = Calendar::of(standard).year.saturating_sub(2000);
            european_summer(year, standard)
        }
    };
    Calendar::of(if summer { standard + 3600 } else { standard })
}

/// The calendar fields of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// Year, 1970 to 2106.
    pub year: u32,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, 1 to 31.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Second, 0 to 59.
    pub second: u32,
}

impl Calendar {
    /// The calendar fields of `utc`, in UTC.
    pub fn of(utc: Utc) -> Self {
        let (mut days, seconds) = (utc / DAY, utc % DAY);
        // Counted from 1 March 1968, so that the leap day is the last of its four years.
        days += 671;
        let four_years = days / 1461;
        let day_of_four = days % 1461;
        let year_of_four = (day_of_four / 365).min(3);
        let day_of_year = day_of_four - year_of_four * 365;
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let (month, next) = match month_from_march {
            0..=9 => (month_from_march + 3, 0),
            _ => (month_from_march - 9, 1),
        };
        Self {
            year: 1968 + four_years * 4 + year_of_four + next,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// `YYMMDDhhmmss`, as meters write it.
    pub fn compact(&self) -> [u8; 12] {
        let mut text = [0; 12];
        let fields = [
            self.year % 100,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
        ];
        for (place, field) in text.as_chunks_mut().0.iter_mut().zip(fields) {
            *place = two_digits(field);
        }
        text
    }

    /// `2019-08-27T13:55:11Z`.
    pub fn iso8601(&self) -> [u8; 20] {
        let [c0, c1] = two_digits(self.year / 100);
        let [y0, y1] = two_digits(self.year % 100);
        let [m0, m1] = two_digits(self.month);
        let [d0, d1] = two_digits(self.day);
        let [h0, h1] = two_digits(self.hour);
        let [n0, n1] = two_digits(self.minute);
        let [s0, s1] = two_digits(self.second);
        [
            c0, c1, y0, y1, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1,
            b'Z',
        ]
    }
}

fn two_digits(value: u32) -> [u8; 2] {
    [value / 10, value % 10].map(|digit| b'0' + digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(bytes: &[u8]) -> std::string::String {
        match tst(bytes) {
            Some(Stamp::At(utc, _)) => {
                std::string::String::from_utf8(Calendar::of(utc).iso8601().to_vec()).unwrap()
            }
            other => std::format!("{other:?}"),
        }
    }

    #[test]
    fn summer_and_winter_letters_become_utc() {
        assert_eq!(
            tst(b"190827155511S"),
            Some(Stamp::At(1_566_914_111, Letter::Summer))
        );
        assert_eq!(iso(b"19-01-01 01:00:00"), "2019-01-01T00:00:00Z");
        assert_eq!(iso(b"190827155511S"), "2019-08-27T13:55:11Z");
        assert_eq!(iso(b"010101000000W"), "2000-12-31T23:00:00Z");
        assert_eq!(iso(b"200229235959W"), "2020-02-29T22:59:59Z");
        assert_eq!(iso(b"621231235959W"), "2062-12-31T22:59:59Z");
    }

    #[test]
    fn the_hour_that_occurs_twice_is_told_apart() {
        assert_eq!(iso(b"251026025959S"), "2025-10-26T00:59:59Z");
        assert_eq!(iso(b"251026020000W"), "2025-10-26T01:00:00Z");
    }

    #[test]
    fn stamps_without_letter_follow_europes_rule() {
        assert_eq!(iso(b"121030140000"), "2012-10-30T13:00:00Z");
        assert_eq!(iso(b"120830140000"), "2012-08-30T12:00:00Z");
        assert_eq!(iso(b"250330015959"), "2025-03-30T00:59:59Z");
        assert_eq!(iso(b"250330030000"), "2025-03-30T01:00:00Z");
        assert_eq!(iso(b"251026015959"), "2025-10-25T23:59:59Z");
        assert_eq!(iso(b"251026030000"), "2025-10-26T02:00:00Z");
    }

    #[test]
    fn stamps_can_be_written_as_the_meter_did() {
        for sent in [
            &b"190827155511S"[..],
            b"190127155511W",
            b"121030140000",
            b"120830140000",
            b"250330030000",
            b"251026030000",
        ] {
            let Some(Stamp::At(utc, letter)) = tst(sent) else {
                panic!("no stamp");
            };
            assert_eq!(local(utc, letter).compact(), sent[..12]);
        }
    }

    #[test]
    fn placeholders_are_unset() {
        for unset in [
            &b"632525252525S"[..],
            b"632525252525W",
            b"35255255255255255S",
            b"000101000000W",
            b"000101000001W",
            b"700101010000W",
            b"",
        ] {
            assert_eq!(tst(unset), Some(Stamp::Unset), "{}", unset.escape_ascii());
        }
    }

    #[test]
    fn other_bytes_are_no_stamp() {
        for odd in [
            &b"19082715551"[..],
            b"190827155511X",
            b"191327155511S",
            b"190832155511S",
            b"190229155511W",
            b"190827245511S",
            b"190827156011S",
            b"190827155560S",
            b"19082715551S",
            b"07EA080B0208151900007880",
            b"352552552552\x01\x0255S",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffS",
        ] {
            assert_eq!(tst(odd), None, "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn every_day_of_the_century_goes_there_and_back() {
        let mut expected = days_since_1970(1, 1, 1);
        for year in 1..=62 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    let calendar = Calendar::of(expected * DAY);
                    assert_eq!(
                        (calendar.year, calendar.month, calendar.day),
                        (2000 + year, month, day)
                    );
                    expected += 1;
                }
            }
        }
    }
}
