//! The whole way of a reading with real programs: MQTT broker, Telegraf with `examples/telegraf.conf`, InfluxDB.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use support::child::PATIENCE;
use support::influx_line::{Line, Value};
use support::peers::{Influxd, Mosquitto, MosquittoConfig, Subscriber, Telegraf};
use tempfile::TempDir;

const TOPIC: &str = "pwutseltronics/influx/metertrekker";

/// As the firmware writes them, with all that has to be escaped.
const LINES: &[&str] = &[
    r#"electricity,meter_sn=E0025005500000000 timestamp="190827155511S",tariff=2,delivered_low=57.460,delivered_high=0.001,power=0.351 1566914111000000000"#,
    r#"gas,gas_meter_sn=G0002700000000000 gas_timestamp="190827155504S",gas_delivered=12.785 1566914104000000000"#,
    // The same second of the clock as an hour before, when summer time ended: only the letter and the time tell them apart.
    r#"electricity,meter_sn=E0025005500000000 timestamp="191027023000S",delivered_low=57.461 1572136200000000000"#,
    r#"electricity,meter_sn=E0025005500000000 timestamp="191027023000W",delivered_low=57.462 1572139800000000000"#,
    r#"electricity,meter_sn=A\ meter\,\ with\=signs,breaker=on message="He said \"off\", and left: a\\b = 1",delivered_low=0 1566914112000000000"#,
    r#"electricity,meter_sn=Zähler\ 1 message="fünf µ €",delivered_low=-0.5 1566914113123456789"#,
];

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

    /// Every line that the broker has passed on must be in Telegraf's file and in the database, and nothing else.
    fn check_all_arrived(&mut self, count: usize) {
        let published: Vec<Line> = self
            .witness
            .wait_for_count(count)
            .iter()
            .map(|message| Line::parse(&message.text()))
            .collect();
        assert_same(&published, "Telegraf's file", || {
            let text = fs::read_to_string(telegraf_file(self.folder.path())).unwrap_or_default();
            text.lines().map(Line::parse).collect()
        });
        assert_same(&published, "the database", || lines_in(&self.influxd));
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

/// Waits until what `read` finds is what was published, whatever its order and however often (QoS 1).
fn assert_same(published: &[Line], place: &str, read: impl Fn() -> Vec<Line>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = read();
        let lost: Vec<&Line> = published
            .iter()
            .filter(|line| !found.contains(line))
            .collect();
        let strange: Vec<&Line> = found
            .iter()
            .filter(|line| !published.contains(line))
            .collect();
        if lost.is_empty() && strange.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{place} differs from what was published\nnot there: {lost:#?}\nnot published: {strange:#?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn telegraf_takes_every_line_and_influxdb_keeps_it_with_the_meters_time() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    for line in LINES {
        chain.mosquitto.publish(TOPIC, line, 1, false);
    }
    chain.check_all_arrived(LINES.len());
}

#[test]
fn lines_published_while_telegraf_is_away_arrive_when_it_is_back() {
    let Some(mut chain) = Chain::start() else {
        return;
    };
    chain.mosquitto.publish(TOPIC, LINES[0], 1, false);
    chain.check_all_arrived(1);

    chain.telegraf.stop();
    chain.mosquitto.publish(TOPIC, LINES[1], 1, false);
    let Some(telegraf) = start_telegraf(chain.folder.path(), &chain.mosquitto, &chain.influxd)
    else {
        return;
    };
    chain.telegraf = telegraf;
    chain.check_all_arrived(2);
}
