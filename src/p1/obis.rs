//! OBIS identification codes `A-B:C.D.E` (IEC 62056-61), packed for comparison in one word.

use ufmt::{uDisplay, uWrite, uwrite};

/// An OBIS id. The F group, which meters print as 255 or not at all, is left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obis(u32);

/// The B group that stands for any M-Bus channel in a table row, written `n`.
const ANY_CHANNEL: u32 = 15;

impl Obis {
    /// An id from its groups; `None` when A is above 15 or B above 14, which no meter uses.
    #[inline]
    pub const fn new(a: u8, b: u8, c: u8, d: u8, e: u8) -> Option<Self> {
        if a > 15 || b as u32 >= ANY_CHANNEL {
            return None;
        }
        Some(Self(
            (a as u32) << 28 | (b as u32) << 24 | (c as u32) << 16 | (d as u32) << 8 | e as u32,
        ))
    }

    /// The id from its packed form: A and B in 4 bits each, C, D and E in 8.
    #[inline]
    pub const fn from_packed(packed: u32) -> Self {
        Self(packed)
    }

    /// The packed form, which sorts like the id.
    #[inline]
    pub const fn packed(self) -> u32 {
        self.0
    }

    /// Group A: the medium (0 abstract, 1 electricity, 7 gas).
    pub const fn a(self) -> u8 {
        (self.0 >> 28) as u8
    }

    /// Group B: the channel; 15 stands for any.
    pub const fn b(self) -> u8 {
        (self.0 >> 24 & 15) as u8
    }

    /// Group C: the quantity.
    pub const fn c(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Group D: how the quantity is processed.
    pub const fn d(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Group E: tariff and further classification.
    pub const fn e(self) -> u8 {
        self.0 as u8
    }

    /// The M-Bus channel, 1 to 9, of an abstract object; 0 for every other id.
    #[inline]
    pub const fn channel(self) -> u8 {
        match (self.a(), self.b()) {
            (0, b @ 1..=9) => b,
            _ => 0,
        }
    }

    /// The id with any M-Bus channel in group B, as table rows have it.
    #[inline]
    pub const fn any_channel(self) -> Self {
        Self(self.0 & 0xF0FF_FFFF | ANY_CHANNEL << 24)
    }
}

impl uDisplay for Obis {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut ufmt::Formatter<'_, W>) -> Result<(), W::Error> {
        uwrite!(f, "{}-", self.a())?;
        match self.b() {
            15 => uwrite!(f, "n")?,
            b => uwrite!(f, "{}", b)?,
        }
        uwrite!(f, ":{}.{}.{}", self.c(), self.d(), self.e())
    }
}

#[cfg(not(target_os = "none"))]
impl core::fmt::Display for Obis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}-", self.a())?;
        match self.b() {
            15 => write!(f, "n")?,
            b => write!(f, "{b}")?,
        }
        write!(f, ":{}.{}.{}", self.c(), self.d(), self.e())
    }
}

#[cfg(not(target_os = "none"))]
impl core::fmt::Debug for Obis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
