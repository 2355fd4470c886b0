//! The host board's side of the seams.

mod time;
