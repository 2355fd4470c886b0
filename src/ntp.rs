//! A client's packets of NTP version 4 (RFC 5905 §7.3), without extensions.
//!
//! What a request calls its time of sending is a random number: a reply that does not bring it back is
//! not meant for it, and what clock this device has is nobody's business. The round trip is measured by
//! the clock that nobody sets.

use embassy_time::Duration;
use ufmt::{Formatter, uDisplay, uWrite, uwrite};

use crate::smartmeter::time::{END, Moment};

/// The port of servers.
pub const PORT: u16 = 123;

/// Bytes of a packet.
pub const LENGTH: usize = 48;

/// Leap indicator 3, "not synchronized", version 4, mode 3, "client".
const REQUEST: u8 = 0b11_100_011;

const VERSION: u8 = 4;
const MODE_SERVER: u8 = 4;
const LEAP_UNSYNCHRONIZED: u8 = 3;

/// The last stratum of a clock that is synchronized (MAXSTRAT is 16).
const LAST_STRATUM: u8 = 15;

/// MAXDISP (RFC 5905 §7.2): 16 s, in 2^-16 s.
const MOST_DISPERSION: u32 = 16 << 16;

/// 2020-01-01 in seconds since 1970, before which nobody will ask. The 32 bits of a time stamp count from
/// there: its first era ends in 2036 (RFC 5905 §6).
const PIVOT: u64 = 1_577_836_800;

/// The same in seconds since 1900.
const PIVOT_1900: u32 = 3_786_825_600;

/// Why a packet does not tell the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is shorter than [`LENGTH`].
    Short,
    /// It answers another request, or none.
    Stray,
    /// It is not from a server, or of another version.
    NotAReply,
    /// A kiss-o'-death with its code (RFC 5905 §7.4).
    Kiss([u8; 4]),
    /// The server does not know the time itself.
    Unsynchronized,
    /// The server is too far from a clock that does.
    Dispersed,
    /// It is not between 2020 and 2100.
    Implausible,
}

impl Refusal {
    /// Whether anybody may have sent it, so that the server's own reply may still come.
    pub fn is_stray(self) -> bool {
        matches!(self, Self::Short | Self::Stray)
    }
}

impl uDisplay for Refusal {
    fn fmt<W: uWrite + ?Sized>(&self, f: &mut Formatter<'_, W>) -> Result<(), W::Error> {
        match self {
            Self::Short => f.write_str("a packet is too short"),
            Self::Stray => f.write_str("a packet answers no request"),
            Self::NotAReply => f.write_str("its packet is no reply of NTP 4"),
            Self::Kiss(code) => {
                let code = core::str::from_utf8(code).unwrap_or("?");
                uwrite!(f, "it refuses, {}", code)
            }
            Self::Unsynchronized => f.write_str("it does not know the time"),
            Self::Dispersed => f.write_str("it hardly knows the time"),
            Self::Implausible => f.write_str("its time cannot be right"),
        }
    }
}

/// The time, as exactly as a round trip lets it be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// When the reply came.
    pub utc: Moment,
    /// By how many milliseconds it may be wrong at most, if the server is right: half the way there and
    /// back.
    pub confidence: u32,
}

/// A request that is told from others by its `cookie`.
pub fn request(cookie: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = REQUEST;
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Reads the reply that came `round_trip` after the request with this `cookie`.
///
/// # Errors
/// [`Refusal`].
pub fn time(bytes: &[u8], cookie: u64, round_trip: Duration) -> Result<Time, Refusal> {
    let packet: &[u8; LENGTH] = bytes.first_chunk().ok_or(Refusal::Short)?;
    let (words, _) = packet.as_chunks::<4>();
    let word = |index: usize| words.get(index).copied().map_or(0, u32::from_be_bytes);
    let stamp = |index| u64::from(word(index)) << 32 | u64::from(word(index + 1));
    let (originate, receive, transmit) = (stamp(6), stamp(8), stamp(10));
    if originate != cookie {
        return Err(Refusal::Stray);
    }
    let [first, stratum, ..] = *packet;
    let (leap, version, mode) = (first >> 6, first >> 3 & 7, first & 7);
    if (version, mode) != (VERSION, MODE_SERVER) {
        return Err(Refusal::NotAReply);
    }
    if stratum == 0 {
        return Err(Refusal::Kiss(word(3).to_be_bytes()));
    }
    if leap == LEAP_UNSYNCHRONIZED || stratum > LAST_STRATUM || receive == 0 || transmit == 0 {
        return Err(Refusal::Unsynchronized);
    }
    let (delay, dispersion) = (word(1), word(2));
    if (delay / 2).saturating_add(dispersion) >= MOST_DISPERSION {
        return Err(Refusal::Dispersed);
    }
    // A server that says it had the request for longer than that, or sent before it received, was set
    // meanwhile.
    let round_trip = round_trip.as_micros();
    let held = microseconds(transmit.wrapping_sub(receive));
    let way = round_trip.saturating_sub(if held > round_trip { 0 } else { held }) / 2;
    let seconds = PIVOT + u64::from(((transmit >> 32) as u32).wrapping_sub(PIVOT_1900));
    let sent = seconds * 1_000_000 + microseconds(transmit & u64::from(u32::MAX));
    if seconds >= END {
        return Err(Refusal::Implausible);
    }
    Ok(Time {
        utc: Moment((sent + way) / 1000),
        confidence: way.div_ceil(1000).try_into().unwrap_or(u32::MAX),
    })
}

/// Of 2^-32 s.
fn microseconds(fixed: u64) -> u64 {
    let (seconds, fraction) = (fixed >> 32, fixed & u64::from(u32::MAX));
    seconds * 1_000_000 + ((fraction * 1_000_000) >> 32)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const COOKIE: u64 = 0x0123_4567_89AB_CDEF;

    /// 2021-03-02 10:27:40.500 in NTP's form.
    const TRANSMIT: u64 = 0xE3E8_919C_8000_0000;

    /// A reply of stratum 2 that was sent 2 ms after its request had come.
    fn reply() -> [u8; LENGTH] {
        let mut packet = [0; LENGTH];
        packet[..4].copy_from_slice(&[0x24, 2, 6, 0xE9]);
        packet[4..8].copy_from_slice(&0x0000_0500u32.to_be_bytes());
        packet[8..12].copy_from_slice(&0x0000_0A00u32.to_be_bytes());
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        packet[16..24].copy_from_slice(&(TRANSMIT - (60 << 32)).to_be_bytes());
        packet[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        packet[32..40].copy_from_slice(&(TRANSMIT - (1 << 32) / 500).to_be_bytes());
        packet[40..].copy_from_slice(&TRANSMIT.to_be_bytes());
        packet
    }

    /// The reply with other bytes at some place.
    fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut packet = reply().to_vec();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    }

    fn read(packet: &[u8], milliseconds: u64) -> Result<(u64, u32), Refusal> {
        let round_trip = Duration::from_millis(milliseconds);
        time(packet, COOKIE, round_trip).map(|time| (time.utc.0, time.confidence))
    }

    #[test]
    fn a_request_is_a_clients_and_has_nothing_but_its_cookie() {
        let packet = request(COOKIE);
        assert_eq!(packet[0], 0xE3);
        assert!(packet[1..40].iter().all(|byte| *byte == 0));
        assert_eq!(packet[40..], [1, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]);
    }

    #[test]
    fn half_of_the_way_is_added_and_is_the_confidence() {
        assert_eq!(read(&reply(), 2), Ok((1_614_680_860_500, 0)));
        assert_eq!(read(&reply(), 24), Ok((1_614_680_860_511, 11)));
        assert_eq!(read(&reply(), 25), Ok((1_614_680_860_511, 12)));
        assert_eq!(read(&reply(), 202), Ok((1_614_680_860_600, 100)));
        // What comes behind belongs to extensions, which nobody asked for.
        let longer = [&reply()[..], &[0; 20]].concat();
        assert_eq!(read(&longer, 2), Ok((1_614_680_860_500, 0)));
    }

    #[test]
    fn a_server_that_was_set_between_is_taken_to_have_answered_at_once() {
        for received in [TRANSMIT + (1 << 32), TRANSMIT - (1 << 32), 1] {
            let packet = with(32, &received.to_be_bytes());
            assert_eq!(read(&packet, 20), Ok((1_614_680_860_510, 10)));
        }
    }

    #[test]
    fn eras_follow_each_other_in_2036() {
        for (stamp, expected) in [
            (0xE1B6_5F80_0000_0000, Ok((1_577_836_800_000, 0))),
            (0xFFFF_FFFF_FFFF_FFFF, Ok((2_085_978_495_999, 0))),
            (0x0000_0000_0000_0001, Ok((2_085_978_496_000, 0))),
            (0x0000_0001_8000_0000, Ok((2_085_978_497_500, 0))),
            (0x7830_D57F_0000_0000, Ok((4_102_444_799_000, 0))),
            (0x7830_D580_0000_0000, Err(Refusal::Implausible)),
            (0xE1B6_5F7F_FFFF_FFFF, Err(Refusal::Implausible)),
            // 1970.
            (0x83AA_7E80_0000_0000, Err(Refusal::Implausible)),
        ] {
            let stamp: u64 = stamp;
            assert_eq!(
                read(&with(40, &stamp.to_be_bytes()), 0),
                expected,
                "{stamp:x}"
            );
        }
    }

    #[test]
    fn what_is_no_good_reply_is_refused_for_its_reason() {
        let zeros = [0; 8];
        for (packet, expected) in [
            (reply()[..47].to_vec(), Refusal::Short),
            (Vec::new(), Refusal::Short),
            (with(31, &[0xEE]), Refusal::Stray),
            (with(24, &zeros), Refusal::Stray),
            // Our own request, sent back.
            (request(COOKIE).to_vec(), Refusal::Stray),
            (with(0, &[0x23]), Refusal::NotAReply),
            (with(0, &[0x25]), Refusal::NotAReply),
            (with(0, &[0x1C]), Refusal::NotAReply),
            (with(0, &[0xE4, 0, 0, 0]), Refusal::Kiss([192, 0, 2, 1])),
            (with(0, &[0xE4]), Refusal::Unsynchronized),
            (with(1, &[16]), Refusal::Unsynchronized),
            (with(1, &[255]), Refusal::Unsynchronized),
            (with(32, &zeros), Refusal::Unsynchronized),
            (with(40, &zeros), Refusal::Unsynchronized),
            (with(8, &[0, 16]), Refusal::Dispersed),
            (with(4, &[0, 32]), Refusal::Dispersed),
            (with(4, &[0xFF; 8]), Refusal::Dispersed),
        ] {
            assert_eq!(read(&packet, 2), Err(expected), "{packet:x?}");
            let stray = matches!(expected, Refusal::Short | Refusal::Stray);
            assert_eq!(expected.is_stray(), stray);
        }
        let kiss = with(
            1,
            &[0, 6, 0xE9, 0, 0, 0, 0, 0, 0, 0, 0, b'R', b'A', b'T', b'E'],
        );
        assert_eq!(read(&kiss, 2), Err(Refusal::Kiss(*b"RATE")));
        for stratum in [1, 15] {
            assert!(read(&with(1, &[stratum]), 2).is_ok());
        }
        assert!(read(&with(8, &[0, 15, 0, 0]), 2).is_ok());
        // A leap second is announced.
        assert!(read(&with(0, &[0x64]), 2).is_ok());
    }
}
