//! One client of the command protocol, from its first byte to its last.

use core::{net::SocketAddr, task::Poll};

use edge_nal::{Close, TcpShutdown, TcpSplit};
use embassy_futures::{
    poll_once,
    select::{Either4, select4},
    yield_now,
};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::NorFlash;

use crate::smartmeter::{
    answer::{self, Answer, Reply},
    device::{Client, Device, Peer},
    line::{self, Line, Lines},
    log::{Level, Listener, WHOLE},
    stream::{MAX_PACKET, PacketView},
};

/// A client that takes nothing for so long is given up.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How often a client is told that the device is alive.
const LIVENESS: Duration = Duration::from_secs(1);

/// Bytes fetched at once.
const CHUNK: usize = 64;

/// What a session works in, with packets of so many bytes. RAM: 0.6 kB, and the packet.
pub struct Room<const PACKET: usize = MAX_PACKET> {
    lines: Lines,
    /// A packet of samples, or what a slow client has not yet taken of an answer.
    packet: heapless::Vec<u8, PACKET>,
}

impl Room {
    /// Empty, with room for every packet.
    pub const fn new() -> Self {
        Self::with_packets()
    }
}

impl<const PACKET: usize> Room<PACKET> {
    /// Empty, for the packets of the board.
    pub const fn with_packets() -> Self {
        Self {
            lines: Lines::new(),
            packet: heapless::Vec::new(),
        }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client has closed it, or the link is broken.
    Closed,
    /// The client took nothing for [`PATIENCE`].
    Stalled,
}

/// [Serves](serve) whoever sits at a console; `None` when too many listen already.
// Not `async`: the future would hold its arguments twice.
pub fn console<F: NorFlash, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    input: impl Read,
    output: impl Write,
    room: &mut Room<PACKET>,
) -> Option<impl Future<Output = End>> {
    // Nobody wants to see on a console that it is alive.
    let client = Client::new(Peer::Console, Level::Warning);
    let listener = device.log.listen()?;
    Some(serve(device, client, listener, input, output, room))
}

/// Serves a client until it goes. Nobody else waits for it: what it is told while it is slow is
/// dropped line by line, and when it is slow for too long the session ends.
pub async fn serve<F: NorFlash, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    mut client: Client,
    listener: Listener<'_>,
    input: impl Read,
    output: impl Write,
    room: &mut Room<PACKET>,
) -> End {
    let Room { lines, packet } = room;
    // Of the last client.
    packet.clear();
    let outlet = Outlet {
        output,
        listener,
        left: packet,
        broken: None,
    };
    let end = converse(device, &mut client, input, outlet, lines).await;
    device.hung_up(&client);
    end
}

async fn converse<F: NorFlash>(
    device: &Device<'_, '_, F>,
    client: &mut Client,
    mut input: impl Read,
    mut outlet: Outlet<'_, '_, impl Write>,
    lines: &mut Lines,
) -> End {
    *lines = Lines::new();
    let mut alive = Instant::now() + LIVENESS;
    let mut buffer = [0; CHUNK];
    if client.is_greeted() {
        device.greet(client, &mut outlet.first(client.level));
        if let Err(end) = outlet.finish(device, client).await {
            return end;
        }
    }
    loop {
        let told = outlet.listener.next_message_pure();
        outlet.left.clear();
        let sampled = device.next_packet(client, outlet.left);
        let mut bytes: &[u8] = &[];
        // Samples come last, so that no rate keeps a command waiting.
        let sent = match select4(input.read(&mut buffer), told, Timer::at(alive), sampled).await {
            Either4::First(Ok(0) | Err(_)) => return End::Closed,
            Either4::First(Ok(count)) => {
                bytes = buffer.get(..count).unwrap_or_default();
                Ok(())
            }
            Either4::Second(entry) if entry.level >= client.level => {
                send(&mut outlet.output, entry.line().as_bytes()).await
            }
            Either4::Second(_) => Ok(()),
            Either4::Third(()) => {
                alive = Instant::now() + LIVENESS;
                if lines.is_overdue() {
                    bytes = b"\n";
                }
                let line = device.liveness();
                match client.level <= Level::Info {
                    true => send(&mut outlet.output, line.line().as_bytes()).await,
                    false => Ok(()),
                }
            }
            Either4::Fourth(()) => {
                let sent = send(&mut outlet.output, outlet.left).await;
                // What has waited is thousands of packets, and a connection on this machine takes them all.
                yield_now().await;
                sent
            }
        };
        if let Err(end) = sent {
            return end;
        }
        if bytes.is_empty() {
            continue;
        }
        outlet.left.clear();
        device.up_to_date().await;
        while let Some(line) = lines.next(&mut bytes) {
            if let Err(end) = outlet.make_room().await {
                return end;
            }
            let reply = &mut outlet.first(client.level);
            match line {
                Line::Text(line) => device.answer(line, client, reply).await,
                Line::TooLong => device.answer_too_long(line::MAX, reply),
            }
            if let Err(end) = outlet.finish(device, client).await {
                return end;
            }
        }
        // A client that never pauses would be all that is served.
        yield_now().await;
    }
}

/// What goes to a client.
struct Outlet<'r, 'l, W> {
    output: W,
    listener: Listener<'l>,
    /// What the client has not taken at once.
    left: &'r mut PacketView,
    /// Why no more can be handed over.
    broken: Option<End>,
}

impl<'r, 'l, W: Write> Outlet<'r, 'l, W> {
    /// For answers to a client that wants to be told so much first.
    fn first(&mut self, level: Level) -> Handing<'_, 'r, 'l, W> {
        Handing {
            outlet: self,
            level: Some(level),
        }
    }

    /// For the rest of an answer, in which nothing else has a place.
    fn next(&mut self) -> Handing<'_, 'r, 'l, W> {
        Handing {
            outlet: self,
            level: None,
        }
    }

    /// Hands over what is there, as much as is taken at once, and keeps the rest.
    fn put(&mut self, mut bytes: &[u8]) {
        while self.left.is_empty() && !bytes.is_empty() {
            match poll_once(self.output.write(bytes)) {
                Poll::Ready(Ok(count @ 1..)) => bytes = bytes.get(count..).unwrap_or_default(),
                Poll::Ready(_) => {
                    self.broken = Some(End::Closed);
                    return;
                }
                Poll::Pending => break,
            }
        }
        if self.left.extend_from_slice(bytes).is_err() {
            self.broken = Some(End::Stalled);
        }
    }

    /// Waits until a piece of an answer can be handed over at once.
    async fn make_room(&mut self) -> Result<(), End> {
        if let Some(end) = self.broken {
            return Err(end);
        }
        send(&mut self.output, self.left).await?;
        self.left.clear();
        patiently(self.output.flush()).await
    }

    /// Sends what is left of an answer.
    async fn finish<F: NorFlash>(
        &mut self,
        device: &Device<'_, '_, F>,
        client: &mut Client,
    ) -> Result<(), End> {
        self.make_room().await?;
        while device.last_packet(client, self.left) {
            self.make_room().await?;
        }
        loop {
            if !device.more(client, &mut self.next()) {
                return Ok(());
            }
            self.make_room().await?;
        }
    }
}

/// Hands an answer to a client, and before it what the command has had to say of itself, as far as there is room.
struct Handing<'o, 'r, 'l, W> {
    outlet: &'o mut Outlet<'r, 'l, W>,
    level: Option<Level>,
}

impl<W: Write> Reply for Handing<'_, '_, '_, W> {
    fn compose(&mut self, write: &mut dyn FnMut(&mut Answer)) {
        let mut answer = Answer::new();
        write(&mut answer);
        let mut room = answer::MAX - answer.bytes().len();
        while room >= WHOLE
            && let Some(level) = self.level
            && let Some(entry) = self.outlet.listener.try_next_message_pure()
        {
            if entry.level >= level {
                let line = entry.line();
                room -= line.len();
                self.outlet.put(line.as_bytes());
            }
        }
        self.outlet.put(answer.bytes());
    }
}

/// Serves a client over TCP until it goes, tells the others that it comes and goes, and closes the
/// connection.
pub async fn attend<F: NorFlash, S: TcpSplit + TcpShutdown, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    peer: SocketAddr,
    mut socket: S,
    room: &mut Room<PACKET>,
) {
    device.joined(peer);
    if let Some(listener) = device.log.listen() {
        let client = Client::new(Peer::Network(peer), Level::Info);
        let (input, output) = socket.split();
        let end = serve(device, client, listener, input, output, room).await;
        // Whether it closes well or not, it is over.
        let _ = with_timeout(PATIENCE, async {
            match end {
                End::Closed => socket.close(Close::Both).await,
                End::Stalled => socket.abort().await,
            }
        })
        .await;
    }
    drop(socket);
    device.left(peer);
}

async fn send(output: &mut impl Write, bytes: &[u8]) -> Result<(), End> {
    if bytes.is_empty() {
        return Ok(());
    }
    patiently(output.write_all(bytes)).await
}

async fn patiently<E>(done: impl Future<Output = Result<(), E>>) -> Result<(), End> {
    match with_timeout(PATIENCE, done).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Closed),
        Err(_) => Err(End::Stalled),
    }
}
