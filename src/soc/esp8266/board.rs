//! The board's pins, by its file.
#![allow(unused_imports)] // No board has all of them.

use super::{
    pins::{Gpio0, Gpio2, Gpio4, Gpio5, Gpio12, Gpio13, Gpio14, Gpio15, Nowhere},
    uart::Wiring,
};

include!(concat!(env!("OUT_DIR"), "/pins.rs"));
