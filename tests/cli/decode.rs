//! `decode` in pipes.

use std::fs;
use std::process::Command;

use crate::support::firmware::{self, run_with, simulate, text};

#[test]
fn every_telegram_is_an_object_on_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.p1");
    simulate(&file, &["--count", "30", "--start", "2026-01-15T17:31:07Z"]);
    let objects = firmware::decode(&file);
    assert_eq!(objects.len(), 30);
    for (index, object) in objects.iter().enumerate() {
        let second = 7 + index;
        assert_eq!(
            object["timestamp"],
            format!("2026-01-15T17:31:{second:02}Z")
        );
        assert_eq!(object["crc"], "ok");
        assert!(
            object["influx"][0]
                .as_str()
                .unwrap()
                .starts_with("electricity,")
        );
    }
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.p1");
    simulate(&file, &["--count", "1"]);
    let from_pipe = run_with(&fs::read(&file).unwrap(), &["decode", "-"]);
    assert_eq!(from_pipe.code, Some(0), "{from_pipe:?}");
    assert_eq!(from_pipe.stderr, "");
    let from_file = firmware::succeed(&["decode", text(&file)]);
    assert_eq!(from_pipe.stdout, from_file.stdout);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.p1");
    // Far more than a pipe holds.
    simulate(&file, &["--count", "300"]);
    let output = Command::new("sh")
        .args([
            "-c",
            r#"{ "$0" decode "$1"; echo "ended with $?" >&2; } | head -1"#,
        ])
        .args([env!("CARGO_BIN_EXE_metertrekker"), text(&file)])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "ended with 0\n");
}
