//! A table's text, its own or a piece in the middle of the project's: it becomes code, or problems that each name a line of it.
#![no_main]

#[path = "../../build/metrics.rs"]
#[allow(dead_code, reason = "the target needs the compiler alone")]
mod metrics;
#[path = "../../build/problem.rs"]
mod problem;

use libfuzzer_sys::fuzz_target;

const OWN: &str = include_str!("../../metrics.toml");

fn check(text: &str) {
    let compiled = metrics::compile("metrics.toml", text);
    assert_eq!(metrics::compile("metrics.toml", text), compiled);
    match compiled {
        Ok(code) => assert!(!code.is_empty()),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            let lines = text.lines().count().max(1) + 1;
            for problem in problems {
                let told = problem.to_string();
                assert!((1..=lines).contains(&problem.line), "{told}");
                assert!(!told.contains('\n'), "{told}");
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((where_to, text)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    check(text);
    // In place of some lines of the project's table, of which a part is enough.
    let lines: Vec<&str> = OWN.lines().take(200).collect();
    let at = usize::from(where_to[0]) % lines.len();
    let end = (at + usize::from(where_to[1]) % 8).min(lines.len());
    check(&[&lines[..at], &[text], &lines[end..]].concat().join("\n"));
});
