//! The device among Wi-Fi networks: which one it is in, and when it is an access point.

use embassy_futures::{
    join::join3,
    select::{Either, select},
};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, TimeoutError, with_timeout};
use metertrekker::{
    app::{
        caller,
        monitor::Monitor,
        server::{self, SESSIONS},
        session::Room,
        stats::Stats,
        wifi::{self, Start},
    },
    settings::RadioSleep,
    smartmeter::{
        answer::{Answer, Whole},
        device::{Client, Peer},
        log::Level,
    },
    soc::host::executor::block_on_virtual,
    storage::Store,
};
use serde_json::{Value as Json, json};

use super::{
    air::{Air, Manners, Network as OnAir, network},
    sessions::{Flash, TheDevice, pause, wires, with_device},
    telegrams::{reading, three_phases},
    wire::{Network, Wire},
};

/// Runs a device on the air that knows these networks, with its command port, while `script` goes on.
fn on_air(
    air: &Air,
    known: &[(&str, &str)],
    network: &Network<'_>,
    script: impl AsyncFnOnce(&TheDevice<'_, '_>),
) {
    started(Start::Restart, air, known, network, script);
}

fn started(
    start: Start,
    air: &Air,
    known: &[(&str, &str)],
    network: &Network<'_>,
    script: impl AsyncFnOnce(&TheDevice<'_, '_>),
) {
    with_device(
        "smartmeterX",
        || None,
        async |device, _| {
            for (ssid, password) in known {
                add(device, ssid, password).await;
            }
            let mut rooms = [const { Room::new() }; SESSIONS];
            let mut room = Room::new();
            let tasks = join3(
                server::run(device, network, &mut rooms),
                caller::run(device, network, &mut room),
                device.keep_log(),
            );
            let mut radio = air;
            let radio = wifi::run(device, &mut radio, start);
            match select(select(tasks, radio), script(device)).await {
                Either::First(_) => unreachable!(),
                Either::Second(()) => {}
            }
        },
    );
    assert_eq!(
        (air.joined(), air.access_point(), air.on_since()),
        (None, None, None),
        "it is left on"
    );
}

async fn ask(device: &TheDevice<'_, '_>, line: &Json) -> Json {
    let mut answer = <Whole>::new();
    let mut client = Client::new(Peer::Console, Level::Info);
    let line = line.to_string();
    device
        .answer_whole(line.as_bytes(), &mut client, &mut answer)
        .await;
    serde_json::from_slice(answer.json()).unwrap()
}

async fn add(device: &TheDevice<'_, '_>, ssid: &str, password: &str) {
    let line = json!({"cmd": "addWifi", "payload": {"ssid": ssid, "pwd": password}});
    assert_eq!(ask(device, &line).await["error"], false);
}

async fn info(device: &TheDevice<'_, '_>) -> Json {
    ask(device, &json!({"cmd": "info"})).await
}

/// Warnings and errors in flash, without the lines of starts.
async fn warnings(device: &TheDevice<'_, '_>) -> Vec<String> {
    let mut answer = Answer::new();
    let mut client = Client::new(Peer::Console, Level::Info);
    device
        .answer(br#"{"cmd":"getLog"}"#, &mut client, &mut answer)
        .await;
    let mut all = Vec::from(answer.bytes());
    while device.more(&mut client, &mut answer) {
        all.extend_from_slice(answer.bytes());
    }
    let all = String::from_utf8(all).unwrap();
    let rows = all.split("//n").filter(|row| row.starts_with('['));
    rows.map(|row| row["[W]01/01 01:00:00: ".len()..].to_owned())
        .collect()
}

const HOME: fn(i8) -> OnAir = |rssi| network("home", "secret12", rssi, 11);
const SHED: fn(i8) -> OnAir = |rssi| network("shed", "", rssi, 12);

#[test]
fn a_new_device_is_an_access_point_and_is_set_up_over_it() {
    let air = Air::new(&[HOME(-61), network("neighbour", "theirs", -30, 9)]);
    let [phone, laptop]: [Wire; 2] = wires();
    let network = Network::new();
    on_air(&air, &[], &network, async |device| {
        network.connect(&phone);
        pause(100).await;
        // Nothing is looked for while nothing is known.
        assert_eq!(air.log(), [(0, "open smartmeterX".into())]);
        let greeting: Json = serde_json::from_str(&phone.lines()[0]["Info:".len()..]).unwrap();
        assert_eq!(greeting["ip"], "192.168.4.1");
        assert_eq!(
            (&greeting["ssids"], &greeting["ssid"], &greeting["bssid"]),
            (&"[]".into(), &"-".into(), &"-".into())
        );
        phone.send("{\"cmd\":\"addWifi\",\"payload\":{\"ssid\":\"home\",\"pwd\":\"secret12\"}}\n");
        pause(29_000).await;
        // Used at the next look, not before.
        let answer = r#"Info:{"error":false,"cmd":"addWifi","ssid":"home","pwd":"secret12","msg":"New Ap, SSID: home, PW: secret12","ssids":"[home]"}"#;
        let lines = phone.lines();
        assert!(
            lines.contains(&answer.to_owned()),
            "{lines:?} {:?} {:?}",
            phone.ended(),
            air.log()
        );
        assert_eq!(air.log(), []);
        pause(3_500).await;
        assert_eq!(phone.ended(), None, "it is thrown out before it is let in");
        pause(2_000).await;
        let expected = [(30, "scan"), (32, "join home"), (33, "close")];
        assert_eq!(air.log(), expected.map(|(at, told)| (at, told.to_owned())));
        assert_eq!(phone.ended(), Some("dropped"));
        network.connect(&laptop);
        pause(100).await;
        let greeting: Json = serde_json::from_str(&laptop.lines()[0]["Info:".len()..]).unwrap();
        assert_eq!(greeting["ip"], "192.168.0.11");
        assert_eq!(
            (
                &greeting["ssids"],
                &greeting["ssid"],
                &greeting["rssi"],
                &greeting["bssid"]
            ),
            (
                &"[home]".into(),
                &"home".into(),
                &(-61).into(),
                &"02:00:5E:10:00:0B".into()
            )
        );
        // And stays there.
        pause(300_000).await;
        assert_eq!((air.told().len(), air.joined()), (0, Some(11)));
        assert_eq!(laptop.ended(), None);
        assert!(warnings(device).await.is_empty());
    });
}

#[test]
fn of_known_networks_the_strongest_is_joined_and_the_other_when_it_goes() {
    let air = Air::new(&[HOME(-80), SHED(-60)]);
    let known = [("home", "secret12"), ("shed", "")];
    let net = Network::new();
    on_air(&air, &known, &net, async |device| {
        pause(5_000).await;
        assert_eq!(air.told(), ["scan", "join shed"]);
        // A network that grows stronger is no reason to leave the one that is good enough.
        air.has(&[HOME(-40), SHED(-75)]);
        pause(60_000).await;
        assert_eq!(air.told(), [""; 0]);
        assert_eq!(info(device).await["rssi"], -75);
        air.has(&[HOME(-40)]);
        pause(6_000).await;
        assert_eq!(air.told(), ["lost", "scan", "join home"]);
        assert_eq!(info(device).await["ssid"], "home");
        air.has(&[]);
        pause(200).await;
        assert_eq!(info(device).await["ip"], "");
        pause(4_000).await;
        assert_eq!(air.told(), ["lost", "scan", "open smartmeterX"]);
        assert_eq!(info(device).await["ip"], "192.168.4.1");
        air.has(&[SHED(-70)]);
        pause(35_000).await;
        assert_eq!(air.told(), ["scan", "join shed", "close"]);
        assert_eq!(warnings(device).await, ["Network Disconnected"]);
    });
}

#[test]
fn while_no_known_network_is_there_it_looks_again_each_30_seconds() {
    let air = Air::new(&[network("neighbour", "theirs", -30, 9)]);
    let net = Network::new();
    on_air(&air, &[("home", "secret12")], &net, async |_| {
        pause(100_000).await;
        let expected = [
            (0, "scan"),
            (2, "open smartmeterX"),
            (30, "scan"),
            (60, "scan"),
            (90, "scan"),
        ];
        assert_eq!(air.log(), expected.map(|(at, told)| (at, told.to_owned())));
    });
}

#[test]
fn a_wrong_password_stops_nobody_and_is_said_once_an_hour() {
    let air = Air::new(&[HOME(-40), SHED(-80)]);
    let known = [("home", "wrong one"), ("shed", "")];
    let net = Network::new();
    on_air(&air, &known, &net, async |device| {
        pause(10_000).await;
        assert_eq!(air.told(), ["scan", "join home", "join shed"]);
        assert_eq!(info(device).await["ssid"], "shed");
        assert_eq!(warnings(device).await, ["Wi-Fi home: wrong password"]);
    });

    let air = Air::new(&[HOME(-40)]);
    let [phone]: [Wire; 1] = wires();
    let net = Network::new();
    on_air(&air, &known[..1], &net, async |device| {
        let mut told = device.log.listen().unwrap();
        let mut complaints = async |seconds: u64| {
            let mut count = 0;
            let _: Result<(), TimeoutError> = with_timeout(Duration::from_secs(seconds), async {
                loop {
                    let line = told.next_message_pure().await.line();
                    assert!(!line.contains("wrong one"), "{line}");
                    count += usize::from(line.contains("Wi-Fi home: wrong password"));
                }
            })
            .await;
            count
        };
        assert_eq!(complaints(5).await, 1);
        net.connect(&phone);
        assert_eq!(complaints(3_500).await, 0);
        assert_eq!(complaints(200).await, 1);
        // Whoever is about to mend it is not thrown out.
        assert_eq!(
            (phone.ended(), air.access_point().as_deref()),
            (None, Some("smartmeterX"))
        );
        let forget = json!({"cmd": "delWifi", "payload": {"ssid": "home"}});
        assert_eq!(ask(device, &forget).await["error"], false);
        add(device, "home", "wrong two").await;
        assert_eq!(complaints(60).await, 1);
        assert_eq!(ask(device, &forget).await["error"], false);
        add(device, "home", "secret12").await;
        assert_eq!(complaints(60).await, 0);
        assert_eq!((phone.ended(), air.joined()), (Some("dropped"), Some(11)));
    });
}

#[test]
fn a_network_that_says_nothing_costs_five_seconds_and_one_without_dhcp_eight() {
    let silent = OnAir {
        manners: Manners::Silent,
        ..HOME(-30)
    };
    let aloof = OnAir {
        manners: Manners::NoDhcp,
        ..network("aloof", "", -40, 13)
    };
    let air = Air::new(&[silent, aloof, SHED(-50)]);
    let known = [("home", "secret12"), ("shed", ""), ("aloof", "")];
    let net = Network::new();
    on_air(&air, &known, &net, async |device| {
        pause(30_000).await;
        let expected = [
            (0, "scan"),
            (2, "join home"),
            (7, "join aloof"),
            (16, "join shed"),
        ];
        assert_eq!(air.log(), expected.map(|(at, told)| (at, told.to_owned())));
        assert_eq!(
            warnings(device).await,
            [
                "Wi-Fi home: no answer in 5 s",
                "Wi-Fi aloof: no address in 8 s"
            ]
        );
    });
}

#[test]
fn a_network_that_lacks_its_password_is_another_one() {
    let air = Air::new(&[
        network("home", "", -40, 14),
        network("shed", "locked", -40, 15),
    ]);
    let known = [("home", "secret12"), ("shed", "")];
    let net = Network::new();
    on_air(&air, &known, &net, async |device| {
        pause(10_000).await;
        assert_eq!(air.told(), ["scan", "open smartmeterX"]);
        let mut said = warnings(device).await;
        said.sort();
        assert_eq!(
            said,
            [
                "Wi-Fi home: it wants no password",
                "Wi-Fi shed: it wants a password"
            ]
        );
    });
}

#[test]
fn who_is_connected_when_the_network_goes_is_disconnected_and_its_sampling_ends() {
    let air = Air::new(&[HOME(-61)]);
    let [one, two]: [Wire; 2] = wires();
    let net = Network::new();
    on_air(&air, &[("home", "secret12")], &net, async |device| {
        device.believed(&reading(&three_phases(0)));
        pause(5_000).await;
        net.connect(&one);
        net.connect(&two);
        one.send("{\"cmd\":\"sample\",\"payload\":{\"type\":\"TCP\",\"rate\":1}}\n");
        pause(1_000).await;
        assert!(device.wants_every());
        assert_eq!(info(device).await["state"], "busy");
        air.has(&[]);
        pause(1_000).await;
        assert_eq!(
            (one.ended(), two.ended()),
            (Some("dropped"), Some("dropped"))
        );
        assert!(!device.wants_every(), "it thinks that they are there");
        assert_eq!(info(device).await["state"], "idle");
        assert_eq!(
            warnings(device).await,
            ["Network Disconnected", "Stop sampling (Network disconnect)"]
        );
    });
}

#[test]
fn a_new_name_and_another_power_are_taken_up_at_the_next_look() {
    let air = Air::default();
    let [phone]: [Wire; 1] = wires();
    let net = Network::new();
    on_air(&air, &[], &net, async |device| {
        pause(1_000).await;
        assert_eq!(air.power(), Some(17));
        net.connect(&phone);
        phone.send("{\"cmd\":\"mdns\",\"payload\":{\"name\":\"meter\"}}\n");
        phone.send("{\"cmd\":\"settings\",\"payload\":{\"transmit_power\":8}}\n");
        pause(1_000).await;
        assert_eq!(air.access_point().as_deref(), Some("smartmeterX"));
        pause(30_000).await;
        assert_eq!(air.access_point().as_deref(), Some("meter"));
        assert_eq!((air.power(), phone.ended()), (Some(8), None));
        assert_eq!(info(device).await["name"], "meter");
    });
}

/// A setting of the device's, by command.
async fn set(device: &TheDevice<'_, '_>, name: &str, value: Json) {
    let line = json!({"cmd": "settings", "payload": {name: value}});
    assert_eq!(ask(device, &line).await["error"], false);
}

#[test]
fn when_power_comes_the_radio_stays_off_for_the_delay_and_all_else_goes_on() {
    let air = Air::new(&[HOME(-61)]);
    let net = Network::new();
    let known = [("home", "secret12")];
    started(Start::Power, &air, &known, &net, async |device| {
        let begun = Instant::now();
        pause(2_900).await;
        assert_eq!((air.on_since(), air.log().len()), (None, 0));
        assert_eq!(info(device).await["ip"], "");
        pause(200).await;
        let delay = Duration::from_secs(3);
        assert_eq!(air.on_since().map(|on| on - begun), Some(delay));
        pause(5_000).await;
        let expected = [(3, "scan"), (5, "join home")];
        assert_eq!(air.log(), expected.map(|(at, told)| (at, told.to_owned())));
        // A network that goes and comes is no reason to wait again.
        air.has(&[]);
        pause(1_000).await;
        air.has(&[HOME(-61)]);
        pause(6_000).await;
        assert_eq!(air.joined(), Some(11));
        assert_eq!(air.on_since().map(|on| on - begun), Some(delay));
    });
}

#[test]
fn the_delay_is_a_setting_and_a_restart_does_not_wait_for_it() {
    block_on_virtual(async {
        let air = Air::new(&[HOME(-61)]);
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let delay = async |start, from_flash: bool| {
            let device = TheDevice::open("x", || None, &store, &stats).await;
            if !from_flash {
                set(&device, "start_delay", json!(240)).await;
            }
            let begun = Instant::now();
            let mut radio = &air;
            let on = async {
                loop {
                    if let Some(on) = air.on_since() {
                        return on;
                    }
                    pause(10).await;
                }
            };
            let run = wifi::run(&device, &mut radio, start);
            match select(run, on).await {
                Either::First(never) => match never {},
                Either::Second(on) => (on - begun).as_secs(),
            }
        };
        assert_eq!(delay(Start::Power, false).await, 240);
        assert_eq!(delay(Start::Power, true).await, 240);
        assert_eq!(delay(Start::Restart, true).await, 0);
    });
}

#[test]
fn a_future_that_is_dropped_within_the_delay_leaves_the_radio_off() {
    block_on_virtual(async {
        let air = Air::new(&[HOME(-61)]);
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = TheDevice::open("x", || None, &store, &stats).await;
        for milliseconds in [0, 2_999, 3_001] {
            let mut radio = &air;
            let cut = Duration::from_millis(milliseconds);
            let run = wifi::run(&device, &mut radio, Start::Power);
            let _ = with_timeout(cut, run).await;
            assert_eq!(air.on_since(), None, "{milliseconds}");
        }
        assert_eq!(air.told(), ["open x", "close"]);
    });
}

#[test]
fn the_radio_sleeps_in_a_network_as_the_setting_says_and_never_as_access_point() {
    let air = Air::new(&[]);
    let net = Network::new();
    on_air(&air, &[], &net, async |device| {
        pause(100).await;
        assert!(air.access_point().is_some());
        assert_eq!(air.sleep(), Some(RadioSleep::None));
        air.has(&[HOME(-61)]);
        add(device, "home", "secret12").await;
        // At the next look: the access point stays awake while a network is looked for and joined.
        pause(32_500).await;
        assert_eq!(air.told(), ["open smartmeterX", "scan", "join home"]);
        assert_eq!(air.sleep(), Some(RadioSleep::None));
        pause(1_000).await;
        assert_eq!((air.joined(), air.access_point()), (Some(11), None));
        assert_eq!(air.sleep(), Some(RadioSleep::Modem), "the default");
        set(device, "radio_sleep", json!("none")).await;
        pause(11_000).await;
        assert_eq!(air.sleep(), Some(RadioSleep::None));
        set(device, "radio_sleep", json!("modem")).await;
        pause(11_000).await;
        assert_eq!(air.sleep(), Some(RadioSleep::Modem));
        // The network is gone, and the access point is open again.
        air.has(&[]);
        pause(5_000).await;
        assert!(air.access_point().is_some());
        assert_eq!(air.sleep(), Some(RadioSleep::None));
        pause(60_000).await;
        assert_eq!(air.sleep(), Some(RadioSleep::None));
    });
}

#[test]
fn a_future_that_is_dropped_at_any_moment_leaves_nothing_behind() {
    let silent = OnAir {
        manners: Manners::Silent,
        ..SHED(-20)
    };
    let air = Air::new(&[HOME(-61), silent]);
    let known = [("home", "secret12"), ("shed", "")];
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..8192).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = TheDevice::open("x", || None, &store, &stats).await;
        for (ssid, password) in known {
            add(&device, ssid, password).await;
        }
        let mut seen = Vec::new();
        for milliseconds in (0..14_000).step_by(250) {
            let mut radio = &air;
            let cut = Duration::from_millis(milliseconds);
            let _ = with_timeout(cut, wifi::run(&device, &mut radio, Start::Restart)).await;
            assert_eq!((air.joined(), air.access_point()), (None, None));
            seen.push(air.told().last().cloned());
        }
        let last = seen.last().cloned().flatten();
        assert_eq!(last.as_deref(), Some("join home"), "{seen:?}");
        // And it works after all that.
        let began = Instant::now();
        let mut radio = &air;
        let _ = with_timeout(Duration::from_secs(20), async {
            select(wifi::run(&device, &mut radio, Start::Restart), async {
                while info(&device).await["ssid"] != "home" {
                    pause(100).await;
                }
            })
            .await
        })
        .await
        .expect("it is in the network");
        assert_eq!(began.elapsed().as_secs(), 9);
    });
}
