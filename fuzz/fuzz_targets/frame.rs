//! Bytes of a line in any pieces: what comes of them does not depend on the pieces, and nothing is
//! accepted whose check is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metertrekker::receiver::{CrcPolicy, Proof};
use metertrekker_fuzz::second_reader::{telegrams_with_crc, telegrams_without_crc};
use metertrekker_fuzz::{outcomes, with_right_check};

fn check(stream: &[u8], piece: usize) {
    let outcomes_of = |piece| outcomes(CrcPolicy::Auto, None, stream.chunks(piece));
    let whole = outcomes_of(stream.len().max(1));
    assert_eq!(outcomes_of(piece), whole);
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
