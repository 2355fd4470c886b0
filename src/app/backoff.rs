//! How long to wait before the next attempt to connect.

use embassy_time::Duration;

use super::random::Random;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Doubling waits from 1 s to 60 s, each with up to a quarter more by chance, so that a street of
/// readers does not storm a broker that comes back.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    random: Random,
}

impl Backoff {
    /// A sequence of its own for each `seed`.
    pub fn new(seed: u32) -> Self {
        Self {
            next: FIRST,
            random: Random::new(seed),
        }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(LONGEST);
        let quarter = base.as_millis() / 4;
        base + Duration::from_millis(self.random.below(quarter + 1))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_with_a_quarter_of_chance() {
        let mut backoff = Backoff::new(7);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let base = Duration::from_secs(seconds);
            let wait = backoff.wait();
            assert!(base <= wait && wait <= base + base / 4, "{seconds}: {wait}");
        }
        backoff.reset();
        assert!(backoff.wait() < Duration::from_secs(2));
    }

    #[test]
    fn seeds_part_the_ways() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..4).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(3));
        assert_eq!(waits(5), waits(5));
        assert!(waits(0)[0] >= FIRST);
    }
}
