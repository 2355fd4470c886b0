//! The PC's network: connecting and names.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use edge_nal::{AddrType, Dns, TcpAccept, TcpConnect};
use embassy_futures::join::join;
use embedded_io_async::{Read, Write};
use metertrekker::soc::host::executor::block_on;
use metertrekker::soc::host::net::{Listener, Net};
use rustix::net::sockopt;

#[test]
fn bytes_go_both_ways_without_delay() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let far = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 4];
        socket.read_exact(&mut request).unwrap();
        socket.write_all(b"pong").unwrap();
        request
    });
    block_on(async {
        let mut socket = Net.connect(address).await.unwrap();
        assert!(socket.as_ref().nodelay().unwrap());
        socket.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
    });
    assert_eq!(&far.join().unwrap(), b"ping");
}

/// Of a far end that has vanished nothing else would ever be heard.
#[test]
fn both_ends_of_a_connection_look_whether_the_other_is_there() {
    block_on(async {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let calling = Net.connect(listener.address().unwrap());
        let (called, accepted) = join(calling, listener.accept()).await;
        for socket in [called.unwrap(), accepted.unwrap().1] {
            let socket: &TcpStream = socket.as_ref();
            assert!(socket.nodelay().unwrap());
            assert!(sockopt::socket_keepalive(socket).unwrap());
            let idle = sockopt::tcp_keepidle(socket).unwrap();
            let interval = sockopt::tcp_keepintvl(socket).unwrap();
            assert_eq!([idle, interval].map(|time| time.as_secs()), [60, 10]);
            assert_eq!(sockopt::tcp_user_timeout(socket).unwrap(), 150_000);
        }
    });
}

#[test]
fn a_refused_connection_names_the_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = block_on(Net.connect(address)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn names_and_addresses_resolve() {
    let resolve = |host, kind| block_on(Net.get_host_by_name(host, kind));
    let v4 = resolve("localhost", AddrType::Either).unwrap();
    assert_eq!(v4, Ipv4Addr::LOCALHOST);
    assert_eq!(
        resolve("192.0.2.7", AddrType::IPv4).unwrap(),
        Ipv4Addr::new(192, 0, 2, 7)
    );
    assert_eq!(
        resolve("::1", AddrType::Either).unwrap(),
        Ipv6Addr::LOCALHOST
    );
    let error = resolve("192.0.2.7", AddrType::IPv6).unwrap_err();
    assert_eq!(error.to_string(), "192.0.2.7: has no IPv6 address");
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let error = block_on(Net.get_host_by_name("nothing.invalid", AddrType::Either)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("nothing.invalid: "), "{text}");
}

#[test]
fn the_far_end_going_away_ends_the_stream() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let far = thread::spawn(move || drop(listener.accept().unwrap()));
    let read = block_on(async {
        let mut socket = Net.connect(address).await.unwrap();
        socket.read(&mut [0; 8]).await.unwrap()
    });
    assert_eq!(read, 0);
    far.join().unwrap();
}
