//! Counts the instructions that a telegram costs on the lx106.
//!
//! It reads one telegram from standard input and prints a line per figure, `name number`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod count;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod stack;
#[cfg(target_os = "none")]
mod work;

#[cfg(not(target_os = "none"))]
fn main() {}
