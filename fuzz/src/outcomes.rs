//! What the receiver makes of a stream.

use metertrekker::p1::cipher::Keys;
use metertrekker::reading::{Reading, Skip};
use metertrekker::receiver::{CrcPolicy, Proof, Receiver};

/// What came of a stream: each telegram's fate and content, what proved it, the skipped lines, the noise.
#[derive(PartialEq, Debug)]
pub struct Outcomes {
    pub telegrams: Vec<String>,
    pub proofs: Vec<Proof>,
    pub skipped: Vec<(Vec<u8>, &'static str)>,
    pub noise: u32,
}

/// Gives the pieces to a receiver, then silence.
pub fn outcomes<'a>(
    policy: CrcPolicy,
    keys: Option<Keys>,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Outcomes {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Box::new(Receiver::new(policy, &mut staged));
    receiver.set_keys(keys);
    let (mut telegrams, mut proofs, mut skipped) = (vec![], vec![], vec![]);
    let mut note = |line: &[u8], reason: Skip| {
        skipped.push((line.to_vec(), reason.name()));
    };
    for piece in pieces.map(Some).chain([None]) {
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
    assert!(!receiver.is_within_telegram());
    Outcomes {
        telegrams,
        proofs,
        skipped,
        noise: receiver.noise(),
    }
}
