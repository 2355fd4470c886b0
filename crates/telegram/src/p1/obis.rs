//! OBIS identification codes (IEC 62056-6-1), packed for comparison in one word.

/// An OBIS id without its F group, `A-B:C.D.E` (IEC 62056-6-1), packed into 32 bits.
///
/// A has 4 bits and B has 4, since meters use no more of them; the ids are ordered by their groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obis(u32);

impl Obis {
    /// B of a row that holds for each M-Bus channel, `n` in text.
    const ANY_CHANNEL: u8 = 15;

    /// The id `a-b:c.d.e`; `None` when `a` is above 15 or `b` above 14.
    #[inline]
    pub const fn new(a: u8, b: u8, c: u8, d: u8, e: u8) -> Option<Self> {
        if a > 15 || b >= Self::ANY_CHANNEL {
            return None;
        }
        Some(Self(Self::pack(a, b, c, d, e)))
    }

    /// The id `0-n:c.d.e`, which stands for every M-Bus channel.
    #[inline]
    pub const fn any_channel(c: u8, d: u8, e: u8) -> Self {
        Self(Self::pack(0, Self::ANY_CHANNEL, c, d, e))
    }

    const fn pack(a: u8, b: u8, c: u8, d: u8, e: u8) -> u32 {
        (a as u32) << 28 | (b as u32) << 24 | (c as u32) << 16 | (d as u32) << 8 | e as u32
    }

    /// The id that [`Obis::key`] gave.
    #[inline]
    pub const fn from_key(key: u32) -> Self {
        Self(key)
    }

    /// The packed id: A in bits 31 to 28, B in 27 to 24, then C, D and E with 8 bits each.
    #[inline]
    pub const fn key(self) -> u32 {
        self.0
    }

    /// Medium: 0 abstract, 1 electricity, 6 heat, 7 gas, 8 water.
    #[inline]
    pub const fn a(self) -> u8 {
        (self.0 >> 28) as u8
    }

    /// Channel; 15 in a row that holds for each M-Bus channel.
    #[inline]
    pub const fn b(self) -> u8 {
        (self.0 >> 24) as u8 & 0x0f
    }

    /// Quantity.
    #[inline]
    pub const fn c(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Processing.
    #[inline]
    pub const fn d(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Tariff.
    #[inline]
    pub const fn e(self) -> u8 {
        self.0 as u8
    }

    /// A row's id as the M-Bus channel sends it; an id that holds for no channel stays as it is.
    #[inline]
    pub const fn with_channel(self, channel: u8) -> Self {
        if self.b() == Self::ANY_CHANNEL {
            Self(self.0 & 0xF0FF_FFFF | (channel as u32 & 0x0F) << 24)
        } else {
            self
        }
    }

    /// The M-Bus channel, 1 to 9, that `0-1:…` to `0-9:…` belong to.
    #[inline]
    pub const fn channel(self) -> Option<u8> {
        // A and B together: A is 0.
        match (self.0 >> 24) as u8 {
            channel @ 1..=9 => Some(channel),
            _ => None,
        }
    }
}

impl ufmt::uDisplay for Obis {
    fn fmt<W>(&self, f: &mut ufmt::Formatter<'_, W>) -> Result<(), W::Error>
    where
        W: ufmt::uWrite + ?Sized,
    {
        ufmt::uwrite!(f, "{}-", self.a())?;
        match self.b() {
            Self::ANY_CHANNEL => f.write_str("n")?,
            b => ufmt::uwrite!(f, "{}", b)?,
        }
        ufmt::uwrite!(f, ":{}.{}.{}", self.c(), self.d(), self.e())
    }
}

#[cfg(not(target_os = "none"))]
impl core::fmt::Display for Obis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.b() {
            Self::ANY_CHANNEL => write!(f, "{}-n:", self.a())?,
            b => write!(f, "{}-{b}:", self.a())?,
        }
        write!(f, "{}.{}.{}", self.c(), self.d(), self.e())
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    fn as_ufmt(obis: Obis) -> String {
        struct Text(String);
        impl ufmt::uWrite for Text {
            type Error = core::convert::Infallible;
            fn write_str(&mut self, text: &str) -> Result<(), Self::Error> {
                self.0.push_str(text);
                Ok(())
            }
        }
        let mut text = Text(String::new());
        ufmt::uwrite!(text, "{}", obis).unwrap();
        text.0
    }

    #[test]
    fn an_obis_id_keeps_its_groups() {
        let obis = Obis::new(1, 0, 99, 97, 255).unwrap();
        let groups = (obis.a(), obis.b(), obis.c(), obis.d(), obis.e());
        assert_eq!(groups, (1, 0, 99, 97, 255));
        assert_eq!(obis.key(), 0x1063_61ff);
        assert_eq!(Obis::from_key(obis.key()), obis);
    }

    #[test]
    fn groups_that_do_not_fit_make_no_id() {
        assert_eq!(Obis::new(16, 0, 1, 8, 0), None);
        assert_eq!(Obis::new(0, 15, 1, 8, 0), None);
        assert!(Obis::new(15, 14, 255, 255, 255).is_some());
    }

    #[test]
    fn an_obis_id_is_written_as_meters_do() {
        for (obis, text) in [
            (Obis::new(1, 0, 1, 8, 1).unwrap(), "1-0:1.8.1"),
            (Obis::new(0, 4, 96, 1, 255).unwrap(), "0-4:96.1.255"),
            (Obis::any_channel(24, 2, 1), "0-n:24.2.1"),
        ] {
            assert_eq!(as_ufmt(obis), text);
            assert_eq!(obis.to_string(), text);
        }
    }

    #[test]
    fn only_mbus_ids_have_a_channel() {
        let channel = |a, b| Obis::new(a, b, 24, 2, 1).unwrap().channel();
        assert_eq!(channel(0, 0), None);
        assert_eq!(channel(0, 1), Some(1));
        assert_eq!(channel(0, 9), Some(9));
        assert_eq!(channel(0, 10), None);
        assert_eq!(channel(1, 1), None);
        assert_eq!(Obis::any_channel(24, 2, 1).channel(), None);
    }

    #[test]
    fn a_row_for_any_channel_becomes_the_channels_id() {
        let row = Obis::any_channel(24, 2, 1);
        assert_eq!(row.with_channel(3).to_string(), "0-3:24.2.1");
        let fixed = Obis::new(0, 1, 96, 3, 10).unwrap();
        assert_eq!(fixed.with_channel(3), fixed);
    }
}
