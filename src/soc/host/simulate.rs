//! The `simulate` command: a simulated meter on a pipe, a file, a pty or a TCP port, at the pace of
//! its standard or faster.

mod output;

use std::fmt;
use std::format;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::prelude::v1::*;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::simulator::calendar::parse_utc;
use super::simulator::faults::{FaultError, table};
use super::simulator::{Faults, Kind, Simulator};

use output::{Opened, Reader};
pub use output::{Output, OutputError};

/// Simulates a smart meter on stdout, a file, a pty or a TCP port
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which meter: esmr50, be, dsmr42, lu, se, hu, ... (--help shows all)
    #[arg(long = "meter", value_name = "KIND", default_value_t, long_help = kinds())]
    pub kind: Kind,

    /// What household, history and faults are drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Moment of the first telegram, as 2026-01-15T17:30:00Z or seconds since 1970 [default: now]
    #[arg(long, value_parser = parse_utc)]
    pub start: Option<i64>,

    /// `real` for the standard's period and line speed, a number for that many times its period's
    /// pace, `max` for no waiting at all
    #[arg(long, default_value_t)]
    pub rate: Rate,

    /// Telegrams to send, 0 for no end
    #[arg(long, default_value_t = 0)]
    pub count: u32,

    /// Oddities, as NAME,NAME:RATE,NAME@NUMBER (--help shows all)
    #[arg(long, default_value = "", hide_default_value = true, long_help = faults())]
    pub faults: Faults,

    /// `-` for stdout, a path, `pty`, or `tcp://[ADDRESS:]PORT` (loopback when no address is given)
    #[arg(long, default_value = "-")]
    pub output: Output,
}

fn kinds() -> String {
    let rows = Kind::ALL
        .iter()
        .map(|kind| format!("  {:<12} {}\n", kind.name(), kind.about()));
    format!("Which meter:\n{}", rows.collect::<String>().trim_end())
}

fn faults() -> String {
    format!(
        "Oddities, comma separated. NAME bends every telegram, NAME:0.1 about one in ten, NAME@2 \
         the second only:\n{}",
        table().trim_end()
    )
}

/// How fast telegrams follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rate {
    /// The period and the line speed of the meter's standard.
    #[default]
    Real,
    /// This many times the standard's pace, each telegram at once.
    Times(f64),
    /// As fast as they are taken.
    Max,
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        match text {
            "real" => Ok(Rate::Real),
            "max" => Ok(Rate::Max),
            _ => match text.parse::<f64>() {
                Ok(times) if times.is_finite() && times > 0.0 => Ok(Rate::Times(times)),
                _ => Err(NotARate(text.into())),
            },
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Real => f.write_str("real"),
            Rate::Times(times) => write!(f, "{times}"),
            Rate::Max => f.write_str("max"),
        }
    }
}

/// A text that is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotARate(String);

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a rate; write real, max, or a number above 0",
            self.0
        )
    }
}

impl std::error::Error for NotARate {}

/// Where a reader finds the meter, once it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The pty's other end: what a reader opens as a serial port.
    Pty(PathBuf),
    /// The address that is listened on.
    Tcp(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pty(path) => write!(f, "The meter's serial line is {}", path.display()),
            Place::Tcp(address) => write!(f, "The meter listens on tcp://{address}"),
        }
    }
}

/// Why a simulation could not begin, or go on.
#[derive(Debug)]
pub enum Error {
    /// The faults do not suit the kind of meter.
    Faults(FaultError),
    /// The output file cannot be made.
    Create(PathBuf, io::Error),
    /// The output can no longer be written to.
    Write(io::Error),
    /// The address cannot be listened on.
    Listen(String, io::Error),
    /// The system gives no pty.
    Pty(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Faults(error) => error.fmt(f),
            Error::Create(path, error) => write!(
                f,
                "cannot write to {}: {error}; choose another path",
                path.display()
            ),
            Error::Write(error) => write!(f, "the output takes no more telegrams: {error}"),
            Error::Listen(address, error) => write!(
                f,
                "cannot listen on {address}: {error}; choose another address or port"
            ),
            Error::Pty(error) => write!(f, "cannot open a pty: {error}; use tcp:// instead"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Faults(error) => Some(error),
            Error::Create(_, error)
            | Error::Write(error)
            | Error::Listen(_, error)
            | Error::Pty(error) => Some(error),
        }
    }
}

/// Runs a simulated meter until its count is reached or its reader has gone for good. Where it is
/// to be found is said on stderr.
///
/// # Errors
///
/// [`Error`], when the output cannot be opened or breaks for another reason than a reader that
/// closed it: that is a clean end.
pub fn simulate(options: &Options) -> Result<(), Error> {
    simulate_at(options, |place| {
        // Nobody may be listening to stderr, which is no reason to stop.
        let _ = writeln!(io::stderr(), "{place}");
    })
}

/// As [`simulate`], telling `announce` where the meter is to be found.
///
/// # Errors
///
/// As [`simulate`].
pub fn simulate_at(options: &Options, announce: impl FnOnce(Place)) -> Result<(), Error> {
    let start = options.start.unwrap_or_else(now);
    let mut meter = Simulator::new(options.kind, options.seed, start)
        .with_faults(options.faults.clone())
        .map_err(Error::Faults)?;
    let (mut output, place) = Opened::open(&options.output, options.rate)?;
    if let Some(place) = place {
        announce(place);
    }

    let mut pace = Pace::new(options.rate, options.kind.period(), start);
    let mut sent = 0;
    while options.count == 0 || sent < options.count {
        pace.wait();
        if output.wait_for_reader()? {
            pace.skip_what_is_past();
        }
        let telegram = meter.telegram_at(pace.take());
        sent += 1;
        if let Reader::GoneForGood = send(&mut output, &telegram, options)? {
            return Ok(());
        }
    }
    output.finish();
    Ok(())
}

/// Seconds since 1970, UTC.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// Sends a telegram, at the speed of the line when the rate is real.
fn send(output: &mut Opened, telegram: &[u8], options: &Options) -> Result<Reader, Error> {
    const SLICE: Duration = Duration::from_millis(10);

    output.begin_telegram();
    if options.rate != Rate::Real {
        return output.write(telegram);
    }
    // A byte is ten bits on the line in either format.
    let slice = (options.kind.line().baud / 1_000).max(1) as usize;
    let mut due = Instant::now();
    for piece in telegram.chunks(slice) {
        due += SLICE;
        sleep(due.saturating_duration_since(Instant::now()));
        match output.write(piece)? {
            Reader::There => {}
            gone => return Ok(gone),
        }
    }
    Ok(Reader::There)
}

/// When the next telegram is due, and what its clock shows.
struct Pace {
    rate: Rate,
    period: i64,
    start: i64,
    began: Instant,
    /// The next telegram's number, from 0.
    next: i64,
}

impl Pace {
    fn new(rate: Rate, period: i64, start: i64) -> Self {
        Pace {
            rate,
            period,
            start,
            began: Instant::now(),
            next: 0,
        }
    }

    /// Periods per second of waiting.
    fn per_second(&self) -> Option<f64> {
        let times = match self.rate {
            Rate::Real => 1.0,
            Rate::Times(times) => times,
            Rate::Max => return None,
        };
        Some(times / self.period as f64)
    }

    fn wait(&self) {
        let Some(per_second) = self.per_second() else {
            return;
        };
        let due = self.next as f64 / per_second;
        let left = due - self.began.elapsed().as_secs_f64();
        // A rate near zero asks for longer than a duration can be; a day at a time is enough.
        if left > 0.0 {
            sleep(Duration::from_secs_f64(left.min(86_400.0)));
        }
    }

    /// The meter went on while nobody listened.
    fn skip_what_is_past(&mut self) {
        if let Some(per_second) = self.per_second() {
            let past = (self.began.elapsed().as_secs_f64() * per_second) as i64;
            self.next = self.next.max(past);
        }
    }

    /// The moment of the telegram that is due.
    fn take(&mut self) -> i64 {
        let moment = self.start + self.next * self.period;
        self.next += 1;
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_real_max_or_a_number() {
        assert_eq!("real".parse(), Ok(Rate::Real));
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("2.5".parse(), Ok(Rate::Times(2.5)));
        for wrong in ["0", "-1", "fast", "inf", "NaN", ""] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments_are_a_period_apart_and_skipped_while_nobody_listens() {
        let mut pace = Pace::new(Rate::Times(1_000.0), 10, 500);
        assert_eq!([pace.take(), pace.take(), pace.take()], [500, 510, 520]);
        sleep(Duration::from_millis(60));
        pace.skip_what_is_past();
        assert!(pace.take() >= 560);

        let mut pace = Pace::new(Rate::Max, 10, 500);
        sleep(Duration::from_millis(5));
        pace.skip_what_is_past();
        assert_eq!(pace.take(), 500);
    }
}
