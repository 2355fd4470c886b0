//! Gives the clients of the device's own access point their addresses (RFC 2131).

use core::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use edge_dhcp::{
    io::{DEFAULT_SERVER_PORT, server},
    server::{Server, ServerOptions},
};
use edge_nal::UdpBind;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer};
use embedded_storage_async::nor_flash::NorFlash;

use crate::{smartmeter::device::Device, wifi::ACCESS_POINT};

/// Bytes of the longest packet that everybody has to take (RFC 2131 §2), without its IP and UDP headers.
pub const PACKET: usize = 548;

/// Clients that there are addresses for, as many as the ESP8266's access point lets in.
const CLIENTS: usize = 4;

/// How long an address is somebody's. Whoever sets a device up is gone soon, and the next one needs a place.
const LEASE_SECONDS: u32 = 600;

/// How long it takes until the network is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Serves as long as the device is an access point, for ever. There is no router in what it says, so that a
/// telephone goes on with the internet that it has. RAM of what it returns: 0.9 kB at most, beside the socket's own
/// (measured with 64-bit pointers).
pub async fn run<F, N>(
    device: &Device<'_, '_, F>,
    network: &N,
    packet: &mut [u8; PACKET],
) -> Infallible
where
    F: NorFlash,
    N: UdpBind,
{
    let Some(mut watcher) = device.network() else {
        return core::future::pending().await;
    };
    let mut is_open = watcher.try_get().is_some() && device.is_open();
    loop {
        let serving = async {
            if !is_open {
                return core::future::pending().await;
            }
            let mut server = Server::<_, CLIENTS>::new_with_et(ACCESS_POINT);
            let [a, b, c, own] = ACCESS_POINT.octets();
            // Not one more than there are clients: only then are old ones taken back.
            server.range_start = Ipv4Addr::new(a, b, c, own + 1);
            server.range_end = Ipv4Addr::new(a, b, c, own + CLIENTS as u8);
            let mut options = ServerOptions::new(ACCESS_POINT, None);
            options.lease_duration_secs = LEASE_SECONDS;
            loop {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                let any = SocketAddr::new(any, DEFAULT_SERVER_PORT);
                if let Ok(mut socket) = network.bind(any).await {
                    let _ = server::run(&mut server, &options, &mut socket, packet).await;
                }
                Timer::after(RETRY).await;
            }
        };
        match select(watcher.changed(), serving).await {
            Either::First(_) => is_open = device.is_open(),
            Either::Second(never) => match never {},
        }
    }
}
