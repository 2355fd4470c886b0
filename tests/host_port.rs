//! The host board's P1 port on every kind of source, with what goes wrong on it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration as StdDuration, Instant as StdInstant};

use embassy_time::{Duration, with_timeout};
use metertrekker::p1::port::{LineSettings, Port};
use metertrekker::soc::host::executor::block_on;
use metertrekker::soc::host::p1::{Error, HostPort, Input, Source};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The far end of a serial line, and the device to open.
fn serial_pair() -> (File, PathBuf) {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&far).unwrap();
    unlockpt(&far).unwrap();
    let device = ptsname(&far, Vec::new()).unwrap().into_string().unwrap();
    (File::from(far), device.into())
}

fn input(text: &str) -> Input {
    match Source::parse(text).unwrap() {
        Source::Input(input) => input,
        simulator => panic!("{simulator} is no input"),
    }
}

fn open(path: &Path) -> Result<HostPort, Error> {
    HostPort::open(input(path.to_str().unwrap()))
}

/// What one read brings within 5 s.
fn read(port: &mut HostPort) -> Result<Vec<u8>, Error> {
    let mut buffer = [0; 64];
    let limited = with_timeout(Duration::from_secs(5), port.read(&mut buffer));
    let length = block_on(limited).expect("something arrives within 5 s")?;
    Ok(buffer[..length].to_vec())
}

fn read_exactly(port: &mut HostPort, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend(read(port).unwrap());
    }
    assert_eq!(bytes.len(), length);
    bytes
}

/// Reads until an error comes, which a thread may take a moment to notice.
fn read_error(port: &mut HostPort) -> Error {
    loop {
        match read(port) {
            Ok(bytes) => assert!(!bytes.is_empty(), "the input ends instead of failing"),
            Err(error) => return error,
        }
    }
}

/// Nothing arrives for a while.
fn silent(port: &mut HostPort) {
    let mut buffer = [0; 64];
    let limited = with_timeout(Duration::from_millis(50), port.read(&mut buffer));
    assert!(block_on(limited).is_err());
}

#[test]
fn sources_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("telegrams.txt");
    fs::write(&file, "").unwrap();
    let (_far, device) = serial_pair();
    let tcp = |host: &str, port| Input::Tcp {
        host: host.to_owned(),
        port,
    };
    let device_text = device.to_str().unwrap();
    for (text, expected) in [
        (device_text, Input::Serial(device.clone())),
        ("/dev/ttyUSB99", Input::Serial("/dev/ttyUSB99".into())),
        (file.to_str().unwrap(), Input::File(file.clone())),
        ("missing.txt", Input::File("missing.txt".into())),
        ("-", Input::Stdin),
        ("tcp://bridge.local:2001", tcp("bridge.local", 2001)),
        ("tcp://192.0.2.7:23/", tcp("192.0.2.7", 23)),
        ("tcp://[2001:db8::7]:23", tcp("2001:db8::7", 23)),
    ] {
        let parsed = Source::parse(text).unwrap();
        assert_eq!(parsed, Source::Input(expected), "{text}");
    }
    for (text, kind) in [("sim:", ""), ("sim:belgium", "belgium")] {
        let parsed = Source::parse(text).unwrap();
        assert_eq!(parsed, Source::Simulator(kind.to_owned()));
        assert_eq!(parsed.to_string(), text);
    }
}

#[test]
fn what_is_no_source_is_answered_with_the_valid_forms() {
    for text in [
        "",
        "http://bridge:80",
        "tcp://bridge",
        "tcp://:2001",
        "tcp://bridge:0",
        "tcp://bridge:65536",
        "tcp://bridge:port",
        "tcp://2001:db8::7:23",
        "tcp://[::1:23",
        "tcp://a b:23",
    ] {
        let error = Source::parse(text).unwrap_err();
        assert!(matches!(error, Error::Source(_)), "{text}: {error}");
        for form in [
            "/dev/ttyUSB0",
            "FIFO",
            "standard input",
            "tcp://HOST:PORT",
            "sim:KIND",
        ] {
            assert!(error.to_string().contains(form), "{error}");
        }
    }
}

#[test]
fn a_file_ends_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telegrams.txt");
    fs::write(&path, "/XYZ\r\n!\r\n").unwrap();
    let mut port = open(&path).unwrap();
    // A file has no line.
    port.set_line(LineSettings::DSMR2);
    port.request(true);
    assert_eq!(read(&mut port).unwrap(), b"/XYZ\r\n!\r\n");
    assert_eq!(read(&mut port).unwrap(), b"");
    assert_eq!(read(&mut port).unwrap(), b"");
}

#[test]
fn a_large_file_waits_for_its_reader() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telegrams.txt");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let mut port = open(&path).unwrap();
    let mut found: Vec<u8> = Vec::new();
    let mut buffer = [0; 1000];
    block_on(async {
        loop {
            match port.read(&mut buffer).await.unwrap() {
                0 => break,
                length => found.extend(&buffer[..length]),
            }
        }
    });
    assert!(found == bytes, "{} of {} bytes", found.len(), bytes.len());
    assert_eq!(port.line_errors().overrun, 0);
}

#[test]
fn a_fifo_goes_on_with_its_next_writer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p1");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Opening must not wait for a writer.
    let (sender, opened) = std::sync::mpsc::channel();
    let fifo = path.clone();
    thread::spawn(move || {
        let _ = sender.send(open(&fifo).unwrap());
    });
    let mut port = opened.recv_timeout(StdDuration::from_secs(5)).unwrap();
    for text in ["first", "second"] {
        // Without a reader this fails instead of waiting for one.
        let nonblocking = libc::O_NONBLOCK;
        let mut writer = OpenOptions::new();
        let writer = writer.write(true).custom_flags(nonblocking).open(&path);
        writer.unwrap().write_all(text.as_bytes()).unwrap();
        assert_eq!(read(&mut port).unwrap(), text.as_bytes());
        silent(&mut port);
    }
}

#[test]
fn standard_input_ends_with_its_writer() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::stdio::dup2_stdin(&reader).unwrap();
    drop(reader);
    let mut port = HostPort::open(input("-")).unwrap();
    writer.write_all(b"from a pipe").unwrap();
    assert_eq!(read(&mut port).unwrap(), b"from a pipe");
    silent(&mut port);
    drop(writer);
    assert_eq!(read(&mut port).unwrap(), b"");
}

#[test]
fn a_tcp_connection_is_made_again_when_it_is_lost() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut port = HostPort::open(input(&format!("tcp://{address}"))).unwrap();
    for text in ["first", "second"] {
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(text.as_bytes()).unwrap();
        assert_eq!(read(&mut port).unwrap(), text.as_bytes());
        drop(far);
        let error = read_error(&mut port);
        assert!(matches!(error, Error::Closed(_)), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("tcp://{address}: the far end"))
        );
        // The next read connects; that it brings nothing yet is no error.
        silent(&mut port);
    }
    drop(listener);
    read_error(&mut port);
    let error = read_error(&mut port);
    assert!(matches!(error, Error::Connect(..)), "{error}");
    assert!(
        error.to_string().contains("check that the far end listens"),
        "{error}"
    );
}

#[test]
fn what_a_live_source_sends_unread_is_counted_not_waited_for() {
    const TOTAL: usize = 16 * 1024 * 1024;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut port = HostPort::open(input(&format!("tcp://{address}"))).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.set_write_timeout(Some(StdDuration::from_secs(10)))
        .unwrap();
    far.write_all(&vec![b'x'; TOTAL])
        .expect("the sender never waits for good");
    drop(far);
    let mut found = 0;
    let error = loop {
        match read(&mut port) {
            Ok(bytes) => found += bytes.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Closed(_)), "{error}");
    let lost = port.line_errors().overrun as usize;
    assert!(lost > 0);
    assert_eq!(found + lost, TOTAL);
}

#[test]
fn a_serial_device_passes_every_byte_and_follows_its_line_settings() {
    let (mut far, device) = serial_pair();
    let mut port = open(&device).unwrap();
    let speed = |far: &File| rustix::termios::tcgetattr(far).unwrap().input_speed();
    assert_eq!(speed(&far), 115_200);
    port.request(true);
    // Bytes that a terminal would act upon.
    let bytes: Vec<u8> = (0..=255).collect();
    far.write_all(&bytes).unwrap();
    assert_eq!(read_exactly(&mut port, 256), bytes);

    port.set_line(LineSettings::DSMR2);
    assert_eq!(speed(&far), 9_600);
    far.write_all(b"/slow\r\n").unwrap();
    assert_eq!(read_exactly(&mut port, 7), b"/slow\r\n");
    port.request(false);
    assert_eq!(port.line_errors().overrun, 0);
}

#[test]
fn a_serial_device_that_is_pulled_is_opened_again_with_its_settings() {
    let directory = tempfile::tempdir().unwrap();
    let name = directory.path().join("ttyUSB0");
    let (mut far, device) = serial_pair();
    symlink(&device, &name).unwrap();
    let mut port = open(&name).unwrap();
    port.set_line(LineSettings::DSMR2);
    far.write_all(b"before").unwrap();
    assert_eq!(read_exactly(&mut port, 6), b"before");

    drop(far);
    let error = read_error(&mut port);
    assert!(matches!(error, Error::Read(..)), "{error}");
    assert!(
        error.to_string().contains("plug the P1 cable in again"),
        "{error}"
    );
    fs::remove_file(&name).unwrap();
    let error = read_error(&mut port);
    assert!(matches!(error, Error::Missing(_)), "{error}");

    let (mut far, device) = serial_pair();
    symlink(&device, &name).unwrap();
    silent(&mut port);
    assert_eq!(
        rustix::termios::tcgetattr(&far).unwrap().input_speed(),
        9_600
    );
    far.write_all(b"after").unwrap();
    assert_eq!(read_exactly(&mut port, 5), b"after");
}

#[test]
fn a_serial_device_in_use_is_busy_until_it_is_let_go() {
    let (_far, device) = serial_pair();
    let first = open(&device).unwrap();
    let error = open(&device).unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error}");
    assert!(error.to_string().contains("fuser -v /dev/pts/"), "{error}");
    drop(first);
    open(&device).unwrap();
}

#[test]
fn a_cancelled_read_loses_nothing() {
    let (mut far, device) = serial_pair();
    let mut port = open(&device).unwrap();
    let writer = thread::spawn(move || {
        for n in 0..200_u8 {
            far.write_all(&[n]).unwrap();
            thread::sleep(StdDuration::from_micros(500));
        }
        far
    });
    let mut found: Vec<u8> = Vec::new();
    let started = StdInstant::now();
    block_on(async {
        let mut buffer = [0; 16];
        while found.len() < 200 && started.elapsed() < StdDuration::from_secs(10) {
            let limited = with_timeout(Duration::from_micros(300), port.read(&mut buffer));
            if let Ok(length) = limited.await {
                found.extend(&buffer[..length.unwrap()]);
            }
        }
    });
    assert_eq!(found, (0..200).collect::<Vec<u8>>());
    drop(writer.join().unwrap());
}

#[test]
fn what_does_not_open_is_told_in_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let text = |path: &Path| open(path).unwrap_err().to_string();

    let missing = path.join("missing/telegrams.txt");
    let expected = format!(
        "{}: there is no such file; name one that exists",
        missing.display()
    );
    assert_eq!(text(&missing), expected);

    let expected = format!("{}: is a directory; name a file in it", path.display());
    assert_eq!(text(path), expected);

    assert_eq!(
        text(Path::new("/dev/ttyUSB99")),
        "/dev/ttyUSB99: there is no such device; plug the P1 cable in or name another one"
    );

    // A character device that is no terminal.
    let error = text(Path::new("/dev/null"));
    assert!(
        error.starts_with("/dev/null: does not open as a serial line: "),
        "{error}"
    );
    assert!(
        error.ends_with("; name the device of the P1 cable"),
        "{error}"
    );
}

#[test]
fn the_far_end_of_a_serial_line_gets_nothing_back() {
    let (mut far, device) = serial_pair();
    let mut port = open(&device).unwrap();
    far.write_all(b"/echo?\r\n").unwrap();
    assert_eq!(read_exactly(&mut port, 8), b"/echo?\r\n");
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut byte = [0];
        // Ends with an error when the port is closed.
        let read = far.read(&mut byte);
        let _ = sender.send(read.is_ok_and(|length| length > 0));
    });
    assert!(receiver.recv_timeout(StdDuration::from_millis(50)).is_err());
    drop(port);
    assert_eq!(receiver.recv_timeout(StdDuration::from_secs(5)), Ok(false));
}
