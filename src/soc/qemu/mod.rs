//! The emulated lx106: QEMU's machine lx60-nommu.
//!
//! The image reads telegrams from the UART and says on the console what became of each.
#![allow(unsafe_code)] // Registers and interrupts.

pub mod console;
mod time;
pub mod uart;

use core::panic::PanicInfo;

use embassy_executor::Spawner;
use embassy_time::{Duration, with_timeout};
use ufmt::uwriteln;
use xtensa_lx::{interrupt, semihosting};
use xtensa_lx_rt::exception::Context;

use self::{console::Console, uart::Uart};
use super::lx106::executor;
use crate::{
    p1::port::Port,
    reading::{Reading, Skip},
    receiver::{CrcPolicy, Proof, Receiver, Refusal},
};

/// After so long without a byte a begun telegram will not go on.
const SILENCE: Duration = Duration::from_secs(1);

/// Status with which the emulator ends after a panic.
const PANICKED: u8 = 2;
/// Status with which the emulator ends after a fault.
const FAULTED: u8 = 3;

/// `_start` in xtensa-lx-rt comes here with memory and stack in order.
#[unsafe(export_name = "main")]
extern "C" fn start() -> ! {
    time::start();
    let uart = Uart::start();
    executor::run(|spawner: Spawner| match receive(uart) {
        Ok(task) => spawner.spawn(task),
        Err(_) => unreachable!("the task is spawned once"),
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

#[embassy_executor::task]
async fn receive(mut uart: Uart) {
    let mut staged = Reading::new();
    let mut receiver = Receiver::new(CrcPolicy::Auto, &mut staged);
    let mut buffer = [0; 256];
    let mut skipped = |_: &[u8], _: Skip| {};
    let _ = uwriteln!(Console, "Ready");
    uart.request(true);
    loop {
        match with_timeout(SILENCE, uart.read(&mut buffer)).await {
            Ok(Ok(count)) => {
                let mut input = &buffer[..count];
                while let Some(verdict) = receiver.next(&mut input, &mut skipped) {
                    tell(verdict, receiver.reading());
                }
            }
            Ok(Err(never)) => match never {},
            Err(_silent) => {
                while let Some(verdict) = receiver.silence(&mut skipped) {
                    tell(verdict, receiver.reading());
                }
            }
        }
    }
}

fn tell(verdict: Result<Proof, Refusal>, reading: &Reading) {
    let _ = match verdict {
        Ok(_) => uwriteln!(Console, "accepted {}", reading.len()),
        Err(refusal) => uwriteln!(Console, "refused {} {}", refusal.name(), refusal.bytes()),
    };
}
