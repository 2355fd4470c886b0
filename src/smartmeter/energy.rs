//! The energy of each phase since a start, whose sum is what the meter's import registers have gained.
//!
//! Meters count energy for all phases together. What the registers gain from one telegram to the next
//! is split by the energy that each phase's power makes in that time. Nothing is rounded away: the
//! three always add up to the gain. What was gained while the device was off is split as all before it.

use embassy_time::Instant;

use super::values::{Phases, Registers, Values};
use crate::p1::timestamp::Utc;

/// Telegrams in a row that show other registers, or another meter, before it is believed.
const PATIENCE: u8 = 3;

/// The most time that one power stands for. Longer gaps say nothing of what was in them.
const GAP_MS: u64 = 3_600_000;

/// Bytes of a [`Kept`].
pub const KEPT: usize = 40;

/// What survives a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// The meter's fingerprint.
    pub meter: u16,
    /// Its registers when they were last looked at.
    pub registers: Registers,
    /// mWh of each phase.
    pub phases: Phases,
    /// When counting began; 0 when nobody knew the time.
    pub since: Utc,
}

impl Kept {
    /// The form in flash.
    pub fn to_bytes(self) -> [u8; KEPT] {
        let [l1, l2, l3] = self.phases.map(i64::to_le_bytes);
        let mut bytes = [0; KEPT];
        let fields: [&[u8]; 7] = [
            &self.meter.to_le_bytes(),
            &self.registers.set.to_le_bytes(),
            &self.registers.sum.to_le_bytes(),
            &l1,
            &l2,
            &l3,
            &self.since.to_le_bytes(),
        ];
        let mut start = 0;
        for field in fields {
            let end = start + field.len();
            if let Some(place) = bytes.get_mut(start..end) {
                place.copy_from_slice(field);
            }
            start = end;
        }
        bytes
    }

    /// What such bytes say; `None` when they are of another form.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (first, more) = rest.split_first_chunk()?;
            *rest = more;
            Some(*first)
        }
        let rest = &mut <&[u8; KEPT]>::try_from(bytes).ok()?.as_slice();
        Some(Self {
            meter: u16::from_le_bytes(take(rest)?),
            registers: Registers {
                set: u16::from_le_bytes(take(rest)?),
                sum: i64::from_le_bytes(take(rest)?),
            },
            phases: [
                i64::from_le_bytes(take(rest)?),
                i64::from_le_bytes(take(rest)?),
                i64::from_le_bytes(take(rest)?),
            ],
            since: Utc::from_le_bytes(take(rest)?),
        })
    }
}

/// Counts the energy of each phase. RAM: 0.1 kB.
#[derive(Debug, Clone, Default)]
pub struct Energy {
    kept: Option<Kept>,
    /// Energy that each phase's power has made since the registers last gained, in mW·ms.
    made: Phases,
    /// When the last telegram came; `None` until there is one.
    at: Option<Instant>,
    odd: u8,
}

impl Energy {
    /// Nothing counted yet, or what was kept.
    pub fn new(kept: Option<Kept>) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    /// What has been counted; `None` before the first telegram with a register.
    pub fn counted(&self) -> Option<Kept> {
        self.kept
    }

    /// Starts over at `since` with `phases` mWh. Without registers there is nothing to start.
    pub fn reset(&mut self, phases: Phases, since: Utc) {
        if let Some(kept) = &mut self.kept {
            kept.phases = phases;
            kept.since = since;
        }
    }

    /// Takes a verified telegram in, received at `now`; `utc` is the time, 0 when nobody knows it.
    pub fn update(&mut self, meter: u16, values: &Values, now: Instant, utc: Utc) {
        let Some(registers) = values.registers() else {
            return;
        };
        let kept = self.kept.get_or_insert(Kept {
            meter,
            registers,
            phases: [0; 3],
            since: utc,
        });
        if (kept.meter, kept.registers.set) != (meter, registers.set) {
            // A line that was not readable makes another sum, which must not be taken for a gain.
            self.odd += 1;
            if self.odd < PATIENCE {
                return;
            }
            kept.meter = meter;
            kept.registers = registers;
        }
        self.odd = 0;
        if let Some(at) = self.at.replace(now) {
            let ms = now.saturating_duration_since(at).as_millis().min(GAP_MS) as i64;
            for (made, power) in self.made.iter_mut().zip(values.importing()) {
                *made = made.saturating_add(power.saturating_mul(ms));
            }
        }
        let gain = registers.sum.saturating_sub(kept.registers.sum);
        kept.registers = registers;
        if gain > 0 {
            let before = kept.phases.map(|energy| energy.max(0));
            let known = [self.made, before].into_iter().find(|by| sum(by) > 0);
            let by = known.unwrap_or_else(|| values.importing());
            for (phase, share) in kept.phases.iter_mut().zip(split(gain, by)) {
                *phase = phase.saturating_add(share);
            }
            self.made = [0; 3];
        }
    }
}

/// All phases together.
pub fn sum(phases: &Phases) -> i64 {
    phases
        .iter()
        .fold(0, |sum, phase| sum.saturating_add(*phase))
}

/// Three parts of `gain` in the proportion of `by`, none of which is negative; the parts add up.
/// Without any proportion all goes to L1.
fn split(gain: i64, by: Phases) -> Phases {
    // The products below have to fit, also when the sum is no more than the largest number that there is.
    let bits = 64 - sum(&by).leading_zeros();
    let by = by.map(|weight| weight >> bits.saturating_sub(30));
    let all = sum(&by);
    if all == 0 {
        return [gain, 0, 0];
    }
    let (whole, rest) = (gain / all, gain % all);
    let mut parts = by.map(|weight| whole * weight + rest * weight / all);
    let missing = gain - sum(&parts);
    let heaviest = by.iter().enumerate().max_by_key(|(_, weight)| **weight);
    if let Some(part) = heaviest.and_then(|(phase, _)| parts.get_mut(phase)) {
        *part += missing;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::{format, string::String, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::reading::Reading;

    /// A household and its meter.
    #[derive(Debug, Clone)]
    struct House {
        /// Wh of the two tariffs.
        tariffs: [i64; 2],
        /// W of each phase.
        power: [i64; 3],
        /// W that are fed in on some phase.
        sun: i64,
    }

    impl House {
        fn values(&self, now: u64, without: &str) -> Values {
            let kilo = |count: i64| format!("{}.{:03}", count / 1000, count % 1000);
            let [low, high] = self.tariffs.map(kilo);
            let mut lines: Vec<String> = std::vec![
                format!("1-0:1.8.1({low}*kWh)"),
                format!("1-0:1.8.2({high}*kWh)"),
                format!(
                    "1-0:1.7.0({}*kW)",
                    kilo((self.power.iter().sum::<i64>() - self.sun).max(0))
                ),
            ];
            for (power, id) in self.power.iter().zip([21, 41, 61]) {
                lines.push(format!("1-0:{id}.7.0({}*kW)", kilo(*power)));
            }
            let mut reading = Reading::new();
            reading.begin(b"ABC5x");
            for line in lines {
                if without.is_empty() || !line.contains(without) {
                    reading.line(line.as_bytes()).unwrap();
                }
            }
            reading.settle();
            Values::of(&reading, Instant::from_secs(now))
        }
    }

    fn update(energy: &mut Energy, house: &House, now: u64) {
        let values = house.values(now, "");
        energy.update(7, &values, Instant::from_secs(now), 1_000 + now as u32);
    }

    fn phases(energy: &Energy) -> Phases {
        energy.counted().unwrap().phases
    }

    #[test]
    fn a_gain_is_split_by_the_energy_of_each_phase() {
        let mut house = House {
            tariffs: [5_000, 9_000],
            power: [300, 100, 0],
            sun: 0,
        };
        let mut energy = Energy::default();
        update(&mut energy, &house, 0);
        assert_eq!(phases(&energy), [0; 3]);
        for now in 1..=9 {
            update(&mut energy, &house, now);
        }
        house.tariffs[0] += 1;
        update(&mut energy, &house, 10);
        assert_eq!(phases(&energy), [750, 250, 0]);
        // Ten seconds of one, then twenty of the other.
        house.power = [0, 0, 200];
        for now in 11..=29 {
            update(&mut energy, &house, now);
        }
        house.power = [200, 0, 0];
        house.tariffs[1] += 3;
        update(&mut energy, &house, 48);
        assert_eq!(phases(&energy), [2_250, 250, 1_500]);
        assert_eq!(energy.counted().unwrap().since, 1_000);
    }

    #[test]
    fn the_meter_of_a_house_that_feeds_in_stands_still_and_so_does_the_split() {
        let mut house = House {
            tariffs: [0, 0],
            power: [500, 0, 0],
            sun: 900,
        };
        let mut energy = Energy::default();
        for now in 0..100 {
            update(&mut energy, &house, now);
        }
        (house.power, house.sun) = ([0, 0, 500], 0);
        house.tariffs[0] += 1;
        update(&mut energy, &house, 101);
        assert_eq!(phases(&energy), [0, 0, 1_000]);
    }

    #[test]
    fn a_register_that_is_missing_for_once_is_neither_loss_nor_gain() {
        let mut house = House {
            tariffs: [5_000, 9_000],
            power: [100, 0, 0],
            sun: 0,
        };
        let mut energy = Energy::default();
        update(&mut energy, &house, 0);
        for now in 1..=20 {
            house.tariffs[1] += 1;
            match now % 3 {
                0 => update(&mut energy, &house, now),
                _ => {
                    let values = house.values(now, "1.8.1(");
                    energy.update(7, &values, Instant::from_secs(now), 0);
                }
            }
        }
        house.tariffs[0] += 1;
        update(&mut energy, &house, 21);
        assert_eq!(phases(&energy), [21_000, 0, 0]);
    }

    #[test]
    fn another_meter_goes_on_from_where_it_is() {
        let mut house = House {
            tariffs: [5_000, 9_000],
            power: [100, 0, 0],
            sun: 0,
        };
        let mut energy = Energy::default();
        update(&mut energy, &house, 0);
        house.tariffs[0] += 2;
        update(&mut energy, &house, 1);
        let other = House {
            tariffs: [70_000, 0],
            power: [100, 0, 0],
            sun: 0,
        };
        for now in 2..10 {
            let values = other.values(now, "");
            energy.update(8, &values, Instant::from_secs(now), 0);
        }
        assert_eq!(phases(&energy), [2_000, 0, 0]);
        // One whose registers were set back goes on too.
        let back = House {
            tariffs: [0, 0],
            power: [100, 0, 0],
            sun: 0,
        };
        energy.update(8, &back.values(11, ""), Instant::from_secs(11), 0);
        let on = House {
            tariffs: [1, 0],
            power: [100, 0, 0],
            sun: 0,
        };
        energy.update(8, &on.values(12, ""), Instant::from_secs(12), 0);
        assert_eq!(phases(&energy), [3_000, 0, 0]);
    }

    #[test]
    fn what_is_kept_comes_back() {
        let kept = Kept {
            meter: 0xBEEF,
            registers: Registers {
                sum: i64::MAX - 1,
                set: 0b1010,
            },
            phases: [1, -2, i64::MIN],
            since: 0xDEAD_BEEF,
        };
        assert_eq!(Kept::from_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(Kept::from_bytes(&[0; KEPT - 1]), None);
        assert_eq!(Kept::from_bytes(&[0; KEPT + 1]), None);
    }

    #[test]
    fn parts_add_up_at_any_size() {
        for gain in [
            1,
            2,
            3,
            999,
            1_000_000_007,
            6_442_450_940,
            1 << 45,
            i64::MAX,
        ] {
            for by in [
                [0, 0, 0],
                [1, 1, 1],
                [1, 0, i64::MAX - 1],
                [i64::MAX, i64::MAX, i64::MAX],
                [3, 5, 7],
            ] {
                let parts = split(gain, by);
                assert_eq!(sum(&parts), gain, "{gain} {by:?}");
                assert!(parts.iter().all(|part| *part >= 0), "{gain} {by:?}");
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Telegram {
            wh: i64,
            tariff: usize,
            power: [i64; 3],
            seconds: u64,
        },
        Keep,
        Restart {
            wh: i64,
        },
        Reset([i64; 3]),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..50i64, 0..2usize, [0..9_000i64, 0..9_000, 0..9_000], 1..20u64)
                .prop_map(|(wh, tariff, power, seconds)| Step::Telegram { wh, tariff, power, seconds }),
            2 => Just(Step::Keep),
            1 => (0..5_000i64).prop_map(|wh| Step::Restart { wh }),
            1 => [0..9_000_000i64, 0..9_000_000, 0..9_000_000].prop_map(Step::Reset),
        ]
    }

    proptest! {
        /// Whatever happens, and however old what was kept is: the phases add up to the registers' gain.
        #[test]
        fn the_phases_add_up_to_the_registers_gain(steps in prop::collection::vec(step(), 1..60)) {
            let mut house = House { tariffs: [1_000, 2_000], power: [0; 3], sun: 0 };
            let mut energy = Energy::default();
            let mut now = 0;
            update(&mut energy, &house, now);
            // Registers and phases at the start of counting.
            let mut start = (3_000, 0);
            let mut kept = energy.counted();
            let mut kept_start = start;
            for step in steps {
                match step {
                    Step::Telegram { wh, tariff, power, seconds } => {
                        now += seconds;
                        house.tariffs[tariff] += wh;
                        house.power = power;
                        update(&mut energy, &house, now);
                        let gain = house.tariffs.iter().sum::<i64>() - start.0;
                        prop_assert_eq!(sum(&phases(&energy)), start.1 + 1_000 * gain);
                    }
                    Step::Keep => (kept, kept_start) = (energy.counted(), start),
                    Step::Restart { wh } => {
                        house.tariffs[0] += wh;
                        energy = Energy::new(kept.map(|kept| Kept::from_bytes(&kept.to_bytes()).unwrap()));
                        start = kept_start;
                    }
                    // A reset is kept at once.
                    Step::Reset(phases) => {
                        energy.reset(phases, 5);
                        start = (energy.counted().unwrap().registers.sum / 1_000, sum(&phases));
                        (kept, kept_start) = (energy.counted(), start);
                    }
                }
            }
        }
    }
}
