//! The host board's P1 port: a serial device, a file, standard input or a TCP connection.
//!
//! A thread per source does the blocking reads, since not every source can be polled, and hands
//! the bytes over in a bounded channel.

mod error;
mod reader;
mod simulated;
mod source;

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::vec::Vec;

pub use error::Error;
use reader::Link;
pub use simulated::SimulatedPort;
pub use source::{Input, Source};

use crate::p1::port::{LineErrors, LineSettings, Port};

/// The P1 port of a PC.
///
/// A serial device has a line: its settings are followed, and Data Request is asserted by DTR and
/// RTS together, whichever the cable uses. The cable inverts. Parity and framing errors are not
/// told by the operating system and stay 0. On the other sources `set_line` and `request` do
/// nothing.
///
/// Files, FIFOs and standard input wait while nobody reads; a serial device and a TCP connection go
/// on, and what does not fit in about 250 chunks of up to 4 KiB is counted as overrun.
#[derive(Debug)]
pub struct HostPort {
    input: Input,
    line: LineSettings,
    requested: bool,
    link: Option<Link>,
    /// What the last chunk still holds, from `taken` on.
    chunk: Vec<u8>,
    taken: usize,
    overruns: Arc<AtomicU32>,
    ended: bool,
    waits: bool,
    fault: Option<Error>,
}

impl HostPort {
    /// Opens `input`, a serial device at [`LineSettings::DSMR4`] with Data Request released. A TCP
    /// connection is made later, and again when it is lost.
    ///
    /// # Errors
    /// The device or file is missing, in use, a directory, or not to be read.
    pub fn open(input: Input) -> Result<Self, Error> {
        let mut port = Self {
            waits: input.is_recording(),
            input,
            line: LineSettings::DSMR4,
            requested: false,
            link: None,
            chunk: Vec::new(),
            taken: 0,
            overruns: Arc::default(),
            ended: false,
            fault: None,
        };
        port.link = Some(port.connect()?);
        Ok(port)
    }

    /// Treats the source as a recording: its reader takes every telegram and may lag behind, and a
    /// TCP connection that the far end closes is its end.
    pub fn as_recording(mut self) -> Self {
        self.waits = true;
        self
    }

    fn connect(&self) -> Result<Link, Error> {
        Link::open(
            &self.input,
            self.line,
            self.requested,
            Arc::clone(&self.overruns),
        )
    }
}

impl Port for HostPort {
    type Error = Error;

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let left = &self.chunk[self.taken..];
            if !left.is_empty() || buffer.is_empty() {
                let length = left.len().min(buffer.len());
                buffer[..length].copy_from_slice(&left[..length]);
                self.taken += length;
                return Ok(length);
            }
            if self.ended {
                return Ok(0);
            }
            if let Some(fault) = self.fault.take() {
                self.link = None;
                return Err(fault);
            }
            let link = match &self.link {
                Some(link) => link,
                None => {
                    let link = self.connect()?;
                    self.link.insert(link)
                }
            };
            match link.chunks.recv().await {
                Ok(Ok(chunk)) => {
                    self.chunk = chunk;
                    self.taken = 0;
                }
                Ok(Err(Error::Closed(_))) if self.waits => self.ended = true,
                Ok(Err(error)) => {
                    self.link = None;
                    return Err(error);
                }
                // The reader has reached the end of the file.
                Err(_) => self.ended = true,
            }
        }
    }

    fn set_line(&mut self, line: LineSettings) {
        self.line = line;
        if let Some(link) = &mut self.link {
            // Nobody waits for an answer here; the next read gives it.
            self.fault = link.set_line(&self.input, line).err();
        }
    }

    fn request(&mut self, asserted: bool) {
        self.requested = asserted;
        if let Some(link) = &mut self.link {
            link.request(asserted);
        }
    }

    fn waits(&self) -> bool {
        self.waits
    }

    fn line_errors(&self) -> LineErrors {
        LineErrors {
            overrun: self.overruns.load(Ordering::Relaxed),
            ..LineErrors::default()
        }
    }
}
