//! The rules of NOR flash, kept by the flash chips that are files.

use core::fmt;

use embedded_storage_async::nor_flash::{NorFlashError, NorFlashErrorKind};

/// A call that real flash does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// Address or length is no multiple of the unit.
    NotAligned {
        /// Address in bytes.
        offset: u32,
        /// Length in bytes.
        length: usize,
        /// What both have to be a multiple of.
        unit: usize,
    },
    /// The range ends behind the flash, or before its start.
    OutOfBounds {
        /// Address in bytes.
        offset: u32,
        /// Length in bytes.
        length: usize,
        /// Size of the flash in bytes.
        capacity: usize,
    },
    /// A bit that is 0 should become 1, which takes an erase.
    NotErased {
        /// Address of the byte.
        offset: u32,
    },
}

/// Checks a read or a write.
pub(crate) fn check(
    offset: u32,
    length: usize,
    unit: usize,
    capacity: usize,
) -> Result<(), Misuse> {
    let start = offset as usize;
    if start.checked_add(length).is_none_or(|end| end > capacity) {
        return Err(Misuse::OutOfBounds {
            offset,
            length,
            capacity,
        });
    }
    if !start.is_multiple_of(unit) || !length.is_multiple_of(unit) {
        return Err(Misuse::NotAligned {
            offset,
            length,
            unit,
        });
    }
    Ok(())
}

/// Checks an erase and returns its length.
pub(crate) fn erase_length(
    from: u32,
    to: u32,
    sector: usize,
    capacity: usize,
) -> Result<usize, Misuse> {
    let length = to.checked_sub(from).ok_or(Misuse::OutOfBounds {
        offset: from,
        length: 0,
        capacity,
    })? as usize;
    check(from, length, sector, capacity)?;
    Ok(length)
}

/// Checks that writing `new` over `old` turns no 0 into a 1.
#[cfg(not(soc = "esp8266"))]
pub(crate) fn check_clears_only(offset: u32, old: &[u8], new: &[u8]) -> Result<(), Misuse> {
    match old.iter().zip(new).position(|(old, new)| new & !old != 0) {
        Some(index) => Err(Misuse::NotErased {
            offset: offset.saturating_add(index as u32),
        }),
        None => Ok(()),
    }
}

impl Misuse {
    pub(crate) fn kind(self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned { .. } => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds { .. } => NorFlashErrorKind::OutOfBounds,
            Self::NotErased { .. } => NorFlashErrorKind::Other,
        }
    }
}

impl NorFlashError for Misuse {
    fn kind(&self) -> NorFlashErrorKind {
        (*self).kind()
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAligned {
                offset,
                length,
                unit,
            } => write!(
                f,
                "flash: {length} bytes at {offset:#x} are not aligned; use multiples of {unit}"
            ),
            Self::OutOfBounds {
                offset,
                length,
                capacity,
            } => write!(
                f,
                "flash: {length} bytes at {offset:#x} are out of bounds; the flash has {capacity} bytes"
            ),
            Self::NotErased { offset } => write!(
                f,
                "flash: the write at {offset:#x} needs bits that are already 0; erase the sector first"
            ),
        }
    }
}

impl core::error::Error for Misuse {}
