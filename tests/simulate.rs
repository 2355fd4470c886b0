//! The `simulate` command: every output it has, and the project's own fixtures, each of which is
//! what one command line writes.
//!
//! `UPDATE_FIXTURES=1 cargo test --test simulate` writes `fixtures/` anew; review it as a diff.

#[path = "support/golden.rs"]
mod goldens;

#[path = "simulate/fixtures.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use metertrekker::soc::host::simulate::{
    Error, Options, Output, Place, Rate, simulate, simulate_at,
};
use metertrekker::soc::host::simulator::calendar::parse_utc;
use metertrekker::soc::host::simulator::{Kind, Simulator};

use fixtures::{FIXTURES, Fixture};

const START: &str = "2026-01-15T17:31:07Z";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn parse(arguments: &[&str]) -> Result<Options, String> {
    let all = ["simulate"].iter().chain(arguments);
    match Command::try_parse_from(all) {
        Ok(command) => Ok(command.options),
        Err(error) => Err(error.to_string()),
    }
}

fn options(arguments: &[&str]) -> Options {
    parse(&[&["--start", START], arguments].concat()).unwrap()
}

/// What the default meter sends from `START` on.
fn expected(count: i64) -> Vec<u8> {
    let start = parse_utc(START).unwrap();
    let mut meter = Simulator::new(Kind::Esmr50, 1, start);
    (0..count)
        .flat_map(|n| meter.telegram_at(start + n))
        .collect()
}

/// Runs in a thread of its own; the place, and a channel that says how it ended.
fn in_background(options: Options) -> (Place, mpsc::Receiver<Result<(), String>>) {
    let (place, announced) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let result = simulate_at(&options, |found| place.send(found).unwrap());
        let _ = end.send(result.map_err(|error| error.to_string()));
    });
    let place = announced.recv_timeout(Duration::from_secs(20)).unwrap();
    (place, ended)
}

fn ends_well(ended: &mpsc::Receiver<Result<(), String>>) {
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(Ok(())));
}

#[test]
fn a_file_gets_as_many_telegrams_as_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meter.p1");
    let path_text = path.to_str().unwrap();
    let options = options(&["--rate", "max", "--count", "3", "--output", path_text]);
    simulate(&options).unwrap();
    assert!(fs::read(&path).unwrap() == expected(3));
}

#[test]
fn a_real_line_takes_the_time_of_its_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meter.p1");
    let path_text = path.to_str().unwrap();
    let options = options(&["--meter", "dsmr22", "--count", "1", "--output", path_text]);
    let begin = Instant::now();
    simulate(&options).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let line = Duration::from_micros(bytes * 10 * 1_000_000 / 9_600);
    let took = begin.elapsed();
    assert!(
        took > line * 9 / 10 && took < line + Duration::from_secs(10),
        "{took:?} for {line:?}"
    );
}

#[test]
fn telegrams_follow_each_other_at_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("meter.p1");
    let path_text = path.to_str().unwrap();
    let options = options(&["--rate", "20", "--count", "9", "--output", path_text]);
    let begin = Instant::now();
    simulate(&options).unwrap();
    let took = begin.elapsed();
    // Nine telegrams have eight periods of 50 ms between them.
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_pty_is_read_like_a_serial_line() {
    let (place, ended) = in_background(options(&[
        "--rate", "max", "--count", "20", "--output", "pty",
    ]));
    let Place::Pty(path) = place else {
        panic!("no pty but {place}");
    };
    let expected = expected(20);
    let mut line = fs::File::open(path).unwrap();
    let mut read = vec![0; expected.len()];
    line.read_exact(&mut read).unwrap();
    assert!(read == expected);
    ends_well(&ended);
}

#[test]
fn a_pty_goes_on_while_nobody_reads_and_starts_afresh_for_who_does() {
    // A hundred telegrams a second are far more than what the kernel keeps of a line.
    let (place, ended) = in_background(options(&[
        "--rate", "100", "--count", "300", "--output", "pty",
    ]));
    let Place::Pty(path) = place else {
        panic!("no pty but {place}");
    };
    std::thread::sleep(Duration::from_millis(1_000));
    let mut line = fs::File::open(path).unwrap();
    let mut read = vec![0; 30_000];
    line.read_exact(&mut read).unwrap();
    let text = String::from_utf8(read).unwrap();
    let clocks: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("0-0:1.0.0("))
        .collect();
    // The first seconds were dropped, and none comes twice.
    assert!(clocks[0] > "260115183120W)", "{}", clocks[0]);
    let distinct: BTreeSet<&&str> = clocks.iter().collect();
    assert_eq!(distinct.len(), clocks.len());
    drop(line);
    ends_well(&ended);
}

#[test]
fn a_port_serves_one_client_after_another() {
    let (place, ended) = in_background(options(&[
        "--rate", "50", "--count", "40", "--output", "tcp://0",
    ]));
    let Place::Tcp(address) = place else {
        panic!("no address but {place}");
    };
    assert!(address.ip().is_loopback());

    let mut first = TcpStream::connect(address).unwrap();
    let mut header = [0; 5];
    first.read_exact(&mut header).unwrap();
    assert_eq!(&header, b"/Ene5");
    drop(first);

    let mut second = TcpStream::connect(address).unwrap();
    // A meter does not listen.
    second.write_all(b"hello?\r\n").unwrap();
    let mut rest = String::new();
    second.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("/Ene5"));
    assert!(rest.ends_with("\r\n") && rest.matches("\r\n!").count() >= 10);
    ends_well(&ended);
}

#[test]
fn a_client_that_takes_nothing_and_goes_makes_room_for_the_next() {
    // More than the kernel keeps for a client, so that the meter is held up in a telegram.
    let (place, ended) = in_background(options(&[
        "--rate",
        "max",
        "--count",
        "8000",
        "--faults",
        "long-message",
        "--output",
        "tcp://0",
    ]));
    let Place::Tcp(address) = place else {
        panic!("no address but {place}");
    };
    let first = TcpStream::connect(address).unwrap();
    std::thread::sleep(Duration::from_millis(1_500));
    drop(first);
    let mut rest = Vec::new();
    let mut second = TcpStream::connect(address).unwrap();
    second.read_to_end(&mut rest).unwrap();
    assert!(rest.starts_with(b"/Ene5") && rest.ends_with(b"\r\n"));
    ends_well(&ended);
}

#[test]
fn a_reader_that_closes_its_end_ends_the_simulation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    let options = options(&["--rate", "max", "--output", path.to_str().unwrap()]);
    let running = std::thread::spawn(move || simulate(&options).map_err(|error| error.to_string()));
    let mut pipe = fs::File::open(&path).unwrap();
    pipe.read_exact(&mut [0; 1_000]).unwrap();
    drop(pipe);
    assert_eq!(running.join().unwrap(), Ok(()));
}

#[test]
fn what_cannot_be_written_is_said_in_a_sentence() {
    let options = options(&["--output", "/nowhere/at/all.p1"]);
    let error = simulate(&options).unwrap_err();
    assert!(matches!(&error, Error::Create(path, _) if path == Path::new("/nowhere/at/all.p1")));
    assert_eq!(
        error.to_string(),
        "cannot write to /nowhere/at/all.p1: No such file or directory (os error 2); choose \
         another path"
    );
}

#[test]
fn a_busy_port_is_said_in_a_sentence() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    let options = options(&["--output", &format!("tcp://{}", address.port())]);
    let error = simulate(&options).unwrap_err();
    assert!(matches!(error, Error::Listen(_, _)));
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: Address already in use (os error 98); choose another \
             address or port"
        )
    );
}

#[test]
fn a_fault_that_a_kind_cannot_have_is_said_in_a_sentence() {
    let options = options(&["--meter", "dsmr22", "--faults", "crc"]);
    let error = simulate(&options).unwrap_err().to_string();
    assert!(
        error.starts_with("a telegram of kind dsmr22 has nothing"),
        "{error}"
    );
}

#[test]
fn a_bad_command_line_is_answered_with_what_would_be_right() {
    for (arguments, answer) in [
        (
            ["--meter", "dsmr6"],
            "`dsmr6` is not a kind of meter; kinds are dsmr22, ",
        ),
        (
            ["--faults", "crcc"],
            "`crcc` is not a fault; faults are message, ",
        ),
        (["--faults", "crc:7"], "`crc:7` does not say when"),
        (["--rate", "fast"], "`fast` is not a rate"),
        (["--start", "noon"], "`noon` is not a moment"),
        (["--output", "tcp://here"], "`tcp://here` has no port"),
    ] {
        let error = parse(&arguments).unwrap_err();
        assert!(error.contains(answer), "{error}");
    }
}

#[test]
fn the_command_line_has_sensible_defaults_and_a_help_that_lists_all() {
    let options = parse(&[]).unwrap();
    assert_eq!((options.kind, options.rate), (Kind::Esmr50, Rate::Real));
    assert_eq!((options.count, options.output), (0, Output::Stdout));
    assert!(options.faults.is_empty() && options.start.is_none());
    let help = parse(&["--help"]).unwrap_err();
    for word in [
        "warmtelink",
        "dead-channel-1970",
        "log-misprint",
        "[default: esmr50]",
    ] {
        assert!(help.contains(word), "no {word} in {help}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

impl Fixture {
    /// The arguments that write it, but for its path.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--meter".into(),
            self.kind.into(),
            "--seed".into(),
            self.seed.to_string(),
            "--start".into(),
            self.start.into(),
            "--rate".into(),
            "max".into(),
            "--count".into(),
            self.count.to_string(),
        ];
        if !self.faults.is_empty() {
            arguments.extend(["--faults".into(), self.faults.into()]);
        }
        arguments
    }

    /// What the command line writes.
    fn bytes(&self, folder: &Path) -> Vec<u8> {
        let path = folder.join("fixture");
        let mut arguments = self.arguments();
        arguments.extend(["--output".into(), path.to_str().unwrap().into()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let options = parse(&arguments).map_err(|error| format!("{}: {error}", self.file));
        simulate(&options.unwrap())
            .map_err(|error| format!("{}: {error}", self.file))
            .unwrap();
        fs::read(path).unwrap()
    }
}

/// fixtures/SOURCES.md
fn sources() -> String {
    let mut text = String::from(include_str!("simulate/sources_head.md"));
    text += "| file | kind | what is odd | made by `metertrekker simulate` |\n|---|---|---|---|\n";
    for fixture in FIXTURES {
        let arguments = fixture.arguments().join(" ");
        text += &format!(
            "| {} | {} | {} | `{arguments}` |\n",
            fixture.file, fixture.kind, fixture.odd
        );
    }
    text
}

/// fixtures/broken/reasons.tsv
fn reasons() -> String {
    let mut text = String::from("file\treason\n");
    for fixture in FIXTURES {
        if let Some(name) = fixture.file.strip_prefix("broken/") {
            text += &format!("{name}\t{}\n", fixture.refused.unwrap());
        }
    }
    text
}

/// Files of fixtures/ that this test answers for, as paths below it.
fn found() -> BTreeSet<String> {
    ["meters", "broken", "streams", "encrypted"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "p1" || end == "raw" || end == "bin")
        })
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().into())
        .collect()
}

#[test]
fn fixtures_are_what_their_command_lines_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted: Vec<(String, Vec<u8>)> = FIXTURES
        .iter()
        .map(|fixture| (fixture.file.into(), fixture.bytes(folder.path())))
        .collect();
    wanted.push(("SOURCES.md".into(), sources().into_bytes()));
    wanted.push(("broken/reasons.tsv".into(), reasons().into_bytes()));

    if goldens::is_updated("UPDATE_FIXTURES") {
        for (file, bytes) in &wanted {
            let path = root().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    for (file, bytes) in &wanted {
        let there = fs::read(root().join(file)).unwrap_or_default();
        assert!(
            there == *bytes,
            "fixtures/{file} is not what the simulator makes; if the change is meant, run \
             UPDATE_FIXTURES=1 cargo test --test simulate and review the diff"
        );
    }
    let listed: BTreeSet<String> = FIXTURES.iter().map(|fixture| fixture.file.into()).collect();
    assert_eq!(listed.len(), FIXTURES.len(), "a file is listed twice");
    assert_eq!(found(), listed, "files nobody listed");
}

#[test]
fn every_kind_and_every_fault_has_a_fixture() {
    for kind in Kind::ALL {
        let plain = |fixture: &Fixture| fixture.kind == kind.name() && fixture.faults.is_empty();
        assert!(FIXTURES.iter().any(plain), "{kind}");
    }
    let used: BTreeSet<&str> = FIXTURES
        .iter()
        .flat_map(|fixture| fixture.faults.split(','))
        .map(|item| item.split(['@', ':']).next().unwrap_or_default())
        .collect();
    for fault in metertrekker::soc::host::simulator::faults::Fault::all() {
        assert!(used.contains(fault.name), "{} is in no fixture", fault.name);
    }
}

#[test]
fn telegrams_are_sound_and_broken_ones_broken_for_the_reason_they_give() {
    let folder = tempfile::tempdir().unwrap();
    for fixture in FIXTURES {
        // Those of encrypted ports are for `tests/fixtures.rs`.
        let stream = ["streams/", "encrypted/"]
            .iter()
            .any(|folder| fixture.file.starts_with(folder));
        assert_eq!(
            fixture.refused.is_some(),
            fixture.file.starts_with("broken/")
        );
        if !stream {
            let found = refusal(&fixture.bytes(folder.path()));
            assert_eq!(found, fixture.refused, "{}", fixture.file);
        }
    }
}

/// Why a reader that keeps to the rules refuses a telegram: a second, simpler opinion than that of
/// the project's own reader.
fn refusal(bytes: &[u8]) -> Option<&'static str> {
    let line_starts = |n: usize| n > 0 && matches!(bytes[n - 1], b'\n' | b')');
    let end = (0..bytes.len()).find(|n| bytes[*n] == b'!' && line_starts(*n));
    let Some(end) = end else {
        return Some("truncated");
    };
    let longest = bytes[..end]
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .max();
    if longest > Some(2_112) {
        return Some("too_long");
    }
    let digits = std::str::from_utf8(&bytes[end + 1..]).unwrap().trim_end();
    if digits.is_empty() {
        let marks: [&[u8]; 3] = [b"\n1-3:0.2.8(", b"\n0-0:96.1.4(", b"\n0-0:1.0.0("];
        let modern = marks
            .iter()
            .any(|mark| bytes.windows(mark.len()).any(|part| part == *mark));
        return modern.then_some("no_crc");
    }
    let algorithm = if bytes.starts_with(b"/HLY5") {
        &crc::CRC_16_IBM_SDLC
    } else {
        &crc::CRC_16_ARC
    };
    let value = crc::Crc::<u16>::new(algorithm).checksum(&bytes[..=end]);
    (u16::from_str_radix(digits, 16) != Ok(value)).then_some("crc")
}
