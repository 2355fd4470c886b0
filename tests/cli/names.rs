//! What a running program is called, to a resolver and to a broker.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::commands::{Client, port, start};
use crate::support::child::{PATIENCE, Running};
use crate::support::namespace::{ADDRESSES, INTERFACE, PATH, is_inside};
use crate::support::peers::{Subscriber, resolver};

fn rename(client: &mut Client, name: &str) {
    let request = format!(r#"{{"cmd":"mdns","payload":{{"name":"{name}"}}}}"#);
    assert_eq!(client.ask(&request)["mdns_name"], *name);
}

/// Both of a device's services, as the resolver prints them, with its stream on the usual port.
fn services(name: &str, host: &str, address: &str) -> [String; 2] {
    services_at(name, host, address, 54322)
}

/// The same with it on any port.
fn services_at(name: &str, host: &str, address: &str, stream: u16) -> [String; 2] {
    let texts = "auth_upload=yes board=metertrekker ssh_upload=no tcp_check=no";
    [
        format!("+ {name}._elec._tcp.local. {host}.local. {address}:{stream}"),
        format!("+ {name}._arduino._tcp.local. {host}.local. {address}:3232 {texts}"),
    ]
}

fn wait_for_all(resolver: &mut Running, lines: &[String]) {
    for line in lines {
        resolver.wait_for(line, |printed| printed.contains(line).then_some(()));
    }
}

fn device(state: &Path, address: &str) -> (Running, Client, String) {
    let mut running = start(state, &["--listen", address]);
    let at = port(&mut running, "commands");
    let (client, greeting) = Client::greeted_at(address, at);
    let name = greeting["name"].as_str().unwrap().to_owned();
    assert_eq!(greeting["ip"], *address);
    (running, client, name)
}

/// On an interface and on the loopback, where another responder uses the same port all the time.
#[test]
fn a_resolver_finds_the_device_and_follows_its_new_name() {
    if !is_inside("names::a_resolver_finds_the_device_and_follows_its_new_name") {
        return;
    }
    for address in [ADDRESSES[0], "127.0.0.1"] {
        let Some(mut resolver) = resolver(address) else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let (_running, mut client, name) = device(folder.path(), address);
        wait_for_all(&mut resolver, &services(&name, &name, address));
        rename(&mut client, "kitchen");
        wait_for_all(&mut resolver, &services("kitchen", "kitchen", address));
        let gone = ["_elec", "_arduino"].map(|kind| format!("- {name}.{kind}._tcp.local. gone"));
        wait_for_all(&mut resolver, &gone);
    }
}

#[test]
fn a_stream_that_is_elsewhere_is_found_there() {
    if !is_inside("names::a_stream_that_is_elsewhere_is_found_there") {
        return;
    }
    let address = ADDRESSES[0];
    let Some(mut resolver) = resolver(address) else {
        return;
    };
    let _taken = TcpListener::bind((address, 54322)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut running, _client, name) = device(folder.path(), address);
    let at = port(&mut running, "stream");
    wait_for_all(&mut resolver, &services_at(&name, &name, address, at));
}

#[test]
fn a_network_that_comes_up_later_finds_the_device() {
    if !is_inside("names::a_network_that_comes_up_later_finds_the_device") {
        return;
    }
    let [one, other] = ADDRESSES;
    let ip = |words: &str| {
        let mut command = Command::new("ip");
        command.args(words.split(' ')).env("PATH", PATH);
        assert!(command.status().unwrap().success(), "{words}");
    };
    ip(&format!("addr del {other}/24 dev {INTERFACE}"));
    ip(&format!("addr del {one}/24 dev {INTERFACE}"));
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &["--listen", "0.0.0.0"]);
    let at = port(&mut running, "commands");
    let (mut client, greeting) = Client::greeted(at);
    let name = greeting["name"].as_str().unwrap().to_owned();
    assert_eq!(greeting["ip"], "");
    for address in [one, other] {
        ip(&format!("addr flush dev {INTERFACE}"));
        ip(&format!("addr add {address}/24 dev {INTERFACE}"));
        ip(&format!("route replace default dev {INTERFACE}"));
        let Some(mut resolver) = resolver(address) else {
            return;
        };
        // Nobody could reach the last address.
        let deadline = Instant::now() + PATIENCE;
        while client.line().is_some() {
            assert!(Instant::now() < deadline, "{address}");
        }
        let (next, greeting) = Client::greeted(at);
        client = next;
        assert_eq!(greeting["ip"], *address);
        wait_for_all(&mut resolver, &services(&name, &name, address));
    }
}

#[test]
fn of_two_devices_of_one_name_the_second_gets_a_number_and_says_so() {
    if !is_inside("names::of_two_devices_of_one_name_the_second_gets_a_number_and_says_so") {
        return;
    }
    let [one, other] = ADDRESSES;
    let Some(mut resolver) = resolver(one) else {
        return;
    };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (_first, mut first, _) = device(folders[0].path(), one);
    let (_second, mut second, _) = device(folders[1].path(), other);
    rename(&mut first, "twin");
    wait_for_all(&mut resolver, &services("twin", "twin", one));
    rename(&mut second, "twin");
    wait_for_all(&mut resolver, &services("twin-2", "twin-2", other));
    assert_eq!(second.ask(r#"{"cmd":"info"}"#)["name"], "twin");
    let log = second.ask(r#"{"cmd":"getLog"}"#);
    let log = log["msg"].as_str().unwrap();
    assert!(
        log.contains("mDNS: twin is taken, this is twin-2.local"),
        "{log}"
    );
    let first_log = first.ask(r#"{"cmd":"getLog"}"#);
    assert!(!first_log.to_string().contains("mDNS"), "{first_log}");
}

#[test]
fn a_broker_meets_the_new_name_and_a_good_bye_in_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = start(folder.path(), &[]);
    let at = port(&mut running, "broker");
    let (mut client, greeting) = Client::greeted(port(&mut running, "commands"));
    let old = greeting["name"].as_str().unwrap().to_owned();
    running.wait_for_line("pwutseltronics/status online");
    let Some(mut subscriber) = Subscriber::to_port(at, "#") else {
        return;
    };
    let of = |topic: &str, messages: &[crate::support::peers::Message]| {
        let of = messages.iter().filter(|message| message.topic == topic);
        of.map(|message| message.text()).collect::<Vec<_>>()
    };
    subscriber.wait_until("the birth", |messages| {
        !of("pwutseltronics/status", messages).is_empty()
    });
    rename(&mut client, "kitchen");
    let messages = subscriber.wait_until("the new name's status", |messages| {
        !of("powermeter/kitchen/state/sample", messages).is_empty()
    });
    // In this order, and it stays so for who comes later.
    assert_eq!(
        of("pwutseltronics/status", &messages),
        ["online", "offline", "online"]
    );
    let notes = of("pwutseltronics/debug/node_connect", &messages);
    assert!(
        notes.last().unwrap().starts_with("kitchen (re)connected"),
        "{notes:?}"
    );
    // Nothing is left under the old name.
    let Some(mut late) = Subscriber::to_port(at, "#") else {
        return;
    };
    let retained = late.wait_until("what is retained", |messages| {
        !of("powermeter/kitchen/state/sample", messages).is_empty()
    });
    assert_eq!(of("pwutseltronics/status", &retained), ["online"]);
    let under = format!("powermeter/{old}/");
    assert!(
        !retained
            .iter()
            .any(|message| message.topic.starts_with(&under))
    );
    // Across a restart.
    client.send(r#"{"cmd":"restart"}"#);
    while client.line().is_some() {}
    let (mut client, greeting) = Client::greeted(port(&mut running, "commands"));
    assert_eq!(greeting["name"], "kitchen");
    client.send(r#"{"cmd":"factoryReset"}"#);
    while client.line().is_some() {}
    let (_, greeting) = Client::greeted(port(&mut running, "commands"));
    assert_eq!(greeting["name"], *old);
}
