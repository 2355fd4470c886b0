//! The commands themselves.

use embassy_futures::yield_now;
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use super::{Client, Device, Peer, Reset, Rest, at_once, events::Ip, recall_setting};
use crate::{
    p1::timestamp::Utc,
    settings::{self, Form, KEYS, Settings},
    smartmeter::{
        answer::{Answer, Escaped, Reply},
        command::{
            Command, MQTT_SERVER, Names, Refusal, STREAM_SERVER, TIME_SERVER, check_settings,
            each_setting, is_exclusive, network, setting,
        },
        energy::Kept,
        fixed::Rounded,
        log::Level,
        request::{Malformed, Request},
        sampling::Order,
        stream::CAPACITY,
        time::{Local, Long, Moment, digits},
        values::{Calibration, DECIMALS, FACTOR_DECIMALS, Missing, Phases, Values, watts},
    },
    storage::{Key, Store},
};

/// A wrong password is answered after this, so that guessing takes its time.
const GUESS: Duration = Duration::from_secs(1);

/// How often it is seen to whether the newest telegram has been taken up.
const GLANCE: Duration = Duration::from_millis(5);

/// What a request that cannot be read is answered with, in the protocol's own words.
const FORMAT_ERROR: &str = r#"JSON format error, syntax: {"cmd":<cmdName>, "[payload":{<data>}]}}"#;

/// The settings that meter and publisher do not work with.
const NOT_OF_TASKS: [&str; 8] = [
    "transmit_power",
    "start_delay",
    "radio_sleep",
    "command_password",
    "stream_server",
    "time_server",
    "time_port",
    "time_zone",
];

/// What a broker or server that is not set is called.
const NONE: &str = "-";

impl<F: NorFlash> Device<'_, '_, F> {
    /// Waits until the newest telegram has been taken up, which a command may ask for: what is published of it goes first.
    pub async fn up_to_date(&self) {
        while Instant::now() < self.up_to_date.get() {
            Timer::after(GLANCE).await;
        }
    }

    /// Does what a line asks for and writes the answer, if it is to have one, or the first piece of it:
    /// [`more`](Self::more) writes the others.
    pub async fn answer(&self, line: &[u8], client: &mut Client, answer: &mut dyn Reply) {
        client.rest = None;
        match line {
            // Asked by tools of old, and kept for them.
            [b'?', ..] => {
                if !self.is_locked(client) {
                    // Whether there was a sampling or not, nobody is told more.
                    let _ = self.stop_sampling();
                }
                client.rest = Some(Rest::SetUp);
            }
            // A client keeps its connection open.
            [] | [b'!', ..] => {}
            line => self.request(line, client, answer).await,
        }
    }

    /// The same, and all pieces.
    pub async fn answer_whole(&self, line: &[u8], client: &mut Client, reply: &mut dyn Reply) {
        self.answer(line, client, reply).await;
        while self.more(client, reply) {}
    }

    /// Hands over the next piece of an answer that has several; `false` when there is none.
    pub fn more(&self, client: &mut Client, reply: &mut dyn Reply) -> bool {
        client.rest = match client.rest.take() {
            None => return false,
            Some(Rest::SetUp) => {
                reply.line(|answer| answer.part("Setup done"));
                None
            }
            Some(Rest::Info) => {
                self.rest_of_info(reply);
                Some(Rest::Networks { of_info: true })
            }
            Some(Rest::Networks { of_info }) => {
                self.networks_of(of_info, reply);
                None
            }
            Some(Rest::Settings(shown)) => self.show(shown, reply).map(Rest::Settings),
            Some(Rest::Log(cursor)) => self.next_row(cursor, reply).map(Rest::Log),
            Some(Rest::Stopped(ended)) => {
                self.stopped(&ended, reply);
                None
            }
        };
        true
    }

    /// Answers a line that was too long to be read: it had more than `most` bytes.
    pub fn answer_too_long(&self, most: usize, answer: &mut dyn Reply) {
        self.tell(Level::Error, |text| {
            let _ = uwrite!(text, "A command is longer than {} bytes", most as u32);
        });
        format_error(answer);
    }

    async fn request(&self, line: &[u8], client: &mut Client, answer: &mut dyn Reply) {
        let parsed = Request::parse(line);
        // Each way through a long line takes a chip two milliseconds.
        yield_now().await;
        let request = match parsed {
            Ok(request) => request,
            Err(malformed) => {
                if malformed == Malformed::Syntax {
                    self.tell(Level::Error, |text| {
                        let _ = uwrite!(text, "deserializeJson() failed: {}", Excerpt(line));
                    });
                }
                return format_error(answer);
            }
        };
        let done = match self.allowed(&request, client) {
            Ok(command) => self.command(&command, &request, client, answer).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            self.refuse(&refusal, &request, client, answer);
        }
    }

    /// The request's command, if this client may have it done now.
    #[inline(never)]
    fn allowed(&self, request: &Request<'_>, client: &Client) -> Result<Command, Refusal> {
        let command = Command::parse(request);
        if self.is_locked(client) && command.as_ref().is_ok_and(|command| !command.is_open()) {
            return Err(Refusal::Locked);
        }
        if is_exclusive(request)
            && !self.is_order_of_raw_stream(request)
            && let Some(peer) = self.sampler()
        {
            return Err(Refusal::Busy(peer));
        }
        command
    }

    #[inline(never)]
    fn refuse(
        &self,
        refusal: &Refusal,
        request: &Request<'_>,
        client: &mut Client,
        answer: &mut dyn Reply,
    ) {
        if *refusal == Refusal::Unknown {
            self.tell(Level::Warning, |text| {
                let _ = uwrite!(text, "Received unknown command");
            });
        }
        let has_networks = matches!(
            refusal,
            Refusal::NetworkKnown(_) | Refusal::NetworkUnknown(_) | Refusal::NetworksFull
        );
        answer.pass(|answer| {
            answer.begin();
            answer.head(true, &request.command);
            if *refusal != Refusal::Idle {
                answer.composed("msg", |text| refusal.write(text));
            }
            if matches!(refusal, Refusal::Busy(_)) {
                answer.string("state", "busy");
            }
            if !has_networks {
                answer.end();
            }
        });
        if has_networks {
            client.rest = Some(Rest::Networks { of_info: false });
        }
    }

    /// Whether commands are locked by a password.
    pub(super) fn has_password(&self) -> bool {
        !self.state.borrow().settings.command_password.is_empty()
    }

    /// Whether that password opens them, or none is needed. Settings are not copied for it: the frame of all commands would have room for them.
    fn is_opened_by(&self, password: &str) -> bool {
        let right = &self.state.borrow().settings.command_password;
        right.is_empty() || is_same(password, right)
    }

    /// Whether a client has to give the password first. Whoever holds the cable has the device.
    fn is_locked(&self, client: &Client) -> bool {
        let open = client.peer == Peer::Console || client.unlocked;
        !open && self.has_password()
    }

    /// Does what takes its time; all else at once.
    async fn command(
        &self,
        command: &Command,
        request: &Request<'_>,
        client: &mut Client,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        let name = request.command.as_str();
        match command {
            Command::FactoryReset => self.reset(Reset::All).await?,
            Command::BasicReset => self.reset(Reset::AllButName).await?,
            Command::Sample => {
                let order = Order::parse(request, self.max_rate).map_err(Refusal::Sample)?;
                self.start_sampling(order, name, client, answer).await?;
            }
            Command::Ntp { background: false } => {
                let synced = self.sync().await.is_some();
                time_synced(synced, self.local_now(), name, answer);
            }
            Command::TimeServer(server) => {
                self.change(request, Some(TIME_SERVER)).await?;
                if server != NONE {
                    // Whether it answers is in the log.
                    self.sync().await;
                }
                server_set(answer, name, ("TimeServer", "time_server"), server);
            }
            Command::MqttServer(server) => {
                self.change(request, Some(MQTT_SERVER)).await?;
                server_set(answer, name, ("MQTTServer", "mqtt_server"), server);
            }
            Command::StreamServer(server) => {
                self.change(request, Some(STREAM_SERVER)).await?;
                server_set(answer, name, ("StreamServer", "stream_server"), server);
            }
            Command::Settings { changes } => {
                let shown = match changes {
                    true => self.change(request, None).await?,
                    false => Keys::ALL,
                };
                // Whoever sets the lock is inside.
                client.unlocked |= *changes && shown.has("command_password");
                answer.pass(Shown::begin);
                client.rest = Some(Rest::Settings(Shown::new(shown)));
            }
            Command::Unlock(password)
                if client.peer != Peer::Mqtt && !self.is_opened_by(password) =>
            {
                Timer::after(GUESS).await;
                self.tell(Level::Warning, |text| {
                    let _ = uwrite!(text, "Wrong password from {}", client.peer);
                });
                return Err(Refusal::Password);
            }
            command => self.command_at_once(command, request, client, answer)?,
        }
        Ok(())
    }

    // The settings' way into flash is deep: what other commands need of the stack is not above it.
    #[inline(never)]
    fn command_at_once(
        &self,
        command: &Command,
        request: &Request<'_>,
        client: &mut Client,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        let name = request.command.as_str();
        match command {
            Command::Info => {
                self.info(answer);
                client.rest = Some(Rest::Info);
            }
            Command::GetPower => self.power(name, answer)?,
            Command::GetVoltage => self.voltage(name, answer)?,
            Command::GetCurrent => self.current(name, answer)?,
            Command::GetPeriod => self.period(name, answer)?,
            Command::GetPhaseAngle => self.phase_angle(name, answer)?,
            Command::GetEnergy => self.energy(name, answer)?,
            Command::Calibration(factors) => self.calibrate(factors, name, answer)?,
            Command::DailyRestart(at) => self.restart_daily(*at, name, answer)?,
            Command::Restart => self.restart(),
            Command::ResetEnergy { energy, since } => {
                self.reset_energy(*energy, *since, name, answer)?;
            }
            Command::Stop => client.rest = Some(Rest::Stopped(self.stop_sampling()?)),
            Command::Cts(clear) => {
                self.clear_to_send(*clear);
                answer.object(|answer| answer.head(false, name));
            }
            Command::ReqSamples(samples) => {
                self.request_samples(*samples)?;
                answer.object(|answer| answer.head(false, name));
            }
            // There is nobody whose log it would be.
            Command::Log(_) if client.peer == Peer::Mqtt => {
                return Err(Refusal::Argument("getter not related to logger"));
            }
            Command::Log(level) => {
                client.level = *level;
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
            Command::GetLog => self.get_log(client, answer)?,
            Command::ClearLog => {
                self.clear_log()?;
                answer.object(|answer| answer.head(false, name));
            }
            Command::Mdns(new) => {
                self.rename(new)?;
                answer.object(|answer| {
                    answer.head(false, name);
                    answer.composed("msg", |text| {
                        let _ = uwrite!(text, "Set MDNS name to: {}", new.as_str());
                    });
                    answer.string("mdns_name", new);
                });
            }
            Command::AddWifi => self.new_network(request, client, answer)?,
            Command::DelWifi(ssid) => {
                self.remove_network(ssid)?;
                answer.pass(|answer| {
                    answer.begin();
                    answer.head(false, name);
                    answer.composed("msg", |text| {
                        let _ = uwrite!(text, "Removed SSID: {}", ssid.as_str());
                    });
                });
                client.rest = Some(Rest::Networks { of_info: false });
            }
            Command::Ntp { .. } => {
                self.sync_in_background();
                time_synced(true, self.local_now(), name, answer);
            }
            Command::Unlock(_) if client.peer == Peer::Mqtt => {
                return Err(Refusal::Argument(
                    "A message has no session to unlock: use TCP or the console",
                ));
            }
            Command::Unlock(_) => {
                client.unlocked = true;
                done(answer, name, |text| {
                    let _ = uwrite!(text, "Unlocked");
                });
            }
            // They take their time.
            Command::FactoryReset
            | Command::BasicReset
            | Command::Sample
            | Command::MqttServer(_)
            | Command::StreamServer(_)
            | Command::Settings { .. }
            | Command::TimeServer(_) => {}
        }
        Ok(())
    }

    /// Takes the request's settings over, into flash before it is answered, and returns which they are.
    ///
    /// In steps, between which others have their turn: a chip takes milliseconds for each.
    async fn change(&self, request: &Request<'_>, names: Option<&Names>) -> Result<Keys, Refusal> {
        yield_now().await;
        let named = self.named(request, names)?;
        yield_now().await;
        let changed = self.take_up(request, names);
        yield_now().await;
        self.keep_changed(named, changed)?;
        Ok(named)
    }

    /// Keeps these in flash, also those that were in force already: a flag may say the same, and flash something else. Who works with those
    /// that have changed is told.
    #[inline(never)]
    fn keep_changed(&self, named: Keys, changed: Keys) -> Result<(), Refusal> {
        let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
        // Another client may have taken the user away meanwhile.
        let of_login = named.has("mqtt_user") || named.has("mqtt_password");
        let kept = match of_login && self.state.borrow().settings.is_password_alone() {
            true => Err(Refusal::PasswordAlone),
            false => Ok(()),
        };
        if let Err(refusal) = kept.and_then(|()| self.keep_settings(store, named)) {
            self.take_back(store, named);
            return Err(refusal);
        }
        if changed.has("stream_server") {
            self.server_changed.signal(());
        }
        if changed.has("time_server") || changed.has("time_port") {
            self.time_server_changed.signal(());
        }
        if (changed.each()).any(|key| !NOT_OF_TASKS.contains(&key.name)) {
            self.settings_changed.signal(());
        }
        Ok(())
    }

    /// Which settings the request names, when all of them can be what it says.
    fn named(&self, request: &Request<'_>, names: Option<&Names>) -> Result<Keys, Refusal> {
        let mut named = Keys(0);
        check_settings(request, names, &mut |key| named.add(key))?;
        let will_be_empty = |key: &str| match setting(request, names, key) {
            Some(value) => value.is_empty(),
            None => self.state.borrow().settings.get(key).is_empty(),
        };
        let of_login = named.has("mqtt_user") || named.has("mqtt_password");
        if of_login && will_be_empty("mqtt_user") && !will_be_empty("mqtt_password") {
            return Err(Refusal::PasswordAlone);
        }
        Ok(named)
    }

    /// Keeps what is in force of them in flash, all or none.
    fn keep_settings(&self, store: &mut Store<F>, named: Keys) -> Result<(), Refusal> {
        let mut keys = heapless::Vec::<_, { KEYS.len() }>::new();
        keys.extend(named.each().map(|key| Key::Setting(key.id)));
        let mut value = |key| {
            let named = KEYS.iter().find(|named| Key::Setting(named.id) == key);
            let settings = &self.state.borrow().settings;
            named
                .map(|named| settings.get(named.name))
                .unwrap_or_default()
                .into_bytes()
        };
        self.put_all(store, &keys, &mut value)
    }

    /// Has the request's settings in force, which were found to be valid, and returns which of them are other ones now.
    fn take_up(&self, request: &Request<'_>, names: Option<&Names>) -> Keys {
        let mut changed = Keys(0);
        each_setting(request, names, &mut |name, value, _| {
            let settings = &mut self.state.borrow_mut().settings;
            let before = settings.get(name);
            if settings.set(name, value).is_ok()
                && settings.get(name) != before
                && let Ok(key) = settings::Key::named(name)
            {
                changed.add(key);
            }
        });
        changed
    }

    /// Has in force what flash says of them, which has not taken others. If it does not let itself be read either, they stay.
    #[inline(never)]
    fn take_back(&self, store: &mut Store<F>, named: Keys) {
        let settings = &mut self.state.borrow_mut().settings;
        let mut found = Keys(0);
        let read = at_once(store.each(|key, value| {
            if let Key::Setting(id) = key
                && let Some(key) = named.each().find(|named| named.id == id)
            {
                found.add(key);
                recall_setting(settings, id, value);
            }
        }));
        match read {
            Ok(()) => (named.each().filter(|key| !found.has(key.name)))
                .for_each(|key| recall_setting(settings, key.id, &[])),
            Err(_) => self.stats.storage_errors.count(),
        }
    }

    /// Hands over the next settings; those behind them.
    fn show(&self, shown: Shown, reply: &mut dyn Reply) -> Option<Shown> {
        let mut rest = None;
        reply.pass(|answer| rest = shown.write(&self.state.borrow().settings, answer));
        rest
    }

    /// Hands over what each new client gets: its first third, [`rest_of_info`](Self::rest_of_info) and
    /// [`networks_of`](Self::networks_of) have the others.
    fn info(&self, reply: &mut dyn Reply) {
        let now = self.local_now();
        let state = self.state.borrow();
        let settings = &state.settings;
        reply.pass(|answer| {
            answer.begin();
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
        });
    }

    fn rest_of_info(&self, reply: &mut dyn Reply) {
        let state = self.state.borrow();
        let energy = state.energy.counted().unwrap_or_default().phases;
        let energy = calibrated_energy(energy, &state.calibration);
        let is_busy = self.sampler().is_some();
        reply.pass(|answer| {
            answer.resume(false);
            answer.string("time_server", &state.settings.time_server);
            answer.number("sampling_rate", self.rate.get());
            answer.number("buffer_size", CAPACITY as u32);
            answer.flag("psram", false);
            answer.flag("rtc", false);
            let words = ["idle", "busy"];
            answer.string("state", words[usize::from(is_busy)]);
            answer.composed("energy", |text| list(text, energy, 4));
            answer.composed("dailyReset", |text| {
                let _ = match state.daily_restart {
                    None => uwrite!(text, "None"),
                    Some(at) => uwrite!(text, "@{}", Daily(at)),
                };
            });
            let factors = state.calibration.map(|factor| Some(factor.into()));
            answer.numbers("calibration", FACTOR_DECIMALS, factors);
        });
    }

    /// Hands over the names of the networks, which end the answer; those of `info` have more behind them.
    fn networks_of(&self, of_info: bool, reply: &mut dyn Reply) {
        reply.pass(|answer| {
            answer.resume(false);
            self.show_networks(answer);
            if of_info {
                self.networks.show(answer);
            }
            if of_info && self.journal.is_some() {
                answer.number("log_erases", self.log_erases.get());
                answer.number("log_lost", self.log_lost.get());
            }
            answer.end();
        });
    }

    /// Greets a new client with the line that tells who this is.
    pub fn greet(&self, client: &mut Client, reply: &mut dyn Reply) {
        self.info(reply);
        client.rest = Some(Rest::Info);
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

    #[inline(never)]
    fn voltage(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Missing> {
        let values = self.measured(Values::voltage)?;
        quantity(answer, name, "voltage", values.map(Some), DECIMALS, "V");
        Ok(())
    }

    #[inline(never)]
    fn current(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Missing> {
        let values = self.measured(Values::current)?;
        quantity(answer, name, "current", values.map(Some), 0, "mA");
        Ok(())
    }

    #[inline(never)]
    fn period(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Missing> {
        let values = self.measured(|values, _| values.frequency())?;
        quantity(answer, name, "period", values.map(Some), DECIMALS, "Hz");
        Ok(())
    }

    #[inline(never)]
    fn phase_angle(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Missing> {
        let values = self.measured(Values::angle)?;
        quantity(answer, name, "phase", values, DECIMALS, "Deg");
        Ok(())
    }

    #[inline(never)]
    fn power(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Missing> {
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

    #[inline(never)]
    fn energy(&self, name: &str, answer: &mut dyn Reply) -> Result<(), Refusal> {
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

    #[inline(never)]
    fn calibrate(
        &self,
        calibration: &Calibration,
        name: &str,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        let mut bytes = [0; 24];
        for (place, factor) in bytes.chunks_exact_mut(4).zip(calibration) {
            place.copy_from_slice(&factor.to_le_bytes());
        }
        self.put(Key::Calibration, &bytes)?;
        self.state.borrow_mut().calibration = *calibration;
        done(answer, name, |text| {
            let names = ["v1", "i1", "v2", "i2", "v3", "i3"];
            let _ = uwrite!(text, "Calibration set");
            for (index, (name, factor)) in names.iter().zip(calibration).enumerate() {
                let separator = if index == 0 { ": " } else { ", " };
                let factor = places((*factor).into(), FACTOR_DECIMALS, 2);
                let _ = uwrite!(text, "{}{}:{}", separator, *name, factor);
            }
        });
        Ok(())
    }

    #[inline(never)]
    fn restart_daily(
        &self,
        at: Option<(u8, u8)>,
        name: &str,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        let bytes = at.map(|(hour, minute)| [hour, minute]);
        let bytes = bytes.as_ref().map_or(&[][..], |bytes| bytes);
        self.put(Key::DailyRestart, bytes)?;
        self.state.borrow_mut().daily_restart = at;
        done(answer, name, |text| {
            let _ = match at {
                None => uwrite!(text, "Disabled daily restart"),
                Some(at) => uwrite!(text, "Set daily restart to: {}", Daily(at)),
            };
        });
        Ok(())
    }

    #[inline(never)]
    fn new_network(
        &self,
        request: &Request<'_>,
        client: &mut Client,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        let (ssid, password) = network(request)?;
        self.add_network(&ssid, &password)?;
        // Who reads along over MQTT has not asked.
        let shown = match client.peer {
            Peer::Mqtt => "***",
            _ => password.as_str(),
        };
        answer.pass(|answer| {
            answer.begin();
            answer.head(false, &request.command);
            answer.string("ssid", &ssid);
            answer.string("pwd", shown);
            answer.composed("msg", |text| {
                let ssid = ssid.as_str();
                let _ = uwrite!(text, "New Ap, SSID: {}, PW: {}", ssid, shown);
            });
        });
        client.rest = Some(Rest::Networks { of_info: false });
        Ok(())
    }

    #[inline(never)]
    fn reset_energy(
        &self,
        energy: Option<Phases>,
        since: Option<Utc>,
        name: &str,
        answer: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        // First, so that nothing is counted between what is kept and what is in force.
        let store = &mut *self.store.try_lock().map_err(|_| Refusal::Storage)?;
        let counted = self.counted()?;
        let energy = energy.unwrap_or_default();
        let now = self.now_or_epoch();
        let at = since.map_or(now, Moment::from);
        let kept = Kept {
            phases: energy,
            since: at.utc(),
            ..counted
        };
        self.put_in(store, Key::Energy, &kept.to_bytes())?;
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
fn server_set(answer: &mut dyn Reply, name: &str, (title, key): (&str, &str), server: &str) {
    answer.object(|answer| {
        answer.head(false, name);
        answer.composed("msg", |text| {
            let _ = uwrite!(text, "Set {} address to: {}", title, server);
        });
        answer.string(key, server);
    });
}

/// An answer that says what time it is, and whether a time server said so.
fn time_synced(synced: bool, now: Local, name: &str, answer: &mut dyn Reply) {
    answer.object(|answer| {
        answer.head(!synced, name);
        let words = ["Error syncing time", "Time synced"];
        answer.string("msg", words[usize::from(synced)]);
        answer.composed("current_time", |text| {
            let _ = uwrite!(text, "{}", Long(now));
        });
    });
}

fn format_error(answer: &mut dyn Reply) {
    answer.object(|answer| {
        answer.flag("error", true);
        answer.string("msg", FORMAT_ERROR);
    });
}

/// An answer that says what was done.
fn done(answer: &mut dyn Reply, name: &str, write: impl FnOnce(&mut Escaped<'_>)) {
    answer.object(|answer| {
        answer.head(false, name);
        answer.composed("msg", write);
    });
}

fn quantity(
    answer: &mut dyn Reply,
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

/// Some of the settings' keys, by their places.
#[derive(Debug, Clone, Copy)]
struct Keys(u32);

const _: () = assert!(KEYS.len() <= 32);

impl Keys {
    const ALL: Self = Self(!0);

    fn each(self) -> impl Iterator<Item = &'static settings::Key> {
        let has = move |(index, _): &(usize, _)| self.0 >> index & 1 == 1;
        KEYS.iter().enumerate().filter(has).map(|(_, key)| key)
    }

    fn add(&mut self, key: &settings::Key) {
        let place = KEYS.iter().position(|other| other.id == key.id);
        self.0 |= place.map_or(0, |place| 1 << place);
    }

    fn has(self, name: &str) -> bool {
        self.each().any(|key| key.name == name)
    }
}

/// Settings that are shown, as many in a piece as have room.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    keys: Keys,
    /// How many of them have been.
    done: usize,
}

impl Shown {
    /// The longest of them: name, two quotes each, colon, comma, and the end.
    const ROOM: usize = 24 + 2 * 64 + 8;

    fn new(keys: Keys) -> Self {
        Self { keys, done: 0 }
    }

    fn begin(answer: &mut Answer) {
        answer.begin();
        answer.head(false, "settings");
        answer.part(r#","settings":{"#);
    }

    /// Writes what has room; what has not. What is secret is shown as stars.
    fn write(mut self, settings: &Settings, answer: &mut Answer) -> Option<Self> {
        answer.resume(self.done == 0);
        for key in self.keys.each().skip(self.done) {
            if !answer.has_room_for(Self::ROOM) {
                return Some(self);
            }
            self.done += 1;
            let value = settings.get(key.name);
            match key.form {
                Form::Text => answer.string(key.name, &value),
                Form::Number | Form::Flag => answer.number(key.name, value.as_str()),
                Form::Secret if value.is_empty() => answer.string(key.name, ""),
                Form::Secret => answer.string(key.name, "***"),
            }
        }
        answer.part("}");
        answer.end();
        None
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

/// The start of a line that cannot be read, as far as it may be seen by everybody: what stands behind a name may be a
/// password or the meter's key.
struct Excerpt<'l>(&'l [u8]);

impl uDisplay for Excerpt<'_> {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        const LENGTH: usize = 30;
        let name = self.0.split_inclusive(|byte| *byte == b':').next();
        for byte in name.unwrap_or_default().iter().take(LENGTH) {
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
