//! P1 reader firmware.
#![no_std]

pub mod metric;
