//! The electrical quantities of the last verified telegram, and what they say of each phase.

use embassy_time::Instant;

use crate::{
    p1::{obis::Obis, value::Number},
    reading::{Content, Reading},
};

/// Decimals of every quantity here: mV, mA, mW, mvar, mVA, mHz, thousandths of a degree.
pub const DECIMALS: u8 = 3;

/// Decimals of a calibration factor.
pub const FACTOR_DECIMALS: u8 = 6;

/// What a factor of 1 is.
pub const ONE: i32 = 1_000_000;

/// Factors by which voltages and currents are multiplied: V of L1, I of L1, V of L2, …
pub type Calibration = [i32; 6];

/// Factors that change nothing.
pub const UNCALIBRATED: Calibration = [ONE; 6];

/// One number for each phase.
pub type Phases = [i64; 3];

/// Something that a meter may say of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// 32.7.0, mV.
    Voltage,
    /// 31.7.0, mA.
    Current,
    /// 21.7.0, mW.
    Import,
    /// 22.7.0, mW.
    Export,
    /// 23.7.0, mvar.
    ReactiveImport,
    /// 24.7.0, mvar.
    ReactiveExport,
}

const QUANTITIES: usize = 6;

/// C of L1's ids and the power of ten from the table's unit (V, A, kW, kvar) to thousandths; each
/// further phase is 20 above (IEC 62056-6-1, table 5).
const IDS: [(Quantity, u8, u8); QUANTITIES] = [
    (Quantity::Voltage, 32, 3),
    (Quantity::Current, 31, 3),
    (Quantity::Import, 21, 6),
    (Quantity::Export, 22, 6),
    (Quantity::ReactiveImport, 23, 6),
    (Quantity::ReactiveExport, 24, 6),
];

/// Something that is measured of a phase, by what a meter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RMS voltage, mV.
    Voltage,
    /// RMS current, mA.
    Current,
    /// Active power, mW, what is fed in negative.
    Active,
    /// Reactive power, mvar.
    Reactive,
}

/// What a command asked for that the last telegram does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No telegram has come yet.
    Telegram,
    /// None has come for so many seconds.
    Stale(u32),
    /// This meter does not send it.
    Quantity(&'static str),
    /// It sends it of other phases, but not of this one.
    Phase(&'static str, usize),
}

/// The values of one telegram. RAM: 0.4 kB.
#[derive(Debug, Clone, Default)]
pub struct Values {
    at: Option<Instant>,
    phases: [[Option<i64>; QUANTITIES]; 3],
    import: Option<i64>,
    export: Option<i64>,
    frequency: Option<i64>,
    registers: Registers,
}

/// The import registers of a telegram: their sum, and which they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Registers {
    /// The sum in mWh.
    pub sum: i64,
    /// A bit for each E of 1-x:1.8.E; bit 0 alone when the meter sends the total.
    pub set: u16,
}

impl Values {
    /// Those of a reading that was received at `now`.
    pub fn of(reading: &Reading, now: Instant) -> Self {
        let mut values = Self {
            at: Some(now),
            ..Self::default()
        };
        for value in reading.values_of(|brief| brief.is_number() && !brief.has_device()) {
            if let Content::Number { number, .. } = value.content
                && value.newest
                && value.obis.a() == 1
            {
                values.take(value.obis, number);
            }
        }
        values
    }

    fn take(&mut self, obis: Obis, number: Number) {
        match (obis.c(), obis.d(), obis.e()) {
            (1, 7, 0) => self.import = scaled(number, 6),
            (2, 7, 0) => self.export = scaled(number, 6),
            (14, 7, 0) => self.frequency = scaled(number, 3),
            (1, 8, tariff @ 0..16) => {
                let Some(energy) = scaled(number, 6) else {
                    return;
                };
                let registers = &mut self.registers;
                if tariff == 0 {
                    *registers = Registers {
                        sum: energy,
                        set: 1,
                    };
                } else if registers.set & 1 == 0 {
                    registers.sum = registers.sum.saturating_add(energy);
                    registers.set |= 1 << tariff;
                }
            }
            (c, 7, 0) => {
                let phase = usize::from(c.wrapping_sub(21)) / 20;
                let first = c.wrapping_sub(20 * phase as u8);
                let id = IDS.iter().find(|(_, id, _)| *id == first);
                if let (Some((quantity, _, shift)), Some(phase)) = (id, self.phases.get_mut(phase))
                {
                    phase[*quantity as usize] = scaled(number, *shift);
                }
            }
            _ => {}
        }
    }

    /// When the telegram came.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// That there is a telegram, no older than `most` seconds.
    ///
    /// # Errors
    /// [`Missing::Telegram`], [`Missing::Stale`].
    pub fn fresh(&self, now: Instant, most: u64) -> Result<&Self, Missing> {
        let at = self.at.ok_or(Missing::Telegram)?;
        let age = now.saturating_duration_since(at).as_secs();
        if age > most {
            return Err(Missing::Stale(age.try_into().unwrap_or(u32::MAX)));
        }
        Ok(self)
    }

    /// The import registers; `None` when the meter sends none.
    pub fn registers(&self) -> Option<Registers> {
        (self.registers.set != 0).then_some(self.registers)
    }

    fn get(&self, phase: usize, quantity: Quantity) -> Option<i64> {
        self.phases.get(phase)?.get(quantity as usize).copied()?
    }

    fn sends(&self, phase: usize) -> bool {
        let said = |phase: &[Option<i64>; QUANTITIES]| phase.iter().any(Option::is_some);
        self.phases.get(phase).is_some_and(said)
    }

    /// How many phases the meter has, of which one may be dead; never 0.
    pub fn count(&self) -> i64 {
        let phases = (0..3).filter(|phase| self.sends(*phase));
        (phases.count() as i64).max(1)
    }

    /// What the meter says of a phase; `None` when it does not say it. A meter that does not send
    /// active power by phase has it all on L1.
    pub fn of_phase(&self, kind: Kind, phase: usize, by: &Calibration) -> Option<i64> {
        match kind {
            Kind::Voltage => {
                let value = self.get(phase, Quantity::Voltage)?;
                Some(calibrated(value, volts(by, phase)))
            }
            Kind::Current => {
                let value = self.get(phase, Quantity::Current)?;
                Some(calibrated(value, amperes(by, phase)))
            }
            Kind::Active => {
                let value = match phase {
                    0 if self.has_total_only() => net(self.import, self.export),
                    _ => self.active_of(phase),
                };
                Some(watts(value?, by, phase))
            }
            Kind::Reactive => {
                let import = self.get(phase, Quantity::ReactiveImport);
                let value = net(import, self.get(phase, Quantity::ReactiveExport));
                Some(watts(value?, by, phase))
            }
        }
    }

    fn active_of(&self, phase: usize) -> Option<i64> {
        let import = self.get(phase, Quantity::Import);
        net(import, self.get(phase, Quantity::Export))
    }

    fn has_total_only(&self) -> bool {
        (0..3).all(|phase| self.active_of(phase).is_none())
    }

    /// A quantity of each phase; a phase that the meter does not have is 0.
    fn each(
        &self,
        name: &'static str,
        get: impl Fn(usize) -> Option<i64>,
    ) -> Result<Phases, Missing> {
        let found = [get(0), get(1), get(2)];
        if found.iter().all(Option::is_none) {
            return Err(Missing::Quantity(name));
        }
        let mut values = [0; 3];
        for (phase, (value, found)) in values.iter_mut().zip(found).enumerate() {
            *value = match found {
                Some(found) => found,
                None if self.sends(phase) => return Err(Missing::Phase(name, phase)),
                None => 0,
            };
        }
        Ok(values)
    }

    /// RMS voltages in mV.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn voltage(&self, by: &Calibration) -> Result<Phases, Missing> {
        self.each("voltage", |phase| self.of_phase(Kind::Voltage, phase, by))
    }

    /// RMS currents in mA.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn current(&self, by: &Calibration) -> Result<Phases, Missing> {
        self.each("current", |phase| self.of_phase(Kind::Current, phase, by))
    }

    /// Active power in mW, what is fed in negative. A meter that does not send it by phase has it all
    /// on L1.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn active(&self, by: &Calibration) -> Result<Phases, Missing> {
        if self.has_total_only() {
            let total = self.of_phase(Kind::Active, 0, by);
            return Ok([total.ok_or(Missing::Quantity("power"))?, 0, 0]);
        }
        self.each("power", |phase| self.of_phase(Kind::Active, phase, by))
    }

    /// Reactive power in mvar.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn reactive(&self, by: &Calibration) -> Result<Phases, Missing> {
        self.each("reactive power", |phase| {
            self.of_phase(Kind::Reactive, phase, by)
        })
    }

    /// Apparent power in mVA: voltage times current.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn apparent(&self, by: &Calibration) -> Result<Phases, Missing> {
        let (voltage, current) = (self.voltage(by)?, self.current(by)?);
        let mut phases = [0; 3];
        for (value, (volts, amperes)) in phases.iter_mut().zip(voltage.into_iter().zip(current)) {
            *value = volts.saturating_mul(amperes) / 1000;
        }
        Ok(phases)
    }

    /// The mains frequency in mHz, once for each phase that the meter has.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn frequency(&self) -> Result<Phases, Missing> {
        let frequency = self.frequency.ok_or(Missing::Quantity("frequency"))?;
        Ok([0, 1, 2].map(|phase| {
            if phase == 0 || self.sends(phase) {
                frequency
            } else {
                0
            }
        }))
    }

    /// The angle between voltage and current in thousandths of a degree, by active and apparent power;
    /// `None` for a phase through which no current flows.
    ///
    /// # Errors
    /// [`Missing`]; there is no such phase.
    pub fn angle(&self, by: &Calibration) -> Result<[Option<i64>; 3], Missing> {
        let name = "phase angle";
        let derived = |_| Missing::Quantity(name);
        if (0..3).all(|phase| self.get(phase, Quantity::Import).is_none()) {
            return Err(Missing::Quantity(name));
        }
        let active = self.active(by).map_err(derived)?;
        let apparent = self.apparent(by).map_err(derived)?;
        let mut angles = [None; 3];
        for (phase, angle) in angles.iter_mut().enumerate() {
            *angle = match (active.get(phase), apparent.get(phase)) {
                _ if !self.sends(phase) => Some(0),
                (Some(active), Some(apparent)) => arc_cosine(*active, apparent.abs()),
                _ => None,
            };
        }
        if angles.iter().all(|angle| angle.is_none()) {
            return Err(Missing::Quantity(name));
        }
        Ok(angles)
    }

    /// What was imported by each phase in mW, for the split of the registers; all of it on L1 when
    /// the meter does not send it by phase.
    pub fn importing(&self) -> Phases {
        let phase = |phase| self.get(phase, Quantity::Import);
        let by_phase = [phase(0), phase(1), phase(2)];
        // Phases that feed in may outweigh one that does not, and then the registers stand still.
        if self.import == Some(0) {
            return [0; 3];
        }
        if by_phase.iter().all(Option::is_none) {
            return [self.import.unwrap_or(0).max(0), 0, 0];
        }
        by_phase.map(|power| power.unwrap_or(0).max(0))
    }
}

/// What is taken less what is fed in, where either is said.
fn net(import: Option<i64>, export: Option<i64>) -> Option<i64> {
    import.or(export)?;
    Some(import.unwrap_or(0).saturating_sub(export.unwrap_or(0)))
}

/// A number times 10^`decimals`.
fn scaled(number: Number, decimals: u8) -> Option<i64> {
    let shift = i16::from(decimals) - i16::from(number.decimals);
    let power = super::fixed::power_of_ten(shift.unsigned_abs().try_into().ok()?);
    match shift {
        0.. => number.mantissa.checked_mul(power),
        _ => Some(number.mantissa / power),
    }
}

fn volts(by: &Calibration, phase: usize) -> i32 {
    by.get(2 * phase).copied().unwrap_or(ONE)
}

fn amperes(by: &Calibration, phase: usize) -> i32 {
    by.get(2 * phase + 1).copied().unwrap_or(ONE)
}

fn calibrated(value: i64, factor: i32) -> i64 {
    if factor == ONE {
        return value;
    }
    // In two parts, of which each fits: the lx106 has no division of 128 bits.
    let (one, factor) = (i64::from(ONE), i64::from(factor));
    let whole = (value / one).saturating_mul(factor);
    whole.saturating_add(value % one * factor / one)
}

/// A power or an energy by both factors of its phase.
pub fn watts(value: i64, by: &Calibration, phase: usize) -> i64 {
    calibrated(calibrated(value, volts(by, phase)), amperes(by, phase))
}

/// The angle whose cosine is `x` / `r`, in thousandths of a degree; `None` without a radius. An `x`
/// beyond it is taken as rounding.
fn arc_cosine(x: i64, r: i64) -> Option<i64> {
    /// arctan(2^-n) in millionths of a degree.
    const TURNS: [i64; 18] = [
        45_000_000, 26_565_051, 14_036_243, 7_125_016, 3_576_334, 1_789_911, 895_174, 447_614,
        223_811, 111_906, 55_953, 27_976, 13_988, 6_994, 3_497, 1_749, 874, 437,
    ];
    if r == 0 {
        return None;
    }
    let x = x.clamp(-r, r);
    // No fuse lets more through than 2^31 mVA.
    let fit = (64 - r.unsigned_abs().leading_zeros()).saturating_sub(31);
    let (x, r) = (x >> fit, r >> fit);
    let y = (r * r - x * x).max(0).unsigned_abs().isqrt() as i64;
    // CORDIC: turned in ever smaller steps until it lies on the axis.
    let (mut along, mut across) = (x.abs() << 20, y << 20);
    let mut angle = 0;
    for (n, turn) in TURNS.iter().enumerate() {
        let (a, b) = (along >> n, across >> n);
        if across > 0 {
            (along, across, angle) = (along + b, across - a, angle + turn);
        } else {
            (along, across, angle) = (along - b, across + a, angle - turn);
        }
    }
    let angle = angle.max(0).saturating_add(500) / 1000;
    Some(if x < 0 { 180_000 - angle } else { angle })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn values(lines: &[&str]) -> Values {
        let mut reading = Reading::new();
        reading.begin(b"ABC5x");
        for line in lines {
            reading.line(line.as_bytes()).unwrap();
        }
        reading.settle();
        Values::of(&reading, Instant::from_secs(100))
    }

    const THREE: &[&str] = &[
        "1-0:1.8.1(000001.500*kWh)",
        "1-0:1.8.2(000002.250*kWh)",
        "1-0:2.8.1(000009.000*kWh)",
        "1-0:1.7.0(00.500*kW)",
        "1-0:2.7.0(00.000*kW)",
        "1-0:32.7.0(230.1*V)",
        "1-0:52.7.0(231.2*V)",
        "1-0:72.7.0(229.3*V)",
        "1-0:31.7.0(002*A)",
        "1-0:51.7.0(001*A)",
        "1-0:71.7.0(000*A)",
        "1-0:21.7.0(00.400*kW)",
        "1-0:41.7.0(00.100*kW)",
        "1-0:61.7.0(00.000*kW)",
        "1-0:22.7.0(00.000*kW)",
        "1-0:42.7.0(00.000*kW)",
        "1-0:62.7.0(00.050*kW)",
        "1-0:14.7.0(49.98*Hz)",
    ];

    #[test]
    fn factors_round_as_if_there_were_bits_enough() {
        for value in [0, 1, -1, 230_100, 999_999, 1_000_001, -7_654_321, 1 << 40] {
            for factor in [1, 500_000, 999_999, 1_500_000, 1_999_999, -2_000_000] {
                let exact = i128::from(value) * i128::from(factor) / i128::from(ONE);
                assert_eq!(
                    i128::from(calibrated(value, factor)),
                    exact,
                    "{value} {factor}"
                );
            }
        }
    }

    #[test]
    fn each_phase_has_its_quantities() {
        let values = values(THREE);
        let by = &UNCALIBRATED;
        assert_eq!(values.voltage(by), Ok([230_100, 231_200, 229_300]));
        assert_eq!(values.current(by), Ok([2_000, 1_000, 0]));
        assert_eq!(values.active(by), Ok([400_000, 100_000, -50_000]));
        assert_eq!(values.apparent(by), Ok([460_200, 231_200, 0]));
        assert_eq!(values.frequency(), Ok([49_980; 3]));
        assert_eq!(
            values.reactive(by),
            Err(Missing::Quantity("reactive power"))
        );
        let registers = values.registers().unwrap();
        assert_eq!((registers.sum, registers.set), (3_750_000, 0b110));
        // cos 29.636° is 400 / 460.2.
        assert_eq!(values.angle(by), Ok([Some(29_636), Some(64_372), None]));
    }

    #[test]
    fn calibration_multiplies_and_powers_get_both_factors() {
        let values = values(THREE);
        let by = &[1_100_000, 500_000, ONE, ONE, ONE, -2_000_000];
        assert_eq!(values.voltage(by), Ok([253_110, 231_200, 229_300]));
        assert_eq!(values.current(by), Ok([1_000, 1_000, 0]));
        assert_eq!(values.active(by), Ok([220_000, 100_000, 100_000]));
    }

    #[test]
    fn a_meter_of_one_phase_has_no_others() {
        let values = values(&[
            "1-0:32.7.0(230.1*V)",
            "1-0:31.7.0(002*A)",
            "1-0:14.7.0(50.0*Hz)",
            "1-0:21.7.0(00.1*kW)",
        ]);
        let by = &UNCALIBRATED;
        assert_eq!(values.voltage(by), Ok([230_100, 0, 0]));
        assert_eq!(values.frequency(), Ok([50_000, 0, 0]));
        assert_eq!(values.angle(by), Ok([Some(77_450), Some(0), Some(0)]));
    }

    #[test]
    fn a_meter_without_phases_has_its_power_on_the_first() {
        let values = values(&[
            "1-0:1.7.0(00.193*kW)",
            "1-0:1.8.0(000001.0*kWh)",
            "1-0:1.8.1(000000.4*kWh)",
        ]);
        let by = &UNCALIBRATED;
        assert_eq!(values.active(by), Ok([193_000, 0, 0]));
        assert_eq!(values.voltage(by), Err(Missing::Quantity("voltage")));
        assert_eq!(values.angle(by), Err(Missing::Quantity("phase angle")));
        assert_eq!(
            values.registers(),
            Some(Registers {
                sum: 1_000_000,
                set: 1
            })
        );
        assert_eq!(values.importing(), [193_000, 0, 0]);
    }

    #[test]
    fn one_missing_line_is_no_zero() {
        let lines: Vec<_> = THREE
            .iter()
            .copied()
            .filter(|line| !line.contains(":52.7.0"))
            .collect();
        let values = values(&lines);
        let missing = Err(Missing::Phase("voltage", 1));
        assert_eq!(values.voltage(&UNCALIBRATED), missing);
    }

    #[test]
    fn old_values_are_told_from_fresh_ones() {
        let values = values(THREE);
        assert!(values.fresh(Instant::from_secs(130), 30).is_ok());
        assert_eq!(
            values.fresh(Instant::from_secs(131), 30).unwrap_err(),
            Missing::Stale(31)
        );
        let none = Values::default();
        assert_eq!(
            none.fresh(Instant::from_secs(0), 30).unwrap_err(),
            Missing::Telegram
        );
    }

    #[test]
    fn angles_are_right_to_a_hundredth_of_a_degree() {
        for r in [1_000, 230_000, 17_250_000, 4_000_000_000_000] {
            for n in -100..=100i64 {
                let x = r * n / 100;
                let angle = arc_cosine(x, r).unwrap() as f64 / 1000.0;
                let right = (x as f64 / r as f64).acos().to_degrees();
                let most = if r == 1_000 { 0.6 } else { 0.01 };
                assert!((angle - right).abs() < most, "{x}/{r}: {angle} {right}");
            }
        }
        assert_eq!(arc_cosine(5, 0), None);
        assert_eq!(arc_cosine(1_001, 1_000), Some(0));
        assert_eq!(arc_cosine(-1_001, 1_000), Some(180_000));
    }
}
