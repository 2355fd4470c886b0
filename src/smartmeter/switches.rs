//! The meter's breaker and relays, as the last telegrams tell of them.

use super::answer::Answer;
use crate::reading::{Content, Reading};

/// The breaker, and the relays 1 to 4, by B of their id.
const NAMES: [&str; 5] = ["breaker", "relay_1", "relay_2", "relay_3", "relay_4"];

/// Their states, as far as the meter sends them. RAM: 10 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches([Option<u8>; NAMES.len()]);

impl Switches {
    /// Takes the states of a telegram over; `true`: one is another than before.
    pub fn update(&mut self, reading: &Reading) -> bool {
        let before = *self;
        for value in reading.values_of(|brief| !brief.is_number() && !brief.has_device()) {
            let obis = value.obis;
            let id = (obis.a(), obis.c(), obis.d(), obis.e());
            // The second one is the Hungarian breaker's.
            let is_switch = id == (0, 96, 3, 10) || id == (0, 96, 50, 68) && obis.b() == 0;
            let Content::Text(text) = value.content else {
                continue;
            };
            if is_switch
                && value.newest
                && let Some(place) = self.0.get_mut(usize::from(obis.b()))
                && let Some(state) = state(text)
            {
                *place = Some(state);
            }
        }
        *self != before
    }

    /// Writes those that are known.
    pub fn show(&self, answer: &mut Answer) {
        for (name, state) in NAMES.iter().zip(self.0) {
            if let Some(state) = state {
                answer.number(name, state);
            }
        }
    }
}

/// 0 disconnected or open, 1 connected or closed, 2 ready (IEC 62056-6-2 §4.5.8).
fn state(text: &[u8]) -> Option<u8> {
    match text {
        b"OFF" => Some(0),
        b"ON" => Some(1),
        [digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;
    use crate::smartmeter::answer::{Reply, Whole};

    fn update(switches: &mut Switches, lines: &[&str]) -> (bool, String) {
        let mut reading = Reading::new();
        reading.begin(b"TST5\\TEST METER");
        for line in lines {
            reading.line(line.as_bytes()).unwrap();
        }
        reading.settle();
        let changed = switches.update(&reading);
        let mut answer = <Whole>::new();
        answer.compose(&mut |answer| answer.object(|answer| switches.show(answer)));
        (changed, String::from_utf8(answer.json().into()).unwrap())
    }

    #[test]
    fn only_another_state_is_a_change() {
        let mut switches = Switches::default();
        let mut expect = |lines: &[&str], changed: bool, shown: &str| {
            assert_eq!(
                update(&mut switches, lines),
                (changed, shown.into()),
                "{lines:?}"
            );
        };
        expect(&["1-0:1.7.0(00.500*kW)"], false, "{}");
        expect(
            &["0-0:96.3.10(1)", "0-2:96.3.10(0)"],
            true,
            r#"{"breaker":1,"relay_2":0}"#,
        );
        expect(
            &["0-0:96.3.10(1)", "0-2:96.3.10(0)"],
            false,
            r#"{"breaker":1,"relay_2":0}"#,
        );
        // One that a telegram leaves out, or has nonsense for, stays what it was.
        expect(&["0-0:96.3.10(0)"], true, r#"{"breaker":0,"relay_2":0}"#);
        expect(
            &["0-0:96.3.10(maybe)"],
            false,
            r#"{"breaker":0,"relay_2":0}"#,
        );
        expect(
            &["0-4:96.3.10(1)"],
            true,
            r#"{"breaker":0,"relay_2":0,"relay_4":1}"#,
        );
    }

    #[test]
    fn the_hungarian_breaker_is_the_same() {
        let mut switches = Switches::default();
        let on = update(&mut switches, &["0-0:96.50.68(ON)"]);
        assert_eq!(on, (true, r#"{"breaker":1}"#.into()));
        let off = update(&mut switches, &["0-0:96.50.68(OFF)"]);
        assert_eq!(off, (true, r#"{"breaker":0}"#.into()));
    }
}
