//! What the device says of itself over multicast DNS; another implementation reads the packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use embassy_futures::select::{Either, select};
use embassy_time::Instant;
use metertrekker::{
    app::mdns,
    mdns::LEAST,
    smartmeter::{
        answer::Answer,
        device::{Change, Client, Peer},
        log::Level,
    },
};
use proptest::prelude::*;
use simple_dns::rdata::{A, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

use super::{
    sessions::{TheDevice, pause, with_device},
    street::Street,
};

const MINE: [u8; 4] = [192, 168, 0, 50];

/// Runs a device that is called `meter` while `script` goes on.
fn speaking(street: &Street, length: usize, script: impl AsyncFnOnce(&TheDevice<'_, '_>)) {
    with_device(
        "meter",
        || None,
        async |device, _| {
            device.set_address(Some(MINE.into()));
            let mut packet = vec![0; length];
            let running = mdns::run(device, street, &mut packet, 54_322, 7);
            match select(running, script(device)).await {
                Either::First(never) => match never {},
                Either::Second(()) => {}
            }
        },
    );
}

fn neighbour(port: u16) -> SocketAddr {
    SocketAddr::new([192, 168, 0, 7].into(), port)
}

fn everybody() -> SocketAddr {
    "224.0.0.251:5353".parse().unwrap()
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

fn query(asked: &[(&str, TYPE)]) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    for (owner, kind) in asked {
        let kind = QTYPE::TYPE(*kind);
        let question = Question::new(name(owner), kind, QCLASS::CLASS(CLASS::IN), false);
        packet.questions.push(question);
    }
    packet.build_bytes_vec_compressed().unwrap()
}

fn address<'a>(owner: &'a str, ip: [u8; 4], ttl: u32) -> ResourceRecord<'a> {
    let data = RData::A(A::from(Ipv4Addr::from(ip)));
    ResourceRecord::new(name(owner), CLASS::IN, ttl, data)
}

/// Another device says that it has this name.
fn claim(owner: &str, ip: [u8; 4]) -> Vec<u8> {
    let mut packet = Packet::new_reply(0);
    packet.answers.push(address(owner, ip, 120));
    packet.build_bytes_vec_compressed().unwrap()
}

/// Another device asks whether this name is free.
fn probe(owner: &str, ip: [u8; 4]) -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let question = Question::new(name(owner), QTYPE::ANY, QCLASS::CLASS(CLASS::IN), true);
    packet.questions.push(question);
    packet.name_servers.push(address(owner, ip, 120));
    packet.build_bytes_vec_compressed().unwrap()
}

/// A record in a line: owner, TTL, whether it is all there is, and its data.
fn shown(record: &ResourceRecord<'_>) -> String {
    let data = match &record.rdata {
        RData::A(a) => format!("A {}", Ipv4Addr::from(a.address)),
        RData::PTR(to) => format!("PTR {}", to.0),
        RData::SRV(srv) => format!(
            "SRV {} {} {} {}",
            srv.priority, srv.weight, srv.port, srv.target
        ),
        RData::TXT(txt) => {
            let mut texts: Vec<_> = txt.attributes().into_iter().collect();
            texts.sort();
            format!("TXT {texts:?}")
        }
        RData::NSEC(nsec) => format!("NSEC {} {:?}", nsec.next_name, nsec.type_bit_maps),
        other => panic!("{other:?}"),
    };
    let flush = if record.cache_flush { " flush" } else { "" };
    format!("{} {}{flush} {data}", record.name, record.ttl)
}

/// When it was sent, and its records.
fn packets(street: &Street) -> Vec<(u64, Vec<String>)> {
    let sent = street.sent();
    sent.iter()
        .map(|(at, to, bytes)| {
            assert_eq!(*to, everybody());
            let packet = Packet::parse(bytes).unwrap();
            let records = packet.answers.iter().chain(&packet.additional_records);
            (*at, records.map(shown).collect())
        })
        .collect()
}

fn is_query(packet: &[u8]) -> bool {
    !Packet::parse(packet)
        .unwrap()
        .has_flags(PacketFlag::RESPONSE)
}

/// All owners that answers are about.
fn owners(street: &Street) -> Vec<String> {
    let mut owners = Vec::new();
    for (_, records) in packets(street) {
        owners.extend(
            records
                .iter()
                .map(|record| record.split(' ').next().unwrap().to_owned()),
        );
    }
    owners.sort();
    owners.dedup();
    owners
}

async fn command(device: &TheDevice<'_, '_>, line: &str) {
    let mut answer = Answer::new();
    let mut client = Client::new(Peer::Console, Level::Info);
    device
        .answer(line.as_bytes(), &mut client, &mut answer)
        .await;
    let answer = String::from_utf8_lossy(answer.bytes());
    assert!(answer.contains(r#""error":false"#), "{answer}");
}

/// Until the device has its name and has told everybody twice.
async fn settled(street: &Street) {
    pause(3_000).await;
    street.sent();
}

const ARDUINO: &str = r#"TXT [("auth_upload", Some("yes")), ("board", Some("metertrekker")), ("ssh_upload", Some("no")), ("tcp_check", Some("no"))]"#;

/// All that is told unasked.
fn all() -> Vec<String> {
    vec![
        "meter.local 120 flush A 192.168.0.50".into(),
        "_elec._tcp.local 4500 PTR meter._elec._tcp.local".into(),
        "meter._elec._tcp.local 120 flush SRV 0 0 54322 meter.local".into(),
        "meter._elec._tcp.local 4500 flush TXT []".into(),
        "_arduino._tcp.local 4500 PTR meter._arduino._tcp.local".into(),
        "meter._arduino._tcp.local 120 flush SRV 0 0 3232 meter.local".into(),
        format!("meter._arduino._tcp.local 4500 flush {ARDUINO}"),
        "_services._dns-sd._udp.local 4500 PTR _elec._tcp.local".into(),
        "_services._dns-sd._udp.local 4500 PTR _arduino._tcp.local".into(),
    ]
}

#[test]
fn a_name_is_asked_for_three_times_and_told_twice() {
    let street = Street::default();
    speaking(&street, 1472, async |_| {
        pause(10_000).await;
        let sent = street.sent();
        assert_eq!(street.joined(), [Ipv4Addr::from(MINE)]);
        assert_eq!(sent.len(), 5);
        let began = sent[0].0;
        assert!(began < 250, "{began}");
        for (number, (at, to, packet)) in sent[..3].iter().enumerate() {
            assert_eq!((*at, *to), (began + 250 * number as u64, everybody()));
            let packet = Packet::parse(packet).unwrap();
            let asked = packet.questions.iter().map(|question| {
                assert_eq!(question.qtype, QTYPE::ANY);
                question.qname.to_string()
            });
            let asked: Vec<_> = asked.collect();
            assert_eq!(
                asked,
                [
                    "meter.local",
                    "meter._elec._tcp.local",
                    "meter._arduino._tcp.local"
                ]
            );
            let proposed: Vec<_> = packet.name_servers.iter().map(shown).collect();
            let expected = [&all()[0], &all()[2], &all()[5]].map(|line| line.replace(" flush", ""));
            assert_eq!(proposed, expected);
        }
        for (number, (at, _, packet)) in sent[3..].iter().enumerate() {
            assert_eq!(*at, began + 750 + 1_000 * number as u64);
            let packet = Packet::parse(packet).unwrap();
            assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER));
            assert_eq!(packet.answers.iter().map(shown).collect::<Vec<_>>(), all());
        }
    });
}

#[test]
fn a_small_packet_says_as_much_in_two() {
    let street = Street::default();
    speaking(&street, LEAST, async |device| {
        command(
            device,
            r#"{"cmd":"mdns","payload":{"name":"1234567890123456789012345678901"}}"#,
        )
        .await;
        pause(3_000).await;
        let (mut probes, mut told) = (0, Vec::new());
        for (at, _, packet) in street.sent() {
            assert!(packet.len() <= LEAST);
            let parsed = Packet::parse(&packet).unwrap();
            if is_query(&packet) {
                probes += 1;
                assert_eq!((parsed.questions.len(), parsed.name_servers.len()), (3, 3));
            } else {
                told.extend(parsed.answers.iter().map(|record| (at, shown(record))));
            }
        }
        assert_eq!((probes, told.len()), (3, 18));
        let first: Vec<_> = told[..9]
            .iter()
            .map(|(_, line)| line.replace("1234567890123456789012345678901", "meter"))
            .collect();
        assert_eq!(first, all());
    });
}

#[test]
fn questions_are_answered_with_what_will_be_asked_next() {
    let street = Street::default();
    speaking(&street, 1472, async |_| {
        settled(&street).await;
        let all = all();
        let denied = "meter.local 120 flush NSEC meter.local";
        for (asked, expected) in [
            (("meter.local", TYPE::A), vec![0]),
            (("METER.Local", TYPE::A), vec![0]),
            (("_elec._tcp.local", TYPE::PTR), vec![1, 0, 2, 3]),
            (("_arduino._tcp.local", TYPE::PTR), vec![4, 0, 5, 6]),
            (("meter._elec._tcp.local", TYPE::SRV), vec![2, 0]),
            (("meter._arduino._tcp.local", TYPE::TXT), vec![6]),
            (("_services._dns-sd._udp.local", TYPE::PTR), vec![7, 8]),
            (("other.local", TYPE::A), vec![]),
            (("meter", TYPE::A), vec![]),
            (("meter.local.lan", TYPE::A), vec![]),
            (("_elec._tcp.local", TYPE::A), vec![]),
            (("_http._tcp.local", TYPE::PTR), vec![]),
        ] {
            pause(2_000).await;
            let asked_at = Instant::now().as_millis();
            street.push(query(&[asked]), neighbour(5353));
            pause(500).await;
            let sent = packets(&street);
            let answers: Vec<_> = sent
                .iter()
                .flat_map(|(_, records)| records.clone())
                .collect();
            let expected: Vec<_> = expected.iter().map(|number| all[*number].clone()).collect();
            assert_eq!(answers, expected, "{asked:?}");
            for (at, _) in sent {
                assert!((20..=120).contains(&(at - asked_at)), "{}", at - asked_at);
            }
        }
        // There is no such address, and whoever waits for one is told so.
        street.push(query(&[("meter.local", TYPE::AAAA)]), neighbour(5353));
        pause(500).await;
        let sent = packets(&street);
        assert!(sent[0].1[0].starts_with(denied), "{sent:?}");
        // Two questions in one packet.
        pause(2_000).await;
        street.push(
            query(&[
                ("meter.local", TYPE::A),
                ("other.local", TYPE::A),
                ("_services._dns-sd._udp.local", TYPE::PTR),
            ]),
            neighbour(5353),
        );
        pause(500).await;
        assert_eq!(
            packets(&street)[0].1,
            [0, 7, 8].map(|number| all[number].clone())
        );
    });
}

#[test]
fn what_is_known_and_what_was_just_said_is_not_said_again() {
    let street = Street::default();
    speaking(&street, 1472, async |_| {
        settled(&street).await;
        let ask = |ttl: u32| {
            let mut packet = Packet::new_query(0);
            let kind = QTYPE::TYPE(TYPE::PTR);
            let question = Question::new(
                name("_elec._tcp.local"),
                kind,
                QCLASS::CLASS(CLASS::IN),
                false,
            );
            packet.questions.push(question);
            let data = RData::PTR(PTR(name("meter._elec._tcp.local")));
            let known = ResourceRecord::new(name("_elec._tcp.local"), CLASS::IN, ttl, data);
            packet.answers.push(known);
            packet.build_bytes_vec_compressed().unwrap()
        };
        pause(2_000).await;
        street.push(ask(4_000), neighbour(5353));
        pause(500).await;
        assert_eq!(packets(&street), []);
        // It will be forgotten soon.
        street.push(ask(2_000), neighbour(5353));
        pause(500).await;
        assert_eq!(packets(&street).len(), 1);
        // Once a second, whoever asks.
        for _ in 0..10 {
            street.push(query(&[("meter.local", TYPE::A)]), neighbour(5353));
            pause(250).await;
        }
        let times: Vec<_> = packets(&street).into_iter().map(|(at, _)| at).collect();
        assert!((2..=3).contains(&times.len()), "{times:?}");
        assert!(
            times.windows(2).all(|pair| pair[1] - pair[0] >= 1_000),
            "{times:?}"
        );
        // But who asks whether a name is free hears at once.
        street.push(query(&[("meter.local", TYPE::A)]), neighbour(5353));
        pause(300).await;
        street.sent();
        let asked_at = Instant::now().as_millis();
        street.push(probe("meter.local", [192, 168, 0, 7]), neighbour(5353));
        pause(300).await;
        let answered = packets(&street);
        assert_eq!(answered[0].0, asked_at);
        assert_eq!(answered[0].1[0], all()[0]);
    });
}

#[test]
fn who_knows_plain_dns_only_is_answered_alone() {
    let street = Street::default();
    speaking(&street, 1472, async |_| {
        settled(&street).await;
        let mut packet = Packet::new_query(0x1234);
        let kind = QTYPE::TYPE(TYPE::A);
        packet.questions.push(Question::new(
            name("meter.local"),
            kind,
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        let packet = packet.build_bytes_vec().unwrap();
        street.push(packet.clone(), neighbour(40_000));
        // From afar, who could be anybody.
        street.push(packet, "203.0.113.5:40000".parse().unwrap());
        pause(500).await;
        let sent = street.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].1, neighbour(40_000));
        let answer = Packet::parse(&sent[0].2).unwrap();
        assert_eq!(answer.id(), 0x1234);
        assert_eq!(answer.questions[0].qname.to_string(), "meter.local");
        let answers: Vec<_> = answer.answers.iter().map(shown).collect();
        assert_eq!(answers, ["meter.local 10 A 192.168.0.50"]);
    });
}

#[test]
fn a_new_name_takes_the_place_of_the_old_one_which_is_taken_leave_of() {
    let street = Street::default();
    speaking(&street, 1472, async |device| {
        settled(&street).await;
        command(device, r#"{"cmd":"mdns","payload":{"name":"kitchen"}}"#).await;
        pause(3_000).await;
        let sent = street.sent();
        let bye = Packet::parse(&sent[0].2).unwrap();
        let named = &all()[..7];
        let gone: Vec<_> = named
            .iter()
            .map(|line| {
                line.replacen(" 120 ", " 0 ", 1)
                    .replacen(" 4500 ", " 0 ", 1)
            })
            .collect();
        assert_eq!(bye.answers.iter().map(shown).collect::<Vec<_>>(), gone);
        assert!(sent[1..4].iter().all(|(_, _, packet)| is_query(packet)));
        let told = Packet::parse(&sent[4].2).unwrap();
        let expected: Vec<_> = all()
            .iter()
            .map(|line| line.replace("meter.", "kitchen."))
            .collect();
        assert_eq!(told.answers.iter().map(shown).collect::<Vec<_>>(), expected);
        assert_eq!(sent.len(), 6);
        for (asked, answers) in [("meter.local", 0), ("kitchen.local", 1)] {
            street.push(query(&[(asked, TYPE::A)]), neighbour(5353));
            pause(2_000).await;
            assert_eq!(packets(&street).len(), answers, "{asked}");
        }
    });
}

#[test]
fn a_factory_reset_takes_leave_of_the_name_before_it_starts_over() {
    let street = Street::default();
    speaking(&street, 1472, async |device| {
        command(device, r#"{"cmd":"mdns","payload":{"name":"kitchen"}}"#).await;
        settled(&street).await;
        assert_eq!(device.changed().await, Change::Name);
        let mut answer = Answer::new();
        let mut client = Client::new(Peer::Console, Level::Info);
        device
            .answer(br#"{"cmd":"factoryReset"}"#, &mut client, &mut answer)
            .await;
        assert_eq!(device.changed().await, Change::Restart);
        let told = packets(&street);
        let bye = "kitchen.local 0 flush A 192.168.0.50";
        assert_eq!(told[0].1[0], bye);
    });
}

#[test]
fn another_address_is_told_and_none_silences() {
    let street = Street::default();
    speaking(&street, 1472, async |device| {
        settled(&street).await;
        device.set_address(Some([10, 0, 0, 9].into()));
        pause(3_000).await;
        let expected = "meter.local 120 flush A 10.0.0.9";
        let told = packets(&street);
        assert_eq!(told.last().unwrap().1[0], expected);
        assert_eq!(street.joined().last(), Some(&Ipv4Addr::new(10, 0, 0, 9)));
        let mut log = device.log.listen().unwrap();
        for away in [None, Some(IpAddr::V6(1.into()))] {
            device.set_address(away);
            street.push(query(&[("meter.local", TYPE::A)]), neighbour(5353));
            pause(40_000).await;
            assert_eq!(packets(&street), []);
        }
        assert_eq!(logged(&mut log), ["mDNS is off: it needs an IPv4 address"]);
        device.set_address(Some(MINE.into()));
        pause(3_000).await;
        assert_eq!(packets(&street).last().unwrap().1, all());
    });
}

/// What was logged, at this level or above.
fn logged(listener: &mut metertrekker::smartmeter::log::Listener<'_>) -> Vec<String> {
    let lines = std::iter::from_fn(|| listener.try_next_message_pure());
    lines.map(|entry| entry.text().to_owned()).collect()
}

#[test]
fn nobody_from_afar_or_from_another_port_takes_the_name() {
    let street = Street::default();
    let mine = [192, 168, 0, 200];
    speaking(&street, 1472, async |device| {
        let mut log = device.log.listen().unwrap();
        let forged = || {
            for from in [
                neighbour(40_000),
                "203.0.113.5:5353".parse().unwrap(),
                "[fd00::9]:5353".parse().unwrap(),
            ] {
                street.push(claim("meter.local", mine), from);
                street.push(probe("meter.local", mine), from);
            }
        };
        pause(300).await;
        forged();
        pause(3_000).await;
        let sent = street.sent();
        let to_all = |sent: &[super::street::Sent]| {
            let all = sent.iter().filter(|(_, to, _)| *to == everybody());
            all.map(|(_, _, packet)| is_query(packet))
                .collect::<Vec<_>>()
        };
        // Asked three times in a row, told twice.
        assert_eq!(to_all(&sent), [true, true, true, false, false]);
        assert_eq!(sent[4].0 - sent[0].0, 1_750);
        forged();
        pause(10_000).await;
        assert!(!to_all(&street.sent()).contains(&true));
        assert!(logged(&mut log).is_empty());
        // The same from a neighbour is another matter.
        street.push(claim("meter.local", mine), neighbour(5353));
        pause(10_000).await;
        assert!(to_all(&street.sent()).contains(&true));
    });
}

#[test]
fn a_name_that_is_taken_gets_a_number_and_a_line_in_the_log() {
    let street = Street::default();
    speaking(&street, 1472, async |device| {
        let mut log = device.log.listen().unwrap();
        pause(300).await;
        street.push(claim("meter.local", [192, 168, 0, 7]), neighbour(5353));
        pause(300).await;
        street.push(claim("Meter-2.local", [192, 168, 0, 8]), neighbour(5353));
        pause(3_000).await;
        assert_eq!(
            logged(&mut log),
            ["mDNS: meter is taken, this is meter-3.local"]
        );
        assert_eq!(device.name(), "meter");
        settled(&street).await;
        street.push(
            query(&[
                ("meter.local", TYPE::A),
                ("meter-2.local", TYPE::A),
                ("meter-3.local", TYPE::A),
            ]),
            neighbour(5353),
        );
        pause(500).await;
        assert_eq!(owners(&street), ["meter-3.local"]);
        // Another name is tried without number again.
        command(device, r#"{"cmd":"mdns","payload":{"name":"kitchen"}}"#).await;
        pause(3_000).await;
        street.sent();
        street.push(query(&[("kitchen.local", TYPE::A)]), neighbour(5353));
        pause(500).await;
        assert_eq!(owners(&street), ["kitchen.local"]);
    });
}

#[test]
fn of_two_that_ask_at_once_the_greater_address_goes_on_and_the_other_waits() {
    for (other, delay) in [(7, 0), (99, 1_000)] {
        let street = Street::default();
        speaking(&street, 1472, async |_| {
            // After its first question.
            pause(260).await;
            street.push(probe("meter.local", [192, 168, 0, other]), neighbour(5353));
            // Its own, which comes back to it.
            street.push(probe("meter.local", MINE), neighbour(5353));
            pause(5_000).await;
            let sent = street.sent();
            let first = sent
                .iter()
                .find(|(_, _, packet)| !is_query(packet))
                .unwrap()
                .0;
            let asked = sent[0].0;
            let expected = match delay {
                0 => asked + 750,
                delay => 260 + delay + 750,
            };
            assert_eq!(first, expected, "{other}");
        });
    }
}

#[test]
fn a_name_that_is_contested_later_is_asked_for_again() {
    let street = Street::default();
    speaking(&street, 1472, async |device| {
        let mut log = device.log.listen().unwrap();
        settled(&street).await;
        // Its own words, and somebody's good-bye, are no claim.
        street.push(claim("meter.local", MINE), neighbour(5353));
        let mut bye = Packet::new_reply(0);
        bye.answers
            .push(address("meter.local", [192, 168, 0, 7], 0));
        street.push(bye.build_bytes_vec().unwrap(), neighbour(5353));
        pause(2_000).await;
        assert_eq!(street.sent().len(), 0);
        street.push(claim("meter.local", [192, 168, 0, 7]), neighbour(5353));
        pause(600).await;
        assert!(street.sent().iter().all(|(_, _, packet)| is_query(packet)));
        // It insists.
        street.push(claim("meter.local", [192, 168, 0, 7]), neighbour(5353));
        pause(3_000).await;
        assert_eq!(
            logged(&mut log),
            ["mDNS: meter is taken, this is meter-2.local"]
        );
    });
}

#[test]
fn a_network_that_takes_nothing_is_tried_again_and_said_once() {
    let street = Street::default();
    street.is_broken(true);
    speaking(&street, 1472, async |device| {
        let mut log = device.log.listen().unwrap();
        pause(100_000).await;
        assert_eq!(
            logged(&mut log),
            ["mDNS is off: port 5353 cannot be used for multicast"]
        );
        street.is_broken(false);
        pause(35_000).await;
        assert_eq!(packets(&street).last().unwrap().1, all());
    });
}

#[test]
fn whoever_answers_to_every_name_is_not_asked_without_end() {
    let street = Street::default();
    speaking(&street, 1472, async |_| {
        let mut asked = 0;
        for _ in 0..600 {
            for (_, _, packet) in street.sent() {
                if is_query(&packet) {
                    asked += 1;
                    let packet = Packet::parse(&packet).unwrap();
                    let owner = packet.questions[0].qname.to_string();
                    street.push(claim(&owner, [192, 168, 0, 7]), neighbour(5353));
                }
            }
            pause(100).await;
        }
        assert!((15..40).contains(&asked), "{asked}");
    });
}

proptest! {
    /// Any bytes, and any damage to good packets: no panic, and the next question is answered.
    #[test]
    fn nonsense_does_no_harm(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        good in 0..3_usize,
        at in 0..200_usize,
        byte in any::<u8>(),
    ) {
        let mut damaged = match good {
            0 => query(&[("meter.local", TYPE::A), ("_elec._tcp.local", TYPE::PTR)]),
            1 => probe("meter._elec._tcp.local", [192, 168, 0, 7]),
            _ => claim("x.meter.local", [192, 168, 0, 7]),
        };
        let length = damaged.len();
        damaged[at % length] = byte;
        let street = Street::default();
        speaking(&street, LEAST, async |_| {
            settled(&street).await;
            for packet in [noise, damaged] {
                street.push(packet, neighbour(5353));
            }
            // A damaged claim may be one for its name.
            pause(10_000).await;
            street.sent();
            street.push(query(&[("_elec._tcp.local", TYPE::PTR)]), neighbour(5353));
            pause(500).await;
            assert!(!street.sent().is_empty());
        });
    }
}
