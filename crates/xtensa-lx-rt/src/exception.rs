//! Why the core stopped, and what it was doing.

/// Value of the register EXCCAUSE (Xtensa ISA Reference Manual, Table 4-64).
#[allow(missing_docs)] // The manual's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum ExceptionCause {
    Illegal = 0,
    Syscall = 1,
    InstrError = 2,
    LoadStoreError = 3,
    LevelOneInterrupt = 4,
    Alloca = 5,
    DivideByZero = 6,
    NextPCValueIllegal = 7,
    Privileged = 8,
    Unaligned = 9,
    ExternalRegisterPrivilegeError = 10,
    ExclusiveError = 11,
    InstrDataError = 12,
    LoadStoreDataError = 13,
    InstrAddrError = 14,
    LoadStoreAddrError = 15,
    ItlbMiss = 16,
    ItlbMultiHit = 17,
    InstrRing = 18,
    Reserved19 = 19,
    InstrProhibited = 20,
    Reserved21 = 21,
    Reserved22 = 22,
    Reserved23 = 23,
    DtlbMiss = 24,
    DtlbMultiHit = 25,
    LoadStoreRing = 26,
    Reserved27 = 27,
    LoadProhibited = 28,
    StoreProhibited = 29,
    Reserved30 = 30,
    Reserved31 = 31,
    Cp0Disabled = 32,
    Cp1Disabled = 33,
    Cp2Disabled = 34,
    Cp3Disabled = 35,
    Cp4Disabled = 36,
    Cp5Disabled = 37,
    Cp6Disabled = 38,
    Cp7Disabled = 39,
    None = 255,
}

/// The registers of what was interrupted, as `asm/vectors.S` stores them.
///
/// A handler that takes it by value has a copy; changing it changes nothing.
#[allow(missing_docs, non_snake_case)] // The manual's names.
#[derive(Debug, Default, Clone, Copy)]
#[repr(C)]
pub struct Context {
    pub PC: u32,
    pub PS: u32,
    pub A: [u32; 16],
    pub SAR: u32,
    pub EXCCAUSE: u32,
    pub EXCVADDR: u32,
}
