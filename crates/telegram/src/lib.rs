//! Bytes of a P1 port to proved readings.
//!
//! Every byte of a telegram goes through this, so that it is compiled for speed on a chip, where all else is compiled
//! for size. It is a crate of its own because a compiler's settings are those of a crate.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod metric;
pub mod p1;
pub mod reading;
pub mod receiver;
