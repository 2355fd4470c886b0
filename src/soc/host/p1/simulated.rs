//! The simulated meter as a P1 port: the meter at the far end of a line that obeys Data Request.

use core::{convert::Infallible, future::pending};
use std::vec::Vec;

use embassy_time::{Duration, Instant, Timer};

use crate::{
    p1::port::{Format, LineErrors, LineSettings, Port},
    soc::host::{
        simulator::{self, Simulator},
        time::utc_now_seconds,
    },
};

/// Bytes that arrive together, as through the FIFO of a UART.
const BURST: usize = 64;

/// A simulated meter on a simulated line.
///
/// It sends while Data Request is asserted, at the period of its standard, and stops in the middle
/// of a telegram when that is released (P1 companion standard 5.0.2 §5.3). Read with the wrong speed
/// or format, it yields garbage.
pub struct SimulatedPort {
    meter: Simulator,
    sent_with: LineSettings,
    read_with: LineSettings,
    requested: bool,
    /// The meter's clock at start, and when that was.
    utc: i64,
    start: Instant,
    /// When the next telegram begins, and when the line has the next bytes.
    due: Instant,
    next: Instant,
    telegram: Vec<u8>,
    sent: usize,
}

impl SimulatedPort {
    /// Puts `meter` on a line, its clock at this machine's time.
    pub fn new(meter: Simulator) -> Self {
        let line = meter.kind().line();
        Self {
            sent_with: LineSettings {
                baud: line.baud,
                format: match line.format {
                    simulator::Format::EightNone => Format::EightNone,
                    simulator::Format::SevenEven => Format::SevenEven,
                },
                inverted: true,
            },
            read_with: LineSettings::DSMR4,
            requested: false,
            utc: utc_now_seconds() as i64,
            start: Instant::now(),
            due: Instant::now(),
            next: Instant::now(),
            telegram: Vec::new(),
            sent: 0,
            meter,
        }
    }

    /// How long the line needs for `count` characters of ten bits.
    fn transfer(&self, count: usize) -> Duration {
        let bits = count as u64 * 10;
        Duration::from_micros(bits * 1_000_000 / u64::from(self.sent_with.baud))
    }
}

impl Port for SimulatedPort {
    type Error = Infallible;

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if !self.requested {
            return pending().await;
        }
        Timer::at(self.next).await;
        if self.sent == self.telegram.len() {
            let elapsed = self.due.saturating_duration_since(self.start);
            let utc = self.utc + elapsed.as_secs() as i64;
            self.telegram = self.meter.telegram_at(utc);
            self.sent = 0;
        }
        let rest = &self.telegram[self.sent..];
        let count = rest.len().min(buffer.len()).min(BURST);
        buffer[..count].copy_from_slice(&rest[..count]);
        if self.read_with != self.sent_with {
            buffer[..count]
                .iter_mut()
                .for_each(|byte| *byte = !*byte | 0x80);
        }
        self.sent += count;
        self.next += self.transfer(count);
        if self.sent == self.telegram.len() {
            // Counted from its beginning: each burst's time is rounded, and a sum of those would
            // begin a telegram before its second.
            self.due += Duration::from_secs(self.meter.kind().period() as u64);
            self.next = self.next.max(self.due);
        }
        Ok(count)
    }

    fn set_line(&mut self, line: LineSettings) {
        self.read_with = line;
    }

    fn request(&mut self, asserted: bool) {
        if asserted && !self.requested {
            // The meter sends on whole seconds of its clock.
            let now = Instant::now();
            let second = Duration::from_secs((now - self.start).as_secs() + 1);
            self.due = self.due.max(self.start + second);
            self.next = self.due;
        }
        if !asserted {
            self.telegram.clear();
            self.sent = 0;
        }
        self.requested = asserted;
    }

    fn line_errors(&self) -> LineErrors {
        LineErrors::default()
    }
}
