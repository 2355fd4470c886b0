//! Which of several values counts, and what is believed of one.

use std::collections::BTreeSet;

use metertrekker::metric::{self, Device};
use metertrekker::p1::obis::Obis;
use metertrekker::reading::{Reading, Skip};
use metertrekker::receiver::{CrcPolicy, Receiver};

use super::{
    DUTCH, named,
    support::telegram::{read, shown, telegram},
};

#[test]
fn the_message_counts_and_not_the_empty_text_code_before_it() {
    for lines in [
        ["0-0:96.13.1()", "0-0:96.13.0(48656C6C6F)"],
        ["0-0:96.13.0(48656C6C6F)", "0-0:96.13.1()"],
        ["0-0:96.13.0(48656C6C6F)", "0-0:96.13.1(3031)"],
    ] {
        assert_eq!(named("message", &lines), ["Hello"], "{lines:?}");
    }
    assert_eq!(named("message", &["0-0:96.13.1()", "0-0:96.13.0()"]), [""]);
}

#[test]
fn a_number_that_a_meter_sends_twice_counts_once() {
    let lines = ["1-0:1.8.1(000001.5*kWh)", "1-0:1.8.1(000002.5*kWh)"];
    assert_eq!(named("delivered_low", &lines), ["1.5 kWh"]);
    // Two ids of one name.
    let lines = ["0-0:96.14.0(0002)", "0-0:96.14.1(0001)"];
    assert_eq!(named("tariff", &lines), ["2"]);
}

#[test]
fn of_two_clocks_the_first_counts() {
    let (early, late) = ("0-0:1.0.0(260115183107W)", "0-0:1.0.0(260115183117W)");
    assert_eq!(named("timestamp", &[early, late]), ["260115183107W"]);
    assert_eq!(named("timestamp", &[late, early]), ["260115183117W"]);
}

#[test]
fn of_a_stamped_number_that_a_meter_sends_twice_the_newest_counts() {
    let old = "1-0:1.6.0(260101183107W)(01.000*kW)";
    let new = "1-0:1.6.0(260115183107W)(02.000*kW)";
    for lines in [[old, new], [new, old]] {
        assert_eq!(named("P_peak", &lines), ["2.000 kW"], "{lines:?}");
    }
}

#[test]
fn what_comes_late_counts_for_the_lines_before_it() {
    let belgian = ["0-0:96.1.4(50217)", "1-0:1.8.1(000001.5*kWh)"];
    let gas = [
        "0-0:1.0.0(260115183107W)",
        "0-1:24.1.0(003)",
        "0-1:24.2.1(290115183000W)(00009.000*m3)",
        "0-2:24.1.0(003)",
        "0-2:24.2.1(260115183000W)(00001.000*m3)",
    ];
    let water = [
        "0-1:24.1.0(007)",
        "0-1:24.2.1(260115183000W)(00001.000*m3)",
        "0-1:96.1.1(414243)",
    ];
    for (name, lines, expected) in [
        ("delivered_high", &belgian[..], "1.5 kWh"),
        ("gas_reading", &gas, "1.000 m3"),
        ("water_reading", &water, "1.000 m3"),
        ("water_meter_sn", &water, "ABC"),
    ] {
        let mut lines = lines.to_vec();
        for _ in 0..lines.len() {
            assert_eq!(named(name, &lines), [expected], "{lines:?}");
            lines.rotate_left(1);
        }
    }
    let twice = [
        "0-1:96.1.1(414243)",
        "0-1:96.1.1(58595A)",
        "0-1:24.1.0(007)",
    ];
    let (read, _) = read(&telegram(DUTCH, &twice));
    let names: Vec<_> = read.values().map(|value| value.metric.name).collect();
    assert_eq!(names, ["water_meter_sn", "water_meter_sn", "mbus_device"]);
}

#[test]
fn a_telegram_is_read_alike_whatever_the_one_before_it_held() {
    let lines = [
        "0-0:1.0.0(260115183107W)",
        "0-0:96.14.0(0002)",
        "1-0:1.8.1(000001.5*kWh)",
        "1-0:1.8.2(000002.5*kWh)",
        "0-0:98.1.0(1)(1-0:1.6.0)(1-0:1.6.0)(260101000000W)(260101000000W)(1.0*kW)",
        "0-1:24.1.0(003)",
        "0-1:96.1.0(414243)",
        "0-1:24.2.1(260115183000W)(00001.000*m3)",
        "0-2:24.1.0(007)",
        "0-2:24.2.1(260115183000W)(00002.000*m3)",
    ];
    let orders = {
        let moved = lines.map(|line| line.replace("0-2:", "0-3:").replace("0-1:", "0-2:"));
        let turned: Vec<String> = lines.iter().rev().map(|line| line.to_string()).collect();
        let twice: Vec<String> = lines
            .iter()
            .flat_map(|line| [*line, *line].map(str::to_string))
            .collect();
        let some = moved.iter().step_by(2).cloned().collect();
        let strange = lines.map(|line| line.replace("1-0:", "9-0:").replace("0-1:", "0-0:"));
        [moved.to_vec(), turned, twice, some, strange.to_vec()]
    };
    let read_of = |reading: &Reading| -> Vec<String> {
        let shown = |value: metertrekker::reading::Value<'_>| {
            let name = value.metric.name;
            format!("{} {name} {} {}", value.obis, shown(&value), value.newest)
        };
        reading.values().map(shown).collect()
    };
    for before in &orders {
        for then in &orders {
            let mut reading = Reading::new();
            let mut receiver = Receiver::new(CrcPolicy::Auto, &mut reading);
            for header in ["ISK5\\2M550E-1012", "AUX59902"] {
                for lines in [before, then] {
                    let bytes = telegram(header, lines);
                    let skipped = &mut |_: &[u8], _| ();
                    assert!(receiver.next(&mut &bytes[..], skipped).is_some());
                }
                let alone = read(&telegram(header, then)).0;
                assert_eq!(
                    read_of(receiver.reading()),
                    read_of(&alone),
                    "{before:?} {then:?}"
                );
            }
        }
    }
}

#[test]
fn a_decimal_comma_cuts_no_value() {
    let line = "1-0:1.8.1(000123,456*kWh)";
    let (reading, skipped) = read(&telegram(DUTCH, &[line]));
    assert_eq!(reading.len(), 0);
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    // A list of two quantities is something else.
    assert_eq!(
        named("I_limit", &["0-0:17.0.0(30.0*A,-65.0*A)"]),
        ["30.0 A"]
    );
}

#[test]
fn of_two_gas_meters_the_one_from_the_future_does_not_count() {
    let lines = [
        "0-0:1.0.0(260115183107W)",
        "0-1:24.1.0(003)",
        "0-1:24.2.1(290115183000W)(00009.000*m3)",
        "0-2:24.1.0(003)",
        "0-2:24.2.1(260115183000W)(00001.000*m3)",
    ];
    assert_eq!(named("gas_reading", &lines), ["1.000 m3"]);
    // Where it is the only one, it is the meter's clock that may be wrong.
    assert_eq!(named("gas_reading", &lines[..3]), ["9.000 m3"]);
}

#[test]
fn two_ids_of_one_serial_number_make_one() {
    let lines = ["0-0:96.1.0()", "0-0:96.1.1(414243)", "0-0:96.1.1(58595A)"];
    assert_eq!(named("meter_sn", &lines), ["ABC"]);
    let lines = [
        "0-1:24.1.0(003)",
        "0-1:96.1.0(414243)",
        "0-1:96.1.1(58595A)",
        "0-1:24.2.1(260115183000W)(00001.000*m3)",
    ];
    assert_eq!(named("gas_meter_sn", &lines), ["ABC"]);
}

#[test]
fn the_version_is_no_hex() {
    for (sent, version) in [
        ("1-3:0.2.8(42)", "42"),
        ("1-3:0.2.8(50)", "50"),
        ("1-3:0.2.8(P)", "P"),
        ("0-0:96.1.4(50217)", "50217"),
        ("0-0:96.1.4(3231313130)", "21110"),
    ] {
        let (reading, _) = read(&telegram(DUTCH, &[sent]));
        assert_eq!(reading.version(), Some(version.as_bytes()), "{sent}");
    }
}

#[test]
fn a_device_that_the_table_does_not_know_is_not_taken_for_gas() {
    // Steam, heat cost allocator, compressed air; and the type that comes behind the reading.
    for device in ["05", "8", "009"] {
        let device = format!("0-1:24.1.0({device})");
        let id = "0-1:96.1.0(414243)";
        let reading = "0-1:24.2.1(260115183000W)(00001.000*m3)";
        for lines in [[&device[..], id, reading], [reading, id, &device]] {
            let (read, _) = read(&telegram(DUTCH, &lines));
            let names: Vec<_> = read.values().map(|value| value.metric.name).collect();
            assert_eq!(names, ["mbus_device"], "{lines:?}");
        }
        let (_, skipped) = read(&telegram(DUTCH, &[&device[..], reading]));
        assert_eq!(skipped, [(reading.to_owned(), Skip::UnknownObis)]);
    }
}

#[test]
fn a_reading_without_a_device_type_goes_by_its_unit() {
    for (unit, name) in [("m3", "gas_reading"), ("GJ", "heat_reading")] {
        let line = format!("0-1:24.2.1(260115183000W)(00001.000*{unit})");
        assert_eq!(named(name, &[&line]), [format!("1.000 {unit}")]);
    }
}

#[test]
fn a_device_type_has_one_to_three_digits() {
    for device in ["7", "07", "007"] {
        let device = format!("0-1:24.1.0({device})");
        let reading = "0-1:24.2.1(260115183000W)(00001.000*m3)";
        assert_eq!(named("water_reading", &[&device, reading]), ["1.000 m3"]);
    }
}

#[test]
fn a_device_type_that_is_none_is_as_good_as_none() {
    for device in ["0.94*A", "303", "-3"] {
        let device = format!("0-1:24.1.0({device})");
        let reading = "0-1:24.2.1(260115183000W)(00001.000*m3)";
        assert_eq!(named("gas_reading", &[&device, reading]), ["1.000 m3"]);
    }
}

#[test]
fn heat_is_counted_in_joules_watt_hours_or_water() {
    for (sent, name, value) in [
        ("00012.345*GJ", "heat_reading", "12.345 GJ"),
        ("12345*MJ", "heat_reading", "12.345 GJ"),
        ("00012.345*kWh", "heat_reading_kWh", "12.345 kWh"),
        ("00012.345*m3", "heat_volume", "12.345 m3"),
    ] {
        for device in [4, 12, 13] {
            let device = format!("0-1:24.1.0({device:03})");
            let reading = format!("0-1:24.2.1(260115183000W)({sent})");
            assert_eq!(named(name, &[&device, &reading]), [value], "{sent}");
        }
    }
}

#[test]
fn cooling_of_dsmr_22_has_an_id_of_its_own() {
    let lines = [
        "0-1:24.1.0(10)",
        "0-1:24.3.1(121030140000)(00)(60)(1)(0-1:24.2.1)(GJ)",
        "(00024.123)",
    ];
    assert_eq!(named("cold_reading", &lines), ["24.123 GJ"]);
}

#[test]
fn of_two_gas_meters_on_two_lines_each_the_newer_counts() {
    let old = ["0-1:24.3.0(121030140000)(00)(60)(1)(0-1:24.2.1)(m3)", "(1)"];
    let new = ["0-2:24.3.0(121030150000)(00)(60)(1)(0-2:24.2.1)(m3)", "(2)"];
    for (a, b) in [(old, new), (new, old)] {
        assert_eq!(named("gas_reading", &[a[0], a[1], b[0], b[1]]), ["2 m3"]);
    }
}

#[test]
fn the_value_of_an_unread_channel_on_a_line_of_its_own_is_none() {
    let lines = ["0-1:24.3.0(632525252525)(00)(60)(1)(0-1:24.2.1)(m3)", "(0)"];
    let (reading, skipped) = read(&telegram(DUTCH, &lines));
    assert!(reading.is_empty());
    assert_eq!(skipped, lines.map(|line| (line.to_owned(), Skip::NoValue)));
}

#[test]
fn a_gas_meter_before_dsmr_22_keeps_its_serial_number() {
    let lines = [
        "0-3:96.1.0*255(29973286         )",
        "7-0:23.1.0*255(00012.000*m3)(19-01-01 01:00:00)",
        "7-0:23.1.0*255(00013.000*m3)(19-01-01 02:00:00)",
        "7-0:23.1.0*255(00011.000*m3)(19-01-01 00:00:00)",
    ];
    assert_eq!(named("gas_reading", &lines), ["13.000 m3"]);
    assert_eq!(named("gas_meter_sn", &lines), ["29973286"]);
}

#[test]
fn a_number_with_too_many_digits_to_convert_is_told() {
    for line in [
        "1-0:61.7.0(0.0720251202155826W)",
        "1-0:32.7.0(999999999999999999*kV)",
    ] {
        let (reading, skipped) = read(&telegram(DUTCH, &[line]));
        assert!(reading.is_empty());
        assert_eq!(skipped, [(line.to_owned(), Skip::Unit)]);
    }
}

#[test]
fn a_reading_on_two_lines_in_a_unit_of_no_row_is_told() {
    let lines = [
        "0-1:24.3.1(121030140000)(00)(60)(1)(0-1:24.2.1)(m3)",
        "(00024.123)",
    ];
    let (reading, skipped) = read(&telegram(DUTCH, &lines));
    assert!(reading.is_empty());
    assert_eq!(skipped, [(lines[1].to_owned(), Skip::Unit)]);
}

#[test]
fn absent_is_not_zero() {
    let lines = ["1-0:1.7.0(00.000*kW)", "1-0:2.7.0()", "1-0:21.7.0(*kW)"];
    let (reading, _) = read(&telegram(DUTCH, &lines));
    let names: Vec<_> = reading.values().map(|value| value.metric.name).collect();
    assert_eq!(names, ["P_total"]);
}

/// Whatever a line says that was taken, a value comes of it: with each unit under each id, for each
/// device and each national variant.
#[test]
fn no_value_is_lost_when_its_row_is_chosen() {
    let table = 0..metric::count();
    let rows: Vec<_> = table.map(|index| metric::get(index).unwrap()).collect();
    let units: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| row.unit)
        .map(|unit| unit.as_str())
        .collect();
    let ids: BTreeSet<Obis> = rows.iter().map(|row| row.obis.with_channel(1)).collect();
    for header in ["ISK5", "FLU5", "Lux5", "EST5", "AUX5", "ESO5", "GRE5"] {
        let mut reading = Reading::new();
        for device in [
            None,
            Some(0),
            Some(2),
            Some(3),
            Some(4),
            Some(6),
            Some(7),
            Some(8),
            Some(10),
        ] {
            for id in &ids {
                for unit in &units {
                    reading.begin(header.as_bytes());
                    if let Some(code) = device {
                        reading
                            .line(format!("0-1:24.1.0({code})").as_bytes())
                            .unwrap();
                    }
                    let line = format!("{id}(260115183000W)(12*{unit})");
                    let plain = format!("{id}(12*{unit})");
                    let taken = [line, plain].map(|line| reading.line(line.as_bytes()).is_ok());
                    reading.settle();
                    let expected =
                        usize::from(device.is_some()) + taken.iter().filter(|ok| **ok).count();
                    assert_eq!(
                        reading.values().count(),
                        expected,
                        "{header} {device:?} {id} {unit}"
                    );
                }
            }
        }
    }
    assert_eq!(Device::from_mbus_type(8), Some(Device::Other));
}
