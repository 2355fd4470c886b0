//! The PC's network behind the `edge-nal` traits.

use core::net::{IpAddr, SocketAddr};
use std::format;
use std::io;
use std::net::ToSocketAddrs;
use std::string::{String, ToString};
use std::thread;

use edge_nal::{AddrType, Dns, TcpConnect};
use edge_nal_std::{Stack, TcpSocket};

/// The network of the PC. Connecting has no time limit of its own beyond the operating system's:
/// that is the caller's business.
#[derive(Debug, Clone, Copy, Default)]
pub struct Net;

impl TcpConnect for Net {
    type Error = io::Error;
    type Socket<'a> = TcpSocket;

    async fn connect(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        let socket = Stack::new().connect(remote).await.map_err(|error| {
            io::Error::new(error.kind(), format!("connecting to {remote}: {error}"))
        })?;
        // What is to share a segment is gathered before it is written; the rest should not wait.
        socket.as_ref().set_nodelay(true)?;
        Ok(socket)
    }
}

impl Dns for Net {
    type Error = io::Error;

    /// Resolves on a thread of its own: the system's resolver blocks, for many seconds when a name
    /// server is away.
    ///
    /// [`AddrType::Either`] prefers IPv4, as the boards have nothing else.
    async fn get_host_by_name(&self, host: &str, addr_type: AddrType) -> io::Result<IpAddr> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return pick(host, &addr_type, [address].into_iter());
        }
        let (answer, answered) = async_channel::bounded(1);
        let name = host.to_string();
        thread::Builder::new()
            .name(String::from("resolver"))
            .spawn(move || {
                let result = resolve(&name, &addr_type);
                // Nobody listens any more when the caller has given up.
                let _ = answer.send_blocking(result);
            })?;
        match answered.recv().await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other(format!(
                "{host}: the resolver gave no answer"
            ))),
        }
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "names of addresses are not looked up",
        ))
    }
}

fn resolve(host: &str, addr_type: &AddrType) -> io::Result<IpAddr> {
    let addresses = (host, 0)
        .to_socket_addrs()
        .map_err(|error| io::Error::new(error.kind(), format!("{host}: {error}")))?;
    pick(host, addr_type, addresses.map(|address| address.ip()))
}

fn pick(
    host: &str,
    addr_type: &AddrType,
    addresses: impl Iterator<Item = IpAddr>,
) -> io::Result<IpAddr> {
    let mut v6 = None;
    for address in addresses {
        match addr_type {
            AddrType::IPv4 | AddrType::Either if address.is_ipv4() => return Ok(address),
            AddrType::IPv6 | AddrType::Either if address.is_ipv6() => v6 = v6.or(Some(address)),
            _ => {}
        }
    }
    v6.ok_or_else(|| {
        let kind = match addr_type {
            AddrType::IPv4 => "IPv4",
            AddrType::IPv6 => "IPv6",
            AddrType::Either => "IP",
        };
        io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("{host}: has no {kind} address"),
        )
    })
}
