//! Chance, where nobody gains by guessing it.

/// A sequence of numbers (xorshift, Marsaglia 2003).
#[derive(Debug)]
pub struct Random(u32);

impl Random {
    /// A sequence of its own for each `seed`.
    pub const fn new(seed: u32) -> Self {
        // It never leaves 0.
        Self(seed | 1)
    }

    /// The next number, from 0 and less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        u64::from(self.0) % limit
    }
}
