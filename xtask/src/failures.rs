//! Runs tests and keeps what those which failed had to say, for the end of a long run: its first page may be out of reach by then.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::shell;

/// Lines that are kept of one test.
const LINES: usize = 30;

/// Runs `cargo test`, which shows what it prints. The error's first line names the command, the others tell of each test that failed.
pub fn run(arguments: &[&str]) -> Result<(), String> {
    let mut command = shell::cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    run_shown(&mut command, &mut io::stdout())
}

fn run_shown(command: &mut Command, screen: &mut impl Write) -> Result<(), String> {
    let shown = shell::shown(command);
    let problem = |what: &str, e| format!("{what} {shown}: {e}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| problem("cannot start", e))?;
    let mut failures = Failures::default();
    let output = child.stdout.take().into_iter();
    for line in output.flat_map(|pipe| BufReader::new(pipe).split(b'\n')) {
        let line = line.map_err(|e| problem("cannot read from", e))?;
        // Nobody may be looking; the tests go on.
        let _ = screen.write_all(&[&line, &b"\n"[..]].concat());
        failures.read(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().map_err(|e| problem("cannot wait for", e))?;
    match status.success() {
        true => Ok(()),
        false => {
            let ended = format!("{shown} ended with {status}");
            Err([&[ended], &failures.kept[..]].concat().join("\n"))
        }
    }
}

/// Finds what failed tests had to say in libtest's output.
#[derive(Default)]
struct Failures {
    kept: Vec<String>,
    /// Lines that the test at hand may still have.
    room: usize,
}

impl Failures {
    fn read(&mut self, line: &str) {
        let is_head = line.starts_with("---- ") && line.ends_with(" stdout ----");
        if is_head {
            self.room = LINES;
        } else if line == "failures:" {
            // The list of names after the last one.
            self.room = 0;
        }
        if self.room > 0 && !line.is_empty() {
            self.room -= 1;
            self.kept.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(output: &str) -> Vec<String> {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.kept
    }

    #[test]
    fn what_failed_tests_said_is_kept() {
        let output = "\
running 3 tests
test one ... ok
test two ... FAILED
test three ... FAILED

failures:

---- two stdout ----
thread 'two' panicked at tests/some.rs:1:2:
left is not right
---- three stdout ----

no answer

failures:
    two
    three

test result: FAILED. 1 passed; 2 failed";
        let expected = [
            "---- two stdout ----",
            "thread 'two' panicked at tests/some.rs:1:2:",
            "left is not right",
            "---- three stdout ----",
            "no answer",
        ];
        assert_eq!(kept(output), expected);
    }

    #[test]
    fn one_that_says_much_leaves_room_for_the_others() {
        let much = "more\n".repeat(1000);
        let output = format!("failures:\n---- one stdout ----\n{much}---- two stdout ----\nwhy");
        let kept = kept(&output);
        assert_eq!(kept.len(), LINES + 2);
        assert_eq!(kept.last().map(String::as_str), Some("why"));
    }

    #[test]
    fn the_error_names_the_command_first() {
        let mut command = Command::new("sh");
        let script = "echo 'failures:'; echo '---- one stdout ----'; echo why; exit 3";
        let mut screen = Vec::new();
        let error = run_shown(command.args(["-c", script]), &mut screen).expect_err("it fails");
        assert_eq!(screen, b"failures:\n---- one stdout ----\nwhy\n");
        let lines: Vec<&str> = error.lines().collect();
        assert!(lines[0].ends_with("ended with exit status: 3"), "{error}");
        assert_eq!(lines[1..], ["---- one stdout ----", "why"]);
    }
}
