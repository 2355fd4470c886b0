//! What the radio is told about the module it is on: 128 bytes that the vendor's tools write into a sector of their own.
//!
//! Here they are part of the image, so that a module with an erased flash starts. The vendor's start-up reads them, and resets the
//! chip when the first byte is not 5, before it hands them to `register_chipv6_phy`; so it is the reading that passes through here.
//! Fields: "ESP8266 Phy Init Bin Parameter Configuration Guide", Espressif; values: the vendor's own for a module with a 26 MHz
//! crystal.

use core::{ffi::c_int, ptr};

use super::{map, sdk};

const LENGTH: usize = 128;

/// Where the vendor's libraries look for the data: the second of their sectors.
pub const PHY_DATA: u32 = map::VENDOR.start + 4096;

/// Words, since it lies in flash and is copied before all is in order.
#[repr(C, align(4))]
struct InitData([u8; LENGTH]);

static INIT_DATA: InitData = InitData(init_data());

const fn init_data() -> [u8; LENGTH] {
    let mut data = [0; LENGTH];
    // The format's number; what follows up to 25 is the vendor's, without a description.
    put(&mut data, 0, &[5]);
    put(
        &mut data,
        1,
        &[8, 4, 2, 5, 5, 5, 2, 5, 0, 4, 5, 5, 4, 5, 5, 4],
    );
    put(&mut data, 17, &[0xFE, 0xFD, 0xFF]); // -2, -3, -1
    put(&mut data, 20, &[0xF0, 0xF0, 0xF0]); // -16
    put(&mut data, 23, &[0xE0, 0xE0, 0xE0]); // -32
    // The crystal's harmonic that disturbs: 225 / 10 MHz.
    put(&mut data, 26, &[225, 10]);
    // It is avoided on every channel: a bit each.
    put(&mut data, 28, &[0xFF, 0xFF]);
    // The vendor's, without a description.
    put(&mut data, 30, &[0xF8, 0x00, 0xF8, 0xF8]);
    // Six steps of power in quarters of dBm: 19.5, 18.5, 17.5, 16, 15 and 14 dBm.
    put(&mut data, 34, &[78, 74, 70, 64, 60, 56]);
    // Which of those steps each rate from MCS0 to MCS7 takes.
    put(&mut data, 40, &[0, 0, 1, 1, 2, 3, 4, 5]);
    // The crystal: 26 MHz (0 is 40 MHz, 2 is 24 MHz).
    put(&mut data, 48, &[1]);
    // 49: the vendor's. 50: SDIO as the pins say. 51 and 52: no Bluetooth beside it. 53: one antenna.
    put(&mut data, 49, &[0, 0, 0, 0, 0]);
    // The vendor's.
    put(&mut data, 54, &[2]);
    // The crystal is off during sleep; nobody shares it.
    put(&mut data, 55, &[0]);
    // A second disturbing harmonic: 225 / 10 MHz, on no channel; no third and fourth.
    put(&mut data, 64, &[225, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
    // The vendor's.
    put(&mut data, 74, &[1, 0x93, 0x43, 0x00]);
    // No low-power mode, and nothing attenuated for it.
    put(&mut data, 93, &[0, 0, 0]);
    // 802.11b sends with the power of MCS0.
    put(&mut data, 96, &[0, 0, 0]);
    // The amplifier's supply in tenths of a volt; 255 would have the chip measure it.
    put(&mut data, 107, &[33]);
    // Calibrated as often as 114 says.
    put(&mut data, 108, &[0]);
    // No correction of the frequency, and no fixed one (in 8 kHz).
    put(&mut data, 112, &[0, 0]);
    // At start only the power is calibrated; the rest is taken from the calibration in flash, which the libraries make and keep
    // when there is none.
    put(&mut data, 114, &[1]);
    data
}

const fn put(data: &mut [u8; LENGTH], at: usize, bytes: &[u8]) {
    let mut index = 0;
    while index < bytes.len() {
        data[at + index] = bytes[index];
        index += 1;
    }
}

/// Reads flash for the vendor's libraries, and has the radio's data where they look for it.
///
/// # Safety
/// `to` has room for `size` bytes.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".iram.spi_flash_read")]
unsafe extern "C" fn __wrap_spi_flash_read(from: u32, to: *mut u32, size: u32) -> c_int {
    if from == PHY_DATA && size as usize == LENGTH {
        // SAFETY: the caller's promise; a constant and RAM do not overlap.
        unsafe { ptr::copy_nonoverlapping(INIT_DATA.0.as_ptr().cast(), to, LENGTH / 4) };
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe { sdk::spi_flash_read(from, to, size) }
}
