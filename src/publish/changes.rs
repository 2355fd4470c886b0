//! What has been published and need not be said again: device readings that are not newer, texts
//! that have not changed.

use crate::{
    metric::Device,
    p1::{
        crc::{Rule, Running},
        timestamp::Utc,
    },
    reading::{Content, Reading, Value},
};

/// Texts and lists that are remembered; the table has fewer that one meter sends.
const TEXTS: usize = 32;

/// The newest stamp of each device kind, and a fingerprint of each text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    stamps: [Utc; Device::COUNT],
    texts: heapless::Vec<(u16, u16), TEXTS>,
}

/// The memory of what was published.
///
/// What a broken session may have lost is due again: see [`lost`](Self::lost). RAM: 0.4 kB.
#[derive(Debug, Default)]
pub struct Changes {
    published: Known,
    kept: Known,
    /// A new session: every topic is due, whatever is known.
    fresh: bool,
}

/// Something to remember across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The newest published stamp of a device kind.
    Stamp(u8, Utc),
    /// The fingerprint of a text, by the fingerprint of its metric's name.
    Text(u16, u16),
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

    /// The broker has a new session: it may know nothing, so every topic is due once.
    pub fn new_session(&mut self) {
        self.fresh = true;
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

    /// All that was due of `reading` has been handed to the session.
    pub fn published(&mut self, reading: &Reading) {
        self.fresh = false;
        for value in reading.values().filter(|value| value.newest) {
            if let Some(memory) = memory(&value) {
                self.published.learn(memory);
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
/// number of the meter itself is news each time.
fn memory(value: &Value<'_>) -> Option<Memory> {
    let text = match (value.content, value.metric.device, value.at) {
        (Content::Number { .. }, Some(device), Some(at)) => {
            return Some(Memory::Stamp(device.index() as u8, at.utc));
        }
        (Content::Number { .. }, None, _) => return None,
        (Content::Number { number, .. }, Some(_), None) => {
            return Some(Memory::Text(
                name(value),
                fingerprint(&number.mantissa.to_le_bytes()),
            ));
        }
        (Content::Text(text), ..) => text,
        (Content::Log(groups), ..) => groups.raw(),
    };
    Some(Memory::Text(name(value), fingerprint(text)))
}

/// A row's number changes when the table does; its name stays.
fn name(value: &Value<'_>) -> u16 {
    let mut crc = Running::new(Rule::Arc);
    crc.update(value.metric.name.as_bytes());
    crc.update(&[value.obis.channel().unwrap_or(0)]);
    crc.update(&value.obis.key().to_le_bytes());
    crc.value()
}

fn fingerprint(bytes: &[u8]) -> u16 {
    let mut crc = Running::new(Rule::X25);
    crc.update(bytes);
    crc.value()
}
