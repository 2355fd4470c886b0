//! What a user can set, with defaults and validation.

use core::ops::RangeInclusive;

use heapless::string::StringView as TextView;
use ufmt::uwrite;

use crate::{
    ntp,
    p1::{cipher::Secret, port::LineSettings},
    receiver::CrcPolicy,
    smartmeter::zone::Zone,
};

/// A text setting of at most `N` bytes.
pub type Text<const N: usize> = heapless::String<N>;

/// As much of a text as there is room for.
pub fn cut<const N: usize>(text: &str) -> Text<N> {
    let mut cut = Text::new();
    for character in text.chars() {
        if cut.push(character).is_err() {
            break;
        }
    }
    cut
}

/// A device's name.
pub type Name = Text<31>;

/// What a device may be called by command, so that it can be a host's name too (RFC 1123 §2.1).
pub fn is_name(text: &str) -> bool {
    let letters = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    letters && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// Which line settings the P1 port is read with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LineMode {
    /// Tried in turn until telegrams come.
    #[default]
    Auto,
    /// 115200 8N1: DSMR 4.0 and later, and everything built on it.
    Dsmr4,
    /// 9600 7E1: DSMR 2.2 and 3.0.
    Dsmr2,
}

impl LineMode {
    /// The settings to try, in turn.
    pub const fn candidates(self) -> &'static [LineSettings] {
        match self {
            Self::Auto => &[LineSettings::DSMR4, LineSettings::DSMR2],
            Self::Dsmr4 => &[LineSettings::DSMR4],
            Self::Dsmr2 => &[LineSettings::DSMR2],
        }
    }
}

/// What a radio does between what it has to send and to hear.
///
/// The vendor's third, light sleep, stops the core's clock and with it the UART: telegrams would be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RadioSleep {
    /// It is awake all the time.
    None,
    /// It sleeps from one beacon of the network to the next.
    #[default]
    Modem,
}

/// Everything a user can set. Names and defaults are the original Metertrekker's where it has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// First part of every MQTT topic.
    pub root: Text<64>,
    /// Topic below the root for the message that a connection was made.
    pub notify_topic: Text<64>,
    /// Topic below the root for InfluxDB lines.
    pub influx_topic: Text<64>,
    /// InfluxDB measurement of the electricity meter.
    pub electricity_measurement: Text<32>,
    /// InfluxDB measurement of the gas meter.
    pub gas_measurement: Text<32>,
    /// Seconds from one telegram that is published to the next; 0 takes every one.
    pub interval: u16,
    /// Seconds to wait for a telegram before that is reported.
    pub timeout: u16,
    /// MQTT payloads in the original's form, `000057.460 kWh` instead of `57.460`.
    pub payload_unit: bool,
    /// Phases that are published: 1 or 3.
    pub phases: u8,
    /// What a telegram without CRC is worth.
    pub crc: CrcPolicy,
    /// Line settings of the P1 port.
    pub line: LineMode,
    /// The meter's key, for an encrypted P1 port.
    pub decryption_key: Option<Secret>,
    /// Its authentication key, when that is not Luxembourg's.
    pub authentication_key: Option<Secret>,
    /// Host name or address of the MQTT broker; `-` for none.
    pub mqtt_server: Text<64>,
    /// TCP port of the MQTT broker.
    pub mqtt_port: u16,
    /// MQTT user; empty for none.
    pub mqtt_user: Text<64>,
    /// MQTT password.
    pub mqtt_password: Text<64>,
    /// MQTT client id; empty for the device's name.
    pub client_id: Text<64>,
    /// Password of the command protocol; empty leaves the commands open.
    pub command_password: Text<64>,
    /// Host name or address of the server that the command protocol is offered to; `-` for none.
    pub stream_server: Text<64>,
    /// Host name or address of the time server; `-` for none.
    pub time_server: Text<64>,
    /// UDP port of the time server.
    pub time_port: u16,
    /// The rule of local time.
    pub time_zone: Zone,
    /// How strongly the radio sends at most, in dBm.
    pub transmit_power: u8,
    /// Seconds from power-up until the radio is switched on.
    pub start_delay: u8,
    /// Whether the radio sleeps while the device is in a network.
    pub radio_sleep: RadioSleep,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root: text("pwutseltronics"),
            notify_topic: text("/debug/node_connect"),
            influx_topic: text("/influx/metertrekker"),
            electricity_measurement: text("electricity"),
            gas_measurement: text("gas"),
            interval: 15,
            timeout: 15,
            payload_unit: false,
            phases: 3,
            crc: CrcPolicy::Auto,
            line: LineMode::Auto,
            decryption_key: None,
            authentication_key: None,
            mqtt_server: text("-"),
            mqtt_port: minimq::MQTT_INSECURE_DEFAULT_PORT,
            mqtt_user: Text::new(),
            mqtt_password: Text::new(),
            client_id: Text::new(),
            command_password: Text::new(),
            stream_server: text("-"),
            time_server: text("time.google.com"),
            time_port: ntp::PORT,
            time_zone: Zone::default(),
            // A P1 port gives little current, and each dB that is not needed is saved there.
            transmit_power: 17,
            // 6.6 mF, the most that the field has behind a P1 port, are charged in 0.4 s by the 80 mA that are left there.
            start_delay: 3,
            radio_sleep: RadioSleep::Modem,
        }
    }
}

/// Why a setting was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingError {
    /// There is no setting of this name; [`KEYS`] has the valid ones.
    UnknownKey,
    /// The value is not in this setting's range.
    BadValue {
        /// The valid range, in words.
        expected: &'static str,
    },
}

/// A setting's name and its valid range.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// The valid range, in words.
    pub expected: &'static str,
    /// The same, of a value as it is written.
    is_valid: fn(&str) -> bool,
    /// Its number in flash, which stays with the setting for ever, whatever its name becomes.
    pub id: u8,
    /// What its values are.
    pub form: Form,
}

impl Key {
    /// The setting of this name.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`].
    pub fn named(name: &str) -> Result<&'static Self, SettingError> {
        let found = KEYS.iter().find(|key| key.name == name);
        found.ok_or(SettingError::UnknownKey)
    }

    /// What it is until a user says something else.
    // Inlined, the settings that this is taken of would be on the stack of whoever asks.
    #[inline(never)]
    pub fn default(&self) -> Text<64> {
        Settings::default().get(self.name)
    }

    /// Whether the setting can have this value.
    ///
    /// # Errors
    /// [`SettingError::BadValue`].
    pub fn check(&self, value: &str) -> Result<(), SettingError> {
        // No longer than a value in flash may be.
        let is_valid = value.len() <= LONGEST && (self.is_valid)(value);
        is_valid.then_some(()).ok_or(SettingError::BadValue {
            expected: self.expected,
        })
    }
}

/// What a setting's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Characters.
    Text,
    /// Digits.
    Number,
    /// `true` or `false`.
    Flag,
    /// Characters that are never shown.
    Secret,
}

const TOPIC: &str = "a topic part that starts with /, without + and #, up to 64 bytes";
const MEASUREMENT: &str = "1 to 32 bytes of printable characters, the first no #";
const UP_TO_64: &str = "up to 64 bytes of printable characters";
const KEY: &str = "32 hex digits, or nothing";
const SERVER: &str = "a host name or address, 1 to 64 bytes, or - for none";
const BOOLEAN: &str = "true or false";

/// Bytes of the longest value.
const LONGEST: usize = 64;

/// All settings.
pub const KEYS: [Key; 26] = [
    key(
        1,
        "root",
        Form::Text,
        is_root,
        "a topic without + and #, without $ at its start and / at its end, 1 to 64 bytes",
    ),
    key(2, "notify_topic", Form::Text, is_topic_part, TOPIC),
    key(3, "influx_topic", Form::Text, is_topic_part, TOPIC),
    key(
        4,
        "electricity_measurement",
        Form::Text,
        is_measurement,
        MEASUREMENT,
    ),
    key(
        5,
        "gas_measurement",
        Form::Text,
        is_measurement,
        MEASUREMENT,
    ),
    key(
        6,
        "interval",
        Form::Number,
        |value| is_in(value, 0..=0) || is_in(value, 10..=3600),
        "seconds, 10 to 3600, or 0 for every telegram",
    ),
    key(
        7,
        "timeout",
        Form::Number,
        |value| is_in(value, 10..=120),
        "seconds, 10 to 120",
    ),
    key(
        8,
        "payload_unit",
        Form::Flag,
        |value| flag(value).is_some(),
        BOOLEAN,
    ),
    key(
        9,
        "phases",
        Form::Number,
        |value| is_in(value, 1..=1) || is_in(value, 3..=3),
        "1 or 3",
    ),
    key(
        10,
        "crc",
        Form::Text,
        |value| crc(value).is_some(),
        "auto, required or optional",
    ),
    key(
        11,
        "line",
        Form::Text,
        |value| line(value).is_some(),
        "auto, dsmr4 (115200 8N1) or dsmr2 (9600 7E1)",
    ),
    key(23, "decryption_key", Form::Secret, is_secret, KEY),
    key(24, "authentication_key", Form::Secret, is_secret, KEY),
    key(12, "mqtt_server", Form::Text, is_server, SERVER),
    key(
        13,
        "mqtt_port",
        Form::Number,
        is_port,
        "a TCP port, 1 to 65535",
    ),
    key(14, "mqtt_user", Form::Text, is_printable, UP_TO_64),
    key(15, "mqtt_password", Form::Secret, is_printable, UP_TO_64),
    key(16, "client_id", Form::Text, is_printable, UP_TO_64),
    key(17, "command_password", Form::Secret, is_printable, UP_TO_64),
    key(18, "stream_server", Form::Text, is_server, SERVER),
    key(19, "time_server", Form::Text, is_server, SERVER),
    key(
        20,
        "time_port",
        Form::Number,
        is_port,
        "a UDP port, 1 to 65535",
    ),
    key(
        21,
        "time_zone",
        Form::Text,
        |value| Zone::parse(value).is_some(),
        "a POSIX TZ rule of up to 48 bytes, such as CET-1CEST,M3.5.0,M10.5.0/3 or UTC0",
    ),
    key(
        22,
        "transmit_power",
        Form::Number,
        |value| is_in(value, 0..=20),
        "dBm that the radio sends with at most, 0 to 20",
    ),
    key(
        25,
        "start_delay",
        Form::Number,
        |value| is_in(value, 0..=240),
        "seconds from power-up until the radio is switched on, 0 to 240",
    ),
    key(
        26,
        "radio_sleep",
        Form::Text,
        |value| radio_sleep(value).is_some(),
        "modem or none",
    ),
];

const fn key(
    id: u8,
    name: &'static str,
    form: Form,
    is_valid: fn(&str) -> bool,
    expected: &'static str,
) -> Key {
    Key {
        name,
        expected,
        is_valid,
        id,
        form,
    }
}

impl Settings {
    /// Changes one setting.
    ///
    /// # Errors
    /// [`SettingError`]; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let key = Key::named(name)?;
        key.check(value)?;
        let expected = key.expected;
        let taken = self.take(name, value);
        taken.ok_or(SettingError::BadValue { expected })
    }

    /// Takes over a value that is valid.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "root" => take(&mut self.root, value)?,
            "notify_topic" => take(&mut self.notify_topic, value)?,
            "influx_topic" => take(&mut self.influx_topic, value)?,
            "electricity_measurement" => take(&mut self.electricity_measurement, value)?,
            "gas_measurement" => take(&mut self.gas_measurement, value)?,
            "interval" => self.interval = number(value)?,
            "timeout" => self.timeout = number(value)?,
            "payload_unit" => self.payload_unit = flag(value)?,
            "phases" => self.phases = number(value)? as u8,
            "crc" => self.crc = crc(value)?,
            "line" => self.line = line(value)?,
            "decryption_key" => self.decryption_key = Secret::parse(value),
            "authentication_key" => self.authentication_key = Secret::parse(value),
            "mqtt_server" => take(&mut self.mqtt_server, value)?,
            "mqtt_port" => self.mqtt_port = number(value)?,
            "mqtt_user" => take(&mut self.mqtt_user, value)?,
            "mqtt_password" => take(&mut self.mqtt_password, value)?,
            "client_id" => take(&mut self.client_id, value)?,
            "command_password" => take(&mut self.command_password, value)?,
            "stream_server" => take(&mut self.stream_server, value)?,
            "time_server" => take(&mut self.time_server, value)?,
            "time_port" => self.time_port = number(value)?,
            "time_zone" => self.time_zone = Zone::parse(value)?,
            "transmit_power" => self.transmit_power = number(value)? as u8,
            "start_delay" => self.start_delay = number(value)? as u8,
            "radio_sleep" => self.radio_sleep = radio_sleep(value)?,
            _ => return None,
        }
        Some(())
    }

    /// Takes over all of `other`, one at a time: as a whole it would be on the stack first.
    pub fn take_all(&mut self, other: &Self) {
        for key in &KEYS {
            // What is in force was valid.
            let _ = self.set(key.name, &other.get(key.name));
        }
    }

    /// Whether there is a password for the broker and nobody to whom it belongs.
    pub fn is_password_alone(&self) -> bool {
        self.mqtt_user.is_empty() && !self.mqtt_password.is_empty()
    }

    /// A setting as [`set`](Self::set) takes it; empty for a name that is none.
    pub fn get(&self, name: &str) -> Text<64> {
        let number = |number: u16| {
            let mut text = Text::new();
            // Five digits at most.
            let _ = uwrite!(text, "{}", number);
            text
        };
        let known = |value: &str| Text::try_from(value).unwrap_or_default();
        match name {
            "root" => self.root.clone(),
            "notify_topic" => self.notify_topic.clone(),
            "influx_topic" => self.influx_topic.clone(),
            "electricity_measurement" => known(&self.electricity_measurement),
            "gas_measurement" => known(&self.gas_measurement),
            "interval" => number(self.interval),
            "timeout" => number(self.timeout),
            "payload_unit" => known(if self.payload_unit { "true" } else { "false" }),
            "phases" => number(self.phases.into()),
            "crc" => known(match self.crc {
                CrcPolicy::Auto => "auto",
                CrcPolicy::Required => "required",
                CrcPolicy::Optional => "optional",
            }),
            "line" => known(match self.line {
                LineMode::Auto => "auto",
                LineMode::Dsmr4 => "dsmr4",
                LineMode::Dsmr2 => "dsmr2",
            }),
            "decryption_key" => digits(self.decryption_key),
            "authentication_key" => digits(self.authentication_key),
            "mqtt_server" => self.mqtt_server.clone(),
            "mqtt_port" => number(self.mqtt_port),
            "mqtt_user" => self.mqtt_user.clone(),
            "mqtt_password" => self.mqtt_password.clone(),
            "client_id" => self.client_id.clone(),
            "command_password" => self.command_password.clone(),
            "stream_server" => self.stream_server.clone(),
            "time_server" => self.time_server.clone(),
            "time_port" => number(self.time_port),
            "time_zone" => known(self.time_zone.as_str()),
            "transmit_power" => number(self.transmit_power.into()),
            "start_delay" => number(self.start_delay.into()),
            "radio_sleep" => known(match self.radio_sleep {
                RadioSleep::Modem => "modem",
                RadioSleep::None => "none",
            }),
            _ => Text::new(),
        }
    }
}

/// Takes the value in the place that it has: by value each would have room for itself on the stack.
fn take(text: &mut TextView, value: &str) -> Option<()> {
    text.clear();
    text.push_str(value).ok()
}

fn number(value: &str) -> Option<u16> {
    value.parse().ok()
}

fn is_in(value: &str, range: RangeInclusive<u16>) -> bool {
    number(value).is_some_and(|number| range.contains(&number))
}

fn is_port(value: &str) -> bool {
    is_in(value, 1..=u16::MAX)
}

fn flag(value: &str) -> Option<bool> {
    value.parse().ok()
}

fn crc(value: &str) -> Option<CrcPolicy> {
    Some(match value {
        "auto" => CrcPolicy::Auto,
        "required" => CrcPolicy::Required,
        "optional" => CrcPolicy::Optional,
        _ => return None,
    })
}

fn line(value: &str) -> Option<LineMode> {
    Some(match value {
        "auto" => LineMode::Auto,
        "dsmr4" => LineMode::Dsmr4,
        "dsmr2" => LineMode::Dsmr2,
        _ => return None,
    })
}

fn radio_sleep(value: &str) -> Option<RadioSleep> {
    Some(match value {
        "modem" => RadioSleep::Modem,
        "none" => RadioSleep::None,
        _ => return None,
    })
}

/// Nothing is no key.
fn is_secret(value: &str) -> bool {
    value.is_empty() || Secret::parse(value).is_some()
}

fn digits(key: Option<Secret>) -> Text<64> {
    key.iter().flat_map(Secret::digits).collect()
}

fn is_server(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_printable(value: &str) -> bool {
    !value.chars().any(char::is_control)
}

fn is_root(value: &str) -> bool {
    // What starts with $ is the broker's own (MQTT 5 §4.7.2): `#` does not match it.
    let own = value.starts_with('$');
    !value.is_empty() && !own && !value.ends_with('/') && is_topic(value)
}

fn is_topic_part(value: &str) -> bool {
    value.len() > 1 && value.starts_with('/') && is_topic(value)
}

fn is_topic(value: &str) -> bool {
    !value.contains(['+', '#']) && is_printable(value)
}

fn is_measurement(value: &str) -> bool {
    // InfluxDB takes a line that starts with # for a comment.
    let comment = value.starts_with('#');
    (1..=32).contains(&value.len()) && !comment && is_printable(value)
}

/// A default, which fits by construction.
fn text<const N: usize>(value: &str) -> Text<N> {
    Text::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_key_can_be_set() {
        for (name, value) in [
            ("root", "home/meter"),
            ("notify_topic", "/hello"),
            ("influx_topic", "/influx"),
            ("electricity_measurement", "power"),
            ("gas_measurement", "natural gas"),
            ("interval", "3600"),
            ("timeout", "120"),
            ("payload_unit", "true"),
            ("phases", "1"),
            ("crc", "required"),
            ("line", "dsmr2"),
            ("decryption_key", "d491470f47126332b07d1923b3504188"),
            ("authentication_key", "00112233445566778899aabbccddeeff"),
            ("mqtt_server", "broker.local"),
            ("mqtt_port", "8883"),
            ("mqtt_user", "me"),
            ("mqtt_password", "se cret"),
            ("client_id", "p1"),
            ("command_password", "open sesame"),
            ("stream_server", "192.168.1.11"),
            ("time_server", "192.168.1.1"),
            ("time_port", "1123"),
            ("time_zone", "EET-2EEST,M3.5.0/3,M10.5.0/4"),
            ("transmit_power", "0"),
            ("start_delay", "240"),
            ("radio_sleep", "none"),
        ] {
            let mut settings = Settings::default();
            assert_eq!(settings.set(name, value), Ok(()), "{name}");
            assert_ne!(settings, Settings::default(), "{name} changed nothing");
            assert_eq!(settings.get(name).as_str(), value);
        }
    }

    #[test]
    fn every_setting_can_be_got_and_set_again_and_has_a_number_of_its_own() {
        let defaults = Settings::default();
        for (index, key) in KEYS.iter().enumerate() {
            let mut settings = defaults.clone();
            assert_eq!(settings.set(key.name, &defaults.get(key.name)), Ok(()));
            assert_eq!(settings, defaults, "{}", key.name);
            assert!(KEYS[..index].iter().all(|other| other.id != key.id));
        }
    }

    #[test]
    fn bad_values_change_nothing_and_name_the_range() {
        let long = "x".repeat(65);
        for (name, value) in [
            ("root", ""),
            ("root", "a/+/b"),
            ("root", "a/"),
            ("root", "$SYS"),
            ("root", &long),
            ("notify_topic", "hello"),
            ("notify_topic", "/"),
            ("influx_topic", "/#"),
            ("electricity_measurement", ""),
            ("gas_measurement", "a\nb"),
            ("gas_measurement", "#gas"),
            ("interval", "9"),
            ("interval", "3601"),
            ("interval", "-1"),
            ("timeout", "0"),
            ("timeout", "121"),
            ("payload_unit", "yes"),
            ("phases", "2"),
            ("crc", "none"),
            ("line", "9600"),
            ("decryption_key", "d491470f47126332b07d1923b350418"),
            ("decryption_key", "d491470f47126332b07d1923b3504188a"),
            ("decryption_key", "d491470f47126332b07d1923b350418x"),
            ("authentication_key", "0x112233445566778899aabbccddeeff"),
            ("mqtt_server", ""),
            ("mqtt_server", "my broker"),
            ("mqtt_port", "0"),
            ("mqtt_port", "65536"),
            ("mqtt_user", &long),
            ("mqtt_password", &long),
            ("client_id", &long),
            ("client_id", "a\0"),
            ("command_password", &long),
            ("stream_server", "a b"),
            ("time_server", ""),
            ("time_server", "pool ntp"),
            ("time_port", "0"),
            ("time_port", "65536"),
            ("time_zone", "Europe/Amsterdam"),
            ("time_zone", ""),
            ("transmit_power", "21"),
            ("transmit_power", "-1"),
            ("transmit_power", "17.5"),
            ("start_delay", "241"),
            ("start_delay", "256"),
            ("start_delay", "-1"),
            ("radio_sleep", ""),
            ("radio_sleep", "light"),
            ("radio_sleep", "true"),
        ] {
            let mut settings = Settings::default();
            let expected = KEYS.iter().find(|key| key.name == name).unwrap().expected;
            let refused = settings.set(name, value);
            assert_eq!(
                refused,
                Err(SettingError::BadValue { expected }),
                "{name}={value}"
            );
            assert_eq!(settings, Settings::default(), "{name}={value}");
        }
    }

    #[test]
    fn a_name_is_a_hosts_name() {
        for name in ["x", "smartmeter-2", "0a", "A--b"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", "-", "-a", "a-", "a b", "a.local", "a_b", "zähler", "a/b", "a+", "a\0",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_checked_is_what_can_be_set() {
        let long = "0".repeat(65) + "15";
        let values = [
            "",
            "0",
            "1",
            "2",
            "3",
            "15",
            "+15",
            "015",
            &long,
            "240",
            "241",
            "70000",
            "-",
            "/x",
            "x y",
            "é",
            "true",
            "auto",
            "dsmr2",
            "modem",
            "none",
            "UTC0",
            "00112233445566778899AABBCCDDEEFF",
            "a\0",
        ];
        for key in &KEYS {
            assert_eq!(key.check(&key.default()), Ok(()), "{}", key.name);
            for value in values {
                let mut settings = Settings::default();
                let set = settings.set(key.name, value);
                assert_eq!(set, key.check(value), "{}={value}", key.name);
                // As it was written it has to be taken again from flash.
                assert!(
                    set.is_err() || value.len() <= LONGEST,
                    "{}={value}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn all_settings_are_taken_over() {
        let mut other = Settings::default();
        for (name, value) in [
            ("root", "r"),
            ("phases", "1"),
            ("decryption_key", &"0A".repeat(16)),
        ] {
            other.set(name, value).unwrap();
        }
        let mut settings = Settings::default();
        settings.set("gas_measurement", "natural gas").unwrap();
        settings.take_all(&other);
        assert_eq!(settings, other);
    }

    #[test]
    fn unknown_keys_are_told() {
        let mut settings = Settings::default();
        let refused = settings.set("intervall", "15");
        assert_eq!(refused, Err(SettingError::UnknownKey));
    }

    #[test]
    fn defaults_are_the_originals() {
        let settings = Settings::default();
        assert_eq!(settings.root.to_string(), "pwutseltronics");
        assert_eq!(settings.interval, 15);
        assert_eq!(settings.mqtt_port, 1883);
    }
}
