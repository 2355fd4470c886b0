//! What a telegram costs: `cargo xtask bench`, by valgrind on this machine or counted by the emulated lx106.

use std::collections::HashMap;
use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::{curves, firmware, latency, shell};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Count on this board, which must be an emulated one, instead of on this machine
    #[arg(long, value_parser = ["qemu"])]
    board: Option<String>,
    /// Telegrams, one per file, instead of the usual ones
    #[arg(requires = "board")]
    files: Vec<PathBuf>,
    /// Count how the cost per byte grows with a telegram's length and with the rows of the table, on the emulated lx106 and on this
    /// machine, and write docs/curves.md and docs/curves.svg
    #[arg(long, conflicts_with_all = ["board", "files"])]
    curves: bool,
}

/// Runs the bench that was asked for.
pub fn run(args: &Args) -> Result<(), String> {
    if args.curves {
        return curves::write();
    }
    if args.board.is_none() {
        return shell::run(shell::cargo().args(["bench", "--bench", "telegrams"]));
    }
    firmware::ready()?;
    let image = firmware::build_bench()?;
    let firmware = firmware::build("qemu")?;
    let files = match args.files.is_empty() {
        true => usual_telegrams(),
        false => args.files.clone(),
    };
    for file in files {
        let mut figures = count(&image, &file)?;
        let [first, later] = latency::measure(&firmware, &file)?;
        figures.extend([("to-card-first".into(), first), ("to-card".into(), later)]);
        println!("{}", table(&file, &figures)?);
    }
    Ok(())
}

/// The telegram of the original's README, an ESMR 5 one with three phases where the corpus is at hand, and this project's own.
fn usual_telegrams() -> Vec<PathBuf> {
    let own = shell::root().join("fixtures/meters");
    let mut files: Vec<PathBuf> = ["esmr50.p1", "lt.p1", "hu.p1"]
        .iter()
        .map(|name| own.join(name))
        .collect();
    if let Some(corpus) = env::var_os("P1_CORPUS").map(PathBuf::from) {
        files.insert(0, corpus.join(README_TELEGRAM));
        files.insert(1, corpus.join("esmr50_ene_7EC2_hansij.p1"));
    }
    files
}

/// The one that goals and peers were measured with.
const README_TELEGRAM: &str = "esmr50_isk_ECDF_metertrekker.p1";

/// By name, what the image printed.
pub type Figures = HashMap<String, u32>;

pub fn count(image: &Path, telegram: &Path) -> Result<Figures, String> {
    let input =
        File::open(telegram).map_err(|e| format!("cannot read {}: {e}", telegram.display()))?;
    let output = firmware::emulator(image)
        // What crates/lx106-bench counts with.
        .args(["-icount", "shift=10"])
        .args(["-monitor", "none", "-serial", "none", "-nic", "none"])
        .stdin(input)
        .output()
        .map_err(|e| format!("cannot start the emulator: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Figures = text.lines().filter_map(figure).collect();
    match (output.status.success(), figures.get("loop")) {
        (true, Some(2000)) => Ok(figures),
        (true, found) => Err(format!(
            "a loop of 2000 instructions counts {found:?}: what -icount and CCOUNT mean has changed"
        )),
        (false, _) => Err(format!("{} failed:\n{text}", telegram.display())),
    }
}

fn figure(line: &str) -> Option<(String, u32)> {
    let (name, number) = line.split_once(' ')?;
    Some((name.to_owned(), number.trim().parse().ok()?))
}

/// One line of the table: its title, the figures that it sums up, and what they are compared with for the telegram
/// of the original's README.
struct Row {
    title: &'static str,
    of: &'static [&'static str],
    goal: Option<u32>,
    /// Measured on the lx106 with the same telegram.
    peer: Option<(&'static str, u32)>,
}

const ROWS: [Row; 11] = [
    row("frame, CRC", &["frame"]),
    Row {
        goal: Some(25_000),
        peer: Some(("dsmr5", 62_132)),
        ..row("frame, CRC, all lines", &["receive"])
    },
    row("  the same, of the first telegram", &["first"]),
    row("  the last CRC digit's verdict", &["verdict"]),
    row("  the InfluxDB line", &["line"]),
    Row {
        goal: Some(5_000),
        peer: Some(("dsmr5, no line", 39_700)),
        ..row("last digit to InfluxDB line", &["verdict", "line"])
    },
    row("all lines and topics", &["publish"]),
    Row {
        goal: Some(100_000),
        ..row("last digit to network card", &["to-card"])
    },
    row("  the same, every topic due", &["to-card-first"]),
    Row {
        goal: Some(600),
        peer: Some(("dsmr5", 496)),
        ..row("stack of receiving, bytes", &["receive-stack"])
    },
    row("stack of publishing, bytes", &["publish-stack"]),
];

const fn row(title: &'static str, of: &'static [&'static str]) -> Row {
    Row {
        title,
        of,
        goal: None,
        peer: None,
    }
}

fn table(file: &Path, figures: &Figures) -> Result<String, String> {
    let get = |name: &str| {
        let found = figures.get(name).copied();
        found.ok_or_else(|| format!("the image told no {name}"))
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let bytes = get("bytes")?;
    let compared = name == README_TELEGRAM;
    let mut out = format!("{name}, {bytes} bytes\n");
    out += &format!("{:<32} {:>9} {:>8}", "", "counted", "per byte");
    if compared {
        out += &format!(" {:>7} {:>7}  best peer", "goal", "of it");
    }
    out.push('\n');
    for row in &ROWS {
        let mut sum = 0;
        for name in row.of {
            sum += get(name)?;
        }
        out += &format!("{:<32} {sum:>9}", row.title);
        if !row.title.contains("stack") {
            out += &format!(" {:>8.1}", f64::from(sum) / f64::from(bytes));
        }
        if let (true, Some(goal)) = (compared, row.goal) {
            let part = |of: u32| format!("{:.0} %", 100.0 * f64::from(sum) / f64::from(of));
            let column = 51 - out.lines().last().unwrap_or("").len();
            out += &format!("{:column$} {goal:>7} {:>7}", "", part(goal));
            if let Some((peer, theirs)) = row.peer {
                out += &format!("  {} of {theirs} ({peer})", part(theirs));
            }
            if sum > goal {
                out += &format!("; {} over the goal", sum - goal);
            }
        }
        out.push('\n');
    }
    Ok(out)
}
