//! UART0.
use core::convert::Infallible;

use crate::p1::port::{LineErrors, LineSettings, Port};

/// Bytes that have come since start.
pub fn received() -> u32 {
    0
}

/// The port.
pub struct Uart;

impl Uart {
    /// Switches it on.
    pub fn start() -> Self {
        Self
    }
}

impl Port for Uart {
    type Error = Infallible;

    async fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, Infallible> {
        core::future::pending().await
    }

    fn set_line(&mut self, _line: LineSettings) {}

    fn request(&mut self, _asserted: bool) {}

    fn line_errors(&self) -> LineErrors {
        LineErrors::default()
    }
}
