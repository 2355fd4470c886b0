//! TCP clients in virtual time, who send when they like and read as much as they like.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{pending, poll_fn},
    net::{IpAddr, SocketAddr},
    task::{Poll, Waker},
};

use edge_nal::{AddrType, Close, Dns, Readable, TcpAccept, TcpConnect, TcpShutdown, TcpSplit};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, channel::Channel};
use embassy_time::Instant;
use embedded_io_async::{ErrorType, Read, Write};

/// A client and its connection.
pub struct Wire {
    port: u16,
    sent: RefCell<VecDeque<u8>>,
    received: RefCell<Vec<u8>>,
    /// Bytes that it will take.
    room: Cell<usize>,
    hung_up: Cell<bool>,
    /// How the device ended the connection.
    ended: Cell<Option<&'static str>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Wire {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            sent: RefCell::default(),
            received: RefCell::default(),
            room: Cell::new(usize::MAX),
            hung_up: Cell::new(false),
            ended: Cell::new(None),
            wakers: RefCell::default(),
        }
    }

    /// A client that takes `bytes` and then nothing more.
    pub fn taking(self, bytes: usize) -> Self {
        self.room.set(bytes);
        self
    }

    fn wake(&self) {
        self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.sent.borrow_mut().extend(bytes.as_ref());
        self.wake();
    }

    pub fn hang_up(&self) {
        self.hung_up.set(true);
        self.wake();
    }

    pub fn ended(&self) -> Option<&'static str> {
        self.ended.get()
    }

    /// Whether nothing has come since it was last asked for.
    pub fn is_empty(&self) -> bool {
        self.received.borrow().is_empty()
    }

    /// What has come since it was last asked for.
    pub fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut *self.received.borrow_mut())
    }

    /// The same by lines.
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"), "{text}");
        text.split_terminator("\r\n").map(String::from).collect()
    }

    async fn when<T>(&self, ready: impl Fn() -> Option<T>) -> T {
        poll_fn(|context| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                self.wakers.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// The device's end of a wire, or one direction of it.
pub struct Socket<'w> {
    wire: &'w Wire,
    is_whole: bool,
}

impl<'w> Socket<'w> {
    fn new(wire: &'w Wire) -> Self {
        Self {
            wire,
            is_whole: true,
        }
    }

    fn direction(&self) -> Self {
        Self {
            wire: self.wire,
            is_whole: false,
        }
    }
}

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        if self.is_whole && self.wire.ended().is_none() {
            self.wire.ended.set(Some("dropped"));
        }
    }
}

impl ErrorType for Socket<'_> {
    type Error = std::io::Error;
}

impl Read for Socket<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wire = self.wire;
        wire.when(|| {
            let comes = !wire.sent.borrow().is_empty() || wire.hung_up.get();
            comes.then_some(())
        })
        .await;
        let mut sent = wire.sent.borrow_mut();
        let count = sent.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(sent.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Write for Socket<'_> {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let wire = self.wire;
        if wire.hung_up.get() {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        wire.when(|| (wire.room.get() > 0).then_some(())).await;
        let count = bytes.len().min(wire.room.get());
        wire.room.set(wire.room.get() - count);
        wire.received.borrow_mut().extend(&bytes[..count]);
        Ok(count)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Readable for Socket<'_> {
    async fn readable(&mut self) -> std::io::Result<()> {
        pending().await
    }
}

impl TcpSplit for Socket<'_> {
    type Read<'a>
        = Socket<'a>
    where
        Self: 'a;
    type Write<'a>
        = Socket<'a>
    where
        Self: 'a;

    fn split(&mut self) -> (Socket<'_>, Socket<'_>) {
        (self.direction(), self.direction())
    }
}

impl TcpShutdown for Socket<'_> {
    async fn close(&mut self, _: Close) -> std::io::Result<()> {
        self.wire.ended.set(Some("closed"));
        Ok(())
    }

    async fn abort(&mut self) -> std::io::Result<()> {
        self.wire.ended.set(Some("aborted"));
        Ok(())
    }
}

/// Where wires arrive, and where the device calls.
pub struct Network<'w> {
    arriving: Channel<NoopRawMutex, &'w Wire, 16>,
    /// Who answers the next call; nobody when there is none.
    answering: RefCell<VecDeque<&'w Wire>>,
    calls: RefCell<Vec<(u64, SocketAddr)>>,
}

impl<'w> Network<'w> {
    pub fn new() -> Self {
        Self {
            arriving: Channel::new(),
            answering: RefCell::default(),
            calls: RefCell::default(),
        }
    }

    pub fn connect(&self, wire: &'w Wire) {
        self.arriving.try_send(wire).ok().unwrap();
    }

    pub fn answer(&self, wire: &'w Wire) {
        self.answering.borrow_mut().push_back(wire);
    }

    /// The seconds and addresses of all calls.
    pub fn calls(&self) -> Vec<(u64, SocketAddr)> {
        self.calls.borrow().clone()
    }
}

impl<'w> TcpConnect for Network<'w> {
    type Error = std::io::Error;
    type Socket<'a>
        = Socket<'w>
    where
        Self: 'a;

    async fn connect(&self, remote: SocketAddr) -> std::io::Result<Socket<'w>> {
        self.calls
            .borrow_mut()
            .push((Instant::now().as_secs(), remote));
        match self.answering.borrow_mut().pop_front() {
            Some(wire) => Ok(Socket::new(wire)),
            None => Err(std::io::ErrorKind::ConnectionRefused.into()),
        }
    }
}

impl Dns for Network<'_> {
    type Error = std::io::Error;

    async fn get_host_by_name(&self, host: &str, _: AddrType) -> std::io::Result<IpAddr> {
        match host {
            "server.test" => Ok([192, 168, 0, 9].into()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    async fn get_host_by_address(&self, _: IpAddr, _: &mut [u8]) -> std::io::Result<usize> {
        panic!("nobody asks for this")
    }
}

impl<'w> TcpAccept for Network<'w> {
    type Error = std::io::Error;
    type Socket<'a>
        = Socket<'w>
    where
        Self: 'a;

    async fn accept(&self) -> Result<(SocketAddr, Socket<'w>), std::io::Error> {
        let wire = self.arriving.receive().await;
        Ok((
            SocketAddr::new([192, 168, 0, 7].into(), wire.port),
            Socket::new(wire),
        ))
    }
}
