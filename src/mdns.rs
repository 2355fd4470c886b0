//! What this device says of itself in multicast DNS (RFC 6762): its address as `<name>.local`, and the services
//! that tools look for (RFC 6763). Packets in, packets out; who sends them when is [`app::mdns`](crate::app::mdns)'s.

use core::net::Ipv4Addr;

/// The port that everybody speaks from and to.
pub const PORT: u16 = 5353;

/// The address that everybody listens to.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// Bytes for the longest single record and the longest probe, and so the least that a packet needs.
pub const LEAST: usize = 512;

/// Bytes of the longest name: a device's, and what sets it apart from another of the same.
pub const LABEL: usize = 36;

/// Seconds for which a record that depends on address or name is remembered by others, and any other (§10).
const HOST_TTL: u32 = 120;
const OTHER_TTL: u32 = 4500;

/// The same for resolvers that know nothing of multicast (§6.7).
const LEGACY_TTL: u32 = 10;

const HEADER: usize = 12;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const SRV: u16 = 33;
const NSEC: u16 = 47;
const ANY: u16 = 255;

const IN: u16 = 1;
/// In an answer: this is all that there is of it (§10.2). In a question: the answer may come alone (§5.4).
const TOP: u16 = 0x8000;

/// Flags of a response of whoever knows.
const RESPONSE: u16 = 0x8400;

struct Service {
    kind: &'static str,
    /// Where it is, unless the device has it elsewhere.
    port: Option<u16>,
    text: &'static [&'static str],
}

/// The stream of samples, and what the SmartMeter's own tools look for to find a device.
const SERVICES: [Service; 2] = [
    Service {
        kind: "_elec",
        port: None,
        text: &[],
    },
    Service {
        kind: "_arduino",
        port: Some(3232),
        text: &[
            "board=metertrekker",
            "tcp_check=no",
            "ssh_upload=no",
            "auth_upload=yes",
        ],
    },
];

/// A name that something is known of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// `<name>.local`.
    Host,
    /// `_services._dns-sd._udp.local`, which lists what there is.
    Services,
    /// `_elec._tcp.local`, which lists who has it.
    Kind(usize),
    /// `<name>._elec._tcp.local`.
    Instance(usize),
}

/// What is known of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Address,
    /// That there is nothing but an address (§6.1).
    Nothing,
    Pointer(Owner),
    Server(usize),
    Text(usize),
}

/// All records, by their bit in [`Records`].
const ALL: [(Owner, Data); RECORDS] = [
    (Owner::Host, Data::Address),
    (Owner::Kind(0), Data::Pointer(Owner::Instance(0))),
    (Owner::Instance(0), Data::Server(0)),
    (Owner::Instance(0), Data::Text(0)),
    (Owner::Kind(1), Data::Pointer(Owner::Instance(1))),
    (Owner::Instance(1), Data::Server(1)),
    (Owner::Instance(1), Data::Text(1)),
    (Owner::Services, Data::Pointer(Owner::Kind(0))),
    (Owner::Services, Data::Pointer(Owner::Kind(1))),
    (Owner::Host, Data::Nothing),
];

/// How many records there are.
pub const RECORDS: usize = 10;

/// Some of this device's records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Records(u16);

impl Records {
    /// None.
    pub const NONE: Self = Self(0);

    /// All that is told unasked.
    pub const ANNOUNCED: Self = Self(0b01_1111_1111);

    /// Those that bear this device's name, and go with it.
    pub const NAMED: Self = Self(0b00_0111_1111);

    /// Those that nobody else may have.
    const PROBED: Self = Self(0b00_0010_0101);

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each by its number.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..RECORDS).filter(move |number| self.has(*number))
    }

    /// Whether the one of this number is among them.
    pub const fn has(self, number: usize) -> bool {
        self.0 & 1 << number != 0
    }

    /// Without the one of this number.
    #[must_use]
    pub const fn without(self, number: usize) -> Self {
        Self(self.0 & !(1 << number))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn but(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those of `owner` that a question of type `kind` is about.
    fn asked(owner: Owner, kind: u16) -> Self {
        let mut asked = Self::NONE;
        for (number, (of, data)) in ALL.iter().enumerate() {
            if *of == owner && *data != Data::Nothing && (kind == ANY || kind == data.kind()) {
                asked.0 |= 1 << number;
            }
        }
        if asked.is_empty() && owner == Owner::Host {
            asked.0 |= 1 << (RECORDS - 1);
        }
        asked
    }

    /// What whoever gets these will ask for next (RFC 6763 §12).
    fn next(self) -> Self {
        let mut next = Self::NONE;
        for number in self.numbers() {
            next.0 |= match ALL.get(number) {
                Some((Owner::Kind(0), _)) => 0b00_0000_1101,
                Some((Owner::Kind(1), _)) => 0b00_0110_0001,
                Some((_, Data::Server(_))) => 1,
                _ => 0,
            };
        }
        next.but(self)
    }
}

impl Data {
    const fn kind(self) -> u16 {
        match self {
            Self::Address => A,
            Self::Nothing => NSEC,
            Self::Pointer(_) => PTR,
            Self::Server(_) => SRV,
            Self::Text(_) => TXT,
        }
    }

    /// Whether nobody else has another one.
    const fn is_unique(self) -> bool {
        !matches!(self, Self::Pointer(_))
    }

    const fn ttl(self) -> u32 {
        match self {
            Self::Address | Self::Nothing | Self::Server(_) => HOST_TTL,
            Self::Pointer(_) | Self::Text(_) => OTHER_TTL,
        }
    }
}

/// Who this device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'n> {
    /// What it is called, without `.local`.
    pub name: &'n str,
    /// Where it is.
    pub address: Ipv4Addr,
    /// The port of its raw stream.
    pub stream_port: u16,
}

impl<'n> Identity<'n> {
    fn labels(self, owner: Owner) -> impl Iterator<Item = &'n [u8]> {
        let kind = |service: usize| SERVICES.get(service).map_or("", |service| service.kind);
        let labels: [&str; 4] = match owner {
            Owner::Host => ["", "", "", self.name],
            Owner::Services => ["", "_services", "_dns-sd", "_udp"],
            Owner::Kind(service) => ["", "", kind(service), "_tcp"],
            Owner::Instance(service) => ["", self.name, kind(service), "_tcp"],
        };
        let labels = labels.into_iter().filter(|label| !label.is_empty());
        labels.chain(["local"]).map(str::as_bytes)
    }

    /// What a packet means to this device; `None` when it is none, or none of its business.
    pub fn read(self, packet: &[u8]) -> Option<Incoming> {
        let [_, _, high, low, ..] = *packet else {
            return None;
        };
        let counts = packet.get(4..HEADER)?.as_chunks::<2>().0;
        let [questions, answers, authority, additional] = *counts else {
            return None;
        };
        let [questions, answers, authority, additional] =
            [questions, answers, authority, additional].map(u16::from_be_bytes);
        // Neither other operations than a query nor errors (§18.3, §18.11).
        if high & 0x78 != 0 || low & 0x0F != 0 {
            return None;
        }
        let mut reader = Reader { packet, at: HEADER };
        if high & 0x80 != 0 {
            for _ in 0..questions {
                reader.question()?;
            }
            for _ in 0..answers.saturating_add(authority).saturating_add(additional) {
                // What was cut off says nothing.
                let Some(record) = reader.record() else { break };
                if self.is_contested(packet, &record) {
                    return Some(Incoming::Claim);
                }
            }
            return None;
        }
        let mut asked = Query {
            answers: Records::NONE,
            extra: Records::NONE,
            is_probe: authority > 0,
            rival: None,
            end: HEADER,
        };
        for _ in 0..questions {
            asked.answers = asked.answers.and(self.answers(packet, reader.question()?));
            asked.end = reader.at;
        }
        for _ in 0..answers {
            let Some(record) = reader.record() else { break };
            asked.answers = asked.answers.but(self.known(packet, &record));
        }
        for _ in 0..authority {
            let Some(record) = reader.record() else { break };
            if self.is_contested(packet, &record)
                && let Ok(address) = <[u8; 4]>::try_from(record.data(packet))
            {
                asked.rival = Some(address.into());
            }
        }
        if asked.answers.is_empty() && asked.rival.is_none() {
            return None;
        }
        asked.extra = asked.answers.next();
        Some(Incoming::Query(asked))
    }

    fn owner(self, packet: &[u8], at: usize) -> Option<Owner> {
        let mut owners = ALL.iter().map(|(owner, _)| *owner);
        owners.find(|owner| is_name(packet, at, self.labels(*owner)))
    }

    fn answers(self, packet: &[u8], question: Question) -> Records {
        if ![IN, ANY].contains(&(question.class & !TOP)) {
            return Records::NONE;
        }
        let owner = self.owner(packet, question.name);
        owner.map_or(Records::NONE, |owner| Records::asked(owner, question.kind))
    }

    /// Which of this device's records whoever asks knows, and will for a while (§7.1).
    fn known(self, packet: &[u8], record: &Resource) -> Records {
        let mut known = Records::NONE;
        for (number, (owner, data)) in ALL.iter().enumerate() {
            let same = match data {
                Data::Address => record.data(packet) == self.address.octets(),
                Data::Pointer(to) => is_name(packet, record.data, self.labels(*to)),
                _ => false,
            };
            if same
                && record.kind == data.kind()
                && record.ttl >= data.ttl() / 2
                && is_name(packet, record.name, self.labels(*owner))
            {
                known.0 |= 1 << number;
            }
        }
        known
    }

    /// Whether a record says that this device's name is somebody else's. A good-bye does not.
    fn is_contested(self, packet: &[u8], record: &Resource) -> bool {
        record.kind == A
            && record.class & !TOP == IN
            && record.ttl > 0
            && is_name(packet, record.name, self.labels(Owner::Host))
            && record.data(packet) != self.address.octets()
    }

    /// Writes the question whether anybody else is called like this (§8.1), and returns its length.
    pub fn probe(self, packet: &mut [u8]) -> usize {
        let mut writer = Writer::new(packet, HEADER);
        let mut questions = 0;
        for owner in [Owner::Host, Owner::Instance(0), Owner::Instance(1)] {
            let written = writer.whole(|writer| {
                writer.name(self.labels(owner))?;
                writer.number(ANY)?;
                writer.number(IN)
            });
            questions += u16::from(written.is_some());
        }
        let mut authority = 0;
        for number in Records::PROBED.numbers() {
            let written = writer.whole(|writer| self.record(writer, number, Lifetime::Usual, IN));
            authority += u16::from(written.is_some());
        }
        writer.finish([0, 0, questions, 0, authority, 0])
    }

    /// Writes as many of these records as fit and returns the packet's length and what is left of the
    /// records; `extra` are sent when there is room for them.
    ///
    /// `to` says who asked; with [`To::One`] the packet has to hold the question still.
    pub fn answer(
        self,
        packet: &mut [u8],
        to: To,
        records: Records,
        extra: Records,
    ) -> (usize, Records) {
        let (id, questions, start, lifetime) = match to {
            To::All => (0, 0, HEADER, Lifetime::Usual),
            To::Bye => (0, 0, HEADER, Lifetime::Over),
            To::One { end } => {
                let number = |at: usize| match packet.get(at..at.saturating_add(2)) {
                    Some(&[high, low]) => u16::from_be_bytes([high, low]),
                    _ => 0,
                };
                (number(0), number(4), end, Lifetime::Short)
            }
        };
        let unique = match to {
            To::One { .. } => IN,
            To::All | To::Bye => IN | TOP,
        };
        let mut writer = Writer::new(packet, start);
        let (mut left, mut counts) = (records, [0, 0]);
        for (count, records) in counts.iter_mut().zip([records, extra.but(records)]) {
            for number in records.numbers() {
                let written = writer.whole(|writer| self.record(writer, number, lifetime, unique));
                if written.is_some() {
                    left = left.without(number);
                    *count += 1;
                }
            }
        }
        let [answers, additional] = counts;
        let length = writer.finish([id, RESPONSE, questions, answers, 0, additional]);
        (length, left)
    }

    fn record(
        self,
        writer: &mut Writer<'_>,
        number: usize,
        lifetime: Lifetime,
        unique: u16,
    ) -> Option<()> {
        let (owner, data) = *ALL.get(number)?;
        writer.name(self.labels(owner))?;
        writer.number(data.kind())?;
        writer.number(if data.is_unique() { unique } else { IN })?;
        let ttl = match lifetime {
            Lifetime::Usual => data.ttl(),
            Lifetime::Short => LEGACY_TTL,
            Lifetime::Over => 0,
        };
        writer.bytes(&ttl.to_be_bytes())?;
        let length = writer.at;
        writer.number(0)?;
        match data {
            Data::Address => writer.bytes(&self.address.octets())?,
            Data::Nothing => {
                writer.name(self.labels(Owner::Host))?;
                // RFC 4034 §4.1.2: of the first 8 types there is number 1.
                writer.bytes(&[0, 1, 0x80 >> A])?;
            }
            Data::Pointer(to) => writer.name(self.labels(to))?,
            Data::Server(service) => {
                // Neither priority nor weight: there is one.
                writer.bytes(&[0; 4])?;
                let port = SERVICES.get(service)?.port;
                writer.number(port.unwrap_or(self.stream_port))?;
                writer.name(self.labels(Owner::Host))?;
            }
            Data::Text(service) => {
                let texts = SERVICES.get(service)?.text;
                if texts.is_empty() {
                    // RFC 6763 §6.1: one empty text.
                    writer.bytes(&[0])?;
                }
                for text in texts {
                    writer.label(text.as_bytes())?;
                }
            }
        }
        writer.put_length(length)
    }
}

/// Who an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Everybody.
    All,
    /// Everybody, who is to forget the records.
    Bye,
    /// Who asked from another port than [`PORT`]: it knows plain DNS only (§6.7).
    One {
        /// Where its questions end.
        end: usize,
    },
}

#[derive(Clone, Copy)]
enum Lifetime {
    Usual,
    Short,
    Over,
}

/// What a packet means to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// A question about it.
    Query(Query),
    /// Somebody else has its name.
    Claim,
}

/// A question about this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The answers.
    pub answers: Records,
    /// What will be asked next.
    pub extra: Records,
    /// Somebody asks whether a name is free, and has to know at once.
    pub is_probe: bool,
    /// Somebody is about to take this name for this address.
    pub rival: Option<Ipv4Addr>,
    /// Where the questions end.
    pub end: usize,
}

#[derive(Clone, Copy)]
struct Question {
    /// Where its name is.
    name: usize,
    kind: u16,
    class: u16,
}

struct Resource {
    /// Where its name is.
    name: usize,
    kind: u16,
    class: u16,
    ttl: u32,
    /// Where its data begins and ends.
    data: usize,
    end: usize,
}

impl Resource {
    fn data<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet.get(self.data..self.end).unwrap_or_default()
    }
}

struct Reader<'p> {
    packet: &'p [u8],
    at: usize,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let end = self.at.checked_add(N)?;
        let bytes = self.packet.get(self.at..end)?;
        self.at = end;
        bytes.try_into().ok()
    }

    fn number(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// Goes behind a name and returns where it began.
    fn name(&mut self) -> Option<usize> {
        let start = self.at;
        loop {
            let [length] = self.bytes()?;
            match length {
                0 => return Some(start),
                1..0x40 => self.at = self.at.checked_add(length.into())?,
                // RFC 1035 §4.1.4: the rest is elsewhere.
                0xC0.. => {
                    self.bytes::<1>()?;
                    return Some(start);
                }
                _ => return None,
            }
        }
    }

    fn question(&mut self) -> Option<Question> {
        Some(Question {
            name: self.name()?,
            kind: self.number()?,
            class: self.number()?,
        })
    }

    fn record(&mut self) -> Option<Resource> {
        let name = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let ttl = self.bytes().map(u32::from_be_bytes)?;
        let length = self.number()?;
        let data = self.at;
        let end = data.checked_add(length.into())?;
        self.packet.get(data..end)?;
        self.at = end;
        Some(Resource {
            name,
            kind,
            class,
            ttl,
            data,
            end,
        })
    }
}

/// Whether the name at a place is this one, whatever the case of its letters (§16).
fn is_name<'l>(packet: &[u8], mut at: usize, mut labels: impl Iterator<Item = &'l [u8]>) -> bool {
    // Each jump goes back, so there is an end to them.
    let mut limit = at;
    loop {
        let Some(&length) = packet.get(at) else {
            return false;
        };
        at += 1;
        match length {
            0 => return labels.next().is_none(),
            1..0x40 => {
                let end = at + usize::from(length);
                let label = packet.get(at..end);
                let (Some(label), Some(wanted)) = (label, labels.next()) else {
                    return false;
                };
                if !label.eq_ignore_ascii_case(wanted) {
                    return false;
                }
                at = end;
            }
            0xC0.. => {
                let Some(&low) = packet.get(at) else {
                    return false;
                };
                let to = usize::from(length & 0x3F) << 8 | usize::from(low);
                if to >= limit {
                    return false;
                }
                (at, limit) = (to, to);
            }
            _ => return false,
        }
    }
}

struct Writer<'p> {
    packet: &'p mut [u8],
    at: usize,
}

impl<'p> Writer<'p> {
    fn new(packet: &'p mut [u8], at: usize) -> Self {
        Self { packet, at }
    }

    /// Writes all of something or nothing.
    fn whole(&mut self, write: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let before = self.at;
        let written = write(self);
        if written.is_none() {
            self.at = before;
        }
        written
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.packet.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn number(&mut self, number: u16) -> Option<()> {
        self.bytes(&number.to_be_bytes())
    }

    fn label(&mut self, label: &[u8]) -> Option<()> {
        self.bytes(&[label.len().try_into().ok()?])?;
        self.bytes(label)
    }

    fn name<'l>(&mut self, labels: impl Iterator<Item = &'l [u8]>) -> Option<()> {
        for label in labels {
            self.label(label)?;
        }
        self.bytes(&[0])
    }

    /// Puts the length of what was written behind the place for it there.
    fn put_length(&mut self, at: usize) -> Option<()> {
        let length = u16::try_from(self.at.checked_sub(at)?.checked_sub(2)?).ok()?;
        let place = self.packet.get_mut(at..at.checked_add(2)?)?;
        place.copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// Puts id, flags and the four counts in front, and returns the packet's length.
    fn finish(self, header: [u16; 6]) -> usize {
        let places = self.packet.as_chunks_mut::<2>().0;
        for (place, number) in places.iter_mut().zip(header) {
            *place = number.to_be_bytes();
        }
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Identity<'static> = Identity {
        name: "meter",
        address: Ipv4Addr::new(192, 168, 0, 50),
        stream_port: 54322,
    };

    /// A question for this name, whose type and class follow it.
    fn question(name: &[u8]) -> heapless::Vec<u8, 64> {
        let mut packet = heapless::Vec::new();
        packet
            .extend_from_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .unwrap();
        packet.extend_from_slice(name).unwrap();
        packet.extend_from_slice(&[0, 1, 0, 1]).unwrap();
        packet
    }

    #[test]
    fn a_name_that_leads_to_itself_or_out_of_the_packet_is_no_name() {
        assert!(ME.read(&question(b"\x05meter\x05local\0")).is_some());
        for name in [
            &b"\xC0\x0C"[..],
            b"\xC0\x0E",
            b"\xFF\xFF",
            b"\x05meter\xC0\x0C",
            b"\x05meter\xC0\x14",
            b"\x05meter\x05local",
            b"\x3Fmeter",
            b"\x40",
        ] {
            assert_eq!(ME.read(&question(name)), None, "{name:?}");
        }
    }

    #[test]
    fn nothing_is_read_beyond_a_packets_end() {
        let whole = question(b"\x05meter\x05local\0");
        for length in 0..whole.len() {
            assert_eq!(ME.read(&whole[..length]), None, "{length}");
        }
    }
}
