//! The byte stream under the MQTT session: what is written leaves when the session next waits.
//!
//! The session flushes after every publish. On a board's own TCP/IP stack such a flush waits for
//! the peer's acknowledgement, on a PC it costs a segment each time. Here it does nothing; bytes
//! leave when the session has nothing left but to read, so that all messages of a telegram share
//! their segments. When the buffer fills before that, one whole segment leaves and the rest stays:
//! a part of a segment is never followed by more of the same burst.

use embedded_io_async::{ErrorType, Read, Write};

/// Bytes gathered before any are written: more than one telegram's messages mostly need.
pub const GATHER: usize = 2048;

/// What a TCP segment takes over Ethernet or Wi-Fi (RFC 6691 §2: 1500 without the fixed headers).
pub const SEGMENT: usize = 1460;

/// Where they are gathered. Without any room nothing is: that is for a stream whose own buffer gathers, since it
/// sends nothing before somebody waits, and has room for whole segments.
pub type Gathered = heapless::VecView<u8>;

/// A stream whose writes are gathered.
///
/// The room for them is lent: what connects moves the stream about, and a compiler that copies all
/// of it each time would need the room several times over.
pub struct Gathering<'b, T> {
    stream: T,
    buffer: &'b mut Gathered,
    /// How many bytes of the buffer have been written: a read that is cancelled while it writes
    /// goes on where it was.
    written: usize,
}

impl<'b, T: Read + Write> Gathering<'b, T> {
    /// Gathers the writes to `stream` in `buffer`, which is emptied first.
    pub fn new(stream: T, buffer: &'b mut Gathered) -> Self {
        buffer.clear();
        Self {
            stream,
            buffer,
            written: 0,
        }
    }

    /// Writes everything gathered.
    ///
    /// # Cancellation Safety
    /// As far as the stream's own write is: no byte is lost or repeated.
    pub async fn push(&mut self) -> Result<(), T::Error> {
        self.push_to(usize::MAX).await
    }

    /// Writes the buffer's first `end` bytes and makes their room free.
    async fn push_to(&mut self, end: usize) -> Result<(), T::Error> {
        let end = end.min(self.buffer.len());
        while let Some(rest) = self.buffer.get(self.written..end)
            && !rest.is_empty()
        {
            match self.stream.write(rest).await? {
                // A stream that takes nothing is closed; the read that follows says so.
                0 => self.written = end,
                count => self.written += count,
            }
        }
        let gone = self.written.min(self.buffer.len());
        self.buffer.copy_within(gone.., 0);
        self.buffer.truncate(self.buffer.len() - gone);
        self.written = 0;
        Ok(())
    }
}

impl<T: ErrorType> ErrorType for Gathering<'_, T> {
    type Error = T::Error;
}

impl<T: Read + Write> Read for Gathering<'_, T> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, T::Error> {
        self.push().await?;
        self.stream.read(buffer).await
    }
}

impl<T: Read + Write> Write for Gathering<'_, T> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, T::Error> {
        if self.buffer.capacity() == 0 {
            return self.stream.write(bytes).await;
        }
        if self.buffer.is_full() {
            self.push_to(SEGMENT).await?;
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

#[cfg(test)]
mod tests {
    use core::{convert::Infallible, future::pending};
    use std::vec::Vec;

    use embassy_futures::{block_on, poll_once};

    use super::*;

    /// Takes so many bytes in all, and pends then.
    struct Stream {
        room: usize,
        writes: Vec<Vec<u8>>,
    }

    impl ErrorType for Stream {
        type Error = Infallible;
    }

    impl Read for Stream {
        async fn read(&mut self, _: &mut [u8]) -> Result<usize, Infallible> {
            pending().await
        }
    }

    impl Write for Stream {
        async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            if self.room == 0 {
                return pending().await;
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.writes.push(bytes[..count].to_vec());
            Ok(count)
        }

        async fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    fn gathering(room: usize, buffer: &mut Gathered) -> Gathering<'_, Stream> {
        let writes = Vec::new();
        Gathering::new(Stream { room, writes }, buffer)
    }

    fn numbered(count: usize) -> Vec<u8> {
        (0..count).map(|n| (n % 251) as u8).collect()
    }

    fn write_all(link: &mut Gathering<'_, Stream>, bytes: &[u8]) {
        for piece in bytes.chunks(77) {
            block_on(link.write_all(piece)).unwrap();
            block_on(link.flush()).unwrap();
        }
    }

    #[test]
    fn a_burst_leaves_in_whole_segments() {
        for (length, expected) in [
            (1, &[1][..]),
            (GATHER, &[GATHER]),
            (GATHER + 1, &[SEGMENT, GATHER + 1 - SEGMENT]),
            (
                7_000,
                &[SEGMENT, SEGMENT, SEGMENT, SEGMENT, 7_000 - 4 * SEGMENT],
            ),
        ] {
            let mut buffer = heapless::Vec::<u8, GATHER>::new();
            let mut link = gathering(usize::MAX, &mut buffer);
            let bytes = numbered(length);
            write_all(&mut link, &bytes);
            assert!(poll_once(link.read(&mut [0])).is_pending());
            let sizes: Vec<_> = link.stream.writes.iter().map(Vec::len).collect();
            assert_eq!(sizes, expected, "{length}");
            assert_eq!(link.stream.writes.concat(), bytes);
        }
    }

    #[test]
    fn a_read_cancelled_while_it_writes_loses_and_repeats_nothing() {
        for taken in [1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, GATHER - 1] {
            let mut buffer = heapless::Vec::<u8, GATHER>::new();
            let mut link = gathering(taken, &mut buffer);
            let bytes = numbered(3 * GATHER);
            let (first, rest) = bytes.split_at(GATHER);
            write_all(&mut link, first);
            assert!(poll_once(link.read(&mut [0])).is_pending());
            link.stream.room = usize::MAX;
            write_all(&mut link, rest);
            block_on(link.push()).unwrap();
            assert_eq!(link.stream.writes.concat(), bytes, "{taken}");
        }
    }

    #[test]
    fn without_room_all_is_the_streams() {
        let mut buffer = heapless::Vec::<u8, 0>::new();
        let mut link = gathering(100, &mut buffer);
        let bytes = numbered(100);
        write_all(&mut link, &bytes);
        assert_eq!(link.stream.writes.concat(), bytes);
        assert!(poll_once(link.write_all(&[1])).is_pending());
        link.stream.room = 1;
        assert_eq!(block_on(link.write(&[1, 2])), Ok(1));
    }

    #[test]
    fn what_a_closed_stream_does_not_take_is_given_up() {
        struct Closed;
        impl ErrorType for Closed {
            type Error = Infallible;
        }
        impl Read for Closed {
            async fn read(&mut self, _: &mut [u8]) -> Result<usize, Infallible> {
                Ok(0)
            }
        }
        impl Write for Closed {
            async fn write(&mut self, _: &[u8]) -> Result<usize, Infallible> {
                Ok(0)
            }
            async fn flush(&mut self) -> Result<(), Infallible> {
                Ok(())
            }
        }
        let mut buffer = heapless::Vec::<u8, GATHER>::new();
        let mut link = Gathering::new(Closed, &mut buffer);
        block_on(link.write_all(&[0; 3 * GATHER])).unwrap();
        assert_eq!(block_on(link.read(&mut [0])), Ok(0));
    }
}
