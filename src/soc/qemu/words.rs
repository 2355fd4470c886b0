//! What a run is told on the emulator's command line: `KEY=VALUE` words.

use core::ffi::CStr;

use ufmt::{uwrite, uwriteln};
use xtensa_lx::semihosting::{self, Errno};

use super::{
    console::{Console, Terminal},
    flash::{self, FileFlash},
};
use crate::settings::{KEYS, SettingError, Settings};

/// Words that are about the run; all others are settings.
const RUN: [(&str, &str); 9] = [
    ("state", "the path of a file, up to 255 characters"),
    ("log", "the path of a file, up to 255 characters"),
    ("console", "the path of a file or pty, up to 255 characters"),
    ("broker", "a TCP port of this machine, 1 to 65535"),
    ("network", "true or false"),
    ("name", "the device's name, 1 to 31 characters"),
    ("recording", "true or false"),
    ("stats", "seconds, 0 to 3600"),
    ("end", "stdin or never"),
];

/// The device's name.
pub type Name = heapless::String<31>;

/// What the words say beside settings.
pub struct Words {
    /// What survives a restart.
    pub flash: FileFlash,
    /// The part of it that has the log.
    pub log: FileFlash,
    /// Where commands are typed.
    pub terminal: Terminal,
    /// The port of the machine's own broker, for as long as no other is set.
    pub broker: Option<u16>,
    /// Whether there is a network card.
    pub network: bool,
    /// The device's name.
    pub name: Name,
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
    Terminal(Errno),
}

impl Words {
    /// Reads the command line's words but the settings. `room` is for all words and a pointer to each.
    ///
    /// # Errors
    /// A sentence on the console says what is wrong with which word, and what would be right.
    pub fn read(room: &mut [u32]) -> Result<Self, ()> {
        let mut words = Self {
            flash: FileFlash::none(flash::STATE),
            log: FileFlash::none(flash::LOG),
            terminal: Terminal::STANDARD,
            broker: None,
            network: true,
            name: Name::try_from("Metertrekker-qemu").unwrap_or_default(),
            recording: false,
            end: false,
            stats: 60,
        };
        each(room, |word| words.take(word))?;
        Ok(words)
    }

    fn take(&mut self, word: &CStr) -> Result<(), Refused<'static>> {
        let (key, value) = parts(word)?;
        let run = RUN.iter().find(|(name, _)| *name == key);
        let Some((_, expected)) = run else {
            return Ok(());
        };
        let bad = || Refused::Bad(expected);
        match key {
            "state" | "log" => {
                let path = path(word, value).ok_or_else(bad)?;
                let (place, capacity) = match key {
                    "state" => (&mut self.flash, flash::STATE),
                    _ => (&mut self.log, flash::LOG),
                };
                *place = FileFlash::open(path, capacity).map_err(Refused::Flash)?;
            }
            "console" => {
                let path = path(word, value).ok_or_else(bad)?;
                self.terminal = Terminal::open(path).map_err(Refused::Terminal)?;
            }
            "broker" => match value.parse() {
                Ok(port) if port != 0 => self.broker = Some(port),
                _ => return Err(bad()),
            },
            "network" => self.network = value.parse().map_err(|_| bad())?,
            "name" => match Name::try_from(value) {
                Ok(given) if !given.is_empty() => self.name = given,
                _ => return Err(bad()),
            },
            "recording" => self.recording = value.parse().map_err(|_| bad())?,
            "end" => {
                self.end = match value {
                    "stdin" => true,
                    "never" => false,
                    _ => return Err(bad()),
                }
            }
            _ => match value.parse() {
                Ok(seconds) if seconds <= 3600 => self.stats = seconds,
                _ => return Err(bad()),
            },
        }
        Ok(())
    }
}

/// Takes the command line's settings over: they win over those in flash.
///
/// # Errors
/// As [`Words::read`].
pub fn apply(room: &mut [u32], settings: &mut Settings) -> Result<(), ()> {
    each(room, |word| {
        let (key, value) = parts(word)?;
        if RUN.iter().any(|(name, _)| *name == key) {
            return Ok(());
        }
        settings.set(key, value).map_err(|refused| match refused {
            SettingError::UnknownKey => Refused::Unknown,
            SettingError::BadValue { expected } => Refused::Bad(expected),
        })
    })
}

fn each(
    room: &mut [u32],
    mut take: impl FnMut(&CStr) -> Result<(), Refused<'static>>,
) -> Result<(), ()> {
    let size = size_of_val(room);
    let Some(arguments) = semihosting::arguments(room) else {
        complain("the command line", Refused::TooMany(size));
        return Err(());
    };
    // The first is the program.
    for word in arguments.skip(1) {
        if let Err(refused) = take(word) {
            complain(word.to_str().unwrap_or("?"), refused);
            return Err(());
        }
    }
    Ok(())
}

fn parts(word: &CStr) -> Result<(&str, &str), Refused<'static>> {
    let text = word.to_str().map_err(|_| Refused::NotASetting)?;
    text.split_once('=').ok_or(Refused::NotASetting)
}

/// The value is the word's end, with its NUL.
fn path<'w>(word: &'w CStr, value: &str) -> Option<&'w CStr> {
    let from = word.to_bytes().len() - value.len();
    CStr::from_bytes_with_nul(word.to_bytes_with_nul().get(from..)?).ok()
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
        Refused::Flash(flash::Error::Size(found, expected)) => uwriteln!(
            console,
            "{}: the file has {} bytes where {} are expected; move it away to start anew",
            word,
            found,
            expected
        ),
        Refused::Terminal(errno) => uwriteln!(
            console,
            "{}: it cannot be opened (errno {}); name what is there",
            word,
            errno.0
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
