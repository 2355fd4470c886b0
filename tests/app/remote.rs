//! Commands over MQTT.

use embassy_futures::select::{Either, select};
use embassy_sync::mutex::Mutex;
use metertrekker::{
    app::{monitor::Monitor, remote::Mqtt, stats::Stats},
    reading::Reading,
    smartmeter::device::Device,
    soc::host::executor::{block_on, block_on_virtual},
};

use super::{
    broker::Packet,
    link::{End, Flash, Network, blank, pause, session_with, settings},
    telegrams::{Telegram, reading_of},
};

const INFO: &str = "powermeter/Metertrekker-test/state/info";
const STATUS: &str = "powermeter/Metertrekker-test/state/sample";

/// Runs the publisher with a device behind it until `script` has come to its end.
fn run(network: &Network, script: impl AsyncFnOnce(&Device<'_, '_, Flash>)) {
    let mut store = block_on(blank());
    let settings = settings(&[]);
    block_on_virtual(async {
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let clock = || Some(1_614_680_860_000 + embassy_time::Instant::now().as_millis());
        let device = Device::open("meter1", clock, &store, &stats).await;
        let mqtt = Mqtt::new();
        let script = async |feed: &super::link::Feed<'_, '_>| {
            pause(1_000).await;
            script(&device).await;
            let _ = feed;
        };
        let publishing = session_with(network, &settings, &store, &mqtt, &device, End::Cut, script);
        match select(publishing, mqtt.run(&device)).await {
            Either::First(_) => {}
            Either::Second(never) => match never {},
        }
    });
}

#[test]
fn commands_for_this_device_and_for_all_are_answered() {
    let network = Network::default();
    run(&network, async |device| {
        device.believed(&reading_of(&Telegram::new(1).bytes()));
        for topic in ["powermeter/Metertrekker-test/cmd", "powermeter/cmd"] {
            network.push(topic, "{\"cmd\":\"foo\"}", false);
            pause(100).await;
        }
        for command in [
            "?",
            "!",
            "",
            "nonsense",
            "{\"cmd\":\"log\",\"level\":\"all\"}",
        ] {
            network.push("powermeter/Metertrekker-test/cmd", command, false);
            pause(100).await;
        }
        network.push("powermeter/Metertrekker-test/state", "", false);
        pause(100).await;
        for letter in ["p", "", "v", "e"] {
            network.push("powermeter/sample", letter, false);
            pause(100).await;
        }
        network.push("powermeter/cmd", "{\"cmd\":\"getLog\"}", false);
        pause(100).await;
        network.push(
            "powermeter/Metertrekker-test/cmd",
            "{\"cmd\":\"info\"}",
            false,
        );
        pause(100).await;
        // What is not asked for, and what the broker has kept.
        network.push(
            "powermeter/Metertrekker-test/other",
            "{\"cmd\":\"foo\"}",
            false,
        );
        network.push(
            "powermeter/Metertrekker-test/cmd",
            "{\"cmd\":\"foo\"}",
            true,
        );
        pause(100).await;
    });
    let answers = network.payloads(INFO);
    let foo = r#"{"error":true,"cmd":"foo","msg":"unknown command"}"#;
    let format = r#"{"error":true,"msg":"JSON format error, syntax: {\"cmd\":<cmdName>, \"[payload\":{<data>}]}}"}"#;
    let expected = [
        foo,
        foo,
        "Setup done",
        format,
        r#"{"error":true,"cmd":"log","msg":"getter not related to logger"}"#,
        r#"{"sampleState":"idle","ts":"03/02/2021 11:27:41.700"}"#,
        r#"{"value":"321.00,0.00,0.00","unit":"W","ts":"03/02/2021 11:27:41.800"}"#,
        r#"{"value":"321.00,0.00,0.00","unit":"W","ts":"03/02/2021 11:27:41.900"}"#,
        r#"{"error":true,"msg":"This meter sends no voltage"}"#,
        r#"{"value":"0.00,0.00,0.00","unit":"kWh","ts":"03/02/2021 11:27:42.100"}"#,
        r#"{"error":true,"cmd":"getLog","msg":"The log does not fit into a message: ask over TCP or the console"}"#,
    ];
    assert_eq!(answers[..expected.len()], expected);
    assert!(answers[expected.len()].starts_with(r#"{"cmd":"info","type":"smartmeter""#));
    assert_eq!(answers.len(), expected.len() + 1);
    let filters = network
        .log()
        .into_iter()
        .find_map(|(_, _, packet)| match packet {
            Packet::Subscribe(_, filters) => Some(filters),
            _ => None,
        });
    assert_eq!(
        filters.unwrap(),
        ["powermeter/Metertrekker-test/+", "powermeter/+"]
    );
}

#[test]
fn every_five_seconds_it_is_said_what_the_meter_sends() {
    let network = Network::default();
    run(&network, async |device| {
        // Before the first telegram there is nothing to say.
        pause(10_000).await;
        device.believed(&reading_of(&Telegram::new(1).bytes()));
        pause(10_000).await;
    });
    let messages = network.messages();
    let status = messages
        .iter()
        .filter(|(_, message)| message.topic == STATUS);
    let status: Vec<_> = status
        .map(|(_, message)| {
            assert!(message.qos == 0 && !message.retain);
            message.payload.as_str()
        })
        .collect();
    let expected = [
        r#"{"power":321,"energy":0,"ts":"1614680875"}"#,
        r#"{"power":321,"energy":0,"ts":"1614680880"}"#,
    ];
    assert_eq!(status, expected);
}

#[test]
fn an_answer_that_a_lost_connection_took_is_given_on_the_next() {
    let network = Network::default();
    run(&network, async |_| {
        network.push("powermeter/cmd", "{\"cmd\":\"foo\"}", false);
        network.hang_up();
        pause(30_000).await;
        network.push("powermeter/cmd", "{\"cmd\":\"bar\"}", false);
        pause(100).await;
    });
    let answers = network.payloads(INFO);
    assert!(
        answers.iter().any(|answer| answer.contains("\"bar\"")),
        "{answers:?}"
    );
    let subscribed = network
        .log()
        .into_iter()
        .filter(|(_, _, packet)| matches!(packet, Packet::Subscribe(..)));
    assert_eq!(subscribed.count(), 2);
}

#[test]
fn a_switch_is_told_when_it_is_another_and_not_retained() {
    let network = Network::default();
    let reading = |lines: &[&str]| {
        let mut reading = Box::new(Reading::new());
        reading.begin(b"TST5\\TEST METER");
        for line in lines {
            reading.line(line.as_bytes()).unwrap();
        }
        reading.settle();
        reading
    };
    run(&network, async |device| {
        device.believed(&reading(&["0-0:96.3.10(1)", "0-1:96.3.10(0)"]));
        pause(100).await;
        // The same again, and no word of it.
        device.believed(&reading(&["0-0:96.3.10(1)", "0-1:96.3.10(0)"]));
        device.believed(&reading(&["1-0:1.7.0(00.500*kW)"]));
        pause(100).await;
        device.believed(&reading(&["0-0:96.3.10(1)", "0-1:96.3.10(1)"]));
        pause(100).await;
        // Without a broker it waits for one, and only the last state counts.
        network.hang_up();
        pause(10).await;
        device.believed(&reading(&["0-0:96.3.10(0)"]));
        device.believed(&reading(&["0-0:96.3.10(2)"]));
        pause(30_000).await;
    });
    let topic = "powermeter/Metertrekker-test/state/switch";
    let switched = network.messages();
    let switched = switched
        .iter()
        .filter(|(_, message)| message.topic == topic);
    let switched: Vec<_> = switched
        .map(|(_, message)| {
            assert!(message.qos == 0 && !message.retain);
            message.payload.split(",\"ts\"").next().unwrap()
        })
        .collect();
    let expected = [
        r#"{"breaker":1,"relay_1":0"#,
        r#"{"breaker":1,"relay_1":1"#,
        r#"{"breaker":2,"relay_1":1"#,
    ];
    assert_eq!(switched, expected);
}
