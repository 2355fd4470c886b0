//! The host board's side of the seams.

mod broker;
mod dhcp;
mod flash;
mod net;
#[path = "../support/mod.rs"]
mod support;
mod time;
