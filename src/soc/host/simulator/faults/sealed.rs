//! Encrypted frames around telegrams, as the ports of Luxembourg and Austria send them.

use std::prelude::v1::*;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, aes::Aes128};

use super::super::meter::Meter;
use super::Fault;

/// The key of all simulated meters.
const KEY: [u8; 16] = *b"simulated meter!";

/// Luxembourg's authentication key.
const AUTHENTICATION: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF,
];

const TITLE: &[u8; 8] = b"SIMsim\xDB\x08";

pub(super) const FAULTS: &[Fault] = &[
    Fault::seal(
        "sealed",
        "an encrypted frame; its key is 73696d756c61746564206d6574657221",
        |bytes, meter| seal(bytes, meter, Frame::default()),
    ),
    Fault::seal(
        "sealed-stale",
        "an encrypted frame whose tag is right and whose check inside is not",
        |bytes, meter| {
            let stale = Frame {
                stale: true,
                ..Frame::default()
            };
            seal(bytes, meter, stale)
        },
    ),
    Fault::seal(
        "sealed-other",
        "an encrypted frame with an authentication key of the meter's own",
        |bytes, meter| {
            let other = Frame {
                authentication: [0xA5; 16],
                ..Frame::default()
            };
            seal(bytes, meter, other)
        },
    ),
    Fault::seal(
        "sealed-for-another",
        "an encrypted frame with another meter's key",
        |bytes, meter| {
            let other = Frame {
                key: [0x5A; 16],
                ..Frame::default()
            };
            seal(bytes, meter, other)
        },
    ),
];

struct Frame {
    key: [u8; 16],
    authentication: [u8; 16],
    /// The check inside is another's.
    stale: bool,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            key: KEY,
            authentication: AUTHENTICATION,
            stale: false,
        }
    }
}

fn seal(bytes: &mut Vec<u8>, meter: &Meter, frame: Frame) -> bool {
    if frame.stale {
        let Some(digit) = bytes.iter().rposition(|byte| byte.is_ascii_hexdigit()) else {
            return false;
        };
        bytes[digit] = if bytes[digit] == b'0' { b'1' } else { b'0' };
    }
    let counter = (meter.now as u32).to_be_bytes();
    let iv = [&TITLE[..], &counter].concat();
    let additional = [&[0x30][..], &frame.authentication].concat();
    let payload = Payload {
        msg: bytes,
        aad: &additional,
    };
    let cipher = AesGcm::<Aes128, U12, U12>::new(&frame.key.into());
    let iv: [u8; 12] = iv.try_into().expect("twelve bytes");
    let sealed = cipher.encrypt(&iv.into(), payload).expect("it is short");
    let length = (sealed.len() + 5) as u16;
    let head = [&[0xDB, 0x08][..], TITLE, &[0x82], &length.to_be_bytes()].concat();
    *bytes = [&head[..], &[0x30], &counter, &sealed].concat();
    true
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn the_key_is_the_one_that_is_told() {
        let hex: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(FAULTS[0].about.ends_with(&hex));
    }
}
