//! What differs from machine to machine: one module per kind of machine the firmware runs on.

#[cfg(not(target_os = "none"))]
pub mod host;
