//! The host board's side of the seams.

mod broker;
mod flash;
mod net;
mod time;
