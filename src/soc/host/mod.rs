//! A PC or Raspberry Pi with a P1 cable, and everybody's first try.

pub mod broker;
pub mod cli;
pub mod console;
pub mod decode;
pub mod executor;
pub mod flash;
pub mod net;
pub mod p1;
mod pty;
pub mod ram_flash;
pub mod run;
pub mod simulate;
pub mod simulator;
pub mod time;

/// What this board can do, by its file.
mod limits {
    include!(concat!(env!("OUT_DIR"), "/limits.rs"));
}
