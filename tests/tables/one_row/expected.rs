// Generated from metrics.toml by build.rs. Do not edit.

use super::*;

pub static VARIANTS: [&str; 0] = [];

pub static HEADERS: [(&[u8], Variant); 0] = [
];

pub static MARKERS: [(u32, Variant); 0] = [
];

pub static KEYS: [u32; 1] = [
    0x10010801, // 1-0:1.8.1
];

pub static METRICS: [Metric; 1] = [
    // 1-0:1.8.1: energy, low tariff (kWh)
    Metric {
        obis: Obis::from_key(0x10010801),
        name: "delivered_low",
        kind: Kind::Number,
        unit: Some(Unit { base: Base::Wh, prefix: Prefix::Kilo }),
        topic: Some("/energy/low"),
        influx: Influx::Field,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
];

pub static DESCRIPTIONS: [&str; 1] = [
    "energy, low tariff",
];
