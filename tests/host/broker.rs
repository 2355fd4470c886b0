//! The broker in the process: MQTT 5 in, MQTT 3.1.1 out.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use edge_nal::TcpConnect;
use embedded_io_async::Read as _;
use metertrekker::soc::host::broker::Broker;
use metertrekker::soc::host::executor::block_on;
use metertrekker::soc::host::net::Net;
use minimq::{Buffers, ConfigBuilder, Publication, QoS, Session};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A subscriber of MQTT 3.1.1 with every byte spelled out, so that nothing but the standard is
/// taken for granted.
struct Subscriber(TcpStream);

impl Subscriber {
    fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect((LOOPBACK, port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        // CONNECT: protocol "MQTT" level 4, clean session, keep alive 60 s, client id "sub".
        stream
            .write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03sub")
            .unwrap();
        let mut subscriber = Self(stream);
        assert_eq!(subscriber.packet(), (0x20, vec![0, 0]), "CONNACK");
        // SUBSCRIBE: packet 1, filter "#", QoS 0.
        subscriber
            .0
            .write_all(b"\x82\x06\x00\x01\x00\x01#\x00")
            .unwrap();
        subscriber
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut byte = || {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            byte[0]
        };
        let kind = byte();
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let digit = byte();
            length |= usize::from(digit & 0x7F) << shift;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (kind, body)
    }

    /// The next message: topic, payload, retained.
    fn message(&mut self) -> (String, Vec<u8>, bool) {
        loop {
            let (kind, body) = self.packet();
            if kind & 0xF0 == 0x30 {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let (topic, payload) = body[2..].split_at(topic);
                let topic = String::from_utf8(topic.to_vec()).unwrap();
                return (topic, payload.to_vec(), kind & 1 == 1);
            }
        }
    }
}

/// Publishes with the client of the firmware and waits until the broker has everything.
fn publish(port: u16, messages: &[(&str, &[u8])]) {
    let (mut rx, mut tx) = ([0; 512], [0; 8192]);
    let config = ConfigBuilder::new(Buffers::new(&mut rx, &mut tx))
        .client_id("metertrekker")
        .unwrap();
    let mut session = Session::new(config);
    block_on(async {
        let socket = Net.connect(SocketAddr::new(LOOPBACK, port)).await.unwrap();
        let mut connection = session.connect(socket).await.unwrap();
        for &(topic, payload) in messages {
            let publication = Publication::bytes(topic, payload)
                .retain()
                .qos(QoS::AtLeastOnce);
            let op = connection.publish(publication).await.unwrap();
            while op.as_ref().is_some_and(|op| connection.is_pending(op)) {
                connection.poll().await.unwrap();
            }
        }
        connection.disconnect().await.unwrap();
        // The broker closes first: a close of ours may be its second news of the same end, which it takes for the
        // end of whoever has this connection's number by then.
        let mut socket = connection.into_inner();
        while !matches!(socket.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
    });
}

#[test]
fn what_the_firmware_publishes_reaches_a_3_1_1_subscriber() {
    let broker = Broker::start(LOOPBACK).unwrap();
    assert_ne!(broker.v4_port, broker.v5_port);
    let long = vec![b'x'; 4096 + 1024];
    publish(
        broker.v5_port,
        &[("root/status", b"online"), ("root/long", &long)],
    );

    let mut subscriber = Subscriber::connect(broker.v4_port);
    let mut retained = BTreeMap::new();
    for _ in 0..2 {
        let (topic, payload, flag) = subscriber.message();
        assert!(flag, "{topic} is not marked as retained");
        retained.insert(topic, payload);
    }
    assert_eq!(retained["root/status"], b"online");
    assert_eq!(retained["root/long"], long);

    publish(broker.v5_port, &[("root/power", b"0.410")]);
    let live = ("root/power".to_owned(), b"0.410".to_vec(), false);
    assert_eq!(subscriber.message(), live);
}

#[test]
fn a_new_subscriber_gets_every_topic_of_a_large_meter() {
    let broker = Broker::start(LOOPBACK).unwrap();
    let topics: Vec<_> = (0..250).map(|n| format!("root/topic{n}")).collect();
    let messages: Vec<_> = topics
        .iter()
        .map(|t| (t.as_str(), b"1".as_slice()))
        .collect();
    publish(broker.v5_port, &messages);
    let mut subscriber = Subscriber::connect(broker.v4_port);
    let mut seen: Vec<_> = (0..250).map(|_| subscriber.message().0).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 250);
}

#[test]
fn a_taken_port_gives_way_to_the_next() {
    // Whether or not something holds the port already, it is taken now.
    let _holder = TcpListener::bind((LOOPBACK, 1883));
    let first = Broker::start(LOOPBACK).unwrap();
    assert_ne!(first.v4_port, 1883);
    let second = Broker::start(LOOPBACK).unwrap();
    assert_ne!(second.v4_port, first.v4_port);
    assert_ne!(second.v5_port, first.v5_port);
}

#[test]
fn the_ports_are_free_when_the_broker_has_ended() {
    let broker = Broker::start(LOOPBACK).unwrap();
    let client = TcpStream::connect((LOOPBACK, broker.v5_port)).unwrap();
    let port = broker.v5_port;
    drop(broker);
    drop(client);
    TcpListener::bind((LOOPBACK, port)).unwrap();
}

#[test]
fn an_address_of_another_machine_is_refused_in_one_sentence() {
    let error = Broker::start(Ipv4Addr::new(192, 0, 2, 1).into()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("broker: cannot listen on 192.0.2.1: "),
        "{text}"
    );
    assert!(text.ends_with("give an address of this machine"), "{text}");
}
