//! Commands over MQTT.

use embassy_futures::select::{Either, select};
use embassy_sync::mutex::Mutex;
use metertrekker::{
    app::{
        monitor::{Monitor, Silent},
        remote::{Mqtt, Remote},
        stats::Stats,
    },
    reading::Reading,
    smartmeter::{
        answer::Answer,
        device::{Client, Device, Peer},
        log::Level,
    },
    soc::host::executor::{block_on, block_on_virtual},
};

use super::{
    broker::Packet,
    link::{Cut, End, Fate, Flash, Network, blank, pause, session_with, settings},
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
fn a_command_that_is_too_long_is_answered() {
    let network = Network::default();
    run(&network, async |device| {
        let mut told = device.log.listen().unwrap();
        for length in [448, 449, 470] {
            let command = format!(r#"{{"cmd":"{}"}}"#, "x".repeat(length - 10));
            assert_eq!(command.len(), length);
            network.push("powermeter/cmd", &command, false);
            pause(100).await;
        }
        let mut lines = Vec::new();
        while let Some(entry) = told.try_next_message_pure() {
            lines.push(entry.text().to_owned());
        }
        let long = "A command is longer than 448 bytes";
        assert_eq!(lines, ["Received unknown command", long, long]);
    });
    let answers = network.payloads(INFO);
    assert!(answers[0].contains("unknown command"), "{answers:?}");
    for answer in &answers[1..] {
        assert!(
            answer.starts_with(r#"{"error":true,"msg":"JSON format error"#),
            "{answer}"
        );
    }
    assert_eq!(answers.len(), 3);
}

#[test]
fn commands_for_which_there_is_no_room_are_counted() {
    let network = Network::default();
    let mut store = block_on(blank());
    let settings = settings(&[]);
    let outcome = block_on_virtual(async {
        let store = Mutex::new(&mut store);
        // Nobody answers.
        let mqtt = Mqtt::new();
        let script = async |_: &super::link::Feed<'_, '_>| {
            pause(1_000).await;
            for _ in 0..5 {
                network.push("powermeter/cmd", "?", false);
                pause(10).await;
            }
            network.push("powermeter/other", "?", false);
            pause(10).await;
        };
        session_with(
            &network,
            &settings,
            &store,
            &mqtt,
            &Silent,
            End::Cut,
            script,
        )
        .await
    });
    assert_eq!(outcome.stats.lost_commands.get(), 3);
}

#[test]
fn after_a_stall_it_is_said_once_what_is_going_on() {
    block_on_virtual(async {
        let mut store = blank().await;
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("meter1", || Some(0), &store, &stats).await;
        device.believed(&reading_of(&Telegram::new(1).bytes()));
        device.connected("broker", embassy_time::Duration::MIN);
        let mqtt = Mqtt::new();
        let script = async {
            let mut said = Vec::new();
            for stall in [0, 12_000, 0] {
                mqtt.ready().await;
                pause(stall).await;
                said.push(embassy_time::Instant::now().as_millis());
                mqtt.done();
            }
            assert_eq!(said, [5_000, 22_000, 27_000]);
        };
        match select(mqtt.run(&device), script).await {
            Either::First(never) => match never {},
            Either::Second(()) => {}
        }
    });
}

#[test]
fn a_dead_phase_counts_in_the_mean_of_the_voltages() {
    let network = Network::default();
    run(&network, async |device| {
        for volts in ["230.0", "000.0"] {
            let mut reading = Box::new(Reading::new());
            reading.begin(b"TST5\\TEST METER");
            for (id, volts) in [("32", "230.0"), ("52", volts)] {
                let line = format!("1-0:{id}.7.0({volts}*V)");
                reading.line(line.as_bytes()).unwrap();
            }
            reading.settle();
            device.believed(&reading);
            pause(5_000).await;
        }
    });
    let status = network.payloads(STATUS);
    assert_eq!(status.len(), 2, "{status:?}");
    assert!(status[0].contains(r#""volt":230,"#), "{status:?}");
    assert!(status[1].contains(r#""volt":115,"#), "{status:?}");
}

const SAMPLE: &str = r#"{"cmd":"sample","payload":{"type":"MQTT","rate":10,"measures":"p,q"}}"#;

/// All messages on the two topics, and the milliseconds at which they came.
fn said(network: &Network) -> Vec<(u64, &'static str, String)> {
    let own = network.log().into_iter().filter_map(|(at, _, packet)| {
        let Packet::Publish(message) = packet else {
            return None;
        };
        let topics = [INFO, STATUS].into_iter();
        let topic = topics.into_iter().find(|topic| message.topic == *topic)?;
        assert!(message.qos == 0 && !message.retain);
        Some((at, topic, message.payload))
    });
    own.collect()
}

#[test]
fn each_sample_is_a_message_and_the_status_waits() {
    let network = Network::default();
    run(&network, async |device| {
        device.believed(&reading_of(&Telegram::new(1).bytes()));
        network.push("powermeter/cmd", SAMPLE, false);
        pause(5_250).await;
        for command in ["getVoltage", "info", "stop"] {
            let command = format!(r#"{{"cmd":"{command}"}}"#);
            network.push("powermeter/cmd", &command, false);
            pause(10).await;
        }
        pause(4_750).await;
    });
    let said = said(&network);
    let payloads = |topic| {
        said.iter()
            .filter(move |said| said.1 == topic)
            .map(|said| said.2.as_str())
    };
    let status: Vec<_> = payloads(STATUS).collect();
    assert_eq!(status[..2], ["on", "off"]);
    assert!(status[2].starts_with(r#"{"power":321,"#), "{status:?}");
    assert_eq!(status.len(), 3);
    let info: Vec<_> = payloads(INFO).collect();
    assert!(info[0].starts_with(r#"{"error":false,"cmd":"sample","measures":"p,p,p,q,q,q","chunksize":24,"samplingrate":10,"conn_type":"MQTT","measurements":6,"prefix":false,"#));
    let began = r#""startTs":"1614680861.000","start_ts":"1614680861.000"}"#;
    assert!(info[0].ends_with(began), "{}", info[0]);
    for (index, sample) in info[1..=52].iter().enumerate() {
        let at = 1_614_680_861_100 + 100 * index as u64;
        let (seconds, rest) = (at / 1000, at % 1000);
        let expected = format!(
            r#"{{"unit":"W,W,W,VAR,VAR,VAR","ts":"{seconds}.{rest:03}","values":[321,null,null,null,null,null]}}"#
        );
        assert_eq!(*sample, expected);
    }
    assert!(info[53].contains(r#""msg":"Currently sampling","state":"busy"#));
    assert!(info[54].contains(r#""state":"busy""#));
    assert!(
        info[55].contains(r#""samples":52,"sent_samples":52,"#),
        "{}",
        info[55]
    );
    assert_eq!(info.len(), 56);
}

#[test]
fn a_lost_broker_ends_what_was_sampled_for_it() {
    let network = Network::default();
    run(&network, async |device| {
        let mut told = device.log.listen().unwrap();
        let mut client = Client::new(Peer::Console, Level::Info);
        let mut answer = Answer::new();
        device
            .answer(SAMPLE.as_bytes(), &mut client, &mut answer)
            .await;
        assert!(
            str::from_utf8(answer.bytes())
                .unwrap()
                .contains(r#""error":false"#)
        );
        pause(1_050).await;
        network.hang_up();
        pause(30_000).await;
        let mut lines = Vec::new();
        while let Some(entry) = told.try_next_message_pure() {
            lines.push(entry.text().to_owned());
        }
        let lost = lines
            .iter()
            .position(|line| line == "MQTT Server disconnected while streaming");
        assert_eq!(lost, Some(0), "{lines:?}");
        answer.clear();
        device.sampling(&mut answer);
        assert!(str::from_utf8(answer.bytes()).unwrap().contains("idle"));
        let gone = "MQTT disconnected from broker.test";
        assert!(lines.iter().any(|line| line == gone), "{lines:?}");
        // Another begins anew.
        answer.clear();
        device
            .answer(SAMPLE.as_bytes(), &mut client, &mut answer)
            .await;
        pause(1_050).await;
    });
    // The last of the first may wait for the second connection.
    let samples = said(&network)
        .into_iter()
        .filter(|(_, topic, _)| *topic == INFO)
        .count();
    assert!((19..=21).contains(&samples), "{samples}");
}

#[test]
fn what_the_session_does_not_take_is_lost_from_the_oldest_and_counted() {
    let network = Network::default().then(Fate {
        cut: Cut::Stalls(3_000),
        ..Fate::default()
    });
    run(&network, async |device| {
        let mut told = device.log.listen().unwrap();
        let mut client = Client::new(Peer::Console, Level::Info);
        let mut answer = Answer::new();
        let line = br#"{"cmd":"sample","payload":{"type":"MQTT","rate":100}}"#;
        device.answer(line, &mut client, &mut answer).await;
        pause(5_000).await;
        device.liveness();
        let entry = told.try_next_message_pure().unwrap();
        let lost = entry
            .text()
            .strip_prefix("Overflow during ringBuffer write, lost ");
        let lost: u32 = lost
            .unwrap()
            .strip_suffix(" samples")
            .unwrap()
            .parse()
            .unwrap();
        // A second's may wait, and few had gone.
        assert!((350..400).contains(&lost), "{lost}");
    });
}

#[test]
fn a_stop_sends_what_waits_and_then_its_answer() {
    let network = Network::default().then(Fate {
        ragged: Some(1),
        ..Fate::default()
    });
    run(&network, async |_| {
        // More than this link takes in time.
        let order = SAMPLE.replace("10,\"measures\":\"p,q\"", "8000");
        network.push("powermeter/cmd", &order, false);
        pause(3_000).await;
        network.push("powermeter/cmd", r#"{"cmd":"stop"}"#, false);
        pause(60_000).await;
    });
    let said = said(&network).into_iter();
    let info = said
        .filter(|(_, topic, _)| *topic == INFO)
        .map(|(.., text)| text);
    let info: Vec<_> = info.collect();
    let samples = info
        .iter()
        .filter(|text| text.starts_with(r#"{"unit""#))
        .count();
    let answer = info.last().unwrap();
    let sent = format!(r#""sent_samples":{samples},"#);
    assert!(answer.contains(&sent), "{samples} {answer}");
    assert!(samples > 8_000, "{samples}");
}

#[test]
fn on_and_off_are_said_of_every_sampling() {
    let network = Network::default();
    run(&network, async |device| {
        let mut client = Client::new(Peer::Console, Level::Info);
        let mut answer = Answer::new();
        let line = br#"{"cmd":"sample","payload":{"type":"Serial","rate":1,"time":1614680866}}"#;
        device.answer(line, &mut client, &mut answer).await;
        pause(10_000).await;
        device.hung_up(&client);
        pause(100).await;
    });
    let words: Vec<_> = said(&network)
        .into_iter()
        .filter(|(_, topic, _)| *topic == STATUS)
        .map(|(at, _, word)| (at / 100, word))
        .collect();
    assert_eq!(words, [(60, "on".to_owned()), (130, "off".to_owned())]);
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
