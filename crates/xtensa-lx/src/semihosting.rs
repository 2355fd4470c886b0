//! Requests to the emulator (Xtensa ISS simcalls). On a chip the instruction does nothing.

use core::ffi::CStr;

unsafe extern "C" {
    /// The result in the lower word, the error's number in the upper one.
    fn xtensa_lx_simcall(number: u32, a: usize, b: usize, c: usize) -> u64;
}

const EXIT: u32 = 1;
const READ: u32 = 3;
const WRITE: u32 = 4;
const OPEN: u32 = 5;
const LSEEK: u32 = 19;
const SELECT_ONE: u32 = 29;
const ARGC: u32 = 1000;
const ARGV_SIZE: u32 = 1001;
const ARGV: u32 = 1002;

/// The emulator's standard input.
pub const STDIN: u32 = 0;

/// The emulator's standard output.
pub const STDOUT: u32 = 1;

/// Why the emulator could not do what was asked: the PC's `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u32);

impl Errno {
    /// There is no such file (Linux and POSIX agree on the number).
    pub const NOT_FOUND: Self = Self(2);
}

/// For what a file is opened; the numbers are those of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Open {
    /// An existing file, to be read and written.
    Existing = 0o2,
    /// A file that must not exist yet, to be read and written.
    New = 0o302,
}

/// From where [`seek`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum From {
    /// The file's start.
    Start = 0,
    /// The file's end.
    End = 2,
}

fn checked(result: u64) -> Result<u32, Errno> {
    let value = result as u32;
    if (value as i32) < 0 {
        Err(Errno((result >> 32) as u32))
    } else {
        Ok(value)
    }
}

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

/// Writes to a file of the emulator's; returns how many bytes.
///
/// # Errors
/// What the PC says.
#[inline]
pub fn write(file: u32, bytes: &[u8]) -> Result<usize, Errno> {
    let (start, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the emulator reads these bytes and no other.
    let result = unsafe { xtensa_lx_simcall(WRITE, file as usize, start, length) };
    checked(result).map(|count| count as usize)
}

/// Reads from a file of the emulator's; returns how many bytes, 0 at its end.
///
/// # Errors
/// What the PC says.
#[inline]
pub fn read(file: u32, bytes: &mut [u8]) -> Result<usize, Errno> {
    let (start, length) = (bytes.as_mut_ptr() as usize, bytes.len());
    // SAFETY: the emulator writes these bytes and no other.
    let result = unsafe { xtensa_lx_simcall(READ, file as usize, start, length) };
    checked(result).map(|count| count as usize)
}

/// Whether a [`read`] would return at once: there are bytes, or the end.
///
/// # Errors
/// What the PC says.
#[inline]
pub fn is_readable(file: u32) -> Result<bool, Errno> {
    const FOR_READING: usize = 1;
    let no_time = [0u32; 2];
    let limit = no_time.as_ptr() as usize;
    // SAFETY: the emulator reads the two words of the time limit.
    let result = unsafe { xtensa_lx_simcall(SELECT_ONE, file as usize, FOR_READING, limit) };
    checked(result).map(|count| count > 0)
}

/// Opens a file of the PC's, by a path from the emulator's working directory.
///
/// # Errors
/// What the PC says.
#[inline]
pub fn open(path: &CStr, how: Open) -> Result<u32, Errno> {
    let mode = 0o644;
    // SAFETY: the emulator reads the path up to its NUL.
    let result = unsafe { xtensa_lx_simcall(OPEN, path.as_ptr() as usize, how as usize, mode) };
    checked(result)
}

/// Moves to where the next byte is read or written; returns that place.
///
/// # Errors
/// What the PC says.
#[inline]
pub fn seek(file: u32, offset: u32, from: From) -> Result<u32, Errno> {
    // SAFETY: takes no address.
    let result = unsafe { xtensa_lx_simcall(LSEEK, file as usize, offset as usize, from as usize) };
    checked(result)
}

/// The words on the emulator's command line, the first of which is the program's name: those of
/// `-semihosting-config arg=…`, or the kernel and the words of `-append`. `None` when `buffer` is
/// too small for them, with a pointer for each.
pub fn arguments(buffer: &mut [u32]) -> Option<impl Iterator<Item = &CStr>> {
    // SAFETY: neither takes an address.
    let (count, size) = unsafe {
        let count = xtensa_lx_simcall(ARGC, 0, 0, 0) as usize;
        (count, xtensa_lx_simcall(ARGV_SIZE, 0, 0, 0) as usize)
    };
    if size > size_of_val(buffer) {
        return None;
    }
    // SAFETY: the emulator writes `size` bytes: `count` pointers, a null, and what they point to.
    unsafe { xtensa_lx_simcall(ARGV, buffer.as_mut_ptr() as usize, 0, 0) };
    let pointers = buffer.get(..count)?;
    // SAFETY: each points to a string with its NUL in the rest of the buffer.
    Some(
        pointers
            .iter()
            .map(|at| unsafe { CStr::from_ptr(*at as usize as *const _) }),
    )
}
