//! What a `sample` request asks for, checked: which measures, how often, to where and in what form.

use ufmt::{uWrite, uwrite};

use super::{
    answer::Answer,
    request::{Place, Request},
    time::Moment,
    values::Kind,
};
use crate::settings::Text;

/// Bytes of one value: an IEEE 754 single, little-endian.
pub const VALUE: usize = 4;

/// Bytes of the longest chunk.
pub const MAX_CHUNK: usize = 1024;

/// A client's receive buffer for datagrams has room for so much.
const MAX_DATAGRAM: usize = 512;

/// Over the serial line a chunk is no longer, at any rate.
pub const SERIAL_CHUNK: usize = 128;

/// Hz that a request may ask for, on any board.
pub const MAX_RATE: u32 = 32_000;
const RATES: core::ops::RangeInclusive<i64> = 1..=MAX_RATE as i64;

/// Hz of the measures that the SmartMeter averages over a period of the mains.
const MAX_LATCHED: i64 = 50;

/// Hz of a raw stream that nobody has ordered otherwise.
const RAW_RATE: u32 = 4_000;

/// Milliseconds from now in which a sampling may be made to start.
const LEADS: core::ops::RangeInclusive<i64> = 500..=20_000;

/// A value of a sample: what, and of which phase from 0.
pub type Channel = (Kind, usize);

/// Which values a sample has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measures {
    /// Voltage and current of each phase.
    All,
    /// Voltage and current of L1.
    L1,
    /// Voltage and current of L2.
    L2,
    /// Voltage and current of L3.
    L3,
    /// Active power of each phase, then reactive power.
    Power,
    /// RMS voltage of each phase, then RMS current.
    Rms,
}

impl Measures {
    /// The names in a request. Without one it is `v,i`, which the manual says are all phases; the
    /// SmartMeter's firmware takes it for those of L1.
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "v,i" | "v,i,v,i,v,i" => Self::All,
            "v,i_L1" => Self::L1,
            "v,i_L2" => Self::L2,
            "v,i_L3" => Self::L3,
            "p,q" | "p,p,p,q,q,q" => Self::Power,
            "v,i_RMS" | "v,v,v,i,i,i_RMS" => Self::Rms,
            _ => return None,
        })
    }

    /// The name in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "v,i,v,i,v,i",
            Self::L1 => "v,i_L1",
            Self::L2 => "v,i_L2",
            Self::L3 => "v,i_L3",
            Self::Power => "p,p,p,q,q,q",
            Self::Rms => "v,v,v,i,i,i_RMS",
        }
    }

    /// The units of the values, as answers write them.
    pub fn unit(self) -> &'static str {
        match self {
            Self::All => "V,mA,V,mA,V,mA",
            Self::L1 | Self::L2 | Self::L3 => "V,mA",
            Self::Power => "W,W,W,VAR,VAR,VAR",
            Self::Rms => "V,V,V,mA,mA,mA",
        }
    }

    /// What the values are, in their order.
    pub fn channels(self) -> &'static [Channel] {
        use Kind::{Active, Current, Reactive, Voltage};
        match self {
            Self::All => &[
                (Voltage, 0),
                (Current, 0),
                (Voltage, 1),
                (Current, 1),
                (Voltage, 2),
                (Current, 2),
            ],
            Self::L1 => &[(Voltage, 0), (Current, 0)],
            Self::L2 => &[(Voltage, 1), (Current, 1)],
            Self::L3 => &[(Voltage, 2), (Current, 2)],
            Self::Power => &[
                (Active, 0),
                (Active, 1),
                (Active, 2),
                (Reactive, 0),
                (Reactive, 1),
                (Reactive, 2),
            ],
            Self::Rms => &[
                (Voltage, 0),
                (Voltage, 1),
                (Voltage, 2),
                (Current, 0),
                (Current, 1),
                (Current, 2),
            ],
        }
    }

    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        self.channels().len() * VALUE
    }

    /// The short name of measures that are averaged over a period of the mains.
    fn latched(self) -> Option<&'static str> {
        match self {
            Self::Power => Some("p,q"),
            Self::Rms => Some("v,i_RMS"),
            _ => None,
        }
    }
}

/// Where samples go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// The connection that asks.
    Tcp,
    /// This port of whoever asks.
    Udp(u16),
    /// The serial line.
    Serial,
    /// The broker.
    Mqtt,
    /// The connection to the port of raw streams.
    Ffmpeg,
}

impl Sink {
    /// The name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp(_) => "UDP",
            Self::Serial => "Serial",
            Self::Mqtt => "MQTT",
            Self::Ffmpeg => "FFMPEG",
        }
    }
}

/// The seconds in which samples may be sent: those that leave `slot` when divided by `slots`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    slot: u32,
    slots: u32,
}

impl Slot {
    /// `None` when there is no such slot.
    pub fn new(slot: u32, slots: u32) -> Option<Self> {
        (slot < slots).then_some(Self { slot, slots })
    }

    /// Whether it is this slot's second.
    pub fn is_open(self, at: Moment) -> bool {
        // There is one slot at least.
        (at.0 / 1000).checked_rem(self.slots.into()) == Some(self.slot.into())
    }
}

/// What was asked for, as it will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Where the samples go.
    pub sink: Sink,
    /// What is in them.
    pub measures: Measures,
    /// How many there are in a second: what was asked for, or as many as the board makes.
    pub rate: u32,
    /// Whether each chunk says how long it is and which one.
    pub prefix: bool,
    /// Whether nothing is sent unasked.
    pub flow_control: bool,
    /// When they may be sent; always when `None`.
    pub slot: Option<Slot>,
    /// When they begin; now when `None`.
    pub start: Option<Moment>,
    /// By how many milliseconds the time may be wrong when they begin, by the time server's round
    /// trip; it is not asked when `None`.
    pub confidence: Option<u32>,
}

/// Why a request is none that can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// What it cannot do without.
    Missing {
        /// The type is not there.
        sink: bool,
        /// The rate is not there, or 0.
        rate: bool,
    },
    /// There are no such measures.
    Measures(Text<32>),
    /// Not a rate in Hz that anybody may ask for.
    Rate(i64),
    /// Too high a rate for these measures, by their short name.
    Latched(&'static str),
    /// No UDP port.
    Port(i64),
    /// There is no such type.
    Sink(Text<32>),
    /// Something else is not valid, in words.
    Argument(&'static str),
}

impl Wrong {
    /// The sentence for the answer, in the protocol's own words where it has some.
    ///
    /// # Errors
    /// The writer's.
    pub fn write<W: uWrite + ?Sized>(&self, text: &mut W) -> Result<(), W::Error> {
        match self {
            Self::Missing { sink, rate } => {
                text.write_str("Not a valid \"sample\" command")?;
                for (key, missing) in [("type", sink), ("rate", rate)] {
                    if *missing {
                        uwrite!(text, ", \"{}\" missing", key)?;
                    }
                }
                Ok(())
            }
            Self::Measures(name) => uwrite!(text, "Unsupported measures{}", name.as_str()),
            Self::Rate(rate) => uwrite!(text, "SamplingRate could not be set to {}", *rate),
            Self::Latched(name) => uwrite!(
                text,
                "SamplingRate cannot be higher than 50Hz in latch mode: {} sampling",
                *name
            ),
            Self::Port(port) => uwrite!(text, "Unsupported UDP port{}", *port),
            Self::Sink(name) => uwrite!(text, "Unsupported sampling type: {}", name.as_str()),
            Self::Argument(words) => text.write_str(words),
        }
    }
}

/// Bytes of a chunk of a tenth of a second, before it is cut to whole samples of so many bytes.
pub(super) const fn chunk_at(rate: u32, sample: usize) -> usize {
    let tenth = rate as usize * sample / 10;
    let tenth = if tenth < sample { sample } else { tenth };
    let tenth = if tenth > MAX_CHUNK { MAX_CHUNK } else { tenth };
    tenth.next_power_of_two()
}

impl Order {
    /// What whoever connects to the port of raw streams gets at once from a board that makes `max_rate`
    /// samples a second.
    pub fn raw(max_rate: u32) -> Self {
        Self {
            sink: Sink::Ffmpeg,
            measures: Measures::All,
            rate: RAW_RATE.min(max_rate).max(1),
            prefix: false,
            flow_control: false,
            slot: None,
            start: None,
            confidence: None,
        }
    }

    /// Reads a request for a board that makes `max_rate` samples a second, one at least. A rate that
    /// the protocol allows and the board does not is the board's; whoever asked is told by
    /// [`describe`](Self::describe).
    ///
    /// # Errors
    /// [`Wrong`]. Whether it starts at a time that is near enough is for [`lead`] to say.
    pub fn parse(request: &Request<'_>, max_rate: u32) -> Result<Self, Wrong> {
        const LONG_SINK: Wrong = Wrong::Argument("Unsupported sampling type");
        const LONG_MEASURES: Wrong = Wrong::Argument("Unsupported measures");
        let sink = request.text(Place::Payload, "type");
        let sink: Option<Text<32>> = sink.map_err(|_| LONG_SINK)?;
        let rate = request.number(Place::Payload, "rate", 0);
        let rate = rate.filter(|rate| *rate != 0);
        let (Some(sink), Some(rate)) = (&sink, rate) else {
            return Err(Wrong::Missing {
                sink: sink.is_none(),
                rate: rate.is_none(),
            });
        };
        let mut measures = Measures::All;
        if request.has(Place::Payload, "measures") {
            let name = request.text(Place::Payload, "measures");
            let name: Text<32> = name.ok().flatten().ok_or(LONG_MEASURES)?;
            measures = Measures::parse(&name).ok_or(Wrong::Measures(name))?;
        }
        if !RATES.contains(&rate) {
            return Err(Wrong::Rate(rate));
        }
        if rate > MAX_LATCHED
            && let Some(name) = measures.latched()
        {
            return Err(Wrong::Latched(name));
        }
        let rate = u32::try_from(rate).unwrap_or(max_rate).min(max_rate);
        let sink = match sink.as_str() {
            "TCP" => Sink::Tcp,
            "UDP" => Sink::Udp(port(request)?),
            "Serial" => Sink::Serial,
            "MQTT" => Sink::Mqtt,
            "FFMPEG" => Sink::Ffmpeg,
            _ => return Err(Wrong::Sink(sink.clone())),
        };
        let prefix = flag(request, "prefix", "prefix: give true or false")?;
        let flow_control = flag(request, "flowCtr", "flowCtr: give true or false")?;
        let start = number(request, "time", 3, "time: give seconds since 1970")?;
        let confidence = number(request, "ntpConf", 0, "ntpConf: give milliseconds")?;
        Ok(Self {
            sink,
            measures,
            rate: rate.max(1),
            prefix: prefix.unwrap_or(true) && !matches!(sink, Sink::Ffmpeg | Sink::Mqtt),
            flow_control: flow_control.unwrap_or(false),
            slot: slot(request)?,
            start: start.map(Moment),
            confidence,
        })
    }

    /// Bytes of a chunk, as the SmartMeter has them: a tenth of a second, rounded up to a power of two
    /// and down to whole samples. Over MQTT each sample is a message.
    pub fn chunk(&self) -> usize {
        let sample = self.measures.bytes();
        let most = match self.sink {
            Sink::Udp(_) => MAX_DATAGRAM,
            _ => MAX_CHUNK,
        };
        let bytes = match self.sink {
            Sink::Serial => SERIAL_CHUNK,
            Sink::Mqtt => sample,
            _ => chunk_at(self.rate, sample).min(most),
        };
        (bytes - bytes % sample).max(sample)
    }

    /// Writes what will be done, as the answer to the request has it behind its first keys.
    pub fn describe(&self, answer: &mut Answer) {
        if let Sink::Udp(port) = self.sink {
            answer.number("port", port);
        }
        if let Some(Slot { slot, slots }) = self.slot {
            let numbers = [slot, slots].map(|number| Some(number.into()));
            answer.numbers("slot", 0, numbers);
        }
        answer.string("measures", self.measures.name());
        answer.number("chunksize", self.chunk() as u32);
        answer.number("samplingrate", self.rate);
        answer.string("conn_type", self.sink.name());
        answer.number("measurements", self.measures.channels().len() as u32);
        answer.flag("prefix", self.prefix);
        answer.flag("flowCtr", self.flow_control);
        answer.string("unit", self.measures.unit());
    }
}

/// Milliseconds from `now` to a `start` that a sampling may wait for.
///
/// # Errors
/// It may not: it is too near, too far or, when negative, over.
pub fn lead(start: Moment, now: Moment) -> Result<u32, i64> {
    let distance = start.0.abs_diff(now.0).try_into().unwrap_or(i64::MAX);
    let lead = if start < now { -distance } else { distance };
    match u32::try_from(lead) {
        Ok(milliseconds) if LEADS.contains(&lead) => Ok(milliseconds),
        _ => Err(lead),
    }
}

fn port(request: &Request<'_>) -> Result<u16, Wrong> {
    let port = request.number(Place::Payload, "port", 0).unwrap_or(0);
    let valid = u16::try_from(port).ok().filter(|port| *port != 0);
    valid.ok_or(Wrong::Port(port))
}

fn flag(request: &Request<'_>, key: &str, words: &'static str) -> Result<Option<bool>, Wrong> {
    if !request.has(Place::Payload, key) {
        return Ok(None);
    }
    let flag = request.flag(Place::Payload, key);
    flag.map(Some).ok_or(Wrong::Argument(words))
}

fn number<T: TryFrom<i64>>(
    request: &Request<'_>,
    key: &str,
    decimals: u8,
    words: &'static str,
) -> Result<Option<T>, Wrong> {
    if !request.has(Place::Payload, key) {
        return Ok(None);
    }
    let number = request.number(Place::Payload, key, decimals);
    let number = number.and_then(|number| number.try_into().ok());
    number.map(Some).ok_or(Wrong::Argument(words))
}

fn slot(request: &Request<'_>) -> Result<Option<Slot>, Wrong> {
    const WRONG: Wrong =
        Wrong::Argument("slot: give [<slot>,<slots>], slot from 0 and below slots");
    // The manual calls false the default.
    if !request.has(Place::Payload, "slot") || request.flag(Place::Payload, "slot") == Some(false) {
        return Ok(None);
    }
    let Some(([Some(slot), Some(slots)], 2)) = request.numbers(Place::Payload, "slot", 0) else {
        return Err(WRONG);
    };
    let (Ok(slot), Ok(slots)) = (slot.try_into(), slots.try_into()) else {
        return Err(WRONG);
    };
    Slot::new(slot, slots).map(Some).ok_or(WRONG)
}

#[cfg(test)]
mod tests {
    use std::{format, string::String};

    use proptest::prelude::*;

    use super::*;

    const HOST: u32 = 32_000;

    fn parsed(payload: &str, max_rate: u32) -> Result<Order, String> {
        let line = format!(r#"{{"cmd":"sample","payload":{{{payload}}}}}"#);
        let request = Request::parse(line.as_bytes()).unwrap();
        Order::parse(&request, max_rate).map_err(|wrong| {
            let mut text = heapless::String::<128>::new();
            wrong.write(&mut text).unwrap();
            text.as_str().into()
        })
    }

    #[test]
    fn what_is_not_said_has_the_protocols_default() {
        let order = parsed(r#""type":"TCP","rate":4000"#, HOST).unwrap();
        let expected = Order {
            sink: Sink::Tcp,
            measures: Measures::All,
            rate: 4000,
            prefix: true,
            flow_control: false,
            slot: None,
            start: None,
            confidence: None,
        };
        assert_eq!(order, expected);
    }

    #[test]
    fn all_that_is_said_counts() {
        let payload = r#""type":"UDP","rate":"8000","port":54399,"slot":[1,3],"prefix":"false",
            "measures":"v,i_L2","flowCtr":true,"time":1700000000.25,"ntpConf":30,"rawVal":1"#;
        let expected = Order {
            sink: Sink::Udp(54399),
            measures: Measures::L2,
            rate: 8000,
            prefix: false,
            flow_control: true,
            slot: Slot::new(1, 3),
            start: Some(Moment(1_700_000_000_250)),
            confidence: Some(30),
        };
        assert_eq!(parsed(payload, HOST), Ok(expected));
        let order = parsed(
            r#""type":"FFMPEG","rate":1,"prefix":true,"slot":false"#,
            HOST,
        )
        .unwrap();
        assert!(!order.prefix);
        assert_eq!(order.slot, None);
    }

    #[test]
    fn what_is_not_valid_is_refused_in_the_protocols_words() {
        let latched = "SamplingRate cannot be higher than 50Hz in latch mode: ";
        let slot = "slot: give [<slot>,<slots>], slot from 0 and below slots";
        for (payload, expected) in [
            (
                "",
                r#"Not a valid "sample" command, "type" missing, "rate" missing"#,
            ),
            (
                r#""type":"TCP""#,
                r#"Not a valid "sample" command, "rate" missing"#,
            ),
            (
                r#""type":"TCP","rate":0"#,
                r#"Not a valid "sample" command, "rate" missing"#,
            ),
            (
                r#""type":5,"rate":1"#,
                r#"Not a valid "sample" command, "type" missing"#,
            ),
            (r#""rate":1,"type":"tcp""#, "Unsupported sampling type: tcp"),
            (
                r#""rate":1,"type":"TCP","measures":"x""#,
                "Unsupported measuresx",
            ),
            (
                r#""rate":1,"type":"TCP","measures":5"#,
                "Unsupported measures",
            ),
            (
                r#""rate":-4,"type":"TCP""#,
                "SamplingRate could not be set to -4",
            ),
            (
                r#""rate":32001,"type":"TCP""#,
                "SamplingRate could not be set to 32001",
            ),
            (
                r#""rate":51,"type":"TCP","measures":"p,p,p,q,q,q""#,
                &format!("{latched}p,q sampling"),
            ),
            (
                r#""rate":8000,"type":"TCP","measures":"v,i_RMS""#,
                &format!("{latched}v,i_RMS sampling"),
            ),
            (r#""rate":1,"type":"UDP""#, "Unsupported UDP port0"),
            (
                r#""rate":1,"type":"UDP","port":65536"#,
                "Unsupported UDP port65536",
            ),
            (
                r#""rate":1,"type":"UDP","port":-1"#,
                "Unsupported UDP port-1",
            ),
            (
                r#""rate":1,"type":"TCP","prefix":"no""#,
                "prefix: give true or false",
            ),
            (
                r#""rate":1,"type":"TCP","flowCtr":1"#,
                "flowCtr: give true or false",
            ),
            (r#""rate":1,"type":"TCP","slot":[0,0]"#, slot),
            (r#""rate":1,"type":"TCP","slot":[3,3]"#, slot),
            (r#""rate":1,"type":"TCP","slot":[-1,3]"#, slot),
            (r#""rate":1,"type":"TCP","slot":[0,3,4]"#, slot),
            (r#""rate":1,"type":"TCP","slot":true"#, slot),
            (
                r#""rate":1,"type":"TCP","time":-1"#,
                "time: give seconds since 1970",
            ),
            (
                r#""rate":1,"type":"TCP","ntpConf":"x""#,
                "ntpConf: give milliseconds",
            ),
        ] {
            assert_eq!(
                parsed(payload, HOST),
                Err(String::from(expected)),
                "{payload}"
            );
        }
        let long = "x".repeat(33);
        let sink = format!(r#""rate":1,"type":"{long}""#);
        assert_eq!(
            parsed(&sink, HOST).unwrap_err(),
            "Unsupported sampling type"
        );
    }

    #[test]
    fn each_name_of_measures_is_answered_with_the_long_one() {
        for (name, answered, bytes, max_rate) in [
            ("v,i", "v,i,v,i,v,i", 24, HOST),
            ("v,i,v,i,v,i", "v,i,v,i,v,i", 24, HOST),
            ("v,i_L1", "v,i_L1", 8, HOST),
            ("v,i_L2", "v,i_L2", 8, HOST),
            ("v,i_L3", "v,i_L3", 8, HOST),
            ("p,q", "p,p,p,q,q,q", 24, 50),
            ("p,p,p,q,q,q", "p,p,p,q,q,q", 24, 50),
            ("v,i_RMS", "v,v,v,i,i,i_RMS", 24, 50),
            ("v,v,v,i,i,i_RMS", "v,v,v,i,i,i_RMS", 24, 50),
        ] {
            let payload = format!(r#""type":"TCP","rate":{max_rate},"measures":"{name}""#);
            let measures = parsed(&payload, HOST).unwrap().measures;
            assert_eq!((measures.name(), measures.bytes()), (answered, bytes));
            let units = measures.unit().split(',').count();
            assert_eq!(units * VALUE, bytes, "{name}");
        }
    }

    #[test]
    fn a_board_makes_as_many_samples_as_it_can() {
        for (rate, max_rate, expected) in [(8000, 100, 100), (100, 100, 100), (99, 100, 99)] {
            let payload = format!(r#""type":"TCP","rate":{rate}"#);
            assert_eq!(parsed(&payload, max_rate).unwrap().rate, expected);
        }
        // What is wrong is wrong on any board.
        assert!(parsed(r#""type":"TCP","rate":51,"measures":"p,q""#, 10).is_err());
        assert!(parsed(r#""type":"TCP","rate":40000"#, 10).is_err());
    }

    #[test]
    fn chunks_are_as_long_as_the_smartmeters() {
        let chunk = |sink, rate, measures| {
            let payload =
                format!(r#""type":"{sink}","port":1,"rate":{rate},"measures":"{measures}""#);
            parsed(&payload, HOST).unwrap().chunk()
        };
        // What its firmware says, by the first rate of each length.
        for (rates, expected) in [
            (1..=10, 24),
            (16..=25, 48),
            (32..=50, 120),
            (64..=100, 240),
            (125..=200, 504),
            (250..=32_000, 1008),
        ] {
            for rate in [*rates.start(), *rates.end()] {
                assert_eq!(chunk("TCP", rate, "v,i"), expected, "{rate}");
                assert_eq!(chunk("UDP", rate, "v,i"), expected.min(504), "{rate}");
                assert_eq!(chunk("Serial", rate, "v,i"), 120);
            }
        }
        for (rates, expected) in [
            (1..=10, 8),
            (16..=20, 16),
            (25..=40, 32),
            (50..=80, 64),
            (100..=160, 128),
            (200..=320, 256),
            (400..=640, 512),
            (800..=32_000, 1024),
        ] {
            for rate in [*rates.start(), *rates.end()] {
                assert_eq!(chunk("TCP", rate, "v,i_L1"), expected, "{rate}");
                assert_eq!(chunk("UDP", rate, "v,i_L1"), expected.min(512), "{rate}");
                assert_eq!(chunk("Serial", rate, "v,i_L1"), 128);
            }
        }
    }

    #[test]
    fn the_answer_says_what_will_be_done() {
        let said = |payload, max_rate| {
            let order = parsed(payload, max_rate).unwrap();
            let mut answer = Answer::new();
            answer.object(|answer| order.describe(answer));
            let line = String::from_utf8(answer.bytes().to_vec()).unwrap();
            String::from(line.trim_end().strip_prefix("Info:").unwrap())
        };
        assert_eq!(
            said(r#""type":"TCP","rate":4000"#, HOST),
            r#"{"measures":"v,i,v,i,v,i","chunksize":1008,"samplingrate":4000,"conn_type":"TCP","measurements":6,"prefix":true,"flowCtr":false,"unit":"V,mA,V,mA,V,mA"}"#
        );
        assert_eq!(
            said(
                r#""type":"UDP","rate":4000,"port":54323,"slot":[0,3],"measures":"v,i_L3","flowCtr":"true""#,
                10
            ),
            r#"{"port":54323,"slot":[0,3],"measures":"v,i_L3","chunksize":8,"samplingrate":10,"conn_type":"UDP","measurements":2,"prefix":true,"flowCtr":true,"unit":"V,mA"}"#
        );
    }

    #[test]
    fn a_raw_stream_has_all_values_at_four_kilohertz_or_what_the_board_can() {
        let ordered = |rate| parsed(&format!(r#""type":"FFMPEG","rate":{rate}"#), HOST);
        for (max_rate, expected) in [(HOST, 4_000), (4_000, 4_000), (50, 50)] {
            assert_eq!(Ok(Order::raw(max_rate)), ordered(expected));
        }
    }

    #[test]
    fn over_mqtt_a_chunk_is_a_sample() {
        for (rate, measures, expected) in [(1, "v,i", 24), (32_000, "v,i", 24), (50, "v,i_L2", 8)] {
            let payload = format!(r#""type":"MQTT","rate":{rate},"measures":"{measures}""#);
            let order = parsed(&payload, HOST).unwrap();
            assert_eq!((order.chunk(), order.prefix), (expected, false));
        }
    }

    #[test]
    fn a_slot_is_open_for_its_second() {
        let slot = Slot::new(1, 3).unwrap();
        let open = |milliseconds| slot.is_open(Moment(milliseconds));
        assert_eq!(
            [999, 1_000, 1_999, 2_000, 3_999, 4_000].map(open),
            [false, true, true, false, false, true]
        );
    }

    #[test]
    fn a_start_is_neither_near_nor_far() {
        let now = Moment(1_000_000);
        for (start, expected) in [
            (1_000_499, Err(499)),
            (1_000_500, Ok(500)),
            (1_020_000, Ok(20_000)),
            (1_020_001, Err(20_001)),
            (999_000, Err(-1_000)),
            (u64::MAX, Err(i64::MAX)),
        ] {
            assert_eq!(lead(Moment(start), now), expected);
        }
        assert_eq!(lead(Moment(0), Moment(u64::MAX)), Err(-i64::MAX));
    }

    proptest! {
        #[test]
        fn a_chunk_is_whole_samples_and_fits(rate in 1u32..=32_000, two in any::<bool>(), sink in 0usize..5) {
            let order = Order {
                sink: [Sink::Tcp, Sink::Udp(1), Sink::Serial, Sink::Mqtt, Sink::Ffmpeg][sink],
                measures: if two { Measures::L1 } else { Measures::All },
                rate,
                prefix: true,
                flow_control: false,
                slot: None,
                start: None,
                confidence: None,
            };
            let chunk = order.chunk();
            prop_assert!(chunk > 0 && chunk <= MAX_CHUNK);
            prop_assert_eq!(chunk % order.measures.bytes(), 0);
        }
    }
}
