//! Samples that go another way than their command came: the raw stream and datagrams.

use std::net::{Ipv4Addr, SocketAddr};

use embassy_futures::{
    select::{Either4, select4},
    yield_now,
};
use embassy_sync::mutex::Mutex;
use embassy_time::Instant;
use metertrekker::{
    app::{
        monitor::Monitor,
        outlet,
        server::{self, SESSIONS},
        session::Room,
        stats::Stats,
    },
    smartmeter::{
        answer::Answer,
        device::{Client, Device, Peer},
        log::Level,
        stream::Packet,
    },
    soc::host::{executor::block_on_virtual, ram_flash::RamFlash},
    storage::Store,
};

use super::{
    sessions::{TheDevice, pause, wires},
    telegrams::{reading, three_phases},
    time_server::TimeServer,
    wire::{Network, Wire},
};

/// A device with its two ports.
struct House<'w> {
    commands: Network<'w>,
    streams: Network<'w>,
    /// Where datagrams go.
    air: TimeServer,
    max_rate: u32,
}

impl<'w> House<'w> {
    fn new() -> Self {
        let air = TimeServer::new(0);
        air.is_silent();
        Self {
            commands: Network::new(),
            streams: Network::new(),
            air,
            max_rate: 32_000,
        }
    }

    /// The datagrams since it was last asked, and where they go.
    fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let to = self.air.asked_whom().into_iter().map(|(_, to)| to);
        let packets = self.air.requests();
        let old = packets.len() - to.len();
        to.zip(packets.into_iter().skip(old)).collect()
    }

    fn serve(&self, script: impl AsyncFnOnce(&TheDevice<'_, '_>)) {
        block_on_virtual(async {
            let flash = RamFlash::<4096, 2>::new();
            let mut store = Store::open(flash, 0..8192).await.unwrap();
            let store = Mutex::new(&mut store);
            let stats = Stats::new();
            let clock = || Some(1_614_680_860_000 + embassy_time::Instant::now().as_millis());
            let device = Device::open("smartmeterX", clock, &store, &stats)
                .await
                .with_max_rate(self.max_rate);
            device.believed(&reading(&three_phases(0)));
            let mut rooms = [const { Room::new() }; SESSIONS];
            let mut packet = Packet::new();
            let serving = server::run(&device, &self.commands, &mut rooms);
            let streaming = outlet::run(&device, &self.streams, &self.air, &mut packet);
            let keeping = device.keep_house();
            match select4(serving, streaming, keeping, script(&device)).await {
                Either4::First(never) | Either4::Second(never) | Either4::Third(never) => {
                    match never {}
                }
                Either4::Fourth(()) => {}
            }
        });
    }
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let (values, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    values.iter().map(|v| f32::from_le_bytes(*v)).collect()
}

fn sample(wire: &Wire, payload: &str) {
    wire.send(format!(
        "{{\"cmd\":\"sample\",\"payload\":{{{payload}}}}}\r\n"
    ));
}

const STOP: &str = "{\"cmd\":\"stop\"}\r\n";
const VOLTAGE: &str = "{\"cmd\":\"getVoltage\"}\r\n";
const FFMPEG: &str = r#""type":"FFMPEG","rate":100,"measures":"v,i_L2""#;

/// What the meter of these tests says.
const SAMPLE: [f32; 6] = [230.1, 2_500.0, 231.2, 3_000.0, 229.3, 0.0];

/// The answers among the lines.
fn answers(wire: &Wire) -> Vec<String> {
    let lines = wire.lines().into_iter();
    lines.filter(|line| line.contains(r#""error":"#)).collect()
}

/// The lines of the log.
fn told(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.ends_with(text)).count()
}

#[test]
fn whoever_connects_gets_nothing_but_samples_at_once() {
    let [one, raw, other] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        pause(100).await;
        one.lines();
        house.streams.connect(&raw);
        pause(1_005).await;
        let got = values(&raw.bytes());
        // A chunk is 42 samples: 10.5 ms.
        assert_eq!(got.len(), 95 * 42 * 6);
        let (samples, _) = got.as_chunks::<6>();
        assert!(samples.iter().all(|sample| *sample == SAMPLE));
        one.send(VOLTAGE);
        one.send("{\"cmd\":\"info\"}\r\n");
        pause(10).await;
        let lines = one.lines();
        assert!(lines[0].ends_with("Stream client 192.168.0.7 connected on port 50001"));
        assert!(lines[1].ends_with(": 4000.00Hz, 3600s"), "{}", lines[1]);
        assert!(
            lines[2].contains(
                r#""msg":"Device with IP: 192.168.0.7 currently sampling","state":"busy""#
            )
        );
        assert!(lines[3].contains(r#""sampling_rate":4000,"#));
        // One at a time, and not a word that would be taken for samples.
        house.streams.connect(&other);
        pause(10).await;
        assert_eq!(other.ended(), Some("closed"));
        assert!(other.bytes().is_empty());
        assert_eq!(raw.ended(), None);
        raw.bytes();
        one.lines();
        one.send(STOP);
        pause(10).await;
        assert!(answers(&one)[0].contains(r#""samples":4100,"sent_samples":4100,"#));
        assert_eq!(raw.ended(), Some("closed"));
        assert_eq!(values(&raw.bytes()).len() % 6, 0);
        one.send(VOLTAGE);
        pause(10).await;
        assert!(answers(&one)[0].contains(r#""error":false"#));
        // And again.
        house.streams.connect(&other);
        pause(1_000).await;
        assert!(!other.bytes().is_empty());
    });
}

#[test]
fn a_stream_has_every_sample_of_its_time() {
    let [one, raw] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        house.streams.connect(&raw);
        pause(2_003).await;
        one.send(STOP);
        pause(10).await;
        assert_eq!(values(&raw.bytes()).len(), 8_012 * 6);
    });
}

#[test]
fn while_there_is_a_stream_every_telegram_is_asked_for() {
    let [raw] = wires();
    let house = House::new();
    house.serve(async |device| {
        assert!(!device.wants_every());
        house.streams.connect(&raw);
        pause(10).await;
        assert!(device.wants_every());
        raw.hang_up();
        pause(10).await;
        assert!(!device.wants_every());
    });
}

#[test]
fn a_board_streams_as_fast_as_it_can() {
    let [raw] = wires();
    let house = House {
        max_rate: 50,
        ..House::new()
    };
    house.serve(async |_| {
        house.streams.connect(&raw);
        pause(10_001).await;
        assert_eq!(values(&raw.bytes()).len(), 500 * 6);
    });
}

#[test]
fn while_anything_is_sampled_there_is_no_raw_stream() {
    let [one, raw, late] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        sample(&one, r#""type":"TCP","rate":10"#);
        pause(100).await;
        house.streams.connect(&raw);
        pause(100).await;
        assert_eq!(raw.ended(), Some("closed"));
        assert!(raw.bytes().is_empty());
        one.bytes();
        one.send(STOP);
        pause(10).await;
        one.bytes();
        // Nor while one waits for its time.
        sample(&one, r#""type":"TCP","rate":10,"time":1614680866"#);
        pause(2_500).await;
        one.bytes();
        house.streams.connect(&late);
        pause(10).await;
        assert_eq!(late.ended(), Some("closed"));
        sample(&one, FFMPEG);
        pause(10).await;
        assert!(answers(&one)[0].contains("Could not connect to TCP stream"));
    });
}

#[test]
fn whoever_comes_first_while_another_waits_for_the_time_has_it() {
    let [one, raw] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        // Nobody runs who would ask the time server.
        sample(&one, r#""type":"TCP","rate":10,"time":1614680866"#);
        pause(1_000).await;
        house.streams.connect(&raw);
        pause(1_100).await;
        assert!(answers(&one)[0].contains(r#""state":"busy""#));
        assert_eq!(values(&raw.bytes()).len(), 104 * 42 * 6);
    });
}

#[test]
fn who_leaves_the_raw_stream_ends_it() {
    let [one, raw, slow] = wires();
    let slow = slow.taking(100_000);
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        house.streams.connect(&raw);
        pause(500).await;
        one.lines();
        raw.hang_up();
        pause(10).await;
        let lines = one.lines();
        assert!(
            lines[0].ends_with("[E]03/02 11:27:40: TCP disconnected while streaming"),
            "{lines:?}"
        );
        assert!(lines[1].ends_with("Stream client disconnected 192.168.0.7 port 50001"));
        // One that takes nothing is given up, and nobody else waits for it.
        house.streams.connect(&slow);
        pause(2_000).await;
        one.lines();
        one.send(VOLTAGE);
        pause(10).await;
        assert!(one.lines()[0].contains("currently sampling"));
        pause(5_000).await;
        assert_eq!(told(&one.lines(), "TCP disconnected while streaming"), 1);
        assert_eq!(slow.ended(), Some("aborted"));
        one.send(VOLTAGE);
        pause(10).await;
        assert!(answers(&one)[0].contains(r#""error":false"#));
    });
}

#[test]
fn a_raw_stream_is_ordered_anew_while_it_goes_on() {
    let [one, raw] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        pause(10).await;
        one.lines();
        sample(&one, FFMPEG);
        pause(10).await;
        assert_eq!(
            answers(&one),
            [r#"Info:{"error":true,"cmd":"sample","msg":"Could not connect to TCP stream"}"#]
        );
        house.streams.connect(&raw);
        pause(1_000).await;
        one.lines();
        raw.bytes();
        sample(&one, r#""type":"TCP","rate":100"#);
        sample(&one, r#""type":"FFMPEG","rate":0"#);
        sample(&one, FFMPEG);
        pause(5).await;
        let lines = answers(&one);
        assert!(lines[0].contains(r#""state":"busy""#));
        assert!(lines[1].contains(r#"\"rate\" missing"#));
        assert!(lines[2].starts_with(
            r#"Info:{"error":false,"cmd":"sample","measures":"v,i_L2","chunksize":128,"samplingrate":100,"conn_type":"FFMPEG","measurements":2,"prefix":false,"#
        ));
        raw.bytes();
        pause(1_000).await;
        let got = values(&raw.bytes());
        assert_eq!(got.len(), 96 * 2);
        assert!(got.as_chunks::<2>().0.iter().all(|v| *v == SAMPLE[2..4]));
        // Whoever ordered it may go: it is not his.
        one.hang_up();
        pause(1_000).await;
        assert_eq!(values(&raw.bytes()).len(), 96 * 2);
        assert_eq!(raw.ended(), None);
    });
}

#[test]
fn a_lock_keeps_the_raw_stream_until_somebody_opens_it() {
    let [one, raw] = wires();
    let house = House::new();
    house.serve(async |device| {
        device.adjust(|settings| settings.set("command_password", "secret").unwrap());
        house.commands.connect(&one);
        house.streams.connect(&raw);
        pause(1_000).await;
        assert!(raw.bytes().is_empty());
        assert_eq!(raw.ended(), None);
        sample(&one, FFMPEG);
        one.send("{\"cmd\":\"unlock\",\"payload\":{\"pwd\":\"secret\"}}\n");
        one.send(VOLTAGE);
        sample(&one, FFMPEG);
        pause(1_005).await;
        let lines = answers(&one);
        assert!(lines[0].contains("Locked"));
        assert!(lines[2].contains(r#""voltage""#));
        assert!(lines[3].contains(r#""error":false"#));
        assert_eq!(values(&raw.bytes()).len(), 96 * 2);
    });
}

#[test]
fn datagrams_are_packets_that_a_client_has_room_for() {
    let [one, two] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        house.commands.connect(&two);
        pause(10).await;
        one.lines();
        sample(&one, r#""type":"UDP","rate":8000,"port":54399"#);
        pause(500).await;
        let lines = one.lines();
        assert!(
            lines[0].starts_with(
                r#"Info:{"error":false,"cmd":"sample","port":54399,"measures":"v,i,v,i,v,i","chunksize":504,"#
            ),
            "{lines:?}"
        );
        let packets = house.datagrams();
        assert_eq!(packets.len(), 500 * 8 / 21);
        for (number, (to, packet)) in packets.iter().enumerate() {
            assert_eq!(to.to_string(), "192.168.0.7:54399");
            assert_eq!(packet.len(), 11 + 504);
            assert_eq!(packet[..7], *b"Data:\xf8\x01");
            assert_eq!(packet[7..11], (number as u32).to_le_bytes());
            assert_eq!(values(&packet[11..])[..6], SAMPLE);
        }
        // Any client stops it, and all that was made is sent.
        two.send(STOP);
        pause(10).await;
        let rest: usize = house.datagrams().iter().map(|(_, p)| p.len() - 11).sum();
        assert_eq!(rest, 500 * 8 % 21 * 24);
        assert!(answers(&two)[0].contains(r#""samples":4000,"sent_samples":4000,"#));
        sample(&one, r#""type":"UDP","rate":800,"port":1,"measures":"v,i_L1","flowCtr":true"#);
        pause(1_000).await;
        assert!(house.datagrams().is_empty());
        two.send("{\"cmd\":\"reqSamples\",\"samples\":100}\n");
        pause(10).await;
        let sizes: Vec<_> = house.datagrams().iter().map(|(_, p)| p.len()).collect();
        assert_eq!(sizes, [11 + 512, 11 + 36 * 8]);
        // The connection that it was asked for on has to stay.
        two.lines();
        one.hang_up();
        pause(10).await;
        assert_eq!(told(&two.lines(), "TCP/UDP disconnected while streaming"), 1);
        two.send(VOLTAGE);
        pause(10).await;
        assert!(answers(&two)[0].contains(r#""error":false"#));
    });
}

#[test]
fn what_has_waited_leaves_a_few_datagrams_at_a_time() {
    let [one, two] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        house.commands.connect(&two);
        sample(
            &one,
            r#""type":"UDP","rate":32000,"port":54399,"flowCtr":true"#,
        );
        pause(4_500).await;
        two.lines();
        one.send("{\"cmd\":\"cts\",\"value\":true}\n");
        two.send(VOLTAGE);
        let began = Instant::now();
        pause(10).await;
        assert!(answers(&two)[0].contains("currently sampling"));
        let mut sent = house.datagrams().len();
        assert!((20..=44).contains(&sent), "{sent}");
        // All that has waited, and what comes meanwhile.
        let all = |now: Instant| (now.as_millis() * 32 / 21) as usize;
        while sent + 100 < all(Instant::now()) {
            pause(100).await;
            sent += house.datagrams().len();
        }
        let took = began.elapsed().as_millis();
        assert!((2_500..4_000).contains(&took), "{took}");
        two.lines();
        two.send(STOP);
        pause(100).await;
        assert!(!answers(&two)[0].contains("error\":true"));
    });
}

#[test]
fn while_what_has_waited_leaves_another_client_is_answered() {
    let [one, two, raw] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        house.commands.connect(&two);
        for sink in ["TCP", "FFMPEG"] {
            if sink == "FFMPEG" {
                house.streams.connect(&raw);
                pause(100).await;
            }
            let order = format!(r#""type":"{sink}","rate":32000,"flowCtr":true"#);
            sample(&one, &order);
            pause(4_500).await;
            for wire in [&one, &two, &raw] {
                wire.bytes();
            }
            one.send("{\"cmd\":\"cts\",\"value\":true}\n");
            let (mut sent, mut turns) = (0, 0);
            // The command has had its turn, and packets theirs.
            for _ in 0..4 {
                yield_now().await;
            }
            two.send(VOLTAGE);
            while two.is_empty() {
                yield_now().await;
                turns += 1;
                assert!(turns < 100, "{sink}");
            }
            sent += one.bytes().len() + raw.bytes().len();
            // A packet for each turn, of 3.4 MB.
            assert!((1..100_000).contains(&sent), "{sink}: {sent}");
            pause(1_000).await;
            sent += one.bytes().len() + raw.bytes().len();
            assert!(sent > 4_500 * 32 * 24, "{sink}: {sent}");
            two.bytes();
            two.send(STOP);
            pause(100).await;
        }
    });
}

#[test]
fn datagrams_that_nobody_takes_stop_nothing() {
    let [one] = wires();
    let house = House::new();
    house.air.does(|_, _| None);
    house.serve(async |_| {
        house.commands.connect(&one);
        pause(10).await;
        sample(&one, r#""type":"UDP","rate":10,"port":54399"#);
        pause(2_050).await;
        let text = "[W]03/02 11:27:40: Nobody takes UDP packets at 192.168.0.7 port 54399";
        assert_eq!(told(&one.lines(), text), 1);
        house.air.is_silent();
        house.datagrams();
        pause(1_000).await;
        assert_eq!(house.datagrams().len(), 10);
        one.lines();
        one.send(STOP);
        pause(10).await;
        let lines = one.lines();
        assert_eq!(
            told(&lines, "20 UDP packets could not be sent"),
            1,
            "{lines:?}"
        );
    });
}

#[test]
fn datagrams_need_an_address_and_somebody_who_sends_them() {
    let house = House::new();
    house.serve(async |device| {
        device.has_no_outlet();
        let network = Peer::Network((Ipv4Addr::LOCALHOST, 1).into());
        for (peer, sink) in [
            (network, "UDP"),
            (Peer::Console, "UDP"),
            (Peer::Mqtt, "UDP"),
            (Peer::Console, "TCP"),
            (Peer::Mqtt, "Serial"),
        ] {
            let mut client = Client::new(peer, Level::Info);
            let mut answer = Answer::new();
            let line =
                format!(r#"{{"cmd":"sample","payload":{{"type":"{sink}","port":1,"rate":1}}}}"#);
            device
                .answer(line.as_bytes(), &mut client, &mut answer)
                .await;
            let expected = format!(
                "Info:{{\"error\":true,\"cmd\":\"sample\",\"msg\":\"Unsupported sampling type: {sink}\"}}\r\n"
            );
            assert_eq!(str::from_utf8(answer.bytes()).unwrap(), expected);
        }
    });
}

#[test]
fn a_lost_network_ends_what_needs_it() {
    let [raw] = wires();
    let house = House::new();
    house.serve(async |device| {
        let here = || device.set_address(Some(Ipv4Addr::LOCALHOST.into()));
        here();
        pause(10).await;
        let mut told = device.log.listen().unwrap();
        let mut errors = || {
            let entries = core::iter::from_fn(|| told.try_next_message_pure());
            let errors = entries.filter(|entry| entry.level == Level::Error);
            errors
                .map(|entry| entry.text().to_owned())
                .collect::<Vec<_>>()
        };
        device.has_lost_network();
        assert_eq!(errors(), ["Network Disconnected"]);
        here();
        pause(10).await;
        house.streams.connect(&raw);
        pause(50).await;
        device.has_lost_network();
        pause(10).await;
        assert_eq!(
            errors(),
            ["Network Disconnected", "Stop sampling (Network disconnect)"]
        );
        assert_eq!(raw.ended(), Some("dropped"));
        here();
        // What the console asked for goes on.
        let mut console = Client::new(Peer::Console, Level::Info);
        let mut answer = Answer::new();
        let order = br#"{"cmd":"sample","payload":{"type":"Serial","rate":1}}"#;
        device.answer(order, &mut console, &mut answer).await;
        device.has_lost_network();
        answer.clear();
        device.sampling(&mut answer);
        assert!(
            str::from_utf8(answer.bytes())
                .unwrap()
                .contains("sampling\",")
        );
    });
}

#[test]
fn a_start_at_its_time_is_told_to_who_wants_details() {
    let [one] = wires();
    let house = House::new();
    house.serve(async |_| {
        house.commands.connect(&one);
        one.send("{\"cmd\":\"log\",\"level\":\"debug\"}\n");
        for (sink, time) in [("TCP", 1_614_680_866), ("UDP", 1_614_680_876)] {
            let payload =
                format!(r#""type":"{sink}","port":5,"rate":1,"flowCtr":true,"time":{time}"#);
            sample(&one, &payload);
            // Nobody runs who would ask the time server.
            pause(2_010).await;
            let due = time * 1000 - 1_614_680_860_000;
            pause(due - embassy_time::Instant::now().as_millis() - 5).await;
            let start = "StartSampling @ ";
            assert!(one.lines().iter().all(|line| !line.contains(start)));
            pause(10).await;
            let lines = one.lines();
            let told = lines.iter().find(|line| line.contains(start)).unwrap();
            let second = time - 1_614_680_820;
            assert!(
                told.starts_with("Info:[D]03/02 11:2")
                    && told.contains(&format!(
                        "StartSampling @ 03/02/2021 11:2{}:{:02}.000",
                        7 + second / 60,
                        second % 60
                    )),
                "{told}"
            );
            one.send(STOP);
            pause(2_000).await;
        }
    });
}
