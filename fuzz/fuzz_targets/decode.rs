//! Bytes of a capture to what `metertrekker decode` prints: JSON on each line, and of a telegram
//! whose check is right what the tests' second reader reads.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use metertrekker::soc::host::decode::decode;
use metertrekker_fuzz::second_reader::{Decoded, Table, Telegram, telegrams_with_crc};
use metertrekker_fuzz::with_right_check;

static TABLE: LazyLock<Table> = LazyLock::new(Table::of_this_project);

fuzz_target!(|data: &[u8]| {
    printed(data);
    let Some(telegram) = with_right_check(data) else {
        return;
    };
    let lines = printed(&telegram);
    // With noise before a header, or another header behind it, the receiver may see less. So it does where an earlier `!`
    // happens to have the right check, which the fuzzer brought about by a piece that leaves the check as it was.
    if telegrams_with_crc(&telegram).len() != 1 {
        return;
    }
    let Some(Ok(decoded)) = lines
        .first()
        .map(|line| serde_json::from_str::<Decoded>(line))
    else {
        return;
    };
    let expected = Telegram::read(&telegram, &TABLE);
    let whole = decoded.header == String::from_utf8_lossy(&expected.header);
    if lines.len() == 1 && decoded.crc == "ok" && whole {
        if let Err(problem) = expected.compare(&decoded, &TABLE) {
            panic!("{problem}");
        }
    }
});

fn printed(bytes: &[u8]) -> Vec<String> {
    let mut output = vec![];
    let summary = decode(bytes, &mut output, None).expect("memory can be read and written");
    let output = String::from_utf8(output).expect("UTF-8");
    let lines: Vec<String> = output.lines().map(str::to_owned).collect();
    for line in &lines {
        serde_json::from_str::<serde_json::Map<_, _>>(line).expect("a JSON object on each line");
    }
    assert_eq!(lines.len(), (summary.accepted + summary.refused) as usize);
    lines
}
