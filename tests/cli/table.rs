//! A mistake in `metrics.toml` is told like a compiler's error.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What cargo reads of a package before it runs the build script.
const PACKAGE: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "boards",
    "build",
    "crates",
    "metrics.toml",
    "src",
    "benches",
    "tests",
    "xtask",
];

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

#[test]
fn the_build_names_the_line_of_a_typo() {
    let folder = tempfile::tempdir().unwrap();
    for name in PACKAGE {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        copy(&own, &folder.path().join(name));
    }
    let table = folder.path().join("metrics.toml");
    let text = fs::read_to_string(&table).unwrap();
    let right = "type = \"number\"";
    let before = text.find(right).expect("a number in the table");
    let line = text[..before].lines().count() + 1;
    fs::write(&table, text.replacen(right, "type = \"nunber\"", 1)).unwrap();

    // In the target folder of this test, so that what the build script needs is built already. Nothing of the copy gets as far
    // as to replace anything there.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--offline", "--lib", "--target-dir"])
        .arg(target)
        .current_dir(folder.path());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let expected = format!("metrics.toml:{line}: ");
    let told: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(&expected))
        .collect();
    assert_eq!(told.len(), 1, "{said}");
    assert!(told[0].starts_with("error: "), "{said}");
    assert!(
        told[0].contains("\"nunber\"") && told[0].contains("number"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}
