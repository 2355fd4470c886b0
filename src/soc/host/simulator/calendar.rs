//! Civil time as meters print it: local clock, summer time, and the stamps of the P1 standards.

use std::format;
use std::prelude::v1::*;

/// Which local time a meter's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// UTC+1, and UTC+2 by Europe's rule for summer time.
    European,
    /// UTC+1 all year, as Sweden's meters keep it.
    AlwaysWinter,
}

/// A moment on a local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Year, four digits.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month, 1 to 31.
    pub day: i64,
    /// Hour, 0 to 23.
    pub hour: i64,
    /// Minute, 0 to 59.
    pub minute: i64,
    /// Second, 0 to 59.
    pub second: i64,
    /// Day of the week, 0 is Monday.
    pub weekday: i64,
    /// Whether the clock is on summer time.
    pub summer: bool,
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years run from March, so that the leap day is the last of a year.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
pub fn date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Whether Europe is on summer time: from the last Sunday of March, 01:00 UTC, to the last Sunday
/// of October, 01:00 UTC.
pub fn is_summer(utc: i64) -> bool {
    let (year, month, _) = date(utc.div_euclid(86_400));
    match month {
        4..=9 => true,
        3 => utc >= last_sunday(year, 3) + 3_600,
        10 => utc < last_sunday(year, 10) + 3_600,
        _ => false,
    }
}

/// Midnight UTC of the last Sunday of a month with 31 days.
fn last_sunday(year: i64, month: i64) -> i64 {
    let last = days(year, month, 31);
    (last - (weekday(last) + 1) % 7) * 86_400
}

fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// The local clock of `zone` at a moment in UTC seconds.
pub fn local(utc: i64, zone: Zone) -> Local {
    let summer = zone == Zone::European && is_summer(utc);
    let t = utc + if summer { 7_200 } else { 3_600 };
    let (day_number, of_day) = (t.div_euclid(86_400), t.rem_euclid(86_400));
    let (year, month, day) = date(day_number);
    Local {
        year,
        month,
        day,
        hour: of_day / 3_600,
        minute: of_day / 60 % 60,
        second: of_day % 60,
        weekday: weekday(day_number),
        summer,
    }
}

/// UTC seconds of a local midnight.
pub fn midnight(year: i64, month: i64, day: i64, zone: Zone) -> i64 {
    // Europe never changes its clocks at midnight, so either offset may decide which one holds.
    let winter = days(year, month, day) * 86_400 - 3_600;
    if zone == Zone::European && is_summer(winter) {
        winter - 3_600
    } else {
        winter
    }
}

/// UTC seconds of the local midnight that began the month of `utc`, moved by `months`.
pub fn month_start(utc: i64, months: i64, zone: Zone) -> i64 {
    let now = local(utc, zone);
    let month = now.year * 12 + now.month - 1 + months;
    midnight(month.div_euclid(12), month.rem_euclid(12) + 1, 1, zone)
}

/// `YYMMDDhhmmss` and `S` or `W`: the TST of DSMR 4.0 and later.
pub fn stamp(utc: i64, zone: Zone) -> String {
    let letter = if local(utc, zone).summer { 'S' } else { 'W' };
    format!("{}{letter}", stamp12(utc, zone))
}

/// `YYMMDDhhmmss` without a letter, as DSMR 2.2 and 3.0 print it.
pub fn stamp12(utc: i64, zone: Zone) -> String {
    let t = local(utc, zone);
    format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}",
        t.year.rem_euclid(100),
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second
    )
}

/// A moment in UTC written as `2026-01-15T17:30:00Z` or as seconds since 1970.
///
/// # Errors
///
/// [`NotAMoment`] for anything else, also for days that no calendar has.
pub fn parse_utc(text: &str) -> Result<i64, NotAMoment> {
    let wrong = || NotAMoment(text.into());
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(seconds.into());
    }
    let pattern = b"0000-00-00T00:00:00Z";
    let fits = text.len() == pattern.len()
        && text.bytes().zip(pattern).all(|(byte, want)| match want {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        });
    if !fits {
        return Err(wrong());
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().map_err(|_| wrong());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    let day_number = days(year, month, day);
    if date(day_number) != (year, month, day) {
        return Err(wrong());
    }
    Ok(day_number * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// A text that [`parse_utc`] could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAMoment(String);

impl std::fmt::Display for NotAMoment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` is not a moment; write it in UTC as 2026-01-15T17:30:00Z or as seconds since 1970",
            self.0
        )
    }
}

impl std::error::Error for NotAMoment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_inverse() {
        for day in (-200_000..200_000).step_by(97) {
            let (y, m, d) = date(day);
            assert_eq!(days(y, m, d), day);
        }
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(date(days(2024, 2, 28) + 1), (2024, 2, 29));
    }

    #[test]
    fn the_hour_of_the_change_to_winter_repeats_with_s_then_w() {
        let change = parse_utc("2026-10-25T01:00:00Z").unwrap();
        assert_eq!(stamp(change - 3_600, Zone::European), "261025020000S");
        assert_eq!(stamp(change - 1, Zone::European), "261025025959S");
        assert_eq!(stamp(change, Zone::European), "261025020000W");
        assert_eq!(stamp(change - 3_600, Zone::AlwaysWinter), "261025010000W");
    }

    #[test]
    fn the_change_to_summer_skips_an_hour() {
        let change = parse_utc("2026-03-29T01:00:00Z").unwrap();
        assert_eq!(stamp(change - 1, Zone::European), "260329015959W");
        assert_eq!(stamp(change, Zone::European), "260329030000S");
    }

    #[test]
    fn months_begin_at_local_midnight() {
        let in_may = parse_utc("2026-05-20T10:00:00Z").unwrap();
        let begin = month_start(in_may, 0, Zone::European);
        assert_eq!(stamp(begin, Zone::European), "260501000000S");
        let begin = month_start(in_may, -6, Zone::European);
        assert_eq!(stamp(begin, Zone::European), "251101000000W");
    }

    #[test]
    fn weekdays_start_on_monday() {
        let thursday = parse_utc("2026-01-15T17:30:00Z").unwrap();
        assert_eq!(local(thursday, Zone::European).weekday, 3);
    }

    #[test]
    fn moments_that_do_not_exist_are_refused() {
        for wrong in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "yesterday",
            "-1",
            "",
        ] {
            assert!(parse_utc(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_utc("1768498200"), parse_utc("2026-01-15T17:30:00Z"));
    }
}
