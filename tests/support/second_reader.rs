//! A second reader of telegrams, written from the standards and from `metrics.toml`, that shares no
//! code with the first: where the two agree, a mistake would have to be made twice.
//!
//! It reads a whole telegram at once, allocates as it likes and is slow.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Values, time stamps and bytes of text that one reading may keep.
const MOST_VALUES: usize = 112;
const MOST_STAMPS: usize = 32;
const MOST_TEXT: usize = 1536;

/// What `metrics.toml` says of an id: its type and the units of its rows.
struct Row {
    kind: String,
    units: Vec<String>,
}

/// The ids of `metrics.toml`.
pub struct Table(BTreeMap<String, Row>);

impl Table {
    /// The project's own table.
    pub fn of_this_project() -> Self {
        let text = include_str!("../../metrics.toml");
        let table: toml::Table = text.parse().expect("metrics.toml is TOML");
        let mut rows = BTreeMap::new();
        for metric in table["metric"].as_array().expect("rows") {
            let field = |name: &str| metric.get(name).and_then(|value| value.as_str());
            let row = rows
                .entry(field("obis").expect("obis").to_owned())
                .or_insert(Row {
                    kind: field("type").expect("type").to_owned(),
                    units: vec![],
                });
            row.units.push(field("unit").unwrap_or_default().to_owned());
        }
        Self(rows)
    }

    /// A row for this id itself, and not for any channel.
    fn is_fixed(&self, id: [u32; 5]) -> bool {
        self.0.contains_key(&name(id))
    }

    fn row(&self, [a, b, c, d, e]: [u32; 5]) -> Option<&Row> {
        let fixed = self.0.get(&format!("{a}-{b}:{c}.{d}.{e}"));
        let channel = a == 0 && (1..=9).contains(&b);
        fixed.or_else(|| {
            let id = format!("0-n:{c}.{d}.{e}");
            self.0.get(&id).filter(|_| channel)
        })
    }
}

/// CRC-16 with all bits reflected, one bit after the other.
fn crc(bytes: &[u8], polynomial: u16, start: u16, end: u16) -> u16 {
    let step = |crc: u16| match crc & 1 {
        1 => crc >> 1 ^ polynomial,
        _ => crc >> 1,
    };
    let byte = |crc: u16, byte: &u8| (0..8).fold(crc ^ u16::from(*byte), |crc, _| step(crc));
    bytes.iter().fold(start, byte) ^ end
}

/// The CRC of a telegram, from its `/` through its `!`: CRC-16/X-25 for Holley meters (`HLY5`),
/// CRC-16/ARC for all others.
pub fn crc_of(telegram: &[u8]) -> u16 {
    if telegram.starts_with(b"/HLY5") {
        crc(telegram, 0x8408, 0xFFFF, 0xFFFF)
    } else {
        crc(telegram, 0xA001, 0, 0)
    }
}

/// The same bytes from their first `/` through their last `!`, with the right check behind it, so
/// that what is behind the check is reached too. Without a `!` one is added.
pub fn with_right_check(data: &[u8]) -> Option<Vec<u8>> {
    let start = data.iter().position(|byte| *byte == b'/')?;
    let telegram = &data[start..];
    let end = telegram.iter().rposition(|byte| *byte == b'!');
    let mut telegram = telegram[..end.unwrap_or(telegram.len())].to_vec();
    telegram.push(b'!');
    let end = format!("{:04X}\r\n", crc_of(&telegram));
    telegram.extend(end.as_bytes());
    Some(telegram)
}

/// The check behind a `!`: 1 to 4 hex digits, and at most blanks up to CR, LF or the end.
fn check_at(bytes: &[u8]) -> Option<u16> {
    let end = bytes.iter().position(|byte| b"\r\n".contains(byte));
    let text = bytes[..end.unwrap_or(bytes.len())].trim_ascii_end();
    let text = std::str::from_utf8(text).ok()?;
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    u16::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// Every run of bytes from a `/` to a `!` with the right check behind it and a line end behind
/// that, which is part of it.
pub fn telegrams_with_crc(stream: &[u8]) -> Vec<&[u8]> {
    let places = |wanted: u8| (0..stream.len()).filter(move |&at| stream[at] == wanted);
    let mut found = vec![];
    for start in places(b'/') {
        // No meter sends more than 4 kB.
        for end in places(b'!').filter(|end| (start..start + 8192).contains(end)) {
            let Some(given) = check_at(&stream[end + 1..]) else {
                continue;
            };
            if crc_of(&stream[start..=end]) == given {
                found.push(with_line_end(stream, start, end));
            }
        }
    }
    found
}

/// Every run of lines from one that starts with `/` to one that is a bare `!`, without another
/// such line between them.
pub fn telegrams_without_crc(stream: &[u8]) -> Vec<&[u8]> {
    let mut found = vec![];
    let (mut at, mut start) = (0, None);
    for line in stream.split_inclusive(|byte| *byte == b'\n') {
        match line {
            [b'/', ..] => start = Some(at),
            b"!\r\n" => {
                if let Some(start) = start.take() {
                    found.push(with_line_end(stream, start, at));
                }
            }
            [b'!', ..] => start = None,
            _ => {}
        }
        at += line.len();
    }
    found
}

fn with_line_end(stream: &[u8], start: usize, mark: usize) -> &[u8] {
    let line_end = stream[mark..].iter().position(|byte| *byte == b'\n');
    let end = line_end.map_or(stream.len(), |length| mark + length + 1);
    &stream[start..end]
}

/// A value as the second reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub obis: String,
    pub content: Content,
    /// As printed, in the spelling of `metrics.toml`; `None` where none was printed.
    pub unit: Option<String>,
    pub timestamp: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Digits without leading zeros, with all decimals.
    Number(String),
    Text(String),
}

/// One line of a telegram: the value in it, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub text: Vec<u8>,
    pub outcome: Result<Value, &'static str>,
}

/// A telegram as the second reader sees it.
pub struct Telegram {
    pub header: Vec<u8>,
    /// Without those that need not yield anything: blank ones, and the first line of a two-line
    /// reading, whose value is that of the second.
    pub lines: Vec<Line>,
}

impl Telegram {
    /// Reads a telegram that begins with its `/`; what follows its last `!` is not looked at.
    pub fn read(telegram: &[u8], table: &Table) -> Self {
        let end = telegram.iter().rposition(|byte| *byte == b'!');
        let body = &telegram[..end.unwrap_or(telegram.len())];
        let mut lines = body.split(|byte| *byte == b'\n').map(without_cr);
        let header = lines.next().unwrap_or_default();
        let mut read = Self {
            header: header[1..].to_vec(),
            lines: vec![],
        };
        let mut known = Known::default();
        for text in lines {
            if let Some(outcome) = line(text, table, &mut known) {
                let text = text.to_vec();
                read.lines.push(Line { text, outcome });
            }
        }
        // A device that tells its kind behind its values takes them back.
        read.lines.retain(|line| match &line.outcome {
            Ok(value) => !known.has_foreign(&value.obis, table),
            Err(_) => true,
        });
        read
    }

    /// Fails with a sentence where `decoded` says something else of this telegram.
    pub fn compare(&self, decoded: &Decoded, table: &Table) -> Result<(), String> {
        // One that has no room is left out.
        let header: &[u8] = match self.header.len() {
            ..=MOST_TEXT => &self.header,
            _ => b"",
        };
        if decoded.header != lossy(header) {
            return Err(format!("the header was read as {:?}", decoded.header));
        }
        let mut values = decoded.values.iter().peekable();
        let mut skipped = decoded.skipped.iter().peekable();
        let (mut kept, mut stamps, mut text) = (0, 0, header.len());
        for line in &self.lines {
            let full =
                kept >= MOST_VALUES || stamps >= MOST_STAMPS || text + line.text.len() > MOST_TEXT;
            let is_this = |s: &&Skipped| s.line == lossy(&line.text) && s.reason == "no_room";
            // A line may come again, and have had room the first time.
            let mut is_next = |value: &Value| same(value, values.peek().copied(), table).is_ok();
            let is_kept = line.outcome.as_ref().is_ok_and(&mut is_next);
            if full && !is_kept && skipped.peek().is_some_and(is_this) {
                skipped.next();
                continue;
            }
            match &line.outcome {
                Ok(expected) => {
                    let found = values.next();
                    same(expected, found, table)
                        .map_err(|what| format!("{what}, from the line {}", lossy(&line.text)))?;
                    kept += 1;
                    stamps += usize::from(expected.timestamp.is_some());
                    if let Content::Text(content) = &expected.content {
                        text += content.len();
                    }
                }
                Err(reason) => {
                    let expected = (lossy(&line.text), reason.to_string());
                    let found = skipped.next().map(|s| (s.line.clone(), s.reason.clone()));
                    if found.as_ref() != Some(&expected) {
                        return Err(format!(
                            "expected to be skipped: {expected:?}; found {found:?}"
                        ));
                    }
                }
            }
        }
        let of = |ids: &'static [&str]| {
            let mut values = decoded.values.iter();
            values.find(move |value| ids.contains(&value.obis.as_str()))
        };
        if let Some(clock) = of(&["0-0:1.0.0", "0-0:1.1.0", "0-0:0.0.0"])
            && clock.timestamp != decoded.timestamp
        {
            return Err(format!("the time was read as {:?}", decoded.timestamp));
        }
        match (values.next(), skipped.next()) {
            (None, None) => Ok(()),
            more => Err(format!("there is more than the telegram holds: {more:?}")),
        }
    }
}

fn same(expected: &Value, found: Option<&Entry>, table: &Table) -> Result<(), String> {
    let Some(found) = found else {
        return Err(format!("missing: {expected:?}"));
    };
    let content = match &expected.content {
        Content::Number(digits) => found.value.get() == digits,
        Content::Text(text) => {
            serde_json::from_str::<String>(found.value.get()).is_ok_and(|found| found == *text)
        }
    };
    let unit = match (&expected.unit, &found.unit) {
        // Where the meter prints none, it is that of a row.
        (None, Some(unit)) => obis(format!("{}(", expected.obis).as_bytes())
            .and_then(|(id, _)| table.row(id))
            .is_some_and(|row| row.units.contains(unit)),
        (printed, found) => printed == found,
    };
    let timestamp = expected.timestamp == found.timestamp;
    if content && unit && timestamp && expected.obis == found.obis {
        return Ok(());
    }
    Err(format!("expected {expected:?}, found {found:?}"))
}

/// One line that `metertrekker decode` printed for an accepted telegram.
#[derive(Debug, Deserialize)]
pub struct Decoded {
    pub header: String,
    pub version: Option<String>,
    pub crc: String,
    pub timestamp: Option<String>,
    pub values: Vec<Entry>,
    pub skipped: Vec<Skipped>,
    pub influx: Vec<String>,
}

#[derive(Deserialize)]
pub struct Entry {
    pub obis: String,
    pub name: String,
    pub value: Box<RawValue>,
    pub unit: Option<String>,
    pub timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Skipped {
    pub line: String,
    pub reason: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            obis,
            name,
            value,
            unit,
            timestamp,
        } = self;
        write!(f, "{name} {obis} = {value} {unit:?} {timestamp:?}")
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A two-line reading whose second line is awaited.
struct Open {
    id: [u32; 5],
    unit: Option<String>,
    /// None of a channel that was never read.
    timestamp: Option<String>,
}

/// What the lines before have told.
#[derive(Default)]
struct Known {
    open: Option<Open>,
    /// Channels with a device that the table does not know.
    foreign: [bool; 10],
}

impl Known {
    fn has_foreign(&self, name: &str, table: &Table) -> bool {
        let object = format!("{name}(");
        obis(object.as_bytes()).is_some_and(|(id, _)| {
            let row = table.row(id).filter(|row| row.kind != "device");
            row.is_some() && !table.is_fixed(id) && self.foreign[id[1] as usize]
        })
    }
}

/// The devices of EN 13757-3 that the table has rows for; 0 is none, and more than one byte nonsense.
fn is_foreign(device: &str) -> bool {
    let rows = [2, 3, 4, 6, 7, 10, 11, 12, 13, 21, 22];
    let code = device.parse().unwrap_or(0);
    (1..256).contains(&code) && !rows.contains(&code)
}

fn line(text: &[u8], table: &Table, known: &mut Known) -> Option<Result<Value, &'static str>> {
    if text.first() == Some(&b'(') {
        let Some(groups) = groups(text) else {
            return Some(Err("malformed"));
        };
        let Some(open) = known.open.take() else {
            return Some(Err("malformed"));
        };
        return Some(open.close(groups[0], table));
    }
    if text.trim_ascii().is_empty() {
        return None;
    }
    let Some((id, rest)) = obis(text) else {
        return Some(Err("malformed"));
    };
    known.open = None;
    let Some(groups) = groups(rest) else {
        return Some(Err("malformed"));
    };
    let Some(row) = table.row(id) else {
        return Some(Err("unknown_obis"));
    };
    if known.has_foreign(&name(id), table) {
        return Some(Err("unknown_obis"));
    }
    let value = |content, unit, timestamp| Value {
        obis: name(id),
        content,
        unit,
        timestamp,
    };
    let text = |bytes: &[u8]| match bytes {
        [0xFF, ..] if bytes.iter().all(|byte| *byte == 0xFF) => Err("no_value"),
        bytes => Ok(value(Content::Text(lossy(bytes)), None, None)),
    };
    Some(match row.kind.as_str() {
        "device" => number(groups[0], row).map(|(digits, unit)| {
            known.foreign[id[1] as usize] = is_foreign(&digits);
            value(Content::Number(digits), unit, None)
        }),
        "number" => {
            number(groups[0], row).map(|(digits, unit)| value(Content::Number(digits), unit, None))
        }
        "text" => text(groups[0]),
        // 50 is the version, and no hex of P.
        "version" if groups[0].len() <= 5 => text(groups[0]),
        "hex" | "version" => match from_hex(groups[0].trim_ascii()) {
            Some(decoded) => Ok(value(Content::Text(lossy(&decoded)), None, None)),
            None => text(groups[0].trim_ascii()),
        },
        "log" => text(rest.trim_ascii_end()),
        "clock" => match stamp(groups[0]) {
            Stamp::At(time) => text(groups[0]).map(|value| Value {
                timestamp: Some(time),
                ..value
            }),
            Stamp::Unset => Err("no_value"),
            Stamp::None => Err("timestamp"),
        },
        "stamped" => stamped(&groups, row)
            .map(|((digits, unit), time)| value(Content::Number(digits), unit, Some(time))),
        "profile" => match profile(id, &groups) {
            Ok((profile, Some(number))) => profile.close(number, table),
            Ok((profile, None)) => {
                let outcome = match profile.timestamp {
                    Some(_) => None,
                    None => Some(Err("no_value")),
                };
                known.open = Some(profile);
                return outcome;
            }
            Err(reason) => Err(reason),
        },
        other => panic!("the second reader does not know the type {other}"),
    })
}

fn stamped(
    groups: &[&[u8]],
    row: &Row,
) -> Result<((String, Option<String>), String), &'static str> {
    let is_stamp = |group: &&[u8]| !group.is_empty() && stamp(group) != Stamp::None;
    let at = groups.iter().position(is_stamp);
    let mut others = groups.iter().enumerate().filter(|(n, _)| Some(*n) != at);
    let number_text = others.next_back().map_or(&b""[..], |(_, group)| group);
    let digits = quantity(number_text)?;
    match at.map(|at| stamp(groups[at])) {
        Some(Stamp::At(time)) => Ok((in_unit(digits, row)?, time)),
        Some(_) => Err("no_value"),
        None => Err("timestamp"),
    }
}

fn profile<'a>(
    id: [u32; 5],
    groups: &[&'a [u8]],
) -> Result<(Open, Option<&'a [u8]>), &'static str> {
    let timestamp = match stamp(groups[0]) {
        Stamp::At(time) => Some(time),
        Stamp::None => return Err("timestamp"),
        Stamp::Unset => {
            let void = Open {
                id,
                unit: None,
                timestamp: None,
            };
            return Ok((void, None));
        }
    };
    let unit = match groups.get(5) {
        None => return Err("malformed"),
        Some(text) if text.trim_ascii().is_empty() => None,
        Some(text) => Some(unit(text).ok_or("unit")?),
    };
    let open = Open {
        id,
        unit,
        timestamp,
    };
    Ok((open, groups.get(6).copied()))
}

impl Open {
    fn close(self, text: &[u8], table: &Table) -> Result<Value, &'static str> {
        let row = table.row(self.id).ok_or("unknown_obis")?;
        let timestamp = self.timestamp.ok_or("no_value")?;
        let (digits, unit) = match number(text, row)? {
            (digits, None) => in_unit((digits, self.unit.unwrap_or_default()), row)?,
            found => found,
        };
        Ok(Value {
            obis: name(self.id),
            content: Content::Number(digits),
            unit,
            timestamp: Some(timestamp),
        })
    }
}

fn name([a, b, c, d, e]: [u32; 5]) -> String {
    format!("{a}-{b}:{c}.{d}.{e}")
}

/// The id and what stands behind it, from the first bracket on.
fn obis(text: &[u8]) -> Option<([u32; 5], &[u8])> {
    let bracket = text.iter().position(|byte| *byte == b'(')?;
    let (id, rest) = text.split_at(bracket);
    let id = std::str::from_utf8(id).ok()?;
    let (medium, rest_of_id) = id.split_once('-')?;
    let (channel, quantity) = rest_of_id.split_once(':')?;
    // The first point is misprinted as a colon in examples of the standard.
    let (c, behind) = quantity.split_once(['.', ':'])?;
    let (d, behind) = behind.split_once('.')?;
    let (e, f) = match behind.split_once(['*', '.']) {
        Some((e, f)) => (e, f),
        None => (behind, "255"),
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n < 256)
    };
    let digit = |text: &str| number(text).filter(|_| text.len() == 1);
    number(f)?;
    let id = [
        digit(medium)?,
        digit(channel)?,
        number(c)?,
        number(d)?,
        number(e)?,
    ];
    Some((id, rest))
}

/// What stands between the brackets, when there is nothing else.
fn groups(text: &[u8]) -> Option<Vec<&[u8]>> {
    let inner = text
        .trim_ascii_end()
        .strip_prefix(b"(")?
        .strip_suffix(b")")?;
    let mut groups = vec![];
    for (n, part) in inner.split(|byte| *byte == b')').enumerate() {
        groups.push(match n {
            0 => part,
            _ => part.strip_prefix(b"(")?,
        });
    }
    Some(groups)
}

fn number(text: &[u8], row: &Row) -> Result<(String, Option<String>), &'static str> {
    let found = quantity(text).or_else(|reason| {
        // `TARIFF 1`, or `30.0*A,-65.0*A`; but `30,5*A` is one number with a comma.
        match text.first() {
            Some(first) if first.is_ascii_alphabetic() => {
                quantity(text.rsplit(|b| *b == b' ').next().ok_or(reason)?)
            }
            _ => quantity(text.split(|b| *b == b',').next().ok_or(reason)?).and_then(
                |(digits, unit)| match unit.is_empty() {
                    true => Err(reason),
                    false => Ok((digits, unit)),
                },
            ),
        }
    });
    in_unit(found?, row)
}

fn in_unit(
    (digits, printed): (String, String),
    row: &Row,
) -> Result<(String, Option<String>), &'static str> {
    if printed.is_empty() {
        return Ok((digits, None));
    }
    let found = unit(printed.as_bytes()).ok_or("unit")?;
    let fits = |known: &String| {
        known.is_empty() || base(known) == base(&found) && is_exact(&digits, &found, known)
    };
    if row.units.iter().any(fits) {
        Ok((digits, Some(found)))
    } else {
        Err("unit")
    }
}

/// Whether the number can be told in the other unit with at most 18 decimals in 64 bits.
fn is_exact(digits: &str, from: &str, to: &str) -> bool {
    let exponent = |unit: &str| match unit.chars().next() {
        _ if base(unit) == unit => 0,
        Some('m') => -3,
        Some('k') => 3,
        Some('M') => 6,
        _ => 9,
    };
    let decimals = digits
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len()) as i32;
    let left = decimals - exponent(from) + exponent(to);
    let mantissa: i128 = digits.replace('.', "").parse().expect("digits");
    let grown = mantissa * 10i128.pow((-left).max(0) as u32);
    left <= 18 && i64::try_from(grown).is_ok()
}

/// Digits without leading zeros, and the characters of the unit.
fn quantity(text: &[u8]) -> Result<(String, String), &'static str> {
    let text = String::from_utf8_lossy(text);
    if text.trim_ascii().is_empty() || text.trim_ascii().starts_with('*') {
        return Err("no_value");
    }
    let text = text.trim_ascii();
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let unsigned = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let digits = &text[..text.len() - unsigned.len()];
    let unit = unsigned.strip_prefix('*').unwrap_or(unsigned).trim_ascii();
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let count = whole.len() + decimals.len();
    let odd = whole.is_empty() || count > 18 || decimals.contains('.');
    if odd || !unit.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("not_a_number");
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let mut printed = String::new();
    if negative && digits.contains(|c| ('1'..='9').contains(&c)) {
        printed.push('-');
    }
    printed.push_str(whole);
    if !decimals.is_empty() {
        printed.push('.');
        printed.push_str(decimals);
    }
    Ok((printed, unit.to_owned()))
}

/// The unit in the spelling of `metrics.toml`.
fn unit(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    for name in [
        "Wh", "W", "varh", "var", "VA", "VAh", "V", "A", "Hz", "s", "m3", "J",
    ] {
        if name.eq_ignore_ascii_case(text) {
            return Some(name.to_owned());
        }
    }
    let prefix = match text.chars().next()? {
        'k' | 'K' => "k",
        'g' | 'G' => "G",
        'm' => "m",
        'M' => "M",
        _ => return None,
    };
    for name in [
        "Wh", "W", "varh", "var", "VA", "VAh", "V", "A", "Hz", "s", "J",
    ] {
        if name.eq_ignore_ascii_case(&text[1..]) {
            return Some(format!("{prefix}{name}"));
        }
    }
    None
}

/// A unit of [`unit`] without its prefix.
fn base(unit: &str) -> &str {
    match unit {
        "m3" => unit,
        unit if unit.len() == 1 => unit,
        unit => unit.trim_start_matches(['k', 'm', 'M', 'G']),
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.is_ascii())?;
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    let mut decoded = vec![];
    for pair in pairs {
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(pair, 16).ok()?;
        let control = byte < b' ' && !b"\t\r\n".contains(&byte) || byte == 0x7F;
        if control {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok().map(String::into_bytes)
}

#[derive(Debug, PartialEq)]
enum Stamp {
    At(String),
    Unset,
    None,
}

/// `YYMMDDhhmmss` with `S`, `W` or nothing behind it, or `YY-MM-DD hh:mm:ss`.
fn stamp(text: &[u8]) -> Stamp {
    let Ok(text) = std::str::from_utf8(text) else {
        return Stamp::None;
    };
    let uncut = text.strip_suffix(['S', 'W']).is_some_and(|digits| {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all && digits.len() == 17 && digits.starts_with("35255")
    });
    if text.is_empty() || uncut {
        return Stamp::Unset;
    }
    let iec = text.len() == 17
        && text.char_indices().all(|(at, c)| match at {
            2 | 5 => c == '-',
            8 => c == ' ',
            11 | 14 => c == ':',
            _ => c.is_ascii_digit(),
        });
    let compact: String = match iec {
        true => text.chars().filter(char::is_ascii_digit).collect(),
        false => text.to_owned(),
    };
    let (digits, letter) = match compact.len() {
        12 => (&compact[..], ""),
        13 if is_marked(&compact) => compact.split_at(12),
        _ => return Stamp::None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Stamp::None;
    }
    let field = |at: usize| digits[at..at + 2].parse::<i64>().unwrap();
    let [year, month, day] = [field(0), field(2), field(4)];
    let [hour, minute, second] = [field(6), field(8), field(10)];
    if year == 0 || year >= 63 {
        return Stamp::Unset;
    }
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(2000 + year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return Stamp::None;
    }
    let days = days_since_1970(2000 + year, month, day);
    let local = days * 86_400 + hour * 3600 + minute * 60 + second;
    let summer = match letter {
        "S" => true,
        "W" => false,
        _ => is_summer(2000 + year, local),
    };
    Stamp::At(iso(local - if summer { 7200 } else { 3600 }))
}

fn is_marked(text: &str) -> bool {
    text.ends_with(['S', 'W']) && text.is_char_boundary(12)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(|y| 365 + i64::from(is_leap(y))).sum();
    let months: i64 = (1..month).map(|m| days_of(year, m)).sum();
    years + months + day - 1
}

/// From the last Sunday of March, 2:00, to the last Sunday of October, where the hour from 2:00 on,
/// which comes twice, is winter's.
fn is_summer(year: i64, local: i64) -> bool {
    let change = |month| {
        // 1970-01-01 was a Thursday, 1970-01-04 a Sunday.
        let days = (25..=31).map(|day| days_since_1970(year, month, day));
        let sunday = days.into_iter().find(|days| days % 7 == 3).unwrap();
        sunday * 86_400 + 2 * 3600
    };
    (change(3)..change(10)).contains(&local)
}

/// `2019-08-27T13:55:11Z`
fn iso(utc: i64) -> String {
    let (mut year, mut month, mut day) = (1970, 1, utc / 86_400);
    while day >= 365 + i64::from(is_leap(year)) {
        day -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    let second = utc % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        day + 1
    )
}
