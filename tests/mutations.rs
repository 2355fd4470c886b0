//! Damaged telegrams, as a bad line and worse would damage them: one is accepted only with the right check, or without one by the
//! rule for meters that print none, and then holds what the second reader reads.
//!
//! `cargo xtask mutate --count 1000000` makes more of them than `./test` does. Each has a number that it is made of, with the
//! telegrams there are: those of the corpus count, and a finding's number means the same only with the same ones.

mod support;

use std::env;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread;

use metertrekker::soc::host::decode::decode;
use support::second_reader::{
    Decoded, Table, Telegram, crc_of, telegrams_with_crc, with_right_check,
};

/// What `./test` makes: some seconds' worth.
const FEW: u64 = 4_000;

static TABLE: LazyLock<Table> = LazyLock::new(Table::of_this_project);

/// The project's telegrams, whole and broken, and where the environment names it the corpus'.
static TELEGRAMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut folders = vec![fixtures.join("meters"), fixtures.join("broken")];
    folders.extend(env::var_os("P1_CORPUS").map(PathBuf::from));
    let mut telegrams = vec![];
    for folder in folders {
        let entries = fs::read_dir(&folder).expect("a folder of telegrams");
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "p1"));
        paths.sort();
        telegrams.extend(paths.iter().map(|path| fs::read(path).unwrap()));
    }
    assert!(telegrams.len() > 100);
    telegrams
});

/// SplitMix64: the same numbers from the same seed, everywhere and always.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `count`.
    fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize, longest: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..length.min(start + 1 + self.below(longest))
    }

    fn telegram(&mut self) -> &'static [u8] {
        &TELEGRAMS[self.below(TELEGRAMS.len())]
    }
}

/// What stands in telegrams and means something in the wrong place.
const TOKENS: [&[u8]; 18] = [
    b"/",
    b"!",
    b"\r\n",
    b"\n",
    b"\r",
    b"(",
    b")",
    b")(",
    b"*",
    b".",
    b":",
    b"-",
    b" ",
    b"0",
    b"\xFF",
    b"\xDB\x08",
    b"()",
    b"*kWh)",
];

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    match dice.below(12) {
        0 => {
            let (at, bit) = (dice.below(bytes.len()), dice.below(8));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        1 => {
            // A character of its own kind: a digit for a digit reaches further than noise.
            let at = dice.below(bytes.len());
            let new = match bytes.get(at) {
                Some(b'0'..=b'9') => b'0' + dice.below(10) as u8,
                Some(b'A'..=b'Z' | b'a'..=b'z') => b"AFHSWVkmMGhrz3"[dice.below(14)],
                _ => dice.next() as u8,
            };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = new;
            }
        }
        2 => drop(bytes.drain(dice.range(bytes.len(), 1))),
        3 => drop(bytes.drain(dice.range(bytes.len(), 40))),
        4 => {
            let (at, count) = (dice.below(bytes.len() + 1), 1 + dice.below(4));
            let new: Vec<u8> = (0..count).map(|_| dice.next() as u8).collect();
            bytes.splice(at..at, new);
        }
        5 => {
            let at = dice.below(bytes.len() + 1);
            let token = TOKENS[dice.below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
        6 => {
            // Two runs of bytes in each other's place.
            let first = dice.range(bytes.len(), 12);
            let second = dice.range(bytes.len(), 12);
            let length = first.len().min(second.len());
            for n in 0..length {
                bytes.swap(first.start + n, second.start + n);
            }
        }
        7 => {
            // The front of one telegram and the back of another.
            let other = dice.telegram();
            bytes.truncate(dice.below(bytes.len() + 1));
            bytes.extend(&other[dice.below(other.len())..]);
        }
        8 => bytes.truncate(dice.below(bytes.len() + 1)),
        9 => {
            // Another telegram's line, whole.
            let other = dice.telegram();
            let line = some_line(other, dice);
            let at = some_line(bytes, dice).start;
            bytes.splice(at..at, other[line].iter().copied());
        }
        10 => {
            let line = some_line(bytes, dice);
            let again = bytes[line.clone()].to_vec();
            bytes.splice(line.end..line.end, again);
        }
        _ => drop(bytes.drain(some_line(bytes, dice))),
    }
}

/// A line with its end.
fn some_line(bytes: &[u8], dice: &mut Dice) -> Range<usize> {
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let n = dice.below(lines.len());
    let start = lines.iter().take(n).map(|line| line.len()).sum();
    start..start + lines.get(n).map_or(0, |line| line.len())
}

/// The damaged telegram of this number.
fn damaged(number: u64) -> Vec<u8> {
    let mut dice = Dice(number);
    dice.0 = dice.next();
    let mut bytes = dice.telegram().to_vec();
    for _ in 0..=dice.below(4) {
        mutate(&mut bytes, &mut dice);
    }
    match dice.below(8) {
        // As it is.
        0..=1 => bytes,
        // As meters without a check send it.
        2 => match bytes.iter().rposition(|byte| *byte == b'!') {
            Some(mark) => [&bytes[..mark], b"!\r\n"].concat(),
            None => bytes,
        },
        // As if the meter had meant it.
        _ => with_right_check(&bytes).unwrap_or(bytes),
    }
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    by_check: u64,
    without_check: u64,
    refused: u64,
}

impl Count {
    fn and(self, other: Self) -> Self {
        Self {
            by_check: self.by_check + other.by_check,
            without_check: self.without_check + other.without_check,
            refused: self.refused + other.refused,
        }
    }
}

/// What came of a stream, or what should not have come of it.
fn judge(stream: &[u8]) -> Result<Count, String> {
    let mut output = vec![];
    decode(stream, &mut output, None).expect("memory can be read and written");
    let output = String::from_utf8(output).map_err(|_| "no UTF-8")?;
    let mut count = Count::default();
    // The line end behind the last check may be missing.
    let ended = [stream, b"\r\n"].concat();
    let mut with_crc = None;
    for line in output.lines() {
        if line.starts_with("{\"error\"") {
            count.refused += 1;
            continue;
        }
        let decoded: Decoded = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let candidates = match decoded.crc.as_str() {
            "ok" => {
                count.by_check += 1;
                with_crc
                    .get_or_insert_with(|| telegrams_with_crc(&ended))
                    .clone()
            }
            "none" => {
                count.without_check += 1;
                bare(&ended)
                    .into_iter()
                    .filter(|t| needs_no_check(t))
                    .collect()
            }
            other => return Err(format!("proved by {other}")),
        };
        let mut problem = "nothing that is to be believed".to_owned();
        let is_read_alike = candidates.iter().any(|candidate| {
            let read = Telegram::read(candidate, &TABLE).compare(&decoded, &TABLE);
            read.map_err(|why| problem = why).is_ok()
        });
        if !is_read_alike {
            return Err(problem);
        }
    }
    Ok(count)
}

/// Every run of bytes from a `/` to a `!` with nothing behind it in its line.
fn bare(stream: &[u8]) -> Vec<&[u8]> {
    let places = |wanted: u8| (0..stream.len()).filter(move |&at| stream[at] == wanted);
    let is_bare = |mark: &usize| {
        let mut line = stream[mark + 1..].split(|byte| *byte == b'\n');
        line.next().unwrap_or_default().trim_ascii_end().is_empty()
    };
    let ends: Vec<usize> = places(b'!').filter(is_bare).collect();
    let to_each_end = |start| ends.iter().filter(move |end| **end > start);
    places(b'/')
        .flat_map(|start| to_each_end(start).map(move |end| &stream[start..=*end]))
        .collect()
}

/// A meter of DSMR 3.0 or older: values, balanced brackets, and neither version nor clock.
fn needs_no_check(telegram: &[u8]) -> bool {
    let read = Telegram::read(telegram, &TABLE);
    let is_dated = |id: &str| ["1-3:0.2.8", "0-0:96.1.4", "0-0:1.0.0"].contains(&id);
    let count = |text: &[u8], wanted| text.iter().filter(|byte| **byte == wanted).count();
    let has_lost_a_bracket = read
        .lines
        .iter()
        .any(|line| count(&line.text, b'(') != count(&line.text, b')'));
    let mut values = read
        .lines
        .iter()
        .filter_map(|line| line.outcome.as_ref().ok());
    let has_values = values.clone().next().is_some();
    has_values && !has_lost_a_bracket && !values.any(|value| is_dated(&value.obis))
}

/// Judges the damaged telegrams of these numbers.
fn judge_all(numbers: Range<u64>) -> Count {
    numbers.fold(Count::default(), |count, number| {
        let stream = damaged(number);
        match judge(&stream) {
            Ok(found) => count.and(found),
            Err(why) => panic!(
                "number {number}: {why}\n{}\nto see it again: cargo xtask mutate --from {number} --count 1",
                stream.escape_ascii()
            ),
        }
    })
}

fn from_environment(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().expect("a number in the environment"))
}

#[test]
fn a_damaged_telegram_is_refused_or_read_as_it_stands() {
    let first = from_environment("MUTATIONS_FROM").unwrap_or(0);
    let count = from_environment("MUTATIONS").unwrap_or(FEW);
    let workers = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let end = first + count;
    let counted = thread::scope(|scope| {
        let part = |n| first + count * n / workers;
        let work = |n| scope.spawn(move || judge_all(part(n)..part(n + 1).min(end)));
        let running: Vec<_> = (0..workers).map(work).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Count>| match worker.join() {
            Ok(count) => count,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        running
            .into_iter()
            .map(join)
            .fold(Count::default(), Count::and)
    });
    println!("{count} damaged telegrams: {counted:?}");
    // Else much of this would be about nothing.
    if count >= FEW {
        assert!(counted.by_check > count / 3, "{counted:?}");
        assert!(counted.without_check > count / 200, "{counted:?}");
        assert!(counted.refused > count / 10, "{counted:?}");
    }
}

#[test]
fn a_damaged_telegram_is_made_of_its_number_alone() {
    assert_eq!(Dice(0).next(), 0xE220_A839_7B1D_CDAF, "SplitMix64 from 0");
    for number in 0..200 {
        assert_eq!(damaged(number), damaged(number));
        assert_ne!(damaged(number), damaged(number + 1));
    }
}

#[test]
fn without_a_check_no_bracket_may_be_lost_within_a_group() {
    let whole = "/ISk5\\2MT383\r\n\r\n1-0:1.8.1(07055.620*kWh)\r\n\
        0-1:24.3.0(260115180000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(05229.633)\r\n\
        0-0:96.1.1(4B38)\r\n0-0:96.14.0(0002)\r\n!\r\n";
    let accepted = |text: &str| judge(text.as_bytes()).map(|count| count.without_check);
    assert_eq!(accepted(whole), Ok(1));
    for (found, damaged) in [
        ("24.2.1)(", "24.2.1("),
        ("1)(0-1:24.2.1)(m3", "1)(0-1:24.2.1(m3"),
        ("(4B38)\r\n0-0:96.14.0(0002)", "(4B38(0002)"),
    ] {
        assert!(whole.contains(found));
        assert_eq!(accepted(&whole.replace(found, damaged)), Ok(0), "{damaged}");
    }
}

#[test]
fn the_second_reader_sees_what_it_once_did_not() {
    let counted = |stream: &[u8]| judge(stream).map(|count| count.by_check);
    let telegram = |text: &[u8], behind: &str| {
        let check = format!("{:04X}{behind}", crc_of(text));
        [text, check.as_bytes()].concat()
    };
    // Blanks behind the check.
    let short = b"/ISK5\\2M550T\r\n\r\n1-0:1.7.0(01.234*kW)\r\n!";
    assert_eq!(counted(&telegram(short, "\t\n")), Ok(1));
    // A header without room.
    let header = [&b"/ISK5\\"[..], &[b'2'; 1600], &short[12..]].concat();
    assert_eq!(counted(&telegram(&header, "\r\n")), Ok(1));
    // A line that comes again, and has no room then.
    let message = format!("0-0:96.13.0({})\r\n", "54".repeat(1000));
    let body = format!("{message}1-0:2.7.0(00.100*kW)\r\n{message}");
    let twice = [&short[..short.len() - 1], body.as_bytes(), b"!"].concat();
    assert_eq!(counted(&telegram(&twice, "\r\n")), Ok(1));
}
