//! The firmware's tasks on this board, and the memory that they work with.

use core::{
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
};

use edge_nal_embassy::{Udp, UdpBuffers};
use embassy_executor::{SpawnError, Spawner};
use embassy_futures::{block_on, join::join3, select::select};
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer};
use static_cell::{ConstStaticCell, StaticCell};
use ufmt::uwriteln;
use xtensa_lx::semihosting::{self, Open};

use super::{
    RESTART, UNPUBLISHED, UNUSABLE,
    console::{self, Console, Terminal},
    ethernet::{self, Ethernet},
    flash::{self, FileFlash},
    latency,
    uart::{self, Uart},
    words::{self, Name, Words},
};
use crate::{
    app::{
        caller,
        detection::Detection,
        mailbox::Mailbox,
        mdns,
        meter::Meter,
        ntp, outlet,
        publisher::{self, Publisher, RX_BUFFER, TX_BUFFER},
        remote::Mqtt,
        report::Report,
        server::{self, Doors},
        session,
        stats::Stats,
        transport::SEGMENT,
    },
    ntp::LENGTH as TIME,
    reading::Reading,
    settings::{KEYS, Settings},
    smartmeter::{
        answer,
        device::{Change, Device},
        journal::{self, Journal},
        stream::packet_at,
    },
    soc::{
        lx106::{
            net::{Acceptor, Datagrams, Net, Socket, Sockets},
            stack,
        },
        qemu::limits::{CLIENTS, MAX_RATE},
        ram::{self, SOCKET_RX, SOCKET_TX},
    },
    storage::{self, Store},
};

/// One for each client of the commands, one to turn the next away, and one for the stream server.
const COMMAND_SOCKETS: usize = CLIENTS + 1 + 1;
const COMMAND_RX: usize = 256;
const COMMAND_TX: usize = answer::MAX;

/// One for the client of raw streams, and one to turn the next away.
const STREAM_SOCKETS: usize = 2;
/// Such a client has nothing to say.
const STREAM_RX: usize = 64;
const STREAM_TX: usize = SEGMENT;

/// Datagrams: time, samples, multicast DNS.
const UDP_SOCKETS: usize = 3;

/// The MQTT session has one, the commands theirs, DHCP and DNS one each.
const SOCKETS: usize = 1 + COMMAND_SOCKETS + STREAM_SOCKETS + UDP_SOCKETS + 2;

const _: () = assert!(
    SOCKET_TX.is_multiple_of(SEGMENT),
    "segments have to be whole"
);

/// Bytes of samples in one piece.
const PACKET: usize = packet_at(MAX_RATE);

/// Bytes of what is said in multicast DNS at once: what an Ethernet frame holds, so that nothing is cut.
const MDNS_PACKET: usize = 1472;

/// How often the end of the input is looked for, and how often in a row it has to be seen.
const END_LOOK: Duration = Duration::from_millis(100);
const QUIET: u32 = 5;

/// How long the broker may be away after the input's end.
const LAST_TRY: Duration = Duration::from_secs(15);

/// How often the console's network line is looked after.
const LOOK: Duration = Duration::from_millis(250);

/// From a change to the restart that it takes, so that its answer is on its way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long the good-bye may take before another name is taken.
const FAREWELL: Duration = Duration::from_secs(2);

type TheDevice = Device<'static, 'static, FileFlash>;
type Monitors = (&'static Report<Console>, &'static TheDevice);
type TheMeter = Meter<'static, 'static, Monitors>;
type Network = Net<'static, 1, SOCKET_RX, SOCKET_TX>;
type CommandNetwork = Net<'static, COMMAND_SOCKETS, COMMAND_RX, COMMAND_TX>;
type CommandAcceptor = Acceptor<'static, COMMAND_SOCKETS, COMMAND_RX, COMMAND_TX>;
type CommandDoors = Doors<Socket<'static>, CLIENTS>;
type StreamNetwork = Net<'static, STREAM_SOCKETS, STREAM_RX, STREAM_TX>;
type TheRemote = Mqtt;
type PublisherRoom = publisher::Room<0>;
type Room = session::Room<PACKET>;
type TimeBuffers = UdpBuffers<1, TIME, TIME, 1>;
/// Nobody answers samples.
type SampleBuffers = UdpBuffers<1, PACKET, 1, 1>;
type MdnsBuffers = UdpBuffers<1, MDNS_PACKET, MDNS_PACKET, 2>;
type Packet = heapless::Vec<u8, PACKET>;

/// Two readings change places between meter and publisher.
static STAGED: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static WAITING: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static METER: StaticCell<TheMeter> = StaticCell::new();
static ROOM: ConstStaticCell<PublisherRoom> = ConstStaticCell::new(PublisherRoom::with_gathered());
static BUFFERS: ConstStaticCell<Sockets<1, SOCKET_RX, SOCKET_TX>> =
    ConstStaticCell::new(Sockets::new());
static COMMAND_BUFFERS: ConstStaticCell<Sockets<COMMAND_SOCKETS, COMMAND_RX, COMMAND_TX>> =
    ConstStaticCell::new(Sockets::new());
static COMMAND_DOORS: StaticCell<(CommandAcceptor, CommandDoors)> = StaticCell::new();
static STREAM_BUFFERS: ConstStaticCell<Sockets<STREAM_SOCKETS, STREAM_RX, STREAM_TX>> =
    ConstStaticCell::new(Sockets::new());
static STREAM_PACKET: ConstStaticCell<Packet> = ConstStaticCell::new(Packet::new());
static TIME_BUFFERS: StaticCell<TimeBuffers> = StaticCell::new();
static SAMPLE_BUFFERS: StaticCell<SampleBuffers> = StaticCell::new();
static MDNS_BUFFERS: StaticCell<MdnsBuffers> = StaticCell::new();
static MDNS_ROOM: ConstStaticCell<[u8; MDNS_PACKET]> = ConstStaticCell::new([0; MDNS_PACKET]);
static RESOURCES: ConstStaticCell<StackResources<SOCKETS>> =
    ConstStaticCell::new(StackResources::new());
/// The clients', the stream server's and the console's.
static ROOMS: ConstStaticCell<([Room; CLIENTS], [Room; 2])> = ConstStaticCell::new((
    [const { Room::with_packets() }; CLIENTS],
    [const { Room::with_packets() }; 2],
));
static REMOTE: StaticCell<TheRemote> = StaticCell::new();
static DEVICE: StaticCell<TheDevice> = StaticCell::new();
/// What the emulator ends with when all is done.
static STATUS: AtomicU32 = AtomicU32::new(0);
static STACK_START: AtomicU32 = AtomicU32::new(0);
static COMMON: StaticCell<Common> = StaticCell::new();

/// The ledger's lines against what is really taken; a mismatch names both.
const _: [(); ram::READINGS] = [(); 2 * size_of::<Reading>()];
const _: [(); ram::METER] = [(); size_of::<TheMeter>()];
const _: [(); ram::MQTT_RX] = [(); RX_BUFFER];
const _: [(); ram::MQTT_TX] = [(); TX_BUFFER];
const _: [(); ram::NETWORK] = [(); size_of::<StackResources<SOCKETS>>()];
const _: [(); ram::COMMON] = [(); size_of::<Common>()];
const _: [(); ram::COMMAND_SOCKETS] =
    [(); COMMAND_SOCKETS * (COMMAND_RX + COMMAND_TX) + STREAM_SOCKETS * (STREAM_RX + STREAM_TX)];
const _: [(); ram::SESSIONS] = [(); (CLIENTS + 2) * size_of::<Room>() + size_of::<Packet>()];
const _: [(); ram::DEVICE] = [(); size_of::<TheDevice>()];
const _: [(); ram::MQTT_COMMANDS] = [(); size_of::<TheRemote>()];
const _: [(); ram::UDP] = [(); size_of::<TimeBuffers>()
    + size_of::<SampleBuffers>()
    + size_of::<MdnsBuffers>()
    + MDNS_PACKET];

/// What all tasks share.
struct Common {
    /// As the tasks work with them until the next start.
    settings: Settings,
    /// What the words call the device, until a user does.
    board_name: Name,
    /// What it is called until the next start.
    name: Name,
    stats: Stats,
    report: Report<Console>,
    mailbox: Mailbox<'static>,
    detection: Detection,
    store: Option<Store<FileFlash>>,
    journal: Option<Journal<FileFlash>>,
}

/// What is shared under locks.
struct Locked {
    store: storage::Shared<'static, FileFlash>,
    journal: Option<journal::Shared<'static, FileFlash>>,
}

static LOCKED: StaticCell<Locked> = StaticCell::new();
static MONITORS: StaticCell<Monitors> = StaticCell::new();

/// Starts the tasks as flash and the words on the emulator's command line say.
///
/// # Errors
/// A task was started before.
// Inlined, what this needs of the stack would be taken as long as the tasks run.
#[inline(never)]
pub fn start(spawner: &Spawner) -> Result<(), SpawnError> {
    let room = ROOM.take();
    // SAFETY: any four bytes are a word.
    let (_, words_room, _) = unsafe { room.scratch().align_to_mut::<u32>() };
    let Ok(words) = Words::read(words_room) else {
        semihosting::exit(UNUSABLE)
    };
    let Words {
        flash,
        log,
        terminal,
        broker,
        network: has_network,
        name,
        recording,
        end,
        stats: seconds,
    } = words;
    let Common {
        settings,
        board_name,
        name,
        stats,
        report,
        mailbox,
        detection,
        store,
        journal,
    } = common(name);
    let (stats, report, mailbox, detection) = (&*stats, &*report, &*mailbox, &*detection);
    let has_log = log.is_there();
    let store = store.insert(open_store(flash));
    let journal = journal.insert(open_log(log));
    let Locked { store, journal } = LOCKED.init(Locked {
        store: Mutex::new(store),
        journal: has_log.then(|| Mutex::new(journal)),
    });
    let device = new_device(board_name, store, stats);
    if let Some(journal) = journal {
        device.set_journal(journal);
    }
    device.set_max_rate(MAX_RATE);
    device.recall();
    *name = device.name();
    let name = &*name;
    let mut applied = Ok(());
    device.adjust(|of_device| {
        applied = words::apply(words_room, of_device);
        settings.take_all(of_device);
    });
    if applied.is_err() {
        semihosting::exit(UNUSABLE)
    }
    if let ("-", Some(port)) = (settings.mqtt_server.as_str(), broker) {
        // It fits by construction.
        let _ = settings.set("mqtt_server", GATEWAY);
        settings.mqtt_port = port;
    }
    let (settings, device) = (&*settings, &*device);
    let monitors = MONITORS.init((report, device));
    let mut uart = Uart::start();
    uart.wait_for_reader(recording);
    let seed = random();
    let remote = new_remote();
    let (rooms, [server_room, console_room]) = ROOMS.take();
    if has_network {
        let (stack, runner) = new_stack(seed);
        spawner.spawn(network(runner, stack, report, device)?);
        let commands = Net::new(stack, COMMAND_BUFFERS.take());
        let acceptor = commands.listen(server::PORT);
        let (acceptor, doors) = &*COMMAND_DOORS.init_with(|| (acceptor, Doors::new()));
        spawner.spawn(let_in(device, acceptor, doors)?);
        for (number, room) in rooms.iter_mut().enumerate() {
            spawner.spawn(serve_client(device, doors, number, room)?);
        }
        spawner.spawn(call_server(device, commands, server_room)?);
        let streams = Net::new(stack, STREAM_BUFFERS.take());
        let samples = SAMPLE_BUFFERS.init_with(SampleBuffers::new);
        let samples = Datagrams::new(stack, Udp::new(stack, samples));
        spawner.spawn(serve_streams(
            device,
            streams,
            samples,
            STREAM_PACKET.take(),
        )?);
        let time = TIME_BUFFERS.init_with(TimeBuffers::new);
        let time = Datagrams::new(stack, Udp::new(stack, time));
        spawner.spawn(keep_time(device, time, seed.rotate_left(32))?);
        let names = MDNS_BUFFERS.init_with(MdnsBuffers::new);
        let names = Datagrams::new(stack, Udp::new(stack, names));
        spawner.spawn(tell_name(
            device,
            names,
            MDNS_ROOM.take(),
            (seed >> 16) as u32,
        )?);
        if settings.mqtt_server != "-" {
            // By value the task's whole future would be made on the stack first.
            let publisher = PUBLISHER.init(Publisher {
                network: NETWORK.init(Net::new(stack, BUFFERS.take())),
                settings,
                name,
                mailbox,
                store,
                detection,
                stats,
                monitor: monitors,
                remote,
                seed: seed as u32,
            });
            spawner.spawn(publish(publisher, room, report)?);
        }
    }
    if !has_network || settings.mqtt_server == "-" {
        spawner.spawn(discard(mailbox, detection, store, stats, report)?);
    }
    // Each on its own: together they would have all that each needs of the stack.
    spawner.spawn(keep_console(device, terminal, console_room)?);
    spawner.spawn(answer_mqtt(device, remote)?);
    spawner.spawn(keep_house(device)?);
    spawner.spawn(keep_log(device)?);
    let started = (settings, broker.is_some());
    spawner.spawn(start_over(device, started, mailbox, stats, report)?);
    if seconds > 0 {
        let pause = Duration::from_secs(seconds.into());
        spawner.spawn(count(stats, report, pause)?);
    }
    if end {
        spawner.spawn(watch_end(terminal)?);
    }
    let the_meter = METER
        .init_with(|| Meter::new(STAGED.take(), settings, mailbox, stats, monitors, detection));
    spawner.spawn(meter(the_meter, uart)?);
    let _ = uwriteln!(Console, "ready {}", name.as_str());
    Ok(())
}

// What is made here is on the stack before it is in its place. Inlined, all of it together would be there.

#[inline(never)]
fn common(name: words::Name) -> &'static mut Common {
    COMMON.init_with(|| Common {
        settings: Settings::default(),
        board_name: name,
        name: Name::new(),
        stats: Stats::new(),
        report: Report::new(Console),
        mailbox: Mailbox::new(WAITING.take()),
        detection: Detection::new(),
        store: None,
        journal: None,
    })
}

#[inline(never)]
fn open_store(flash: FileFlash) -> Store<FileFlash> {
    match block_on(Store::open(flash, 0..flash::STATE as u32)) {
        Ok(store) => store,
        Err(_) => stop("the file of the state cannot be read"),
    }
}

#[inline(never)]
fn open_log(flash: FileFlash) -> Journal<FileFlash> {
    match block_on(Journal::open(flash, 0..flash::LOG as u32)) {
        Ok(log) => log,
        Err(_) => stop("the file of the log cannot be read"),
    }
}

#[inline(never)]
fn new_device(
    name: &'static str,
    store: &'static storage::Shared<'static, FileFlash>,
    stats: &'static Stats,
) -> &'static mut TheDevice {
    DEVICE.init_with(|| Device::new(name, || None, store, stats))
}

#[inline(never)]
fn new_remote() -> &'static TheRemote {
    REMOTE.init_with(Mqtt::new)
}

#[inline(never)]
fn new_stack(seed: u64) -> (Stack<'static>, Runner<'static, Ethernet>) {
    let config = Config::dhcpv4(Default::default());
    embassy_net::new(Ethernet::start(), config, RESOURCES.take(), seed)
}

static NETWORK: StaticCell<Network> = StaticCell::new();
static PUBLISHER: StaticCell<ThePublisher> = StaticCell::new();

/// This machine, as the emulated network sees it.
const GATEWAY: &str = "10.0.2.2";

/// What nobody else can guess, from the PC.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = semihosting::open(c"/dev/urandom", Open::Existing)
        .and_then(|file| semihosting::read(file, &mut bytes));
    match read {
        Ok(8) => u64::from_le_bytes(bytes),
        _ => Instant::now().as_ticks(),
    }
}

/// Lets the commands' clients in.
#[embassy_executor::task]
async fn let_in(
    device: &'static TheDevice,
    acceptor: &'static CommandAcceptor,
    doors: &'static CommandDoors,
) {
    match server::listen(device, acceptor, doors).await {}
}

/// Serves one of them: as parts of one task, three of these would pass over the stack.
#[embassy_executor::task(pool_size = CLIENTS)]
async fn serve_client(
    device: &'static TheDevice,
    doors: &'static CommandDoors,
    number: usize,
    room: &'static mut Room,
) {
    match server::session(device, doors.get(number), room).await {}
}

/// Calls the stream server, while there is an address: a call that is older than the address would be given up.
#[embassy_executor::task]
async fn call_server(device: &'static TheDevice, network: CommandNetwork, room: &'static mut Room) {
    let Some(mut address) = device.network() else {
        return;
    };
    loop {
        address.get_and(Option::is_some).await;
        // Not in the place that it is moved to and in the one that it comes from.
        let calling = pin!(caller::run(device, &network, room));
        select(address.changed_and(Option::is_none), calling).await;
    }
}

/// Serves the client of raw streams, and sends datagrams with samples.
#[embassy_executor::task]
async fn serve_streams(
    device: &'static TheDevice,
    network: StreamNetwork,
    datagrams: Datagrams<'static>,
    packet: &'static mut Packet,
) {
    let acceptor = network.listen(outlet::PORT);
    match outlet::run(device, &acceptor, &datagrams, packet).await {}
}

/// Tells the network what the board is called.
#[embassy_executor::task]
async fn tell_name(
    device: &'static TheDevice,
    network: Datagrams<'static>,
    packet: &'static mut [u8; MDNS_PACKET],
    seed: u32,
) {
    match mdns::run(device, &network, packet, outlet::PORT, seed).await {}
}

#[embassy_executor::task]
async fn keep_time(device: &'static TheDevice, network: Datagrams<'static>, seed: u64) {
    match ntp::run(device, &network, seed).await {}
}

/// Answers whoever sits at the console.
#[embassy_executor::task]
async fn keep_console(device: &'static TheDevice, terminal: Terminal, room: &'static mut Room) {
    loop {
        let Some(session) = session::console(device, terminal, terminal, room) else {
            return;
        };
        if session.await == session::End::Closed {
            return;
        }
    }
}

/// Answers commands over MQTT.
#[embassy_executor::task]
async fn answer_mqtt(device: &'static TheDevice, remote: &'static TheRemote) {
    match remote.run(device).await {}
}

/// Does what is done by the clock.
#[embassy_executor::task]
async fn keep_house(device: &'static TheDevice) {
    match device.keep_house().await {}
}

/// Keeps the log.
#[embassy_executor::task]
async fn keep_log(device: &'static TheDevice) {
    match device.keep_log().await {}
}

/// Says on the console which settings are others than at the start: the words that came with it win no longer.
#[inline(never)]
fn tell_changed(device: &TheDevice, (settings, has_broker): (&Settings, bool)) {
    device.adjust(|now| {
        // These were chosen for want of a broker.
        let is_own = has_broker && now.mqtt_server == "-";
        for key in KEYS {
            let of_broker = ["mqtt_server", "mqtt_port"].contains(&key.name);
            if !(is_own && of_broker) && now.get(key.name) != settings.get(key.name) {
                let _ = uwriteln!(Console, "changed {}", key.name);
            }
        }
    });
}

/// Ends the emulator when all is to start over; whoever started it does so again.
#[embassy_executor::task]
async fn start_over(
    device: &'static TheDevice,
    started: (&'static Settings, bool),
    mailbox: &'static Mailbox<'static>,
    stats: &'static Stats,
    report: &'static Report<Console>,
) {
    let change = device.changed().await;
    if change != Change::Restart {
        // What cannot be kept is counted; the sum is the meter's own.
        let _ = device.keep_energy();
    }
    Timer::after(LAST_WORDS).await;
    tell_changed(device, started);
    STATUS.store(RESTART.into(), Ordering::Relaxed);
    if change == Change::Name {
        // Whoever publishes in the old name says good-bye, and ends.
        mailbox.close();
        Timer::after(FAREWELL).await;
    }
    finish(stats, report)
}

/// Keeps how deep the stack was while the tasks were started: deeper than it will be.
pub fn started(stack: u32) {
    STACK_START.store(stack, Ordering::Relaxed);
}

#[embassy_executor::task]
async fn meter(meter: &'static mut TheMeter, mut uart: Uart) {
    meter.run(&mut uart).await;
}

type ThePublisher = Publisher<'static, 'static, 'static, Network, FileFlash, Monitors, TheRemote>;

#[embassy_executor::task]
async fn publish(
    publisher: &'static mut ThePublisher,
    room: &'static mut PublisherRoom,
    report: &'static Report<Console>,
) {
    if publisher.run(room).await.is_err() {
        stop("the settings do not fit MQTT: shorten the longest");
    }
    finish(publisher.stats, report)
}

/// All is done: as a rule the input has ended, and everything is published.
fn finish(stats: &Stats, report: &Report<Console>) -> ! {
    count_once(stats, report);
    semihosting::exit(STATUS.load(Ordering::Relaxed) as u8)
}

/// Takes the end of the emulator's standard input, and a silent line after it, for the end of the P1 input.
#[embassy_executor::task]
async fn watch_end(terminal: Terminal) {
    let mut quiet = 0;
    while quiet < QUIET {
        Timer::after(END_LOOK).await;
        if uart::is_empty() && console::is_stdin_at_end(terminal) {
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

fn stop(why: &str) -> ! {
    let _ = uwriteln!(Console, "{}", why);
    semihosting::exit(UNUSABLE)
}

/// Without a broker a reading has been dealt with when it has been judged.
#[embassy_executor::task]
async fn discard(
    mailbox: &'static Mailbox<'static>,
    detection: &'static Detection,
    store: &'static storage::Shared<'static, FileFlash>,
    stats: &'static Stats,
    report: &'static Report<Console>,
) {
    block_on(detection.recall(store, stats));
    while let Some(reading) = mailbox.take().await {
        reading.done();
        block_on(detection.keep(store, stats));
    }
    finish(stats, report)
}

#[embassy_executor::task]
async fn network(
    mut runner: Runner<'static, Ethernet>,
    stack: Stack<'static>,
    report: &'static Report<Console>,
    device: &'static TheDevice,
) {
    let tell = async {
        let mut told = None;
        loop {
            let address = stack.config_v4().map(|config| config.address.address());
            if address != told {
                told = address;
                report.network(address);
                device.set_address(address.map(Into::into));
            }
            match address {
                // At once: what is ordered before the device knows its address ends when it does. Nobody else may wait
                // so, since the stack has one place for a waker.
                None => stack.wait_config_up().await,
                Some(_) => Timer::after(LOOK).await,
            }
        }
    };
    join3(runner.run(), ethernet::watch_link(), tell).await;
}

#[embassy_executor::task]
async fn count(stats: &'static Stats, report: &'static Report<Console>, pause: Duration) {
    loop {
        Timer::after(pause).await;
        count_once(stats, report);
    }
}

fn count_once(stats: &Stats, report: &Report<Console>) {
    let frames = ethernet::counters();
    let own = [
        ("frames_missed", frames.missed),
        ("frames_damaged", frames.damaged),
        ("frames_unsent", frames.unsent),
        ("cycles_to_card", latency::cycles()),
        ("stack_start", STACK_START.load(Ordering::Relaxed)),
        ("stack", stack::high_water()),
    ];
    report.stats(stats, &own);
}
