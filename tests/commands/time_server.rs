//! A network with a time server on it, in virtual time, that answers what a test wants.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use edge_nal::{AddrType, Dns, MulticastV4, UdpConnect, UdpReceive, UdpSend};
use embassy_time::{Instant, Timer};
use embedded_io_async::ErrorType;

use super::udp::{unused, unused_of_socket};

/// Milliseconds on the way and the packet, for each that a request is answered with.
pub type Replies = Vec<(u64, Vec<u8>)>;

/// What becomes of a request that comes when it is so late in UTC; `None`: it cannot be sent.
type Manners = dyn Fn(&[u8], u64) -> Option<Replies>;

/// The network.
pub struct TimeServer {
    /// Milliseconds since 1970 when virtual time begins.
    epoch: u64,
    manners: RefCell<Box<Manners>>,
    /// When somebody was asked, in ms, and who.
    asked: RefCell<Vec<(u64, SocketAddr)>>,
    requests: RefCell<Vec<Vec<u8>>>,
}

impl TimeServer {
    /// A server that answers after 22 ms.
    pub fn new(epoch: u64) -> Self {
        let network = Self {
            epoch,
            manners: RefCell::new(Box::new(|_, _| None)),
            asked: RefCell::default(),
            requests: RefCell::default(),
        };
        network.answers(22);
        network
    }

    /// From now on it answers well, after so many milliseconds.
    pub fn answers(&self, after: u64) {
        self.does(move |request, utc| Some(vec![(after, good(request, utc + after / 2))]));
    }

    /// From now on it says nothing.
    pub fn is_silent(&self) {
        self.does(|_, _| Some(Vec::new()));
    }

    /// From now on it does this with a request and the time.
    pub fn does(&self, manners: impl Fn(&[u8], u64) -> Option<Replies> + 'static) {
        *self.manners.borrow_mut() = Box::new(manners);
    }

    /// When it was asked since this was last called, in milliseconds.
    pub fn asked(&self) -> Vec<u64> {
        self.asked_whom().into_iter().map(|(at, _)| at).collect()
    }

    /// The same with the server that was asked.
    pub fn asked_whom(&self) -> Vec<(u64, SocketAddr)> {
        std::mem::take(&mut self.asked.borrow_mut())
    }

    /// All requests.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.borrow().clone()
    }
}

/// A good reply to a request that came, and was answered, at this time.
pub fn good(request: &[u8], utc: u64) -> Vec<u8> {
    let mut packet = vec![0; 48];
    packet[..4].copy_from_slice(&[0x24, 2, 6, 0xE9]);
    packet[24..32].copy_from_slice(&request[40..48]);
    let fraction = (u128::from(utc % 1000) << 32).div_ceil(1000) as u64;
    let stamp = (utc / 1000 + 2_208_988_800) << 32 | fraction;
    packet[32..40].copy_from_slice(&stamp.to_be_bytes());
    packet[40..48].copy_from_slice(&stamp.to_be_bytes());
    packet
}

/// The same with other bytes at a place.
pub fn bad(request: &[u8], utc: u64, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = good(request, utc);
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet
}

impl UdpConnect for TimeServer {
    type Error = io::Error;
    type Socket<'a> = Socket<'a>;

    async fn connect(&self, _: SocketAddr, remote: SocketAddr) -> io::Result<Socket<'_>> {
        Ok(Socket {
            network: self,
            remote,
            coming: VecDeque::new(),
        })
    }
}

impl Dns for TimeServer {
    type Error = io::Error;

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> io::Result<IpAddr> {
        match host {
            "time.google.com" => Ok([192, 168, 0, 5].into()),
            "slow.test" => pending().await,
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> io::Result<usize> {
        unused()
    }
}

/// A connected socket.
pub struct Socket<'n> {
    network: &'n TimeServer,
    remote: SocketAddr,
    coming: VecDeque<(Instant, Vec<u8>)>,
}

impl ErrorType for Socket<'_> {
    type Error = io::Error;
}

impl UdpSend for Socket<'_> {
    async fn send(&mut self, _: SocketAddr, request: &[u8]) -> io::Result<()> {
        let (network, now) = (self.network, Instant::now());
        let asked = (now.as_millis(), self.remote);
        network.asked.borrow_mut().push(asked);
        network.requests.borrow_mut().push(request.to_vec());
        let replies = network.manners.borrow()(request, network.epoch + now.as_millis());
        let replies = replies.ok_or(io::ErrorKind::ConnectionRefused)?;
        let due = replies
            .into_iter()
            .map(|(after, packet)| (now + embassy_time::Duration::from_millis(after), packet));
        self.coming.extend(due);
        Ok(())
    }
}

impl UdpReceive for Socket<'_> {
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let Some((due, packet)) = self.coming.pop_front() else {
            return pending().await;
        };
        Timer::at(due).await;
        let count = packet.len().min(buffer.len());
        buffer[..count].copy_from_slice(&packet[..count]);
        Ok((packet.len(), self.remote))
    }
}

impl MulticastV4 for Socket<'_> {
    async fn join_v4(&mut self, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
        unused()
    }

    async fn leave_v4(&mut self, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
        unused()
    }
}

unused_of_socket!(Socket<'_>);
