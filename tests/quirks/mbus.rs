//! Gas, water, heat and other meters behind the meter.

use metertrekker::reading::Skip;

use super::{
    BELGIAN, DUTCH, device_lines, named, named_by,
    support::telegram::{newest, read, telegram},
    topic,
};

/// How meters print the time of a channel that was never read.
const NEVER: [&str; 7] = [
    "632525252525S",
    "632525252525W",
    "632525252525",
    "35255255255255255S",
    "700101010000W",
    "000101000000W",
    "",
];

#[test]
fn each_kind_of_device_has_a_topic_and_a_measurement_of_its_own() {
    for (codes, unit, place, measurement) in [
        (&[3][..], "m3", "/gas/reading", "gas"),
        (&[7, 22], "m3", "/water/reading", "water"),
        (&[6, 21], "m3", "/warm_water/reading", "warm_water"),
        (&[4, 12, 13], "GJ", "/heat/reading", "heat"),
        (&[10, 11], "GJ", "/cold/reading", "cold"),
        (&[2], "kWh", "/submeter/reading", "submeter"),
    ] {
        for code in codes {
            for channel in 1..=4 {
                let lines = [
                    format!("0-{channel}:24.1.0({code:03})"),
                    format!("0-{channel}:96.1.0(414243)"),
                    format!("0-{channel}:24.2.1(260115180000W)(00012.345*{unit})"),
                ];
                let lines = lines.each_ref().map(String::as_str);
                let found = topic(DUTCH, place, &lines);
                assert_eq!(found.as_deref(), Some("12.345"), "{code}");
                let (reading, _) = read(&telegram(DUTCH, &lines));
                let influx = device_lines(&reading);
                assert_eq!(influx.len(), 1, "{code}");
                assert!(
                    influx[0].starts_with(&format!("{measurement},")),
                    "{influx:?}"
                );
                assert!(influx[0].contains("_sn=ABC "), "{influx:?}");
            }
        }
    }
}

#[test]
fn a_device_type_is_printed_with_zeros_or_without_or_not_at_all() {
    let reading = "0-1:24.2.1(260115180000W)(00012.345*m3)";
    for device in ["3", "03", "003", ""] {
        let device = format!("0-1:24.1.0({device})");
        let found = named("gas_reading", &[&device, reading]);
        assert_eq!(found, ["12.345 m3"], "{device}");
    }
    for device in ["7", "07", "007"] {
        let device = format!("0-1:24.1.0({device})");
        let found = named("water_reading", &[&device, reading]);
        assert_eq!(found, ["12.345 m3"], "{device}");
    }
}

#[test]
fn a_channel_with_device_000_has_none() {
    let lines = [
        "0-1:24.1.0(000)",
        "0-1:96.1.0()",
        "0-2:24.1.0(003)",
        "0-2:24.2.1(260115180000W)(00001.000*m3)",
    ];
    let (reading, _) = read(&telegram("MCS5\\@V0050000000", &lines));
    assert_eq!(newest(&reading, "gas_reading"), ["1.000 m3"]);
    assert_eq!(device_lines(&reading).len(), 1);
}

#[test]
fn a_dead_channel_1_does_not_hide_the_new_meter_on_channel_2() {
    let old = NEVER.iter().map(|stamp| format!("({stamp})(00000.000)"));
    let old = old.chain(NEVER.iter().map(|stamp| format!("({stamp})(00000.000*m3)")));
    let old = old.chain(
        [
            "(180101120000W)(00999.000*m3)",
            "()",
            "()()",
            "(700101010000W)(00000000)",
        ]
        .map(str::to_owned),
    );
    for value in old {
        for (header, id) in [(DUTCH, "24.2.1"), (BELGIAN, "24.2.3")] {
            let dead = format!("0-1:{id}{value}");
            let live = format!("0-2:{id}(260115180000W)(00012.345*m3)");
            let lines = ["0-1:24.1.0(003)", &dead, "0-2:24.1.0(003)", &live];
            let (reading, _) = read(&telegram(header, &lines));
            assert_eq!(newest(&reading, "gas_reading"), ["12.345 m3"], "{dead}");
            let influx = device_lines(&reading);
            assert_eq!(influx.len(), 1, "{dead}");
            assert!(influx[0].contains("12.345"), "{influx:?}");
        }
    }
}

#[test]
fn a_replaced_meter_keeps_its_serial_number_to_itself() {
    let lines = [
        "0-1:24.1.0(003)",
        "0-1:96.1.0(414243)",
        "0-1:24.2.1(180101120000W)(00999.000*m3)",
        "0-2:24.1.0(003)",
        "0-2:96.1.0(58595A)",
        "0-2:24.2.1(260115180000W)(00012.345*m3)",
    ];
    assert_eq!(named("gas_meter_sn", &lines), ["XYZ"]);
}

#[test]
fn a_channel_that_was_never_read_has_no_reading() {
    for stamp in NEVER {
        for value in ["00000.000", "00000.000*m3", "00000000"] {
            for id in ["24.2.1", "24.2.3"] {
                let line = format!("0-1:{id}({stamp})({value})");
                let lines = ["0-1:24.1.0(003)", &line, "1-0:1.8.1(000001.5*kWh)"];
                let (reading, skipped) = read(&telegram(BELGIAN, &lines));
                assert_eq!(
                    skipped,
                    [(
                        line.clone(),
                        match stamp {
                            "" => Skip::Timestamp,
                            _ => Skip::NoValue,
                        }
                    )]
                );
                assert_eq!(newest(&reading, "delivered_high"), ["1.5 kWh"]);
                assert!(device_lines(&reading).is_empty());
            }
        }
    }
}

#[test]
fn four_channels_with_four_devices_are_four_readings() {
    let devices = [("003", "m3"), ("007", "m3"), ("004", "GJ"), ("002", "kWh")];
    for turn in 0..4 {
        let mut lines = vec![];
        for channel in 1..=4 {
            let (code, unit) = devices[(channel + turn) % 4];
            lines.push(format!("0-{channel}:24.1.0({code})"));
            lines.push(format!(
                "0-{channel}:24.2.1(260115180000W)(0000{code}.5*{unit})"
            ));
        }
        let (reading, skipped) = read(&telegram(DUTCH, &lines));
        assert_eq!(skipped, []);
        for (name, value) in [
            ("gas_reading", "3.5 m3"),
            ("water_reading", "7.5 m3"),
            ("heat_reading", "4.5 GJ"),
            ("submeter_reading", "2.5 kWh"),
        ] {
            assert_eq!(newest(&reading, name), [value], "{turn}");
        }
        assert_eq!(device_lines(&reading).len(), 4);
    }
}

#[test]
fn belgian_gas_is_not_temperature_corrected_and_has_an_id_of_its_own() {
    let lines = [
        "0-1:24.1.0(003)",
        "0-1:96.1.1(37464C4F32313139303333373333)",
        "0-1:24.4.0(1)",
        "0-1:24.2.3(260115180000W)(00112.384*m3)",
        "0-2:24.1.0(007)",
        "0-2:96.1.1(3853414731323334353637383930)",
        "0-2:24.2.1(260115180000W)(00872.234*m3)",
    ];
    assert_eq!(named_by(BELGIAN, "gas_reading", &lines), ["112.384 m3"]);
    assert_eq!(
        named_by(BELGIAN, "gas_meter_sn", &lines),
        ["7FLO2119033733"]
    );
    assert_eq!(named_by(BELGIAN, "gas_valve", &lines), ["1"]);
    assert_eq!(named_by(BELGIAN, "water_reading", &lines), ["872.234 m3"]);
    assert_eq!(
        named_by(BELGIAN, "water_meter_sn", &lines),
        ["8SAG1234567890"]
    );
}

#[test]
fn gas_of_dsmr_22_stands_on_two_lines_on_any_channel() {
    for channel in 1..=4 {
        let profile =
            format!("0-{channel}:24.3.0(121030140000)(00)(60)(1)(0-{channel}:24.2.1)(m3)");
        let (reading, skipped) = read(&telegram("KMP5 KA6U001", &[&profile[..], "(00024.123)"]));
        assert_eq!(skipped, []);
        assert_eq!(newest(&reading, "gas_reading"), ["24.123 m3"]);
        assert!(device_lines(&reading)[0].contains("24.123"));
    }
}

#[test]
fn gas_of_dsmr_30_may_stand_on_one_line() {
    let line = "0-1:24.3.0(121030140000)(00)(60)(1)(0-1:24.2.1)(m3)(00024.123)";
    assert_eq!(named("gas_reading", &[line]), ["24.123 m3"]);
    // A day's period, and no value at all.
    let line = "0-1:24.3.0(121030140000)(00)(1440)(1)(0-1:24.2.1)(m3)(00000.000)";
    assert_eq!(named("gas_reading", &[line]), ["0.000 m3"]);
}

#[test]
fn a_line_that_begins_with_a_bracket_belongs_to_the_one_before_it_alone() {
    let profile = "0-1:24.3.0(121030140000)(00)(60)(1)(0-1:24.2.1)(m3)";
    let lines = [profile, "0-1:24.4.0(1)", "(00024.123)"];
    assert!(named("gas_reading", &lines).is_empty());
    assert!(named("gas_reading", &["(00024.123)"]).is_empty());
}

#[test]
fn gas_before_dsmr_has_its_value_before_its_date() {
    let line = "7-0:23.1.0*255(00012.345*m3)(19-01-01 00:00:00)";
    let (reading, skipped) = read(&telegram("ACE4\\3k260V01.18", &[line]));
    assert_eq!(skipped, []);
    assert_eq!(newest(&reading, "gas_reading"), ["12.345 m3"]);
    assert_eq!(
        reading.values().next().unwrap().at.unwrap().utc,
        1_546_297_200
    );
}

#[test]
fn heat_is_unpadded_in_gj_or_in_mj() {
    let device = "0-1:24.1.0(012)";
    for (value, shown) in [
        ("93.435*GJ", "93.435 GJ"),
        ("93435*MJ", "93.435 GJ"),
        ("000.01*GJ", "0.01 GJ"),
    ] {
        let line = format!("0-1:24.2.1(260115180000W)({value})");
        assert_eq!(named("heat_reading", &[device, &line]), [shown], "{value}");
    }
}

#[test]
fn a_reading_that_is_a_unit_alone_is_none() {
    for line in [
        "0-1:24.2.1(260115180000W)(*m3)",
        "0-1:24.2.1(*m3)",
        "0-1:24.2.1(260115180000W)()",
    ] {
        let (reading, skipped) = read(&telegram("NWA-WARMTELINK", &["0-1:24.1.0(012)", line]));
        assert_eq!(skipped.len(), 1, "{line}");
        assert!(device_lines(&reading).is_empty(), "{line}");
    }
}

#[test]
fn a_reading_without_unit_is_in_that_of_its_device() {
    for (device, name, shown) in [
        ("003", "gas_reading", "12.3456 m3"),
        ("004", "heat_reading", "12.3456 GJ"),
    ] {
        let device = format!("0-1:24.1.0({device})");
        let line = "0-1:24.2.1(260115180000W)(00000012.3456)";
        assert_eq!(named(name, &[&device, line]), [shown]);
    }
}

#[test]
fn an_unpaired_device_has_an_empty_id_or_zeros() {
    for (id, serial) in [
        ("", ""),
        ("0000000000000000", "0000000000000000"),
        ("00", "00"),
    ] {
        let id = format!("0-1:96.1.0({id})");
        let lines = [
            "0-1:24.1.0(003)",
            &id,
            "0-1:24.2.1(632525252525S)(00000.000)",
        ];
        let (reading, _) = read(&telegram(DUTCH, &lines));
        assert_eq!(newest(&reading, "gas_meter_sn"), [serial]);
        assert!(device_lines(&reading).is_empty());
    }
}

#[test]
fn a_relay_is_no_valve() {
    for n in 1..=4 {
        let line = format!("0-{n}:96.3.10(1)");
        assert_eq!(named_by("Lux5", &format!("relay_{n}"), &[&line]), ["1"]);
    }
}
