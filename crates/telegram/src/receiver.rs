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

/// The receiving end: feed it bytes, take readings.
///
/// RAM: the framer's line, 2.1 kB, and what opens frames, 0.6 kB, beside the reading that it fills.
// In this order, since the chip reaches what is near a structure's start with shorter code.
#[repr(C)]
pub struct Receiver<'a> {
    within: bool,
    policy: CrcPolicy,
    /// Names the meter at hand: the CRC of its header.
    meter: u16,
    /// The meter that has shown to print CRCs.
    prints_crc: Option<u16>,
    staged: &'a mut Reading,
    framer: Framer,
    /// The end of the telegram in the frame at hand.
    ended: Option<End>,
    unsealer: Unsealer,
}

impl<'a> Receiver<'a> {
    /// A receiver that waits for a telegram and fills `staged` with it.
    pub fn new(policy: CrcPolicy, staged: &'a mut Reading) -> Self {
        Self {
            framer: Framer::new(),
            unsealer: Unsealer::new(),
            ended: None,
            staged,
            policy,
            meter: 0,
            prints_crc: None,
            within: false,
        }
    }

    /// Opens the frames of an encrypted port with `keys` from now on; without keys it says that they are encrypted.
    pub fn set_keys(&mut self, keys: Option<Keys>) {
        self.unsealer.set_keys(keys);
    }

    /// Takes bytes from the front of `input` until a telegram's fate is decided: `Ok` when
    /// [`reading`](Self::reading) now holds it. `None`: all bytes are taken.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        skipped: &mut impl Skipped,
    ) -> Option<Result<Proof, Refusal>> {
        loop {
            let outcome = if self.within && !self.unsealer.is_busy() {
                // Any byte may come here, also those that an encrypted frame begins with.
                while let Some(event) = self.framer.next(input) {
                    let (staged, meter) = (&mut *self.staged, &mut self.meter);
                    if let Some(last) = stage(event, staged, meter, &mut self.within, skipped) {
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
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            let last = stage_out_of_line(event, staged, meter, &mut self.within, skipped);
            if self.within || last.is_some() {
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
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            last = stage_out_of_line(event, staged, meter, &mut self.within, skipped);
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
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            if let Some(Last::End(end)) =
                stage_out_of_line(event, staged, meter, &mut self.within, skipped)
            {
                self.ended = Some(end);
            }
        }
        let end = self.ended.take();
        self.reset();
        let end = end.ok_or(Refusal::Truncated { bytes })?;
        let is_crc = matches!(end.given, Given::Crc(given) if given == end.computed);
        match (is_crc, authentic, end.given) {
            (true, ..) => Ok(self.accept(Proof::Crc)),
            (false, true, _) => Ok(self.accept(Proof::Tag)),
            // What nothing proves is not believed: that it could be opened says little.
            (false, false, Given::Nothing) => Err(Refusal::NoCrc { bytes }),
            (false, false, _) => Err(self.proof(end).err().unwrap_or(Refusal::NoCrc { bytes })),
        }
    }

    /// Forgets the telegram at hand.
    fn reset(&mut self) {
        self.within = false;
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
            let (staged, meter) = (&mut *self.staged, &mut self.meter);
            if let Some(last) = stage_out_of_line(event, staged, meter, &mut self.within, skipped) {
                return Some(self.verdict(last));
            }
        }
        None
    }

    /// A telegram, or an encrypted frame, has begun and not ended.
    pub fn is_within_telegram(&self) -> bool {
        self.within || self.unsealer.is_busy()
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
        Ok(self.accept(proof))
    }

    fn accept(&mut self, proof: Proof) -> Proof {
        if proof == Proof::Crc {
            self.prints_crc = Some(self.meter);
        }
        self.staged.settle();
        proof
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

/// The same where it is not done for every line.
#[cold]
#[inline(never)]
fn stage_out_of_line(
    event: Event<'_>,
    staged: &mut Reading,
    meter: &mut u16,
    within: &mut bool,
    skipped: &mut impl Skipped,
) -> Option<Last> {
    stage(event, staged, meter, within, skipped)
}

#[inline(always)]
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
