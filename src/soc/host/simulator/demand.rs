//! Average demand per quarter of an hour, its peaks per month, and what a month ended with.

use std::prelude::v1::*;

use super::calendar::{Zone, month_start};
use super::household::Registers;
use super::random::within;

/// The highest quarter of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peak {
    /// End of the quarter, UTC.
    pub at: i64,
    pub watts: i64,
}

/// A month that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Month {
    /// The local midnight that ended it, UTC.
    pub end: i64,
    pub peak: Peak,
}

/// Energy of one quarter of an hour in Ws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quarter {
    pub import: i64,
    pub export: i64,
}

/// The meter's memory of demand.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    zone: Zone,
    month_end: i64,
    /// The quarter in progress.
    pub quarter: Quarter,
    /// The last whole quarter.
    pub last: Quarter,
    pub peak: Peak,
    /// The last thirteen months, oldest first.
    pub months: Vec<Month>,
    /// Registers as they stood when the last month ended.
    pub snapshot: Registers,
}

const HISTORY: u64 = 40;
const MONTHS: i64 = 13;

impl Demand {
    /// A meter at `start`, a whole quarter, whose past is drawn from the seed.
    pub fn new(seed: u64, start: i64, zone: Zone, registers: &Registers) -> Self {
        let peak_between = |n: i64, from: i64, until: i64| {
            let quarters = (until - from) / 900;
            if quarters == 0 {
                return Peak { at: from, watts: 0 };
            }
            Peak {
                at: from + 900 * (1 + within(seed, HISTORY, n, 0, quarters)),
                watts: within(seed, HISTORY + 1, n, 2_100, 7_400),
            }
        };
        let months = (1 - MONTHS..=0).map(|n| {
            let (from, end) = (month_start(start, n - 1, zone), month_start(start, n, zone));
            let peak = peak_between(n, from, end);
            Month { end, peak }
        });
        // About eight kWh taken and three given back on each day of this month so far.
        let begin = month_start(start, 0, zone);
        let days = (start - begin) as u64 / 86_400 + 1;
        let less = |register: u64, a_day: u64| register.saturating_sub(days * a_day);
        Demand {
            zone,
            month_end: month_start(start, 1, zone),
            quarter: Quarter::default(),
            last: Quarter::default(),
            peak: peak_between(1, begin, start),
            months: months.collect(),
            snapshot: Registers {
                import: registers.import.map(|r| less(r, 4_000 * 3_600)),
                export: registers.export.map(|r| less(r, 1_500 * 3_600)),
                quadrants: registers.quadrants.map(|r| less(r, 90 * 3_600)),
                ..*registers
            },
        }
    }

    /// Adds the second that ended at `now`, in which `net` watts were taken from the grid.
    pub fn add(&mut self, now: i64, net: i64, registers: &Registers) {
        self.quarter.import += net.max(0);
        self.quarter.export += (-net).max(0);
        if now % 900 != 0 {
            return;
        }
        let watts = self.quarter.import / 900;
        self.last = std::mem::take(&mut self.quarter);
        if watts > self.peak.watts {
            self.peak = Peak { at: now, watts };
        }
        if now >= self.month_end {
            let peak = std::mem::replace(&mut self.peak, Peak { at: now, watts: 0 });
            let end = self.month_end;
            self.months.remove(0);
            self.months.push(Month { end, peak });
            self.month_end = month_start(now, 1, self.zone);
            self.snapshot = *registers;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soc::host::simulator::calendar::{parse_utc, stamp};
    use crate::soc::host::simulator::household::Household;

    #[test]
    fn a_month_ends_at_local_midnight_and_its_peak_joins_the_history() {
        let start = parse_utc("2026-05-31T21:30:00Z").unwrap();
        let mut house = Household::new(3, start, Zone::European, true);
        let mut demand = Demand::new(3, start, Zone::European, house.registers());
        assert_eq!(demand.months.len(), 13);
        assert_eq!(
            stamp(demand.months[12].end, Zone::European),
            "260501000000S"
        );
        let peak = demand.peak;
        for _ in 0..1_800 {
            let net = house.step().total();
            demand.add(house.now(), net, house.registers());
        }
        assert_eq!(demand.months.len(), 13);
        assert_eq!(
            stamp(demand.months[12].end, Zone::European),
            "260601000000S"
        );
        assert_eq!(demand.months[12].peak, peak);
        assert_eq!(demand.peak.watts, 0);
        assert_eq!(demand.snapshot, *house.registers());
    }

    #[test]
    fn a_quarter_above_the_peak_becomes_the_peak() {
        let start = parse_utc("2026-05-10T10:00:00Z").unwrap();
        let house = Household::new(3, start, Zone::European, true);
        let mut demand = Demand::new(3, start, Zone::European, house.registers());
        for t in 1..=900 {
            demand.add(start + t, 9_000, house.registers());
        }
        assert_eq!(
            demand.peak,
            Peak {
                at: start + 900,
                watts: 9_000
            }
        );
        assert_eq!(demand.last.import, 9_000 * 900);
        assert_eq!(demand.quarter, Quarter::default());
    }
}
