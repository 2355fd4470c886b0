//! `run`: how it starts, goes on and ends.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use metertrekker::{
    app::detection::Detected,
    p1::port::LineSettings,
    soc::host::{executor::block_on, flash::FileFlash},
    storage::{Key, Store},
};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::child::Running;
use crate::support::firmware::{self, command, server, simulate, text};
use crate::support::influx_line::Line;
use crate::support::peers::{Message, Subscriber, free_port};

/// A running `run` with a folder of its own for temporary files.
struct Run {
    running: Running,
    temporary: TempDir,
}

impl Run {
    fn start(args: &[&str]) -> Run {
        let temporary = tempfile::tempdir().unwrap();
        let args = [&["run"], args].concat();
        let mut command = command(&args);
        let running = Running::start("metertrekker", command.env("TMPDIR", temporary.path()));
        Run { running, temporary }
    }

    /// The port that the broker in the process is said to have.
    fn port(&mut self) -> u16 {
        self.running.wait_for("the broker's port", |lines| {
            let line = lines.iter().find(|line| line.starts_with("broker"))?;
            let (_, rest) = line.split_once("port ")?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        })
    }

    /// Ends it as Ctrl-C does; it has to tidy up.
    fn interrupt(&mut self, signal: Signal) {
        self.running.signal(signal);
        let status = self.running.wait_for_end();
        assert_eq!(status.code(), Some(0), "{:?}", self.running.lines());
        self.assert_tidy();
    }

    fn assert_tidy(&self) {
        let left = fs::read_dir(self.temporary.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// Takes port 1883, or leaves it to some other program that has it for longer than a test.
fn take_the_usual_port() -> Option<TcpListener> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        if let Ok(listener) = TcpListener::bind("127.0.0.1:1883") {
            return Some(listener);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// How often a line of this topic was printed.
fn count(lines: &[String], topic: &str) -> usize {
    let start = format!("{topic} ");
    lines.iter().filter(|line| line.starts_with(&start)).count()
}

#[test]
fn without_options_a_first_try_moves_and_ends_well() {
    let _taken = take_the_usual_port();
    let mut run = Run::start(&[]);
    let port = run.port();
    assert_ne!(port, 1883);
    assert!(port < 1983, "{port} is far from the usual one");
    let Some(mut subscriber) = Subscriber::to_port(port, "#") else {
        return;
    };
    let messages = subscriber.wait_until("readings each second", |messages| {
        let count = |topic: &str| messages.iter().filter(|m| m.topic == topic).count();
        count("pwutseltronics/energy/mains/power/total") >= 3
            && count("pwutseltronics/influx/metertrekker") >= 4
    });
    let lines: Vec<Line> = messages
        .iter()
        .filter(|message| message.topic.contains("/influx/"))
        .map(|message| Line::parse(&message.text()))
        .filter(|line| line.measurement == "electricity")
        .collect();
    let powers = |line: &Line| ["P_L1", "P_L1_redelivery"].map(|name| line.fields[name].clone());
    let moved = lines.iter().any(|line| powers(line) != powers(&lines[0]));
    assert!(moved, "nothing moves in {lines:#?}");
    let mut times: Vec<i64> = lines.iter().map(|line| line.time).collect();
    times.sort();
    let distinct = times.len();
    times.dedup();
    assert_eq!(times.len(), distinct, "a second was published twice");
    let seconds = (times[times.len() - 1] - times[0]) / 1_000_000_000;
    assert_eq!(seconds, times.len() as i64 - 1, "a second is missing");

    let status =
        |message: &Message| (message.topic == "pwutseltronics/status").then(|| message.text());
    assert_eq!(messages.iter().find_map(status), Some("online".into()));
    run.interrupt(Signal::INT);
    subscriber.wait_until("the good-bye", |messages| {
        messages.iter().rev().find_map(status).as_deref() == Some("offline")
    });
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_broker_that_hangs() {
    let silent = format!("127.0.0.1:{}", server(None, false));
    let mut run = Run::start(&["--broker", &silent]);
    // The simulated meter is read: everything stands.
    run.running.wait_for_line("using");
    run.running.signal(Signal::INT);
    thread::sleep(Duration::from_millis(300));
    assert!(run.running.is_running(), "the first one waits a moment");
    run.running.signal(Signal::INT);
    // One that waited would end well.
    assert_eq!(run.running.wait_for_end().code(), Some(130));
    run.assert_tidy();
}

#[test]
fn one_interrupt_is_enough_with_a_broker_that_hangs_or_is_away() {
    for broker in [server(None, false), free_port()] {
        let mut run = Run::start(&["--broker", &format!("127.0.0.1:{broker}")]);
        run.running.wait_for_line("using");
        let start = Instant::now();
        run.interrupt(Signal::INT);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
}

#[test]
fn a_recording_is_published_whole_and_its_end_is_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fifty.p1");
    simulate(&file, &["--count", "50"]);
    let mut run = Run::start(&["--once", "--p1", text(&file)]);
    assert_eq!(run.running.wait_for_end().code(), Some(0));
    let lines = run.running.lines();
    let summary = lines.last().unwrap();
    assert_eq!(summary, "50 telegrams, 50 published");
    assert_eq!(count(&lines, "pwutseltronics/energy/mains/power/total"), 50);
    run.assert_tidy();
}

#[test]
fn a_recording_may_come_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("five.p1");
    simulate(&file, &["--count", "5"]);
    let mut cat = Command::new("cat")
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut piped = command(&["run", "--p1", "-", "--once"]);
    piped.stdin(cat.stdout.take().unwrap());
    let mut running = Running::start_with_input("metertrekker", &mut piped);
    assert_eq!(running.wait_for_end().code(), Some(0));
    let lines = running.lines();
    let summary = lines.last().unwrap();
    assert_eq!(summary, "5 telegrams, 5 published");
    assert!(cat.wait().unwrap().success());
}

#[test]
fn the_end_of_a_connection_is_the_end_of_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("five.p1");
    simulate(&file, &["--count", "5"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("tcp://{}", listener.local_addr().unwrap());
    let mut run = Run::start(&["--once", "--p1", &source]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&fs::read(&file).unwrap()).unwrap();
    drop(stream);
    assert_eq!(run.running.wait_for_end().code(), Some(0));
    let lines = run.running.lines();
    assert_eq!(lines.last().unwrap(), "5 telegrams, 5 published");
}

#[test]
fn a_recording_that_is_not_published_whole_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("falls.p1");
    let (early, late) = (folder.path().join("early"), folder.path().join("late"));
    simulate(&early, &["--count", "1", "--start", "2026-01-15T10:00:00Z"]);
    simulate(&late, &["--count", "1", "--start", "2026-01-15T20:00:00Z"]);
    let parts = [late, early].map(|part| fs::read(part).unwrap());
    fs::write(&file, parts.concat()).unwrap();
    let mut run = Run::start(&["--once", "--p1", text(&file)]);
    assert_eq!(run.running.wait_for_end().code(), Some(1));
    let lines = run.running.lines();
    let last = lines.last().unwrap();
    assert!(
        last.contains("1 messages or readings were dropped"),
        "{lines:?}"
    );
}

#[test]
fn a_fifo_outlives_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("p1");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success() && fs::metadata(&fifo).unwrap().file_type().is_fifo());
    let mut run = Run::start(&["--p1", text(&fifo), "--set", "interval=0"]);
    run.running.wait_for_line("connected to the broker");
    for round in 1..=2 {
        let telegram = folder.path().join("telegram");
        let start = format!("2026-01-15T17:3{round}:07Z");
        simulate(&telegram, &["--count", "1", "--start", &start]);
        let mut writer = File::options().write(true).open(&fifo).unwrap();
        writer.write_all(&fs::read(&telegram).unwrap()).unwrap();
        drop(writer);
        run.running.wait_for("its values", |lines| {
            let values = count(lines, "pwutseltronics/energy/mains/power/total");
            (values == round).then_some(())
        });
    }
    // As systemd ends a service.
    run.interrupt(Signal::TERM);
}

#[test]
fn state_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.p1");
    simulate(&file, &["--count", "1"]);
    let state = folder.path().join("state");
    let gas = |state: &Path| {
        let args = ["run", "--once", "--p1", text(&file), "--state", text(state)];
        let lines: Vec<String> = firmware::succeed(&args)
            .stderr
            .lines()
            .map(str::to_owned)
            .collect();
        (
            count(&lines, "pwutseltronics/energy/gas/reading"),
            count(&lines, "pwutseltronics/influx/metertrekker"),
        )
    };
    assert_eq!(
        gas(&state),
        (1, 2),
        "electricity and gas, all for the first time"
    );
    // The broker is a new one that knows nothing; the database has the gas line.
    assert_eq!(
        gas(&state),
        (1, 1),
        "the topic again, and no line of the same gas"
    );
    assert_eq!(gas(&folder.path().join("other")), (1, 2));
}

/// Passwords and keys are in it.
#[test]
fn nobody_else_reads_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.p1");
    simulate(&file, &["--count", "1"]);
    let modes = |path: &Path| {
        let mut all = vec![path.to_path_buf()];
        all.extend(
            fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
        all.sort();
        all.into_iter()
            .map(|path| path.metadata().unwrap().permissions().mode() & 0o7777)
            .collect::<Vec<_>>()
    };
    let run = |args: &str| {
        let script = format!(r#"umask 000; exec "$0" run --p1 "$1" {args}"#);
        let program = env!("CARGO_BIN_EXE_metertrekker");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program, text(&file)]);
        command.env("TMPDIR", folder.path());
        command
    };
    // A folder within one that is missing too.
    let kept = folder.path().join("var/state");
    let output = run("--once --state \"$TMPDIR/var/state\"")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(modes(&kept), [0o700, 0o600, 0o600]);
    assert_eq!(modes(&folder.path().join("var"))[0], 0o700);
    // What is there stays as its owner has it.
    let flash = kept.join("flash.bin");
    fs::set_permissions(&flash, fs::Permissions::from_mode(0o640)).unwrap();
    let output = run("--once --state \"$TMPDIR/var/state\"")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(modes(&kept), [0o700, 0o640, 0o600]);
    let mut running = Running::start("metertrekker", &mut run("--listen 127.0.0.1"));
    running.wait_for_line("pwutseltronics/status online");
    let temporary = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| text(path).contains("metertrekker-"))
        .unwrap();
    assert_eq!(modes(&temporary), [0o700, 0o600, 0o600]);
}

#[test]
fn what_was_found_out_of_the_port_is_in_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.p1");
    simulate(&file, &["--count", "1"]);
    let state = folder.path().join("state");
    let (file, state_text) = (text(&file), text(&state));
    firmware::succeed(&["run", "--once", "--p1", file, "--state", state_text]);
    let flash = FileFlash::open(state.join("flash.bin"), 4).unwrap();
    let kept = block_on(async {
        let mut store = Store::open(flash, 0..4 * 4096).await.unwrap();
        let mut buffer = [0; 4];
        let kept = store.get(Key::Detected, &mut buffer).await.unwrap();
        kept.map(Detected::from_bytes)
    });
    let kept = kept.expect("a record");
    assert_eq!(kept.line(), Some(LineSettings::DSMR4));
    assert!(kept.prints_crc().is_some());
}

#[test]
fn a_temporary_state_is_a_new_one_whatever_was_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.p1");
    simulate(&file, &["--count", "1"]);
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    // The program gets the process id of this shell.
    let script = r#"mkdir "$TMPDIR/metertrekker-$$" "$TMPDIR/metertrekker-$$-0"
        for d in "$TMPDIR"/*; do echo old > "$d/flash.bin"; done
        exec "$0" run --once --p1 "$1""#;
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_metertrekker"),
            text(&file),
        ])
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 2);
}
