// Generated from metrics.toml by build.rs. Do not edit.

use super::*;

pub static VARIANTS: [&str; 0] = [];

pub static HEADERS: [(&[u8], Variant); 0] = [
];

pub static MARKERS: [(u32, Variant); 0] = [
];

pub static KEYS: [u32; 9] = [
    0x00010000, // 0-0:1.0.0
    0x00010001, // 0-0:1.0.1
    0x00010002, // 0-0:1.0.2
    0x00010003, // 0-0:1.0.3
    0x00010004, // 0-0:1.0.4
    0x00010005, // 0-0:1.0.5
    0x00010006, // 0-0:1.0.6
    0x00010007, // 0-0:1.0.7
    0x00010008, // 0-0:1.0.8
];

pub static METRICS: [Metric; 9] = [
    // 0-0:1.0.0: a metric
    Metric {
        obis: Obis::from_key(0x00010000),
        name: "m_number",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::Field,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.1: a metric
    Metric {
        obis: Obis::from_key(0x00010001),
        name: "m_text",
        kind: Kind::Text,
        unit: None,
        topic: None,
        influx: Influx::Tag,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.2: a metric
    Metric {
        obis: Obis::from_key(0x00010002),
        name: "m_hex",
        kind: Kind::Hex,
        unit: None,
        topic: None,
        influx: Influx::Tag,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.3: a metric
    Metric {
        obis: Obis::from_key(0x00010003),
        name: "m_version",
        kind: Kind::Version,
        unit: None,
        topic: None,
        influx: Influx::Tag,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.4: a metric
    Metric {
        obis: Obis::from_key(0x00010004),
        name: "m_clock",
        kind: Kind::Clock,
        unit: None,
        topic: None,
        influx: Influx::Field,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.5: a metric
    Metric {
        obis: Obis::from_key(0x00010005),
        name: "m_device",
        kind: Kind::Device,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: Some(3),
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.6: a metric
    Metric {
        obis: Obis::from_key(0x00010006),
        name: "m_stamped",
        kind: Kind::Stamped,
        unit: None,
        topic: None,
        influx: Influx::Field,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.7: a metric
    Metric {
        obis: Obis::from_key(0x00010007),
        name: "m_profile",
        kind: Kind::Profile,
        unit: None,
        topic: None,
        influx: Influx::Field,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:1.0.8: a metric
    Metric {
        obis: Obis::from_key(0x00010008),
        name: "m_log",
        kind: Kind::Log,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: Some(3),
        device: None,
        variants: Variants::EVERY,
    },
];

pub static DESCRIPTIONS: [&str; 9] = [
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
];
