//! What is read from the project's own fixtures.
//!
//! Each file of `fixtures/meters` has a golden beside it: what `metertrekker decode` prints, a value
//! on a line. `UPDATE_GOLDEN=1 cargo test --test fixtures` writes them anew; review them as a diff.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use metertrekker::p1::cipher::{Keys, Secret};
use metertrekker::soc::host::decode::{Summary, decode};
use metertrekker::soc::host::simulator::calendar::parse_utc;
use metertrekker::soc::host::simulator::{Kind, Simulator};
use serde::Deserialize;
use serde_json::value::RawValue;
use support::second_reader::{Decoded, Table, Telegram, telegrams_with_crc, telegrams_without_crc};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// The files of a folder with this ending, by name.
fn files(name: &str, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == ending) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(path).unwrap());
        }
    }
    assert!(!files.is_empty(), "no .{ending} in fixtures/{name}");
    files
}

fn decoded(bytes: &[u8]) -> (Summary, Vec<String>) {
    let mut output = vec![];
    let summary = decode(bytes, &mut output, None).unwrap();
    let lines = String::from_utf8(output).unwrap();
    (summary, lines.lines().map(str::to_owned).collect())
}

/// Why each refused telegram was refused.
fn refusals(lines: &[String]) -> Vec<String> {
    let refused = lines.iter().filter(|line| line.starts_with("{\"error\""));
    refused
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["error"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn accepted(lines: Vec<String>) -> Vec<String> {
    let mut lines = lines;
    lines.retain(|line| !line.starts_with("{\"error\""));
    lines
}

/// Fails with all problems at once.
fn assert_none(problems: &[String]) {
    let all = problems.join("\n");
    assert!(problems.is_empty(), "{} problems:\n{all}", problems.len());
}

/// A telegram as it is printed, its values as they stand there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    header: Box<RawValue>,
    version: Box<RawValue>,
    crc: Box<RawValue>,
    timestamp: Box<RawValue>,
    values: Vec<Box<RawValue>>,
    skipped: Vec<Box<RawValue>>,
    influx: Vec<Box<RawValue>>,
}

impl Printed {
    /// The same JSON over several lines, for people.
    fn pretty(&self) -> String {
        let one = |name: &str, value: &RawValue| format!("  \"{name}\": {value}");
        let list = |name: &str, values: &[Box<RawValue>]| {
            let lines: Vec<String> = values.iter().map(|value| format!("    {value}")).collect();
            match lines.is_empty() {
                true => format!("  \"{name}\": []"),
                false => format!("  \"{name}\": [\n{}\n  ]", lines.join(",\n")),
            }
        };
        let parts = [
            one("header", &self.header),
            one("version", &self.version),
            one("crc", &self.crc),
            one("timestamp", &self.timestamp),
            list("values", &self.values),
            list("skipped", &self.skipped),
            list("influx", &self.influx),
        ];
        format!("{{\n{}\n}}\n", parts.join(",\n"))
    }
}

#[test]
fn each_meter_reads_as_its_golden() {
    let update = support::golden::is_updated("UPDATE_GOLDEN");
    let mut problems = vec![];
    for (name, bytes) in files("meters", "p1") {
        let (_, lines) = decoded(&bytes);
        let printed: Printed = match serde_json::from_str(&lines[0]) {
            Ok(printed) if lines.len() == 1 => printed,
            _ => {
                problems.push(format!("{name} is not one accepted telegram: {lines:?}"));
                continue;
            }
        };
        let path = folder("meters").join(name.replace(".p1", ".json"));
        let text = printed.pretty();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            parsed,
            serde_json::from_str::<serde_json::Value>(&lines[0]).unwrap()
        );
        if update {
            fs::write(&path, text).unwrap();
            continue;
        }
        let golden = fs::read_to_string(&path).unwrap_or_default();
        let differs = text
            .lines()
            .zip(golden.lines())
            .find(|(new, old)| new != old);
        if let Some((new, old)) = differs {
            problems.push(format!("{name}: now  {new}\n{name}: then {old}"));
        } else if text != golden {
            problems.push(format!("{name}: {} is missing or cut", path.display()));
        }
    }
    assert_none(&problems);
}

#[test]
fn each_golden_has_its_meter() {
    let meters = files("meters", "p1");
    for golden in files("meters", "json").keys() {
        let meter = golden.replace(".json", ".p1");
        assert!(meters.contains_key(&meter), "{golden} has no {meter}");
    }
}

#[test]
fn each_meter_reads_as_the_second_reader_reads_it() {
    let table = Table::of_this_project();
    let mut problems = vec![];
    for (name, bytes) in files("meters", "p1") {
        let (_, lines) = decoded(&bytes);
        let read: Decoded = serde_json::from_str(&lines[0]).unwrap();
        let telegram = Telegram::read(&bytes, &table);
        if let Err(problem) = telegram.compare(&read, &table) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    assert_none(&problems);
}

#[test]
fn each_broken_telegram_is_refused_for_its_reason() {
    let broken = files("broken", "p1");
    let reasons = fs::read_to_string(folder("broken").join("reasons.tsv")).unwrap();
    let rows: BTreeMap<&str, &str> = reasons
        .lines()
        .skip(1)
        .map(|row| row.split_once('\t').expect("file and reason"))
        .collect();
    assert!(rows.keys().eq(broken.keys()), "reasons.tsv lists each file");
    for (name, bytes) in &broken {
        let (summary, lines) = decoded(bytes);
        assert_eq!(refusals(&lines), [rows[name.as_str()]], "{name}");
        assert_eq!(summary.accepted, 0, "{name}");
    }
}

/// The key of all simulated meters.
const KEY: &str = "73696d756c61746564206d6574657221";

fn opened(bytes: &[u8], key: &str, authentication: Option<&str>) -> (Summary, Vec<String>) {
    let keys = Keys::of(Secret::parse(key), authentication.and_then(Secret::parse));
    let mut output = vec![];
    let summary = decode(bytes, &mut output, keys).unwrap();
    let lines = String::from_utf8(output).unwrap();
    (summary, lines.lines().map(str::to_owned).collect())
}

/// What the simulated meter of a fixture sends when its port is not encrypted.
fn unsealed(kind: Kind, seed: u64, count: u32) -> Vec<Vec<u8>> {
    let start = parse_utc("2026-01-15T17:31:07Z").unwrap();
    let mut meter = Simulator::new(kind, seed, start);
    let period = meter.kind().period();
    (0..i64::from(count))
        .map(|n| meter.telegram_at(start + n * period))
        .collect()
}

#[test]
fn encrypted_frames_read_as_their_telegrams() {
    let mut frames = files("encrypted", "bin");
    let mut frame = |name: &str| frames.remove(name).unwrap();
    let lu = frame("lu.bin");
    let plain = decoded(&unsealed(Kind::Lu, 600, 1)[0]).1;
    assert_eq!(opened(&lu, KEY, None).1, plain);
    let given = "00112233445566778899aabbccddeeff";
    assert_eq!(opened(&lu, KEY, Some(given)).1, plain);

    let stale = opened(&frame("lu_stale.bin"), KEY, None).1;
    let plain = decoded(&unsealed(Kind::Lu, 601, 1)[0]).1;
    let proved_by = |line: &str, proof| line.replace("\"crc\":\"ok\"", proof);
    assert_eq!(stale, [proved_by(&plain[0], "\"crc\":\"tag\"")]);

    let at = frame("at.bin");
    let plain = decoded(&unsealed(Kind::At, 602, 1)[0]).1;
    assert_eq!(opened(&at, KEY, Some(&"a5".repeat(16))).1, plain);
    assert_eq!(opened(&at, KEY, None).1, plain, "its CRC is as good");

    let (summary, lines) = opened(&frame("lu_line.bin"), KEY, None);
    let mut plain = unsealed(Kind::Lu, 603, 6);
    plain.remove(2);
    let alone: Vec<String> = plain.iter().flat_map(|bytes| decoded(bytes).1).collect();
    assert_eq!(refusals(&lines), ["truncated"]);
    assert_eq!(accepted(lines), alone);
    assert!(summary.noise > 0);

    let (_, lines) = opened(&frame("lu_for_another.bin"), KEY, None);
    let mut plain = unsealed(Kind::Lu, 604, 3);
    plain.remove(1);
    let alone: Vec<String> = plain.iter().flat_map(|bytes| decoded(bytes).1).collect();
    assert_eq!(refusals(&lines), ["key"]);
    assert_eq!(accepted(lines), alone);
    assert!(frames.is_empty(), "{:?}", frames.keys());
}

#[test]
fn encrypted_frames_say_what_is_missing() {
    for (name, bytes) in files("encrypted", "bin") {
        let (summary, lines) = decoded(&bytes);
        assert_eq!(summary.accepted, 0, "{name}");
        let refusals = refusals(&lines);
        assert!(!refusals.is_empty(), "{name}");
        assert!(
            refusals.iter().all(|reason| reason == "encrypted"),
            "{name}"
        );
        let (summary, lines) = opened(&bytes, &"00".repeat(16), None);
        assert_eq!(summary.accepted, 0, "{name}");
        let wrong = refusals_of(&lines, "key");
        assert_eq!(wrong, refusals.len(), "{name}");
    }
}

fn refusals_of(lines: &[String], reason: &str) -> usize {
    let refusals = refusals(lines);
    refusals.iter().filter(|found| *found == reason).count()
}

/// What a search finds in a stream, without any framing: DSMR 2.2 has no check to search for.
fn found(name: &str, stream: &[u8]) -> Vec<Vec<u8>> {
    let found = if name.starts_with("dsmr22") {
        telegrams_without_crc(stream)
    } else {
        telegrams_with_crc(stream)
    };
    found.into_iter().map(<[u8]>::to_vec).collect()
}

#[test]
fn each_stream_yields_the_telegrams_in_it_and_no_other() {
    for (name, stream) in files("streams", "raw") {
        let (_, lines) = decoded(&stream);
        let expected: Vec<String> = found(&name, &stream)
            .iter()
            .flat_map(|telegram| accepted(decoded(telegram).1))
            .collect();
        let accepted = accepted(lines);
        assert_eq!(accepted.len(), expected.len(), "{name}");
        for (found, alone) in accepted.iter().zip(&expected) {
            assert_eq!(found, alone, "{name}");
        }
    }
}

/// What `fixtures/SOURCES.md` says of each stream: how many telegrams come through, and why the
/// others do not.
const STREAMS: &[(&str, u32, &[&str])] = &[
    ("dsmr22_cut.raw", 2, &["truncated"]),
    ("dsmr22_parity.raw", 0, &[]),
    ("dsmr22_starts_in_the_middle.raw", 2, &[]),
    ("dsmr42_plain.raw", 6, &[]),
    ("esmr50_bad_crc.raw", 2, &["crc"]),
    ("esmr50_breaks_between.raw", 4, &[]),
    ("esmr50_cut.raw", 2, &["truncated"]),
    ("esmr50_doubled.raw", 4, &[]),
    ("esmr50_dst_change.raw", 4, &[]),
    ("esmr50_garbled.raw", 2, &["crc"]),
    ("esmr50_gas_step.raw", 4, &[]),
    ("esmr50_long_line.raw", 2, &["too_long"]),
    ("esmr50_lost_clock.raw", 3, &[]),
    ("esmr50_message.raw", 4, &[]),
    ("esmr50_missing.raw", 3, &[]),
    ("esmr50_no_crc.raw", 2, &["no_crc"]),
    ("esmr50_noise_between.raw", 4, &[]),
    ("esmr50_plain.raw", 10, &[]),
    ("esmr50_restart.raw", 3, &["truncated"]),
    ("esmr50_starts_in_the_middle.raw", 2, &[]),
    ("esmr50_tariff_change.raw", 4, &[]),
    ("esmr50_zero_totals.raw", 3, &[]),
    ("hu_plain.raw", 3, &[]),
    ("se_dst_change.raw", 4, &[]),
];

#[test]
fn each_stream_loses_what_its_faults_cost_and_no_more() {
    let mut streams = files("streams", "raw");
    for (name, count, reasons) in STREAMS {
        let stream = streams.remove(*name).unwrap_or_else(|| panic!("no {name}"));
        let (summary, lines) = decoded(&stream);
        assert_eq!(refusals(&lines), *reasons, "{name}");
        assert_eq!(summary.accepted, *count, "{name}");
    }
    // A line as bad as this one is counted by a search.
    let left: Vec<String> = streams.into_keys().collect();
    assert_eq!(left, ["esmr50_everything.raw"]);
}

#[test]
fn a_7e1_line_that_was_read_as_8n1_is_noise_until_bit_7_is_dropped() {
    let mut stream = files("streams", "raw").remove("dsmr22_parity.raw").unwrap();
    let (summary, _) = decoded(&stream);
    assert_eq!((summary.accepted, summary.refused), (0, 0));
    for byte in &mut stream {
        *byte &= 0x7F;
    }
    let (summary, _) = decoded(&stream);
    assert_eq!((summary.accepted, summary.refused), (2, 0));
}
