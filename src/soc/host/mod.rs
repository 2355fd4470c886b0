//! The host: a PC or Raspberry Pi.

pub mod simulate;
pub mod simulator;
