//! The ESP8266 with the vendor's libraries (NONOS SDK 3.0.6): they start the chip, drive the radio and call us.
//!
//! `start` has their way in. All of ours runs in tasks of the SDK, on its stack; what interrupts touch is in IRAM. What drives registers
//! does so by [`registers::Registers`], so that a PC's tests can stand in for them.
#![allow(unsafe_code)] // Registers, what an interrupt shares with the tasks, the vendor's functions.

pub mod led;
pub mod output;
pub mod registers;
pub mod share;
pub mod uart;

#[cfg(soc = "esp8266")]
pub mod board;
#[cfg(soc = "esp8266")]
mod cold;
#[cfg(soc = "esp8266")]
mod executor;
#[cfg(soc = "esp8266")]
pub mod fault;
#[cfg(soc = "esp8266")]
pub mod flash;
#[cfg(soc = "esp8266")]
mod line;
#[cfg(soc = "esp8266")]
mod lwip;
#[cfg(soc = "esp8266")]
pub mod pins;
#[cfg(soc = "esp8266")]
pub mod port;
#[cfg(soc = "esp8266")]
pub mod radio;
#[cfg(soc = "esp8266")]
mod rf;
#[cfg(soc = "esp8266")]
pub(super) mod run;
#[cfg(soc = "esp8266")]
pub(super) mod sdk;
#[cfg(soc = "esp8266")]
mod start;
#[cfg(soc = "esp8266")]
mod time;
#[cfg(soc = "esp8266")]
pub mod wifi;

/// What this board can do, by its file.
#[cfg(soc = "esp8266")]
mod limits {
    include!(concat!(env!("OUT_DIR"), "/limits.rs"));
}

/// What lies where in flash, by the board's file.
#[cfg(soc = "esp8266")]
#[allow(dead_code)] // Not all of it is used yet.
mod map {
    include!(concat!(env!("OUT_DIR"), "/map.rs"));
}
