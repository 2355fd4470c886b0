//! Parts of the flash chip that the firmware runs from, behind the seam of storage.
//!
//! While a sector is erased, in 45 to 400 ms, the core runs nothing from flash, and the SDK nothing at all; P1's interrupt, which is in
//! IRAM, goes on. So an erase waits until nothing has come for 5 ms, which is in no telegram, or 80 ms have passed. What comes once it
//! has begun waits in the receiver's ring, as far as that goes. Settings and log erase one sector at most for what they keep; but of
//! sectors that are worn out settings try one after the other.

use core::{fmt, ops::Range};

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use super::{line, sdk};
use crate::soc::nor::{self, Misuse};

/// What is erased at once.
const SECTOR: usize = 4096;
/// What is read and written at least: the SDK takes words from words.
const WORD: usize = 4;
/// Words that are copied at a time, since bytes of a caller need not lie as words do.
const PIECE: usize = 16;

/// Why flash does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A call that no flash takes.
    Misuse(Misuse),
    /// The chip does not answer, or not well.
    Chip,
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Chip => f.write_str("flash: the chip fails; try another module"),
        }
    }
}

impl core::error::Error for Error {}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Misuse(misuse) => misuse.kind(),
            Self::Chip => NorFlashErrorKind::Other,
        }
    }
}

/// Where an area starts that is none.
const NOWHERE: u32 = u32::MAX;

/// An area of the flash chip, or none: that reads as erased and takes nothing. Addresses count from its start.
pub struct Area {
    start: u32,
    length: usize,
}

impl Area {
    /// An area of the board's map: for each, make one.
    pub const fn new(area: Range<u32>) -> Self {
        Self {
            start: area.start,
            length: (area.end - area.start) as usize,
        }
    }

    /// None, as long as that one.
    pub const fn none(area: Range<u32>) -> Self {
        Self {
            start: NOWHERE,
            ..Self::new(area)
        }
    }

    fn is_there(&self) -> Result<(), Error> {
        match self.start {
            NOWHERE => Err(Error::Chip),
            _ => Ok(()),
        }
    }
}

fn done(result: core::ffi::c_int) -> Result<(), Error> {
    match result {
        0 => Ok(()),
        _ => Err(Error::Chip),
    }
}

impl ErrorType for Area {
    type Error = Error;
}

impl ReadNorFlash for Area {
    const READ_SIZE: usize = WORD;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), WORD, self.length)?;
        if self.is_there().is_err() {
            bytes.fill(0xFF);
            return Ok(());
        }
        let mut from = self.start + offset;
        // SAFETY: bytes of words, of which each can be any.
        if let ([], words, []) = unsafe { bytes.align_to_mut::<u32>() } {
            // SAFETY: so many they are.
            return done(unsafe {
                sdk::spi_flash_read(from, words.as_mut_ptr(), (words.len() * WORD) as u32)
            });
        }
        for piece in bytes.chunks_mut(PIECE * WORD) {
            let mut words = [0u32; PIECE];
            // SAFETY: there is room for a piece.
            done(unsafe { sdk::spi_flash_read(from, words.as_mut_ptr(), piece.len() as u32) })?;
            for (place, word) in piece.chunks_exact_mut(WORD).zip(words) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            from += piece.len() as u32;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.length
    }
}

impl NorFlash for Area {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let length = nor::erase_length(from, to, SECTOR, self.length)?;
        self.is_there()?;
        let first = (self.start + from) / SECTOR as u32;
        for sector in first..first + (length / SECTOR) as u32 {
            line::wait_for_silence();
            done(sdk::spi_flash_erase_sector(sector as u16))?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), WORD, self.length)?;
        self.is_there()?;
        let mut to = self.start + offset;
        for piece in bytes.chunks(PIECE * WORD) {
            let mut words = [0u32; PIECE];
            for (word, bytes) in words.iter_mut().zip(piece.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            // SAFETY: as many words as the piece has.
            done(unsafe { sdk::spi_flash_write(to, words.as_ptr(), piece.len() as u32) })?;
            to += piece.len() as u32;
        }
        Ok(())
    }
}
