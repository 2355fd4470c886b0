//! One line of InfluxDB's line protocol, taken apart: two lines mean the same when their [`Line`]s are equal.
//!
//! Written from the protocol's description and not with the project's own escaping, so that one can check the other.

use std::collections::{BTreeMap, BTreeSet};

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `1`, `57.460`
    Float(f64),
    /// `1i`
    Integer(i64),
    /// `t`, `false`
    Bool(bool),
    /// `"text"`
    Text(String),
}

/// A line with its escapes resolved; the order of tags and fields has no meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub measurement: String,
    pub tags: BTreeMap<String, String>,
    pub fields: BTreeMap<String, Value>,
    /// In ns since 1970.
    pub time: i64,
}

impl Line {
    /// Panics on what is no valid line with a time, and on a name that comes twice: this is for tests.
    pub fn parse(text: &str) -> Line {
        let fail = |what: &str| -> ! { panic!("{what} in the line {text}") };
        let [series, ..] = split(text, ' ', false)[..] else {
            fail("no measurement")
        };
        let rest = text[series.len()..].trim_start_matches(' ');
        let [fields, time] = split(rest, ' ', true)[..] else {
            fail("not three parts")
        };
        let mut series = split(series, ',', false).into_iter();
        let measurement = unescape(series.next().unwrap_or_default(), ", ");
        let tags: Vec<_> = series
            .map(|tag| match split(tag, '=', false)[..] {
                [key, value] if !value.is_empty() => (unescape(key, ",= "), unescape(value, ",= ")),
                _ => fail("a bad tag"),
            })
            .collect();
        let fields: Vec<_> = split(fields, ',', true)
            .into_iter()
            .map(|field| match split(field, '=', true)[..] {
                [key, value] => (
                    unescape(key, ",= "),
                    Value::parse(value).unwrap_or_else(|| fail("a bad value")),
                ),
                _ => fail("a bad field"),
            })
            .collect();
        let names = tags.iter().map(|(name, _)| name);
        let names: BTreeSet<_> = names.chain(fields.iter().map(|(name, _)| name)).collect();
        if names.len() < tags.len() + fields.len() {
            fail("a name twice");
        }
        Line {
            measurement,
            tags: tags.into_iter().collect(),
            fields: fields.into_iter().collect(),
            time: time.parse().unwrap_or_else(|_| fail("a bad time")),
        }
    }
}

impl Value {
    fn parse(text: &str) -> Option<Value> {
        if let Some(inner) = text.strip_prefix('"') {
            return Some(Value::Text(unescape(inner.strip_suffix('"')?, "\"\\")));
        }
        if let Some(digits) = text.strip_suffix('i') {
            return digits.parse().ok().map(Value::Integer);
        }
        match text {
            "t" | "T" | "true" | "True" | "TRUE" => Some(Value::Bool(true)),
            "f" | "F" | "false" | "False" | "FALSE" => Some(Value::Bool(false)),
            number => number.parse().ok().map(Value::Float),
        }
    }
}

/// Splits where `at` stands neither behind a backslash nor, where they have a meaning, between quotes:
/// among the tags a quote is a character as any other.
fn split(text: &str, at: char, quotes: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (index, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '"' && quotes {
            quoted = !quoted;
        } else if c == at && !quoted {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A backslash counts as an escape only before one of `special`; elsewhere it stands for itself.
fn unescape(text: &str, special: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(&next) if c == '\\' && special.contains(next) => {
                out.push(next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}
