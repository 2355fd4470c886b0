//! The table compiler: `metrics.toml` to static Rust.
//!
//! Pure functions of the table's text: `read` checks each row by itself (through `fields`), `check` the rows among
//! each other, `emit` writes what a table without problems says.

#[path = "metrics/check.rs"]
mod check;
#[path = "metrics/emit.rs"]
mod emit;
#[path = "metrics/fields.rs"]
mod fields;
#[path = "metrics/read.rs"]
mod read;

use crate::problem::Problem;

/// Rows: the run time counts them in ten bits.
pub const MOST_ROWS: usize = 1023;
/// Variants: the run time keeps a set of them in one byte.
pub const MOST_VARIANTS: usize = 8;
/// Bytes of a name, so that an influx line has a bound.
pub const LONGEST_NAME: usize = 48;
/// Bytes of a topic below the root, so that a publish has a bound.
pub const LONGEST_TOPIC: usize = 64;

pub const TYPES: [&str; 9] = [
    "number", "text", "hex", "version", "clock", "device", "stamped", "profile", "log",
];
/// Types whose value carries a number, and so a unit.
pub const NUMERIC: [&str; 3] = ["number", "stamped", "profile"];
/// Types that can be an influx tag: a tag per reading would make a series per reading.
pub const TAGS: [&str; 3] = ["text", "hex", "version"];
/// Types that can be an influx field.
pub const FIELDS: [&str; 7] = [
    "number", "text", "hex", "version", "clock", "stamped", "profile",
];
pub const DEVICES: [&str; 6] = ["gas", "water", "warm_water", "heat", "cold", "electricity"];
pub const INFLUX: [&str; 2] = ["field", "tag"];
pub const BASES: [&str; 12] = [
    "Wh", "W", "varh", "var", "VA", "VAh", "V", "A", "Hz", "s", "m3", "J",
];
pub const PREFIXES: [&str; 5] = ["", "m", "k", "M", "G"];

/// An OBIS id; B = [`Obis::ANY_CHANNEL`] stands for `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obis {
    pub a: u8,
    pub b: u8,
    pub c: u8,
    pub d: u8,
    pub e: u8,
}

impl Obis {
    pub const ANY_CHANNEL: u8 = 15;

    /// The 32 bits that the firmware searches for.
    pub fn key(self) -> u32 {
        let [a, b, c, d, e] = [self.a, self.b, self.c, self.d, self.e].map(u32::from);
        a << 28 | b << 24 | c << 16 | d << 8 | e
    }
}

/// A national variant of the standard.
#[derive(Debug)]
pub struct Variant {
    pub line: usize,
    pub name: String,
    pub description: String,
    /// Prefixes of the header line, without the `/`.
    pub header: Vec<(usize, String)>,
    /// Ids that no other variant has.
    pub obis: Vec<(usize, String, Obis)>,
}

/// A unit as the index of its base in [`BASES`] and of its prefix in [`PREFIXES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    pub base: usize,
    pub prefix: usize,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    pub line: usize,
    pub obis_text: String,
    pub obis: Obis,
    pub name: String,
    pub name_line: usize,
    pub kind: String,
    pub kind_line: usize,
    pub unit_text: Option<String>,
    /// `None` too for a text that is no unit, which is a problem already.
    pub unit: Option<Unit>,
    pub topic: Option<String>,
    pub topic_line: usize,
    pub influx: Option<String>,
    pub phase: Option<u8>,
    pub device: Option<String>,
    /// Variants as a bit set; 0 is "all".
    pub only: u8,
    /// Line of `shares = true`.
    pub shares: Option<usize>,
    pub description: String,
    /// A problem of this row is told already, so its values are not compared.
    pub faulty: bool,
}

/// A table without problems, in its own order.
#[derive(Debug)]
pub struct Table {
    pub variants: Vec<Variant>,
    pub rows: Vec<Row>,
}

/// Reads and checks a table.
///
/// # Errors
///
/// Every problem there is, in the order of the lines.
pub fn table(file: &str, text: &str) -> Result<Table, Vec<Problem>> {
    let mut problems = fields::Problems::new(file, text);
    let table = read::table(text, &mut problems);
    if let Some(table) = &table {
        check::table(table, &mut problems);
    }
    match table {
        Some(table) if problems.list.is_empty() => Ok(table),
        _ => {
            problems.list.sort();
            problems.list.dedup();
            Err(problems.list)
        }
    }
}

/// The generated module of a table.
///
/// # Errors
///
/// As [`table`].
pub fn compile(file: &str, text: &str) -> Result<String, Vec<Problem>> {
    table(file, text).map(|table| emit::module(&table))
}
