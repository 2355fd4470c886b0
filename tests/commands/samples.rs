//! Samples on the wire, among lines.

use metertrekker::app::monitor::Monitor;

use super::{
    sessions::{pause, serve, wires},
    telegrams::{one_phase, reading},
    wire::{Network, Wire},
};

/// What has come: lines, and the values of each packet.
fn parted(wire: &Wire) -> (Vec<String>, Vec<(u32, Vec<f32>)>) {
    parts(&wire.bytes())
}

fn parts(bytes: &[u8]) -> (Vec<String>, Vec<(u32, Vec<f32>)>) {
    let (mut rest, mut lines, mut packets) = (bytes, Vec::new(), Vec::new());
    while !rest.is_empty() {
        if let Some(packet) = rest.strip_prefix(b"Data:") {
            let length = usize::from(u16::from_le_bytes([packet[0], packet[1]]));
            let number = u32::from_le_bytes(packet[2..6].try_into().unwrap());
            let values = packet[6..6 + length].as_chunks().0.iter();
            packets.push((number, values.map(|v| f32::from_le_bytes(*v)).collect()));
            rest = &packet[6 + length..];
        } else {
            let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
            lines.push(String::from_utf8(rest[..end].to_vec()).unwrap());
            rest = &rest[end + 2..];
        }
    }
    (lines, packets)
}

/// How many samples of six values have come.
fn count(wire: &Wire) -> usize {
    let (_, packets) = parted(wire);
    packets.iter().map(|(_, values)| values.len() / 6).sum()
}

/// Sends requests, and returns the lines that have come soon after.
async fn ask(wire: &Wire, requests: &[&str]) -> Vec<String> {
    wire.bytes();
    wire.send(requests.concat());
    pause(10).await;
    parted(wire).0
}

fn sample(wire: &Wire, payload: &str) {
    wire.send(format!(
        "{{\"cmd\":\"sample\",\"payload\":{{\"type\":\"TCP\",{payload}}}}}\r\n"
    ));
}

fn the_answer(lines: &[String]) -> &str {
    let answer = lines.iter().rfind(|line| line.contains(r#""error":"#));
    answer.unwrap()
}

const STOP: &str = "{\"cmd\":\"stop\"}\r\n";
const VOLTAGE: &str = "{\"cmd\":\"getVoltage\"}\r\n";

#[test]
fn samples_are_numbered_and_follow_the_meter() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |device| {
        network.connect(&one);
        pause(500).await;
        one.bytes();
        sample(&one, r#""rate":10,"measures":"v,i_L2""#);
        pause(1_050).await;
        device.believed(&reading(&one_phase()));
        pause(1_000).await;
        let (lines, packets) = parted(&one);
        assert!(lines[0].starts_with(r#"Info:{"error":false,"cmd":"sample","#));
        assert_eq!(
            lines[1..],
            [
                "Info:[I]03/02 11:27:41: 10.00Hz, 5s",
                "Info:[I]03/02 11:27:42: 10.00Hz, 15s"
            ]
        );
        assert_eq!(packets.len(), 20);
        for (index, (number, values)) in packets.iter().enumerate() {
            assert_eq!(*number, index as u32);
            match index {
                0..10 => assert_eq!(values, &[231.2, 3_000.0]),
                // A meter of one phase says nothing of another.
                _ => assert!(values.iter().all(|value| value.is_nan())),
            }
        }
    });
}

#[test]
fn what_a_meter_said_too_long_ago_is_sampled_no_more() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        sample(&one, r#""rate":1,"measures":"v,i_L1""#);
        pause(40_500).await;
        let values: Vec<_> = parted(&one).1.into_iter().map(|(_, v)| v[0]).collect();
        assert_eq!(values.len(), 40);
        assert_eq!(values[..31], [230.1; 31]);
        assert!(values[31..].iter().all(|value| value.is_nan()));
    });
}

#[test]
fn a_stop_sends_the_rest_and_then_its_answer() {
    let [one, two] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        network.connect(&two);
        pause(100).await;
        sample(&one, r#""rate":1000"#);
        pause(1_010).await;
        one.send(STOP);
        pause(10).await;
        let bytes = one.bytes();
        assert!(bytes.ends_with(b"\"avg_rate\":1000}\r\n"));
        let (lines, packets) = parts(&bytes);
        let values: usize = packets.iter().map(|(_, values)| values.len()).sum();
        assert_eq!(values, 1_010 * 6);
        let answer = lines.last().unwrap();
        assert!(answer.contains(r#""sample_duration":1010,"samples":1010,"sent_samples":1010,"#));
        // Somebody else's is stopped just the same.
        sample(&one, r#""rate":100"#);
        pause(1_000).await;
        let lines = ask(&two, &[VOLTAGE, STOP, VOLTAGE]).await;
        assert!(lines[0].contains("Device with IP: 192.168.0.7 currently sampling"));
        assert!(lines[1].contains(r#""samples":100,"sent_samples":100,"#));
        pause(10).await;
        assert!(ask(&two, &[VOLTAGE]).await[0].contains(r#""error":false"#));
        assert_eq!(count(&one), 100);
    });
}

#[test]
fn with_flow_control_a_client_gets_what_it_asks_for() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        sample(&one, r#""rate":100,"flowCtr":true"#);
        pause(2_000).await;
        assert!(parted(&one).1.is_empty());
        one.send("{\"cmd\":\"reqSamples\",\"samples\":150}\n");
        pause(10).await;
        assert_eq!(count(&one), 150);
        one.send("{\"cmd\":\"cts\",\"value\":true}\n");
        pause(1_000).await;
        assert_eq!(count(&one), 150);
        one.send("{\"cmd\":\"cts\",\"value\":false}\n");
        pause(1_000).await;
        assert_eq!(count(&one), 0);
    });
}

#[test]
fn in_its_slot_a_client_gets_all_that_has_waited() {
    let [one] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        // So that the line of each second is not what wakes it.
        pause(350).await;
        network.connect(&one);
        // It is second 0 of 10.
        sample(&one, r#""rate":100,"slot":[5,10]"#);
        pause(4_640).await;
        assert!(parted(&one).1.is_empty());
        pause(20).await;
        let count = count(&one);
        assert!((460..=471).contains(&count), "{count}");
        pause(1_080).await;
        let (lines, packets) = parted(&one);
        let count = count + 10 * packets.len();
        // What comes next waits for the next slot.
        let sent = format!("[I]03/02 11:27:46: sent {count} samples");
        assert!(lines.iter().any(|line| line.ends_with(&sent)), "{lines:?}");
        pause(3_000).await;
        let (lines, packets) = parted(&one);
        assert!(packets.is_empty());
        assert!(lines.iter().all(|line| !line.contains("sent")), "{lines:?}");
    });
}

#[test]
fn a_sampling_begins_when_it_is_asked_to_and_can_be_stopped_before() {
    let [one, two] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        network.connect(&two);
        sample(&one, r#""rate":10,"time":1614680870"#);
        // Nobody runs who would ask the time server.
        pause(2_100).await;
        let (lines, _) = parted(&one);
        let answer = the_answer(&lines);
        assert!(answer.contains(r#""startTs":"1614680870.000""#), "{answer}");
        assert!(
            answer
                .contains("Should sample at: 03/02/2021 11:27:50.000//nStart sampling in: 8000ms"),
            "{answer}"
        );
        two.bytes();
        sample(&two, r#""rate":10"#);
        pause(10).await;
        assert!(two.lines()[0].contains(r#""state":"busy""#));
        pause(7_880).await;
        one.send(VOLTAGE);
        pause(5).await;
        let (lines, packets) = parted(&one);
        assert!(the_answer(&lines).contains(r#""error":false"#));
        assert!(packets.is_empty());
        pause(1_015).await;
        assert_eq!(parted(&one).1.len(), 10);
        ask(&one, &[STOP]).await;
        sample(&one, r#""rate":10,"time":1614680885"#);
        pause(2_010).await;
        assert!(the_answer(&ask(&one, &[STOP]).await).contains(r#""samples":0,"#));
        sample(&one, r#""rate":10,"time":1614680870"#);
        pause(2_010).await;
        let (lines, _) = parted(&one);
        let answer = the_answer(&lines);
        assert!(
            answer.starts_with(r#"Info:{"error":true,"cmd":"sample","measures""#),
            "{answer}"
        );
        assert!(answer.contains("Cannot start sampling in: -"), "{answer}");
    });
}

/// How many samples each of these lines says are lost.
fn lost(lines: &[String]) -> Vec<u64> {
    let said = lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once("Overflow during ringBuffer write, lost ")?;
        rest.strip_suffix(" samples")
    });
    said.map(|count| count.parse().unwrap()).collect()
}

#[test]
fn what_is_lost_is_told_at_once_each_hour_and_in_the_end() {
    let [one, two] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        network.connect(&two);
        pause(100).await;
        sample(&one, r#""rate":32000,"flowCtr":true"#);
        pause(10_000).await;
        assert_eq!(lost(&two.lines()).len(), 1);
        pause(3_600_000).await;
        assert_eq!(lost(&two.lines()).len(), 1);
        let lines = ask(&two, &[STOP]).await;
        assert_eq!(lost(&lines).len(), 1, "{lines:?}");
        // Not all that is lost when it is told first, but all in the end.
        let made = 3_610 * 32_000;
        let capacity = 3_670_016 / 24;
        let all = lost(&parted(&one).0);
        assert_eq!(all.len(), 3);
        let sum: u64 = all.iter().sum();
        assert!(
            (made - capacity..=made + 320 - capacity).contains(&sum),
            "{sum}"
        );
        let log = ask(&two, &["{\"cmd\":\"getLog\"}\n"]).await;
        let kept: usize = log
            .iter()
            .map(|line| line.matches("Overflow").count())
            .sum();
        assert_eq!(kept, 3);
    });
}

#[test]
fn who_goes_takes_his_sampling_along_and_who_is_slow_loses_the_oldest() {
    let [one, two] = wires();
    let network = Network::new();
    serve(&network, async |_| {
        network.connect(&one);
        network.connect(&two);
        pause(100).await;
        sample(&one, r#""rate":32000,"flowCtr":true"#);
        pause(5_000).await;
        let (lines, _) = parted(&two);
        let overflow = |line: &&String| line.contains("Overflow during ringBuffer write, lost ");
        assert_eq!(lines.iter().filter(overflow).count(), 1, "{lines:?}");
        one.hang_up();
        pause(100).await;
        let lines = two.lines();
        assert!(
            lines[0].ends_with("TCP disconnected while streaming"),
            "{lines:?}"
        );
        assert!(ask(&two, &[VOLTAGE]).await[0].contains(r#""error":false"#));
    });
}
