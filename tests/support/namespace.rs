//! A network of a test's own, in which nobody is disturbed.

use std::env;
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use super::peers::{did_not_run, find};

/// Addresses of the one interface there is beside the loopback.
pub const ADDRESSES: [&str; 2] = ["192.168.99.50", "192.168.99.51"];

/// That interface.
pub const INTERFACE: &str = "meter0";

/// The other end of its cable, which has no address.
pub const PEER: &str = "meter1";

/// Where `ip` is.
pub const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// Runs the test once more, alone in a network namespace; `true` there. `test` is its path.
pub fn is_inside(test: &str) -> bool {
    const INSIDE: &str = "METERTREKKER_IN_A_NAMESPACE";
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let (Some(unshare), Some(_)) = (
        find("unshare", "apt-get install util-linux"),
        find("ip", "apt-get install iproute2"),
    ) else {
        return false;
    };
    let [one, other] = ADDRESSES;
    let script = format!(
        "set -e; PATH={PATH}; ip link set lo up; ip link add {INTERFACE} type veth peer name {PEER}; \
         ip addr add {one}/24 dev {INTERFACE}; ip addr add {other}/24 dev {INTERFACE}; \
         ip link set {INTERFACE} up; ip link set {PEER} up; \
         ip route add 255.255.255.255 dev {INTERFACE}; exec \"$@\""
    );
    let output = Command::new(unshare)
        .args(["--map-root-user", "--net", "sh", "-c", &script, "sh"])
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() && !out.contains("running 1 test") {
        did_not_run(&format!("no network namespace can be made: {err}"));
        return false;
    }
    assert!(output.status.success(), "{out}\n{err}");
    false
}

/// Runs the test once more, alone in namespaces of its own, where `resolv.conf` names a server on the loopback; `true` there.
pub fn is_inside_with_names(test: &str) -> bool {
    const INSIDE: &str = "METERTREKKER_IN_NAMESPACES";
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(unshare) = find("unshare", "apt-get install util-linux") else {
        return false;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let servers = folder.path().join("resolv.conf");
    fs::write(&servers, "nameserver 127.0.0.1\n").expect("it is written");
    let script = r#"ip link set lo up && mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;
    let output = Command::new(unshare)
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&servers)
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{output:?}");
    false
}

/// Answers questions for IPv4 addresses (RFC 1035 §4.1): one name is known.
pub fn serve_names(known: &'static [u8], address: [u8; 4]) {
    let socket = UdpSocket::bind("127.0.0.1:53").expect("the name server's port");
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let question = &question[..length];
            let found = question[12..].starts_with(known);
            let mut answer = question.to_vec();
            // A response, recursion available; NXDOMAIN for other names.
            answer[2..4].copy_from_slice(&[0x81, if found { 0x80 } else { 0x83 }]);
            if found {
                answer[7] = 1;
                answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, client).expect("an answer is sent");
        }
    });
}
