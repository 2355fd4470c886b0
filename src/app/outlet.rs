//! Samples that leave another way than their command came: the raw stream on a port of its own, and
//! datagrams.
//!
//! Whoever connects to [`PORT`] gets samples at once, bare values without a word around them, as `ffmpeg`
//! reads them.

use core::{convert::Infallible, net::SocketAddr};

use edge_nal::{Close, TcpAccept, TcpShutdown, UdpConnect, UdpSend};
use embassy_futures::{
    select::{Either, select},
    yield_now,
};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, channel::Channel};
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::{Read, Write};
use embedded_storage_async::nor_flash::NorFlash;

use super::{
    address::unspecified,
    server::{GLANCE, next_client},
    session::PATIENCE,
};
use crate::smartmeter::{
    device::{Device, Outlet},
    stream::PacketView,
};

/// The port of raw streams, unless a board has to take another. That of a stream server is the
/// [`caller`](super::caller::PORT)'s.
pub const PORT: u16 = 54322;

/// So many datagrams go at once, and the next after a pause: nobody tells the sender that the receiver has no room, and
/// what has waited is thousands. The highest rate makes 1.5 in a millisecond.
const BURST: u8 = 4;
const PAUSE: Duration = Duration::from_millis(1);

/// Serves the one client of `acceptor` that there may be at a time, and sends datagrams through
/// `network`, for ever. There is one sampling at a time, so one `packet` does for both, as long as the board's
/// highest rate makes them. When the device's address changes, the client is disconnected. RAM: that packet,
/// 1.0 kB at 4 kHz.
pub async fn run<F, A, N>(
    device: &Device<'_, '_, F>,
    acceptor: &A,
    network: &N,
    packet: &mut PacketView,
) -> Infallible
where
    F: NorFlash,
    A: TcpAccept,
    N: UdpConnect,
{
    let Some(mut address) = device.network() else {
        return core::future::pending().await;
    };
    let _ = address.try_get();
    loop {
        let serving = attend(device, acceptor, network, packet);
        if let Either::Second(never) = select(address.changed(), serving).await {
            return never;
        }
    }
}

async fn attend<F, A, N>(
    device: &Device<'_, '_, F>,
    acceptor: &A,
    network: &N,
    packet: &mut PacketView,
) -> Infallible
where
    F: NorFlash,
    A: TcpAccept,
    N: UdpConnect,
{
    let door = Channel::new();
    match select(
        listen(device, acceptor, &door),
        serve(device, network, &door, packet),
    )
    .await
    {
        Either::First(never) | Either::Second(never) => never,
    }
}

/// The next client waits here until the last one's connection is closed.
type Door<S> = Channel<NoopRawMutex, (SocketAddr, S), 1>;

async fn listen<'a, F: NorFlash, A: TcpAccept>(
    device: &Device<'_, '_, F>,
    acceptor: &'a A,
    door: &Door<A::Socket<'a>>,
) -> Infallible {
    loop {
        let (peer, mut socket) = next_client(acceptor).await;
        if door.is_full() || !device.raw_joined(peer) {
            // Not a word: it would be taken for samples.
            let _ = with_timeout(GLANCE, socket.close(Close::Both)).await;
            continue;
        }
        // The door is empty.
        let _ = door.try_send((peer, socket));
    }
}

enum Event<S> {
    Came(SocketAddr, S),
    Gone,
    Outlet(Outlet),
}

async fn serve<F, S, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    door: &Door<S>,
    packet: &mut PacketView,
) -> Infallible
where
    F: NorFlash,
    S: Read + Write + TcpShutdown,
    N: UdpConnect,
{
    let mut client: Option<(SocketAddr, S)> = None;
    let mut datagrams = None;
    let mut at_once = 0;
    loop {
        let connection = async {
            match &mut client {
                None => {
                    let (peer, socket) = door.receive().await;
                    Event::Came(peer, socket)
                }
                Some((_, socket)) => {
                    silence(socket).await;
                    Event::Gone
                }
            }
        };
        // In this order, so that no packet is there before its connection.
        let event = match select(connection, device.outlet(packet)).await {
            Either::First(event) => event,
            Either::Second(outlet) => Event::Outlet(outlet),
        };
        match event {
            Event::Came(peer, socket) => client = Some((peer, socket)),
            Event::Gone => {
                if let Some((peer, _)) = client.take() {
                    device.raw_left(peer);
                }
            }
            Event::Outlet(Outlet::Raw) => {
                let Some((peer, socket)) = &mut client else {
                    continue;
                };
                let sent = async {
                    socket.write_all(packet).await?;
                    socket.flush().await
                };
                if !matches!(with_timeout(PATIENCE, sent).await, Ok(Ok(()))) {
                    let peer = *peer;
                    let _ = with_timeout(PATIENCE, socket.abort()).await;
                    client = None;
                    device.raw_left(peer);
                }
                // What has waited is thousands of packets, and others want to be served between them.
                yield_now().await;
            }
            Event::Outlet(Outlet::Datagram(to)) => {
                if !matches!(&datagrams, Some((at, _)) if *at == to) {
                    datagrams = match network.connect(unspecified(to), to).await {
                        Ok(socket) => Some((to, socket)),
                        Err(_) => None,
                    };
                }
                let sent = match &mut datagrams {
                    Some((_, socket)) => {
                        let sent = with_timeout(PATIENCE, socket.send(to, packet)).await;
                        matches!(sent, Ok(Ok(())))
                    }
                    None => false,
                };
                if !sent {
                    device.datagram_failed(to);
                }
                at_once += 1;
                match at_once {
                    BURST => {
                        at_once = 0;
                        Timer::after(PAUSE).await;
                    }
                    _ => yield_now().await,
                }
            }
            Event::Outlet(Outlet::Over) => {
                datagrams = None;
                // A new client may be at the door already, and one may wait to be ordered a stream.
                let over = client.take_if(|(peer, _)| !device.is_raw_client(*peer));
                if let Some((peer, mut socket)) = over {
                    let _ = with_timeout(PATIENCE, socket.close(Close::Both)).await;
                    drop(socket);
                    device.raw_left(peer);
                }
            }
        }
    }
}

/// Waits until the client goes; what it may say is not for anybody, and keeps nobody waiting.
async fn silence(socket: &mut impl Read) {
    let mut buffer = [0; 16];
    while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {
        yield_now().await;
    }
}
