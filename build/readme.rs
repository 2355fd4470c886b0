//! The table of metrics in README.md.

use crate::metrics::{Row, Table};

const BEGIN: &str = "<!-- metrics:begin -->\n";
const END: &str = "<!-- metrics:end -->\n";

/// The table as Markdown, in its own order.
pub fn table(table: &Table) -> String {
    let mut out = String::from(
        "| OBIS | name | unit | MQTT topic | influx | for | description |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in &table.rows {
        let cells = [
            code(Some(&row.obis_text)),
            code(Some(&row.name)),
            row.unit_text.clone().unwrap_or_default(),
            code(row.topic.as_ref()),
            row.influx.clone().unwrap_or_default(),
            holds_for(table, row),
            row.description.replace('|', "\\|"),
        ];
        for cell in cells {
            out.push_str(if cell.is_empty() { "|" } else { "| " });
            out.push_str(&cell);
            out.push(' ');
        }
        out.push_str("|\n");
    }
    out
}

/// `readme` with `table` between its markers; `None` when it has no markers.
pub fn insert(readme: &str, table: &str) -> Option<String> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

fn code(text: Option<&String>) -> String {
    text.map_or(String::new(), |text| format!("`{text}`"))
}

/// The variants and the device that a row is limited to.
fn holds_for(table: &Table, row: &Row) -> String {
    let variants = table.variants.iter().enumerate();
    let only = variants.filter(|(bit, _)| row.only & 1 << bit != 0);
    let mut words: Vec<&str> = only.map(|(_, variant)| variant.name.as_str()).collect();
    words.extend(row.device.as_deref());
    words.join(", ")
}
