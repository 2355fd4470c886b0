//! How many TCP segments a telegram's messages take, on the loopback interface with the segments of
//! an Ethernet.

#![allow(
    unsafe_code,
    reason = "the standard library has no TCP_MAXSEG and no TCP_INFO"
)]

use core::mem;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use embassy_time::Timer;
use metertrekker::{
    app::transport::SEGMENT,
    settings::Settings,
    soc::host::{executor::block_on, net::Net},
};

use super::{
    broker::{Acks, Broker, Manners},
    link::{End, blank, session},
    telegrams::Telegram,
};

/// What the kernel has counted on a connection: segments with data, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    segments: u32,
    bytes: u64,
}

/// Linux takes 12 bytes of each segment for its time stamps, which a board's stack does not send;
/// with so much more it carries as many bytes as theirs.
const MAXSEG: libc::c_int = SEGMENT as libc::c_int + 12;

/// A listener whose connections send segments of [`SEGMENT`] bytes.
fn listener() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (maxseg, length) = (MAXSEG, mem::size_of_val(&MAXSEG) as libc::socklen_t);
    let (fd, value) = (listener.as_raw_fd(), (&raw const maxseg).cast());
    // SAFETY: `value` points to `length` bytes that outlive the call.
    let set = unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, value, length) };
    assert_eq!(set, 0, "TCP_MAXSEG");
    listener
}

/// Reads `tcpi_bytes_received` and `tcpi_data_segs_in` of `struct tcp_info` (linux/tcp.h).
fn counted(stream: &TcpStream) -> Counted {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let got = unsafe {
        let (info, length) = (info.as_mut_ptr().cast(), &raw mut length);
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info,
            length,
        )
    };
    assert!(got == 0 && length >= 156, "TCP_INFO of {length} bytes");
    let segments = info[152..156].try_into().unwrap();
    let bytes = info[128..136].try_into().unwrap();
    Counted {
        segments: u32::from_ne_bytes(segments),
        bytes: u64::from_ne_bytes(bytes),
    }
}

type Shared = Arc<Mutex<Option<TcpStream>>>;

/// Serves one connection on a thread of its own.
fn serve(listener: TcpListener, manners: Manners) -> Shared {
    let shared = Shared::default();
    let accepted = shared.clone();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        *accepted.lock().unwrap() = Some(stream.try_clone().expect("a second handle"));
        let mut broker = Broker::default();
        broker.manners = manners;
        broker.accept();
        let mut buffer = [0; 4096];
        while let Ok(count) = stream.read(&mut buffer)
            && count > 0
        {
            for (_, answer) in broker.take(&buffer[..count]).1 {
                let Some(bytes) = answer else { return };
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        }
    });
    shared
}

/// Waits until something has come since `before` and the connection has been quiet for a while.
async fn quiet(shared: &Shared, before: Counted) -> Counted {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut last = (before, Instant::now());
    loop {
        assert!(Instant::now() < deadline, "nothing comes");
        Timer::after_millis(5).await;
        let stream = shared.lock().unwrap();
        let Some(stream) = &*stream else { continue };
        let now = counted(stream);
        if now != last.0 {
            last = (now, Instant::now());
        } else if now != before && last.1.elapsed() > Duration::from_millis(100) {
            return now;
        }
    }
}

/// What each of the telegrams took, one after the other on one connection.
fn taken(telegrams: &[Vec<u8>], manners: Manners) -> Vec<Counted> {
    let listener = listener();
    let port = listener.local_addr().unwrap().port();
    let shared = serve(listener, manners);
    let mut settings = Settings::default();
    settings.set("mqtt_server", "127.0.0.1").unwrap();
    settings.set("mqtt_port", &port.to_string()).unwrap();
    let mut all = Vec::new();
    block_on(async {
        let mut store = blank().await;
        session(&Net, &settings, &mut store, End::Cut, async |feed| {
            let none = Counted {
                segments: 0,
                bytes: 0,
            };
            let mut before = quiet(&shared, none).await;
            for telegram in telegrams {
                feed.deliver_bytes(telegram).await;
                let after = quiet(&shared, before).await;
                all.push(Counted {
                    segments: after.segments - before.segments,
                    bytes: after.bytes - before.bytes,
                });
                before = after;
            }
        })
        .await;
    });
    all
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/meters/{name}.p1", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_messages_of_a_telegram_share_their_segments() {
    let names = ["esmr50_1ph", "esmr50", "be", "hu", "lt", "se"];
    let tests = names.map(|name| {
        thread::spawn(move || {
            let telegram = fixture(name);
            taken(
                &[telegram.clone(), telegram.clone(), telegram],
                Manners::default(),
            )
        })
    });
    let mut fits = 0;
    for (name, test) in names.into_iter().zip(tests) {
        for (n, counted) in test.join().expect("no panic").into_iter().enumerate() {
            let Counted { segments, bytes } = counted;
            let least = bytes.div_ceil(SEGMENT as u64);
            println!("{name} {n}: {bytes} bytes in {segments} segments, at best {least}");
            assert_eq!(u64::from(segments), least, "{name} {n}: {bytes} bytes");
            fits += u32::from(least == 1);
        }
    }
    assert!(fits > 0, "no telegram fits one segment");
}

#[test]
fn messages_leave_without_waiting_for_any_acknowledgement() {
    let manners = Manners {
        acks: Acks::Never,
        ..Manners::default()
    };
    let telegrams: Vec<_> = (1..=3).map(|n| Telegram::new(n).bytes()).collect();
    let silent = taken(&telegrams, manners);
    let answered = taken(&telegrams, Manners::default());
    assert_eq!(silent, answered);
}
