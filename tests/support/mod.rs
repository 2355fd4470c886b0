//! What several tests share. A test that uses it says `mod support;`.
#![allow(dead_code, reason = "no test uses all of it")]

pub mod caller;
pub mod child;
pub mod emulator;
pub mod firmware;
pub mod golden;
pub mod influx_line;
pub mod namespace;
pub mod peers;
pub mod published;
pub mod qemu;
pub mod samples;
pub mod scenarios;
pub mod second_reader;
pub mod stand_in;
pub mod telegram;
pub mod watch;
