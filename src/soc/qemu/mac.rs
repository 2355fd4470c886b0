//! The OpenCores Ethernet MAC: frames to and from its rings of descriptors.
//!
//! Registers and descriptors: Ethernet IP Core Specification, OpenCores, revision 1.19 (2002).
//! The frames lie in the card's own memory, as the radio's do on the chip: none of the image's RAM.

use core::cell::Cell;

use xtensa_lx::interrupt;

/// The MAC's interrupt: the second of the core's external ones.
pub const INTERRUPT: u32 = 1 << 1;

/// Offsets, §3.
mod register {
    const BASE: usize = 0x9d03_0000;
    pub const MODER: usize = BASE;
    pub const INT_SOURCE: usize = BASE + 0x04;
    pub const INT_MASK: usize = BASE + 0x08;
    pub const TX_BD_NUM: usize = BASE + 0x20;
    pub const MIICOMMAND: usize = BASE + 0x2c;
    pub const MIIADDRESS: usize = BASE + 0x30;
    pub const MIIRX_DATA: usize = BASE + 0x38;
    pub const MIISTATUS: usize = BASE + 0x3c;
    pub const MAC_ADDR0: usize = BASE + 0x40;
    pub const MAC_ADDR1: usize = BASE + 0x44;
    pub const HASH0: usize = BASE + 0x48;
    pub const HASH1: usize = BASE + 0x4c;
    pub const DESCRIPTORS: usize = BASE + 0x400;
}

/// MODER: receive, transmit, full duplex, append the CRC, pad short frames.
const RUNNING: u32 = 1 << 0 | 1 << 1 | 1 << 10 | 1 << 13 | 1 << 15;
/// MODER: frames for any address.
const PROMISCUOUS: u32 = 1 << 5;
const RESET: u32 = 1 << 11;

/// INT_SOURCE: a frame was sent, failed to be sent, came, came damaged, or found no descriptor.
const TXB: u32 = 1 << 0;
const TXE: u32 = 1 << 1;
const RXB: u32 = 1 << 2;
const RXE: u32 = 1 << 3;
const BUSY: u32 = 1 << 4;

/// Descriptors: the MAC's turn; interrupt when done; last of its ring.
const READY: u32 = 1 << 15;
const TELL: u32 = 1 << 14;
const WRAP: u32 = 1 << 13;
/// A descriptor to send: pad the frame, append its CRC.
const PAD_AND_CRC: u32 = 1 << 12 | 1 << 11;
/// A received descriptor: overrun, invalid symbol, dribble nibble, too long, too short, CRC, late
/// collision.
const DAMAGED: u32 = 0b111_1111;

/// MIICOMMAND: read a register of the PHY. MIISTATUS: at work.
const READ_PHY: u32 = 1 << 1;
const MII_BUSY: u32 = 1 << 1;
const PHY: u32 = 1;
/// The PHY's basic status register, and in it: the link is up (IEEE 802.3 §22.2.4.2).
const STATUS: u32 = 1;
const LINK: u32 = 1 << 2;

/// The card's memory for frames.
const MEMORY: usize = 0x9d80_0000;
const MEMORY_SIZE: usize = 16 * 1024;

const SENT: usize = 2;
/// Frames that wait for the image.
pub const RECEIVED: usize = 8;
/// The longest frame that the MAC takes, PACKETLEN's value after a reset.
const FRAME: usize = 1536;
const _: () = assert!((SENT + RECEIVED) * FRAME <= MEMORY_SIZE);

/// Ethernet header and 1500 bytes.
pub const MTU: usize = 1514;
const HEADER: usize = 14;
const CRC: usize = 4;

fn read(register: usize) -> u32 {
    // SAFETY: a register of the MAC, see above.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: a register of the MAC. A descriptor makes it touch memory: that of its frame.
    unsafe { (register as *mut u32).write_volatile(value) }
}

/// What the MAC's interrupt tells.
pub struct Raised {
    /// A frame found no free descriptor.
    pub missed: bool,
    /// A frame could not be sent.
    pub unsent: bool,
}

/// Quiets the MAC's interrupt.
pub fn acknowledge() -> Raised {
    let raised = read(register::INT_SOURCE);
    write(register::INT_SOURCE, raised);
    Raised {
        missed: raised & BUSY != 0,
        unsent: raised & TXE != 0,
    }
}

/// Whether the network is plugged in.
pub fn is_link_up() -> bool {
    write(register::MIIADDRESS, STATUS << 8 | PHY);
    write(register::MIICOMMAND, READ_PHY);
    // On a wire it takes 64 bit times of 2.5 MHz.
    for _ in 0..10_000 {
        if read(register::MIISTATUS) & MII_BUSY == 0 {
            break;
        }
    }
    write(register::MIICOMMAND, 0);
    read(register::MIIRX_DATA) & LINK != 0
}

/// A descriptor, and the frame that goes with it.
#[derive(Clone, Copy)]
struct Slot {
    /// Among all descriptors: first those to be sent, then those received.
    index: usize,
    last: bool,
}

impl Slot {
    fn sent(index: usize) -> Self {
        let last = index + 1 == SENT;
        Self { index, last }
    }

    fn received(index: usize) -> Self {
        let last = index + 1 == RECEIVED;
        let index = SENT + index;
        Self { index, last }
    }

    fn register(self) -> usize {
        register::DESCRIPTORS + 8 * self.index
    }

    fn memory(self) -> usize {
        MEMORY + FRAME * self.index
    }

    /// Says where the frame lies.
    fn place(self) {
        write(self.register() + 4, self.memory() as u32);
    }

    fn get(self) -> u32 {
        read(self.register())
    }

    /// Gives the descriptor to the MAC or takes it back, with a frame of this length.
    fn set(self, flags: u32, length: usize) {
        let wrap = if self.last { WRAP } else { 0 };
        write(self.register(), (length as u32) << 16 | wrap | flags);
    }

    /// It is not the MAC's turn.
    fn is_ours(self) -> bool {
        self.get() & READY == 0
    }

    /// Lets `f` have the frame's first `length` bytes.
    fn with<R>(self, length: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: inside the card's memory, as asserted above. Each descriptor is used through one token
        // at a time, and only while it is not the MAC's turn.
        f(unsafe { core::slice::from_raw_parts_mut(self.memory() as *mut u8, length.min(FRAME)) })
    }
}

/// The MAC. There is one: make one.
pub struct Mac {
    /// The next descriptor to send with, and the next to receive with. The MAC takes them in order.
    send: Cell<usize>,
    receive: Cell<usize>,
}

impl Mac {
    /// Switches the MAC on, for frames to `address`, to everybody and to every group, of which the network's stack picks those
    /// that it is in; or for all.
    pub fn start(address: Option<[u8; 6]>) -> Self {
        write(register::MODER, RESET);
        write(register::MODER, 0);
        write(register::TX_BD_NUM, SENT as u32);
        let [a, b, c, d, e, f] = address.unwrap_or_default();
        write(register::MAC_ADDR0, u32::from_be_bytes([c, d, e, f]));
        write(register::MAC_ADDR1, u32::from_be_bytes([0, 0, a, b]));
        write(register::HASH0, !0);
        write(register::HASH1, !0);
        for slot in (0..SENT).map(Slot::sent) {
            slot.place();
            slot.set(0, 0);
        }
        for slot in (0..RECEIVED).map(Slot::received) {
            slot.place();
            slot.set(READY | TELL, 0);
        }
        write(register::INT_SOURCE, !0);
        write(register::INT_MASK, TXB | TXE | RXB | RXE | BUSY);
        let all = if address.is_none() { PROMISCUOUS } else { 0 };
        write(register::MODER, RUNNING | all);
        // SAFETY: `acknowledge`, which the handler calls, quiets it.
        unsafe { interrupt::enable_mask(INTERRUPT) };
        Self {
            send: Cell::new(0),
            receive: Cell::new(0),
        }
    }

    fn sending(&self) -> Slot {
        Slot::sent(self.send.get())
    }

    fn receiving(&self) -> Slot {
        Slot::received(self.receive.get())
    }

    /// Whether there is room for a frame to be sent.
    pub fn has_room(&self) -> bool {
        self.sending().is_ours()
    }

    /// Sends the frame of this length that `f` writes.
    pub fn send<R>(&self, length: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let slot = self.sending();
        let result = slot.with(length, f);
        slot.set(READY | TELL | PAD_AND_CRC, length.min(FRAME));
        self.send.set((self.send.get() + 1) % SENT);
        result
    }

    /// The length of the frame that is next; one that is none is counted and skipped.
    pub fn next_frame(&self, damaged: &mut u32) -> Option<usize> {
        for _ in 0..RECEIVED {
            let slot = self.receiving();
            let descriptor = slot.get();
            if descriptor & READY != 0 {
                return None;
            }
            let length = (descriptor >> 16) as usize;
            if descriptor & DAMAGED == 0 && (HEADER + CRC..=MTU + CRC).contains(&length) {
                return Some(length - CRC);
            }
            *damaged += 1;
            self.received();
        }
        None
    }

    /// Lets `f` have the next frame, which is gone then.
    pub fn receive<R>(&self, length: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let result = self.receiving().with(length, f);
        self.received();
        result
    }

    /// Gives the descriptor last received with back to the MAC.
    fn received(&self) {
        self.receiving().set(READY | TELL, 0);
        self.receive.set((self.receive.get() + 1) % RECEIVED);
    }
}
