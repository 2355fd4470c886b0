//! `--board qemu`: the lx106's image in an emulator, the P1 source on its UART, the broker on this side.

use core::{
    cell::Cell,
    convert::Infallible,
    future::pending,
    net::{IpAddr, SocketAddrV4},
    str::FromStr,
};
use std::{
    env, format,
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
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
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{Read as _, Write as _};
use rustix::io::{FdFlags, fcntl_setfd};

use super::{
    EMULATED_FAREWELL, Error, Flags, given_up,
    view::View,
    watch::{Gone, watch},
};
use crate::{
    app::{monitor::Monitor, outlet, server, stats::Stats},
    p1::port::{LineSettings, Port},
    settings::Settings,
    soc::host::{console::Console, pty},
};

const QEMU: &str = "qemu-system-xtensa";

/// This machine, as the emulated network sees it.
const GATEWAY: &str = "10.0.2.2";

/// Pause before a port that failed is tried again.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// How long the board's good-bye may still be on its way from the broker when the board has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Status with which the image ends when it is to be started again.
const RESTART: i32 = 6;

/// What the board is told beside its settings.
pub struct Board<'a> {
    /// What wins over the settings in flash.
    pub flags: Flags,
    /// The port of the broker in this process.
    pub broker: Option<u16>,
    /// The device's name.
    pub name: &'a str,
    /// The file of what survives a restart.
    pub flash: PathBuf,
    /// The file of the log.
    pub log: PathBuf,
    /// Where clients of the commands are let in, and those of raw streams.
    pub listen: Option<[SocketAddrV4; 2]>,
    /// Where commands are typed.
    pub console: Option<Console>,
    /// Whether to end when the input does.
    pub once: bool,
}

/// The console's line to the board, which keeps its place when the board starts over.
struct Line {
    master: Async<File>,
    path: PathBuf,
    /// Held open, so that the line stays up while there is no board.
    _slave: OwnedFd,
}

impl Line {
    fn open() -> Result<Self, Error> {
        let failed = |error: io::Error| Error::Board(format!("no line to its console: {error}"));
        let (master, slave, path) = pty::open().map_err(|error| failed(error.into()))?;
        Ok(Self {
            master: Async::new(File::from(master)).map_err(failed)?,
            path,
            _slave: slave,
        })
    }

    /// Hands on what is typed and what is answered, for ever.
    async fn connect(&self, console: &mut Console) -> Infallible {
        let (mut input, mut output) = console.split();
        let typed = async {
            let mut buffer = [0; 256];
            while let Ok(count @ 1..) = input.read(&mut buffer).await {
                let mut rest = buffer.get(..count).unwrap_or_default();
                while let Ok(written @ 1..) =
                    self.master.write_with(|mut line| line.write(rest)).await
                {
                    rest = rest.get(written..).unwrap_or_default();
                    if rest.is_empty() {
                        break;
                    }
                }
            }
            pending::<Infallible>().await
        };
        let answered = async {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = self
                .master
                .read_with(|mut line| line.read(&mut buffer))
                .await
            {
                let bytes = buffer.get(..count).unwrap_or_default();
                if output.write_all(bytes).await.is_err() {
                    break;
                }
            }
            pending::<Infallible>().await
        };
        match select(typed, answered).await {
            Either::First(never) | Either::Second(never) => never,
        }
    }
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

/// Runs the image, again when it wants to start over, until it ends: on `interrupted`, or with `once` when the input
/// has ended and all is published. `stored` reads the settings in flash.
pub async fn run(
    board: &mut Board<'_>,
    mut stored: impl FnMut() -> Result<Settings, Error>,
    port: &mut impl Port,
    view: &View,
    stats: &Stats,
    interrupted: Receiver<()>,
) -> Result<(), Error> {
    let mut console = board.console.take();
    let line = console.as_ref().map(|_| Line::open()).transpose()?;
    let typing = async {
        match (&line, &mut console) {
            (Some(line), Some(console)) => line.connect(console).await,
            _ => pending().await,
        }
    };
    let running = async {
        loop {
            let settings = stored()?;
            let line = line.as_ref().map(|line| line.path.as_path());
            if !run_once(board, settings, line, port, view, stats, &interrupted).await? {
                return Ok(());
            }
            view.restarted();
        }
    };
    match select(running, typing).await {
        Either::First(result) => result,
        Either::Second(never) => match never {},
    }
}

/// Runs the image until it ends; whether it wants to start over.
async fn run_once(
    board: &mut Board<'_>,
    stored: Settings,
    line: Option<&Path>,
    port: &mut impl Port,
    view: &View,
    stats: &Stats,
    interrupted: &Receiver<()>,
) -> Result<bool, Error> {
    let mut settings = stored;
    board.flags.apply(&mut settings);
    let words = words(board, &settings, line, port.waits());
    if let ("-", Some(port)) = (settings.mqtt_server.as_str(), board.broker) {
        // It fits by construction.
        let _ = settings.set("mqtt_server", "127.0.0.1");
        settings.mqtt_port = port;
    }
    let mut emulator = Emulator::start(&image()?, &words, board.listen)?;
    let console = emulator.console.clone();
    let stdin = emulator.stdin.take();
    let published = stats.published.get();
    let (ready, started) = async_channel::bounded::<()>(1);
    let (up, gone) = (Cell::new(false), Gone::new());
    let listening = async {
        let mut last = String::new();
        let mut changed = Vec::new();
        while let Ok(line) = console.recv().await {
            changed.extend(line.strip_prefix("changed ").map(String::from));
            if line.starts_with("ready") {
                up.set(true);
                let _ = ready.try_send(());
            }
            hear(&line, published, view, stats);
            last = line;
        }
        if view.is_connected() {
            let _ = with_timeout(LAST_WORDS, gone.wait()).await;
        }
        (last, changed)
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
    let watching = watch(&settings, board.name, view, &gone);
    let beside = join3(feeding, watching, view.refresh(stats));
    let given_up = given_up(view, board.once, &up, EMULATED_FAREWELL);
    let (last, changed) = match select3(listening, beside, given_up).await {
        Either3::First(ended) => ended,
        Either3::Second((never, ..)) => match never {},
        Either3::Third(error) => return Err(error),
    };
    match emulator.child.wait() {
        Ok(status) if status.success() => Ok(false),
        // Who wants to end wants no news.
        Ok(status) if status.code() == Some(RESTART) => {
            let changed = changed.iter().map(String::as_str);
            board.flags.yield_to(&changed.collect::<Vec<_>>());
            Ok(!view.is_stopping())
        }
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
fn words(
    board: &Board<'_>,
    settings: &Settings,
    line: Option<&Path>,
    recording: bool,
) -> Vec<String> {
    let server = settings.mqtt_server.as_str();
    let local = server == "localhost" || IpAddr::from_str(server).is_ok_and(|ip| ip.is_loopback());
    let flags = board.flags.settings.iter();
    let mut words: Vec<_> = flags
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    words.extend([
        format!("interval={}", settings.interval),
        format!("name={}", board.name),
        format!("state={}", board.flash.display()),
        format!("log={}", board.log.display()),
        format!("recording={recording}"),
        "end=stdin".to_string(),
        "stats=1".to_string(),
    ]);
    if local {
        words.push(format!("mqtt_server={GATEWAY}"));
    }
    words.extend(board.broker.map(|port| format!("broker={port}")));
    words.extend(line.map(|line| format!("console={}", line.display())));
    words
}

impl Emulator {
    fn start(
        image: &Path,
        words: &[String],
        listen: Option<[SocketAddrV4; 2]>,
    ) -> Result<Self, Error> {
        let ports = [server::PORT, outlet::PORT];
        let forwarded = listen.into_iter().flatten().zip(ports);
        let forwarded = forwarded.map(|(here, there)| format!(",hostfwd=tcp:{here}-:{there}"));
        let forwarded: String = forwarded.collect();
        let network = format!("user,model=open_eth{forwarded}");
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
            .args(["-nic", &network])
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
                    // The emulator has ended when its end is closed, and that is told elsewhere. The source has not.
                    let Ok(written) = uart.write_with(|mut uart| uart.write(rest)).await else {
                        return pending().await;
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
fn hear(line: &str, before: u32, view: &View, stats: &Stats) {
    let mut words = line.split(' ');
    match words.next().unwrap_or_default() {
        "accepted" => {
            stats.accepted.count();
            view.board_accepted(line);
        }
        "stats" => {
            let published = words.find_map(|word| word.strip_prefix("published="));
            let published = published.and_then(|count| count.parse::<u32>().ok());
            // The board counts from its start.
            let published = published.unwrap_or(0).saturating_add(before);
            let more = published.saturating_sub(stats.published.get());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soc::host::{
        executor::block_on_virtual,
        p1::SimulatedPort,
        simulator::{Kind, Simulator},
        time::VIRTUAL_EPOCH,
    };

    #[test]
    fn a_board_that_has_ended_is_not_the_end_of_the_meter() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let uart = Async::new(near).unwrap();
        let fed = block_on_virtual(async {
            let mut meter =
                SimulatedPort::new(Simulator::new(Kind::Esmr50, 7, VIRTUAL_EPOCH as i64));
            let view = View::new(false);
            select(feed(&mut meter, &uart, &view), Timer::after_secs(60)).await
        });
        assert!(matches!(fed, Either::Second(())));
    }
}
