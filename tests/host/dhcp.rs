//! The access point's addresses, asked for by a DHCP client that people use.

use std::process::Command;

use embassy_futures::select::{Either, select};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Timer};
use metertrekker::{
    app::{
        dhcp::{self, PACKET},
        stats::Stats,
    },
    smartmeter::device::Device,
    soc::host::{executor::block_on, ram_flash::RamFlash},
    storage::Store,
};

use crate::support::{
    child::{PATIENCE, Running},
    namespace::{PEER, is_inside},
    peers::find,
};

type Flash = RamFlash<4096, 2>;

#[test]
fn udhcpc_gets_an_address() {
    if !is_inside("dhcp::udhcpc_gets_an_address") {
        return;
    }
    let Some(udhcpc) = find("udhcpc", "apt-get install udhcpc") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(
        &script,
        "#!/bin/sh\necho \"$1 ip=$ip mask=$subnet router=$router lease=$lease\"\n",
    )
    .unwrap();
    let mut mode = std::fs::metadata(&script).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    block_on(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("meter", || None, &store, &stats).await;
        device.is_access_point("meter");
        let network = edge_nal_std::Stack::new();
        let mut packet = [0; PACKET];
        let serving = dhcp::run(&device, &network, &mut packet);
        let script = async {
            let mut command = Command::new(udhcpc);
            command
                .args(["-i", PEER, "-f", "-n", "-q", "-s"])
                .arg(&script);
            let client = Running::start("udhcpc", &mut command);
            let expected = "bound ip=192.168.4.2 mask=255.255.255.0 router= lease=600";
            for _ in 0..PATIENCE.as_millis() / 50 {
                if client.lines().iter().any(|line| line == expected) {
                    return;
                }
                Timer::after(Duration::from_millis(50)).await;
            }
            panic!("no address: {:?}", client.lines());
        };
        match select(serving, script).await {
            Either::First(never) => match never {},
            Either::Second(()) => {}
        }
    });
}
