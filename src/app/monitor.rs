//! Who is told what happens: a PC's terminal, a board's LED, nobody.

use core::error::Error;

use embassy_time::Duration;

use crate::{
    p1::{foreign::Protocol, port::LineSettings},
    reading::Reading,
    receiver::{Proof, Refusal},
};

/// Why something could not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// The publisher was behind, and a newer reading took the place of an older one.
    Superseded,
    /// The message does not fit the session's buffer or the broker's limit.
    TooLarge,
    /// Too many InfluxDB lines are unacknowledged.
    Unacknowledged,
    /// The session was lost before the broker had acknowledged everything.
    InFlight,
}

/// Why the broker could not be reached, or was lost.
#[derive(Debug)]
pub enum Failure<'a, E> {
    /// The broker's name does not resolve.
    Name(&'a E),
    /// No TCP connection.
    Connect(&'a E),
    /// The connection broke.
    Transport(&'a E),
    /// Nothing came back in time.
    Timeout,
    /// The broker closed the connection.
    Closed,
    /// The broker refused, with its MQTT 5 reason code.
    Refused(minimq::ReasonCode),
    /// The broker broke the protocol; one that speaks MQTT 3.1.1 only does.
    Protocol,
    /// A setting is too long for the session.
    Settings,
}

// Derived, it would ask the same of the errors, which are only borrowed.
impl<E> Clone for Failure<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Failure<'_, E> {}

/// Gets to know of events. Every method does nothing unless implemented.
pub trait Monitor {
    /// A telegram was accepted.
    fn accepted(&self, reading: &Reading, proof: Proof) {
        let _ = (reading, proof);
    }

    /// No register of that telegram had gone backwards: its values are believed. What is published of it has gone
    /// ahead.
    fn believed(&self, reading: &Reading) {
        let _ = reading;
    }

    /// Whether it wants to be told of every telegram, also of those that nothing is published of.
    fn wants_every(&self) -> bool {
        false
    }

    /// A telegram was refused.
    fn refused(&self, refusal: Refusal) {
        let _ = refusal;
    }

    /// A telegram was dropped because a register had gone backwards.
    fn totals_fell(&self) {}

    /// No telegram came for `waited`, only `received` bytes with `line`; `next` is tried now.
    fn no_telegram(&self, waited: Duration, received: u32, line: LineSettings, next: LineSettings) {
        let _ = (waited, received, line, next);
    }

    /// Meanwhile the port sends frames of another protocol: it is no P1 port.
    fn foreign_port(&self, protocol: Protocol) {
        let _ = protocol;
    }

    /// The P1 port cannot be read for the moment.
    fn port_failed<E: Error>(&self, error: &E) {
        let _ = error;
    }

    /// The MQTT session with this broker stands, `after` its loss or start.
    fn connected(&self, server: &str, after: Duration) {
        let _ = (server, after);
    }

    /// An attempt to connect to this broker failed, or the connection was lost; the next attempt is made in
    /// `retry`.
    fn disconnected<E: embedded_io_async::Error>(
        &self,
        server: &str,
        failure: Failure<'_, E>,
        retry: Duration,
    ) {
        let _ = (server, failure, retry);
    }

    /// A message is handed to the session; one that is too large for the broker is told to be
    /// [`dropped`](Self::dropped) right after.
    fn published(&self, topic: &str, payload: &[u8], retained: bool) {
        let _ = (topic, payload, retained);
    }

    /// The broker refused a message, and keeps the connection.
    fn rejected(&self, reason: minimq::ReasonCode) {
        let _ = reason;
    }

    /// Something was not published.
    fn dropped(&self, what: Drop) {
        let _ = what;
    }
}

/// Tells both, the first one first.
impl<A: Monitor, B: Monitor> Monitor for (&A, &B) {
    fn accepted(&self, reading: &Reading, proof: Proof) {
        self.0.accepted(reading, proof);
        self.1.accepted(reading, proof);
    }

    fn believed(&self, reading: &Reading) {
        self.0.believed(reading);
        self.1.believed(reading);
    }

    fn wants_every(&self) -> bool {
        self.0.wants_every() || self.1.wants_every()
    }

    fn refused(&self, refusal: Refusal) {
        self.0.refused(refusal);
        self.1.refused(refusal);
    }

    fn totals_fell(&self) {
        self.0.totals_fell();
        self.1.totals_fell();
    }

    fn no_telegram(&self, waited: Duration, received: u32, line: LineSettings, next: LineSettings) {
        self.0.no_telegram(waited, received, line, next);
        self.1.no_telegram(waited, received, line, next);
    }

    fn foreign_port(&self, protocol: Protocol) {
        self.0.foreign_port(protocol);
        self.1.foreign_port(protocol);
    }

    fn port_failed<E: Error>(&self, error: &E) {
        self.0.port_failed(error);
        self.1.port_failed(error);
    }

    fn connected(&self, server: &str, after: Duration) {
        self.0.connected(server, after);
        self.1.connected(server, after);
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        server: &str,
        failure: Failure<'_, E>,
        retry: Duration,
    ) {
        self.0.disconnected(server, failure, retry);
        self.1.disconnected(server, failure, retry);
    }

    fn published(&self, topic: &str, payload: &[u8], retained: bool) {
        self.0.published(topic, payload, retained);
        self.1.published(topic, payload, retained);
    }

    fn rejected(&self, reason: minimq::ReasonCode) {
        self.0.rejected(reason);
        self.1.rejected(reason);
    }

    fn dropped(&self, what: Drop) {
        self.0.dropped(what);
        self.1.dropped(what);
    }
}

/// Tells nobody.
pub struct Silent;

impl Monitor for Silent {}
