//! TOML text to rows: each row and each variant by itself.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{Fields, Problems, Text};
use super::{
    BASES, DEVICES, FIELDS, INFLUX, LONGEST_NAME, LONGEST_TOPIC, MOST_ROWS, MOST_VARIANTS, NUMERIC,
    Obis, PREFIXES, Row, TAGS, TYPES, Table, Unit, Variant,
};
use crate::problem;

const TABLE_KEYS: [&str; 2] = ["metric", "variant"];
const VARIANT_KEYS: [&str; 3] = ["description", "header", "obis"];
#[rustfmt::skip]
const ROW_KEYS: [&str; 11] = [
    "obis", "name", "type", "unit", "topic", "influx", "phase", "device", "only", "shares",
    "description",
];

/// The table that `text` holds, without the rows that cannot be told from others.
///
/// `None` when the text is not TOML: then nothing else can be said about it.
pub fn table(text: &str, problems: &mut Problems) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = problems.line(error.span().unwrap_or_default());
        problems.add(line, problem::syntax(error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let root = Fields::new(root.get_ref(), "the table", 1);
    root.deny_unknown(&TABLE_KEYS, problems);
    let variants = root
        .value("variant")
        .map_or_else(Vec::new, |value| variants(value, problems));
    if root.none("metric") {
        problems.add(1, problem::empty_table());
    }
    let rows = root
        .value("metric")
        .map_or_else(Vec::new, |value| rows(value, &variants, problems));
    Some(Table { variants, rows })
}

fn variants(value: &Spanned<DeValue>, problems: &mut Problems) -> Vec<Variant> {
    let Some(tables) = value.get_ref().as_table() else {
        problems.wrong_type("variant", "tables `[variant.NAME]`", value);
        return Vec::new();
    };
    // The map is in the order of the names; the table's own order is that of the lines.
    let in_order: BTreeMap<usize, _> = tables.iter().map(|e| (e.0.span().start, e)).collect();
    let mut variants = Vec::new();
    for (name, value) in in_order.into_values() {
        let line = problems.line(name.span());
        match value.get_ref().as_table() {
            Some(table) => variants.push(variant(name.get_ref(), line, table, problems)),
            None => problems.wrong_type(name.get_ref(), "a table", value),
        }
    }
    if let Some(first_too_many) = variants.get(MOST_VARIANTS) {
        let message = problem::too_many("variants", variants.len(), MOST_VARIANTS);
        problems.add(first_too_many.line, message);
        variants.truncate(MOST_VARIANTS);
    }
    variants
}

fn variant(name: &str, line: usize, table: &DeTable, problems: &mut Problems) -> Variant {
    let place = format!("[variant.{name}]");
    let fields = Fields::new(table, &place, line);
    fields.deny_unknown(&VARIANT_KEYS, problems);
    // It becomes part of a constant's name.
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9'))
    {
        problems.add(line, problem::unfit_variant(name));
    }
    if fields.none("header") && fields.none("obis") {
        problems.add(line, problem::never_recognised(name));
    }
    let mut header = Vec::new();
    for Text { line, text } in fields.texts("header", problems) {
        if text.is_empty() || text.starts_with('/') || !text.bytes().all(|b| b.is_ascii_graphic()) {
            problems.add(line, problem::unfit_header(text));
        } else {
            header.push((line, text.to_string()));
        }
    }
    let mut obis = Vec::new();
    for Text { line, text } in fields.texts("obis", problems) {
        match parse_obis(text) {
            None => problems.add(line, problem::malformed_obis(text)),
            Some(id) if id.b == Obis::ANY_CHANNEL => {
                problems.add(line, problem::unfit_marker(text));
            }
            Some(id) => obis.push((line, text.to_string(), id)),
        }
    }
    Variant {
        line,
        name: name.to_string(),
        description: fields.description(problems),
        header,
        obis,
    }
}

fn rows(value: &Spanned<DeValue>, variants: &[Variant], problems: &mut Problems) -> Vec<Row> {
    let Some(array) = value.get_ref().as_array() else {
        problems.wrong_type("metric", "rows `[[metric]]`", value);
        return Vec::new();
    };
    if array.len() > MOST_ROWS {
        let line = problems.line(array[MOST_ROWS].span());
        problems.add(line, problem::too_many("rows", array.len(), MOST_ROWS));
    }
    let mut rows = Vec::new();
    for value in array.iter() {
        let Some(table) = value.get_ref().as_table() else {
            problems.wrong_type("metric", "rows `[[metric]]`", value);
            continue;
        };
        let fields = Fields::new(table, "[[metric]]", problems.line(value.span()));
        match row(&fields, variants, problems) {
            Some(row) => rows.push(row),
            None => problems.rows_left_out = true,
        }
    }
    rows
}

/// One row, or `None` when what tells it from other rows is missing or wrong.
fn row(fields: &Fields, variants: &[Variant], problems: &mut Problems) -> Option<Row> {
    let before = problems.list.len();
    fields.deny_unknown(&ROW_KEYS, problems);
    fields.require("type", problems);
    let kind = fields.word("type", &TYPES, problems);
    let kind_text = kind.map(|kind| kind.text);
    let name = name(fields, problems);
    let topic = topic(fields, problems);
    let influx = influx(fields, kind_text, problems);
    let phase = fields.phase(problems);
    let shares = fields.flag("shares", problems);
    let description = fields.description(problems);
    let selector = selector(fields, variants, kind_text, problems);
    let faulty = before != problems.list.len();
    let (name, selector) = (name?, selector?);
    Some(Row {
        line: selector.obis.line,
        obis_text: selector.obis.text.to_string(),
        obis: selector.id,
        name: name.text.to_string(),
        name_line: name.line,
        kind_line: kind.map_or(0, |kind| kind.line),
        kind: kind_text.unwrap_or_default().to_string(),
        unit_text: selector.unit.map(|(text, _)| text.to_string()),
        unit: selector.unit.and_then(|(_, unit)| unit),
        topic_line: topic.map_or(0, |topic| topic.line),
        topic: topic.map(|topic| topic.text.to_string()),
        influx: influx.map(str::to_string),
        phase,
        device: selector.device.map(str::to_string),
        only: selector.only,
        shares,
        description,
        faulty,
    })
}

/// What tells the rows of one id apart, and the id.
struct Selector<'a> {
    obis: Text<'a>,
    id: Obis,
    /// As written, and what it is if it is known.
    unit: Option<(&'a str, Option<Unit>)>,
    device: Option<&'a str>,
    only: u8,
}

/// `None` when any part of it but the unit is missing or wrong.
fn selector<'a>(
    fields: &Fields<'a, '_>,
    variants: &[Variant],
    kind: Option<&str>,
    problems: &mut Problems,
) -> Option<Selector<'a>> {
    let unit = unit(fields, kind, problems);
    let before = problems.list.len();
    let obis = fields.required_text("obis", problems);
    let id = obis.and_then(|obis| {
        let id = parse_obis(obis.text);
        match id {
            None => problems.add(obis.line, problem::malformed_obis(obis.text)),
            Some(id) if id.b == Obis::ANY_CHANNEL && id.a != 0 => {
                problems.add(obis.line, problem::channel_of_no_mbus(obis.text));
            }
            Some(_) => {}
        }
        id
    });
    let device = fields.word("device", &DEVICES, problems);
    if let (Some(device), Some(obis), Some(id)) = (device, obis, id)
        && id.b != Obis::ANY_CHANNEL
        && medium(id.a) != Some(device.text)
    {
        let message = problem::device_without_medium(device.text, obis.text);
        problems.add(device.line, message);
    }
    let only = only(fields, variants, problems);
    if before != problems.list.len() {
        return None;
    }
    Some(Selector {
        obis: obis?,
        id: id?,
        unit,
        device: device.map(|device| device.text),
        only,
    })
}

fn unit<'a>(
    fields: &Fields<'a, '_>,
    kind: Option<&str>,
    problems: &mut Problems,
) -> Option<(&'a str, Option<Unit>)> {
    let Text { line, text } = fields.text("unit", problems)?;
    let units = units();
    let Some((_, unit)) = units.iter().find(|(spelling, _)| spelling == text) else {
        let spellings: Vec<String> = units.into_iter().map(|(spelling, _)| spelling).collect();
        problems.add(line, problem::unknown_unit(text, &spellings, &BASES));
        return Some((text, None));
    };
    if let Some(kind) = kind
        && !NUMERIC.contains(&kind)
    {
        let message = problem::not_for_type("unit", text, kind, &NUMERIC);
        problems.add(line, message);
    }
    Some((text, Some(*unit)))
}

fn only(fields: &Fields, variants: &[Variant], problems: &mut Problems) -> u8 {
    if let Some(value) = fields.value("only")
        && fields.none("only")
    {
        problems.add(problems.line(value.span()), problem::empty_text("only"));
    }
    let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
    let mut only = 0;
    for Text { line, text } in fields.texts("only", problems) {
        match names.iter().position(|name| *name == text) {
            Some(bit) => only |= 1 << bit,
            None => problems.add(line, problem::unknown_value("variant", text, &names)),
        }
    }
    only
}

fn influx<'a>(
    fields: &Fields<'a, '_>,
    kind: Option<&str>,
    problems: &mut Problems,
) -> Option<&'a str> {
    let Text { line, text } = fields.word("influx", &INFLUX, problems)?;
    let fits: &[&str] = if text == "tag" { &TAGS } else { &FIELDS };
    if let Some(kind) = kind
        && !fits.contains(&kind)
    {
        problems.add(line, problem::not_for_type("influx", text, kind, fits));
    }
    Some(text)
}

/// Influx would need an escape for anything else, and reserves `time`.
fn name<'a>(fields: &Fields<'a, '_>, problems: &mut Problems) -> Option<Text<'a>> {
    let name = fields.required_text("name", problems)?;
    let fits = name.text.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.text != "time";
    if !fits {
        problems.add(name.line, problem::unfit_name(name.text));
        return None;
    }
    if name.text.len() > LONGEST_NAME {
        let message = problem::too_long("name", name.text, LONGEST_NAME);
        problems.add(name.line, message);
    }
    Some(name)
}

/// MQTT 5.0 sections 4.7.1 and 4.7.3: wildcards are not for publishing.
fn topic<'a>(fields: &Fields<'a, '_>, problems: &mut Problems) -> Option<Text<'a>> {
    let topic = fields.text("topic", problems)?;
    let Text { line, text } = topic;
    let why = if !text.starts_with('/') {
        "must start with `/`: it goes below the root"
    } else if text.contains(['+', '#']) {
        "has a wildcard: `+` and `#` are for subscriptions"
    } else if text.ends_with('/') || text.contains("//") {
        "has an empty level: no `/` at its end and none twice"
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        "must be printable ASCII without blanks"
    } else {
        if text.len() > LONGEST_TOPIC {
            problems.add(line, problem::too_long("topic", text, LONGEST_TOPIC));
        }
        return Some(topic);
    };
    problems.add(line, problem::unfit_topic(text, why));
    None
}

/// The medium that A stands for (IEC 62056-6-1 table 1), where it is a device of the table.
fn medium(a: u8) -> Option<&'static str> {
    match a {
        5 => Some("cold"),
        6 => Some("heat"),
        7 => Some("gas"),
        8 => Some("water"),
        9 => Some("warm_water"),
        _ => None,
    }
}

fn parse_obis(text: &str) -> Option<Obis> {
    let (a, rest) = text.split_once('-')?;
    let (b, rest) = rest.split_once(':')?;
    let (c, rest) = rest.split_once('.')?;
    let (d, e) = rest.split_once('.')?;
    Some(Obis {
        a: group(a, 15)?,
        b: match b {
            "n" => Obis::ANY_CHANNEL,
            _ => group(b, Obis::ANY_CHANNEL - 1)?,
        },
        c: group(c, 255)?,
        d: group(d, 255)?,
        e: group(e, 255)?,
    })
}

/// A number as meters write it: no sign, no leading zero.
fn group(text: &str, most: u8) -> Option<u8> {
    let number: u8 = text.parse().ok()?;
    (number <= most && number.to_string() == text).then_some(number)
}

/// Every unit of the table in its canonical spelling.
fn units() -> Vec<(String, Unit)> {
    let mut units = Vec::new();
    for (prefix, prefix_text) in PREFIXES.iter().enumerate() {
        for (base, base_text) in BASES.iter().enumerate() {
            // A prefix of a cubic metre would be cubed too; no meter has one.
            if prefix == 0 || *base_text != "m3" {
                units.push((format!("{prefix_text}{base_text}"), Unit { base, prefix }));
            }
        }
    }
    units
}
