//! Which lines of the log are worth a place in flash, so that no flood of them wears it out.
//!
//! A text that was kept within the last hour is only counted, and its number told by the next line of
//! this text that is kept. Whatever the texts, [`BURST`] lines may be kept at once and one every two
//! minutes in the long run; the others are lost.

use embassy_time::{Duration, Instant};

use crate::storage::checksum;

/// Lines that may be kept at once.
pub const BURST: u32 = 32;

/// What a line costs of the time to come. The longest lines erase each of two sectors of 4 kB 5,100 times
/// in a year then, and flash is made for 100,000.
const PACE: Duration = Duration::from_secs(120);

/// For so long a text is not kept again.
const AGAIN: Duration = Duration::from_secs(3600);

/// Texts that are remembered.
const TEXTS: usize = 4;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, and so many before it were only counted.
    Keep(u32),
    /// It is counted.
    Repeated,
    /// It is lost.
    TooMany,
}

/// A text that was kept.
#[derive(Debug, Clone, Copy)]
struct Kept {
    fingerprint: u32,
    at: Instant,
    repeats: u32,
}

/// Judges lines. RAM: 0.1 kB.
#[derive(Debug, Default)]
pub struct Flood {
    /// The newest last.
    texts: heapless::Vec<Kept, TEXTS>,
    /// Until then all that was kept has been paid for.
    paid: Option<Instant>,
}

impl Flood {
    /// Nothing was kept yet.
    pub const fn new() -> Self {
        Self {
            texts: heapless::Vec::new(),
            paid: None,
        }
    }

    /// What becomes of a line of this text at `now`.
    pub fn judge(&mut self, text: &str, now: Instant) -> Verdict {
        let fingerprint = checksum(text.as_bytes());
        let known = self
            .texts
            .iter()
            .position(|kept| kept.fingerprint == fingerprint);
        if let Some(kept) = known.and_then(|known| self.texts.get_mut(known))
            && now.saturating_duration_since(kept.at) < AGAIN
        {
            kept.repeats = kept.repeats.saturating_add(1);
            return Verdict::Repeated;
        }
        let paid = self.paid.map_or(now, |paid| paid.max(now));
        if paid.saturating_duration_since(now) > PACE * (BURST - 1) {
            return Verdict::TooMany;
        }
        self.paid = Some(paid.saturating_add(PACE));
        let repeats = match known {
            Some(known) => self.texts.remove(known).repeats,
            None => 0,
        };
        if self.texts.is_full() {
            self.texts.remove(0);
        }
        // There is room for it now.
        let _ = self.texts.push(Kept {
            fingerprint,
            at: now,
            repeats: 0,
        });
        Verdict::Keep(repeats)
    }

    /// All that was kept has been deleted: a text is kept again at once. What it costs is not forgotten.
    pub fn forget(&mut self) {
        self.texts.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn a_text_is_kept_once_an_hour_with_the_number_of_its_repeats() {
        let mut flood = Flood::new();
        assert_eq!(flood.judge("a", at(10)), Verdict::Keep(0));
        for second in 11..3610 {
            assert_eq!(flood.judge("a", at(second)), Verdict::Repeated);
        }
        assert_eq!(flood.judge("a", at(3610)), Verdict::Keep(3599));
        assert_eq!(flood.judge("a", at(3611)), Verdict::Repeated);
        assert_eq!(flood.judge("a", at(90_000)), Verdict::Keep(1));
        assert_eq!(flood.judge("a", at(99_000)), Verdict::Keep(0));
    }

    #[test]
    fn several_texts_in_turn_are_told_apart_and_the_oldest_is_forgotten() {
        let mut flood = Flood::new();
        for text in ["a", "b", "c", "d"] {
            assert_eq!(flood.judge(text, at(0)), Verdict::Keep(0));
        }
        for text in ["a", "b", "c", "d"] {
            assert_eq!(flood.judge(text, at(1)), Verdict::Repeated);
        }
        assert_eq!(flood.judge("e", at(2)), Verdict::Keep(0));
        assert_eq!(flood.judge("b", at(3)), Verdict::Repeated);
        assert_eq!(flood.judge("a", at(4)), Verdict::Keep(0));
    }

    #[test]
    fn ever_new_texts_are_kept_at_their_pace() {
        let mut flood = Flood::new();
        let mut kept = 0;
        let hours = 24;
        for second in 0..hours * 3600 {
            match flood.judge(&format!("{second}"), at(second)) {
                Verdict::Keep(0) => kept += 1,
                verdict => assert_eq!(verdict, Verdict::TooMany),
            }
            if second == 100 {
                assert_eq!(kept, BURST);
            }
        }
        assert_eq!(kept, BURST + hours as u32 * 30 - 1);
        // Quiet hours pay for the next burst, and for no longer one.
        let later = at((hours + 9) * 3600);
        for n in 0..BURST {
            assert_eq!(flood.judge(&format!("later {n}"), later), Verdict::Keep(0));
        }
        assert_eq!(flood.judge("one more", later), Verdict::TooMany);
    }

    #[test]
    fn what_was_deleted_is_kept_again_and_still_costs() {
        let mut flood = Flood::new();
        for _ in 0..BURST {
            assert_eq!(flood.judge("a", at(0)), Verdict::Keep(0));
            assert_eq!(flood.judge("a", at(0)), Verdict::Repeated);
            flood.forget();
        }
        assert_eq!(flood.judge("a", at(0)), Verdict::TooMany);
    }
}
