//! The meter task on the simulated meter's line.

use embassy_futures::{
    join::join,
    select::{Either, select},
};
use embassy_sync::mutex::Mutex;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use metertrekker::{
    app::{
        detection::{Detected, Detection},
        mailbox::Mailbox,
        meter::Meter,
        publisher::{Publisher, Room},
        stats::Stats,
    },
    p1::port::{LineSettings, Port},
    reading::Reading,
    settings::Settings,
    soc::host::{
        executor::{block_on, block_on_virtual},
        p1::SimulatedPort,
        simulator::{Kind, Simulator},
        time::VIRTUAL_EPOCH,
    },
};

use super::{
    link::{Fate, Network, Step, blank, settings},
    recorder::{Recorder, Told},
};

fn port(kind: Kind) -> SimulatedPort {
    SimulatedPort::new(Simulator::new(kind, 7, VIRTUAL_EPOCH as i64))
}

/// Runs the task for so long and returns when it gave readings, in ms.
fn run(kind: Kind, settings: &[(&str, &str)], time: Duration) -> (Vec<u64>, Stats, Recorder) {
    let (stats, told, mut all) = (Stats::new(), Recorder::default(), Settings::default());
    for (name, value) in settings {
        all.set(name, value).unwrap();
    }
    let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
    let mut readings = Vec::new();
    block_on_virtual(async {
        let mut port = port(kind);
        let mailbox = Mailbox::new(&mut one);
        let detection = Detection::new();
        detection.remember(Detected::default());
        let mut meter = Meter::new(&mut other, &all, &mailbox, &stats, &told, &detection);
        let consumer = async {
            while let Some(taken) = mailbox.take().await {
                readings.push(Instant::now().as_millis());
                taken.done();
            }
        };
        let both = join(meter.run(&mut port), consumer);
        match select(both, Timer::after(time)).await {
            Either::First(_) => panic!("the line has ended"),
            Either::Second(()) => {}
        }
    });
    (readings, stats, told)
}

#[test]
fn a_meter_at_115200_gives_a_reading_per_interval() {
    let (readings, stats, _) = run(Kind::Esmr50, &[], Duration::from_secs(100));
    assert!((6..=7).contains(&readings.len()), "{readings:?}");
    for pair in readings.windows(2) {
        let apart = pair[1] - pair[0];
        assert!((15_000..=16_200).contains(&apart), "{readings:?}");
    }
    assert_eq!(stats.timeouts.get(), 0);
    assert_eq!(stats.all_refused(), 0);
}

#[test]
fn every_telegram_of_interval_0_takes_its_time_on_the_line() {
    let settings = [("interval", "0")];
    let (readings, stats, _) = run(Kind::Esmr50, &settings, Duration::from_secs(60));
    assert!((58..=60).contains(&readings.len()), "{}", readings.len());
    // 8 to 16 hundred characters of ten bits at 115200.
    let late = readings[0] % 1_000;
    assert!((60..150).contains(&late), "{late}");
    assert_eq!(stats.accepted.get() as usize, readings.len());
}

#[test]
fn an_old_meter_is_found_by_trying_its_speed() {
    let (readings, stats, told) = run(Kind::Dsmr22, &[], Duration::from_secs(120));
    assert!(readings.len() >= 3, "{readings:?}");
    assert!((15_000..26_000).contains(&readings[0]), "{readings:?}");
    assert_eq!(stats.timeouts.get(), 1);
    let all = told.all();
    let (at, first) = &all[0];
    assert_eq!(*at, 15_000);
    let Told::NoTelegram { received, next, .. } = first else {
        panic!("{first:?}");
    };
    assert!(*received > 0, "garbage was received");
    assert_eq!(*next, LineSettings::DSMR2);
}

#[test]
fn with_the_wrong_settings_pinned_there_is_only_garbage() {
    let settings = [("line", "dsmr4")];
    let (readings, stats, _) = run(Kind::Dsmr22, &settings, Duration::from_secs(100));
    assert!(readings.is_empty(), "{readings:?}");
    assert_eq!(stats.timeouts.get(), 6);
}

#[test]
fn the_line_obeys_data_request_in_the_middle_of_a_telegram() {
    block_on_virtual(async {
        let mut port = port(Kind::Esmr50);
        let mut buffer = [0; 256];
        let second = Duration::from_secs(1);
        assert!(
            with_timeout(second * 20, port.read(&mut buffer))
                .await
                .is_err(),
            "it sends without being asked"
        );
        port.request(true);
        let mut received = 0;
        while received < 300 {
            let count = with_timeout(second * 2, port.read(&mut buffer)).await;
            received += count.unwrap().unwrap();
        }
        port.request(false);
        assert!(
            with_timeout(second * 20, port.read(&mut buffer))
                .await
                .is_err(),
            "it goes on after the release"
        );
        port.request(true);
        let count = with_timeout(second * 2, port.read(&mut buffer)).await;
        let count = count.unwrap().unwrap();
        assert_eq!(buffer[..count].first(), Some(&b'/'), "it begins anew");
    });
}

#[test]
fn the_meter_is_read_on_while_the_broker_is_away() {
    let away = Fate {
        connect: Step::Hangs,
        ..Fate::default()
    };
    let network = Network::default().fates([away; 30]);
    let (stats, told, settings) = (
        Stats::new(),
        Recorder::default(),
        settings(&[("interval", "0")]),
    );
    let (mut one, mut other) = (Box::new(Reading::new()), Box::new(Reading::new()));
    let mut room = Room::new();
    let mut store = block_on(blank());
    let store = Mutex::new(&mut store);
    block_on_virtual(async {
        let mut port = port(Kind::Esmr50);
        let mailbox = Mailbox::new(&mut one);
        let detection = Detection::new();
        let mut meter = Meter::new(&mut other, &settings, &mailbox, &stats, &told, &detection);
        let mut publisher = Publisher {
            network: &network,
            settings: &settings,
            name: "Metertrekker-test",
            mailbox: &mailbox,
            store: &store,
            detection: &detection,
            stats: &stats,
            monitor: &told,
            remote: &(),
            seed: 1,
        };
        let both = join(meter.run(&mut port), publisher.run(&mut room));
        select(both, Timer::after(Duration::from_secs(3_600))).await;
    });
    assert!(stats.accepted.get() >= 3_598, "{}", stats.accepted.get());
    assert_eq!(stats.connections.get(), 1);
    let (published, superseded) = (stats.published.get(), stats.superseded.get());
    assert!(
        published > 1_000 && superseded > 1_000,
        "{published}, {superseded}"
    );
    assert_eq!(published + superseded, stats.accepted.get());
    assert_eq!(stats.dropped(), superseded);
}
