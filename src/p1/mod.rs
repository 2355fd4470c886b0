//! Bytes to verified telegrams.

pub mod port;
