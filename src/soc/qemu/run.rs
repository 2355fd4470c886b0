//! The firmware's tasks on this board, and the memory that they work with.

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::{SpawnError, Spawner};
use embassy_futures::join::join3;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer};
use static_cell::{ConstStaticCell, StaticCell};
use ufmt::uwriteln;
use xtensa_lx::semihosting;

use super::{
    UNPUBLISHED, UNUSABLE,
    console::Console,
    ethernet::{self, Ethernet},
    flash::{self, FileFlash},
    latency,
    uart::{self, Uart},
    words::{Name, Words},
};
use crate::{
    app::{
        detection::{Detected, Detection},
        mailbox::Mailbox,
        meter::Meter,
        publisher::{Publisher, RX_BUFFER, Room, TX_BUFFER},
        report::Report,
        stats::Stats,
        transport::GATHER,
    },
    p1::crc::{Rule, Running},
    reading::Reading,
    settings::Settings,
    soc::{
        lx106::{
            net::{Net, Sockets},
            stack,
        },
        ram::{self, SOCKET_RX, SOCKET_TX},
    },
    storage::Store,
};

/// The MQTT session has one.
const SOCKETS: usize = 1;
const _: () = assert!(SOCKET_TX >= GATHER, "a burst has to fit its socket");

/// How often the end of the input is looked for, and how often in a row it has to be seen.
const END_LOOK: Duration = Duration::from_millis(100);
const QUIET: u32 = 5;

/// How long the broker may be away after the input's end.
const LAST_TRY: Duration = Duration::from_secs(15);

/// How often the console's network line is looked after.
const LOOK: Duration = Duration::from_millis(250);

type TheMeter = Meter<'static, 'static, Report<Console>>;
type Network = Net<'static, SOCKETS, SOCKET_RX, SOCKET_TX>;

/// Two readings change places between meter and publisher.
static STAGED: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static WAITING: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static METER: StaticCell<TheMeter> = StaticCell::new();
static ROOM: ConstStaticCell<Room> = ConstStaticCell::new(Room::new());
static BUFFERS: ConstStaticCell<Sockets<SOCKETS, SOCKET_RX, SOCKET_TX>> =
    ConstStaticCell::new(Sockets::new());
/// One more each for DHCP and DNS.
static RESOURCES: ConstStaticCell<StackResources<{ SOCKETS + 2 }>> =
    ConstStaticCell::new(StackResources::new());
static STACK_START: AtomicU32 = AtomicU32::new(0);
static COMMON: StaticCell<Common> = StaticCell::new();

/// The ledger's lines against what is really taken; a mismatch names both.
const _: [(); ram::READINGS] = [(); 2 * size_of::<Reading>()];
const _: [(); ram::METER] = [(); size_of::<TheMeter>()];
const _: [(); ram::MQTT_RX] = [(); RX_BUFFER];
const _: [(); ram::MQTT_TX] = [(); TX_BUFFER];
const _: [(); ram::GATHER] = [(); GATHER];
const _: [(); ram::NETWORK] = [(); size_of::<StackResources<{ SOCKETS + 2 }>>()];
const _: [(); ram::COMMON] = [(); size_of::<Common>()];

/// What all tasks share.
struct Common {
    settings: Settings,
    name: Name,
    stats: Stats,
    report: Report<Console>,
    mailbox: Mailbox<'static>,
    detection: Detection,
}

/// Starts the tasks as the words on the emulator's command line say.
///
/// # Errors
/// A task was started before.
// Inlined, what this needs of the stack would be taken as long as the tasks run.
#[inline(never)]
pub fn start(spawner: &Spawner) -> Result<(), SpawnError> {
    let common = COMMON.init_with(|| Common {
        settings: Settings::default(),
        name: Name::try_from("Metertrekker-qemu").unwrap_or_default(),
        stats: Stats::new(),
        report: Report::new(Console),
        mailbox: Mailbox::new(WAITING.take()),
        detection: Detection::new(),
    });
    let room = ROOM.take();
    // SAFETY: any four bytes are a word.
    let (_, words_room, _) = unsafe { room.scratch().align_to_mut::<u32>() };
    let Ok(Words {
        flash,
        recording,
        end,
        stats: seconds,
    }) = Words::read(words_room, &mut common.settings, &mut common.name)
    else {
        semihosting::exit(UNUSABLE)
    };
    let common = &*common;
    let mut uart = Uart::start();
    uart.wait_for_reader(recording);
    if common.settings.mqtt_server == "-" {
        spawner.spawn(discard(common)?);
    } else {
        let mut seed = Running::new(Rule::Arc);
        seed.update(common.name.as_bytes());
        let seed = u32::from(seed.value());
        let (stack, runner) = embassy_net::new(
            Ethernet::start(),
            Config::dhcpv4(Default::default()),
            RESOURCES.take(),
            u64::from(seed) << 32 | Instant::now().as_ticks(),
        );
        spawner.spawn(network(runner, stack, common)?);
        spawner.spawn(publish(
            common,
            room,
            Net::new(stack, BUFFERS.take()),
            flash,
            seed,
        )?);
    }
    if seconds > 0 {
        let pause = Duration::from_secs(seconds.into());
        spawner.spawn(count(common, pause)?);
    }
    if end {
        spawner.spawn(watch_end()?);
    }
    let Common {
        settings,
        mailbox,
        stats,
        report,
        detection,
        ..
    } = common;
    let the_meter =
        METER.init_with(|| Meter::new(STAGED.take(), settings, mailbox, stats, report, detection));
    spawner.spawn(meter(the_meter, uart)?);
    let _ = uwriteln!(Console, "ready {}", common.name.as_str());
    Ok(())
}

/// Keeps how deep the stack was while the tasks were started: deeper than it will be.
pub fn started(stack: u32) {
    STACK_START.store(stack, Ordering::Relaxed);
}

#[embassy_executor::task]
async fn meter(meter: &'static mut TheMeter, mut uart: Uart) {
    meter.run(&mut uart).await;
}

#[embassy_executor::task]
async fn publish(
    common: &'static Common,
    room: &'static mut Room,
    network: Network,
    flash: FileFlash,
    seed: u32,
) {
    let mut store = match Store::open(flash, 0..flash::CAPACITY as u32).await {
        Ok(store) => store,
        Err(_) => stop("the file of the state cannot be read"),
    };
    let store = Mutex::new(&mut store);
    let mut publisher = Publisher {
        network: &network,
        settings: &common.settings,
        name: &common.name,
        mailbox: &common.mailbox,
        store: &store,
        detection: &common.detection,
        stats: &common.stats,
        monitor: &common.report,
        remote: &(),
        seed,
    };
    if publisher.run(room).await.is_err() {
        stop("the settings do not fit MQTT: shorten the longest");
    }
    finish(common)
}

/// The input has ended, and everything is published.
fn finish(common: &Common) -> ! {
    count_once(common);
    semihosting::exit(0)
}

/// Takes the end of the emulator's standard input, and a silent line after it, for the end of the P1 input.
#[embassy_executor::task]
async fn watch_end() {
    let mut quiet = 0;
    while quiet < QUIET {
        Timer::after(END_LOOK).await;
        if uart::is_empty() && is_stdin_at_end() {
            quiet += 1;
        } else {
            quiet = 0;
        }
    }
    uart::end();
    Timer::after(LAST_TRY).await;
    let _ = uwriteln!(Console, "not everything could be published");
    semihosting::exit(UNPUBLISHED)
}

/// What is typed before the end means nothing.
fn is_stdin_at_end() -> bool {
    while semihosting::is_readable(semihosting::STDIN) == Ok(true) {
        if semihosting::read(semihosting::STDIN, &mut [0; 64]) == Ok(0) {
            return true;
        }
    }
    false
}

fn stop(why: &str) -> ! {
    let _ = uwriteln!(Console, "{}", why);
    semihosting::exit(UNUSABLE)
}

/// Without a broker a reading has been dealt with when it has been judged.
#[embassy_executor::task]
async fn discard(common: &'static Common) {
    // There is no store either.
    common.detection.remember(Detected::default());
    while let Some(reading) = common.mailbox.take().await {
        reading.done();
    }
    finish(common)
}

#[embassy_executor::task]
async fn network(
    mut runner: Runner<'static, Ethernet>,
    stack: Stack<'static>,
    common: &'static Common,
) {
    let tell = async {
        let mut told = None;
        loop {
            let address = stack.config_v4().map(|config| config.address.address());
            if address != told {
                told = address;
                common.report.network(address);
            }
            Timer::after(LOOK).await;
        }
    };
    join3(runner.run(), ethernet::watch_link(), tell).await;
}

#[embassy_executor::task]
async fn count(common: &'static Common, pause: Duration) {
    loop {
        Timer::after(pause).await;
        count_once(common);
    }
}

fn count_once(common: &Common) {
    let frames = ethernet::counters();
    let own = [
        ("frames_missed", frames.missed),
        ("frames_damaged", frames.damaged),
        ("frames_unsent", frames.unsent),
        ("cycles_to_card", latency::cycles()),
        ("stack_start", STACK_START.load(Ordering::Relaxed)),
        ("stack", stack::high_water()),
    ];
    common.report.stats(&common.stats, &own);
}
