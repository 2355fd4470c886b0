//! The 16550 UART as a P1 port: received by interrupt into a ring.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::Poll;

use critical_section::Mutex;
use embassy_sync::waitqueue::WakerRegistration;
use heapless::Deque;
use xtensa_lx::interrupt;

use super::latency;
use crate::p1::port::{Format, LineErrors, LineSettings, Port};
use crate::soc::ram::RING;

/// The UART's interrupt: the first of the core's external ones.
pub(super) const INTERRUPT: u32 = 1 << 0;

/// Registers of the PC16550D, four bytes apart on this machine (National Semiconductor data sheet, 1995, table II).
mod register {
    const BASE: usize = 0x9d05_0020;

    /// Receiver buffer; divisor's low byte while `LCR` bit 7 is set.
    pub const RBR: usize = BASE;
    /// Interrupt enable; divisor's high byte while `LCR` bit 7 is set.
    pub const IER: usize = BASE + 4;
    /// FIFO control.
    pub const FCR: usize = BASE + 8;
    /// Line control.
    pub const LCR: usize = BASE + 12;
    /// Modem control.
    pub const MCR: usize = BASE + 16;
    /// Line status.
    pub const LSR: usize = BASE + 20;
}

/// IER: data has come.
const RECEIVED: u32 = 1 << 0;
/// FCR: FIFOs on and empty, an interrupt at 8 of 16 bytes or after four characters' silence.
const FIFO: u32 = 0b1000_0111;
/// LCR: reach the divisor.
const DIVISOR: u32 = 1 << 7;
const EIGHT_NONE: u32 = 0b11;
const SEVEN_EVEN: u32 = 0b1_1010;
/// MCR: the outputs DTR and RTS, which ask for telegrams, and the one that lets interrupts out.
const REQUEST: u32 = 0b11;
const INTERRUPTS_OUT: u32 = 1 << 3;
const DATA_READY: u32 = 1 << 0;
const OVERRUN: u32 = 1 << 1;
const PARITY: u32 = 1 << 2;
const FRAMING: u32 = 1 << 3;

/// Baud rate of divisor 1.
const BAUD_BASE: u32 = 115_200;

fn read(register: usize) -> u32 {
    // SAFETY: a register of the UART, see above.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: a register of the UART; none of them makes it touch memory.
    unsafe { (register as *mut u32).write_volatile(value) }
}

struct Received {
    ring: Deque<u8, RING>,
    errors: LineErrors,
    reader: WakerRegistration,
    ended: bool,
}

static RECEIVED_BYTES: Mutex<RefCell<Received>> = Mutex::new(RefCell::new(Received {
    ring: Deque::new(),
    errors: LineErrors {
        overrun: 0,
        framing: 0,
        parity: 0,
    },
    reader: WakerRegistration::new(),
    ended: false,
}));

/// Handles the UART's interrupt; emptying the FIFO quiets it. When the ring is full the rest stays in
/// the FIFO, where a line in real time runs over, which is counted, and an emulated one waits.
pub(super) fn on_interrupt() {
    critical_section::with(|cs| {
        let mut received = RECEIVED_BYTES.borrow_ref_mut(cs);
        loop {
            if received.ring.is_full() {
                write(register::IER, 0);
                break;
            }
            let status = read(register::LSR);
            received.errors.overrun += u32::from(status & OVERRUN != 0);
            received.errors.parity += u32::from(status & PARITY != 0);
            received.errors.framing += u32::from(status & FRAMING != 0);
            if status & DATA_READY == 0 {
                break;
            }
            // There is room, see above.
            let _ = received.ring.push_back(read(register::RBR) as u8);
        }
        received.reader.wake();
    });
}

/// Whether there is nothing to fetch.
pub(super) fn is_empty() -> bool {
    critical_section::with(|cs| RECEIVED_BYTES.borrow_ref(cs).ring.is_empty())
}

/// Nothing more will come: who reads is told so.
pub(super) fn end() {
    critical_section::with(|cs| {
        let mut received = RECEIVED_BYTES.borrow_ref_mut(cs);
        received.ended = true;
        received.reader.wake();
    });
}

/// The port. There is one UART: make one.
pub struct Uart {
    waits: bool,
}

impl Uart {
    /// Switches the receiver on, at DSMR 4's line settings.
    pub(super) fn start() -> Self {
        let mut uart = Self { waits: false };
        uart.set_line(LineSettings::DSMR4);
        write(register::FCR, FIFO);
        write(register::MCR, INTERRUPTS_OUT);
        write(register::IER, RECEIVED);
        // SAFETY: the handler above quiets it.
        unsafe { interrupt::enable_mask(INTERRUPT) };
        uart
    }

    /// Whether the far end is a recording, which takes its time: an emulated line holds back what
    /// nobody has fetched.
    pub(super) fn wait_for_reader(&mut self, waits: bool) {
        self.waits = waits;
    }
}

impl Port for Uart {
    type Error = Infallible;

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| {
            critical_section::with(|cs| {
                let mut received = RECEIVED_BYTES.borrow_ref_mut(cs);
                let mut count = 0;
                for place in buffer.iter_mut() {
                    let Some(byte) = received.ring.pop_front() else {
                        break;
                    };
                    *place = byte;
                    count += 1;
                }
                if count == 0 && !buffer.is_empty() && !received.ended {
                    received.reader.register(context.waker());
                    return Poll::Pending;
                }
                write(register::IER, RECEIVED);
                latency::fetched();
                Poll::Ready(Ok(count))
            })
        })
        .await
    }

    fn set_line(&mut self, line: LineSettings) {
        let format = match line.format {
            Format::EightNone => EIGHT_NONE,
            Format::SevenEven => SEVEN_EVEN,
        };
        let divisor = BAUD_BASE / line.baud.clamp(2, BAUD_BASE);
        critical_section::with(|_| {
            write(register::LCR, DIVISOR | format);
            write(register::RBR, divisor & 0xff);
            write(register::IER, divisor >> 8);
            // The wire between emulator and PC is not inverted.
            write(register::LCR, format);
        });
    }

    fn request(&mut self, asserted: bool) {
        let outputs = if asserted { REQUEST } else { 0 };
        write(register::MCR, INTERRUPTS_OUT | outputs);
    }

    fn waits(&self) -> bool {
        self.waits
    }

    fn line_errors(&self) -> LineErrors {
        critical_section::with(|cs| RECEIVED_BYTES.borrow_ref(cs).errors)
    }
}
