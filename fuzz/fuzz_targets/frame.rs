//! Bytes of a line in any pieces: what comes of them does not depend on the pieces, and nothing is
//! accepted whose check is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metertrekker::reading::{Reading, Skip};
use metertrekker::receiver::{CrcPolicy, Proof, Receiver};
use metertrekker_fuzz::second_reader::{telegrams_with_crc, telegrams_without_crc};
use metertrekker_fuzz::with_right_check;

/// What came of a stream: each telegram's fate and content, the skipped lines, the noise.
#[derive(PartialEq, Debug)]
struct Outcomes {
    telegrams: Vec<String>,
    proofs: Vec<Proof>,
    skipped: Vec<(Vec<u8>, &'static str)>,
    noise: u32,
}

fn outcomes<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Outcomes {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(CrcPolicy::Auto, &mut staged));
    let (mut telegrams, mut proofs, mut skipped) = (vec![], vec![], vec![]);
    let mut note = |line: &[u8], reason: Skip| {
        skipped.push((line.to_vec(), reason.name()));
    };
    let mut pieces = pieces.map(Some).chain([None]);
    while let Some(piece) = pieces.next() {
        let mut bytes = piece.unwrap_or_default();
        loop {
            let outcome = match piece {
                Some(_) => receiver.next(&mut bytes, &mut note),
                None => receiver.silence(&mut note),
            };
            let Some(outcome) = outcome else { break };
            let mut telegram = format!("{outcome:?}");
            if let Ok(proof) = outcome {
                proofs.push(proof);
                for value in receiver.reading().values() {
                    telegram += &format!("\n{value:?}");
                }
            }
            telegrams.push(telegram);
        }
        assert!(bytes.is_empty(), "bytes are left");
    }
    Outcomes {
        telegrams,
        proofs,
        skipped,
        noise: receiver.noise(),
    }
}

fn check(stream: &[u8], piece: usize) {
    let whole = outcomes([stream].into_iter());
    assert_eq!(outcomes(stream.chunks(piece)), whole);
    let count = |proof| whole.proofs.iter().filter(|found| **found == proof).count();
    // The line end behind the last check may be missing.
    let ended = [stream, b"\r\n"].concat();
    assert!(count(Proof::Crc) <= telegrams_with_crc(&ended).len());
    if count(Proof::None) > 0 {
        let bare = |line: &[u8]| line.trim_ascii_end().ends_with(b"!");
        let lines = ended.split(|byte| *byte == b'\n').filter(|line| bare(line));
        let most = telegrams_without_crc(&ended).len().max(lines.count());
        assert!(count(Proof::None) <= most);
    }
}

fuzz_target!(|data: &[u8]| {
    let piece = data
        .get(data.len() / 2)
        .map_or(1, |byte| usize::from(*byte) % 97 + 1);
    check(data, piece);
    if let Some(repaired) = with_right_check(data) {
        check(&repaired, piece);
    }
});
