//! Settings and counts across power cuts.

use core::task::Poll;

use embassy_futures::{join::join, poll_once};
use embassy_sync::mutex::Mutex;
use embassy_time::Timer;
use metertrekker::{
    app::{monitor::Monitor, stats::Stats},
    settings::Settings,
    smartmeter::{
        answer::Whole,
        device::{Change, Client, Device, Peer},
        log::Level,
    },
    soc::host::{
        executor::block_on_virtual,
        ram_flash::{RamFlash, TornErase},
    },
    storage::Store,
    wifi::{NETWORKS, Password, Ssid},
};

use super::telegrams::{reading, three_phases};

/// Small sectors, so that they are moved often.
type Flash = RamFlash<1024, 3>;

/// What a user can set, one command after the other.
const COMMANDS: [&str; 13] = [
    r#"{"cmd":"mqttServer","payload":{"server":"broker.local"}}"#,
    r#"{"cmd":"settings","payload":{"interval":60,"root":"home/meter","mqtt_user":"me","mqtt_password":"secret"}}"#,
    r#"{"cmd":"calibration","cal":[1.1,1.2,1.3,1.4,1.5,1.6]}"#,
    r#"{"cmd":"dailyRestart","hour":4,"minute":30}"#,
    r#"{"cmd":"settings","payload":{"interval":15,"mqtt_server":"-"}}"#,
    r#"{"cmd":"timeServer","payload":{"server":"192.168.1.12","port":1123}}"#,
    r#"{"cmd":"addWifi","payload":{"ssid":"home","pwd":"secret12"}}"#,
    r#"{"cmd":"addWifi","payload":{"ssid":"guest","pwd":""}}"#,
    r#"{"cmd":"delWifi","payload":{"ssid":"home"}}"#,
    // In the place of the last one.
    r#"{"cmd":"addWifi","payload":{"ssid":"shed","pwd":"another secret"}}"#,
    r#"{"cmd":"mdns","payload":{"name":"meter-1"}}"#,
    r#"{"cmd":"basicReset"}"#,
    r#"{"cmd":"factoryReset"}"#,
];

/// What a client can see of the device.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    settings: Settings,
    /// Calibration, daily restart, name and networks stand in there.
    info: String,
    networks: Vec<Option<(Ssid, Password)>>,
}

/// Starts the device, sends `commands`, and shows what it is afterwards.
fn run(flash: Flash, commands: &[&str]) -> (Flash, Seen, Vec<String>) {
    run_until(flash, commands, None)
}

/// The same, and the power is cut once so many bytes have been written after the start.
fn run_until(flash: Flash, commands: &[&str], cut: Option<u64>) -> (Flash, Seen, Vec<String>) {
    block_on_virtual(async {
        let mut store = Store::open(flash, 0..3 * 1024).await.unwrap();
        let (seen, answers) = {
            let store = Mutex::new(&mut store);
            let stats = Stats::new();
            let device = Device::open("x", || Some(0), &store, &stats).await;
            if let Some(cut) = cut {
                store.lock().await.flash().cut_after(cut);
            }
            let mut client = Client::new(Peer::Console, Level::Info);
            let mut answers = Vec::new();
            for command in commands {
                let mut answer = <Whole>::new();
                device
                    .answer_whole(command.as_bytes(), &mut client, &mut answer)
                    .await;
                answers.push(String::from_utf8(answer.bytes().to_vec()).unwrap());
            }
            let mut info = <Whole>::new();
            let info_line = br#"{"cmd":"info"}"#;
            device.answer_whole(info_line, &mut client, &mut info).await;
            let info = String::from_utf8(info.bytes().to_vec()).unwrap();
            let mut networks = Vec::new();
            for place in 0..NETWORKS as u8 {
                networks.push(device.credentials(place));
            }
            (
                Seen {
                    settings: device.settings(),
                    info,
                    networks,
                },
                answers,
            )
        };
        (store.into_flash(), seen, answers)
    })
}

#[test]
fn what_is_written_in_another_way_means_the_same_after_a_restart() {
    let key = "00112233445566778899AABBCCDDEEFF";
    let command = format!(
        r#"{{"cmd":"settings","payload":{{"interval":11,"timeout":"+016","decryption_key":"{key}",
            "root":"a\/b","payload_unit":"true","interval":"020"}}}}"#
    );
    let (flash, seen, answers) = run(Flash::new(), &[&command]);
    assert!(answers[0].contains(r#""error":false"#), "{}", answers[0]);
    let settings = &seen.settings;
    let of = |name| settings.get(name).as_str().to_owned();
    // Of keys that come twice the last counts.
    assert_eq!((of("interval"), of("timeout")), ("20".into(), "16".into()));
    assert_eq!(of("decryption_key"), key.to_lowercase());
    assert_eq!(
        (of("root"), of("payload_unit")),
        ("a/b".into(), "true".into())
    );
    let (_, later, _) = run(flash, &[]);
    assert_eq!(later.settings, seen.settings);
}

#[test]
fn a_power_cut_leaves_all_that_a_command_sets_old_or_new_and_what_was_answered_stays() {
    let mut before = Flash::new();
    for command in COMMANDS {
        let (_, old, _) = run(before.clone(), &[]);
        let written = before.bytes_written();
        let (after, _, _) = run(before.clone(), &[command]);
        let (_, new, _) = run(after.clone(), &[]);
        assert_ne!(old, new, "{command}");
        for cut in 0..=after.bytes_written() - written {
            for torn in [TornErase::Forward, TornErase::Programmed, TornErase::Noise] {
                let mut flash = before.clone();
                flash.set_torn_erase(torn);
                let (mut flash, _, answers) = run_until(flash, &[command], Some(cut));
                flash.restore_power();
                let (flash, now, _) = run(flash, &[]);
                assert!([&old, &new].contains(&&now), "{command} {cut} {now:?}");
                if answers[0].contains(r#""error":false"#) {
                    assert_eq!(now, new, "{command} {cut}");
                }
                // What is set next has nothing to do with it.
                let other = r#"{"cmd":"settings","payload":{"gas_measurement":"methane"}}"#;
                let (flash, _, answers) = run(flash, &[other]);
                assert!(answers[0].contains(r#""error":false"#), "{answers:?}");
                let mut expected = now;
                expected.settings.set("gas_measurement", "methane").unwrap();
                let (_, now, _) = run(flash, &[]);
                assert_eq!(now, expected, "{command} {cut}");
            }
        }
        before = after;
    }
}

#[test]
fn flash_that_fails_under_way_leaves_all_as_it_was() {
    let (before, _, _) = run(Flash::new(), &COMMANDS[..3]);
    let (_, old, _) = run(before.clone(), &[]);
    let command = r#"{"cmd":"mqttServer","payload":{"server":"b","user":"u","pwd":"p","port":1}}"#;
    let (_, new, _) = run(before.clone(), &[command]);
    let mut refused = 0;
    for writes in 0..8 {
        let mut flash = before.clone();
        flash.fail_after(Some(writes));
        let (mut flash, now, answers) = run(flash, &[command]);
        let done = answers[0].contains(r#""error":false"#);
        let expected = if done { &new } else { &old };
        assert_eq!(now, *expected, "{writes}");
        refused += u32::from(!done);
        // Whoever gets another flash sees what was answered; what comes next counts alone.
        flash.fail_after(None);
        let (flash, now, _) = run(flash, &[]);
        assert_eq!(now, *expected, "{writes}");
        let (flash, _, _) = run(flash, &[r#"{"cmd":"dailyRestart","hour":1,"minute":2}"#]);
        let (_, now, _) = run(flash, &[]);
        assert_eq!(now.settings, expected.settings, "{writes}");
        assert!(now.info.contains("@01:02:00"));
    }
    assert_eq!(refused, 4, "a write for each of the four");
}

#[test]
fn what_equals_a_flag_is_stored_all_the_same() {
    for (command, key) in [
        (
            r#"{"cmd":"mqttServer","payload":{"server":"192.0.2.1"}}"#,
            "mqtt_server",
        ),
        (
            r#"{"cmd":"settings","payload":{"mqtt_server":"192.0.2.1"}}"#,
            "mqtt_server",
        ),
        (
            r#"{"cmd":"settings","payload":{"interval":60}}"#,
            "interval",
        ),
    ] {
        let flash = block_on_virtual(async {
            let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
            {
                let store = Mutex::new(&mut store);
                let stats = Stats::new();
                let device = Device::open("x", || Some(0), &store, &stats).await;
                device.adjust(|settings| {
                    settings.set("mqtt_server", "192.0.2.1").unwrap();
                    settings.set("interval", "60").unwrap();
                });
                let mut client = Client::new(Peer::Console, Level::Info);
                let mut answer = <Whole>::new();
                let line = command.as_bytes();
                device.answer_whole(line, &mut client, &mut answer).await;
                assert!(answer.bytes().starts_with(br#"Info:{"error":false"#));
                if command.contains("settings") {
                    let shown = format!(r#""settings":{{"{key}":"#);
                    let answer = str::from_utf8(answer.bytes()).unwrap();
                    assert!(answer.contains(&shown), "{answer}");
                }
            }
            store.into_flash()
        });
        let written = flash.bytes_written();
        let (flash, seen, _) = run(flash, &[]);
        let mut expected = Settings::default();
        let value = if key == "interval" { "60" } else { "192.0.2.1" };
        expected.set(key, value).unwrap();
        assert_eq!(seen.settings, expected, "{command}");
        // And the second time there is nothing to write.
        let (flash, _, _) = run(flash, &[command]);
        assert_eq!(flash.bytes_written(), written);
    }
}

#[test]
fn a_password_without_a_user_is_refused() {
    let alone = [
        r#"{"cmd":"mqttServer","payload":{"server":"192.0.2.2","pwd":"x"}}"#,
        r#"{"cmd":"settings","payload":{"mqtt_password":"x"}}"#,
        r#"{"cmd":"settings","payload":{"interval":60,"mqtt_password":"x","mqtt_user":""}}"#,
    ];
    let (flash, before, answers) = run(Flash::new(), &alone);
    for answer in answers {
        assert!(
            answer.contains("mqtt_password is set and mqtt_user is not: give both"),
            "{answer}"
        );
    }
    let (flash, now, _) = run(flash, &[]);
    assert_eq!(now, before);
    assert_eq!(now.settings, Settings::default());
    let both = [
        r#"{"cmd":"mqttServer","payload":{"server":"b","user":"me","pwd":"x"}}"#,
        r#"{"cmd":"mqttServer","payload":{"server":"b","user":""}}"#,
        r#"{"cmd":"mqttServer","payload":{"server":"b","pwd":"y"}}"#,
        r#"{"cmd":"mqttServer","payload":{"server":"b","user":"","pwd":""}}"#,
    ];
    let (_, _, answers) = run(flash, &both);
    let errors = answers
        .iter()
        .map(|answer| answer.contains(r#""error":true"#));
    assert!(errors.eq([false, true, false, false]), "{answers:?}");
}

#[test]
fn a_password_that_is_alone_already_keeps_nothing_else_from_being_set() {
    let flash = block_on_virtual(async {
        use metertrekker::storage::Key;
        let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
        store.put(Key::Setting(15), b"x").await.unwrap();
        store.into_flash()
    });
    let (_, seen, answers) = run(flash, &[r#"{"cmd":"settings","payload":{"interval":60}}"#]);
    assert!(answers[0].contains(r#""error":false"#), "{answers:?}");
    assert_eq!(seen.settings.interval, 60);
}

#[test]
fn a_device_whose_flash_fails_starts_over_all_the_same() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("x", || Some(0), &store, &stats).await;
        device.believed(&reading(&three_phases(0)));
        device.believed(&reading(&three_phases(40)));
        store.lock().await.flash().set_broken(true);
        let mut answer = <Whole>::new();
        let mut client = Client::new(Peer::Console, Level::Info);
        let line = br#"{"cmd":"restart"}"#;
        device.answer_whole(line, &mut client, &mut answer).await;
        assert_eq!(answer.bytes(), b"");
        assert_eq!(poll_once(device.changed()), Poll::Ready(Change::Restart));
        assert_eq!(stats.storage_errors.get(), 1);
    });
}

#[test]
fn flash_that_takes_no_writes_is_said_and_nothing_changes() {
    let (mut flash, old, _) = run(Flash::new(), &[]);
    flash.set_broken(true);
    let (_, now, answers) = run(
        flash,
        &[&COMMANDS[..4], &COMMANDS[6..8], &COMMANDS[10..11]].concat(),
    );
    assert_eq!(now, old);
    for answer in answers {
        assert!(answer.contains(r#""error":true"#), "{answer}");
        assert!(
            answer.contains("It cannot be stored, and nothing has changed"),
            "{answer}"
        );
    }
}

#[test]
fn two_clients_at_once_change_what_each_of_them_wants() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("x", || Some(0), &store, &stats).await;
        let client = Client::new(Peer::Console, Level::Info);
        let set = async |line: &str, error: &str| {
            let mut answer = <Whole>::new();
            device
                .answer_whole(line.as_bytes(), &mut client.clone(), &mut answer)
                .await;
            assert!(answer.bytes().starts_with(error.as_bytes()));
        };
        let (interval, timeout) = (
            r#"{"cmd":"settings","payload":{"interval":60}}"#,
            r#"{"cmd":"settings","payload":{"timeout":60}}"#,
        );
        // Nobody waits for whoever would keep the flash to himself.
        let busy = store.lock().await;
        set(interval, r#"Info:{"error":true"#).await;
        drop(busy);
        let done = r#"Info:{"error":false"#;
        join(set(interval, done), set(timeout, done)).await;
        let settings = device.settings();
        assert_eq!((settings.interval, settings.timeout), (60, 60));
    });
}

#[test]
fn energy_that_cannot_be_kept_is_not_reset() {
    block_on_virtual(async {
        let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
        let store = Mutex::new(&mut store);
        let stats = Stats::new();
        let device = Device::open("x", || Some(0), &store, &stats).await;
        device.believed(&reading(&three_phases(0)));
        device.believed(&reading(&three_phases(40)));
        store.lock().await.flash().set_broken(true);
        let mut answer = <Whole>::new();
        let mut client = Client::new(Peer::Console, Level::Info);
        let line = br#"{"cmd":"resetEnergy"}"#;
        device.answer_whole(line, &mut client, &mut answer).await;
        assert!(answer.bytes().starts_with(br#"Info:{"error":true"#));
        assert_eq!(energy(&device).await, 40_000);
        assert_eq!(stats.storage_errors.get(), 1);
        store.lock().await.flash().set_broken(false);
        answer.clear();
        device.answer_whole(line, &mut client, &mut answer).await;
        assert_eq!(energy(&device).await, 0);
    });
}

#[test]
fn settings_of_another_version_have_their_defaults_and_harm_nobody() {
    let (flash, settings) = block_on_virtual(async {
        use metertrekker::storage::Key;
        let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
        for (key, value) in [
            (Key::Setting(6), &b"9"[..]),
            (Key::Setting(1), b"\xff\xfe"),
            (Key::Setting(200), b"what comes later"),
            (Key::DailyRestart, b"\x18\x00"),
            (Key::Calibration, b"\x01\x02"),
            (Key::Energy, b"short"),
            (Key::Setting(13), b"8883"),
        ] {
            store.put(key, value).await.unwrap();
        }
        let mut settings = Settings::default();
        settings.set("mqtt_port", "8883").unwrap();
        (store.into_flash(), settings)
    });
    let (_, seen, _) = run(flash, &[]);
    assert_eq!(seen.settings, settings);
    assert!(
        seen.info
            .contains(r#""dailyReset":"None","calibration":[1,1,1,1,1,1]"#),
        "{}",
        seen.info
    );
}

/// Counts through starts that end in a power cut, in a restart, or go on; tariffs change all the time.
#[test]
fn energy_adds_up_to_the_registers_across_restarts_and_power_cuts() {
    block_on_virtual(async {
        let mut flash = Some(Flash::new());
        let mut gained = 0;
        for start in 0..12 {
            let mut store = Store::open(flash.take().unwrap(), 0..3 * 1024)
                .await
                .unwrap();
            {
                let store = Mutex::new(&mut store);
                let stats = Stats::new();
                let device = Device::open("x", || Some(0), &store, &stats).await;
                for _ in 0..50 {
                    device.believed(&reading(&three_phases(gained)));
                    Timer::after_secs(1).await;
                    gained += 7;
                }
                gained -= 7;
                assert_eq!(energy(&device).await, u64::from(gained) * 1000);
                // At the second start a cut comes before anything was kept.
                if start % 3 != 1 {
                    device.keep_energy().unwrap();
                }
            }
            flash = Some(store.into_flash());
            // Time goes by without power.
            gained += 1000;
        }
    });
}

/// The sum that a client gets, in mWh.
async fn energy<F: embedded_storage_async::nor_flash::NorFlash>(device: &Device<'_, '_, F>) -> u64 {
    let mut answer = <Whole>::new();
    let mut client = Client::new(Peer::Console, Level::Info);
    let line = br#"{"cmd":"getEnergy"}"#;
    device.answer_whole(line, &mut client, &mut answer).await;
    let json: serde_json::Value = serde_json::from_slice(answer.json()).unwrap();
    let phases = json["energy"].as_array().unwrap().iter();
    phases
        .map(|wh| (wh.as_f64().unwrap() * 1000.0).round() as u64)
        .sum()
}

#[test]
fn a_reset_forgets_what_was_found_out_of_the_port() {
    use metertrekker::storage::Key;
    for command in [r#"{"cmd":"basicReset"}"#, r#"{"cmd":"factoryReset"}"#] {
        let kept = |flash: Flash| {
            block_on_virtual(async {
                let mut store = Store::open(flash, 0..3 * 1024).await.unwrap();
                let mut buffer = [0; 4];
                let value = store.get(Key::Detected, &mut buffer).await.unwrap();
                value.map(<[u8]>::to_vec)
            })
        };
        let flash = block_on_virtual(async {
            let mut store = Store::open(Flash::new(), 0..3 * 1024).await.unwrap();
            store.put(Key::Detected, &[1, 1, 2, 3]).await.unwrap();
            store.into_flash()
        });
        let (flash, _, _) = run(flash, &[]);
        assert_eq!(kept(flash.clone()).as_deref(), Some(&[1, 1, 2, 3][..]));
        // It goes at the start that follows.
        let (flash, _, _) = run(flash, &[command]);
        let (flash, _, _) = run(flash, &[]);
        assert_eq!(kept(flash), None, "{command}");
    }
}
