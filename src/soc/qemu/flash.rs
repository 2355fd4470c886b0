//! What survives a restart: a flash chip in a file of the PC's, by semihosting.

use core::{ffi::CStr, fmt};

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use xtensa_lx::semihosting::{self, Errno, From as Seek, Open};

use crate::soc::nor::{self, Misuse};

/// Bytes of a sector, as on the other boards.
pub const SECTOR: usize = 4096;
/// Bytes of the flash for the state.
pub const STATE: usize = 4 * SECTOR;
/// Bytes of the flash for the log.
pub const LOG: usize = 10 * SECTOR;
const WRITE: usize = 4;

/// Bytes erased, compared or made at once.
const PIECE: usize = 64;
const ERASED: [u8; PIECE] = [0xFF; PIECE];

/// The flash, or none: that reads as erased and takes nothing.
pub struct FileFlash {
    file: Option<u32>,
    capacity: usize,
}

/// Why the state cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No file was named.
    NoFile,
    /// The PC's `errno`.
    Io(Errno),
    /// The file ended early, or took less than all.
    Short,
    /// The file has this many bytes where others are expected.
    Size(u32, u32),
    /// The caller breaks a rule of the flash.
    Misuse(Misuse),
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFile => "no file keeps the state",
            Self::Io(_) => "the file of the state fails",
            Self::Short => "the file of the state ends early",
            Self::Size(..) => "the file of the state has another size",
            Self::Misuse(_) => "the flash is misused",
        })
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

impl FileFlash {
    /// No flash of so many bytes.
    pub const fn none(capacity: usize) -> Self {
        Self {
            file: None,
            capacity,
        }
    }

    /// Whether there is a file.
    pub const fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Opens the file of so many bytes; makes an erased one when there is none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Size`].
    pub fn open(path: &CStr, capacity: usize) -> Result<Self, Error> {
        let file = match semihosting::open(path, Open::Existing) {
            Ok(file) => file,
            Err(Errno::NOT_FOUND) => {
                let file = semihosting::open(path, Open::New)?;
                for _ in 0..capacity / PIECE {
                    write_all(file, &ERASED)?;
                }
                file
            }
            Err(errno) => return Err(errno.into()),
        };
        let size = semihosting::seek(file, 0, Seek::End)?;
        if size as usize != capacity {
            return Err(Error::Size(size, capacity as u32));
        }
        Ok(Self {
            file: Some(file),
            capacity,
        })
    }
}

fn write_all(file: u32, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let count = semihosting::write(file, bytes)?;
        bytes = match bytes.get(count..) {
            Some(rest) if count > 0 => rest,
            _ => return Err(Error::Short),
        };
    }
    Ok(())
}

fn read_all(file: u32, mut bytes: &mut [u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        let count = semihosting::read(file, bytes)?;
        bytes = match bytes.get_mut(count..) {
            Some(rest) if count > 0 => rest,
            _ => return Err(Error::Short),
        };
    }
    Ok(())
}

impl ErrorType for FileFlash {
    type Error = Error;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), 1, self.capacity)?;
        let Some(file) = self.file else {
            bytes.fill(0xFF);
            return Ok(());
        };
        semihosting::seek(file, offset, Seek::Start)?;
        read_all(file, bytes)
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let length = nor::erase_length(from, to, SECTOR, self.capacity)?;
        let file = self.file.ok_or(Error::NoFile)?;
        semihosting::seek(file, from, Seek::Start)?;
        for _ in 0..length / PIECE {
            write_all(file, &ERASED)?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), WRITE, self.capacity)?;
        let file = self.file.ok_or(Error::NoFile)?;
        let mut place = offset;
        for piece in bytes.chunks(PIECE) {
            let mut old = ERASED;
            if let Some(old) = old.get_mut(..piece.len()) {
                semihosting::seek(file, place, Seek::Start)?;
                read_all(file, old)?;
                nor::check_clears_only(place, old, piece)?;
            }
            semihosting::seek(file, place, Seek::Start)?;
            write_all(file, piece)?;
            place = place.saturating_add(PIECE as u32);
        }
        Ok(())
    }
}
