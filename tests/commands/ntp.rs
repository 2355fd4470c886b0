//! The device's clock, a time server that answers, misbehaves and goes, and the meter's clock beside it.

use embassy_futures::{
    join::join,
    select::{Either, select},
};
use embassy_time::{Instant, Timer};
use metertrekker::{
    app::{monitor::Monitor, ntp, stats::Stats},
    smartmeter::{
        answer::Whole,
        device::{Client, Peer},
        log::{Level, Listener},
    },
};

use super::{
    sessions::{TheDevice, with_device},
    telegrams::{reading, three_phases},
    time_server::{TimeServer, bad, good},
};

/// 2021-03-02 11:27:40 local time, which is also that of the telegram.
const EPOCH: u64 = 1_614_680_860_000;

/// Runs a device without a clock of its own beside `script`.
fn run(
    network: &TimeServer,
    script: impl AsyncFnOnce(&TheDevice<'_, '_>, &mut Listener<'_>, &Stats),
) {
    with_device(
        "x",
        || None,
        async |device, stats| {
            let mut listener = device.log.listen().unwrap();
            let script = script(device, &mut listener, stats);
            match select(ntp::run(device, network, 1), script).await {
                Either::First(never) => match never {},
                Either::Second(()) => {}
            }
        },
    );
}

/// What has been told since, without prefix.
fn told(listener: &mut Listener<'_>) -> Vec<String> {
    let next = || listener.try_next_message_pure();
    std::iter::from_fn(next)
        .map(|entry| entry.line()[5..].trim_end().to_owned())
        .collect()
}

async fn answer(device: &TheDevice<'_, '_>, line: &str) -> String {
    let mut answer = <Whole>::new();
    let mut client = Client::new(Peer::Console, Level::Info);
    device
        .answer_whole(line.as_bytes(), &mut client, &mut answer)
        .await;
    String::from_utf8(answer.json().to_vec()).unwrap()
}

#[test]
fn the_time_is_asked_for_at_once_and_every_two_minutes() {
    let network = TimeServer::new(EPOCH);
    run(&network, async |device, listener, stats| {
        assert_eq!(device.now(), None);
        Timer::after_millis(21).await;
        assert_eq!(device.now(), None);
        Timer::after_millis(2).await;
        assert_eq!(device.now().unwrap().0, EPOCH + 23);
        let synced = "[I]03/02 11:27:40: NTP synced with conf: 11";
        assert_eq!(told(listener), [synced]);
        network.answers(0);
        Timer::after_secs(120).await;
        assert_eq!(
            told(listener),
            ["[I]03/02 11:29:40: NTP synced with conf: 0"]
        );
        Timer::after_secs(361).await;
        assert_eq!(device.now().unwrap().0, EPOCH + Instant::now().as_millis());
        assert_eq!(network.asked(), [0, 120_000, 240_000, 360_000, 480_000]);
        assert_eq!(stats.times.get(), 5);
        assert_eq!(stats.failed_times.get(), 0);
        let mut requests = network.requests();
        requests.dedup();
        assert_eq!(requests.len(), 5, "each has its own cookie");
    });
}

#[test]
fn a_server_that_goes_is_complained_of_once_and_asked_every_thirty_seconds() {
    let network = TimeServer::new(EPOCH);
    network.is_silent();
    run(&network, async |device, listener, stats| {
        Timer::after_secs(100).await;
        assert_eq!(network.asked(), [0, 30_000, 60_000, 90_000]);
        assert_eq!(stats.failed_times.get(), 4);
        let complaint =
            "[W]01/01 01:00:00: No time from time.google.com: it does not answer within 200 ms";
        assert_eq!(told(listener), [complaint]);
        network.answers(198);
        Timer::after_secs(100).await;
        assert_eq!(network.asked(), [120_000]);
        assert_eq!(
            told(listener),
            ["[I]03/02 11:29:40: NTP synced with conf: 99"]
        );
        // What it was told goes on.
        network.does(|_, _| None);
        Timer::after_secs(200).await;
        assert_eq!(
            network.asked(),
            [240_000, 270_000, 300_000, 330_000, 360_000, 390_000]
        );
        let complaint = "[W]03/02 11:31:40: No time from time.google.com: it cannot be reached";
        assert_eq!(told(listener), [complaint]);
        assert_eq!(device.now().unwrap().0, EPOCH + 400_000);
    });
}

#[test]
fn what_is_no_reply_is_passed_over_and_what_is_a_bad_one_is_refused() {
    type Replies = fn(&[u8], u64) -> Vec<(u64, Vec<u8>)>;
    let cases: [(Replies, Option<&str>, u32); 9] = [
        // Of another request, and cut off: the right one comes behind.
        (
            |r, utc| {
                let stray = bad(r, utc, 24, &[7; 8]);
                vec![
                    (5, stray),
                    (6, good(r, utc)[..47].to_vec()),
                    (22, good(r, utc + 11)),
                ]
            },
            None,
            2,
        ),
        (
            |r, utc| vec![(5, bad(r, utc, 24, &[7; 8]))],
            Some("it does not answer within 200 ms"),
            1,
        ),
        (
            |r, utc| vec![(5, good(r, utc)[..47].to_vec())],
            Some("it does not answer within 200 ms"),
            1,
        ),
        // So many are no accident.
        (
            |_, _| vec![(0, Vec::new()); 1000],
            Some("it does not answer within 200 ms"),
            8,
        ),
        (
            |r, utc| vec![(201, good(r, utc))],
            Some("it does not answer within 200 ms"),
            0,
        ),
        (
            |r, utc| {
                vec![(
                    5,
                    bad(
                        r,
                        utc,
                        1,
                        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'I', b'N', b'I', b'T'],
                    ),
                )]
            },
            Some("it refuses, INIT"),
            0,
        ),
        (
            |r, utc| vec![(5, bad(r, utc, 1, &[16]))],
            Some("it does not know the time"),
            0,
        ),
        (
            |r, utc| vec![(5, bad(r, utc, 0, &[0xE4]))],
            Some("it does not know the time"),
            0,
        ),
        (
            |r, utc| vec![(5, bad(r, utc, 40, &[0x83, 0xAA, 0x7E, 0x80]))],
            Some("its time cannot be right"),
            0,
        ),
    ];
    for (number, (replies, complaint, strays)) in cases.into_iter().enumerate() {
        let network = TimeServer::new(EPOCH);
        network.does(move |request, utc| Some(replies(request, utc)));
        run(&network, async |device, listener, stats| {
            Timer::after_secs(29).await;
            let told = told(listener);
            assert_eq!(told.len(), 1, "{number} {told:?}");
            match complaint {
                Some(complaint) => {
                    assert!(told[0].starts_with("[W]"), "{number} {told:?}");
                    assert!(told[0].ends_with(complaint), "{number} {told:?}");
                    assert_eq!(device.now(), None, "{number}");
                }
                None => assert_eq!(device.now().unwrap().0, EPOCH + 29_000),
            }
            assert_eq!(stats.stray_times.get(), strays, "{number}");
            assert_eq!(network.asked(), [0]);
            Timer::after_secs(2).await;
            let again = if complaint.is_some() {
                &[30_000][..]
            } else {
                &[]
            };
            assert_eq!(network.asked(), *again, "{number}");
        });
    }
}

/// A kiss-o'-death of this code.
fn kiss(network: &TimeServer, code: &'static [u8; 4]) {
    network.does(move |request, utc| {
        let mut packet = bad(request, utc, 1, &[0]);
        packet[12..16].copy_from_slice(code);
        Some(vec![(5, packet)])
    });
}

#[test]
fn a_server_that_wants_fewer_requests_gets_fewer() {
    let network = TimeServer::new(EPOCH);
    kiss(&network, b"RATE");
    run(&network, async |_, listener, _| {
        Timer::after_secs(2_000).await;
        assert_eq!(network.asked(), [0, 240_000, 720_000, 1_680_000]);
        let told_of = told(listener);
        assert_eq!(told_of.len(), 1);
        assert!(told_of[0].ends_with("time.google.com: it refuses, RATE"));
        // It stays with what was asked for.
        network.answers(2);
        Timer::after_secs(4_000).await;
        assert_eq!(network.asked(), [3_600_000, 5_520_000]);
    });
}

#[test]
fn a_server_that_wants_no_requests_gets_none_until_somebody_insists() {
    for code in [b"DENY", b"RSTR"] {
        let network = TimeServer::new(EPOCH);
        kiss(&network, code);
        run(&network, async |device, _, _| {
            Timer::after_secs(1_000_000).await;
            assert_eq!(network.asked(), [0]);
            network.answers(2);
            let answer = answer(device, r#"{"cmd":"ntp"}"#).await;
            assert!(answer.contains(r#""msg":"Time synced""#), "{answer}");
            Timer::after_secs(121).await;
            assert_eq!(network.asked(), [1_000_000_000, 1_000_120_000]);
        });
    }
}

#[test]
fn a_name_that_does_not_resolve_is_tried_again() {
    for (name, tries) in [("nobody.test", 4), ("slow.test", 3)] {
        let network = TimeServer::new(EPOCH);
        run(&network, async |device, listener, stats| {
            Timer::after_secs(1).await;
            told(listener);
            network.asked();
            let line = format!(r#"{{"cmd":"timeServer","payload":{{"server":"{name}"}}}}"#);
            let answer = answer(device, &line).await;
            assert!(answer.starts_with(r#"{"error":false"#), "{answer}");
            Timer::after_secs(95).await;
            let told = told(listener);
            assert_eq!(told.len(), 1, "{told:?}");
            let complaint = format!("No time from {name}: its name does not resolve");
            assert!(told[0].ends_with(&complaint), "{told:?}");
            assert_eq!(stats.failed_times.get(), tries, "{name}");
            assert!(network.asked().is_empty());
        });
    }
}

#[test]
fn the_meter_sets_the_clock_until_the_server_does() {
    let network = TimeServer::new(EPOCH + 7_000);
    network.is_silent();
    run(&network, async |device, listener, _| {
        Timer::after_secs(1).await;
        device.believed(&reading(&three_phases(0)));
        assert_eq!(device.now().unwrap().0, EPOCH);
        Timer::after_millis(10_500).await;
        assert_eq!(device.now().unwrap().0, EPOCH + 10_500);
        told(listener);
        // The same telegram again: the meter's clock was set.
        device.believed(&reading(&three_phases(0)));
        assert_eq!(device.now().unwrap().0, EPOCH);
        assert_eq!(
            told(listener),
            ["[W]03/02 11:27:40: The clock was set back by 10 s"]
        );
        network.answers(0);
        Timer::after_secs(20).await;
        let told = told(listener);
        assert_eq!(
            told,
            [
                "[W]03/02 11:28:17: The clock was set forward by 18 s",
                "[I]03/02 11:28:17: NTP synced with conf: 0"
            ]
        );
        device.believed(&reading(&three_phases(0)));
        let now = device.now().unwrap().0;
        assert_eq!(now, EPOCH + 7_000 + Instant::now().as_millis());
    });
}

#[test]
fn who_asks_gets_an_answer_and_the_server_one_request_for_all_of_them() {
    let network = TimeServer::new(EPOCH);
    run(&network, async |device, listener, _| {
        Timer::after_secs(10).await;
        told(listener);
        network.asked();
        const NTP: &str = r#"{"cmd":"ntp"}"#;
        let (one, two) = join(answer(device, NTP), answer(device, NTP)).await;
        let expected = r#"{"error":false,"cmd":"ntp","msg":"Time synced","current_time":"03/02/2021 11:27:50.022"}"#;
        assert_eq!([one.as_str(), two.as_str()], [expected; 2]);
        for _ in 0..20 {
            answer(device, r#"{"cmd":"ntp","payload":{"bg":true}}"#).await;
            Timer::after_millis(100).await;
        }
        // One in each second, however often it is asked for.
        assert_eq!(network.asked(), [10_000, 11_022]);
        network.is_silent();
        Timer::after_secs(10).await;
        let began = Instant::now();
        let failed = answer(device, NTP).await;
        assert!(failed.starts_with(
            r#"{"error":true,"cmd":"ntp","msg":"Error syncing time","current_time":"#
        ));
        assert_eq!(began.elapsed().as_millis(), 200);
        told(listener);
        // Whoever asks wants to know why.
        Timer::after_secs(5).await;
        answer(device, NTP).await;
        let told = told(listener);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("[W]"));
    });
}

#[test]
fn another_server_is_asked_at_once_and_the_former_no_more() {
    let network = TimeServer::new(EPOCH);
    run(&network, async |device, listener, _| {
        Timer::after_secs(119).await;
        told(listener);
        network.asked();
        let line = r#"{"cmd":"timeServer","payload":{"server":"192.168.0.9","port":1123}}"#;
        let set = answer(device, line).await;
        assert_eq!(
            set,
            r#"{"error":false,"cmd":"timeServer","msg":"Set TimeServer address to: 192.168.0.9","time_server":"192.168.0.9"}"#
        );
        assert_eq!(
            told(listener),
            ["[I]03/02 11:29:39: NTP synced with conf: 11"]
        );
        Timer::after_secs(121).await;
        let at = "192.168.0.9:1123".parse().unwrap();
        assert_eq!(network.asked_whom(), [(119_000, at), (239_000, at)]);
        answer(
            device,
            r#"{"cmd":"settings","payload":{"time_server":"fd00::9","time_port":123}}"#,
        )
        .await;
        Timer::after_millis(100).await;
        let at = "[fd00::9]:123".parse().unwrap();
        assert_eq!(network.asked_whom(), [(240_022, at)]);
        // None at all.
        let none = answer(device, r#"{"cmd":"timeServer","payload":{"server":"-"}}"#).await;
        assert!(none.ends_with(r#""time_server":"-"}"#), "{none}");
        told(listener);
        let failed = answer(device, r#"{"cmd":"ntp"}"#).await;
        assert!(failed.starts_with(r#"{"error":true"#), "{failed}");
        assert!(told(listener)[0].ends_with("No time server is set"));
        Timer::after_secs(1_000).await;
        assert!(network.asked().is_empty());
    });
}

#[test]
fn a_start_that_is_near_waits_for_no_server() {
    // What the name does, when it is asked for (ms by the meter's clock), and for when (s).
    let cases = [
        ("slow.test", 0, 1, true),
        ("slow.test", 0, 2, true),
        ("slow.test", 400, 1, true),
        ("slow.test", 600, 1, false),
        ("slow.test", 0, 20, true),
        ("slow.test", 0, 25, false),
        // By the server's clock it is 7 s later.
        ("time.google.com", 0, 8, true),
        ("time.google.com", 0, 7, false),
        ("time.google.com", 0, 25, true),
    ];
    for (name, at, start, begins) in cases {
        let network = TimeServer::new(EPOCH + 5_800);
        network.is_silent();
        run(&network, async |device, _, _| {
            let line = format!(r#"{{"cmd":"settings","payload":{{"time_server":"{name}"}}}}"#);
            answer(device, &line).await;
            Timer::after_secs(1).await;
            network.answers(22);
            // From now on it is EPOCH.
            device.believed(&reading(&three_phases(0)));
            Timer::after_millis(at).await;
            let asked = Instant::now();
            let time = EPOCH / 1_000 + start;
            let order = answer(
                device,
                &format!(
                    r#"{{"cmd":"sample","payload":{{"type":"Serial","rate":10,"time":{time}}}}}"#
                ),
            )
            .await;
            let case = format!("{name} {at} {start} {order}");
            assert_eq!(order.contains(r#""error":false"#), begins, "{case}");
            assert!(asked.elapsed().as_millis() <= 2_000, "{case}");
        });
    }
}
