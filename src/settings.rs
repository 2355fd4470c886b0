//! What a user can set, with defaults and validation.

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

/// A setting's name and its valid range in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// The valid range.
    pub expected: &'static str,
    /// Its number in flash, which stays with the setting for ever, whatever its name becomes.
    pub id: u8,
    /// What its values are.
    pub form: Form,
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

/// All settings.
pub const KEYS: [Key; 26] = [
    key(
        1,
        "root",
        Form::Text,
        "a topic without + and #, without $ at its start and / at its end, 1 to 64 bytes",
    ),
    key(2, "notify_topic", Form::Text, TOPIC),
    key(3, "influx_topic", Form::Text, TOPIC),
    key(4, "electricity_measurement", Form::Text, MEASUREMENT),
    key(5, "gas_measurement", Form::Text, MEASUREMENT),
    key(
        6,
        "interval",
        Form::Number,
        "seconds, 10 to 3600, or 0 for every telegram",
    ),
    key(7, "timeout", Form::Number, "seconds, 10 to 120"),
    key(8, "payload_unit", Form::Flag, BOOLEAN),
    key(9, "phases", Form::Number, "1 or 3"),
    key(10, "crc", Form::Text, "auto, required or optional"),
    key(
        11,
        "line",
        Form::Text,
        "auto, dsmr4 (115200 8N1) or dsmr2 (9600 7E1)",
    ),
    key(23, "decryption_key", Form::Secret, KEY),
    key(24, "authentication_key", Form::Secret, KEY),
    key(12, "mqtt_server", Form::Text, SERVER),
    key(13, "mqtt_port", Form::Number, "a TCP port, 1 to 65535"),
    key(14, "mqtt_user", Form::Text, UP_TO_64),
    key(15, "mqtt_password", Form::Secret, UP_TO_64),
    key(16, "client_id", Form::Text, UP_TO_64),
    key(17, "command_password", Form::Secret, UP_TO_64),
    key(18, "stream_server", Form::Text, SERVER),
    key(19, "time_server", Form::Text, SERVER),
    key(20, "time_port", Form::Number, "a UDP port, 1 to 65535"),
    key(
        21,
        "time_zone",
        Form::Text,
        "a POSIX TZ rule of up to 48 bytes, such as CET-1CEST,M3.5.0,M10.5.0/3 or UTC0",
    ),
    key(
        22,
        "transmit_power",
        Form::Number,
        "dBm that the radio sends with at most, 0 to 20",
    ),
    key(
        25,
        "start_delay",
        Form::Number,
        "seconds from power-up until the radio is switched on, 0 to 240",
    ),
    key(26, "radio_sleep", Form::Text, "modem or none"),
];

const fn key(id: u8, name: &'static str, form: Form, expected: &'static str) -> Key {
    Key {
        name,
        expected,
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
        let key = KEYS.iter().find(|key| key.name == name);
        let expected = key.ok_or(SettingError::UnknownKey)?.expected;
        let changed = self.try_set(name, value);
        changed.ok_or(SettingError::BadValue { expected })
    }

    fn try_set(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "root" => self.root = root(value)?,
            "notify_topic" => self.notify_topic = topic(value)?,
            "influx_topic" => self.influx_topic = topic(value)?,
            "electricity_measurement" => self.electricity_measurement = measurement(value)?,
            "gas_measurement" => self.gas_measurement = measurement(value)?,
            "interval" => {
                let seconds = value.parse().ok()?;
                let valid = seconds == 0 || (10..=3600).contains(&seconds);
                self.interval = valid.then_some(seconds)?;
            }
            "timeout" => {
                let seconds = value.parse().ok()?;
                self.timeout = (10..=120).contains(&seconds).then_some(seconds)?;
            }
            "payload_unit" => self.payload_unit = value.parse().ok()?,
            "phases" => {
                let phases = value.parse().ok()?;
                self.phases = matches!(phases, 1 | 3).then_some(phases)?;
            }
            "crc" => {
                self.crc = match value {
                    "auto" => CrcPolicy::Auto,
                    "required" => CrcPolicy::Required,
                    "optional" => CrcPolicy::Optional,
                    _ => return None,
                }
            }
            "line" => {
                self.line = match value {
                    "auto" => LineMode::Auto,
                    "dsmr4" => LineMode::Dsmr4,
                    "dsmr2" => LineMode::Dsmr2,
                    _ => return None,
                }
            }
            "decryption_key" => self.decryption_key = secret(value)?,
            "authentication_key" => self.authentication_key = secret(value)?,
            "mqtt_server" => self.mqtt_server = server(value)?,
            "stream_server" => self.stream_server = server(value)?,
            "mqtt_port" => self.mqtt_port = port(value)?,
            "mqtt_user" => self.mqtt_user = printable(value)?,
            "mqtt_password" => self.mqtt_password = printable(value)?,
            "client_id" => self.client_id = printable(value)?,
            "command_password" => self.command_password = printable(value)?,
            "time_server" => self.time_server = server(value)?,
            "time_port" => self.time_port = port(value)?,
            "time_zone" => self.time_zone = Zone::parse(value)?,
            "transmit_power" => {
                let power = value.parse().ok()?;
                self.transmit_power = (0..=20).contains(&power).then_some(power)?;
            }
            "start_delay" => {
                let seconds = value.parse().ok()?;
                self.start_delay = (0..=240).contains(&seconds).then_some(seconds)?;
            }
            "radio_sleep" => {
                self.radio_sleep = match value {
                    "modem" => RadioSleep::Modem,
                    "none" => RadioSleep::None,
                    _ => return None,
                }
            }
            _ => return None,
        }
        Some(())
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

/// Nothing is no key.
fn secret(value: &str) -> Option<Option<Secret>> {
    match value {
        "" => Some(None),
        value => Secret::parse(value).map(Some),
    }
}

fn digits(key: Option<Secret>) -> Text<64> {
    key.iter().flat_map(Secret::digits).collect()
}

fn server(value: &str) -> Option<Text<64>> {
    let valid = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
    fitting(valid.then_some(value)?)
}

fn port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port != 0)
}

fn printable(value: &str) -> Option<Text<64>> {
    fitting((!value.chars().any(char::is_control)).then_some(value)?)
}

fn root(value: &str) -> Option<Text<64>> {
    // What starts with $ is the broker's own (MQTT 5 §4.7.2): `#` does not match it.
    let own = value.starts_with('$');
    let valid = !value.is_empty() && !own && !value.ends_with('/') && is_topic(value);
    fitting(valid.then_some(value)?)
}

fn topic(value: &str) -> Option<Text<64>> {
    let valid = value.len() > 1 && value.starts_with('/') && is_topic(value);
    fitting(valid.then_some(value)?)
}

fn is_topic(value: &str) -> bool {
    !value.contains(['+', '#']) && !value.chars().any(char::is_control)
}

fn measurement(value: &str) -> Option<Text<32>> {
    // InfluxDB takes a line that starts with # for a comment.
    let comment = value.starts_with('#');
    let valid = !value.is_empty() && !comment && !value.chars().any(char::is_control);
    fitting(valid.then_some(value)?)
}

fn fitting<const N: usize>(value: &str) -> Option<Text<N>> {
    Text::try_from(value).ok()
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
