//! docs/quirks.md against the tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all tests in a file.
fn tests_of(file: &str) -> BTreeSet<String> {
    let path = root().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let found = lines.windows(2).filter(|pair| pair[0] == "#[test]");
    let names = found.filter_map(|pair| pair[1].strip_prefix("fn ")?.split('(').next());
    names.map(str::to_owned).collect()
}

/// Each row's quirk, file and test.
fn rows() -> Vec<(String, String, String)> {
    let page = fs::read_to_string(root().join("docs/quirks.md")).unwrap();
    let mut file = String::new();
    let mut rows = Vec::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, quirk, test, _] = cells[..] else {
            continue;
        };
        if quirk == "quirk" || quirk.starts_with("---") {
            continue;
        }
        let named: Vec<&str> = test.split('`').collect();
        let [_, test, ..] = named[..] else {
            panic!("no test in {line}");
        };
        let (place, test) = match test.rsplit_once("::") {
            Some((place, test)) => (place.to_owned(), test),
            None => (file.clone(), test),
        };
        file.clone_from(&place);
        rows.push((quirk.to_owned(), place, test.to_owned()));
    }
    assert!(rows.len() > 50, "{}", rows.len());
    rows
}

#[test]
fn every_test_that_the_page_names_is_there() {
    for (quirk, file, test) in rows() {
        assert!(tests_of(&file).contains(&test), "{quirk}: {file}::{test}");
    }
}

#[test]
fn the_page_names_every_test_of_a_quirk() {
    let named: BTreeSet<(String, String)> = rows().into_iter().map(|(_, f, t)| (f, t)).collect();
    for file in ["choice", "frame", "lists", "mbus", "values"] {
        let file = format!("tests/quirks/{file}.rs");
        for test in tests_of(&file) {
            let missing = !named.contains(&(file.clone(), test.clone()));
            assert!(!missing, "docs/quirks.md does not name {file}::{test}");
        }
    }
}
