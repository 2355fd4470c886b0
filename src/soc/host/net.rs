//! The PC's network behind the `edge-nal` traits.
#![allow(unsafe_code)] // One socket option has no safe way in.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::format;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, OwnedFd};
use std::string::{String, ToString};
use std::thread;

use async_io::Async;
use edge_nal::{AddrType, Dns, TcpAccept, TcpConnect, UdpBind, UdpConnect};
use edge_nal_std::{Stack, TcpSocket, UdpSocket};
use rustix::net::{self, sockopt};

/// The network of the PC. Connecting has no time limit of its own beyond the operating system's:
/// that is the caller's business.
#[derive(Debug, Clone, Copy, Default)]
pub struct Net;

impl TcpConnect for Net {
    type Error = io::Error;
    type Socket<'a> = TcpSocket;

    async fn connect(&self, remote: SocketAddr) -> io::Result<TcpSocket> {
        let socket = TcpConnect::connect(&Stack::new(), remote)
            .await
            .map_err(|error| {
                io::Error::new(error.kind(), format!("connecting to {remote}: {error}"))
            })?;
        prepare(socket.as_ref())?;
        Ok(socket)
    }
}

/// Makes a connection as the firmware wants it, whoever has called.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    // What is to share a segment is gathered before it is written; the rest should not wait.
    socket.set_nodelay(true)?;
    // Of a far end that has vanished nothing else is ever heard when it wants to be told little.
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    // And when it is told something, that would be sent again for a quarter of an hour.
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(socket, 150_000)?;
    Ok(())
}

impl UdpConnect for Net {
    type Error = io::Error;
    type Socket<'a> = UdpSocket;

    async fn connect(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<UdpSocket> {
        UdpConnect::connect(&Stack::new(), local, remote).await
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
        let name = host.to_string();
        match on_thread(move || resolve(&name, &addr_type)).await? {
            Some(result) => result,
            None => Err(io::Error::other(format!(
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

/// The PC's network for multicast of one group, beside which nothing is heard: a port that others use too, and the
/// interface whose address a socket is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Multicast(pub Ipv4Addr);

impl UdpBind for Multicast {
    type Error = io::Error;
    type Socket<'a> = UdpSocket;

    async fn bind(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        let IpAddr::V4(interface) = local.ip() else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (family, kind) = (net::AddressFamily::INET, net::SocketType::DGRAM);
        let socket = net::socket_with(family, kind, net::SocketFlags::CLOEXEC, None)?;
        // The machine may well have a responder of its own.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        net::bind(&socket, &SocketAddr::new(self.0.into(), local.port()))?;
        sockopt::set_ip_multicast_if(&socket, &interface)?;
        sockopt::set_ip_multicast_ttl(&socket, 255)?;
        // What others on this machine have joined on other interfaces is none of this one's business.
        #[cfg(target_os = "linux")]
        only_own_groups(&socket)?;
        Ok(UdpSocket::new(Async::new(socket.into())?))
    }
}

/// Switches off that a socket hears the groups of all others too.
#[cfg(target_os = "linux")]
fn only_own_groups(socket: &OwnedFd) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the value is as long as it is said to be.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_ALL,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets TCP clients in.
pub struct Listener(Async<TcpListener>);

impl Listener {
    /// Listens on `address`, on another port when that is taken.
    ///
    /// # Errors
    /// The operating system's.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let bound = match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind(SocketAddr::new(address.ip(), 0))
            }
            bound => bound,
        };
        Ok(Self(Async::new(bound?)?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

impl TcpAccept for Listener {
    type Error = io::Error;
    type Socket<'a> = TcpSocket;

    async fn accept(&self) -> io::Result<(SocketAddr, TcpSocket)> {
        let (socket, peer) = self.0.accept().await?;
        prepare(socket.get_ref())?;
        Ok((peer, TcpSocket::new(socket)))
    }
}

/// Runs what blocks beside the executor; `None` when it panics.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (answer, answered) = async_channel::bounded(1);
    thread::Builder::new()
        .name(String::from("resolver"))
        .spawn(move || {
            // Nobody listens any more when the caller has given up.
            let _ = answer.send_blocking(work());
        })?;
    Ok(answered.recv().await.ok())
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use embassy_futures::select::{Either, select};
    use embassy_time::Timer;

    use super::*;
    use crate::soc::host::executor::block_on;

    #[test]
    fn a_slow_resolver_stalls_nothing_beside_it() {
        let (finish, finished) = std::sync::mpsc::channel();
        let slow = move || finished.recv_timeout(Duration::from_secs(10)).is_ok();
        let beside = async {
            Timer::after_millis(1).await;
            finish.send(()).unwrap();
            core::future::pending::<()>().await;
        };
        match block_on(select(on_thread(slow), beside)) {
            Either::First(ended) => assert_eq!(ended.unwrap(), Some(true)),
            Either::Second(()) => unreachable!(),
        }
    }

    #[test]
    fn a_resolver_that_panics_gives_no_answer() {
        let panics = || -> u8 { panic!("expected by the test") };
        assert_eq!(block_on(on_thread(panics)).unwrap(), None);
    }
}
