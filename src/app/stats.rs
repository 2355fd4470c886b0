//! What has been counted since start.

use core::cell::Cell;

use crate::{
    p1::port::LineErrors,
    reading::Skip,
    receiver::{Refusal, Skipped},
};

/// A counter that sticks at its end.
#[derive(Debug, Default)]
pub struct Counter(Cell<u32>);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u32) {
        self.0.set(self.0.get().saturating_add(more));
    }

    /// The sum.
    pub fn get(&self) -> u32 {
        self.0.get()
    }
}

/// The firmware's counters.
#[derive(Debug, Default)]
pub struct Stats {
    /// Telegrams accepted.
    pub accepted: Counter,
    /// Telegrams refused, by reason ([`Refusal::index`]).
    pub refused: [Counter; Refusal::COUNT],
    /// Accepted telegrams that were dropped because a register had gone backwards.
    pub fallen_totals: Counter,
    /// Lines without a value, by reason ([`Skip::index`]).
    pub skipped: [Counter; Skip::ALL.len()],
    /// What the port's hardware has counted.
    pub line_errors: Cell<LineErrors>,
    /// Bytes that belong to no telegram.
    pub noise: Counter,
    /// Times that no telegram came in time.
    pub timeouts: Counter,
    /// Times that the P1 port could not be read.
    pub port_errors: Counter,
    /// Readings handed to the MQTT session whole.
    pub published: Counter,
    /// Readings that a newer one replaced before they could be published.
    pub superseded: Counter,
    /// Messages that did not fit the session's buffer or the broker's limit.
    pub too_large: Counter,
    /// InfluxDB lines dropped because too many were unacknowledged.
    pub unacknowledged: Counter,
    /// Times that a session was lost with messages in flight.
    pub lost_in_flight: Counter,
    /// Messages that the broker refused one by one, such as for want of rights.
    pub rejected: Counter,
    /// Connections made to the broker.
    pub connections: Counter,
    /// Attempts to connect that failed.
    pub failed_connections: Counter,
    /// Requests over MQTT that came faster than they could be answered.
    pub lost_commands: Counter,
    /// Times that the time server has told the time.
    pub times: Counter,
    /// Times that it has not, although it was asked.
    pub failed_times: Counter,
    /// Packets from the time server's address that are no reply of its.
    pub stray_times: Counter,
    /// Values that could not be kept across a restart.
    pub storage_errors: Counter,
}

impl Stats {
    /// All zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Telegrams refused, whatever the reason.
    pub fn all_refused(&self) -> u32 {
        self.refused.iter().map(Counter::get).sum()
    }

    /// Lines that held no value although they should have.
    pub fn odd_lines(&self) -> u32 {
        let expected = [Skip::NoValue.index(), Skip::UnknownObis.index()];
        let lines = self.skipped.iter().enumerate();
        let odd = lines.filter(|(index, _)| !expected.contains(index));
        odd.map(|(_, counter)| counter.get()).sum()
    }

    /// What was received or made and then not published.
    pub fn dropped(&self) -> u32 {
        let counters = [
            &self.superseded,
            &self.too_large,
            &self.unacknowledged,
            &self.lost_in_flight,
            &self.rejected,
            &self.fallen_totals,
        ];
        counters.iter().map(|counter| counter.get()).sum()
    }
}

/// Counts skipped lines.
pub struct CountSkipped<'a>(pub &'a Stats);

impl Skipped for CountSkipped<'_> {
    fn skipped(&mut self, _: &[u8], reason: Skip) {
        if let Some(counter) = self.0.skipped.get(reason.index()) {
            counter.count();
        }
    }
}
