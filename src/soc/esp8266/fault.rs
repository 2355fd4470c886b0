//! Why the chip was reset last, and where: in the RTC's memory, which outlives a reset.
//!
//! Of an exception the SDK keeps cause, place and address there itself, and of the hardware's watchdog the place. Of a panic this keeps
//! file and line. Of its own watchdog the SDK keeps nothing: `pp_soft_wdt_feed_local` restarts the chip as `system_restart` does. So each
//! restart that is wanted is kept here too, and one that is not is the watchdog's.

use core::{ffi::c_void, panic::PanicInfo};

use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::sdk::{self, reset::*};
use crate::{app::wifi::Start, smartmeter::log::Level};

/// Where the RTC's memory is the user's, in words.
const BLOCK: u8 = 64;

/// There is a record: of a panic, or of a restart that was asked for. What a chip has there that was without power is anything.
const PANIC: u32 = 0x4d54_5031;
const WANTED: u32 = 0x4d54_5732;

/// Where flash is mapped.
const MAPPED: core::ops::Range<usize> = 0x4020_0000..0x4030_0000;

/// A restart of ours, as it is kept.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Record {
    what: u32,
    /// The name's place in flash.
    file: u32,
    length: u32,
    line: u32,
    /// Of the above.
    sum: u32,
}

impl Record {
    fn sum(&self) -> u32 {
        let words = [self.what, self.file, self.length, self.line];
        words
            .iter()
            .fold(0, |sum: u32, word| sum.rotate_left(5) ^ word)
    }

    fn write(mut self) {
        self.sum = self.sum();
        let from: *const Self = &raw const self;
        // SAFETY: reads so many bytes.
        unsafe {
            sdk::system_rtc_mem_write(BLOCK, from.cast::<c_void>(), size_of::<Self>() as u16)
        };
    }

    /// Without one it is the default.
    fn read() -> Self {
        let mut record = Self::default();
        let to: *mut Self = &raw mut record;
        // SAFETY: writes so many bytes; any words are a record.
        unsafe { sdk::system_rtc_mem_read(BLOCK, to.cast::<c_void>(), size_of::<Self>() as u16) };
        match record.what {
            PANIC | WANTED if record.sum == record.sum() => record,
            _ => Self::default(),
        }
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
    /// Power, or the reset pin.
    Power,
    /// It was asked for.
    Wanted,
    /// Nothing of the SDK's was done for too long; or it has restarted the chip by itself.
    Watchdog {
        /// Where the hardware's watchdog found the core.
        pc: Option<u32>,
    },
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
            Self::Power | Self::Wanted => f.write_str("restarted"),
            Self::Watchdog { pc: None } => f.write_str("restarted by the watchdog"),
            Self::Watchdog { pc: Some(pc) } => uwrite!(f, "restarted by the watchdog at {:x}", *pc),
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

impl Cause {
    /// What the log has it under: it has warnings and what is worse.
    pub fn level(&self) -> Level {
        match self {
            Self::Power | Self::Wanted => Level::Info,
            Self::Watchdog { .. } => Level::Warning,
            Self::Exception { .. } | Self::Panic { .. } => Level::Error,
        }
    }
}

/// What the chip was started by. A dip of the supply may end in any reset but the one that was asked for.
///
/// Ask before [`last`].
pub fn start() -> Start {
    match cause() {
        Cause::Wanted => Start::Restart,
        _ => Start::Power,
    }
}

/// Why the chip was reset last. A restart of ours is told once.
pub fn last() -> Cause {
    let cause = cause();
    Record::default().write();
    cause
}

fn cause() -> Cause {
    // SAFETY: the SDK's, filled before it calls us.
    let Some(info) = (unsafe { sdk::system_get_rst_info().as_ref() }) else {
        return Cause::Power;
    };
    match info.reason {
        WATCHDOG | SOFT_WATCHDOG => Cause::Watchdog {
            pc: Some(info.epc1).filter(|pc| *pc != 0),
        },
        EXCEPTION => Cause::Exception {
            cause: info.cause,
            pc: info.epc1,
            address: info.address,
        },
        RESTART => {
            let record = Record::read();
            match record.what {
                PANIC => Cause::Panic {
                    file: record.file().unwrap_or("?"),
                    line: record.line,
                },
                WANTED => Cause::Wanted,
                _ => Cause::Watchdog { pc: None },
            }
        }
        _ => Cause::Power,
    }
}

/// Restarts the chip in a tenth of a second, as somebody wants it.
pub fn restart() {
    Record {
        what: WANTED,
        ..Record::default()
    }
    .write();
    sdk::system_restart();
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    if let Some(place) = info.location() {
        let file = place.file();
        Record {
            what: PANIC,
            file: file.as_ptr() as u32,
            length: file.len() as u32,
            line: place.line(),
            ..Record::default()
        }
        .write();
    }
    sdk::system_restart_local();
    loop {
        // Until the reset has come.
        core::hint::spin_loop();
    }
}
