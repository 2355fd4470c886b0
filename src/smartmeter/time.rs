//! Times as the protocol writes them: local, month first.

use ufmt::{Formatter, uDisplay, uWrite};

use crate::p1::timestamp::{Calendar, Utc};

/// A point in time: milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl From<Utc> for Moment {
    fn from(utc: Utc) -> Self {
        Self(u64::from(utc) * 1000)
    }
}

impl Moment {
    /// Its whole seconds.
    pub fn utc(self) -> Utc {
        (self.0 / 1000).try_into().unwrap_or(Utc::MAX)
    }
}

/// 2100-01-01 in seconds since 1970, up to which the calendar is known.
pub const END: u64 = 4_102_444_800;

/// What a clock on the wall shows: milliseconds since it showed 1970-01-01 00:00:00. A
/// [`Zone`](super::zone::Zone) makes one of a [`Moment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local(pub u64);

impl Local {
    /// The calendar fields, up to the end of 2099: the next year has no leap day.
    pub fn calendar(self) -> Calendar {
        // It fits: the last one does.
        Calendar::of((self.0 / 1000).min(END - 1) as u32)
    }
}

/// `03/02/2021 11:27:40.182`.
pub struct Long(pub Local);

/// `03/02 11:28:14`.
pub struct Brief(pub Local);

impl uDisplay for Long {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let at = self.0.calendar();
        digits(f, at.month, 2)?;
        f.write_str("/")?;
        digits(f, at.day, 2)?;
        f.write_str("/")?;
        digits(f, at.year, 4)?;
        clock(f, &at)?;
        f.write_str(".")?;
        digits(f, (self.0.0 % 1000) as u32, 3)
    }
}

impl uDisplay for Brief {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let at = self.0.calendar();
        digits(f, at.month, 2)?;
        f.write_str("/")?;
        digits(f, at.day, 2)?;
        clock(f, &at)
    }
}

fn clock<W: uWrite + ?Sized>(f: &mut Formatter<'_, W>, at: &Calendar) -> Result<(), W::Error> {
    for (separator, field) in [(" ", at.hour), (":", at.minute), (":", at.second)] {
        f.write_str(separator)?;
        digits(f, field, 2)?;
    }
    Ok(())
}

/// The last `count` digits, zeros in front.
pub fn digits<W: uWrite + ?Sized>(
    f: &mut Formatter<'_, W>,
    value: u32,
    count: usize,
) -> Result<(), W::Error> {
    let mut text = [b'0'; 10];
    let mut left = value;
    for place in text.iter_mut().rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let start = text.len().saturating_sub(count);
    f.write_str(core::str::from_utf8(&text[start..]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use heapless::String;

    use ufmt::uwrite;

    use super::*;
    use crate::smartmeter::zone::Zone;

    #[test]
    fn times_are_local_and_month_first() {
        let mut text = String::<40>::new();
        let zone = Zone::default();
        let long = Long(zone.local(Moment(1_614_680_860_182)));
        let brief = Brief(zone.local(Moment(1_628_000_000_999)));
        uwrite!(text, "{} {}", long, brief).unwrap();
        assert_eq!(text, "03/02/2021 11:27:40.182 08/03 16:13:20");
    }

    #[test]
    fn the_end_of_time_is_harmless() {
        let mut text = String::<40>::new();
        uwrite!(text, "{}", Brief(Local(u64::MAX))).unwrap();
        assert_eq!(text.len(), 14);
        text.clear();
        uwrite!(text, "{}", Long(Local(u64::MAX))).unwrap();
        assert_eq!(text, "12/31/2099 23:59:59.615");
    }
}
