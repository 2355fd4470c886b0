//! Real telegrams, from the folder that the variable `P1_CORPUS` names; none of them is part of the
//! project. `MANIFEST.tsv` in that folder has a row for each file, and a row is a trial here: its
//! column `expect` says what must come of the file.
//!
//! | `expect` | what must come |
//! |---|---|
//! | `accept` | one telegram, its check right, read as the second reader reads it |
//! | `accept:no_crc` | one telegram without a check, read as the second reader reads it |
//! | `refuse:REASON` | one telegram, refused for this reason |
//! | `stream` | the telegrams that a search for right checks finds, each read as if it came alone |
//! | `key` | an encrypted frame: nothing may be taken for plain text; opened with its key it is accepted, and read as the second reader reads what another implementation of AES-GCM opens |

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use libtest_mimic::{Arguments, Failed, Trial};
use metertrekker::p1::cipher::{Keys, Secret};
use metertrekker::soc::host::decode::{Summary, decode};
use support::second_reader::{Decoded, Table, Telegram, telegrams_with_crc};

const MANIFEST: &str = "MANIFEST.tsv";

fn main() {
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, trials()).exit();
}

fn trials() -> Vec<Trial> {
    let Some(folder) = env::var_os("P1_CORPUS").map(PathBuf::from) else {
        let under_ci = env::var("CI").is_ok_and(|value| value == "true");
        let why = "P1_CORPUS is not set: it names the folder with the corpus of real telegrams";
        let name = "real telegrams: did not run, because P1_CORPUS is not set";
        return vec![Trial::test(name, || Err(why.into())).with_ignored_flag(!under_ci)];
    };
    match rows(&folder) {
        Ok(rows) => rows.into_iter().map(|row| row.trial(&folder)).collect(),
        Err(why) => vec![Trial::test("the manifest of P1_CORPUS", || Err(why.into()))],
    }
}

/// A file of the corpus and what must come of it.
struct Row {
    file: String,
    expect: String,
}

fn rows(folder: &Path) -> Result<Vec<Row>, String> {
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}; P1_CORPUS names its folder", path.display()))?;
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name| {
        let found = columns.iter().position(|column| *column == name);
        found.ok_or_else(|| format!("{} has no column {name}", path.display()))
    };
    let (file, expect) = (column("file")?, column("expect")?);
    let rows: Vec<Row> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
            Row {
                file: field(file),
                expect: field(expect),
            }
        })
        .collect();
    if rows.is_empty() {
        return Err(format!("{} has no rows", path.display()));
    }
    // What has no row would be left out without a word.
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        let is_listed = rows.iter().any(|row| *row.file == *name);
        let is_telegram = [".p1", ".bin", ".raw"]
            .iter()
            .any(|end| name.to_string_lossy().ends_with(end));
        if is_telegram && !is_listed {
            return Err(format!(
                "{} has no row for {}",
                path.display(),
                name.display()
            ));
        }
    }
    Ok(rows)
}

impl Row {
    fn trial(self, folder: &Path) -> Trial {
        let about = match self.expect.as_str() {
            "key" => "encrypted: refused without its key, read with it",
            expect => expect,
        };
        let name = format!("{} ({about})", self.file);
        let path = folder.join(&self.file);
        Trial::test(name, move || self.check(&path))
    }

    fn check(&self, path: &Path) -> Result<(), Failed> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (summary, lines) = decoded(&bytes)?;
        match self.expect.split_once(':').unwrap_or((&self.expect, "")) {
            ("accept", check @ ("" | "no_crc")) => {
                let expected = if check.is_empty() { "ok" } else { "none" };
                accepted(&bytes, &summary, &lines, expected)
            }
            ("refuse", reason) => refused(&summary, &lines, reason),
            ("stream", "") => stream(&bytes, &lines),
            ("key", "") => {
                refused(&summary, &lines, "encrypted")?;
                let keys = keys_of(&self.file).ok_or("its key is not known to this test")?;
                let text = opened(&bytes, keys.encryption)?;
                let (summary, lines) = decoded_with(&bytes, Some(keys))?;
                // The check inside may be that of another text.
                let is_right = telegrams_with_crc(&text).len() == 1;
                let proof = if is_right { "ok" } else { "tag" };
                accepted(&text, &summary, &lines, proof)
            }
            _ => Err(format!("{MANIFEST} expects {:?}, which has no meaning", self.expect).into()),
        }
    }
}

/// The keys of the corpus's frames, which the manifest tells in words.
fn keys_of(file: &str) -> Option<Keys> {
    let (encryption, authentication) = match file {
        "at_enc_est5_esphome.bin" => ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", None),
        "lu_enc_athom_with_aad.bin" => (
            "0123456789abcdef0123456789abcdef",
            Some("ffeeddccbbaa99887766554433221100"),
        ),
        "lu_enc_athom_without_aad.bin" => ("0123456789abcdef0123456789abcdef", None),
        _ => return None,
    };
    Keys::of(
        Secret::parse(encryption),
        authentication.and_then(Secret::parse),
    )
}

/// What another implementation makes of a frame with two bytes of length, whatever its tag says: sealing a text twice
/// opens it.
fn opened(frame: &[u8], key: Secret) -> Result<Vec<u8>, Failed> {
    let text = frame.get(18..frame.len() - 12).ok_or("a short frame")?;
    let iv = [&frame[2..10], &frame[14..18]].concat();
    let iv: [u8; 12] = iv.try_into().map_err(|_| "no IV")?;
    let cipher = Aes128Gcm::new(&key.0.into());
    let mut opened = cipher.encrypt(&iv.into(), text).map_err(|_| "too long")?;
    opened.truncate(text.len());
    Ok(opened)
}

fn decoded(bytes: &[u8]) -> Result<(Summary, Vec<String>), Failed> {
    decoded_with(bytes, None)
}

fn decoded_with(bytes: &[u8], keys: Option<Keys>) -> Result<(Summary, Vec<String>), Failed> {
    let mut output = vec![];
    let summary = decode(bytes, &mut output, keys)?;
    let output = String::from_utf8(output)?;
    Ok((summary, output.lines().map(str::to_owned).collect()))
}

fn accepted(bytes: &[u8], summary: &Summary, lines: &[String], check: &str) -> Result<(), Failed> {
    if (summary.accepted, summary.refused) != (1, 0) {
        return Err(format!("{summary}: {lines:?}").into());
    }
    let decoded: Decoded = serde_json::from_str(&lines[0])?;
    if decoded.crc != check {
        return Err(format!("the check is said to be {}", decoded.crc).into());
    }
    let start = bytes.iter().position(|byte| *byte == b'/');
    let telegram = &bytes[start.ok_or("there is no telegram in the file")?..];
    let table = Table::of_this_project();
    Telegram::read(telegram, &table).compare(&decoded, &table)?;
    Ok(())
}

fn refused(summary: &Summary, lines: &[String], reason: &str) -> Result<(), Failed> {
    let refusal: serde_json::Value =
        serde_json::from_str(lines.first().map_or("null", String::as_str))?;
    let one = (summary.accepted, summary.refused) == (0, 1);
    if !one || refusal["error"] != reason {
        return Err(format!("{summary}: {lines:?}").into());
    }
    Ok(())
}

fn stream(bytes: &[u8], lines: &[String]) -> Result<(), Failed> {
    let found: Vec<&String> = lines
        .iter()
        .filter(|line| !line.starts_with("{\"error\""))
        .collect();
    let mut expected = vec![];
    for telegram in telegrams_with_crc(bytes) {
        let (summary, alone) = decoded(telegram)?;
        accepted(telegram, &summary, &alone, "ok")?;
        expected.extend(alone);
    }
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{found} telegrams accepted, {expected} have a right check").into());
    }
    // Captures that were edited may hold no telegram with a right check: then none is right.
    let differs = found.iter().zip(&expected).find(|(a, b)| **a != *b);
    match differs {
        Some((found, alone)) => Err(format!("in the stream: {found}\nalone: {alone}").into()),
        None => Ok(()),
    }
}
