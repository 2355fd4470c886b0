//! The rows among each other: what two of them must not both say.

use std::collections::HashMap;

use super::fields::Problems;
use super::{NUMERIC, Row, Table, Variant};
use crate::problem;

pub fn table(table: &Table, problems: &mut Problems) {
    marks(&table.variants, problems);
    let clashes = ids(&table.rows, problems);
    texts(table, &clashes, problems);
}

/// A header prefix or a marker belongs to one variant.
fn marks(variants: &[Variant], problems: &mut Problems) {
    let mut headers = HashMap::new();
    let mut markers = HashMap::new();
    for variant in variants {
        for (line, text) in &variant.header {
            if let Some((name, earlier)) = headers.insert(text, (&variant.name, *line)) {
                let message = problem::duplicate_mark("header", text, name, earlier);
                problems.add(*line, message);
            }
        }
        for (line, text, id) in &variant.obis {
            if let Some((name, earlier)) = markers.insert(id.key(), (&variant.name, *line)) {
                let message = problem::duplicate_mark("marker", text, name, earlier);
                problems.add(*line, message);
            }
        }
    }
}

/// Rows of one id are read alike and can be told apart; returns the rows that cannot.
fn ids(rows: &[Row], problems: &mut Problems) -> Vec<usize> {
    let mut clashes = Vec::new();
    for (j, row) in rows.iter().enumerate() {
        let earlier = || rows[..j].iter().filter(|r| r.obis == row.obis);
        if let Some(other) =
            earlier().find(|r| r.kind != row.kind && !r.kind.is_empty() && !row.kind.is_empty())
        {
            let message = problem::other_type(&row.obis_text, &row.kind, &other.kind, other.line);
            problems.add(row.kind_line, message);
        }
        if !unit_known(row) {
            continue;
        }
        let earlier = || earlier().filter(|r| unit_known(r));
        if let Some(same) = earlier().find(|r| same_selector(r, row) && same_reach(r, row)) {
            clashes.push(j);
            let message = problem::duplicate_id(&row.obis_text, same.line);
            problems.add(row.line, message);
        } else if let Some(wider) = earlier().find(|r| covers(r, row)) {
            clashes.push(j);
            let message = problem::never_selected(&row.obis_text, wider.line);
            problems.add(row.line, message);
        }
    }
    clashes
}

/// Of a misspelt unit nobody knows what rows it tells apart.
fn unit_known(row: &Row) -> bool {
    row.unit_text.is_some() == row.unit.is_some()
}

fn base(row: &Row) -> Option<usize> {
    row.unit.map(|unit| unit.base)
}

fn same_selector(a: &Row, b: &Row) -> bool {
    a.obis == b.obis && a.device == b.device && base(a) == base(b)
}

/// Both for every variant, or both for one of the same.
fn same_reach(a: &Row, b: &Row) -> bool {
    (a.only == 0 && b.only == 0) || a.only & b.only != 0
}

/// The wider row takes all that the narrower one would.
fn covers(wide: &Row, narrow: &Row) -> bool {
    let all_variants = if narrow.only == 0 {
        wide.only == 0
    } else {
        narrow.only & !wide.only == 0
    };
    all_variants
        && (wide.device.is_none() || wide.device == narrow.device)
        && (wide.unit.is_none() || base(wide) == base(narrow))
}

/// Names and topics are unique among the rows that can hold together, or shared on purpose.
fn texts(table: &Table, clashes: &[usize], problems: &mut Problems) {
    let rows = &table.rows;
    let together = Together::new(table);
    for (j, row) in rows.iter().enumerate() {
        if clashes.contains(&j) {
            continue;
        }
        let earlier =
            |same: &dyn Fn(&Row) -> bool| (0..j).find(|&i| same(&rows[i]) && together.hold(i, j));
        let name = earlier(&|r| r.name == row.name);
        let topic = earlier(&|r| r.topic.is_some() && r.topic == row.topic);
        match row.shares {
            Some(line) => {
                if name.is_none() && topic.is_none() && !problems.rows_left_out {
                    problems.add(line, problem::shares_nothing(&row.name));
                }
                if let Some(i) = name {
                    alike(&rows[i], row, line, problems);
                }
            }
            None => {
                if let Some(i) = name {
                    let other = &rows[i];
                    let message = problem::duplicate_text(
                        "name",
                        &row.name,
                        other.name_line,
                        &other.obis_text,
                    );
                    problems.add(row.name_line, message);
                }
                if let (Some(i), Some(topic)) = (topic, &row.topic) {
                    let other = &rows[i];
                    let message =
                        problem::duplicate_text("topic", topic, other.topic_line, &other.obis_text);
                    problems.add(row.topic_line, message);
                }
            }
        }
    }
}

/// Rows that share a name must be one metric to whoever receives it.
fn alike(first: &Row, row: &Row, line: usize, problems: &mut Problems) {
    if first.faulty || row.faulty {
        return;
    }
    let quoted =
        |text: &Option<String>| text.as_ref().map_or("none".into(), |t| format!("\"{t}\""));
    let phase = |row: &Row| row.phase.map_or("none".into(), |p| p.to_string());
    let number = |row: &Row| match NUMERIC.contains(&row.kind.as_str()) {
        true => "a number".to_string(),
        false => "text".to_string(),
    };
    for (key, here, there) in [
        ("unit", quoted(&row.unit_text), quoted(&first.unit_text)),
        ("topic", quoted(&row.topic), quoted(&first.topic)),
        ("influx", quoted(&row.influx), quoted(&first.influx)),
        ("device", quoted(&row.device), quoted(&first.device)),
        ("phase", phase(row), phase(first)),
        ("type", number(row), number(first)),
    ] {
        if here != there {
            let message = problem::shares_unlike(&row.name, key, &here, &there, first.line);
            problems.add(line, message);
        }
    }
}

/// Which rows hold in the unnamed standard variant (first) and in each named one.
struct Together {
    holds: Vec<Vec<bool>>,
}

impl Together {
    fn new(table: &Table) -> Self {
        let variants = std::iter::once(0).chain((0..table.variants.len()).map(|bit| 1 << bit));
        let holds = variants
            .map(|variant: u8| {
                let special = |row: &Row| row.only & variant != 0;
                let hold = |row: &Row| {
                    let replaced = || {
                        let mut rows = table.rows.iter();
                        rows.any(|other| special(other) && same_selector(other, row))
                    };
                    special(row) || (row.only == 0 && !replaced())
                };
                table.rows.iter().map(hold).collect()
            })
            .collect();
        Self { holds }
    }

    fn hold(&self, i: usize, j: usize) -> bool {
        self.holds.iter().any(|holds| holds[i] && holds[j])
    }
}
