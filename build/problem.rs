//! What is wrong with a table, and the words for it.

use std::fmt;

/// One mistake in a table, at the line where a user mends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Name of the table's file, as the user knows it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// One line of text.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

pub fn syntax(message: &str) -> String {
    let one_line: Vec<&str> = message.lines().map(str::trim).collect();
    format!("not TOML: {}", one_line.join("; "))
}

pub fn empty_table() -> String {
    "no metrics: the table needs at least one `[[metric]]` row".into()
}

pub fn too_many(what: &str, count: usize, most: usize) -> String {
    format!("{count} {what}, the most is {most}")
}

pub fn unknown_key(key: &str, place: &str, valid: &[&str]) -> String {
    format!("unknown key `{key}` in {place}{}", hint(key, valid))
}

pub fn missing_key(key: &str, place: &str) -> String {
    format!("{place} lacks the key `{key}`")
}

pub fn wrong_type(key: &str, expected: &str, found: &str) -> String {
    format!("`{key}` must be {expected}, not {found}")
}

pub fn unknown_value(key: &str, value: &str, valid: &[&str]) -> String {
    format!("unknown {key} \"{value}\"{}", hint(value, valid))
}

pub fn unknown_unit(value: &str, units: &[String], bases: &[&str]) -> String {
    let near = units.iter().find(|unit| unit.eq_ignore_ascii_case(value));
    let hint = match near {
        Some(unit) => format!("did you mean \"{unit}\"?"),
        None => format!(
            "valid are {}, all but m3 also with m, k, M or G before them",
            bases.join(", ")
        ),
    };
    format!("unknown unit \"{value}\"; {hint}")
}

pub fn empty_text(key: &str) -> String {
    format!("`{key}` is empty")
}

pub fn several_lines(key: &str) -> String {
    format!("`{key}` must be one line, it becomes a table cell and a comment")
}

pub fn malformed_obis(value: &str) -> String {
    format!(
        "\"{value}\" is no OBIS id: write A-B:C.D.E with A 0 to 15, B 0 to 14 or `n` for any \
         M-Bus channel, C, D and E 0 to 255, as in \"1-0:1.8.1\" or \"0-n:24.2.1\""
    )
}

pub fn channel_of_no_mbus(obis: &str) -> String {
    format!(
        "\"{obis}\": `n` stands for an M-Bus channel, and those have A = 0, as in \"0-n:24.2.1\""
    )
}

pub fn duplicate_id(obis: &str, earlier: usize) -> String {
    format!(
        "duplicate obis \"{obis}\"; first used on line {earlier}; rows of one id need another \
         `only`, `device` or kind of unit each"
    )
}

pub fn never_selected(obis: &str, earlier: usize) -> String {
    format!(
        "\"{obis}\" is never used: the wider row on line {earlier} takes every value that fits this \
         one; put the narrower row first"
    )
}

pub fn other_type(obis: &str, kind: &str, earlier_kind: &str, earlier: usize) -> String {
    format!(
        "\"{obis}\" has type \"{kind}\" here and \"{earlier_kind}\" on line {earlier}; rows of one \
         id are read in one way"
    )
}

pub fn duplicate_text(key: &str, value: &str, earlier: usize, earlier_obis: &str) -> String {
    format!(
        "duplicate {key} \"{value}\"; first used by \"{earlier_obis}\" on line {earlier}; write \
         `shares = true` if both ids are meant to feed it"
    )
}

pub fn shares_nothing(name: &str) -> String {
    format!(
        "`shares = true`, but no earlier row that holds together with this one has the name \
         \"{name}\" or its topic"
    )
}

pub fn shares_unlike(name: &str, key: &str, here: &str, there: &str, earlier: usize) -> String {
    format!(
        "\"{name}\" is shared with line {earlier}, but `{key}` is {here} here and {there} there; one \
         metric has one meaning"
    )
}

pub fn unfit_name(name: &str) -> String {
    format!(
        "name \"{name}\" does not fit an influx line as it stands: begin with a letter and use only \
         letters, digits and `_`; \"time\" is taken"
    )
}

pub fn too_long(key: &str, value: &str, most: usize) -> String {
    format!(
        "`{key}` \"{value}\" has {} bytes, the most is {most}",
        value.len()
    )
}

pub fn unfit_topic(topic: &str, why: &str) -> String {
    format!("topic \"{topic}\" {why}")
}

pub fn phase_range(value: &str) -> String {
    format!("phase {value} does not exist; phases are 1, 2, 3")
}

pub fn device_without_medium(device: &str, obis: &str) -> String {
    format!(
        "`device` = \"{device}\" on \"{obis}\": a device is told by its M-Bus channel (\"0-n:…\") or \
         by A (5 cold, 6 heat, 7 gas, 8 water, 9 warm_water)"
    )
}

pub fn not_for_type(key: &str, value: &str, kind: &str, fits: &[&str]) -> String {
    format!(
        "{key} \"{value}\" on a row of type \"{kind}\"; only {} can have it",
        fits.join(", ")
    )
}

pub fn unfit_variant(name: &str) -> String {
    format!("variant \"{name}\": write lower-case letters and digits, as in \"be\"")
}

pub fn unfit_header(value: &str) -> String {
    format!("header \"{value}\" is no telegram's: write the printable characters after the `/`")
}

pub fn never_recognised(variant: &str) -> String {
    format!("variant \"{variant}\" is never recognised: give it a `header` prefix or an `obis` id")
}

pub fn unfit_marker(obis: &str) -> String {
    format!("marker \"{obis}\": a variant is told by one id, not by any M-Bus channel")
}

pub fn duplicate_mark(key: &str, value: &str, earlier_variant: &str, earlier: usize) -> String {
    format!("duplicate {key} \"{value}\"; variant \"{earlier_variant}\" has it on line {earlier}")
}

/// The way out of a misspelling: the word that was probably meant, or all that there are.
fn hint(found: &str, valid: &[&str]) -> String {
    if let Some(near) = valid.iter().find(|v| v.eq_ignore_ascii_case(found)) {
        return format!("; did you mean \"{near}\"?");
    }
    let all = valid.join(", ");
    match valid
        .iter()
        .map(|v| (distance(found, v), v))
        .filter(|(d, v)| *d <= 2 && *d < v.len())
        .min_by_key(|(d, _)| *d)
    {
        Some((_, near)) => format!("; did you mean \"{near}\"? valid are {all}"),
        None if valid.is_empty() => "; there are none".into(),
        None => format!("; valid are {all}"),
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
