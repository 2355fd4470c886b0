//! A running program that gets the time: from chrony, and from a server that is a day ahead.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::commands::{Client, port, start};
use crate::support::firmware::{self, text};
use crate::support::peers::Chrony;

/// Seconds from 1900 to 1970.
const SINCE_1900: u64 = 2_208_988_800;

const DAY: u64 = 86_400;

/// A server of stratum 1 that is a day ahead. It ends with the test's process.
fn a_day_ahead() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut request = [0; 100];
        while let Ok((48, client)) = socket.recv_from(&mut request) {
            let mut reply = [0; 48];
            reply[..2].copy_from_slice(&[0x24, 1]);
            reply[24..32].copy_from_slice(&request[40..48]);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seconds = (now.as_secs() + DAY + SINCE_1900) as u32;
            for at in [32, 40] {
                reply[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
            }
            let _ = socket.send_to(&reply, client);
        }
    });
    port
}

/// What a client is told until one line has this in it.
fn told(client: &mut Client, part: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = client.line().expect("a line");
        lines.push(line);
        if lines.last().is_some_and(|line| line.contains(part)) {
            return lines;
        }
    }
}

/// What a client is told from a request on, until the server has said the time: a busy machine may be too late
/// for its 200 ms, and is asked again.
fn told_with_time(client: &mut Client, request: &str) -> Vec<String> {
    client.send(request);
    let mut lines = told(client, "\"cmd\":");
    for _ in 0..20 {
        if lines
            .iter()
            .any(|line| line.contains("NTP synced with conf: "))
        {
            return lines;
        }
        client.send(r#"{"cmd":"ntp"}"#);
        lines.extend(told(client, "\"cmd\":"));
    }
    panic!("no time: {lines:?}");
}

#[test]
fn chrony_is_asked_and_missed_and_found_again_after_a_restart() {
    let Some(mut chrony) = Chrony::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, greeting) = Client::greeted(at);
    assert_eq!(greeting["time_server"], "-");
    assert_eq!(client.ask(r#"{"cmd":"ntp"}"#)["error"], true);
    let set = format!(
        r#"{{"cmd":"timeServer","payload":{{"server":"127.0.0.1","port":{}}}}}"#,
        chrony.port()
    );
    let lines = told_with_time(&mut client, &set);
    assert!(
        !lines.iter().any(|line| line.contains("The clock was set")),
        "{lines:?}"
    );
    client.ask_until(r#"{"cmd":"ntp"}"#, |answer| answer["msg"] == "Time synced");
    running.signal(Signal::INT);
    assert!(running.wait_for_end().success());

    // A flag would win over what was set by command.
    let mut running = firmware::start(&["run", "--state", text(folder.path())]);
    let at = port(&mut running, "commands");
    let (mut client, greeting) = Client::greeted(at);
    assert_eq!(greeting["time_server"], "127.0.0.1");
    client.ask_until(r#"{"cmd":"ntp"}"#, |answer| answer["error"] == false);
    chrony.stop();
    client.send(r#"{"cmd":"ntp"}"#);
    let lines = told(&mut client, "Error syncing time");
    let complaints = lines
        .iter()
        .filter(|line| line.contains("No time from 127.0.0.1"));
    assert_eq!(complaints.count(), 1, "{lines:?}");
}

#[test]
fn the_time_servers_time_is_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "commands");
    let (mut client, before) = Client::greeted(at);
    let set = format!(
        r#"{{"cmd":"timeServer","payload":{{"server":"localhost","port":{}}}}}"#,
        a_day_ahead()
    );
    let lines = told_with_time(&mut client, &set);
    let step = lines
        .iter()
        .find(|line| line.contains("The clock was set forward by 86"));
    assert!(
        step.is_some_and(|line| line.starts_with("Info:[W]")),
        "{lines:?}"
    );
    let after = client.ask(r#"{"cmd":"info"}"#);
    assert_ne!(
        before["sys_time"].as_str().map(|time| &time[..10]),
        after["sys_time"].as_str().map(|time| &time[..10])
    );
}
