//! Where telegrams come from, as the command line names it.

use core::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};

use super::Error;

/// A source of telegrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The built-in meter, with the kind asked for, which may be empty.
    Simulator(String),
    /// Something to read bytes from.
    Input(Input),
}

/// Something to read bytes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A serial device with a P1 cable.
    Serial(PathBuf),
    /// A regular file, which ends, or a FIFO, which does not.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A TCP connection to a bridge; the host is a name or an address without brackets.
    Tcp {
        /// Name or address.
        host: String,
        /// Port, never 0.
        port: u16,
    },
}

impl Source {
    /// Reads a source as given to `--p1`.
    ///
    /// A path that exists tells by its type what it is; a missing one under `/dev/` is taken for a
    /// serial device that is not plugged in.
    ///
    /// # Errors
    /// [`Error::Source`], which names the valid forms.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Source(text.to_string());
        let input = if text == "-" {
            Input::Stdin
        } else if let Some(kind) = text.strip_prefix("sim:") {
            return Ok(Self::Simulator(kind.to_string()));
        } else if let Some(address) = text.strip_prefix("tcp://") {
            parse_tcp(address).ok_or_else(wrong)?
        } else if text.is_empty() || text.contains("://") {
            return Err(wrong());
        } else {
            let path = PathBuf::from(text);
            match is_serial(&path) {
                true => Input::Serial(path),
                false => Input::File(path),
            }
        };
        Ok(Self::Input(input))
    }
}

impl Source {
    /// Whether the bytes come to an end, now or when the far end closes the connection.
    pub fn ends(&self) -> bool {
        match self {
            Self::Simulator(_) | Self::Input(Input::Serial(_)) => false,
            Self::Input(Input::File(path)) => !path
                .metadata()
                .is_ok_and(|metadata| metadata.file_type().is_fifo()),
            Self::Input(Input::Stdin | Input::Tcp { .. }) => true,
        }
    }
}

impl Input {
    /// Whether the bytes lie there already: a regular file, also as standard input.
    pub fn is_recording(&self) -> bool {
        let metadata = match self {
            Self::File(path) => path.metadata(),
            Self::Stdin => Path::new("/dev/stdin").metadata(),
            Self::Serial(_) | Self::Tcp { .. } => return false,
        };
        metadata.is_ok_and(|metadata| metadata.is_file())
    }
}

fn parse_tcp(address: &str) -> Option<Input> {
    let (host, port) = address
        .strip_suffix('/')
        .unwrap_or(address)
        .rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?,
        // More colons than one mean an IPv6 address whose port cannot be told from it.
        None if host.contains(':') => return None,
        None => host,
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty() && host.chars().all(valid)).then(|| Input::Tcp {
        host: host.to_string(),
        port,
    })
}

fn is_serial(path: &Path) -> bool {
    match path.metadata() {
        Ok(metadata) => metadata.file_type().is_char_device(),
        Err(_) => path.starts_with("/dev"),
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(path) | Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulator(kind) => write!(f, "sim:{kind}"),
            Self::Input(input) => input.fmt(f),
        }
    }
}
