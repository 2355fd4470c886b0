//! The InfluxDB lines of all fixtures and of telegrams with whatever a text may hold, read by the
//! tests' own reader of the line protocol.

mod support;

use std::fs;
use std::path::Path;

use metertrekker::metric::{self, Device, Influx, Kind};
use metertrekker::publish::{Overflow, influx};
use metertrekker::reading::Reading;
use metertrekker::settings::Settings;
use support::influx_line::{Line, Value};
use support::telegram::{read, telegram};

/// The lines of a reading: electricity first, then the devices in their order.
fn lines(reading: &Reading, settings: &Settings) -> Vec<String> {
    let mut buffer = vec![0; 4096];
    let mut lines = vec![];
    let length = influx::electricity(reading, settings, &|_| true, &mut buffer).unwrap();
    lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    for device in Device::ALL {
        let length = influx::device(device, reading, settings, &mut buffer).unwrap();
        lines.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// A line of a meter without clock has no time, which the reader wants.
fn parsed(line: &str, reading: &Reading) -> Line {
    match reading.clock() {
        None if line.starts_with("electricity") => Line::parse(&format!("{line} 0")),
        _ => Line::parse(line),
    }
}

fn assert_is_sound(name: &str, text: &str, reading: &Reading) {
    let line = parsed(text, reading);
    assert!(!line.fields.is_empty(), "{name}: no field in {text}");
    let rows: Vec<_> = (0..metric::count()).filter_map(metric::get).collect();
    for tag in line.tags.keys() {
        let is_tag = rows
            .iter()
            .any(|row| row.name == tag && row.influx == Influx::Tag);
        assert!(is_tag, "{name}: {tag} is no tag of the table");
    }
    for (column, value) in &line.fields {
        let row = rows
            .iter()
            .find(|row| row.name == column && row.influx == Influx::Field);
        let Some(row) = row.or_else(|| {
            let clock = rows.iter().find(|row| row.kind == Kind::Clock);
            clock.filter(|_| column == "timestamp")
        }) else {
            panic!("{name}: {column} is no field of the table");
        };
        let number = matches!(row.kind, Kind::Number | Kind::Stamped | Kind::Profile);
        let fits = match value {
            Value::Float(_) => number,
            Value::Text(_) => !number,
            Value::Integer(_) | Value::Bool(_) => false,
        };
        assert!(fits, "{name}: {column} is {value:?}");
    }
}

#[test]
fn the_lines_of_each_fixture_are_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let settings = Settings::default();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "p1") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (reading, _) = read(&fs::read(&path).unwrap());
        let lines = lines(&reading, &settings);
        // A Warmtelink measures heat alone.
        let electric = !name.starts_with("warmtelink");
        let found = lines
            .first()
            .is_some_and(|line| line.starts_with("electricity"));
        assert_eq!(found, electric, "{name}: {lines:?}");
        for line in &lines {
            assert_is_sound(&name, line, &reading);
        }
        if let Some(clock) = reading.clock().filter(|_| electric) {
            let ns = i64::from(clock.utc) * 1_000_000_000;
            assert_eq!(parsed(&lines[0], &reading).time, ns, "{name}");
        }
        count += lines.len();
    }
    assert!(count > 200, "{count} lines");
}

const CLOCK: &str = "0-0:1.0.0(190827155511S)";
const POWER: &str = "1-0:1.7.0(00.454*kW)";

fn electricity(lines_of_telegram: &[&[u8]]) -> Line {
    let (reading, _) = read(&telegram("ISK5", lines_of_telegram));
    let lines = lines(&reading, &Settings::default());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_is_sound("made here", &lines[0], &reading);
    Line::parse(&lines[0])
}

#[test]
fn the_line_of_the_readme_is_written_to_the_letter() {
    let lines_of_telegram = [
        CLOCK,
        "0-0:96.1.1(4530303235303035353030303030303030)",
        "1-0:1.8.1(000057.460*kWh)",
        "0-0:96.14.0(0002)",
        "1-0:1.7.0(00.454*kW)",
        "0-1:24.1.0(003)",
        "0-1:96.1.0(4730303032373030303030303030303030)",
        "0-1:24.2.1(190827155504S)(00012.785*m3)",
    ];
    let (reading, _) = read(&telegram("ISK5", &lines_of_telegram));
    assert_eq!(
        lines(&reading, &Settings::default()),
        [
            "electricity,meter_sn=E0025005500000000 timestamp=\"190827155511S\",\
             delivered_low=57.460,tariff=2,P_total=0.454 1566914111000000000",
            "gas,gas_meter_sn=G0002700000000000 timestamp=\"190827155504S\",\
             gas_reading=12.785 1566914104000000000",
        ]
    );
}

#[test]
fn a_serial_number_may_hold_any_character() {
    for serial in [
        "AB\\", "AB 12", "A,B", "A=B", "A\"B", "A\\B", "A\\", " A", "A,", "=", "\"", "A\\ B",
        "A\\,B", "(A)", "{}", "é",
    ] {
        let hex: String = serial.bytes().map(|byte| format!("{byte:02X}")).collect();
        let id = format!("0-0:96.1.1({hex})");
        let line = electricity(&[CLOCK.as_bytes(), id.as_bytes(), POWER.as_bytes()]);
        // Among the tags nothing escapes a backslash.
        assert_eq!(
            line.tags["meter_sn"],
            serial.replace('\\', "/"),
            "{serial:?}"
        );
        assert_eq!(line.fields["P_total"], Value::Float(0.454), "{serial:?}");
    }
}

#[test]
fn a_message_may_hold_any_character() {
    for message in [
        "A \"B\", C=D",
        "A\\B",
        "\\",
        "\"",
        "\\\"",
        "1, 2 = 3",
        "ünï",
        "\\n",
    ] {
        let hex: String = message.bytes().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("0-0:96.13.0({hex})");
        let line = electricity(&[CLOCK.as_bytes(), text.as_bytes(), POWER.as_bytes()]);
        let expected = Value::Text(message.to_owned());
        assert_eq!(line.fields["message"], expected, "{message:?}");
    }
}

#[test]
fn line_ends_and_bytes_that_are_no_text_do_not_reach_the_line() {
    let line = electricity(&[CLOCK.as_bytes(), b"0-0:96.13.0(410D0A42)", POWER.as_bytes()]);
    assert_eq!(line.fields["message"], Value::Text("A  B".into()));
    let line = electricity(&[
        CLOCK.as_bytes(),
        b"0-0:96.13.0(a\xFF\x01b)",
        POWER.as_bytes(),
    ]);
    assert_eq!(line.fields["message"], Value::Text("a? b".into()));
}

#[test]
fn a_control_character_of_a_serial_number_is_an_escaped_blank() {
    for byte in [0x00, b'\t', 0x7F] {
        let id = [&b"0-0:96.1.1(x"[..], &[byte], b"y)"].concat();
        let line = electricity(&[CLOCK.as_bytes(), &id, POWER.as_bytes()]);
        assert_eq!(line.tags["meter_sn"], "x y");
    }
}

#[test]
fn measurements_are_those_of_the_settings() {
    let mut settings = Settings::default();
    settings
        .set("electricity_measurement", "my house, power")
        .unwrap();
    settings.set("gas_measurement", "gas=heat").unwrap();
    let gas = "0-1:24.2.1(190827155504S)(00012.785*m3)";
    let (reading, _) = read(&telegram("ISK5", &[CLOCK, POWER, "0-1:24.1.0(003)", gas]));
    let names: Vec<_> = lines(&reading, &settings)
        .iter()
        .map(|line| Line::parse(line).measurement)
        .collect();
    assert_eq!(names, ["my house, power", "gas=heat"]);
}

#[test]
fn each_kind_of_device_has_a_line_with_its_own_time() {
    for (code, unit, measurement, field) in [
        (3, "m3", "gas", "gas_reading"),
        (7, "m3", "water", "water_reading"),
        (6, "m3", "warm_water", "warm_water_reading"),
        (4, "GJ", "heat", "heat_reading"),
        (10, "GJ", "cold", "cold_reading"),
        (2, "kWh", "submeter", "submeter_reading"),
    ] {
        let device = format!("0-2:24.1.0({code:03})");
        let reading = format!("0-2:24.2.1(190827155504S)(00012.785*{unit})");
        let id = "0-2:96.1.0(414243)";
        let (reading, _) = read(&telegram("ISK5", &[CLOCK, POWER, &device, id, &reading]));
        let lines = lines(&reading, &Settings::default());
        let line = Line::parse(&lines[1]);
        assert_eq!(lines.len(), 2);
        assert_eq!(line.measurement, measurement);
        assert_eq!(line.fields[field], Value::Float(12.785));
        assert_eq!(line.tags.values().collect::<Vec<_>>(), ["ABC"]);
        assert_eq!(line.time, 1_566_914_104_000_000_000);
        assert_eq!(Line::parse(&lines[0]).time, 1_566_914_111_000_000_000);
    }
}

#[test]
fn a_line_without_fields_is_not_written() {
    let (reading, _) = read(&telegram("ISK5", &["0-0:96.1.1(414243)"]));
    let lines = lines(&reading, &Settings::default());
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn a_phase_that_is_switched_off_is_not_in_the_line() {
    let mut settings = Settings::default();
    settings.set("phases", "1").unwrap();
    let voltages = [
        "1-0:32.7.0(230.1*V)",
        "1-0:52.7.0(230.2*V)",
        "1-0:72.7.0(230.3*V)",
    ];
    let (reading, _) = read(&telegram("ISK5", &voltages));
    let lines = lines(&reading, &settings);
    assert_eq!(lines, ["electricity V_L1=230.1"]);
}

#[test]
fn texts_that_have_not_changed_are_left_out() {
    let message = "0-0:96.13.0(414243)";
    let (reading, _) = read(&telegram(
        "ISK5",
        &[CLOCK, "0-0:96.1.1(58)", message, POWER],
    ));
    let mut buffer = [0; 256];
    let changed = |value: &metertrekker::reading::Value<'_>| value.metric.name != "message";
    let length =
        influx::electricity(&reading, &Settings::default(), &changed, &mut buffer).unwrap();
    let line = Line::parse(std::str::from_utf8(&buffer[..length]).unwrap());
    assert!(!line.fields.contains_key("message"));
    assert_eq!(line.tags["meter_sn"], "X");
}

#[test]
fn a_buffer_that_is_too_small_is_told_wherever_it_ends() {
    let (reading, _) = read(&telegram("ISK5", &[CLOCK, "0-0:96.1.1(414243)", POWER]));
    let settings = Settings::default();
    let mut buffer = [0; 256];
    let length = influx::electricity(&reading, &settings, &|_| true, &mut buffer).unwrap();
    for short in 0..length {
        let written = influx::electricity(&reading, &settings, &|_| true, &mut buffer[..short]);
        assert_eq!(written, Err(Overflow), "{short} bytes");
    }
}
