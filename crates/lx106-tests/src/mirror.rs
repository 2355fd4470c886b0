//! Flash and IRAM as the chip has them: see asm/narrow.S.
#![allow(dead_code)] // Each image uses some of it.

/// a0 to a15, then SAR.
pub type Registers = [u32; 17];

/// PS of code that no interrupt disturbs; exceptions it may have.
pub const MASKED: u32 = 0x2f;
/// PS of code that interrupts may disturb.
pub const OPEN: u32 = 0x20;

extern "C" {
    static mirror_vectors: u32;
    fn xtensa_lx_rt_xtos_narrow_load();
    pub fn run_with(registers: *mut Registers, code: u32, ps: u32);
}

/// Has the vectors take what an access to the mirror raises.
pub fn install() {
    unsafe { xtensa_lx::set_vecbase(&raw const mirror_vectors) };
}

/// Enters the handler into the ROM's table, as the firmware does.
pub fn enter_into_table() {
    const LOAD_STORE_ERROR: usize = 3;
    let handlers = 0x3fff_c000 as *mut usize;
    let handler = xtensa_lx_rt_xtos_narrow_load as *const () as usize;
    unsafe { handlers.add(LOAD_STORE_ERROR).write_volatile(handler) };
}

/// Where `address` answers as the chip's flash and IRAM do.
pub fn mirrored(address: u32) -> u32 {
    address | 1 << 31
}

/// Values that tell the registers apart; none is an address.
pub fn pattern() -> Registers {
    let mut registers = [0; 17];
    for (number, register) in (0u32..).zip(&mut registers[..16]) {
        *register = 0x5a00_00a5 | number << 12;
    }
    registers[16] = 13;
    registers
}

#[repr(align(4))]
pub struct Flash(pub [u8; 8]);

/// In flash; signs of bytes and halfwords differ.
pub static FLASH: Flash = Flash([0x11, 0x82, 0x93, 0x24, 0xa5, 0x36, 0x47, 0xb8]);

/// Words that lie in IRAM.
#[repr(align(4))]
pub struct Iram<const BYTES: usize>(pub [u8; BYTES]);
