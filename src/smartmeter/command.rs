//! A request's meaning: one command with valid arguments, or the reason why not.

use ufmt::uwrite;

use super::{
    answer::Escaped,
    device::{Ip, Peer},
    fixed::Rounded,
    log::Level,
    request::{Argument, Place, Request, Value},
    sampling::Wrong,
    values::{Calibration, FACTOR_DECIMALS, Missing, ONE, Phases},
};
use crate::{
    p1::timestamp::Utc,
    settings::{Key, Name, SettingError, Text, is_name},
    wifi::{Password, Ssid},
};

/// What the protocol calls a factor's valid range, without its sign.
const FACTORS: core::ops::RangeInclusive<u32> = ONE as u32 / 2..=2 * ONE as u32;

/// mWh in one Wh, and their decimals.
const ENERGY_DECIMALS: u8 = 3;

/// mWh that a phase may start with: what no household takes in a lifetime, and far from where a count ends.
const ENERGY: core::ops::RangeInclusive<i64> = 0..=1_000_000_000_000;

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Who this is.
    Info,
    /// Active, reactive and apparent power.
    GetPower,
    /// Voltages.
    GetVoltage,
    /// Currents.
    GetCurrent,
    /// Energy since the last reset.
    GetEnergy,
    /// The mains frequency.
    GetPeriod,
    /// Angles between voltage and current.
    GetPhaseAngle,
    /// New factors.
    Calibration(Calibration),
    /// Starts over.
    Restart,
    /// Starts over every day at this hour and minute, or never.
    DailyRestart(Option<(u8, u8)>),
    /// Forgets all settings.
    FactoryReset,
    /// Forgets all settings but the name.
    BasicReset,
    /// Counts energy from `energy` (mWh) on, as if since `since`.
    ResetEnergy {
        /// What each phase starts with.
        energy: Option<Phases>,
        /// The start; now when `None`.
        since: Option<Utc>,
    },
    /// Makes samples; [`Order`](super::sampling::Order) reads what is in the payload.
    Sample,
    /// Lets so many samples go.
    ReqSamples(i64),
    /// Lets samples go, or holds them back.
    Cts(bool),
    /// Ends the sampling.
    Stop,
    /// What this client wants to be told.
    Log(Level),
    /// The log in flash.
    GetLog,
    /// Forgets the log in flash.
    ClearLog,
    /// Another name.
    Mdns(Name),
    /// One more network; [`network`] reads what is in the payload.
    AddWifi,
    /// One network less.
    DelWifi(Ssid),
    /// Another broker, and settings with it.
    MqttServer(Text<64>),
    /// Another server to be offered the protocol.
    StreamServer(Text<64>),
    /// Asks the time server for the time.
    Ntp {
        /// Nobody waits for it.
        background: bool,
    },
    /// Another time server.
    TimeServer(Text<64>),
    /// Shows the settings, or changes those that are in the payload.
    Settings {
        /// There is a payload.
        changes: bool,
    },
    /// Opens the commands for this client.
    Unlock(Text<64>),
}

/// A command's name, its arguments as a client writes them, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The name.
    pub name: &'static str,
    /// The arguments, as they stand behind the name in the object.
    pub arguments: &'static str,
    /// One line for people.
    pub about: &'static str,
}

/// All commands, in the order of the manual; those at the end are this firmware's own.
pub const COMMANDS: [Entry; 29] = [
    entry(
        "info",
        "",
        "who this is; also sent to each new client over TCP",
    ),
    entry(
        "getPower",
        "",
        "active, reactive and apparent power of each phase",
    ),
    entry("getVoltage", "", "voltage of each phase"),
    entry("getCurrent", "", "current of each phase"),
    entry(
        "getEnergy",
        "",
        "energy that each phase has taken since the last reset",
    ),
    entry("getPeriod", "", "mains frequency"),
    entry(
        "getPhaseAngle",
        "",
        "angle between voltage and current of each phase",
    ),
    entry(
        "calibration",
        r#","cal":[1,1,1,1,1,1]"#,
        "factors for V and I of L1, L2, L3, for these answers only",
    ),
    entry("restart", "", "starts over; there is no answer"),
    entry(
        "dailyRestart",
        r#","hour":3,"minute":5"#,
        "starts over every day; hour -1 ends that",
    ),
    entry(
        "factoryReset",
        "",
        "forgets all settings and starts over; there is no answer",
    ),
    entry("basicReset", "", "the same, and keeps the name"),
    entry(
        "resetEnergy",
        r#","energy":[0,0,0],"ts":1614697441"#,
        "counts energy from now on; both arguments may be left out",
    ),
    entry(
        "sample",
        r#","payload":{"type":"TCP","rate":4000,"measures":"v,i"}"#,
        "sends samples of what the meter last said, see below",
    ),
    entry(
        "reqSamples",
        r#","samples":800"#,
        "lets 10 to 2000 samples go of a sampling with flow control",
    ),
    entry(
        "cts",
        r#","value":true"#,
        "lets samples go (true), or holds them back",
    ),
    entry(
        "stop",
        "",
        "ends the sampling; an error while there is none",
    ),
    entry(
        "log",
        r#","level":"warning""#,
        "what this client wants to be told: all, debug, info, warning, error",
    ),
    entry(
        "getLog",
        "",
        "the warnings and errors that are kept in flash",
    ),
    entry("clearLog", "", "forgets them"),
    entry(
        "mdns",
        r#","payload":{"name":"smartmeter-2"}"#,
        "another name for this device, 1 to 31 letters, digits and -",
    ),
    entry(
        "addWifi",
        r#","payload":{"ssid":"home","pwd":"secret12"}"#,
        "one more network to be in, five at most; an empty pwd for an open one",
    ),
    entry(
        "delWifi",
        r#","payload":{"ssid":"home"}"#,
        "one network less",
    ),
    entry(
        "mqttServer",
        r#","payload":{"server":"192.168.1.10","user":"me","pwd":"secret","port":1883}"#,
        "the MQTT 5 broker, - for none; what is left out stays",
    ),
    entry(
        "streamServer",
        r#","payload":{"server":"192.168.1.11"}"#,
        "a server that is offered this protocol on its port 54322, - for none",
    ),
    entry(
        "ntp",
        r#","payload":{"bg":true}"#,
        "asks the time server now; with bg, which may be left out, without waiting for it",
    ),
    entry(
        "timeServer",
        r#","payload":{"server":"time.google.com","port":123}"#,
        "the NTP server, - for none, and asks it; a port that is left out stays",
    ),
    entry(
        "settings",
        r#","payload":{"interval":10,"root":"home/meter"}"#,
        "changes settings, all or none; without payload it shows them",
    ),
    entry(
        "unlock",
        r#","payload":{"pwd":"secret"}"#,
        "opens the commands for this client when command_password is set",
    ),
];

const fn entry(name: &'static str, arguments: &'static str, about: &'static str) -> Entry {
    Entry {
        name,
        arguments,
        about,
    }
}

/// Why a command is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such command.
    Unknown,
    /// An argument is missing or not valid, in the protocol's own words.
    Argument(&'static str),
    /// There is no such level.
    Level(Text<32>),
    /// A factor, by its place from 0, is out of range.
    Factor(usize, i64),
    /// A setting that does not exist.
    UnknownSetting(Text<32>),
    /// A setting whose value is not valid, and what is.
    Setting(Text<32>, &'static str),
    /// A password for the broker would have no user.
    PasswordAlone,
    /// The commands are locked for this client.
    Locked,
    /// A wrong password.
    Password,
    /// The last telegram does not say it.
    Missing(Missing),
    /// It could not be stored, and nothing has changed.
    Storage,
    /// It has to wait for the end of this one's sampling.
    Busy(Peer),
    /// A request for samples is not valid.
    Sample(Wrong),
    /// The time is not known to so many milliseconds.
    Confidence(u32),
    /// Not as many samples as may be asked for.
    Samples(i64),
    /// There is no sampling that it could be about, which needs no words.
    Idle,
    /// This network is known already.
    NetworkKnown(Ssid),
    /// This network is not known.
    NetworkUnknown(Ssid),
    /// No more networks can be known.
    NetworksFull,
}

impl Refusal {
    /// The sentence for the answer; nothing for [`Refusal::Idle`].
    pub fn write(&self, text: &mut Escaped<'_>) {
        let phase = |phase: usize| phase as u32 + 1;
        // The writer does not fail.
        let Ok(()) = match self {
            Self::Unknown => uwrite!(text, "unknown command"),
            Self::Argument(words) => uwrite!(text, "{}", *words),
            Self::Level(name) => uwrite!(text, "Unknown log level: {}", name.as_str()),
            Self::Factor(index, value) => {
                let value = Rounded {
                    value: *value,
                    decimals: FACTOR_DECIMALS,
                    places: 2,
                };
                let index = *index as u32;
                uwrite!(
                    text,
                    "Calibration parameter {}: {} not allowed [0.5-2.0]",
                    index,
                    value
                )
            }
            Self::UnknownSetting(name) => uwrite!(
                text,
                "There is no setting {}; without payload this command shows them all",
                name.as_str()
            ),
            Self::Setting(name, expected) => {
                uwrite!(text, "{}: give {}", name.as_str(), *expected)
            }
            Self::PasswordAlone => {
                uwrite!(text, "mqtt_password is set and mqtt_user is not: give both")
            }
            Self::Locked => uwrite!(
                text,
                "Locked, open with {{\"cmd\":\"unlock\",\"payload\":{{\"pwd\":<password>}}}}"
            ),
            Self::Password => uwrite!(text, "Wrong password"),
            Self::Missing(Missing::Telegram) => {
                uwrite!(text, "No telegram has come from the meter yet")
            }
            Self::Missing(Missing::Stale(seconds)) => {
                uwrite!(
                    text,
                    "No telegram has come from the meter for {} s",
                    *seconds
                )
            }
            Self::Missing(Missing::Quantity(name)) => {
                uwrite!(text, "This meter sends no {}", *name)
            }
            Self::Missing(Missing::Phase(name, index)) => {
                uwrite!(
                    text,
                    "The last telegram has no {} of L{}",
                    *name,
                    phase(*index)
                )
            }
            Self::Storage => uwrite!(text, "It cannot be stored, and nothing has changed"),
            Self::Busy(Peer::Network(peer)) => {
                uwrite!(text, "Device with IP: {} currently sampling", Ip(peer.ip()))
            }
            Self::Busy(_) => uwrite!(text, "Currently sampling"),
            Self::Sample(wrong) => wrong.write(text),
            Self::Confidence(most) => {
                uwrite!(text, "[E]Cannot reach NTP confidence of {}ms", *most)
            }
            Self::Samples(count) => {
                uwrite!(text, "stay between 10 and 2000 samples, not {}", *count)
            }
            Self::Idle => Ok(()),
            Self::NetworkKnown(ssid) => {
                uwrite!(text, "Wifi AP {} already in list", ssid.as_str())
            }
            Self::NetworkUnknown(ssid) => uwrite!(text, "SSID {} not found", ssid.as_str()),
            Self::NetworksFull => uwrite!(text, "MAX # APs reached, need to delete first"),
        };
    }
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

impl Command {
    /// The command of a request.
    ///
    /// # Errors
    /// [`Refusal`]; the arguments of `settings` and `mqttServer` that are settings are looked at by
    /// [`check_settings`] only.
    pub fn parse(request: &Request<'_>) -> Result<Self, Refusal> {
        Ok(match request.command.as_str() {
            "info" => Self::Info,
            "getPower" => Self::GetPower,
            "getVoltage" => Self::GetVoltage,
            "getCurrent" => Self::GetCurrent,
            "getEnergy" => Self::GetEnergy,
            "getPeriod" => Self::GetPeriod,
            "getPhaseAngle" => Self::GetPhaseAngle,
            "calibration" => Self::Calibration(calibration(request)?),
            "restart" => Self::Restart,
            "dailyRestart" => Self::DailyRestart(daily_restart(request)?),
            "factoryReset" => Self::FactoryReset,
            "basicReset" => Self::BasicReset,
            "resetEnergy" => reset_energy(request)?,
            "sample" => Self::Sample,
            "reqSamples" => {
                Self::ReqSamples(request.number(Place::Flat, "samples", 0).unwrap_or(0))
            }
            "cts" => Self::Cts(
                request
                    .flag(Place::Flat, "value")
                    .ok_or(Refusal::Argument("Info:Not a valid \"cts\" command"))?,
            ),
            "stop" => Self::Stop,
            "log" => Self::Log(level(request)?),
            "getLog" => Self::GetLog,
            "clearLog" => Self::ClearLog,
            "mdns" => Self::Mdns(device_name(request)?),
            "addWifi" => Self::AddWifi,
            "delWifi" => Self::DelWifi(ssid(request)?),
            "mqttServer" => Self::MqttServer(server(
                request,
                "MQTTServer address required in payload with key server",
                "MQTTServer address too long, only string of size 65 allowed",
            )?),
            "streamServer" => Self::StreamServer(server(
                request,
                "StreamServer address required in payload with key server",
                "StreamServer address too long, only string of size 65 allowed",
            )?),
            "ntp" => ntp(request)?,
            "timeServer" => Self::TimeServer(server(
                request,
                "TimeServer address required in payload with key server",
                "TimeServer address too long, only string of size 65 allowed",
            )?),
            "settings" => settings(request)?,
            "unlock" => Self::Unlock(password(request)?),
            _ => return Err(Refusal::Unknown),
        })
    }

    /// Whether a client that has not opened the commands may use it.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Info | Self::Log(_) | Self::Unlock(_))
    }
}

/// Whether a request is not done while there is a sampling.
pub fn is_exclusive(request: &Request<'_>) -> bool {
    const EXCLUSIVE: [&str; 18] = [
        "sample",
        "getPower",
        "getVoltage",
        "getCurrent",
        "getEnergy",
        "getPeriod",
        "getPhaseAngle",
        "mdns",
        "mqttServer",
        "streamServer",
        "timeServer",
        "addWifi",
        "delWifi",
        "calibration",
        "resetEnergy",
        "clearLog",
        "getLog",
        "dailyRestart",
    ];
    match request.command.as_str() {
        // To look at them changes nothing.
        "settings" => request.has(Place::Flat, "payload"),
        name => EXCLUSIVE.contains(&name),
    }
}

fn calibration(request: &Request<'_>) -> Result<Calibration, Refusal> {
    const TOO_FEW: Refusal = Refusal::Argument("Need at least 6 cal constants");
    let numbers = request.numbers::<6>(Place::Flat, "cal", FACTOR_DECIMALS);
    let (numbers, count) = numbers.ok_or(Refusal::Argument("Missing cal constants"))?;
    let mut calibration = [0; 6];
    if count < calibration.len() {
        return Err(TOO_FEW);
    }
    for (index, (place, number)) in calibration.iter_mut().zip(numbers).enumerate() {
        let number = number.ok_or(TOO_FEW)?;
        let factor = i32::try_from(number).ok();
        let valid = factor.filter(|factor| FACTORS.contains(&factor.unsigned_abs()));
        *place = valid.ok_or(Refusal::Factor(index, number))?;
    }
    Ok(calibration)
}

fn daily_restart(request: &Request<'_>) -> Result<Option<(u8, u8)>, Refusal> {
    const MISSING: Refusal = Refusal::Argument("Missing hour/minute");
    let number = |key| request.number(Place::Flat, key, 0).ok_or(MISSING);
    let (hour, minute) = (number("hour")?, number("minute")?);
    let hour = match hour {
        -1 => None,
        0..=23 => Some(hour as u8),
        _ => {
            return Err(Refusal::Argument(
                "Hour must be in 24h format, -1 to disable",
            ));
        }
    };
    let minute = match minute {
        -1 => None,
        0..=59 => Some(minute as u8),
        _ => return Err(Refusal::Argument("Minute must be -1<min<60, -1 to disable")),
    };
    Ok(hour.zip(minute))
}

fn reset_energy(request: &Request<'_>) -> Result<Command, Refusal> {
    if request.has(Place::Flat, "payload") {
        // What stands there would be lost, and the count with it.
        return Err(Refusal::Argument(
            "energy and ts stand beside cmd, without payload",
        ));
    }
    let mut energy = None;
    if request.has(Place::Flat, "energy") {
        let numbers = request.numbers::<3>(Place::Flat, "energy", ENERGY_DECIMALS);
        energy = match numbers {
            Some(([Some(l1), Some(l2), Some(l3)], 3)) => Some([l1, l2, l3]),
            _ => return Err(Refusal::Argument("Need 3 energy values")),
        };
        if energy.iter().flatten().any(|phase| !ENERGY.contains(phase)) {
            return Err(Refusal::Argument(
                "energy: give 0 to 1000000000 Wh for each phase",
            ));
        }
    }
    let mut since = None;
    if request.has(Place::Flat, "ts") {
        let ts = request.number(Place::Flat, "ts", 0);
        let ts = ts.and_then(|ts| Utc::try_from(ts).ok());
        since = Some(ts.ok_or(Refusal::Argument("ts: give seconds since 1970"))?);
    }
    Ok(Command::ResetEnergy { energy, since })
}

fn ntp(request: &Request<'_>) -> Result<Command, Refusal> {
    const WRONG: Refusal = Refusal::Argument("bg: give true or false, in payload");
    let is_elsewhere = request.has(Place::Flat, "bg");
    if is_elsewhere || request.has(Place::Flat, "payload") && !request.has_payload() {
        return Err(WRONG);
    }
    let background = match request.has(Place::Payload, "bg") {
        true => request.flag(Place::Payload, "bg").ok_or(WRONG)?,
        false => false,
    };
    Ok(Command::Ntp { background })
}

fn settings(request: &Request<'_>) -> Result<Command, Refusal> {
    let (mut is_elsewhere, mut changes, mut is_object) = (false, false, false);
    request.each(&mut |argument| match (argument.place, argument.key) {
        (Place::Payload, _) | (Place::Flat, "cmd") => {}
        (Place::Flat, "payload") => {
            changes = true;
            is_object = argument.index.is_none() && argument.value == Value::Object;
        }
        (Place::Flat, _) => is_elsewhere = true,
    });
    if is_elsewhere {
        // They would be answered as if they were stored.
        return Err(Refusal::Argument("settings stand in payload"));
    }
    if changes && !is_object {
        return Err(Refusal::Argument("payload: give an object with settings"));
    }
    Ok(Command::Settings { changes })
}

fn level(request: &Request<'_>) -> Result<Level, Refusal> {
    let name = request.text::<32>(Place::Flat, "level");
    let name = name.map_err(|_| Refusal::Argument("Unknown log level"))?;
    let name = name.ok_or(Refusal::Argument(
        "Not a valid Log level cmd, level missing",
    ))?;
    Level::parse(&name).ok_or(Refusal::Level(name))
}

fn device_name(request: &Request<'_>) -> Result<Name, Refusal> {
    let name = request.text(Place::Payload, "name");
    let name: Option<Name> =
        name.map_err(|_| Refusal::Argument("MDNS name too long, only string of size 32 allowed"))?;
    let name = name.ok_or(Refusal::Argument(
        "MDNS name required in payload with key name",
    ))?;
    match is_name(&name) {
        true => Ok(name),
        false => Err(Refusal::Argument(
            "MDNS name: give letters, digits and -, which is neither first nor last",
        )),
    }
}

/// The network of `addWifi`.
///
/// # Errors
/// [`Refusal::Argument`].
pub fn network(request: &Request<'_>) -> Result<(Ssid, Password), Refusal> {
    const TOO_LONG: Refusal = Refusal::Argument("SSID or PWD too long, max: 32, 63");
    let ssid = request.text(Place::Payload, "ssid").map_err(|_| TOO_LONG)?;
    let password = request.text(Place::Payload, "pwd").map_err(|_| TOO_LONG)?;
    let network: (Ssid, Password) = ssid.zip(password).ok_or(Refusal::Argument(
        "WiFi SSID and PWD required, for open networks, fill empty pwd",
    ))?;
    let (ssid, password) = &network;
    if ssid.is_empty() || ssid.chars().chain(password.chars()).any(char::is_control) {
        return Err(Refusal::Argument(
            "SSID and PWD: give printable characters, one at least for SSID",
        ));
    }
    // No access point has a shorter one (IEEE 802.11-2020 §J.4).
    if (1..8).contains(&password.len()) {
        return Err(Refusal::Argument(
            "PWD: give 8 to 63 bytes, or none for an open network",
        ));
    }
    Ok(network)
}

fn ssid(request: &Request<'_>) -> Result<Ssid, Refusal> {
    let ssid = request.text(Place::Payload, "ssid");
    let ssid = ssid.map_err(|_| Refusal::Argument("SSID too long, max: 32"))?;
    ssid.ok_or(Refusal::Argument("Required SSID to remove"))
}

fn server(
    request: &Request<'_>,
    missing: &'static str,
    too_long: &'static str,
) -> Result<Text<64>, Refusal> {
    let server = request.text(Place::Payload, "server");
    let server = server.map_err(|_| Refusal::Argument(too_long))?;
    server.ok_or(Refusal::Argument(missing))
}

fn password(request: &Request<'_>) -> Result<Text<64>, Refusal> {
    let password = request.text(Place::Payload, "pwd");
    let password = password.map_err(|_| Refusal::Password)?;
    password.ok_or(Refusal::Argument(
        "Password required in payload with key pwd",
    ))
}

/// The names that arguments of a command have among the settings.
pub type Names = [(&'static str, &'static str)];

/// Those of `mqttServer`.
pub const MQTT_SERVER: &Names = &[
    ("server", "mqtt_server"),
    ("user", "mqtt_user"),
    ("pwd", "mqtt_password"),
    ("port", "mqtt_port"),
];

/// Those of `streamServer`.
pub const STREAM_SERVER: &Names = &[("server", "stream_server")];

/// Those of `timeServer`.
pub const TIME_SERVER: &Names = &[("server", "time_server"), ("port", "time_port")];

/// Shows each of the payload's settings to `see`, with its name and what it is to be: by `names` and no others, or by
/// its own.
pub fn each_setting(
    request: &Request<'_>,
    names: Option<&Names>,
    see: &mut dyn FnMut(&str, &str, Argument<'_>),
) {
    request.each(&mut |argument| {
        if argument.place != Place::Payload || argument.index.is_some() {
            return;
        }
        let name = match names {
            None => argument.key,
            Some(names) => match names.iter().find(|(key, _)| *key == argument.key) {
                Some((_, name)) => name,
                None => return,
            },
        };
        let value = match argument.value {
            Value::Text(text) | Value::Number(text) => text,
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            // No setting is one of them, and none takes this for a value.
            Value::Array | Value::Object | Value::Null => "\0",
        };
        see(name, value, argument);
    });
}

/// Shows the keys of the payload's settings to `see`, whose values are all valid if this succeeds: by `names` and
/// nothing else, or by their own names.
///
/// # Errors
/// [`Refusal::UnknownSetting`], [`Refusal::Setting`].
pub fn check_settings(
    request: &Request<'_>,
    names: Option<&Names>,
    see: &mut dyn FnMut(&'static Key),
) -> Result<(), Refusal> {
    let mut result = Ok(());
    each_setting(request, names, &mut |name, value, argument| {
        if result.is_err() {
            return;
        }
        let named = || Text::try_from(argument.key).unwrap_or_default();
        let checked = Key::named(name).and_then(|key| key.check(value).map(|()| key));
        match checked {
            Ok(key) => see(key),
            Err(SettingError::UnknownKey) => result = Err(Refusal::UnknownSetting(named())),
            Err(SettingError::BadValue { expected }) => {
                result = Err(Refusal::Setting(named(), expected));
            }
        }
    });
    result
}

/// What the payload says that a setting is to be; `None` when it says nothing of it.
#[inline(never)]
pub fn setting(request: &Request<'_>, names: Option<&Names>, name: &str) -> Option<Text<64>> {
    let mut found = None;
    each_setting(request, names, &mut |named, value, _| {
        if named == name {
            found = Text::try_from(value).ok();
        }
    });
    found
}
