//! The command protocol over TCP: a few clients at a time, and a word for the next.

use core::{cell::Cell, convert::Infallible, net::SocketAddr};

use edge_nal::{Close, TcpAccept, TcpShutdown, TcpSplit};
use embassy_futures::{
    join::join_array,
    select::{Either, select},
};
use embassy_sync::{blocking_mutex::raw::NoopRawMutex, channel::Channel};
use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::Write;
use embedded_storage_async::nor_flash::NorFlash;

use super::session::{Room, attend};
use crate::smartmeter::device::Device;

/// The port that the protocol is spoken on.
pub const PORT: u16 = 54321;

/// Clients at a time, where the memory is no question.
pub const SESSIONS: usize = 3;

/// The word for one more than there can be.
const fn full(sessions: usize) -> &'static [u8] {
    match sessions {
        1 => b"Info:{\"error\":true,\"msg\":\"There is a client already\"}\r\n",
        2 => b"Info:{\"error\":true,\"msg\":\"There are two clients already\"}\r\n",
        _ => b"Info:{\"error\":true,\"msg\":\"There are three clients already\"}\r\n",
    }
}

/// How long it may take to turn a client away, so that nobody waits long for the next one to be let in.
pub(super) const GLANCE: Duration = Duration::from_millis(1500);

/// Pause after a client could not be let in.
const RETRY: Duration = Duration::from_millis(200);

/// Serves the clients of `acceptor` for ever, as many at a time as there are rooms: one to three. When the device's
/// address changes, they are disconnected: nobody can reach the old one.
pub async fn run<F, A, const N: usize, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    acceptor: &A,
    rooms: &mut [Room<PACKET>; N],
) -> Infallible
where
    F: NorFlash,
    A: TcpAccept,
{
    let Some(mut network) = device.network() else {
        return core::future::pending().await;
    };
    let _ = network.try_get();
    loop {
        // In this order, so that nobody is let in who would be thrown out at once.
        let serving = serve(device, acceptor, rooms);
        if let Either::Second(never) = select(network.changed(), serving).await {
            return never;
        }
    }
}

async fn serve<F, A, const N: usize, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    acceptor: &A,
    rooms: &mut [Room<PACKET>; N],
) -> Infallible
where
    F: NorFlash,
    A: TcpAccept,
{
    const { assert!(1 <= N && N <= SESSIONS) };
    let doors: [Door<_>; N] = core::array::from_fn(|_| Door::new());
    let mut number = 0;
    let sessions = rooms.each_mut().map(|room| {
        let door = doors.get(number);
        number += 1;
        session(device, door, room)
    });
    match select(listen(device, acceptor, &doors), join_array(sessions)).await {
        Either::First(never) => never,
        Either::Second(never) => match never.into_iter().next() {
            Some(never) => never,
            None => core::future::pending().await,
        },
    }
}

/// Where a session gets its next client from.
struct Door<S> {
    client: Channel<NoopRawMutex, (SocketAddr, S), 1>,
    taken: Cell<bool>,
}

impl<S> Door<S> {
    fn new() -> Self {
        Self {
            client: Channel::new(),
            taken: Cell::new(false),
        }
    }
}

/// The next client of `acceptor`, and where it is.
pub(super) async fn next_client<A: TcpAccept>(acceptor: &A) -> (SocketAddr, A::Socket<'_>) {
    loop {
        if let Ok(client) = acceptor.accept().await {
            return client;
        }
        Timer::after(RETRY).await;
    }
}

async fn listen<'a, F: NorFlash, A: TcpAccept>(
    device: &Device<'_, '_, F>,
    acceptor: &'a A,
    doors: &[Door<A::Socket<'a>>],
) -> Infallible {
    loop {
        let (peer, mut socket) = next_client(acceptor).await;
        let free = doors.iter().find(|door| !door.taken.get());
        let Some(door) = free else {
            device.turned_away();
            // It gets the word, or it does not.
            let _ = with_timeout(GLANCE, async {
                socket.write_all(full(doors.len())).await?;
                socket.close(Close::Write).await
            })
            .await;
            continue;
        };
        door.taken.set(true);
        // The session that waits behind the door took the last one out.
        let _ = door.client.try_send((peer, socket));
    }
}

async fn session<S, F, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    door: Option<&Door<S>>,
    room: &mut Room<PACKET>,
) -> Infallible
where
    S: TcpSplit + TcpShutdown,
    F: NorFlash,
{
    let Some(door) = door else {
        return core::future::pending().await;
    };
    loop {
        let (peer, socket) = door.client.receive().await;
        attend(device, peer, socket, room).await;
        door.taken.set(false);
    }
}
