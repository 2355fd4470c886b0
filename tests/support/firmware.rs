//! The firmware's own program.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::child::Running;

/// How long a program may run that ends by itself.
const LIMIT: Duration = Duration::from_secs(40);

/// What a program that ran to its end has left.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program with these arguments.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metertrekker"));
    // What a killed one leaves behind stays in the target folder.
    let temporary = env!("CARGO_TARGET_TMPDIR");
    command
        .args(args)
        .envs([("NO_COLOR", "1"), ("TMPDIR", temporary)]);
    command
}

/// Starts the program.
pub fn start(args: &[&str]) -> Running {
    Running::start("metertrekker", &mut command(args))
}

/// Runs the program to its end, with nothing on its standard input.
pub fn run(args: &[&str]) -> Ended {
    run_with(&[], args)
}

/// Runs the program to its end, with `input` in a pipe on its standard input.
pub fn run_with(input: &[u8], args: &[&str]) -> Ended {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("metertrekker starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        // A program that has seen enough closes its end.
        let _ = pipe.write_all(&input);
    });
    let (ended, end) = mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let guard = thread::spawn(move || {
        let late = end.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = kill_process(pid, Signal::KILL);
        }
        late
    });
    let output = child.wait_with_output().expect("metertrekker ends");
    drop(ended);
    let late = guard.join().expect("the guard ends");
    assert!(!late, "{args:?} did not end within {LIMIT:?}: {output:?}");
    writer.join().expect("the input is written");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// Runs the program and expects success.
pub fn succeed(args: &[&str]) -> Ended {
    let ended = run(args);
    assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
    ended
}

/// Simulates telegrams into a file.
pub fn simulate(path: &Path, args: &[&str]) {
    let fixed = ["simulate", "--rate", "max", "--output", text(path)];
    succeed(&[&fixed[..], args].concat());
}

/// What the `decode` command says of a file, an object per telegram.
pub fn decode(path: &Path) -> Vec<Json> {
    let ended = succeed(&["decode", text(path)]);
    let parse = |line| serde_json::from_str(line).expect("JSON on each line");
    ended.stdout.lines().map(parse).collect()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A server on a free port that gives everybody the same answer to their first words; then it closes the connection or says
/// nothing more. It ends with the test's process.
pub fn server(answer: Option<&'static [u8]>, closes: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = io::Read::read(&mut client, &mut [0; 1024]);
                if let Some(answer) = answer {
                    let _ = client.write_all(answer);
                }
                // What is sent and then closed at once may arrive as a reset.
                thread::sleep(Duration::from_millis(100));
                while !closes && io::Read::read(&mut client, &mut [0; 1024]).is_ok_and(|n| n > 0) {}
            });
        }
    });
    port
}
