//! A server's address, given as it is or by name, and the own one towards it.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use edge_nal::{AddrType, Dns};

/// The address that `server` is, or that its name has.
///
/// # Errors
/// The network does not know the name.
pub async fn resolve<N: Dns>(network: &N, server: &str) -> Result<IpAddr, N::Error> {
    match IpAddr::from_str(server) {
        Ok(address) => Ok(address),
        Err(_) => network.get_host_by_name(server, AddrType::Either).await,
    }
}

/// Any address and port of this device's from which that one can be reached.
pub fn unspecified(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
