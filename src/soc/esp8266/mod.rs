//! The ESP8266: its receiver, pins and LED.
//!
//! What drives registers does so by [`registers::Registers`], so that a PC's tests can stand in for them.
#![allow(unsafe_code)] // Registers, and what an interrupt shares with the tasks.

pub mod led;
pub mod output;
pub mod registers;
pub mod share;
pub mod uart;

#[cfg(soc = "esp8266")]
pub mod board;
#[cfg(soc = "esp8266")]
pub mod pins;
#[cfg(soc = "esp8266")]
pub mod port;
