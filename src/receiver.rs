//! Bytes to proved readings: framing, line by line staging, and the verdict at the telegram's end.
//!
//! An encrypted port will put its decryption in front of [`Receiver::next`]: plaintext of any
//! fragmentation goes in, and a checked tag is one more [`Proof`].

use crate::{
    p1::{
        crc::{Rule, Running},
        framing::{DropReason, Dropped, End, Event, Framer, Given},
    },
    reading::{Reading, Skip},
};

/// What a telegram without CRC is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrcPolicy {
    /// Accepted from a meter of DSMR 3.0 or older, which has none to print: values but no version
    /// or clock line, balanced brackets, and no CRC ever seen from this meter.
    #[default]
    Auto,
    /// Always refused.
    Required,
    /// Always accepted, as far as its brackets balance.
    Optional,
}

/// How a telegram was proved to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its CRC matches.
    Crc,
    /// It has none and need not have one.
    None,
}

/// Why a telegram was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The CRC does not match.
    Crc {
        /// Computed over the bytes that came.
        expected: u16,
        /// Printed by the meter; `None` when that place was damaged.
        found: Option<u16>,
        /// Lines ended without CR: the capture lost them, and the CRC counts them.
        bare_line_ends: bool,
        /// The telegram's length.
        bytes: u32,
    },
    /// There is no CRC where this meter should print one.
    NoCrc {
        /// The telegram's length.
        bytes: u32,
    },
    /// There is no CRC, and a bracket is missing: part of the telegram is lost.
    Brackets {
        /// The telegram's length.
        bytes: u32,
    },
    /// Another header, silence or the input's end came before the telegram's.
    Truncated {
        /// How many bytes had come.
        bytes: u32,
    },
    /// A line was longer than any standard allows.
    TooLong {
        /// How many bytes had come.
        bytes: u32,
    },
}

impl Refusal {
    /// How many reasons there are.
    pub const COUNT: usize = 5;

    /// The reason's name, as shown and published.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc { .. } => "crc",
            Self::NoCrc { .. } => "no_crc",
            Self::Brackets { .. } => "brackets",
            Self::Truncated { .. } => "truncated",
            Self::TooLong { .. } => "too_long",
        }
    }

    /// The reason's place in a table of counters.
    pub const fn index(self) -> usize {
        match self {
            Self::Crc { .. } => 0,
            Self::NoCrc { .. } => 1,
            Self::Brackets { .. } => 2,
            Self::Truncated { .. } => 3,
            Self::TooLong { .. } => 4,
        }
    }

    /// How many bytes are lost with the telegram.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Crc { bytes, .. }
            | Self::NoCrc { bytes }
            | Self::Brackets { bytes }
            | Self::Truncated { bytes }
            | Self::TooLong { bytes } => bytes,
        }
    }
}

/// Gets to know of each line that yields no value.
pub trait Skipped {
    /// `line` was skipped.
    fn skipped(&mut self, line: &[u8], reason: Skip);
}

impl<F: FnMut(&[u8], Skip)> Skipped for F {
    fn skipped(&mut self, line: &[u8], reason: Skip) {
        self(line, reason);
    }
}

/// The receiving end: feed it bytes, take readings.
///
/// RAM: the framer's line, 2.1 kB, beside the reading that it fills.
pub struct Receiver<'a> {
    framer: Framer,
    staged: &'a mut Reading,
    policy: CrcPolicy,
    /// Names the meter at hand: the CRC of its header.
    meter: u16,
    /// The meter that has shown to print CRCs.
    prints_crc: Option<u16>,
    within: bool,
}

impl<'a> Receiver<'a> {
    /// A receiver that waits for a telegram and fills `staged` with it.
    pub fn new(policy: CrcPolicy, staged: &'a mut Reading) -> Self {
        Self {
            framer: Framer::new(),
            staged,
            policy,
            meter: 0,
            prints_crc: None,
            within: false,
        }
    }

    /// Takes bytes from the front of `input` until a telegram's fate is decided: `Ok` when
    /// [`reading`](Self::reading) now holds it. `None`: all bytes are taken.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        skipped: &mut impl Skipped,
    ) -> Option<Result<Proof, Refusal>> {
        while let Some(event) = self.framer.next(input) {
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            if let Some(last) = stage(event, staged, meter, &mut self.within, skipped) {
                return Some(self.verdict(last));
            }
        }
        None
    }

    /// Tells that the line is silent or the input has ended; call it until it returns `None`.
    pub fn silence(&mut self, skipped: &mut impl Skipped) -> Option<Result<Proof, Refusal>> {
        while let Some(event) = self.framer.silence() {
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            if let Some(last) = stage(event, staged, meter, &mut self.within, skipped) {
                return Some(self.verdict(last));
            }
        }
        None
    }

    /// A telegram has begun and not ended.
    pub fn is_within_telegram(&self) -> bool {
        self.within
    }

    /// Bytes outside of any telegram so far.
    pub fn noise(&self) -> u32 {
        self.framer.noise()
    }

    /// The reading that [`next`](Self::next) has just accepted; its content is gone when the next
    /// telegram begins. The caller may give the receiver another one to fill instead.
    pub fn reading(&mut self) -> &mut &'a mut Reading {
        &mut self.staged
    }

    fn verdict(&mut self, last: Last) -> Result<Proof, Refusal> {
        self.within = false;
        let end = match last {
            Last::End(end) => end,
            Last::Dropped(Dropped { reason, bytes }) => {
                return Err(match reason {
                    DropReason::Truncated => Refusal::Truncated { bytes },
                    DropReason::TooLong => Refusal::TooLong { bytes },
                });
            }
        };
        let proof = self.proof(end)?;
        if proof == Proof::Crc {
            self.prints_crc = Some(self.meter);
        }
        self.staged.settle();
        Ok(proof)
    }

    fn proof(&self, end: End) -> Result<Proof, Refusal> {
        let found = match end.given {
            Given::Crc(given) if given == end.computed => return Ok(Proof::Crc),
            Given::Crc(given) => Some(given),
            Given::Garbage => None,
            Given::Nothing => return self.without_crc(end.bytes),
        };
        Err(Refusal::Crc {
            expected: end.computed,
            found,
            bare_line_ends: !end.crlf,
            bytes: end.bytes,
        })
    }

    fn without_crc(&self, bytes: u32) -> Result<Proof, Refusal> {
        let expected = match self.policy {
            CrcPolicy::Auto => {
                let printed_before = self.prints_crc == Some(self.meter);
                printed_before || self.staged.is_dated() || self.staged.is_empty()
            }
            CrcPolicy::Required => true,
            CrcPolicy::Optional => false,
        };
        if expected {
            return Err(Refusal::NoCrc { bytes });
        }
        if !self.staged.is_balanced() {
            return Err(Refusal::Brackets { bytes });
        }
        Ok(Proof::None)
    }
}

/// What ends a telegram.
enum Last {
    End(End),
    Dropped(Dropped),
}

fn stage(
    event: Event<'_>,
    staged: &mut Reading,
    meter: &mut u16,
    within: &mut bool,
    skipped: &mut impl Skipped,
) -> Option<Last> {
    match event {
        Event::Start(header) => {
            let mut id = Running::new(Rule::Arc);
            id.update(header);
            *meter = id.value();
            *within = true;
            staged.begin(header);
        }
        Event::Line(line) => {
            if let Err(reason) = staged.line(line) {
                skipped.skipped(line, reason);
            }
        }
        Event::End(end) => return Some(Last::End(end)),
        Event::Dropped(dropped) => return Some(Last::Dropped(dropped)),
    }
    None
}
