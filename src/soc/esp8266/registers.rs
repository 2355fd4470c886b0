//! Registers of the ESP8266, by their addresses (ESP8266 Technical Reference; the names are the `esp8266` crate's).

/// What reads and writes registers: the chip, or a model of it.
pub trait Registers {
    /// Reads one.
    fn read(&self, address: u32) -> u32;

    /// Writes one.
    fn write(&self, address: u32, value: u32);

    /// Clears some bits of one and sets others, by a read and a write: not for what an interrupt writes too.
    fn modify(&self, address: u32, clear: u32, set: u32) {
        self.write(address, self.read(address) & !clear | set);
    }
}

/// The chip's own.
#[cfg(soc = "esp8266")]
pub struct Mapped;

// Inlined, since an interrupt's handler may call nothing in flash.
#[cfg(soc = "esp8266")]
impl Registers for Mapped {
    #[inline(always)]
    fn read(&self, address: u32) -> u32 {
        #[cfg(feature = "stand-in")]
        return crate::soc::stand_in::uart::read(address);
        #[cfg(not(feature = "stand-in"))]
        // SAFETY: this folder reads registers of the chip and nothing else.
        unsafe {
            (address as *const u32).read_volatile()
        }
    }

    #[inline(always)]
    fn write(&self, address: u32, value: u32) {
        #[cfg(feature = "stand-in")]
        return crate::soc::stand_in::uart::write(address, value);
        #[cfg(not(feature = "stand-in"))]
        // SAFETY: as above; none of those written makes the chip touch memory.
        unsafe {
            (address as *mut u32).write_volatile(value)
        }
    }
}

/// UART0.
pub mod uart {
    const BASE: u32 = 0x6000_0000;

    /// Fetches a received byte, or takes one to be sent.
    pub const FIFO: u32 = BASE;
    /// What is raised and let out.
    pub const INT_ST: u32 = BASE + 0x08;
    /// What is let out.
    pub const INT_ENA: u32 = BASE + 0x0c;
    /// Ones quiet what is raised.
    pub const INT_CLR: u32 = BASE + 0x10;
    /// Clocks for each bit.
    pub const CLKDIV: u32 = BASE + 0x14;
    /// How full the FIFOs are.
    pub const STATUS: u32 = BASE + 0x1c;
    /// Format and levels.
    pub const CONF0: u32 = BASE + 0x20;
    /// When the receiver's interrupts are raised.
    pub const CONF1: u32 = BASE + 0x24;

    /// What CLKDIV divides, also when the core runs at twice that.
    pub const CLOCK: u32 = 80_000_000;
    /// Bytes in each FIFO.
    pub const FIFO_BYTES: u32 = 128;

    /// Interrupts.
    pub mod interrupt {
        /// As many bytes have come as CONF1 says.
        pub const FULL: u32 = 1 << 0;
        /// A character had the wrong parity.
        pub const PARITY: u32 = 1 << 2;
        /// A character had no stop bit.
        pub const FRAME: u32 = 1 << 3;
        /// The FIFO was full, and a byte is lost.
        pub const OVERFLOW: u32 = 1 << 4;
        /// Bytes have come, and then none for as long as CONF1 says.
        pub const TIMEOUT: u32 = 1 << 8;
        /// All of the receiver's.
        pub const RECEIVE: u32 = FULL | PARITY | FRAME | OVERFLOW | TIMEOUT;
    }

    /// CONF0: 8 bits, no parity, one stop bit.
    pub const EIGHT_NONE: u32 = 3 << 2 | 1 << 4;
    /// CONF0: 7 bits, even parity, one stop bit.
    pub const SEVEN_EVEN: u32 = 2 << 2 | 1 << 4 | 1 << 1;
    /// CONF0: empties the receiver's FIFO.
    pub const RESET_RECEIVER: u32 = 1 << 17;
    /// CONF0: the received line is inverted.
    pub const INVERT_RECEIVED: u32 = 1 << 19;

    /// CONF1: bytes until FULL is raised.
    pub const fn full_at(bytes: u32) -> u32 {
        bytes & 0x7f
    }

    /// CONF1: TIMEOUT is raised after the time of so many characters.
    pub const fn timeout_after(characters: u32) -> u32 {
        1 << 31 | (characters & 0x7f) << 24
    }

    /// Received bytes by STATUS.
    pub const fn received(status: u32) -> u32 {
        status & 0xff
    }

    /// Bytes to be sent by STATUS.
    pub const fn unsent(status: u32) -> u32 {
        status >> 16 & 0xff
    }
}

/// Pins: what each is connected to, and levels of those that are GPIOs.
pub mod pin {
    const MUX: u32 = 0x6000_0800;
    const GPIO: u32 = 0x6000_0300;

    /// GPIO13's connections.
    pub const MTCK: u32 = MUX + 0x08;
    /// GPIO15's.
    pub const MTDO: u32 = MUX + 0x10;
    /// GPIO3's.
    pub const U0RXD: u32 = MUX + 0x14;
    /// GPIO1's.
    pub const U0TXD: u32 = MUX + 0x18;

    /// Function 0 of U0RXD and U0TXD is UART0.
    pub const UART: u32 = function(0);
    /// Function 3 of all four is the GPIO.
    pub const IO: u32 = function(3);
    /// Function 4 of MTCK and MTDO is UART0's CTS and RTS, which become its receiver and transmitter when swapped.
    pub const FLOW: u32 = function(4);
    /// All bits of the function.
    pub const FUNCTION: u32 = function(7);
    /// A resistor pulls the pin up.
    pub const PULL_UP: u32 = 1 << 7;

    const fn function(number: u32) -> u32 {
        (number & 3) << 4 | (number >> 2) << 8
    }

    /// Ones make GPIOs high.
    pub const OUT_SET: u32 = GPIO + 0x04;
    /// Ones make GPIOs outputs.
    pub const ENABLE_SET: u32 = GPIO + 0x10;

    /// Which peripherals' pins are swapped.
    pub const SWAP: u32 = 0x3ff0_0028;
    /// UART0's: the receiver and CTS, the transmitter and RTS.
    pub const SWAP_UART0: u32 = 1 << 2;
}
