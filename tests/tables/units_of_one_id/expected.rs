// Generated from metrics.toml by build.rs. Do not edit.

use super::*;

pub static VARIANTS: [&str; 0] = [];

pub static HEADERS: [(&[u8], Variant); 0] = [
];

pub static MARKERS: [(u32, Variant); 0] = [
];

pub static KEYS: [u32; 4] = [
    0x00110000, // 0-0:17.0.0
    0x00110000, // 0-0:17.0.0
    0x00110000, // 0-0:17.0.0
    0x00110000, // 0-0:17.0.0
];

pub static METRICS: [Metric; 4] = [
    // 0-0:17.0.0: a metric (kW)
    Metric {
        obis: Obis::from_key(0x00110000),
        name: "P_limit",
        kind: Kind::Number,
        unit: Some(Unit { base: Base::W, prefix: Prefix::Kilo }),
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:17.0.0: a metric (mA)
    Metric {
        obis: Obis::from_key(0x00110000),
        name: "I_limit",
        kind: Kind::Number,
        unit: Some(Unit { base: Base::A, prefix: Prefix::Milli }),
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:17.0.0: a metric (VA)
    Metric {
        obis: Obis::from_key(0x00110000),
        name: "S_limit",
        kind: Kind::Number,
        unit: Some(Unit { base: Base::Va, prefix: Prefix::None }),
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-0:17.0.0: what has "no" unit | of these
    Metric {
        obis: Obis::from_key(0x00110000),
        name: "any_limit",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
];

pub static DESCRIPTIONS: [&str; 4] = [
    "a metric",
    "a metric",
    "a metric",
    "what has \"no\" unit | of these",
];
