//! What time it is: a time server's word, or the board's own clock, or what the meter says.

use embassy_time::{Duration, Instant};

use super::time::Moment;
use crate::p1::timestamp::Utc;

/// Milliseconds since 1970-01-01 00:00:00 UTC by the board's clock; `None` while it has no idea.
pub type Board = fn() -> Option<u64>;

/// A meter tells whole seconds, and takes one to tell them. What differs by less is the same time.
const METER_EXACT_TO: Duration = Duration::from_secs(2);

/// Goes on from what it was last told.
#[derive(Debug, Clone)]
pub struct Clock {
    board: Board,
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    by_server: bool,
    utc: Moment,
    at: Instant,
}

impl Told {
    fn at(self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.at).as_millis();
        Moment(self.utc.0.saturating_add(since))
    }
}

impl Clock {
    /// Knows what the board knows.
    pub const fn new(board: Board) -> Self {
        Self { board, told: None }
    }

    /// The time at `now`; `None` while nobody has told it.
    pub fn at(&self, now: Instant) -> Option<Moment> {
        match self.told {
            Some(told) if told.by_server => Some(told.at(now)),
            told => {
                let by_board = (self.board)().map(Moment);
                by_board.or(told.map(|told| told.at(now)))
            }
        }
    }

    /// A time server has said that it was `utc` at `at`.
    pub fn told_by_server(&mut self, utc: Moment, at: Instant) {
        self.told = Some(Told {
            by_server: true,
            utc,
            at,
        });
    }

    /// The meter has said that it was `utc` at `at`. That counts until a time server is heard.
    pub fn told_by_meter(&mut self, utc: Utc, at: Instant) {
        let utc = Moment::from(utc);
        let is_known = self.told.is_some_and(|told| {
            told.by_server || told.at(at).0.abs_diff(utc.0) < METER_EXACT_TO.as_millis()
        });
        if !is_known {
            self.told = Some(Told {
                by_server: false,
                utc,
                at,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    #[test]
    fn the_meter_tells_the_time_until_a_server_does() {
        let mut clock = Clock::new(|| None);
        assert_eq!(clock.at(at(0)), None);
        clock.told_by_meter(1_000, at(500));
        assert_eq!(clock.at(at(1_750)), Some(Moment(1_001_250)));
        clock.told_by_server(Moment(2_000_123), at(2_000));
        clock.told_by_meter(5_000, at(3_000));
        assert_eq!(clock.at(at(4_000)), Some(Moment(2_002_123)));
        // It may be asked for a time before it was told.
        assert_eq!(clock.at(at(0)), Some(Moment(2_000_123)));
        clock.told_by_server(Moment(1_000), at(5_000));
        assert_eq!(clock.at(at(5_001)), Some(Moment(1_001)));
    }

    #[test]
    fn a_board_that_knows_the_time_is_asked_before_the_meter() {
        let mut clock = Clock::new(|| Some(7));
        assert_eq!(clock.at(at(0)), Some(Moment(7)));
        clock.told_by_meter(1_000, at(0));
        assert_eq!(clock.at(at(9)), Some(Moment(7)));
        clock.told_by_server(Moment(2_000), at(0));
        assert_eq!(clock.at(at(9)), Some(Moment(2_009)));
    }

    #[test]
    fn telegrams_that_come_early_and_late_do_not_move_the_clock() {
        let mut clock = Clock::new(|| None);
        let mut last = Moment(0);
        for (second, late) in [(100, 0), (101, 900), (102, 1_900), (103, 0), (104, 1_200)] {
            let now = at(u64::from(second) * 1000 + late);
            clock.told_by_meter(second, now);
            assert_eq!(clock.at(now), Some(Moment(u64::from(second) * 1000 + late)));
            assert!(clock.at(now) > Some(last));
            last = Moment(u64::from(second) * 1000);
        }
        clock.told_by_meter(50, at(105_000));
        assert_eq!(clock.at(at(105_000)), Some(Moment(50_000)));
    }
}
