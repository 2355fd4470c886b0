//! Bytes to proved readings: framing, line by line staging, and the verdict at the telegram's end.
//!
//! A frame of an encrypted port is opened as it comes, and its telegram goes the same way; the verdict waits for the
//! frame's tag then.

use crate::{
    p1::{
        cipher::{Fate, Keys, Unsealer},
        crc::{Rule, Running},
        framing::{DropReason, Dropped, End, Event, Framer, Given},
    },
    reading::{Reading, Skip},
};

/// What a telegram without CRC is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrcPolicy {
    /// Accepted from a meter of DSMR 3.0 or older, which has none to print: values but no version
    /// or clock line, balanced brackets, and no CRC seen from this meter, or none for a long while.
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
    /// It came in a frame whose tag matches, and its CRC does not: the meter made that of something else.
    Tag,
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
    /// The port is encrypted, and there is no key.
    Encrypted {
        /// The frame's length.
        bytes: u32,
    },
    /// What the key makes of an encrypted frame is no telegram: it is another meter's, or the frame was damaged.
    Key {
        /// The frame's length.
        bytes: u32,
    },
}

impl Refusal {
    /// How many reasons there are.
    pub const COUNT: usize = 7;

    /// The reason's name, as shown and published.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc { .. } => "crc",
            Self::NoCrc { .. } => "no_crc",
            Self::Brackets { .. } => "brackets",
            Self::Truncated { .. } => "truncated",
            Self::TooLong { .. } => "too_long",
            Self::Encrypted { .. } => "encrypted",
            Self::Key { .. } => "key",
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
            Self::Encrypted { .. } => 5,
            Self::Key { .. } => 6,
        }
    }

    /// How many bytes are lost with the telegram.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Crc { bytes, .. }
            | Self::NoCrc { bytes }
            | Self::Brackets { bytes }
            | Self::Truncated { bytes }
            | Self::TooLong { bytes }
            | Self::Encrypted { bytes }
            | Self::Key { bytes } => bytes,
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

/// After so many telegrams in a row without a CRC, a meter that has printed them no longer does.
const PATIENCE: u8 = 10;

/// The receiving end: feed it bytes, take readings.
///
/// RAM: the framer's line, 2.1 kB, and what opens frames, 0.6 kB, beside the reading that it fills.
// In this order, since the chip reaches what is near a structure's start with shorter code.
#[repr(C)]
pub struct Receiver<'a> {
    staging: Staging<'a>,
    policy: CrcPolicy,
    /// The meter that has shown to print CRCs.
    prints_crc: Option<u16>,
    /// Telegrams of it in a row that had none and would have been accepted from another meter.
    missing: u8,
    framer: Framer,
    /// The end of the telegram in the frame at hand.
    ended: Option<End>,
    unsealer: Unsealer,
}

impl<'a> Receiver<'a> {
    /// A receiver that waits for a telegram and fills `staged` with it.
    pub fn new(policy: CrcPolicy, staged: &'a mut Reading) -> Self {
        Self {
            staging: Staging {
                within: false,
                meter: 0,
                reading: staged,
            },
            policy,
            prints_crc: None,
            missing: 0,
            framer: Framer::new(),
            ended: None,
            unsealer: Unsealer::new(),
        }
    }

    /// Opens the frames of an encrypted port with `keys` from now on; without keys it says that they are encrypted.
    pub fn set_keys(&mut self, keys: Option<Keys>) {
        self.unsealer.set_keys(keys);
    }

    /// The meter that has shown to print CRCs, by a fingerprint of its header.
    pub fn prints_crc(&self) -> Option<u16> {
        self.prints_crc
    }

    /// Takes up what [`prints_crc`](Self::prints_crc) said before a restart.
    pub fn set_prints_crc(&mut self, meter: Option<u16>) {
        self.prints_crc = meter;
    }

    /// Takes bytes from the front of `input` until a telegram's fate is decided: `Ok` when
    /// [`reading`](Self::reading) now holds it. `None`: all bytes are taken.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        skipped: &mut impl Skipped,
    ) -> Option<Result<Proof, Refusal>> {
        loop {
            let outcome = if self.staging.within && !self.unsealer.is_busy() {
                // Any byte may come here, also those that an encrypted frame begins with.
                while let Some(event) = self.framer.next(input) {
                    if let Some(last) = self.staging.take(event, skipped) {
                        return Some(self.verdict(last));
                    }
                }
                return None;
            } else if self.unsealer.is_busy() {
                self.unseal(input, skipped)
            } else {
                self.begin(input, skipped)
            };
            if outcome.is_some() {
                return outcome;
            }
            if input.is_empty() && self.unsealer.ready().is_empty() {
                return None;
            }
        }
    }

    /// Takes bytes between telegrams, up to a header's end or to what looks like the beginning of an encrypted frame.
    #[inline(never)]
    fn begin(
        &mut self,
        input: &mut &[u8],
        skipped: &mut impl Skipped,
    ) -> Option<Result<Proof, Refusal>> {
        let clear = Unsealer::clear(input);
        let (mut piece, rest) = input.split_at(clear);
        while let Some(event) = self.framer.next_out_of_line(&mut piece) {
            let last = self.staging.take_out_of_line(event, skipped);
            if self.staging.within || last.is_some() {
                *input = &input[clear - piece.len()..];
                return last.map(|last| self.verdict(last));
            }
        }
        *input = rest;
        match rest {
            [] => None,
            _ => self.unseal(input, skipped),
        }
    }

    /// Takes bytes of a frame, or of what looks like the beginning of one.
    #[cold]
    #[inline(never)]
    fn unseal(
        &mut self,
        input: &mut &[u8],
        skipped: &mut impl Skipped,
    ) -> Option<Result<Proof, Refusal>> {
        let was_open = self.unsealer.is_open();
        let fate = match self.unsealer.ready() {
            [] => self.unsealer.next(input),
            _ => None,
        };
        let is_open = self.unsealer.is_open();
        if is_open && !was_open {
            self.framer.interrupt();
        }
        if let Some(fate) = fate {
            return Some(self.fate(fate, skipped));
        }
        let mut piece = self.unsealer.ready();
        let there = piece.len();
        let mut last = None;
        // What a frame has behind its telegram is not looked at.
        while self.ended.is_none()
            && last.is_none()
            && let Some(event) = self.framer.next_out_of_line(&mut piece)
        {
            last = self.staging.take_out_of_line(event, skipped);
        }
        let taken = match self.ended {
            Some(_) => there,
            None => there - piece.len(),
        };
        self.unsealer.consume(taken);
        match last? {
            Last::End(end) if is_open => {
                self.ended = Some(end);
                None
            }
            last => {
                self.unsealer.pass();
                Some(self.verdict(last))
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn fate(&mut self, fate: Fate, skipped: &mut impl Skipped) -> Result<Proof, Refusal> {
        let (authentic, bytes) = match fate {
            Fate::Whole { authentic, bytes } => (authentic, bytes),
            // What is missing may be the tag alone.
            Fate::Cut { bytes } => (false, bytes),
            Fate::NoKey { bytes } => return Err(Refusal::Encrypted { bytes }),
            Fate::WrongKey { bytes } => return Err(Refusal::Key { bytes }),
        };
        // The telegram's line end need not be in the frame.
        while self.ended.is_none()
            && let Some(event) = self.framer.silence()
        {
            if let Some(Last::End(end)) = self.staging.take_out_of_line(event, skipped) {
                self.ended = Some(end);
            }
        }
        let end = self.ended.take();
        self.reset();
        let end = end.ok_or(Refusal::Truncated { bytes })?;
        let proof = match (end.given, authentic) {
            // What nothing proves is not believed: that it could be opened says little.
            (Given::Nothing, false) => Err(Refusal::NoCrc { bytes }),
            (Given::Nothing, true) => Ok(Proof::Tag),
            (_, true) => Ok(self.proof(end).unwrap_or(Proof::Tag)),
            (_, false) => self.proof(end),
        };
        proof.map(|proof| self.accept(proof))
    }

    /// Forgets the telegram at hand.
    fn reset(&mut self) {
        self.staging.within = false;
        self.ended = None;
        while self.framer.silence().is_some() {}
    }

    /// Tells that the line is silent or the input has ended; call it until it returns `None`.
    pub fn silence(&mut self, skipped: &mut impl Skipped) -> Option<Result<Proof, Refusal>> {
        if let Some(bytes) = self.unsealer.silence() {
            return Some(self.fate(Fate::Cut { bytes }, skipped));
        }
        while !self.unsealer.ready().is_empty() {
            let outcome = self.unseal(&mut &[][..], skipped);
            if outcome.is_some() {
                return outcome;
            }
        }
        while let Some(event) = self.framer.silence() {
            if let Some(last) = self.staging.take_out_of_line(event, skipped) {
                return Some(self.verdict(last));
            }
        }
        None
    }

    /// A telegram, or an encrypted frame, has begun and not ended.
    pub fn is_within_telegram(&self) -> bool {
        self.staging.within || self.unsealer.is_busy()
    }

    /// Bytes outside of any telegram so far.
    pub fn noise(&self) -> u32 {
        self.framer.noise()
    }

    /// The reading that [`next`](Self::next) has just accepted; its content is gone when the next
    /// telegram begins. The caller may give the receiver another one to fill instead.
    pub fn reading(&mut self) -> &mut &'a mut Reading {
        &mut self.staging.reading
    }

    fn verdict(&mut self, last: Last) -> Result<Proof, Refusal> {
        self.staging.within = false;
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
        Ok(self.accept(proof))
    }

    fn accept(&mut self, proof: Proof) -> Proof {
        if proof == Proof::Crc {
            self.prints_crc = Some(self.staging.meter);
            self.missing = 0;
        }
        self.staging.reading.settle();
        proof
    }

    fn proof(&mut self, end: End) -> Result<Proof, Refusal> {
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

    #[cold]
    #[inline(never)]
    fn without_crc(&mut self, bytes: u32) -> Result<Proof, Refusal> {
        let expected = match self.policy {
            CrcPolicy::Auto => self.staging.reading.is_dated() || self.staging.reading.is_empty(),
            CrcPolicy::Required => true,
            CrcPolicy::Optional => false,
        };
        if expected {
            return Err(Refusal::NoCrc { bytes });
        }
        if !self.staging.reading.is_balanced() {
            return Err(Refusal::Brackets { bytes });
        }
        if self.policy == CrcPolicy::Auto && self.prints_crc == Some(self.staging.meter) {
            self.missing += 1;
            if self.missing < PATIENCE {
                return Err(Refusal::NoCrc { bytes });
            }
            self.missing = 0;
            self.prints_crc = None;
        }
        Ok(Proof::None)
    }
}

/// What ends a telegram.
enum Last {
    End(End),
    Dropped(Dropped),
}

/// The telegram at hand, as far as it has come.
struct Staging<'a> {
    /// It has begun.
    within: bool,
    /// Names its meter: the CRC of its header.
    meter: u16,
    reading: &'a mut Reading,
}

impl Staging<'_> {
    #[inline(always)]
    fn take(&mut self, event: Event<'_>, skipped: &mut impl Skipped) -> Option<Last> {
        match event {
            Event::Start(header) => {
                let mut id = Running::new(Rule::Arc);
                id.update(header);
                self.meter = id.value();
                self.within = true;
                self.reading.begin(header);
            }
            Event::Line(line) => {
                if let Err(reason) = self.reading.line(line) {
                    skipped.skipped(line, reason);
                }
            }
            Event::End(end) => return Some(Last::End(end)),
            Event::Dropped(dropped) => return Some(Last::Dropped(dropped)),
        }
        None
    }

    /// The same where it is not done for every line.
    #[cold]
    #[inline(never)]
    fn take_out_of_line(&mut self, event: Event<'_>, skipped: &mut impl Skipped) -> Option<Last> {
        self.take(event, skipped)
    }
}
