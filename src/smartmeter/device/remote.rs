//! What is said over MQTT beside the answers to commands.

use embedded_storage_async::nor_flash::NorFlash;
use ufmt::uwrite;

use super::{Device, commands::calibrated_energy};
use crate::smartmeter::{
    answer::Answer,
    command::Refusal,
    energy::sum,
    fixed::{Rounded, Short, power_of_ten},
    time::Long,
    values::{Calibration, DECIMALS, Missing, Phases, Values},
};

/// Decimals of kWh in mWh.
const KWH_DECIMALS: u8 = 6;

impl<F: NorFlash> Device<'_, '_, F> {
    /// Whether there is a session with the broker.
    pub fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// One quantity of the three phases by its letter: `v`, `i`, `q`, `s`, `e`, and active power for
    /// anything else.
    pub fn sample(&self, letter: &[u8], answer: &mut Answer) {
        type Get = fn(&Values, &Calibration) -> Result<Phases, Missing>;
        let (get, unit, decimals): (Get, _, _) = match letter.trim_ascii() {
            b"v" => (Values::voltage, "V", DECIMALS),
            b"i" => (Values::current, "mA", 0),
            b"q" => (Values::reactive, "var", DECIMALS),
            b"s" => (Values::apparent, "VA", DECIMALS),
            b"e" => return self.sample_energy(answer),
            _ => (Values::active, "W", DECIMALS),
        };
        let phases = self.measured(get);
        self.sampled(phases.map_err(Into::into), unit, decimals, answer);
    }

    fn sample_energy(&self, answer: &mut Answer) {
        let by = self.state.borrow().calibration;
        let counted = self.counted();
        let phases = counted.map(|counted| calibrated_energy(counted.phases, &by));
        self.sampled(phases, "kWh", KWH_DECIMALS, answer);
    }

    fn sampled(
        &self,
        phases: Result<Phases, Refusal>,
        unit: &str,
        decimals: u8,
        answer: &mut Answer,
    ) {
        let now = self.local_now();
        answer.object(|answer| match phases {
            Ok(phases) => {
                answer.composed("value", |text| {
                    for (index, value) in phases.into_iter().enumerate() {
                        let separator = if index == 0 { "" } else { "," };
                        let value = Rounded {
                            value,
                            decimals,
                            places: 2,
                        };
                        let _ = uwrite!(text, "{}{}", separator, value);
                    }
                });
                answer.string("unit", unit);
                answer.composed("ts", |text| {
                    let _ = uwrite!(text, "{}", Long(now));
                });
            }
            Err(refusal) => {
                answer.flag("error", true);
                answer.composed("msg", |text| refusal.write(text));
            }
        });
    }

    /// Waits until a breaker or relay is another than was published, and there is a broker to tell it.
    pub async fn switched(&self) {
        while !(self.has_switched.get() && self.is_connected()) {
            self.switched.wait().await;
        }
    }

    /// The states of breaker and relays, which are published then.
    pub fn switches(&self, answer: &mut Answer) {
        self.has_switched.set(false);
        let now = self.now_or_epoch();
        let state = self.state.borrow();
        answer.object(|answer| {
            state.switches.show(answer);
            answer.composed("ts", |text| {
                let _ = uwrite!(text, "{}", now.utc());
            });
        });
    }

    /// Whether anything is being sampled.
    pub fn sampling(&self, answer: &mut Answer) {
        let now = self.local_now();
        answer.object(|answer| {
            let words = ["idle", "sampling"];
            answer.string("sampleState", words[usize::from(self.sampler().is_some())]);
            answer.composed("ts", |text| {
                let _ = uwrite!(text, "{}", Long(now));
            });
        });
    }

    /// What is going on: active power of all phases in W, their energy in kWh, their currents together in
    /// A, the mean of their voltages in V, as far as the meter sends it. Nothing while it sends nothing.
    pub fn status(&self, answer: &mut Answer) {
        let Ok((power, current, voltage)) = self.measured(|values, by| {
            let voltage = values
                .voltage(by)
                .map(|phases| sum(&phases) / values.count());
            let together = |phases: Phases| sum(&phases);
            Ok((
                values.active(by).map(together),
                values.current(by).map(together),
                voltage,
            ))
        }) else {
            return;
        };
        let by = self.state.borrow().calibration;
        let energy = self
            .counted()
            .map(|counted| sum(&calibrated_energy(counted.phases, &by)));
        let now = self.now_or_epoch();
        answer.object(|answer| {
            let values = [
                ("power", power.ok(), DECIMALS),
                ("energy", energy.ok(), KWH_DECIMALS),
                ("current", current.ok(), DECIMALS),
                ("volt", voltage.ok(), DECIMALS),
            ];
            for (key, value, decimals) in values {
                if let Some(value) = value {
                    answer.number(key, hundredths(value, decimals));
                }
            }
            answer.composed("ts", |text| {
                let _ = uwrite!(text, "{}", now.utc());
            });
        });
    }
}

/// Rounded to two decimals, without trailing zeros.
fn hundredths(value: i64, decimals: u8) -> Short {
    let unit = power_of_ten(decimals.saturating_sub(2));
    let half = unit / 2 * value.signum();
    Short {
        value: value.saturating_add(half) / unit,
        decimals: 2,
    }
}
