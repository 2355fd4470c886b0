//! The payloads of the MQTT topics: numbers, texts, lists, and which of several values has the topic.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use metertrekker::metric::Device;
use metertrekker::publish::{Overflow, topics};
use metertrekker::reading::Reading;
use metertrekker::settings::Settings;
use support::telegram::{read, telegram};

/// A setting's name and value.
type Setting = (&'static str, &'static str);

/// Every payload by its topic, less the part that all have in common.
fn published(lines: &[&str], changed: &[Setting]) -> BTreeMap<String, String> {
    let mut settings = Settings::default();
    for (name, value) in changed {
        settings.set(name, value).unwrap();
    }
    let (reading, _) = read(&telegram("ISK5", lines));
    let mut published = BTreeMap::new();
    for (topic, value) in topics::values(&reading, &settings) {
        let mut buffer = [0; 2048];
        let length = topics::payload(&value, &settings, &mut buffer).unwrap();
        let payload = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let topic = topic.strip_prefix("/energy").expect(topic).to_owned();
        assert_eq!(
            published.insert(topic.clone(), payload),
            None,
            "{topic} twice"
        );
    }
    published
}

/// The payload of a telegram's only topic.
fn payload(line: &str, changed: &[Setting]) -> String {
    let published = published(&[line], changed);
    assert_eq!(published.len(), 1, "{published:?}");
    published.into_values().next().unwrap()
}

const AS_SENT: &[Setting] = &[("payload_unit", "true")];

#[test]
fn a_number_is_alone_in_the_tables_unit_or_as_the_original_sent_it() {
    for (line, alone, as_sent) in [
        ("1-0:1.8.1(000057.460*kWh)", "57.460", "000057.460 kWh"),
        ("1-0:1.7.0(00.000*kW)", "0.000", "00.000 kW"),
        ("1-0:32.7.0(229.0*V)", "229.0", "229.0 V"),
        ("1-0:31.7.0(001*A)", "1", "001 A"),
        // Bare numbers stay bare.
        ("0-0:96.14.0(0002)", "2", "0002"),
        ("0-0:96.7.21(00008)", "8", "00008"),
        ("1-0:13.7.0(-0.997)", "-0.997", "-0.997"),
        // Other units: converted, or as sent.
        ("1-0:1.8.1(000123456*Wh)", "123.456", "000123456 Wh"),
        ("1-0:1.7.0(00400*W)", "0.400", "00400 W"),
        ("1-0:32.7.0(0000.236*kV)", "236", "0000.236 kV"),
        ("1-0:31.7.0(00432*mA)", "0.432", "00432 mA"),
        ("1-0:14.7.0(0.050*kHz)", "50", "0.050 kHz"),
        ("1-0:16.24.0(-1.937*kW)", "-1.937", "-1.937 kW"),
        // No unit, no asterisk, a blank, other spelling.
        ("1-0:1.8.1(000057.460)", "57.460", "000057.460 kWh"),
        ("1-0:1.8.1(000057.460kWh)", "57.460", "000057.460 kWh"),
        ("1-0:1.8.1(000057.46*kWh )", "57.46", "000057.46 kWh"),
        (
            "1-0:3.8.0(00000123.456*kVArh)",
            "123.456",
            "00000123.456 kvarh",
        ),
        (
            "1-0:1.8.1(00000012.34567890*kWh)",
            "12.34567890",
            "00000012.34567890 kWh",
        ),
    ] {
        assert_eq!(payload(line, &[]), alone, "{line}");
        assert_eq!(payload(line, AS_SENT), as_sent, "{line}");
    }
}

#[test]
fn a_text_is_its_characters() {
    for (line, text) in [
        ("0-0:96.13.0(48656C6C6F)", "Hello"),
        ("0-0:96.13.0(Hello)", "Hello"),
        ("0-0:96.13.0()", ""),
        ("0-0:96.3.10(1)", "1"),
        ("0-0:96.3.10(ON)", "ON"),
        ("0-0:96.13.0(41225C42)", "A\"\\B"),
    ] {
        assert_eq!(payload(line, &[]), text, "{line}");
        assert_eq!(payload(line, AS_SENT), text, "{line}");
    }
}

#[test]
fn a_list_is_json() {
    for (line, json) in [
        (
            "1-0:99.97.0(2)(0-0:96.7.19)(190201235231W)(0000003231*s)(190827155511S)(0000001489*s)",
            r#"[["2019-02-01T22:52:31Z",3231],["2019-08-27T13:55:11Z",1489]]"#,
        ),
        ("1-0:99.97.0()", "[]"),
        ("1-0:99.97.0(0)(0-0:96.7.19)", "[]"),
        (
            "1-0:99:97.0(1)(0:96.7.19)(000101000001W)(2147483647*s)",
            "[]",
        ),
        ("1-1:31.4.0(100*A)(-063*A)", "[[100,-63]]"),
    ] {
        let found = payload(line, &[]);
        let parsed: serde_json::Value = serde_json::from_str(&found).unwrap();
        assert!(parsed.is_array(), "{found}");
        assert_eq!(found, json, "{line}");
        assert_eq!(payload(line, AS_SENT), json, "{line}");
    }
}

#[test]
fn phases_that_are_switched_off_have_no_topic() {
    let lines = [
        "1-0:32.7.0(230.1*V)",
        "1-0:52.7.0(230.2*V)",
        "1-0:72.7.0(230.3*V)",
        "1-0:1.7.0(00.100*kW)",
        "1-0:52.32.0(00001)",
    ];
    let one: Vec<_> = published(&lines, &[("phases", "1")])
        .into_values()
        .collect();
    assert_eq!(one.len(), 2);
    assert!(one.contains(&"230.1".into()) && one.contains(&"0.100".into()));
    assert_eq!(published(&lines, &[("phases", "3")]).len(), 5);
}

#[test]
fn of_several_channels_of_a_kind_the_newest_has_the_topic() {
    let old = [
        "0-1:24.1.0(003)",
        "0-1:24.2.1(190827155504S)(00001.000*m3)",
        "0-1:24.4.0(0)",
    ];
    let new = [
        "0-2:24.1.0(003)",
        "0-2:24.2.1(260115183000W)(00002.000*m3)",
        "0-2:24.4.0(1)",
    ];
    let water = ["0-3:24.1.0(007)", "0-3:24.2.1(010101000000W)(00003.000*m3)"];
    for (a, b) in [(old, new), (new, old)] {
        let lines = [&a[..], &b[..], &water[..]].concat();
        let published = published(&lines, &[]);
        assert_eq!(published["/gas/reading"], "2.000", "{lines:?}");
        assert_eq!(published["/gas/valve"], "1", "{lines:?}");
        assert_eq!(published["/water/reading"], "3.000", "{lines:?}");
    }
}

#[test]
fn summer_time_that_ends_makes_no_reading_older() {
    let before = ["0-1:24.1.0(003)", "0-1:24.2.1(261025025500S)(00001.000*m3)"];
    let after = ["0-2:24.1.0(003)", "0-2:24.2.1(261025020000W)(00002.000*m3)"];
    for lines in [[before, after].concat(), [after, before].concat()] {
        assert_eq!(published(&lines, &[])["/gas/reading"], "2.000");
    }
}

/// The reading of each fixture, with its path.
fn fixtures() -> impl Iterator<Item = (PathBuf, Box<Reading>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let paths = fs::read_dir(folder).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let telegrams = paths.filter(|path| path.extension().is_some_and(|ending| ending == "p1"));
    telegrams.map(|path| {
        let (reading, _) = read(&fs::read(&path).unwrap());
        (path, reading)
    })
}

#[test]
fn each_fixture_feeds_each_topic_once() {
    let settings = Settings::default();
    for (path, reading) in fixtures() {
        let topics: Vec<_> = topics::values(&reading, &settings)
            .map(|(t, _)| t)
            .collect();
        let different: BTreeSet<_> = topics.iter().collect();
        assert_eq!(
            different.len(),
            topics.len(),
            "{}: {topics:?}",
            path.display()
        );
    }
}

#[test]
fn the_newest_value_of_a_kind_of_device_was_taken_when_a_search_says_so() {
    let mut found = 0;
    for (path, reading) in fixtures() {
        for device in Device::ALL {
            let mut values = reading.values();
            let searched = values.find(|value| {
                value.metric.device == Some(device) && value.newest && value.at.is_some()
            });
            let newest = reading.newest_at(device);
            found += usize::from(newest.is_some());
            let searched = searched.and_then(|value| value.at);
            assert_eq!(newest, searched, "{}: {device:?}", path.display());
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn what_the_meter_does_not_send_is_not_published() {
    let lines = [
        "1-0:1.7.0(00.100*kW)",
        "1-0:2.7.0()",
        "0-1:24.2.1(632525252525S)(00000.000)",
    ];
    assert_eq!(published(&lines, &[]).len(), 1);
}

#[test]
fn a_buffer_that_is_too_small_is_told() {
    let settings = Settings::default();
    for line in [
        "1-0:1.8.1(000057.460*kWh)",
        "0-0:96.13.0(48656C6C6F)",
        "1-0:99.97.0(1)(0-0:96.7.19)(190201235231W)(0000003231*s)",
    ] {
        let (reading, _) = read(&telegram("ISK5", &[line]));
        let (_, value) = topics::values(&reading, &settings).next().unwrap();
        let mut buffer = [0; 64];
        let length = topics::payload(&value, &settings, &mut buffer).unwrap();
        for short in 0..length {
            let written = topics::payload(&value, &settings, &mut buffer[..short]);
            assert_eq!(written, Err(Overflow), "{line} in {short} bytes");
        }
    }
}
