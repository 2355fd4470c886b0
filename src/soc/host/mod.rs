//! A PC or Raspberry Pi with a P1 cable, and everybody's first try.

pub mod executor;
pub mod time;
