//! An MQTT 5 broker at the far end of a test's link: it takes bytes and says what it answers.

use std::collections::{HashMap, VecDeque};

use embassy_time::Duration;

/// A packet that the broker got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    /// Its id and its filters.
    Subscribe(u16, Vec<String>),
    Ping,
    Disconnect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    pub client_id: String,
    pub clean_start: bool,
    pub keep_alive: u16,
    pub session_expiry: Option<u32>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub will: Option<Publish>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub id: u16,
}

/// When messages are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    After(Duration),
    Never,
    /// At once, with this reason code.
    Reason(u8),
}

/// How the broker behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    /// It answers nothing at all.
    pub silent: bool,
    /// Reason code of its CONNACK.
    pub connack: u8,
    pub acks: Acks,
    /// It forgets sessions.
    pub forgets: bool,
    pub maximum_packet: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub maximum_qos: Option<u8>,
    /// It answers in the manner of MQTT 3.1.1.
    pub speaks_311: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            silent: false,
            connack: 0,
            acks: Acks::After(Duration::from_millis(20)),
            forgets: false,
            maximum_packet: None,
            receive_maximum: None,
            maximum_qos: None,
            speaks_311: false,
        }
    }
}

/// An answer and how long the broker takes for it; `None` closes the connection.
pub type Answer = (Duration, Option<Vec<u8>>);

/// What is left of the packets of a connection.
#[derive(Debug, Default)]
pub struct Broker {
    pub manners: Manners,
    /// The bytes of the connection at hand that are no whole packet yet.
    buffer: VecDeque<u8>,
    has_session: bool,
    connected: bool,
    /// Retained messages.
    pub retained: HashMap<String, String>,
    /// Messages that this connection's client has not had acknowledged.
    in_flight: u16,
}

impl Broker {
    /// A new connection, on which nothing has come yet.
    pub fn accept(&mut self) {
        self.buffer.clear();
        self.connected = false;
        self.in_flight = 0;
    }

    pub fn take(&mut self, bytes: &[u8]) -> (Vec<Packet>, Vec<Answer>) {
        self.buffer.extend(bytes);
        let (mut packets, mut answers) = (Vec::new(), Vec::new());
        while let Some((first, body)) = whole(self.buffer.make_contiguous()) {
            let used = body.1;
            let packet = parse(first, &body.0);
            self.buffer.drain(..used);
            self.answer(&packet, &mut answers);
            packets.push(packet);
        }
        (packets, answers)
    }

    fn answer(&mut self, packet: &Packet, answers: &mut Vec<Answer>) {
        let now = Duration::from_ticks(0);
        if self.manners.silent {
            return;
        }
        match packet {
            Packet::Connect(connect) => {
                assert!(!self.connected, "a second CONNECT");
                self.connected = true;
                if self.manners.speaks_311 {
                    // Return code 1: unacceptable protocol version (MQTT 3.1.1 §3.2.2.3).
                    answers.push((now, Some(vec![0x20, 2, 0, 1])));
                    answers.push((now, None));
                    return;
                }
                let present = self.has_session && !connect.clean_start && !self.manners.forgets;
                self.has_session = true;
                let refused = self.manners.connack >= 0x80;
                let mut properties = Vec::new();
                if let Some(size) = self.manners.maximum_packet {
                    properties.push(0x27);
                    properties.extend(size.to_be_bytes());
                }
                if let Some(count) = self.manners.receive_maximum {
                    properties.push(0x21);
                    properties.extend(count.to_be_bytes());
                }
                if let Some(qos) = self.manners.maximum_qos {
                    properties.extend([0x24, qos]);
                }
                let mut connack = vec![0x20, 3 + properties.len() as u8];
                connack.push(u8::from(present && !refused));
                connack.extend([self.manners.connack, properties.len() as u8]);
                connack.extend(properties);
                answers.push((now, Some(connack)));
                if refused {
                    answers.push((now, None));
                }
            }
            Packet::Publish(publish) => {
                if publish.retain {
                    let message = (publish.topic.clone(), publish.payload.clone());
                    self.retained.extend([message]);
                }
                if publish.qos == 0 {
                    return;
                }
                self.in_flight += 1;
                let most = self.manners.receive_maximum.unwrap_or(u16::MAX);
                assert!(self.in_flight <= most, "more than the receive maximum");
                let [high, low] = publish.id.to_be_bytes();
                match self.manners.acks {
                    Acks::Never => {}
                    Acks::After(wait) => {
                        self.in_flight -= 1;
                        answers.push((wait, Some(vec![0x40, 2, high, low])));
                    }
                    Acks::Reason(code) => {
                        self.in_flight -= 1;
                        answers.push((now, Some(vec![0x40, 3, high, low, code])));
                    }
                }
            }
            Packet::Subscribe(id, filters) => {
                let [high, low] = id.to_be_bytes();
                let mut suback = vec![0x90, 3 + filters.len() as u8, high, low, 0];
                suback.extend(filters.iter().map(|_| 0));
                answers.push((now, Some(suback)));
            }
            Packet::Ping => answers.push((now, Some(vec![0xD0, 0]))),
            Packet::Disconnect => answers.push((now, None)),
        }
    }
}

/// A packet's first byte, its body and its length, once all of it is there.
fn whole(bytes: &[u8]) -> Option<(u8, (Vec<u8>, usize))> {
    let (first, mut at, mut length) = (*bytes.first()?, 1, 0);
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(at)?;
        at += 1;
        length |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?;
    Some((first, (body.to_vec(), at + length)))
}

/// Reads a body front to back; what is no MQTT ends the test.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes(2).try_into().unwrap())
    }

    fn text(&mut self) -> String {
        let length = self.word().into();
        String::from_utf8(self.bytes(length).to_vec()).expect("UTF-8")
    }

    /// Properties shorter than 128 bytes.
    fn properties(&mut self) -> Body<'a> {
        let length = self.byte();
        assert!(length < 0x80);
        Body(self.bytes(length.into()))
    }
}

fn parse(first: u8, body: &[u8]) -> Packet {
    let mut body = Body(body);
    let packet = match first {
        0x10 => connect(&mut body),
        0x30..=0x3F => {
            let qos = first >> 1 & 3;
            let topic = body.text();
            let id = if qos > 0 { body.word() } else { 0 };
            assert!(body.properties().0.is_empty());
            let payload = body.bytes(body.0.len()).to_vec();
            Packet::Publish(Publish {
                topic,
                payload: String::from_utf8(payload).expect("UTF-8"),
                qos,
                retain: first & 1 != 0,
                dup: first & 8 != 0,
                id,
            })
        }
        0x82 => {
            let id = body.word();
            assert!(body.properties().0.is_empty());
            let mut filters = Vec::new();
            while !body.0.is_empty() {
                filters.push(body.text());
                assert!(body.byte() & 3 <= 1, "QoS 0 or 1");
            }
            Packet::Subscribe(id, filters)
        }
        0xC0 => Packet::Ping,
        0xE0 => {
            body.bytes(body.0.len());
            Packet::Disconnect
        }
        other => panic!("no packet of a client: {other:#04x}"),
    };
    assert!(body.0.is_empty(), "more in a packet than belongs there");
    packet
}

fn connect(body: &mut Body<'_>) -> Packet {
    assert_eq!(body.text(), "MQTT");
    assert_eq!(body.byte(), 5, "protocol version");
    let flags = body.byte();
    let keep_alive = body.word();
    let mut properties = body.properties();
    let mut session_expiry = None;
    while !properties.0.is_empty() {
        match properties.byte() {
            0x11 => {
                let seconds = properties.bytes(4).try_into().unwrap();
                session_expiry = Some(u32::from_be_bytes(seconds));
            }
            0x21 => drop(properties.word()),
            0x27 => drop(properties.bytes(4)),
            other => panic!("property {other:#04x}"),
        }
    }
    let client_id = body.text();
    let will = (flags & 4 != 0).then(|| {
        assert!(body.properties().0.is_empty());
        Publish {
            topic: body.text(),
            payload: body.text(),
            qos: flags >> 3 & 3,
            retain: flags & 0x20 != 0,
            dup: false,
            id: 0,
        }
    });
    Packet::Connect(Box::new(Connect {
        client_id,
        clean_start: flags & 2 != 0,
        keep_alive,
        session_expiry,
        will,
        user: (flags & 0x80 != 0).then(|| body.text()),
        password: (flags & 0x40 != 0).then(|| body.text()),
    }))
}

/// A message on its way to the client, QoS 0.
pub fn message(topic: &str, payload: &str, retained: bool) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((topic.len() as u16).to_be_bytes());
    body.extend(topic.as_bytes());
    // No properties.
    body.push(0);
    body.extend(payload.as_bytes());
    let mut packet = vec![0x30 | u8::from(retained)];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}
