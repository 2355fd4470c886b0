//! Who this device is, and where it keeps its state.

use core::{fmt, hash::Hasher};
use std::{
    env, format, fs,
    hash::DefaultHasher,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    string::String,
};

use super::Error;

/// Sectors of the state's flash.
pub const SECTORS: usize = 4;

/// Sectors of the log's flash: 40 kB, as the SmartMeter has it.
pub const LOG_SECTORS: usize = 10;

/// The folder of the state.
pub struct StateDir {
    path: PathBuf,
    temporary: bool,
    name: String,
    seed: u32,
}

impl StateDir {
    /// The given folder, made when missing; else a temporary one that goes with the process.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(given: Option<&Path>) -> Result<Self, Error> {
        let (path, made) = match given {
            Some(path) => (path.to_path_buf(), folder().recursive(true).create(path)),
            None => make_temporary(),
        };
        let made = made.and_then(|()| fs::canonicalize(&path));
        let path = made.map_err(|error| Error::StateDir(path, error))?;
        let mut hasher = DefaultHasher::new();
        hasher.write(path.as_os_str().as_encoded_bytes());
        hasher.write(
            fs::read_to_string("/etc/hostname")
                .unwrap_or_default()
                .as_bytes(),
        );
        let seed = hasher.finish() as u32;
        Ok(Self {
            path,
            temporary: given.is_none(),
            name: format!("Metertrekker-{:06x}", seed & 0xFF_FFFF),
            seed,
        })
    }

    /// The file that stands for the flash chip.
    pub fn flash(&self) -> PathBuf {
        self.path.join("flash.bin")
    }

    /// The file that stands for the part of the flash chip that has the log.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.bin")
    }

    /// The folder, when it is to go with the process.
    pub fn temporary(&self) -> Option<PathBuf> {
        self.temporary.then(|| self.path.clone())
    }

    /// `Metertrekker-` and six hex digits that are this device's own, as the original names itself.
    pub fn device_name(&self) -> &str {
        &self.name
    }

    /// A number that is this device's own.
    pub fn seed(&self) -> u32 {
        self.seed
    }
}

/// Makes folders that nobody else looks into.
fn folder() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// A folder that was not there: one left behind by another process of the same id has its state.
fn make_temporary() -> (PathBuf, io::Result<()>) {
    let mut number = 0;
    loop {
        let name = format!("metertrekker-{}-{number}", process::id());
        let path = env::temp_dir().join(name);
        match folder().create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => return (path, made),
        }
    }
}

impl fmt::Display for StateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.temporary {
            write!(f, "temporary; --state DIR keeps it")
        } else {
            write!(f, "{}", self.path.display())
        }
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if self.temporary {
            // What is left behind in a temporary folder does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
