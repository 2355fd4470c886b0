//! Flash in RAM whose power can be cut anywhere, for tests.

use core::fmt;

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use crate::soc::nor::{self, Misuse};

const WRITE: usize = 4;

/// Flash of `SECTORS` sectors of `SECTOR` bytes, with the rules of NOR flash, a wear count per
/// sector, and a power supply that fails when told to.
#[derive(Debug, Clone)]
pub struct RamFlash<const SECTOR: usize, const SECTORS: usize> {
    sectors: [[u8; SECTOR]; SECTORS],
    erases: [u32; SECTORS],
    reads: u32,
    written: u64,
    power_left: Option<u64>,
    broken: bool,
    writes_left: Option<u32>,
    lenient: bool,
    torn_erase: TornErase,
    stuck: Option<usize>,
}

/// What an erase leaves that the power cut stops after some bytes; data sheets promise nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TornErase {
    /// The bytes at the start are erased.
    Forward,
    /// The bytes at the end are erased.
    Backward,
    /// The bytes at the start are 0: chips program all cells before they erase them.
    Programmed,
    /// Any bit of the whole sector may be 0 or 1.
    Noise,
}

impl<const SECTOR: usize, const SECTORS: usize> RamFlash<SECTOR, SECTORS> {
    /// An erased chip.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sectors: [[0xFF; SECTOR]; SECTORS],
            erases: [0; SECTORS],
            reads: 0,
            written: 0,
            power_left: None,
            broken: false,
            writes_left: None,
            lenient: false,
            torn_erase: TornErase::Forward,
            stuck: None,
        }
    }

    /// Cuts the power after `bytes` more bytes have been written or erased. The call under way
    /// stops there and fails with [`Error::PowerCut`], as does every later one.
    pub fn cut_after(&mut self, bytes: u64) {
        self.power_left = Some(bytes);
    }

    /// Makes every write and erase fail without touching the flash until it is called with `false`.
    pub fn set_broken(&mut self, broken: bool) {
        self.broken = broken;
    }

    /// Lets so many more writes and erases through; every later one fails without touching the flash, until
    /// this is called again.
    pub fn fail_after(&mut self, writes: Option<u32>) {
        self.writes_left = writes;
    }

    /// Chooses what a power cut leaves of a sector that is being erased.
    pub fn set_torn_erase(&mut self, torn_erase: TornErase) {
        self.torn_erase = torn_erase;
    }

    /// From now on a write that needs an erase first is taken without complaint and leaves the bits
    /// that both contents have set, as on a real chip.
    pub fn set_lenient(&mut self) {
        self.lenient = true;
    }

    /// Wears a sector out: its cells are 0 for ever.
    pub fn set_stuck(&mut self, sector: usize) {
        self.stuck = Some(sector);
        self.wear_out();
    }

    fn wear_out(&mut self) {
        if let Some(sector) = self.stuck {
            self.sectors[sector].fill(0);
        }
    }

    /// Power is back, the contents are what the cut has left.
    pub fn restore_power(&mut self) {
        self.power_left = None;
    }

    /// How often each sector was erased, a cut-off erase included.
    #[must_use]
    pub fn erases(&self) -> &[u32; SECTORS] {
        &self.erases
    }

    /// How often it was read, of however many bytes.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// Bytes written or erased since the chip was made; a cut can fall before each of them.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// All bytes, to be damaged.
    pub fn contents_mut(&mut self) -> &mut [u8] {
        self.sectors.as_flattened_mut()
    }

    /// How many of `length` bytes power is left for.
    fn spend(&mut self, length: usize) -> Result<usize, Error> {
        if self.broken || self.writes_left == Some(0) {
            return Err(Error::Broken);
        }
        self.writes_left = self.writes_left.map(|left| left - 1);
        let done = match &mut self.power_left {
            Some(0) if length > 0 => return Err(Error::PowerCut),
            Some(left) => {
                let done = (*left).min(length as u64);
                *left -= done;
                done
            }
            None => length as u64,
        };
        self.written += done;
        Ok(done as usize)
    }
}

impl<const SECTOR: usize, const SECTORS: usize> Default for RamFlash<SECTOR, SECTORS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SECTOR: usize, const SECTORS: usize> ErrorType for RamFlash<SECTOR, SECTORS> {
    type Error = Error;
}

impl<const SECTOR: usize, const SECTORS: usize> ReadNorFlash for RamFlash<SECTOR, SECTORS> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), 1, self.capacity())?;
        self.reads += 1;
        if self.power_left == Some(0) {
            return Err(Error::PowerCut);
        }
        bytes.copy_from_slice(&self.sectors.as_flattened()[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        SECTOR * SECTORS
    }
}

impl<const SECTOR: usize, const SECTORS: usize> NorFlash for RamFlash<SECTOR, SECTORS> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let length = nor::erase_length(from, to, SECTOR, self.capacity())?;
        let done = self.spend(length)?;
        let start = from as usize;
        let bytes = &mut self.sectors.as_flattened_mut()[start..start + length];
        match self.torn_erase {
            _ if done == length => bytes.fill(0xFF),
            TornErase::Forward => bytes[..done].fill(0xFF),
            TornErase::Backward => bytes[length - done..].fill(0xFF),
            TornErase::Programmed => bytes[..done].fill(0),
            TornErase::Noise => {
                // Linear congruential generator of Numerical Recipes, §7.1.
                let mut state = self.written as u32;
                for byte in bytes {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *byte = (state >> 24) as u8;
                }
            }
        }
        // The sector that the cut fell into is worn as well.
        for erases in &mut self.erases[start / SECTOR..(start + done).div_ceil(SECTOR)] {
            *erases += 1;
        }
        self.wear_out();
        if done < length {
            return Err(Error::PowerCut);
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), WRITE, self.capacity())?;
        let start = offset as usize;
        let old = &self.sectors.as_flattened()[start..start + bytes.len()];
        if !self.lenient {
            nor::check_clears_only(offset, old, bytes)?;
        }
        let done = self.spend(bytes.len())?;
        let old = &mut self.sectors.as_flattened_mut()[start..start + done];
        for (old, new) in old.iter_mut().zip(bytes) {
            *old &= new;
        }
        if let Some(new) = bytes.get(done) {
            // Cells take their charge one by one.
            self.sectors.as_flattened_mut()[start + done] &= new | 0b0101_0101;
        }
        if done < bytes.len() {
            return Err(Error::PowerCut);
        }
        Ok(())
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The power was cut.
    PowerCut,
    /// The chip takes no writes.
    Broken,
    /// The caller breaks a rule of the flash.
    Misuse(Misuse),
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerCut => f.write_str("flash: the power was cut; restore it and open it anew"),
            Self::Broken => f.write_str("flash: the chip takes no writes; replace it"),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl NorFlashError for Error {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Misuse(misuse) => misuse.kind(),
            _ => NorFlashErrorKind::Other,
        }
    }
}
