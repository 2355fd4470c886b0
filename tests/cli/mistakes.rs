//! Everything that a user can do wrong is answered with one sentence, and never with a trace.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::ioctl_tiocexcl;

use crate::support::child::Running;
use crate::support::firmware::{Ended, command, run, run_with, server, simulate, text};
use crate::support::peers::free_port;

/// Ended with `code`, and its last words are one sentence that holds all of `words`.
#[track_caller]
fn check_sentence(what: &str, ended: &Ended, words: &[&str]) {
    let Ended { code, stderr, .. } = ended;
    assert_eq!(*code, Some(1), "{what}: {stderr}");
    assert_is_no_trace(what, stderr);
    let last = stderr.lines().last().unwrap_or_default();
    let sentence = last
        .strip_prefix("metertrekker: ")
        .unwrap_or_else(|| panic!("{what}: the last line is no sentence of ours: {stderr}"));
    for word in words {
        assert!(
            sentence.contains(word),
            "{what}: {word:?} is not in: {sentence}"
        );
    }
    assert_eq!(
        stderr.matches("metertrekker: ").count(),
        1,
        "{what}: {stderr}"
    );
}

#[track_caller]
fn assert_is_no_trace(what: &str, stderr: &str) {
    for trace in ["panicked", "BACKTRACE", "Error:", "Os {", "Some(", "kind:"] {
        assert!(!stderr.contains(trace), "{what}: {stderr}");
    }
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    check_sentence(&format!("{args:?}"), &run(args), words);
}

/// The command line itself is wrong: that is told before anything is done, with status 2.
#[track_caller]
fn not_understood(args: &[&str], words: &[&str]) {
    let Ended { code, stderr, .. } = run(args);
    assert_eq!(code, Some(2), "{args:?}: {stderr}");
    assert_is_no_trace(&format!("{args:?}"), &stderr);
    for word in words {
        assert!(
            stderr.contains(word),
            "{args:?}: {word:?} is not in: {stderr}"
        );
    }
}

#[test]
fn sources_without_a_telegram() {
    let folder = tempfile::tempdir().unwrap();
    let directory = text(folder.path());
    let path = |name: &str| format!("{directory}/{name}");
    let (empty, other, missing) = (path("empty"), path("other"), path("missing"));
    fs::write(&empty, "").unwrap();
    fs::write(&other, "Dear diary,\n/today was nice!\n").unwrap();

    refused(&["decode", &empty], &[&empty, "empty"]);
    refused(&["decode", &other], &[&other, "no valid telegram"]);
    refused(&["decode", &missing], &[&missing, "no such file"]);
    refused(&["decode", directory], &[directory, "is a directory"]);
    let once = |source| ["run", "--once", "--p1", source];
    refused(&once(&empty), &[&empty, "without a valid telegram"]);
    refused(
        &once(&other),
        &[&other, "without a valid telegram", "decode"],
    );
    refused(&once(&missing), &[&missing, "no such file"]);
    refused(&once(directory), &[directory, "is a directory"]);

    let piped = run_with(b"nothing", &once("-"));
    check_sentence("a pipe", &piped, &["standard input", "without a valid"]);
    let piped = run_with(b"", &["decode", "-"]);
    check_sentence("a pipe", &piped, &["standard input", "empty"]);
}

#[test]
fn ten_megabytes_of_noise() {
    let folder = tempfile::tempdir().unwrap();
    let noise = folder.path().join("noise");
    fs::write(&noise, random_bytes(10_000_000)).unwrap();
    refused(
        &["decode", text(&noise)],
        &["no valid telegram in 10000000 bytes"],
    );
    refused(
        &["run", "--once", "--p1", text(&noise)],
        &["without a valid telegram"],
    );
}

/// The same in every run.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn serial_devices() {
    refused(
        &["run", "--p1", "/dev/ttyUSB99"],
        &["/dev/ttyUSB99", "no such device", "cable"],
    );
    refused(&["run", "--p1", "/dev/null"], &["/dev/null", "serial line"]);

    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let device = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    let user = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(&device)
        .unwrap();
    // Terminal programs do both; the first does not keep root out.
    ioctl_tiocexcl(&user).unwrap();
    flock(&user, FlockOperation::NonBlockingLockExclusive).unwrap();
    refused(
        &["run", "--p1", &device],
        &[&device, "another program uses it"],
    );
}

#[test]
fn sources_that_are_none() {
    for source in ["", "http://host", "tcp://host", "tcp://:1", "tcp://h:0"] {
        refused(&["run", "--p1", source], &["P1 source", "tcp://HOST:PORT"]);
    }
    refused(
        &["run", "--p1", "sim:esmr5"],
        &["esmr5", "esmr50", "dsmr22"],
    );
}

#[test]
fn an_input_that_never_ends_is_no_recording() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("p1");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for source in ["sim:", "sim:be", "/dev/tty", text(&fifo)] {
        refused(
            &["run", "--once", "--p1", source],
            &[source, "never ends", "--once"],
        );
    }
}

#[test]
fn a_source_that_cannot_be_reached_is_given_up_and_named_once() {
    let source = format!("tcp://127.0.0.1:{}", free_port());
    let start = Instant::now();
    let ended = run(&["run", "--once", "--p1", &source]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(25), "{took:?}");
    check_sentence(&source, &ended, &["gave up", &source, "no connection"]);
    let said = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with(&source));
    assert_eq!(said.count(), 1, "{}", ended.stderr);
}

#[test]
fn a_state_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(folder.path());
    let mut first = Running::start("metertrekker", &mut command(&["run", "--state", state]));
    first.wait_for_line("using");
    refused(
        &["run", "--state", state],
        &["flash.bin", "another metertrekker", "another directory"],
    );
    first.signal(Signal::INT);
    assert_eq!(first.wait_for_end().code(), Some(0));
}

#[test]
fn settings() {
    refused(
        &["run", "--set", "intervall=15"],
        &["intervall", "no such setting", "interval,", "mqtt_user"],
    );
    refused(
        &["run", "--set", "interval=5"],
        &["interval=5", "10 to 3600"],
    );
    refused(&["run", "--set", "interval"], &["interval", "KEY=VALUE"]);
    refused(
        &["run", "--set", "mqtt_password=x"],
        &["mqtt_password", "mqtt_user=NAME"],
    );
    refused(
        &["run", "--set", "root=a/#"],
        &["root=a/#", "without + and #"],
    );
}

#[test]
fn brokers_and_addresses_that_are_none() {
    for broker in [
        "",
        ":",
        ":1883",
        "host:",
        "host:0",
        "host:65536",
        "ho st",
        "mqtt://host",
        "a:b:1",
        "::1:x",
    ] {
        refused(
            &["run", "--broker", broker],
            &["--broker", "HOST:PORT", "1 to 65535"],
        );
    }
    refused(
        &["run", "--listen", "192.0.2.1"],
        &["192.0.2.1", "address of this machine"],
    );
    not_understood(&["run", "--listen", "here"], &["--listen", "here"]);
}

#[test]
fn states_that_cannot_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let directory = text(folder.path());
    let file = format!("{directory}/file");
    fs::write(&file, "").unwrap();
    let refused = |folder: &str, words: &[&str]| {
        refused(&["run", "--state", folder], words);
    };
    refused(&file, &[&file, "folder", "state"]);
    refused(&format!("{file}/below"), &["below", "folder"]);
    refused("/proc/state", &["/proc/state", "folder"]);

    fs::write(format!("{directory}/flash.bin"), "short").unwrap();
    refused(directory, &["flash.bin", "5 bytes", "16384"]);
    let held = format!("{directory}/held");
    fs::create_dir_all(format!("{held}/flash.bin")).unwrap();
    refused(&held, &["flash.bin", "directory"]);
    let other = format!("{directory}/other");
    fs::create_dir_all(&other).unwrap();
    fs::write(format!("{other}/log.bin"), "short").unwrap();
    refused(&other, &["log.bin", "5 bytes", "40960"]);
}

#[test]
fn simulated_meters() {
    not_understood(
        &["simulate", "--meter", "esmr5"],
        &["esmr5", "esmr50", "hu"],
    );
    not_understood(&["simulate", "--faults", "rain"], &["rain", "crc", "cut"]);
    not_understood(&["simulate", "--rate", "fast"], &["fast", "max"]);
    not_understood(&["simulate", "--start", "noon"], &["noon"]);
    not_understood(&["simulate", "--output", "tcp://x"], &["tcp://PORT"]);
    refused(
        &["simulate", "--meter", "dsmr22", "--faults", "crc"],
        &["dsmr22", "crc"],
    );
    refused(
        &["simulate", "--output", "/proc/none/file"],
        &["/proc/none/file", "another path"],
    );
    refused(
        &["simulate", "--output", "tcp://192.0.2.1:0"],
        &["192.0.2.1", "another address"],
    );
    let busy = server(None, false);
    refused(
        &["simulate", "--output", &format!("tcp://{busy}")],
        &[&busy.to_string(), "in use", "another"],
    );
}

#[test]
fn commands() {
    not_understood(&[], &["Usage", "run", "decode", "simulate"]);
    not_understood(&["ruin"], &["ruin", "run"]);
    not_understood(&["run", "--onec"], &["--onec", "--once"]);
    not_understood(&["decode"], &["FILE"]);
}

/// With `--once`, a broker that cannot be used is given up.
#[test]
fn brokers_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("three.p1");
    simulate(&file, &["--count", "3"]);
    let local = |port: u16| format!("127.0.0.1:{port}");
    // MQTT 3.1.1 §3.2.2.3: unacceptable protocol version. MQTT 5: success, and nothing from then on.
    let only_3_1_1 = server(Some(&[0x20, 2, 0, 1]), true);
    let never_acknowledges = server(Some(&[0x20, 3, 0, 0, 0]), false);
    let other_protocol = server(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"), true);
    let brokers: [(String, &[&str]); 6] = [
        ("nothing.invalid".into(), &["nothing.invalid", "name"]),
        (local(free_port()), &["no connection", "refused"]),
        (local(server(None, false)), &["does not answer"]),
        (local(only_3_1_1), &["MQTT 5"]),
        (local(never_acknowledges), &["the broker does not"]),
        (local(other_protocol), &["broker"]),
    ];
    let file: &Path = &file;
    thread::scope(|scope| {
        for (broker, words) in &brokers {
            scope.spawn(move || {
                let start = Instant::now();
                let args = ["run", "--once", "--p1", text(file), "--broker", broker];
                check_sentence(broker, &run(&args), words);
                let took = start.elapsed();
                assert!(took < Duration::from_secs(25), "{broker}: {took:?}");
            });
        }
    });
}
