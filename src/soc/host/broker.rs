//! An MQTT broker in the process, so that a first try needs nothing else.
//!
//! rumqttd serves MQTT 5 and 3.1.1 on separate ports. The firmware takes the first, everybody else's
//! tools the second; both are the same broker.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::format;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::string::{String, ToString};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use embassy_futures::select::{Either, select};
use rumqttd::protocol::Protocol;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};

/// The port everybody's tools try first.
const MQTT_PORT: u16 = 1883;
/// How many ports are tried when others are taken.
const PORTS: u16 = 100;
/// Time that rumqttd has to open a port.
const START_LIMIT: Duration = Duration::from_secs(5);

/// A running broker; it ends with the value.
#[derive(Debug)]
pub struct Broker {
    /// The port of the firmware, MQTT 5, on 127.0.0.1 only.
    pub v5_port: u16,
    /// The port of everybody else, MQTT 3.1.1, on the address given.
    pub v4_port: u16,
    _v5: Listener,
    _v4: Listener,
}

impl Broker {
    /// Starts a broker that listens on `listen`, on port 1883 or the next free one.
    ///
    /// One thread of rumqttd outlives the value, asleep.
    ///
    /// # Errors
    /// The address is not one of this machine, or no port is free.
    pub fn start(listen: IpAddr) -> Result<Self, Error> {
        let router = Router::new(0, router_config()).spawn();
        let (v5_port, v5) = open(Ipv4Addr::LOCALHOST.into(), 0..1, |address| {
            Listener::start(
                Server::new(settings("mqtt-5", address), router.clone(), V5),
                address,
            )
        })?;
        let (v4_port, v4) = open(listen, MQTT_PORT..MQTT_PORT + PORTS, |address| {
            Listener::start(
                Server::new(settings("mqtt-4", address), router.clone(), V4),
                address,
            )
        })?;
        Ok(Self {
            v5_port,
            v4_port,
            _v5: v5,
            _v4: v4,
        })
    }
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: 100,
        // A new subscriber gets at most this many retained messages at once and never the rest, so
        // it has to exceed the number of topics.
        max_outgoing_packet_count: 2_000,
        // Each filter keeps up to the product of the two; its subscribers lag no further behind.
        max_segment_size: 256 * 1024,
        max_segment_count: 2,
        custom_segment: None,
        initialized_filters: None,
        shared_subscriptions_strategy: rumqttd::Strategy::RoundRobin,
    }
}

fn settings(name: &str, listen: SocketAddr) -> ServerSettings {
    ServerSettings {
        name: name.to_string(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 10_000,
            // A telegram's line stays below 4 KiB; other clients may have their own data.
            max_payload_size: 256 * 1024,
            max_inflight_count: 200,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    }
}

/// Starts a listener on the first of `ports` that is free; port 0 stands for any.
fn open(
    ip: IpAddr,
    ports: core::ops::Range<u16>,
    start: impl Fn(SocketAddr) -> Result<Listener, StartError>,
) -> Result<(u16, Listener), Error> {
    let mut tries = 0;
    for port in ports.clone().cycle().take(usize::from(PORTS)) {
        // rumqttd does not tell which port it got, so it is given one that is free now.
        let probe = match TcpListener::bind((ip, port)) {
            Ok(probe) => probe,
            Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
            Err(error) => return Err(Error::Address(ip, error)),
        };
        let address = probe
            .local_addr()
            .map_err(|error| Error::Address(ip, error))?;
        drop(probe);
        match start(address) {
            Ok(listener) => return Ok((address.port(), listener)),
            Err(StartError::Thread(error)) => return Err(Error::Thread(error)),
            // Most likely somebody else was faster. Whatever else it is will not go away.
            Err(StartError::Server(_)) if tries < 3 => tries += 1,
            Err(StartError::Server(error)) => return Err(Error::Start(address, error)),
        }
    }
    Err(Error::NoPort(ip, ports.start, ports.end - 1))
}

/// A thread with a runtime that serves one port until the value is dropped.
#[derive(Debug)]
struct Listener {
    /// Closing it ends the thread.
    stop: async_channel::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

enum StartError {
    Thread(io::Error),
    Server(String),
}

impl Listener {
    fn start<P>(mut server: Server<P>, address: SocketAddr) -> Result<Self, StartError>
    where
        P: Protocol + Clone + Send + 'static,
    {
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let (tell, told) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let thread = thread::Builder::new()
            .name(format!("mqtt {}", address.port()))
            .spawn(move || {
                let opened = tell.clone();
                // Polled second: rumqttd has the port by then, or has failed for want of it.
                let stopped = async {
                    let _ = opened.send(Ok(()));
                    stopped.recv().await
                };
                let serving = select(server.start(LinkType::Remote), stopped);
                if let Either::First(Err(error)) = runtime.block_on(serving) {
                    // The starter has gone when the port was open once.
                    let _ = tell.send(Err(error.to_string()));
                }
            })
            .map_err(StartError::Thread)?;
        let listener = Self {
            stop,
            thread: Some(thread),
        };
        match told.recv_timeout(START_LIMIT) {
            Ok(Ok(())) if TcpStream::connect_timeout(&address, START_LIMIT).is_ok() => Ok(listener),
            Ok(Err(error)) => Err(StartError::Server(error)),
            _ => Err(StartError::Server(String::from("the port does not open"))),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            // It ends on its own or has panicked; the ports are free either way.
            let _ = thread.join();
        }
    }
}

/// Why there is no broker. The text says what to do.
#[derive(Debug)]
pub enum Error {
    /// The address cannot be listened on.
    Address(IpAddr, io::Error),
    /// All ports in the range are taken.
    NoPort(IpAddr, u16, u16),
    /// rumqttd did not start on this address.
    Start(SocketAddr, String),
    /// No thread or no runtime for it.
    Thread(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip, error) => write!(
                f,
                "broker: cannot listen on {ip}: {error}; give an address of this machine"
            ),
            Self::NoPort(ip, first, last) => write!(
                f,
                "broker: the ports {first} to {last} of {ip} are all taken; end another broker, or \
                 use it with --broker"
            ),
            Self::Start(address, error) => write!(
                f,
                "broker: did not start on {address}: {error}; use another one with --broker"
            ),
            Self::Thread(error) => write!(
                f,
                "broker: no thread for it: {error}; end other programs, or use another one with \
                 --broker"
            ),
        }
    }
}

impl core::error::Error for Error {}
