//! What the meter's OBIS ids mean: the compiled `metrics.toml` behind documented types.
//!
//! A line of a telegram is looked up by its id with [`find`], which is all that most lines need;
//! [`select`] then tells apart the rows of an id that means several things, by national variant,
//! M-Bus device and unit.

use crate::p1::obis::Obis;

mod raw {
    include!(concat!(env!("OUT_DIR"), "/metrics.rs"));
}

/// How the brackets after an id are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)] // A word, which the chip can load from flash.
pub enum Kind {
    /// A decimal number with an optional unit.
    Number,
    /// Characters as the meter sends them.
    Text,
    /// Characters sent as hex digits; as they are when they are no hex.
    Hex,
    /// The version of the P1 standard (1-3:0.2.8, in Belgium 0-0:96.1.4).
    Version,
    /// The telegram's time.
    Clock,
    /// The type of the device on an M-Bus channel (0-n:24.1.0).
    Device,
    /// A time stamp and a number, in either order.
    Stamped,
    /// The reading of an M-Bus device in DSMR 2.2 and 3.0 (0-n:24.3.0).
    Profile,
    /// A list of bracket groups, kept as it is.
    Log,
}

/// A physical quantity's unit without its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Watt hour, active energy.
    Wh,
    /// Watt, active power.
    W,
    /// Reactive energy.
    Varh,
    /// Reactive power.
    Var,
    /// Volt ampere, apparent power.
    Va,
    /// Apparent energy.
    Vah,
    /// Volt.
    V,
    /// Ampere.
    A,
    /// Hertz.
    Hz,
    /// Second.
    S,
    /// Cubic metre.
    M3,
    /// Joule.
    J,
}

/// The power of ten before a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// No prefix.
    None,
    /// m, 10^-3.
    Milli,
    /// k, 10^3.
    Kilo,
    /// M, 10^6.
    Mega,
    /// G, 10^9.
    Giga,
}

impl Prefix {
    const fn exponent(self) -> i8 {
        match self {
            Self::Milli => -3,
            Self::None => 0,
            Self::Kilo => 3,
            Self::Mega => 6,
            Self::Giga => 9,
        }
    }
}

/// A unit with its prefix, as in `kWh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// What is measured.
    pub base: Base,
    /// The power of ten.
    pub prefix: Prefix,
}

/// Every base with its spellings, in the order of [`Prefix`].
///
/// No meter counts in parts of a cubic metre, and a prefix would be cubed too.
const UNITS: [(Base, [&str; 5]); 12] = [
    (Base::Wh, ["Wh", "mWh", "kWh", "MWh", "GWh"]),
    (Base::W, ["W", "mW", "kW", "MW", "GW"]),
    (Base::Varh, ["varh", "mvarh", "kvarh", "Mvarh", "Gvarh"]),
    (Base::Var, ["var", "mvar", "kvar", "Mvar", "Gvar"]),
    (Base::Va, ["VA", "mVA", "kVA", "MVA", "GVA"]),
    (Base::Vah, ["VAh", "mVAh", "kVAh", "MVAh", "GVAh"]),
    (Base::V, ["V", "mV", "kV", "MV", "GV"]),
    (Base::A, ["A", "mA", "kA", "MA", "GA"]),
    (Base::Hz, ["Hz", "mHz", "kHz", "MHz", "GHz"]),
    (Base::S, ["s", "ms", "ks", "Ms", "Gs"]),
    (Base::M3, ["m3", "m3", "m3", "m3", "m3"]),
    (Base::J, ["J", "mJ", "kJ", "MJ", "GJ"]),
];

impl Unit {
    /// Reads the unit that a meter prints after `*`.
    ///
    /// Case is ignored, since meters do not agree on `kVArh` and `kvarh`; only `m` and `M` before a
    /// unit differ. Blanks around it are ignored too. `None` for what is no unit of the table.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // What nearly all values of nearly all meters have, ahead of the general case.
        let (base, prefix) = match text {
            b"kWh" => (Base::Wh, Prefix::Kilo),
            b"kW" => (Base::W, Prefix::Kilo),
            b"V" => (Base::V, Prefix::None),
            b"A" => (Base::A, Prefix::None),
            b"m3" => (Base::M3, Prefix::None),
            _ => return Self::parse_any(text),
        };
        Some(Self { base, prefix })
    }

    fn parse_any(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let bare = UNITS
            .iter()
            .find(|(_, names)| names[0].as_bytes().eq_ignore_ascii_case(text));
        if let Some(&(base, _)) = bare {
            let prefix = Prefix::None;
            return Some(Self { base, prefix });
        }
        let (first, rest) = text.split_first()?;
        let prefix = match first {
            b'm' => Prefix::Milli,
            b'k' | b'K' => Prefix::Kilo,
            b'M' => Prefix::Mega,
            b'g' | b'G' => Prefix::Giga,
            _ => return None,
        };
        let &(base, _) = UNITS
            .iter()
            .find(|(_, names)| names[0].as_bytes().eq_ignore_ascii_case(rest))?;
        (base != Base::M3).then_some(Self { base, prefix })
    }

    /// As a number that is never 0.
    const fn packed(self) -> u32 {
        1 | (self.base as u32) << 1 | (self.prefix as u32) << 5
    }

    /// The canonical spelling, as in `kvarh`.
    pub const fn as_str(self) -> &'static str {
        UNITS[self.base as usize].1[self.prefix as usize]
    }

    /// The power of ten that a value in this unit is multiplied by to be one in `other`: 3 from kW to
    /// W, -3 from W to kW. `None` when the two measure different things.
    pub const fn shift_to(self, other: Self) -> Option<i8> {
        if self.base as u8 != other.base as u8 {
            return None;
        }
        Some(self.prefix.exponent() - other.prefix.exponent())
    }
}

/// The kind of device on an M-Bus channel, as far as the table tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Gas meter.
    Gas,
    /// Water meter, also of cold water.
    Water,
    /// Meter of warm or hot water.
    WarmWater,
    /// Heat meter, at either end of the pipe.
    Heat,
    /// Cooling meter.
    Cold,
    /// Second electricity meter.
    Electricity,
    /// A device that the table has no rows for, as a heat cost allocator: its values are not those
    /// of any other device.
    Other,
}

impl Device {
    /// The device of an M-Bus device type (EN 13757-3, table 3), as 0-n:24.1.0 gives it.
    ///
    /// `None` for 0, which says that the channel has no device or does not know it.
    pub const fn from_mbus_type(code: u8) -> Option<Self> {
        Some(match code {
            0 => return None,
            2 => Self::Electricity,
            3 => Self::Gas,
            // Outlet, inlet, and a combined heat and cooling meter, whose first register is heat.
            4 | 12 | 13 => Self::Heat,
            6 | 21 => Self::WarmWater,
            7 | 22 => Self::Water,
            10 | 11 => Self::Cold,
            _ => Self::Other,
        })
    }

    /// Every kind, in the order of [`Device::index`]. What is kept in flash relies on that order: a new
    /// kind goes to its end.
    pub const ALL: [Self; 7] = [
        Self::Gas,
        Self::Water,
        Self::WarmWater,
        Self::Heat,
        Self::Cold,
        Self::Electricity,
        Self::Other,
    ];
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind's place in a table of all kinds.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in `metrics.toml` and in topics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gas => "gas",
            Self::Water => "water",
            Self::WarmWater => "warm_water",
            Self::Heat => "heat",
            Self::Cold => "cold",
            Self::Electricity => "electricity",
            Self::Other => "other",
        }
    }
}

/// A national variant of the standard that has rows of its own.
///
/// A meter of no variant has the rows that hold everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant(u8);

impl Variant {
    /// The variant with this number, counted from 0 in the table's order.
    const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The variant that a telegram's header line, with or without its `/`, belongs to.
    pub fn from_header(header: &[u8]) -> Option<Self> {
        let header = header.strip_prefix(b"/").unwrap_or(header);
        let found = raw::HEADERS.iter().find(|(h, _)| header.starts_with(h));
        found.map(|&(_, variant)| variant)
    }

    /// The variant whose telegrams alone contain this id; a header that tells counts for more.
    pub fn from_marker(obis: Obis) -> Option<Self> {
        let found = raw::MARKERS.iter().find(|(key, _)| *key == obis.key());
        found.map(|&(_, variant)| variant)
    }

    /// The name in `metrics.toml`, as in `be`.
    pub fn name(self) -> &'static str {
        raw::VARIANTS
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("")
    }
}

/// A set of variants; the empty one is that of a row that holds everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variants(u8);

impl Variants {
    /// No variant is named, so all are meant.
    pub const EVERY: Self = Self(0);

    #[allow(dead_code)] // A table without `only` has no use for it.
    const fn of(variants: &[Variant]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < variants.len() {
            bits |= 1 << variants[at].0;
            at += 1;
        }
        Self(bits)
    }

    /// Whether a row with this set holds for a meter of this variant, or of none.
    #[inline]
    pub const fn hold_for(self, variant: Option<Variant>) -> bool {
        match variant {
            _ if self.0 == 0 => true,
            Some(variant) => self.0 >> variant.0 & 1 == 1,
            None => false,
        }
    }
}

/// A metric's place in an influx line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)] // A word, which the chip can load from flash.
pub enum Influx {
    /// Not in the line.
    None,
    /// A field.
    Field,
    /// A tag.
    Tag,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The id; [`Obis::any_channel`] for a row that holds for each M-Bus channel.
    pub obis: Obis,
    /// The name everywhere; its influx column too. ASCII letters, digits and `_`, at most 48.
    pub name: &'static str,
    /// How the value is read.
    pub kind: Kind,
    /// What the value is converted to; `None` for a value without one.
    pub unit: Option<Unit>,
    /// MQTT topic below the root, starting with `/`.
    pub topic: Option<&'static str>,
    /// Its place in an influx line.
    pub influx: Influx,
    /// Phase 1, 2 or 3 that the metric belongs to alone.
    pub phase: Option<u8>,
    /// The device that the row holds for.
    pub device: Option<Device>,
    /// The variants that the row holds for.
    pub variants: Variants,
}

/// Words for a bit per row.
pub const NAME_WORDS: usize = raw::KEYS.len().div_ceil(32);

/// Of each row, what is asked for with every value, in one word.
#[allow(long_running_const_eval)] // Each row looks for its name: a full table is long for the compiler.
static BRIEFS: [Brief; raw::KEYS.len()] = {
    let mut briefs = [Brief(0); raw::KEYS.len()];
    let mut row = 0;
    while row < briefs.len() {
        let mut first = 0;
        while !is_same(raw::METRICS[first].name, raw::METRICS[row].name) {
            first += 1;
        }
        let next = row + 1;
        let only_row = next == briefs.len() || raw::KEYS[next] != raw::KEYS[row];
        briefs[row] = Brief::new(first, only_row, &raw::METRICS[row]);
        row += 1;
    }
    briefs
};

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// What every value's way through the firmware needs of its row, in one word, which the chip can load from flash.
#[derive(Debug, Clone, Copy)]
pub struct Brief(u32);

impl Brief {
    const ONLY_ROW: u32 = 1 << 10;
    const FIELD: u32 = 1 << 11;
    const TAG: u32 = 1 << 12;
    const TOPIC: u32 = 1 << 13;
    const KIND: u32 = 14;
    const PHASE: u32 = 18;
    const DEVICE: u32 = 20;
    const UNIT: u32 = 24;

    const fn new(name: usize, only_row: bool, row: &Metric) -> Self {
        let only_row = if only_row { Self::ONLY_ROW } else { 0 };
        let influx = match row.influx {
            Influx::None => 0,
            Influx::Field => Self::FIELD,
            Influx::Tag => Self::TAG,
        };
        let topic = match row.topic {
            Some(_) => Self::TOPIC,
            None => 0,
        };
        let phase = match row.phase {
            Some(phase) => phase as u32,
            None => 0,
        };
        let unit = match row.unit {
            Some(unit) => unit.packed(),
            None => 0,
        };
        Self(
            name as u32
                | only_row
                | influx
                | topic
                | (row.kind as u32) << Self::KIND
                | phase << Self::PHASE
                | device_bits(row.device) << Self::DEVICE
                | unit << Self::UNIT,
        )
    }

    /// The name as a number: the same for all rows of this name, and below 32 times [`NAME_WORDS`].
    #[inline]
    pub const fn name(self) -> usize {
        (self.0 & (Self::ONLY_ROW - 1)) as usize
    }

    /// No later row has the same id, so that [`select`] has no other to offer.
    #[inline]
    pub const fn only_row(self) -> bool {
        self.0 & Self::ONLY_ROW != 0
    }

    /// The row's values are plain numbers: [`Kind::Number`].
    #[inline]
    pub const fn is_number(self) -> bool {
        self.0 >> Self::KIND & 0xF == Kind::Number as u32
    }

    /// The row's unit is this one.
    #[inline]
    pub const fn is_in(self, unit: Unit) -> bool {
        self.0 >> Self::UNIT == unit.packed()
    }

    /// The row's unit is one of this base, with whatever prefix.
    #[inline]
    pub const fn measures(self, base: Base) -> bool {
        self.0 >> Self::UNIT & 0x1F == 1 | (base as u32) << 1
    }

    /// The row is a field of the influx line of this device, or of the electricity meter.
    #[inline]
    pub const fn is_field_of(self, device: Option<Device>) -> bool {
        self.0 & (Self::FIELD | 0xF << Self::DEVICE)
            == Self::FIELD | device_bits(device) << Self::DEVICE
    }

    /// The row is a tag of that line.
    #[inline]
    pub const fn is_tag_of(self, device: Option<Device>) -> bool {
        self.0 & (Self::TAG | 0xF << Self::DEVICE)
            == Self::TAG | device_bits(device) << Self::DEVICE
    }

    /// The row holds for a device only.
    #[inline]
    pub const fn has_device(self) -> bool {
        self.0 >> Self::DEVICE & 0xF != 0
    }

    /// The row has a topic.
    #[inline]
    pub const fn has_topic(self) -> bool {
        self.0 & Self::TOPIC != 0
    }

    /// The row belongs to no phase alone, or to one of so many.
    #[inline]
    pub const fn is_within(self, phases: u8) -> bool {
        (self.0 >> Self::PHASE & 0x3) as u8 <= phases
    }
}

const fn device_bits(device: Option<Device>) -> u32 {
    match device {
        Some(device) => device as u32 + 1,
        None => 0,
    }
}

/// The brief of the row with this index.
#[inline]
pub fn brief(index: u16) -> Option<Brief> {
    BRIEFS.get(usize::from(index)).copied()
}

/// How many rows there are; their indices are 0 to `count() - 1`.
pub const fn count() -> u16 {
    raw::KEYS.len() as u16
}

/// The row with this index.
#[inline]
pub fn get(index: u16) -> Option<&'static Metric> {
    raw::METRICS.get(usize::from(index))
}

/// What the row with this index means, in English.
///
/// An image that never asks does not contain the texts.
pub fn description(index: u16) -> Option<&'static str> {
    raw::DESCRIPTIONS.get(usize::from(index)).copied()
}

/// Index of the first row for this id: of the id itself, or else of its M-Bus channel's `n`.
#[inline]
pub fn find(obis: Obis) -> Option<u16> {
    row_of(obis).or_else(|| {
        obis.channel()?;
        row_of(Obis::any_channel(obis.c(), obis.d(), obis.e()))
    })
}

/// As [`find`], with a guess: a row and the M-Bus channel, 0 for none, of what may be the same id.
#[inline]
pub fn find_near(obis: Obis, (guess, channel): (u16, u8)) -> Option<u16> {
    match raw::KEYS.get(usize::from(guess)) {
        Some(&key) if is_id(obis, key, channel) => Some(first_row(guess)),
        _ => find(obis),
    }
}

#[inline]
fn is_id(obis: Obis, key: u32, channel: u8) -> bool {
    key == obis.key() || channel != 0 && Obis::from_key(key).with_channel(channel) == obis
}

/// The first row of the id that this row is for.
#[inline]
pub fn first_row(mut row: u16) -> u16 {
    let key = raw::KEYS.get(usize::from(row));
    while let Some(before) = row.checked_sub(1)
        && raw::KEYS.get(usize::from(before)) == key
    {
        row = before;
    }
    row
}

// The keys alone are searched: whole words, which the chip can load from flash.
fn row_of(obis: Obis) -> Option<u16> {
    let at = raw::KEYS.partition_point(|&key| key < obis.key());
    (raw::KEYS.get(at) == Some(&obis.key())).then_some(at as u16)
}

/// Whether any row of the id whose rows start at `first` is as asked for.
pub fn any_row(first: u16, asked: impl Fn(&Metric) -> bool) -> bool {
    let Some(row) = get(first) else { return false };
    let rows = raw::METRICS.iter().skip(usize::from(first));
    rows.take_while(|other| other.obis == row.obis).any(asked)
}

/// The row that a value belongs to, among those of one id, which start at `first`.
///
/// Rows are taken in their order, those for some variants before those for all. A row without a
/// device or without a unit fits each. A value without a unit (`None`) fits each row; one from an
/// unknown device (`None`) fits rows without a device first, then the first row of any. `None` when
/// the id means nothing known for this meter.
pub fn select(
    first: u16,
    variant: Option<Variant>,
    device: Option<Device>,
    unit: Option<Unit>,
) -> Option<u16> {
    let key = raw::KEYS.get(usize::from(first))?;
    let mut fallback = None;
    let mut index = first;
    while raw::KEYS.get(usize::from(index)) == Some(key) {
        let row = get(index)?;
        let unit_fits = match (row.unit, unit) {
            (Some(row), Some(unit)) => row.base == unit.base,
            _ => true,
        };
        if unit_fits && row.variants.hold_for(variant) {
            match (row.device, device) {
                (None, _) => return Some(index),
                (Some(row), Some(device)) if row == device => return Some(index),
                (Some(_), Some(_)) => {}
                (Some(_), None) => fallback = fallback.or(Some(index)),
            }
        }
        index += 1;
    }
    fallback
}

/// What the functions above rely on.
const _CHECKS: () = {
    let rows = raw::KEYS.len();
    assert!(rows > 0 && rows < 1024, "a row's index has ten bits");
    assert!(raw::METRICS.len() == rows && raw::DESCRIPTIONS.len() == rows);
    assert!(raw::VARIANTS.len() <= 8, "a set of variants has eight bits");
    let mut at = 0;
    while at < rows {
        let row = &raw::METRICS[at];
        assert!(row.obis.key() == raw::KEYS[at], "rows and keys run in step");
        assert!(at == 0 || raw::KEYS[at - 1] <= raw::KEYS[at], "sorted");
        assert!(row.name.len() <= 48, "an influx line has a bound");
        if let Some(topic) = row.topic {
            assert!(topic.len() <= 64, "a publish has a bound");
        }
        at += 1;
    }
    let mut at = 0;
    while at < UNITS.len() {
        assert!(UNITS[at].0 as usize == at, "units in the order of Base");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    /// The good tables' goldens of `tests/tables`, compiled as the table itself is.
    macro_rules! goldens {
        ($($case:ident)*) => {
            $(
                // A case need not use all that a table can say.
                #[allow(dead_code)]
                mod $case {
                    include!(concat!("../../../tests/tables/", stringify!($case), "/expected.rs"));
                }
            )*
            const GOLDENS: &[(&str, &[u32], &[Metric], &[(&[u8], Variant)])] = &[
                $((stringify!($case), &$case::KEYS, &$case::METRICS, &$case::HEADERS)),*
            ];
        };
    }

    goldens! { every_type mbus_devices one_row units_of_one_id variants }

    #[test]
    fn every_golden_is_compiled() {
        let entries = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tables"));
        let mut cases: Vec<_> = entries.unwrap().map(|e| e.unwrap().path()).collect();
        cases.retain(|case| case.join("expected.rs").exists());
        cases.sort();
        let names: Vec<_> = cases.iter().map(|c| c.file_name().unwrap()).collect();
        let compiled: Vec<_> = GOLDENS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, compiled);
    }

    #[test]
    fn goldens_are_sorted_and_in_step() {
        for (name, keys, metrics, headers) in GOLDENS {
            assert!(keys.is_sorted(), "{name}");
            let rows: Vec<u32> = metrics.iter().map(|m| m.obis.key()).collect();
            assert_eq!(&rows, keys, "{name}");
            let lengths = headers.iter().map(|(header, _)| header.len());
            assert!(lengths.rev().is_sorted(), "{name}");
        }
    }

    #[test]
    fn every_row_is_found_by_its_id() {
        for index in 0..count() {
            let obis = get(index).unwrap().obis;
            let first = (0..count()).find(|&i| get(i).unwrap().obis == obis);
            let channel = Obis::new(0, 7, obis.c(), obis.d(), obis.e()).unwrap();
            let asked = if obis.b() == 15 { channel } else { obis };
            assert_eq!(find(asked), first, "{obis}");
        }
    }

    #[test]
    fn a_guess_changes_no_answer() {
        for asked in (0..count()).filter_map(get) {
            for guess in 0..=count() {
                for channel in [0, 1, 9] {
                    let obis = asked.obis.with_channel(9);
                    assert_eq!(
                        find_near(obis, (guess, channel)),
                        find(obis),
                        "{obis} {guess}"
                    );
                }
            }
        }
        let unknown = Obis::new(0, 0, 0, 0, 1).unwrap();
        assert_eq!(find_near(unknown, (0, 0)), None);
    }

    #[test]
    fn a_brief_says_what_the_row_says() {
        for (index, row) in (0..count()).filter_map(|index| Some((index, get(index)?))) {
            let brief = brief(index).unwrap();
            let is_number = row.kind == Kind::Number;
            assert_eq!(brief.is_number(), is_number, "{}", row.name);
            for (base, ..) in UNITS {
                let measures = row.unit.is_some_and(|unit| unit.base == base);
                assert_eq!(brief.measures(base), measures, "{}", row.name);
                for prefix in [
                    Prefix::None,
                    Prefix::Milli,
                    Prefix::Kilo,
                    Prefix::Mega,
                    Prefix::Giga,
                ] {
                    let unit = Unit { base, prefix };
                    assert_eq!(brief.is_in(unit), row.unit == Some(unit), "{}", row.name);
                }
            }
            for device in [None].into_iter().chain(Device::ALL.map(Some)) {
                let is_of = row.device == device;
                let (field, tag) = (row.influx == Influx::Field, row.influx == Influx::Tag);
                assert_eq!(brief.is_field_of(device), field && is_of, "{}", row.name);
                assert_eq!(brief.is_tag_of(device), tag && is_of, "{}", row.name);
            }
            assert_eq!(brief.has_device(), row.device.is_some(), "{}", row.name);
            assert_eq!(brief.has_topic(), row.topic.is_some(), "{}", row.name);
            for phases in 1..=3 {
                let is_within = row.phase.is_none_or(|phase| phase <= phases);
                assert_eq!(brief.is_within(phases), is_within, "{}", row.name);
            }
            let next = get(index + 1).map(|next| next.obis);
            assert_eq!(brief.only_row(), next != Some(row.obis), "{}", row.name);
            let same = get(brief.name() as u16).map(|first| first.name);
            assert_eq!(same, Some(row.name));
        }
    }

    #[test]
    fn unknown_ids_and_indices_find_nothing() {
        for (a, b, c, d, e) in [
            (0, 0, 0, 0, 1),
            (1, 0, 1, 8, 99),
            (0, 10, 24, 2, 1),
            (1, 1, 24, 2, 1),
            (15, 14, 255, 255, 255),
        ] {
            assert_eq!(find(Obis::new(a, b, c, d, e).unwrap()), None);
        }
        for index in [count(), u16::MAX] {
            assert_eq!(get(index), None);
            assert_eq!(description(index), None);
            assert_eq!(select(index, None, None, None), None);
        }
    }

    #[test]
    fn units_are_read_in_any_spelling_that_meters_have() {
        for (text, canonical) in [
            ("kWh", "kWh"),
            ("kWh ", "kWh"),
            ("KWH", "kWh"),
            ("Wh", "Wh"),
            ("kVArh", "kvarh"),
            ("kvarh", "kvarh"),
            ("VArh", "varh"),
            ("kVAr", "kvar"),
            ("kVA", "kVA"),
            ("VA", "VA"),
            ("kVAh", "kVAh"),
            ("W", "W"),
            ("MW", "MW"),
            ("mW", "mW"),
            ("kV", "kV"),
            ("V", "V"),
            ("mA", "mA"),
            ("A", "A"),
            ("kHz", "kHz"),
            ("s", "s"),
            ("S", "s"),
            ("m3", "m3"),
            ("M3", "m3"),
            ("MJ", "MJ"),
            ("GJ", "GJ"),
        ] {
            let unit = Unit::parse(text.as_bytes());
            assert_eq!(unit.map(Unit::as_str), Some(canonical), "{text:?}");
        }
        for text in [
            "", " ", "k", "xW", "km3", "kWhh", "k Wh", "\u{b0}C", "\u{ff}",
        ] {
            assert_eq!(Unit::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn units_of_one_base_are_powers_of_ten_apart() {
        let unit = |text: &str| Unit::parse(text.as_bytes()).unwrap();
        for (from, to, shift) in [
            ("kW", "W", Some(3)),
            ("W", "kW", Some(-3)),
            ("mA", "A", Some(-3)),
            ("MJ", "GJ", Some(-3)),
            ("GW", "mW", Some(12)),
            ("m3", "m3", Some(0)),
            ("kW", "kWh", None),
            ("kVA", "kvar", None),
        ] {
            assert_eq!(unit(from).shift_to(unit(to)), shift, "{from} {to}");
        }
    }

    #[test]
    fn mbus_device_types_are_those_of_the_standard() {
        let names = |name: &str| -> Vec<u8> {
            let named = |&code: &u8| Device::from_mbus_type(code).is_some_and(|d| d.name() == name);
            (0..=255).filter(named).collect()
        };
        assert_eq!(names("electricity"), [2]);
        assert_eq!(names("gas"), [3]);
        assert_eq!(names("heat"), [4, 12, 13]);
        assert_eq!(names("warm_water"), [6, 21]);
        assert_eq!(names("water"), [7, 22]);
        assert_eq!(names("cold"), [10, 11]);
        assert_eq!(Device::from_mbus_type(0), None);
        assert_eq!(Device::from_mbus_type(8), Some(Device::Other));
    }

    #[test]
    fn a_set_of_variants_holds_for_its_own() {
        let (be, lu) = (Variant::new(0), Variant::new(7));
        assert!(Variants::EVERY.hold_for(None) && Variants::EVERY.hold_for(Some(be)));
        let set = Variants::of(&[lu]);
        assert!(set.hold_for(Some(lu)));
        assert!(!set.hold_for(Some(be)) && !set.hold_for(None));
        assert!(Variants::of(&[be, lu]).hold_for(Some(be)));
    }
}
