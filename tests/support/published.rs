//! What the firmware publishes in an emulator, beside what it publishes on this machine.

use std::fs;
use std::thread;
use std::time::Duration;

use super::firmware::{self, text};
use super::peers::{Message, Mosquitto, MosquittoConfig, Subscriber};

pub const STATUS: &str = "pwutseltronics/status";
pub const POWER: &str = "pwutseltronics/energy/mains/power/total";
pub const INFLUX: &str = "pwutseltronics/influx/metertrekker";

/// A broker.
pub fn mosquitto() -> Option<Mosquitto> {
    Mosquitto::start(MosquittoConfig::default())
}

/// What telegrams are published as: all but status and notification, which name device and moment.
pub fn of_the_meter(messages: &[Message]) -> Vec<(String, String)> {
    let own = |topic: &str| {
        topic == STATUS || topic.contains("/debug/") || topic.starts_with("powermeter/")
    };
    messages
        .iter()
        .filter(|message| !own(&message.topic))
        .map(|message| (message.topic.clone(), message.text()))
        .collect()
}

/// What has come on a topic.
pub fn on(subscriber: &Subscriber, topic: &str) -> Vec<String> {
    let messages = subscriber.messages();
    let found = messages.iter().filter(|message| message.topic == topic);
    found.map(Message::text).collect()
}

/// Waits until so many messages have come on a topic.
pub fn wait_for(subscriber: &mut Subscriber, topic: &str, count: usize) {
    subscriber.wait_until(&format!("{count} on {topic}"), |messages| {
        messages
            .iter()
            .filter(|message| message.topic == topic)
            .count()
            >= count
    });
}

/// Waits until no message has come for so long.
pub fn wait_for_quiet(subscriber: &Subscriber, quiet: Duration) {
    let count = || subscriber.messages().len();
    let mut before = count();
    loop {
        thread::sleep(quiet);
        let now = count();
        if now == before {
            return;
        }
        before = now;
    }
}

/// What the same firmware publishes on this machine.
pub fn published_here(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let broker = mosquitto()?;
    let mut subscriber = broker.subscribe("#");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("telegrams");
    fs::write(&file, bytes).expect("telegrams are written");
    let address = format!("127.0.0.1:{}", broker.port());
    let run = ["run", "--once", "--broker", &address, "--p1", text(&file)];
    let ended = firmware::run(&[&run[..], &["--set", "interval=0"]].concat());
    // The guard drops telegrams of one meter that are in no order.
    let whole = ended.code == Some(0);
    assert!(
        whole || ended.stderr.contains("went backwards"),
        "{ended:?}"
    );
    subscriber.wait_until("the good-bye", |messages| {
        let mut last = messages.iter().rev();
        last.any(|message| message.topic == STATUS && message.text() == "offline")
    });
    Some(of_the_meter(&subscriber.messages()))
}
