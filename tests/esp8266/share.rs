//! Who has the receiver.

use embassy_time::Instant;
use metertrekker::soc::esp8266::share::{Owner, Share};

fn second(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn just_before(seconds: u64) -> Instant {
    Instant::from_ticks(second(seconds).as_ticks() - 1)
}

#[test]
fn the_console_has_it_for_ten_seconds_after_reset() {
    let mut share = Share::new(second(5));
    share.ask(true);
    assert_eq!(share.owner(second(5)), Owner::Console);
    assert_eq!(share.owner(just_before(15)), Owner::Console);
    assert_eq!(share.changes(second(5)), Some(second(15)));
    assert_eq!(share.owner(second(15)), Owner::P1);
    assert_eq!(share.changes(second(15)), None);
}

#[test]
fn who_types_has_it_for_another_minute() {
    let mut share = Share::new(second(0));
    share.ask(true);
    share.typed(second(9));
    assert_eq!(share.owner(just_before(69)), Owner::Console);
    share.typed(second(40));
    assert_eq!(share.changes(second(41)), Some(second(100)));
    assert_eq!(share.owner(just_before(100)), Owner::Console);
    assert_eq!(share.owner(second(100)), Owner::P1);
}

#[test]
fn the_meters_bytes_are_not_typed() {
    let mut share = Share::new(second(0));
    share.ask(true);
    share.typed(second(20));
    assert_eq!(share.owner(second(20)), Owner::P1);
}

#[test]
fn it_is_the_consoles_while_nothing_is_asked_for() {
    let mut share = Share::new(second(0));
    assert_eq!(share.owner(second(1_000)), Owner::Console);
    assert_eq!(share.changes(second(1_000)), None);
    share.ask(true);
    assert_eq!(share.owner(second(1_000)), Owner::P1);
    share.ask(false);
    assert_eq!(share.owner(second(1_001)), Owner::Console);
    share.typed(second(1_002));
    share.ask(true);
    assert_eq!(share.owner(just_before(1_062)), Owner::Console);
    assert_eq!(share.owner(second(1_062)), Owner::P1);
}

#[test]
fn a_byte_typed_early_takes_nothing_away() {
    let mut share = Share::new(second(100));
    share.ask(true);
    share.typed(second(0));
    assert_eq!(share.changes(second(100)), Some(second(110)));
}
