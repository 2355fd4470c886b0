//! The seam between the meter task and a board's P1 receiver.

/// Frame format of the serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 8 data bits, no parity, 1 stop bit: DSMR 4.0 and later.
    EightNone,
    /// 7 data bits, even parity, 1 stop bit: DSMR 2.2 and 3.0.
    SevenEven,
}

/// How the P1 line is to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Speed in bits per second.
    pub baud: u32,
    /// Frame format.
    pub format: Format,
    /// The line idles low and the receiver has to invert it (P1 companion standard 5.0.2 §5.7.2).
    /// A board whose wiring inverts already ignores this.
    pub inverted: bool,
}

impl LineSettings {
    /// DSMR 4.0 and later, and the standards of other countries built on them: 115200 8N1.
    pub const DSMR4: Self = Self {
        baud: 115_200,
        format: Format::EightNone,
        inverted: true,
    };
    /// DSMR 2.2 and 3.0: 9600 7E1.
    pub const DSMR2: Self = Self {
        baud: 9_600,
        format: Format::SevenEven,
        inverted: true,
    };
}

/// Receive errors counted by the hardware since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineErrors {
    /// Bytes lost because nobody fetched them in time.
    pub overrun: u32,
    /// Characters without a stop bit.
    pub framing: u32,
    /// Characters with the wrong parity.
    pub parity: u32,
}

/// A board's P1 port.
///
/// The port keeps receiving between calls of [`read`](Port::read) as far as its buffer goes; what
/// does not fit is counted as overrun, never waited for.
#[allow(async_fn_in_trait)] // One executor, one thread: no caller needs `Send`.
pub trait Port {
    /// Why nothing can be read for now: the adapter was pulled, the far end closed.
    type Error: core::error::Error;

    /// Waits for bytes and returns how many were stored, 0 when the input has ended for good
    /// (a file; a line never ends).
    ///
    /// # Errors
    /// The line cannot be read at the moment. The caller may call again after a pause; the port
    /// then tries to open its source anew.
    ///
    /// # Cancellation Safety
    /// Dropping the future loses no byte.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;

    /// Changes speed and format; a port without a line (a file) ignores it.
    fn set_line(&mut self, line: LineSettings);

    /// Asserts or releases Data Request. Released is high impedance: the standard forbids driving
    /// the line low (P1 companion standard 5.0.2 §5.3).
    fn request(&mut self, asserted: bool);

    /// Whether the source waits for its reader, as a file does: then every telegram is taken, and
    /// none is dropped because the publisher is behind.
    fn waits(&self) -> bool {
        false
    }

    /// Whether the meter would be heard now. A board's console may share its receiver: then nobody waits for a telegram.
    fn is_listening(&self) -> bool {
        true
    }

    /// Receive errors since start.
    fn line_errors(&self) -> LineErrors;
}
