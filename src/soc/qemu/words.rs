//! What a run is told on the emulator's command line: `KEY=VALUE` words.

use core::ffi::CStr;

use ufmt::{uwrite, uwriteln};
use xtensa_lx::semihosting;

use super::{
    console::Console,
    flash::{self, FileFlash},
};
use crate::settings::{KEYS, SettingError, Settings};

/// Words that are about the run; all others are settings.
const RUN: [(&str, &str); 5] = [
    ("state", "the path of a file, up to 255 characters"),
    ("name", "the device's name, 1 to 31 characters"),
    ("recording", "true or false"),
    ("stats", "seconds, 0 to 3600"),
    ("end", "stdin or never"),
];

/// The device's name.
pub type Name = heapless::String<31>;

/// What the words say beside settings and name.
pub struct Words {
    /// What survives a restart.
    pub flash: FileFlash,
    /// Whether the UART waits for the publisher, as a file does.
    pub recording: bool,
    /// Whether the end of the emulator's standard input ends the run.
    pub end: bool,
    /// Seconds from one line of counters to the next; 0 for none.
    pub stats: u16,
}

/// Why a run cannot start.
enum Refused<'a> {
    TooMany(usize),
    NotASetting,
    Unknown,
    Bad(&'a str),
    Flash(flash::Error),
}

impl Words {
    /// Reads the command line's words; settings and name go where they stay, since the stack has no room for them.
    /// `room` is for all words and a pointer to each.
    ///
    /// # Errors
    /// A sentence on the console says what is wrong with which word, and what would be right.
    pub fn read(room: &mut [u32], settings: &mut Settings, name: &mut Name) -> Result<Self, ()> {
        let mut words = Self {
            flash: FileFlash::NONE,
            recording: false,
            end: false,
            stats: 60,
        };
        let size = size_of_val(room);
        let Some(arguments) = semihosting::arguments(room) else {
            complain("the command line", Refused::TooMany(size));
            return Err(());
        };
        // The first is the program.
        for word in arguments.skip(1) {
            if let Err(refused) = words.take(word, settings, name) {
                complain(word.to_str().unwrap_or("?"), refused);
                return Err(());
            }
        }
        Ok(words)
    }

    fn take(
        &mut self,
        word: &CStr,
        settings: &mut Settings,
        name: &mut Name,
    ) -> Result<(), Refused<'static>> {
        let text = word.to_str().map_err(|_| Refused::NotASetting)?;
        let (key, value) = text.split_once('=').ok_or(Refused::NotASetting)?;
        let run = RUN.iter().find(|(name, _)| *name == key);
        let Some((_, expected)) = run else {
            return settings.set(key, value).map_err(|refused| match refused {
                SettingError::UnknownKey => Refused::Unknown,
                SettingError::BadValue { expected } => Refused::Bad(expected),
            });
        };
        let bad = Refused::Bad(expected);
        match key {
            "state" => {
                // The value is the word's end, with its NUL.
                let from = text.len() - value.len();
                let path = word.to_bytes_with_nul().get(from..).unwrap_or_default();
                let path = CStr::from_bytes_with_nul(path).map_err(|_| bad)?;
                self.flash = FileFlash::open(path).map_err(Refused::Flash)?;
            }
            "name" => match Name::try_from(value) {
                Ok(given) if !given.is_empty() => *name = given,
                _ => return Err(bad),
            },
            "recording" => self.recording = value.parse().map_err(|_| bad)?,
            "end" => {
                self.end = match value {
                    "stdin" => true,
                    "never" => false,
                    _ => return Err(bad),
                }
            }
            _ => match value.parse() {
                Ok(seconds) if seconds <= 3600 => self.stats = seconds,
                _ => return Err(bad),
            },
        }
        Ok(())
    }
}

fn complain(word: &str, refused: Refused<'_>) {
    let mut console = Console;
    let _ = match refused {
        Refused::TooMany(room) => uwriteln!(console, "{}: more than {} bytes", word, room),
        Refused::NotASetting => uwriteln!(
            console,
            "{}: a setting is given as KEY=VALUE, such as interval=0",
            word
        ),
        Refused::Unknown => {
            let _ = uwrite!(console, "{}: there is no such setting; there are ", word);
            let run = RUN.iter().map(|(name, _)| *name);
            for (index, name) in KEYS.iter().map(|key| key.name).chain(run).enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                let _ = uwrite!(console, "{}{}", separator, name);
            }
            uwriteln!(console, "")
        }
        Refused::Bad(expected) => uwriteln!(console, "{}: give {}", word, expected),
        Refused::Flash(flash::Error::Size(found)) => uwriteln!(
            console,
            "{}: the file has {} bytes where {} are expected; move it away to start anew",
            word,
            found,
            flash::CAPACITY
        ),
        Refused::Flash(flash::Error::Io(errno)) => uwriteln!(
            console,
            "{}: the file cannot be opened or made (errno {}); name another one",
            word,
            errno.0
        ),
        Refused::Flash(_) => {
            uwriteln!(
                console,
                "{}: the file cannot be made; name another one",
                word
            )
        }
    };
}
