//! A network segment with multicast on it, in virtual time.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{Ipv4Addr, SocketAddr},
};

use edge_nal::{MulticastV4, UdpBind, UdpReceive, UdpSend};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, channel::Channel};
use embassy_time::Instant;
use embedded_io_async::ErrorType;

use super::udp::{unused, unused_of_socket};

/// What a device has sent: when, in ms, to whom, and what.
pub type Sent = (u64, SocketAddr, Vec<u8>);

/// The segment, as one device sees it.
#[derive(Default)]
pub struct Street {
    arriving: Arriving,
    sent: RefCell<Vec<Sent>>,
    joined: RefCell<Vec<Ipv4Addr>>,
    broken: Cell<bool>,
}

struct Arriving(Channel<NoopRawMutex, (Vec<u8>, SocketAddr), 16>);

impl Default for Arriving {
    fn default() -> Self {
        Self(Channel::new())
    }
}

impl Street {
    /// Somebody sends a packet.
    pub fn push(&self, packet: Vec<u8>, from: SocketAddr) {
        self.arriving.0.try_send((packet, from)).unwrap();
    }

    /// What was sent since this was last asked for.
    pub fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.borrow_mut())
    }

    /// The interfaces on which the group was joined.
    pub fn joined(&self) -> Vec<Ipv4Addr> {
        self.joined.borrow().clone()
    }

    /// From now on nothing can be sent, or it can again.
    pub fn is_broken(&self, broken: bool) {
        self.broken.set(broken);
    }
}

impl UdpBind for Street {
    type Error = io::Error;
    type Socket<'a> = Socket<'a>;

    async fn bind(&self, local: SocketAddr) -> io::Result<Socket<'_>> {
        // mDNS speaks on one interface, DHCP on the only one.
        assert!([(67, true), (5353, false)].contains(&(local.port(), local.ip().is_unspecified())));
        Ok(Socket(self))
    }
}

pub struct Socket<'s>(&'s Street);

impl ErrorType for Socket<'_> {
    type Error = io::Error;
}

impl UdpSend for Socket<'_> {
    async fn send(&mut self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        if self.0.broken.get() {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let sent = (Instant::now().as_millis(), to, packet.to_vec());
        self.0.sent.borrow_mut().push(sent);
        Ok(())
    }
}

impl UdpReceive for Socket<'_> {
    async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (packet, from) = self.0.arriving.0.receive().await;
        let count = packet.len().min(buffer.len());
        buffer[..count].copy_from_slice(&packet[..count]);
        Ok((count, from))
    }
}

impl MulticastV4 for Socket<'_> {
    async fn join_v4(&mut self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        assert_eq!(group, Ipv4Addr::new(224, 0, 0, 251));
        self.0.joined.borrow_mut().push(interface);
        Ok(())
    }

    async fn leave_v4(&mut self, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
        unused()
    }
}

unused_of_socket!(Socket<'_>);
