//! A child process whose output is collected line by line, and which never outlives its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a peer may take for anything that it does at once on a quiet machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long what a program has said at its end may be on its way.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How many lines of a child's output a failure shows.
const SHOWN_LINES: usize = 60;

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

/// A running program. Dropping it ends the program; if that happens in a panic, what it had printed is shown.
pub struct Running {
    name: String,
    child: Child,
    output: Arc<Output>,
    collectors: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts the command with its standard output and standard error collected.
    pub fn start(name: &str, command: &mut Command) -> Running {
        Running::start_with_input(name, command.stdin(Stdio::null()))
    }

    /// As [`start`](Self::start), with the standard input that the command has.
    pub fn start_with_input(name: &str, command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {name}: {e}"));
        let output = Arc::new(Output::default());
        let collectors = [
            collect(child.stdout.take(), &output),
            collect(child.stderr.take(), &output),
        ];
        Running {
            collectors: collectors.into_iter().flatten().collect(),
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// All lines printed so far, standard output and standard error together.
    pub fn lines(&self) -> Vec<String> {
        self.output
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until `look` finds what it is looking for in the lines printed so far; panics after [`PATIENCE`], and when
    /// the program has ended without it.
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Asked before the look: what a program prints last is still seen.
            let ended = self.child.try_wait().ok().flatten();
            let lines = self
                .output
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = look(&lines) {
                return found;
            }
            if let Some(status) = ended {
                drop(lines);
                // The collecting threads may still hold its last words; another process that has its output may hold them longer.
                let last = Instant::now() + LAST_WORDS;
                while self.collectors.iter().any(|c| !c.is_finished()) && Instant::now() < last {
                    thread::sleep(Duration::from_millis(10));
                }
                if let Some(found) = look(&self.lines()) {
                    return found;
                }
                panic!("{} ended ({status}) before {what}", self.name);
            }
            if Instant::now() >= deadline {
                drop(lines);
                panic!("waited {PATIENCE:?} in vain for {what} from {}", self.name);
            }
            let wait = Duration::from_millis(100);
            drop(self.output.grown.wait_timeout(lines, wait));
        }
    }

    /// Waits for a line that contains `part`.
    pub fn wait_for_line(&mut self, part: &str) {
        self.wait_for(&format!("a line with {part:?}"), |lines| {
            lines.iter().any(|line| line.contains(part)).then_some(())
        });
    }

    /// Waits until the program ends by itself; panics after [`PATIENCE`].
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                // The collecting threads end with the pipes.
                for collector in self.collectors.drain(..) {
                    let _ = collector.join();
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end within {PATIENCE:?}",
                self.name
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line to a program that was started with a pipe for its input; one that has ended does not mind.
    pub fn type_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        let _ = input.write_all(format!("{line}\n").as_bytes());
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the program to end (SIGTERM) and waits until it has; one that does not listen is killed and is a failure.
    pub fn stop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            if Instant::now() >= deadline {
                self.kill();
                panic!(
                    "{} did not end within {PATIENCE:?} after SIGTERM",
                    self.name
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends the program a signal; one that has ended does not mind.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the program without asking (SIGKILL): a power failure.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let lines = self.lines();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("--- {} printed last:\n{}\n---", self.name, shown.join("\n"));
        }
    }
}

fn collect(
    pipe: Option<impl Read + Send + 'static>,
    output: &Arc<Output>,
) -> Option<JoinHandle<()>> {
    let pipe = pipe?;
    let output = Arc::clone(output);
    Some(thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned();
            output
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
            output.grown.notify_all();
        }
    }))
}
