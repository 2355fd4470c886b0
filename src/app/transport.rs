//! The byte stream under the MQTT session: what is written leaves when the session next waits.
//!
//! The session flushes after every publish. On a board's own TCP/IP stack such a flush waits for
//! the peer's acknowledgement, on a PC it costs a segment each time. Here it does nothing; bytes
//! leave when the buffer is full and when the session has nothing left but to read, so that all
//! messages of a telegram share their segments.

use embedded_io_async::{ErrorType, Read, Write};

/// Bytes gathered before they are written: more than one telegram's messages mostly need.
pub const GATHER: usize = 2048;

/// A stream whose writes are gathered. RAM: [`GATHER`] bytes.
pub struct Gathering<T> {
    stream: T,
    buffer: heapless::Vec<u8, GATHER>,
    /// How many bytes of the buffer have been written: a read that is cancelled while it writes
    /// goes on where it was.
    written: usize,
}

impl<T: Read + Write> Gathering<T> {
    /// Gathers the writes to `stream`.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            buffer: heapless::Vec::new(),
            written: 0,
        }
    }

    /// Writes everything gathered.
    ///
    /// # Cancellation Safety
    /// As far as the stream's own write is: no byte is lost or repeated.
    pub async fn push(&mut self) -> Result<(), T::Error> {
        while let Some(rest) = self.buffer.get(self.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest).await? {
                // A stream that takes nothing is closed; the read that follows says so.
                0 => break,
                count => self.written += count,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Ok(())
    }
}

impl<T: ErrorType> ErrorType for Gathering<T> {
    type Error = T::Error;
}

impl<T: Read + Write> Read for Gathering<T> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, T::Error> {
        self.push().await?;
        self.stream.read(buffer).await
    }
}

impl<T: Read + Write> Write for Gathering<T> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, T::Error> {
        if self.buffer.is_full() || self.written > 0 {
            self.push().await?;
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        // It fits: `taken` is no longer than the room.
        let _ = self.buffer.extend_from_slice(taken);
        Ok(taken.len())
    }

    async fn flush(&mut self) -> Result<(), T::Error> {
        Ok(())
    }
}
