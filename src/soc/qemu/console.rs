//! The console: the emulator's standard output.

use core::{
    convert::Infallible,
    ffi::CStr,
    sync::atomic::{AtomicBool, Ordering},
};

use embassy_time::{Duration, Timer};
use embedded_io_async::{ErrorType, Read, Write};
use ufmt::uWrite;
use xtensa_lx::semihosting::{self, Errno, Open};

/// How often it is looked whether somebody has typed.
const LOOK: Duration = Duration::from_millis(50);

/// The end of standard input has been read.
static IS_AT_END: AtomicBool = AtomicBool::new(false);

/// Writes to the emulator's standard output.
pub struct Console;

impl uWrite for Console {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        // There is nobody to tell that the console is gone.
        let _ = semihosting::write(semihosting::STDOUT, text.as_bytes());
        Ok(())
    }
}

/// Where commands are typed, and answers shown: standard input and output, or a file of its own, such as a pty.
#[derive(Clone, Copy)]
pub struct Terminal {
    input: u32,
    output: u32,
}

impl Terminal {
    /// The emulator's standard input and output, which events share.
    pub const STANDARD: Self = Self {
        input: semihosting::STDIN,
        output: semihosting::STDOUT,
    };

    /// Opens a file.
    ///
    /// # Errors
    /// What the PC says.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        let file = semihosting::open(path, Open::Existing)?;
        Ok(Self {
            input: file,
            output: file,
        })
    }

    fn is_readable(self) -> bool {
        semihosting::is_readable(self.input) == Ok(true)
    }
}

/// Whether standard input has ended. What is typed there, and not read by a terminal, means nothing.
pub fn is_stdin_at_end(terminal: Terminal) -> bool {
    if terminal.input != semihosting::STDIN {
        while Terminal::STANDARD.is_readable() {
            if semihosting::read(semihosting::STDIN, &mut [0; 64]) == Ok(0) {
                return true;
            }
        }
    }
    IS_AT_END.load(Ordering::Relaxed)
}

impl ErrorType for Terminal {
    type Error = Infallible;
}

impl Read for Terminal {
    /// Looks now and then: the emulator has no interrupt for it.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        while !self.is_readable() {
            Timer::after(LOOK).await;
        }
        let count = semihosting::read(self.input, buffer).unwrap_or(0);
        if count == 0 && self.input == semihosting::STDIN {
            IS_AT_END.store(true, Ordering::Relaxed);
        }
        Ok(count)
    }
}

impl Write for Terminal {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // There is nobody to tell that it is gone.
        let written = semihosting::write(self.output, bytes).ok();
        Ok(written.filter(|count| *count > 0).unwrap_or(bytes.len()))
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Where a fault's report goes.
#[unsafe(no_mangle)]
extern "C" fn __fault_write(bytes: *const u8, length: usize) {
    // SAFETY: xtensa-lx-rt hands over so many bytes.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    let _ = semihosting::write(semihosting::STDOUT, bytes);
}
