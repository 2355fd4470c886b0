//! A reading to what is published: MQTT topics with their payloads, and InfluxDB lines.
//!
//! [`topics`] and [`influx`] write payloads into a caller's buffer; [`changes`] remembers what need
//! not be said again. Nothing here knows a socket.

pub mod changes;
pub mod influx;
pub mod json;
pub mod topics;

/// A caller's buffer that is written front to back.
pub(crate) struct Output<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

/// The buffer is too small for what was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl<'a> Output<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Overflow> {
        let end = self.len + bytes.len();
        let room = self.buffer.get_mut(self.len..end).ok_or(Overflow)?;
        room.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), Overflow> {
        *self.buffer.get_mut(self.len).ok_or(Overflow)? = byte;
        self.len += 1;
        Ok(())
    }

    /// Whatever `write` puts to the front of what is left, when there is room for it.
    #[inline]
    pub(crate) fn written(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Overflow> {
        let room = self.buffer.get_mut(self.len..).ok_or(Overflow)?;
        self.len += write(room).ok_or(Overflow)?;
        Ok(())
    }
}
