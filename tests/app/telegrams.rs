//! Telegrams made for a test.

use crc::{CRC_16_ARC, Crc};
use metertrekker::{
    app::{mailbox::Mailbox, stats::Stats},
    reading::{Content, Reading, Skip},
    receiver::{CrcPolicy, Receiver},
};

/// What a test needs to vary of a telegram.
#[derive(Debug, Clone)]
pub struct Telegram {
    /// `delivered_low` in Wh.
    pub wh: u32,
    /// Stamp and litres of the gas meter.
    pub gas: (&'static str, u32),
    /// The message, in characters.
    pub message: String,
}

impl Telegram {
    pub fn new(wh: u32) -> Self {
        Self {
            wh,
            gas: ("260115180000W", 1_000),
            message: String::new(),
        }
    }

    pub fn gas(mut self, stamp: &'static str, litres: u32) -> Self {
        self.gas = (stamp, litres);
        self
    }

    pub fn message(mut self, message: &str) -> Self {
        self.message = message.into();
        self
    }

    /// The bytes, with a CRC.
    pub fn bytes(&self) -> Vec<u8> {
        let hex = self.message.bytes().map(|byte| format!("{byte:02X}"));
        let (wh, hex) = (self.wh, hex.collect::<String>());
        let (stamp, litres) = self.gas;
        let (kwh, m3) = (kilo(wh), kilo(litres));
        sealed(&format!(
            "/TST5\\TEST METER\r\n\r\n\
             1-3:0.2.8(50)\r\n\
             0-0:1.0.0(260115{:02}{:02}{:02}W)\r\n\
             0-0:96.1.1(3132333435)\r\n\
             1-0:1.8.1({kwh}*kWh)\r\n\
             1-0:1.8.2(002000.000*kWh)\r\n\
             0-0:96.14.0(0001)\r\n\
             1-0:1.7.0(00.321*kW)\r\n\
             1-0:99.97.0(1)(0-0:96.7.19)(250424115558S)(0000004818*s)\r\n\
             0-0:96.13.0({hex})\r\n\
             0-1:24.1.0(003)\r\n\
             0-1:96.1.0(3637383930)\r\n\
             0-1:24.2.1({stamp})({m3}*m3)\r\n\
             !",
            wh / 3600 % 24,
            wh / 60 % 60,
            wh % 60,
        ))
    }
}

/// Adds the CRC.
fn sealed(text: &str) -> Vec<u8> {
    let crc = Crc::<u16>::new(&CRC_16_ARC).checksum(text.as_bytes());
    format!("{text}{crc:04X}\r\n").into_bytes()
}

/// A count of thousandths as a meter prints it.
fn kilo(count: u32) -> String {
    format!("{:06}.{:03}", count / 1000, count % 1000)
}

/// The reading of a telegram's bytes, which must be accepted.
pub fn reading_of(bytes: &[u8]) -> Box<Reading> {
    let mut reading = Box::new(Reading::new());
    let mut receiver = Receiver::new(CrcPolicy::Auto, &mut reading);
    let mut input = bytes;
    let mut skipped = |_: &[u8], _: Skip| {};
    let outcome = receiver
        .next(&mut input, &mut skipped)
        .or_else(|| receiver.silence(&mut skipped));
    assert!(matches!(outcome, Some(Ok(_))), "{outcome:?}");
    reading
}

/// A number of a reading in its thousandths, by the metric's name.
pub fn thousandths(reading: &Reading, name: &str) -> Option<i64> {
    let mut values = reading.values();
    let value = values.find(|value| value.metric.name == name)?;
    match value.content {
        Content::Number { number, .. } => {
            assert_eq!(number.decimals, 3, "{name}");
            Some(number.mantissa)
        }
        _ => None,
    }
}

/// Puts a copy of `telegram` into the mailbox without waiting.
pub fn offer<'a>(mailbox: &Mailbox<'a>, room: &mut &'a mut Reading, bytes: &[u8]) {
    fill(room, bytes);
    let _ = mailbox.offer(room);
}

/// Puts a copy of `telegram` into the mailbox when there is room.
pub async fn deliver<'a>(mailbox: &Mailbox<'a>, room: &mut &'a mut Reading, bytes: &[u8]) {
    fill(room, bytes);
    mailbox.deliver(room).await;
}

fn fill(room: &mut &mut Reading, bytes: &[u8]) {
    **room = *reading_of(bytes);
}

/// All counters of things lost, for a comparison at one go.
pub fn losses(stats: &Stats) -> [(&'static str, u32); 5] {
    [
        ("superseded", stats.superseded.get()),
        ("too_large", stats.too_large.get()),
        ("unacknowledged", stats.unacknowledged.get()),
        ("lost_in_flight", stats.lost_in_flight.get()),
        ("rejected", stats.rejected.get()),
    ]
}
