//! The commands on the chip's instruction set: over the emulated network, over MQTT and on the console, compared with the same
//! device on this machine.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use metertrekker::{
    app::{outlet, server::PORT},
    settings::KEYS,
};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use support::caller::Caller;
use support::child::{PATIENCE, Running};
use support::emulator::wait_long;
use support::firmware::{self, text};
use support::namespace::is_inside;
use support::peers::{find, free_port, resolver, services, wait_for_all};
use support::qemu::{Board, fixture, forwarded, qemu};
use support::samples::{changes, packet, recorded, roomy, sample, samples, spoken};
use support::scenarios::{VOLTAGE, scenarios};

scenarios! { Board:
    every_request_is_answered_as_on_this_machine,
    one_too_many_is_turned_away_and_one_that_is_cut_anywhere_leaves_its_place,
    one_that_never_reads_its_answers_keeps_nobody_waiting_and_loses_its_place,
    the_time_is_that_of_a_real_server,
    samples_have_the_telegrams_values,
    a_command_over_mqtt_is_answered,
    samples_go_through_a_broker,
    what_is_set_survives_a_power_cut_and_the_log_tells_of_it,
}

/// The image with the commands' port forwarded to a free one.
fn start(words: &[&str]) -> Option<(Board, u16)> {
    let (board, [port]) = Board::with_ports([PORT], words)?;
    Some((board, port))
}

/// Has the meter speak until the board has understood it.
fn tell(board: &mut Board) {
    board.send(&fixture("meters/esmr50.p1"));
    board.wait_for_event("accepted", 1);
}

/// A client that orders all samples there are and never reads.
#[test]
fn one_that_never_reads_keeps_nobody_waiting_and_loses_its_place() {
    let Some((mut board, port)) = start(&[]) else {
        return;
    };
    tell(&mut board);
    let mut deaf = Caller::connect(port);
    let small = set_socket_recv_buffer_size(&deaf.stream, 4096);
    small.expect("a small buffer");
    let mut others = [Caller::connect(port), Caller::connect(port)];
    deaf.send(r#"{"cmd":"sample","payload":{"type":"TCP","rate":32000}}"#);
    let info = r#"{"cmd":"info"}"#;
    others[0].ask_until(info, |info| info["state"] == "busy");
    for number in 2..=4 {
        for other in &mut others {
            // On a busy machine it may be given up already.
            let state = other.ask_json(info)["state"].to_string();
            assert!(["\"busy\"", "\"idle\""].contains(&&*state), "{state}");
        }
        board.send(&fixture("meters/esmr50.p1"));
        board.wait_for_event("accepted", number);
    }
    // Once all that is between here and there is full, it is given up, and there is a place again.
    let is_idle = wait_long(|| others[0].ask_json(info)["state"] == "idle");
    assert!(is_idle, "it is given up");
    let mut next = Caller::connect(port);
    for caller in others.iter_mut().chain([&mut next]) {
        assert_eq!(caller.ask_json(info)["state"], "idle");
    }
}

#[test]
fn datagrams_have_the_telegrams_values() {
    let Some((mut board, port)) = start(&[]) else {
        return;
    };
    board.send(&spoken(1));
    board.wait_for_event("accepted", 1);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    roomy(&socket);
    let own = socket.local_addr().expect("its address").port();
    let mut caller = Caller::connect(port);
    let order =
        format!(r#"{{"cmd":"sample","payload":{{"type":"UDP","rate":2000,"port":{own}}}}}"#);
    let ordered = caller.ask_json(&order);
    assert_eq!(ordered["samplingrate"], 2_000, "{ordered}");
    let length = 11 + ordered["chunksize"].as_u64().expect("a size") as usize;
    let mut all = Vec::new();
    let mut buffer = [0; 1500];
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        assert_eq!(socket.recv(&mut buffer).expect("a datagram"), length);
        let (at, samples) = packet(&mut &buffer[..length]);
        assert_eq!(at, number);
        all.extend(samples);
        if number == 100 {
            board.send(&spoken(2));
        }
        if number >= 200 && changes(&all).len() > 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the second telegram's values");
    }
    assert_eq!(changes(&all), [1, 2].map(sample));
    let stopped = caller.ask_json(r#"{"cmd":"stop"}"#);
    assert_eq!(stopped["error"], false, "{stopped}");
}

/// What Debian's ffmpeg records; a second client is turned away meanwhile.
#[test]
fn the_raw_stream_is_recorded() {
    let Some(ffmpeg) = find("ffmpeg", "apt-get install ffmpeg") else {
        return;
    };
    let Some((mut board, [port, streams])) = Board::with_ports([PORT, outlet::PORT], &[]) else {
        return;
    };
    board.send(&spoken(1));
    board.wait_for_event("accepted", 1);
    let mut caller = Caller::connect(port);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("meter.wav");
    let mut command = Command::new(&ffmpeg);
    command.args(["-nostdin", "-hide_banner", "-f", "f32le"]);
    command.args(["-ar", "4000", "-ac", "6", "-i"]);
    command.arg(format!("tcp://127.0.0.1:{streams}"));
    command.args(["-c:a", "pcm_f32le", "-y", text(&file)]);
    let mut recorder = Running::start("ffmpeg", &mut command);
    caller.ask_until(r#"{"cmd":"info"}"#, |info| info["state"] == "busy");
    let mut second = TcpStream::connect(("127.0.0.1", streams)).expect("QEMU takes it");
    second
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let turned_away = std::io::Read::read(&mut second, &mut [0; 1]);
    assert!(matches!(turned_away, Ok(0) | Err(_)), "{turned_away:?}");
    for number in 2..=4 {
        board.send(&spoken(number));
        board.wait_for_event("accepted", number.into());
        thread::sleep(Duration::from_millis(500));
    }
    let stopped = caller.ask_json(r#"{"cmd":"stop"}"#);
    assert_eq!(stopped["error"], false, "{stopped}");
    // The connection's end is the recording's.
    assert!(recorder.wait_for_end().success());
    let samples = recorded(&ffmpeg, &file);
    assert_eq!(changes(&samples), [1, 2, 3, 4].map(sample));
    assert_eq!(Some(samples.len() as u64), stopped["samples"].as_u64());
    assert_eq!(stopped["samples"], stopped["sent_samples"]);
}

#[test]
fn a_stream_server_is_called_and_orders_samples() {
    // The port is fixed, the address is this test's own.
    let server = TcpListener::bind((Ipv4Addr::new(127, 0, 54, 2), 54322)).expect("the port");
    let (came, coming) = std::sync::mpsc::channel();
    thread::spawn(move || came.send(server.accept()));
    let Some((mut board, port)) = start(&["stream_server=127.0.54.2"]) else {
        return;
    };
    board.send(&spoken(1));
    board.wait_for_event("accepted", 1);
    let called = coming.recv_timeout(2 * PATIENCE).expect("it is called");
    let mut server = Caller::over(called.expect("a connection").0);
    assert!(server.line().starts_with(r#"Info:{"cmd":"info","#));
    server.ask(r#"{"cmd":"log","level":"error"}"#);
    let order = r#"{"cmd":"sample","payload":{"type":"TCP","rate":1000,"prefix":false}}"#;
    let ordered = server.ask_json(order);
    assert_eq!(ordered["error"], false, "{ordered}");
    let mut caller = Caller::connect(port);
    let busy = caller.ask(VOLTAGE);
    assert!(busy.contains("currently sampling"), "{busy}");
    let mut bytes = vec![0; 24 * 2_000];
    std::io::Read::read_exact(&mut server.lines, &mut bytes).expect("samples");
    assert_eq!(changes(&samples(&bytes)), [sample(1)]);
    drop(server);
    caller.told("TCP disconnected while streaming");
}

/// QEMU's own network, where addresses and forwarded ports come from, and a cable to this machine's, on which multicast
/// goes. The test has both to itself.
#[test]
fn a_resolver_finds_the_board_and_follows_its_new_name() {
    if qemu("qemu.elf").is_none()
        || !is_inside("a_resolver_finds_the_board_and_follows_its_new_name")
    {
        return;
    }
    let script = "PATH=$PATH:/usr/sbin:/sbin; ip tuntap add dev tap0 mode tap && \
                  ip addr add 10.0.2.50/24 dev tap0 && ip link set tap0 up";
    let made = Command::new("sh").args(["-c", script]).status();
    assert!(made.is_ok_and(|made| made.success()), "a tap device");
    let port = free_port();
    let user = format!("user,id=user{}", forwarded(&[(port, PORT)]));
    let network = [
        ["-netdev", &user],
        ["-netdev", "hubport,id=one,hubid=0,netdev=user"],
        ["-netdev", "tap,id=tap,ifname=tap0,script=no,downscript=no"],
        ["-netdev", "hubport,id=two,hubid=0,netdev=tap"],
        ["-nic", "hubport,hubid=0,model=open_eth"],
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let state = format!("state={}", folder.path().join("state").display());
    let words = ["name=meter1", &state];
    let mut board = Board::in_network(network.as_flattened(), &words).expect("QEMU");
    // After the board, which carries the tap device.
    let Some(mut first) = resolver("10.0.2.50") else {
        return;
    };
    wait_for_all(&mut first, &services("meter1", "meter1", "10.0.2.15"));
    let mut caller = Caller::connect(port);
    caller.send(r#"{"cmd":"mdns","payload":{"name":"kitchen"}}"#);
    let gone = ["_elec", "_arduino"].map(|kind| format!("- meter1.{kind}._tcp.local. gone"));
    wait_for_all(&mut first, &gone);
    // Another name starts the board over.
    assert_eq!(board.console().wait_for_end().code(), Some(6));
    drop(board);
    let _board = Board::in_network(network.as_flattened(), &words).expect("QEMU");
    wait_for_all(&mut first, &services("kitchen", "kitchen", "10.0.2.15"));
    let mut caller = Caller::connect(port);
    assert_eq!(caller.ask_json(r#"{"cmd":"info"}"#)["name"], "kitchen");
    drop(first);
    // Who comes when all has been announced has to ask.
    thread::sleep(Duration::from_secs(3));
    let mut late = resolver("10.0.2.50").expect("a resolver, again");
    wait_for_all(&mut late, &services("kitchen", "kitchen", "10.0.2.15"));
}

/// Where a run says that it serves commands.
fn address_of(run: &mut Running) -> SocketAddr {
    run.wait_for("its port", |lines| {
        let line = lines.iter().find(|line| line.starts_with("commands "))?;
        line.rsplit(' ').next()?.parse().ok()
    })
}

#[test]
fn a_flag_wins_until_its_setting_is_changed() {
    if qemu("qemu.elf").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "--board", "qemu", "--state", text(folder.path())];
    let flags = ["--set", "interval=60", "--set", "root=flag"];
    let own = ["--listen", "127.0.54.3"];
    let mut run = firmware::start(&[&run[..], &flags, &own].concat());
    let at = address_of(&mut run);
    let mut caller = Caller::connect_to(at);
    // The board starts over, and again.
    for request in [
        r#"{"cmd":"settings","payload":{"interval":30}}"#,
        r#"{"cmd":"restart"}"#,
    ] {
        caller.send(request);
        while !caller.line().is_empty() {}
        caller = Caller::connect_to(at);
        let settings = caller.ask(r#"{"cmd":"settings"}"#);
        assert!(settings.contains(r#""interval":30"#), "{settings}");
        assert!(settings.contains(r#""root":"flag""#), "{settings}");
    }
}

#[test]
fn what_is_set_on_the_console_starts_the_board_over_and_stays() {
    if qemu("qemu.elf").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let console = folder.path().join("console");
    let state = folder.path().join("state");
    let run = ["run", "--board", "qemu", "--console", text(&console)];
    let own = ["--state", text(&state), "--listen", "127.0.54.4"];
    let mut run = firmware::start(&[&run[..], &own].concat());
    let at = address_of(&mut run);
    let mut caller = Caller::connect_to(at);
    let before = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(before.contains(r#""mqtt_server":"-""#), "{before}");
    let mut terminal = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&console)
        .expect("the console");
    let set = "{\"cmd\":\"mqttServer\",\"payload\":{\"server\":\"192.0.2.1\"}}\n";
    terminal.write_all(set.as_bytes()).expect("it is typed");
    let mut answer = String::new();
    let mut shown = BufReader::new(terminal);
    while !answer.contains("mqttServer") {
        answer.clear();
        shown.read_line(&mut answer).expect("an answer");
    }
    assert!(answer.contains(r#""error":false"#), "{answer}");
    run.wait_for_line("started over");
    // The old connection is gone, the port is the same.
    while !caller.line().is_empty() {}
    let mut caller = Caller::connect_to(at);
    let after = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(after.contains(r#""mqtt_server":"192.0.2.1""#), "{after}");
    caller.send(r#"{"cmd":"restart"}"#);
    while !caller.line().is_empty() {}
    let mut caller = Caller::connect_to(at);
    let after = caller.ask(r#"{"cmd":"settings"}"#);
    assert!(after.contains(r#""mqtt_server":"192.0.2.1""#), "{after}");
    assert_eq!(KEYS.len(), after.matches("\":").count() - 3, "{after}");
}
