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

/// A row of the page.
struct Row {
    quirk: String,
    file: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/quirks.md")).expect("the page");
    let mut file = "";
    let mut rows = Vec::new();
    for line in page.lines() {
        let quoted: Vec<&str> = line.split('`').collect();
        if let [_, of_section, "."] = quoted[..] {
            file = of_section;
        }
        let Some(row) = line.strip_suffix("` |") else {
            continue;
        };
        let (quirk, test) = row.rsplit_once(" | `").expect("two columns");
        let (file, test) = test.rsplit_once("::").unwrap_or((file, test));
        rows.push(Row {
            quirk: quirk.to_owned(),
            file: file.to_owned(),
            test: test.to_owned(),
        });
    }
    assert!(rows.len() > 100, "{}", rows.len());
    rows
}

#[test]
fn every_test_that_the_page_names_is_there() {
    for Row { quirk, file, test } in rows() {
        assert!(tests_of(&file).contains(&test), "{quirk}: {file}::{test}");
    }
}

#[test]
fn the_page_names_every_test_of_a_quirk() {
    let rows = rows();
    for file in ["choice", "frame", "lists", "mbus", "values"] {
        let file = format!("tests/quirks/{file}.rs");
        for test in tests_of(&file) {
            let is_named = rows.iter().any(|row| row.file == file && row.test == test);
            assert!(is_named, "docs/quirks.md does not name {file}::{test}");
        }
    }
}
