//! A board's ledger of RAM beside what the linker placed, line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use object::{Object, ObjectSection, ObjectSymbol};
use serde::Deserialize;

use super::symbols::{self, Symbol};

/// By how much a line may differ from what was placed: the statics have marks that say that they are taken, what aligns them, and the
/// ring the state of the receiver that fills it.
const SLACK: u64 = 160;

/// What runs the tasks keeps the futures in statics of this name.
const POOL: &str = "POOL";

/// The statics of `src/soc` that lines are for, whichever of them a board has. What is none of these is `rest`, or `cold_rest` in IRAM.
const PARTS: [(&[&str], &[&str]); 15] = [
    (&["ring"], &["UART0", "RECEIVED_BYTES"]),
    (&["readings"], &["STAGED", "WAITING"]),
    (&["meter"], &["METER"]),
    (&["mqtt_rx", "mqtt_tx"], &["ROOM"]),
    (&["command_sockets"], &["COMMAND_BUFFERS", "STREAM_BUFFERS"]),
    (&["sessions"], &["ROOMS", "STREAM_PACKET"]),
    (&["device"], &["DEVICE"]),
    (&["mqtt_commands"], &["REMOTE"]),
    (
        &["udp"],
        &[
            "TIME_BUFFERS",
            "SAMPLE_BUFFERS",
            "MDNS_BUFFERS",
            "MDNS_ROOM",
        ],
    ),
    (&["socket_rx", "socket_tx"], &["BUFFERS"]),
    (&["network"], &["RESOURCES"]),
    (&["common"], &["COMMON"]),
    (&["tasks"], &[POOL]),
    (&["dhcp"], &["DHCP"]),
    (&["cold_tasks"], &["ADDRESSES"]),
];

/// A line of the ledger.
#[derive(Debug, Deserialize)]
struct Line {
    bytes: u64,
    r#in: Option<String>,
}

/// Lines that share their statics, and the bytes of both.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    said: u64,
    placed: u64,
}

/// A board's ledger, and what became of it.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Vec<Row>,
    problems: Vec<String>,
}

/// The image's own variables: the statics in one kind of memory, and all that it has of them.
struct Place<'a> {
    symbols: &'a [Symbol],
    ranges: Vec<Range<u64>>,
}

impl Place<'_> {
    fn length(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// Bytes of the statics with one of these names.
    fn of(&self, names: &[&str]) -> u64 {
        let is_here = |symbol: &&Symbol| {
            let mut ranges = self.ranges.iter();
            let name = symbol.path.rsplit("::").next().unwrap_or_default();
            symbol.path.starts_with("metertrekker::soc::")
                && names.contains(&name)
                && ranges.any(|range| range.contains(&symbol.address))
        };
        let here = self.symbols.iter().filter(is_here);
        here.map(|symbol| symbol.size).sum()
    }
}

impl Ledger {
    /// Of a board's file and its linked image.
    pub fn of(board: &toml::Table, elf: &object::File<'_>) -> Result<Self, String> {
        let lines = board.get("ram").and_then(|ram| ram.get("lines"));
        let lines = lines.ok_or("the board has no [ram.lines]")?.clone();
        let lines = lines
            .try_into()
            .map_err(|error| format!("[ram.lines]: {error}"))?;
        let symbols = symbols::of(elf);
        let at = |name: &str| elf.symbol_by_name(name).map(|symbol| symbol.address());
        let between = |from: &str, to: &str| Some(at(from)?..at(to)?);
        // The vendor's variables are between ours, where there are some; else these have sections of their own.
        let own = [
            between("_own_data_start", "_own_data_end"),
            between("_own_bss_start", "_own_bss_end"),
        ];
        let mut data: Vec<Range<u64>> = own.into_iter().flatten().collect();
        if data.is_empty() {
            let sections = [".data", ".bss"].map(|name| elf.section_by_name(name));
            let sections = sections.into_iter().flatten();
            data.extend(
                sections.map(|section| section.address()..section.address() + section.size()),
            );
        }
        let cold = between("_cold_start", "_cold_end");
        Ok(Self::compare(
            &lines,
            &Place {
                symbols: &symbols,
                ranges: data,
            },
            &Place {
                symbols: &symbols,
                ranges: cold.into_iter().collect(),
            },
        ))
    }

    fn compare(lines: &BTreeMap<String, Line>, data: &Place<'_>, cold: &Place<'_>) -> Self {
        let mut ledger = Self::default();
        // What is more than a line says counts as `rest`, as it does when the ledger is written.
        let mut rest = [data, cold].map(|place| (place.length(), place.length()));
        for (names, statics) in PARTS {
            let here: Vec<&Line> = names.iter().filter_map(|name| lines.get(*name)).collect();
            let Some(first) = here.first() else { continue };
            let is_cold = first.r#in.is_some();
            let row = Row {
                name: names.join(", "),
                said: here.iter().map(|line| line.bytes).sum(),
                placed: if is_cold { cold } else { data }.of(statics),
            };
            let (not_in_rows, not_in_lines) = &mut rest[usize::from(is_cold)];
            *not_in_rows = not_in_rows.saturating_sub(row.placed);
            // Other lines are the sizes of their buffers.
            let counted = if statics == [POOL] {
                row.placed
            } else {
                row.said
            };
            *not_in_lines = not_in_lines.saturating_sub(counted);
            ledger.judge(&row, row.placed);
            ledger.rows.push(row);
        }
        for (name, (not_in_rows, not_in_lines)) in ["rest", "cold_rest"].into_iter().zip(rest) {
            let Some(line) = lines.get(name) else {
                continue;
            };
            let row = Row {
                name: name.into(),
                said: line.bytes,
                placed: not_in_rows,
            };
            ledger.judge(&row, not_in_lines);
            ledger.rows.push(row);
        }
        ledger
    }

    fn judge(&mut self, row: &Row, placed: u64) {
        let Row { name, said, .. } = row;
        if placed.abs_diff(*said) > SLACK {
            self.problems.push(format!(
                "the ledger says {said} bytes of `{name}`, the linker placed {placed}"
            ));
        }
    }

    /// Lines that are not what was placed.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Each line, with what was placed and what the board's file says.
    pub fn table(&self) -> String {
        let mut table = format!("{:<30}{:>9}{:>9}\n", "the ledger's lines", "placed", "said");
        for Row { name, said, placed } in &self.rows {
            let _ = writeln!(table, "  {name:<28}{placed:>9}{said:>9}");
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: u64 = 0x3ffe_8000;
    const IRAM: u64 = 0x4010_6000;

    /// A ledger of few lines and what the linker made of it, with so many bytes of tasks.
    fn ledger(tasks: u64, rest: u64) -> Ledger {
        let lines = toml::from_str(
            "ring = { bytes = 1000 }
            mqtt_rx = { bytes = 100 }
            mqtt_tx = { bytes = 200 }
            tasks = { bytes = 5000 }
            rest = { bytes = 300 }
            udp = { bytes = 400, in = 'iram' }
            cold_rest = { bytes = 50, in = 'iram' }
            stack = { bytes = 6000 }",
        )
        .unwrap();
        let soc = |address, size, name: &str| Symbol {
            address,
            size,
            path: format!("metertrekker::soc::{name}"),
        };
        let symbols = [
            soc(RAM, 1120, "esp8266::port::UART0"),
            soc(RAM + 1120, 308, "esp8266::run::ROOM"),
            soc(RAM + 1428, tasks - 2000, "esp8266::run::publish::POOL"),
            soc(RAM + 1428 + tasks - 2000, 2000, "esp8266::run::meter::POOL"),
            soc(RAM + 1428 + tasks, rest - 128, "esp8266::time::DRIVER"),
            // Of another crate, and in other memory than the line's.
            Symbol {
                address: RAM + 4,
                size: 900,
                path: "other::UART0".into(),
            },
            soc(IRAM, 404, "esp8266::run::TIME_BUFFERS"),
            soc(RAM + 8, 404, "esp8266::run::MDNS_ROOM"),
        ];
        let place = |range| Place {
            symbols: &symbols,
            ranges: vec![range],
        };
        let data = place(RAM..RAM + 1300 + tasks + rest);
        Ledger::compare(&lines, &data, &place(IRAM..IRAM + 450))
    }

    #[test]
    fn each_line_stands_beside_what_was_placed() {
        let ledger = ledger(5000, 300);
        assert_eq!(ledger.problems, Vec::<String>::new());
        let rows: Vec<_> = (ledger.rows.iter())
            .map(|row| (&*row.name, row.said, row.placed))
            .collect();
        assert_eq!(
            rows,
            [
                ("ring", 1000, 1120),
                ("mqtt_rx, mqtt_tx", 300, 308),
                ("udp", 400, 404),
                ("tasks", 5000, 5000),
                ("rest", 300, 172),
                ("cold_rest", 50, 46),
            ]
        );
        // Every byte of the image's own, once.
        let placed: u64 = ledger.rows.iter().map(|row| row.placed).sum();
        assert_eq!(placed, 1300 + 5000 + 300 + 450);
        let table = ledger.table();
        assert!(
            table.contains("\n  mqtt_rx, mqtt_tx                  308      300\n"),
            "{table}"
        );
    }

    #[test]
    fn a_line_that_is_not_what_was_placed_is_told() {
        // Together they are what the ledger says.
        assert_eq!(
            ledger(5161, 139).problems,
            [
                "the ledger says 5000 bytes of `tasks`, the linker placed 5161",
                "the ledger says 300 bytes of `rest`, the linker placed 139"
            ]
        );
        assert_eq!(ledger(5160, 300).problems, Vec::<String>::new());
        assert_eq!(
            ledger(4839, 300).problems,
            ["the ledger says 5000 bytes of `tasks`, the linker placed 4839"]
        );
    }
}
