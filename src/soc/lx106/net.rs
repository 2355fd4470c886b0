//! The board's own TCP/IP stack behind the `edge-nal` traits: what chip and emulator share.
#![allow(unsafe_code)] // Lends the sockets' buffers.

use core::{
    cell::{Cell, UnsafeCell},
    fmt,
    net::{IpAddr, SocketAddr},
};

use edge_nal::{
    AddrType, Close, Dns, Readable, TcpAccept, TcpBind, TcpConnect, TcpShutdown, TcpSplit, UdpBind,
    UdpConnect,
};
use edge_nal_embassy::{Udp, UdpError, UdpSocket};
use embassy_net::{
    Stack,
    dns::DnsQueryType,
    tcp::{AcceptError, ConnectError, TcpReader, TcpSocket, TcpWriter},
};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// How long a connection or a name waits for the interface's address.
const ADDRESS: Duration = Duration::from_secs(8);

/// How often the interface is looked at meanwhile. The stack has one place for a waker of those who
/// wait for its address; two who used it would wake each other for ever.
const LOOK: Duration = Duration::from_millis(50);

/// How long a write waits for room, and a shutdown for the peer.
const WRITE: Duration = Duration::from_secs(10);

/// A silent connection is asked so often whether it still stands.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A peer that has not acknowledged anything for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the network does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The interface has no address: no link, or no answer by DHCP.
    NoAddress,
    /// All sockets are in use.
    NoSocket,
    /// An IPv6 address; there is IPv4 only.
    Family,
    /// There is no route to the address.
    Unreachable,
    /// The peer refused the connection.
    Refused,
    /// The peer broke the connection, or did not answer any more.
    Reset,
    /// It took too long.
    Timeout,
    /// The name is not known, or no name server answers.
    UnknownName,
    /// It is not done here.
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "the network gives no address",
            Self::NoSocket => "all sockets are in use",
            Self::Family => "only IPv4 is supported",
            Self::Unreachable => "no route to the address",
            Self::Refused => "the peer refuses the connection",
            Self::Reset => "the peer broke the connection",
            Self::Timeout => "the peer does not answer",
            Self::UnknownName => "the name is not known",
            Self::Unsupported => "not supported",
        })
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAddress => ErrorKind::NotConnected,
            Self::NoSocket => ErrorKind::OutOfMemory,
            Self::Family | Self::Unsupported => ErrorKind::Unsupported,
            Self::Unreachable => ErrorKind::AddrNotAvailable,
            Self::Refused => ErrorKind::ConnectionRefused,
            Self::Reset => ErrorKind::ConnectionReset,
            Self::Timeout => ErrorKind::TimedOut,
            Self::UnknownName => ErrorKind::NotFound,
        }
    }
}

impl From<embassy_net::tcp::Error> for Error {
    fn from(error: embassy_net::tcp::Error) -> Self {
        match error {
            embassy_net::tcp::Error::ConnectionReset => Self::Reset,
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::InvalidState | ConnectError::ConnectionReset => Self::Refused,
            ConnectError::TimedOut => Self::Timeout,
            ConnectError::NoRoute => Self::Unreachable,
        }
    }
}

impl From<AcceptError> for Error {
    fn from(error: AcceptError) -> Self {
        match error {
            AcceptError::ConnectionReset => Self::Reset,
            AcceptError::InvalidState | AcceptError::InvalidPort => Self::Unsupported,
        }
    }
}

impl From<embassy_time::TimeoutError> for Error {
    fn from(_: embassy_time::TimeoutError) -> Self {
        Self::Timeout
    }
}

struct Buffers<const RX: usize, const TX: usize> {
    rx: [u8; RX],
    tx: [u8; TX],
}

/// The buffers of `N` sockets. RAM: `N` times `RX + TX` bytes and a flag.
pub struct Sockets<const N: usize, const RX: usize, const TX: usize> {
    taken: [Cell<bool>; N],
    buffers: UnsafeCell<[Buffers<RX, TX>; N]>,
}

impl<const N: usize, const RX: usize, const TX: usize> Sockets<N, RX, TX> {
    /// All free.
    pub const fn new() -> Self {
        Self {
            taken: [const { Cell::new(false) }; N],
            buffers: UnsafeCell::new(
                [const {
                    Buffers {
                        rx: [0; RX],
                        tx: [0; TX],
                    }
                }; N],
            ),
        }
    }

    fn lend(&self) -> Option<(&mut [u8], &mut [u8], Lease<'_>)> {
        let index = self.taken.iter().position(|taken| !taken.get())?;
        let taken = self.taken.get(index)?;
        taken.set(true);
        // SAFETY: `position` found the index, and nobody else has these buffers: the flag says so
        // until the lease is dropped, which outlives the socket that uses them.
        let buffers = unsafe { &mut *self.buffers.get().cast::<Buffers<RX, TX>>().add(index) };
        Some((&mut buffers.rx, &mut buffers.tx, Lease(taken)))
    }
}

impl<const N: usize, const RX: usize, const TX: usize> Default for Sockets<N, RX, TX> {
    fn default() -> Self {
        Self::new()
    }
}

/// Gives a socket's buffers back.
struct Lease<'a>(&'a Cell<bool>);

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// The network: a stack and the sockets for it.
#[derive(Clone, Copy)]
pub struct Net<'d, const N: usize, const RX: usize, const TX: usize> {
    stack: Stack<'d>,
    sockets: &'d Sockets<N, RX, TX>,
}

impl<'d, const N: usize, const RX: usize, const TX: usize> Net<'d, N, RX, TX> {
    /// The network on `stack`, whose resources have a place for each of `sockets`, and two for
    /// DHCP and DNS.
    pub const fn new(stack: Stack<'d>, sockets: &'d Sockets<N, RX, TX>) -> Self {
        Self { stack, sockets }
    }

    /// Listens at whatever address there is, and will be.
    pub const fn listen(self, port: u16) -> Acceptor<'d, N, RX, TX> {
        Acceptor { net: self, port }
    }

    fn socket(&self) -> Option<Socket<'d>> {
        let (rx, tx, lease) = self.sockets.lend()?;
        let mut socket = TcpSocket::new(self.stack, rx, tx);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_timeout(Some(SILENCE));
        // What is to share a segment is gathered before it is written; the rest should not wait.
        socket.set_nagle_enabled(false);
        Some(Socket {
            socket,
            _lease: lease,
        })
    }
}

/// Waits for the interface's address.
async fn address(stack: Stack<'_>) -> Result<(), Error> {
    let until = Instant::now() + ADDRESS;
    while !stack.is_config_up() {
        if Instant::now() > until {
            return Err(Error::NoAddress);
        }
        Timer::after(LOOK).await;
    }
    Ok(())
}

impl<const N: usize, const RX: usize, const TX: usize> TcpConnect for Net<'_, N, RX, TX> {
    type Error = Error;
    type Socket<'a>
        = Socket<'a>
    where
        Self: 'a;

    async fn connect(&self, remote: SocketAddr) -> Result<Socket<'_>, Error> {
        let SocketAddr::V4(remote) = remote else {
            return Err(Error::Family);
        };
        address(self.stack).await?;
        let mut socket = self.socket().ok_or(Error::NoSocket)?;
        socket.socket.connect(remote).await?;
        Ok(socket)
    }
}

impl<const N: usize, const RX: usize, const TX: usize> TcpBind for Net<'_, N, RX, TX> {
    type Error = Error;
    type Accept<'a>
        = Acceptor<'a, N, RX, TX>
    where
        Self: 'a;

    /// The interface is not asked for: it listens at whatever address there is, and will be.
    async fn bind(&self, local: SocketAddr) -> Result<Self::Accept<'_>, Error> {
        if !(local.is_ipv4() && local.ip().is_unspecified()) {
            return Err(Error::Family);
        }
        Ok(self.listen(local.port()))
    }
}

/// Lets clients in, one at a time: each takes a socket of its own, which listens until it has one.
pub struct Acceptor<'d, const N: usize, const RX: usize, const TX: usize> {
    net: Net<'d, N, RX, TX>,
    port: u16,
}

impl<const N: usize, const RX: usize, const TX: usize> TcpAccept for Acceptor<'_, N, RX, TX> {
    type Error = Error;
    type Socket<'a>
        = Socket<'a>
    where
        Self: 'a;

    /// Without a socket that is free it fails at once: clients are refused then.
    async fn accept(&self) -> Result<(SocketAddr, Socket<'_>), Error> {
        let mut socket = self.net.socket().ok_or(Error::NoSocket)?;
        socket.socket.accept(self.port).await?;
        let peer = socket.socket.remote_endpoint().ok_or(Error::Reset)?;
        Ok((SocketAddr::new(peer.addr.into(), peer.port), socket))
    }
}

impl<const N: usize, const RX: usize, const TX: usize> Dns for Net<'_, N, RX, TX> {
    type Error = Error;

    async fn get_host_by_name(&self, host: &str, addr_type: AddrType) -> Result<IpAddr, Error> {
        resolve(self.stack, host, addr_type).await
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, Error> {
        Err(Error::Unsupported)
    }
}

async fn resolve(stack: Stack<'_>, host: &str, addr_type: AddrType) -> Result<IpAddr, Error> {
    if addr_type == AddrType::IPv6 {
        return Err(Error::Family);
    }
    address(stack).await?;
    let found = stack.dns_query(host, DnsQueryType::A).await;
    let found = found.map_err(|_| Error::UnknownName)?;
    let first = found.first().copied().ok_or(Error::UnknownName)?;
    Ok(first.into())
}

/// Datagrams, and names for them. Their sockets are `edge-nal-embassy`'s.
#[derive(Clone, Copy)]
pub struct Datagrams<'d> {
    stack: Stack<'d>,
    udp: Udp<'d>,
}

impl<'d> Datagrams<'d> {
    /// On `stack`, whose resources have a place for each socket that `udp` has buffers for.
    pub const fn new(stack: Stack<'d>, udp: Udp<'d>) -> Self {
        Self { stack, udp }
    }
}

impl UdpBind for Datagrams<'_> {
    type Error = UdpError;
    type Socket<'a>
        = UdpSocket<'a>
    where
        Self: 'a;

    async fn bind(&self, local: SocketAddr) -> Result<UdpSocket<'_>, UdpError> {
        self.udp.bind(local).await
    }
}

impl UdpConnect for Datagrams<'_> {
    type Error = UdpError;
    type Socket<'a>
        = UdpSocket<'a>
    where
        Self: 'a;

    /// Others' datagrams come too: the stack has no filter for them.
    async fn connect(&self, local: SocketAddr, _: SocketAddr) -> Result<UdpSocket<'_>, UdpError> {
        self.udp.bind(local).await
    }
}

impl Dns for Datagrams<'_> {
    type Error = Error;

    async fn get_host_by_name(&self, host: &str, addr_type: AddrType) -> Result<IpAddr, Error> {
        resolve(self.stack, host, addr_type).await
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> Result<usize, Error> {
        Err(Error::Unsupported)
    }
}

/// A connection.
///
/// When it is dropped the peer is not told: it finds out with its next segment. Whoever has
/// something to say in good order [closes](TcpShutdown::close) it first.
pub struct Socket<'a> {
    socket: TcpSocket<'a>,
    // Dropped after the socket that uses what is leased.
    _lease: Lease<'a>,
}

/// The half of a connection that receives.
pub struct Reader<'a>(TcpReader<'a>);

/// The half of a connection that sends.
pub struct Writer<'a>(TcpWriter<'a>);

impl ErrorType for Socket<'_> {
    type Error = Error;
}

impl ErrorType for Reader<'_> {
    type Error = Error;
}

impl ErrorType for Writer<'_> {
    type Error = Error;
}

impl Read for Reader<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.0.read(buffer).await?)
    }
}

impl Readable for Reader<'_> {
    async fn readable(&mut self) -> Result<(), Error> {
        self.0.wait_read_ready().await;
        Ok(())
    }
}

impl Write for Writer<'_> {
    /// Waits [`WRITE`] at most. As much as finds room is taken; without any, more is taken only when all is
    /// acknowledged: segments are whole, as long as the buffer is some of them.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.0.send_queue() >= self.0.send_capacity() {
            with_timeout(WRITE, self.0.flush()).await??;
        }
        // There is room, so this waits for nothing; a timer for each of a telegram's many writes would be dear.
        Ok(self.0.write(bytes).await?)
    }

    /// Waits, for [`WRITE`] at most, until the peer has acknowledged everything. The stack sends what it has
    /// without being asked.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(with_timeout(WRITE, self.0.flush()).await??)
    }
}

impl Read for Socket<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(self.socket.read(buffer).await?)
    }
}

impl Readable for Socket<'_> {
    async fn readable(&mut self) -> Result<(), Error> {
        self.socket.wait_read_ready().await;
        Ok(())
    }
}

impl Write for Socket<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.split().1.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.split().1.flush().await
    }
}

impl TcpSplit for Socket<'_> {
    type Read<'a>
        = Reader<'a>
    where
        Self: 'a;
    type Write<'a>
        = Writer<'a>
    where
        Self: 'a;

    fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let (reader, writer) = self.socket.split();
        (Reader(reader), Writer(writer))
    }
}

impl TcpShutdown for Socket<'_> {
    /// The receiving half needs no closing: what comes is acknowledged and forgotten.
    async fn close(&mut self, what: Close) -> Result<(), Error> {
        if what == Close::Read {
            return Ok(());
        }
        self.socket.close();
        Ok(with_timeout(WRITE, self.socket.flush()).await??)
    }

    async fn abort(&mut self) -> Result<(), Error> {
        self.socket.abort();
        Ok(with_timeout(WRITE, self.socket.flush()).await??)
    }
}
