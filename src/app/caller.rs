//! The command protocol offered to a server, which is then a client as any other.

use core::{convert::Infallible, net::SocketAddr};

use edge_nal::{Dns, TcpConnect};
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer, with_timeout};
use embedded_storage_async::nor_flash::NorFlash;

use super::{
    address::resolve,
    session::{Room, attend},
};
use crate::smartmeter::device::Device;

/// The port that the server listens on.
pub const PORT: u16 = 54322;

/// How often one that does not answer, or has gone, is called again.
const RETRY: Duration = Duration::from_secs(30);

/// How long it may take to answer.
const STEP: Duration = Duration::from_secs(10);

/// Calls the server of the settings, as long as there is one, for ever. A connection that stands is not
/// given up for another server: that is called when the first has gone. One from another address of this
/// device has gone.
pub async fn run<F, N, E, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    network: &N,
    room: &mut Room<PACKET>,
) -> Infallible
where
    F: NorFlash,
    N: TcpConnect<Error = E> + Dns<Error = E>,
{
    let Some(mut address) = device.network() else {
        return core::future::pending().await;
    };
    let _ = address.try_get();
    loop {
        let calling = call(device, network, room);
        if let Either::Second(never) = select(address.changed(), calling).await {
            return never;
        }
    }
}

async fn call<F, N, E, const PACKET: usize>(
    device: &Device<'_, '_, F>,
    network: &N,
    room: &mut Room<PACKET>,
) -> Infallible
where
    F: NorFlash,
    N: TcpConnect<Error = E> + Dns<Error = E>,
{
    let mut complained = false;
    loop {
        let server = device.stream_server();
        if server == "-" {
            device.server_changed().await;
            complained = false;
            continue;
        }
        if !complained {
            device.calling(&server);
        }
        match with_timeout(STEP, connect(network, &server)).await {
            Ok(Some((peer, socket))) => {
                complained = false;
                device.called(&server);
                attend(device, peer, socket, room).await;
            }
            // Once is enough to say it.
            _ if complained => {}
            _ => {
                complained = true;
                device.unanswered(&server);
            }
        }
        select(Timer::after(RETRY), async {
            device.server_changed().await;
            complained = false;
        })
        .await;
    }
}

/// A connection to the server, and where it is.
async fn connect<'n, N, E>(network: &'n N, server: &str) -> Option<(SocketAddr, N::Socket<'n>)>
where
    N: TcpConnect<Error = E> + Dns<Error = E>,
{
    let address = resolve(network, server).await.ok()?;
    let peer = SocketAddr::new(address, PORT);
    Some((peer, network.connect(peer).await.ok()?))
}
