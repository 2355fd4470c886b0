//! Bytes of an encrypted line in any pieces, some of them sealed with the key and some not: what comes of them does not depend
//! on the pieces, and nothing is accepted that neither a tag nor a check proves.
#![no_main]

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, aes::Aes128};
use libfuzzer_sys::fuzz_target;
use metertrekker::p1::cipher::{Keys, Secret};
use metertrekker::receiver::{CrcPolicy, Proof};
use metertrekker_fuzz::second_reader::telegrams_with_crc;
use metertrekker_fuzz::{outcomes, with_right_check};

const KEYS: Keys = Keys {
    encryption: Secret([0x11; 16]),
    authentication: None,
};

/// Text as far as a frame is believed to be long.
fn sealed(text: &[u8], counter: u32, spoiled: bool) -> Vec<u8> {
    let text = &text[..text.len().min(8000)];
    let iv = [&b"fuzztest"[..], &counter.to_be_bytes()].concat();
    let iv: [u8; 12] = iv.try_into().expect("twelve bytes");
    let additional = [&[0x30][..], &Secret::LUXEMBOURG.0].concat();
    let payload = Payload {
        msg: text,
        aad: &additional,
    };
    let cipher = AesGcm::<Aes128, U12, U12>::new(&KEYS.encryption.0.into());
    let mut sealed = cipher.encrypt(&iv.into(), payload).expect("it is short");
    if spoiled && let Some(last) = sealed.last_mut() {
        *last ^= 1;
    }
    let length = (sealed.len() + 5) as u16;
    let head = [&b"\xDB\x08fuzztest\x82"[..], &length.to_be_bytes()].concat();
    [&head[..], &[0x30], &counter.to_be_bytes(), &sealed].concat()
}

fuzz_target!(|data: &[u8]| {
    // Parts end with a byte that is in no telegram; the one behind it says what becomes of the next part.
    let mut stream = vec![];
    let mut most = 0;
    for (number, part) in data.split(|byte| *byte == 0xFE).enumerate() {
        let Some((how, text)) = part.split_first() else {
            continue;
        };
        let right = with_right_check(text);
        let checked = right.as_deref().filter(|_| how & 4 > 0).unwrap_or(text);
        most += telegrams_with_crc(&[checked, b"\r\n"].concat()).len();
        let spoiled = how & 8 > 0;
        match how & 3 {
            0 => stream.extend(checked),
            1 => {
                let frame = sealed(checked, number as u32, spoiled);
                let cut = frame.len() * usize::from(how >> 4) / 15;
                stream.extend(&frame[..cut]);
                most += 1;
            }
            _ => {
                stream.extend(sealed(checked, number as u32, spoiled));
                most += 1;
            }
        }
    }
    let outcomes_of = |piece| outcomes(CrcPolicy::Required, Some(KEYS), stream.chunks(piece));
    let whole = outcomes_of(stream.len().max(1));
    assert_eq!(outcomes_of(data.len() % 61 + 1), whole);
    assert!(!whole.proofs.contains(&Proof::None), "{whole:?}");
    // A search over the whole finds telegrams whose parts were sent apart.
    let across = telegrams_with_crc(&[&stream[..], b"\r\n"].concat()).len();
    assert!(whole.proofs.len() <= most + across, "{whole:?}");
});
