//! A meter: the household's registers, what the meter captured of them and when, and the
//! [`Simulator`] that prints its telegrams.

use std::format;
use std::prelude::v1::*;

use super::calendar::{Zone, stamp, stamp12};
use super::demand::Demand;
use super::faults::{FaultError, Faults, Moment};
use super::household::{Flows, Household, Tariff, tariff};
use super::kind::Kind;
use super::meters;
use super::random::{bits, within};

/// What a meter on the M-Bus had counted when it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capture {
    /// UTC.
    pub at: i64,
    /// Gas in l.
    pub gas: i64,
    /// Cold water in l.
    pub water: i64,
    /// District heat in kJ.
    pub heat: i64,
}

/// The electricity meter of one household, with the others on its M-Bus.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub kind: Kind,
    pub seed: u64,
    /// The moment its clock shows, UTC.
    pub now: i64,
    pub house: Household,
    pub demand: Demand,
    /// What flows at the household's present second.
    pub flows: Flows,
    /// The last 24 captures, newest last.
    pub captures: Vec<Capture>,
    /// The last ten long power failures, oldest first: their end in UTC, their length in seconds.
    pub failures: Vec<(i64, i64)>,
}

const SERIAL: u64 = 60;
const PAST: u64 = 61;
const FAILURE: u64 = 62;

impl Meter {
    fn new(kind: Kind, seed: u64, start: i64) -> Self {
        // At least one whole hour back, so that the first telegram already has a last quarter of an hour
        // and a last capture that were lived, not invented.
        let origin = start - start.rem_euclid(3_600) - 3_600;
        let zone = kind.zone();
        let house = Household::new(seed, origin, zone, kind.three_phase());
        let demand = Demand::new(seed, origin, zone, house.registers());
        let mut meter = Meter {
            kind,
            seed,
            now: start,
            flows: house.flows(origin),
            house,
            demand,
            captures: Vec::new(),
            failures: Vec::new(),
        };
        let mut past = meter.capture();
        let mut captures = Vec::from([past]);
        for n in 0..23 {
            past = Capture {
                at: past.at - kind.capture_interval(),
                gas: past.gas - within(seed, PAST, n, 0, 300),
                ..past
            };
            captures.push(past);
        }
        captures.reverse();
        meter.captures = captures;
        meter.failures = failures(seed, origin);
        meter.live_until(start);
        meter
    }

    fn live_until(&mut self, utc: i64) {
        while self.house.now() < utc {
            self.flows = self.house.step();
            let now = self.house.now();
            self.demand
                .add(now, self.flows.total(), self.house.registers());
            if now % self.kind.capture_interval() == 0 {
                self.captures.remove(0);
                self.captures.push(self.capture());
            }
        }
        self.now = utc;
    }

    fn capture(&self) -> Capture {
        let registers = self.house.registers();
        Capture {
            at: self.house.now(),
            gas: (registers.gas / 1_000) as i64,
            water: (registers.water / 1_000) as i64,
            heat: (registers.heat / 1_000) as i64,
        }
    }

    /// The failures that a meter without faults knows of.
    pub fn recent_failures(&self) -> &[(i64, i64)] {
        &self.failures[self.failures.len() - 2..]
    }

    pub fn zone(&self) -> Zone {
        self.kind.zone()
    }

    /// The clock with its `S` or `W`.
    pub fn stamp(&self) -> String {
        stamp(self.now, self.zone())
    }

    pub fn stamp_of(&self, utc: i64) -> String {
        stamp(utc, self.zone())
    }

    pub fn stamp12_of(&self, utc: i64) -> String {
        stamp12(utc, self.zone())
    }

    pub fn tariff(&self) -> Tariff {
        tariff(self.now, self.zone())
    }

    /// Energy taken at a tariff, in Wh.
    pub fn import(&self, tariff: Tariff) -> i64 {
        (self.house.registers().import[tariff as usize] / 3_600) as i64
    }

    /// Energy given back at a tariff, in Wh.
    pub fn export(&self, tariff: Tariff) -> i64 {
        (self.house.registers().export[tariff as usize] / 3_600) as i64
    }

    /// Energy taken, in Wh: the sum of what the tariffs' registers print.
    pub fn import_total(&self) -> i64 {
        self.import(Tariff::Low) + self.import(Tariff::Normal)
    }

    /// Energy given back, in Wh.
    pub fn export_total(&self) -> i64 {
        self.export(Tariff::Low) + self.export(Tariff::Normal)
    }

    /// Reactive energy of a quadrant (0 to 3 for I to IV), in varh.
    pub fn quadrant(&self, n: usize) -> i64 {
        (self.house.registers().quadrants[n] / 3_600) as i64
    }

    /// Power taken, in W.
    pub fn power_in(&self) -> i64 {
        self.flows.total().max(0)
    }

    /// Power given back, in W.
    pub fn power_out(&self) -> i64 {
        (-self.flows.total()).max(0)
    }

    /// Reactive power of all phases together, in var; negative is capacitive.
    pub fn reactive(&self) -> i64 {
        self.flows.reactive().iter().sum()
    }

    /// Average demand of the quarter in progress in W: what has been taken so far over 15 minutes.
    pub fn demand(&self) -> i64 {
        self.demand.quarter.import / 900
    }

    pub fn captured(&self) -> Capture {
        self.captures[self.captures.len() - 1]
    }

    /// An invented serial number of 16 characters: 0 is the electricity meter's, 1 gas, 2 water,
    /// 3 heat, higher ones for meters that were replaced.
    pub fn serial(&self, n: i64) -> String {
        format!("SIM{:013}", self.digits(n))
    }

    /// Thirteen digits drawn from the seed.
    pub fn digits(&self, n: i64) -> u64 {
        bits(self.seed, SERIAL + ((self.kind as u64) << 8), n) % 10_000_000_000_000
    }
}

/// Ten invented power failures, the last one some days before `utc`.
fn failures(seed: u64, utc: i64) -> Vec<(i64, i64)> {
    let mut at = utc;
    let mut failures: Vec<(i64, i64)> = (0..10)
        .map(|n| {
            at -= within(seed, FAILURE, n, 9 * 86_400, 300 * 86_400);
            (at, within(seed, FAILURE + 1, n, 190, 20_000))
        })
        .collect();
    failures.reverse();
    failures
}

/// A simulated meter that prints telegrams.
///
/// # Examples
///
/// ```
/// use metertrekker::soc::host::simulator::{Kind, Simulator};
///
/// let mut meter = Simulator::new(Kind::Esmr50, 1, 1_768_498_200);
/// let telegram = meter.telegram_at(1_768_498_200);
/// assert!(telegram.starts_with(b"/") && telegram.ends_with(b"\r\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Simulator {
    meter: Meter,
    faults: Faults,
    sent: u32,
}

impl Simulator {
    /// A meter of a kind, whose household and history are drawn from `seed` and which is first
    /// asked at `start_utc_seconds`.
    pub fn new(kind: Kind, seed: u64, start_utc_seconds: i64) -> Self {
        Simulator {
            meter: Meter::new(kind, seed, start_utc_seconds),
            faults: Faults::default(),
            sent: 0,
        }
    }

    /// The same meter with oddities on request.
    ///
    /// # Errors
    ///
    /// [`FaultError::NotInKind`] when a telegram of this kind has nothing that a fault could bend.
    pub fn with_faults(mut self, faults: Faults) -> Result<Self, FaultError> {
        faults.check(&self.meter)?;
        self.faults = faults;
        Ok(self)
    }

    /// The kind of meter it is.
    pub fn kind(&self) -> Kind {
        self.meter.kind
    }

    /// What the meter sends at a moment, as the bytes on its line. With faults this may be noise
    /// around a telegram, a piece of one, two of them, or nothing.
    ///
    /// The household lives every second up to that moment, so the cost grows with the distance. A
    /// moment before the last one turns back the meter's clock and nothing else.
    pub fn telegram_at(&mut self, utc_seconds: i64) -> Vec<u8> {
        self.meter.live_until(utc_seconds);
        self.sent = self.sent.saturating_add(1);
        let moment = Moment {
            meter: &self.meter,
            number: self.sent,
        };
        self.faults.send(meters::telegram(&self.meter), &moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soc::host::simulator::calendar::parse_utc;
    use crate::soc::host::simulator::kind::Check;
    use crc::{CRC_16_ARC, CRC_16_IBM_SDLC, Crc};

    fn at(text: &str) -> i64 {
        parse_utc(text).unwrap()
    }

    fn value<'a>(telegram: &'a str, id: &str) -> &'a str {
        let line = telegram
            .lines()
            .find(|line| line.starts_with(&format!("{id}(")))
            .ok_or_else(|| format!("no {id} in {telegram}"))
            .unwrap();
        &line[id.len() + 1..line.len() - 1]
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_kind_is_made_of_lines_and_ends_with_its_check() {
        let noon = at("2026-05-15T10:00:00Z");
        for kind in Kind::ALL {
            let telegram = Simulator::new(*kind, 5, noon).telegram_at(noon);
            let end = telegram.iter().rposition(|byte| *byte == b'!').unwrap();
            let (covered, digits) = telegram.split_at(end + 1);
            let expected = match kind.check() {
                Check::None => None,
                Check::Arc => Some(Crc::<u16>::new(&CRC_16_ARC).checksum(covered)),
                Check::X25 => Some(Crc::<u16>::new(&CRC_16_IBM_SDLC).checksum(covered)),
            };
            let digits = std::str::from_utf8(digits).unwrap().trim_end();
            let found = (!digits.is_empty()).then(|| u16::from_str_radix(digits, 16).unwrap());
            assert_eq!(found, expected, "{kind}");

            let lines: Vec<&[u8]> = covered.split(|byte| *byte == b'\n').collect();
            assert!(
                lines[0].starts_with(b"/") && lines[0].ends_with(b"\r"),
                "{kind}"
            );
            assert_eq!(lines[1], b"\r", "{kind}");
            assert_eq!(*lines.last().unwrap(), b"!", "{kind}");
            for line in &lines[2..lines.len() - 1] {
                assert!(line.ends_with(b")\r"), "{kind}");
                assert!(line.len() <= 2_062, "{kind}");
                let open = line.iter().filter(|byte| **byte == b'(').count();
                let close = line.iter().filter(|byte| **byte == b')').count();
                assert_eq!(open, close, "{kind}");
            }
        }
    }

    #[test]
    fn a_telegram_depends_on_the_moment_and_not_on_the_way_there() {
        let start = at("2026-10-24T22:00:00Z");
        for kind in Kind::ALL {
            let mut often = Simulator::new(*kind, 9, start);
            for t in (start..start + 7_200).step_by(130) {
                often.telegram_at(t);
            }
            let mut once = Simulator::new(*kind, 9, start);
            assert_eq!(
                often.telegram_at(start + 7_200),
                once.telegram_at(start + 7_200),
                "{kind}"
            );
        }
    }

    #[test]
    fn another_seed_is_another_household() {
        let t = at("2026-05-15T10:00:00Z");
        for kind in Kind::ALL {
            let one = Simulator::new(*kind, 1, t).telegram_at(t);
            assert_ne!(one, Simulator::new(*kind, 2, t).telegram_at(t), "{kind}");
        }
    }

    #[test]
    fn every_telegram_differs_from_the_one_before() {
        let start = at("2026-05-15T01:00:00Z");
        for kind in Kind::ALL {
            let mut meter = Simulator::new(*kind, 4, start);
            let mut before = meter.telegram_at(start);
            let mut same = 0;
            for n in 1..=60 {
                let now = meter.telegram_at(start + n * kind.period());
                same += usize::from(now == before);
                before = now;
            }
            // Without a clock in the telegram, two seconds of the same power look the same.
            let allowed = if kind.check() == Check::None { 30 } else { 0 };
            assert!(same <= allowed, "{kind}: {same} of 60 the same");
        }
    }

    #[test]
    fn gas_is_captured_every_five_minutes_in_5_0_and_every_hour_before() {
        let t = at("2026-01-15T17:32:40Z");
        let telegram = text(Simulator::new(Kind::Esmr50, 1, t).telegram_at(t));
        assert!(value(&telegram, "0-1:24.2.1").starts_with("260115183000W)("));
        let telegram = text(Simulator::new(Kind::Dsmr42, 1, t).telegram_at(t));
        assert!(value(&telegram, "0-1:24.2.1").starts_with("260115180000W)("));
        let telegram = text(Simulator::new(Kind::Dsmr22, 1, t).telegram_at(t));
        assert_eq!(
            value(&telegram, "0-1:24.3.0"),
            "260115180000)(00)(60)(1)(0-1:24.2.1)(m3"
        );
        let mut meter = Simulator::new(Kind::Esmr50, 1, t);
        let after = text(meter.telegram_at(at("2026-01-15T17:35:00Z")));
        assert!(value(&after, "0-1:24.2.1").starts_with("260115183500W)("));
    }

    #[test]
    fn the_tariff_switches_at_eleven_and_belgium_counts_it_the_other_way() {
        let before = at("2026-01-15T21:59:59Z");
        let mut dutch = Simulator::new(Kind::Esmr50, 1, before);
        assert_eq!(
            value(&text(dutch.telegram_at(before)), "0-0:96.14.0"),
            "0002"
        );
        assert_eq!(
            value(&text(dutch.telegram_at(before + 1)), "0-0:96.14.0"),
            "0001"
        );
        let mut belgian = Simulator::new(Kind::Be, 1, before);
        assert_eq!(
            value(&text(belgian.telegram_at(before)), "0-0:96.14.0"),
            "0001"
        );
        assert_eq!(
            value(&text(belgian.telegram_at(before + 1)), "0-0:96.14.0"),
            "0002"
        );
    }

    #[test]
    fn the_clock_repeats_the_hour_of_the_change_except_in_sweden() {
        let change = at("2026-10-25T01:00:00Z");
        let clock = |kind, t| {
            let telegram = text(Simulator::new(kind, 1, t).telegram_at(t));
            String::from(value(&telegram, "0-0:1.0.0"))
        };
        assert_eq!(clock(Kind::Esmr50, change - 1), "261025025959S");
        assert_eq!(clock(Kind::Esmr50, change), "261025020000W");
        assert_eq!(clock(Kind::Se, change - 1), "261025015959W");
        assert_eq!(clock(Kind::Fi, change - 1), "261025025959S");
    }

    #[test]
    fn registers_of_a_telegram_never_go_down_over_a_day() {
        let start = at("2026-06-10T00:00:00Z");
        let mut meter = Simulator::new(Kind::Esmr50, 2, start);
        let ids = ["1-0:1.8.1", "1-0:1.8.2", "1-0:2.8.1", "1-0:2.8.2"];
        let mut before = ids.map(|_| String::new());
        for t in (start..start + 86_400).step_by(900) {
            let telegram = text(meter.telegram_at(t));
            for (id, before) in ids.iter().zip(&mut before) {
                // Fixed width, so that text compares as numbers do.
                let now = value(&telegram, id);
                assert!(now >= before.as_str(), "{id} fell from {before} to {now}");
                *before = now.into();
            }
        }
    }

    #[test]
    fn a_clock_turned_back_leaves_the_registers() {
        let t = at("2026-06-10T00:00:00Z");
        let mut meter = Simulator::new(Kind::Esmr50, 2, t);
        let first = text(meter.telegram_at(t + 3_600));
        let second = text(meter.telegram_at(t));
        assert_eq!(value(&first, "1-0:1.8.1"), value(&second, "1-0:1.8.1"));
        assert_eq!(value(&second, "0-0:1.0.0"), "260610020000S");
    }

    #[test]
    fn the_long_telegrams_are_long() {
        let t = at("2026-06-10T00:00:00Z");
        let size = |kind| Simulator::new(kind, 1, t).telegram_at(t).len();
        assert!(
            (2_350..2_500).contains(&size(Kind::Hu)),
            "{}",
            size(Kind::Hu)
        );
        assert!(
            (2_500..2_700).contains(&size(Kind::Lt)),
            "{}",
            size(Kind::Lt)
        );
        let telegram = Simulator::new(Kind::Hu, 1, t).telegram_at(t);
        assert_eq!(telegram.iter().filter(|byte| **byte == 0xFF).count(), 1_024);
    }
}
