//! What every client is told unasked: one line for each event, for those who want its level.

use embassy_sync::{
    blocking_mutex::raw::CriticalSectionRawMutex,
    pubsub::{PubSubChannel, Subscriber},
};
use ufmt::{uWrite, uwrite};

use super::{
    journal::MAX_TEXT,
    time::{Brief, Local},
};
use crate::settings::Text;

/// Who is told at the same time: three clients over TCP, the console, the stream server, and who keeps
/// the lines in flash.
pub const CLIENTS: usize = 6;

/// Lines that a slow client may be behind before it misses the oldest.
const BEHIND: usize = 4;

/// Bytes of the longest text; a longer one is cut.
const LINE: usize = 96;

const _: () = assert!(MAX_TEXT >= LINE + "[I]03/02 11:28:14:  (4294967295 more before)".len());

/// The same with what stands before and behind it.
pub const WHOLE: usize = LINE + "Info:[I]03/02 11:28:14: \r\n".len();

/// How much a line matters, and how much a client wants to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    All,
    /// What a developer wants to see.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What may be wrong.
    Warning,
    /// What is wrong.
    Error,
}

impl Level {
    /// The level of a name.
    pub fn parse(name: &str) -> Option<Self> {
        const ALL: [Level; 5] = [
            Level::All,
            Level::Debug,
            Level::Info,
            Level::Warning,
            Level::Error,
        ];
        ALL.into_iter().find(|level| level.name() == name)
    }

    /// The level's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// The letter in a line.
    const fn letter(self) -> &'static str {
        match self {
            Self::All => "A",
            Self::Debug => "D",
            Self::Info => "I",
            Self::Warning => "W",
            Self::Error => "E",
        }
    }
}

/// A line of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How much it matters.
    pub level: Level,
    at: Local,
    text: Text<LINE>,
}

impl Entry {
    /// A line about what happened at `at`.
    pub fn new(level: Level, at: Local, write: impl FnOnce(&mut Cut<'_>)) -> Self {
        let mut text = Text::new();
        write(&mut Cut(&mut text));
        Self { level, at, text }
    }

    /// What happened, without level and time.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line as it is kept: `[W]03/02 11:28:14: Received unknown command (7 more before)`.
    pub fn row(&self, repeats: u32) -> Text<MAX_TEXT> {
        let (letter, text) = (self.level.letter(), self.text.as_str());
        let mut row = Text::new();
        // There is room for it all.
        let _ = uwrite!(row, "[{}]{}: {}", letter, Brief(self.at), text);
        if repeats > 0 {
            let _ = uwrite!(row, " ({} more before)", repeats);
        }
        row
    }

    /// The line as a client gets it: `Info:[I]03/02 11:28:14: MQTT connected to broker`.
    pub fn line(&self) -> Text<WHOLE> {
        let (letter, text) = (self.level.letter(), self.text.as_str());
        let mut line = Text::new();
        // There is room for it all.
        let _ = uwrite!(line, "Info:[{}]{}: {}\r\n", letter, Brief(self.at), text);
        line
    }
}

/// A text that ends where its room does.
pub struct Cut<'a>(&'a mut Text<LINE>);

impl uWrite for Cut<'_> {
    type Error = core::convert::Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Self::Error> {
        for character in text.chars() {
            // A line end would begin another line.
            let character = if character.is_control() {
                '_'
            } else {
                character
            };
            if self.0.push(character).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Hands lines to all clients; one that is behind misses the oldest. RAM: 0.5 kB.
pub struct Log(PubSubChannel<CriticalSectionRawMutex, Entry, BEHIND, CLIENTS, 0>);

/// One client's view of the log.
pub type Listener<'l> = Subscriber<'l, CriticalSectionRawMutex, Entry, BEHIND, CLIENTS, 0>;

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    /// Without clients.
    pub const fn new() -> Self {
        Self(PubSubChannel::new())
    }

    /// Tells everybody, without waiting for anybody.
    pub fn tell(&self, entry: Entry) {
        self.0.immediate_publisher().publish_immediate(entry);
    }

    /// One more client; `None` when there are [`CLIENTS`].
    pub fn listen(&self) -> Option<Listener<'_>> {
        self.0.subscriber().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::new(Level::Info, Local(1_614_684_494_000), |line| {
            let _ = uwrite!(line, "{}", text);
        })
    }

    fn line(entry: &Entry) -> String {
        entry.line().as_str().into()
    }

    #[test]
    fn a_line_has_its_level_and_time() {
        assert_eq!(line(&entry("hello")), "Info:[I]03/02 11:28:14: hello\r\n");
        assert_eq!(line(&entry("")), "Info:[I]03/02 11:28:14: \r\n");
        assert_eq!(line(&entry("a\r\nb")), "Info:[I]03/02 11:28:14: a__b\r\n");
        let long = line(&entry(&"é".repeat(99)));
        assert_eq!(long.chars().filter(|c| *c == 'é').count(), LINE / 2);
    }

    #[test]
    fn a_row_has_no_prefix_and_tells_repeats() {
        let row = |entry: &Entry, repeats| String::from(entry.row(repeats).as_str());
        assert_eq!(row(&entry("hello"), 0), "[I]03/02 11:28:14: hello");
        assert_eq!(
            row(&entry("hello"), 1),
            "[I]03/02 11:28:14: hello (1 more before)"
        );
        let long = row(&entry(&"x".repeat(99)), u32::MAX);
        assert!(long.ends_with("xxx (4294967295 more before)"), "{long}");
    }

    #[test]
    fn a_client_that_does_not_listen_misses_the_oldest_lines_and_stops_nobody() {
        let log = Log::new();
        let mut slow = log.listen().unwrap();
        let mut fast = log.listen().unwrap();
        for n in 0..10 {
            log.tell(entry(&std::format!("{n}")));
            assert_eq!(
                fast.try_next_message_pure().unwrap().text,
                std::format!("{n}").as_str()
            );
        }
        assert_eq!(slow.try_next_message_pure().unwrap().text, "6");
    }

    #[test]
    fn a_client_that_left_makes_room_for_another() {
        let log = Log::new();
        let listeners: [_; CLIENTS] = core::array::from_fn(|_| log.listen().unwrap());
        assert!(log.listen().is_none());
        drop(listeners);
        assert!(log.listen().is_some());
    }
}
