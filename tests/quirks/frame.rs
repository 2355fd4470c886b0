//! Headers, ends, checks, and what stands between telegrams.

use metertrekker::reading::{Reading, Skip};
use metertrekker::receiver::{CrcPolicy, Proof, Receiver, Refusal};

use super::{
    BELGIAN, DUTCH,
    support::{
        second_reader::crc_of,
        telegram::{newest, read, telegram},
    },
};

const LINE: &str = "1-0:1.8.1(000123.456*kWh)";

/// Each telegram's fate: its header, and how it was proved or why it was refused.
fn fates(bytes: &[u8]) -> Vec<(String, Result<Proof, &'static str>)> {
    let mut reading = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut reading));
    let mut input = bytes;
    let mut found = vec![];
    let skipped = &mut |_: &[u8], _| ();
    loop {
        let outcome = match receiver.next(&mut input, skipped) {
            None => receiver.silence(skipped),
            outcome => outcome,
        };
        let Some(outcome) = outcome else { return found };
        let header = String::from_utf8_lossy(receiver.reading().header()).into_owned();
        found.push((header, outcome.map_err(Refusal::name)));
    }
}

/// The telegrams that were accepted by their CRC.
fn proved(bytes: &[u8]) -> usize {
    let fates = fates(bytes).into_iter();
    fates.filter(|(_, fate)| *fate == Ok(Proof::Crc)).count()
}

/// A telegram's text up to its `!`, with its right check behind it in whatever form.
fn checked(text: &str, check: impl Fn(u16) -> String) -> Vec<u8> {
    let crc = crc_of(text.as_bytes());
    format!("{text}{}\r\n", check(crc)).into_bytes()
}

/// A telegram's text whose check is below `limit`, or has a letter in it.
fn text_whose(check: impl Fn(u16) -> bool) -> String {
    let texts = (0..100_000).map(|n| format!("/ABC5x\r\n\r\n1-0:1.8.1({n:06}*kWh)\r\n!"));
    let mut texts = texts.filter(|text| check(crc_of(text.as_bytes())));
    texts.next().expect("one in sixteen is small")
}

#[test]
fn every_form_of_header_begins_a_telegram() {
    for header in [
        r"KFM5KAIFA-METER",
        r"ISK5\2M550E-1012",
        r"ISk5\2MT382-1000",
        r"XMX5LGBBFFB231314239",
        r"Ene5\XS210 ESMR 5.0",
        r"FLU5\253769484_A",
        r"FLU5\253770234_A",
        r"CTA5ZIV-METER",
        r"EST5\253710000_A",
        r"SAG5SAG-METER",
        r"ESO5\253710000_A",
        r"LGF5E360",
        r"SIB5\253710000_A",
        r"ISk5\2MIE5T-200",
        // A blank behind the baud digit, another digit, none, an umlaut's byte.
        r"KMP5 KA6U001585575011",
        r"ADN9 6534",
        r"LG_E660_Fluvius_3N400V",
        r"NWA-WARMTELINK",
        r"AUR2NWA-MYRSKY",
        r"MCS5\@V0050000000",
        r"ACE4\3k260V01.18",
        r"GRE5\253710000_A",
        r"Lux5\253663629_D",
        r"AUX59902",
    ] {
        let bytes = telegram(header, &[LINE]);
        let fates = fates(&bytes);
        assert_eq!(fates, [(header.to_owned(), Ok(Proof::Crc))], "{header}");
    }
}

#[test]
fn a_slash_inside_the_header_begins_no_other_telegram() {
    for header in ["HLY5/D545-METER", "ISK5/2M550E/1012", "ABC5/XYZ5"] {
        let bytes = telegram(header, &[LINE]);
        assert_eq!(fates(&bytes), [(header.to_owned(), Ok(Proof::Crc))]);
    }
}

#[test]
fn a_slash_or_an_exclamation_mark_in_noise_costs_nothing() {
    for noise in [
        &b"/"[..],
        b"!",
        b"!ABCD\r\n",
        b"/\x00\xFF!\x00/",
        b"\xFF/ab\x00\r\n",
        b"//!!//\r\n",
    ] {
        let bytes = [noise, &telegram(DUTCH, &[LINE])].concat();
        assert_eq!(proved(&bytes), 1, "{}", noise.escape_ascii());
        let behind = [&telegram(DUTCH, &[LINE]), noise, &telegram(DUTCH, &[LINE])].concat();
        assert_eq!(proved(&behind), 2, "{}", noise.escape_ascii());
    }
}

#[test]
fn a_slash_or_an_exclamation_mark_in_a_value_ends_nothing() {
    for value in ["a/b", "a!b", "!", "/ISK5", "(!", "!ABCD"] {
        let lines = [format!("0-0:96.13.0({value})"), LINE.to_owned()];
        let (reading, skipped) = read(&telegram(DUTCH, &lines));
        assert_eq!(newest(&reading, "message"), [value]);
        assert_eq!(newest(&reading, "delivered_low"), ["123.456 kWh"]);
        assert_eq!(skipped, []);
    }
}

#[test]
fn a_break_and_a_floating_line_between_telegrams_cost_nothing() {
    let one = telegram(DUTCH, &[LINE]);
    let noise: Vec<u8> = (0..3_000_u32).map(|n| (n * 181 % 251) as u8).collect();
    for between in [&[0; 500][..], &[0xFF; 500], &[0x80; 3000], &noise] {
        let bytes = [between, &one, between, &one, between].concat();
        assert_eq!(proved(&bytes), 2);
    }
}

#[test]
fn the_blank_line_behind_the_header_may_be_missing() {
    let bytes = checked(&format!("/ABC5x\r\n{LINE}\r\n!"), |crc| {
        format!("{crc:04X}")
    });
    assert_eq!(newest(&read(&bytes).0, "delivered_low"), ["123.456 kWh"]);
}

#[test]
fn a_blank_line_before_the_end_is_part_of_the_check() {
    let text = format!("/Lux5\\253663629_D\r\n\r\n{LINE}\r\n\r\n!");
    let bytes = checked(&text, |crc| format!("{crc:04X}"));
    assert_eq!(newest(&read(&bytes).0, "delivered_low"), ["123.456 kWh"]);
}

#[test]
fn the_end_may_be_glued_to_the_last_object() {
    let text = format!("/ADN9 6534\r\n\r\n{LINE}\r\n1-0:31.7.0(123.1*A)!");
    let bytes = checked(&text, |crc| format!("{crc:04X}"));
    assert_eq!(newest(&read(&bytes).0, "I_L1"), ["123.1 A"]);
    // As DSMR 3 has it, without a check.
    let bytes = format!("/KMP5 x\r\n\r\n{LINE}\r\n0-1:24.4.0(1)!\r\n");
    assert_eq!(newest(&read(bytes.as_bytes()).0, "gas_valve"), ["1"]);
}

#[test]
fn a_check_below_1000_has_a_leading_zero_or_none() {
    for limit in [0x1000, 0x100] {
        let text = text_whose(|crc| crc < limit);
        for form in [
            |crc| format!("{crc:04X}"),
            |crc| format!("{crc:X}"),
            |crc| format!("{crc:03x}"),
        ] {
            let bytes = checked(&text, form);
            assert_eq!(proved(&bytes), 1, "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn a_check_may_be_in_lower_or_mixed_case() {
    let text = text_whose(|crc| crc & 0xF00F == 0xE00D);
    for form in [
        |crc: u16| format!("{crc:04X}"),
        |crc| format!("{crc:04x}"),
        |crc| format!("{crc:04X}").replace('E', "e"),
        |crc| format!("{crc:04X}").replace('D', "d"),
    ] {
        assert_eq!(proved(&checked(&text, form)), 1);
    }
}

#[test]
fn holley_meters_have_a_check_of_their_own() {
    let of = |header: &str, rule: &'static crc::Algorithm<u16>| {
        let text = format!("/{header}\r\n\r\n{LINE}\r\n!");
        let crc = crc::Crc::<u16>::new(rule);
        let crc = crc.checksum(text.as_bytes());
        fates(format!("{text}{crc:04X}\r\n").as_bytes())[0].1
    };
    let (arc, x25) = (&crc::CRC_16_ARC, &crc::CRC_16_IBM_SDLC);
    assert_eq!(of("HLY5/D545-METER", x25), Ok(Proof::Crc));
    assert_eq!(of("HLY5/D545-METER", arc), Err("crc"));
    assert_eq!(of("AUX59902", arc), Ok(Proof::Crc));
    assert_eq!(of("AUX59902", x25), Err("crc"));
}

#[test]
fn line_ends_that_lost_their_cr_are_told() {
    let whole = telegram(DUTCH, &[LINE]);
    let bare: Vec<u8> = whole.into_iter().filter(|byte| *byte != b'\r').collect();
    let mut reading = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut reading));
    let outcome = receiver.next(&mut &bare[..], &mut |_: &[u8], _| ());
    let told = matches!(
        outcome,
        Some(Err(Refusal::Crc {
            bare_line_ends: true,
            ..
        }))
    );
    assert!(told, "{outcome:?}");
}

#[test]
fn blanks_that_were_stripped_are_no_matter_of_taste() {
    let lines = ["1-0:1.8.1(000123.456*kWh )", "0-0:96.1.0(29973286  ) "];
    let whole = telegram("HLY5/D545-METER", &lines);
    assert_eq!(proved(&whole), 1);
    let text = String::from_utf8(whole).unwrap();
    assert_eq!(
        fates(text.replace(") \r", ")\r").as_bytes())[0].1,
        Err("crc")
    );
}

#[test]
fn dsmr_22_and_30_have_no_check_and_no_clock() {
    for header in [
        "KMP5 KA6U001585575011",
        "ISk5\\2ME382-1003",
        "XMXABCE000018914",
    ] {
        let bytes = format!("/{header}\r\n\r\n{LINE}\r\n0-0:96.14.0(0001)\r\n!\r\n");
        assert_eq!(fates(bytes.as_bytes())[0].1, Ok(Proof::None), "{header}");
    }
}

#[test]
fn a_check_that_is_missing_on_a_newer_meter_is_not_accepted_silently() {
    for line in [
        "1-3:0.2.8(50)",
        "0-0:96.1.4(50217)",
        "0-0:1.0.0(260115183107W)",
        "0-0:1.0.0(000101000000W)",
        "0-0:1.1.0(260115183107W)",
    ] {
        let bytes = format!("/ISK5\\2M550E-1012\r\n\r\n{line}\r\n{LINE}\r\n!\r\n");
        assert_eq!(fates(bytes.as_bytes())[0].1, Err("no_crc"), "{line}");
    }
    // A meter that has no line with a date, and has shown to print a check.
    let checked = telegram("NWA-WARMTELINK", &[LINE]);
    let bare = format!("/NWA-WARMTELINK\r\n\r\n{LINE}\r\n!\r\n").into_bytes();
    let fates: Vec<_> = fates(&[&checked[..], &bare, &checked].concat())
        .into_iter()
        .map(|(_, fate)| fate)
        .collect();
    assert_eq!(fates, [Ok(Proof::Crc), Err("no_crc"), Ok(Proof::Crc)]);
}

#[test]
fn misprinted_separators_are_read() {
    let lines = [
        "1-0:72:32.0(00002)",
        "1-0:99:97.0(2)(0:96.7.19)(101208152415W)(0000000240*s)(101208151004W)(00000000301*s)",
        "1-0:31.7.0.255(001*A)",
    ];
    let (reading, skipped) = read(&telegram(DUTCH, &lines));
    assert_eq!(skipped, []);
    assert_eq!(newest(&reading, "L3_sags"), ["2"]);
    assert_eq!(newest(&reading, "I_L1"), ["1 A"]);
    let log = super::topic(DUTCH, "/mains/report/powerfailure_details", &lines);
    let rows = r#"[["2010-12-08T14:24:15Z",240],["2010-12-08T14:10:04Z",301]]"#;
    assert_eq!(log.as_deref(), Some(rows));
}

#[test]
fn an_id_may_end_in_255() {
    for id in ["1-0:1.8.1*255", "1-0:1.8.1.255", "1-0:1.8.1*0"] {
        let line = format!("{id}(000001.5*kWh)");
        assert_eq!(super::named("delivered_low", &[&line]), ["1.5 kWh"], "{id}");
    }
}

#[test]
fn one_bad_line_costs_itself_alone() {
    for bad in [
        &b"0-1:24.2.3(632525252525W)(00000.000)"[..],
        b"0-0:96.14.0(TARIFF X)",
        b"1-0:1.8.0(12,345*kWh)",
        b"1-0:1.8.0(*kWh)",
        b"9-9:99.99.99(what nobody knows)",
        b"no object at all",
        b"1-0:1.8.0",
        b"1-0:1.8.0(\xFF\xFE\x00)",
        b"(lonely)",
        b"0-1:24.2.1()()",
    ] {
        let lines = [LINE.as_bytes(), bad, b"1-0:1.8.2(000002.5*kWh)"];
        let (reading, skipped) = read(&telegram(DUTCH, &lines));
        let bad = bad.escape_ascii();
        assert_eq!(newest(&reading, "delivered_low"), ["123.456 kWh"], "{bad}");
        assert_eq!(newest(&reading, "delivered_high"), ["2.5 kWh"], "{bad}");
        assert_eq!(skipped.len(), 1, "{bad}");
    }
}

#[test]
fn a_message_of_1024_bytes_of_ff_is_none() {
    let message = [&b"0-0:96.13.0("[..], &[0xFF; 1024], b")"].concat();
    let lines = [&message[..], LINE.as_bytes()];
    let (reading, skipped) = read(&telegram(super::HUNGARIAN, &lines));
    assert_eq!(newest(&reading, "message"), [""; 0]);
    assert_eq!(newest(&reading, "delivered_low"), ["123.456 kWh"]);
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].1, Skip::NoValue);
}

#[test]
fn any_byte_may_stand_in_a_value() {
    let all: Vec<u8> = (0..=255).filter(|byte| !b"\r\n)".contains(byte)).collect();
    let line = [b"0-0:96.13.0(", &all[..], b")"].concat();
    let (reading, skipped) = read(&telegram(DUTCH, &[&line[..], LINE.as_bytes()]));
    assert_eq!(skipped, []);
    assert_eq!(newest(&reading, "delivered_low"), ["123.456 kWh"]);
}

#[test]
fn the_longest_telegram_that_the_standards_allow_is_read_whole() {
    let mut lines = vec![
        "1-3:0.2.8(50)".to_owned(),
        "0-0:1.0.0(260115183107W)".into(),
        format!("0-0:96.13.0({})", "3F".repeat(1024)),
        format!(
            "1-0:99.97.0(10)(0-0:96.7.19){}",
            "(260115183107W)(0000000240*s)".repeat(10)
        ),
    ];
    for channel in 1..=4 {
        lines.push(format!("0-{channel}:24.1.0(003)"));
        lines.push(format!("0-{channel}:96.1.0({})", "30".repeat(17)));
        lines.push(format!(
            "0-{channel}:24.2.1(260115180{channel}00W)(00001.000*m3)"
        ));
    }
    for register in 1..=2 {
        for tariff in 0..=2 {
            lines.push(format!("1-0:{register}.8.{tariff}(000001.500*kWh)"));
        }
    }
    for phase in [20, 40, 60] {
        for (id, value) in [
            (12, "32.0(00012)"),
            (12, "36.0(00012)"),
            (12, "7.0(230.1*V)"),
            (11, "7.0(016*A)"),
            (1, "7.0(01.234*kW)"),
            (2, "7.0(00.000*kW)"),
        ] {
            lines.push(format!("1-0:{}.{value}", phase + id));
        }
    }
    let bytes = telegram(DUTCH, &lines);
    assert!(bytes.len() > 3_000, "{}", bytes.len());
    let (reading, skipped) = read(&bytes);
    assert_eq!(skipped, []);
    assert_eq!(newest(&reading, "message"), ["?".repeat(1024)]);
    assert_eq!(newest(&reading, "gas_reading"), ["1.000 m3"]);
    assert_eq!(newest(&reading, "redelivered_high"), ["1.500 kWh"]);
}

#[test]
fn objects_have_no_order_and_no_number() {
    let mut lines = vec![
        "0-0:96.1.4(50217)",
        "0-0:1.0.0(260115183107W)",
        "1-0:1.8.1(000001.5*kWh)",
        "1-0:1.7.0(00.400*kW)",
    ];
    for _ in 0..lines.len() {
        lines.rotate_left(1);
        let (reading, _) = read(&telegram(BELGIAN, &lines));
        assert_eq!(reading.len(), 4);
        assert_eq!(newest(&reading, "delivered_high"), ["1.5 kWh"]);
    }
    assert_eq!(read(&telegram(BELGIAN, &lines[..1])).0.len(), 1);
}

#[test]
fn hdlc_and_mbus_frames_of_other_ports_are_noise() {
    let hdlc = b"\x7E\xA0\x87\x01\x02\x01\x10\x9E\x6D\xE6\xE7\x00\x0F\x40\x00\x00\x00/!\r\n\x7E";
    let mbus = b"\x68\xFA\xFA\x68\x53\xFF\x00\x01\x67\xDB\x08KFMg\x00/abc\r\n!\x16";
    for frame in [&hdlc[..], mbus] {
        let mut bytes = frame.repeat(20);
        assert_eq!(proved(&bytes), 0);
        bytes.extend(telegram(DUTCH, &[LINE]));
        assert_eq!(proved(&bytes), 1, "what follows is read");
    }
}
