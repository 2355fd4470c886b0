//! The firmware's tasks on this board, and the memory that they work with.

use core::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use edge_nal::TcpBind;
use edge_nal_embassy::{Udp, UdpBuffers};
use embassy_executor::{SpawnError, Spawner};
use embassy_futures::{block_on, join::join};
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer};
use static_cell::{ConstStaticCell, StaticCell};
use ufmt::uwrite;

use super::{
    board::{Led, Request},
    cold, fault,
    flash::Area,
    led::Watch,
    limits::{CLIENTS, MAX_RATE},
    map,
    port::{self, Log, P1},
    radio::{self, Interface, Radio},
    sdk,
    wifi::Wifi,
};
use crate::{
    app::{
        detection::Detection,
        dhcp,
        mailbox::Mailbox,
        meter::Meter,
        ntp,
        publisher::{self, Publisher, RX_BUFFER, TX_BUFFER},
        remote::Mqtt,
        report::Report,
        server, session,
        stats::Stats,
        transport::SEGMENT,
        wifi::{self as machine, Start},
    },
    ntp::LENGTH as TIME,
    reading::Reading,
    settings::{Name, Settings},
    smartmeter::{
        answer,
        device::{Change, Device},
        journal::{self, Journal},
        log::Level,
        stream::packet_at,
    },
    soc::{
        lx106::{
            net::{Datagrams, Net, Sockets},
            stack,
        },
        ram::{self, SOCKET_RX, SOCKET_TX},
    },
    storage::{self, Store},
};

/// One for each client of the commands, and one to turn the next away.
const DOORS: usize = CLIENTS + 1;
const COMMAND_RX: usize = 256;
const COMMAND_TX: usize = answer::MAX;

/// The MQTT session has one, the commands theirs, the time server one, those who want an address one, DHCP and DNS one each.
const SOCKETS: usize = 1 + DOORS + 1 + 1 + 2;

const _: () = assert!(
    SOCKET_TX.is_multiple_of(SEGMENT),
    "segments have to be whole"
);

/// Bytes of samples in one piece.
const PACKET: usize = packet_at(MAX_RATE);

/// Bytes of an answer over MQTT: most have half of that.
const MQTT_ANSWER: usize = 768;

/// How often the console's network line is looked after.
const LOOK: Duration = Duration::from_millis(250);

/// From all counters to the next time.
const COUNT: Duration = Duration::from_secs(60);

/// Counters in a line: what the transmitter does not take of one at once is left out.
const COUNTERS: usize = 7;

/// How long such a line is on its way, and longer.
const COUNTED: Duration = Duration::from_millis(50);

/// From a change to the restart that it takes, so that its answer is on its way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long the good-bye may take before another name is taken.
const FAREWELL: Duration = Duration::from_secs(2);

type TheDevice = Device<'static, 'static, Area>;
type Watchers = (&'static TheDevice, &'static Watch);
type Monitors = (&'static Report<Log>, &'static Watchers);
type TheMeter = Meter<'static, 'static, Monitors>;
type Network = Net<'static, 1, SOCKET_RX, SOCKET_TX>;
type CommandNetwork = Net<'static, DOORS, COMMAND_RX, COMMAND_TX>;
type TheRemote = Mqtt<1, MQTT_ANSWER>;
type PublisherRoom = publisher::Room<0>;
type Room = session::Room<PACKET>;
/// The transmitter takes less of an answer at once than a connection does: the rest waits here.
type ConsoleRoom = session::Room<
    {
        if PACKET > answer::MAX {
            PACKET
        } else {
            answer::MAX
        }
    },
>;
type TimeBuffers = UdpBuffers<1, TIME, TIME, 1>;
type ThePublisher = Publisher<'static, 'static, 'static, Network, Area, Monitors, TheRemote>;

/// What gives the access point's clients their addresses.
struct Dhcp {
    buffers: UdpBuffers<1, { dhcp::PACKET }, { dhcp::PACKET }, 1>,
    packet: [u8; dhcp::PACKET],
}

/// The future of [`give_addresses`].
const ADDRESSES_FUTURE: usize = cold::size(addresses as fn(_, _) -> _);

/// Two readings change places between meter and publisher.
static STAGED: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static WAITING: ConstStaticCell<Reading> = ConstStaticCell::new(Reading::new());
static METER: StaticCell<TheMeter> = StaticCell::new();
static ROOM: ConstStaticCell<PublisherRoom> = ConstStaticCell::new(PublisherRoom::with_gathered());
static BUFFERS: ConstStaticCell<Sockets<1, SOCKET_RX, SOCKET_TX>> =
    ConstStaticCell::new(Sockets::new());
#[unsafe(link_section = ".bss.cold")]
static COMMAND_BUFFERS: ConstStaticCell<Sockets<DOORS, COMMAND_RX, COMMAND_TX>> =
    ConstStaticCell::new(Sockets::new());
static TIME_BUFFERS: StaticCell<TimeBuffers> = StaticCell::new();
#[unsafe(link_section = ".bss.cold")]
static DHCP: StaticCell<Dhcp> = StaticCell::new();
#[unsafe(link_section = ".bss.cold")]
static ADDRESSES: StaticCell<cold::Room<ADDRESSES_FUTURE>> = StaticCell::new();
static RESOURCES: ConstStaticCell<StackResources<SOCKETS>> =
    ConstStaticCell::new(StackResources::new());
/// The console's is the last.
#[unsafe(link_section = ".bss.cold")]
static ROOMS: ConstStaticCell<([Room; CLIENTS], ConsoleRoom)> = ConstStaticCell::new((
    [const { Room::with_packets() }; CLIENTS],
    ConsoleRoom::with_packets(),
));
#[unsafe(link_section = ".bss.cold")]
static REMOTE: StaticCell<TheRemote> = StaticCell::new();
static DEVICE: StaticCell<TheDevice> = StaticCell::new();
static STACK_START: AtomicU32 = AtomicU32::new(0);
static COMMON: StaticCell<Common> = StaticCell::new();
static LOCKED: StaticCell<Locked> = StaticCell::new();
static MONITORS: StaticCell<Monitors> = StaticCell::new();
static WATCHERS: StaticCell<Watchers> = StaticCell::new();
static NETWORK: StaticCell<Network> = StaticCell::new();
static PUBLISHER: StaticCell<ThePublisher> = StaticCell::new();

/// The ledger's lines against what is really taken; a mismatch names both.
const _: [(); ram::READINGS] = [(); 2 * size_of::<Reading>()];
const _: [(); ram::METER] = [(); size_of::<TheMeter>()];
const _: [(); ram::MQTT_RX] = [(); RX_BUFFER];
const _: [(); ram::MQTT_TX] = [(); TX_BUFFER];
const _: [(); ram::NETWORK] = [(); size_of::<StackResources<SOCKETS>>()];
const _: [(); ram::COMMON] = [(); size_of::<Common>()];
const _: [(); ram::COMMAND_SOCKETS] = [(); DOORS * (COMMAND_RX + COMMAND_TX)];
const _: [(); ram::SESSIONS] = [(); CLIENTS * size_of::<Room>() + size_of::<ConsoleRoom>()];
const _: [(); ram::DEVICE] = [(); size_of::<TheDevice>()];
const _: [(); ram::MQTT_COMMANDS] = [(); size_of::<TheRemote>()];
const _: [(); ram::UDP] = [(); size_of::<TimeBuffers>()];
const _: [(); ram::DHCP] = [(); size_of::<Dhcp>()];
const _: [(); ram::COLD_TASKS] = [(); ADDRESSES_FUTURE];

/// What all tasks share.
struct Common {
    /// As the tasks work with them until the next start.
    settings: Settings,
    /// What the chip is called, until a user calls it something else.
    board_name: Name,
    /// What it is called until the next start.
    name: Name,
    stats: Stats,
    report: Report<Log>,
    mailbox: Mailbox<'static>,
    detection: Detection,
    /// What the LED has to say.
    watch: Watch,
    store: Option<Store<Area>>,
    journal: Option<Journal<Area>>,
}

/// What is shared under locks.
struct Locked {
    store: storage::Shared<'static, Area>,
    journal: Option<journal::Shared<'static, Area>>,
}

/// The chip's own name: no two are called the same in one network.
fn board_name() -> Name {
    let [_, _, _, a, b, c] = radio::address(Interface::Station);
    let mut name = Name::new();
    let _ = uwrite!(name, "Metertrekker-");
    for byte in [a, b, c] {
        for nibble in [byte >> 4, byte & 0xF] {
            let digit = char::from_digit(nibble.into(), 16).unwrap_or('0');
            let _ = name.push(digit);
        }
    }
    name
}

/// What nobody else can guess, from the radio's noise.
fn random() -> u64 {
    u64::from(sdk::os_random()) << 32 | u64::from(sdk::os_random())
}

/// The TCP/IP stack, which [`start`] is given: making it takes more of the chip's stack than all else, so that nothing lies above it.
#[inline(never)]
pub fn new_network() -> (Stack<'static>, Runner<'static, Radio>) {
    embassy_net::new(Radio, Config::default(), RESOURCES.take(), random())
}

/// Starts the tasks as flash says.
///
/// # Errors
/// A task was started before.
// Inlined, what this needs of the stack would be taken as long as the tasks run.
#[inline(never)]
pub fn start(
    spawner: &Spawner,
    (stack, runner): (Stack<'static>, Runner<'static, Radio>),
) -> Result<(), SpawnError> {
    let Common {
        settings,
        board_name,
        name,
        stats,
        report,
        mailbox,
        detection,
        watch,
        store,
        journal,
    } = common();
    let (stats, report, mailbox, detection) = (&*stats, &*report, &*mailbox, &*detection);
    let watch = &*watch;
    // Neither fails but by the chip: what was never written is started anew.
    let opened = open_store(Area::new(map::SETTINGS));
    let has_store = opened.is_some();
    // Without settings the device can still be asked what is wrong: better than to be reset for ever.
    let Some(opened) = opened.or_else(|| open_store(Area::none(map::SETTINGS))) else {
        unreachable!("an area of erased sectors opens");
    };
    if !has_store {
        stats.storage_errors.count();
    }
    // Without a log the device does all but remember what it said.
    *journal = open_log();
    let has_log = journal.is_some();
    let Locked { store, journal } = LOCKED.init(Locked {
        store: Mutex::new(store.insert(opened)),
        journal: journal.as_mut().map(Mutex::new),
    });
    let device = new_device(board_name, store, stats);
    if let Some(journal) = journal {
        device.set_journal(journal);
    }
    device.set_max_rate(MAX_RATE);
    device.has_no_outlet();
    device.recall();
    *name = device.name();
    let name = &*name;
    device.adjust(|of_device| settings.take_all(of_device));
    let (settings, device) = (&*settings, &*device);
    let monitors = MONITORS.init((report, WATCHERS.init((device, watch))));
    let seed = random();
    let remote = new_remote();
    let (rooms, console_room) = ROOMS.take();
    spawner.spawn(network(runner, stack, report)?);
    spawner.spawn(keep_network(device, stack, fault::start())?);
    spawner.spawn(give_addresses(device, stack)?);
    spawner.spawn(serve_clients(
        device,
        Net::new(stack, COMMAND_BUFFERS.take()),
        rooms,
    )?);
    let buffers = TIME_BUFFERS.init_with(TimeBuffers::new);
    let datagrams = Datagrams::new(stack, Udp::new(stack, buffers));
    spawner.spawn(keep_time(device, datagrams, seed.rotate_left(32))?);
    if settings.mqtt_server == "-" {
        spawner.spawn(discard(mailbox, detection, store, stats)?);
    } else {
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
        spawner.spawn(publish(publisher, ROOM.take())?);
    }
    // SAFETY: this is the only place, and comes once.
    let (request, led) = unsafe { port::outputs() };
    spawner.spawn(keep_port(request, led, watch, device)?);
    // Each on its own: together they would have all that each needs of the stack.
    spawner.spawn(keep_console(device, console_room)?);
    spawner.spawn(answer_mqtt(device, remote)?);
    spawner.spawn(keep_house(device)?);
    spawner.spawn(keep_log(device, has_store, has_log)?);
    spawner.spawn(start_over(device, mailbox)?);
    spawner.spawn(count(stats, report)?);
    let the_meter = METER
        .init_with(|| Meter::new(STAGED.take(), settings, mailbox, stats, monitors, detection));
    spawner.spawn(meter(the_meter, port::uart0().p1())?);
    Ok(())
}

// What is made here is on the stack before it is in its place. Inlined, all of it together would be there.

#[inline(never)]
fn common() -> &'static mut Common {
    COMMON.init_with(|| Common {
        settings: Settings::default(),
        board_name: board_name(),
        name: Name::new(),
        stats: Stats::new(),
        report: Report::new(port::uart0().log(Instant::now)),
        mailbox: Mailbox::new(WAITING.take()),
        detection: Detection::new(),
        watch: Watch::new(),
        store: None,
        journal: None,
    })
}

#[inline(never)]
fn new_device(
    name: &'static str,
    store: &'static storage::Shared<'static, Area>,
    stats: &'static Stats,
) -> &'static mut TheDevice {
    DEVICE.init_with(|| Device::new(name, || None, store, stats))
}

#[inline(never)]
fn new_remote() -> &'static TheRemote {
    REMOTE.init_with(|| Mqtt::with_room())
}

/// Opens the log; `None` when the chip does not let it be read.
#[inline(never)]
fn open_log() -> Option<Journal<Area>> {
    block_on(Journal::open(Area::new(map::LOG), whole(map::LOG))).ok()
}

/// Opens the store; `None` when the chip does not let it be read.
#[inline(never)]
fn open_store(area: Area) -> Option<Store<Area>> {
    block_on(Store::open(area, whole(map::SETTINGS))).ok()
}

/// An area, from its own start.
fn whole(area: core::ops::Range<u32>) -> core::ops::Range<u32> {
    0..area.end - area.start
}

/// Why the chip was reset is the log's first line.
fn tell_start(device: &TheDevice, has_store: bool, has_log: bool) {
    let cause = fault::last();
    device.tell(cause.level(), |text| {
        let _ = uwrite!(text, "{}", cause);
    });
    if !has_store {
        device.tell(Level::Error, |text| {
            let _ = uwrite!(
                text,
                "the settings cannot be read, and none are kept: try another module"
            );
        });
    }
    if !has_log {
        device.tell(Level::Error, |text| {
            let _ = uwrite!(text, "the log cannot be read and is not kept");
        });
    }
}

/// Serves the commands' clients over TCP.
#[embassy_executor::task]
async fn serve_clients(
    device: &'static TheDevice,
    network: CommandNetwork,
    rooms: &'static mut [Room; CLIENTS],
) {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), server::PORT);
    // Nothing is asked of the network yet that could fail.
    let Ok(acceptor) = network.bind(any).await else {
        return;
    };
    match server::run(device, &acceptor, rooms).await {}
}

#[embassy_executor::task]
async fn keep_time(device: &'static TheDevice, network: Datagrams<'static>, seed: u64) {
    match ntp::run(device, &network, seed).await {}
}

/// Keeps the device in a network, or makes it one.
#[embassy_executor::task]
async fn keep_network(device: &'static TheDevice, stack: Stack<'static>, start: Start) {
    let mut wifi = Wifi::new(stack);
    match machine::run(device, &mut wifi, start).await {}
}

#[embassy_executor::task]
async fn give_addresses(device: &'static TheDevice, stack: Stack<'static>) {
    match cold::pin(ADDRESSES.uninit(), addresses(device, stack)).await {}
}

async fn addresses(device: &'static TheDevice, stack: Stack<'static>) -> Infallible {
    let Dhcp { buffers, packet } = DHCP.init_with(|| Dhcp {
        buffers: UdpBuffers::new(),
        packet: [0; dhcp::PACKET],
    });
    let network = Udp::new(stack, &*buffers);
    dhcp::run(device, &network, packet).await
}

/// Answers whoever sits at the console.
#[embassy_executor::task]
async fn keep_console(device: &'static TheDevice, room: &'static mut ConsoleRoom) {
    let terminal = || port::uart0().console();
    loop {
        let Some(session) = session::console(device, terminal(), terminal(), room) else {
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

/// Keeps the log, whose first line is why the chip was reset.
#[embassy_executor::task]
async fn keep_log(device: &'static TheDevice, has_store: bool, has_log: bool) {
    let log = device.keep_log();
    // Now that somebody listens: what is told before is lost.
    tell_start(device, has_store, has_log);
    match log.await {}
}

/// Gives the receiver to console and meter in turn, and shows by the LED how things are.
#[embassy_executor::task]
async fn keep_port(
    mut request: Request,
    mut led: Led,
    watch: &'static Watch,
    device: &'static TheDevice,
) {
    let in_network = || device.address.get().is_some() && !device.is_open();
    join(
        port::uart0().keep(&mut request),
        watch.show(in_network, &mut led),
    )
    .await;
}

/// Resets the chip when all is to start over.
#[embassy_executor::task]
async fn start_over(device: &'static TheDevice, mailbox: &'static Mailbox<'static>) {
    let change = device.changed().await;
    if change != Change::Restart {
        // What cannot be kept is counted; the sum is the meter's own.
        let _ = device.keep_energy();
    }
    Timer::after(LAST_WORDS).await;
    if change == Change::Name {
        // Whoever publishes in the old name says good-bye, and ends.
        mailbox.close();
        Timer::after(FAREWELL).await;
    }
    fault::restart();
}

/// Keeps how deep the stack was while the tasks were started: deeper than it will be.
pub fn started(stack: u32) {
    STACK_START.store(stack, Ordering::Relaxed);
}

/// What [`started`] keeps.
pub fn stack_start() -> u32 {
    STACK_START.load(Ordering::Relaxed)
}

#[embassy_executor::task]
async fn meter(meter: &'static mut TheMeter, mut uart: P1) {
    meter.run(&mut uart).await;
}

#[embassy_executor::task]
async fn publish(publisher: &'static mut ThePublisher, room: &'static mut PublisherRoom) {
    // It ends with the mailbox, before a restart; or when a setting is too long for MQTT, which its monitors have told.
    let _ = publisher.run(room).await;
}

/// Without a broker a reading has been dealt with when it has been judged.
#[embassy_executor::task]
async fn discard(
    mailbox: &'static Mailbox<'static>,
    detection: &'static Detection,
    store: &'static storage::Shared<'static, Area>,
    stats: &'static Stats,
) {
    block_on(detection.recall(store, stats));
    while let Some(reading) = mailbox.take().await {
        reading.done();
        block_on(detection.keep(store, stats));
    }
}

#[embassy_executor::task]
async fn network(
    mut runner: Runner<'static, Radio>,
    stack: Stack<'static>,
    report: &'static Report<Log>,
) {
    let tell = async {
        let mut told = None;
        loop {
            let address = stack.config_v4().map(|config| config.address.address());
            if address != told {
                told = address;
                report.network(address);
            }
            Timer::after(LOOK).await;
        }
    };
    join(runner.run(), tell).await;
}

#[embassy_executor::task]
async fn count(stats: &'static Stats, report: &'static Report<Log>) {
    loop {
        Timer::after(COUNT).await;
        let mut first = 0;
        while tell_some(stats, report, first) {
            first += COUNTERS;
            Timer::after(COUNTED).await;
        }
    }
}

/// A line of counters.
fn tell_some(stats: &Stats, report: &Report<Log>, first: usize) -> bool {
    let frames = radio::counters();
    let own = [
        ("frames_missed", frames.missed),
        ("frames_unsent", frames.unsent),
        ("heap", sdk::system_get_free_heap_size()),
        ("stack_start", stack_start()),
        ("stack", stack::high_water()),
    ];
    report.some_stats(stats, &own, first, COUNTERS)
}
