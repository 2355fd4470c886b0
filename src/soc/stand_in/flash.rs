//! The flash chip: a file of its size, with the rules of NOR flash, whose power can be cut anywhere.

use core::ffi::{CStr, c_int};

use xtensa_lx::semihosting::{self, Errno, From, Open};

use super::{
    Own, only_in_tasks, refuse, say, start::leave, status, tasks, tick, uart, words::words,
};
use crate::soc::esp8266::sdk::{Partition, partition};

/// The board's: 4 MiB, `FLASH_SIZE_32M_MAP_512_512`.
const SIZE: u32 = 0x40_0000;
const MAP: u32 = 4;
const SECTOR: u32 = 4096;

/// Words that are compared and written at a time: they are on the stack that is measured, and the vendor's functions take none for them.
const PIECE: usize = 16;

/// What a call takes at least, in cycles of CCOUNT, of which the bus has one for each bit: it runs at 40 MHz, too, on one line.
///
/// Bytes are written in the time of a W25Q32FV's data sheet (AC electrical characteristics, typical: 30 us for a command's first, 2.5 for
/// each that follows, so 0.7 ms for a page); other makers' are as fast. The ROM's functions fill the bus's buffer, of 64 bytes to read
/// and 32 to write. What the SDK's do around them, stop the cache and start it again, nobody has measured.
mod takes {
    use super::tick;

    const US: u32 = tick::HZ / 1_000_000;
    const CALL: u32 = 10 * US;
    /// Command, address, and what a read or the permission to write has besides.
    const COMMAND: u32 = 5 * 8;
    const FIRST: u32 = 30 * US;
    const NEXT: u32 = 5 * US / 2;

    /// To read so many bytes.
    pub fn read(size: u32) -> u32 {
        CALL + size.div_ceil(64) * COMMAND + 8 * size
    }

    /// To write so many.
    pub fn write(size: u32) -> u32 {
        let commands = size.div_ceil(32);
        CALL + commands * (COMMAND + FIRST) + size.saturating_sub(commands) * NEXT + 8 * size
    }
}

/// Waits until a call that began then has taken so long.
fn last(begun: u32, cycles: u32) {
    while tick::own().wrapping_sub(begun) < cycles {}
}

/// What erasing leaves of half a sector.
static ERASED: [u8; SECTOR as usize / 2] = [0xff; SECTOR as usize / 2];

/// How long an erase has to be put off while somebody speaks to the receiver; less what two clocks may differ in.
const PATIENCE: u32 = 79 * (tick::HZ / 1000);

struct Chip {
    file: u32,
    written: u32,
    erased: u32,
    /// Erases that were begun while somebody spoke, since it did not end.
    amid: u32,
    /// Words until the power is cut.
    left: Option<u32>,
}

#[unsafe(link_section = ".stand_in.flash")]
static CHIP: Own<Chip> = Own::new(Chip {
    file: 0,
    written: 0,
    erased: 0,
    amid: 0,
    left: None,
});

/// Opens a file of so many bytes, and makes one that is erased when there is none.
pub fn open(path: &CStr, size: u32) -> u32 {
    let opened = match semihosting::open(path, Open::Existing) {
        Err(Errno::NOT_FOUND) => semihosting::open(path, Open::New).inspect(|file| {
            for _ in 0..size / SECTOR {
                let _ = semihosting::write(*file, &[0xff; SECTOR as usize]);
            }
            let _ = semihosting::write(*file, &[0xff; SECTOR as usize][..(size % SECTOR) as usize]);
        }),
        other => other,
    };
    let Ok(file) = opened else {
        say!("{} cannot be opened", path.to_str().unwrap_or("?"));
        leave(status::UNUSABLE)
    };
    if semihosting::seek(file, 0, From::End) != Ok(size) {
        say!("{} has not {} bytes", path.to_str().unwrap_or("?"), size);
        leave(status::UNUSABLE)
    }
    file
}

/// Opens the chip's file.
pub fn start() {
    let words = words();
    let file = open(words.flash, SIZE);
    CHIP.with(|chip| (chip.file, chip.left) = (file, words.cut));
}

/// Words written, sectors erased so far, and how many of these while somebody spoke to the receiver.
pub fn counters() -> (u32, u32, u32) {
    CHIP.with(|chip| (chip.written, chip.erased, chip.amid))
}

/// Reads from a file, which is as long as was seen when it was opened.
pub fn get(file: u32, from: u32, to: &mut [u8]) {
    let _ = semihosting::seek(file, from, From::Start);
    if semihosting::read(file, to) != Ok(to.len()) {
        refuse!("a file of the chip's cannot be read");
    }
}

/// Writes to a file.
pub fn put(file: u32, to: u32, bytes: &[u8]) {
    let _ = semihosting::seek(file, to, From::Start);
    if semihosting::write(file, bytes) != Ok(bytes.len()) {
        refuse!("a file of the chip's cannot be written");
    }
}

fn check(function: &str, address: u32, memory: u32, size: u32) {
    only_in_tasks(function);
    if !(address | memory | size).is_multiple_of(4) {
        refuse!(
            "{}: {} bytes at {:x} and {:x} in memory are no words",
            function,
            size,
            address,
            memory
        );
    }
    if address.checked_add(size).is_none_or(|end| end > SIZE) {
        refuse!("{}: {} bytes at {:x}", function, size, address);
    }
}

/// A slice of somebody's words as bytes.
///
/// # Safety
/// There are so many, and nobody else has them meanwhile.
unsafe fn bytes<'a>(words: *mut u32, size: u32) -> &'a mut [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(words.cast(), size as usize) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn spi_flash_read(from: u32, to: *mut u32, size: u32) -> c_int {
    check("spi_flash_read", from, to as u32, size);
    tasks::does(|work| work.reads += 1);
    let begun = tick::own();
    let file = CHIP.with(|chip| chip.file);
    // SAFETY: the caller's promise.
    get(file, from, unsafe { bytes(to, size) });
    last(begun, takes::read(size));
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn spi_flash_write(to: u32, from: *const u32, size: u32) -> c_int {
    check("spi_flash_write", to, from as u32, size);
    tasks::does(|work| work.writes += 1);
    let begun = tick::own();
    // SAFETY: the caller's promise; they are read only.
    let new = unsafe { bytes(from.cast_mut(), size) };
    let file = CHIP.with(|chip| chip.file);
    let mut place = to;
    for piece in new.chunks(4 * PIECE) {
        let mut old = [0; 4 * PIECE];
        let old = old.get_mut(..piece.len()).unwrap_or_default();
        get(file, place, old);
        if let Some(at) = piece
            .iter()
            .zip(old)
            .position(|(new, old)| new & !*old != 0)
        {
            refuse!(
                "spi_flash_write at {:x}: a bit is 0 that is to be 1",
                place + at as u32
            );
        }
        let words = spend(piece.len() as u32 / 4);
        put(
            file,
            place,
            piece.get(..4 * words as usize).unwrap_or_default(),
        );
        CHIP.with(|chip| chip.written += words);
        if (4 * words as usize) < piece.len() {
            cut();
        }
        place += piece.len() as u32;
    }
    last(begun, takes::write(size));
    0
}

/// How many of these words still find power.
fn spend(words: u32) -> u32 {
    CHIP.with(|chip| {
        let Some(left) = chip.left.as_mut() else {
            return words;
        };
        let found = words.min(*left);
        *left -= found;
        found
    })
}

/// An erase that the power did not last for: of each word no bit has become 1, some have, or all.
fn tear(file: u32, start: u32, seed: u32) -> ! {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    for place in (start..start + SECTOR).step_by(4 * PIECE) {
        let mut bytes = [0; 4 * PIECE];
        get(file, place, &mut bytes);
        for word in bytes.as_chunks_mut::<4>().0 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let risen = match state % 3 {
                0 => 0,
                1 => state,
                _ => !0,
            };
            *word = (u32::from_le_bytes(*word) | risen).to_le_bytes();
        }
        put(file, place, &bytes);
    }
    cut()
}

fn cut() -> ! {
    say!("the power is cut");
    leave(status::CUT)
}

#[unsafe(no_mangle)]
extern "C" fn spi_flash_erase_sector(sector: u16) -> c_int {
    let start = u32::from(sector) * SECTOR;
    check("spi_flash_erase_sector", start, 0, SECTOR);
    look_at_line();
    tasks::does(|work| work.erases += 1);
    let begun = tick::own();
    let file = CHIP.with(|chip| {
        chip.erased += 1;
        chip.file
    });
    if let Some(seed) = words().tear {
        tear(file, start, seed);
    }
    for place in [start, start + SECTOR / 2] {
        put(file, place, &ERASED);
    }
    let cycles = words().erase * (tick::HZ / 1000);
    last(begun, cycles);
    tasks::excuse(tick::own().wrapping_sub(begun));
    0
}

/// Nobody fetches what comes during an erase: it is not begun while somebody speaks, unless the task has waited for the end.
fn look_at_line() {
    if !uart::is_spoken_to() {
        return;
    }
    if tasks::ran() < PATIENCE {
        refuse!("spi_flash_erase_sector in the middle of what the receiver is told");
    }
    CHIP.with(|chip| chip.amid += 1);
}

/// As the SDK compares the table with what it needs.
#[unsafe(no_mangle)]
unsafe extern "C" fn system_partition_table_regist(
    table: *const Partition,
    count: u32,
    map: u32,
) -> bool {
    // SAFETY: the caller's promise.
    let table = unsafe { core::slice::from_raw_parts(table, count as usize) };
    let needed = [
        partition::RF_CALIBRATION,
        partition::PHY_DATA,
        partition::SYSTEM_PARAMETER,
    ];
    for kind in needed {
        if !table.iter().any(|part| part.kind == kind) {
            refuse!("system_partition_table_regist: there is no part {}", kind);
        }
    }
    let mut end = 0;
    for part in table {
        if part.address < end
            || part.size == 0
            || !(part.address | part.size).is_multiple_of(SECTOR)
            || part.address + part.size > SIZE
        {
            refuse!(
                "system_partition_table_regist: the part at {:x}",
                part.address
            );
        }
        end = part.address + part.size;
    }
    map == MAP
}
