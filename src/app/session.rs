//! One client of the command protocol, from its first byte to its last.

use core::net::SocketAddr;

use edge_nal::{Close, TcpShutdown, TcpSplit};
use embassy_futures::{
    select::{Either4, select4},
    yield_now,
};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::NorFlash;

use crate::smartmeter::{
    answer::Answer,
    device::{Client, Device, Peer},
    line::{Line, Lines},
    log::{Level, Listener},
    stream::Packet,
};

/// A client that takes nothing for so long is given up.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How often a client is told that the device is alive.
const LIVENESS: Duration = Duration::from_secs(1);

/// Bytes fetched at once.
const CHUNK: usize = 64;

/// What a session works in. RAM: 3.3 kB.
pub struct Room {
    lines: Lines,
    answer: Answer,
    packet: Packet,
}

impl Room {
    /// Empty.
    pub const fn new() -> Self {
        Self {
            lines: Lines::new(),
            answer: Answer::new(),
            packet: Packet::new(),
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

/// Serves a client until it goes. Nobody else waits for it: what it is told while it is slow is
/// dropped line by line, and when it is slow for too long the session ends.
pub async fn serve<F: NorFlash>(
    device: &Device<'_, '_, F>,
    mut client: Client,
    listener: Listener<'_>,
    input: impl Read,
    output: impl Write,
    room: &mut Room,
) -> End {
    let end = converse(device, &mut client, listener, input, output, room).await;
    device.hung_up(&client);
    end
}

async fn converse<F: NorFlash>(
    device: &Device<'_, '_, F>,
    client: &mut Client,
    mut listener: Listener<'_>,
    mut input: impl Read,
    mut output: impl Write,
    room: &mut Room,
) -> End {
    let Room {
        lines,
        answer,
        packet,
    } = room;
    *lines = Lines::new();
    let mut alive = Instant::now() + LIVENESS;
    let mut buffer = [0; CHUNK];
    if client.is_greeted() {
        answer.clear();
        device.info(answer);
        if let Err(end) = send(&mut output, answer.bytes()).await {
            return end;
        }
    }
    loop {
        let told = listener.next_message_pure();
        let sampled = device.next_packet(client, packet);
        // Samples come last, so that no rate keeps a command waiting.
        match select4(input.read(&mut buffer), told, Timer::at(alive), sampled).await {
            Either4::First(Ok(0) | Err(_)) => return End::Closed,
            Either4::First(Ok(count)) => {
                let mut bytes = buffer.get(..count).unwrap_or_default();
                while let Some(line) = lines.next(&mut bytes) {
                    answer.clear();
                    match line {
                        Line::Text(line) => device.answer(line, client, answer).await,
                        Line::TooLong => device.answer_too_long(answer),
                    }
                    // What the command had to say of itself comes before its answer.
                    while let Some(entry) = listener.try_next_message_pure() {
                        if entry.level < client.level {
                            continue;
                        }
                        if let Err(end) = send(&mut output, entry.line().as_bytes()).await {
                            return end;
                        }
                    }
                    // And what a stop leaves to be sent.
                    while device.last_packet(client, packet) {
                        if let Err(end) = send(&mut output, packet).await {
                            return end;
                        }
                    }
                    loop {
                        if let Err(end) = send(&mut output, answer.bytes()).await {
                            return end;
                        }
                        if !device.more(client, answer).await {
                            break;
                        }
                    }
                }
                // A client that never pauses would be all that is served.
                yield_now().await;
            }
            Either4::Second(entry) => {
                if entry.level >= client.level
                    && let Err(end) = send(&mut output, entry.line().as_bytes()).await
                {
                    return end;
                }
            }
            Either4::Third(()) => {
                alive = Instant::now() + LIVENESS;
                let line = device.liveness();
                if client.level <= Level::Info
                    && let Err(end) = send(&mut output, line.line().as_bytes()).await
                {
                    return end;
                }
            }
            Either4::Fourth(()) => {
                if let Err(end) = send(&mut output, packet).await {
                    return end;
                }
            }
        }
    }
}

/// Serves a client over TCP until it goes, tells the others that it comes and goes, and closes the
/// connection.
pub async fn attend<F: NorFlash, S: TcpSplit + TcpShutdown>(
    device: &Device<'_, '_, F>,
    peer: SocketAddr,
    mut socket: S,
    room: &mut Room,
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
    let sent = async {
        output.write_all(bytes).await?;
        output.flush().await
    };
    match with_timeout(PATIENCE, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Closed),
        Err(_) => Err(End::Stalled),
    }
}
