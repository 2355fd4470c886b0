//! The registers of UART0, which the emulator has no memory for: those of other things in the chip are words of its plain memory.
//!
//! Two send to it: the meter, inverted, whose bytes come from QEMU's UART as fast as its line would carry them and while Data Request
//! asks for them; and whoever types at the console, as it is. The console is at GPIO3 and GPIO1, the meter at the board's pin for it:
//! which of them the receiver is connected to, and whether it hears anybody, is up to the swap and the pins' functions. A receiver that is
//! set to something else than what comes gets damaged characters.
//!
//! Registers: ESP8266 Technical Reference, chapter 11; those of QEMU's UART: PC16550D data sheet.

use super::{Own, console, interrupts, refuse, tasks, tick, words::words};
use crate::soc::esp8266::{
    board::{REQUEST_ON_IS_HIGH, WIRING},
    registers::{
        pin,
        uart::{self as register, FIFO_BYTES, interrupt},
    },
};
use xtensa_lx::timer;

const WORDS: usize = 16;
const INT_RAW: u32 = register::FIFO + 4;

/// Bits of a character, and clocks that CLKDIV divides in a cycle of CCOUNT.
const BITS: u32 = 10;
const CLOCKS: u32 = register::CLOCK / tick::HZ;

/// Bytes of the meter's that have come from QEMU and are not on the line yet.
const AHEAD: usize = 4096;

/// A line that waits for who is later than this goes on from here, so that a busy PC does not slow it down.
const LATE: u32 = 8 * tick::HZ / 1000;

/// What parts what is said from what is said next: less than the glue waits for, since two clocks may differ.
const PAUSE_US: u64 = 4_000;

/// How long somebody has spoken at least, where it counts: what a busy PC has held up for a pause comes in one piece behind it.
const SPEECH_US: u64 = 5_000;

/// The GPIO that Data Request is at.
const REQUEST: u32 = 1 << 0;
const OUT_SET: u32 = pin::OUT_SET;
const OUT_CLEAR: u32 = pin::OUT_SET + 4;

/// QEMU's UART.
mod wire {
    const BASE: usize = 0x9d05_0020;
    const RBR: *mut u32 = BASE as *mut u32;
    const FCR: *mut u32 = (BASE + 8) as *mut u32;
    const LCR: *mut u32 = (BASE + 12) as *mut u32;
    const LSR: *mut u32 = (BASE + 20) as *mut u32;

    pub fn start() {
        // SAFETY: its registers.
        unsafe {
            LCR.write_volatile(0b11);
            FCR.write_volatile(0b111);
        }
    }

    pub fn take() -> Option<u8> {
        // SAFETY: its registers.
        unsafe { (LSR.read_volatile() & 1 != 0).then(|| RBR.read_volatile() as u8) }
    }
}

struct Line {
    /// When its next character is whole.
    at: u32,
}

impl Line {
    /// Whether a character of so many cycles is whole by now.
    fn is_whole(&self, cycles: u32, now: u32) -> bool {
        now.wrapping_sub(self.at) as i32 >= cycles as i32
    }
}

struct Uart {
    raw: u32,
    enabled: u32,
    divider: u32,
    conf0: u32,
    conf1: u32,
    swap: u32,
    received: [u8; FIFO_BYTES as usize],
    first: usize,
    count: usize,
    /// When the last byte came, while its silence has not been told.
    since: Option<u32>,
    unsent: u32,
    sent_at: u32,
    meter: Line,
    console: Line,
    ahead: [u8; AHEAD],
    ahead_first: usize,
    ahead_count: usize,
    is_asked: bool,
    /// When the last byte came, and the first that was followed without a pause.
    heard: u64,
    spoken: u64,
    /// What the meter sent last was understood.
    is_understood: bool,
    /// How often the first that was understood was within a telegram.
    joined: u32,
}

#[unsafe(link_section = ".stand_in.uart")]
static UART: Own<Uart> = Own::new(Uart {
    raw: 0,
    enabled: 0,
    divider: 1,
    conf0: 0,
    conf1: 0,
    swap: 0,
    received: [0; FIFO_BYTES as usize],
    first: 0,
    count: 0,
    since: None,
    unsent: 0,
    sent_at: 0,
    meter: Line { at: 0 },
    console: Line { at: 0 },
    ahead: [0; AHEAD],
    ahead_first: 0,
    ahead_count: 0,
    is_asked: false,
    heard: 0,
    spoken: 0,
    is_understood: false,
    joined: 0,
});

/// Switches QEMU's UART on.
pub fn start() {
    wire::start();
}

/// What the glue's registers are read by.
#[inline(never)]
pub fn read(address: u32) -> u32 {
    if address == register::STATUS {
        tasks::does(|work| work.looks += 1);
    }
    let now = timer::get_cycle_count();
    let value = UART.with(|uart| {
        uart.look_at_request();
        uart.read(address, now)
    });
    match value {
        Some(value) => value,
        // SAFETY: the emulator has plain memory there.
        None => unsafe { (address as *const u32).read_volatile() },
    }
}

/// What the glue's registers are written by.
#[inline(never)]
pub fn write(address: u32, value: u32) {
    let now = timer::get_cycle_count();
    let is_here = UART.with(|uart| uart.write(address, value, now));
    match is_here {
        // SAFETY: the emulator has plain memory there.
        false => unsafe { (address as *mut u32).write_volatile(value) },
        true if is_raised() => interrupts::raise(),
        true => {}
    }
}

/// Whether UART0 lets an interrupt out.
pub fn is_raised() -> bool {
    UART.with(|uart| uart.raw & uart.enabled != 0)
}

/// Whether somebody is in the middle of speaking to the receiver.
pub fn is_spoken_to() -> bool {
    UART.with(|uart| {
        let now = tick::now_us();
        now - uart.heard < PAUSE_US && now - uart.spoken >= SPEECH_US
    })
}

/// How often the receiver became the meter's within a telegram.
pub fn joined() -> u32 {
    UART.with(|uart| uart.joined)
}

/// Whether a pin has this function.
fn has(pin: u32, function: u32) -> bool {
    // SAFETY: the emulator has plain memory there.
    unsafe { (pin as *const u32).read_volatile() & pin::FUNCTION == function }
}

/// Each millisecond: what has come meanwhile.
pub fn tick(now: u32) {
    UART.with(|uart| {
        uart.look_at_request();
        uart.fetch();
        uart.receive(now);
        uart.drain(now);
        uart.look_at_silence(now);
    });
    if is_raised() {
        interrupts::raise();
    }
}

impl Uart {
    fn read(&mut self, address: u32, now: u32) -> Option<u32> {
        Some(match address {
            register::FIFO => self.take(),
            INT_RAW => self.raw,
            register::INT_ST => self.raw & self.enabled,
            register::INT_ENA => self.enabled,
            register::CLKDIV => self.divider,
            register::CONF0 => self.conf0,
            register::CONF1 => self.conf1,
            register::STATUS => {
                self.drain(now);
                self.count as u32 | self.unsent << 16
            }
            pin::SWAP => self.swap,
            _ if (register::FIFO..register::FIFO + 4 * WORDS as u32).contains(&address) => {
                refuse!("the glue reads UART0's register {:x}", address)
            }
            _ => return None,
        })
    }

    fn write(&mut self, address: u32, value: u32, now: u32) -> bool {
        match address {
            register::FIFO => self.send(value as u8, now),
            register::INT_ENA => self.enabled = value,
            register::INT_CLR => {
                self.raw &= !value;
                self.look_at_level();
            }
            register::CLKDIV => self.divider = value.max(1),
            register::CONF0 => {
                self.conf0 = value;
                if value & register::RESET_RECEIVER != 0 {
                    (self.first, self.count, self.since) = (0, 0, None);
                }
            }
            register::CONF1 => self.conf1 = value,
            pin::SWAP => self.swap = value,
            _ if (register::FIFO..register::FIFO + 4 * WORDS as u32).contains(&address) => {
                refuse!("the glue writes UART0's register {:x}", address)
            }
            _ => return false,
        }
        true
    }

    /// Cycles of a character at the receiver's speed.
    fn character(&self) -> u32 {
        (self.divider * BITS).div_ceil(CLOCKS)
    }

    fn take(&mut self) -> u32 {
        let Some(byte) = self.received.get(self.first).filter(|_| self.count > 0) else {
            refuse!("the glue reads a byte from UART0 that did not come");
        };
        let byte = *byte;
        self.first = (self.first + 1) % FIFO_BYTES as usize;
        self.count -= 1;
        byte.into()
    }

    fn put(&mut self, byte: u8, damage: u32, now: u32) {
        self.raw |= damage;
        self.speaks();
        if self.count == FIFO_BYTES as usize {
            self.raw |= interrupt::OVERFLOW;
            return;
        }
        let place = (self.first + self.count) % FIFO_BYTES as usize;
        if let Some(place) = self.received.get_mut(place) {
            *place = byte;
        }
        self.count += 1;
        self.since = Some(now);
        self.look_at_level();
    }

    fn speaks(&mut self) {
        let now = tick::now_us();
        if now - self.heard >= PAUSE_US {
            self.spoken = now;
        }
        self.heard = now;
    }

    fn look_at_level(&mut self) {
        let full_at = self.conf1 & 0x7f;
        if full_at > 0 && self.count >= full_at as usize {
            self.raw |= interrupt::FULL;
        }
    }

    fn look_at_silence(&mut self, now: u32) {
        let after = (self.conf1 >> 24 & 0x7f) * self.character();
        if self.conf1 >> 31 == 1
            && self.count > 0
            && self
                .since
                .is_some_and(|since| now.wrapping_sub(since) >= after)
        {
            self.raw |= interrupt::TIMEOUT;
            self.since = None;
        }
    }

    fn send(&mut self, byte: u8, now: u32) {
        self.drain(now);
        if self.unsent == FIFO_BYTES {
            refuse!("the glue sends a byte that UART0 has no room for");
        }
        self.unsent += 1;
        // Connected to neither, it is sent to nobody.
        if self.is_swapped() {
            if has(pin::MTDO, pin::FLOW) {
                console::put(byte, true);
            }
        } else if has(pin::U0TXD, pin::UART) {
            console::put(byte, false);
        }
    }

    /// The transmitter sends as fast as its line takes it.
    fn drain(&mut self, now: u32) {
        let character = self.character();
        while self.unsent > 0 && now.wrapping_sub(self.sent_at) >= character {
            self.unsent -= 1;
            self.sent_at = self.sent_at.wrapping_add(character);
        }
        if self.unsent == 0 {
            self.sent_at = now;
        }
    }

    /// The levels of GPIOs are two registers, whose last values tell what was done since.
    fn look_at_request(&mut self) {
        let mut levels = [false; 2];
        for (level, register) in levels.iter_mut().zip([OUT_SET, OUT_CLEAR]) {
            let register = register as *mut u32;
            // SAFETY: plain memory. An output's level is one of the two.
            unsafe {
                let value = register.read_volatile();
                *level = value & REQUEST != 0;
                register.write_volatile(0);
            }
        }
        match levels {
            // In which order is not known; the glue lets go before it asks.
            [true, true] => self.is_asked = true,
            [true, false] => self.is_asked = REQUEST_ON_IS_HIGH,
            [false, true] => self.is_asked = !REQUEST_ON_IS_HIGH,
            [false, false] => {}
        }
    }

    /// Takes from QEMU what has come.
    fn fetch(&mut self) {
        while self.ahead_count < AHEAD {
            let Some(byte) = wire::take() else { return };
            let place = (self.ahead_first + self.ahead_count) % AHEAD;
            if let Some(place) = self.ahead.get_mut(place) {
                *place = byte;
            }
            self.ahead_count += 1;
        }
    }

    fn of_meter(&mut self) -> Option<u8> {
        if self.ahead_count == 0 || !(self.is_asked || words().unasked) {
            return None;
        }
        let byte = self.ahead.get(self.ahead_first).copied();
        self.ahead_first = (self.ahead_first + 1) % AHEAD;
        self.ahead_count -= 1;
        byte
    }

    fn is_swapped(&self) -> bool {
        self.swap & pin::SWAP_UART0 != 0
    }

    /// Whether the receiver is connected to GPIO3, or to GPIO13.
    fn hears(&self, gpio: u32) -> bool {
        match gpio {
            3 => !self.is_swapped() && has(pin::U0RXD, pin::UART),
            13 => self.is_swapped() && has(pin::MTCK, pin::FLOW),
            _ => false,
        }
    }

    /// The meter has sent this.
    fn hear(&mut self, byte: u8, is_right: bool, now: u32) {
        if is_right && !self.is_understood && byte != b'/' {
            self.joined += 1;
        }
        self.is_understood = is_right;
        match is_right {
            true => self.put(byte, 0, now),
            // Bits of another speed, or turned over, with a stop bit that is none.
            false => self.put(!byte ^ 0x2a, interrupt::FRAME, now),
        }
    }

    fn receive(&mut self, now: u32) {
        let words = words();
        let p1 = words.p1.unwrap_or(if WIRING.swapped { 13 } else { 3 });
        let (hears_meter, hears_console) = (self.hears(p1), self.hears(3));
        let of_meter = BITS * tick::HZ / words.meter.max(300);
        let of_console = BITS * tick::HZ / 115_200;
        if !words.exact {
            for line in [&mut self.meter, &mut self.console] {
                if now.wrapping_sub(line.at) > LATE {
                    line.at = now.wrapping_sub(LATE);
                }
            }
        }
        while self.meter.is_whole(of_meter, now) {
            // On a busy PC two ticks may come before one interrupt of the receiver's.
            let waits = hears_meter && !words.exact && self.count == FIFO_BYTES as usize;
            let Some(byte) = (!waits).then(|| self.of_meter()).flatten() else {
                self.meter.at = now;
                break;
            };
            self.meter.at = self.meter.at.wrapping_add(of_meter);
            if !hears_meter {
                self.is_understood = false;
                continue;
            }
            let inverted = self.conf0 & register::INVERT_RECEIVED != 0;
            let format = if words.meter == 115_200 {
                register::EIGHT_NONE
            } else {
                register::SEVEN_EVEN
            };
            let fits = inverted && self.has_speed(words.meter) && self.conf0 & 0x3f == format;
            self.hear(byte, fits, now);
        }
        while self.console.is_whole(of_console, now) {
            // Somebody types to a console, and not while it is the meter's.
            let is_console = self.conf0 & register::INVERT_RECEIVED == 0;
            let Some(byte) = console::take() else {
                self.console.at = now;
                break;
            };
            self.console.at = self.console.at.wrapping_add(of_console);
            if !hears_console {
                continue;
            }
            if is_console && self.has_speed(115_200) {
                self.put(byte, 0, now);
            } else {
                self.put(!byte, interrupt::FRAME, now);
            }
        }
    }

    /// Within what a receiver forgives.
    fn has_speed(&self, baud: u32) -> bool {
        let divider = register::CLOCK / baud;
        divider.abs_diff(self.divider) <= divider / 32
    }
}
