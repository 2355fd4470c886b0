//! The console.
use core::convert::Infallible;

use embedded_io_async::{ErrorType, Read, Write};
use ufmt::uWrite;

/// Writes to UART0's transmitter.
pub struct Console;

impl uWrite for Console {
    type Error = Infallible;

    fn write_str(&mut self, _text: &str) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Where commands are typed.
#[derive(Clone, Copy)]
pub struct Terminal;

impl ErrorType for Terminal {
    type Error = Infallible;
}

impl Read for Terminal {
    async fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, Infallible> {
        core::future::pending().await
    }
}

impl Write for Terminal {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
