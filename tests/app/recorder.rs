//! A monitor that writes everything down.

use std::cell::RefCell;

use core::error::Error;
use embassy_time::{Duration, Instant};
use metertrekker::{
    app::monitor::{Drop, Failure, Monitor},
    p1::{foreign::Protocol, port::LineSettings},
    reading::Reading,
    receiver::{Proof, Refusal},
};
use minimq::ReasonCode;

/// What a monitor was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Accepted,
    Refused(&'static str),
    TotalsFell,
    NoTelegram {
        waited: u64,
        received: u32,
        line: LineSettings,
        next: LineSettings,
    },
    ForeignPort(Protocol),
    PortFailed(String),
    Connected {
        tenths: u64,
    },
    Disconnected {
        failure: String,
        retry: Duration,
    },
    Rejected(ReasonCode),
    Dropped(Drop),
}

/// Everything with the millisecond in which it was told, messages aside.
#[derive(Debug, Default)]
pub struct Recorder(RefCell<Vec<(u64, Told)>>);

impl Recorder {
    fn note(&self, told: Told) {
        let now = Instant::now().as_millis();
        self.0.borrow_mut().push((now, told));
    }

    pub fn all(&self) -> Vec<(u64, Told)> {
        self.0.borrow().clone()
    }

    /// What of it `pick` takes, without the times.
    pub fn only<T>(&self, pick: impl Fn(&Told) -> Option<T>) -> Vec<T> {
        let told = self.0.borrow();
        told.iter().filter_map(|(_, told)| pick(told)).collect()
    }

    pub fn failures(&self) -> Vec<(String, Duration)> {
        self.only(|told| match told {
            Told::Disconnected { failure, retry } => Some((failure.clone(), *retry)),
            _ => None,
        })
    }
}

impl Monitor for Recorder {
    fn accepted(&self, _: &Reading, _: Proof) {
        self.note(Told::Accepted);
    }

    fn refused(&self, refusal: Refusal) {
        self.note(Told::Refused(refusal.name()));
    }

    fn totals_fell(&self) {
        self.note(Told::TotalsFell);
    }

    fn no_telegram(&self, waited: Duration, received: u32, line: LineSettings, next: LineSettings) {
        self.note(Told::NoTelegram {
            waited: waited.as_secs(),
            received,
            line,
            next,
        });
    }

    fn foreign_port(&self, protocol: Protocol) {
        self.note(Told::ForeignPort(protocol));
    }

    fn port_failed<E: Error>(&self, error: &E) {
        self.note(Told::PortFailed(error.to_string()));
    }

    fn connected(&self, _: &str, after: Duration) {
        let tenths = after.as_millis() / 100;
        self.note(Told::Connected { tenths });
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        _: &str,
        failure: Failure<'_, E>,
        retry: Duration,
    ) {
        let failure = format!("{failure:?}");
        self.note(Told::Disconnected { failure, retry });
    }

    fn rejected(&self, reason: ReasonCode) {
        self.note(Told::Rejected(reason));
    }

    fn dropped(&self, what: Drop) {
        self.note(Told::Dropped(what));
    }
}
