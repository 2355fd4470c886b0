//! P1 reader firmware.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod soc;
