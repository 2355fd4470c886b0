//! A believable household as a function of time.
//!
//! What flows at a second ([`Household::flows`]) depends on the seed and that second alone;
//! registers are the integral of the flows. The household lives second by second, so that reaching
//! a moment in one step or in many gives the same registers.

use super::calendar::{self, Zone};
use super::random::{Event, drift, unit, within};

/// What flows at one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Use per phase in W, L1 to L3. A one-phase house uses L1 only.
    pub load: [i64; 3],
    /// Solar production per phase in W.
    pub solar: [i64; 3],
    /// Gas in ml/s.
    pub gas: i64,
    /// Cold water in ml/s.
    pub water: i64,
    /// District heat in W.
    pub heat: i64,
}

impl Flows {
    /// Power taken from the grid on each phase in W; negative is given back.
    pub fn net(&self) -> [i64; 3] {
        std::array::from_fn(|phase| self.load[phase] - self.solar[phase])
    }

    /// Sum of the phases in W; negative is given back.
    pub fn total(&self) -> i64 {
        self.net().iter().sum()
    }

    /// Reactive power on each phase in var; negative is capacitive.
    pub fn reactive(&self) -> [i64; 3] {
        // Motors and coils of the running devices against the capacitors of idle power supplies.
        self.load
            .map(|load| if load > 0 { load * 18 / 100 - 55 } else { 0 })
    }
}

/// Where a low tariff holds, and for which registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tariff {
    /// 23:00 to 07:00 local time, and all of Saturday and Sunday.
    Low,
    /// The rest.
    Normal,
}

/// The tariff at a moment.
pub fn tariff(utc: i64, zone: Zone) -> Tariff {
    let now = calendar::local(utc, zone);
    if now.weekday >= 5 || now.hour >= 23 || now.hour < 7 {
        Tariff::Low
    } else {
        Tariff::Normal
    }
}

/// Registers: everything that has flowed so far. None of them ever goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Energy taken from the grid in Ws, at the low and at the normal tariff.
    pub import: [u64; 2],
    /// Energy given to the grid in Ws, at the low and at the normal tariff.
    pub export: [u64; 2],
    /// Reactive energy per quadrant (I to IV) in var·s.
    pub quadrants: [u64; 4],
    /// Gas in ml.
    pub gas: u64,
    /// Cold water in ml.
    pub water: u64,
    /// District heat in J.
    pub heat: u64,
}

/// One household, from its start to its present second.
#[derive(Clone, Debug)]
pub struct Household {
    seed: u64,
    zone: Zone,
    three_phase: bool,
    now: i64,
    registers: Registers,
}

const FRIDGE: u64 = 2;
const KETTLE: Event = Event {
    what: 3,
    bucket: 1_200,
    lasts: (110, 190),
};
const WASHING: Event = Event {
    what: 4,
    bucket: 86_400,
    lasts: (4_800, 6_600),
};
const SHOWER: Event = Event {
    what: 5,
    bucket: 3_600,
    lasts: (240, 600),
};
const TAP: Event = Event {
    what: 6,
    bucket: 300,
    lasts: (8, 45),
};
const COOKING: Event = Event {
    what: 7,
    bucket: 3_600,
    lasts: (900, 2_400),
};
const CLOUD: u64 = 8;
const WEATHER: u64 = 9;
const VOLTAGE: u64 = 10;
const EVENING: u64 = 13;
const JITTER: u64 = 14;
const FREQUENCY: u64 = 15;
const START: u64 = 16;

impl Household {
    /// A household whose life begins at `start` (UTC seconds), with registers drawn from the seed.
    pub fn new(seed: u64, start: i64, zone: Zone, three_phase: bool) -> Self {
        let energy = |n, low: i64, high: i64| within(seed, START, n, low, high) as u64 * 3_600;
        Household {
            seed,
            zone,
            three_phase,
            now: start,
            registers: Registers {
                import: [
                    energy(1, 1_500_000, 9_000_000),
                    energy(2, 1_500_000, 9_000_000),
                ],
                export: [energy(3, 200_000, 900_000), energy(4, 800_000, 4_000_000)],
                quadrants: [
                    energy(5, 100_000, 400_000),
                    energy(6, 1_000, 40_000),
                    energy(7, 20_000, 90_000),
                    energy(8, 200_000, 900_000),
                ],
                gas: within(seed, START, 9, 900_000, 7_000_000) as u64 * 1_000,
                water: within(seed, START, 10, 60_000, 900_000) as u64 * 1_000,
                heat: within(seed, START, 11, 4_000, 190_000) as u64 * 1_000_000,
            },
        }
    }

    /// The present second, UTC.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Everything that has flowed up to the present second.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Lives one second: what flows at that second is added to the registers.
    pub fn step(&mut self) -> Flows {
        self.now += 1;
        let flows = self.flows(self.now);
        let net = flows.total();
        let tariff = tariff(self.now - 1, self.zone) as usize;
        let reactive: i64 = flows.reactive().iter().sum();
        let r = &mut self.registers;
        r.import[tariff] += net.max(0) as u64;
        r.export[tariff] += (-net).max(0) as u64;
        let quadrant = match (net >= 0, reactive >= 0) {
            (true, true) => 0,
            (false, true) => 1,
            (false, false) => 2,
            (true, false) => 3,
        };
        r.quadrants[quadrant] += reactive.unsigned_abs();
        r.gas += flows.gas as u64;
        r.water += flows.water as u64;
        r.heat += flows.heat as u64;
        flows
    }

    /// What flows at any second of this household's life.
    pub fn flows(&self, t: i64) -> Flows {
        let clock = calendar::local(t, self.zone);
        let minute = clock.hour * 60 + clock.minute;
        let awake = (390..1_380).contains(&minute);
        let seed = self.seed;
        let jitter = |phase: u64, watts: f64| (unit(seed, JITTER + (phase << 8), t) - 0.5) * watts;

        let standby = 120.0 + 40.0 * drift(seed, 1, t, 1_800) + jitter(0, 16.0);
        let fridge = if (t + within(seed, FRIDGE, 0, 0, 2_820)).rem_euclid(2_820) < 1_020 {
            95.0 + jitter(1, 6.0)
        } else {
            0.0
        };
        let presence = 0.7 + 0.3 * drift(seed, EVENING, t, 900);
        let evening = presence
            * (260.0 * bump(minute, 390, 435, 540) + 480.0 * bump(minute, 1_020, 1_200, 1_410));
        let kettle = match KETTLE.since(seed, t, if awake { 0.22 } else { 0.0 }) {
            Some(_) => 2_050.0 + jitter(2, 24.0),
            None => 0.0,
        };
        let washing = match WASHING.since(seed, t, 0.7) {
            Some(0..900) => 2_000.0 + jitter(3, 30.0),
            Some(since) if since % 40 < 22 => 230.0 + jitter(3, 60.0),
            Some(_) => 25.0 + jitter(3, 4.0),
            None => 0.0,
        };
        let solar = self.sun(t) * 4_300.0;

        let mut flows = Flows {
            gas: self.gas(t, minute),
            water: self.water(t, awake),
            heat: (self.cold(t) * heating_schedule(minute) * 9_000.0) as i64,
            ..Flows::default()
        };
        let watts = |sum: f64| (sum + 0.5) as i64;
        if self.three_phase {
            flows.load = [
                watts(standby + kettle),
                watts(fridge + evening * 0.6 + 22.0 + jitter(4, 5.0)),
                watts(washing + evening * 0.4 + 14.0 + jitter(5, 4.0)),
            ];
            flows.solar = [watts(solar / 3.0); 3];
        } else {
            flows.load[0] = watts(standby + kettle + fridge + evening + washing);
            flows.solar[0] = watts(solar);
        }
        flows
    }

    /// Voltage of each phase at the present second in mV: it wanders around 230 V, sags with what
    /// the house takes and rises with what it gives. Zero on the phases a house does not have.
    pub fn voltages(&self) -> [i64; 3] {
        let net = self.flows(self.now).net();
        std::array::from_fn(|phase| {
            if phase > 0 && !self.three_phase {
                return 0;
            }
            let what = VOLTAGE + ((phase as u64) << 8);
            let volts = 230.0
                + 3.0 * drift(self.seed, VOLTAGE, self.now, 5_400)
                + 1.2 * drift(self.seed, what, self.now, 90)
                + 0.4 * (unit(self.seed, what + 1, self.now) - 0.5)
                - net[phase] as f64 / 230.0 * 0.28;
            (volts * 1_000.0) as i64
        })
    }

    /// Current of each phase at the present second in mA, without direction.
    pub fn currents(&self) -> [i64; 3] {
        let flows = self.flows(self.now);
        let (active, reactive, volts) = (flows.net(), flows.reactive(), self.voltages());
        std::array::from_fn(|phase| {
            let apparent = apparent(active[phase], reactive[phase]);
            (apparent * 1_000_000)
                .checked_div(volts[phase])
                .unwrap_or(0)
        })
    }

    /// Frequency of the grid at the present second in mHz.
    pub fn frequency(&self) -> i64 {
        50_000 + (drift(self.seed, FREQUENCY, self.now, 40) * 60.0) as i64
    }

    /// The sun on the roof, 0.0 to 1.0: a day curve that follows the season, less the clouds.
    fn sun(&self, t: i64) -> f64 {
        let winter = self.winter(t);
        let half_day = 4.0 + 4.2 * (1.0 - winter);
        // The sun's noon, not the clock's: about 12:40 in winter time at five degrees east.
        let hour = ((t + 3_600).rem_euclid(86_400)) as f64 / 3_600.0 - 12.67;
        let height = 1.0 - (hour / half_day) * (hour / half_day);
        if height <= 0.0 {
            return 0.0;
        }
        let season = 0.3 + 0.7 * (1.0 - winter);
        let overcast = 0.5 + 0.5 * drift(self.seed, WEATHER, t, 43_200);
        let passing = 0.5 + 0.5 * drift(self.seed, CLOUD, t, 240);
        height * season * (1.0 - 0.55 * overcast - 0.4 * overcast * passing)
    }

    /// How much the house wants to be heated, 0.0 to 1.0.
    fn cold(&self, t: i64) -> f64 {
        let day = 1.0 - ((t - 18_000).rem_euclid(86_400) - 43_200).abs() as f64 / 43_200.0;
        let outside = 19.0 - 17.0 * self.winter(t)
            + 4.0 * (day - 0.5)
            + 3.0 * drift(self.seed, WEATHER + 1, t, 90_000);
        ((17.0 - outside) / 27.0).clamp(0.0, 1.0)
    }

    /// 0.0 in the middle of July, 1.0 half a year later.
    fn winter(&self, t: i64) -> f64 {
        let (year, _, _) = calendar::date(t.div_euclid(86_400));
        let of_year = t.div_euclid(86_400) - calendar::days(year, 1, 1);
        (of_year - 196).abs().min(365 - (of_year - 196).abs()) as f64 / 182.5
    }

    fn gas(&self, t: i64, minute: i64) -> i64 {
        let wanted = self.cold(t) * heating_schedule(minute);
        let cycle = (t + within(self.seed, WEATHER + 2, 0, 0, 900)).rem_euclid(900) as f64;
        let heating = if cycle < 900.0 * wanted { 310 } else { 0 };
        let tap = if self.showering(t, minute).is_some() {
            560
        } else {
            0
        };
        let chance = if (1_020..1_140).contains(&minute) {
            0.9
        } else {
            0.04
        };
        let stove = if COOKING.since(self.seed, t, chance).is_some() {
            45
        } else {
            0
        };
        // A boiler heats either the radiators or the tap water.
        if tap > 0 {
            tap + stove
        } else {
            heating + stove
        }
    }

    fn water(&self, t: i64, awake: bool) -> i64 {
        let minute = calendar::local(t, self.zone).hour * 60;
        let shower = if self.showering(t, minute).is_some() {
            130
        } else {
            0
        };
        let tap = TAP.since(self.seed, t, if awake { 0.16 } else { 0.015 });
        shower + if tap.is_some() { 110 } else { 0 }
    }

    fn showering(&self, t: i64, minute: i64) -> Option<i64> {
        let chance = match minute / 60 {
            6..8 => 0.7,
            21..23 => 0.4,
            _ => 0.01,
        };
        SHOWER.since(self.seed, t, chance)
    }
}

/// Apparent power in VA of an active power in W and a reactive power in var.
pub fn apparent(active: i64, reactive: i64) -> i64 {
    (active * active + reactive * reactive).isqrt()
}

/// Rises from 0.0 at `from` to 1.0 at `top` and falls back to 0.0 at `until`.
fn bump(minute: i64, from: i64, top: i64, until: i64) -> f64 {
    if minute < from || minute >= until {
        0.0
    } else if minute < top {
        (minute - from) as f64 / (top - from) as f64
    } else {
        (until - minute) as f64 / (until - top) as f64
    }
}

/// The thermostat's day: lower at night.
fn heating_schedule(minute: i64) -> f64 {
    if (360..1_350).contains(&minute) {
        1.0
    } else {
        0.35
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calendar::parse_utc;

    fn household(at: &str) -> Household {
        Household::new(11, parse_utc(at).unwrap(), Zone::European, true)
    }

    #[test]
    fn registers_never_go_down_over_a_day() {
        let mut house = household("2026-06-10T00:00:00Z");
        let first = *house.registers();
        for _ in 0..86_400 {
            let before = *house.registers();
            house.step();
            let now = house.registers();
            for n in 0..2 {
                assert!(now.import[n] >= before.import[n] && now.export[n] >= before.export[n]);
            }
            assert!(now.gas >= before.gas && now.water >= before.water && now.heat >= before.heat);
        }
        let last = house.registers();
        let day = |now: u64, then: u64| (now - then) / 3_600;
        let imported = day(
            last.import[0] + last.import[1],
            first.import[0] + first.import[1],
        );
        let exported = day(
            last.export[0] + last.export[1],
            first.export[0] + first.export[1],
        );
        assert!((1_500..15_000).contains(&imported), "{imported} Wh");
        assert!((1_000..30_000).contains(&exported), "{exported} Wh");
        assert!((50..900).contains(&((last.water - first.water) / 1_000)));
    }

    #[test]
    fn a_winter_day_burns_more_gas_than_a_summer_day() {
        let burned = |at| {
            let mut house = household(at);
            let before = house.registers().gas;
            for _ in 0..86_400 {
                house.step();
            }
            (house.registers().gas - before) / 1_000
        };
        let (winter, summer) = (
            burned("2026-01-20T00:00:00Z"),
            burned("2026-07-20T00:00:00Z"),
        );
        assert!((4_000..20_000).contains(&winter), "{winter} l");
        assert!(summer < winter / 4, "{summer} l against {winter} l");
    }

    #[test]
    fn power_is_exported_only_while_the_sun_shines() {
        let house = household("2026-06-10T00:00:00Z");
        let mut exported = 0;
        for t in (house.now()..house.now() + 86_400).step_by(7) {
            let flows = house.flows(t);
            let hour = calendar::local(t, Zone::European).hour;
            if flows.total() < 0 {
                exported += 1;
                assert!(flows.solar[0] > 0);
                assert!((5..22).contains(&hour), "export at {hour} o'clock");
            }
            assert!(flows.load.iter().all(|load| *load > 0));
        }
        assert!(exported > 1_000);
    }

    #[test]
    fn the_tariff_is_low_at_night_and_at_weekends() {
        let at = |text| tariff(parse_utc(text).unwrap(), Zone::European);
        assert_eq!(at("2026-01-15T21:59:59Z"), Tariff::Normal);
        assert_eq!(at("2026-01-15T22:00:00Z"), Tariff::Low);
        assert_eq!(at("2026-01-16T05:59:59Z"), Tariff::Low);
        assert_eq!(at("2026-01-16T06:00:00Z"), Tariff::Normal);
        assert_eq!(at("2026-01-17T12:00:00Z"), Tariff::Low);
        assert_eq!(at("2026-07-15T20:59:59Z"), Tariff::Normal);
        assert_eq!(at("2026-07-15T21:00:00Z"), Tariff::Low);
    }

    #[test]
    fn only_the_register_of_the_tariff_in_force_moves() {
        let mut house = household("2026-01-15T21:59:00Z");
        let first = *house.registers();
        for _ in 0..60 {
            house.step();
        }
        let at_eleven = *house.registers();
        assert_eq!(at_eleven.import[0], first.import[0]);
        assert!(at_eleven.import[1] > first.import[1]);
        for _ in 0..60 {
            house.step();
        }
        assert!(house.registers().import[0] > first.import[0]);
        assert_eq!(house.registers().import[1], at_eleven.import[1]);
    }

    #[test]
    fn power_and_voltage_move_every_second() {
        let mut house = household("2026-01-15T02:00:00Z");
        let mut same = 0;
        for _ in 0..600 {
            let before = (house.flows(house.now()), house.voltages());
            house.step();
            same += usize::from(before == (house.flows(house.now()), house.voltages()));
        }
        assert_eq!(same, 0);
    }

    #[test]
    fn voltage_stays_near_230_and_sags_with_load() {
        let mut house = household("2026-01-15T12:00:00Z");
        let (mut quiet, mut loaded) = ((0, 0), (0, 0));
        for _ in 0..40_000 {
            house.step();
            let volts = house.voltages()[0];
            assert!((215_000..245_000).contains(&volts), "{volts} mV");
            let sum = if house.flows(house.now()).load[0] > 1_800 {
                &mut loaded
            } else {
                &mut quiet
            };
            *sum = (sum.0 + volts, sum.1 + 1);
        }
        assert!(loaded.1 > 100);
        assert!(loaded.0 / loaded.1 + 1_000 < quiet.0 / quiet.1);
    }

    #[test]
    fn a_one_phase_house_has_one_phase() {
        let house = Household::new(1, 1_768_000_000, Zone::European, false);
        assert_eq!(&house.voltages()[1..], &[0, 0]);
        assert_eq!(&house.currents()[1..], &[0, 0]);
        assert_eq!(&house.flows(house.now()).net()[1..], &[0, 0]);
    }
}
