//! A network of a test's own, in which nobody is disturbed.

use std::env;
use std::process::Command;

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
