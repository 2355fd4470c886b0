//! What the LED shows.

use embassy_futures::select::select;
use embassy_time::{Duration, Instant, Timer};
use metertrekker::{
    app::monitor::Monitor,
    p1::port::LineSettings,
    soc::{
        esp8266::led::{State, Watch},
        host::executor::block_on_virtual,
    },
};

use crate::Pin;

const STATES: [State; 4] = [
    State::Searching,
    State::NoBroker,
    State::NoTelegram,
    State::Well,
];

/// A sign for each 25 ms of four seconds.
fn shown(state: State) -> String {
    let lit = |step: u64| state.is_lit(Instant::from_millis(1_000_000_000 + step * 25));
    (0..160)
        .map(|step| if lit(step) { '#' } else { '.' })
        .collect()
}

#[test]
fn each_state_has_its_pattern() {
    let flash = "####........";
    let dark = |steps: usize| ".".repeat(steps);
    for (state, expected) in [
        (State::Searching, "#####.....".repeat(16)),
        (
            State::NoBroker,
            format!("{}{}", flash.repeat(2), dark(56)).repeat(2),
        ),
        (
            State::NoTelegram,
            format!("{}{}", flash.repeat(3), dark(44)).repeat(2),
        ),
        (State::Well, format!("{flash}{}", dark(148))),
    ] {
        assert_eq!(shown(state), expected, "{state:?}");
    }
}

#[test]
fn a_change_is_foretold_and_none_is_left_out() {
    for state in STATES {
        let mut now = Instant::from_millis(1_000_000_007);
        for _ in 0..50 {
            let next = state.changes(now);
            assert!(next > now, "{state:?}");
            let mut between = now;
            while between < next {
                assert_eq!(
                    state.is_lit(between),
                    state.is_lit(now),
                    "{state:?} {between}"
                );
                between += Duration::from_millis(1);
            }
            now = next;
        }
    }
}

#[test]
fn the_first_that_is_wrong_is_shown() {
    for telegrams in [false, true] {
        for connected in [false, true] {
            assert_eq!(State::of(false, connected, telegrams), State::Searching);
        }
        assert_eq!(State::of(true, false, telegrams), State::NoBroker);
    }
    assert_eq!(State::of(true, true, false), State::NoTelegram);
    assert_eq!(State::of(true, true, true), State::Well);
}

#[test]
fn it_follows_the_events() {
    let watch = Watch::new();
    assert_eq!(watch.state(true), State::NoBroker);
    watch.connected("broker", Duration::from_secs(1));
    assert_eq!(watch.state(true), State::NoTelegram);
    let reading = metertrekker::reading::Reading::new();
    watch.accepted(&reading, metertrekker::receiver::Proof::Crc);
    assert_eq!(watch.state(true), State::Well);
    assert_eq!(watch.state(false), State::Searching);
    watch.no_telegram(
        Duration::from_secs(15),
        0,
        LineSettings::DSMR4,
        LineSettings::DSMR2,
    );
    assert_eq!(watch.state(true), State::NoTelegram);
}

#[test]
fn the_pin_shows_it() {
    let pin = Pin::default();
    let watch = Watch::new();
    block_on_virtual(async {
        let mut led = &pin;
        let shown = watch.show(|| Instant::now() >= Instant::from_secs(1), &mut led);
        select(shown, Timer::at(Instant::from_millis(2_900))).await;
    });
    let done: Vec<u64> = pin.0.borrow().iter().map(|(at, _)| *at).collect();
    let searching = [0, 125, 250, 375, 500, 625, 750, 875];
    let no_broker = [2_000, 2_100, 2_300, 2_400];
    assert_eq!(done, [&searching[..], &no_broker].concat());
    assert!(
        pin.0
            .borrow()
            .iter()
            .enumerate()
            .all(|(n, (_, on))| *on == (n % 2 == 0))
    );
}
