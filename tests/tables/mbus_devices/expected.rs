// Generated from metrics.toml by build.rs. Do not edit.

use super::*;

pub static VARIANTS: [&str; 0] = [];

pub static HEADERS: [(&[u8], Variant); 0] = [
];

pub static MARKERS: [(u32, Variant); 0] = [
];

pub static KEYS: [u32; 6] = [
    0x02180100, // 0-2:24.1.0
    0x0f180100, // 0-n:24.1.0
    0x0f180201, // 0-n:24.2.1
    0x0f180201, // 0-n:24.2.1
    0x0f180300, // 0-n:24.3.0
    0x70170100, // 7-0:23.1.0
];

pub static METRICS: [Metric; 6] = [
    // 0-2:24.1.0: a metric
    Metric {
        obis: Obis::from_key(0x02180100),
        name: "second_device",
        kind: Kind::Device,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-n:24.1.0: a metric
    Metric {
        obis: Obis::from_key(0x0f180100),
        name: "mbus_device",
        kind: Kind::Device,
        unit: None,
        topic: None,
        influx: Influx::None,
        phase: None,
        device: None,
        variants: Variants::EVERY,
    },
    // 0-n:24.2.1: a metric (m3)
    Metric {
        obis: Obis::from_key(0x0f180201),
        name: "gas_reading",
        kind: Kind::Stamped,
        unit: Some(Unit { base: Base::M3, prefix: Prefix::None }),
        topic: Some("/gas"),
        influx: Influx::Field,
        phase: None,
        device: Some(Device::Gas),
        variants: Variants::EVERY,
    },
    // 0-n:24.2.1: a metric (m3)
    Metric {
        obis: Obis::from_key(0x0f180201),
        name: "warm_water_reading",
        kind: Kind::Stamped,
        unit: Some(Unit { base: Base::M3, prefix: Prefix::None }),
        topic: None,
        influx: Influx::None,
        phase: None,
        device: Some(Device::WarmWater),
        variants: Variants::EVERY,
    },
    // 0-n:24.3.0: a metric (m3)
    Metric {
        obis: Obis::from_key(0x0f180300),
        name: "gas_reading",
        kind: Kind::Profile,
        unit: Some(Unit { base: Base::M3, prefix: Prefix::None }),
        topic: Some("/gas"),
        influx: Influx::Field,
        phase: None,
        device: Some(Device::Gas),
        variants: Variants::EVERY,
    },
    // 7-0:23.1.0: a metric (m3)
    Metric {
        obis: Obis::from_key(0x70170100),
        name: "gas_reading",
        kind: Kind::Stamped,
        unit: Some(Unit { base: Base::M3, prefix: Prefix::None }),
        topic: Some("/gas"),
        influx: Influx::Field,
        phase: None,
        device: Some(Device::Gas),
        variants: Variants::EVERY,
    },
];

pub static DESCRIPTIONS: [&str; 6] = [
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
    "a metric",
];
