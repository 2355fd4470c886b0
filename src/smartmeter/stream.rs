//! Samples on their way to a client.
//!
//! A meter speaks once a second at most, a client may ask for 32,000 samples in that time: all of them
//! are what the meter last said. So samples that wait are kept as runs of equal ones, which takes no
//! memory to speak of, and a client that is late still gets each of them.

use embassy_time::{Instant, TICK_HZ};

use super::{
    sampling::{self, MAX_CHUNK, Measures, Order, Sink, Slot, VALUE},
    time::Moment,
    values::{Calibration, Kind, Values},
};

/// Bytes that may wait, as many as the SmartMeter has room for: 19 s of all values at its rate.
pub const CAPACITY: usize = 3_670_016;

/// Runs that may wait: so many different telegrams.
const RUNS: usize = 24;

/// Samples that may wait for the broker, at rates below that: what it does not take in a second it will
/// not take later either.
const FEW: u32 = 16;

/// Bytes of the longest sample.
pub const MAX_SAMPLE: usize = 6 * VALUE;

/// What is before a chunk: a word, its length and its number.
const PREFIX: &[u8] = b"Data:";

/// Bytes of the longest packet: prefix, chunk and line end.
pub const MAX_PACKET: usize = PREFIX.len() + 2 + 4 + MAX_CHUNK + 2;

/// Where a packet is written.
pub type Packet = heapless::Vec<u8, MAX_PACKET>;

/// Bytes of the longest packet of up to so many samples a second.
pub const fn packet_at(rate: u32) -> usize {
    let chunk = sampling::chunk_at(rate, MAX_SAMPLE);
    let serial = sampling::SERIAL_CHUNK;
    MAX_PACKET - MAX_CHUNK + if chunk > serial { chunk } else { serial }
}

/// The same on boards whose highest rate makes shorter ones.
pub type PacketView = heapless::VecView<u8>;

/// One sample as it is sent: IEEE 754 singles, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample([u8; MAX_SAMPLE]);

impl Sample {
    /// What `values` say, in V, mA, W and var; NaN is what they do not say, and everything when there
    /// are none.
    pub fn of(measures: Measures, values: Option<&Values>, by: &Calibration) -> Self {
        let mut bytes = [0; MAX_SAMPLE];
        let places = bytes.as_chunks_mut::<VALUE>().0;
        for (place, (kind, phase)) in places.iter_mut().zip(measures.channels()) {
            let value = values.and_then(|values| values.of_phase(*kind, *phase, by));
            let value = match (value, kind) {
                (None, _) => f32::NAN,
                (Some(value), Kind::Current) => value as f32,
                (Some(value), _) => value as f32 / 1000.0,
            };
            *place = value.to_le_bytes();
        }
        Self(bytes)
    }
}

/// Decimals of V, A, W and var in [`thousandths`].
pub const VALUE_DECIMALS: u8 = 3;

/// The values of a packet without prefix as whole numbers; `None` is what the meter does not say.
pub fn thousandths(packet: &[u8]) -> impl Iterator<Item = Option<i64>> {
    packet.as_chunks().0.iter().map(|bytes| {
        let value = f32::from_le_bytes(*bytes) * 1000.0;
        let half = if value < 0.0 { -0.5 } else { 0.5 };
        (!value.is_nan()).then_some((value + half) as i64)
    })
}

/// Equal samples in a row.
#[derive(Debug, Clone, Copy)]
struct Run {
    sample: Sample,
    count: u32,
}

/// The samples of one client, from the first to the last. RAM: 0.8 kB.
///
/// It is told the time and what the meter says, and makes packets of the samples that are due. What
/// does not go in time is lost, the oldest first, and counted.
#[derive(Debug)]
pub struct Stream {
    rate: u32,
    /// Bytes of a sample.
    width: usize,
    /// Samples of a chunk.
    chunk: u32,
    /// Samples that may wait.
    capacity: u32,
    prefix: bool,
    line_ends: bool,
    slot: Option<Slot>,
    started: Instant,
    held: Sample,
    runs: heapless::Deque<Run, RUNS>,
    /// Samples in the runs.
    waiting: u32,
    made: u64,
    sent: u64,
    lost: u64,
    /// How many of those lost have been told.
    told: u64,
    packets: u32,
    /// Samples sent before the slot that is open, or was last.
    before_slot: u64,
    clear: bool,
    requested: u32,
    /// Once it has ended: how many samples still go.
    last: Option<u32>,
}

impl Stream {
    /// The stream of an order that starts at `now`, while the meter says `held`. The first sample is
    /// due when the time between two samples has passed.
    pub fn new(order: &Order, held: Sample, now: Instant) -> Self {
        let width = order.measures.bytes();
        let capacity = match order.sink {
            Sink::Mqtt => order.rate.max(FEW),
            _ => (CAPACITY / width) as u32,
        };
        Self {
            rate: order.rate.max(1),
            width,
            chunk: (order.chunk() / width) as u32,
            capacity,
            prefix: order.prefix,
            line_ends: order.prefix && order.sink == Sink::Serial,
            slot: order.slot,
            started: now,
            held,
            runs: heapless::Deque::new(),
            waiting: 0,
            made: 0,
            sent: 0,
            lost: 0,
            told: 0,
            packets: 0,
            before_slot: 0,
            clear: !order.flow_control,
            requested: 0,
            last: None,
        }
    }

    /// The meter says something else since `at`.
    pub fn hold(&mut self, sample: Sample, at: Instant) {
        self.advance(at);
        self.held = sample;
    }

    /// Makes the samples that are due at `now`.
    pub fn advance(&mut self, now: Instant) {
        if self.last.is_some() {
            return;
        }
        let count = self.due(now).saturating_sub(self.made);
        if count == 0 {
            return;
        }
        self.made += count;
        let fit = count.min(self.capacity.into()) as u32;
        self.lost += count - u64::from(fit);
        let excess = (self.waiting + fit).saturating_sub(self.capacity);
        self.take(excess, |_| {});
        self.lost += u64::from(excess);
        self.waiting += fit;
        match self.runs.back_mut() {
            Some(run) if run.sample == self.held => run.count += fit,
            _ => {
                if self.runs.is_full()
                    && let Some(oldest) = self.runs.pop_front()
                {
                    self.waiting -= oldest.count;
                    self.lost += u64::from(oldest.count);
                }
                // There is room for it now.
                let _ = self.runs.push_back(Run {
                    sample: self.held,
                    count: fit,
                });
            }
        }
    }

    /// Lets samples go, or holds them back.
    pub fn clear_to_send(&mut self, clear: bool) {
        self.clear = clear;
    }

    /// Lets so many samples more go, whether it is clear to send or not.
    pub fn request(&mut self, samples: u32) {
        self.requested = self.requested.saturating_add(samples);
    }

    /// No sample is made after `now`, which is `time` for the slot. Those that may go at this moment
    /// still do, the last packet may be a short one; the others never will.
    pub fn end(&mut self, now: Instant, time: Option<Moment>) {
        self.advance(now);
        self.last = Some(match self.requested {
            _ if !self.is_open(time) => 0,
            _ if self.clear => self.waiting,
            requested => requested.min(self.waiting),
        });
    }

    fn is_open(&self, time: Option<Moment>) -> bool {
        self.slot
            .is_none_or(|slot| time.is_some_and(|time| slot.is_open(time)))
    }

    /// Writes the next packet when there is one to go; `now` is the time for its slot.
    pub fn packet(&mut self, now: Option<Moment>, packet: &mut PacketView) -> bool {
        let wanted = self.wanted();
        let is_open = self.last.is_some() || self.is_open(now);
        if !is_open || wanted == 0 || self.waiting < wanted {
            return false;
        }
        let count = wanted;
        packet.clear();
        // Whoever asks has room for the chunks of this order.
        if self.prefix {
            let length = (count as usize * self.width) as u16;
            let _ = packet.extend_from_slice(PREFIX);
            let _ = packet.extend_from_slice(&length.to_le_bytes());
            let _ = packet.extend_from_slice(&self.packets.to_le_bytes());
        }
        self.take(count, |bytes| {
            let _ = packet.extend_from_slice(bytes);
        });
        if self.line_ends {
            let _ = packet.extend_from_slice(b"\r\n");
        }
        self.packets = self.packets.wrapping_add(1);
        self.sent += u64::from(count);
        self.requested = self.requested.saturating_sub(count);
        self.last = self.last.map(|last| last.saturating_sub(count));
        true
    }

    /// Whether samples go at times only.
    pub fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// Samples that its slot has sent and left, once it is over at `now`.
    pub fn slot_over(&mut self, now: Option<Moment>) -> Option<(u64, u32)> {
        let sent = self.sent - self.before_slot;
        if sent == 0 || self.is_open(now) || self.last.is_some() {
            return None;
        }
        self.before_slot = self.sent;
        let left = self.waiting;
        Some((sent, if left >= self.chunk { left } else { 0 }))
    }

    /// When the next packet is whole; `None` while nothing is to go. Its slot may be closed then.
    pub fn ready_at(&self) -> Option<Instant> {
        let wanted = self.wanted();
        let last = self.sent + self.lost + u64::from(wanted);
        (wanted > 0).then(|| self.at(last))
    }

    /// When the first sample of the next packet was due, or will be.
    pub fn next_at(&self) -> Instant {
        self.at(self.sent + self.lost + 1)
    }

    /// Samples made so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Samples sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Samples sent when all is sent that still goes after the end.
    pub fn sent_in_the_end(&self) -> u64 {
        self.sent + u64::from(self.last.unwrap_or(0))
    }

    /// Samples lost since this was last asked.
    pub fn newly_lost(&mut self) -> u64 {
        let told = core::mem::replace(&mut self.told, self.lost);
        self.lost - told
    }

    /// Samples of the next packet.
    fn wanted(&self) -> u32 {
        if let Some(last) = self.last {
            return last.min(self.chunk);
        }
        match self.requested {
            0 if self.clear => self.chunk,
            requested => requested.min(self.chunk),
        }
    }

    /// Samples that are due at `now`, from the first.
    fn due(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.started).as_ticks();
        let rate = u64::from(self.rate);
        // In two parts, so that no time is too long.
        (ticks / TICK_HZ)
            .saturating_mul(rate)
            .saturating_add(ticks % TICK_HZ * rate / TICK_HZ)
    }

    /// When the `number`th sample is due, from 1.
    fn at(&self, number: u64) -> Instant {
        let rate = u64::from(self.rate);
        let whole = (number / rate).saturating_mul(TICK_HZ);
        let part = (number % rate * TICK_HZ).div_ceil(rate);
        let ticks = self.started.as_ticks().saturating_add(whole);
        Instant::from_ticks(ticks.saturating_add(part))
    }

    /// Takes the oldest samples out.
    fn take(&mut self, count: u32, mut see: impl FnMut(&[u8])) {
        let mut left = count.min(self.waiting);
        self.waiting -= left;
        while let Some(run) = self.runs.front_mut()
            && left > 0
        {
            let taken = left.min(run.count);
            for _ in 0..taken {
                see(run.sample.0.get(..self.width).unwrap_or_default());
            }
            left -= taken;
            run.count -= taken;
            if run.count == 0 {
                self.runs.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, format, vec::Vec};

    use embassy_time::Duration;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        reading::Reading,
        smartmeter::{
            request::Request,
            values::{ONE, UNCALIBRATED},
        },
    };

    fn order(payload: &str) -> Order {
        let line = format!(r#"{{"cmd":"sample","payload":{{{payload}}}}}"#);
        Order::parse(&Request::parse(line.as_bytes()).unwrap(), 32_000).unwrap()
    }

    fn at(milliseconds: u64) -> Instant {
        Instant::from_millis(1_000_000 + milliseconds)
    }

    /// A sample that has this number in each place.
    fn sample(number: u32) -> Sample {
        let mut bytes = [0; MAX_SAMPLE];
        for place in bytes.as_chunks_mut::<4>().0 {
            *place = (number as f32).to_le_bytes();
        }
        Sample(bytes)
    }

    fn numbers(bytes: &[u8]) -> Vec<f32> {
        let values = bytes.as_chunks().0.iter();
        values.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn values(lines: &[&str]) -> Values {
        let mut reading = Reading::new();
        reading.begin(b"ABC5x");
        for line in lines {
            reading.line(line.as_bytes()).unwrap();
        }
        reading.settle();
        Values::of(&reading, at(0))
    }

    /// All packets that are to go, one behind the other.
    fn sent(stream: &mut Stream) -> Vec<u8> {
        let (mut packet, mut all) = (Packet::new(), Vec::new());
        while stream.packet(None, &mut packet) {
            all.extend_from_slice(&packet);
        }
        all
    }

    #[test]
    fn a_sample_is_what_the_meter_says_and_nan_where_it_is_silent() {
        let values = values(&[
            "1-0:1.7.0(00.500*kW)",
            "1-0:32.7.0(230.1*V)",
            "1-0:52.7.0(231.2*V)",
            "1-0:31.7.0(002.5*A)",
            "1-0:51.7.0(001*A)",
            "1-0:21.7.0(00.400*kW)",
            "1-0:42.7.0(00.100*kW)",
            "1-0:43.7.0(00.020*kvar)",
        ]);
        let by = &[ONE, 2 * ONE, ONE, ONE, ONE, ONE];
        let nan = f32::NAN;
        for (measures, expected) in [
            (Measures::All, &[230.1, 5000.0, 231.2, 1000.0, nan, nan][..]),
            (Measures::L1, &[230.1, 5000.0]),
            (Measures::L3, &[nan, nan]),
            (Measures::Rms, &[230.1, 231.2, nan, 5000.0, 1000.0, nan]),
            (Measures::Power, &[800.0, -100.0, nan, nan, 20.0, nan]),
        ] {
            let Sample(bytes) = Sample::of(measures, Some(&values), by);
            let said = numbers(&bytes[..measures.bytes()]);
            // A NaN is not equal to itself, but its text is.
            assert_eq!(format!("{said:?}"), format!("{expected:?}"), "{measures:?}");
            let Sample(bytes) = Sample::of(measures, None, by);
            let said = numbers(&bytes[..measures.bytes()]);
            assert!(said.iter().all(|value| value.is_nan()), "{measures:?}");
        }
    }

    #[test]
    fn a_meter_without_phases_has_its_power_on_the_first() {
        let values = values(&["1-0:1.7.0(00.500*kW)", "1-0:2.7.0(00.700*kW)"]);
        let Sample(bytes) = Sample::of(Measures::Power, Some(&values), &UNCALIBRATED);
        let said = numbers(&bytes);
        assert_eq!(said[0], -200.0);
        assert!(said[1..].iter().all(|value| value.is_nan()));
    }

    #[test]
    fn a_packet_has_length_number_and_little_endian_singles() {
        let order = order(r#""type":"TCP","rate":20,"measures":"v,i_L1""#);
        let mut held = [0; MAX_SAMPLE];
        held[..4].copy_from_slice(&230.1f32.to_le_bytes());
        held[4..8].copy_from_slice(&500.0f32.to_le_bytes());
        let mut stream = Stream::new(&order, Sample(held), at(0));
        let values = [0x9a, 0x19, 0x66, 0x43, 0, 0, 0xfa, 0x43];
        let mut expected = Vec::new();
        for number in 0..2u8 {
            expected.extend_from_slice(b"Data:\x10\0");
            expected.extend_from_slice(&[number, 0, 0, 0]);
            expected.extend_from_slice(&[values, values].concat());
        }
        stream.advance(at(249));
        assert_eq!(sent(&mut stream), expected);
        assert_eq!((stream.made(), stream.sent()), (4, 4));
    }

    #[test]
    fn a_raw_stream_is_nothing_but_values_and_a_line_has_its_ends() {
        let payload = r#""rate":10,"measures":"v,i_L1","type""#;
        let mut raw = Stream::new(&order(&format!("{payload}:\"FFMPEG\"")), sample(7), at(0));
        raw.advance(at(200));
        assert_eq!(numbers(&sent(&mut raw)), [7.0; 4]);
        let mut line = Stream::new(&order(&format!("{payload}:\"Serial\"")), sample(7), at(0));
        line.advance(at(1_600));
        let bytes = sent(&mut line);
        assert_eq!(bytes.len(), 11 + 128 + 2);
        assert_eq!(bytes.last_chunk(), Some(b"\r\n"));
    }

    #[test]
    fn a_slot_that_is_over_says_once_what_it_has_sent_and_left() {
        let order = order(r#""type":"TCP","rate":10,"slot":[1,2]"#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        let (open, closed) = (Some(Moment(1_000)), Some(Moment(2_000)));
        let mut packet = Packet::new();
        stream.advance(at(500));
        assert_eq!(stream.slot_over(closed), None);
        for _ in 0..3 {
            assert!(stream.packet(open, &mut packet));
        }
        assert_eq!(stream.slot_over(open), None);
        assert_eq!(stream.slot_over(closed), Some((3, 2)));
        assert_eq!(stream.slot_over(closed), None);
        while stream.packet(open, &mut packet) {}
        assert_eq!(stream.slot_over(closed), Some((2, 0)));
        let order = self::order(r#""type":"TCP","rate":10"#);
        let mut always = Stream::new(&order, sample(1), at(0));
        always.advance(at(500));
        assert!(always.packet(None, &mut packet));
        assert_eq!(always.slot_over(None), None);
    }

    #[test]
    fn as_many_samples_come_as_the_rate_says_for_years() {
        for rate in [1, 3, 7, 50, 8_000, 11_025, 32_000] {
            let order = order(&format!(r#""type":"TCP","rate":{rate}"#));
            let mut stream = Stream::new(&order, sample(1), at(0));
            stream.advance(at(0));
            assert_eq!(stream.made(), 0);
            stream.advance(at(16_157));
            assert_eq!(stream.made(), 16_157 * rate / 1000);
            let years = 20 * 366 * 86_400;
            stream.advance(at(years * 1000));
            assert_eq!(stream.made(), years * rate);
            stream.advance(at(0));
            stream.advance(Instant::MAX);
            assert!(stream.waiting <= stream.capacity);
        }
    }

    #[test]
    fn a_sample_is_what_the_meter_said_when_it_was_due() {
        let order = order(r#""type":"FFMPEG","rate":10,"measures":"v,i_L1""#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        stream.hold(sample(2), at(299));
        stream.hold(sample(3), at(500));
        stream.advance(at(600));
        let values: Vec<_> = numbers(&sent(&mut stream)).into_iter().step_by(2).collect();
        assert_eq!(values, [1.0, 1.0, 2.0, 2.0, 2.0, 3.0]);
    }

    #[test]
    fn it_is_known_when_a_packet_is_whole() {
        for rate in [1, 3, 7, 250, 11_025] {
            let order = order(&format!(r#""type":"TCP","rate":{rate}"#));
            let mut stream = Stream::new(&order, sample(1), at(0));
            let mut packet = Packet::new();
            for _ in 0..100 {
                let ready = stream.ready_at().unwrap();
                stream.advance(ready - Duration::from_ticks(1));
                assert!(!stream.packet(None, &mut packet));
                stream.advance(ready);
                assert!(stream.packet(None, &mut packet));
            }
        }
    }

    #[test]
    fn what_is_too_much_is_lost_from_the_oldest_and_counted() {
        let order = order(r#""type":"FFMPEG","rate":10,"measures":"v,i_L1""#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        stream.capacity = 5;
        stream.hold(sample(2), at(400));
        stream.advance(at(600));
        assert_eq!((stream.newly_lost(), stream.newly_lost()), (1, 0));
        let values: Vec<_> = numbers(&sent(&mut stream)).into_iter().step_by(2).collect();
        assert_eq!(values, [1.0, 1.0, 1.0, 2.0, 2.0]);
        stream.advance(at(60_600));
        assert_eq!(stream.newly_lost(), 595);
        assert_eq!(sent(&mut stream).len(), 5 * 8);
        assert_eq!((stream.made(), stream.sent()), (606, 10));
    }

    #[test]
    fn more_different_samples_than_there_is_room_for_lose_the_oldest() {
        let order = order(r#""type":"FFMPEG","rate":10,"measures":"v,i_L1""#);
        let mut stream = Stream::new(&order, sample(0), at(0));
        for second in 1..=RUNS as u32 + 2 {
            stream.hold(sample(second), at(u64::from(second) * 1000));
        }
        assert_eq!(stream.newly_lost(), 20);
        let values = numbers(&sent(&mut stream));
        assert_eq!(values.len(), RUNS * 10 * 2);
        assert_eq!(values.first(), Some(&2.0));
    }

    #[test]
    fn with_flow_control_goes_only_what_was_asked_for() {
        let order = order(r#""type":"TCP","rate":1000,"flowCtr":true"#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        stream.advance(at(1_000));
        assert_eq!(stream.ready_at(), None);
        assert!(sent(&mut stream).is_empty());
        stream.request(100);
        let bytes = sent(&mut stream);
        assert_eq!(bytes.len(), 3 * 11 + 100 * 24);
        assert_eq!(bytes[5..7], 1008u16.to_le_bytes());
        // What was asked for comes also when it was not there yet.
        stream.request(2_000);
        assert_eq!(sent(&mut stream).len(), (11 + 1008) * 21);
        stream.advance(at(3_000));
        assert!(sent(&mut stream).len() > 1000 * 24);
        assert_eq!((stream.sent(), stream.ready_at()), (2_100, None));
        stream.clear_to_send(true);
        assert_eq!(sent(&mut stream).len(), (11 + 1008) * 21);
        stream.clear_to_send(false);
        stream.advance(at(9_000));
        assert!(sent(&mut stream).is_empty());
    }

    #[test]
    fn outside_of_its_slot_nothing_goes() {
        let order = order(r#""type":"TCP","rate":1,"slot":[1,2]"#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        stream.advance(at(10_000));
        let mut packet = Packet::new();
        assert!(!stream.packet(None, &mut packet));
        assert!(!stream.packet(Some(Moment(10_999)), &mut packet));
        assert!(stream.packet(Some(Moment(11_000)), &mut packet));
        assert!(!stream.packet(Some(Moment(12_000)), &mut packet));
    }

    #[test]
    fn the_last_packet_may_be_short() {
        let order = order(r#""type":"TCP","rate":1000"#);
        let mut stream = Stream::new(&order, sample(1), at(0));
        stream.end(at(50), None);
        stream.advance(at(90));
        assert_eq!(sent(&mut stream).len(), 2 * 11 + 50 * 24);
        assert_eq!((stream.made(), stream.ready_at()), (50, None));
    }

    /// What happens to a stream.
    #[derive(Debug, Clone)]
    enum Event {
        Wait(u64),
        Hold(u32),
        Clear(bool),
        Request(u32),
        Send,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u64..3_000).prop_map(Event::Wait),
            (0u32..4).prop_map(Event::Hold),
            any::<bool>().prop_map(Event::Clear),
            (0u32..50).prop_map(Event::Request),
            Just(Event::Send),
        ]
    }

    /// The samples one by one.
    struct Model {
        waiting: VecDeque<u32>,
        made: u64,
        lost: u64,
    }

    impl Model {
        fn advance(&mut self, elapsed: u64, rate: u64, held: u32, capacity: usize) {
            while self.made < elapsed * rate / 1000 {
                self.made += 1;
                let runs = |waiting: &VecDeque<u32>| {
                    let changes = waiting.iter().zip(waiting.iter().skip(1));
                    changes.filter(|(a, b)| a != b).count() + 1
                };
                self.waiting.push_back(held);
                if self.waiting.len() > capacity {
                    self.waiting.pop_front();
                    self.lost += 1;
                }
                if runs(&self.waiting) > RUNS {
                    let oldest = self.waiting[0];
                    while self.waiting[0] == oldest {
                        self.waiting.pop_front();
                        self.lost += 1;
                    }
                }
            }
        }
    }

    proptest! {
        /// Runs of equal samples are nothing but a shorter way to write them.
        #[test]
        fn a_stream_is_a_queue_that_loses_its_oldest(
            events in prop::collection::vec(event(), 0..120),
            rate in 1u32..60,
            capacity in 1u32..200,
        ) {
            let order = order(&format!(r#""type":"FFMPEG","rate":{rate},"measures":"v,i_L2""#));
            let mut stream = Stream::new(&order, sample(0), at(0));
            stream.capacity = capacity;
            let mut model = Model { waiting: VecDeque::new(), made: 0, lost: 0 };
            let (mut now, mut held, mut lost) = (0, 0, 0);
            for event in events {
                match event {
                    Event::Wait(milliseconds) => now += milliseconds,
                    Event::Clear(clear) => stream.clear_to_send(clear),
                    Event::Request(samples) => stream.request(samples),
                    Event::Hold(_) | Event::Send => {}
                }
                stream.advance(at(now));
                model.advance(now, rate.into(), held, capacity as usize);
                if let Event::Hold(number) = event {
                    held = number;
                    stream.hold(sample(held), at(now));
                }
                if let Event::Send = event {
                    let got: Vec<_> = numbers(&sent(&mut stream)).into_iter().step_by(2).collect();
                    let expected: Vec<_> = model.waiting.drain(..got.len()).map(|n| n as f32).collect();
                    prop_assert_eq!(got, expected);
                }
                lost += stream.newly_lost();
                prop_assert_eq!(lost, model.lost);
                prop_assert_eq!(stream.waiting as usize, model.waiting.len());
                prop_assert_eq!(stream.made(), model.made);
                prop_assert_eq!(stream.made(), stream.sent() + stream.lost + u64::from(stream.waiting));
            }
        }

        /// How often it is told the time changes nothing in what goes.
        #[test]
        fn the_same_samples_go_however_often_it_is_asked(
            mut times in prop::collection::vec(0u64..500, 0..30),
            rate in 1u32..=32_000,
        ) {
            times.sort_unstable();
            let order = order(&format!(r#""type":"TCP","rate":{rate}"#));
            let mut often = Stream::new(&order, sample(1), at(0));
            let mut bytes = Vec::new();
            for time in times {
                often.advance(at(time));
                bytes.extend(sent(&mut often));
            }
            often.end(at(500), None);
            bytes.extend(sent(&mut often));
            let mut once = Stream::new(&order, sample(1), at(0));
            once.end(at(500), None);
            prop_assert!(bytes == sent(&mut once));
        }
    }
}
