//! Randomness that is a function of a seed and a place in time, so that no order of calls matters.
//!
//! Only `+ - * /` on floats here and in the household: those round the same on every machine, and
//! a telegram made on one is the same on all.

/// 64 well-mixed bits for the `n`th draw of the stream `what` (SplitMix64's finaliser).
pub(super) fn bits(seed: u64, what: u64, n: i64) -> u64 {
    let mut z = seed
        .wrapping_add(what.wrapping_mul(0xA076_1D64_78BD_642F))
        .wrapping_add((n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A draw in `0.0..1.0`.
pub(super) fn unit(seed: u64, what: u64, n: i64) -> f64 {
    (bits(seed, what, n) >> 11) as f64 / (1u64 << 53) as f64
}

/// A whole number in `low..high`; `low` when the range is empty.
pub(super) fn within(seed: u64, what: u64, n: i64, low: i64, high: i64) -> i64 {
    let width = high.saturating_sub(low).max(1) as u64;
    low + (bits(seed, what, n) % width) as i64
}

/// A curve in `-1.0..1.0` that wanders smoothly and takes a new direction every `period` seconds.
pub(super) fn drift(seed: u64, what: u64, t: i64, period: i64) -> f64 {
    let n = t.div_euclid(period);
    let x = t.rem_euclid(period) as f64 / period as f64;
    let (from, to) = (unit(seed, what, n), unit(seed, what, n + 1));
    (from + (to - from) * x * x * (3.0 - 2.0 * x)) * 2.0 - 1.0
}

/// Something that happens now and then, at most once in each `bucket` of seconds.
pub(super) struct Event {
    pub what: u64,
    pub bucket: i64,
    /// Shortest and longest duration in seconds; the longest fits the bucket.
    pub lasts: (i64, i64),
}

impl Event {
    /// Seconds since the event of this bucket began, while it lasts. It happens with `chance`
    /// (0.0 to 1.0).
    pub fn since(&self, seed: u64, t: i64, chance: f64) -> Option<i64> {
        let n = t.div_euclid(self.bucket);
        if unit(seed, self.what, n) >= chance {
            return None;
        }
        let (shortest, longest) = self.lasts;
        let length = within(seed, self.what ^ 0x5A00, n, shortest, longest + 1);
        let begin = within(seed, self.what ^ 0xA500, n, 0, self.bucket - length);
        let since = t.rem_euclid(self.bucket) - begin;
        (0..length).contains(&since).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_stays_in_bounds_and_is_continuous() {
        let mut before = drift(7, 1, 0, 60);
        for t in 1..10_000 {
            let now = drift(7, 1, t, 60);
            assert!((-1.0..1.0).contains(&now));
            assert!((now - before).abs() < 0.06, "a jump at {t}");
            before = now;
        }
    }

    #[test]
    fn an_event_happens_about_as_often_as_its_chance() {
        let event = Event {
            what: 3,
            bucket: 100,
            lasts: (10, 20),
        };
        let begun = (0..100_000)
            .filter(|t| event.since(1, *t, 0.25) == Some(0))
            .count();
        assert!((200..300).contains(&begun), "{begun} of 1000");
    }
}
