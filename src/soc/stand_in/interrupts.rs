//! The core's interrupts, and the ROM's tables of handlers.

use core::{
    ffi::{c_int, c_void},
    sync::atomic::{AtomicU32, Ordering},
};

use xtensa_lx::interrupt;

use super::{Own, frames, mac, refuse, rtc, status, tick, uart};
use crate::soc::esp8266::sdk::Handler;

/// CCOMPARE0's.
pub const TICK: u32 = 1 << 6;
/// One that software raises: for UART0's, which the emulator does not have.
const UART0: u32 = 1 << 7;

/// The chip's number of the UARTs' interrupt.
const UART_NUMBER: u32 = 5;

/// The ROM's tables: in assembly, and in C.
const HANDLERS: *mut usize = 0x3fff_c000 as *mut usize;
const C_HANDLERS: *mut Handler = 0x3fff_c100 as *mut Handler;
const CAUSES: usize = 64;
const INTERRUPT: usize = 4;

/// The causes for which libmain has a handler; narrow loads are another's.
const FAULTS: [c_int; 7] = [0, 2, 3, 8, 9, 28, 29];

/// How deep handlers may interrupt each other before something is wrong.
const DEEPEST: u32 = 8;
/// How often the UART's handler may be called in a row.
const MADNESS: u32 = 1000;

type OnInterrupt = extern "C" fn(*mut c_void);

struct Attached {
    handler: Option<OnInterrupt>,
    argument: *mut c_void,
    is_let_in: bool,
}

#[unsafe(link_section = ".stand_in.attached")]
static ATTACHED: Own<Attached> = Own::new(Attached {
    handler: None,
    argument: core::ptr::null_mut(),
    is_let_in: false,
});

#[unsafe(link_section = ".stand_in.depth")]
static DEPTH: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" {
    fn stand_in_level_1();
    fn _xtos_c_wrapper_handler();
}

/// Whether an interrupt is being handled.
pub fn is_within() -> bool {
    DEPTH.load(Ordering::Relaxed) > 0
}

/// Fills the ROM's tables as they are once libmain has entered its handlers.
pub fn start() {
    for cause in 0..CAUSES {
        // SAFETY: the table's memory.
        unsafe {
            HANDLERS
                .add(cause)
                .write_volatile(_xtos_c_wrapper_handler as *const () as usize);
            C_HANDLERS.add(cause).write_volatile(Some(unhandled));
        }
    }
    // SAFETY: as above.
    unsafe {
        HANDLERS
            .add(INTERRUPT)
            .write_volatile(stand_in_level_1 as *const () as usize);
    }
    for cause in FAULTS {
        // SAFETY: they do not return.
        unsafe { _xtos_set_exception_handler(cause, Some(fault)) };
    }
    let_in(UART0);
}

/// Lets an interrupt of the core's in.
pub fn let_in(mask: u32) {
    // SAFETY: the handler below quiets it.
    unsafe { interrupt::enable_mask(mask) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn _xtos_set_exception_handler(cause: c_int, handler: Handler) -> Handler {
    let Some(index) = usize::try_from(cause).ok().filter(|cause| *cause < CAUSES) else {
        refuse!("an exception handler for cause {}", cause);
    };
    // SAFETY: the tables' memory.
    unsafe {
        let before = C_HANDLERS.add(index).read_volatile();
        C_HANDLERS.add(index).write_volatile(handler);
        HANDLERS
            .add(index)
            .write_volatile(_xtos_c_wrapper_handler as *const () as usize);
        before
    }
}

/// What the wrapper has stored, as far as it is looked at.
#[repr(C)]
struct Frame {
    pc: u32,
    others: [u32; 19],
    address: u32,
}

/// libmain's handler of faults.
unsafe extern "C" fn fault(frame: *mut c_void, cause: c_int) {
    // SAFETY: the wrapper's.
    let (pc, address) = unsafe {
        let frame = frame.cast::<Frame>();
        ((*frame).pc, (*frame).address)
    };
    rtc::reset_by_exception(cause as u32, pc, address)
}

/// A cause that nobody has entered a handler for: the ROM would stop there.
unsafe extern "C" fn unhandled(frame: *mut c_void, cause: c_int) {
    // SAFETY: as above.
    let pc = unsafe { (*frame.cast::<Frame>()).pc };
    refuse!("cause {} at {:x} has no handler", cause, pc)
}

/// From the vectors where the chip would stop.
#[unsafe(no_mangle)]
extern "C" fn stand_in_stop(cause: u32, depc: u32, epc1: u32) -> ! {
    super::say!(
        "double exception: cause {} at {:x}, while at {:x}",
        cause,
        depc,
        epc1
    );
    super::start::leave(status::STOPPED)
}

#[unsafe(no_mangle)]
extern "C" fn ets_isr_attach(number: u32, handler: OnInterrupt, argument: *mut c_void) {
    if number != UART_NUMBER {
        refuse!("ets_isr_attach: the stand-in has no interrupt {}", number);
    }
    ATTACHED.with(|attached| {
        attached.handler = Some(handler);
        attached.argument = argument;
    });
}

#[unsafe(no_mangle)]
extern "C" fn ets_isr_unmask(mask: u32) {
    if mask != 1 << UART_NUMBER {
        refuse!("ets_isr_unmask: {:x}", mask);
    }
    ATTACHED.with(|attached| attached.is_let_in = true);
    raise();
}

/// UART0 may have something to say.
pub fn raise() {
    // SAFETY: it is let in with its handler only.
    unsafe { interrupt::set(UART0) };
}

/// From the ROM's handler for interrupts: all of the core's come here, masked.
#[unsafe(no_mangle)]
unsafe extern "C" fn stand_in_interrupt(frame: *const Frame) {
    let depth = DEPTH.load(Ordering::Relaxed) + 1;
    DEPTH.store(depth, Ordering::Relaxed);
    if depth > DEEPEST {
        refuse!("handlers of interrupts interrupt each other without end");
    }
    let raised = interrupt::get() & interrupt::get_mask();
    if raised & TICK != 0 {
        // SAFETY: the handler's.
        tick::on_interrupt(unsafe { (*frame).pc });
    }
    if raised & mac::INTERRUPT != 0 {
        frames::on_interrupt();
    }
    if raised & UART0 != 0 {
        // SAFETY: what raised it is looked at below.
        unsafe { interrupt::clear(UART0) };
        serve_uart();
    }
    // A handler may have let interrupts in; what follows is the return.
    interrupt::mask();
    DEPTH.store(depth - 1, Ordering::Relaxed);
}

fn serve_uart() {
    let attached = ATTACHED.with(|attached| {
        let handler = attached.handler.filter(|_| attached.is_let_in);
        handler.map(|handler| (handler, attached.argument))
    });
    let Some((handler, argument)) = attached else {
        return;
    };
    let mut calls = 0;
    while uart::is_raised() {
        handler(argument);
        calls += 1;
        if calls > MADNESS {
            refuse!("the UART's handler does not quiet its interrupt");
        }
    }
}
