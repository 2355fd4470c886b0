//! Local time by a rule in the form of POSIX's `TZ` (IEEE Std 1003.1-2017 §8.3, RFC 8536 §3.3.1).
//!
//! The rule is all that a device has to know: a database of names is larger than a board's flash.

use super::time::{Local, Moment};
use crate::{
    p1::timestamp::{Calendar, days_in, days_since_1970},
    settings::Text,
};

const HOUR: i32 = 3600;
const DAY: i64 = 86_400;

/// A zone's offset from UTC, and when it has another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    text: Text<48>,
    /// Seconds that local time is ahead of UTC.
    standard: i32,
    summer: Option<Summer>,
}

/// Daylight saving time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summer {
    /// Seconds that local time is ahead of UTC then.
    offset: i32,
    start: Change,
    end: Change,
}

/// When clocks are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: Day,
    /// Seconds from that day's midnight, by the clock before it is changed; RFC 8536 lets it be another
    /// day.
    time: i32,
}

/// A day of each year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// `Mm.w.d`: the `week`th such weekday of the month, 0 for Sunday; the fifth is the last.
    Weekday { month: u32, week: u32, weekday: u32 },
    /// `Jn`: from 1, without 29 February.
    Julian(u32),
    /// `n`: from 0, with 29 February.
    Ordinal(u32),
}

impl Zone {
    /// What most meters with a P1 port have around them: Central European Time, with daylight saving time
    /// by directive 2000/84/EC.
    pub const CENTRAL_EUROPE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    /// The zone of a rule: `CET-1CEST,M3.5.0,M10.5.0/3`, `UTC0`, `<-03>3`. When clocks change has to be
    /// said; POSIX leaves open what it is otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text.as_bytes());
        rest.name()?;
        // POSIX counts what has to be added to get UTC.
        let standard = -rest.time(24)?;
        let mut summer = None;
        if !rest.0.is_empty() {
            rest.name()?;
            let offset = match rest.0.first()? {
                b',' => standard + HOUR,
                _ => -rest.time(24)?,
            };
            let (start, end) = (rest.change()?, rest.change()?);
            summer = Some(Summer { offset, start, end });
        }
        rest.0.is_empty().then_some(())?;
        Some(Self {
            text: Text::try_from(text).ok()?,
            standard,
            summer,
        })
    }

    /// The rule as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What clocks in this zone show.
    pub fn local(&self, at: Moment) -> Local {
        let offset = i64::from(self.offset(at)) * 1000;
        Local(at.0.saturating_add_signed(offset))
    }

    /// Seconds that local time is ahead of UTC.
    fn offset(&self, at: Moment) -> i32 {
        let Some(summer) = self.summer else {
            return self.standard;
        };
        let utc = i64::from(at.utc());
        let standard = utc.saturating_add(self.standard.into()).max(0);
        let year = Calendar::of(standard.try_into().unwrap_or(0)).year;
        let start = summer.start.local(year) - i64::from(self.standard);
        let end = summer.end.local(year) - i64::from(summer.offset);
        // South of the equator a year begins in summer.
        let is_summer = match start < end {
            true => (start..end).contains(&utc),
            false => !(end..start).contains(&utc),
        };
        match is_summer {
            true => summer.offset,
            false => self.standard,
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        let utc = Self {
            text: Text::new(),
            standard: 0,
            summer: None,
        };
        Self::parse(Self::CENTRAL_EUROPE).unwrap_or(utc)
    }
}

impl Change {
    /// Seconds since 1970-01-01 00:00:00 local time.
    fn local(self, year: u32) -> i64 {
        // Nobody's clock shows an earlier year by more than its not being set.
        let year = year.saturating_sub(2000);
        let january = days_since_1970(year, 1, 1);
        let day = match self.day {
            Day::Weekday {
                month,
                week,
                weekday,
            } => {
                let first = days_since_1970(year, month, 1);
                // 1970 began on a Thursday.
                let ahead = (weekday + 7 - (first + 4) % 7) % 7;
                let day = ahead + (week - 1) * 7;
                let is_late = day >= days_in(year, month);
                first + if is_late { day - 7 } else { day }
            }
            Day::Julian(day) => {
                let is_behind = day > 59 && days_in(year, 2) == 29;
                january + day - u32::from(!is_behind)
            }
            Day::Ordinal(day) => january + day,
        };
        i64::from(day) * DAY + i64::from(self.time)
    }
}

/// What is left of a rule's text.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn take(&mut self, wanted: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Passes the bytes that are `of` a kind, and counts them.
    fn pass(&mut self, of: impl Fn(&u8) -> bool) -> usize {
        let count = self.0.iter().take_while(|byte| of(byte)).count();
        self.0 = self.0.get(count..).unwrap_or_default();
        count
    }

    /// A zone's name, which is shown nowhere.
    fn name(&mut self) -> Option<()> {
        let (count, closed) = match self.take(b'<') {
            true => {
                let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-');
                (self.pass(name), self.take(b'>'))
            }
            false => (self.pass(u8::is_ascii_alphabetic), true),
        };
        (count >= 3 && closed).then_some(())
    }

    fn number(&mut self, valid: core::ops::RangeInclusive<u32>) -> Option<u32> {
        let text = self.0;
        let count = self.pass(u8::is_ascii_digit);
        let digits = text.get(..count)?;
        let number: u32 = core::str::from_utf8(digits).ok()?.parse().ok()?;
        valid.contains(&number).then_some(number)
    }

    /// `[+|-]hh[:mm[:ss]]` in seconds.
    fn time(&mut self, hours: u32) -> Option<i32> {
        let is_negative = self.take(b'-');
        if !is_negative {
            self.take(b'+');
        }
        let mut seconds = self.number(0..=hours)? * 3600;
        if self.take(b':') {
            seconds += self.number(0..=59)? * 60;
            if self.take(b':') {
                seconds += self.number(0..=59)?;
            }
        }
        let seconds = i32::try_from(seconds).ok()?;
        Some(if is_negative { -seconds } else { seconds })
    }

    /// `,Mm.w.d`, `,Jn` or `,n`, each perhaps with `/time`.
    fn change(&mut self) -> Option<Change> {
        self.take(b',').then_some(())?;
        let day = if self.take(b'M') {
            let month = self.number(1..=12)?;
            self.take(b'.').then_some(())?;
            let week = self.number(1..=5)?;
            self.take(b'.').then_some(())?;
            let weekday = self.number(0..=6)?;
            Day::Weekday {
                month,
                week,
                weekday,
            }
        } else if self.take(b'J') {
            Day::Julian(self.number(1..=365)?)
        } else {
            Day::Ordinal(self.number(0..=365)?)
        };
        let time = match self.take(b'/') {
            // RFC 8536 §3.3.1: a week forth and back.
            true => self.time(167)?,
            false => 2 * HOUR,
        };
        Some(Change { day, time })
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use super::*;
    use crate::p1::timestamp::{Letter, local};

    fn shown(zone: &str, utc: u32) -> String {
        let zone = Zone::parse(zone).unwrap();
        let local = zone.local(Moment(u64::from(utc) * 1000)).calendar();
        let text = String::from_utf8(local.iso8601().to_vec()).unwrap();
        text.trim_end_matches('Z').into()
    }

    #[test]
    fn each_zone_shows_its_own_time() {
        // What `TZ=<rule> date -d @<utc>` says.
        for (zone, utc, expected) in [
            ("UTC0", 1_614_680_860, "2021-03-02T10:27:40"),
            (Zone::CENTRAL_EUROPE, 1_614_680_860, "2021-03-02T11:27:40"),
            (Zone::CENTRAL_EUROPE, 1_616_893_199, "2021-03-28T01:59:59"),
            (Zone::CENTRAL_EUROPE, 1_616_893_200, "2021-03-28T03:00:00"),
            (Zone::CENTRAL_EUROPE, 1_635_641_999, "2021-10-31T02:59:59"),
            (Zone::CENTRAL_EUROPE, 1_635_642_000, "2021-10-31T02:00:00"),
            (
                "EST5EDT,M3.2.0,M11.1.0",
                1_615_705_199,
                "2021-03-14T01:59:59",
            ),
            (
                "EST5EDT,M3.2.0,M11.1.0",
                1_615_705_200,
                "2021-03-14T03:00:00",
            ),
            (
                "EST5EDT,M3.2.0,M11.1.0",
                1_636_264_800,
                "2021-11-07T01:00:00",
            ),
            (
                "NZST-12NZDT,M9.5.0,M4.1.0/3",
                1_609_459_200,
                "2021-01-01T13:00:00",
            ),
            (
                "NZST-12NZDT,M9.5.0,M4.1.0/3",
                1_625_000_000,
                "2021-06-30T08:53:20",
            ),
            ("IST-5:30", 1_614_680_860, "2021-03-02T15:57:40"),
            ("<-03>3", 1_614_680_860, "2021-03-02T07:27:40"),
            (
                "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
                1_616_893_200,
                "2021-03-28T00:00:00",
            ),
            (
                "AAA0BBB-2:30,J60,J300/1:30:15",
                1_583_027_999,
                "2020-03-01T01:59:59",
            ),
            (
                "AAA0BBB-2:30,J60,J300/1:30:15",
                1_583_028_000,
                "2020-03-01T04:30:00",
            ),
            ("AAA0BBB,59,299", 1_582_941_600, "2020-02-29T03:00:00"),
        ] {
            assert_eq!(shown(zone, utc), expected, "{zone} {utc}");
        }
    }

    #[test]
    fn the_default_is_what_meters_count_by() {
        let zone = Zone::default();
        assert_eq!(zone.as_str(), Zone::CENTRAL_EUROPE);
        // Each quarter of an hour of ten years.
        for utc in (1_577_836_800..1_893_456_000).step_by(900) {
            let shown = zone.local(Moment(u64::from(utc) * 1000)).calendar();
            let meters = local(utc, Letter::Missing);
            assert_eq!(shown, meters, "{utc}");
        }
    }

    #[test]
    fn other_texts_are_no_rules() {
        let long = "<AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA>0";
        let wrong: Vec<_> = [
            "",
            "0",
            "CE-1",
            "CET",
            "CET-",
            "CET-25",
            "CET-1:60",
            "CET-1:00:60",
            "CET-1 ",
            "<CET-1",
            "CET-1CEST",
            "CET-1CEST,",
            "CET-1CEST,M3.5.0",
            "CET-1CEST,M3.5.0,",
            "CET-1CEST,M13.5.0,M10.5.0",
            "CET-1CEST,M3.6.0,M10.5.0",
            "CET-1CEST,M3.5.7,M10.5.0",
            "CET-1CEST,M3.0.0,M10.5.0",
            "CET-1CEST,J0,J1",
            "CET-1CEST,J366,J1",
            "CET-1CEST,366,1",
            "CET-1CEST,M3.5.0,M10.5.0/168",
            "CET-1CEST,M3.5.0,M10.5.0/3,",
            "Europe/Amsterdam",
            "CET-4294967297",
            "CÉT-1",
            long,
        ]
        .into_iter()
        .filter(|text| Zone::parse(text).is_some())
        .collect();
        assert_eq!(wrong, Vec::<&str>::new());
    }

    #[test]
    fn no_time_is_too_early_or_too_late() {
        for zone in [
            "AAA24",
            "AAA-24",
            "AAA24BBB,0/-167,365/167",
            Zone::CENTRAL_EUROPE,
        ] {
            for at in [0, 1, 86_399_999, u64::MAX] {
                Zone::parse(zone).unwrap().local(Moment(at)).calendar();
            }
        }
    }
}
