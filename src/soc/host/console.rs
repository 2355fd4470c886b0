//! The serial console: standard input and output, or a pty that a terminal program opens.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::symlink},
    path::PathBuf,
    string::String,
    thread,
    vec::Vec,
};

use async_channel::{Receiver, Sender};
use async_io::Async;
use embedded_io_async::{ErrorType, Read, Write};
use rustix::termios::{QueueSelector, tcflush};

use super::pty;

/// Bytes that a thread takes from standard input at once.
const CHUNK: usize = 256;

/// Pieces that may wait for whoever reads standard output.
const WAITING: usize = 64;

/// Where the console is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Standard input and output.
    Standard,
    /// A pty, to which this path becomes a link.
    Pty(PathBuf),
}

impl From<OsString> for Place {
    fn from(text: OsString) -> Self {
        match text == "-" {
            true => Self::Standard,
            false => Self::Pty(text.into()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard input and output"),
            Self::Pty(path) => path.display().fmt(f),
        }
    }
}

/// An open console.
pub enum Console {
    /// Standard input and output.
    Standard(Standard),
    /// A pty.
    Pty(Pty),
}

/// Standard input and output, each with a thread that may wait.
pub struct Standard {
    input: Receiver<Vec<u8>>,
    /// What has been taken and not yet read.
    left: Vec<u8>,
    output: Sender<Vec<u8>>,
}

/// A pty; its link goes with it.
pub struct Pty {
    master: Async<File>,
    /// Held open, so that the line stays up between two terminals.
    slave: OwnedFd,
    link: PathBuf,
}

impl Console {
    /// Opens the console.
    ///
    /// # Errors
    /// There is no pty to be had, or something stands at its path.
    pub fn open(place: &Place) -> io::Result<Self> {
        match place {
            Place::Standard => Standard::open().map(Self::Standard),
            Place::Pty(link) => Pty::open(link.clone()).map(Self::Pty),
        }
    }

    /// Its two directions.
    pub fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        match self {
            Self::Standard(Standard {
                input,
                left,
                output,
            }) => (Reader::Standard(input, left), Writer::Standard(output)),
            Self::Pty(pty) => (Reader::Pty(&pty.master), Writer::Pty(pty)),
        }
    }
}

impl Standard {
    fn open() -> io::Result<Self> {
        let (sender, input) = async_channel::bounded(1);
        thread::Builder::new()
            .name(String::from("console in"))
            .spawn(move || {
                let mut stdin = io::stdin().lock();
                let mut buffer = [0; CHUNK];
                while let Ok(count @ 1..) = stdin.read(&mut buffer) {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    if sender.send_blocking(bytes.into()).is_err() {
                        break;
                    }
                }
            })?;
        let (output, receiver) = async_channel::bounded::<Vec<u8>>(WAITING);
        thread::Builder::new()
            .name(String::from("console out"))
            .spawn(move || {
                while let Ok(bytes) = receiver.recv_blocking() {
                    let mut stdout = io::stdout().lock();
                    if stdout
                        .write_all(&bytes)
                        .and_then(|()| stdout.flush())
                        .is_err()
                    {
                        break;
                    }
                }
            })?;
        Ok(Self {
            input,
            left: Vec::new(),
            output,
        })
    }
}

impl Pty {
    fn open(link: PathBuf) -> io::Result<Self> {
        let (master, slave, path) = pty::open()?;
        // One that a killed process left behind leads nowhere, and may go.
        if fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink()) && !link.exists() {
            fs::remove_file(&link)?;
        }
        symlink(path, &link)?;
        Ok(Self {
            master: Async::new(File::from(master))?,
            slave,
            link,
        })
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It leads nowhere now; somebody may have taken it away.
        let _ = fs::remove_file(&self.link);
    }
}

/// What is typed.
pub enum Reader<'c> {
    /// Standard input, and what is left of what was taken from it.
    Standard(&'c Receiver<Vec<u8>>, &'c mut Vec<u8>),
    /// The pty.
    Pty(&'c Async<File>),
}

/// What is shown.
pub enum Writer<'c> {
    /// Standard output.
    Standard(&'c Sender<Vec<u8>>),
    /// The pty.
    Pty(&'c Pty),
}

impl ErrorType for Reader<'_> {
    type Error = io::Error;
}

impl ErrorType for Writer<'_> {
    type Error = io::Error;
}

impl Read for Reader<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pty(master) => master.read_with(|mut master| master.read(buffer)).await,
            Self::Standard(input, left) => {
                if left.is_empty() {
                    // It is closed at the input's end.
                    **left = input.recv().await.unwrap_or_default();
                }
                let count = left.len().min(buffer.len());
                for (place, byte) in buffer.iter_mut().zip(left.drain(..count)) {
                    *place = byte;
                }
                Ok(count)
            }
        }
    }
}

impl Write for Writer<'_> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => {
                let sent = output.send(bytes.into()).await;
                sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
                Ok(bytes.len())
            }
            Self::Pty(pty) => match pty.master.get_ref().write(bytes) {
                // A serial line waits for nobody.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let _ = tcflush(&pty.slave, QueueSelector::IFlush);
                    Ok(bytes.len())
                }
                written => written,
            },
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
