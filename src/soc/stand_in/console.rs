//! The console's end of UART0, and the lines of the stand-in's own: the emulator's standard input and output.

use core::convert::Infallible;

use ufmt::uWrite;
use xtensa_lx::semihosting::{self, STDIN, STDOUT};

use super::Own;

/// Bytes of a line; a longer one is shown in parts.
const LINE: usize = 2048;
/// Bytes that somebody typed ahead.
const AHEAD: usize = 2048;

struct Console {
    line: [u8; LINE],
    length: usize,
    /// The line goes to a pin that no terminal is at.
    is_elsewhere: bool,
    typed: [u8; AHEAD],
    taken: usize,
    count: usize,
    has_ended: bool,
}

#[unsafe(link_section = ".stand_in.console")]
static CONSOLE: Own<Console> = Own::new(Console {
    line: [0; LINE],
    length: 0,
    is_elsewhere: false,
    typed: [0; AHEAD],
    taken: 0,
    count: 0,
    has_ended: false,
});

fn show(bytes: &[u8]) {
    // There is nobody to tell that it is gone.
    let _ = semihosting::write(STDOUT, bytes);
}

/// Takes a byte that UART0 sends. It is shown with the rest of its line, so that the stand-in's lines come between; and with the name of
/// its pin when that is GPIO15.
pub fn put(byte: u8, is_elsewhere: bool) {
    CONSOLE.with(|console| {
        if console.is_elsewhere != is_elsewhere {
            if console.length > 0 {
                put_end(console);
            }
            console.is_elsewhere = is_elsewhere;
        }
        if byte == b'\r' {
            return;
        }
        if let Some(place) = console.line.get_mut(console.length) {
            *place = byte;
            console.length += 1;
        }
        if byte == b'\n' || console.length == LINE {
            console.flush();
        }
    });
}

impl Console {
    fn flush(&mut self) {
        if self.is_elsewhere {
            show(b"stand-in: GPIO15: ");
        }
        show(self.line.get(..self.length).unwrap_or_default());
        self.length = 0;
    }
}

/// Shows what there is of a line.
pub fn flush() {
    CONSOLE.with(|console| {
        if console.length > 0 {
            put_end(console);
        }
    });
}

fn put_end(console: &mut Console) {
    console.flush();
    show(b"\n");
}

/// Looks whether somebody has typed.
pub fn look() {
    CONSOLE.with(|console| {
        if console.taken < console.count || console.has_ended {
            return;
        }
        (console.taken, console.count) = (0, 0);
        if semihosting::is_readable(STDIN) != Ok(true) {
            return;
        }
        console.count = semihosting::read(STDIN, &mut console.typed).unwrap_or(0);
        console.has_ended = console.count == 0;
    });
}

/// The next byte that was typed.
pub fn take() -> Option<u8> {
    CONSOLE.with(|console| {
        let byte = *console
            .typed
            .get(console.taken)
            .filter(|_| console.taken < console.count)?;
        console.taken += 1;
        Some(byte)
    })
}

/// What the stand-in says, in lines that begin with its name.
pub struct Lines;

#[unsafe(link_section = ".stand_in.is_within_line")]
static IS_WITHIN_LINE: Own<bool> = Own::new(false);

impl uWrite for Lines {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        if !IS_WITHIN_LINE.with(|is_within| core::mem::replace(is_within, true)) {
            show(b"stand-in: ");
        }
        show(text.as_bytes());
        if text.ends_with('\n') {
            IS_WITHIN_LINE.with(|is_within| *is_within = false);
        }
        Ok(())
    }
}
