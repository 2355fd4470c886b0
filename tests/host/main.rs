//! The host board's side of the seams.

mod flash;
mod net;
mod time;
