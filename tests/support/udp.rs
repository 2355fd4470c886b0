//! What the network's traits want of every socket and no test uses: an error that says so.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use edge_nal::{MulticastV4, MulticastV6, Readable, UdpReceive, UdpSend};
use embedded_io_async::ErrorType;

/// The error.
pub fn unused<T>() -> io::Result<T> {
    let why = "no test has used this of a socket yet: teach it to the one it was asked of";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// A part of a socket that nobody takes apart.
pub struct Unused;

impl ErrorType for Unused {
    type Error = io::Error;
}

impl UdpSend for Unused {
    async fn send(&mut self, _: SocketAddr, _: &[u8]) -> io::Result<()> {
        unused()
    }
}

impl UdpReceive for Unused {
    async fn receive(&mut self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        unused()
    }
}

impl Readable for Unused {
    async fn readable(&mut self) -> io::Result<()> {
        unused()
    }
}

impl MulticastV4 for Unused {
    async fn join_v4(&mut self, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
        unused()
    }

    async fn leave_v4(&mut self, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
        unused()
    }
}

impl MulticastV6 for Unused {
    async fn join_v6(&mut self, _: Ipv6Addr, _: u32) -> io::Result<()> {
        unused()
    }

    async fn leave_v6(&mut self, _: Ipv6Addr, _: u32) -> io::Result<()> {
        unused()
    }
}

/// All of that for a socket whose tests send, receive and join a group by IPv4 only.
macro_rules! unused_of_socket {
    ($socket:ty) => {
        impl edge_nal::Readable for $socket {
            async fn readable(&mut self) -> std::io::Result<()> {
                $crate::udp::unused()
            }
        }

        impl edge_nal::MulticastV6 for $socket {
            async fn join_v6(&mut self, _: std::net::Ipv6Addr, _: u32) -> std::io::Result<()> {
                $crate::udp::unused()
            }

            async fn leave_v6(&mut self, _: std::net::Ipv6Addr, _: u32) -> std::io::Result<()> {
                $crate::udp::unused()
            }
        }

        impl edge_nal::UdpSplit for $socket {
            type Receive<'a>
                = $crate::udp::Unused
            where
                Self: 'a;
            type Send<'a>
                = $crate::udp::Unused
            where
                Self: 'a;

            fn split(&mut self) -> ($crate::udp::Unused, $crate::udp::Unused) {
                ($crate::udp::Unused, $crate::udp::Unused)
            }
        }

        impl edge_nal::UdpSplitMulticast for $socket {
            type MulticastV4<'a>
                = $crate::udp::Unused
            where
                Self: 'a;
            type MulticastV6<'a>
                = $crate::udp::Unused
            where
                Self: 'a;

            fn split_multicast(
                &mut self,
            ) -> (
                $crate::udp::Unused,
                $crate::udp::Unused,
                $crate::udp::Unused,
                $crate::udp::Unused,
            ) {
                use $crate::udp::Unused;
                (Unused, Unused, Unused, Unused)
            }
        }
    };
}
pub(crate) use unused_of_socket;
