//! Every board's file, on the model: which values are written, and which line is heard.

use std::path::Path;

use embassy_time::Duration;
use metertrekker::{
    p1::port::{LineSettings, Port},
    soc::esp8266::uart::Wiring,
};

use super::{
    Bench, DSMR2, DSMR4, Signal, TERMINAL, at,
    board::{self, Board},
    chip::{CLKDIV, CONF0, CONF1, INT_ENA, IOSWAP, MTCK, MTDO, U0RXD, U0TXD},
    moment,
};

fn chips() -> Vec<(String, Board)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let boards = board::names(&folder).into_iter().map(|name| {
        let board = board::load(&folder, &name).unwrap();
        (name, board)
    });
    let chips: Vec<_> = boards
        .filter(|(_, board)| board.soc == board::Soc::Esp8266)
        .collect();
    assert!(chips.len() >= 5);
    chips
}

fn wiring(board: &Board) -> Wiring {
    let pins = board.pins().unwrap();
    Wiring {
        inverted: pins.is_inverted(),
        swapped: pins.is_swapped(),
    }
}

/// What the manual has for each part of CONF0; bits 2 and 3 are the length, 4 and 5 the stop bits, 19 inverts.
const EIGHT_NONE: u32 = 0b01_1100;
const SEVEN_EVEN: u32 = 0b01_1010;
const RXD_INV: u32 = 0x8_0000;

/// Whether each board of the table is received as its owner wired it: name, pin, inverted in the chip.
const EXPECTED: [(&str, u8, bool); 5] = [
    ("d1-mini", 3, true),
    ("d1-mini-swap", 13, true),
    ("esp-01s", 3, true),
    ("nodemcu", 3, true),
    ("slimmelezer", 13, false),
];

#[test]
fn the_values_are_the_datasheets() {
    for (name, board) in chips() {
        let row = EXPECTED.iter().find(|(known, ..)| *known == name);
        let (_, pin, inverted) = *row.unwrap_or_else(|| panic!("{name}: what is expected?"));
        Bench::run(wiring(&board), async |bench| {
            let chip = bench.chip;
            // The console's.
            assert_eq!(chip.word(CLKDIV), 694, "{name}");
            assert_eq!(chip.word(CONF0), EIGHT_NONE, "{name}");
            assert_eq!(chip.word(CONF1), 0x8200_0020, "{name}");
            assert_eq!(chip.word(INT_ENA), 0b1_0001_1101, "{name}");
            assert_eq!(chip.word(IOSWAP), 0, "{name}");
            assert_eq!(chip.function(U0RXD), 0, "{name}");
            assert_eq!(chip.function(U0TXD), 0, "{name}");
            assert!(chip.is_pulled_up(U0RXD), "{name}");

            let mut port = bench.uart.p1();
            port.set_line(LineSettings::DSMR4);
            port.request(true);
            at(10).await;
            let inversion = if inverted { RXD_INV } else { 0 };
            assert_eq!(chip.word(CLKDIV), 694, "{name}");
            assert_eq!(chip.word(CONF0), EIGHT_NONE | inversion, "{name}");
            assert_eq!(chip.word(CONF1), 0x8200_0020, "{name}");
            assert_eq!(chip.word(INT_ENA), 0b1_0001_1101, "{name}");
            if pin == 13 {
                assert_eq!(chip.word(IOSWAP), 0b100, "{name}");
                assert_eq!(chip.function(MTCK), 4, "{name}");
                assert_eq!(chip.function(MTDO), 4, "{name}");
                assert!(chip.is_pulled_up(MTCK), "{name}");
                // A terminal sees a line at rest.
                assert_eq!(chip.function(U0TXD), 3, "{name}");
                assert_eq!(chip.level(1), Some(true), "{name}");
            } else {
                assert_eq!(chip.word(IOSWAP), 0, "{name}");
                assert_eq!((chip.word(MTCK), chip.word(MTDO)), (0, 0), "{name}");
            }

            port.set_line(LineSettings::DSMR2);
            moment().await;
            assert_eq!(chip.word(CLKDIV), 8_333, "{name}");
            assert_eq!(chip.word(CONF0), SEVEN_EVEN | inversion, "{name}");
            assert_eq!(chip.word(CONF1), 0x8200_0001, "{name}");

            port.request(false);
            moment().await;
            assert_eq!(chip.word(CLKDIV), 694, "{name}");
            assert_eq!(chip.word(CONF0), EIGHT_NONE, "{name}");
            assert_eq!(chip.word(IOSWAP), 0, "{name}");
            assert_eq!((chip.receiver(), chip.transmitter()), (Some(3), Some(1)));
            if pin == 13 {
                // RTS would be there otherwise.
                assert_eq!(chip.function(MTDO), 3, "{name}");
                assert_eq!(chip.level(15), None, "{name}");
            }
        });
    }
}

#[test]
fn telegrams_are_heard_at_p1_and_commands_at_the_console() {
    for (name, board) in chips() {
        let wiring = wiring(&board);
        let gpio = if wiring.swapped { 13 } else { 3 };
        // As it is at the pin.
        let p1 = |signal: Signal| Signal {
            inverted: wiring.inverted,
            ..signal
        };
        Bench::run(wiring, async |bench| {
            let second = Duration::from_secs(1);
            let mut port = bench.uart.p1();
            port.request(true);
            bench.hear(3, TERMINAL, b"status\r\n");
            assert_eq!(bench.console(second).await, b"status\r\n", "{name}");
            at(62).await;
            bench.hear(gpio, p1(DSMR4), b"/ISK5\r\n");
            assert_eq!(bench.p1(second).await, b"/ISK5\r\n", "{name}");
            port.set_line(LineSettings::DSMR2);
            moment().await;
            bench.hear(gpio, p1(DSMR2), b"/KFM5\r\n");
            assert_eq!(bench.p1(second).await, b"/KFM5\r\n", "{name}");
            port.request(false);
            moment().await;
            bench.hear(3, TERMINAL, b"info\r\n");
            assert_eq!(bench.console(second).await, b"info\r\n", "{name}");
            assert_eq!(port.line_errors(), Default::default(), "{name}");
        });
    }
}

#[test]
fn a_line_that_is_inverted_outside_is_received_as_it_comes() {
    for (_, board) in chips() {
        let wiring = wiring(&board);
        Bench::run(wiring, async |bench| {
            let mut port = bench.uart.p1();
            port.set_line(LineSettings {
                inverted: false,
                ..LineSettings::DSMR4
            });
            port.request(true);
            at(10).await;
            assert_eq!(bench.chip.word(CONF0), EIGHT_NONE);
        });
    }
}

#[test]
fn outputs_are_where_the_table_says() {
    for (name, board) in chips() {
        let pins = board.pins().unwrap();
        let request = pins.request().map(|pin| (pin.gpio, pin.on_is_high));
        let led = pins.led().map(|pin| (pin.gpio, pin.on_is_high));
        let expected = if name == "slimmelezer" {
            None
        } else {
            Some((0, false))
        };
        assert_eq!(request, expected, "{name}");
        assert_eq!(led, Some((2, false)), "{name}");
    }
}
