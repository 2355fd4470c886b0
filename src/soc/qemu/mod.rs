//! The emulated lx106: QEMU's machine lx60-nommu.
//!
//! Telegrams come through its UART, messages leave through its network card.
#![allow(unsafe_code)] // Registers and interrupts.

pub mod console;
pub mod ethernet;
pub mod flash;
mod latency;
mod mac;
mod run;
mod time;
pub mod uart;
pub mod words;

/// What this board can do, by its file.
mod limits {
    include!(concat!(env!("OUT_DIR"), "/limits.rs"));
}

use core::panic::PanicInfo;

use embassy_executor::Spawner;
use ufmt::uwriteln;
use xtensa_lx::{interrupt, semihosting};
use xtensa_lx_rt::exception::Context;

use self::console::Console;
use super::lx106::{executor, stack};

/// Status with which the emulator ends after a panic.
const PANICKED: u8 = 2;
/// Status with which the emulator ends after a fault.
const FAULTED: u8 = 3;
/// Status with which the emulator ends when a word on its command line cannot be used.
const UNUSABLE: u8 = 4;
/// Status with which the emulator ends when the input has and not everything could be published.
const UNPUBLISHED: u8 = 5;
/// Status with which the emulator ends when it is to be started again.
const RESTART: u8 = 6;

/// `_start` in xtensa-lx-rt comes here with memory and stack in order.
#[unsafe(export_name = "main")]
extern "C" fn start() -> ! {
    stack::paint();
    time::start();
    executor::run(|spawner: Spawner| {
        if run::start(&spawner).is_err() {
            unreachable!("each task is spawned once");
        }
        run::started(stack::high_water());
        stack::paint();
    })
}

/// All interrupts of the core come here; `asm/vectors.S` of xtensa-lx-rt saves what is to be saved.
#[unsafe(no_mangle)]
extern "C" fn __level_1_interrupt(_level: u32, _frame: &Context) {
    let raised = interrupt::get() & interrupt::get_mask();
    if raised & time::INTERRUPT != 0 {
        time::on_interrupt();
    }
    if raised & uart::INTERRUPT != 0 {
        uart::on_interrupt();
    }
    if raised & mac::INTERRUPT != 0 {
        ethernet::on_interrupt();
    }
}

#[unsafe(no_mangle)]
extern "C" fn __fault_end() -> ! {
    semihosting::exit(FAULTED)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    if let Some(place) = info.location() {
        let _ = uwriteln!(Console, "Panic at {}:{}", place.file(), place.line());
    }
    semihosting::exit(PANICKED)
}
