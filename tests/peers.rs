//! The harness for real peers, tried by itself: a test that rests on it is worth as much as it is.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use support::child::Running;
use support::influx_line::{Line, Value};
use support::peers::{Mosquitto, MosquittoConfig, Subscriber};

fn texts<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.into(), value.into())).into()
}

#[test]
fn a_line_is_taken_apart_with_its_escapes_resolved() {
    let line = Line::parse(
        r#"my\ gas,a\=b=c\,d,e=f\g text="1, \"2\" \\ 3 \4",n=-0.50,i=2i,t=true 1566914104000000001"#,
    );
    assert_eq!(line.measurement, "my gas");
    assert_eq!(line.tags, texts([("a=b", "c,d"), ("e", r"f\g")]));
    assert_eq!(
        line.fields,
        BTreeMap::from([
            ("text".into(), Value::Text(r#"1, "2" \ 3 \4"#.into())),
            ("n".into(), Value::Float(-0.5)),
            ("i".into(), Value::Integer(2)),
            ("t".into(), Value::Bool(true)),
        ])
    );
    assert_eq!(line.time, 1_566_914_104_000_000_001);
}

#[test]
#[should_panic(expected = "not three parts")]
fn a_line_without_a_time_is_refused() {
    Line::parse("gas,gas_meter_sn=G1 gas_delivered=1");
}

#[test]
#[should_panic(expected = "sh ended (exit status: 3) before a line with \"here\"")]
fn a_wait_ends_with_the_program_it_waits_for() {
    Running::start(
        "sh",
        Command::new("sh").args(["-c", "echo nothing; exit 3"]),
    )
    .wait_for_line("here");
}

#[test]
fn the_last_words_of_a_program_are_heard() {
    Running::start(
        "sh",
        Command::new("sh").args(["-c", "echo here >&2; exit 3"]),
    )
    .wait_for_line("here");
}

#[test]
fn a_program_that_is_dropped_is_gone() {
    let mut running = Running::start(
        "sh",
        Command::new("sh").args(["-c", "echo $$; exec sleep 600"]),
    );
    let pid = running.wait_for("its pid", |lines| lines.first().cloned());
    drop(running);
    assert!(!std::path::Path::new("/proc").join(pid).exists());
}

#[test]
fn a_subscriber_gets_payloads_to_the_byte_and_knows_what_was_retained() {
    let Some(broker) = Mosquitto::start(MosquittoConfig::default()) else {
        return;
    };
    broker.publish("a/b", "two\nlines\tand é", 1, true);
    let mut subscriber = broker.subscribe("a/#");
    broker.publish("a/c", "", 0, false);
    let messages = subscriber.wait_for_count(2);
    assert_eq!(
        (messages[0].topic.as_str(), messages[0].text().as_str()),
        ("a/b", "two\nlines\tand é")
    );
    assert_eq!((messages[0].retained, messages[0].qos), (true, 1));
    assert_eq!(
        (messages[1].topic.as_str(), messages[1].text().as_str()),
        ("a/c", "")
    );
    assert_eq!((messages[1].retained, messages[1].qos), (false, 0));
}

#[test]
fn a_broker_with_a_login_lets_its_user_in_and_nobody_else() {
    let config = MosquittoConfig {
        login: Some(("meter", "p w:1")),
        ..MosquittoConfig::default()
    };
    let Some(mut broker) = Mosquitto::start(config) else {
        return;
    };
    let mut subscriber = broker.subscribe("#");
    broker.publish("a", "1", 1, false);
    subscriber.wait_for_count(1);

    let stranger = Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port().to_string(),
            "-t",
            "a",
            "-m",
            "2",
        ])
        .output()
        .expect("mosquitto_pub starts");
    assert!(!stranger.status.success());
    broker.log().wait_for_line("not authorised");
    assert_eq!(subscriber.messages().len(), 1);
}

#[test]
fn a_broker_comes_back_on_its_port_with_what_it_was_told_to_keep() {
    for persistent in [false, true] {
        let config = MosquittoConfig {
            persistent,
            ..MosquittoConfig::default()
        };
        let Some(mut broker) = Mosquitto::start(config) else {
            return;
        };
        broker.publish("kept", "1", 1, true);
        broker.stop();
        broker.start_again();
        let Some(mut subscriber) = Subscriber::to_port(broker.port(), "#") else {
            return;
        };
        broker.publish("new", "2", 1, false);
        let messages = subscriber.wait_until("the new message", |messages| {
            messages.iter().any(|m| m.topic == "new")
        });
        let topics: Vec<&str> = messages
            .iter()
            .map(|message| message.topic.as_str())
            .collect();
        assert_eq!(
            topics,
            if persistent {
                vec!["kept", "new"]
            } else {
                vec!["new"]
            }
        );
    }
}

#[test]
fn a_broker_can_be_kept_to_a_lower_qos() {
    let config = MosquittoConfig {
        max_qos: Some(0),
        ..MosquittoConfig::default()
    };
    let Some(broker) = Mosquitto::start(config) else {
        return;
    };
    // Only MQTT 5 can tell a client of the limit; mosquitto_pub then refuses by itself.
    let output = Command::new("mosquitto_pub")
        .args([
            "-V",
            "5",
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port().to_string(),
        ])
        .args(["-t", "a", "-m", "1", "-q", "1"])
        .output()
        .expect("mosquitto_pub starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not supported"), "{said}");
}
