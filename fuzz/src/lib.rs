//! What the targets share: the project's own readers of the tests, what comes of a stream, and a way past the check.

#[path = "../../tests/support/influx_line.rs"]
pub mod influx_line;
#[path = "../../tests/support/second_reader.rs"]
pub mod second_reader;

mod outcomes;

pub use outcomes::{Outcomes, outcomes};
pub use second_reader::with_right_check;
