// Generated from metrics.toml by build.rs. Do not edit.

use super::*;

/// Belgium.
pub const VARIANT_BE: Variant = Variant::new(0);
/// Luxembourg.
pub const VARIANT_LU: Variant = Variant::new(1);
/// the longer prefix comes first.
pub const VARIANT_FL: Variant = Variant::new(2);

pub static VARIANTS: [&str; 3] = ["be", "lu", "fl"];

pub static HEADERS: [(&[u8], Variant); 3] = [
    (b"FLUX", VARIANT_FL),
    (b"FLU", VARIANT_BE),
    (b"Lux", VARIANT_LU),
];

pub static MARKERS: [(u32, Variant); 1] = [
    (0x00600104, VARIANT_BE), // 0-0:96.1.4
];

pub static KEYS: [u32; 5] = [
    0x00620100, // 0-0:98.1.0
    0x10010801, // 1-0:1.8.1
    0x10010801, // 1-0:1.8.1
    0x10010802, // 1-0:1.8.2
    0x10010802, // 1-0:1.8.2
];

pub static METRICS: [Metric; 5] = [
    // 0-0:98.1.0: a metric
    Metric {
        obis: Obis::from_key(0x00620100),
        name: "peaks",
        kind: Kind::Log,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::of(&[VARIANT_BE, VARIANT_LU]),
    },
    // 1-0:1.8.1: a metric
    Metric {
        obis: Obis::from_key(0x10010801),
        name: "high",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::of(&[VARIANT_BE]),
    },
    // 1-0:1.8.1: a metric
    Metric {
        obis: Obis::from_key(0x10010801),
        name: "low",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 1-0:1.8.2: a metric
    Metric {
        obis: Obis::from_key(0x10010802),
        name: "low",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::of(&[VARIANT_BE]),
    },
    // 1-0:1.8.2: a metric
    Metric {
        obis: Obis::from_key(0x10010802),
        name: "high",
        kind: Kind::Number,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
];

pub static DESCRIPTIONS: [&str; 5] = [
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
];
