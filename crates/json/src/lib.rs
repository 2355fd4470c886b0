//! `picojson`'s parser for a line in memory.
//!
//! Its code is generic, so that it is compiled where it is used. At `opt-level` 2, which the firmware has on the
//! lx106, LLVM 22 gives up on it there ("Cannot scavenge register without an emergency spill slot"). Here it is compiled
//! as all other crates are.
#![no_std]

pub use picojson::{Event, ParseError};
use picojson::{PullParser, SliceParser};

/// Reads a line event by event.
pub struct Parser<'l, 's>(SliceParser<'l, 's>);

impl<'l, 's> Parser<'l, 's> {
    /// Reads `line`; `scratch` has room for the longest text with escapes in it.
    pub fn new(line: &'l [u8], scratch: &'s mut [u8]) -> Self {
        Self(SliceParser::with_buffer_from_slice(line, scratch))
    }

    /// The next event.
    ///
    /// # Errors
    /// The line is no JSON.
    #[inline(never)]
    pub fn next_event(&mut self) -> Result<Event<'_, '_>, ParseError> {
        self.0.next_event()
    }
}
