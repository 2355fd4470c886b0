//! Lines of a telegram, the first its header, straight into a reading and from there to all that is
//! published: any bytes are welcome, and what comes out is valid and fits.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use metertrekker::metric::Device;
use metertrekker::publish::{Overflow, influx, topics};
use metertrekker::reading::{Content, Reading};
use metertrekker::settings::Settings;
use metertrekker_fuzz::influx_line::Line;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut reading = Box::new(Reading::new());
    reading.begin(lines.next().unwrap_or_default());
    for line in lines {
        // Why a line is skipped is for other tests; here it only must not do harm.
        let _ = reading.line(line.strip_suffix(b"\r").unwrap_or(line));
    }
    reading.settle();

    let mut settings = Settings {
        payload_unit: data.len() % 2 == 0,
        ..Settings::default()
    };
    settings.phases = if data.len() % 3 == 0 { 1 } else { 3 };
    check_influx(&reading, &settings);
    check_topics(&reading, &settings);
});

fn check_influx(reading: &Reading, settings: &Settings) {
    // A meter that sends one number twice has it twice in its line; only then is that so.
    let mut names = BTreeSet::new();
    let newest = reading.values().filter(|value| value.newest);
    let mut twice = false;
    for value in newest {
        twice |= !names.insert(value.metric.name);
    }
    let electricity = |buffer: &mut [u8]| influx::electricity(reading, settings, &|_| true, buffer);
    check(electricity, twice);
    for device in Device::ALL {
        check(
            |buffer| influx::device(device, reading, settings, buffer),
            twice,
        );
    }
}

fn check(write: impl Fn(&mut [u8]) -> Result<usize, Overflow>, twice: bool) {
    let mut buffer = vec![0; 32 * 1024];
    let length = write(&mut buffer).expect("room for any line");
    for short in [0, 1, length / 2, length.saturating_sub(1)] {
        let written = write(&mut vec![0; short]);
        assert!(length == 0 || short >= length || written == Err(Overflow));
    }
    let line = std::str::from_utf8(&buffer[..length]).expect("UTF-8");
    assert!(!line.contains(['\n', '\r']), "{line}");
    if length > 0 && !twice {
        // A meter without clock leaves the time out.
        let timed = line
            .rsplit(' ')
            .next()
            .is_some_and(|time| time.parse::<u64>().is_ok());
        let line = if timed {
            line.to_owned()
        } else {
            format!("{line} 0")
        };
        assert!(!Line::parse(&line).fields.is_empty());
    }
}

fn check_topics(reading: &Reading, settings: &Settings) {
    let mut buffer = vec![0; 16 * 1024];
    for (topic, value) in topics::values(reading, settings) {
        assert!(topic.starts_with('/'));
        let length = topics::payload(&value, settings, &mut buffer).expect("room for any payload");
        for short in [0, length / 2, length.saturating_sub(1)] {
            let written = topics::payload(&value, settings, &mut vec![0; short]);
            assert!(short >= length || written == Err(Overflow));
        }
        let payload = &buffer[..length];
        match value.content {
            Content::Log(_) => {
                serde_json::from_slice::<Vec<Vec<serde_json::Value>>>(payload).expect("rows");
            }
            Content::Number { .. } => {
                let text = std::str::from_utf8(payload).expect("digits");
                let digits = text.split(' ').next().unwrap_or_default();
                assert!(digits.parse::<f64>().is_ok(), "{text}");
            }
            Content::Text(_) => {}
        }
    }
}
