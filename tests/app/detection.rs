//! What is found out of the port, and remembered across restarts.

use embassy_time::{Duration, Timer};
use metertrekker::{
    app::detection::Detected,
    p1::port::LineSettings,
    soc::host::executor::block_on,
    storage::{Key, Store},
};

use super::{
    link::{Flash, blank, opened},
    port::{Bench, Done, Line, Outcome},
    recorder::Told,
    telegrams::Telegram,
};

const NEW: LineSettings = LineSettings::DSMR4;
const OLD: LineSettings = LineSettings::DSMR2;

/// A telegram of an old meter, which has no clock, no version and no CRC.
fn bare(header: &str, wh: u32) -> Vec<u8> {
    let text = format!(
        "/{header}\r\n\r\n1-0:1.8.1({:09.3}*kWh)\r\n!",
        wh_in_kwh(wh)
    );
    format!("{text}\r\n").into_bytes()
}

/// The same with one.
fn checked(header: &str, wh: u32) -> Vec<u8> {
    let text = format!(
        "/{header}\r\n\r\n1-0:1.8.1({:09.3}*kWh)\r\n!",
        wh_in_kwh(wh)
    );
    let crc = crc::Crc::<u16>::new(&crc::CRC_16_ARC).checksum(text.as_bytes());
    format!("{text}{crc:04X}\r\n").into_bytes()
}

fn wh_in_kwh(wh: u32) -> f64 {
    f64::from(wh) / 1000.0
}

async fn pause(seconds: u64) {
    Timer::after(Duration::from_secs(seconds)).await;
}

fn every() -> Bench {
    Bench::new().set("interval", "0")
}

/// The line settings in their turn.
fn lines(outcome: &Outcome) -> Vec<LineSettings> {
    let log = outcome.log.iter();
    log.filter_map(|(_, done)| match done {
        Done::Set(line) => Some(*line),
        _ => None,
    })
    .collect()
}

/// The flash after the power was cut and came back.
fn restarted(store: Store<Flash>) -> Store<Flash> {
    block_on(opened(store.into_flash()))
}

/// A device that has read an old meter.
fn with_an_old_meter() -> Store<Flash> {
    let mut store = block_on(blank());
    let outcome = every().run_with(&mut store, async |line| {
        pause(20).await;
        line.send(&bare("KMP5 KA6U001", 1));
        pause(1).await;
    });
    assert_eq!(lines(&outcome), [NEW, OLD]);
    assert_eq!(outcome.values(), [1]);
    restarted(store)
}

/// A device that has read a meter with CRCs.
fn with_a_meter_that_prints_crcs() -> Store<Flash> {
    let mut store = block_on(blank());
    let outcome = every().run_with(&mut store, async |line| line.send(&checked("ABC5x", 1)));
    assert_eq!(outcome.values(), [1]);
    restarted(store)
}

fn refused(outcome: &Outcome) -> Vec<&'static str> {
    outcome.told.only(|told| match told {
        Told::Refused(reason) => Some(*reason),
        _ => None,
    })
}

#[test]
fn after_a_restart_the_line_settings_that_worked_are_tried_first() {
    let mut store = with_an_old_meter();
    let outcome = every().run_with(&mut store, async |line| {
        line.send(&bare("KMP5 KA6U001", 2));
        pause(1).await;
    });
    assert_eq!(lines(&outcome), [OLD]);
    assert_eq!(outcome.values(), [2]);
}

#[test]
fn remembered_line_settings_that_are_wrong_are_only_the_first_ones_tried() {
    let mut store = with_an_old_meter();
    let outcome = every().run_with(&mut store, async |line| {
        pause(20).await;
        line.send(&Telegram::new(2).bytes());
        pause(1).await;
    });
    assert_eq!(lines(&outcome), [OLD, NEW]);
    assert_eq!(outcome.values(), [2]);
    let mut store = restarted(store);
    let outcome = every().run_with(&mut store, async |_| pause(1).await);
    assert_eq!(lines(&outcome), [NEW]);
}

#[test]
fn pinned_line_settings_count_more_than_remembered_ones() {
    let mut store = with_an_old_meter();
    let pinned = every().set("line", "dsmr4");
    let outcome = pinned.run_with(&mut store, async |_| pause(60).await);
    assert_eq!(lines(&outcome), [NEW]);
}

#[test]
fn a_missing_crc_is_refused_after_a_restart_too() {
    let mut store = with_a_meter_that_prints_crcs();
    let outcome = every().run_with(&mut store, async |line| {
        line.send(&bare("ABC5x", 2));
        line.send(&checked("ABC5x", 3));
        line.send(&bare("ABC5x", 4));
    });
    assert_eq!(refused(&outcome), ["no_crc"; 2]);
    assert_eq!(outcome.values(), [3]);
}

#[test]
fn without_that_memory_it_would_be_accepted() {
    let outcome = every().run(async |line| line.send(&bare("ABC5x", 2)));
    assert_eq!(outcome.values(), [2]);
}

#[test]
fn another_meter_starts_anew() {
    let mut store = with_a_meter_that_prints_crcs();
    let outcome = every().run_with(&mut store, async |line| line.send(&bare("KMP5 KA6U001", 2)));
    assert_eq!(outcome.values(), [2]);
}

#[test]
fn a_pinned_crc_rule_counts_more_than_a_remembered_one() {
    let mut store = with_a_meter_that_prints_crcs();
    let pinned = every().set("crc", "optional");
    let outcome = pinned.run_with(&mut store, async |line| line.send(&bare("ABC5x", 2)));
    assert_eq!(outcome.values(), [2]);

    let mut store = with_an_old_meter();
    let pinned = every().set("crc", "required");
    let outcome = pinned.run_with(&mut store, async |line| {
        line.send(&bare("KMP5 KA6U001", 2));
        pause(1).await;
    });
    assert_eq!(refused(&outcome), ["no_crc"]);
    assert!(outcome.values().is_empty());
}

#[test]
fn a_meter_that_stops_printing_crcs_is_believed_after_ten_in_a_row() {
    let mut store = with_a_meter_that_prints_crcs();
    let script = async |line: &Line| {
        for wh in 2..=10 {
            line.send(&bare("ABC5x", wh));
        }
        // One more with a CRC, and it counts from the beginning.
        line.send(&checked("ABC5x", 11));
        for wh in 12..=22 {
            pause(1).await;
            line.send(&bare("ABC5x", wh));
        }
        // By then flash may be written again.
        pause(3600).await;
        line.send(&bare("ABC5x", 23));
        pause(1).await;
    };
    let outcome = every().run_with(&mut store, script);
    assert_eq!(outcome.values(), [11, 21, 22, 23]);
    let mut store = restarted(store);
    let outcome = every().run_with(&mut store, async |line| line.send(&bare("ABC5x", 24)));
    assert_eq!(outcome.values(), [24]);
}

#[test]
fn what_a_meter_dates_is_never_believed_without_crc() {
    let outcome = every().run(async |line| {
        let mut telegram = Telegram::new(1).bytes();
        telegram.truncate(telegram.len() - 6);
        telegram.extend(b"\r\n");
        for _ in 0..50 {
            line.send(&telegram);
            pause(1).await;
        }
    });
    assert_eq!(refused(&outcome), ["no_crc"; 50]);
}

#[test]
fn flash_is_written_once_for_a_meter_that_stays() {
    let mut store = with_a_meter_that_prints_crcs();
    let mut written = None;
    for restart in 1..10 {
        every().run_with(&mut store, async |line| {
            for n in 0..100 {
                line.send(&checked("ABC5x", 100 * restart + n));
                pause(60).await;
            }
        });
        let bytes = store.flash().bytes_written();
        assert_eq!(*written.get_or_insert(bytes), bytes);
        store = restarted(store);
    }
}

#[test]
fn two_meters_that_take_turns_wear_no_flash() {
    let mut store = block_on(blank());
    every().run_with(&mut store, async |line| {
        for n in 0..3 * 3600 {
            line.send(&checked("ABC5x", n));
            line.send(&checked("XYZ5y", n));
            pause(1).await;
        }
    });
    // At most once an hour, 12 bytes each, and the header of the sector once.
    let written = store.flash().bytes_written();
    assert!((12..=4 * 12 + 24).contains(&written), "{written}");
}

#[test]
fn what_another_version_has_found_out_is_nothing() {
    for value in [
        &b"\x07\x00\x00\x00"[..],
        b"",
        b"\x01",
        b"\x09\x01\x02\x03\x04",
    ] {
        let mut store = block_on(blank());
        block_on(store.put(Key::Detected, value)).unwrap();
        let outcome = every().run_with(&mut store, async |line| line.send(&bare("ABC5x", 1)));
        assert_eq!(lines(&outcome), [NEW], "{value:?}");
        assert_eq!(outcome.values(), [1], "{value:?}");
    }
}

#[test]
fn its_form_in_flash_stays() {
    for (detected, bytes) in [
        (Detected::default(), [0, 0, 0, 0]),
        (Detected::new(NEW, None), [0, 0, 0, 0]),
        (Detected::new(OLD, None), [1, 0, 0, 0]),
        (Detected::new(NEW, Some(0)), [0, 1, 0, 0]),
        (Detected::new(OLD, Some(0x1234)), [1, 1, 0x34, 0x12]),
    ] {
        assert_eq!(detected.to_bytes(), bytes);
        assert_eq!(Detected::from_bytes(&bytes), detected);
    }
}

#[test]
fn flash_that_fails_is_counted_and_harmless() {
    let mut store = block_on(blank());
    store.flash().set_broken(true);
    let outcome = every().run_with(&mut store, async |line| {
        for n in 0..100 {
            line.send(&checked("ABC5x", n));
            pause(1).await;
        }
    });
    assert_eq!(outcome.values().len(), 100);
    assert_eq!(outcome.stats.storage_errors.get(), 1);
}
