//! The host: a PC or Raspberry Pi.

pub mod simulator;
