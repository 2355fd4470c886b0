//! The board's UART0 and outputs.

use core::{cell::UnsafeCell, ffi::c_void};

use embassy_time::Instant;

use super::{
    board::{LED_ON_IS_HIGH, Led, REQUEST_ON_IS_HIGH, Request, WIRING},
    pins::Start,
    registers::Mapped,
    uart::{self, Uart0},
};
use crate::soc::ram::RING;

/// The UARTs' number among the core's interrupts; UART1 lets none out.
pub const INTERRUPT: u32 = 5;

/// The P1 port.
pub type P1 = uart::P1<'static, Mapped, RING>;
/// The console.
pub type Console = uart::Console<'static, Mapped, RING>;
/// Where events are told.
pub type Log = uart::Log<'static, Mapped, RING>;

struct OneCore<T>(T);

// SAFETY: one core, one executor; what the handler shares with the tasks is taken care of in `uart`.
unsafe impl<T> Sync for OneCore<T> {}

static UART0: OneCore<Uart0<Mapped, RING>> = OneCore(Uart0::new(Mapped, WIRING));

/// What the handler calls when something came.
static PEND: OneCore<UnsafeCell<Option<extern "C" fn()>>> = OneCore(UnsafeCell::new(None));

/// The board's UART0.
pub fn uart0() -> &'static Uart0<Mapped, RING> {
    &UART0.0
}

/// Data Request and LED, released and dark.
///
/// # Safety
/// Once, before anybody else uses GPIOs.
pub unsafe fn outputs() -> (Request, Led) {
    // SAFETY: the board's file has each pin once.
    unsafe {
        (
            Request::start(REQUEST_ON_IS_HIGH),
            Led::start(LED_ON_IS_HIGH),
        )
    }
}

/// Starts UART0. `pend` is called by the handler: it has the executor look soon, which then calls [`Uart0::turn`], and lies in IRAM with
/// all that it calls and reads.
///
/// # Safety
/// Once, before [`on_interrupt`] is attached.
pub unsafe fn start(pend: extern "C" fn()) {
    // SAFETY: nobody reads it yet.
    unsafe { *PEND.0.get() = Some(pend) };
    UART0.0.start(Instant::now());
}

/// The UARTs' handler, for `ets_isr_attach(INTERRUPT, on_interrupt, null)`.
// The name lets `link.x` put the literals, `.iram.text.uart0.literal`, before it.
#[unsafe(link_section = ".iram.text.uart0")]
pub extern "C" fn on_interrupt(_argument: *mut c_void) {
    // SAFETY: the core takes no other interrupt of this level before this one ends.
    unsafe { UART0.0.on_interrupt() };
    // SAFETY: written once, before this is attached.
    if let Some(pend) = unsafe { *PEND.0.get() } {
        pend();
    }
}
