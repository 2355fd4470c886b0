//! The whole way of a reading: from the firmware's own program through an MQTT broker and Telegraf with
//! `examples/telegraf.conf` into InfluxDB.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use support::child::{PATIENCE, Running};
use support::firmware::{self, text};
use support::influx_line::{Line, Value};
use support::peers::{Influxd, Message, Mosquitto, MosquittoConfig, Subscriber, Telegraf};
use tempfile::TempDir;

const STATUS: &str = "pwutseltronics/status";
const POWER: &str = "pwutseltronics/energy/mains/power/total";

/// 2026-01-15T17:31:07Z
const START: i64 = 1_768_498_267;

/// A meter's telegrams, each with the lines that it is to become.
struct Recording {
    telegrams: Vec<Vec<u8>>,
    lines: Vec<Vec<Line>>,
}

impl Recording {
    /// A simulated meter at these seconds after [`START`].
    fn simulated(meter: &str, more: &[&str], seconds: &[i64]) -> Recording {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("telegram");
        let telegrams = seconds
            .iter()
            .map(|after| {
                let start = (START + after).to_string();
                let args = ["--meter", meter, "--count", "1", "--start", &start];
                firmware::simulate(&file, &[&args, more].concat());
                fs::read(&file).expect("a telegram")
            })
            .collect();
        Recording::of(telegrams)
    }

    /// What the lines are to be is worked out from what `decode` says of the same telegrams.
    fn of(telegrams: Vec<Vec<u8>>) -> Recording {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("telegrams");
        fs::write(&file, telegrams.concat()).expect("telegrams are written");
        let decoded = firmware::decode(&file);
        assert_eq!(decoded.len(), telegrams.len());
        let mut published = Published::default();
        let lines = decoded.iter().map(|object| {
            assert_is_of_the_values(object);
            published.lines(object)
        });
        Recording {
            lines: lines.collect(),
            telegrams,
        }
    }
}

/// What is not published again.
#[derive(Default)]
struct Published {
    texts: BTreeMap<String, String>,
    devices: BTreeMap<String, i64>,
}

impl Published {
    /// A device's line only when it is newer, a text only when it is another.
    fn lines(&mut self, telegram: &Json) -> Vec<Line> {
        let mut lines = Vec::new();
        for mut line in influx_lines(telegram) {
            if line.measurement == "electricity" {
                line.fields.retain(|name, value| match value {
                    Value::Text(text) if name != "timestamp" => {
                        let last = self.texts.insert(name.clone(), text.clone());
                        last.unwrap_or_default() != *text
                    }
                    _ => true,
                });
                lines.push(line);
                continue;
            }
            let last = self.devices.insert(line.measurement.clone(), line.time);
            if last.is_none_or(|last| line.time > last) {
                lines.push(line);
            }
        }
        lines
    }
}

fn influx_lines(telegram: &Json) -> Vec<Line> {
    let lines = telegram["influx"].as_array().expect("lines");
    lines
        .iter()
        .map(|line| parse(line.as_str().expect("a line")))
        .collect()
}

/// A line; one of a meter without a clock gets the time 0.
fn parse(line: &str) -> Line {
    let timed = line
        .rsplit(' ')
        .next()
        .is_some_and(|time| time.parse::<i64>().is_ok());
    match timed {
        true => Line::parse(line),
        false => Line::parse(&format!("{line} 0")),
    }
}

/// The numbers of the lines are those that the meter sent, and their time is its clock's.
fn assert_is_of_the_values(telegram: &Json) {
    let clock = telegram["timestamp"].as_str();
    let mut compared = 0;
    for line in influx_lines(telegram) {
        let entries = telegram["values"].as_array().expect("values");
        for entry in entries {
            let name = entry["name"].as_str().expect("a name");
            let Some(Value::Float(number)) = line.fields.get(name) else {
                continue;
            };
            let sent = entry["value"].as_f64().expect("a number");
            let scale = match entry["unit"].as_str() {
                Some("W" | "Wh" | "var" | "varh") => 1e-3,
                _ => 1.0,
            };
            assert!(
                (sent * scale - number).abs() < 1e-9,
                "{entry} is not {number}"
            );
            compared += 1;
        }
        if let (Some(clock), "electricity") = (clock, line.measurement.as_str()) {
            assert_eq!(iso8601(line.time), clock);
        }
    }
    assert!(compared > 5, "hardly a number in {telegram}");
}

fn iso8601(ns: i64) -> String {
    assert_eq!(ns % 1_000_000_000, 0);
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"])
        .arg(format!("@{}", ns / 1_000_000_000))
        .output()
        .expect("date starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The firmware, with telegrams from a FIFO.
struct Firmware {
    running: Running,
    fifo: File,
    _folder: TempDir,
}

impl Firmware {
    fn start(mosquitto: &Mosquitto, settings: &[&str]) -> Firmware {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("p1");
        let made = Command::new("mkfifo").arg(&fifo).status();
        assert!(made.expect("mkfifo starts").success());
        let broker = format!("127.0.0.1:{}", mosquitto.port());
        let state = folder.path().join("state");
        let mut args = vec!["run", "--broker", &broker, "--p1", text(&fifo)];
        args.extend(["--state", text(&state), "--set", "interval=0"]);
        for setting in settings {
            args.extend(["--set", setting]);
        }
        let running = firmware::start(&args);
        // For both, so that this does not wait for the firmware.
        let fifo = File::options().read(true).write(true).open(&fifo);
        Firmware {
            running,
            fifo: fifo.expect("a FIFO opens"),
            _folder: folder,
        }
    }

    /// Plays one telegram, and waits until it has been dealt with.
    fn play(&mut self, telegram: &[u8], chain: &mut Chain, lines: usize) {
        self.fifo.write_all(telegram).expect("the FIFO takes it");
        chain.witness.wait_for_count(lines);
        // The topics follow the lines, and a telegram in that moment is left out on purpose. A command is answered behind them.
        let answers = |lines: &[String]| {
            let answers = lines.iter().filter(|line| line.contains("getVoltage"));
            answers.count()
        };
        let before = answers(&self.running.lines());
        let command = r#"{"cmd":"getVoltage"}"#;
        chain.mosquitto.publish("powermeter/cmd", command, 0, false);
        self.running.wait_for("the command's answer", |lines| {
            (answers(lines) > before).then_some(())
        });
    }
}

/// Peers from the broker to the database, and a witness at the broker.
struct Chain {
    telegraf: Telegraf,
    influxd: Influxd,
    witness: Subscriber,
    mosquitto: Mosquitto,
    folder: TempDir,
}

impl Chain {
    /// Starts all of it; everything published from now on arrives.
    fn start() -> Option<Chain> {
        let folder = tempfile::tempdir().expect("a folder for Telegraf");
        let mosquitto = Mosquitto::start(MosquittoConfig::default())?;
        let influxd = Influxd::start()?;
        let witness = mosquitto.subscribe("pwutseltronics/influx/#");
        let telegraf = start_telegraf(folder.path(), &mosquitto, &influxd)?;
        let mut chain = Chain {
            telegraf,
            influxd,
            witness,
            mosquitto,
            folder,
        };
        // The witness was the first.
        chain.wait_for_subscriptions(2);
        Some(chain)
    }

    fn wait_for_subscriptions(&mut self, count: usize) {
        self.mosquitto
            .log()
            .wait_for("Telegraf's subscription", |log| {
                let subscriptions = log.iter().filter(|line| line.contains("Sending SUBACK"));
                (subscriptions.count() >= count).then_some(())
            });
    }

    /// These lines and no others, each once, went over the broker into Telegraf's file and into the database.
    fn check_all_arrived(&mut self, expected: &[Line]) {
        assert_same(expected, "the broker", || {
            let messages = self.witness.messages();
            messages
                .iter()
                .map(|message| parse(&message.text()))
                .collect()
        });
        assert_same(expected, "Telegraf's file", || {
            let text = fs::read_to_string(telegraf_file(self.folder.path())).unwrap_or_default();
            text.lines().map(Line::parse).collect()
        });
        assert_same(expected, "the database", || lines_in(&self.influxd));
        // Telegraf acknowledges what it has written a moment later; stopped before, it is given it again.
        self.mosquitto
            .log()
            .wait_for("Telegraf's acknowledgements", |log| {
                let acknowledged = |line: &&String| line.contains("Received PUBACK from telegraf");
                (log.iter().filter(acknowledged).count() >= expected.len()).then_some(())
            });
    }
}

fn start_telegraf(folder: &Path, mosquitto: &Mosquitto, influxd: &Influxd) -> Option<Telegraf> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/telegraf.conf");
    let to_file = folder.join("file.conf");
    let conf = format!(
        "[[outputs.file]]\nfiles = [{:?}]\ndata_format = \"influx\"\n",
        telegraf_file(folder)
    );
    fs::write(&to_file, conf).expect("file.conf is written");
    Telegraf::start(
        &[&example, &to_file],
        &[
            (
                "MQTT_SERVER",
                &format!("tcp://127.0.0.1:{}", mosquitto.port()),
            ),
            ("INFLUX_URL", &influxd.url()),
        ],
    )
}

fn telegraf_file(folder: &Path) -> PathBuf {
    folder.join("lines")
}

/// All that is in the database.
fn lines_in(influxd: &Influxd) -> Vec<Line> {
    let databases = influxd.query("", "SHOW DATABASES");
    if !databases.to_string().contains("metertrekker") {
        return Vec::new();
    }
    let answer = influxd.query("metertrekker", "SELECT * FROM /.*/ GROUP BY *");
    let mut lines = Vec::new();
    for series in answer["series"].as_array().into_iter().flatten() {
        let columns: Vec<String> =
            serde_json::from_value(series["columns"].clone()).expect("names of columns");
        // A tag that a series has not is there with an empty value.
        let mut tags: BTreeMap<String, String> =
            serde_json::from_value(series["tags"].clone()).expect("tags");
        tags.retain(|_, value| !value.is_empty());
        for row in series["values"].as_array().into_iter().flatten() {
            let mut line = Line {
                measurement: series["name"].as_str().expect("a name").to_owned(),
                tags: tags.clone(),
                fields: BTreeMap::new(),
                time: row[0].as_i64().expect("a time in ns"),
            };
            for (index, name) in columns.iter().enumerate().skip(1) {
                let value = match &row[index] {
                    Json::Null => continue,
                    Json::String(text) => Value::Text(text.clone()),
                    Json::Bool(value) => Value::Bool(*value),
                    number => Value::Float(number.as_f64().expect("a number")),
                };
                line.fields.insert(name.clone(), value);
            }
            lines.push(line);
        }
    }
    lines
}

/// Waits until what `read` finds is what was expected, each line as often, in any order.
fn assert_same(expected: &[Line], place: &str, read: impl Fn() -> Vec<Line>) {
    let timeless = |line: &Line| {
        let mut same = expected
            .iter()
            .filter(|other| other.measurement == line.measurement);
        same.any(|other| other.time == 0)
    };
    let sorted = |lines: &[Line]| {
        let mut lines: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
        lines.sort();
        lines
    };
    let wanted = sorted(expected);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found = read();
        // Telegraf has given them a time.
        for line in &mut found {
            if timeless(line) {
                line.time = 0;
            }
        }
        let found = sorted(&found);
        if found == wanted {
            return;
        }
        if Instant::now() >= deadline {
            let lost: Vec<_> = wanted.iter().filter(|line| !found.contains(line)).collect();
            let strange: Vec<_> = found.iter().filter(|line| !wanted.contains(line)).collect();
            panic!(
                "{place} has {} lines and not {}\nnot there: {lost:#?}\nnot expected: {strange:#?}",
                found.len(),
                wanted.len(),
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
}

const ODD_MESSAGE: &str = r#"He said "off", and left: a\b = 1, fünf µ €"#;

/// A telegram whose texts hold all that has to be escaped somewhere.
fn odd_texts() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegram");
    firmware::simulate(&file, &["--count", "1", "--start", &START.to_string()]);
    let telegram = String::from_utf8(fs::read(&file).expect("a telegram")).expect("ASCII");
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let replace = |telegram: String, id: &str, value: String| {
        let (before, after) = telegram.split_once(id).expect("the id is there");
        let (_, after) = after.split_once(')').expect("its value is there");
        format!("{before}{id}({value}){after}")
    };
    let telegram = replace(
        telegram,
        "0-0:96.1.1",
        hex(r"A meter, with=signs\ Zähler 1"),
    );
    let telegram = replace(telegram, "0-0:96.13.0", hex(ODD_MESSAGE));
    let (body, _) = telegram.rsplit_once('!').expect("an end");
    let body = format!("{body}!");
    let check = crc::Crc::<u16>::new(&crc::CRC_16_ARC).checksum(body.as_bytes());
    format!("{body}{check:04X}\r\n").into_bytes()
}

#[test]
fn every_kind_of_meter_arrives_with_every_column_at_its_own_time() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    // Gas is read anew every five minutes or every hour, and texts change.
    let seconds = [0, 1, 240, 3600];
    let message = ["--seed", "7", "--faults", "plain-message"];
    let recordings = [
        ("esmr50", Recording::simulated("esmr50", &[], &seconds)),
        (
            "message",
            Recording::simulated("dsmr42", &message, &seconds),
        ),
        ("be", Recording::simulated("be", &[], &seconds)),
        ("dsmr22", Recording::simulated("dsmr22", &[], &seconds)),
        ("hu", Recording::simulated("hu", &[], &seconds)),
        ("ch", Recording::simulated("ch", &[], &seconds)),
        ("at", Recording::simulated("at", &[], &seconds)),
        ("odd texts", Recording::of(vec![odd_texts()])),
    ];
    let mut expected = Vec::new();
    for (name, recording) in recordings {
        // Each is another house: a column may be a text here and a number there.
        let mut house = Firmware::start(
            &chain.mosquitto,
            &[
                &format!("electricity_measurement={name} electricity"),
                &format!("gas_measurement={name}, gas"),
            ],
        );
        house.running.wait_for_line("connected to the broker");
        for (telegram, lines) in recording.telegrams.iter().zip(recording.lines) {
            expected.extend(lines.into_iter().map(|mut line| {
                match line.measurement.as_str() {
                    "electricity" => line.measurement = format!("{name} electricity"),
                    "gas" => line.measurement = format!("{name}, gas"),
                    _ => {}
                }
                line
            }));
            house.play(telegram, &mut chain, expected.len());
        }
        house.running.stop();
    }
    assert!(expected.iter().any(|line| line.measurement == "water"));
    let odd = |line: &&Line| line.measurement == "odd texts electricity";
    let odd = expected.iter().find(odd).expect("its line");
    assert_eq!(odd.tags["meter_sn"], "A meter, with=signs/ Zähler 1");
    assert_eq!(odd.fields["message"], Value::Text(ODD_MESSAGE.into()));
    chain.check_all_arrived(&expected);
}

#[test]
fn nothing_is_lost_or_doubled_while_telegraf_is_away() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    let recording = Recording::simulated("esmr50", &[], &[0, 1, 300, 301, 600]);
    let mut firmware = Firmware::start(&chain.mosquitto, &[]);
    firmware.running.wait_for_line("connected to the broker");
    let mut expected = Vec::new();
    for (index, telegram) in recording.telegrams.iter().enumerate() {
        match index {
            1 => {
                chain.check_all_arrived(&expected);
                chain.telegraf.stop();
            }
            3 => {
                let again = start_telegraf(chain.folder.path(), &chain.mosquitto, &chain.influxd);
                let Some(telegraf) = again else { return };
                chain.telegraf = telegraf;
            }
            _ => {}
        }
        expected.extend(recording.lines[index].clone());
        firmware.play(telegram, &mut chain, expected.len());
    }
    chain.check_all_arrived(&expected);
}

/// A simulated meter on a TCP port, five telegrams a second.
fn meter_on_tcp() -> (Running, String) {
    let output = ["--output", "tcp://127.0.0.1:0", "--rate", "5"];
    let mut meter = firmware::start(&[&["simulate"], &output[..]].concat());
    let address = meter.wait_for("its address", |lines| {
        let (_, address) = lines.first()?.split_once("tcp://")?;
        Some(format!("tcp://{address}"))
    });
    (meter, address)
}

fn retained_topics(messages: &[Message]) -> BTreeSet<String> {
    let retained = messages.iter().filter(|message| message.retained);
    retained.map(|message| message.topic.clone()).collect()
}

fn count(messages: &[Message], topic: &str) -> usize {
    messages
        .iter()
        .filter(|message| message.topic == topic)
        .count()
}

fn status(messages: &[Message]) -> Option<String> {
    let mut last_first = messages.iter().rev();
    let message = last_first.find(|message| message.topic == STATUS)?;
    Some(message.text())
}

#[test]
fn a_broker_may_come_and_go_and_so_may_the_firmware() {
    let Some(mut mosquitto) = Mosquitto::start(MosquittoConfig::default()) else {
        return;
    };
    let (_meter, address) = meter_on_tcp();
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let args = [
        "run",
        "--p1",
        &address,
        "--broker",
        &broker,
        "--set",
        "interval=0",
    ];
    let mut firmware = firmware::start(&args);
    let mut witness = mosquitto.subscribe("#");
    let messages = witness.wait_until("readings", |messages| count(messages, POWER) >= 3);
    assert_eq!(status(&messages), Some("online".into()));
    let mut late = mosquitto.subscribe("#");
    let all = late.wait_until("retained topics", |messages| count(messages, POWER) >= 2);
    let all = retained_topics(&all);
    assert!(all.len() > 25 && all.contains(STATUS), "{all:?}");

    mosquitto.stop();
    firmware.wait_for_line("trying again in");
    mosquitto.start_again();
    let mut witness = mosquitto.subscribe("#");
    witness.wait_until("readings again", |messages| count(messages, POWER) >= 3);
    // This broker knew nothing, and has been told all of it.
    let mut late = mosquitto.subscribe("#");
    let again = late.wait_until("retained topics", |messages| count(messages, POWER) >= 2);
    assert_eq!(retained_topics(&again), all);
    assert_eq!(status(&again), Some("online".into()));

    // A power cut: the broker tells the others.
    firmware.kill();
    witness.wait_until("the will", |messages| {
        status(messages).as_deref() == Some("offline")
    });
    let mut firmware = firmware::start(&args);
    witness.wait_until("the birth", |messages| {
        status(messages).as_deref() == Some("online")
    });
    firmware.stop();
    witness.wait_until("the good-bye", |messages| {
        status(messages).as_deref() == Some("offline")
    });
}

#[test]
fn a_password_that_is_wrong_is_told_and_tried_until_it_is_right() {
    let config = MosquittoConfig {
        login: Some(("meter", "p w:1")),
        ..MosquittoConfig::default()
    };
    let Some(mut mosquitto) = Mosquitto::start(config) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegram");
    firmware::simulate(&file, &["--count", "1"]);
    let broker = format!("127.0.0.1:{}", mosquitto.port());
    let once = ["run", "--once", "--p1", text(&file), "--broker", &broker];
    let user = ["--set", "mqtt_user=meter"];
    let right = ["--set", "mqtt_password=p w:1"];
    firmware::succeed(&[&once[..], &user, &right].concat());

    let wrong = ["--set", "mqtt_password=other"];
    let mut firmware = firmware::start(&[&once[..], &user, &wrong].concat());
    firmware.wait_for_line("refuses the user or password (mqtt_user, mqtt_password)");
    mosquitto.change_login("meter", "other");
    assert_eq!(firmware.wait_for_end().code(), Some(0));
    let mut witness = mosquitto.subscribe("#");
    witness.wait_until("retained topics", |messages| {
        count(messages, STATUS) == 1 && count(messages, POWER) == 1
    });

    let refused = firmware::run(&[&once[..], &user, &right].concat());
    assert_eq!(refused.code, Some(1));
    let last = refused.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("mqtt_password"), "{last}");
}
