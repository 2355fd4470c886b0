//! What a person sees on a terminal: a table that stays in place.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::child::{PATIENCE, Running};
use crate::support::firmware::command;

/// As much of a terminal as the program makes use of; it panics on anything else.
struct Screen {
    rows: Vec<Vec<char>>,
    width: usize,
    row: usize,
    column: usize,
    /// Rows that went out at the top, and rows that were too long.
    scrolled: usize,
    wrapped: usize,
    /// What was there when the last drawing was done.
    shown: Vec<String>,
    /// A sequence that has begun.
    escape: Option<String>,
}

impl Screen {
    fn new(height: usize, width: usize) -> Screen {
        Screen {
            rows: vec![vec![' '; width]; height],
            width,
            row: 0,
            column: 0,
            scrolled: 0,
            wrapped: 0,
            shown: Vec::new(),
            escape: None,
        }
    }

    /// What is there when all has been drawn.
    fn shown(&mut self) {
        let line = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        self.shown = self.rows.iter().map(line).collect();
    }

    fn put(&mut self, c: char) {
        if let Some(mut sequence) = self.escape.take() {
            sequence.push(c);
            match c {
                '[' | '0'..='9' | ';' => self.escape = Some(sequence),
                _ => self.obey(&sequence),
            }
            return;
        }
        match c {
            '\x1b' => self.escape = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.line_feed(),
            c if c.is_control() => panic!("{c:?} on the screen"),
            c => {
                if self.column == self.width {
                    self.wrapped += 1;
                    self.column = 0;
                    self.line_feed();
                }
                self.rows[self.row][self.column] = c;
                self.column += 1;
            }
        }
    }

    fn line_feed(&mut self) {
        if self.row + 1 < self.rows.len() {
            self.row += 1;
            return;
        }
        self.scrolled += 1;
        self.rows.remove(0);
        self.rows.push(vec![' '; self.width]);
    }

    /// ECMA-48: CUU, CUP to the corner, EL, ED, and colours, which are not looked at.
    fn obey(&mut self, sequence: &str) {
        let parameters = &sequence[1..sequence.len() - 1];
        match (sequence.chars().last(), parameters) {
            (Some('A'), up) => {
                let up: usize = up.parse().expect("a number of rows");
                assert!(up <= self.row, "{up} up from row {}", self.row);
                self.row -= up;
            }
            (Some('H'), "") => (self.row, self.column) = (0, 0),
            // A row that is full to the last column keeps it.
            (Some('K'), "") => self.rows[self.row][self.column.min(self.width)..].fill(' '),
            (Some('J'), "") => {
                self.rows[self.row][self.column.min(self.width)..].fill(' ');
                self.rows[self.row + 1..]
                    .iter_mut()
                    .for_each(|row| row.fill(' '));
                self.shown();
            }
            (Some('J'), "2") => self.rows.iter_mut().for_each(|row| row.fill(' ')),
            (Some('m'), _) => {}
            _ => panic!("an unknown sequence: {sequence:?}"),
        }
    }
}

/// The program on a terminal of this size.
struct Terminal {
    running: Running,
    master: Arc<File>,
    screen: Arc<Mutex<Screen>>,
}

impl Terminal {
    fn start(height: u16, width: u16, args: &[&str]) -> Terminal {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).unwrap();
        let master = Arc::new(File::from(master));
        resize(&master, height, width);
        let screen = Arc::new(Mutex::new(Screen::new(height.into(), width.into())));
        let command = command(args);
        // Standard error is the terminal; through a shell, since the harness takes what it is given.
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", r#"exec "$@" 2<&0"#, "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .envs([("TERM", "xterm"), ("TMPDIR", env!("CARGO_TARGET_TMPDIR"))])
            .stdin(Stdio::from(slave));
        let running = Running::start_with_input("metertrekker", &mut shell);
        let (reader, drawn) = (Arc::clone(&master), Arc::clone(&screen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            let mut rest = Vec::new();
            // Fails when the program has ended.
            while let Ok(count @ 1..) = (&*reader).read(&mut bytes) {
                rest.extend_from_slice(&bytes[..count]);
                let valid = match std::str::from_utf8(&rest) {
                    Ok(_) => rest.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = rest.drain(..valid).collect();
                let mut screen = drawn.lock().unwrap();
                String::from_utf8(text)
                    .unwrap()
                    .chars()
                    .for_each(|c| screen.put(c));
            }
        });
        Terminal {
            running,
            master,
            screen,
        }
    }

    /// Waits for a screen with `part` on it.
    fn wait_for(&mut self, part: &str) -> Vec<String> {
        self.wait_until(part, |row| row.contains(part))
    }

    /// Waits for a screen that tells of so many telegrams.
    fn wait_for_telegrams(&mut self, least: u32) -> Vec<String> {
        self.wait_until(&format!("{least} telegrams"), |row| {
            let told = row.split_once(" telegrams").map(|(count, _)| count);
            let count = told.and_then(|told| told.split(' ').next_back()?.parse().ok());
            count.is_some_and(|count: u32| count >= least)
        })
    }

    fn wait_until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self
                .screen
                .lock()
                .expect("no unknown sequence")
                .shown
                .clone();
            if screen.iter().any(|row| is_it(row)) {
                return screen;
            }
            let shown = screen.join("\n");
            assert!(
                Instant::now() < deadline,
                "no {what:?} on the screen:\n{shown}"
            );
            thread::sleep(Duration::from_millis(25));
        }
    }

    fn scrolled_and_wrapped(&self) -> (usize, usize) {
        let screen = self.screen.lock().expect("no unknown sequence");
        (screen.scrolled, screen.wrapped)
    }
}

fn resize(master: &File, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}

#[track_caller]
fn assert_once(screen: &[String], part: &str) {
    let count = screen.iter().filter(|row| row.contains(part)).count();
    assert_eq!(count, 1, "{part:?} in\n{}", screen.join("\n"));
}

#[test]
fn a_large_window_shows_all_and_nothing_moves() {
    let mut terminal = Terminal::start(60, 120, &["run"]);
    let screen = terminal.wait_for("Ctrl-C ends");
    assert!(screen[0].starts_with("meter"), "{screen:?}");
    // A start that takes its time may have one already.
    if !screen.iter().any(|row| row.contains(" telegrams")) {
        assert_once(&screen, "waiting for the first telegram");
    }
    let first = terminal.wait_for("voltage/L3");
    let later = terminal.wait_for_telegrams(4);
    for part in [
        "meter ",
        "broker ",
        "state ",
        "power/total ",
        "gas,gas",
        "Ctrl-C",
    ] {
        assert_once(&later, part);
    }
    assert!(!later.iter().any(|row| row.contains("waiting")));
    let row =
        |screen: &[String], part: &str| screen.iter().position(|row| row.contains(part)).unwrap();
    for part in ["power/total ", "electricity,", "Ctrl-C"] {
        assert_eq!(row(&first, part), row(&later, part), "{part} moves");
    }
    assert_eq!(terminal.scrolled_and_wrapped(), (0, 0));

    terminal.running.signal(Signal::INT);
    assert_eq!(terminal.running.wait_for_end().code(), Some(0));
    let screen = terminal.wait_for("status    ");
    assert_once(&screen, "offline");
    assert_once(&screen, " telegrams");
    assert!(!screen.iter().any(|row| row.contains("Ctrl-C")));
}

#[test]
fn a_small_window_shows_what_fits_and_says_so() {
    let mut terminal = Terminal::start(10, 60, &["run"]);
    terminal.wait_for("Ctrl-C ends");
    let screen = terminal.wait_for_telegrams(2);
    for part in [
        "using",
        "gas/reading",
        "more; a larger window",
        "electricity,",
        "gas,",
    ] {
        assert_once(&screen, part);
    }
    // Only what stood above the table may have gone.
    let before = terminal.scrolled_and_wrapped();
    assert!(before.0 <= 6, "{before:?}");
    terminal.wait_for_telegrams(4);
    assert_eq!(terminal.scrolled_and_wrapped(), before);
    assert_eq!(before.1, 0, "something was too long for its row");
}

#[test]
fn a_window_may_change_its_size() {
    let mut terminal = Terminal::start(40, 120, &["run"]);
    terminal.wait_for_telegrams(1);
    // What a terminal makes of rows that no longer fit differs; the program may not rely on it.
    *terminal.screen.lock().unwrap() = Screen::new(12, 70);
    terminal.screen.lock().unwrap().row = 11;
    resize(&terminal.master, 12, 70);
    let screen = terminal.wait_for_telegrams(4);
    assert_once(&screen, "using");
    assert_once(&screen, "Ctrl-C");
    assert_eq!(terminal.scrolled_and_wrapped().1, 0);
}

#[test]
fn a_broker_that_is_away_stays_on_the_screen_while_readings_come() {
    let mut terminal = Terminal::start(12, 60, &["run", "--broker", "127.0.0.1:1"]);
    terminal.wait_for("no connection to the broker");
    let screen = terminal.wait_for_telegrams(3);
    assert_once(&screen, "using");
    assert_once(&screen, "no connection to the broker");
    assert!(screen.concat().contains("trying again in"), "{screen:?}");
    assert_eq!(terminal.scrolled_and_wrapped().1, 0);
}
