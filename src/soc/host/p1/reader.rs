//! The threads that read, one per open source.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::format;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::string::String;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::vec::Vec;

use async_channel::{Receiver, Sender, TrySendError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use serialport::{DataBits, Parity, SerialPort, StopBits, TTYPort};

use super::{Error, Input};
use crate::p1::port::{Format, LineSettings};

/// At most this much is read at once.
const CHUNK: usize = 4096;
/// Chunks between a thread and the port: about 4 s of a serial line whose adapter hands over
/// what came in 16 ms, as most do.
const CHUNKS: usize = 256;
/// How long a thread may go on unnoticed when its port has gone.
const GLANCE: Duration = Duration::from_millis(100);
/// Time for a TCP connection to come about, per address.
const CONNECT: Duration = Duration::from_secs(10);

/// An open source.
#[derive(Debug)]
pub(super) struct Link {
    /// Bytes in order; an error is the last item, and a closed channel is the end of a file.
    pub(super) chunks: Receiver<Result<Vec<u8>, Error>>,
    serial: Option<Serial>,
}

/// The line of a serial device, beside the thread that reads it.
#[derive(Debug)]
struct Serial {
    control: TTYPort,
    reader: Option<JoinHandle<()>>,
}

impl Link {
    pub(super) fn open(
        input: &Input,
        line: LineSettings,
        requested: bool,
        overruns: Arc<AtomicU32>,
    ) -> Result<Self, Error> {
        let (sender, chunks) = async_channel::bounded(CHUNKS);
        let feed = Feed {
            input: input.clone(),
            sender,
            overruns: None,
        };
        let mut link = Self {
            chunks,
            serial: None,
        };
        let opening = |error| Error::open(input, error);
        match input {
            Input::Serial(path) => {
                let control = open_serial(path, line).map_err(opening)?;
                let reader = control
                    .try_clone_native()
                    .map_err(|error| opening(error.into()))?;
                let feed = feed.live(overruns);
                let reader = spawn(move || feed.run(reader, AtEnd::Fail)).map_err(opening)?;
                link.serial = Some(Serial {
                    control,
                    reader: Some(reader),
                });
                link.request(requested);
            }
            Input::File(path) => {
                let file = open_file(path).map_err(opening)?;
                spawn(move || feed.run(Polled(file), AtEnd::End)).map_err(opening)?;
            }
            Input::Stdin => {
                // The handle of the standard library buffers, which polling cannot see.
                let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(opening)?;
                spawn(move || feed.run(Polled(File::from(stdin)), AtEnd::End)).map_err(opening)?;
            }
            Input::Tcp { host, port } => {
                let (host, port) = (host.clone(), *port);
                let feed = feed.live(overruns);
                spawn(move || match connect(&host, port) {
                    Ok(stream) => feed.run(stream, AtEnd::Fail),
                    Err(error) => feed.fail(Error::Connect(feed.input.clone(), error)),
                })
                .map_err(opening)?;
            }
        }
        Ok(link)
    }

    /// Changes speed and format where there is a line.
    pub(super) fn set_line(&mut self, input: &Input, line: LineSettings) -> Result<(), Error> {
        let Some(serial) = &mut self.serial else {
            return Ok(());
        };
        let (bits, parity) = format_of(line);
        let control = &mut serial.control;
        control
            .set_data_bits(bits)
            .and_then(|()| control.set_parity(parity))
            .and_then(|()| control.set_stop_bits(StopBits::One))
            .and_then(|()| control.set_baud_rate(line.baud))
            .map_err(|error| Error::Line(input.clone(), line, error.into()))
    }

    /// Asserts or releases Data Request where there is a line.
    pub(super) fn request(&mut self, asserted: bool) {
        if let Some(serial) = &mut self.serial {
            // A line without these pins has its meter ask for itself, or is a pseudo terminal.
            let _ = serial.control.write_data_terminal_ready(asserted);
            let _ = serial.control.write_request_to_send(asserted);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.chunks.close();
        // The device is locked until its reader has let go of it, at most `GLANCE` from now.
        if let Some(reader) = self.serial.as_mut().and_then(|serial| serial.reader.take()) {
            let _ = reader.join();
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(String::from("p1 reader"))
        .spawn(run)
}

fn format_of(line: LineSettings) -> (DataBits, Parity) {
    match line.format {
        Format::EightNone => (DataBits::Eight, Parity::None),
        Format::SevenEven => (DataBits::Seven, Parity::Even),
    }
}

fn open_serial(path: &Path, line: LineSettings) -> io::Result<TTYPort> {
    let (bits, parity) = format_of(line);
    serialport::new(path.to_string_lossy(), line.baud)
        .data_bits(bits)
        .parity(parity)
        .timeout(GLANCE)
        .open_native()
        .map_err(|error| match error.kind() {
            // That is how the crate calls a device which is locked.
            serialport::ErrorKind::NoDevice => ErrorKind::ResourceBusy.into(),
            serialport::ErrorKind::Io(kind) => io::Error::new(kind, error),
            _ => io::Error::other(error),
        })
}

fn open_file(path: &Path) -> io::Result<File> {
    let kind = path.metadata()?.file_type();
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    // Open for writing too, a FIFO neither blocks here nor ends with each of its writers.
    OpenOptions::new()
        .read(true)
        .write(kind.is_fifo())
        .open(path)
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(GLANCE))?;
                // A bridge that loses its power says no goodbye: 10 s of silence, then three
                // questions 5 s apart.
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, Duration::from_secs(10))?;
                sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(5))?;
                sockopt::set_tcp_keepcnt(&stream, 3)?;
                return Ok(stream);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// A file whose reads give up after `GLANCE`.
struct Polled(File);

impl Read for Polled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: GLANCE.subsec_nanos().into(),
        };
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        if poll(&mut watched, Some(&limit))? == 0 {
            return Err(ErrorKind::TimedOut.into());
        }
        self.0.read(buffer)
    }
}

/// What it means that no more bytes come.
#[derive(Clone, Copy)]
enum AtEnd {
    /// The input has ended for good.
    End,
    /// The line is lost.
    Fail,
}

/// The thread's end of the channel.
struct Feed {
    input: Input,
    sender: Sender<Result<Vec<u8>, Error>>,
    /// Counts the bytes lost; a source without it waits instead.
    overruns: Option<Arc<AtomicU32>>,
}

impl Feed {
    fn live(mut self, overruns: Arc<AtomicU32>) -> Self {
        self.overruns = Some(overruns);
        self
    }

    fn run(&self, mut source: impl Read, at_end: AtEnd) {
        let mut buffer = [0; CHUNK];
        let error = loop {
            if self.sender.is_closed() {
                return;
            }
            match (source.read(&mut buffer), at_end) {
                (Ok(0), AtEnd::End) => return,
                (Ok(0), AtEnd::Fail) => break self.lost(None),
                (Ok(length), _) => self.bytes(&buffer[..length]),
                (Err(error), _) => match error.kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                    _ => break self.lost(Some(error)),
                },
            }
        };
        // The port opens the source anew as soon as it sees the error.
        drop(source);
        self.fail(error);
    }

    fn lost(&self, error: Option<io::Error>) -> Error {
        let input = self.input.clone();
        match (&self.input, error) {
            (Input::Tcp { .. }, None) => Error::Closed(input),
            (_, None) => Error::Read(input, io::Error::from(ErrorKind::UnexpectedEof)),
            (_, Some(error)) => Error::Read(input, error),
        }
    }

    fn bytes(&self, bytes: &[u8]) {
        let chunk = Ok(bytes.to_vec());
        match &self.overruns {
            Some(overruns) => {
                if let Err(TrySendError::Full(_)) = self.sender.try_send(chunk) {
                    let lost = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    overruns.fetch_add(lost, Ordering::Relaxed);
                }
            }
            // Fails when the port has gone, which the loop notices.
            None => drop(self.sender.send_blocking(chunk)),
        }
    }

    fn fail(&self, error: Error) {
        let _ = self.sender.send_blocking(Err(error));
    }
}
