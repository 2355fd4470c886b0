//! Frames of encrypted ports, sealed by another implementation of AES-GCM.

mod support;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{AesGcm, aes::Aes128};
use metertrekker::p1::cipher::{Keys, Secret};
use metertrekker::reading::Reading;
use metertrekker::receiver::{CrcPolicy, Proof, Receiver, Refusal};
use support::telegram::telegram;

const KEYS: Keys = Keys {
    encryption: Secret([0x11; 16]),
    authentication: None,
};

/// Stands for no additional data.
const NO_DATA: Option<Secret> = Some(Secret([0xFF; 16]));

const TITLE: [u8; 8] = *b"SAGgp\x05\x4D\x33";

/// How a frame's length is written.
#[derive(Clone, Copy)]
enum Length {
    Short,
    One,
    Two,
}

/// A frame around `text`.
fn frame_of(text: &[u8], keys: Keys, title: [u8; 8], counter: u32, length: Length) -> Vec<u8> {
    let iv = [&title[..], &counter.to_be_bytes()].concat();
    let iv: [u8; 12] = iv.try_into().unwrap();
    let additional = match keys.authentication {
        NO_DATA => vec![],
        key => [&[0x30][..], &key.unwrap_or(Secret::LUXEMBOURG).0].concat(),
    };
    let payload = Payload {
        msg: text,
        aad: &additional,
    };
    let cipher = AesGcm::<Aes128, U12, U12>::new(&keys.encryption.0.into());
    let sealed = cipher.encrypt(&iv.into(), payload).unwrap();
    let count = sealed.len() + 5;
    let length = match length {
        Length::Short => vec![u8::try_from(count).unwrap()],
        Length::One => vec![0x81, u8::try_from(count).unwrap()],
        Length::Two => [&[0x82][..], &u16::try_from(count).unwrap().to_be_bytes()].concat(),
    };
    let head = [&[0xDB, 0x08][..], &title, &length, &[0x30]].concat();
    [&head[..], &counter.to_be_bytes(), &sealed].concat()
}

fn frame(text: &[u8]) -> Vec<u8> {
    frame_of(text, KEYS, TITLE, 7, Length::Two)
}

fn small() -> Vec<u8> {
    telegram("Lux5\\253663629_D", &["1-0:1.8.0(000123.456*kWh)"])
}

/// A telegram with bytes that are none of ASCII.
fn large() -> Vec<u8> {
    let text = [&b"0-0:96.13.0("[..], &[0xDB; 900], b")"].concat();
    telegram(
        "Lux5\\253663629_D",
        &[b"1-0:2.8.0(000001.000*kWh)".to_vec(), text],
    )
}

/// Each telegram's fate, with its number of values.
type Fates = Vec<Result<(Proof, usize), Refusal>>;

/// What comes of pieces, and the bytes of noise.
fn outcomes_of(keys: Option<Keys>, pieces: &[&[u8]]) -> (Fates, u32) {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut staged));
    receiver.set_keys(keys);
    let mut outcomes = vec![];
    let skipped = &mut |_: &[u8], _| ();
    for piece in pieces {
        let mut input = *piece;
        while let Some(outcome) = receiver.next(&mut input, skipped) {
            let count = receiver.reading().len();
            outcomes.push(outcome.map(|proof| (proof, count)));
        }
        assert!(input.is_empty(), "bytes are left");
    }
    while let Some(outcome) = receiver.silence(skipped) {
        let count = receiver.reading().len();
        outcomes.push(outcome.map(|proof| (proof, count)));
    }
    assert!(!receiver.is_within_telegram(), "silence ends everything");
    (outcomes, receiver.noise())
}

fn outcomes(bytes: &[u8]) -> Fates {
    outcomes_of(Some(KEYS), &[bytes]).0
}

const READ: Result<(Proof, usize), Refusal> = Ok((Proof::Crc, 1));

#[test]
fn a_frame_is_its_telegram() {
    assert_eq!(outcomes(&frame(&small())), [READ]);
    assert_eq!(outcomes(&frame(&large())), [Ok((Proof::Crc, 2))]);
}

#[test]
fn plain_telegrams_pass_with_and_without_a_key() {
    for keys in [None, Some(KEYS)] {
        let bytes = [small(), large()].concat();
        let expected = [READ, Ok((Proof::Crc, 2))];
        assert_eq!(outcomes_of(keys, &[&bytes]).0, expected);
    }
}

#[test]
fn plain_and_sealed_telegrams_may_take_turns() {
    let bytes = [small(), frame(&small()), large(), frame(&large())].concat();
    let large = Ok((Proof::Crc, 2));
    assert_eq!(outcomes(&bytes), [READ, READ, large, large]);
}

#[test]
fn any_cutting_gives_the_same() {
    let bytes = [
        &b"\xDB\x08noise\xDB\xDB"[..],
        &frame(&small()),
        b"\xDB\x08ab",
        &large(),
        &frame(&large()),
    ]
    .concat();
    let whole = outcomes_of(Some(KEYS), &[&bytes]);
    assert_eq!(whole.0.len(), 3);
    for size in 1..40 {
        let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        assert_eq!(outcomes_of(Some(KEYS), &pieces), whole, "by {size}");
    }
    for at in 0..bytes.len() {
        let (front, back) = bytes.split_at(at);
        assert_eq!(outcomes_of(Some(KEYS), &[front, back]), whole, "at {at}");
    }
}

#[test]
fn each_form_of_length_is_read() {
    // 127 and 255 at most: control byte, counter, tag and this.
    let least = telegram("Lux5", &["1-0:1.8.0(1*kWh)"]);
    for length in [Length::Short, Length::One, Length::Two] {
        let frame = frame_of(&least, KEYS, TITLE, 1, length);
        assert_eq!(outcomes(&frame), [READ]);
    }
}

#[test]
fn a_frame_without_key_says_so_and_is_no_noise() {
    let bytes = [frame(&small()), frame(&large()), small()].concat();
    let encrypted = |text: Vec<u8>| {
        let bytes = frame(&text).len() as u32;
        Err(Refusal::Encrypted { bytes })
    };
    let (found, noise) = outcomes_of(None, &[&bytes]);
    assert_eq!(found, [encrypted(small()), encrypted(large()), READ]);
    assert_eq!(noise, 0);
}

#[test]
fn another_meters_key_says_so() {
    let other = Keys {
        encryption: Secret([0x12; 16]),
        ..KEYS
    };
    let bytes = [frame(&small()), small()].concat();
    let wrong = frame(&small()).len() as u32;
    let found = outcomes_of(Some(other), &[&bytes]).0;
    assert_eq!(found, [Err(Refusal::Key { bytes: wrong }), READ]);
}

#[test]
fn another_authentication_key_leaves_it_to_the_crc() {
    let other = Keys {
        authentication: Some(Secret([0; 16])),
        ..KEYS
    };
    assert_eq!(
        outcomes(&frame_of(&small(), other, TITLE, 1, Length::Two)),
        [READ]
    );
    let mut stale = small();
    let digit = stale.iter().position(|byte| *byte == b'6').unwrap();
    stale[digit] = b'7';
    let sealed = frame_of(&stale, other, TITLE, 1, Length::Two);
    let found = outcomes(&sealed);
    assert!(matches!(found[..], [Err(Refusal::Crc { .. })]), "{found:?}");
}

#[test]
fn a_tag_without_additional_data_is_right_where_no_key_is_given_for_it() {
    let mut stale = small();
    let digit = stale.iter().position(|byte| *byte == b'6').unwrap();
    stale[digit] = b'7';
    let bare = Keys {
        authentication: NO_DATA,
        ..KEYS
    };
    let sealed = frame_of(&stale, bare, TITLE, 1, Length::Two);
    assert_eq!(outcomes(&sealed), [Ok((Proof::Tag, 1))]);
    let given = Keys {
        authentication: Some(Secret([0; 16])),
        ..KEYS
    };
    let found = outcomes_of(Some(given), &[&sealed]).0;
    assert!(matches!(found[..], [Err(Refusal::Crc { .. })]), "{found:?}");
}

#[test]
fn a_right_tag_is_enough() {
    let mut stale = small();
    let digit = stale.iter().position(|byte| *byte == b'6').unwrap();
    stale[digit] = b'7';
    assert_eq!(outcomes(&frame(&stale)), [Ok((Proof::Tag, 1))]);
    // As one of DSMR 3 would be, with a clock that asks for a CRC.
    let bare = b"/Lux5\r\n\r\n0-0:1.0.0(260115183107W)\r\n1-0:1.8.0(1*kWh)\r\n!\r\n";
    assert_eq!(outcomes(&frame(bare)), [Ok((Proof::Tag, 2))]);
}

#[test]
fn what_nothing_proves_is_refused() {
    let other = Keys {
        authentication: Some(Secret([0; 16])),
        ..KEYS
    };
    let bare = b"/Lux5\r\n\r\n1-0:1.8.0(1*kWh)\r\n!\r\n";
    let found = outcomes(&frame_of(bare, other, TITLE, 1, Length::Two));
    assert!(
        matches!(found[..], [Err(Refusal::NoCrc { .. })]),
        "{found:?}"
    );
    let unended = b"/Lux5\r\n\r\n1-0:1.8.0(1*kWh)\r\n";
    let found = outcomes(&frame(unended));
    assert!(
        matches!(found[..], [Err(Refusal::Truncated { .. })]),
        "{found:?}"
    );
}

#[test]
fn a_telegrams_line_end_may_be_missing_in_its_frame() {
    let text = small();
    let cut = text.strip_suffix(b"\r\n").unwrap();
    assert_eq!(outcomes(&frame(cut)), [READ]);
    let behind = [&text[..], b"\0\0\0garbage\r\n/Lux5\r\n"].concat();
    assert_eq!(outcomes(&frame(&behind)), [READ]);
}

#[test]
fn damage_anywhere_costs_its_frame_alone() {
    let sealed = frame(&small());
    for at in 0..sealed.len() {
        let mut bytes = sealed.clone();
        bytes[at] ^= 0x04;
        // A wrong length takes bytes of what follows, which then is found by its title.
        bytes.extend(&sealed);
        bytes.extend(&sealed);
        let found = outcomes(&bytes);
        let read = found.iter().filter(|outcome| **outcome == READ).count();
        assert!((2..=3).contains(&read), "{at}: {found:?}");
        // Only the title's and the tag's damage may be made good by the other proof.
        let is_body = (18..sealed.len() - 12).contains(&at);
        assert!(!is_body || read == 2 || found[0] == READ, "{at}: {found:?}");
    }
}

#[test]
fn a_frame_cut_off_costs_itself_alone() {
    let (first, second) = (frame(&small()), frame(&large()));
    for at in 1..first.len() {
        let bytes = [&first[..at], &second].concat();
        let found = outcomes(&bytes);
        assert_eq!(
            found.last(),
            Some(&Ok((Proof::Crc, 2))),
            "at {at}: {found:?}"
        );
        match (at, &found[..found.len() - 1]) {
            // Not to be told from noise.
            (..14, []) => {}
            // For what, depends on where the next one's bytes were taken for its own.
            (14..73, [Err(_)]) => {}
            // The tag alone is missing.
            (73.., [READ]) => {}
            _ => panic!("at {at}: {found:?}"),
        }
    }
}

#[test]
fn silence_ends_a_frame() {
    let sealed = frame(&small());
    for at in 1..sealed.len() {
        let found = outcomes(&sealed[..at]);
        match at {
            ..18 => assert_eq!(found, []),
            73.. => assert_eq!(found, [READ]),
            at => assert_eq!(found, [Err(Refusal::Truncated { bytes: at as u32 })]),
        }
    }
}

#[test]
fn counters_need_not_grow() {
    let older = frame_of(&small(), KEYS, TITLE, 3, Length::Two);
    let bytes = [frame(&small()), older.clone(), older].concat();
    assert_eq!(outcomes(&bytes), [READ, READ, READ]);
}

#[test]
fn a_telegram_whose_beginning_looked_like_a_frame_is_read() {
    // 18 bytes that could be a header but for the last ones.
    for noise in [
        &b"\xDB\x08"[..],
        b"\xDB\x08ab",
        b"\xDB\xDB\x08\xDB",
        b"\xDB\x08abcdefg\x82",
    ] {
        let bytes = [noise, &small()].concat();
        let (found, _) = outcomes_of(Some(KEYS), &[&bytes]);
        assert_eq!(found, [READ], "{}", noise.escape_ascii());
    }
}

#[test]
fn a_length_that_no_telegram_has_is_no_frame() {
    let head = [
        &[0xDB, 0x08][..],
        &TITLE,
        &[0x82, 0xFF, 0xFF, 0x30, 0, 0, 0, 1],
    ]
    .concat();
    let bytes = [&head[..], &small()].concat();
    assert_eq!(outcomes(&bytes), [READ]);
    let none = [&[0xDB, 0x08][..], &TITLE, &[17, 0x30, 0, 0, 0, 1]].concat();
    assert_eq!(outcomes(&[&none[..], &small()].concat()), [READ]);
}

#[test]
fn a_frame_whose_first_bytes_are_missing_costs_itself_alone() {
    let (first, second) = (frame(&small()), frame(&large()));
    for at in 1..first.len() {
        let found = outcomes(&[&first[at..], &second].concat());
        let last = found.last();
        assert_eq!(last, Some(&Ok((Proof::Crc, 2))), "from {at}: {found:?}");
        assert_eq!(found.len(), 1, "from {at}: {found:?}");
    }
}
