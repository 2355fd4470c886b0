//! Samples of a running program: what ffmpeg records, datagrams, a stream server, a broker.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::commands::{Client, port, start};
use crate::support::child::{PATIENCE, Running};
use crate::support::firmware::text;
use crate::support::peers::{Mosquitto, MosquittoConfig, find};
use crate::support::samples::{changes, packet, recorded, roomy, sample, samples, spoken};

/// A meter behind a TCP port that speaks when it is told to.
struct Meter(TcpListener, Option<TcpStream>);

impl Meter {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self(listener, None)
    }

    fn source(&self) -> String {
        format!("tcp://{}", self.0.local_addr().unwrap())
    }

    fn says(&mut self, number: u8) {
        let far = &mut self.1;
        let far = far.get_or_insert_with(|| self.0.accept().unwrap().0);
        far.write_all(&spoken(number)).unwrap();
    }
}

/// The program with a meter that has spoken once, and a client of its commands.
fn ready(folder: &Path, args: &[&str]) -> (Running, Meter, Client, u16) {
    let mut meter = Meter::new();
    let source = meter.source();
    let own = ["--p1", &source, "--set", "interval=0"];
    let mut running = start(folder, &[&own, args].concat());
    let at = port(&mut running, "commands");
    let (mut client, _) = Client::greeted(at);
    meter.says(1);
    client.ask_until(r#"{"cmd":"getVoltage"}"#, |answer| answer["error"] == false);
    (running, meter, client, at)
}

/// Has ffmpeg record the raw stream until it is stopped: telegram 1 for a while, then the others. The
/// recording, and what the answer to `stop` says. `None` without ffmpeg.
fn recording(
    name: &str,
    input: &str,
    output: &str,
    first: Duration,
) -> Option<(Vec<[f32; 6]>, serde_json::Value)> {
    let ffmpeg = find("ffmpeg", "apt-get install ffmpeg")?;
    let folder = tempfile::tempdir().unwrap();
    let (mut running, mut meter, mut client, _) = ready(&folder.path().join("state"), &[]);
    let stream = format!("tcp://127.0.0.1:{}", port(&mut running, "stream"));
    let file = folder.path().join(name);
    let mut command = Command::new(&ffmpeg);
    command.args(["-nostdin", "-hide_banner"]);
    command.args(input.split_ascii_whitespace());
    command.args(["-i", &stream]);
    command.args(output.split_ascii_whitespace());
    let mut recorder = Running::start("ffmpeg", command.args(["-y", text(&file)]));
    client.ask_until(r#"{"cmd":"info"}"#, |info| info["state"] == "busy");
    thread::sleep(first);
    for number in 2..=4 {
        meter.says(number);
        let volts = format!("voltage/L1 {}", sample(number)[0]);
        running.wait_for_line(&volts);
        thread::sleep(Duration::from_millis(500));
    }
    let stopped = client.ask(r#"{"cmd":"stop"}"#);
    assert_eq!(stopped["error"], false);
    // The connection's end is the recording's.
    assert!(recorder.wait_for_end().success());
    Some((recorded(&ffmpeg, &file), stopped))
}

#[test]
fn ffmpeg_records_what_the_telegrams_say() {
    let input = "-f f32le -ar 4000 -ac 6";
    let first = Duration::from_millis(300);
    let Some((samples, stopped)) = recording("meter.wav", input, "-c:a pcm_f32le", first) else {
        return;
    };
    assert_eq!(changes(&samples), [1, 2, 3, 4].map(sample));
    assert_eq!(Some(samples.len() as u64), stopped["samples"].as_u64());
    assert_eq!(stopped["samples"], stopped["sent_samples"]);
    let rate = stopped["avg_rate"].as_f64().unwrap();
    assert!((3_990.0..=4_000.0).contains(&rate), "{rate}");
}

#[test]
fn the_manuals_line_records_a_packed_file() {
    // With the true rate and channels. It drops what it looks at to know the stream, two seconds, and its
    // codec keeps whole frames, two seconds too.
    let input = "-fflags +nobuffer+flush_packets -f f32le -ar 4000 -guess_layout_max 0 -ac 6 \
                 -flush_packets 1 -thread_queue_size 512 -analyzeduration 0";
    let output = "-c:a wavpack -frame_size 8000 -metadata:s:a:0 CHANNELS=6 \
                  -metadata:s:a:0 CHANNEL_TAGS=v_l1,i_l1,v_l2,i_l2,v_l3,i_l3 \
                  -metadata:s:a:0 title=meter -map 0";
    let first = Duration::from_millis(3_000);
    let Some((samples, stopped)) = recording("output.mkv", input, output, first) else {
        return;
    };
    let sent = stopped["sent_samples"].as_u64().unwrap();
    let kept = samples.len() as u64;
    assert!(kept >= 8_000 && kept + 16_000 >= sent, "{kept} of {sent}");
    let [one, two, three, four] = [1, 2, 3, 4].map(sample);
    let changes = changes(&samples);
    assert!(
        changes == [one, two, three, four] || changes == [one, two, three],
        "{changes:?}"
    );
}

#[test]
fn one_client_at_a_time_has_the_raw_stream_and_may_be_ordered_another() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, _meter, mut client, _) = ready(folder.path(), &[]);
    let at = port(&mut running, "stream");
    let connect = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, at)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let order = r#"{"cmd":"sample","payload":{"type":"FFMPEG","rate":50,"measures":"v,i_L3"}}"#;
    let refused = client.ask(order);
    assert_eq!(refused["msg"], "Could not connect to TCP stream");
    let mut raw = connect();
    let mut first = [0; 24];
    raw.read_exact(&mut first).unwrap();
    assert_eq!(samples(&first), [sample(1)]);
    let mut second = connect();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
    let ordered = client.ask(order);
    assert_eq!(
        (&ordered["error"], &ordered["samplingrate"]),
        (&false.into(), &50.into())
    );
    // Some of the first may be under way still.
    let last = sample(1)[4..]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect::<Vec<_>>();
    let deadline = Instant::now() + PATIENCE;
    let mut got = [0; 16];
    while got[..8] != last || got[8..] != last {
        assert!(Instant::now() < deadline, "{got:?}");
        raw.read_exact(&mut got[..8]).unwrap();
        got.rotate_left(8);
    }
    drop(raw);
    client.ask_until(r#"{"cmd":"info"}"#, |info| info["state"] == "idle");
    connect().read_exact(&mut first).unwrap();
}

#[test]
fn datagrams_come_where_they_were_asked_for_and_end_with_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, mut meter, mut client, at) = ready(folder.path(), &[]);
    let (mut other, _) = Client::greeted(at);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    roomy(&socket);
    let own = socket.local_addr().unwrap().port();
    let order = |rate: u32, port: u16| {
        format!(r#"{{"cmd":"sample","payload":{{"type":"UDP","rate":{rate},"port":{port}}}}}"#)
    };
    let ordered = client.ask(&order(8_000, own));
    assert_eq!(
        (&ordered["port"], &ordered["chunksize"]),
        (&own.into(), &504.into())
    );
    let mut all = Vec::new();
    // The tools of the SmartMeter have room for so much.
    let mut buffer = [0; 11 + 504 + 1];
    let deadline = Instant::now() + PATIENCE;
    for number in 0u32.. {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(length, 11 + 504);
        let (at, samples) = packet(&mut &buffer[..length]);
        assert_eq!(at, number);
        all.extend(samples);
        if number == 150 {
            meter.says(2);
        }
        if number >= 400 && changes(&all).len() > 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the second telegram's values");
    }
    assert_eq!(changes(&all), [sample(1), sample(2)]);
    let stopped = other.ask(r#"{"cmd":"stop"}"#);
    let mut rest = stopped["sent_samples"].as_u64().unwrap() - all.len() as u64;
    while rest > 0 {
        let length = socket.recv(&mut buffer).unwrap();
        rest -= ((length - 11) / 24) as u64;
    }
    // A port where nobody is: the system says so, and that stops nothing.
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let deserted = nobody.local_addr().unwrap().port();
    drop(nobody);
    client.ask(&order(100, deserted));
    let text = format!("Nobody takes UDP packets at 127.0.0.1 port {deserted}");
    while !other.line().unwrap().contains(&text) {}
    meter.says(3);
    assert_eq!(client.ask(r#"{"cmd":"stop"}"#)["error"], false);
    client.ask_until(r#"{"cmd":"getVoltage"}"#, |answer| {
        answer["voltage"][0].as_f64() == Some(231.3)
    });
    // Whoever asked has to stay.
    client.ask(&order(100, own));
    socket.recv(&mut buffer).unwrap();
    drop(client);
    while !other
        .line()
        .unwrap()
        .ends_with("TCP/UDP disconnected while streaming")
    {}
    assert_eq!(other.ask(r#"{"cmd":"getVoltage"}"#)["error"], false);
}

/// They are told to be sent, and no sender hears of those that a receiver has no room for.
#[test]
fn who_reads_all_the_time_gets_all_datagrams_that_have_waited() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, _meter, mut client, at) = ready(folder.path(), &[]);
    let (mut other, _) = Client::greeted(at);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    roomy(&socket);
    let own = socket.local_addr().unwrap().port();
    let order = format!(
        r#"{{"cmd":"sample","payload":{{"type":"UDP","rate":32000,"port":{own},"flowCtr":true}}}}"#
    );
    assert_eq!(client.ask(&order)["error"], false);
    let reading = thread::spawn(move || {
        let (mut samples, mut numbers) = (0, 0);
        let mut buffer = [0; 11 + 504 + 1];
        thread::sleep(Duration::from_millis(4_500));
        while let Ok(length) = socket.recv(&mut buffer) {
            let number = u32::from_le_bytes(buffer[7..11].try_into().unwrap());
            assert_eq!(number, numbers);
            numbers += 1;
            samples += (length - 11) / 24;
        }
        samples as u64
    });
    thread::sleep(Duration::from_millis(4_500));
    assert_eq!(client.ask(r#"{"cmd":"cts","value":true}"#)["error"], false);
    let asked = Instant::now();
    other.ask(r#"{"cmd":"info"}"#);
    let answered = asked.elapsed();
    assert!(answered < Duration::from_millis(100), "{answered:?}");
    let stopped = other.ask(r#"{"cmd":"stop"}"#);
    assert_eq!(
        reading.join().unwrap(),
        stopped["sent_samples"].as_u64().unwrap()
    );
}

#[test]
fn a_stream_server_orders_samples_as_any_client_does() {
    let folder = tempfile::tempdir().unwrap();
    // The port is fixed, the address is this test's own.
    let server = TcpListener::bind((Ipv4Addr::new(127, 0, 54, 1), 54322)).unwrap();
    let set = ["--set", "stream_server=127.0.54.1"];
    let (mut running, mut meter, mut client, _) = ready(folder.path(), &set);
    // Its own port is on another address.
    assert_ne!(port(&mut running, "stream"), 0);
    let (device, _) = server.accept().unwrap();
    let (mut ordering, greeting) = Client::over(device);
    assert_eq!(greeting["type"], "smartmeter");
    ordering.ask(r#"{"cmd":"log","level":"warning"}"#);
    let ordered =
        ordering.ask(r#"{"cmd":"sample","payload":{"type":"TCP","rate":1000,"flowCtr":true}}"#);
    assert_eq!(ordered["error"], false);
    let busy = client.ask(r#"{"cmd":"getVoltage"}"#);
    assert_eq!(busy["msg"], "Device with IP: 127.0.54.1 currently sampling");
    ordering.send(r#"{"cmd":"reqSamples","samples":100}"#);
    let mut got = Vec::new();
    let mut number = 0;
    let mut take = |got: &mut Vec<_>, count: usize| {
        while got.len() < count {
            let (at, samples) = packet(ordering.reader());
            assert_eq!(at, number);
            number += 1;
            got.extend(samples);
        }
        got.len()
    };
    assert_eq!(take(&mut got, 100), 100);
    meter.says(2);
    client.send(r#"{"cmd":"cts","value":true}"#);
    while changes(&got).len() < 2 {
        let least = got.len() + 100;
        take(&mut got, least);
    }
    assert_eq!(changes(&got), [sample(1), sample(2)]);
    drop(ordering);
    while !client
        .line()
        .unwrap()
        .ends_with("TCP disconnected while streaming")
    {}
}

#[test]
fn samples_go_through_a_broker_and_end_with_it() {
    let Some(mut broker) = Mosquitto::start(MosquittoConfig::default()) else {
        return;
    };
    let mut subscriber = broker.subscribe("powermeter/#");
    let folder = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], broker.port())).to_string();
    let (_running, mut meter, mut client, _) = ready(folder.path(), &["--broker", &address]);
    let order = r#"{"cmd":"sample","payload":{"type":"MQTT","rate":20,"measures":"v,i_L1"}}"#;
    let ordered = client.ask_until(order, |answer| answer["error"] == false);
    assert_eq!(ordered["samplingrate"], 20);
    let sent = |messages: &[crate::support::peers::Message]| {
        let own = messages.iter().filter(|m| m.topic.ends_with("/state/info"));
        let json = own.filter_map(|m| serde_json::from_str::<serde_json::Value>(&m.text()).ok());
        json.filter(|json| json["unit"] == "V,mA")
            .collect::<Vec<_>>()
    };
    subscriber.wait_until("20 samples", |messages| sent(messages).len() >= 20);
    meter.says(2);
    subscriber.wait_until("60 samples", |messages| sent(messages).len() >= 60);
    let stopped = client.ask(r#"{"cmd":"stop"}"#);
    let messages = subscriber.wait_until("off", |messages| {
        let last = messages
            .iter()
            .rfind(|m| m.topic.ends_with("/state/sample"));
        last.is_some_and(|message| message.text() == "off")
    });
    assert!(
        messages
            .iter()
            .any(|m| m.topic.ends_with("/state/sample") && m.text() == "on")
    );
    let sent = sent(&messages);
    assert_eq!(Some(sent.len() as u64), stopped["sent_samples"].as_u64());
    let mut values: Vec<_> = sent.iter().map(|json| json["values"].to_string()).collect();
    values.dedup();
    assert_eq!(values, ["[231.1,2000]", "[231.2,3000]"]);
    // One every 50 ms, on time.
    let stamp = |json: &serde_json::Value| json["ts"].as_str().unwrap().parse::<f64>().unwrap();
    let mut next = 0;
    for pair in sent.windows(2) {
        // A busy machine may have left some out.
        let distance = stamp(&pair[1]) - stamp(&pair[0]);
        let off = distance - 0.05 * (distance / 0.05).round().max(1.0);
        assert!(off.abs() < 0.0015, "{distance}");
        next += usize::from(distance < 0.06);
    }
    assert!(2 * next > sent.len(), "{next} of {}", sent.len());
    assert_eq!(client.ask(order)["error"], false);
    broker.stop();
    while !client
        .line()
        .unwrap()
        .ends_with("MQTT Server disconnected while streaming")
    {}
    let refused = client.ask(order);
    assert_eq!(refused["msg"], "Not connected to the MQTT Server");
    meter.says(3);
    client.ask_until(r#"{"cmd":"getVoltage"}"#, |answer| {
        answer["voltage"][0].as_f64() == Some(231.3)
    });
}

#[test]
fn a_client_that_never_pauses_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (mut running, mut meter, mut client, at) = ready(folder.path(), &[]);
    let raw = port(&mut running, "stream");
    for (port, noise) in [(at, b'\n'), (raw, 0)] {
        let flood = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut writer = flood.try_clone().unwrap();
        let writing = thread::spawn(move || while writer.write_all(&[noise; 65_536]).is_ok() {});
        thread::sleep(Duration::from_millis(500));
        meter.says(2);
        thread::sleep(Duration::from_millis(500));
        let asked = Instant::now();
        client.ask(r#"{"cmd":"info"}"#);
        assert!(
            asked.elapsed() < Duration::from_secs(2),
            "{:?}",
            asked.elapsed()
        );
        flood.shutdown(Shutdown::Both).unwrap();
        writing.join().unwrap();
        client.ask_until(r#"{"cmd":"getVoltage"}"#, |answer| {
            answer["voltage"][0].as_f64() == Some(231.2)
        });
        meter.says(1);
    }
}

#[test]
fn a_taken_port_gives_way_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let address = Ipv4Addr::new(127, 0, 54, 2);
    let taken = [54321, 54322].map(|port| TcpListener::bind((address, port)).unwrap());
    let listen = address.to_string();
    let mut running = start(folder.path(), &["--listen", &listen]);
    for what in ["commands", "stream"] {
        let at = port(&mut running, what);
        assert!(![54321, 54322].contains(&at), "{at}");
        TcpStream::connect((address, at)).unwrap();
    }
    drop(taken);
}
