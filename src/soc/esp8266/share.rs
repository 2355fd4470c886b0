//! Who has the chip's only receiver: the console or P1.

use embassy_time::{Duration, Instant};

/// How long the console has it after reset: a new device on a bench is to be set up by whoever plugs it in.
pub const AFTER_RESET: Duration = Duration::from_secs(10);

/// How long it has it after a byte was typed.
pub const AFTER_TYPING: Duration = Duration::from_secs(60);

/// Who has the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Commands are typed.
    Console,
    /// Telegrams are received.
    P1,
}

/// The rule. Time is an argument.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Until when it is the console's whatever is asked for.
    console_until: Instant,
    asked: bool,
}

impl Share {
    /// After a reset at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            console_until: now + AFTER_RESET,
            asked: false,
        }
    }

    /// A telegram is asked for, or no more.
    pub fn ask(&mut self, asked: bool) {
        self.asked = asked;
    }

    /// Somebody typed at `now`. What comes while P1 has the receiver was not typed.
    pub fn typed(&mut self, now: Instant) {
        if self.owner(now) == Owner::Console {
            self.console_until = self.console_until.max(now + AFTER_TYPING);
        }
    }

    /// Who has it at `now`.
    pub fn owner(&self, now: Instant) -> Owner {
        if self.asked && now >= self.console_until {
            Owner::P1
        } else {
            Owner::Console
        }
    }

    /// When that changes by itself.
    pub fn changes(&self, now: Instant) -> Option<Instant> {
        (self.asked && now < self.console_until).then_some(self.console_until)
    }
}
