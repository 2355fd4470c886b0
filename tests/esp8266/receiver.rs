//! The interrupt's way, from FIFO to reader, and what is done when it is not in time.

use std::cell::Cell;

use embassy_futures::select::select;
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::Write;
use metertrekker::{
    app::{
        detection::{Detected, Detection},
        mailbox::Mailbox,
        meter::Meter,
        monitor::Monitor,
        stats::Stats,
    },
    p1::port::{LineErrors, LineSettings, Port},
    reading::Reading,
    receiver::{CrcPolicy, Receiver},
    settings::Settings,
    soc::esp8266::uart::Wiring,
};
use ufmt::uWrite;

use super::{
    Bench, DSMR2, DSMR4, Signal, TERMINAL, at,
    chip::{CLKDIV, CONF0, FRAME, PARITY},
    moment,
};

const D1_MINI: Wiring = Wiring {
    inverted: true,
    swapped: false,
};

const SECOND: Duration = Duration::from_secs(1);

/// A script that begins when P1 has the receiver.
fn with_p1(line: LineSettings, script: impl AsyncFnOnce(&Bench<'_>)) {
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        port.set_line(line);
        port.request(true);
        at(10).await;
        script(bench).await;
    });
}

fn errors(bench: &Bench<'_>) -> LineErrors {
    bench.uart.p1().line_errors()
}

fn telegram(length: usize) -> Vec<u8> {
    (0..length).map(|n| b' ' + (n % 90) as u8).collect()
}

#[test]
fn bytes_come_in_their_order_however_long_a_telegram_is() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let mut all = Vec::new();
        let sent = telegram(3_500);
        for piece in sent.chunks(700) {
            bench.hear(3, DSMR4, piece);
            all.extend(bench.p1(Duration::from_millis(1)).await);
        }
        assert_eq!(all, sent);
        assert_eq!(bench.uart.received(), 3_500);
        assert_eq!(errors(bench), LineErrors::default());
    });
}

#[test]
fn the_last_bytes_come_by_silence() {
    with_p1(LineSettings::DSMR4, async |bench| {
        for byte in b"!ECDF\r\n" {
            bench.chip.hear(3, DSMR4, *byte);
        }
        assert!(!bench.chip.interrupts(), "too few to raise it");
        assert_eq!(bench.p1(SECOND).await, b"");
        bench.chip.fall_silent();
        assert!(bench.chip.interrupts());
        bench.interrupt();
        assert_eq!(bench.p1(SECOND).await, b"!ECDF\r\n");
    });
}

#[test]
fn a_reader_that_waits_is_woken() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let later = async {
            Timer::after(SECOND).await;
            bench.hear(3, DSMR4, b"/");
        };
        let mut port = bench.uart.p1();
        let mut buffer = [0; 8];
        let begun = Instant::now();
        let (read, ()) = embassy_futures::join::join(port.read(&mut buffer), later).await;
        assert_eq!((read, buffer[0]), (Ok(1), b'/'));
        assert_eq!(Instant::now() - begun, SECOND);
    });
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let mut port = bench.uart.p1();
        let mut buffer = [0; 8];
        select(port.read(&mut buffer), Timer::after(SECOND)).await;
        bench.hear(3, DSMR4, b"/X");
        assert_eq!(bench.p1(SECOND).await, b"/X");
    });
}

#[test]
fn interrupts_may_be_held_off_until_the_fifo_is_full() {
    with_p1(LineSettings::DSMR4, async |bench| {
        // All that a reader is promised: 96 bytes after the interrupt was raised.
        let sent = telegram(128);
        for byte in &sent {
            bench.chip.hear(3, DSMR4, *byte);
        }
        bench.interrupt();
        assert_eq!(bench.p1(SECOND).await, sent);
        assert_eq!(errors(bench), LineErrors::default());
    });
}

#[test]
fn a_fifo_that_runs_over_is_counted_and_its_gap_marked() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let sent = telegram(150);
        for byte in &sent {
            bench.chip.hear(3, DSMR4, *byte);
        }
        bench.interrupt();
        bench.hear(3, DSMR4, b"/next");
        let expected = [&sent[..128], b"\x1a/next"].concat();
        assert_eq!(bench.p1(SECOND).await, expected);
        assert_eq!(errors(bench).overrun, 1);
    });
}

#[test]
fn a_ring_that_runs_over_counts_each_byte_and_keeps_the_first() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let sent = telegram(1_100);
        bench.hear(3, DSMR4, &sent);
        assert_eq!(bench.p1(SECOND).await, &sent[..1_023]);
        assert_eq!(errors(bench).overrun, 77);
        bench.hear(3, DSMR4, b"/next");
        assert_eq!(bench.p1(SECOND).await, b"\x1a/next");
    });
}

#[test]
fn a_reader_may_be_away_for_as_long_as_is_promised() {
    with_p1(LineSettings::DSMR4, async |bench| {
        // 97 ms at 11.52 bytes a millisecond, the last 8.3 of them without interrupts.
        let sent = telegram(1_117);
        let (first, held_off) = sent.split_at(1_021);
        bench.hear(3, DSMR4, first);
        for byte in held_off {
            bench.chip.hear(3, DSMR4, *byte);
        }
        let begun = bench.p1(Duration::from_millis(1)).await;
        bench.interrupt();
        let all = [begun, bench.p1(SECOND).await].concat();
        assert_eq!(all, sent);
        assert_eq!(errors(bench), LineErrors::default());
    });
}

#[test]
fn damaged_characters_are_counted_by_kind() {
    with_p1(LineSettings::DSMR4, async |bench| {
        bench.chip.arrive(b'a', FRAME);
        bench.chip.fall_silent();
        bench.interrupt();
        bench.hear(3, DSMR4, b"b");
        // The CRC decides.
        assert_eq!(bench.p1(SECOND).await, b"ab");
        let expected = LineErrors {
            framing: 1,
            ..LineErrors::default()
        };
        assert_eq!(errors(bench), expected);
    });
    with_p1(LineSettings::DSMR2, async |bench| {
        bench.hear(3, DSMR2, b"00012");
        bench.chip.arrive(b'4', PARITY);
        bench.interrupt();
        bench.hear(3, DSMR2, b".5");
        assert_eq!(bench.p1(SECOND).await, b"00012\x1a.5");
        let expected = LineErrors {
            parity: 1,
            ..LineErrors::default()
        };
        assert_eq!(errors(bench), expected);
    });
}

/// What a telegram's receiver makes of bytes.
fn read(bytes: &[u8]) -> (bool, Option<String>) {
    let mut staged = Box::new(Reading::new());
    let mut receiver = Receiver::new(CrcPolicy::Auto, &mut staged);
    let mut bytes = bytes;
    let mut is_proved = false;
    while let Some(outcome) = receiver.next(&mut bytes, &mut |_: &[u8], _| {}) {
        is_proved |= outcome.is_ok();
    }
    while let Some(outcome) = receiver.silence(&mut |_: &[u8], _| {}) {
        is_proved |= outcome.is_ok();
    }
    let value = receiver.reading().values().next();
    let value = value.map(|value| format!("{} {:?}", value.metric.name, value.content));
    (is_proved, value)
}

#[test]
fn damage_in_a_telegram_without_crc_gives_no_wrong_value() {
    let sent = b"/KFM5KAIFA-METER\r\n\r\n1-0:1.8.1(00123.456*kWh)\r\n!\r\n";
    let (is_proved, right) = read(sent);
    assert!(is_proved && right.is_some());
    // Each character in turn is damaged, or lost while interrupts are held off.
    for place in 0..sent.len() {
        with_p1(LineSettings::DSMR2, async |bench| {
            bench.hear(3, DSMR2, &sent[..place]);
            bench.chip.arrive(sent[place] ^ 1, PARITY);
            bench.interrupt();
            bench.hear(3, DSMR2, &sent[place + 1..]);
            let (is_proved, value) = read(&bench.p1(SECOND).await);
            assert!(
                !is_proved || value.is_none() || value == right,
                "{place}: {value:?}"
            );
        });
    }
}

#[test]
fn a_receiver_that_goes_mad_holds_nobody_up() {
    with_p1(LineSettings::DSMR4, async |bench| {
        // Each look at the count finds bytes, for ever.
        bench.chip.go_mad();
        // SAFETY: nobody else has the receiver.
        #[allow(unsafe_code)]
        unsafe {
            bench.uart.on_interrupt();
        }
        bench.uart.turn();
        assert_eq!(bench.p1(SECOND).await, [0; 256]);
        assert_eq!(errors(bench), LineErrors::default());
    });
}

#[test]
fn the_meters_signals_are_not_what_somebody_typed() {
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        port.request(true);
        Timer::at(Instant::from_secs(5)).await;
        bench.hear(3, DSMR4, &telegram(400));
        assert_eq!(bench.console(SECOND).await, b"");
        // Typed, this would be the console's for a minute.
        at(10).await;
        assert_ne!(bench.chip.word(CONF0) & 1 << 19, 0);
        assert_eq!(errors(bench), LineErrors::default());
    });
}

#[test]
fn typing_keeps_the_receiver_and_releases_the_request() {
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        port.request(true);
        at(12).await;
        port.request(false);
        at(13).await;
        bench.hear(3, TERMINAL, b"x");
        moment().await;
        port.request(true);
        at(20).await;
        assert_eq!(bench.chip.word(CONF0) & 1 << 19, 0, "still the console's");
        bench.hear(3, TERMINAL, b"y");
        assert_eq!(bench.console(SECOND).await, b"xy");
        at(81).await;
        assert_ne!(bench.chip.word(CONF0) & 1 << 19, 0);
        let done = bench.request.0.borrow().clone();
        let expected = [
            (0, false),
            // Two milliseconds for the transmitter's last character.
            (10_002, true),
            (12_020, false),
            (80_022, true),
        ];
        assert_eq!(done, expected);
    });
}

#[test]
fn the_port_listens_while_p1_has_the_receiver() {
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        port.request(true);
        Timer::at(Instant::from_millis(9_999)).await;
        assert!(!port.is_listening());
        at(10).await;
        assert!(port.is_listening());
        port.request(false);
        moment().await;
        assert!(!port.is_listening());
    });
}

#[test]
fn who_types_for_minutes_makes_no_meter_missing() {
    let (mut staged, mut waiting) = (Box::new(Reading::new()), Box::new(Reading::new()));
    let (settings, stats) = (Settings::default(), Stats::new());
    let mailbox = Mailbox::new(&mut waiting);
    let detection = Detection::new();
    detection.remember(Detected::default());
    let mut meter = Meter::new(
        &mut staged,
        &settings,
        &mailbox,
        &stats,
        &Silent,
        &detection,
    );
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        let script = async {
            // Timeouts of 15 s pass, one after the other.
            for seconds in (9..=180).step_by(19) {
                at(seconds).await;
                bench.hear(3, TERMINAL, b"{");
                assert_eq!(bench.console(Duration::from_millis(1)).await, b"{");
            }
            at(239).await;
            assert!(!bench.uart.p1().is_listening());
            assert_eq!(stats.timeouts.get(), 0);
            at(241).await;
            assert!(bench.uart.p1().is_listening());
            assert_eq!(bench.chip.word(CLKDIV), 694, "at its first speed");
            // From here on a meter is missed.
            at(254).await;
            assert_eq!(stats.timeouts.get(), 0);
            at(257).await;
            assert_eq!(stats.timeouts.get(), 1);
            assert_eq!(bench.chip.word(CLKDIV), 8_333, "at the other speed");
        };
        select(meter.run(&mut port), script).await;
    });
}

/// Tells nobody.
struct Silent;

impl Monitor for Silent {}

#[test]
fn nothing_is_asked_for_before_somebody_does() {
    Bench::run(D1_MINI, async |bench| {
        at(100).await;
        assert_eq!(*bench.request.0.borrow(), [(0, false)]);
        assert_eq!(bench.chip.word(CLKDIV), 694);
    });
}

#[test]
fn what_is_being_sent_leaves_before_the_speed_changes() {
    Bench::run(D1_MINI, async |bench| {
        let mut port = bench.uart.p1();
        port.set_line(LineSettings::DSMR2);
        port.request(true);
        Timer::at(Instant::from_millis(9_999)).await;
        let mut console = bench.uart.console();
        assert_eq!(console.write(b"answer\r\n").await, Ok(8));
        at(11).await;
        assert_eq!(bench.chip.word(CLKDIV), 694, "the answer is on its way");
        assert!(bench.request.0.borrow().iter().all(|(_, on)| !on));
        // Nothing is put behind them.
        let written = select(console.write(b"more"), Timer::after(SECOND)).await;
        assert!(matches!(
            written,
            embassy_futures::select::Either::Second(())
        ));
        bench.chip.send(8);
        moment().await;
        assert_eq!(bench.chip.sent(), "answer\r\n");
        assert_eq!(bench.chip.word(CLKDIV), 8_333);
        assert_eq!(console.write(b"more").await, Ok(4));
    });
}

#[test]
fn an_answer_waits_for_room() {
    Bench::run(D1_MINI, async |bench| {
        let mut console = bench.uart.console();
        let answer = telegram(500);
        let send = async {
            loop {
                Timer::after(Duration::from_millis(1)).await;
                bench.chip.send(11);
            }
        };
        select(console.write_all(&answer), send).await;
        bench.chip.send(128);
        assert_eq!(bench.chip.sent().into_bytes(), answer);
    });
}

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A clock that goes on by 100 µs at each look.
fn ticking() -> Instant {
    NOW.set(NOW.get() + 100);
    Instant::from_micros(NOW.get())
}

#[test]
fn a_line_of_events_keeps_nobody_waiting() {
    Bench::run(D1_MINI, async |bench| {
        let mut log = bench.uart.log(ticking);
        assert_eq!(log.write_str("accepted 35 crc\n"), Ok(()));
        bench.chip.send(128);
        assert_eq!(bench.chip.sent(), "accepted 35 crc\r\n");
        // The transmitter stands still: what there is room for is sent, and the line's end with it.
        let begun = NOW.get();
        let long = "x".repeat(300);
        assert_eq!(log.write_str(&long), Ok(()));
        assert_eq!(log.write_str("y\n"), Ok(()));
        // Others in the same turn are left out, without another wait, and nothing is left of them.
        for _ in 0..100 {
            assert_eq!(log.write_str("refused too_long 2112\n"), Ok(()));
        }
        let waited = NOW.get() - begun - 100 * 100;
        assert!(waited < 5_000, "{waited} us");
        bench.chip.send(128);
        assert_eq!(bench.chip.sent(), format!("{}\r\n", "x".repeat(126)));
        // The next turn has its own patience.
        bench.uart.turn();
        assert_eq!(log.write_str("next\n"), Ok(()));
        let begun = NOW.get();
        assert_eq!(log.write_str(&long), Ok(()));
        assert!(NOW.get() - begun > 3_000, "{} us", NOW.get() - begun);
        assert_eq!(log.write_str("\n"), Ok(()));
        bench.chip.send(128);
        assert!(bench.chip.sent().starts_with("next\r\nxxx"));
    });
}

#[test]
fn a_line_of_events_waits_for_no_other_speed() {
    with_p1(LineSettings::DSMR4, async |bench| {
        let mut log = bench.uart.log(ticking);
        assert_eq!(log.write_str("accepted 35 crc\n"), Ok(()));
        // As long as that has not been sent the speed stays, and nothing is taken.
        bench.uart.p1().set_line(LineSettings::DSMR2);
        moment().await;
        let begun = NOW.get();
        assert_eq!(log.write_str("fell\n"), Ok(()));
        assert!(NOW.get() - begun <= 200, "{} us", NOW.get() - begun);
        bench.chip.send(128);
        assert_eq!(bench.chip.sent(), "accepted 35 crc\r\n");
    });
}

#[test]
fn other_speeds_are_what_they_are_called() {
    with_p1(LineSettings::DSMR4, async |bench| {
        for baud in [300, 2_400, 57_600, 230_400] {
            let mut port = bench.uart.p1();
            port.set_line(LineSettings {
                baud,
                ..LineSettings::DSMR4
            });
            moment().await;
            let signal = Signal { baud, ..DSMR4 };
            bench.hear(3, signal, b"/");
            assert_eq!(bench.p1(SECOND).await, b"/", "{baud}");
        }
    });
}
