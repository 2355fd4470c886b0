//! The console: the emulator's standard output.

use core::convert::Infallible;

use ufmt::uWrite;
use xtensa_lx::semihosting;

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

/// Where a fault's report goes.
#[unsafe(no_mangle)]
extern "C" fn __fault_write(bytes: *const u8, length: usize) {
    // SAFETY: xtensa-lx-rt hands over so many bytes.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, length) };
    let _ = semihosting::write(semihosting::STDOUT, bytes);
}
