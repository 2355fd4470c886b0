use super::*;
use crate::soc::host::simulator::Simulator;
use crate::soc::host::simulator::calendar::parse_utc;
use crc::{CRC_16_ARC, Crc};
use std::collections::BTreeSet;
use std::string::ToString;

fn noon() -> i64 {
    parse_utc("2026-05-15T10:00:00Z").unwrap()
}

fn telegrams(kind: Kind, faults: &str, seed: u64, count: i64) -> Vec<Vec<u8>> {
    let mut meter = Simulator::new(kind, seed, noon())
        .with_faults(faults.parse().unwrap())
        .unwrap();
    (0..count).map(|n| meter.telegram_at(noon() + n)).collect()
}

fn one(kind: Kind, faults: &str) -> Vec<u8> {
    telegrams(kind, faults, 3, 1).remove(0)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn check_is_right(bytes: &[u8]) -> bool {
    let end = bytes.iter().rposition(|byte| *byte == b'!').unwrap();
    let digits = std::str::from_utf8(&bytes[end + 1..]).unwrap().trim_end();
    let value = Crc::<u16>::new(&CRC_16_ARC).checksum(&bytes[..=end]);
    u16::from_str_radix(digits, 16) == Ok(value)
}

/// Faults that bend objects only: the kind to ask, and what must be in its telegram then.
const PRINTED: &[(&str, Kind, &[u8])] = &[
    ("message", Kind::Esmr50, b"0-0:96.13.0(576F726B73206F6E20"),
    ("message", Kind::Se, b"0-0:96.13.0(576F726B73206F6E20"),
    (
        "plain-message",
        Kind::Esmr50,
        b"0-0:96.13.0(Call 000 before digging)\r\n",
    ),
    (
        "text-code",
        Kind::Dsmr42,
        b"0-0:96.13.1(3031203631203831)\r\n",
    ),
    ("raw-ff", Kind::Esmr50, &[0xFF; 1_024]),
    ("plain-id", Kind::Esmr50, b"-sim)\r\n"),
    ("masked-id", Kind::Dsmr42, b"0-0:96.1.1(xxxxxxxxxxxxx)\r\n"),
    ("odd-id", Kind::Esmr50, b"0-0:96.1.1(3494D"),
    ("letter-version", Kind::Esmr50, b"1-3:0.2.8(P)\r\n"),
    ("hex-version", Kind::Be, b"0-0:96.1.4(3530323137)\r\n"),
    ("lost-clock", Kind::Esmr50, b"0-0:1.0.0(000101000000W)\r\n"),
    (
        "lost-clock",
        Kind::Warmtelink,
        b"0-0:1.1.0(000101000000W)\r\n",
    ),
    ("other-clock", Kind::Esmr50, b"0-0:1.1.0(260515120000S)\r\n"),
    ("empty-values", Kind::Esmr50, b"1-0:32.7.0()\r\n"),
    ("milliampere", Kind::Esmr50, b"*mA)\r\n"),
    ("ct-units", Kind::Se, b"*Wh)\r\n"),
    ("ct-units", Kind::Fi, b"*VArh)\r\n"),
    ("zero-voltage", Kind::Be, b"1-0:52.7.0(000.0*V)\r\n"),
    (
        "zero-totals",
        Kind::Esmr50,
        b"1-0:1.8.2(000000.000*kWh)\r\n",
    ),
    (
        "extra-tariffs",
        Kind::Be,
        b"1-0:1.8.5(000000.000*kWh)\r\n1-0:2.8.1(",
    ),
    ("tariff-text", Kind::Hu, b"0-0:96.14.0(TARIFF 1)\r\n"),
    ("breaker-off", Kind::Be, b"0-0:96.3.10(0)\r\n"),
    ("breaker-off", Kind::Hu, b"0-0:96.50.68(OFF)\r\n"),
    ("comma-limit", Kind::Be, b"1-1:31.4.0(30.0*A,-65.0*A)\r\n"),
    ("colon", Kind::Esmr50, b"1-0:72:32.0("),
    ("dot-255", Kind::Esmr50, b"1-0:31.7.0.255("),
    ("star-255", Kind::Esmr50, b"1-0:1.8.1*255("),
    (
        "unknown-object",
        Kind::Esmr50,
        b"9-9:99.99.9(12.5*furlong)(?)\r\n",
    ),
    ("log-empty", Kind::Esmr50, b"1-0:99.97.0()\r\n"),
    ("log-none", Kind::Esmr50, b"1-0:99.97.0(0)(0-0:96.7.19)\r\n"),
    ("log-blank", Kind::Esmr50, b"1-0:99.97.0(0)()\r\n"),
    (
        "log-dummy",
        Kind::Esmr50,
        b"1-0:99.97.0(1)(0-0:96.7.19)(000101000001W)(2147483647*s)\r\n",
    ),
    ("log-ten", Kind::Esmr50, b"1-0:99.97.0(10)(0-0:96.7.19)("),
    ("log-count", Kind::Esmr50, b"1-0:99.97.0(7)(0-0:96.7.19)("),
    ("log-misprint", Kind::Dsmr40, b"1-0:99:97.0(2)(0:96.7.19)("),
    (
        "no-peaks",
        Kind::Be,
        b"0-0:98.1.0(0)(1-0:1.6.0)(1-0:1.6.0)()()()\r\n",
    ),
    ("peak-never", Kind::Be, b"(35255255255255255S)(00.000*kW)"),
    ("heat-channel", Kind::Esmr50, b"0-2:24.1.0(004)\r\n"),
    ("water-channel", Kind::Lu, b"0-2:24.1.0(007)\r\n"),
    ("cooling-channel", Kind::Esmr50, b"0-2:24.1.0(010)\r\n"),
    ("slave-channel", Kind::Be, b"0-3:24.1.0(002)\r\n"),
    (
        "no-reading",
        Kind::Be,
        b"0-1:24.2.3(632525252525W)(00000.000)\r\n",
    ),
    ("empty-reading", Kind::Warmtelink, b")(*GJ)\r\n"),
    ("one-line-gas", Kind::Dsmr30, b"(0-1:24.2.1)(m3)(0"),
    ("gas-channel-2", Kind::Esmr50, b"0-2:24.2.1(260515120000S)("),
    (
        "gas-channel-2",
        Kind::Dsmr22,
        b"0-2:24.3.0(260515120000)(00)(60)(1)(0-2:24.2.1)(m3)\r\n(",
    ),
    ("gas-channel-3", Kind::Be, b"0-4:24.2.1(260515120000S)("),
    (
        "dead-channel",
        Kind::Esmr50,
        b"0-1:24.2.1(632525252525S)(00000.000)\r\n0-2:24.1.0(003)\r\n",
    ),
    (
        "dead-channel",
        Kind::Be,
        b"0-1:24.2.3(632525252525S)(00000.000)\r\n0-2:24.1.0(003)\r\n",
    ),
    (
        "dead-channel",
        Kind::Dsmr22,
        b"0-1:24.3.0(632525252525)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00000.000)\r\n0-2:",
    ),
    (
        "dead-channel-old",
        Kind::Esmr50,
        b"(04711.088*m3)\r\n0-2:24.1.0(003)\r\n",
    ),
    (
        "dead-channel-1970",
        Kind::Esmr50,
        b"0-1:24.2.1(700101010000W)(00000000)\r\n0-2:",
    ),
    (
        "dead-channel-2000",
        Kind::Esmr50,
        b"0-1:24.2.1(000101000000W)(00000.000*m3)\r\n0-2:",
    ),
    (
        "dead-channel-empty",
        Kind::Esmr50,
        b"0-1:24.1.0()\r\n0-1:96.1.0()\r\n0-1:24.2.1()\r\n0-2:",
    ),
    ("header-blank", Kind::Dsmr42, b"/XMX5 LGSIM"),
    ("header-nine", Kind::Se, b"/ELL9\\"),
    ("header-no-baud", Kind::Be, b"/SIM_P1_3N400V\r\n"),
    ("header-slash", Kind::Dsmr42, b"/XMX5/LGSIM"),
    ("blank-end", Kind::Esmr50, b")\r\n\r\n!"),
    ("glued-end", Kind::Esmr50, b")!"),
];

#[test]
fn faults_of_objects_and_framing_print_what_they_say_under_a_right_check() {
    for (fault, kind, part) in PRINTED {
        let plain = one(*kind, "");
        let bytes = one(*kind, fault);
        assert!(!contains(&plain, part), "{kind} has it without {fault}");
        let shown = String::from_utf8_lossy(&bytes);
        assert!(contains(&bytes, part), "{fault} in {kind}: {shown}");
        if kind.check() == super::super::Check::Arc {
            assert!(check_is_right(&bytes), "{fault} in {kind}");
        }
    }
}

#[test]
fn energy_loses_its_asterisk_or_gains_blanks_and_decimals() {
    let energy = |faults| {
        let text = String::from_utf8(one(Kind::Esmr50, faults)).unwrap();
        let line = text.lines().find(|line| line.starts_with("1-0:1.8.1"));
        String::from(line.unwrap().split_once('(').unwrap().1)
    };
    let plain = energy("");
    let number = plain.strip_suffix("*kWh)").unwrap();
    assert_eq!(energy("no-asterisk"), format!("{number}kWh)"));
    assert_eq!(energy("unit-blank"), format!("{number}*kWh )"));
    assert_eq!(energy("leading-blank"), format!(" {number}*kWh)"));
    let many = energy("many-decimals");
    let decimals = many
        .strip_suffix("*kWh)")
        .unwrap()
        .split_once('.')
        .unwrap()
        .1;
    assert!(many.starts_with(number) && decimals.len() == 8, "{many}");
}

#[test]
fn a_long_message_has_1024_characters_and_a_long_line_more_than_any_standard() {
    let longest = |faults| {
        let bytes = one(Kind::Esmr50, faults);
        bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::len)
            .max()
            .unwrap()
            - 1
    };
    assert_eq!(longest("long-message"), "0-0:96.13.0()".len() + 2_048);
    assert!(longest("long-line") > 2_112);
}

#[test]
fn the_failure_log_has_ten_entries_or_durations_without_unit() {
    let log = |faults| {
        let text = String::from_utf8(one(Kind::Esmr50, faults)).unwrap();
        String::from(
            text.lines()
                .find(|line| line.starts_with("1-0:99.97.0"))
                .unwrap(),
        )
    };
    assert_eq!(log("log-ten").matches("*s)").count(), 10);
    assert_eq!(log("").matches("*s)").count(), 2);
    assert_eq!(log("log-no-unit"), log("").replace("*s)", ")"));
}

#[test]
fn a_reversed_peak_has_its_value_first_and_no_letter() {
    let line = |faults| {
        let text = String::from_utf8(one(Kind::Be, faults)).unwrap();
        String::from(
            text.lines()
                .find(|line| line.starts_with("1-0:1.6.0"))
                .unwrap(),
        )
    };
    let plain = line("");
    let (stamp, value) = plain["1-0:1.6.0(".len()..plain.len() - 1]
        .split_once(")(")
        .unwrap();
    assert_eq!(
        line("reversed-peak"),
        format!("1-0:1.6.0({value})({})", &stamp[..12])
    );
}

#[test]
fn checks_are_wrong_lower_case_unpadded_or_absent() {
    let digits = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|byte| *byte == b'!').unwrap();
        String::from_utf8(bytes[end + 1..].to_vec())
            .unwrap()
            .trim_end()
            .to_string()
    };
    let plain = telegrams(Kind::Esmr50, "", 3, 60);
    let wrong = telegrams(Kind::Esmr50, "crc", 3, 60);
    let lower = telegrams(Kind::Esmr50, "lower-crc", 3, 60);
    let mixed = telegrams(Kind::Esmr50, "mixed-crc", 3, 60);
    let unpadded = telegrams(Kind::Esmr50, "unpadded-crc", 3, 60);
    let absent = telegrams(Kind::Esmr50, "no-crc", 3, 60);
    let mut short = 0;
    for n in 0..60 {
        let right = digits(&plain[n]);
        assert_eq!(right.len(), 4);
        assert!(check_is_right(&plain[n]) && !check_is_right(&wrong[n]));
        assert_eq!(digits(&lower[n]), right.to_lowercase());
        let of_letters = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let (letters, all) = (of_letters(&digits(&mixed[n])), of_letters(&right));
        if let Some(first) = all.chars().next() {
            let first = first.to_ascii_lowercase().to_string();
            assert_eq!(letters, first + &all[1..]);
        }
        assert_eq!(digits(&mixed[n]).to_uppercase(), right);
        assert_eq!(digits(&unpadded[n]), right.trim_start_matches('0'));
        assert_eq!(digits(&absent[n]), "");
        short += usize::from(right.starts_with('0'));
    }
    assert!(short > 0, "no check of 60 has a leading zero");
}

#[test]
fn line_ends_are_lf_under_the_check_of_cr_lf() {
    let bytes = one(Kind::Esmr50, "lf");
    assert!(!bytes.contains(&b'\r'));
    let plain: Vec<u8> = one(Kind::Esmr50, "");
    let stripped: Vec<u8> = plain.into_iter().filter(|byte| *byte != b'\r').collect();
    assert_eq!(bytes, stripped);
}

#[test]
fn the_blank_line_is_left_out() {
    let plain = one(Kind::Esmr50, "");
    let bytes = one(Kind::Esmr50, "no-blank-line");
    assert!(contains(&plain, b"\r\n\r\n") && !contains(&bytes, b"\r\n\r\n"));
    assert!(check_is_right(&bytes));
}

#[test]
fn the_line_cuts_repeats_and_loses_telegrams() {
    let plain = one(Kind::Esmr50, "");
    let cut = one(Kind::Esmr50, "cut");
    assert!(plain.starts_with(&cut) && cut.len() < plain.len() * 3 / 4 + 1 && !cut.contains(&b'!'));
    let headless = one(Kind::Esmr50, "headless");
    assert!(plain.ends_with(&headless) && headless.len() < plain.len());
    let restart = one(Kind::Esmr50, "restart");
    let piece = restart.strip_suffix(&plain[..]).unwrap();
    assert!(plain.starts_with(piece) && piece.ends_with(b"\r\n"));
    assert_eq!(
        one(Kind::Esmr50, "doubled"),
        [&plain[..], &plain[..]].concat()
    );
    assert_eq!(one(Kind::Esmr50, "missing"), b"");
}

#[test]
fn noise_surrounds_a_telegram_and_glitches_are_inside() {
    let plain = one(Kind::Esmr50, "");
    for fault in ["breaks", "noise"] {
        let bytes = one(Kind::Esmr50, fault);
        let at = bytes
            .windows(plain.len())
            .position(|window| window == plain)
            .unwrap();
        assert!(at > 0 && at + plain.len() < bytes.len(), "{fault}");
    }
    let bytes = one(Kind::Esmr50, "glitch");
    assert_eq!(bytes.len(), plain.len());
    let changed = bytes
        .iter()
        .zip(&plain)
        .filter(|(new, old)| new != old)
        .count();
    assert!((1..=3).contains(&changed), "{changed} changed");
}

#[test]
fn parity_makes_every_byte_even() {
    let bytes = one(Kind::Dsmr22, "parity");
    assert!(bytes.iter().all(|byte| byte.count_ones() % 2 == 0));
    let masked: Vec<u8> = bytes.iter().map(|byte| byte & 0x7F).collect();
    assert_eq!(masked, one(Kind::Dsmr22, ""));
}

#[test]
fn a_rate_strikes_about_as_often_as_it_says_and_a_number_once() {
    let wrong = |faults| {
        let all = telegrams(Kind::Esmr50, faults, 3, 400);
        let wrong: Vec<usize> = (0..400).filter(|n| !check_is_right(&all[*n])).collect();
        wrong
    };
    assert!((20..60).contains(&wrong("crc:0.1").len()));
    assert_eq!(wrong("crc@2"), [1]);
    assert_eq!(wrong("crc").len(), 400);
}

#[test]
fn faults_combine_and_are_the_same_for_the_same_seed() {
    let list = "message,gas-channel-2,lower-crc,glitch:0.3,noise:0.5,missing:0.2";
    assert_eq!(list.parse::<Faults>().unwrap().to_string(), list);
    assert_eq!(
        telegrams(Kind::Esmr50, list, 3, 20),
        telegrams(Kind::Esmr50, list, 3, 20)
    );
    assert_ne!(
        telegrams(Kind::Esmr50, list, 3, 20),
        telegrams(Kind::Esmr50, list, 4, 20)
    );
}

#[test]
fn every_fault_bends_some_kind_and_is_refused_where_it_bends_none() {
    let meters: Vec<Simulator> = Kind::ALL
        .iter()
        .map(|kind| Simulator::new(*kind, 3, noon()))
        .collect();
    for fault in Fault::all() {
        let mut kinds = 0;
        for meter in &meters {
            let faults: Faults = fault.name.parse().unwrap();
            match meter.clone().with_faults(faults) {
                Ok(mut bent) => {
                    kinds += 1;
                    let mut plain = meter.clone();
                    // Some checks only have letters or a leading zero.
                    let differs = (0..300)
                        .map(|n| noon() + n)
                        .any(|t| bent.telegram_at(t) != plain.telegram_at(t));
                    assert!(differs, "{} {}", fault.name, meter.kind());
                }
                Err(error) => assert_eq!(
                    error,
                    FaultError::NotInKind {
                        fault: fault.name,
                        kind: meter.kind()
                    }
                ),
            }
        }
        assert!(kinds > 0, "{} bends no kind", fault.name);
    }
    let names: BTreeSet<&str> = Fault::all().map(|fault| fault.name).collect();
    assert_eq!(names.len(), Fault::all().count());
}

#[test]
fn a_bad_list_is_answered_with_what_would_be_right() {
    let error = |text: &str| text.parse::<Faults>().unwrap_err().to_string();
    assert!(error("crc,nois").starts_with("`nois` is not a fault; faults are message, "));
    assert!(Fault::all().all(|fault| error("x").contains(fault.name)));
    for wrong in ["crc:2", "crc:0", "crc:x", "crc@0", "crc@x", "crc:NaN"] {
        assert!(
            error(wrong).starts_with(&format!("`{wrong}` does not say when")),
            "{wrong}"
        );
    }
    let refused = Simulator::new(Kind::Dsmr22, 1, noon()).with_faults("crc".parse().unwrap());
    assert_eq!(
        refused.unwrap_err().to_string(),
        "a telegram of kind dsmr22 has nothing that the fault `crc` could bend; choose another \
         kind or leave the fault out"
    );
}
