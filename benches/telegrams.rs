//! Frame + CRC + parse of one telegram: instructions and telegrams per second on one host core,
//! beside the crate `dsmr5` on the telegrams that it can read.
//!
//! Instructions are counted by valgrind's callgrind as the difference between two loop counts of
//! this very program, so start-up drops out and the figure repeats exactly.

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use metertrekker::{
    reading::{Reading, Skip},
    receiver::{CrcPolicy, Receiver},
};

/// Who reads a telegram.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Metertrekker,
    Dsmr5,
}

impl Reader {
    const ALL: [Self; 2] = [Self::Metertrekker, Self::Dsmr5];

    fn name(self) -> &'static str {
        match self {
            Self::Metertrekker => "metertrekker",
            Self::Dsmr5 => "dsmr5",
        }
    }

    /// Reads `telegram` `loops` times; the number of values read the last time, 0 when refused.
    fn run(self, telegram: &[u8], loops: u64) -> usize {
        match self {
            Self::Metertrekker => metertrekker(telegram, loops),
            Self::Dsmr5 => dsmr5(telegram, loops),
        }
    }
}

fn metertrekker(telegram: &[u8], loops: u64) -> usize {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut staged));
    let mut values = 0;
    for _ in 0..loops {
        let mut bytes = black_box(telegram);
        values = 0;
        while let Some(outcome) = receiver.next(&mut bytes, &mut |_: &[u8], _: Skip| ()) {
            if outcome.is_ok() {
                values = black_box(receiver.reading()).len();
            }
        }
    }
    values
}

fn dsmr5(telegram: &[u8], loops: u64) -> usize {
    let mut values = 0;
    for _ in 0..loops {
        values = 0;
        let bytes = black_box(telegram).iter().map(|byte| Ok::<u8, ()>(*byte));
        for readout in dsmr5::Reader::new(bytes) {
            let Ok(readout) = readout else { continue };
            let Ok(telegram) = readout.to_telegram() else {
                continue;
            };
            values = telegram
                .objects()
                .map(black_box)
                .filter(Result::is_ok)
                .count();
        }
    }
    values
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, mark, reader, file, loops] = &arguments[..]
        && mark == "--loops"
    {
        let reader = Reader::ALL.into_iter().find(|known| known.name() == reader);
        let telegram = fs::read(file).expect("the telegram's file");
        let loops = loops.parse().expect("a number of loops");
        black_box(reader.expect("a reader").run(&telegram, loops));
        return;
    }
    if let [_, mark, files @ ..] = &arguments[..]
        && mark == "--count"
    {
        count_files(files);
        return;
    }
    // The test tier wants to see that it works; the figures of one run will do.
    let runs = if arguments.iter().any(|a| a == "--short") {
        1
    } else {
        7
    };
    println!(
        "{:<36} {:>6} {:<13} {:>7} {:>13} {:>13} {:>8}",
        "telegram", "bytes", "reader", "values", "telegrams/s", "instructions", "per byte"
    );
    for file in telegrams() {
        let telegram = fs::read(&file).expect("a telegram");
        for reader in Reader::ALL {
            measure(reader, &file, &telegram, runs);
        }
    }
}

/// Prints a line per file: its name, and each reader's instructions.
fn count_files(files: &[String]) {
    // Cargo adds an option of its own.
    for file in files
        .iter()
        .filter(|file| *file != "--bench")
        .map(Path::new)
    {
        let telegram = fs::read(file).expect("a telegram");
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let counts = Reader::ALL.map(|reader| match reader.run(&telegram, 1) {
            0 => "-".to_owned(),
            _ => instructions(reader, file)
                .expect("valgrind counts")
                .to_string(),
        });
        println!("{name} {}", counts.join(" "));
    }
}

/// The corpus' telegrams where the environment names it, and this project's own.
fn telegrams() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let mut files = vec![own.join("esmr50.p1"), own.join("lt.p1"), own.join("hu.p1")];
    if let Some(corpus) = env::var_os("P1_CORPUS") {
        let corpus = PathBuf::from(corpus);
        files.insert(0, corpus.join("esmr50_isk_ECDF_metertrekker.p1"));
        files.insert(1, corpus.join("esmr50_ene_7EC2_hansij.p1"));
    }
    files.retain(|file| file.exists());
    files
}

fn measure(reader: Reader, file: &Path, telegram: &[u8], runs: usize) {
    let values = reader.run(telegram, 1);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let head = format!("{name:<36} {:>6} {:<13}", telegram.len(), reader.name());
    if values == 0 {
        println!("{head} cannot read it");
        return;
    }
    let rate = telegrams_per_second(reader, telegram, runs);
    let (count, per_byte) = match instructions(reader, file) {
        Some(count) => (
            count.to_string(),
            format!("{:.1}", count as f64 / telegram.len() as f64),
        ),
        None => ("no valgrind".into(), String::new()),
    };
    println!("{head} {values:>7} {rate:>13.0} {count:>13} {per_byte:>8}");
}

/// The median of several short runs.
fn telegrams_per_second(reader: Reader, telegram: &[u8], runs: usize) -> f64 {
    let mut rates = vec![0.0; runs];
    for rate in &mut rates {
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_millis(60) {
            reader.run(telegram, 200);
            count += 200;
        }
        *rate = count as f64 / start.elapsed().as_secs_f64();
    }
    rates.sort_by(f64::total_cmp);
    rates[runs / 2]
}

fn instructions(reader: Reader, file: &Path) -> Option<u64> {
    const FEW: u64 = 20;
    const MANY: u64 = 120;
    let few = counted(reader, file, FEW)?;
    let many = counted(reader, file, MANY)?;
    Some((many - few) / (MANY - FEW))
}

fn counted(reader: Reader, file: &Path, loops: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().ok()?)
        .args(["--loops", reader.name()])
        .arg(file)
        .arg(loops.to_string())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, total) = text.split_once("Collected :")?;
    total.split_whitespace().next()?.parse().ok()
}
