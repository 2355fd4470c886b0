//! What meters do that the standards do not say, each with a test of its name. docs/quirks.md lists them.

mod choice;
mod frame;
mod lists;
mod mbus;
mod page;
#[path = "../support/mod.rs"]
mod support;
mod values;

use metertrekker::{
    publish::{influx, topics},
    reading::Reading,
    settings::Settings,
};
use support::telegram::{newest, read, telegram};

const DUTCH: &str = "ISK5\\2M550E-1012";
const BELGIAN: &str = "FLU5\\253769484_A";
const HUNGARIAN: &str = "AUX59902";

/// What counts under a name in a telegram of these lines.
fn named(name: &str, lines: &[&str]) -> Vec<String> {
    named_by(DUTCH, name, lines)
}

/// The same from a meter with this header.
fn named_by(header: &str, name: &str, lines: &[&str]) -> Vec<String> {
    newest(&read(&telegram(header, lines)).0, name)
}

/// What is published on a topic below `/energy`.
fn topic(header: &str, topic: &str, lines: &[&str]) -> Option<String> {
    let (reading, _) = read(&telegram(header, lines));
    let topic = format!("/energy{topic}");
    let settings = Settings::default();
    let mut values = topics::values(&reading, &settings);
    let (_, value) = values.find(|(found, _)| *found == topic)?;
    let mut buffer = [0; 2048];
    let length = topics::payload(&value, &settings, &mut buffer).unwrap();
    Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
}

/// The InfluxDB lines of all M-Bus devices.
fn device_lines(reading: &Reading) -> Vec<String> {
    let settings = Settings::default();
    let mut buffer = [0; 1024];
    let lines = metertrekker::metric::Device::ALL.iter().map(|device| {
        let length = influx::device(*device, reading, &settings, &mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    });
    lines.filter(|line| !line.is_empty()).collect()
}
