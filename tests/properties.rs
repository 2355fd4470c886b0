//! What holds for any bytes, any cutting and any noise.

mod support;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use embassy_time::Duration;
use metertrekker::ntp;
use metertrekker::p1::timestamp::{Letter, Stamp, local, tst};
use metertrekker::p1::value::{FORMATTED_MAX, quantity};
use metertrekker::reading::Reading;
use metertrekker::receiver::{CrcPolicy, Receiver};
use metertrekker::smartmeter::time::Moment;
use metertrekker::smartmeter::zone::Zone;
use metertrekker::soc::host::decode::decode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::second_reader::{Decoded, Table, Telegram, crc_of};

/// Telegrams of all kinds, small enough for many runs.
static TELEGRAMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut telegrams = vec![];
    for folder in ["fixtures/meters", "fixtures/broken"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "p1"))
            .collect();
        paths.sort();
        telegrams.extend(paths.iter().map(|path| fs::read(path).unwrap()));
    }
    assert!(telegrams.len() > 100);
    telegrams
});

static TABLE: LazyLock<Table> = LazyLock::new(Table::of_this_project);

/// Everything that comes of bytes in these pieces, as text.
fn outcomes<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut staged));
    let mut outcomes = vec![];
    let mut skipped = vec![];
    let mut note =
        |line: &[u8], reason| skipped.push(format!("{} {reason:?}", line.escape_ascii()));
    for mut piece in pieces {
        while let Some(outcome) = receiver.next(&mut piece, &mut note) {
            outcomes.push(seen(outcome.is_ok(), format!("{outcome:?}"), &mut receiver));
        }
        assert!(piece.is_empty(), "bytes are left");
    }
    while let Some(outcome) = receiver.silence(&mut note) {
        outcomes.push(seen(outcome.is_ok(), format!("{outcome:?}"), &mut receiver));
    }
    outcomes.push(format!("{} bytes of noise", receiver.noise()));
    outcomes.extend(skipped);
    outcomes
}

fn seen(accepted: bool, mut outcome: String, receiver: &mut Receiver<'_>) -> String {
    if accepted {
        let reading = receiver.reading();
        outcome += &format!(" {} {:?}", reading.header().escape_ascii(), reading.clock());
        for value in reading.values() {
            outcome += &format!("\n{value:?}");
        }
    }
    outcome
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => any::<u8>(),
        1 => select(b"/!\r\n()".to_vec()),
        1 => select(vec![0x00, 0xFF]),
    ];
    vec(byte, 0..60)
}

fn a_telegram() -> impl Strategy<Value = Vec<u8>> {
    any::<Index>().prop_map(|index| index.get(&TELEGRAMS[..]).clone())
}

fn an_accepted_telegram() -> impl Strategy<Value = Vec<u8>> {
    let accepted = |telegram: &Vec<u8>| outcomes([&telegram[..]])[0].starts_with("Ok");
    a_telegram().prop_filter("accepted", accepted)
}

/// Telegrams, whole or not, with noise between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => a_telegram(),
        1 => (a_telegram(), any::<Index>()).prop_map(|(telegram, at)| {
            let at = at.index(telegram.len());
            telegram[..at].to_vec()
        }),
        1 => (a_telegram(), any::<Index>()).prop_map(|(telegram, at)| {
            let at = at.index(telegram.len());
            telegram[at..].to_vec()
        }),
        2 => noise(),
    ];
    vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

/// One thing that happens to bytes on a bad line.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
}

impl Damage {
    fn on(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip(at, bits) => *at.get_mut(bytes) ^= bits,
            Self::Cut(at, count) => {
                let at = at.index(bytes.len());
                let end = bytes.len().min(at + count);
                bytes.drain(at..end);
            }
            Self::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..4),
        select(vec![
            b"/".to_vec(),
            b"!".to_vec(),
            b"\r\n".to_vec(),
            b"(".to_vec()
        ]),
    ];
    prop_oneof![
        (any::<Index>(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        (any::<Index>(), 1usize..40).prop_map(|(at, count)| Damage::Cut(at, count)),
        (any::<Index>(), piece).prop_map(|(at, new)| Damage::Insert(at, new)),
    ]
}

/// The check that is printed behind a telegram's last `!`, when it is the right one.
fn has_right_check(telegram: &[u8]) -> bool {
    let mark = telegram.iter().rposition(|byte| *byte == b'!').unwrap();
    let printed = std::str::from_utf8(&telegram[mark + 1..])
        .unwrap()
        .trim_end();
    u16::from_str_radix(printed, 16) == Ok(crc_of(&telegram[..=mark]))
}

/// What stands in a stream from each `/` to each end line behind it.
fn candidates(stream: &[u8]) -> Vec<&[u8]> {
    let starts = (0..stream.len()).filter(|&at| stream[at] == b'/');
    let mut found = vec![];
    for start in starts {
        for mark in (start..stream.len()).filter(|&at| stream[at] == b'!') {
            let end = stream[mark..].iter().position(|byte| *byte == b'\n');
            let end = end.map_or(stream.len(), |length| mark + length);
            found.push(stream[start..end].trim_ascii_end());
        }
    }
    found
}

proptest! {

    #[test]
    fn any_cutting_of_any_stream_gives_the_same(
        stream in stream(),
        cuts in vec(any::<Index>(), 0..40),
        single in any::<bool>(),
    ) {
        let whole = outcomes([&stream[..]]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        if single {
            cuts = (0..=stream.len()).collect();
        }
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]);
        prop_assert_eq!(outcomes(pieces), whole);
    }

    #[test]
    fn a_whole_telegram_is_accepted_behind_any_noise_that_ends_its_line(
        noise in noise(),
        telegram in an_accepted_telegram(),
    ) {
        let alone = outcomes([&telegram[..]]);
        let stream = [&noise[..], b"\r\n", &telegram].concat();
        let behind = outcomes([&stream[..]]);
        prop_assert!(behind.contains(&alone[0]), "{behind:#?}");
    }

    #[test]
    fn a_damaged_telegram_is_accepted_only_when_its_check_is_right(
        telegram in a_telegram(),
        damages in vec(damage(), 1..3),
    ) {
        let mut stream = telegram;
        for damage in &damages {
            damage.on(&mut stream);
        }
        let mut output = vec![];
        decode(&stream[..], &mut output, None).unwrap();
        for line in std::str::from_utf8(&output).unwrap().lines() {
            if line.starts_with("{\"error\"") {
                continue;
            }
            let decoded: Decoded = serde_json::from_str(line).unwrap();
            let agreed = candidates(&stream).into_iter().any(|candidate| {
                (decoded.crc == "none" || has_right_check(candidate))
                    && Telegram::read(candidate, &TABLE).compare(&decoded, &TABLE).is_ok()
            });
            prop_assert!(agreed, "nothing in the stream reads as {line}");
        }
    }

    #[test]
    fn a_number_is_written_as_it_was_read(
        whole in "[0-9]{1,9}",
        decimals in "[0-9]{0,9}",
        negative in any::<bool>(),
        unit in select(vec!["", "*kWh", "*m3", "V", "*W "]),
    ) {
        let point = if decimals.is_empty() { "" } else { "." };
        let zero = !format!("{whole}{decimals}").contains(|digit| digit != '0');
        let sign = if negative && !zero { "-" } else { "" };
        let number = format!("{sign}{whole}{point}{decimals}");
        let printed = format!("{number}{unit}");
        let read = quantity(printed.as_bytes()).unwrap();
        let mut buffer = [0; FORMATTED_MAX];
        prop_assert_eq!(read.number.format_as_sent(&mut buffer), number.as_bytes());
        let stripped = whole.trim_start_matches('0');
        let stripped = if stripped.is_empty() { "0" } else { stripped };
        let plain = format!("{sign}{stripped}{point}{decimals}");
        prop_assert_eq!(read.number.format(&mut buffer), plain.as_bytes());
        prop_assert_eq!(read.unit, unit.trim_matches(['*', ' ']).as_bytes());
        for shift in [-9i8, -3, 3, 6] {
            let there = read.number.shifted(shift);
            let back = there.and_then(|number| number.shifted(-shift));
            if let Some(back) = back {
                let value = |mantissa: i64, decimals: u8| mantissa as f64 / 10f64.powi(decimals.into());
                let (a, b) = (value(back.mantissa, back.decimals), value(read.number.mantissa, read.number.decimals));
                prop_assert!((a - b).abs() <= f64::EPSILON * b.abs(), "{a} {b}");
            }
        }
    }

    #[test]
    fn any_bytes_are_a_number_or_none(text in vec(any::<u8>(), 0..30)) {
        if let Ok(quantity) = quantity(&text) {
            let mut buffer = [0; FORMATTED_MAX];
            let printed = quantity.number.format(&mut buffer).to_vec();
            let again = digits_of(&printed);
            prop_assert_eq!(again.0, quantity.number.mantissa);
            prop_assert_eq!(again.1, quantity.number.decimals);
        }
    }

    #[test]
    fn a_time_stamp_is_written_as_it_was_read(
        (year, month, day) in (1u32..63, 1u32..13, 1u32..29),
        (hour, minute, second) in (0u32..24, 0u32..60, 0u32..60),
        letter in select(vec!["S", "W", ""]),
    ) {
        let digits = format!("{year:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}");
        let stamp = format!("{digits}{letter}");
        let Some(Stamp::At(utc, found)) = tst(stamp.as_bytes()) else {
            panic!("{stamp} is a time stamp");
        };
        let expected = match letter {
            "S" => Letter::Summer,
            "W" => Letter::Winter,
            _ => Letter::Missing,
        };
        prop_assert_eq!(found, expected);
        let written = local(utc, found).compact();
        // Without a letter, the hour that the clock leaves out in March is no time of any meter.
        let left_out = letter.is_empty() && month == 3 && hour == 2 && day >= 25;
        prop_assert!(left_out || written == digits.as_bytes(), "{stamp}");
    }

    #[test]
    fn any_bytes_are_a_time_stamp_or_none(text in vec(any::<u8>(), 0..20)) {
        if let Some(Stamp::At(utc, letter)) = tst(&text) {
            prop_assert_eq!(&local(utc, letter).compact()[..2], &text[..2]);
        }
    }

    #[test]
    fn a_time_servers_time_is_between_2020_and_2100_whatever_it_sends(
        mut packet in vec(any::<u8>(), 0..60),
        cookie in any::<u64>(),
        microseconds in any::<u32>(),
        is_ours in any::<bool>(),
    ) {
        if is_ours && packet.len() >= 48 {
            packet[..2].copy_from_slice(&[0x24, 1]);
            packet[4..12].fill(0);
            packet[24..32].copy_from_slice(&cookie.to_be_bytes());
        }
        let round_trip = Duration::from_micros(microseconds.into());
        if let Ok(time) = ntp::time(&packet, cookie, round_trip) {
            prop_assert!((1_577_836_800_000..4_102_449_800_000).contains(&time.utc.0));
            prop_assert!(u64::from(time.confidence) <= round_trip.as_millis() / 2 + 1);
        }
    }

    #[test]
    fn any_text_is_a_zone_within_a_day_or_none(
        text in "([A-Z]{3}|<[-+0-9]{3,5}>)[-+]?[0-9]{1,2}(:[0-9]{1,2}){0,2}([A-Z]{3}(-?[0-9]{1,2})?(,(M[0-9]{1,2}\\.[0-9]\\.[0-9]|J?[0-9]{1,3})(/-?[0-9]{1,3})?){2})?",
        utc in 0..4_102_444_800u64,
    ) {
        if let Some(zone) = Zone::parse(&text) {
            let at = utc * 1000;
            let local = zone.local(Moment(at)).0;
            prop_assert!(local.abs_diff(at) <= 26 * 3_600_000, "{text}");
        }
    }
}

fn digits_of(text: &[u8]) -> (i64, u8) {
    let number = quantity(text).unwrap().number;
    (number.mantissa, number.decimals)
}
