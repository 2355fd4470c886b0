//! The chip's own glue in QEMU, against a stand-in for the vendor's functions: from a new device to a real broker.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use metertrekker::app::server::PORT;
use support::caller::{Caller, every_request};
use support::peers::{Message, Mosquitto, Subscriber, free_port};
use support::published::{
    INFLUX, POWER, STATUS, mosquitto, of_the_meter, on, published_here, wait_for,
};
use support::qemu::fixture;
use support::stand_in::{CUT, Chip, RESET, Run, With};

/// Samples a second, as the board's file says.
const MAX_RATE: u32 = 50;

/// A device that has been set up, and is in its network and at its broker.
fn at_its_broker(broker: &Mosquitto) -> Option<(Chip, Run, Subscriber)> {
    at_its_broker_with(broker, &With::default())
}

fn at_its_broker_with(broker: &Mosquitto, with: &With<'_>) -> Option<(Chip, Run, Subscriber)> {
    let chip = Chip::new();
    chip.set_up(broker)?;
    let subscriber = broker.subscribe("#");
    let mut run = chip.start(with)?;
    run.wait_for("network up 10.0.2.15", 1);
    run.wait_for("connected ", 1);
    Some((chip, run, subscriber))
}

#[test]
fn a_new_device_is_set_up_over_its_console_and_publishes_as_this_machine_does() {
    let bytes = fixture("meters/esmr50.p1");
    let Some(expected) = published_here(&bytes) else {
        return;
    };
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    let Some(mut run) = chip.start(&With::default()) else {
        return;
    };
    run.wait_for("network up 192.168.4.1", 1);
    // Longer than the transmitter's FIFO and what waits behind it.
    let info = run.ask(r#"{"cmd":"info"}"#);
    assert!(
        info.starts_with(r#"Info:{"cmd":"info","type":"smartmeter""#),
        "{info}"
    );
    assert!(info.ends_with('}') && info.len() > 400, "{info}");
    run.set_up(&broker);
    assert_eq!(run.end(), Some(RESET));
    let mut subscriber = broker.subscribe("#");
    let mut run = chip.start(&With::default()).expect("QEMU");
    run.wait_for("network up 10.0.2.15", 1);
    run.send(&bytes);
    subscriber.wait_until("as many messages as on this machine", |messages| {
        of_the_meter(messages).len() >= expected.len()
    });
    assert_eq!(of_the_meter(&subscriber.messages()), expected);
    let lines = |subscriber: &Subscriber| {
        let measurement = |line: &String| line.split(',').next().unwrap_or_default().to_owned();
        on(subscriber, INFLUX)
            .iter()
            .map(measurement)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&subscriber), ["electricity", "gas"]);
    run.is_well();
    // The power goes, and with it all but flash: the gas meter's value is not published a second time.
    run.console().kill();
    let mut subscriber = broker.subscribe("#");
    let mut run = chip.start(&With::default()).expect("QEMU");
    run.wait_for("connected ", 1);
    run.send(&bytes);
    wait_for(&mut subscriber, POWER, 1);
    subscriber.wait_until("a line", |messages| {
        messages.iter().any(|message| message.topic == INFLUX)
    });
    assert_eq!(lines(&subscriber), ["electricity"]);
    run.is_well();
}

/// How long nothing more is published when a telegram is done.
const QUIET: Duration = Duration::from_millis(100);

/// Sends a telegram, and waits until what it says is published: a meter sends the next after a second, not at once.
fn tell(run: &mut Run, subscriber: &Subscriber, piece: &[u8]) {
    let verdicts = |run: &Run| run.count("accepted ") + run.count("refused ");
    let before = verdicts(run);
    run.send(piece);
    for _ in 0..1000 {
        if verdicts(run) > before {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    loop {
        let published = subscriber.messages().len();
        thread::sleep(QUIET);
        if subscriber.messages().len() == published {
            return;
        }
    }
}

/// Publishes these on both machines, one after the other, and compares. Returns the device, still on.
fn are_published_as_here(pieces: &[Vec<u8>]) -> Option<(Mosquitto, Chip, Run, Subscriber)> {
    let expected = published_here(&pieces.concat())?;
    assert!(expected.len() > 10, "{}", expected.len());
    let broker = mosquitto()?;
    let (chip, mut run, mut subscriber) = at_its_broker(&broker)?;
    for piece in pieces {
        tell(&mut run, &subscriber, piece);
    }
    let count = |messages: &[Message]| of_the_meter(messages).len();
    let mut seen = 0;
    // As long as more and more are published.
    while seen < expected.len() {
        let messages = subscriber.wait_until("more messages", |messages| {
            count(messages) > seen || count(messages) >= expected.len()
        });
        seen = count(&messages);
    }
    for (there, here) in of_the_meter(&subscriber.messages()).iter().zip(&expected) {
        assert_eq!(there, here);
    }
    run.is_well();
    assert_eq!(of_the_meter(&subscriber.messages()).len(), expected.len());
    assert_eq!(run.count("dropped "), 0);
    Some((broker, chip, run, subscriber))
}

#[test]
fn every_meter_is_published_as_on_this_machine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/meters");
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("the fixtures")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "p1"))
        .collect();
    names.sort();
    assert!(names.len() > 100, "{}", names.len());
    let read = |path: &std::path::PathBuf| fs::read(path).expect("a telegram");
    let pieces: Vec<_> = names.iter().map(read).collect();
    let Some((_broker, _chip, mut run, _subscriber)) = are_published_as_here(&pieces) else {
        return;
    };
    // What was taken of the heap has been given back.
    let counters = run.counters();
    assert!(counters.get("heap_pieces") <= 4, "{counters:?}");
    assert!(counters.get("heap_low") > 4096, "{counters:?}");
    assert_eq!(counters.get("frames_thrown"), 0, "{counters:?}");
    eprintln!("{counters:?}");
}

#[test]
fn telegrams_among_noise_and_parts_of_telegrams_are_published_as_on_this_machine() {
    let whole = fixture("meters/esmr50.p1");
    let noise: Vec<u8> = (0..3_000_u32).map(|n| (n * 181 % 251) as u8).collect();
    let mut pieces = Vec::new();
    for between in [
        &noise,
        &whole[..400],
        &whole[700..],
        &fixture("broken/esmr50_crc.p1"),
        &fixture("broken/esmr50_long_line.p1"),
        &fixture("broken/esmr50_cut.p1"),
        b"!",
    ] {
        pieces.push([&whole[..], between].concat());
    }
    pieces.push(whole);
    are_published_as_here(&pieces);
}

#[test]
fn a_broker_that_comes_back_is_served_again() {
    let Some(mut broker) = mosquitto() else {
        return;
    };
    let Some((_chip, mut run, mut subscriber)) = at_its_broker(&broker) else {
        return;
    };
    run.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    broker.stop();
    run.wait_for("disconnected connect refused ", 1);
    broker.start_again();
    let mut subscriber = broker.subscribe("#");
    run.wait_for("connected ", 2);
    run.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    assert!(on(&subscriber, STATUS).contains(&"online".into()));
    run.is_well();
}

#[test]
fn a_network_that_vanishes_and_comes_back_is_joined_again() {
    let Some(broker) = mosquitto() else { return };
    let Some((_chip, mut run, mut subscriber)) = at_its_broker(&broker) else {
        return;
    };
    run.tell_monitor("set_link net0 off");
    // It opens its access point meanwhile, and looks again after half a minute.
    run.wait_for("stand-in: access point Metertrekker-c0ffee", 1);
    run.wait_for("network up 192.168.4.1", 1);
    run.tell_monitor("set_link net0 on");
    thread::sleep(Duration::from_secs(15));
    run.wait_for("network up 10.0.2.15", 2);
    run.wait_for("connected ", 2);
    run.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    run.is_well();
}

#[test]
fn line_settings_that_were_found_are_tried_first_after_a_restart() {
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    if chip.set_up(&broker).is_none() {
        return;
    }
    let slow = With {
        words: &["meter=9600"],
        ..With::default()
    };
    let telegram = fixture("meters/dsmr22.p1");
    let first_at = |run: &mut Run| {
        let mut subscriber = broker.subscribe("#");
        run.wait_for("connected ", 1);
        // Every ten seconds, as such meters do.
        let mut tries = 0;
        while run.count("accepted ") == 0 {
            run.send(&telegram);
            tries += 1;
            assert!(tries < 12);
            for _ in 0..50 {
                if run.count("accepted ") > 0 {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        wait_for(&mut subscriber, POWER, 1);
        run.count("silent ")
    };
    let mut run = chip.start(&slow).expect("QEMU");
    assert!(first_at(&mut run) > 0, "it begins with the faster one");
    run.is_well();
    run.console().kill();
    let mut run = chip.start(&slow).expect("QEMU");
    assert_eq!(first_at(&mut run), 0);
}

/// What the log has kept, over the console.
fn log_of(run: &mut Run) -> String {
    run.wait_for("network up ", 1);
    run.ask(r#"{"cmd":"getLog"}"#)
}

#[test]
fn the_log_tells_why_the_chip_was_reset() {
    for (fault, told) in [
        (
            "panic",
            "restarted after a panic at src/soc/esp8266/executor.rs:",
        ),
        ("exception", "restarted after exception 9 at 402"),
        ("watchdog", "restarted by the watchdog"),
    ] {
        let chip = Chip::new();
        let word = format!("fault={fault}");
        let with = With {
            words: &[&word],
            ..With::default()
        };
        let Some(mut run) = chip.start(&with) else {
            return;
        };
        assert_eq!(run.end(), Some(RESET), "{fault}");
        let mut run = chip.start(&With::default()).expect("QEMU");
        let log = log_of(&mut run);
        assert!(log.contains(told), "{fault}: {log}");
        // Once: the next start is an ordinary one.
        run.console().kill();
        let mut run = chip.start(&With::default()).expect("QEMU");
        let log = log_of(&mut run);
        assert_eq!(log.matches(told).count(), 1, "{fault}: {log}");
    }
}

#[test]
fn a_cut_of_power_at_any_word_of_flash_leaves_a_device_that_starts() {
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    if chip.start(&With::default()).is_none() {
        return;
    }
    let words = {
        let chip = Chip::new();
        let mut run = chip.start(&With::default()).expect("QEMU");
        run.set_up(&broker);
        assert_eq!(run.end(), Some(RESET));
        run.last_counters().get("flash_written")
    };
    assert!(words > 30, "{words}");
    let port = broker.port();
    // Four at a time, each word in turn.
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            thread::spawn(move || {
                for cut in (thread..words).step_by(4) {
                    starts_after_a_cut(cut, port);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("each starts");
    }
}

fn starts_after_a_cut(cut: u32, port: u16) {
    let chip = Chip::new();
    let word = format!("cut={cut}");
    let with = With {
        words: &[&word],
        ..With::default()
    };
    let mut run = chip.start(&with).expect("QEMU");
    // It may be off at any moment.
    while run.console().is_running() && run.count("network up ") == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    for line in [
        r#"{"cmd":"addWifi","payload":{"ssid":"home","pwd":"secret-1"}}"#.to_owned(),
        r#"{"cmd":"settings","payload":{"interval":0,"time_server":"-"}}"#.to_owned(),
        format!(r#"{{"cmd":"mqttServer","payload":{{"server":"10.0.2.2","port":{port}}}}}"#),
    ] {
        if !run.console().is_running() {
            break;
        }
        run.types(&line);
        thread::sleep(Duration::from_millis(150));
    }
    // How often the clock is asked for differs, and with it how much is written: the last words may not have been.
    let ended = run.end();
    assert!(
        ended == Some(CUT) || (ended == Some(RESET) && cut > 40),
        "cut {cut}: {ended:?}"
    );
    let mut run = chip.start(&With::default()).expect("QEMU");
    let started = |lines: &[String]| {
        let mut lines = lines.iter();
        lines
            .any(|line| line.starts_with("network up "))
            .then_some(())
    };
    run.console()
        .wait_for(&format!("a start after cut {cut}"), started);
    let settings = run.ask(r#"{"cmd":"settings"}"#);
    let is = |text: &str| settings.contains(text);
    assert!(
        is(r#""interval":15,"#) || is(r#""interval":0,"#),
        "cut {cut}: {settings}"
    );
    let is_new = is(r#""mqtt_server":"10.0.2.2","#) && is(&format!(r#""mqtt_port":{port},"#));
    let is_old = is(r#""mqtt_server":"-","#) && is(r#""mqtt_port":1883,"#);
    assert!(is_old || is_new, "cut {cut}: {settings}");
    // And takes new ones.
    let answer = run.ask(r#"{"cmd":"settings","payload":{"interval":30}}"#);
    assert!(answer.contains(r#""interval":30"#), "cut {cut}: {answer}");
}

/// Words and arguments for a device whose access point is on a network of the test's.
fn access_point<'a>(network: &'a str) -> With<'a> {
    With {
        words: &[],
        arguments: Box::leak(Box::new(["-nic", network])),
    }
}

#[test]
fn a_wrong_password_is_told_and_the_access_point_stays_open_and_gives_addresses() {
    let chip = Chip::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let cable = format!("socket,model=open_eth,connect=127.0.0.1:{port}");
    let Some(mut run) = chip.start(&access_point(&cable)) else {
        return;
    };
    let (air, _) = listener.accept().expect("QEMU");
    let mut station = Station::new(air);
    run.wait_for("network up 192.168.4.1", 1);
    let answer = run.ask(r#"{"cmd":"addWifi","payload":{"ssid":"home","pwd":"secret-2"}}"#);
    assert!(answer.contains(r#""error":false"#), "{answer}");
    station.is_given_an_address();
    run.wait_for("Info:[W]01/01 01:00:", 1);
    // It has looked after half a minute at most.
    for _ in 0..3 {
        if run
            .console()
            .lines()
            .iter()
            .any(|line| line.contains("wrong password"))
        {
            break;
        }
        thread::sleep(Duration::from_secs(10));
    }
    run.console().wait_for_line("Wi-Fi home: wrong password");
    station.is_given_an_address();
    assert_eq!(run.count("stand-in: access point"), 1, "it stays open");
    run.is_well();
}

/// Somebody at the access point, by frames that are put together by hand (RFC 791, 768, 2131).
struct Station {
    air: TcpStream,
    number: u8,
}

impl Station {
    fn new(air: TcpStream) -> Self {
        air.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a time limit");
        Self { air, number: 0 }
    }

    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).expect("a frame");
        let bytes = [&length.to_be_bytes(), frame].concat();
        self.air.write_all(&bytes).expect("QEMU takes it");
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.air.read_exact(&mut length).expect("a frame");
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.air.read_exact(&mut frame).expect("a frame");
        frame
    }

    /// Asks for an address by DHCP, and takes what it is offered.
    fn is_given_an_address(&mut self) {
        self.number += 1;
        let offer = self.dhcp(1, None);
        assert_eq!(offer[242], 2, "an offer");
        let address: [u8; 4] = offer[16..20].try_into().expect("an address");
        assert_eq!(address[..3], [192, 168, 4]);
        assert_ne!(address[3], 1);
        let acknowledged = self.dhcp(3, Some(address));
        assert_eq!(acknowledged[242], 5, "an acknowledgement");
        assert_eq!(acknowledged[16..20], address);
    }

    /// Sends a message and returns the answer, from its first byte.
    fn dhcp(&mut self, kind: u8, wants: Option<[u8; 4]>) -> Vec<u8> {
        let own = [2, 0, 0, 0, 9, self.number];
        let mut message = vec![1, 1, 6, 0, 0xAA, kind, 0xCC, self.number];
        message.resize(28, 0);
        message.extend(own);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, kind]);
        if let Some(wants) = wants {
            message.extend([50, 4]);
            message.extend(wants);
            message.extend([54, 4, 192, 168, 4, 1]);
        }
        message.push(255);
        message.resize(300, 0);
        let identity = message[4..8].to_vec();
        self.send(&datagram(own, &message));
        loop {
            let frame = self.receive();
            // IPv4, UDP, to the client's port.
            let is_dhcp = frame.len() > 282 && frame[12..14] == [8, 0] && frame[36..38] == [0, 68];
            if is_dhcp && frame[46..50] == identity {
                return frame[42..].to_vec();
            }
        }
    }
}

/// A datagram to everybody, from a client of DHCP to its server.
fn datagram(from: [u8; 6], message: &[u8]) -> Vec<u8> {
    let length = |more: usize| u16::try_from(message.len() + more).expect("a datagram");
    let mut ip = vec![0x45, 0];
    ip.extend(length(28).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let sum: u32 = ip
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend(from);
    frame.extend([8, 0]);
    frame.extend(ip);
    frame.extend([0, 68, 0, 67]);
    frame.extend(length(8).to_be_bytes());
    // Without a sum, as RFC 768 allows.
    frame.extend([0, 0]);
    frame.extend(message);
    frame
}

#[test]
fn every_request_is_answered_as_on_this_machine() {
    let port = free_port();
    let network = format!(
        "user,model=open_eth,net=192.168.4.0/24,host=192.168.4.2,dhcpstart=192.168.4.15,hostfwd=tcp:127.0.0.1:{port}-192.168.4.1:{PORT}"
    );
    let chip = Chip::new();
    let Some(mut run) = chip.start(&With::default()) else {
        return;
    };
    run.wait_for("network up 192.168.4.1", 1);
    // As that machine's, which asks no server for the time.
    let answer = run.ask(r#"{"cmd":"settings","payload":{"interval":0,"time_server":"-"}}"#);
    assert!(answer.contains(r#""error":false"#), "{answer}");
    assert_eq!(run.end(), Some(RESET));
    let mut run = chip.start(&access_point(&network)).expect("QEMU");
    run.wait_for("network up 192.168.4.1", 1);
    run.send(&fixture("meters/esmr50.p1"));
    run.wait_for("accepted ", 1);
    let mut caller = Caller::connect(port);
    let count = every_request(
        &mut caller,
        "Metertrekker-c0ffee",
        [192, 168, 4, 1],
        |device| {
            device.set_max_rate(MAX_RATE);
            device.has_no_outlet();
        },
    );
    assert!(count > 90, "{count}");
    // A change of settings goes deepest.
    let set = caller.ask(r#"{"cmd":"mqttServer","payload":{"server":"192.0.2.1"}}"#);
    assert!(set.contains(r#""error":false"#), "{set}");
    assert_eq!(run.end(), Some(RESET), "it is to be started again");
    let counters = run.last_counters();
    assert_eq!(counters.get("radio_buffers"), 0, "{counters:?}");
    eprintln!("{counters:?}");
}

/// Instructions take the time that 31 million in a second take, and time stands still while QEMU waits for this machine.
#[test]
fn nothing_of_ours_keeps_the_radio_waiting() {
    let Some(broker) = mosquitto() else { return };
    let counted = With {
        words: &["exact=true"],
        arguments: &["-nic", "user,model=open_eth,id=net0", "-icount", "shift=5"],
    };
    let Some((_chip, mut run, mut subscriber)) = at_its_broker_with(&broker, &counted) else {
        return;
    };
    for count in 1..=5 {
        run.send(&fixture("meters/esmr50.p1"));
        wait_for(&mut subscriber, POWER, count);
    }
    let counters = run.counters();
    eprintln!("{counters:?}");
    assert!(counters.get("longest_us") < 10_000, "{counters:?}");
    // Each takes a chip some microseconds, and nobody has measured how many.
    assert!(counters.get("longest_reads") < 600, "{counters:?}");
    run.is_well();
}

#[test]
fn a_heap_that_fails_now_and_then_loses_nothing_for_good() {
    let Some(broker) = mosquitto() else { return };
    let failing = With {
        words: &["fail=7"],
        ..With::default()
    };
    let Some((_chip, mut run, mut subscriber)) = at_its_broker_with(&broker, &failing) else {
        return;
    };
    for count in 1..=5 {
        run.send(&fixture("meters/esmr50.p1"));
        wait_for(&mut subscriber, POWER, count);
    }
    let counters = run.counters();
    assert!(counters.get("heap_refused") > 5, "{counters:?}");
    run.is_well();
}
