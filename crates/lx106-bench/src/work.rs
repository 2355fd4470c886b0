//! What is measured: the steps that a telegram goes through in the firmware.

use metertrekker::{
    metric::Device,
    p1::framing::{Event, Framer},
    publish::{influx, topics},
    reading::{Reading, Skip, Value},
    receiver::Receiver,
    settings::Settings,
};

/// As many bytes as the chip's UART has when it raises its interrupt, give or take.
pub const PIECE: usize = 64;

/// Frames and CRC alone; whether the telegram came to its end.
#[inline(never)]
pub fn frame(framer: &mut Framer, telegram: &[u8]) -> bool {
    let mut ended = false;
    for piece in telegram.chunks(PIECE) {
        let mut input = piece;
        while let Some(event) = framer.next(&mut input) {
            ended |= matches!(event, Event::End(_));
        }
    }
    ended
}

/// Frames, CRC and every line's values; whether the telegram was accepted.
#[inline(never)]
pub fn receive(receiver: &mut Receiver<'_>, telegram: &[u8]) -> bool {
    let mut accepted = false;
    for piece in telegram.chunks(PIECE) {
        let mut input = piece;
        while let Some(verdict) = receiver.next(&mut input, &mut |_: &[u8], _: Skip| ()) {
            accepted = verdict.is_ok();
        }
    }
    accepted
}

/// The electricity line as the publisher writes it when all is new; its length.
#[inline(never)]
pub fn line(reading: &Reading, settings: &Settings, buffer: &mut [u8]) -> usize {
    let changed = |_: &Value<'_>| true;
    influx::electricity(reading, settings, &changed, buffer).unwrap_or(0)
}

/// Every InfluxDB line and every topic's payload; how many bytes.
#[inline(never)]
pub fn publish(reading: &Reading, settings: &Settings, buffer: &mut [u8]) -> usize {
    let mut bytes = line(reading, settings, buffer);
    for device in Device::ALL {
        bytes += influx::device(device, reading, settings, buffer).unwrap_or(0);
    }
    for (topic, value) in topics::values(reading, settings) {
        bytes += topic.len() + topics::payload(&value, settings, buffer).unwrap_or(0);
    }
    bytes
}
