//! The commands themselves.

use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Client, Device, Peer, Reset, events::Ip, network::show_networks};
use crate::{
    p1::timestamp::Utc,
    settings::{Form, KEYS, Settings},
    smartmeter::{
        answer::{Answer, Escaped},
        command::{
            Command, MQTT_SERVER, Names, Refusal, STREAM_SERVER, TIME_SERVER, apply, is_exclusive,
            network,
        },
        energy::Kept,
        fixed::Rounded,
        line,
        log::Level,
        request::{Malformed, Request},
        sampling::Order,
        stream::CAPACITY,
        time::{Long, Moment, digits},
        values::{Calibration, DECIMALS, FACTOR_DECIMALS, Missing, Phases, Values, watts},
    },
    storage::Key,
};

/// A wrong password is answered after this, so that guessing takes its time.
const GUESS: Duration = Duration::from_secs(1);

/// What a request that cannot be read is answered with, in the protocol's own words.
const FORMAT_ERROR: &str = r#"JSON format error, syntax: {"cmd":<cmdName>, "[payload":{<data>}]}}"#;

/// The settings that meter and publisher do not work with.
const NOT_OF_TASKS: [&str; 6] = [
    "transmit_power",
    "command_password",
    "stream_server",
    "time_server",
    "time_port",
    "time_zone",
];

/// What a broker or server that is not set is called.
const NONE: &str = "-";

impl<F: NorFlash> Device<'_, '_, F> {
    /// Does what a line asks for and writes the answer, if it is to have one, or the first piece of it:
    /// [`more`](Self::more) writes the others.
    pub async fn answer(&self, line: &[u8], client: &mut Client, answer: &mut Answer) {
        match line {
            // Asked by tools of old, and kept for them.
            [b'?', ..] => {
                if !self.is_locked(client) {
                    // Whether there was a sampling or not, nobody is told more.
                    let _ = self.stop_sampling("stop", answer);
                    answer.clear();
                }
                answer.line(|answer| {
                    let _ = uwrite!(answer, "Setup done");
                });
            }
            // A client keeps its connection open.
            [] | [b'!', ..] => {}
            line => self.request(line, client, answer).await,
        }
    }

    /// Answers a line that was too long to be read.
    pub fn answer_too_long(&self, answer: &mut Answer) {
        self.tell(Level::Error, |text| {
            let _ = uwrite!(text, "A command is longer than {} bytes", line::MAX as u32);
        });
        format_error(answer);
    }

    async fn request(&self, line: &[u8], client: &mut Client, answer: &mut Answer) {
        let request = match Request::parse(line) {
            Ok(request) => request,
            Err(malformed) => {
                if malformed == Malformed::Syntax {
                    self.tell(Level::Error, |text| {
                        let _ = uwrite!(text, "deserializeJson() failed: {}", Shown(line));
                    });
                }
                return format_error(answer);
            }
        };
        let done = match Command::parse(&request) {
            Ok(command) if self.is_locked(client) && !command.is_open() => Err(Refusal::Locked),
            _ if is_exclusive(&request.command)
                && !self.is_order_of_raw_stream(&request)
                && let Some(peer) = self.sampler() =>
            {
                Err(Refusal::Busy(peer))
            }
            Ok(command) => self.command(command, &request, client, answer).await,
            Err(refusal) => Err(refusal),
        };
        let Err(refusal) = done else { return };
        if refusal == Refusal::Unknown {
            self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "Received unknown command");
            });
        }
        answer.clear();
        answer.object(|answer| {
            answer.head(true, &request.command);
            if refusal != Refusal::Idle {
                answer.composed("msg", |text| refusal.write(text));
            }
            if matches!(refusal, Refusal::Busy(_)) {
                answer.string("state", "busy");
            }
            if matches!(
                refusal,
                Refusal::NetworkKnown(_) | Refusal::NetworkUnknown(_) | Refusal::NetworksFull
            ) {
                self.show_networks(answer);
            }
        });
    }

    /// Whether a client has to give the password first. Whoever holds the cable has the device.
    fn is_locked(&self, client: &Client) -> bool {
        let open = client.peer == Peer::Console || client.unlocked;
        !open && !self.state.borrow().settings.command_password.is_empty()
    }

    async fn command(
        &self,
        command: Command,
        request: &Request<'_>,
        client: &mut Client,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        let name = request.command.as_str();
        match command {
            Command::Info => self.info(answer),
            Command::GetPower => self.power(name, answer)?,
            Command::GetVoltage => {
                let values = self.measured(Values::voltage)?;
                quantity(answer, name, "voltage", values.map(Some), DECIMALS, "V");
            }
            Command::GetCurrent => {
                let values = self.measured(Values::current)?;
                quantity(answer, name, "current", values.map(Some), 0, "mA");
            }
            Command::GetPeriod => {
                let values = self.measured(|values, _| values.frequency())?;
                quantity(answer, name, "period", values.map(Some), DECIMALS, "Hz");
            }
            Command::GetPhaseAngle => {
                let values = self.measured(Values::angle)?;
                quantity(answer, name, "phase", values, DECIMALS, "Deg");
            }
            Command::GetEnergy => self.energy(name, answer)?,
            Command::Calibration(calibration) => {
                let mut bytes = [0; 24];
                for (place, factor) in bytes.chunks_exact_mut(4).zip(calibration) {
                    place.copy_from_slice(&factor.to_le_bytes());
                }
                self.put(Key::Calibration, &bytes).await?;
                self.state.borrow_mut().calibration = calibration;
                done(answer, name, |text| {
                    let names = ["v1", "i1", "v2", "i2", "v3", "i3"];
                    let _ = uwrite!(text, "Calibration set");
                    for (index, (name, factor)) in names.iter().zip(calibration).enumerate() {
                        let separator = if index == 0 { ": " } else { ", " };
                        let factor = places(factor.into(), FACTOR_DECIMALS, 2);
                        let _ = uwrite!(text, "{}{}:{}", separator, *name, factor);
                    }
                });
            }
            Command::DailyRestart(at) => {
                let bytes = at.map(|(hour, minute)| [hour, minute]);
                let bytes = bytes.as_ref().map_or(&[][..], |bytes| bytes);
                self.put(Key::DailyRestart, bytes).await?;
                self.state.borrow_mut().daily_restart = at;
                done(answer, name, |text| {
                    let _ = match at {
                        None => uwrite!(text, "Disabled daily restart"),
                        Some(at) => uwrite!(text, "Set daily restart to: {}", Daily(at)),
                    };
                });
            }
            Command::Restart => self.restart().await?,
            Command::FactoryReset => self.reset(Reset::All).await?,
            Command::BasicReset => self.reset(Reset::AllButName).await?,
            Command::ResetEnergy { energy, since } => {
                self.reset_energy(energy, since, name, answer).await?;
            }
            Command::Sample => {
                let order = Order::parse(request, self.max_rate).map_err(Refusal::Sample)?;
                self.start_sampling(order, name, client, answer).await?;
            }
            Command::Stop => self.stop_sampling(name, answer)?,
            Command::Cts(clear) => {
                self.clear_to_send(clear);
                answer.object(|answer| answer.head(false, name));
            }
            Command::ReqSamples(samples) => {
                self.request_samples(samples)?;
                answer.object(|answer| answer.head(false, name));
            }
            // There is nobody whose log it would be.
            Command::Log(_) if client.peer == Peer::Mqtt => {
                return Err(Refusal::Argument("getter not related to logger"));
            }
            Command::Log(level) => {
                client.level = level;
                done(answer, name, |text| {
                    let _ = uwrite!(text, "Log Level set to: {}", level.name());
                });
            }
            // A message has a length that is known before.
            Command::GetLog if client.peer == Peer::Mqtt => {
                return Err(Refusal::Argument(
                    "The log does not fit into a message: ask over TCP or the console",
                ));
            }
            Command::GetLog => self.get_log(client, answer).await?,
            Command::ClearLog => {
                self.clear_log().await?;
                answer.object(|answer| answer.head(false, name));
            }
            Command::Mdns(new) => {
                self.rename(&new).await?;
                answer.object(|answer| {
                    answer.head(false, name);
                    answer.composed("msg", |text| {
                        let _ = uwrite!(text, "Set MDNS name to: {}", new.as_str());
                    });
                    answer.string("mdns_name", &new);
                });
            }
            Command::AddWifi => {
                let (ssid, password) = network(request)?;
                self.add_network(&ssid, &password).await?;
                // Who reads along over MQTT has not asked.
                let shown = match client.peer {
                    Peer::Mqtt => "***",
                    _ => password.as_str(),
                };
                answer.object(|answer| {
                    answer.head(false, name);
                    answer.string("ssid", &ssid);
                    answer.string("pwd", shown);
                    answer.composed("msg", |text| {
                        let ssid = ssid.as_str();
                        let _ = uwrite!(text, "New Ap, SSID: {}, PW: {}", ssid, shown);
                    });
                    self.show_networks(answer);
                });
            }
            Command::DelWifi(ssid) => {
                self.remove_network(&ssid).await?;
                answer.object(|answer| {
                    answer.head(false, name);
                    answer.composed("msg", |text| {
                        let _ = uwrite!(text, "Removed SSID: {}", ssid.as_str());
                    });
                    self.show_networks(answer);
                });
            }
            Command::MqttServer(server) => {
                self.change(request, Some(MQTT_SERVER)).await?;
                server_set(answer, name, ("MQTTServer", "mqtt_server"), &server);
            }
            Command::StreamServer(server) => {
                self.change(request, Some(STREAM_SERVER)).await?;
                server_set(answer, name, ("StreamServer", "stream_server"), &server);
            }
            Command::Ntp { background } => {
                let synced = match background {
                    true => {
                        self.sync_in_background();
                        true
                    }
                    false => self.sync().await.is_some(),
                };
                let now = self.local_now();
                answer.object(|answer| {
                    answer.head(!synced, name);
                    let words = ["Error syncing time", "Time synced"];
                    answer.string("msg", words[usize::from(synced)]);
                    answer.composed("current_time", |text| {
                        let _ = uwrite!(text, "{}", Long(now));
                    });
                });
            }
            Command::TimeServer(server) => {
                self.change(request, Some(TIME_SERVER)).await?;
                if server != NONE {
                    // Whether it answers is in the log.
                    self.sync().await;
                }
                server_set(answer, name, ("TimeServer", "time_server"), &server);
            }
            Command::Settings { changes } => {
                let before = match changes {
                    true => Some(self.change(request, None).await?),
                    false => None,
                };
                let settings = self.settings();
                answer.object(|answer| {
                    answer.head(false, name);
                    answer.nested("settings", |answer| {
                        show(&settings, before.as_ref(), answer)
                    });
                });
                // Whoever sets the lock is inside.
                client.unlocked |= before
                    .is_some_and(|before| before.command_password != settings.command_password);
            }
            Command::Unlock(password) => {
                let right = self.settings().command_password;
                if !right.is_empty() && !is_same(&password, &right) {
                    Timer::after(GUESS).await;
                    self.tell(Level::Warning, |text| {
                        let _ = uwrite!(text, "Wrong password from {}", client.peer);
                    });
                    return Err(Refusal::Password);
                }
                client.unlocked = true;
                done(answer, name, |text| {
                    let _ = uwrite!(text, "Unlocked");
                });
            }
        }
        Ok(())
    }

    /// Takes the request's settings over, into flash first, and returns what they were.
    async fn change(
        &self,
        request: &Request<'_>,
        names: Option<&Names>,
    ) -> Result<Settings, Refusal> {
        // Held to the end, so that two clients at once change both what they want.
        let store = &mut *self.store.lock().await;
        let before = self.settings();
        let mut settings = before.clone();
        apply(request, names, &mut settings)?;
        for key in KEYS {
            let value = settings.get(key.name);
            if value != before.get(key.name) {
                let key = Key::Setting(key.id);
                self.put_in(store, key, value.as_bytes()).await?;
            }
        }
        let differs = |name| settings.get(name) != before.get(name);
        if differs("stream_server") {
            self.server_changed.signal(());
        }
        if differs("time_server") || differs("time_port") {
            self.time_server_changed.signal(());
        }
        if (KEYS.iter()).any(|key| !NOT_OF_TASKS.contains(&key.name) && differs(key.name)) {
            self.settings_changed.signal(());
        }
        self.state.borrow_mut().settings = settings;
        Ok(before)
    }

    /// Writes the line that each new client gets.
    pub fn info(&self, answer: &mut Answer) {
        let now = self.local_now();
        let state = self.state.borrow();
        let settings = &state.settings;
        let energy = state.energy.counted().unwrap_or_default().phases;
        let energy = calibrated_energy(energy, &state.calibration);
        answer.object(|answer| {
            answer.string("cmd", "info");
            // Tools compare it with this very text.
            answer.string("type", "smartmeter");
            answer.string("version", env!("CARGO_PKG_VERSION"));
            // An image has no time of its own: the same source makes the same image.
            answer.string("compiled", NONE);
            answer.composed("sys_time", |text| {
                let _ = uwrite!(text, "{}", Long(now));
            });
            answer.string("name", &state.name);
            answer.composed("ip", |text| {
                if let Some(address) = self.address.get() {
                    let _ = uwrite!(text, "{}", Ip(address));
                }
            });
            answer.string("mqtt_server", &settings.mqtt_server);
            answer.string("stream_server", &settings.stream_server);
            answer.string("time_server", &settings.time_server);
            answer.number("sampling_rate", self.rate.get());
            answer.number("buffer_size", CAPACITY as u32);
            answer.flag("psram", false);
            answer.flag("rtc", false);
            let words = ["idle", "busy"];
            answer.string("state", words[usize::from(self.sampler().is_some())]);
            answer.composed("energy", |text| list(text, energy, 4));
            answer.composed("dailyReset", |text| {
                let _ = match state.daily_restart {
                    None => uwrite!(text, "None"),
                    Some(at) => uwrite!(text, "@{}", Daily(at)),
                };
            });
            let factors = state.calibration.map(|factor| Some(factor.into()));
            answer.numbers("calibration", FACTOR_DECIMALS, factors);
            show_networks(&state.networks, answer);
            self.networks.show(answer);
            if self.journal.is_some() {
                answer.number("log_erases", self.log_erases.get());
                answer.number("log_lost", self.log_lost.get());
            }
        });
    }

    /// A quantity of the last telegram, when that is not too old.
    pub(super) fn measured<T>(
        &self,
        get: impl FnOnce(&Values, &Calibration) -> Result<T, Missing>,
    ) -> Result<T, Missing> {
        let state = self.state.borrow();
        get(
            state.values.fresh(Instant::now(), state.most_age())?,
            &state.calibration,
        )
    }

    fn power(&self, name: &str, answer: &mut Answer) -> Result<(), Missing> {
        let (active, reactive, apparent) = self.measured(|values, by| {
            Ok((values.active(by)?, values.reactive(by), values.apparent(by)))
        })?;
        answer.object(|answer| {
            answer.head(false, name);
            answer.numbers("activePower", DECIMALS, active.map(Some));
            // What the meter does not send is left out.
            for (key, phases) in [("reactivePower", reactive), ("apparentPower", apparent)] {
                if let Ok(phases) = phases {
                    answer.numbers(key, DECIMALS, phases.map(Some));
                }
            }
            answer.string("unit", "W/var/VA");
        });
        Ok(())
    }

    fn energy(&self, name: &str, answer: &mut Answer) -> Result<(), Refusal> {
        let counted = self.counted()?;
        let now = self.now_or_epoch().utc();
        let by = self.state.borrow().calibration;
        answer.object(|answer| {
            answer.head(false, name);
            let phases = calibrated_energy(counted.phases, &by);
            answer.numbers("energy", DECIMALS, phases.map(Some));
            answer.string("unit", "Wh");
            if counted.since != 0 {
                answer.number("startTs", counted.since);
                answer.composed("start", |text| {
                    let since = Moment::from(counted.since);
                    let _ = uwrite!(text, "{}", Long(self.local(since)));
                });
                answer.number("days", now.saturating_sub(counted.since) / 86_400);
            }
        });
        Ok(())
    }

    /// What was counted; the reason when nothing was.
    pub(super) fn counted(&self) -> Result<Kept, Refusal> {
        let counted = self.state.borrow().energy.counted();
        match counted {
            Some(counted) => Ok(counted),
            None => {
                self.measured(|_, _| Ok(()))?;
                Err(Missing::Quantity("energy register").into())
            }
        }
    }

    async fn reset_energy(
        &self,
        energy: Option<Phases>,
        since: Option<Utc>,
        name: &str,
        answer: &mut Answer,
    ) -> Result<(), Refusal> {
        let counted = self.counted()?;
        let energy = energy.unwrap_or_default();
        let now = self.now_or_epoch();
        let at = since.map_or(now, Moment::from);
        let kept = Kept {
            phases: energy,
            since: at.utc(),
            ..counted
        };
        self.put(Key::Energy, &kept.to_bytes()).await?;
        let state = &mut *self.state.borrow_mut();
        state.energy.reset(energy, at.utc());
        state.kept = Some(kept);
        let shown = state.settings.time_zone.local(at);
        done(answer, name, |text| {
            let _ = uwrite!(text, "Energy reset to ");
            list(text, energy, 2);
            let _ = uwrite!(text, ", @{}", Long(shown));
        });
        Ok(())
    }
}

/// An answer that says where a server is now: its title in the sentence, and its key.
fn server_set(answer: &mut Answer, name: &str, (title, key): (&str, &str), server: &str) {
    answer.object(|answer| {
        answer.head(false, name);
        answer.composed("msg", |text| {
            let _ = uwrite!(text, "Set {} address to: {}", title, server);
        });
        answer.string(key, server);
    });
}

fn format_error(answer: &mut Answer) {
    answer.object(|answer| {
        answer.flag("error", true);
        answer.string("msg", FORMAT_ERROR);
    });
}

/// An answer that says what was done.
fn done(answer: &mut Answer, name: &str, write: impl FnOnce(&mut Escaped<'_>)) {
    answer.object(|answer| {
        answer.head(false, name);
        answer.composed("msg", write);
    });
}

fn quantity(
    answer: &mut Answer,
    name: &str,
    key: &str,
    values: [Option<i64>; 3],
    decimals: u8,
    unit: &str,
) {
    answer.object(|answer| {
        answer.head(false, name);
        answer.numbers(key, decimals, values);
        answer.string("unit", unit);
    });
}

/// The settings, or those that are not as `before`; what is secret only as stars.
fn show(settings: &Settings, before: Option<&Settings>, answer: &mut Answer) {
    for key in KEYS {
        let value = settings.get(key.name);
        if before.is_some_and(|before| before.get(key.name) == value) {
            continue;
        }
        match key.form {
            Form::Text => answer.string(key.name, &value),
            Form::Number | Form::Flag => answer.number(key.name, value.as_str()),
            Form::Secret if value.is_empty() => answer.string(key.name, ""),
            Form::Secret => answer.string(key.name, "***"),
        }
    }
}

/// Three energies in Wh.
fn list(text: &mut Escaped<'_>, energy: Phases, digits: u8) {
    let _ = uwrite!(text, "[");
    for (index, energy) in energy.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = uwrite!(text, "{}{}", separator, places(energy, DECIMALS, digits));
    }
    let _ = uwrite!(text, "]");
}

pub(super) fn calibrated_energy(mut energy: Phases, by: &Calibration) -> Phases {
    for (phase, energy) in energy.iter_mut().enumerate() {
        *energy = watts(*energy, by, phase);
    }
    energy
}

fn places(value: i64, decimals: u8, places: u8) -> Rounded {
    Rounded {
        value,
        decimals,
        places,
    }
}

/// Compares in a time that does not tell how much of it is right.
fn is_same(given: &str, right: &str) -> bool {
    let differ = given.bytes().zip(right.bytes());
    let differ = differ.fold(0, |all, (given, right)| all | (given ^ right));
    differ == 0 && given.len() == right.len()
}

/// The start of a line that cannot be read, as far as it may be seen by everybody.
struct Shown<'l>(&'l [u8]);

impl uDisplay for Shown<'_> {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        const LENGTH: usize = 30;
        let has = |word: &[u8]| self.0.windows(word.len()).any(|found| found == word);
        if has(b"pwd") || has(b"password") {
            return f.write_str("(a line with a password)");
        }
        for byte in self.0.iter().take(LENGTH) {
            match byte {
                b'"' | b'{' | b'}' | 0..b' ' | 0x7F.. => f.write_str("_")?,
                byte => f.write_char(char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// Hour and minute of the daily restart.
struct Daily((u8, u8));

impl uDisplay for Daily {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        let (hour, minute) = self.0;
        digits(f, hour.into(), 2)?;
        f.write_str(":")?;
        digits(f, minute.into(), 2)?;
        f.write_str(":00")
    }
}
