//! One reading on its way from the meter to the publisher.

use core::{
    cell::Cell,
    ops::{Deref, DerefMut},
};

use embassy_sync::{
    blocking_mutex::raw::CriticalSectionRawMutex,
    mutex::{Mutex, MutexGuard},
    signal::Signal,
};

use crate::reading::Reading;

type Raw = CriticalSectionRawMutex;

/// What became of an offered reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It is in the mailbox.
    Placed,
    /// It is in the mailbox in the place of an older one that nobody had taken.
    Replaced,
    /// The publisher is still busy with the last one; this one is dropped.
    Busy,
}

/// A mailbox for one reading: the newest wins.
///
/// Readings change places by reference, so there are two in all: one being received, one here.
pub struct Mailbox<'a> {
    reading: Mutex<Raw, &'a mut Reading>,
    full: Cell<bool>,
    closed: Cell<bool>,
    arrival: Signal<Raw, ()>,
    departure: Signal<Raw, ()>,
}

/// The reading taken from the mailbox; nothing replaces it until it is dropped.
pub struct Taken<'m, 'a>(MutexGuard<'m, Raw, &'a mut Reading>);

impl Deref for Taken<'_, '_> {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.0
    }
}

impl<'a> Mailbox<'a> {
    /// An empty mailbox with room for a reading.
    pub fn new(room: &'a mut Reading) -> Self {
        Self {
            reading: Mutex::new(room),
            full: Cell::new(false),
            closed: Cell::new(false),
            arrival: Signal::new(),
            departure: Signal::new(),
        }
    }

    /// Puts `reading` in and gets the other room for it, without waiting.
    pub fn offer(&self, reading: &mut &'a mut Reading) -> Offered {
        let Ok(mut room) = self.reading.try_lock() else {
            return Offered::Busy;
        };
        core::mem::swap(room.deref_mut(), reading);
        self.arrival.signal(());
        if self.full.replace(true) {
            Offered::Replaced
        } else {
            Offered::Placed
        }
    }

    /// Puts `reading` in as soon as the last one has been dealt with.
    pub async fn deliver(&self, reading: &mut &'a mut Reading) {
        while self.full.get() {
            self.departure.wait().await;
        }
        let mut room = self.reading.lock().await;
        core::mem::swap(room.deref_mut(), reading);
        self.full.set(true);
        self.arrival.signal(());
    }

    /// No further reading will come.
    pub fn close(&self) {
        self.closed.set(true);
        self.arrival.signal(());
    }

    /// Waits for a reading; `None` when the mailbox is closed and empty.
    ///
    /// # Cancellation Safety
    /// Dropping the future loses no reading.
    pub async fn take(&self) -> Option<Taken<'_, 'a>> {
        while !self.full.get() {
            if self.closed.get() {
                return None;
            }
            self.arrival.wait().await;
        }
        let reading = self.reading.lock().await;
        self.full.set(false);
        self.departure.signal(());
        Some(Taken(reading))
    }
}
