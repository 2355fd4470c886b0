//! What a run is told on the emulator's command line: `KEY=VALUE` words.

use core::ffi::CStr;

use xtensa_lx::semihosting;

use super::{Own, say, start::leave, status};

/// Networks that are in the air.
pub const NETWORKS: usize = 4;

/// All words, and a pointer to each.
#[unsafe(link_section = ".stand_in.words.room")]
static ROOM: Own<[u32; 512]> = Own::new([0; 512]);

/// A network that is in the air.
#[derive(Clone, Copy)]
pub struct Network {
    /// Its name.
    pub ssid: &'static str,
    /// Empty for an open one.
    pub password: &'static str,
    pub channel: u8,
    pub rssi: i8,
}

/// What goes wrong by itself, after some seconds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The stack's end is written to, which the executor finds.
    Panic,
    /// A load of a word that is none.
    Exception,
    /// A task that does not end.
    Watchdog,
    /// The hardware's own watchdog was not fed.
    Hardware,
}

/// What the words say.
#[derive(Clone, Copy)]
pub struct Words {
    /// The file that is the flash chip.
    pub flash: &'static CStr,
    /// The file that is the RTC's memory.
    pub rtc: &'static CStr,
    pub networks: [Option<Network>; NETWORKS],
    /// Words of flash that are written until the power is cut.
    pub cut: Option<u32>,
    /// The power is cut within the first erase, and this decides what is left of the sector.
    pub tear: Option<u32>,
    /// What the glue would have to do wrong.
    pub misuse: &'static str,
    /// Milliseconds that an erase takes.
    pub erase: u32,
    /// Bytes of the heap, when fewer than are left.
    pub heap: Option<u32>,
    /// Each so many-th allocation fails.
    pub fail: Option<u32>,
    /// Seconds from one line of counters to the next.
    pub report: u32,
    /// What the meter sends with: 8 bits at 115200 baud, 7 and parity at others.
    pub meter: u32,
    /// Whether the meter sends unasked.
    pub unasked: bool,
    /// The GPIO that it is soldered to, when that is another than the board's.
    pub p1: Option<u32>,
    /// Whether the line goes on when the image, or the PC, is late; for `-icount`.
    pub exact: bool,
    pub fault: Option<Fault>,
}

#[unsafe(link_section = ".stand_in.words")]
static WORDS: Own<Words> = Own::new(Words {
    flash: c"",
    rtc: c"",
    networks: [None; NETWORKS],
    cut: None,
    tear: None,
    misuse: "",
    erase: 45,
    heap: None,
    fail: None,
    report: 0,
    meter: 115_200,
    unasked: false,
    p1: None,
    exact: false,
    fault: None,
});

/// The words, once they have been read.
pub fn words() -> Words {
    WORDS.with(|words| *words)
}

/// Reads the words. One that cannot be used ends the emulator.
pub fn read() {
    // SAFETY: read once, and never changed again: so the texts are there for ever.
    let room = unsafe { &mut *ROOM.0.get() };
    let Some(arguments) = semihosting::arguments(room) else {
        say!("the words are too long");
        leave(status::UNUSABLE)
    };
    // The first is the program.
    for word in arguments.skip(1) {
        let taken = WORDS.with(|words| words.take(word));
        if let Err(expected) = taken {
            say!("{}: {}", word.to_str().unwrap_or("?"), expected);
            leave(status::UNUSABLE)
        }
    }
    let words = words();
    if words.flash.is_empty() || words.rtc.is_empty() {
        say!("give flash=PATH and rtc=PATH");
        leave(status::UNUSABLE)
    }
}

impl Words {
    fn take(&mut self, word: &'static CStr) -> Result<(), &'static str> {
        let text = word.to_str().map_err(|_| "give text")?;
        let (key, value) = text.split_once('=').ok_or("give KEY=VALUE")?;
        let number = || value.parse::<u32>().map_err(|_| "give a number");
        let path = || {
            let from = text.len() - value.len();
            let bytes = word.to_bytes_with_nul().get(from..).unwrap_or_default();
            CStr::from_bytes_with_nul(bytes).map_err(|_| "give a path")
        };
        match key {
            "flash" => self.flash = path()?,
            "rtc" => self.rtc = path()?,
            "network" => {
                let free = self.networks.iter_mut().find(|place| place.is_none());
                let network = network(value).ok_or("give SSID,PASSWORD,CHANNEL,DBM")?;
                *free.ok_or("there are too many")? = Some(network);
            }
            "cut" => self.cut = Some(number()?),
            "tear" => self.tear = Some(number()?),
            "misuse" => self.misuse = value,
            "erase" => self.erase = number()?,
            "heap" => self.heap = Some(number()?),
            "fail" => self.fail = Some(number()?),
            "report" => self.report = number()?,
            "meter" => self.meter = number()?,
            "unasked" => self.unasked = value == "true",
            "p1" => self.p1 = Some(number()?),
            "exact" => self.exact = value == "true",
            "fault" => {
                self.fault = Some(match value {
                    "panic" => Fault::Panic,
                    "exception" => Fault::Exception,
                    "watchdog" => Fault::Watchdog,
                    "hardware" => Fault::Hardware,
                    _ => return Err("give panic, exception, watchdog or hardware"),
                });
            }
            _ => return Err("there is no such word"),
        }
        Ok(())
    }
}

fn network(value: &'static str) -> Option<Network> {
    let mut parts = value.split(',');
    let network = Network {
        ssid: parts.next()?,
        password: parts.next()?,
        channel: parts.next()?.parse().ok()?,
        rssi: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(network)
}
