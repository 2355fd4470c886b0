//! What a person sees on stderr: on a terminal a table that stays in place, elsewhere a line per
//! event.

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    error::Error,
    fmt,
};
use std::{
    collections::BTreeMap,
    format,
    io::{self, IsTerminal, Write},
    string::{String, ToString},
    vec,
    vec::Vec,
};

use anstyle::{AnsiColor, Style};
use embassy_time::{Duration, Instant, Timer};

use crate::{
    app::{
        monitor::{Drop, Failure, Monitor},
        stats::Stats,
    },
    p1::{
        port::{Format, LineSettings},
        timestamp::local,
        value::FORMATTED_MAX,
    },
    reading::{Content, Reading},
    receiver::{Proof, Refusal},
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const WARN: Style = AnsiColor::Yellow.on_default();

/// How often the terminal is drawn anew.
const REFRESH: Duration = Duration::from_millis(200);

/// Without a terminal: how often a line says that telegrams are still waited for.
const PROGRESS: Duration = Duration::from_secs(5);

/// The monitor of a terminal.
pub struct View {
    terminal: bool,
    once: bool,
    connected: Cell<bool>,
    stopping: Cell<bool>,
    interrupted: Cell<bool>,
    start: Instant,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The newest reading in a line.
    summary: String,
    telegrams: u32,
    /// The newest payload of each topic; InfluxDB lines by measurement.
    topics: BTreeMap<String, String>,
    lines: BTreeMap<String, String>,
    /// What has gone wrong last.
    trouble: String,
    last_failure: String,
    /// Lines of the table on the screen.
    drawn: usize,
    dirty: bool,
}

impl View {
    /// A view on stderr.
    pub fn new(once: bool) -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            once,
            connected: Cell::new(false),
            stopping: Cell::new(false),
            interrupted: Cell::new(false),
            start: Instant::now(),
            state: RefCell::default(),
        }
    }

    /// The broker has a session with us.
    pub fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// No further telegram will come.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// It was the user who ended it.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted.get()
    }

    /// No further telegram will come, because the input ended or the user wants it so.
    pub fn stopping(&self, interrupted: bool) {
        self.stopping.set(true);
        self.interrupted.set(interrupted);
    }

    /// Why the broker was not reached, in a sentence.
    pub fn unreachable(&self) -> String {
        let failure = &self.state.borrow().last_failure;
        if failure.is_empty() {
            return "the broker has not acknowledged everything in time".to_string();
        }
        format!("the broker could not be reached in time: {failure}")
    }

    /// A line that stays.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        let mut state = self.state.borrow_mut();
        state.erase();
        print(text);
        state.dirty = true;
    }

    fn warn(&self, text: &str) {
        let mut state = self.state.borrow_mut();
        state.trouble = text.to_string();
        state.dirty = true;
        if !self.terminal {
            print(format_args!("{WARN}{text}{WARN:#}"));
        }
    }

    /// Keeps the terminal up to date, for ever.
    pub async fn refresh(&self, stats: &Stats) -> Infallible {
        let mut said = self.start;
        loop {
            Timer::after(REFRESH).await;
            let waiting = self.state.borrow().telegrams == 0;
            if self.terminal {
                let mut state = self.state.borrow_mut();
                if state.dirty || waiting {
                    state.draw(self.start, stats);
                }
            } else if waiting && said.elapsed() >= PROGRESS {
                said = Instant::now();
                let seconds = self.start.elapsed().as_secs();
                print(format_args!("waiting for the first telegram, {seconds} s"));
            }
        }
    }

    /// The last line.
    pub fn finish(&self, stats: &Stats) {
        let mut state = self.state.borrow_mut();
        if self.terminal {
            state.draw(self.start, stats);
        }
        print(format_args!("{}", counters(stats)));
    }
}

impl Monitor for View {
    fn accepted(&self, reading: &Reading, _: Proof) {
        let mut state = self.state.borrow_mut();
        state.telegrams += 1;
        state.summary = summary(reading);
        state.trouble.clear();
        state.dirty = true;
        if !self.terminal {
            print(format_args!("{BOLD}{}{BOLD:#}", state.summary));
        }
    }

    fn refused(&self, refusal: Refusal) {
        let bytes = refusal.bytes();
        let reason = match refusal {
            Refusal::Crc {
                expected,
                found: Some(found),
                ..
            } => format!("its CRC is {found:04X} and should be {expected:04X}"),
            Refusal::Crc { .. } => "its CRC is unreadable".to_string(),
            Refusal::NoCrc { .. } => "it has no CRC".to_string(),
            Refusal::Brackets { .. } => "a bracket is missing".to_string(),
            Refusal::Truncated { .. } => "its end is missing".to_string(),
            Refusal::TooLong { .. } => "a line is too long".to_string(),
        };
        self.warn(&format!(
            "a telegram of {bytes} bytes was refused: {reason}"
        ));
    }

    fn totals_fell(&self) {
        self.warn("a telegram was dropped: an energy register went backwards");
    }

    fn no_telegram(&self, waited: Duration, received: u32, line: LineSettings, next: LineSettings) {
        let seconds = waited.as_secs();
        let mut text = format!(
            "no telegram in {seconds} s at {} ({received} bytes came)",
            line_text(line)
        );
        if line != next {
            text += &format!("; trying {}", line_text(next));
        } else if received == 0 {
            text += "; is the cable in, and does it assert Data Request?";
        }
        self.warn(&text);
    }

    fn port_failed<E: Error>(&self, error: &E) {
        self.warn(&error.to_string());
    }

    fn connected(&self, _: Duration) {
        self.connected.set(true);
        let mut state = self.state.borrow_mut();
        state.last_failure.clear();
        state.trouble.clear();
        state.dirty = true;
        drop(state);
        if !self.terminal {
            print(format_args!("connected to the broker"));
        }
    }

    fn disconnected<E: Error>(&self, failure: Failure<'_, E>, retry: Duration) {
        self.connected.set(false);
        let text = failure_text(&failure);
        self.state.borrow_mut().last_failure.clone_from(&text);
        if self.once {
            return self.warn(&text);
        }
        let seconds = (retry.as_millis() + 500) / 1000;
        self.warn(&format!("{text}; trying again in {seconds} s"));
    }

    fn published(&self, topic: &str, payload: &[u8], _: bool) {
        let text = String::from_utf8_lossy(payload).into_owned();
        if !self.terminal {
            return print(format_args!("{DIM}{topic}{DIM:#} {text}"));
        }
        let mut state = self.state.borrow_mut();
        let measurement = text.split([',', ' ']).next().unwrap_or_default();
        if topic.contains("/influx/") {
            let key = format!("{topic} {measurement}");
            state.lines.insert(key, format!("{topic} {text}"));
        } else {
            state.topics.insert(topic.to_string(), text);
        }
        state.dirty = true;
    }

    fn dropped(&self, what: Drop) {
        self.warn(match what {
            Drop::Superseded => "a reading was dropped: a newer one came before it was published",
            Drop::TooLarge => "a message was dropped: it is too large for the session",
            Drop::Unacknowledged => {
                "an InfluxDB line was dropped: the broker has not acknowledged the ones before"
            }
            Drop::InFlight => "the session was lost with messages under way",
        });
    }
}

impl State {
    /// Takes the table off the screen.
    fn erase(&mut self) {
        if self.drawn > 0 {
            let mut out = anstream::stderr().lock();
            let _ = write!(out, "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }

    fn draw(&mut self, start: Instant, stats: &Stats) {
        let (rows, columns) = window();
        let mut table = vec![];
        if self.telegrams == 0 {
            let dots = ".".repeat(start.elapsed().as_millis() as usize / 500 % 4);
            let seconds = start.elapsed().as_secs();
            table.push((
                BOLD,
                format!("waiting for the first telegram, {seconds} s {dots}"),
            ));
        } else {
            table.push((BOLD, self.summary.clone()));
        }
        let width = self.topics.keys().map(String::len).max().unwrap_or(0);
        for (topic, payload) in &self.topics {
            table.push((Style::new(), format!("{topic:width$}  {payload}")));
        }
        // What does not fit the window would scroll the table away under itself.
        let room = rows.saturating_sub(4 + self.lines.len() * 2).max(3);
        if table.len() > room {
            let hidden = table.len() - room + 1;
            table.truncate(room - 1);
            table.push((
                DIM,
                format!("and {hidden} more; a larger window shows them"),
            ));
        }
        for line in self.lines.values() {
            table.push((DIM, line.clone()));
        }
        table.push((WARN, self.trouble.clone()));
        table.push((DIM, format!("{}   Ctrl-C ends", counters(stats))));
        self.erase();
        let mut out = anstream::stderr().lock();
        for (style, text) in &table {
            let fitting: String = text.chars().take(columns).collect();
            let _ = writeln!(out, "{style}{fitting}{style:#}");
        }
        self.drawn = table.len();
        self.dirty = false;
    }
}

/// A terminal that went away is no reason to stop.
fn print(text: fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn window() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_row > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}

fn counters(stats: &Stats) -> String {
    let mut parts: Vec<String> = vec![format!("{} telegrams", stats.accepted.get())];
    for (count, what) in [
        (stats.all_refused(), "refused"),
        (stats.timeouts.get(), "timeouts"),
        (stats.published.get(), "published"),
        (stats.dropped(), "dropped"),
        (stats.connections.get().saturating_sub(1), "reconnections"),
        (stats.storage_errors.get(), "values not kept"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}

/// The values that a person looks at first.
fn summary(reading: &Reading) -> String {
    let mut parts = vec![];
    if let Some(at) = reading.clock() {
        let clock = local(at.utc, at.letter);
        let time = format!("{:02}:{:02}:{:02}", clock.hour, clock.minute, clock.second);
        parts.push(time);
    }
    for (name, label) in [
        ("P_total", "using"),
        ("P_total_redelivery", "returning"),
        ("V_L1", "L1"),
        ("tariff", "tariff"),
        ("gas_reading", "gas"),
        ("water_reading", "water"),
        ("heat_reading", "heat"),
    ] {
        let mut values = reading.values();
        let value = values.find(|value| value.metric.name == name && value.newest);
        let Some(value) = value else { continue };
        if let Content::Number { number, .. } = value.content {
            let mut buffer = [0; FORMATTED_MAX];
            let digits = String::from_utf8_lossy(number.format(&mut buffer)).into_owned();
            let unit = value.metric.unit.map_or("", |unit| unit.as_str());
            parts.push(format!("{label} {digits} {unit}").trim_end().to_string());
        }
    }
    parts.join("   ")
}

fn line_text(line: LineSettings) -> String {
    let format = match line.format {
        Format::EightNone => "8N1",
        Format::SevenEven => "7E1",
    };
    format!("{} {format}", line.baud)
}

fn failure_text<E: Error>(failure: &Failure<'_, E>) -> String {
    match failure {
        Failure::Name(error) => format!("the broker's name does not resolve: {error}"),
        Failure::Connect(error) => format!("no connection to the broker: {error}"),
        Failure::Transport(error) => format!("the connection to the broker broke: {error}"),
        Failure::Timeout => "the broker does not answer".to_string(),
        Failure::Closed => "the broker closed the connection".to_string(),
        Failure::Refused(
            minimq::ReasonCode::BadUsernameOrPassword | minimq::ReasonCode::NotAuthorized,
        ) => "the broker refuses the user or password (mqtt_user, mqtt_password)".to_string(),
        Failure::Refused(reason) => format!("the broker refuses: {reason:?}"),
        Failure::Protocol => "the broker does not speak MQTT 5".to_string(),
        Failure::Settings => "the settings are too long for the MQTT session".to_string(),
    }
}
