//! One reading on its way from the meter to the publisher.

use core::{
    cell::{Cell, Ref, RefCell},
    ops::Deref,
};

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, signal::Signal};

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
    /// Whoever changes it does so at once; while the publisher has it nobody may.
    reading: RefCell<&'a mut Reading>,
    full: Cell<bool>,
    closed: Cell<bool>,
    awaited: Cell<bool>,
    arrival: Signal<Raw, ()>,
    departure: Signal<Raw, ()>,
}

/// The reading taken from the mailbox; nothing replaces it until it is dropped. It stays in the
/// mailbox unless it is [`done`](Taken::done).
pub struct Taken<'m, 'a> {
    reading: Ref<'m, &'a mut Reading>,
    mailbox: &'m Mailbox<'a>,
}

impl Taken<'_, '_> {
    /// The reading has been dealt with, and the next one may come.
    pub fn done(self) {
        self.mailbox.full.set(false);
        self.mailbox.departure.signal(());
    }
}

impl Deref for Taken<'_, '_> {
    type Target = Reading;

    fn deref(&self) -> &Reading {
        &self.reading
    }
}

/// Says for as long as it lives that a reading is awaited.
struct Awaiting<'m>(&'m Cell<bool>);

impl<'m> Awaiting<'m> {
    fn new(awaited: &'m Cell<bool>) -> Self {
        awaited.set(true);
        Self(awaited)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<'a> Mailbox<'a> {
    /// An empty mailbox with room for a reading.
    pub fn new(room: &'a mut Reading) -> Self {
        Self {
            reading: RefCell::new(room),
            full: Cell::new(false),
            closed: Cell::new(false),
            awaited: Cell::new(false),
            arrival: Signal::new(),
            departure: Signal::new(),
        }
    }

    /// Whether somebody waits for a reading, and will take it as soon as it is there.
    pub fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Puts `reading` in and gets the other room for it, without waiting.
    pub fn offer(&self, reading: &mut &'a mut Reading) -> Offered {
        let Ok(mut room) = self.reading.try_borrow_mut() else {
            return Offered::Busy;
        };
        core::mem::swap(&mut *room, reading);
        self.arrival.signal(());
        if self.full.replace(true) {
            Offered::Replaced
        } else {
            Offered::Placed
        }
    }

    /// Puts `reading` in as soon as the last one has been dealt with.
    pub async fn deliver(&self, reading: &mut &'a mut Reading) {
        self.dealt_with().await;
        // Nobody has what has been dealt with.
        let offered = self.offer(reading);
        debug_assert_eq!(offered, Offered::Placed);
    }

    /// Waits until what was last put in has been dealt with. One task may.
    ///
    /// # Cancellation Safety
    /// Dropping the future changes nothing.
    pub async fn dealt_with(&self) {
        while self.full.get() {
            self.departure.wait().await;
        }
    }

    /// Shows what was last put in, also while the publisher has it and when it has been dealt with.
    pub fn look(&self, look: impl FnOnce(&Reading)) {
        look(&self.reading.borrow());
    }

    /// No further reading will come.
    pub fn close(&self) {
        self.closed.set(true);
        self.arrival.signal(());
    }

    /// Waits for a reading; `None` when the mailbox is closed and empty.
    ///
    /// # Cancellation Safety
    /// Dropping the future loses no reading, nor does dropping what it gave before it is
    /// [`done`](Taken::done): the next call gives the same reading, or a newer one.
    pub async fn take(&self) -> Option<Taken<'_, 'a>> {
        while !self.full.get() {
            if self.closed.get() {
                return None;
            }
            let _awaiting = Awaiting::new(&self.awaited);
            self.arrival.wait().await;
        }
        Some(Taken {
            reading: self.reading.borrow(),
            mailbox: self,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;

    use embassy_futures::{block_on, poll_once};

    use super::*;

    fn fill(reading: &mut Reading, header: &str) {
        reading.begin(header.as_bytes());
    }

    /// Two readings, one in the mailbox, one in the caller's hands.
    macro_rules! mailbox {
        ($mailbox:ident, $room:ident) => {
            let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
            let $mailbox = Mailbox::new(&mut one);
            let mut $room: &mut Reading = &mut other;
        };
    }

    #[test]
    fn the_newest_reading_wins() {
        mailbox!(mailbox, room);
        fill(room, "old");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        fill(room, "new");
        assert_eq!(mailbox.offer(&mut room), Offered::Replaced);
        let taken = block_on(mailbox.take()).unwrap();
        assert_eq!(taken.header(), b"new");
        taken.done();
        assert!(poll_once(mailbox.take()).is_pending());
    }

    #[test]
    fn nothing_replaces_the_reading_that_is_being_published() {
        mailbox!(mailbox, room);
        fill(room, "old");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        let taken = block_on(mailbox.take()).unwrap();
        fill(room, "new");
        assert_eq!(mailbox.offer(&mut room), Offered::Busy);
        assert_eq!(room.header(), b"new");
        assert_eq!(taken.header(), b"old");
        taken.done();
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
    }

    #[test]
    fn the_last_reading_may_be_looked_at_until_the_next() {
        mailbox!(mailbox, room);
        let seen = |header: &[u8]| mailbox.look(|reading| assert_eq!(reading.header(), header));
        fill(room, "old");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        seen(b"old");
        let taken = block_on(mailbox.take()).unwrap();
        seen(b"old");
        taken.done();
        fill(room, "new");
        seen(b"old");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        seen(b"new");
    }

    #[test]
    fn a_reading_that_was_not_done_is_there_again() {
        mailbox!(mailbox, room);
        fill(room, "old");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        drop(block_on(mailbox.take()));
        assert_eq!(block_on(mailbox.take()).unwrap().header(), b"old");
        fill(room, "new");
        assert_eq!(mailbox.offer(&mut room), Offered::Replaced);
        mailbox.close();
        let taken = block_on(mailbox.take()).unwrap();
        assert_eq!(taken.header(), b"new");
        taken.done();
        assert!(block_on(mailbox.take()).is_none());
    }

    #[test]
    fn a_cancelled_take_loses_nothing() {
        mailbox!(mailbox, room);
        assert!(poll_once(mailbox.take()).is_pending());
        fill(room, "one");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        drop(mailbox.take());
        drop(poll_once(mailbox.take()));
        assert_eq!(block_on(mailbox.take()).unwrap().header(), b"one");
    }

    #[test]
    fn a_reading_is_awaited_while_somebody_waits() {
        mailbox!(mailbox, room);
        assert!(!mailbox.is_awaited());
        {
            let mut take = core::pin::pin!(mailbox.take());
            assert!(poll_once(take.as_mut()).is_pending());
            assert!(mailbox.is_awaited());
            fill(room, "one");
            assert_eq!(mailbox.offer(&mut room), Offered::Placed);
            let taken = block_on(take).unwrap();
            assert!(!mailbox.is_awaited());
            taken.done();
        }
        assert!(poll_once(mailbox.take()).is_pending());
        assert!(!mailbox.is_awaited(), "the wait was given up");
    }

    #[test]
    fn a_delivery_waits_until_the_last_reading_is_done() {
        mailbox!(mailbox, room);
        fill(room, "one");
        block_on(mailbox.deliver(&mut room));
        fill(room, "two");
        assert!(poll_once(mailbox.deliver(&mut room)).is_pending());
        let taken = block_on(mailbox.take()).unwrap();
        assert!(poll_once(mailbox.deliver(&mut room)).is_pending());
        drop(taken);
        assert!(poll_once(mailbox.deliver(&mut room)).is_pending());
        block_on(mailbox.take()).unwrap().done();
        block_on(mailbox.deliver(&mut room));
        assert_eq!(block_on(mailbox.take()).unwrap().header(), b"two");
    }

    #[test]
    fn a_closed_mailbox_gives_what_it_has_and_ends() {
        mailbox!(mailbox, room);
        fill(room, "last");
        assert_eq!(mailbox.offer(&mut room), Offered::Placed);
        mailbox.close();
        block_on(mailbox.take()).unwrap().done();
        assert!(block_on(mailbox.take()).is_none());
        assert!(block_on(mailbox.take()).is_none());
    }
}
