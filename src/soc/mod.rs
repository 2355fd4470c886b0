//! What differs between machines: the only unsafe code and the only `cfg` on a machine.
#[cfg(any(not(target_os = "none"), soc = "esp8266"))]
pub mod esp8266;
#[cfg(not(target_os = "none"))]
pub mod host;
#[cfg(target_os = "none")]
pub mod lx106;
#[cfg(any(not(target_os = "none"), soc = "esp8266", soc = "qemu"))]
pub mod nor;
#[cfg(soc = "qemu")]
pub mod qemu;
#[cfg(all(soc = "esp8266", feature = "stand-in"))]
#[allow(unsafe_code)] // What a ROM and libraries in C do.
mod stand_in;

/// The RAM ledger of the board's file: bytes of each part.
#[cfg(any(soc = "esp8266", soc = "qemu"))]
#[allow(missing_docs, dead_code)] // The board's file says what each is for; the linker has some of them.
mod ram {
    include!(concat!(env!("OUT_DIR"), "/ram.rs"));
}
