//! The chip's own glue in QEMU, against a stand-in for the vendor's functions: from a new device to a real broker.

mod support;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use support::caller::Caller;
use support::emulator::{Emulated, Stats, wait_long};
use support::peers::{Mosquitto, Subscriber};
use support::published::{POWER, mosquitto, of_the_meter, on, published_here, wait_for};
use support::qemu::fixture;
use support::scenarios::scenarios;
use support::stand_in::{CARD, COUNTED, CUT, Chip, REFUSED, RESET, Run, SECOND, UNASKED, UNUSABLE};

scenarios! { Run:
    every_meter_is_published_as_on_this_machine,
    real_telegrams_are_published_as_on_this_machine,
    telegrams_among_noise_and_parts_of_telegrams_are_published_as_on_this_machine,
    a_broker_that_comes_back_is_served_again,
    a_network_that_vanishes_and_comes_back_is_used_again,
    a_broker_is_found_by_its_name,
    what_was_published_is_remembered_across_a_restart,
    line_settings_that_were_found_are_tried_first_after_a_restart,
    a_meter_that_speaks_for_minutes_leaves_nothing_behind,
    a_telegrams_messages_share_their_segments,
    every_request_is_answered_as_on_this_machine,
    one_too_many_is_turned_away_and_one_that_is_cut_anywhere_leaves_its_place,
    one_that_never_reads_its_answers_keeps_nobody_waiting_and_loses_its_place,
    the_time_is_that_of_a_real_server,
    samples_have_the_telegrams_values,
    a_command_over_mqtt_is_answered,
    samples_go_through_a_broker,
    what_is_set_survives_a_power_cut_and_the_log_tells_of_it,
}

/// A device that has been set up, with these words and arguments, in its network and at its broker.
fn at_its_broker(
    broker: &Mosquitto,
    words: &[&str],
    arguments: &[&str],
) -> Option<(Run, Subscriber)> {
    let chip = Chip::new();
    chip.set_up(broker, &[])?;
    let subscriber = broker.subscribe("#");
    let mut run = chip.start_on(words, arguments)?;
    run.wait_for_event("network up 10.0.2.15", 1);
    run.wait_for_event("connected ", 1);
    Some((run, subscriber))
}

#[test]
fn a_new_device_is_set_up_over_its_console_and_publishes_as_this_machine_does() {
    let bytes = fixture("meters/esmr50.p1");
    let Some(expected) = published_here(&bytes) else {
        return;
    };
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    let Some(mut run) = chip.start() else {
        return;
    };
    run.wait_for_event("network up 192.168.4.1", 1);
    // Longer than the transmitter's FIFO and what waits behind it.
    let info = run.ask(r#"{"cmd":"info"}"#);
    assert!(
        info.starts_with(r#"Info:{"cmd":"info","type":"smartmeter""#),
        "{info}"
    );
    assert!(info.ends_with('}') && info.len() > 400, "{info}");
    run.set_up(&broker, &[]);
    assert_eq!(run.end(), Some(RESET));
    let mut subscriber = broker.subscribe("#");
    let mut run = chip.start().expect("QEMU");
    run.wait_for_event("network up 10.0.2.15", 1);
    run.send(&bytes);
    subscriber.wait_until("as many messages as on this machine", |messages| {
        of_the_meter(messages).len() >= expected.len()
    });
    assert_eq!(of_the_meter(&subscriber.messages()), expected);
    run.is_well();
}

/// What the log has kept, over the console.
fn log_of(run: &mut Run) -> String {
    run.wait_for_event("network up ", 1);
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
        ("watchdog", ": restarted by the watchdog//n"),
        ("hardware", ": restarted by the watchdog at 40"),
    ] {
        let chip = Chip::new();
        let word = format!("fault={fault}");
        let Some(mut run) = chip.start_with(&[&word]) else {
            return;
        };
        assert_eq!(run.end(), Some(RESET), "{fault}");
        let mut run = chip.start().expect("QEMU");
        let log = log_of(&mut run);
        assert!(log.contains(told), "{fault}: {log}");
        // Once: the next start is an ordinary one.
        run.console().kill();
        let mut run = chip.start().expect("QEMU");
        let log = log_of(&mut run);
        assert_eq!(log.matches(told).count(), 1, "{fault}: {log}");
    }
}

#[test]
fn only_a_restart_that_was_asked_for_does_without_the_start_delay() {
    const DELAY: usize = 10;
    let chip = Chip::new();
    let Some(mut run) = chip.start() else {
        return;
    };
    run.wait_for_event("network up ", 1);
    run.order(&format!(
        r#"{{"cmd":"settings","payload":{{"start_delay":{DELAY}}}}}"#
    ));
    run.types(r#"{"cmd":"restart"}"#);
    assert_eq!(run.end(), Some(RESET));
    // Each second has a line of counters.
    let waited = |run: &mut Run| {
        run.wait_for_event("network up ", 1);
        let lines = run.running().lines();
        let before = lines
            .iter()
            .take_while(|line| !line.starts_with("network up "));
        before
            .filter(|line| line.starts_with("stand-in: heap="))
            .count()
    };
    let seconds = waited(&mut chip.start().expect("QEMU"));
    assert!(seconds < DELAY, "{seconds}");
    for fault in ["panic", "exception", "watchdog", "hardware"] {
        let mut run = chip.start_with(&[&format!("fault={fault}")]).expect("QEMU");
        assert_eq!(run.end(), Some(RESET), "{fault}");
        let seconds = waited(&mut chip.start().expect("QEMU"));
        assert!(seconds >= DELAY, "{fault}: {seconds}");
    }
}

#[test]
fn a_cut_of_power_at_any_word_of_flash_leaves_a_device_that_starts() {
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    if chip.start().is_none() {
        return;
    }
    let words = {
        let chip = Chip::new();
        let mut run = chip.start().expect("QEMU");
        run.set_up(&broker, &[]);
        assert_eq!(run.end(), Some(RESET));
        run.last_stats().get("flash_written")
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
    let mut run = chip.start_with(&[&word]).expect("QEMU");
    // It may be off at any moment.
    while run.console().is_running() && run.count("network up ") == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    for line in [
        r#"{"cmd":"addWifi","payload":{"ssid":"home","pwd":"secret-1"}}"#.to_owned(),
        // At once: the first of them starts the chip over.
        format!(
            "{}\n{{\"cmd\":\"mqttServer\",\"payload\":{{\"server\":\"10.0.2.2\",\"port\":{port}}}}}",
            r#"{"cmd":"settings","payload":{"interval":0,"time_server":"-"}}"#
        ),
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
    let mut run = chip.start().expect("QEMU");
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

/// Where the board has its settings.
const SETTINGS: std::ops::Range<usize> = 0x20_0000..0x20_4000;

/// Sets a factor that tells which change it was.
fn calibrate(number: u32) -> String {
    format!(r#"{{"cmd":"calibration","cal":[1.{number:03},1,1,1,1,1]}}"#)
}

/// The number of the last change that was kept.
fn calibrated(run: &mut Run) -> u32 {
    let info = run.ask(r#"{"cmd":"info"}"#);
    let json = info.strip_prefix("Info:").map(serde_json::from_str::<Json>);
    let json = json
        .and_then(Result::ok)
        .unwrap_or_else(|| panic!("{info}"));
    let factor = json["calibration"][0].as_f64().expect("a factor");
    (1000.0 * factor - 1000.0).round() as u32
}

/// Changes a setting again and again until that takes an erase: the flash as it was before, and the number of the change.
fn flash_before_an_erase() -> Option<(Vec<u8>, u32)> {
    let (run, port) = Run::with_commands()?;
    let mut caller = Caller::connect(port);
    caller.ask(r#"{"cmd":"log","level":"error"}"#);
    let mut before = fs::read(run.flash()).expect("the flash");
    for number in 1..900 {
        let answer = caller.ask(&calibrate(number));
        assert!(answer.contains(r#""error":false"#), "{answer}");
        let mut area = vec![0; SETTINGS.len()];
        let mut file = File::open(run.flash()).expect("the flash");
        file.seek(SeekFrom::Start(SETTINGS.start as u64))
            .and_then(|_| file.read_exact(&mut area))
            .expect("the settings");
        // A bit that was 0.
        if area
            .iter()
            .zip(&before[SETTINGS])
            .any(|(new, old)| new & !old != 0)
        {
            return Some((before, number));
        }
        before[SETTINGS].copy_from_slice(&area);
    }
    panic!("nothing was erased");
}

#[test]
fn a_cut_of_power_within_an_erase_leaves_a_device_that_starts() {
    let Some((flash, number)) = flash_before_an_erase() else {
        return;
    };
    assert!(number > 10, "{number}");
    thread::scope(|scope| {
        scope.spawn(|| moves_in_time(&flash, number));
        for thread in 0..4 {
            let flash = &flash;
            scope.spawn(move || {
                for seed in (thread..8).step_by(4) {
                    starts_after_a_torn_erase(flash, number, seed);
                }
            });
        }
    });
}

/// The values that move to the erased sector keep the SDK from its work, too.
fn moves_in_time(flash: &[u8], number: u32) {
    let chip = Chip::new();
    fs::write(chip.flash(), flash).expect("the flash");
    let counted = [&CARD[..], &COUNTED].concat();
    let mut run = chip.start_on(&["exact=true"], &counted).expect("QEMU");
    run.wait_for_event("network up 192.168.4.1", 1);
    while run.next_stats().get("flash_erased") == 0 {
        run.order(&calibrate(number));
        run.order(&calibrate(number + 1));
    }
    let counters = run.last_stats();
    eprintln!("a move: {counters:?}");
    assert!(
        (10_000..45_000).contains(&counters.get("erasing_us")),
        "{counters:?}"
    );
    run.is_well();
}

fn starts_after_a_torn_erase(flash: &[u8], number: u32, seed: u32) {
    let chip = Chip::new();
    fs::write(chip.flash(), flash).expect("the flash");
    let tear = format!("tear={seed}");
    let mut run = chip.start_with(&[&tear]).expect("QEMU");
    run.wait_for_event("network up 192.168.4.1", 1);
    // The start has written something, too.
    let mut last = number;
    run.types(&calibrate(number));
    while run.console().is_running() && last < number + 20 {
        thread::sleep(Duration::from_millis(300));
        last += 1;
        run.types(&calibrate(last));
    }
    assert_eq!(run.end(), Some(CUT), "seed {seed}");
    let mut run = chip.start().expect("QEMU");
    run.wait_for_event("network up 192.168.4.1", 1);
    let kept = calibrated(&mut run);
    // The one that was erased for, or the one before.
    assert!(
        (number - 1..=last).contains(&kept),
        "seed {seed}: {kept} of {last}"
    );
    let settings = run.ask(r#"{"cmd":"settings"}"#);
    assert!(
        settings.contains(r#""interval":0,"#),
        "seed {seed}: {settings}"
    );
    // And takes new ones.
    run.order(&calibrate(999));
    run.cut_power();
    run.wait_for_event("network up 192.168.4.1", 1);
    assert_eq!(calibrated(&mut run), 999, "seed {seed}");
}

#[test]
fn a_wrong_password_is_told_and_the_access_point_stays_open_and_gives_addresses() {
    let chip = Chip::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let cable = format!("socket,model=open_eth,connect=127.0.0.1:{port}");
    let Some(mut run) = chip.start_on(&[], &["-nic", &cable]) else {
        return;
    };
    let (air, _) = listener.accept().expect("QEMU");
    let mut station = Station::new(air);
    run.wait_for_event("network up 192.168.4.1", 1);
    let answer = run.ask(r#"{"cmd":"addWifi","payload":{"ssid":"home","pwd":"secret-2"}}"#);
    assert!(answer.contains(r#""error":false"#), "{answer}");
    station.is_given_an_address();
    run.wait_for_event("Info:[W]01/01 01:00:", 1);
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

/// Telegrams, frames that are encrypted, and much that is refused; what they take of the vendor's heap is little.
#[test]
fn telegrams_keep_the_radio_waiting_for_less_than_10_ms() {
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    let key = ("decryption_key", "73696d756c61746564206d6574657221");
    let Some(()) = chip.set_up(&broker, &[key]) else {
        return;
    };
    let mut subscriber = broker.subscribe("#");
    let counted = [&CARD[..], &COUNTED].concat();
    let mut run = chip
        .start_on(&["exact=true", "heap=4096"], &counted)
        .expect("QEMU");
    run.wait_for_event("connected ", 1);
    for count in 1..=5 {
        run.send(&fixture("meters/esmr50.p1"));
        wait_for(&mut subscriber, POWER, count);
    }
    for name in ["at", "lu", "lu_for_another", "lu_line", "lu_stale"] {
        run.send(&fixture(&format!("encrypted/{name}.bin")));
    }
    run.wait_for_event("accepted ", 15);
    assert_eq!(run.count("refused "), 2);
    // A dozen in each piece that the meter's task fetches: more lines than the console's transmitter takes.
    run.send(&b"/ABC5x\r\n\r\n!0000\r\n".repeat(400));
    run.send(&fixture("meters/esmr50.p1"));
    run.wait_for_event("accepted ", 16);
    let told = run.count("refused ");
    assert!((30..402).contains(&told), "{told}");
    run.is_well();
    assert_eq!(run.last_stats().get("heap_refused"), 0);
}

/// Over TCP and the console, in a sector of settings that is nearly full.
#[test]
fn commands_keep_the_radio_waiting_for_less_than_10_ms() {
    let Some((mut run, port)) = Run::with_commands_and(&["exact=true"], &COUNTED) else {
        return;
    };
    let mut caller = Caller::connect(port);
    let order = |caller: &mut Caller, line: &str| {
        let answer = caller.ask(line);
        assert!(answer.contains(r#""error":false"#), "{line}: {answer}");
    };
    order(&mut caller, r#"{"cmd":"log","level":"error"}"#);
    for number in 0..95 {
        order(&mut caller, &calibrate(number));
    }
    order(&mut caller, SEVERAL);
    for number in 0..5 {
        let network = format!(
            r#"{{"cmd":"addWifi","payload":{{"ssid":"a network of number {number}","pwd":"its password {number}"}}}}"#
        );
        order(&mut caller, &network);
    }
    let gone = r#"{"cmd":"delWifi","payload":{"ssid":"a network of number 2"}}"#;
    order(&mut caller, gone);
    let too_long = "x".repeat(900);
    for wrong in ["{\"cmd\":", r#"{"cmd":"nothing"}"#, &too_long] {
        assert!(caller.ask(wrong).contains(r#""error":true"#), "{wrong}");
        run.types(wrong);
        thread::sleep(Duration::from_millis(300));
    }
    run.ask(r#"{"cmd":"info"}"#);
    run.order(SEVERAL);
    caller.send(r#"{"cmd":"getLog"}"#);
    while !caller.answer().contains(r#""cmd":"getLog""#) {}
    // It looks for its networks after half a minute, and is asked for what it has found.
    thread::sleep(Duration::from_secs(33));
    run.ask(r#"{"cmd":"info"}"#);
    order(&mut caller, MANY);
    assert_eq!(run.end(), Some(RESET));
    eprintln!("commands: {:?}", run.last_stats());
    run.has_been_well();
    // A reset is marked, and done by the start that follows.
    run.cut_power();
    run.wait_for_event("network up 192.168.4.1", 1);
    run.types(r#"{"cmd":"factoryReset"}"#);
    assert_eq!(run.end(), Some(RESET));
    run.has_been_well();
    assert!(run.last_stats().get("flash_written") < 20);
    run.cut_power();
    run.wait_for_event("network up 192.168.4.1", 1);
    let settings = run.ask(r#"{"cmd":"settings"}"#);
    assert!(settings.contains(r#""interval":15,"#), "{settings}");
    let info = run.ask(r#"{"cmd":"info"}"#);
    assert!(
        info.contains(r#""calibration":[1,1,1,1,1,1],"ssids":"[]""#),
        "{info}"
    );
}

/// Settings that the device starts over for not.
const SEVERAL: &str = r#"{"cmd":"settings","payload":{"transmit_power":16,"start_delay":4,"command_password":"","stream_server":"-","time_server":"-","time_port":124,"time_zone":"UTC0"}}"#;

/// Nearly all settings.
const MANY: &str = r#"{"cmd":"settings","payload":{"interval":20,"timeout":21,"mqtt_port":1884,"mqtt_user":"a","mqtt_password":"b","root":"c","notify_topic":"/d","client_id":"e","transmit_power":17,"start_delay":5,"time_port":125}}"#;

#[test]
fn a_new_device_with_p1_away_from_the_console_is_set_up_while_its_meter_talks() {
    let bytes = fixture("meters/esmr50.p1");
    let Some(expected) = published_here(&bytes) else {
        return;
    };
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::swapped();
    let Some(()) = chip.set_up_with(&[UNASKED], &broker, &[("interval", "10")]) else {
        return;
    };
    publishes_while_its_meter_talks(&chip, &broker, &expected, SECOND);
}

/// A telegram after the first ten seconds, and one in each interval, whatever else the meter says.
fn publishes_while_its_meter_talks(
    chip: &Chip,
    broker: &Mosquitto,
    expected: &[(String, String)],
    every: Duration,
) -> Run {
    let mut subscriber = broker.subscribe("#");
    let mut run = chip.start_with(&[UNASKED]).expect("QEMU");
    let _meter = run.talks(every);
    wait_for(&mut subscriber, POWER, 1);
    let first = Instant::now();
    wait_for(&mut subscriber, POWER, 2);
    let took = first.elapsed();
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
    let published = of_the_meter(&subscriber.messages());
    assert_eq!(published[..expected.len()], *expected);
    run.is_well();
    run
}

#[test]
fn a_meter_that_never_pauses_is_published_from_its_next_whole_telegram_on() {
    let bytes = fixture("meters/esmr50.p1");
    let Some(expected) = published_here(&bytes) else {
        return;
    };
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    let Some(()) = chip.set_up(&broker, &[("interval", "10")]) else {
        return;
    };
    let mut run = publishes_while_its_meter_talks(&chip, &broker, &expected, NO_PAUSE);
    // The console had the receiver until then.
    assert_eq!(run.last_stats().get("joined"), 1);
    assert_eq!(run.count("refused "), 0);
}

/// Shorter than a telegram.
const NO_PAUSE: Duration = Duration::from_millis(50);

/// Without a broker nobody listens between two intervals, and the console has the receiver.
#[test]
fn each_interval_may_begin_within_a_telegram() {
    let chip = Chip::new();
    let Some(mut run) = chip.start() else { return };
    run.wait_for_event("network up 192.168.4.1", 1);
    run.order(r#"{"cmd":"settings","payload":{"interval":10,"time_server":"-"}}"#);
    assert_eq!(run.end(), Some(RESET));
    let mut run = chip.start_with(&[UNASKED]).expect("QEMU");
    let _meter = run.talks(NO_PAUSE);
    run.wait_for_event("accepted ", 3);
    let counters = run.next_stats();
    assert!(counters.get("joined") >= 3, "{counters:?}");
    assert_eq!(run.count("refused "), 0);
    run.is_well();
}

#[test]
fn a_meter_at_another_pin_is_not_heard() {
    let Some(broker) = mosquitto() else { return };
    let chip = Chip::new();
    let Some(()) = chip.set_up(&broker, &[("timeout", "10")]) else {
        return;
    };
    let subscriber = broker.subscribe("#");
    let mut run = chip.start_with(&["p1=13", UNASKED]).expect("QEMU");
    let _meter = run.talks(SECOND);
    run.wait_for_event("silent 10.0 0 115200 9600", 1);
    assert!(on(&subscriber, POWER).is_empty());
}

/// Where the board has its log, and the sectors of it.
const LOG: usize = 0x20_4000;
const LOG_SECTORS: usize = 10;
const SECTOR: usize = 4096;

/// A chip that receives a telegram that is refused, and right behind it this one, while its log has no room for another line than that of
/// its start, and whatever else there is in flash where it comes next.
fn erases_behind_a_refusal(telegram: &str) -> Option<(Run, Mosquitto, Subscriber)> {
    let broker = mosquitto()?;
    let chip = Chip::new();
    chip.set_up(&broker, &[])?;
    let mut flash = fs::read(chip.flash()).expect("the flash");
    let log = &mut flash[LOG..LOG + LOG_SECTORS * SECTOR];
    let (first, others) = log.split_at_mut(SECTOR);
    others.fill(0);
    let end = first.iter().rposition(|byte| *byte != 0xff);
    let end = end.expect("a log").next_multiple_of(4);
    // "01/01 01:00:00: Reboot" takes 32.
    first[end..SECTOR - 36].fill(0);
    fs::write(chip.flash(), flash).expect("the flash");
    let subscriber = broker.subscribe("#");
    let counted = [&CARD[..], &["-icount", "shift=5"]].concat();
    let mut run = chip.start_on(&["exact=true", "erase=400"], &counted)?;
    run.wait_for_event("network up ", 1);
    // Before the receiver is the meter's: so they come without a pause.
    let both = [fixture("broken/esmr50_crc.p1"), fixture(telegram)].concat();
    run.send(&both);
    run.wait_for_event("connected ", 1);
    assert_eq!(run.last_stats().get("flash_erased"), 0);
    run.wait_for_event("refused crc", 1);
    run.wait_for_stats("an erase", |stats| stats.get("flash_erased") > 0);
    Some((run, broker, subscriber))
}

#[test]
fn an_erase_waits_until_the_meter_has_spoken_and_costs_nothing() {
    let Some((mut run, _broker, mut subscriber)) = erases_behind_a_refusal("meters/esmr50_1ph.p1")
    else {
        return;
    };
    wait_for(&mut subscriber, POWER, 1);
    let counters = run.next_stats();
    assert_eq!(counters.get("flash_erased"), 1, "{counters:?}");
    assert_eq!(counters.get("flash_erased_amid"), 0, "{counters:?}");
    run.is_well();
}

#[test]
fn an_erase_waits_for_a_long_telegram_as_long_as_the_ring_takes_and_what_is_lost_then_is_counted() {
    let Some((mut run, _broker, mut subscriber)) =
        erases_behind_a_refusal("meters/esmr50_long_message.p1")
    else {
        return;
    };
    let counters = run.next_stats();
    assert_eq!(counters.get("flash_erased"), 1, "{counters:?}");
    assert_eq!(counters.get("flash_erased_amid"), 1, "{counters:?}");
    // And the next is whole.
    run.send(&fixture("meters/esmr50.p1"));
    wait_for(&mut subscriber, POWER, 1);
    run.wait_for_event("stats accepted=1 refused=2 ", 1);
    let lines = run.running().lines();
    let told = lines
        .iter()
        .find_map(|line| Stats::of("stats accepted=1 refused=2 ", line));
    let told = told.expect("counters");
    // All of it is 257 ms long; the erase began some 85 ms after its start and was over when it had ended. The ring has 1,023 bytes.
    let lost = told.get("overrun");
    assert!((1500..2000).contains(&lost), "{lost}");
    run.is_well();
}

#[test]
fn a_heap_that_fails_now_and_then_loses_nothing_for_good() {
    let Some(broker) = mosquitto() else { return };
    let Some((mut run, mut subscriber)) = at_its_broker(&broker, &["fail=7"], &CARD) else {
        return;
    };
    for count in 1..=5 {
        run.send(&fixture("meters/esmr50.p1"));
        wait_for(&mut subscriber, POWER, count);
    }
    let counters = run.next_stats();
    assert!(counters.get("heap_refused") > 5, "{counters:?}");
    run.is_well();
}

/// What a chip would not forgive, by the word that has the stand-in do it, and what it says then.
const MISUSES: &[(&str, &str)] = &[
    (
        "post_to_nobody",
        "a message for task 20, which is not there",
    ),
    ("post_too_high", "a message for task 32"),
    ("task_priority", "system_os_task: priority 3, length 1"),
    ("task_queue", "system_os_task: priority 1, length 0"),
    (
        "task_masked",
        "system_os_task lets interrupts into a critical section",
    ),
    ("task_ends_masked", "a task ends with interrupts masked"),
    ("timer_armed", "ets_timer_setfn with an armed timer"),
    (
        "timer_no_function",
        "ets_timer_arm_new with a timer that has no function",
    ),
    ("timer_no_time", "ets_timer_arm_new with a time of 0"),
    ("timer_too_long", "ets_timer_arm_new with a time of 6870948"),
    (
        "timer_interrupt",
        "ets_timer_arm_new is called by an interrupt",
    ),
    (
        "timer_masked",
        "ets_timer_disarm lets interrupts into a critical section",
    ),
    ("flash_unaligned", "spi_flash_read: 4 bytes at 100002 and "),
    (
        "flash_unaligned_memory",
        "spi_flash_read: 4 bytes at 100000 and ",
    ),
    ("flash_bytes", "spi_flash_read: 5 bytes at 100000 and "),
    ("flash_beyond", "spi_flash_read: 4 bytes at 400000"),
    (
        "flash_unerased",
        "spi_flash_write at 100000: a bit is 0 that is to be 1",
    ),
    (
        "flash_interrupt",
        "spi_flash_read is called by an interrupt",
    ),
    (
        "flash_erase_beyond",
        "spi_flash_erase_sector: 4096 bytes at 400000",
    ),
    (
        "flash_erase_masked",
        "spi_flash_erase_sector lets interrupts into a critical section",
    ),
    (
        "flash_erase_amid",
        "spi_flash_erase_sector in the middle of what the receiver is told",
    ),
    (
        "partitions_missing",
        "system_partition_table_regist: there is no part 4",
    ),
    (
        "partitions_overlap",
        "system_partition_table_regist: the part at 3fc000",
    ),
    ("rtc_beyond", "system_rtc_mem_read: 12 bytes at block 190"),
    ("rtc_bytes", "system_rtc_mem_write: 3 bytes at block 100"),
    ("heap_foreign", "): the heap does not have it"),
    ("heap_twice", ") a second time"),
    ("heap_behind", "somebody wrote behind the "),
    ("heap_far_behind", "the heap is overwritten at "),
    ("heap_interrupt", "pvPortMalloc is called by an interrupt"),
    (
        "heap_masked",
        "pvPortMalloc lets interrupts into a critical section",
    ),
    (
        "buffer_foreign",
        "system_pp_recycle_rx_pkt: the radio does not have ",
    ),
    (
        "buffer_twice",
        "system_pp_recycle_rx_pkt: a buffer is given back twice",
    ),
    (
        "frame_headroom",
        "linkoutput: 32 bytes before the frame, where the radio writes 36",
    ),
    ("frame_short", "linkoutput: a frame of 13 bytes"),
    ("frame_parts", "linkoutput: a frame of 60 bytes"),
    ("frame_gone", "linkoutput over an interface that is gone"),
    ("frame_nowhere", "linkoutput without an interface"),
    ("wifi_mode", "wifi_set_opmode_current: 4"),
    ("wifi_power", "system_phy_set_max_tpw: 83"),
    (
        "wifi_auto_connect",
        "wifi_station_set_auto_connect is refused without a station",
    ),
    (
        "wifi_no_station",
        "wifi_station_dhcpc_stop is refused without a station",
    ),
    (
        "wifi_left_alone",
        "nobody has switched off that the station connects by itself",
    ),
    (
        "wifi_access_point",
        "wifi_softap_set_config_current: what the SDK does not take",
    ),
    (
        "wifi_config_masked",
        "wifi_station_set_config_current lets interrupts into a critical section",
    ),
    ("wifi_sleep", "wifi_set_sleep_type: 1, access point false"),
    (
        "wifi_sleep_kind",
        "wifi_fpm_set_sleep_type: 1 stops more than the radio",
    ),
    (
        "wifi_sleep_not_open",
        "wifi_fpm_do_sleep: mode 0, let in false, ",
    ),
    (
        "wifi_wake_by_mode",
        "wifi_set_opmode_current: 1 while the radio is made to sleep",
    ),
    ("wifi_close_asleep", "wifi_fpm_close while the radio sleeps"),
    (
        "uart_empty",
        "the glue reads a byte from UART0 that did not come",
    ),
    (
        "uart_full",
        "the glue sends a byte that UART0 has no room for",
    ),
    ("uart_unknown", "the glue reads UART0's register 6000003c"),
    (
        "uart_unknown_write",
        "the glue writes UART0's register 6000003c",
    ),
    (
        "uart_not_quieted",
        "the UART's handler does not quiet its interrupt",
    ),
    (
        "uart_hasty",
        "handlers of interrupts interrupt each other without end",
    ),
    (
        "interrupt_unknown",
        "ets_isr_attach: the stand-in has no interrupt 4",
    ),
    ("interrupt_mask_unknown", "ets_isr_unmask: 10"),
    ("exception_unknown", "an exception handler for cause 64"),
    ("exception_unhandled", "has no handler"),
];

#[test]
fn what_a_chip_would_not_forgive_ends_the_emulator_with_a_sentence() {
    let Some(mut run) = Chip::new().start_with(&["misuse=?"]) else {
        return;
    };
    assert_eq!(run.end(), Some(UNUSABLE));
    let lines = run.running().lines();
    let lines = lines.iter();
    let known = lines.filter_map(|line| line.strip_prefix("stand-in: misuse="));
    let tried: Vec<&str> = MISUSES.iter().map(|(name, _)| *name).collect();
    assert_eq!(known.collect::<Vec<_>>(), tried);
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for (name, sentence) in MISUSES.iter().skip(thread).step_by(4) {
                    is_refused(name, sentence);
                }
            });
        }
    });
}

fn is_refused(name: &str, sentence: &str) {
    let mut run = Chip::new()
        .start_with(&[&format!("misuse={name}")])
        .expect("QEMU");
    let has_ended = wait_long(|| {
        // Which raises an interrupt, and takes longer than the pause between two telegrams.
        run.types(&" ".repeat(200));
        thread::sleep(Duration::from_millis(100));
        !run.console().is_running()
    });
    assert!(has_ended, "{name} is not refused");
    assert_eq!(run.end(), Some(REFUSED), "{name}");
    let lines = run.running().lines();
    let mut own = lines
        .iter()
        .filter_map(|line| line.strip_prefix("stand-in: "));
    assert!(
        own.any(|line| line.contains(sentence)),
        "{name}: {lines:#?}"
    );
}
