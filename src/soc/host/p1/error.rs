//! Why no bytes come in, in sentences that say what to do.

use core::fmt;
use std::io::{self, ErrorKind};
use std::string::String;

use super::Input;
use crate::p1::port::{Format, LineSettings};

/// Why a source cannot be read. The text names it and says what to do.
#[derive(Debug)]
pub enum Error {
    /// The text names no source.
    Source(String),
    /// There is no such device or file.
    Missing(Input),
    /// Another program uses the device.
    Busy(Input),
    /// Reading is not allowed.
    Denied(Input),
    /// The path is a directory.
    Directory(Input),
    /// Opening fails for another reason.
    Open(Input, io::Error),
    /// The device does not take the line settings.
    Line(Input, LineSettings, io::Error),
    /// Reading fails: the adapter was pulled, the disk fails.
    Read(Input, io::Error),
    /// The far end is not reached.
    Connect(Input, io::Error),
    /// The far end closed the connection.
    Closed(Input),
}

impl Error {
    pub(super) fn open(input: &Input, error: io::Error) -> Self {
        let input = input.clone();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::Missing(input),
            ErrorKind::PermissionDenied => Self::Denied(input),
            ErrorKind::IsADirectory => Self::Directory(input),
            ErrorKind::ResourceBusy => Self::Busy(input),
            _ => Self::Open(input, error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(text) => write!(
                f,
                "{text:?} is no P1 source; give a serial device such as /dev/ttyUSB0, a file or \
                 FIFO, - for standard input, tcp://HOST:PORT, sim: or sim:KIND"
            ),
            Self::Missing(input @ Input::Serial(_)) => write!(
                f,
                "{input}: there is no such device; plug the P1 cable in or name another one"
            ),
            Self::Missing(input) => {
                write!(f, "{input}: there is no such file; name one that exists")
            }
            Self::Busy(input) => write!(
                f,
                "{input}: another program uses it; end that one (fuser -v {input} names it)"
            ),
            Self::Denied(input @ Input::Serial(_)) => write!(
                f,
                "{input}: no permission to use it; add yourself to its group, usually with \
                 'sudo usermod -aG dialout $USER', and log in again"
            ),
            Self::Denied(input) => write!(
                f,
                "{input}: no permission to read it; change its mode or name another one"
            ),
            Self::Directory(input) => {
                write!(f, "{input}: is a directory; name a file in it")
            }
            Self::Open(input @ Input::Serial(_), error) => write!(
                f,
                "{input}: does not open as a serial line: {error}; name the device of the P1 cable"
            ),
            Self::Open(input, error) => {
                write!(f, "{input}: does not open: {error}; name another source")
            }
            Self::Line(input, line, error) => {
                let format = match line.format {
                    Format::EightNone => "8N1",
                    Format::SevenEven => "7E1",
                };
                write!(
                    f,
                    "{input}: does not take {} baud {format}: {error}; use another adapter",
                    line.baud
                )
            }
            Self::Read(input @ Input::Serial(_), error) => write!(
                f,
                "{input}: reading fails: {error}; plug the P1 cable in again, it is tried anew"
            ),
            Self::Read(input, error) => {
                write!(f, "{input}: reading fails: {error}; name another source")
            }
            Self::Connect(input, error) => write!(
                f,
                "{input}: no connection: {error}; check that the far end listens, it is tried anew"
            ),
            Self::Closed(input) => write!(
                f,
                "{input}: the far end closed the connection; it is connected anew"
            ),
        }
    }
}

impl core::error::Error for Error {}
