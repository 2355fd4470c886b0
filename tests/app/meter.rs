//! The meter task.

use embassy_time::{Duration, Timer};
use metertrekker::p1::{foreign::Protocol, port::LineSettings};

use super::{
    port::{Bench, Done, Line, obedient},
    recorder::Told,
    telegrams::Telegram,
};

async fn pause(milliseconds: u64) {
    Timer::after(Duration::from_millis(milliseconds)).await;
}

/// A meter that sends all the time, every second.
async fn streaming(line: &Line, count: u32) {
    for n in 1..=count {
        line.send(&Telegram::new(n).bytes());
        pause(1000).await;
    }
}

fn truncated(told: &[(u64, Told)]) -> usize {
    let told = told.iter();
    told.filter(|(_, told)| *told == Told::Refused("truncated"))
        .count()
}

#[test]
fn a_request_is_released_when_a_telegram_is_proved_and_comes_again_after_the_interval() {
    let outcome = Bench::new().run(async |line| obedient(line, 2, 3).await);
    let (on, off) = (Done::Asserted, Done::Released);
    assert_eq!(
        outcome.requests(),
        [
            (0, on),
            (2_000, off),
            (17_000, on),
            (19_000, off),
            (34_000, on),
            (36_000, off),
        ]
    );
    assert_eq!(outcome.readings, [(2_000, 1), (19_000, 2), (36_000, 3)]);
    assert_eq!(outcome.stats.timeouts.get(), 0);
}

#[test]
fn who_wants_every_telegram_gets_it_and_publishing_stays_at_the_interval() {
    let bench = Bench::new().curious_from(0);
    let outcome = bench.run(async |line| streaming(line, 40).await);
    assert_eq!(
        outcome.requests(),
        [(0, Done::Asserted), (40_000, Done::Released)]
    );
    assert_eq!(outcome.values(), [1, 16, 31]);
}

#[test]
fn who_begins_to_want_every_telegram_need_not_wait_for_the_interval() {
    let bench = Bench::new().set("interval", "3600").curious_from(60);
    let outcome = bench.run(async |line| obedient(line, 2, 20).await);
    let (on, off) = (Done::Asserted, Done::Released);
    assert_eq!(
        outcome.requests()[..3],
        [(0, on), (2_000, off), (60_000, on)]
    );
    assert_eq!(outcome.values(), [1]);
    assert_eq!(outcome.stats.accepted.get(), 20);
}

#[test]
fn a_telegram_is_taken_up_when_the_publisher_has_dealt_with_it_or_keeps_it_for_long() {
    for (holds, taken_up) in [(0, 0), (150, 150), (250, 200), (5_000, 200)] {
        let mut bench = Bench::new();
        bench.holds = Duration::from_millis(holds);
        let outcome = bench.run(async |line| {
            for n in 1..=2 {
                line.asserted().await;
                line.send(&Telegram::new(n).bytes());
                pause(1_000).await;
            }
        });
        assert_eq!(outcome.readings, [(0, 1), (15_000, 2)]);
        let expected = [(taken_up, 1), (15_000 + taken_up, 2)];
        assert_eq!(outcome.believed, expected, "{holds}");
    }
}

#[test]
fn a_telegram_that_is_not_published_is_taken_up_at_once() {
    let mut bench = Bench::new().curious_from(0);
    bench.holds = Duration::from_millis(100);
    let outcome = bench.run(async |line| streaming(line, 3).await);
    assert_eq!(outcome.values(), [1]);
    assert_eq!(outcome.believed, [(100, 1), (1_000, 2), (2_000, 3)]);
}

#[test]
fn a_telegram_that_no_publisher_waits_for_is_taken_up_at_once() {
    let mut bench = Bench::new();
    bench.comes = Duration::from_millis(100);
    let outcome = bench.run(async |line| {
        line.send(&Telegram::new(1).bytes());
        pause(1_000).await;
    });
    assert_eq!(outcome.readings, [(100, 1)]);
    assert_eq!(outcome.believed, [(0, 1)]);
}

#[test]
fn every_telegram_is_taken_up_in_its_order_also_the_last_one() {
    let mut bench = Bench::new().set("interval", "0");
    bench.holds = Duration::from_millis(100);
    let outcome = bench.run(async |line| {
        line.send(&Telegram::new(1).bytes());
        pause(10).await;
        line.send(&Telegram::new(2).bytes());
        pause(100).await;
        line.send(&Telegram::new(3).bytes());
        pause(10).await;
    });
    // The publisher was busy with the first when the second came, and the line ended behind the third.
    assert_eq!(outcome.believed, [(10, 1), (10, 2), (120, 3)]);
}

#[test]
fn a_bad_telegram_does_not_end_the_request() {
    let outcome = Bench::new().run(async |line| {
        let mut bad = Telegram::new(1).bytes();
        bad[100] ^= 1;
        line.send(&bad);
        pause(1000).await;
        assert!(line.is_asserted());
        line.send(&Telegram::new(2).bytes());
        pause(10).await;
        assert!(!line.is_asserted());
    });
    assert_eq!(outcome.values(), [2]);
    assert_eq!(outcome.stats.all_refused(), 1);
}

#[test]
fn interval_0_takes_every_telegram_and_keeps_the_request() {
    let bench = Bench::new().set("interval", "0");
    let outcome = bench.run(async |line| obedient(line, 1, 20).await);
    assert_eq!(outcome.values(), (1..=20).collect::<Vec<_>>());
    assert_eq!(outcome.requests().len(), 2, "{:?}", outcome.requests());
}

#[test]
fn of_a_meter_that_streams_one_reading_per_interval_is_published_and_all_are_proved() {
    let outcome = Bench::new().run(async |line| streaming(line, 40).await);
    assert_eq!(outcome.values(), [1, 16, 31]);
    assert_eq!(outcome.stats.accepted.get(), 40);
    assert_eq!(outcome.stats.superseded.get(), 0);
    assert_eq!(outcome.stats.timeouts.get(), 0);
}

#[test]
fn a_telegram_cut_by_the_release_is_survived() {
    let outcome = Bench::new().run(async |line| {
        let next = Telegram::new(2).bytes();
        // The meter has begun the next one by the time it sees the release.
        line.send(&[&Telegram::new(1).bytes()[..], &next[..200]].concat());
        line.asserted().await;
        pause(14_000).await;
        line.asserted().await;
        line.send(&Telegram::new(3).bytes());
        pause(10).await;
    });
    assert_eq!(outcome.values(), [1, 3]);
    assert_eq!(truncated(&outcome.told.all()), 1);
}

/// A board has one receiver, and its console gets it back between two intervals.
#[test]
fn a_telegram_cut_by_who_has_the_receiver_next_is_nobodys_fault() {
    let outcome = Bench::new().run(async |line| {
        let next = Telegram::new(2).bytes();
        line.send(&[&Telegram::new(1).bytes()[..], &next[..200]].concat());
        pause(10).await;
        line.take_receiver(true);
        pause(14_990).await;
        line.take_receiver(false);
        pause(2_000).await;
        line.send(&[&next[200..], &Telegram::new(3).bytes()[..]].concat());
        pause(10).await;
    });
    assert_eq!(outcome.values(), [1, 3]);
    assert_eq!(outcome.stats.all_refused(), 0);
}

#[test]
fn a_telegram_that_stops_is_given_up_after_a_second() {
    let outcome = Bench::new().run(async |line| {
        let telegram = Telegram::new(1).bytes();
        line.send(&telegram[..100]);
        pause(900).await;
        line.send(&telegram[100..200]);
        pause(5_000).await;
        line.send(&Telegram::new(2).bytes());
        pause(10).await;
    });
    let told = outcome.told.all();
    assert_eq!(told[0], (1_900, Told::Refused("truncated")));
    assert_eq!(outcome.stats.refused[3].get(), 1);
    assert_eq!(outcome.values(), [2]);
}

#[test]
fn without_telegrams_the_line_settings_take_turns_for_ever() {
    let outcome = Bench::new().run(async |line| {
        pause(1_000).await;
        line.send(b"\xFF\xFE\xFD");
        pause(86_400_000).await;
    });
    let set: Vec<_> = outcome
        .log
        .iter()
        .filter_map(|(at, done)| match done {
            Done::Set(line) => Some((*at, *line)),
            _ => None,
        })
        .collect();
    let (new, old) = (LineSettings::DSMR4, LineSettings::DSMR2);
    assert_eq!(
        set[..4],
        [(0, new), (15_000, old), (30_000, new), (45_000, old)]
    );
    assert_eq!(set.len(), 1 + 86_401 / 15);
    assert_eq!(outcome.stats.timeouts.get(), 86_401 / 15);
    assert_eq!(
        outcome.told.all()[0],
        (
            15_000,
            Told::NoTelegram {
                waited: 15,
                received: 3,
                line: new,
                next: old,
            }
        )
    );
    assert_eq!(outcome.requests()[0], (0, Done::Asserted));
}

#[test]
fn while_somebody_else_has_the_receiver_nothing_is_missed_and_no_speed_tried() {
    let outcome = Bench::new().run(async |line| {
        line.take_receiver(true);
        pause(100_300).await;
        line.take_receiver(false);
        // As long as ever, from now on: looked at once a second.
        pause(16_000).await;
        // And taken again within the wait: that begins anew.
        pause(10_000).await;
        line.take_receiver(true);
        pause(60_000).await;
        line.take_receiver(false);
        pause(14_000).await;
        line.send(&Telegram::new(1).bytes());
        pause(10).await;
    });
    let told = outcome.told.all();
    let (new, old) = (LineSettings::DSMR4, LineSettings::DSMR2);
    let timeout = Told::NoTelegram {
        waited: 15,
        received: 0,
        line: new,
        next: old,
    };
    assert_eq!(told, [(116_000, timeout), (200_300, Told::Accepted)]);
    let set = outcome.log.iter();
    let set = set.filter(|(_, done)| matches!(done, Done::Set(_)));
    let expected = [(0, Done::Set(new)), (116_000, Done::Set(old))];
    assert!(set.eq(&expected), "{:?}", outcome.log);
    assert_eq!(outcome.stats.timeouts.get(), 1);
}

#[test]
fn pinned_line_settings_stay() {
    let bench = Bench::new().set("line", "dsmr2").set("timeout", "20");
    let outcome = bench.run(async |_| pause(100_000).await);
    assert_eq!(outcome.stats.timeouts.get(), 5);
    let set: Vec<_> = outcome
        .log
        .iter()
        .filter(|(_, done)| matches!(done, Done::Set(_)))
        .collect();
    assert_eq!(set, [&(0, Done::Set(LineSettings::DSMR2))]);
}

#[test]
fn the_time_without_request_is_no_timeout() {
    let bench = Bench::new().set("interval", "3600");
    let outcome = bench.run(async |line| obedient(line, 1, 3).await);
    assert_eq!(outcome.stats.timeouts.get(), 0);
    assert_eq!(outcome.values(), [1, 2, 3]);
}

#[test]
fn a_port_that_fails_is_told_and_tried_again() {
    let outcome = Bench::new().set("interval", "0").run(async |line| {
        line.send(&Telegram::new(1).bytes());
        for _ in 0..60 {
            line.fail();
        }
        line.send(&Telegram::new(2).bytes());
        pause(120_000).await;
    });
    assert_eq!(outcome.values(), [1, 2]);
    assert_eq!(outcome.stats.port_errors.get(), 60);
    let told = outcome.told.only(|told| match told {
        Told::PortFailed(error) => Some(error.clone()),
        _ => None,
    });
    assert_eq!(told, vec!["unplugged"; 60]);
    // One attempt per second, not a busy loop.
    assert_eq!(outcome.readings[1].0, 60_000);
}

#[test]
fn a_source_that_waits_loses_nothing_to_a_slow_publisher() {
    let mut bench = Bench::new();
    bench.waits = true;
    bench.holds = Duration::from_secs(40);
    let outcome = bench.run(async |line| {
        let telegrams = (1..=20).flat_map(|n| Telegram::new(n).bytes());
        line.send(&telegrams.collect::<Vec<_>>());
    });
    assert_eq!(outcome.values(), (1..=20).collect::<Vec<_>>());
    let told = outcome
        .told
        .only(|told| (*told != Told::Accepted).then(|| told.clone()));
    assert!(told.is_empty(), "a slow publisher is no silent line");
    assert_eq!(outcome.stats.timeouts.get(), 0);
    assert_eq!(outcome.stats.dropped(), 0);
}

#[test]
fn a_slow_publisher_gets_the_newest_reading_and_the_others_are_counted() {
    let mut bench = Bench::new().set("interval", "0");
    bench.holds = Duration::from_millis(4_500);
    let outcome = bench.run(async |line| streaming(line, 20).await);
    let published = outcome.values();
    assert_eq!(published[0], 1);
    assert!(published.is_sorted());
    let superseded = outcome.stats.superseded.get();
    assert_eq!(published.len() + superseded as usize, 20);
    assert!(superseded > 10, "{superseded}");
}

#[test]
fn a_busy_publisher_costs_a_telegram_and_not_an_interval() {
    let mut bench = Bench::new();
    bench.holds = Duration::from_millis(17_500);
    let outcome = bench.run(async |line| streaming(line, 30).await);
    // The one due at 15 s finds the first still being published, as the two after it do.
    assert_eq!(outcome.readings[..2], [(0, 1), (18_000, 19)]);
    assert_eq!(outcome.stats.superseded.get(), 3);
}

#[test]
fn a_register_that_falls_costs_its_telegram_and_three_in_a_row_are_believed() {
    let bench = Bench::new().set("interval", "0");
    let outcome = bench.run(async |line| {
        for wh in [5_000, 4_000, 5_001, 4_000, 4_001, 4_002, 4_003] {
            line.send(&Telegram::new(wh).bytes());
            pause(1_000).await;
        }
    });
    assert_eq!(outcome.values(), [5_000, 5_001, 4_002, 4_003]);
    assert_eq!(outcome.stats.fallen_totals.get(), 3);
    assert_eq!(outcome.stats.accepted.get(), 7);
    assert_eq!(outcome.stats.dropped(), 3);
    let fell = outcome
        .told
        .only(|told| (*told == Told::TotalsFell).then_some(()));
    assert_eq!(fell.len(), 3);
}

#[test]
fn a_telegram_that_the_end_of_input_cuts_is_counted() {
    let outcome = Bench::new().run(async |line| line.send(&Telegram::new(1).bytes()[..99]));
    assert_eq!(truncated(&outcome.told.all()), 1);
    assert!(outcome.readings.is_empty());
}

#[test]
fn telegrams_of_any_fragmentation_give_the_same_readings() {
    let telegrams: Vec<u8> = (1..=3).flat_map(|n| Telegram::new(n).bytes()).collect();
    for size in [1, 2, 3, 7, 64, 255, 256, 257, 4096] {
        let mut bench = Bench::new();
        // Two telegrams of one chunk are one moment's; a line would take the newer one.
        bench.waits = true;
        let outcome = bench.run(async |line| {
            for piece in telegrams.chunks(size) {
                line.send(piece);
                pause(1).await;
            }
        });
        assert_eq!(outcome.values(), [1, 2, 3], "{size}");
    }
}

/// A frame of an encrypted port, and its key.
const FRAME: &[u8] = include_bytes!("../../fixtures/encrypted/lu.bin");
const KEY: &str = "73696d756c61746564206d6574657221";

#[test]
fn an_encrypted_port_is_told_now_and_then_and_counted_always() {
    for (key, reason) in [
        ("", "encrypted"),
        ("00000000000000000000000000000000", "key"),
    ] {
        let bench = Bench::new().set("decryption_key", key);
        let outcome = bench.run(async |line| {
            for _ in 0..125 {
                line.send(FRAME);
                pause(10_000).await;
            }
        });
        let told: Vec<u64> = outcome
            .told
            .all()
            .iter()
            .filter(|(_, told)| *told == Told::Refused(reason))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(told, [0, 600_000, 1_200_000], "{reason}");
        assert_eq!(outcome.stats.all_refused(), 125, "{reason}");
    }
}

#[test]
fn an_encrypted_port_is_read_with_its_key() {
    let bench = Bench::new().set("decryption_key", KEY);
    let outcome = bench.run(async |line| {
        for piece in FRAME.chunks(7) {
            line.send(piece);
            pause(1).await;
        }
    });
    assert_eq!(outcome.readings.len(), 1);
    assert_eq!(outcome.stats.all_refused(), 0);
}

#[test]
fn a_port_that_speaks_hdlc_or_mbus_is_named_beside_the_missing_telegram() {
    let hdlc = b"\x7E\xA0\x0C\x41\x08\x83\x13\x00\x2F\x02\x0A\x04\x05\x7E";
    let mbus = b"\x68\x05\x05\x68\x53\xFF\x00\x01\x67\xBA\x16";
    for (frame, protocol) in [(&hdlc[..], Protocol::Hdlc), (mbus, Protocol::MBus)] {
        let outcome = Bench::new().run(async |line| {
            for _ in 0..31 {
                line.send(frame);
                pause(2_500).await;
            }
            line.send(&Telegram::new(1).bytes());
            pause(60_000).await;
            line.send(b"noise");
            pause(60_000).await;
        });
        let told = outcome.told.all();
        let at: Vec<u64> = told
            .iter()
            .filter(|(_, told)| *told == Told::ForeignPort(protocol))
            .map(|(at, _)| *at)
            .collect();
        // From the second time on, and no more once a telegram has come.
        assert_eq!(at, [30_000, 45_000, 60_000, 75_000]);
    }
}
