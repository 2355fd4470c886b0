//! `--board qemu`: the lx106's image in an emulator, the P1 source on its UART, the broker on this side.

use core::{convert::Infallible, future::pending, net::IpAddr, str::FromStr};
use std::{
    env, format,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    string::{String, ToString},
    thread,
    vec::Vec,
};

use async_channel::Receiver;
use async_io::Async;
use embassy_futures::{
    join::join3,
    select::{Either, Either3, select, select3},
};
use embassy_time::{Duration, Timer};
use rustix::io::{FdFlags, fcntl_setfd};

use super::{Error, given_up, view::View, watch::watch};
use crate::{
    app::{monitor::Monitor, stats::Stats},
    p1::port::{LineSettings, Port},
    settings::Settings,
};

const QEMU: &str = "qemu-system-xtensa";

/// This machine, as the emulated network sees it.
const GATEWAY: &str = "10.0.2.2";

/// Pause before a port that failed is tried again.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// What the board is told beside its settings.
pub struct Board<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// Those that were asked for, as KEY=VALUE.
    pub set: &'a [String],
    /// The device's name.
    pub name: &'a str,
    /// The file of what survives a restart.
    pub flash: PathBuf,
    /// Whether to end when the input does.
    pub once: bool,
}

/// The running emulator; it ends with the value.
struct Emulator {
    child: Child,
    /// The image ends the run well when this is closed.
    stdin: Option<ChildStdin>,
    /// The console's lines; closed when the emulator has ended.
    console: Receiver<String>,
    uart: Async<UnixStream>,
}

/// Runs the image until it ends: on `interrupted`, or with `once` when the input has ended and all is published.
pub async fn run(
    board: &Board<'_>,
    port: &mut impl Port,
    view: &View,
    stats: &Stats,
    interrupted: Receiver<()>,
) -> Result<(), Error> {
    let mut emulator = Emulator::start(&image()?, &words(board, port.waits()))?;
    let console = emulator.console.clone();
    let stdin = emulator.stdin.take();
    let (ready, started) = async_channel::bounded::<()>(1);
    let listening = async {
        let mut last = String::new();
        while let Ok(line) = console.recv().await {
            if line.starts_with("ready") {
                let _ = ready.try_send(());
            }
            hear(&line, view, stats);
            last = line;
        }
        last
    };
    let feeding = async {
        let fed = async {
            // What comes before the image listens would be lost.
            let _ = started.recv().await;
            feed(port, &emulator.uart, view).await;
        };
        let stopped = select(fed, interrupted.recv()).await;
        view.stopping(matches!(stopped, Either::Second(_)));
        drop(stdin);
        // It is the image that ends a run.
        pending::<Infallible>().await
    };
    let watching = watch(board.settings, board.name, view);
    let beside = join3(feeding, watching, view.refresh(stats));
    let last = match select3(listening, beside, given_up(view, board.once)).await {
        Either3::First(last) => last,
        Either3::Second((never, ..)) => match never {},
        Either3::Third(error) => return Err(error),
    };
    match emulator.child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::Board(format!("{status}: {last}"))),
        Err(error) => Err(Error::Board(error.to_string())),
    }
}

/// The image lies beside this program, in Cargo's target folder.
fn image() -> Result<PathBuf, Error> {
    let program = env::current_exe().unwrap_or_default();
    let target = program.parent().and_then(Path::parent);
    let image = target
        .unwrap_or(Path::new("target"))
        .join("firmware/qemu.elf");
    if image.is_file() {
        Ok(image)
    } else {
        Err(Error::NoImage(image))
    }
}

/// The command line of the image.
fn words(board: &Board<'_>, recording: bool) -> Vec<String> {
    let settings = board.settings;
    let server = settings.mqtt_server.as_str();
    let local = server == "localhost" || IpAddr::from_str(server).is_ok_and(|ip| ip.is_loopback());
    let server = if local { GATEWAY } else { server };
    let mut words = board.set.to_vec();
    words.extend([
        format!("interval={}", settings.interval),
        format!("mqtt_server={server}"),
        format!("mqtt_port={}", settings.mqtt_port),
        format!("name={}", board.name),
        format!("state={}", board.flash.display()),
        format!("recording={recording}"),
        "end=stdin".to_string(),
        "stats=1".to_string(),
    ]);
    words
}

impl Emulator {
    fn start(image: &Path, words: &[String]) -> Result<Self, Error> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::NoEmulator,
            _ => Error::Board(error.to_string()),
        };
        let (near, far) = UnixStream::pair().map_err(failed)?;
        fcntl_setfd(far.as_fd(), FdFlags::empty()).map_err(|error| failed(error.into()))?;
        // A comma in a value is written twice, as everywhere on QEMU's command line.
        let arguments = words
            .iter()
            .map(|word| format!(",arg={}", word.replace(',', ",,")));
        let arguments: String = arguments.collect();
        let mut child = Command::new(QEMU)
            .args(["-M", "lx60-nommu", "-cpu", "lx106"])
            .args(["-display", "none", "-monitor", "none"])
            .args(["-nic", "user,model=open_eth"])
            .args(["-chardev", &format!("socket,id=p1,fd={}", far.as_raw_fd())])
            .args(["-serial", "chardev:p1"])
            .args([
                "-semihosting-config",
                &format!("enable=on,arg=metertrekker{arguments}"),
            ])
            .arg("-kernel")
            .arg(image)
            // Ctrl-C on the terminal is for this program, which ends the board in good order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (lines, console) = async_channel::unbounded();
        let stdout = child.stdout.take();
        let stdin = child.stdin.take();
        let emulator = Self {
            child,
            stdin,
            console,
            uart: Async::new(near).map_err(failed)?,
        };
        thread::Builder::new()
            .name(String::from("board's console"))
            .spawn(move || {
                for line in stdout
                    .into_iter()
                    .flat_map(|out| BufReader::new(out).lines())
                {
                    let Ok(line) = line else { break };
                    if lines.send_blocking(line).is_err() {
                        break;
                    }
                }
            })
            .map_err(failed)?;
        Ok(emulator)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It has ended, or nobody waits for it any longer.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts what the source gives on the UART, to the source's end. Data Request stays asserted: the emulated UART cannot
/// pass it on, and the image takes its telegrams from a meter that streams.
async fn feed(port: &mut impl Port, uart: &Async<UnixStream>, view: &View) {
    port.set_line(LineSettings::DSMR4);
    port.request(true);
    let mut buffer = [0; 4096];
    loop {
        match port.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => {
                let mut rest = buffer.get(..count).unwrap_or_default();
                while !rest.is_empty() {
                    // The emulator has ended when its end is closed, and that is told elsewhere.
                    let Ok(written) = uart.write_with(|mut uart| uart.write(rest)).await else {
                        return;
                    };
                    rest = rest.get(written..).unwrap_or_default();
                }
            }
            Err(error) => {
                view.port_failed(&error);
                Timer::after(PORT_RETRY).await;
            }
        }
    }
}

/// Counts and shows what the console's line says; `app::report` has the lines.
fn hear(line: &str, view: &View, stats: &Stats) {
    let mut words = line.split(' ');
    match words.next().unwrap_or_default() {
        "accepted" => {
            stats.accepted.count();
            view.board_accepted(line);
        }
        "stats" => {
            let published = words.find_map(|word| word.strip_prefix("published="));
            let published = published.and_then(|count| count.parse::<u32>().ok());
            let more = published.unwrap_or(0).saturating_sub(stats.published.get());
            stats.published.add(more);
        }
        "connected" => {
            stats.connections.count();
            view.board_connected();
        }
        "disconnected" => view.board_disconnected(line),
        "refused" => {
            // Which reason it was stands in the line.
            if let Some(counter) = stats.refused.first() {
                counter.count();
            }
            view.board_trouble(line);
        }
        "fell" => {
            stats.fallen_totals.count();
            view.board_trouble(line);
        }
        "dropped" => {
            stats.superseded.count();
            view.board_trouble(line);
        }
        "rejected" => {
            stats.rejected.count();
            view.board_trouble(line);
        }
        _ => view.board_line(line),
    }
}
