//! The ESP8266's receiver, pins and LED, on a model of its registers: the very code of the chip, compiled for a PC.
//!
//! No chip has run it. What the model has of the chip is in `chip.rs`, and that the published descriptions of the registers say the same
//! in `descriptions.rs`.

#[path = "../../build/board.rs"]
#[allow(dead_code)] // What is generated is tried in tests/boards.rs.
mod board;
mod boards;
mod chip;
mod descriptions;
mod led;
mod receiver;
mod share;

use std::cell::RefCell;

use chip::{Chip, Signal};
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer};
use metertrekker::{
    p1::port::Port,
    soc::{
        esp8266::{
            output::Output,
            uart::{Uart0, Wiring},
        },
        host::executor::block_on_virtual,
    },
};

/// DSMR 4 as a meter sends it, before any inverter.
const DSMR4: Signal = Signal {
    baud: 115_200,
    seven_even: false,
    inverted: true,
};
const DSMR2: Signal = Signal {
    baud: 9_600,
    seven_even: true,
    inverted: true,
};
const TERMINAL: Signal = Signal {
    baud: 115_200,
    seven_even: false,
    inverted: false,
};

/// What was done to a pin, by the millisecond.
#[derive(Default)]
struct Pin(RefCell<Vec<(u64, bool)>>);

impl Output for &Pin {
    fn set(&mut self, is_on: bool) {
        let mut done = self.0.borrow_mut();
        if done.last().is_none_or(|(_, was_on)| *was_on != is_on) {
            done.push((Instant::now().as_millis(), is_on));
        }
    }
}

type TheUart<'c> = Uart0<&'c Chip, 1024>;

/// A chip, what runs on it, and the lines at its pins.
struct Bench<'c> {
    chip: &'c Chip,
    uart: TheUart<'c>,
    request: Pin,
}

impl Bench<'_> {
    /// Runs `script` in virtual time that begins at the chip's reset.
    fn run(wiring: Wiring, script: impl AsyncFnOnce(&Bench<'_>)) {
        let chip = Chip::new();
        let bench = Bench {
            chip: &chip,
            uart: Uart0::new(&chip, wiring),
            request: Pin::default(),
        };
        block_on_virtual(async {
            bench.uart.start(Instant::now());
            let mut request = &bench.request;
            let kept = bench.uart.keep(&mut request);
            match select(kept, script(&bench)).await {
                Either::First(never) => match never {},
                Either::Second(()) => {}
            }
        });
    }

    /// As the core does, while the UART's interrupts are let through.
    fn interrupt(&self) {
        if self.chip.interrupts() {
            // SAFETY: nobody else has the receiver.
            #[allow(unsafe_code)]
            unsafe {
                self.uart.on_interrupt();
            }
        }
        assert!(!self.chip.interrupts(), "the handler quiets the UART");
        self.uart.turn();
    }

    /// Bytes come at a pin, with the interrupts let through and then silence.
    fn hear(&self, gpio: u8, signal: Signal, bytes: &[u8]) {
        for byte in bytes {
            self.chip.hear(gpio, signal, *byte);
            self.interrupt();
        }
        self.chip.fall_silent();
        self.interrupt();
    }

    /// What the meter task gets within `time`.
    async fn p1(&self, time: Duration) -> Vec<u8> {
        let mut port = self.uart.p1();
        let mut all = Vec::new();
        let mut buffer = [0; 300];
        loop {
            match select(port.read(&mut buffer), Timer::after(time)).await {
                Either::First(Ok(count)) => all.extend_from_slice(&buffer[..count]),
                Either::First(Err(never)) => match never {},
                Either::Second(()) => return all,
            }
        }
    }

    /// What is typed, within `time`.
    async fn console(&self, time: Duration) -> Vec<u8> {
        let mut console = self.uart.console();
        let mut all = Vec::new();
        let mut buffer = [0; 300];
        loop {
            let read = embedded_io_async::Read::read(&mut console, &mut buffer);
            match select(read, Timer::after(time)).await {
                Either::First(Ok(count)) => all.extend_from_slice(&buffer[..count]),
                Either::First(Err(never)) => match never {},
                Either::Second(()) => return all,
            }
        }
    }
}

/// A moment: what was started does what it has to.
async fn moment() {
    Timer::after(Duration::from_millis(20)).await;
}

async fn at(seconds: u64) {
    Timer::at(Instant::from_secs(seconds)).await;
    moment().await;
}
