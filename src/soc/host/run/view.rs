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
        foreign::Protocol,
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

/// Columns for a value, and the space before it.
const VALUE_WIDTH: usize = 16;

/// With fewer rows of values than these, the lines above them may go.
const FEW_ROWS: usize = 6;

const NO_ANSWER: &str = "the broker does not answer";

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
    /// What stands above the table.
    heading: Vec<String>,
    /// The newest payload of each topic, those of the meter first; InfluxDB lines by measurement.
    topics: BTreeMap<(Order, String), String>,
    lines: BTreeMap<String, String>,
    /// What has gone wrong last.
    trouble: String,
    /// Why the P1 port cannot be read, while it cannot, and since when.
    port_failure: String,
    port_failing: Option<Instant>,
    /// Why there is no broker, while there is none; and the same with what comes next.
    last_failure: String,
    without_broker: String,
    /// Lines of the table on the screen, and the window that it was drawn for.
    drawn: usize,
    window: (usize, usize),
    dirty: bool,
}

/// Retained topics are the meter's and the status; what happens once comes last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Retained,
    Passing,
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

    /// A client has started the device over.
    pub fn restarted(&self) {
        self.connected.set(false);
        self.line(format_args!("started over"));
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
    pub fn unreachable(&self, waited: core::time::Duration) -> String {
        let failure = &self.state.borrow().last_failure;
        let reason = match (failure.as_str(), self.is_connected()) {
            ("", true) => "the broker does not acknowledge what was published",
            ("", false) => NO_ANSWER,
            (failure, _) => failure,
        };
        format!("gave up after {} s: {reason}", waited.as_secs())
    }

    /// Since when the P1 port has failed without a telegram in between.
    pub fn port_failing(&self) -> Option<Instant> {
        self.state.borrow().port_failing
    }

    /// Why the P1 port was given up, in a sentence.
    pub fn port_unreachable(&self, waited: core::time::Duration) -> String {
        let failure = &self.state.borrow().port_failure;
        format!("gave up after {} s: {failure}", waited.as_secs())
    }

    /// A line above the table.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        if !self.terminal {
            return print(text);
        }
        let mut state = self.state.borrow_mut();
        state.heading.push(text.to_string());
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
                if state.dirty || waiting || state.window != window() {
                    state.draw(self.start, stats, "   Ctrl-C ends");
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
        if self.terminal {
            self.state.borrow_mut().draw(self.start, stats, "");
        } else {
            print(format_args!("{}", counters(stats)));
        }
    }
}

/// What a board of its own says on its console.
impl View {
    /// It accepted a telegram.
    pub fn board_accepted(&self, line: &str) {
        let mut state = self.state.borrow_mut();
        state.telegrams += 1;
        state.summary = format!("board    {line}");
        state.trouble.clear();
        state.dirty = true;
        if !self.terminal {
            print(format_args!("{BOLD}{}{BOLD:#}", state.summary));
        }
    }

    /// It has a session with the broker.
    pub fn board_connected(&self) {
        Monitor::connected(self, "", Duration::MIN);
    }

    /// It has none, and why.
    pub fn board_disconnected(&self, line: &str) {
        self.connected.set(false);
        self.board_trouble(line);
        let mut state = self.state.borrow_mut();
        state.last_failure = format!("the board says: {line}");
        state.without_broker = format!("board    {line}");
    }

    /// Something went wrong.
    pub fn board_trouble(&self, line: &str) {
        self.warn(&format!("board    {line}"));
    }

    /// Anything else.
    pub fn board_line(&self, line: &str) {
        self.line(format_args!("board    {line}"));
    }
}

impl Monitor for View {
    fn accepted(&self, reading: &Reading, _: Proof) {
        let mut state = self.state.borrow_mut();
        state.telegrams += 1;
        state.summary = summary(reading);
        state.trouble.clear();
        state.port_failure.clear();
        state.port_failing = None;
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
            Refusal::Encrypted { .. } => {
                "the port is encrypted; --set decryption_key=… opens it".to_string()
            }
            Refusal::Key { .. } => {
                "decryption_key does not fit it; is it this meter's?".to_string()
            }
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
        } else if received > 0 {
            text += "; --set line=auto tries other speeds";
        }
        if received == 0 {
            text += "; is the cable in, and does it assert Data Request?";
        }
        self.warn(&text);
    }

    fn foreign_port(&self, protocol: Protocol) {
        self.warn(&format!(
            "this is no P1 port: it sends {} frames, which are not read here; ask the grid company for the P1 port",
            protocol.name()
        ));
    }

    fn port_failed<E: Error>(&self, error: &E) {
        let text = error.to_string();
        let mut state = self.state.borrow_mut();
        state.port_failing.get_or_insert_with(Instant::now);
        // It is tried every second; once is enough to say it.
        if state.port_failure != text {
            state.port_failure = text.clone();
            drop(state);
            self.warn(&text);
        }
    }

    fn connected(&self, _: &str, _: Duration) {
        self.connected.set(true);
        let mut state = self.state.borrow_mut();
        state.last_failure.clear();
        state.without_broker.clear();
        state.trouble.clear();
        state.dirty = true;
        drop(state);
        if !self.terminal {
            print(format_args!("connected to the broker"));
        }
    }

    fn disconnected<E: embedded_io_async::Error>(
        &self,
        _: &str,
        failure: Failure<'_, E>,
        retry: Duration,
    ) {
        self.connected.set(false);
        let failure = failure_text(&failure);
        let mut text = failure.clone();
        if !self.once {
            let seconds = (retry.as_millis() + 500) / 1000;
            text += &format!("; trying again in {seconds} s");
        }
        self.warn(&text);
        let mut state = self.state.borrow_mut();
        state.last_failure = failure;
        state.without_broker = text;
    }

    fn published(&self, topic: &str, payload: &[u8], retained: bool) {
        let text = harmless(&String::from_utf8_lossy(payload));
        if !self.terminal {
            return print(format_args!("{DIM}{topic}{DIM:#} {text}"));
        }
        let mut state = self.state.borrow_mut();
        let measurement = text.split([',', ' ']).next().unwrap_or_default();
        if topic.contains("/influx/") {
            let key = format!("{topic} {measurement}");
            state.lines.insert(key, format!("{topic} {text}"));
        } else {
            let order = match retained {
                true => Order::Retained,
                false => Order::Passing,
            };
            state.topics.insert((order, topic.to_string()), text);
        }
        state.dirty = true;
    }

    fn rejected(&self, reason: minimq::ReasonCode) {
        self.warn(&format!("the broker rejects a message: {reason:?}"));
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
    fn draw(&mut self, start: Instant, stats: &Stats, hint: &str) {
        let size @ (rows, columns) = window();
        let resized = self.drawn > 0 && size != self.window;
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
        let longest = self.topics.keys().map(|(_, topic)| topic.chars().count());
        // A value is worth more than the beginning of its topic, which they all share.
        let width = longest
            .max()
            .unwrap_or(0)
            .min(columns.saturating_sub(VALUE_WIDTH));
        for ((_, topic), payload) in &self.topics {
            let topic = shortened(topic, width);
            table.push((Style::new(), format!("{topic:width$}  {payload}")));
        }
        // What does not fit the window would scroll the table away under itself.
        let below = self.lines.len() + 3;
        let with_heading = rows.saturating_sub(self.heading.len() + below);
        let room = match with_heading {
            0..FEW_ROWS => rows.saturating_sub(below).max(2),
            rows => rows,
        };
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
        // Readings come and are dropped while the broker is away: that it is away is the news.
        let trouble = match self.without_broker.as_str() {
            "" => self.trouble.as_str(),
            text => text,
        };
        let trouble = wrapped(trouble, columns);
        table.truncate(rows.saturating_sub(trouble.len() + 2).max(1));
        table.extend(trouble.iter().map(|row| (WARN, row.to_string())));
        table.push((DIM, format!("{}{hint}", counters(stats))));

        // In one piece, so that nothing flickers.
        let mut out = String::new();
        if resized {
            // Where the old table's lines are now is anybody's guess.
            out += "\x1b[2J\x1b[H";
        } else if self.drawn > 0 {
            out += &format!("\x1b[{}A\r", self.drawn);
        }
        if resized || self.drawn == 0 {
            for line in &self.heading {
                out += &format!("{}\x1b[K\n", clipped(line, columns));
            }
        }
        for (style, text) in &table {
            out += &format!("{style}{}{style:#}\x1b[K\n", clipped(text, columns));
        }
        out += "\x1b[J";
        let _ = anstream::stderr().lock().write_all(out.as_bytes());
        self.drawn = table.len();
        self.window = size;
        self.dirty = false;
    }
}

/// The text without what a terminal would obey: a meter's message may hold any byte.
fn harmless(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    text.chars().map(shown).collect()
}

/// As much of the beginning as fits. Beyond the alphabets, a character may take two columns.
fn clipped(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    let too_far = text.char_indices().find(|(_, c)| {
        taken += if *c < '\u{1100}' { 1 } else { 2 };
        taken > columns
    });
    too_far.map_or(text, |(index, _)| &text[..index])
}

/// The text in as many rows as it needs, one at least.
fn wrapped(text: &str, columns: usize) -> Vec<&str> {
    let mut rows = vec![];
    let mut rest = text;
    loop {
        let row = clipped(rest, columns.max(2));
        rows.push(row);
        rest = &rest[row.len()..];
        if rest.is_empty() {
            return rows;
        }
    }
}

/// As much of the end as fits.
fn shortened(topic: &str, width: usize) -> String {
    let count = topic.chars().count();
    if count <= width {
        return topic.to_string();
    }
    let rest = topic.chars().skip(count + 1 - width.max(1));
    core::iter::once('…').chain(rest).collect()
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
        (stats.odd_lines(), "odd lines"),
        (stats.noise.get(), "bytes of noise"),
        (stats.line_errors.get().overrun, "overruns"),
        (stats.port_errors.get(), "port errors"),
        (stats.connections.get().saturating_sub(1), "reconnections"),
        (stats.lost_commands.get(), "commands lost"),
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
        Failure::Timeout => NO_ANSWER.to_string(),
        Failure::Closed => "the broker closed the connection".to_string(),
        Failure::Refused(
            minimq::ReasonCode::BadUsernameOrPassword | minimq::ReasonCode::NotAuthorized,
        ) => "the broker refuses the user or password (mqtt_user, mqtt_password)".to_string(),
        Failure::Refused(reason) => format!("the broker refuses: {reason:?}"),
        Failure::Protocol => {
            "the broker does not speak MQTT 5, as mosquitto does from 1.6 on".to_string()
        }
        Failure::Settings => "the settings are too long for the MQTT session".to_string(),
    }
}
