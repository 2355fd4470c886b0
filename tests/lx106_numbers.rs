//! What a telegram costs on the lx106, counted by the emulated core: no figure may grow unseen.
//!
//! `cargo xtask bench --board qemu` prints the same figures; docs/numbers.md keeps them. A bound is two in a hundred above what was
//! measured. Where a figure has become better, lower its bound with it.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::peers::{did_not_run, find};

/// Names and upper bounds.
type Bounds = [(&'static str, u32); 8];

/// What the image counts for a telegram; `None` when it or the emulator is missing.
fn figures(telegram: &Path) -> Option<BTreeMap<String, u32>> {
    let qemu = find("qemu-system-xtensa", "`./test` installs it")?;
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("firmware/bench.elf");
    if !image.is_file() {
        did_not_run("bench.elf is not built: `cargo xtask test lx106` builds it");
        return None;
    }
    let output = Command::new(qemu)
        .args(["-M", "lx60-nommu", "-cpu", "lx106", "-semihosting"])
        .args(["-display", "none", "-monitor", "none", "-nic", "none"])
        .args(["-serial", "none", "-icount", "shift=10", "-kernel"])
        .arg(image)
        .stdin(File::open(telegram).expect("a telegram"))
        .output()
        .expect("QEMU starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let figure = |line: &str| {
        let (name, number) = line.split_once(' ').expect("a name and a number");
        (name.to_owned(), number.trim().parse().expect("a number"))
    };
    Some(text.lines().map(figure).collect())
}

fn within(telegram: &Path, bounds: Bounds) {
    let Some(found) = figures(telegram) else {
        return;
    };
    assert_eq!(found["loop"], 2000, "what CCOUNT means under -icount");
    let over: Vec<_> = bounds
        .iter()
        .filter(|(name, bound)| found[*name] > *bound)
        .collect();
    assert!(over.is_empty(), "above {over:?}: {found:#?}");
    assert_eq!(figures(telegram), Some(found), "the same figures twice");
}

fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    fixtures.join(name)
}

#[test]
fn the_telegram_of_the_originals_readme() {
    let Some(corpus) = env::var_os("P1_CORPUS") else {
        did_not_run("P1_CORPUS is not set: it names the folder with the corpus of real telegrams");
        return;
    };
    let telegram = Path::new(&corpus).join("esmr50_isk_ECDF_metertrekker.p1");
    within(
        &telegram,
        [
            ("frame", 10_210),
            ("receive", 25_000),
            ("first", 26_180),
            ("receive-stack", 453),
            ("publish", 15_000),
            ("publish-stack", 649),
            ("verdict", 634),
            ("line", 7_400),
        ],
    );
}

#[test]
fn esmr_5_with_three_phases() {
    within(
        &fixture("esmr50.p1"),
        [
            ("frame", 14_900),
            ("receive", 35_390),
            ("first", 36_900),
            ("receive-stack", 453),
            ("publish", 29_650),
            ("publish-stack", 649),
            ("verdict", 616),
            ("line", 11_630),
        ],
    );
}

#[test]
fn lithuania_with_97_values() {
    within(
        &fixture("lt.p1"),
        [
            ("frame", 40_460),
            ("receive", 173_720),
            ("first", 177_770),
            ("receive-stack", 515),
            ("publish", 59_410),
            ("publish-stack", 649),
            ("verdict", 622),
            ("line", 35_650),
        ],
    );
}

#[test]
fn hungary_with_its_long_message() {
    within(
        &fixture("hu.p1"),
        [
            ("frame", 33_900),
            ("receive", 70_300),
            ("first", 72_090),
            ("receive-stack", 425),
            ("publish", 40_850),
            ("publish-stack", 649),
            ("verdict", 616),
            ("line", 16_450),
        ],
    );
}
