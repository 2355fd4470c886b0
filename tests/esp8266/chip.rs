//! A model of the ESP8266's registers, and of the lines at its pins.
//!
//! Its numbers are the manual's (ESP8266 Technical Reference 1.7, chapters 11 and 12, and the SDK's `uart_register.h` and
//! `eagle_soc.h`), written down here once more: nothing of it comes from the code under test. `main.rs` compares them with the published
//! register descriptions. It stops a test that writes what no field has, or reads what cannot be read.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use metertrekker::soc::esp8266::registers::Registers;

pub const FIFO: u32 = 0x6000_0000;
pub const INT_RAW: u32 = 0x6000_0004;
pub const INT_ST: u32 = 0x6000_0008;
pub const INT_ENA: u32 = 0x6000_000c;
pub const INT_CLR: u32 = 0x6000_0010;
pub const CLKDIV: u32 = 0x6000_0014;
pub const STATUS: u32 = 0x6000_001c;
pub const CONF0: u32 = 0x6000_0020;
pub const CONF1: u32 = 0x6000_0024;
pub const OUT: u32 = 0x6000_0300;
pub const OUT_W1TS: u32 = 0x6000_0304;
pub const OUT_W1TC: u32 = 0x6000_0308;
pub const ENABLE: u32 = 0x6000_030c;
pub const ENABLE_W1TS: u32 = 0x6000_0310;
pub const ENABLE_W1TC: u32 = 0x6000_0314;
pub const MTCK: u32 = 0x6000_0808;
pub const MTDO: u32 = 0x6000_0810;
pub const U0RXD: u32 = 0x6000_0814;
pub const U0TXD: u32 = 0x6000_0818;
pub const IOSWAP: u32 = 0x3ff0_0028;

pub const FULL: u32 = 1 << 0;
pub const PARITY: u32 = 1 << 2;
pub const FRAME: u32 = 1 << 3;
pub const OVERFLOW: u32 = 1 << 4;
pub const TIMEOUT: u32 = 1 << 8;

/// Fields of each register that can be written.
const FIELDS: [(u32, u32); 10] = [
    (INT_ENA, 0x1ff),
    (CLKDIV, 0xf_ffff),
    // All but 8, "reserved, do not change this bit".
    (CONF0, 0x01fe_c0ff),
    (CONF1, 0xffff_7f7f),
    (MTCK, 0x1b9),
    (MTDO, 0x1b9),
    (U0RXD, 0x1b9),
    (U0TXD, 0x1b9),
    (IOSWAP, 0xef),
    (ENABLE, 0xffff),
];

/// What a line's far end sends, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    pub baud: u32,
    pub seven_even: bool,
    /// A meter's open collector, as it is at the pin.
    pub inverted: bool,
}

/// The chip. Reset values are 0 but for the divider of the ROM's 74880 baud.
pub struct Chip {
    words: RefCell<BTreeMap<u32, u32>>,
    received: RefCell<VecDeque<u8>>,
    unsent: RefCell<VecDeque<u8>>,
    sent: RefCell<Vec<u8>>,
    latched: Cell<u32>,
    is_mad: Cell<bool>,
}

impl Chip {
    pub fn new() -> Self {
        Self {
            words: RefCell::new(BTreeMap::from([(CLKDIV, 1068)])),
            received: RefCell::default(),
            unsent: RefCell::default(),
            sent: RefCell::default(),
            latched: Cell::new(0),
            is_mad: Cell::new(false),
        }
    }

    /// From now on the receiver says that there is always another byte.
    pub fn go_mad(&self) {
        self.is_mad.set(true);
        self.arrive(0, 0);
    }

    /// What a register has, without the effects of a read.
    pub fn word(&self, address: u32) -> u32 {
        self.words
            .borrow()
            .get(&address)
            .copied()
            .unwrap_or_default()
    }

    fn set(&self, address: u32, value: u32) {
        self.words.borrow_mut().insert(address, value);
    }

    fn raw(&self) -> u32 {
        let threshold = (self.word(CONF1) & 0x7f) as usize;
        let is_full = self.received.borrow().len() >= threshold.max(1);
        self.latched.get() | if is_full { FULL } else { 0 }
    }

    /// Whether the UART asks for its handler.
    pub fn interrupts(&self) -> bool {
        self.raw() & self.word(INT_ENA) != 0
    }

    pub fn function(&self, pin: u32) -> u32 {
        let word = self.word(pin);
        (word >> 4 & 3) | (word >> 8 & 1) << 2
    }

    pub fn is_pulled_up(&self, pin: u32) -> bool {
        self.word(pin) & 1 << 7 != 0
    }

    fn is_swapped(&self) -> bool {
        self.word(IOSWAP) & 1 << 2 != 0
    }

    /// The pin at which UART0 receives.
    pub fn receiver(&self) -> Option<u8> {
        match self.is_swapped() {
            true => (self.function(MTCK) == 4).then_some(13),
            false => (self.function(U0RXD) == 0).then_some(3),
        }
    }

    /// The pin at which UART0 sends.
    pub fn transmitter(&self) -> Option<u8> {
        match self.is_swapped() {
            true => (self.function(MTDO) == 4).then_some(15),
            false => (self.function(U0TXD) == 0).then_some(1),
        }
    }

    /// What the receiver takes for a signal.
    pub fn expects(&self) -> Signal {
        let conf0 = self.word(CONF0);
        assert_eq!(conf0 & 3 << 17, 0, "a FIFO is kept empty");
        assert_eq!(conf0 & (1 << 14 | 1 << 15), 0, "loopback or flow control");
        assert_eq!(conf0 >> 4 & 3, 1, "one stop bit");
        let seven_even = match (conf0 >> 2 & 3, conf0 & 3) {
            (3, 0) => false,
            (2, 0b10) => true,
            (length, parity) => panic!("length {length}, parity {parity:#b}"),
        };
        Signal {
            baud: 80_000_000 / self.word(CLKDIV),
            seven_even,
            inverted: conf0 & 1 << 19 != 0,
        }
    }

    /// A byte comes at a pin. Where nobody listens it is gone; a receiver that is set otherwise gets something else.
    pub fn hear(&self, gpio: u8, signal: Signal, byte: u8) {
        if self.receiver() != Some(gpio) {
            return;
        }
        let expected = self.expects();
        let is_near = expected.baud.abs_diff(signal.baud) * 50 < signal.baud;
        if is_near
            && expected.seven_even == signal.seven_even
            && expected.inverted == signal.inverted
        {
            // The parity bit is where an eighth would be.
            let parity = if signal.seven_even && byte.count_ones() % 2 == 1 {
                0x80
            } else {
                0
            };
            self.arrive(byte | parity, 0);
        } else {
            self.arrive(!byte, FRAME);
        }
    }

    /// The receiver has a byte, and what it says of it.
    pub fn arrive(&self, byte: u8, errors: u32) {
        let mut latched = self.latched.get() | errors;
        let mut received = self.received.borrow_mut();
        if received.len() == 128 {
            latched |= OVERFLOW;
        } else {
            received.push_back(byte);
        }
        self.latched.set(latched);
    }

    /// Nothing has come for as long as CONF1 says.
    pub fn fall_silent(&self) {
        if self.word(CONF1) & 1 << 31 != 0 && !self.received.borrow().is_empty() {
            self.latched.set(self.latched.get() | TIMEOUT);
        }
    }

    /// The transmitter sends so many bytes.
    pub fn send(&self, count: usize) {
        let mut unsent = self.unsent.borrow_mut();
        let count = count.min(unsent.len());
        self.sent.borrow_mut().extend(unsent.drain(..count));
    }

    pub fn unsent(&self) -> usize {
        self.unsent.borrow().len()
    }

    /// What was sent since it was last asked.
    pub fn sent(&self) -> String {
        String::from_utf8(self.sent.take()).unwrap()
    }

    /// Whether an output is high; `None` for an input.
    pub fn level(&self, gpio: u8) -> Option<bool> {
        let bit = 1 << gpio;
        (self.word(ENABLE) & bit != 0).then_some(self.word(OUT) & bit != 0)
    }
}

impl Registers for &Chip {
    fn read(&self, address: u32) -> u32 {
        match address {
            FIFO if self.is_mad.get() => 0,
            FIFO => u32::from(
                self.received
                    .borrow_mut()
                    .pop_front()
                    .expect("the FIFO has something"),
            ),
            INT_RAW => self.raw(),
            INT_ST => self.raw() & self.word(INT_ENA),
            STATUS => self.received.borrow().len() as u32 | (self.unsent() as u32) << 16,
            INT_CLR | OUT_W1TS | OUT_W1TC | ENABLE_W1TS | ENABLE_W1TC => {
                panic!("{address:#x} cannot be read")
            }
            _ if FIELDS.iter().any(|(known, _)| *known == address) || address == OUT => {
                self.word(address)
            }
            _ => panic!("there is no register at {address:#x}"),
        }
    }

    fn write(&self, address: u32, value: u32) {
        let gpios = |value: u32| assert_eq!(value & !0xffff, 0, "{address:#x}: {value:#x}");
        match address {
            FIFO => {
                assert!(
                    self.unsent() < 128,
                    "the transmitter's FIFO has room for {value:#x}"
                );
                self.unsent
                    .borrow_mut()
                    .push_back(u8::try_from(value).unwrap());
            }
            INT_CLR => self.latched.set(self.latched.get() & !value),
            OUT_W1TS | ENABLE_W1TS => {
                gpios(value);
                let register = address - 4;
                self.set(register, self.word(register) | value);
            }
            OUT_W1TC | ENABLE_W1TC => {
                gpios(value);
                let register = address - 8;
                self.set(register, self.word(register) & !value);
            }
            _ => {
                let known = FIELDS.iter().find(|(known, _)| *known == address);
                let Some((_, fields)) = known else {
                    panic!("{address:#x} cannot be written")
                };
                assert_eq!(
                    value & !fields,
                    0,
                    "{address:#x} has no field for all of {value:#x}"
                );
                if address == CONF0 && value & 1 << 17 != 0 {
                    self.received.borrow_mut().clear();
                }
                if address == CONF0 && value & 1 << 18 != 0 {
                    self.unsent.borrow_mut().clear();
                }
                self.set(address, value);
            }
        }
    }
}
