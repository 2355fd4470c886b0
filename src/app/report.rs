//! A monitor that writes one terse line for each event, for a board's console.
//!
//! A line is the event's name and its values, parted by single spaces. Scripts read these lines:
//! what a line says may be followed by more one day, but keeps its place.
//!
//! | line | what happened |
//! |---|---|
//! | `accepted VALUES PROOF` | a telegram with so many values; `crc`, `tag` or `none` proved it whole |
//! | `refused REASON BYTES` | a telegram: [`Refusal::name`], [`Refusal::bytes`] |
//! | `fell` | an accepted telegram was dropped: a register had gone backwards |
//! | `silent SECONDS BYTES BAUD NEXT` | no telegram for so long, only bytes; `NEXT` baud is tried |
//! | `foreign PROTOCOL` | those bytes are frames of another protocol |
//! | `port` | the P1 port cannot be read for the moment |
//! | `network up ADDRESS`, `network down` | the interface has an IPv4 address, or none any more |
//! | `connected SECONDS` | the MQTT session stands, so long after its loss or start |
//! | `disconnected STEP REASON SECONDS` | the connection failed or was lost; the next attempt |
//! | `rejected CODE` | the broker refused a message, with an MQTT 5 reason code |
//! | `dropped WHAT` | `superseded`, `too_large`, `unacknowledged` or `in_flight` |
//! | `stats NAME=COUNT …` | the counters of [`Stats`], then the board's own; in several lines where the console is slow |
//!
//! `STEP` is `name`, `connect`, `transport` (`REASON` then names the error), `refused` (an MQTT 5
//! reason code), `timeout`, `closed`, `protocol` or `settings` (`-`). Seconds have one decimal.

use core::{cell::RefCell, error::Error, net::Ipv4Addr};

use embassy_time::Duration;
use embedded_io_async::ErrorKind;
use ufmt::{uDisplay, uWrite, uwrite, uwriteln};

use super::{
    monitor::{Drop, Failure, Monitor},
    stats::Stats,
};
use crate::{
    p1::{foreign::Protocol, port::LineSettings},
    reading::Reading,
    receiver::{Proof, Refusal},
};

/// Writes its lines to `W`. A line that cannot be written is lost: there is nobody to tell.
pub struct Report<W>(RefCell<W>);

impl<W: uWrite> Report<W> {
    /// A monitor that writes to `output`.
    pub const fn new(output: W) -> Self {
        Self(RefCell::new(output))
    }

    fn write(&self, line: impl FnOnce(&mut W) -> Result<(), W::Error>) {
        if let Ok(mut output) = self.0.try_borrow_mut() {
            let _ = line(&mut output);
        }
    }

    /// The interface has another address, or none.
    pub fn network(&self, address: Option<Ipv4Addr>) {
        self.write(|output| match address.map(|address| address.octets()) {
            Some([a, b, c, d]) => uwriteln!(output, "network up {}.{}.{}.{}", a, b, c, d),
            None => uwriteln!(output, "network down"),
        });
    }

    /// The counters, and then those of the board, in one line.
    pub fn stats(&self, stats: &Stats, board: &[(&str, u32)]) {
        self.some_stats(stats, board, 0, usize::MAX);
    }

    /// A line with `most` of them from the `first` on; `false` when there are none.
    pub fn some_stats(
        &self,
        stats: &Stats,
        board: &[(&str, u32)],
        first: usize,
        most: usize,
    ) -> bool {
        let errors = stats.line_errors.get();
        let common = [
            ("accepted", stats.accepted.get()),
            ("refused", stats.all_refused()),
            ("fell", stats.fallen_totals.get()),
            ("odd_lines", stats.odd_lines()),
            ("noise", stats.noise.get()),
            ("overrun", errors.overrun),
            ("framing", errors.framing),
            ("parity", errors.parity),
            ("timeouts", stats.timeouts.get()),
            ("port_errors", stats.port_errors.get()),
            ("published", stats.published.get()),
            ("superseded", stats.superseded.get()),
            ("too_large", stats.too_large.get()),
            ("unacknowledged", stats.unacknowledged.get()),
            ("in_flight", stats.lost_in_flight.get()),
            ("rejected", stats.rejected.get()),
            ("connections", stats.connections.get()),
            ("failed_connections", stats.failed_connections.get()),
            ("lost_commands", stats.lost_commands.get()),
            ("storage_errors", stats.storage_errors.get()),
        ];
        let is_there = first < common.len() + board.len();
        if is_there {
            self.write(|output| {
                uwrite!(output, "stats")?;
                for (name, count) in common.iter().chain(board).skip(first).take(most) {
                    uwrite!(output, " {}={}", *name, *count)?;
                }
                uwriteln!(output, "")
            });
        }
        is_there
    }
}

/// A duration in seconds with one decimal.
struct Seconds(Duration);

impl uDisplay for Seconds {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut ufmt::Formatter<'_, W>) -> Result<(), W::Error> {
        let tenths = self.0.as_millis() / 100;
        uwrite!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

impl<W: uWrite> Monitor for Report<W> {
    fn accepted(&self, reading: &Reading, proof: Proof) {
        let proof = match proof {
            Proof::Crc => "crc",
            Proof::Tag => "tag",
            Proof::None => "none",
        };
        self.write(|output| uwriteln!(output, "accepted {} {}", reading.len(), proof));
    }

    fn refused(&self, refusal: Refusal) {
        self.write(|output| uwriteln!(output, "refused {} {}", refusal.name(), refusal.bytes()));
    }

    fn totals_fell(&self) {
        self.write(|output| uwriteln!(output, "fell"));
    }

    fn no_telegram(&self, waited: Duration, received: u32, line: LineSettings, next: LineSettings) {
        let (waited, baud, next) = (Seconds(waited), line.baud, next.baud);
        self.write(|output| uwriteln!(output, "silent {} {} {} {}", waited, received, baud, next));
    }

    fn foreign_port(&self, protocol: Protocol) {
        self.write(|output| uwriteln!(output, "foreign {}", protocol.name()));
    }

    fn port_failed<E: Error>(&self, _: &E) {
        // Its text would bring `core::fmt` into the image.
        self.write(|output| uwriteln!(output, "port"));
    }

    fn connected(&self, _: &str, after: Duration) {
        self.write(|output| uwriteln!(output, "connected {}", Seconds(after)));
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        _: &str,
        failure: Failure<'_, E>,
        retry: Duration,
    ) {
        let retry = Seconds(retry);
        self.write(|output| {
            let (step, reason) = match failure {
                Failure::Name(error) => ("name", kind(error.kind())),
                Failure::Connect(error) => ("connect", kind(error.kind())),
                Failure::Transport(error) => ("transport", kind(error.kind())),
                Failure::Timeout => ("timeout", "-"),
                Failure::Closed => ("closed", "-"),
                Failure::Protocol => ("protocol", "-"),
                Failure::Settings => ("settings", "-"),
                Failure::Refused(code) => {
                    let code = u8::from(code);
                    return uwriteln!(output, "disconnected refused {} {}", code, retry);
                }
            };
            uwriteln!(output, "disconnected {} {} {}", step, reason, retry)
        });
    }

    fn rejected(&self, reason: minimq::ReasonCode) {
        self.write(|output| uwriteln!(output, "rejected {}", u8::from(reason)));
    }

    fn dropped(&self, what: Drop) {
        let what = match what {
            Drop::Superseded => "superseded",
            Drop::TooLarge => "too_large",
            Drop::Unacknowledged => "unacknowledged",
            Drop::InFlight => "in_flight",
        };
        self.write(|output| uwriteln!(output, "dropped {}", what));
    }
}

/// The kinds of errors that a network has.
const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset => "reset",
        ErrorKind::ConnectionAborted => "aborted",
        ErrorKind::NotConnected => "no_network",
        ErrorKind::AddrNotAvailable => "unreachable",
        ErrorKind::TimedOut => "timeout",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::OutOfMemory => "no_socket",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use std::string::String;

    use super::*;

    struct Text(String);

    impl uWrite for Text {
        type Error = Infallible;

        fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
            self.0.push_str(text);
            Ok(())
        }
    }

    fn written(event: impl FnOnce(&Report<Text>)) -> String {
        let report = Report::new(Text(String::new()));
        event(&report);
        report.0.into_inner().0
    }

    #[test]
    fn each_event_is_a_line() {
        let retry = Duration::from_millis(1_290);
        let lines = written(|report| {
            report.accepted(&Reading::new(), Proof::None);
            report.refused(Refusal::Truncated { bytes: 7 });
            report.totals_fell();
            let waited = Duration::from_secs(15);
            report.no_telegram(waited, 3, LineSettings::DSMR4, LineSettings::DSMR2);
            report.foreign_port(Protocol::Hdlc);
            report.network(Some(Ipv4Addr::new(10, 0, 2, 15)));
            report.network(None);
            report.connected("", Duration::from_millis(60));
            let failure = Failure::Connect(&ErrorKind::ConnectionRefused);
            report.disconnected("", failure, retry);
            report.disconnected::<ErrorKind>("", Failure::Timeout, retry);
            let code = minimq::ReasonCode::from(0x87);
            report.disconnected::<ErrorKind>("", Failure::Refused(code), retry);
            report.rejected(code);
            report.dropped(Drop::Superseded);
        });
        assert_eq!(
            lines,
            "accepted 0 none\n\
             refused truncated 7\n\
             fell\n\
             silent 15.0 3 115200 9600\n\
             foreign HDLC\n\
             network up 10.0.2.15\n\
             network down\n\
             connected 0.0\n\
             disconnected connect refused 1.2\n\
             disconnected timeout - 1.2\n\
             disconnected refused 135 1.2\n\
             rejected 135\n\
             dropped superseded\n"
        );
    }

    #[test]
    fn counters_are_one_line_the_boards_own_last() {
        let stats = Stats::new();
        stats.accepted.add(600);
        let line = written(|report| report.stats(&stats, &[("stack", 4_000)]));
        assert!(line.starts_with("stats accepted=600 refused=0 "), "{line}");
        assert!(line.ends_with(" storage_errors=0 stack=4000\n"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn counters_in_several_lines_are_the_same() {
        let stats = Stats::new();
        stats.published.add(600);
        let board = [("heap", 20_000), ("stack", 4_000)];
        let whole = written(|report| report.stats(&stats, &board));
        let parts = written(|report| {
            let mut first = 0;
            while report.some_stats(&stats, &board, first, 8) {
                first += 8;
            }
        });
        assert_eq!(parts.lines().count(), 3);
        let joined: String = parts.replace("\nstats", "");
        assert_eq!(joined, whole);
    }
}
