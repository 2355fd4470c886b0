//! Outputs that are on or off.

/// A pin that is driven. Which level is on is the board's business.
pub trait Output {
    /// Switches it.
    fn set(&mut self, is_on: bool);
}

/// A board has no such pin.
pub struct Nowhere;

impl Output for Nowhere {
    fn set(&mut self, _is_on: bool) {}
}
