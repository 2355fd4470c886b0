//! How the cost per byte grows with a telegram's length and with the rows of the table: `cargo xtask bench --curves`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{bench, firmware, shell};

/// The rows of the tables.
const ROWS: [usize; 3] = [10, 100, LONGEST];
const LONGEST: usize = 1000;

/// The lengths of the telegrams in bytes, give or take a line.
const LENGTHS: [usize; 4] = [512, 1024, 2048, 4096];

/// How much more a byte may cost with 1000 rows than with 100.
const ROWS_BOUND: f64 = 1.2;

/// How much more a byte may cost in 4 kB than in 1 kB.
const LENGTH_BOUND: f64 = 1.1;

/// What all tables have, so that one telegram is read alike with each: what Dutch meters send of electricity, and other readers know.
const COMMON: [(&str, &str, &str); 10] = [
    ("1-0:1.8.1", "kWh", "000123.456"),
    ("1-0:1.8.2", "kWh", "000234.567"),
    ("1-0:2.8.1", "kWh", "000345.678"),
    ("1-0:2.8.2", "kWh", "000456.789"),
    ("1-0:1.7.0", "kW", "01.234"),
    ("1-0:2.7.0", "kW", "00.000"),
    ("1-0:21.7.0", "kW", "00.345"),
    ("1-0:22.7.0", "kW", "00.000"),
    ("1-0:41.7.0", "kW", "00.456"),
    ("1-0:61.7.0", "kW", "00.433"),
];

/// The rows that no meter has: ids on both sides of the common ones, for a search has to go among them.
fn other_id(row: usize) -> String {
    format!(
        "1-{}:{}.{}.{}",
        row % 3,
        1 + row % 199,
        100 + row / 199,
        row % 7
    )
}

/// A `metrics.toml` of so many rows.
fn table(rows: usize) -> String {
    let row = |id: &str, name: &str, unit: &str| {
        format!(
            "[[metric]]\nobis = \"{id}\"\nname = \"{name}\"\ntype = \"number\"\nunit = \"{unit}\"\ninflux = \"field\"\ndescription = \"{name}\"\n\n"
        )
    };
    // One variant, as the code for them wants.
    let mut text = "[variant.xx]\ndescription = \"none\"\nheader = [\"XX\"]\n\n".to_owned();
    for (n, (id, unit, _)) in COMMON.iter().enumerate() {
        text += &row(id, &format!("common_{n}"), unit);
    }
    for n in 0..rows - COMMON.len() {
        text += &row(&other_id(n), &format!("other_{n}"), "kWh");
    }
    text
}

/// The telegram that is read alike with every table.
fn common_telegram() -> Vec<u8> {
    let lines = COMMON.map(|(id, unit, digits)| format!("{id}({digits}*{unit})\r\n"));
    telegram(&lines)
}

/// A telegram of so many bytes, each line with an id of its own, from all over the table of 1000 rows.
fn telegram_of(bytes: usize) -> Vec<u8> {
    // No reading keeps more than 112 values, so a line is long: its number takes 64 bits.
    let line = |n: usize| format!("{}(0000000123456.{:03}*kWh)\r\n", other_id(n * 9), 100 + n);
    let mut lines = vec![];
    while telegram(&lines).len() < bytes {
        lines.push(line(lines.len()));
    }
    telegram(&lines)
}

fn telegram(lines: &[String]) -> Vec<u8> {
    let text = format!("/ISK5\\2M550T-1012\r\n\r\n{}!", lines.concat());
    let check = format!("{:04X}\r\n", crc(text.as_bytes()));
    [text, check].concat().into_bytes()
}

/// CRC-16/ARC.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            (crc >> 1) ^ ((crc & 1) * 0xA001)
        })
    })
}

/// A point of a curve.
struct Point {
    /// Rows, or bytes.
    at: usize,
    bytes: usize,
    /// Instructions on the lx106 for a telegram, and for the first one after a start.
    later: u32,
    first: u32,
}

impl Point {
    fn per_byte(&self) -> f64 {
        f64::from(self.later) / self.bytes as f64
    }

    fn first_per_byte(&self) -> f64 {
        f64::from(self.first) / self.bytes as f64
    }
}

struct Curves {
    rows: Vec<Point>,
    lengths: Vec<Point>,
}

fn folder() -> Result<PathBuf, String> {
    let folder = shell::target_dir().join("curves");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

fn put(name: &str, content: &[u8]) -> Result<PathBuf, String> {
    let path = folder()?.join(name);
    fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

fn table_file(rows: usize) -> Result<PathBuf, String> {
    put(&format!("metrics-{rows}.toml"), table(rows).as_bytes())
}

/// Counts on the emulated lx106, with tables of so many rows.
fn measure(tables: &[usize]) -> Result<Curves, String> {
    firmware::ready()?;
    let common = put("common.p1", &common_telegram())?;
    let mut curves = Curves {
        rows: vec![],
        lengths: vec![],
    };
    for &rows in tables {
        let image = firmware::build_bench_with(
            Some(&table_file(rows)?),
            &format!("curves/bench-{rows}.elf"),
        )?;
        curves.rows.push(point(&image, rows, &common)?);
        if rows == LONGEST {
            for bytes in LENGTHS {
                let file = put(&format!("{bytes}.p1"), &telegram_of(bytes))?;
                curves.lengths.push(point(&image, bytes, &file)?);
            }
        }
    }
    Ok(curves)
}

fn point(image: &Path, at: usize, telegram: &Path) -> Result<Point, String> {
    let figures = bench::count(image, telegram)?;
    let get = |name: &str| {
        let found = figures.get(name).copied();
        found.ok_or_else(|| format!("the image told no {name}"))
    };
    Ok(Point {
        at,
        bytes: get("bytes")? as usize,
        later: get("receive")?,
        first: get("first")?,
    })
}

/// The error is a sentence when a byte costs more in more bytes, or with more rows.
fn judge(curves: &Curves) -> Result<(), String> {
    let at = |points: &[Point], at: usize| {
        let point = points.iter().find(|point| point.at == at);
        point.map_or(f64::INFINITY, Point::per_byte)
    };
    let rows = at(&curves.rows, 1000) / at(&curves.rows, 100);
    let length = at(&curves.lengths, 4096) / at(&curves.lengths, 1024);
    if rows > ROWS_BOUND {
        return Err(format!(
            "a byte costs {rows:.2} times as much with 1000 rows as with 100; {ROWS_BOUND} is the bound"
        ));
    }
    if length > LENGTH_BOUND {
        return Err(format!(
            "a byte costs {length:.2} times as much in 4 kB as in 1 kB; {LENGTH_BOUND} is the bound"
        ));
    }
    Ok(())
}

/// The cost per byte on the emulated lx106 within its bounds.
pub fn check() -> Result<(), String> {
    // Each table is a build: those that the bounds are about.
    let curves = measure(&[100, LONGEST])?;
    print!("{}", tables(&curves, None));
    judge(&curves)
}

/// Instructions on this machine, one telegram each: the reader's name, 0 where it cannot read it.
type OnThisMachine = Vec<(String, [Option<u64>; 2])>;

/// Writes docs/curves.md and docs/curves.svg.
pub fn write() -> Result<(), String> {
    let curves = measure(&ROWS)?;
    let mut here = vec![];
    for rows in ROWS {
        let mut files = vec![folder()?.join("common.p1")];
        if rows == LONGEST {
            files.extend(
                LENGTHS.map(|bytes| shell::target_dir().join(format!("curves/{bytes}.p1"))),
            );
        }
        here.extend(on_this_machine(rows, &files)?);
    }
    let docs = shell::root().join("docs");
    let text = format!(
        "<!-- Made by `cargo xtask bench --curves`. Do not edit. -->\n# What a byte costs, in longer telegrams and with longer tables\n\n{INTRODUCTION}\n{}",
        tables(&curves, Some(&here))
    );
    for (name, content) in [("curves.md", text), ("curves.svg", svg(&curves))] {
        let path = docs.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}", path.display());
    }
    judge(&curves)
}

const INTRODUCTION: &str = "\
Instructions for frame, CRC and all lines. `cargo xtask bench --curves` makes this page; `cargo xtask test lx106` fails when on the
lx106 a byte costs more than 1.2 times as much with 1000 rows as with 100, or more than 1.1 times as much in 4 kB as in 1 kB. The
tables are made for this: ten rows that all have, and which the telegram of the first table here is made of, and others around them. The
telegrams of the second are read with 1000 rows, each line with an id of its own from all over the table; their numbers have sixteen
digits, which no meter sends and take 64 bits, or a reading would be full before 4 kB.

A telegram's lines are first looked for where the telegram before had them; the first one after a start is searched for line by line,
which takes a step more for twice the rows.

![Instructions per byte](curves.svg)
";

/// Counts by valgrind what the readers of `cargo bench` take, with a table of so many rows.
fn on_this_machine(rows: usize, files: &[PathBuf]) -> Result<OnThisMachine, String> {
    let mut cargo: Command = shell::cargo();
    cargo
        .args(["bench", "--bench", "telegrams", "--", "--count"])
        .args(files)
        .env(shell::METRICS, table_file(rows)?);
    let output = cargo
        .output()
        .map_err(|e| format!("cannot start {}: {e}", shell::shown(&cargo)))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [file, own, peer] => {
                let key = format!("{rows} {}", file.trim_end_matches(".p1"));
                Some((key, [own.parse().ok(), peer.parse().ok()]))
            }
            _ => None,
        }
    });
    Ok(lines.collect())
}

fn tables(curves: &Curves, here: Option<&OnThisMachine>) -> String {
    let mut out = String::new();
    let mut one = |title: &str, points: &[Point], key: &dyn Fn(usize) -> String| {
        out +=
            &format!("| {title} | bytes | lx106 | per byte | the first after a start, per byte |");
        if here.is_some() {
            out += " this PC | per byte | `dsmr5` there |";
        }
        out += "\n|---|---|---|---|---|";
        if here.is_some() {
            out += "---|---|---|";
        }
        out.push('\n');
        for point in points {
            out += &format!(
                "| {} | {} | {} | {:.1} | {:.1} |",
                point.at,
                point.bytes,
                point.later,
                point.per_byte(),
                point.first_per_byte()
            );
            if let Some(here) = here {
                let found = here.iter().find(|(found, _)| *found == key(point.at));
                let [own, peer] = found.map_or([None; 2], |(_, counts)| *counts);
                let shown =
                    |count: Option<u64>| count.map_or("cannot read it".into(), |n| n.to_string());
                let per_byte = own.unwrap_or_default() as f64 / point.bytes as f64;
                out += &format!(" {} | {per_byte:.1} | {} |", shown(own), shown(peer));
            }
            out.push('\n');
        }
        out.push('\n');
    };
    one("rows", &curves.rows, &|rows| format!("{rows} common"));
    one("length", &curves.lengths, &|bytes| format!("1000 {bytes}"));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Two plots side by side: per byte over the rows, and over the length, each step twice or ten times the one before.
fn svg(curves: &Curves) -> String {
    let all = || curves.rows.iter().chain(&curves.lengths);
    let highest = all().map(Point::first_per_byte).fold(0.0, f64::max);
    let top = (highest / 10.0).ceil() * 10.0;
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 320\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"760\" height=\"320\" fill=\"white\"/>\n",
    );
    let plots = [
        (60.0, "rows of the table", &curves.rows),
        (430.0, "bytes of the telegram", &curves.lengths),
    ];
    for (left, title, points) in plots {
        let (width, bottom, height) = (290.0, 260.0, 210.0);
        let y = |value: f64| bottom - value / top * height;
        let x = |n: usize| left + width * (n as f64 + 0.5) / points.len() as f64;
        for tenth in 0..=(top / 10.0) as u32 {
            let (value, y) = (tenth * 10, y(f64::from(tenth * 10)));
            out += &format!(
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
                left + width,
                left - 6.0,
                y + 4.0
            );
        }
        for (n, point) in points.iter().enumerate() {
            out += &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                x(n),
                bottom + 18.0,
                point.at
            );
        }
        out += &format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{title}</text>\n",
            left + width / 2.0,
            bottom + 40.0
        );
        type PerByte = fn(&Point) -> f64;
        let lines: [(&str, PerByte); 2] = [
            ("#1f77b4", Point::per_byte),
            ("#ff7f0e", Point::first_per_byte),
        ];
        for (colour, value) in lines {
            let places = points.iter().enumerate();
            let places: Vec<String> = places
                .map(|(n, point)| format!("{:.1},{:.1}", x(n), y(value(point))))
                .collect();
            out += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                places.join(" ")
            );
        }
    }
    out += "<text x=\"60\" y=\"24\">lx106 instructions per byte: \
            <tspan fill=\"#1f77b4\">each telegram</tspan>, <tspan fill=\"#ff7f0e\">the first after a start</tspan></text>\n</svg>\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(costs: &[(usize, u32)]) -> Vec<Point> {
        let point = |(at, later): &(usize, u32)| Point {
            at: *at,
            bytes: 100,
            later: *later,
            first: *later,
        };
        costs.iter().map(point).collect()
    }

    #[test]
    fn a_cost_that_grows_is_refused() {
        let even = |rows, lengths| Curves {
            rows: points(&[(100, 4000), (1000, rows)]),
            lengths: points(&[(1024, 4000), (4096, lengths)]),
        };
        assert_eq!(judge(&even(4700, 4300)), Ok(()));
        assert!(judge(&even(4900, 4300)).unwrap_err().contains("1000 rows"));
        assert!(judge(&even(4700, 4500)).unwrap_err().contains("4 kB"));
    }

    #[test]
    fn a_table_has_the_rows_and_each_id_once() {
        for rows in ROWS {
            let text = table(rows);
            let mut ids: Vec<&str> = text
                .lines()
                .filter(|line| line.starts_with("obis"))
                .collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), rows);
        }
    }

    #[test]
    fn telegrams_are_as_long_as_they_are_said_to_be() {
        for bytes in LENGTHS {
            assert!((bytes..bytes + 40).contains(&telegram_of(bytes).len()));
        }
        assert!(telegram_of(4096).split(|byte| *byte == b'\n').count() < 112 + 3);
        assert_eq!(crc(b"123456789"), 0xBB3D, "the catalogue's check value");
    }
}
