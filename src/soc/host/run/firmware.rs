//! The firmware's tasks on this machine: meter, publisher, and the clients of the command protocol.

use core::{
    cell::Cell,
    convert::Infallible,
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
};
use std::{
    boxed::Box,
    hash::{BuildHasher, RandomState},
    net::UdpSocket,
    vec::Vec,
};

use async_channel::Receiver;
use embassy_futures::{
    join::{join, join3, join5},
    select::{Either, Either3, select, select3},
};

use embassy_sync::{blocking_mutex::raw::NoopRawMutex, signal::Signal};
use embassy_time::{Duration, Timer, with_timeout};

use super::{Error, Flags, Options, device::StateDir, given_up, view::View};
use crate::{
    app::{
        self, caller,
        detection::Detection,
        mailbox::Mailbox,
        meter::Meter,
        ntp, outlet,
        publisher::{self, Publisher},
        remote::Mqtt,
        server, session,
        stats::Stats,
    },
    mdns,
    p1::port::Port,
    reading::Reading,
    settings::{KEYS, Settings},
    smartmeter::{
        device::{Change, Device},
        journal,
        stream::Packet,
    },
    soc::host::{
        console::{self, Console},
        flash::FileFlash,
        limits::MAX_RATE,
        net::{Listener, Multicast, Net},
        time,
    },
    storage::Shared,
};

/// A device whose flash is a file.
type TheDevice<'d, 'f> = Device<'d, 'f, FileFlash>;

/// The settings in flash.
pub async fn stored(state: &StateDir, store: &Shared<'_, FileFlash>) -> Settings {
    let stats = Stats::new();
    Device::open(state.device_name(), clock, store, &stats)
        .await
        .settings()
}

/// Bytes of what is said in multicast DNS at once: what an Ethernet frame holds.
const MDNS_PACKET: usize = 1472;

/// How long the good-bye may take before another name is taken.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often it is looked whether this machine has another address.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

fn clock() -> Option<u64> {
    Some(time::utc_now_milliseconds())
}

/// The console, if there is to be one.
pub fn console(options: &Options, view: &View) -> Result<Option<Console>, Error> {
    let Some(place) = options.console.clone().map(console::Place::from) else {
        return Ok(None);
    };
    let console = Console::open(&place);
    view.line(format_args!("console  {place}"));
    Ok(Some(console.map_err(|error| Error::Console(place, error))?))
}

/// Where clients of the command protocol come from.
pub struct Clients {
    /// `None` with `--once`, which ends before anybody could ask.
    listener: Option<Listener>,
    rooms: Box<[session::Room; server::SESSIONS]>,
    console: Option<Console>,
    console_room: Box<session::Room>,
    caller_room: Box<session::Room>,
    /// The port of raw streams; it is there when `listener` is.
    streams: Option<Listener>,
    packet: Box<Packet>,
    mdns_packet: [u8; MDNS_PACKET],
    bound: IpAddr,
}

impl Clients {
    /// Opens the port, and the console if there is to be one.
    pub fn open(options: &Options, view: &View) -> Result<Self, Error> {
        let mut clients = Self {
            listener: None,
            rooms: Box::new([const { session::Room::new() }; server::SESSIONS]),
            console: None,
            console_room: Box::new(session::Room::new()),
            caller_room: Box::new(session::Room::new()),
            streams: None,
            packet: Box::new(Packet::new()),
            mdns_packet: [0; MDNS_PACKET],
            bound: options.listen,
        };
        if !options.once {
            let refused = |error| Error::Listen(options.listen, error);
            let listen = |port| {
                let listener = Listener::bind(SocketAddr::new(options.listen, port))?;
                Ok((listener.address()?, listener))
            };
            let (address, listener) = listen(server::PORT).map_err(refused)?;
            view.line(format_args!("commands {address}"));
            clients.listener = Some(listener);
            let (address, streams) = listen(outlet::PORT).map_err(refused)?;
            view.line(format_args!("stream   {address}"));
            clients.streams = Some(streams);
        }
        clients.console = console(options, view)?;
        Ok(clients)
    }

    /// Serves them for ever.
    async fn serve(&mut self, device: &TheDevice<'_, '_>) -> Infallible {
        if self.listener.is_some() {
            device.set_address(own_address(self.bound));
        }
        let listening = async {
            match &self.listener {
                Some(listener) => server::run(device, listener, &mut self.rooms).await,
                None => pending().await,
            }
        };
        let console = async {
            let Some(console) = &mut self.console else {
                return pending().await;
            };
            loop {
                let (input, output) = console.split();
                let room = &mut self.console_room;
                let Some(session) = session::console(device, input, output, room) else {
                    return pending().await;
                };
                if session.await == session::End::Closed {
                    return pending().await;
                }
            }
        };
        let calling = async {
            match &self.listener {
                Some(_) => caller::run(device, &Net, &mut self.caller_room).await,
                None => pending().await,
            }
        };
        let timing = async {
            match &self.listener {
                // Its keys are the only thing in the standard library that nobody else knows.
                Some(_) => ntp::run(device, &Net, RandomState::new().hash_one(())).await,
                None => pending().await,
            }
        };
        let streaming = async {
            match &self.streams {
                Some(streams) => {
                    let packet = self.packet.as_mut_view();
                    outlet::run(device, streams, &Net, packet).await
                }
                None => pending().await,
            }
        };
        let naming = async {
            let stream = self.streams.as_ref().map(Listener::address);
            let Some(Ok(stream)) = stream else {
                return pending().await;
            };
            let network = Multicast(mdns::GROUP);
            let seed = RandomState::new().hash_one(()) as u32;
            let packet = &mut self.mdns_packet;
            let naming = app::mdns::run(device, &network, packet, stream.port(), seed);
            join(naming, follow(device, self.bound)).await.0
        };
        let keeping = join3(device.keep_house(), naming, streaming);
        let (never, ..) = join5(listening, calling, console, timing, keeping).await;
        never
    }
}

/// The address that others reach this machine by, when `bound` is every one of them.
fn own_address(bound: IpAddr) -> Option<IpAddr> {
    if !bound.is_unspecified() {
        return Some(bound);
    }
    // No packet leaves: the system only looks up by which way one would (RFC 5737 §3).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Tells the device where it is, for ever: with every address of this machine, the network may come up later, or with
/// another one. While it is away the last address stays, since connections may outlive that.
async fn follow(device: &TheDevice<'_, '_>, bound: IpAddr) -> Infallible {
    loop {
        Timer::after(LOOK_AGAIN).await;
        if let Some(address) = own_address(bound) {
            device.set_address(Some(address));
        }
    }
}

/// The firmware on this machine.
pub struct Firmware<'a, 'f> {
    pub state: &'a StateDir,
    pub store: &'a Shared<'f, FileFlash>,
    pub journal: &'a journal::Shared<'f, FileFlash>,
    pub flags: &'a Flags,
    /// The port of the broker in this process.
    pub broker: Option<u16>,
    pub once: bool,
    pub view: &'a View,
    pub stats: &'a Stats,
    pub interrupted: Receiver<()>,
}

impl Firmware<'_, '_> {
    /// Runs from one restart to the next, until it is interrupted, or with `once` until the input's end.
    pub async fn run(&self, port: &mut impl Port, clients: &mut Clients) -> Result<(), Error> {
        let mut flags = self.flags.clone();
        loop {
            let name = self.state.device_name();
            let device = Device::open(name, clock, self.store, self.stats)
                .await
                .with_journal(self.journal)
                .with_max_rate(MAX_RATE);
            device.adjust(|settings| flags.apply(settings));
            let started = device.settings();
            let remote = Mqtt::new();
            let log = device.keep_log();
            let serving = join3(clients.serve(&device), remote.run(&device), log);
            match select(self.tasks(&device, &remote, port), serving).await {
                Either::First(Some(result)) => {
                    // What cannot be kept is counted; the sum is the meter's own.
                    let _ = device.keep_energy();
                    return result;
                }
                Either::First(None) => {
                    let settings = device.settings();
                    let names = KEYS.iter().map(|key| key.name);
                    let changed = names.filter(|name| settings.get(name) != started.get(name));
                    flags.yield_to(&changed.collect::<Vec<_>>());
                    self.view.restarted();
                }
                Either::Second((never, ..)) => match never {},
            }
        }
    }

    /// Runs the tasks with the settings in force, again when these change. `None` at a restart.
    async fn tasks(
        &self,
        device: &TheDevice<'_, '_>,
        remote: &Mqtt,
        port: &mut impl Port,
    ) -> Option<Result<(), Error>> {
        loop {
            let mut settings = device.settings();
            if let ("-", Some(port)) = (settings.mqtt_server.as_str(), self.broker) {
                // It fits by construction.
                let _ = settings.set("mqtt_server", "127.0.0.1");
                settings.mqtt_port = port;
            }
            let changed = async {
                let change = device.changed().await;
                // Who wants to end wants no news.
                match self.view.is_stopping() {
                    true => pending().await,
                    false => change,
                }
            };
            let (name, leave) = (device.name(), Signal::new());
            let publishing = self.publish((device, remote), (&settings, &name), &leave, port);
            let mut publishing = pin!(publishing);
            match select(&mut publishing, changed).await {
                Either::First(result) => return Some(result),
                Either::Second(Change::Settings) => {}
                Either::Second(Change::Name) => {
                    // A broker that does not listen hears nothing of it.
                    leave.signal(());
                    let _ = with_timeout(FAREWELL, publishing).await;
                }
                Either::Second(Change::Restart) => return None,
            }
        }
    }

    /// Reads and publishes in the device's name until the end, or until it is to `leave`.
    async fn publish(
        &self,
        (device, remote): (&TheDevice<'_, '_>, &Mqtt),
        (settings, name): (&Settings, &str),
        leave: &Signal<NoopRawMutex, ()>,
        port: &mut impl Port,
    ) -> Result<(), Error> {
        let (view, stats) = (self.view, self.stats);
        let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
        let mailbox = Mailbox::new(&mut one);
        let mut room = publisher::Room::new();
        let monitor = (view, device);
        let detection = Detection::new();
        let mut meter = Meter::new(&mut other, settings, &mailbox, stats, &monitor, &detection);
        let mut publisher = Publisher {
            network: &Net,
            settings,
            name,
            mailbox: &mailbox,
            store: self.store,
            detection: &detection,
            stats,
            monitor: &monitor,
            remote,
            seed: self.state.seed(),
        };
        let reading = async {
            let stopped = select3(meter.run(port), self.interrupted.recv(), leave.wait()).await;
            mailbox.close();
            if !matches!(stopped, Either3::Third(())) {
                view.stopping(matches!(stopped, Either3::Second(_)));
            }
            // It is the publisher that ends a run: with all acknowledged, or in vain, and then
            // readings may still wait for it.
            pending().await
        };
        let publishing = async {
            let published = async {
                match settings.mqtt_server.as_str() {
                    "-" => {
                        detection.recall(self.store, stats).await;
                        while let Some(reading) = mailbox.take().await {
                            reading.done();
                            detection.keep(self.store, stats).await;
                        }
                        Ok(())
                    }
                    _ => publisher.run(&mut room).await,
                }
            };
            let up = Cell::new(true);
            let given_up = given_up(view, self.once, &up, super::FAREWELL);
            match select(published, given_up).await {
                Either::First(result) => result.map_err(Error::Mqtt),
                Either::Second(error) => Err(error),
            }
        };
        match select3(publishing, reading, view.refresh(stats)).await {
            Either3::First(result) => result,
            Either3::Second(never) | Either3::Third(never) => match never {},
        }
    }
}
