//! The typed values of one telegram, staged line by line until the telegram is proved.

use core::mem;

use crate::{
    metric::{self, Brief, Device, Kind, Metric, Unit, Variant},
    p1::{
        line::{Groups, Line, Oddity, oddity},
        obis::Obis,
        timestamp::{Letter, Stamp, Utc, tst},
        value::{NotANumber, Number, Quantity, quantity},
    },
};

/// Values of one telegram; the longest known (Lithuania) gives 97.
pub const VALUES_MAX: usize = 112;

/// Bytes of text in one telegram: a message of 1024 characters (P1 companion standard 5.0.2
/// §6.12), beside it ids and a failure log of ten entries.
pub const TEXT_MAX: usize = 1536;

/// Time stamps in one telegram; a pre-DSMR meter sends a day of hourly gas readings.
const STAMPS_MAX: usize = 32;

/// M-Bus channels, 1 to 9.
const CHANNELS: usize = 9;

/// Why a line, or the value in it, was not taken. The telegram goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// The line follows no grammar.
    Malformed,
    /// No row of `metrics.toml` has this OBIS id.
    UnknownObis,
    /// The meter says that it has no value: an empty bracket, an unset time stamp.
    NoValue,
    /// A number was expected and other characters came.
    NotANumber,
    /// A unit that no row for this id can be converted from, or not with so many digits.
    Unit,
    /// A time stamp was expected and other characters came.
    Timestamp,
    /// The reading is full: [`VALUES_MAX`], [`TEXT_MAX`].
    NoRoom,
}

impl Skip {
    /// Every reason, in the order of [`Skip::index`].
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::UnknownObis,
        Self::NoValue,
        Self::NotANumber,
        Self::Unit,
        Self::Timestamp,
        Self::NoRoom,
    ];

    /// The reason's name, as shown and published.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownObis => "unknown_obis",
            Self::NoValue => "no_value",
            Self::NotANumber => "not_a_number",
            Self::Unit => "unit",
            Self::Timestamp => "timestamp",
            Self::NoRoom => "no_room",
        }
    }

    /// The reason's place in a table of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A meter's time stamp: the point in time, and how the meter wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The point in time.
    pub utc: Utc,
    /// The letter behind the digits.
    pub letter: Letter,
}

/// What was read from an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A number, in the unit of the metric's row.
    Number {
        /// Converted to the row's unit, all decimals kept.
        number: Number,
        /// As printed.
        sent: Number,
        /// The unit that was printed; the row's where none was.
        unit: Option<Unit>,
    },
    /// Characters: those of a hex text decoded, others as sent.
    Text(&'a [u8]),
    /// A list of bracketed groups, as sent.
    Log(Groups<'a>),
}

/// One value of a reading.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// The row it belongs to.
    pub metric: &'static Metric,
    /// That row's number in the table.
    pub index: u16,
    /// The OBIS id as sent.
    pub obis: Obis,
    /// The value.
    pub content: Content<'a>,
    /// When it was taken, where the object says so.
    pub at: Option<At>,
    /// Of several that feed one metric (M-Bus channels, a history), this is the newest; of several
    /// texts, the first that is not empty.
    pub newest: bool,
}

/// Where text lies in the arena.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u16,
    len: u16,
}

impl Span {
    const EMPTY: Self = Self { start: 0, len: 0 };

    /// Texts share the number's place in a slot.
    fn packed(self) -> i64 {
        i64::from(self.start) << 16 | i64::from(self.len)
    }

    fn unpacked(packed: i64) -> Self {
        Self {
            start: (packed >> 16) as u16,
            len: packed as u16,
        }
    }
}

/// A value as it is kept: 16 bytes, of which a reading holds two times [`VALUES_MAX`].
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The number's digits, or a [`Span`].
    mantissa: i64,
    /// The row that fits, as far as is known.
    metric: u16,
    channel: u8,
    /// Index into the stamps, or [`NO_STAMP`].
    stamp: u8,
    decimals: u8,
    width: u8,
    unit: Option<Unit>,
}

const _: () = assert!(mem::size_of::<Slot>() == 16);

impl Slot {
    /// What was never written.
    const UNUSED: Self = Self {
        mantissa: 0,
        metric: 0,
        channel: 0,
        stamp: 0,
        decimals: 0,
        width: 0,
        unit: None,
    };
}

const NO_STAMP: u8 = u8::MAX;

/// The bits of the channel itself.
const CHANNEL: u8 = 0x0F;

/// A bit above it: another value of the same name counts.
const SUPERSEDED: u8 = 0x80;

/// Another: the channel's device is none of the table's.
const FOREIGN: u8 = 0x40;

/// A DSMR 2.2 reading whose number stands on the next line.
#[derive(Debug, Clone, Copy)]
struct OpenProfile {
    metric: u16,
    channel: u8,
    /// `None` for a channel that was never read: its number means nothing.
    at: Option<At>,
    unit: Option<Unit>,
}

/// The values of one telegram.
///
/// [`begin`](Self::begin), [`line`](Self::line) for each line, then [`settle`](Self::settle).
/// RAM: 3.7 kB.
// In this order, since the chip reaches what is near a structure's start with shorter code.
#[repr(C)]
pub struct Reading {
    header: Span,
    version: Option<Span>,
    clock: Option<At>,
    variant: Option<Variant>,
    devices: [Option<Device>; CHANNELS],
    newest: [Option<u8>; Device::COUNT],
    open: Option<OpenProfile>,
    dated: bool,
    balanced: bool,
    /// What was learnt of the meter might have changed what became of earlier values.
    overtaken: bool,
    /// A bit per name: a value has it.
    seen: [u32; metric::NAME_WORDS],
    count: usize,
    /// The first `count` are this telegram's; behind them are an earlier one's.
    slots: [Slot; VALUES_MAX],
    stamps: heapless::Vec<At, STAMPS_MAX>,
    text: heapless::Vec<u8, TEXT_MAX>,
}

impl Default for Reading {
    fn default() -> Self {
        Self::new()
    }
}

impl Reading {
    /// An empty reading.
    pub const fn new() -> Self {
        Self {
            seen: [0; metric::NAME_WORDS],
            count: 0,
            slots: [Slot::UNUSED; VALUES_MAX],
            stamps: heapless::Vec::new(),
            text: heapless::Vec::new(),
            header: Span::EMPTY,
            version: None,
            clock: None,
            variant: None,
            devices: [None; CHANNELS],
            newest: [None; Device::COUNT],
            open: None,
            dated: false,
            balanced: true,
            overtaken: false,
        }
    }

    /// Forgets everything and starts over with a telegram's header (without the `/`).
    pub fn begin(&mut self, header: &[u8]) {
        self.seen = [0; metric::NAME_WORDS];
        self.count = 0;
        self.stamps.clear();
        self.text.clear();
        self.version = None;
        self.clock = None;
        self.variant = Variant::from_header(header);
        self.devices = [None; CHANNELS];
        self.newest = [None; Device::COUNT];
        self.open = None;
        self.dated = false;
        self.balanced = true;
        self.overtaken = false;
        self.header = self.store(header).unwrap_or(Span::EMPTY);
    }

    /// Takes one line in, without its line end.
    ///
    /// # Errors
    /// The line yields no value, and why. Everything else of the telegram is unharmed.
    // In a function of its own it has the registers to itself.
    #[inline(never)]
    pub fn line(&mut self, text: &[u8]) -> Result<(), Skip> {
        match Line::parse(text) {
            Line::Object(obis, groups) => self.object(obis, groups),
            Line::Continuation(groups) => {
                let (value, _) = self.checked(groups)?;
                self.continuation(value)
            }
            Line::Blank => Ok(()),
            Line::Odd(oddity) => Err(self.malformed(oddity)),
        }
    }

    /// The first group's value, and all groups, when they are whole.
    fn checked<'a>(&mut self, groups: Groups<'a>) -> Result<(&'a [u8], Groups<'a>), Skip> {
        // A bracket within a group was another's, and a line end may be lost with it. A meter with a date has a check,
        // which knows better.
        if !self.dated {
            self.balanced &= oddity(groups.raw()) != Oddity::Unbalanced;
        }
        if let Some(value) = groups.single() {
            return Ok((value, groups));
        }
        match groups.checked() {
            Some(groups) => Ok((first(groups), groups)),
            None => Err(self.malformed(oddity(groups.raw()))),
        }
    }

    fn malformed(&mut self, oddity: Oddity) -> Skip {
        self.balanced &= oddity != Oddity::Unbalanced;
        Skip::Malformed
    }

    fn object(&mut self, obis: Obis, groups: Groups<'_>) -> Result<(), Skip> {
        self.open = None;
        if self.variant.is_none()
            && let Some(variant) = Variant::from_marker(obis)
        {
            self.variant = Some(variant);
            self.overtaken |= self.count > 0;
        }
        // A meter sends the same lines each time, so what an earlier telegram had here is the first guess.
        let earlier = self.slots.get(self.count);
        let guess = earlier.map_or((0, 0), |slot| (slot.metric, slot.channel & CHANNEL));
        let metric = metric::find_near(obis, guess);
        // Nearly every line: a number of the meter itself, in one pass.
        if let Some(metric) = metric
            && let Some(brief) = metric::brief(metric)
            && brief.is_number()
            && obis.channel().is_none()
            && let Some(found) = groups.quantity()
            && let Some(unit) = expected_unit(brief, found.unit)
        {
            return self.push(metric, 0, (found.number, unit), None);
        }
        self.any_object(obis, metric, groups)
    }

    /// An object of any kind.
    fn any_object(
        &mut self,
        obis: Obis,
        metric: Option<u16>,
        groups: Groups<'_>,
    ) -> Result<(), Skip> {
        let channel = obis.channel().unwrap_or(0);
        let row = metric.and_then(|index| Some((index, metric::get(index)?)));
        let (value, groups) = self.checked(groups)?;
        let (metric, row) = row.ok_or(Skip::UnknownObis)?;
        if self.is_foreign(metric, channel) {
            return Err(Skip::UnknownObis);
        }
        match row.kind {
            Kind::Number => {
                let number = number(metric, value)?;
                self.push(metric, channel, number, None)
            }
            Kind::Stamped => self.stamped(metric, channel, groups),
            Kind::Profile => self.profile(metric, channel, groups),
            Kind::Device => self.read_device(metric, channel, value),
            Kind::Clock => self.read_clock(metric, value),
            Kind::Version => {
                self.dated = true;
                let span = self.version_text(value)?;
                self.version = Some(span);
                self.push_text(metric, channel, span, None)
            }
            Kind::Hex => {
                let span = self.hex(value)?;
                self.push_text(metric, channel, span, None)
            }
            Kind::Text => {
                let span = self.store(value)?;
                self.push_text(metric, channel, span, None)
            }
            Kind::Log => {
                let span = self.store(groups.raw())?;
                self.push_text(metric, channel, span, None)
            }
        }
    }

    /// Time stamp and number in either order: the Iskra meters of Wallonia and pre-DSMR meters put
    /// the number first.
    fn stamped(&mut self, metric: u16, channel: u8, groups: Groups<'_>) -> Result<(), Skip> {
        let mut at = None;
        let mut found = Err(NotANumber::Empty);
        for group in groups {
            match tst(group) {
                Some(stamp) if at.is_none() && !group.is_empty() => at = Some(stamp),
                _ => found = quantity(group),
            }
        }
        let found = found?;
        match at.ok_or(Skip::Timestamp)? {
            Stamp::Unset => Err(Skip::NoValue),
            Stamp::At(utc, letter) => {
                let row = metric::get(metric).ok_or(Skip::UnknownObis)?;
                let number = in_unit(metric, row, found)?;
                self.push(metric, channel, number, Some(At { utc, letter }))
            }
        }
    }

    /// `(stamp)(status)(period)(channels)(id)(unit)`, and the number behind it or on a line of its
    /// own (DSMR P1 2.2 §5.3).
    fn profile(&mut self, metric: u16, channel: u8, mut groups: Groups<'_>) -> Result<(), Skip> {
        let mut open = OpenProfile {
            metric,
            channel,
            at: None,
            unit: None,
        };
        match groups.next().and_then(tst).ok_or(Skip::Timestamp)? {
            Stamp::At(utc, letter) => open.at = Some(At { utc, letter }),
            Stamp::Unset => {
                self.open = Some(open);
                return Err(Skip::NoValue);
            }
        }
        let unit = groups.nth(4).ok_or(Skip::Malformed)?;
        open.unit = match unit.trim_ascii() {
            [] => None,
            text => Some(Unit::parse(text).ok_or(Skip::Unit)?),
        };
        match groups.next() {
            Some(text) => self.fill(open, text),
            None => {
                self.open = Some(open);
                Ok(())
            }
        }
    }

    fn continuation(&mut self, value: &[u8]) -> Result<(), Skip> {
        let open = self.open.take().ok_or(Skip::Malformed)?;
        self.fill(open, value)
    }

    fn fill(&mut self, open: OpenProfile, text: &[u8]) -> Result<(), Skip> {
        let at = open.at.ok_or(Skip::NoValue)?;
        let mut value = number(open.metric, text)?;
        if let (None, Some(unit)) = (value.1, open.unit) {
            let row = metric::get(open.metric).ok_or(Skip::UnknownObis)?;
            convertible(open.metric, row, value.0, unit)?;
            value.1 = Some(unit);
        }
        self.push(open.metric, open.channel, value, Some(at))
    }

    fn read_device(&mut self, metric: u16, channel: u8, text: &[u8]) -> Result<(), Skip> {
        let value = number(metric, text)?;
        let whole = (value.0.decimals == 0).then_some(value.0.mantissa);
        let kind = whole.and_then(|code| u8::try_from(code).ok());
        if let Some(place) = self.devices.get_mut(usize::from(channel).wrapping_sub(1)) {
            *place = kind.and_then(Device::from_mbus_type);
        }
        let mut earlier = self.filled().iter();
        self.overtaken |= earlier.any(|slot| slot.channel & CHANNEL == channel);
        self.push(metric, channel, value, None)
    }

    fn read_clock(&mut self, metric: u16, text: &[u8]) -> Result<(), Skip> {
        self.dated = true;
        match tst(text).ok_or(Skip::Timestamp)? {
            Stamp::Unset => Err(Skip::NoValue),
            Stamp::At(utc, letter) => {
                let at = At { utc, letter };
                if self.clock.is_none() {
                    self.clock = Some(at);
                    self.overtaken |= !self.stamps.is_empty();
                }
                let span = self.store(text)?;
                self.push_text(metric, 0, span, Some(at))
            }
        }
    }

    #[inline]
    fn push(
        &mut self,
        metric: u16,
        channel: u8,
        (number, unit): (Number, Option<Unit>),
        at: Option<At>,
    ) -> Result<(), Skip> {
        let slot = Slot {
            mantissa: number.mantissa,
            metric,
            channel,
            stamp: self.stamp(at)?,
            decimals: number.decimals,
            width: number.width,
            unit,
        };
        self.push_slot(slot)
    }

    fn push_text(
        &mut self,
        metric: u16,
        channel: u8,
        span: Span,
        at: Option<At>,
    ) -> Result<(), Skip> {
        let slot = Slot {
            mantissa: span.packed(),
            metric,
            channel,
            stamp: self.stamp(at)?,
            decimals: 0,
            width: 0,
            unit: None,
        };
        self.push_slot(slot)
    }

    #[inline]
    fn push_slot(&mut self, slot: Slot) -> Result<(), Skip> {
        let index = self.count;
        *self.slots.get_mut(index).ok_or(Skip::NoRoom)? = slot;
        self.count += 1;
        self.place(index, slot);
        Ok(())
    }

    /// Finds the value's row, and whether it counts, by what is known so far.
    #[inline]
    fn place(&mut self, index: usize, slot: Slot) {
        // Nearly every id has one row, which the value keeps even where it does not fit, and comes once.
        let is_plain = slot.stamp == NO_STAMP && slot.channel == 0;
        let brief = metric::brief(slot.metric);
        if !(is_plain && brief.is_some_and(|b| b.only_row() && is_first(b, &mut self.seen))) {
            self.place_any(index, slot);
        }
    }

    #[inline]
    fn stamp(&mut self, at: Option<At>) -> Result<u8, Skip> {
        let Some(at) = at else { return Ok(NO_STAMP) };
        self.stamps.push(at).map_err(|_| Skip::NoRoom)?;
        Ok(self.stamps.len() as u8 - 1)
    }

    fn store(&mut self, bytes: &[u8]) -> Result<Span, Skip> {
        // A Hungarian meter without a message sends 1024 bytes of 0xFF.
        if !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0xFF) {
            return Err(Skip::NoValue);
        }
        let start = self.text.len() as u16;
        self.text
            .extend_from_slice(bytes)
            .map_err(|_| Skip::NoRoom)?;
        let len = bytes.len() as u16;
        Ok(Span { start, len })
    }

    /// Characters printed as pairs of hex digits. What is not hex, or is hex of no characters (many
    /// meters print a plain number, as `29973286`), is kept as sent, less the blanks around it.
    fn hex(&mut self, text: &[u8]) -> Result<Span, Skip> {
        let text = text.trim_ascii();
        let start = self.text.len();
        let len = text.len() / 2;
        if text.is_empty() || !text.len().is_multiple_of(2) {
            return self.store(text);
        }
        let resized = self.text.resize_default(start + len);
        resized.map_err(|_| Skip::NoRoom)?;
        let room = self.text.get_mut(start..).unwrap_or_default();
        for (pair, place) in text.chunks_exact(2).zip(room) {
            match character(pair[0], pair[1]) {
                Some(byte) => *place = byte,
                None => {
                    self.text.truncate(start);
                    return self.store(text);
                }
            }
        }
        let decoded = self.text.get(start..).unwrap_or_default();
        if core::str::from_utf8(decoded).is_err() {
            self.text.truncate(start);
            return self.store(text);
        }
        Ok(Span {
            start: start as u16,
            len: len as u16,
        })
    }

    /// A version is two to five digits, as they are (`50` is no hex of `P`); the Iskra meters of
    /// Wallonia print hex of them.
    fn version_text(&mut self, text: &[u8]) -> Result<Span, Skip> {
        const PRINTED_MAX: usize = 5;
        if text.len() > PRINTED_MAX {
            self.hex(text)
        } else {
            self.store(text)
        }
    }

    /// The channel is known to have a device of which the table has nothing: what it sends under the
    /// ids of a gas meter is not gas.
    fn is_foreign(&self, metric: u16, channel: u8) -> bool {
        const OTHER: Option<Device> = Some(Device::Other);
        device_on(&self.devices, channel) == OTHER
            && metric::select(metric, self.variant, OTHER, None).is_none()
    }

    /// Says that all lines have come. Each value has been given the row that fits the meter and the M-Bus
    /// device, and of several of one name the one that counts was chosen; where a later line told something
    /// of these, this is done again.
    pub fn settle(&mut self) {
        self.open = None;
        if mem::take(&mut self.overtaken) {
            self.place_all();
        }
    }

    #[cold]
    fn place_all(&mut self) {
        self.seen = [0; metric::NAME_WORDS];
        self.newest = [None; Device::COUNT];
        for index in 0..self.count {
            let slot = &mut self.slots[index];
            slot.channel &= CHANNEL;
            slot.metric = metric::first_row(slot.metric);
            let slot = *slot;
            self.place(index, slot);
        }
    }

    #[inline(never)]
    fn place_any(&mut self, index: usize, mut slot: Slot) {
        let is_plain = slot.stamp == NO_STAMP && slot.channel == 0;
        if !(is_plain && metric::brief(slot.metric).is_some_and(Brief::only_row)) {
            if self.is_foreign(slot.metric, slot.channel) {
                self.slots[index].channel |= FOREIGN;
                return;
            }
            if let Some(fitting) = self.fitting_row(&slot) {
                slot.metric = fitting;
                self.slots[index].metric = fitting;
                self.note_newest(index, &slot);
            }
        }
        let Some(brief) = metric::brief(slot.metric) else {
            return;
        };
        // Of numbers with a time stamp the newest counts. A number has a digit before its point.
        let by_place = slot.stamp == NO_STAMP || slot.width == 0;
        // What the meter itself says with a time stamp is no rival of what it says without.
        let has_rival = (by_place || slot.channel != 0) && !is_first(brief, &mut self.seen);
        match by_place {
            true if has_rival => self.choose(index, &slot, brief),
            false if !brief.has_device() => self.choose_newest(index, &slot),
            _ => {}
        }
    }

    fn fitting_row(&self, slot: &Slot) -> Option<u16> {
        let device = device_on(&self.devices, slot.channel);
        metric::select(slot.metric, self.variant, device, slot.unit)
            .or_else(|| metric::select(slot.metric, self.variant, None, slot.unit))
    }

    /// Two ids may feed one name (0-0:96.13.0 and 96.13.1 are both the message), and a meter may send
    /// an id twice: the first counts, of texts the first that says something.
    fn choose(&mut self, index: usize, slot: &Slot, brief: Brief) {
        let is_rival = |earlier: &Slot| {
            earlier.channel == slot.channel
                && metric::brief(earlier.metric).is_some_and(|b| b.name() == brief.name())
        };
        let mut earlier = self.filled().iter().take(index);
        let Some(other) = earlier.position(is_rival) else {
            return;
        };
        let is_empty = |slot: &Slot| slot.width == 0 && Span::unpacked(slot.mantissa).len == 0;
        let first_loses = is_empty(&self.slots[other]) && !is_empty(slot);
        let loser = if first_loses { other } else { index };
        self.slots[loser].channel |= SUPERSEDED;
    }

    /// Of several stamps of one row, as in a history, the newest counts.
    fn choose_newest(&mut self, index: usize, slot: &Slot) {
        let counts = |earlier: &Slot| {
            earlier.metric == slot.metric
                && earlier.stamp != NO_STAMP
                && earlier.channel & SUPERSEDED == 0
        };
        let mut earlier = self.filled().iter().take(index);
        if let Some(other) = earlier.position(counts) {
            let utc = |slot: &Slot| self.stamp_of(slot).map(|at| at.utc);
            let is_newer = utc(slot) > utc(&self.slots[other]);
            let loser = if is_newer { other } else { index };
            self.slots[loser].channel |= SUPERSEDED;
        }
    }

    /// Remembers per kind of device which reading is the newest: a replaced gas meter leaves a
    /// dead channel behind.
    fn note_newest(&mut self, index: usize, slot: &Slot) {
        let Some(at) = self.stamp_of(slot) else {
            return;
        };
        let Some(device) = metric::get(slot.metric).and_then(|metric| metric.device) else {
            return;
        };
        let best = self.newest[device.index()]
            .and_then(|best| self.filled().get(usize::from(best)))
            .and_then(|best| self.stamp_of(best));
        // One from the future counts only where there is no other.
        let rank = |at: At| (!self.is_ahead(at.utc), at.utc);
        if best.is_none_or(|best| rank(at) > rank(best)) {
            self.newest[device.index()] = Some(index as u8);
        }
    }

    fn filled(&self) -> &[Slot] {
        self.slots.get(..self.count).unwrap_or_default()
    }

    fn stamp_of(&self, slot: &Slot) -> Option<At> {
        self.stamps.get(usize::from(slot.stamp)).copied()
    }

    #[inline]
    fn is_newest(&self, index: usize, slot: &Slot, metric: &Metric) -> bool {
        if slot.channel & SUPERSEDED != 0 {
            return false;
        }
        match metric.device {
            Some(device) => self.is_newest_of_device(index, slot, device),
            None => true,
        }
    }

    #[inline(never)]
    fn is_newest_of_device(&self, index: usize, slot: &Slot, device: Device) -> bool {
        let best = self.newest[device.index()].map(usize::from);
        match best.and_then(|best| self.filled().get(best)) {
            Some(_) if slot.stamp != NO_STAMP => best == Some(index),
            // A pre-DSMR gas reading (7-0:23.1.0) does not say its channel.
            Some(best) => best.channel == slot.channel || best.channel == 0,
            None => true,
        }
    }

    fn text_at(&self, span: Span) -> &[u8] {
        let start = usize::from(span.start);
        self.text
            .get(start..start + usize::from(span.len))
            .unwrap_or_default()
    }

    /// The header line without its `/`.
    pub fn header(&self) -> &[u8] {
        self.text_at(self.header)
    }

    /// What the meter says of the P1 version it follows.
    pub fn version(&self) -> Option<&[u8]> {
        self.version.map(|span| self.text_at(span))
    }

    /// The meter's clock when it sent the telegram.
    pub fn clock(&self) -> Option<At> {
        self.clock
    }

    /// The moment is so far ahead of the meter's clock that one of the two is wrong. A day covers a
    /// clock that was set in between.
    pub fn is_ahead(&self, utc: Utc) -> bool {
        const DAY: Utc = 86_400;
        self.clock
            .is_some_and(|clock| utc > clock.utc.saturating_add(DAY))
    }

    /// The national variant that the header or a marker line tells.
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// A version or clock line stood in the telegram, readable or not: such a meter prints CRCs.
    pub fn is_dated(&self) -> bool {
        self.dated
    }

    /// No line lost a bracket.
    pub fn is_balanced(&self) -> bool {
        self.balanced
    }

    /// How many values the telegram's lines have yielded.
    pub fn len(&self) -> usize {
        self.count
    }

    /// No line of the telegram has yielded a value.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All values in the telegram's order.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        self.values_of(|_| true)
    }

    /// The values of some metrics, in the telegram's order. To know a metric's brief is much less work than
    /// to make a value of it.
    #[inline]
    pub fn values_of(&self, wanted: impl Fn(Brief) -> bool) -> impl Iterator<Item = Value<'_>> {
        let slots = self.filled().iter().enumerate();
        slots.filter_map(move |(index, slot)| {
            let is_wanted = wanted(metric::brief(slot.metric)?) && slot.channel & FOREIGN == 0;
            is_wanted.then(|| self.value(index, slot, metric::get(slot.metric)?))?
        })
    }

    /// When the newest value of a kind of device was taken.
    pub fn newest_at(&self, device: Device) -> Option<At> {
        let newest = self.newest[device.index()]?;
        let slot = self.filled().get(usize::from(newest))?;
        let counts = slot.channel & SUPERSEDED == 0;
        self.stamp_of(slot).filter(|_| counts)
    }

    #[inline(always)]
    fn value<'a>(
        &'a self,
        index: usize,
        slot: &'a Slot,
        metric: &'static Metric,
    ) -> Option<Value<'a>> {
        let content = match metric.kind {
            Kind::Number | Kind::Stamped | Kind::Profile | Kind::Device => {
                self.number_of(slot, metric)?
            }
            Kind::Text | Kind::Hex | Kind::Version | Kind::Clock => {
                Content::Text(self.text_at(Span::unpacked(slot.mantissa)))
            }
            Kind::Log => {
                let raw = self.text_at(Span::unpacked(slot.mantissa));
                Content::Log(Groups::of(raw))
            }
        };
        Some(Value {
            metric,
            index: slot.metric,
            obis: metric.obis.with_channel(slot.channel & CHANNEL),
            content,
            at: self.stamp_of(slot),
            newest: self.is_newest(index, slot, metric),
        })
    }

    #[inline(always)]
    fn number_of(&self, slot: &Slot, metric: &Metric) -> Option<Content<'_>> {
        let sent = Number {
            mantissa: slot.mantissa,
            decimals: slot.decimals,
            width: slot.width,
        };
        let number = match (slot.unit, metric.unit) {
            // Nearly all meters use the table's own unit.
            (Some(from), Some(to)) if from != to => sent.shifted(from.shift_to(to)?)?,
            _ => sent,
        };
        Some(Content::Number {
            number,
            sent,
            unit: slot.unit.or(metric.unit),
        })
    }
}

/// What is known to hang on an M-Bus channel; on channel 0, the meter itself, nothing does.
fn device_on(devices: &[Option<Device>; CHANNELS], channel: u8) -> Option<Device> {
    *devices.get(usize::from(channel).wrapping_sub(1))?
}

/// The character of two hex digits.
#[inline]
fn character(high: u8, low: u8) -> Option<u8> {
    let byte = (nibble(high)? << 4 | nibble(low)?) as u8;
    let control = byte < b' ' || byte == 0x7F;
    (!control || matches!(byte, b'\t' | b'\r' | b'\n')).then_some(byte)
}

/// A hex digit, in a register's width.
#[inline]
fn nibble(digit: u8) -> Option<u32> {
    let digit = u32::from(digit);
    match digit.wrapping_sub(u32::from(b'0')) {
        number @ 0..10 => Some(number),
        _ => match (digit | 0x20).wrapping_sub(u32::from(b'a')) {
            letter @ 0..6 => Some(letter + 10),
            _ => None,
        },
    }
}

/// Notes the name among those `seen`; `false` when it was there already.
#[inline]
fn is_first(brief: Brief, seen: &mut [u32; metric::NAME_WORDS]) -> bool {
    let bit = 1 << (brief.name() % 32);
    let Some(word) = seen.get_mut(brief.name() / 32) else {
        return true;
    };
    let is_first = *word & bit == 0;
    *word |= bit;
    is_first
}

/// The unit, when a plain number of this row needs no second look: that of the row, or none.
#[inline]
fn expected_unit(brief: Brief, text: &[u8]) -> Option<Option<Unit>> {
    if text.is_empty() {
        return Some(None);
    }
    Unit::parse(text)
        .filter(|unit| brief.is_in(*unit))
        .map(Some)
}

/// A number with the unit it was printed with. Of a list in one bracket (eMUCS 2.1 writes
/// `30.0*A,-65.0*A`, each with its unit) the first counts; of words (Hungarian Wasion meters write
/// `TARIFF 1`) the last.
fn number(metric: u16, text: &[u8]) -> Result<(Number, Option<Unit>), Skip> {
    let found = quantity(text).or_else(|error| {
        let worded = text.first().is_some_and(u8::is_ascii_alphabetic);
        let separator = if worded { b' ' } else { b',' };
        let mut parts = text.split(|byte| *byte == separator);
        let part = if worded {
            parts.next_back()
        } else {
            parts.next()
        };
        let found = quantity(part.ok_or(error)?)?;
        // A comma behind bare digits may be somebody's decimal point.
        if worded || !found.unit.is_empty() {
            Ok(found)
        } else {
            Err(error)
        }
    });
    let row = metric::get(metric).ok_or(Skip::UnknownObis)?;
    in_unit(metric, row, found?)
}

/// The number, when a row for its id can be converted from its unit.
#[inline(always)]
fn in_unit(metric: u16, row: &Metric, found: Quantity<'_>) -> Result<(Number, Option<Unit>), Skip> {
    if found.unit.is_empty() {
        return Ok((found.number, None));
    }
    let unit = Unit::parse(found.unit).ok_or(Skip::Unit)?;
    convertible(metric, row, found.number, unit)?;
    Ok((found.number, Some(unit)))
}

/// Whether a number in this unit can be told in that of a row for its id, `row` the first of them.
#[inline]
fn convertible(metric: u16, row: &Metric, number: Number, unit: Unit) -> Result<(), Skip> {
    // Nearly all meters use the table's own unit.
    if row.unit != Some(unit) && !converts(metric, number, unit) {
        return Err(Skip::Unit);
    }
    Ok(())
}

/// Whether the number can be converted to the unit of one of the id's rows.
fn converts(metric: u16, number: Number, unit: Unit) -> bool {
    metric::any_row(metric, |row| {
        row.unit.is_none_or(|known| {
            let shift = unit.shift_to(known);
            shift.is_some_and(|shift| number.shifted(shift).is_some())
        })
    })
}

fn first<'a>(mut groups: Groups<'a>) -> &'a [u8] {
    groups.next().unwrap_or_default()
}

impl From<NotANumber> for Skip {
    fn from(error: NotANumber) -> Self {
        match error {
            NotANumber::Empty => Self::NoValue,
            NotANumber::Malformed => Self::NotANumber,
        }
    }
}
