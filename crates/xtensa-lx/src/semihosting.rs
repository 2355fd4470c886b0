//! Requests to the emulator. On a chip the instruction does nothing.

unsafe extern "C" {
    fn xtensa_lx_simcall(number: u32, a: usize, b: usize, c: usize) -> isize;
}

const EXIT: u32 = 1;
const READ: u32 = 3;
const WRITE: u32 = 4;

/// The emulator's standard input.
pub const STDIN: u32 = 0;
/// The emulator's standard output.
pub const STDOUT: u32 = 1;

/// Ends the emulator.
#[inline]
pub fn exit(status: u8) -> ! {
    // SAFETY: takes no address.
    unsafe { xtensa_lx_simcall(EXIT, usize::from(status), 0, 0) };
    // Reached on a chip only.
    loop {
        core::hint::spin_loop();
    }
}

/// Writes to a file of the emulator's; returns how many bytes, negative when it fails.
#[inline]
pub fn write(file: u32, bytes: &[u8]) -> isize {
    // SAFETY: the emulator reads these bytes and no other.
    unsafe { xtensa_lx_simcall(WRITE, file as usize, bytes.as_ptr() as usize, bytes.len()) }
}

/// Reads from a file of the emulator's; returns how many bytes, 0 at its end, negative when it fails.
#[inline]
pub fn read(file: u32, bytes: &mut [u8]) -> isize {
    // SAFETY: the emulator writes these bytes and no other.
    unsafe {
        xtensa_lx_simcall(
            READ,
            file as usize,
            bytes.as_mut_ptr() as usize,
            bytes.len(),
        )
    }
}
