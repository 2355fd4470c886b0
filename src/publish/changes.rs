//! What has been published and need not be said again: device readings that are not newer, texts
//! that have not changed.

use crate::{
    metric::{Device, Kind},
    p1::{
        crc::{Rule, Running},
        obis::Obis,
        timestamp::Utc,
    },
    reading::{Content, Reading, Value},
    storage::checksum,
};

/// Texts and lists that are remembered; the table has fewer that one meter sends.
const TEXTS: usize = 32;

/// The newest stamp of each device kind, and a fingerprint of each text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    stamps: [Utc; Device::COUNT],
    texts: heapless::Vec<(u16, u32), TEXTS>,
}

/// The memory of what was published.
///
/// What a broken session may have lost is due again: see [`lost`](Self::lost). RAM: 0.4 kB.
#[derive(Debug, Default)]
pub struct Changes {
    published: Known,
    kept: Known,
    /// A new connection: every topic is due, whatever is known.
    fresh: bool,
}

/// Something to remember across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The newest published stamp of a device kind.
    Stamp(u8, Utc),
    /// The fingerprint of a text, by the fingerprint of its metric's name.
    Text(u16, u32),
}

impl Changes {
    /// Nothing has been published yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up what an earlier run remembered.
    pub fn recall(&mut self, memory: Memory) {
        self.kept.learn(memory);
        self.published.learn(memory);
    }

    /// There is a new connection. Topics are not acknowledged, so the last ones may have gone down
    /// with the old connection, and a new broker session knows none: every topic is due once.
    pub fn new_connection(&mut self) {
        self.fresh = true;
    }

    /// Forgets stamps that are ahead of the meter's clock, where `reading` has one that is not: what
    /// a device says after its clock was set right would not be newer for a long time.
    pub fn correct(&mut self, reading: &Reading) {
        for (device, stamp) in Device::ALL.iter().zip(&mut self.published.stamps) {
            let newest = reading.newest_at(*device);
            if newest.is_some_and(|at| !reading.is_ahead(at.utc)) && reading.is_ahead(*stamp) {
                *stamp = Utc::MIN;
            }
        }
    }

    /// The device's newest value in `reading` is newer than the last one published.
    pub fn is_newer(&self, device: Device, utc: Utc) -> bool {
        self.published
            .stamps
            .get(device.index())
            .is_some_and(|last| utc > *last)
    }

    /// The value's text is not the one last published. That there is none is no news at first.
    pub fn is_changed(&self, value: &Value<'_>) -> bool {
        let Some(Memory::Text(key, print)) = memory(value) else {
            return true;
        };
        let mut texts = self.published.texts.iter();
        match texts.find(|(known, _)| *known == key) {
            Some((_, known)) => *known != print,
            None => !matches!(value.content, Content::Text([])),
        }
    }

    /// The value's topic is to be published.
    pub fn is_topic_due(&self, value: &Value<'_>) -> bool {
        if self.fresh {
            return true;
        }
        match memory(value) {
            None => true,
            Some(Memory::Text(..)) => self.is_changed(value),
            Some(Memory::Stamp(_, utc)) => value
                .metric
                .device
                .is_none_or(|device| self.is_newer(device, utc)),
        }
    }

    /// What was due of `reading` has been handed to the session, except the lines of values that
    /// are `missing`, which are due again.
    pub fn published(&mut self, reading: &Reading, missing: impl Fn(&Value<'_>) -> bool) {
        self.fresh = false;
        let known = |value: &Value<'_>| value.newest && !missing(value);
        let values = reading.values_of(|brief| brief.has_device() || !brief.is_number());
        for value in values.filter(known) {
            let older = value.metric.device.zip(value.at);
            match memory(&value) {
                // An older stamp between two newer ones would make the second look new.
                Some(Memory::Stamp(..))
                    if older.is_some_and(|(device, at)| !self.is_newer(device, at.utc)) => {}
                Some(memory) => self.published.learn(memory),
                None => {}
            }
        }
    }

    /// Something published that is not yet kept across restarts. Ask when everything handed to the
    /// session has arrived, keep it, and say so with [`kept`](Self::kept).
    pub fn to_keep(&self) -> Option<Memory> {
        let mut memories = self.published.memories();
        memories.find(|memory| !self.kept.knows(*memory))
    }

    /// The memory is kept across restarts.
    pub fn kept(&mut self, memory: Memory) {
        self.kept.learn(memory);
    }

    /// The session was lost with messages in flight: what is not kept is due again.
    pub fn lost(&mut self) {
        self.published = self.kept.clone();
    }
}

impl Known {
    fn learn(&mut self, memory: Memory) {
        match memory {
            Memory::Stamp(device, utc) => {
                if let Some(stamp) = self.stamps.get_mut(usize::from(device)) {
                    *stamp = utc;
                }
            }
            Memory::Text(key, print) => {
                match self.texts.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, known)) => *known = print,
                    // Without room the text counts as changed each time: said too often, not lost.
                    None => drop(self.texts.push((key, print))),
                }
            }
        }
    }

    fn memories(&self) -> impl Iterator<Item = Memory> {
        let stamps = self.stamps.iter().enumerate();
        let stamps = stamps.map(|(device, utc)| Memory::Stamp(device as u8, *utc));
        let texts = self.texts.iter();
        stamps.chain(texts.map(|(key, print)| Memory::Text(*key, *print)))
    }

    fn knows(&self, memory: Memory) -> bool {
        self.memories().any(|known| known == memory)
    }
}

/// What there is to remember of a value: a device's reading by its stamp, text by its content. A
/// number of the meter itself is news each time, and so is its clock.
fn memory(value: &Value<'_>) -> Option<Memory> {
    if value.metric.kind == Kind::Clock {
        return None;
    }
    let text = match (value.content, value.metric.device, value.at) {
        (Content::Number { .. }, Some(device), Some(at)) => {
            return Some(Memory::Stamp(device.index() as u8, at.utc));
        }
        (Content::Number { .. }, None, _) => return None,
        (Content::Number { number, .. }, Some(_), None) => {
            return Some(Memory::Text(
                name(value),
                checksum(&number.mantissa.to_le_bytes()),
            ));
        }
        (Content::Text(text), ..) => text,
        (Content::Log(groups), ..) => groups.raw(),
    };
    Some(Memory::Text(name(value), checksum(text)))
}

/// A row's number changes when the table does; its name stays.
fn name(value: &Value<'_>) -> u16 {
    name_of(value.metric.name, value.obis)
}

fn name_of(name: &str, obis: Obis) -> u16 {
    let mut crc = Running::new(Rule::Arc);
    crc.update(name.as_bytes());
    crc.update(&[obis.channel().unwrap_or(0)]);
    crc.update(&obis.key().to_le_bytes());
    crc.value()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, format, string::String, vec::Vec};

    use super::*;
    use crate::metric::{self, Metric};

    fn reading(gas: &str, message: &str) -> Reading {
        let mut reading = Reading::new();
        reading.begin(b"ABC5x");
        for line in [
            "0-0:1.0.0(260115183107W)",
            "1-0:1.8.1(000001.000*kWh)",
            &format!("0-0:96.13.0({message})"),
            "0-1:24.1.0(003)",
            &format!("0-1:24.2.1({gas})(00001.000*m3)"),
        ] {
            let _ = reading.line(line.as_bytes());
        }
        reading.settle();
        reading
    }

    fn gas_at(reading: &Reading) -> Utc {
        let mut values = reading.values();
        let gas = values.find(|value| value.metric.device == Some(Device::Gas));
        gas.unwrap().at.unwrap().utc
    }

    fn due(changes: &Changes, reading: &Reading) -> Vec<&'static str> {
        let values = reading.values();
        values
            .filter(|value| value.newest && changes.is_topic_due(value))
            .filter_map(|value| value.metric.topic)
            .collect()
    }

    fn everything_handed(_: &Value<'_>) -> bool {
        false
    }

    #[test]
    fn what_was_published_is_due_when_it_changes() {
        let mut changes = Changes::new();
        let first = reading("260115180000W", "6869");
        assert!(changes.is_newer(Device::Gas, gas_at(&first)));
        let all = due(&changes, &first);
        changes.published(&first, everything_handed);
        assert!(!changes.is_newer(Device::Gas, gas_at(&first)));
        let again = due(&changes, &first);
        assert_eq!(again, ["/energy/mains/reading/delivered/low"]);
        changes.new_connection();
        assert_eq!(due(&changes, &first), all);
    }

    #[test]
    fn what_is_missing_is_due_again() {
        let mut changes = Changes::new();
        let first = reading("260115180000W", "6869");
        changes.published(&first, |value| value.metric.device == Some(Device::Gas));
        assert!(changes.is_newer(Device::Gas, gas_at(&first)));
        assert!(!due(&changes, &first).contains(&"/energy/mains/message"));
    }

    #[test]
    fn an_older_stamp_does_not_make_the_newest_new() {
        let mut changes = Changes::new();
        let newest = reading("260115190000W", "");
        changes.published(&newest, everything_handed);
        changes.new_connection();
        changes.published(&reading("260115180000W", ""), everything_handed);
        assert!(!changes.is_newer(Device::Gas, gas_at(&newest)));
    }

    #[test]
    fn a_stamp_from_the_future_is_not_the_newest_for_ever() {
        let mut changes = Changes::new();
        let ahead = reading("290115180000W", "");
        changes.correct(&ahead);
        assert!(changes.is_newer(Device::Gas, gas_at(&ahead)));
        changes.published(&ahead, everything_handed);
        changes.correct(&ahead);
        assert!(
            !changes.is_newer(Device::Gas, gas_at(&ahead)),
            "once is enough"
        );
        let right = reading("260115180000W", "");
        assert!(!changes.is_newer(Device::Gas, gas_at(&right)));
        changes.correct(&right);
        assert!(changes.is_newer(Device::Gas, gas_at(&right)));
        changes.published(&right, everything_handed);
        changes.correct(&right);
        assert!(!changes.is_newer(Device::Gas, gas_at(&right)));
    }

    #[test]
    fn what_is_lost_goes_back_to_what_is_kept() {
        let mut changes = Changes::new();
        let (old, new) = (
            reading("260115180000W", ""),
            reading("260115190000W", "6869"),
        );
        changes.published(&old, everything_handed);
        while let Some(memory) = changes.to_keep() {
            changes.kept(memory);
        }
        changes.published(&new, everything_handed);
        assert!(changes.to_keep().is_some());
        changes.lost();
        assert_eq!(changes.to_keep(), None);
        assert!(changes.is_newer(Device::Gas, gas_at(&new)));
        assert!(!changes.is_newer(Device::Gas, gas_at(&old)));
    }

    #[test]
    fn a_restart_recalls_what_was_kept() {
        let (mut before, mut after) = (Changes::new(), Changes::new());
        let reading = reading("260115180000W", "6869");
        before.published(&reading, everything_handed);
        while let Some(memory) = before.to_keep() {
            before.kept(memory);
            after.recall(memory);
        }
        assert_eq!(after.to_keep(), None);
        assert_eq!(due(&after, &reading), due(&before, &reading));
    }

    #[test]
    fn more_texts_than_can_be_remembered_are_said_again_and_end_no_loop() {
        let mut changes = Changes::new();
        for key in 0..2 * TEXTS as u16 {
            changes.recall(Memory::Text(key, 1));
        }
        let reading = reading("260115180000W", "6869");
        for _ in 0..3 {
            changes.published(&reading, everything_handed);
            let mut kept = 0;
            while let Some(memory) = changes.to_keep() {
                changes.kept(memory);
                kept += 1;
                assert!(kept < 10);
            }
            assert!(due(&changes, &reading).contains(&"/energy/mains/message"));
        }
    }

    /// Two texts of one meter with the same fingerprint would take turns at being news, and wear
    /// the flash with every telegram.
    #[test]
    fn the_names_of_texts_differ_in_their_fingerprints() {
        let is_text = |metric: &&Metric| {
            let text = matches!(
                metric.kind,
                Kind::Text | Kind::Hex | Kind::Version | Kind::Log
            );
            text && metric.device.is_none()
        };
        let rows = (0..metric::count()).filter_map(metric::get).filter(is_text);
        let mut names = HashMap::<u16, Vec<String>>::new();
        for row in rows {
            let known = names.entry(name_of(row.name, row.obis)).or_default();
            known.push(format!("{} {:?}", row.name, row.obis));
        }
        names.retain(|_, rows| rows.len() > 1);
        assert!(names.is_empty(), "{names:?}");
    }
}
