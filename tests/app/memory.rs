//! What the publisher need not say again.

use std::slice::from_ref;

use metertrekker::{
    app::detection::Detected, p1::port::LineSettings, settings::Settings,
    soc::host::executor::block_on, storage::Store,
};

use super::{
    link::{End, Feed, Flash, Network, Outcome, blank, opened, pause, publish, settings},
    telegrams::Telegram,
};

const INFLUX: &str = "pwutseltronics/influx/metertrekker";
const GAS: &str = "pwutseltronics/energy/gas/reading";
const MESSAGE: &str = "pwutseltronics/energy/mains/message";

/// Offers the telegrams, 15 s apart, and cuts the power then.
fn run(network: &Network, store: &mut Store<Flash>, telegrams: &[Telegram]) -> Outcome {
    let settings: Settings = settings(&[]);
    publish(
        network,
        &settings,
        store,
        End::Cut,
        async |feed: &Feed<'_, '_>| {
            pause(1_000).await;
            for telegram in telegrams {
                feed.offer(telegram);
                pause(15_000).await;
            }
        },
    )
}

/// The gas lines' stamps.
fn gas(network: &Network) -> Vec<String> {
    let lines = network.payloads(INFLUX).into_iter();
    lines
        .filter(|line| line.starts_with("gas,"))
        .map(|line| line.split('"').nth(1).unwrap().to_owned())
        .collect()
}

/// The electricity lines' message columns.
fn messages(network: &Network) -> Vec<Option<String>> {
    let lines = network.payloads(INFLUX).into_iter();
    lines
        .filter(|line| line.starts_with("electricity,"))
        .map(|line| {
            let (_, rest) = line.split_once("message=\"")?;
            Some(rest.split('"').next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn gas_is_published_when_its_stamp_is_newer() {
    let network = Network::default();
    let mut store = block_on(blank());
    let telegrams: Vec<_> = [
        "260115180000W",
        "260115180000W",
        "260115190000W",
        // Older, as from a channel that came late, then the newest once more.
        "260115180000W",
        "260115190000W",
        "260115200000W",
    ]
    .iter()
    .zip(1..)
    .map(|(stamp, n)| Telegram::new(n).gas(stamp, n))
    .collect();
    run(&network, &mut store, &telegrams);
    let newer = ["260115180000W", "260115190000W", "260115200000W"];
    assert_eq!(gas(&network), newer);
    assert_eq!(network.payloads(GAS), ["0.001", "0.003", "0.006"]);
}

#[test]
fn the_hour_that_comes_twice_in_autumn_is_newer_the_second_time() {
    let network = Network::default();
    let mut store = block_on(blank());
    let stamps = [
        "251026015000S",
        "251026025000S",
        "251026020000W",
        "251026030000W",
    ];
    let telegrams = stamps.iter().zip(1..);
    let telegrams: Vec<_> = telegrams
        .map(|(stamp, n)| Telegram::new(n).gas(stamp, n))
        .collect();
    run(&network, &mut store, &telegrams);
    assert_eq!(gas(&network), stamps);
}

#[test]
fn a_text_is_published_when_it_changes_and_an_empty_one_at_first_is_no_column() {
    let network = Network::default();
    let mut store = block_on(blank());
    let telegrams = ["", "", "hello", "hello", "", ""].iter().zip(1..);
    let telegrams: Vec<_> = telegrams
        .map(|(text, n)| Telegram::new(n).message(text))
        .collect();
    run(&network, &mut store, &telegrams);
    let some = |text: &str| Some(text.to_owned());
    let columns = [None, None, some("hello"), None, some(""), None];
    assert_eq!(messages(&network), columns);
    // Each topic once on a new session, the empty one too.
    assert_eq!(network.payloads(MESSAGE), ["", "hello", ""]);
}

#[test]
fn on_a_new_connection_every_topic_is_published_once_and_no_line_again() {
    let network = Network::default();
    let mut store = block_on(blank());
    let telegram = Telegram::new(1).message("hello");
    publish(
        &network,
        &settings(&[]),
        &mut store,
        End::Cut,
        async |feed| {
            for n in 0..6 {
                if n == 3 {
                    network.hang_up();
                    pause(5_000).await;
                }
                feed.offer(&telegram);
                pause(15_000).await;
            }
        },
    );
    assert_eq!(network.payloads(GAS), ["1.000"; 2]);
    assert_eq!(network.payloads(MESSAGE), ["hello"; 2]);
    assert_eq!(gas(&network).len(), 1);
    assert_eq!(messages(&network).iter().flatten().count(), 1);
}

#[test]
fn a_restart_forgets_nothing_and_flash_is_written_for_news_only() {
    let mut store = block_on(blank());
    let telegram = Telegram::new(1).message("hello");
    run(&Network::default(), &mut store, from_ref(&telegram));
    let written = store.flash().bytes_written();
    assert!(written > 0);

    for restart in 0..20 {
        store = block_on(opened(store.into_flash()));
        let network = Network::default();
        // The clock and the registers of the meter go on.
        let telegrams = (0..10).map(|n| Telegram {
            wh: 10 * restart + n,
            ..telegram.clone()
        });
        run(&network, &mut store, &telegrams.collect::<Vec<_>>());
        assert!(gas(&network).is_empty());
        assert_eq!(messages(&network), vec![None; 10]);
        // The broker may be another one.
        assert_eq!(network.payloads(GAS), ["1.000"]);
        assert_eq!(network.payloads(MESSAGE), ["hello"]);
    }
    assert_eq!(store.flash().bytes_written(), written);

    store = block_on(opened(store.into_flash()));
    let network = Network::default();
    run(&network, &mut store, &[telegram.gas("260115190000W", 2)]);
    assert_eq!(gas(&network), ["260115190000W"]);
    // One stamp: a record of two words and its value.
    assert_eq!(store.flash().bytes_written(), written + 12);
}

#[test]
fn what_was_found_out_of_the_port_survives_a_restart_and_is_written_once() {
    let mut store = block_on(blank());
    let found = Detected::new(LineSettings::DSMR2, Some(0x1234));
    let settings = settings(&[]);
    let mut written = None;
    for start in 0..3 {
        let script = async |feed: &Feed<'_, '_>| {
            let recalled = feed.detection.recalled().await;
            let expected = if start == 0 {
                Detected::default()
            } else {
                found
            };
            assert_eq!(recalled, expected, "start {start}");
            feed.detection.note(found);
            for n in 1..4 {
                feed.offer(&Telegram::new(n));
                pause(15_000).await;
            }
        };
        publish(&Network::default(), &settings, &mut store, End::Cut, script);
        let bytes = store.flash().bytes_written();
        assert_eq!(*written.get_or_insert(bytes), bytes);
        store = block_on(opened(store.into_flash()));
    }
}

#[test]
fn stamps_that_go_back_and_forth_do_not_wear_the_flash() {
    let mut store = block_on(blank());
    let [new, old] = ["260115190000W", "260115180000W"].map(|at| Telegram::new(1).gas(at, 1));
    run(&Network::default(), &mut store, from_ref(&new));
    let written = store.flash().bytes_written();
    let network = Network::default();
    let both: Vec<_> = [old, new].into_iter().cycle().take(40).collect();
    run(&network, &mut store, &both);
    assert_eq!(store.flash().bytes_written(), written);
    assert!(gas(&network).is_empty());
}

#[test]
fn what_the_broker_has_not_acknowledged_is_not_kept() {
    let mut store = block_on(blank());
    let network = Network::default();
    network.manners(|manners| manners.acks = super::broker::Acks::Never);
    run(&network, &mut store, &[Telegram::new(1)]);
    assert_eq!(store.flash().bytes_written(), 0);
    let network = Network::default();
    run(&network, &mut store, &[Telegram::new(1)]);
    assert_eq!(gas(&network), ["260115180000W"]);
}

#[test]
fn flash_that_fails_is_counted_and_harmless() {
    let mut store = block_on(blank());
    run(&Network::default(), &mut store, &[Telegram::new(1)]);
    let telegrams: Vec<_> = (1..=5).map(|n| Telegram::new(n).message("hello")).collect();
    // Writing fails, then reading too.
    for power in [None, Some(0)] {
        store.flash().set_broken(true);
        if let Some(power) = power {
            store.flash().cut_after(power);
        }
        let network = Network::default();
        let outcome = run(&network, &mut store, &telegrams);
        let errors = outcome.stats.storage_errors.get();
        // Each value once, not with every telegram.
        assert!((1..10).contains(&errors), "{errors}");
        assert_eq!(outcome.stats.published.get(), 5);
        assert_eq!(gas(&network).len(), usize::from(power.is_some()));
        assert_eq!(messages(&network).iter().flatten().count(), 1);
    }
}
