//! Settings and state of the host board: a flash chip in a file.

use core::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::vec;

use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::soc::nor::{self, Misuse};

/// Bytes of a sector, as on the boards' SPI flash.
pub const SECTOR: usize = 4096;
const WRITE: usize = 4;

/// A flash chip in a file: sectors of [`SECTOR`] bytes, writes in words of 4 bytes that can only
/// clear bits, reads of any length.
///
/// Every write is on the disk when it returns, so that a power cut of the PC is no worse than one of
/// the chip. The calls block; a write is a few milliseconds.
#[derive(Debug)]
pub struct FileFlash {
    file: File,
    path: PathBuf,
    capacity: usize,
}

impl FileFlash {
    /// Opens the chip of `sectors` sectors kept in `path`; creates an erased one when there is none.
    ///
    /// # Errors
    /// The file cannot be opened or made, has another size, or is open already.
    pub fn open(path: impl AsRef<Path>, sectors: usize) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let capacity = sectors * SECTOR;
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => create(&path, capacity)?,
            Err(error) => return Err(Error::from_io(&path, error)),
        };
        // Two that append to one log would make nonsense of it.
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => Error::InUse(path.clone()),
            error => Error::from_io(&path, error.into()),
        })?;
        let found = file
            .metadata()
            .map_err(|error| Error::from_io(&path, error))?
            .len();
        if found != capacity as u64 {
            return Err(Error::Size {
                path,
                found,
                expected: capacity as u64,
            });
        }
        Ok(Self {
            file,
            path,
            capacity,
        })
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::from_io(&self.path, error)
    }
}

/// Makes the file under another name first: cut off half-way it would have the wrong size for ever.
fn create(path: &Path, capacity: usize) -> Result<File, Error> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let draft = path.with_file_name(name);
    let make = || {
        // Passwords and keys are nobody else's.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&draft)?;
        file.write_all(&vec![0xFF; capacity])?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        OpenOptions::new().read(true).write(true).open(path)
    };
    make().map_err(|error| {
        // Left behind it only takes up space, and the first error is the one to report.
        let _ = std::fs::remove_file(&draft);
        Error::from_io(path, error)
    })
}

impl ErrorType for FileFlash {
    type Error = Error;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), 1, self.capacity)?;
        self.file
            .read_exact_at(bytes, offset.into())
            .map_err(|error| self.failed(error))
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
        self.file
            .write_all_at(&vec![0xFF; length], from.into())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.failed(error))
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        nor::check(offset, bytes.len(), WRITE, self.capacity)?;
        let mut old = vec![0; bytes.len()];
        self.file
            .read_exact_at(&mut old, offset.into())
            .map_err(|error| self.failed(error))?;
        // Nobody but this program may change the file, and it writes what is erased only.
        nor::check_clears_only(offset, &old, bytes)
            .map_err(|_| Error::Damaged(self.path.clone()))?;
        self.file
            .write_all_at(bytes, offset.into())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.failed(error))
    }
}

/// Why the state cannot be kept in its file. The text names the file and what to do.
#[derive(Debug)]
pub enum Error {
    /// The directory of the file does not exist.
    NoDirectory(PathBuf),
    /// Reading or writing the file is not allowed.
    Denied(PathBuf),
    /// The path is a directory.
    Directory(PathBuf),
    /// Another process has the file open.
    InUse(PathBuf),
    /// The disk has no space left.
    Full(PathBuf),
    /// The file has another size than the flash.
    Size {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size of the flash in bytes.
        expected: u64,
    },
    /// Anything else that the operating system reports.
    Io(PathBuf, io::Error),
    /// The write needs bits that are already 0: not all of the contents is from this firmware.
    Damaged(PathBuf),
    /// The caller breaks a rule of the flash.
    Misuse(Misuse),
}

impl Error {
    fn from_io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            // A missing file is made, so what is missing is where to make it.
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoDirectory(path),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Denied(path),
            ErrorKind::IsADirectory => Self::Directory(path),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Io(path, error),
        }
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory(path) => write!(
                f,
                "{}: the directory does not exist; create it or name another one",
                path.display()
            ),
            Self::Denied(path) => write!(
                f,
                "{}: no permission to read and write it; change its owner or name another directory",
                path.display()
            ),
            Self::Directory(path) => write!(
                f,
                "{}: is a directory, but the state is kept in a file of that name; remove it or name \
                 another directory",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "{}: another metertrekker uses it; end that one or name another directory",
                path.display()
            ),
            Self::Full(path) => write!(
                f,
                "{}: the disk is full; free some space or name a directory on another disk",
                path.display()
            ),
            Self::Size {
                path,
                found,
                expected,
            } => write!(
                f,
                "{}: has {found} bytes where {expected} are expected, so it is not from this version \
                 of the firmware; move it away to start with defaults",
                path.display()
            ),
            Self::Damaged(path) => write!(
                f,
                "{}: was changed by something else; move it away to start with defaults",
                path.display()
            ),
            Self::Io(path, error) => write!(
                f,
                "{}: {error}; check the disk or name another directory",
                path.display()
            ),
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
