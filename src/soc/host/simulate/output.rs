//! Where telegrams go: stdout, a file, a pty, or clients on a TCP port.

use std::fmt;
use std::format;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::prelude::v1::*;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};
use rustix::termios::{QueueSelector, tcflush};

use super::{Error, Place, Rate};
use crate::soc::host::pty;

/// Where the telegrams go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A new pty, whose other end a reader opens as a serial port.
    Pty,
    /// An address `HOST:PORT` to listen on, for one client after another.
    Tcp(String),
    /// A file, made anew.
    File(PathBuf),
}

impl FromStr for Output {
    type Err = OutputError;

    fn from_str(text: &str) -> Result<Self, OutputError> {
        let Some(address) = text.strip_prefix("tcp://") else {
            return Ok(match text {
                "-" => Output::Stdout,
                "pty" => Output::Pty,
                path => Output::File(path.into()),
            });
        };
        let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        match port.parse::<u16>() {
            Ok(port) => Ok(Output::Tcp(format!("{host}:{port}"))),
            Err(_) => Err(OutputError(text.into())),
        }
    }
}

/// A text that is no [`Output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputError(String);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` has no port; write tcp://PORT for this machine only, or tcp://ADDRESS:PORT",
            self.0
        )
    }
}

impl std::error::Error for OutputError {}

/// Whether anybody takes what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    /// The next one may come.
    Gone,
    /// The output was closed and stays so.
    GoneForGood,
}

/// An output that telegrams can be written to.
pub(super) enum Opened {
    Stdout(io::Stdout),
    File(File),
    Pty(Pty),
    Tcp(Tcp),
}

impl Opened {
    pub fn open(output: &Output, rate: Rate) -> Result<(Self, Option<Place>), Error> {
        match output {
            Output::Stdout => Ok((Opened::Stdout(io::stdout()), None)),
            Output::File(path) => {
                let file = File::create(path);
                let file = file.map_err(|error| Error::Create(path.clone(), error))?;
                Ok((Opened::File(file), None))
            }
            Output::Pty => {
                let (pty, path) = Pty::open(rate).map_err(|error| Error::Pty(error.into()))?;
                Ok((Opened::Pty(pty), Some(Place::Pty(path))))
            }
            Output::Tcp(address) => {
                let refused = |error| Error::Listen(address.clone(), error);
                let listener = TcpListener::bind(address).map_err(refused)?;
                let place = Place::Tcp(listener.local_addr().map_err(refused)?);
                let client = None;
                Ok((Opened::Tcp(Tcp { listener, client }), Some(place)))
            }
        }
    }

    /// Waits until somebody can read, where that can be known; whether it had to wait.
    pub fn wait_for_reader(&mut self) -> Result<bool, Error> {
        match self {
            Opened::Tcp(tcp) => tcp.wait_for_client().map_err(Error::Write),
            Opened::Stdout(_) | Opened::File(_) | Opened::Pty(_) => Ok(false),
        }
    }

    pub fn begin_telegram(&mut self) {
        if let Opened::Pty(pty) = self {
            pty.begin_telegram();
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<Reader, Error> {
        let written = match self {
            Opened::Stdout(stdout) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Opened::File(file) => file.write_all(bytes),
            Opened::Pty(pty) => pty.write(bytes),
            Opened::Tcp(tcp) => return Ok(tcp.write(bytes)),
        };
        match written {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::GoneForGood),
            Err(error) => Err(Error::Write(error)),
        }
    }

    /// Lets a reader have the last telegram before the output goes away.
    pub fn finish(&mut self) {
        if let Opened::Pty(pty) = self {
            pty.finish();
        }
    }
}

/// A pty in raw mode, as a serial line without a wire.
pub(super) struct Pty {
    master: OwnedFd,
    /// Held open, so that the line stays up between two readers.
    slave: OwnedFd,
    rate: Rate,
}

impl Pty {
    fn open(rate: Rate) -> Result<(Self, PathBuf), Errno> {
        let (master, slave, path) = pty::open()?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let pty = Pty {
            master,
            slave,
            rate,
        };
        Ok((pty, path))
    }

    /// Whoever has not read the last telegram of a real line by now has missed it.
    fn begin_telegram(&mut self) {
        if self.rate == Rate::Real {
            self.drop_unread();
        }
    }

    fn drop_unread(&self) {
        // A queue that cannot be emptied only makes the next write a short one.
        let _ = tcflush(&self.slave, QueueSelector::IFlush);
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.master, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                // Without a pace of its own, the line takes the reader's.
                Err(Errno::AGAIN) if self.rate == Rate::Max => sleep(Duration::from_millis(1)),
                Err(Errno::AGAIN) => {
                    self.drop_unread();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Closing a pty takes away what has not been read.
    fn finish(&mut self) {
        let patience = Instant::now() + Duration::from_secs(2);
        loop {
            sleep(Duration::from_millis(20));
            let unread = ioctl_fionread(&self.slave).unwrap_or(0);
            if unread == 0 || Instant::now() > patience {
                return;
            }
        }
    }
}

/// One client after another.
pub(super) struct Tcp {
    listener: TcpListener,
    client: Option<TcpStream>,
}

impl Tcp {
    fn wait_for_client(&mut self) -> io::Result<bool> {
        if self.client.as_mut().is_some_and(is_there) {
            return Ok(false);
        }
        loop {
            match self.listener.accept() {
                Ok((client, _)) => {
                    // A client that takes nothing must not hold the meter for ever; a failure to
                    // say so leaves it as it was.
                    let _ = client.set_write_timeout(Some(Duration::from_secs(10)));
                    let _ = client.set_nodelay(true);
                    self.client = Some(client);
                    return Ok(true);
                }
                // It came and went before it was accepted.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Reader {
        let Some(client) = &mut self.client else {
            return Reader::Gone;
        };
        if client.write_all(bytes).is_ok() {
            return Reader::There;
        }
        self.client = None;
        Reader::Gone
    }
}

/// Whether a client has not hung up. What it sends is dropped: a meter does not listen.
fn is_there(client: &mut TcpStream) -> bool {
    if client.set_nonblocking(true).is_err() {
        return false;
    }
    let mut dropped = [0; 256];
    let there = loop {
        match client.read(&mut dropped) {
            Ok(0) => break false,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    there && client.set_nonblocking(false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_told_apart_and_tcp_stays_on_this_machine() {
        assert_eq!("-".parse(), Ok(Output::Stdout));
        assert_eq!("pty".parse(), Ok(Output::Pty));
        assert_eq!("a/b.p1".parse(), Ok(Output::File("a/b.p1".into())));
        for text in ["tcp://2323", "tcp://:2323", "tcp://127.0.0.1:2323"] {
            assert_eq!(
                text.parse(),
                Ok(Output::Tcp("127.0.0.1:2323".into())),
                "{text}"
            );
        }
        assert_eq!(
            "tcp://0.0.0.0:1".parse(),
            Ok(Output::Tcp("0.0.0.0:1".into()))
        );
        for wrong in ["tcp://", "tcp://here", "tcp://here:", "tcp://1:70000"] {
            assert!(wrong.parse::<Output>().is_err(), "{wrong}");
        }
    }
}
