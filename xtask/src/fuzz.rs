//! Fuzzing with libFuzzer on the stable compiler.
//!
//! cargo-fuzz wants a nightly compiler for its sanitizer. Coverage alone needs none: LLVM's own pass, switched on by hand,
//! gives libFuzzer its counters, and Rust's checks stand in for the sanitizer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::shell;

/// What cargo-fuzz passes, less the sanitizer.
const RUSTFLAGS: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 \
    -Cdebug-assertions \
    -Coverflow-checks";

/// Arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Args {
    /// A file in fuzz/fuzz_targets, without its .rs
    #[arg(required_unless_present = "all")]
    target: Option<String>,
    /// Every target, one after the other
    #[arg(long, conflicts_with = "target")]
    all: bool,
    /// How long, for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run just this input instead: what a finding names
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    input: Option<PathBuf>,
}

/// Fuzzes what was asked for; a finding is an error that tells how to see it again.
pub fn run(args: &Args) -> Result<(), String> {
    let known = targets()?;
    let Some(target) = &args.target else {
        return run_all(args.seconds);
    };
    if !known.contains(target) {
        return Err(format!(
            "no fuzz target {target}: there are {}",
            known.join(", ")
        ));
    }
    let binary = build(target)?;
    match &args.input {
        Some(input) => shell::run(Command::new(binary).arg(input)),
        None => fuzz(target, &binary, args.seconds),
    }
}

/// Fuzzes every target for so many seconds each.
pub fn run_all(seconds: u32) -> Result<(), String> {
    for target in targets()? {
        let binary = build(&target)?;
        fuzz(&target, &binary, seconds)?;
    }
    Ok(())
}

fn package() -> PathBuf {
    shell::root().join("fuzz")
}

fn build_dir() -> PathBuf {
    shell::target_dir().join("fuzz")
}

fn targets() -> Result<Vec<String>, String> {
    let folder = package().join("fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    if names.is_empty() {
        return Err(format!("no fuzz target in {}", folder.display()));
    }
    names.sort();
    Ok(names)
}

fn build(target: &str) -> Result<PathBuf, String> {
    let host = host_triple()?;
    shell::run(
        shell::cargo()
            .args(["build", "--release", "--manifest-path"])
            .arg(package().join("Cargo.toml"))
            // Named even though it is the host: flags then do not reach build scripts and procedural macros.
            .args(["--target", &host, "--bin", target, "--target-dir"])
            .arg(build_dir())
            .env("RUSTFLAGS", RUSTFLAGS),
    )?;
    Ok(build_dir().join(host).join("release").join(target))
}

fn host_triple() -> Result<String, String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|e| format!("cannot start rustc: {e}"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn fuzz(target: &str, binary: &Path, seconds: u32) -> Result<(), String> {
    let found = folder(build_dir().join("found").join(target))?;
    let start = SystemTime::now();
    // The first corpus grows; those after it are only read.
    let mut command = Command::new(binary);
    command.arg(folder(build_dir().join("corpus").join(target))?);
    let seeds = package().join("corpus").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let dictionary = package().join("dictionary.txt");
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    println!("-- fuzz {target}, {seconds} s");
    let Err(problem) = shell::run(&mut command) else {
        return Ok(());
    };
    match written_since(&found, start) {
        Some(input) => Err(format!(
            "fuzz target {target} failed on {input}\nto see it again: cargo xtask fuzz {target} --input {input}",
            input = input.display()
        )),
        None => Err(format!("fuzz target {target}: {problem}")),
    }
}

fn folder(path: PathBuf) -> Result<PathBuf, String> {
    fs::create_dir_all(&path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    Ok(path)
}

/// The input that libFuzzer left. Its name is its hash, so one that was found before is written over.
fn written_since(folder: &Path, start: SystemTime) -> Option<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .find(|file| {
            file.metadata()
                .and_then(|about| about.modified())
                .is_ok_and(|written| written >= start)
        })
        .map(|file| file.path())
}
