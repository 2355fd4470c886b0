//! Why the chip was reset last, and where: in the RTC's memory, which outlives a reset.
//!
//! Of an exception the SDK keeps cause, place and address there itself. Of a panic this keeps file and line.

use core::{ffi::c_void, panic::PanicInfo};

use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::sdk::{self, reset::*};
use crate::app::wifi::Start;

/// Where the RTC's memory is the user's, in words.
const BLOCK: u8 = 64;

/// There is a record. What a chip has there that was without power is anything.
const MAGIC: u32 = 0x4d54_5031;

/// Where flash is mapped.
const MAPPED: core::ops::Range<usize> = 0x4020_0000..0x4030_0000;

/// A panic, as it is kept.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Record {
    magic: u32,
    /// The name's place in flash.
    file: u32,
    length: u32,
    line: u32,
    /// Of the above.
    sum: u32,
}

impl Record {
    fn sum(&self) -> u32 {
        let words = [self.magic, self.file, self.length, self.line];
        words
            .iter()
            .fold(0, |sum: u32, word| sum.rotate_left(5) ^ word)
    }

    fn write(&self) {
        let from: *const Self = self;
        // SAFETY: reads so many bytes.
        unsafe {
            sdk::system_rtc_mem_write(BLOCK, from.cast::<c_void>(), size_of::<Self>() as u16)
        };
    }

    fn read() -> Self {
        let mut record = Self::default();
        let to: *mut Self = &raw mut record;
        // SAFETY: writes so many bytes; any words are a record.
        unsafe { sdk::system_rtc_mem_read(BLOCK, to.cast::<c_void>(), size_of::<Self>() as u16) };
        record
    }

    /// The file's name, when the image is still the one that panicked.
    fn file(&self) -> Option<&'static str> {
        let (start, length) = (self.file as usize, self.length as usize);
        let end = start.checked_add(length)?;
        if !MAPPED.contains(&start) || end > MAPPED.end || length > 128 {
            return None;
        }
        // SAFETY: mapped flash, which nobody writes where the image is.
        let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, length) };
        core::str::from_utf8(bytes).ok()
    }
}

/// Why the chip was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Power, the reset pin, or a restart that was asked for.
    Ordinary,
    /// Nothing of the SDK's was done for too long.
    Watchdog,
    /// The core refused an instruction.
    Exception {
        /// EXCCAUSE.
        cause: u32,
        /// Its place.
        pc: u32,
        /// What it wanted, where it was a load or store.
        address: u32,
    },
    /// The firmware found itself in a state that cannot be.
    Panic {
        /// The file, if that is still known.
        file: &'static str,
        /// Its line.
        line: u32,
    },
}

impl uDisplay for Cause {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        match self {
            Self::Ordinary => f.write_str("restarted"),
            Self::Watchdog => f.write_str("restarted by the watchdog"),
            Self::Exception { cause, pc, address } => uwrite!(
                f,
                "restarted after exception {} at {:x}, address {:x}",
                cause,
                *pc,
                *address
            ),
            Self::Panic { file, line } => {
                uwrite!(f, "restarted after a panic at {}:{}", file, line)
            }
        }
    }
}

/// What the chip was started by. A dip of the supply may end in any reset but the one that the firmware asked for.
pub fn start() -> Start {
    // SAFETY: the SDK's, filled before it calls us.
    match unsafe { sdk::system_get_rst_info().as_ref() } {
        Some(info) if info.reason == RESTART => Start::Restart,
        _ => Start::Power,
    }
}

/// Why the chip was reset last. A panic is told once.
pub fn last() -> Cause {
    let record = Record::read();
    Record::default().write();
    // SAFETY: the SDK's, filled before it calls us.
    let Some(info) = (unsafe { sdk::system_get_rst_info().as_ref() }) else {
        return Cause::Ordinary;
    };
    if info.reason == RESTART && record.magic == MAGIC && record.sum == record.sum() {
        return Cause::Panic {
            file: record.file().unwrap_or("?"),
            line: record.line,
        };
    }
    match info.reason {
        WATCHDOG | SOFT_WATCHDOG => Cause::Watchdog,
        EXCEPTION => Cause::Exception {
            cause: info.cause,
            pc: info.epc1,
            address: info.address,
        },
        _ => Cause::Ordinary,
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    if let Some(place) = info.location() {
        let file = place.file();
        let mut record = Record {
            magic: MAGIC,
            file: file.as_ptr() as u32,
            length: file.len() as u32,
            line: place.line(),
            sum: 0,
        };
        record.sum = record.sum();
        record.write();
    }
    sdk::system_restart_local();
    loop {
        // Until the reset has come.
        core::hint::spin_loop();
    }
}
