//! From reset to the ROM's loop, in the order of libmain; and the end of the emulator.

use core::ffi::c_int;

use xtensa_lx::semihosting;

use super::{
    Own, console, flash, frames, heap, interrupts, misuse, refuse, rtc, tasks, tick, timers, uart,
    wifi, words,
};

/// Where libmain reads what the radio is told: the second of its sectors.
const PHY_DATA: u32 = 0x3f_c000;
const PHY_WORDS: usize = 32;
const PHY_FORMAT: u32 = 5;

/// Where the emulator answers loads as a chip answers them in flash.
const MIRROR: usize = 1 << 31;

unsafe extern "C" {
    safe fn user_pre_init();
    safe fn user_init();
    // As the linker gives it to libmain.
    fn __wrap_spi_flash_read(from: u32, to: *mut u32, size: u32) -> c_int;
}

#[unsafe(link_section = ".stand_in.done")]
static DONE: Own<Option<extern "C" fn()>> = Own::new(None);

/// From the assembly of libmain.S, with vectors, a stack, and `.bss` cleared.
#[unsafe(no_mangle)]
extern "C" fn stand_in_start() -> ! {
    words::read();
    flash::start();
    rtc::start();
    heap::start();
    interrupts::start();
    tick::start();
    timers::start();
    uart::start();
    frames::start();
    // As libmain before it calls anybody.
    unmask();
    user_pre_init();
    try_narrow_loads();
    read_phy_data();
    user_init();
    wifi::start();
    if let Some(done) = DONE.with(|done| *done) {
        done();
    }
    wifi::started();
    misuse::at_start();
    tasks::run()
}

fn unmask() {
    const OPEN: u32 = 0x20;
    // SAFETY: all handlers are there.
    unsafe { xtensa_lx::interrupt::restore(OPEN) };
}

/// Bytes and halfwords are read from constants as a chip would have them read: by the handler that the glue has entered.
fn try_narrow_loads() {
    static CONSTANT: [u32; 2] = [0x24_93_82_11, 0xb8_47_36_a5];
    let mirrored = (CONSTANT.as_ptr() as usize | MIRROR) as *const u8;
    // SAFETY: the vectors make loads from flash of these.
    let right = unsafe {
        mirrored.add(1).read_volatile() == 0x82
            && mirrored.add(7).read_volatile() == 0xb8
            && mirrored.add(6).cast::<u16>().read_volatile() == 0xb847
            && mirrored.add(2).cast::<i16>().read_volatile() == 0x2493
    };
    if !right {
        refuse!("narrow loads from flash give something else");
    }
}

/// As libmain, which resets the chip when it is not what it should be.
fn read_phy_data() {
    let mut data = [0u32; PHY_WORDS];
    // SAFETY: there is room for it.
    let result =
        unsafe { __wrap_spi_flash_read(PHY_DATA, data.as_mut_ptr(), 4 * PHY_WORDS as u32) };
    let [first, ..] = data;
    if result != 0 || first & 0xff != PHY_FORMAT {
        refuse!(
            "the radio's data begins with {:x}: libmain would reset",
            first
        );
    }
}

#[unsafe(no_mangle)]
extern "C" fn system_init_done_cb(done: extern "C" fn()) {
    DONE.with(|place| *place = Some(done));
}

#[unsafe(no_mangle)]
extern "C" fn system_set_os_print(_on: u8) {}

#[unsafe(no_mangle)]
extern "C" fn os_random() -> u32 {
    #[unsafe(link_section = ".stand_in.random")]
    static STATE: Own<u32> = Own::new(0x2545_f491);
    STATE.with(|state| {
        *state ^= xtensa_lx::timer::get_cycle_count();
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        *state
    })
}

/// Ends the emulator, after a last line of counters.
pub fn leave(status: u8) -> ! {
    console::flush();
    tick::report();
    semihosting::exit(status)
}
