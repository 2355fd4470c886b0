//! A checked table to Rust text: plain data, in the order in which it is searched.

use std::fmt::Write;

use super::{Row, Table, Unit};

const BASE_NAMES: [&str; 12] = [
    "Wh", "W", "Varh", "Var", "Va", "Vah", "V", "A", "Hz", "S", "M3", "J",
];
const PREFIX_NAMES: [&str; 5] = ["None", "Milli", "Kilo", "Mega", "Giga"];

/// The module that `crates/telegram/src/metric.rs` includes; a function of the table alone.
pub fn module(table: &Table) -> String {
    let mut rows: Vec<&Row> = table.rows.iter().collect();
    rows.sort_by_key(|row| (row.obis.key(), row.only == 0));
    let mut out = String::from(
        "// Generated from metrics.toml by build.rs. Do not edit.\n\nuse super::*;\n\n",
    );
    // Writing to a String cannot fail.
    let _ = write_module(&mut out, table, &rows);
    out
}

fn write_module(out: &mut String, table: &Table, rows: &[&Row]) -> std::fmt::Result {
    variants(out, table)?;
    writeln!(out, "pub static KEYS: [u32; {}] = [", rows.len())?;
    for row in rows {
        writeln!(out, "    {:#010x}, // {}", row.obis.key(), row.obis_text)?;
    }
    writeln!(
        out,
        "];\n\npub static METRICS: [Metric; {}] = [",
        rows.len()
    )?;
    for row in rows {
        metric(out, table, row)?;
    }
    writeln!(
        out,
        "];\n\npub static DESCRIPTIONS: [&str; {}] = [",
        rows.len()
    )?;
    for row in rows {
        writeln!(out, "    {:?},", row.description)?;
    }
    writeln!(out, "];")
}

fn variants(out: &mut String, table: &Table) -> std::fmt::Result {
    for (bit, variant) in table.variants.iter().enumerate() {
        writeln!(out, "/// {}.", variant.description)?;
        writeln!(
            out,
            "pub const {}: Variant = Variant::new({bit});",
            constant(&variant.name)
        )?;
    }
    if !table.variants.is_empty() {
        out.push('\n');
    }
    let names: Vec<&str> = table.variants.iter().map(|v| v.name.as_str()).collect();
    writeln!(
        out,
        "pub static VARIANTS: [&str; {}] = {names:?};\n",
        names.len()
    )?;

    let mut headers: Vec<(&str, &str)> = Vec::new();
    let mut markers = Vec::new();
    for variant in &table.variants {
        headers.extend(
            variant
                .header
                .iter()
                .map(|(_, h)| (h.as_str(), variant.name.as_str())),
        );
        markers.extend(
            variant
                .obis
                .iter()
                .map(|(_, text, id)| (id.key(), text, &variant.name)),
        );
    }
    // The longest prefix wins, so it is the first to be met.
    headers.sort_by_key(|(header, _)| std::cmp::Reverse(header.len()));
    writeln!(
        out,
        "pub static HEADERS: [(&[u8], Variant); {}] = [",
        headers.len()
    )?;
    for (header, name) in headers {
        writeln!(out, "    (b{header:?}, {}),", constant(name))?;
    }
    writeln!(out, "];\n")?;
    writeln!(
        out,
        "pub static MARKERS: [(u32, Variant); {}] = [",
        markers.len()
    )?;
    for (key, text, name) in markers {
        writeln!(out, "    ({key:#010x}, {}), // {text}", constant(name))?;
    }
    writeln!(out, "];\n")
}

fn metric(out: &mut String, table: &Table, row: &Row) -> std::fmt::Result {
    let unit = row
        .unit_text
        .as_ref()
        .map_or(String::new(), |unit| format!(" ({unit})"));
    writeln!(out, "    // {}: {}{unit}", row.obis_text, row.description)?;
    writeln!(out, "    Metric {{")?;
    writeln!(
        out,
        "        obis: Obis::from_key({:#010x}),",
        row.obis.key()
    )?;
    writeln!(out, "        name: {:?},", row.name)?;
    writeln!(out, "        kind: Kind::{},", camel(&row.kind))?;
    writeln!(out, "        unit: {},", option(row.unit.map(unit_value)))?;
    let topic = row.topic.as_ref().map(|topic| format!("{topic:?}"));
    writeln!(out, "        topic: {},", option(topic))?;
    let influx = row
        .influx
        .as_ref()
        .map_or("None".into(), |influx| camel(influx));
    writeln!(out, "        influx: Influx::{influx},")?;
    writeln!(out, "        phase: {},", option(row.phase))?;
    let device = row
        .device
        .as_ref()
        .map(|device| format!("Device::{}", camel(device)));
    writeln!(out, "        device: {},", option(device))?;
    writeln!(out, "        variants: {},", variant_set(table, row))?;
    writeln!(out, "    }},")
}

fn variant_set(table: &Table, row: &Row) -> String {
    if row.only == 0 {
        return "Variants::EVERY".into();
    }
    let listed = table.variants.iter().enumerate();
    let names: Vec<String> = listed
        .filter(|(bit, _)| row.only & 1 << bit != 0)
        .map(|(_, variant)| constant(&variant.name))
        .collect();
    format!("Variants::of(&[{}])", names.join(", "))
}

fn unit_value(unit: Unit) -> String {
    format!(
        "Unit {{ base: Base::{}, prefix: Prefix::{} }}",
        BASE_NAMES[unit.base], PREFIX_NAMES[unit.prefix]
    )
}

fn option(value: Option<impl std::fmt::Display>) -> String {
    value.map_or("None".into(), |value| format!("Some({value})"))
}

fn constant(name: &str) -> String {
    format!("VARIANT_{}", name.to_ascii_uppercase())
}

/// `warm_water` to `WarmWater`.
fn camel(word: &str) -> String {
    let parts = word.split('_').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    parts.collect()
}
