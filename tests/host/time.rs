//! Real and virtual time under the executor.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration as StdDuration, Instant as StdInstant};

use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embassy_time::{Duration, Instant, Ticker, Timer, with_timeout};
use metertrekker::soc::host::executor::{block_on, block_on_clock, block_on_virtual};
use metertrekker::soc::host::time::{VIRTUAL_EPOCH, VirtualClock, advance, utc_now_seconds};

#[test]
fn a_real_timer_takes_its_time() {
    let start = StdInstant::now();
    block_on(Timer::after_millis(30));
    assert!(start.elapsed() >= StdDuration::from_millis(30));
    assert!(start.elapsed() < StdDuration::from_secs(5));
}

#[test]
fn the_future_may_borrow_and_return() {
    let words = ["telegram".to_owned()];
    let first = block_on(async {
        yield_now().await;
        &words[0]
    });
    assert_eq!(first, "telegram");
}

#[test]
fn executors_on_several_threads_wake_by_their_own_timers() {
    let threads: Vec<_> = (1..=4)
        .map(|n| {
            thread::spawn(move || {
                for round in 0..20 {
                    block_on(Timer::after_micros(n * 300 + round));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn another_thread_wakes_the_executor() {
    let (sender, receiver) = async_channel::bounded(1);
    let thread = thread::spawn(move || {
        thread::sleep(StdDuration::from_millis(20));
        sender.send_blocking(7).unwrap();
    });
    assert_eq!(block_on(receiver.recv()), Ok(7));
    thread.join().unwrap();
}

#[test]
fn an_alarm_left_behind_does_not_disturb_the_next_future() {
    for _ in 0..50 {
        block_on(async {
            let short = Timer::after_micros(50);
            let long = Timer::after_millis(2);
            assert!(matches!(select(short, long).await, Either::First(())));
        });
    }
    block_on(Timer::after_millis(5));
}

#[test]
fn one_block_on_may_stand_inside_another() {
    let sum = block_on(async {
        let inner = block_on(async {
            Timer::after_micros(100).await;
            1
        });
        Timer::after_micros(100).await;
        inner + 1
    });
    assert_eq!(sum, 2);
}

#[test]
fn a_panicking_future_leaves_the_thread_usable() {
    let panicked = std::panic::catch_unwind(|| {
        block_on(async {
            Timer::after_micros(10).await;
            panic!("expected by the test");
        })
    });
    assert!(panicked.is_err());
    block_on(Timer::after_micros(10));
}

#[test]
fn a_virtual_day_passes_at_once() {
    let start = StdInstant::now();
    block_on_virtual(async {
        assert_eq!(Instant::now(), Instant::from_ticks(0));
        let mut ticker = Ticker::every(Duration::from_secs(15));
        let mut order = Vec::new();
        join(
            async {
                for _ in 0..24 * 60 * 4 {
                    ticker.next().await;
                }
            },
            async {
                for minutes in [1, 2] {
                    Timer::at(Instant::from_secs(minutes * 60)).await;
                    order.push(Instant::now().as_secs());
                }
            },
        )
        .await;
        assert_eq!(order, [60, 120]);
        assert_eq!(Instant::now(), Instant::from_secs(86_400));
        assert_eq!(utc_now_seconds(), VIRTUAL_EPOCH + 86_400);
    });
    assert!(start.elapsed() < StdDuration::from_secs(5));
}

#[test]
fn virtual_time_outside_of_the_future_is_over() {
    block_on_virtual(Timer::after_secs(1_000_000));
    assert!(Instant::now() < Instant::from_secs(500_000));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(now.as_secs().abs_diff(utc_now_seconds()) <= 1);
}

#[test]
fn a_clock_advanced_by_another_thread_fires_the_alarms_due() {
    let clock = VirtualClock::new();
    let (told, when) = mpsc::channel();
    let thread = thread::spawn(move || {
        block_on_clock(clock, async {
            for _ in 0..2 {
                Timer::after_secs(15).await;
                told.send(Instant::now().as_secs()).unwrap();
            }
        });
    });
    clock.advance(Duration::from_secs(14));
    assert!(when.recv_timeout(StdDuration::from_millis(50)).is_err());
    // The thread may set its second alarm before or after the clock moves: the clock goes on until
    // both have fired.
    let mut fired = Vec::new();
    let started = StdInstant::now();
    while fired.len() < 2 {
        assert!(started.elapsed() < StdDuration::from_secs(10), "{fired:?}");
        clock.advance(Duration::from_secs(1));
        fired.extend(when.recv_timeout(StdDuration::from_millis(5)));
    }
    thread.join().unwrap();
    assert!(fired[0] >= 15 && fired[1] >= fired[0] + 15);
}

#[test]
fn the_future_may_advance_its_own_clock() {
    block_on_clock(VirtualClock::new(), async {
        let waiting = with_timeout(Duration::from_secs(20), Timer::after_secs(15));
        let script = async {
            yield_now().await;
            advance(Duration::from_secs(16));
        };
        assert!(join(waiting, script).await.0.is_ok());
    });
}

#[test]
#[should_panic(expected = "no alarm is set")]
fn waiting_for_nothing_in_virtual_time_is_reported() {
    block_on_virtual(core::future::pending::<()>());
}
