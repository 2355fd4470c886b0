//! A server's address, given as it is or by name.

use core::{net::IpAddr, str::FromStr};

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
