//! Compiles `metrics.toml`, or the table that `METERTREKKER_METRICS` names, to `$OUT_DIR/metrics.rs`; the work is done by the pure
//! functions in `build/`.

#[path = "../../build/metrics.rs"]
mod metrics;
#[path = "../../build/problem.rs"]
mod problem;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The project's folder, as this one sees it.
const ROOT: &str = "../..";

/// Names a table in the place of the project's own, for what is measured with others.
const METRICS: &str = "METERTREKKER_METRICS";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ROOT}/build");
    println!("cargo::rerun-if-env-changed={METRICS}");
    if let Err(lines) = run() {
        // One directive per line: Cargo would print the rest of a longer message elsewhere.
        for line in lines {
            println!("cargo::error={line}");
        }
    }
}

fn run() -> Result<(), Vec<String>> {
    let file = &env::var(METRICS).unwrap_or_else(|_| "metrics.toml".to_owned());
    let path = Path::new(ROOT).join(file);
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).map_err(|error| vec![format!("{file}: {error}")])?;
    let code = metrics::compile(file, &text)
        .map_err(|problems| problems.iter().map(|p| p.to_string()).collect::<Vec<_>>())?;
    let out = env::var_os("OUT_DIR").ok_or_else(|| vec!["OUT_DIR is not set".to_string()])?;
    let path = PathBuf::from(out).join("metrics.rs");
    fs::write(&path, code).map_err(|error| vec![format!("{}: {error}", path.display())])
}
