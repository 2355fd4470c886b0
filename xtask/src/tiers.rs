//! The test tiers: what `./test` runs.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use crate::{curves, failures, firmware, fuzz, shell, size, tools};

/// One step of a tier.
enum Step {
    /// A cargo command.
    Cargo(&'static [&'static str]),
    /// `cargo test` with these arguments.
    Tests(&'static [&'static str]),
    /// rustdoc over the workspace, with every warning an error.
    Docs,
    /// Every test of the workspace but those which have a tier of their own.
    HostTests,
    /// This variable must be set; the text tells what it is for.
    NeedsEnv(&'static str, &'static str),
    /// Telegraf must be there.
    NeedsTelegraf,
    /// The lx106's compiler, cross tools and emulator must be there.
    NeedsLx106,
    /// Every image that the tests run on the lx106.
    Lx106Images,
    /// The board's image within its limits of size.
    Lx106Sizes,
    /// The image of every board with an ESP8266, linked against the vendor's libraries and judged; one of them twice.
    ChipImages,
    /// The cost per byte, whatever the telegram's length and the table's.
    Lx106Curves,
    /// Every fuzz target for so many seconds.
    Fuzz(u32),
}

struct Tier {
    name: &'static str,
    about: &'static str,
    /// The files and folders in tests/ that belong to this tier alone.
    test_files: &'static [&'static str],
    steps: &'static [Step],
}

const TIERS: &[Tier] = &[
    Tier {
        name: "style",
        about: "formatting, lints and documentation, without a warning",
        test_files: &[],
        steps: &[
            Step::Cargo(&["fmt", "--all", "--check"]),
            Step::Cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            Step::Docs,
        ],
    },
    Tier {
        name: "host",
        about: "unit, golden, table and property tests",
        test_files: &[],
        steps: &[Step::HostTests],
    },
    Tier {
        name: "corpus",
        about: "real telegrams, from the folder that P1_CORPUS names",
        test_files: &["corpus"],
        steps: &[
            Step::NeedsEnv("P1_CORPUS", "the folder with the corpus of real telegrams"),
            Step::Tests(&["--test", "corpus"]),
        ],
    },
    Tier {
        name: "chain",
        about: "real peers on loopback: mosquitto, Telegraf, InfluxDB",
        test_files: &["chain", "peers"],
        steps: &[
            Step::NeedsTelegraf,
            Step::Tests(&["--release", "--test", "chain", "--test", "peers"]),
        ],
    },
    Tier {
        name: "lx106",
        about: "the chip's instruction set in QEMU: start-up, exceptions, interrupts, the whole firmware from its UART to mosquitto, sizes and counts",
        test_files: &[
            "lx106",
            "lx106_flash",
            "lx106_numbers",
            "qemu",
            "qemu_commands",
        ],
        steps: &[
            Step::NeedsLx106,
            Step::Lx106Curves,
            Step::Lx106Images,
            Step::Lx106Sizes,
            Step::Tests(&[
                "--test",
                "lx106",
                "--test",
                "lx106_flash",
                "--test",
                "lx106_numbers",
                "--test",
                "qemu",
                "--test",
                "qemu_commands",
            ]),
        ],
    },
    Tier {
        name: "chip",
        about: "the ESP8266's images: linked with the vendor's libraries, whole, within their limits, valid, and the same when built again; and its own glue in QEMU, against a stand-in for those libraries",
        test_files: &["esp8266_glue"],
        steps: &[
            Step::NeedsLx106,
            Step::ChipImages,
            // They wait most of the time: a device listens to its console for ten seconds before it listens to the meter.
            Step::Tests(&["--test", "esp8266_glue", "--", "--test-threads", "4"]),
        ],
    },
    Tier {
        name: "fuzz",
        about: "every fuzz target for some seconds",
        test_files: &[],
        steps: &[Step::Fuzz(5)],
    },
    Tier {
        name: "bench",
        about: "the benches, short: their table, no judgement",
        test_files: &[],
        steps: &[Step::Cargo(&["bench", "--bench", "*", "--", "--short"])],
    },
];

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// The tiers to run; all of them when none is named
    #[arg(value_name = "TIER", value_parser = TIERS.iter().map(|tier| tier.name).collect::<Vec<_>>())]
    tiers: Vec<String>,
    /// Name the tiers and run none
    #[arg(long)]
    list: bool,
}

enum Outcome {
    Passed,
    Failed(String),
    /// Something that the tier needs is not there.
    NotRun(String),
}

/// Runs the tiers that were asked for and sums them up.
pub fn run(args: &Args) -> Result<(), String> {
    if args.list {
        for tier in TIERS {
            println!("{:<8} {}", tier.name, tier.about);
        }
        return Ok(());
    }
    let under_ci = env::var("CI").is_ok_and(|value| value == "true");
    let mut rows = Vec::new();
    for tier in TIERS {
        if !args.tiers.is_empty() && !args.tiers.iter().any(|name| name == tier.name) {
            continue;
        }
        println!("\n== {}: {}", tier.name, tier.about);
        let start = Instant::now();
        let outcome = run_steps(tier.steps).judged(under_ci);
        let took = start.elapsed();
        println!(
            "== {}: {} after {:.1} s",
            tier.name,
            outcome.word(),
            took.as_secs_f32()
        );
        rows.push((tier.name, outcome, took));
    }
    summary(&rows)
}

impl Outcome {
    /// CI has everything that a tier needs, or it is not the CI that was meant.
    fn judged(self, under_ci: bool) -> Outcome {
        match self {
            Outcome::NotRun(why) if under_ci => Outcome::Failed(format!("cannot run: {why}")),
            other => other,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::NotRun(_) => "did not run",
        }
    }

    fn why(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed(why) | Outcome::NotRun(why) => why,
        }
    }

    fn why_in_short(&self) -> &str {
        self.why().lines().next().unwrap_or_default()
    }
}

fn run_steps(steps: &[Step]) -> Outcome {
    for step in steps {
        let outcome = run_step(step);
        if !matches!(outcome, Outcome::Passed) {
            println!("{}", outcome.why_in_short());
            return outcome;
        }
    }
    Outcome::Passed
}

fn run_step(step: &Step) -> Outcome {
    let result = match step {
        Step::Cargo(args) => shell::run(shell::cargo().args(*args)),
        Step::Tests(args) => failures::run(args),
        Step::Docs => shell::run(
            shell::cargo()
                .args(["doc", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        ),
        Step::HostTests => host_tests(),
        Step::NeedsEnv(name, what) => {
            return match env::var_os(name) {
                Some(_) => Outcome::Passed,
                None => Outcome::NotRun(format!("{name} is not set: it names {what}")),
            };
        }
        Step::NeedsTelegraf => {
            return match tools::ensure_telegraf() {
                Ok(_) => Outcome::Passed,
                Err(why) => Outcome::NotRun(why),
            };
        }
        Step::NeedsLx106 => {
            return match firmware::ready() {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::NotRun(why),
            };
        }
        Step::Lx106Images => firmware::build_for_tests(),
        Step::Lx106Curves => curves::check(),
        Step::Lx106Sizes => size::check("qemu"),
        Step::ChipImages => firmware::build_for_chips(),
        Step::Fuzz(seconds) => fuzz::run_all(*seconds),
    };
    match result {
        Ok(()) => Outcome::Passed,
        Err(why) => Outcome::Failed(why),
    }
}

fn host_tests() -> Result<(), String> {
    let names = host_test_names();
    let of_files = names.iter().flat_map(|name| ["--test", name]);
    let all: Vec<&str> = ["--workspace", "--lib", "--bins"]
        .into_iter()
        .chain(of_files)
        .collect();
    failures::run(&all)?;
    failures::run(&["--workspace", "--doc"])
}

/// The files and folders in tests/ that belong to no other tier.
fn host_test_names() -> Vec<String> {
    let entries = fs::read_dir(shell::root().join("tests"));
    let paths = entries.into_iter().flatten().flatten();
    let mut names: Vec<String> = paths
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|ext| ext == "rs") || path.join("main.rs").is_file()
        })
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| {
            let mut others = TIERS.iter().flat_map(|tier| tier.test_files);
            others.all(|other| other != name)
        })
        .collect();
    names.sort();
    names
}

fn summary(rows: &[(&str, Outcome, Duration)]) -> Result<(), String> {
    for (name, outcome, _) in rows {
        let details: Vec<&str> = outcome.why().lines().skip(1).collect();
        if !details.is_empty() {
            println!("\n== {name}: what failed\n{}", details.join("\n"));
        }
    }
    println!("\ntier     result         time");
    for (name, outcome, took) in rows {
        let line = format!(
            "{name:<8} {:<11} {:>5.1} s  {}",
            outcome.word(),
            took.as_secs_f32(),
            outcome.why_in_short()
        );
        println!("{}", line.trim_end());
    }
    let failed = rows
        .iter()
        .filter(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)))
        .count();
    match failed {
        0 => Ok(()),
        1 => Err("One tier failed.".into()),
        more => Err(format!("{more} tiers failed.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_up(outcomes: Vec<Outcome>) -> Result<(), String> {
        let rows: Vec<_> = outcomes
            .into_iter()
            .map(|outcome| ("tier", outcome, Duration::ZERO))
            .collect();
        summary(&rows)
    }

    #[test]
    fn a_tier_that_cannot_run_fails_under_ci_and_only_there() {
        let not_run = || Outcome::NotRun("no broker".into());
        assert_eq!(sum_up(vec![not_run().judged(false)]), Ok(()));
        assert_eq!(
            sum_up(vec![not_run().judged(true)]),
            Err("One tier failed.".into())
        );
    }

    #[test]
    fn files_and_folders_of_tests_run_in_one_tier() {
        let names = host_test_names();
        for name in ["cli", "host", "tables"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        for name in ["chain", "peers", "support", "sources_head"] {
            assert!(names.iter().all(|found| found != name), "{name}");
        }
    }

    #[test]
    fn one_failure_among_many_is_a_failure() {
        let outcomes = vec![
            Outcome::Passed,
            Outcome::Failed("red".into()),
            Outcome::Passed,
        ];
        assert_eq!(sum_up(outcomes), Err("One tier failed.".into()));
    }
}
