//! The boards' files: what the linker gets of them, and what their author is told.

#[path = "../build/board.rs"]
mod board;

use std::fs;
use std::path::{Path, PathBuf};

const MEMORY: &str = "[memory]
vectors = { origin = 0x40100000, length = 0x100 }
iram = { origin = 0x40100100, length = 0x7f00 }
dram = { origin = 0x3ffe8000, length = 0x14000 }
irom = { origin = 0x40210000, length = 0x73000 }
";

/// 17 lines of 100 bytes each.
const RAM: &str = "[ram]
budget = 1700
[ram.lines]
ring = { bytes = 100, for = \"x\" }
readings = { bytes = 100, for = \"x\" }
meter = { bytes = 100, for = \"x\" }
mqtt_rx = { bytes = 100, for = \"x\" }
mqtt_tx = { bytes = 100, for = \"x\" }
command_sockets = { bytes = 100, for = \"x\" }
sessions = { bytes = 100, for = \"x\" }
device = { bytes = 100, for = \"x\" }
mqtt_commands = { bytes = 100, for = \"x\" }
udp = { bytes = 100, for = \"x\" }
socket_rx = { bytes = 100, for = \"x\" }
socket_tx = { bytes = 100, for = \"x\" }
network = { bytes = 100, for = \"x\" }
common = { bytes = 100, for = \"x\" }
tasks = { bytes = 100, for = \"x\" }
rest = { bytes = 100, for = \"x\" }
stack = { bytes = 100, for = \"x\" }
";

/// A board with this ledger.
fn with_ram(ram: &str) -> String {
    format!("about = \"x\"\nsoc = \"qemu\"\n[commands]\nsessions = 1\nmax_rate = 50\n{MEMORY}{ram}")
}

fn problem(text: &str) -> String {
    match board::read("boards/x.toml", text) {
        Ok(board) => panic!("{board:?}"),
        Err(problem) => problem,
    }
}

#[test]
fn every_board_is_complete_and_its_soc_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let boards = root.join("boards");
    let names = board::names(&boards);
    for name in &names {
        let board = board::load(&boards, name).unwrap();
        assert!(!board.about.is_empty(), "{name}");
        let soc = root.join("src/soc").join(board.soc.to_string());
        assert!(soc.is_dir(), "{name}: {} is missing", soc.display());
        assert_eq!(
            board.pins().is_some(),
            board.soc == board::Soc::Esp8266,
            "{name}"
        );
        assert_eq!(
            board.flash().is_some(),
            board.soc == board::Soc::Esp8266,
            "{name}"
        );
    }
    let chips = [
        "d1-mini",
        "d1-mini-swap",
        "esp-01s",
        "nodemcu",
        "slimmelezer",
    ];
    for chip in chips {
        assert!(names.iter().any(|name| name == chip), "{chip}");
    }
}

#[test]
fn an_unknown_board_is_answered_with_those_that_there_are() {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    assert_eq!(
        board::load(&boards, "d1-mimi").unwrap_err(),
        "no board d1-mimi: there are d1-mini, d1-mini-swap, esp-01s, host, nodemcu, qemu, slimmelezer"
    );
}

const CHIP: &str = "about = \"x\"
soc = \"esp8266\"
[pins]
p1 = { gpio = 3, inverted = true }
request = { gpio = 0, asserted = \"low\" }
led = { gpio = 2, lit = \"low\" }
[flash]
size = 0x100000
image = { origin = 0x0, length = 0x73000 }
staging = { origin = 0x73000, length = 0x73000 }
settings = { origin = 0xe6000, length = 0x4000 }
log = { origin = 0xea000, length = 0xa000 }
vendor = { origin = 0xfb000, length = 0x5000 }
";

/// A chip's file with a change.
fn chip(from: &str, to: &str) -> String {
    assert!(CHIP.contains(from), "{from}");
    let memory = MEMORY.replace("0x73000", "0x63000");
    let ram = RAM.replace("budget", "heap = 500\nbudget");
    format!("{}{memory}{STACK}{ram}", CHIP.replace(from, to))
}

/// Where the vendor's libraries have the stack.
const STACK: &str = "stack = { origin = 0x3fffe000, length = 0x2000 }\n";

#[test]
fn a_soc_that_there_is_not_is_answered_with_those_that_there_are() {
    assert_eq!(
        problem("about = \"x\"\nsoc = \"esp32\""),
        "boards/x.toml:2: soc is \"esp32\": valid are esp8266, host, qemu"
    );
}

#[test]
fn memories_that_the_chip_does_not_have_are_refused() {
    let text = chip("x", "x");
    for (from, to, expected) in [
        (
            "length = 0x100 }",
            "length = 0x200 }",
            "15: `vectors` is 0x200 bytes at 0x40100000: the chip has 0x100 at 0x40100000",
        ),
        (
            "length = 0x7f00 }",
            "length = 0xff00 }",
            "16: `iram` is 0xff00 bytes at 0x40100100: the chip has 0x7f00 at 0x40100100",
        ),
        (
            "dram = { origin = 0x3ffe8000",
            "dram = { origin = 0x3ffe0000",
            "17: `dram` is 0x14000 bytes at 0x3ffe0000: the chip has 0x14000 at 0x3ffe8000",
        ),
        (
            "irom = { origin = 0x40210000",
            "irom = { origin = 0x40220000",
            "18: `irom` is at 0x40220000: the part of the image that runs from flash is mapped at 0x40210000",
        ),
        (
            "length = 0x2000 }",
            "length = 0x1000 }",
            "19: `stack` is 0x1000 bytes at 0x3fffe000: the chip has 0x2000 at 0x3fffe000",
        ),
        (
            STACK,
            "",
            "1: memory `stack` is missing: with a `heap` it is elsewhere",
        ),
        (
            "heap = 500\n",
            "",
            "1: memory `stack`: without a `heap` it is the end of `dram`",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let expected = format!("boards/x.toml:{expected}");
        assert_eq!(problem(&text.replacen(from, to, 1)), expected, "{to}");
    }
    let neither = text.replace(STACK, "").replace("heap = 500\n", "");
    assert_eq!(
        problem(&neither),
        "boards/x.toml:1: [ram] lacks `heap`: the vendor's libraries need one"
    );
    // The emulator has RAM all over.
    let wide = with_ram(RAM).replace("0x7f00", "0xff00");
    board::read("boards/x.toml", &wide).unwrap();
}

#[test]
fn pins_that_contradict_the_chip_or_each_other_are_refused() {
    let p1 = "p1 = { gpio = 3, inverted = true }";
    let request = "request = { gpio = 0, asserted = \"low\" }";
    let led = "led = { gpio = 2, lit = \"low\" }";
    let receivers = "valid are GPIO3, and GPIO13 with `swap = true`";
    for (from, to, line, expected) in [
        (
            p1,
            "p1 = { gpio = 5, inverted = true }",
            4,
            &*format!("p1 is GPIO5, where UART0 cannot receive: {receivers}"),
        ),
        (
            p1,
            "p1 = { gpio = 13, inverted = true }",
            4,
            &format!("p1 is GPIO13, which UART0 has by `swap` only: {receivers}"),
        ),
        (
            p1,
            "p1 = { gpio = 3, inverted = true, swap = true }",
            4,
            &format!("p1 is GPIO3, and `swap` takes UART0 to GPIO13: {receivers}"),
        ),
        (p1, "p1 = { gpio = 3 }", 4, "missing field `inverted`"),
        (
            p1,
            "p1 = { gpio = 3, inverted = true, speed = 9600 }",
            4,
            "unknown field `speed`, expected one of `gpio`, `inverted`, `swap`",
        ),
        (
            led,
            "led = { gpio = 3, lit = \"low\" }",
            6,
            "led is GPIO3, as p1: valid are 2, 4, 5, 12, 13, 14, 15",
        ),
        (
            led,
            "led = { gpio = 0, lit = \"low\" }",
            6,
            "led is GPIO0, as request: valid are 2, 4, 5, 12, 13, 14, 15",
        ),
        (
            request,
            "request = { gpio = 1, asserted = \"low\" }",
            5,
            "request is GPIO1, which is UART0's: valid are 0, 2, 4, 5, 12, 13, 14, 15",
        ),
        (
            "p1 = { gpio = 3, inverted = true }\nrequest = { gpio = 0, asserted = \"low\" }",
            "p1 = { gpio = 13, inverted = true, swap = true }\nrequest = { gpio = 15, asserted = \"high\" }",
            5,
            "request is GPIO15, which is UART0's: valid are 0, 2, 4, 5, 12, 14",
        ),
        (
            request,
            "request = { gpio = 6, asserted = \"low\" }",
            5,
            "request is GPIO6, the flash chip's: valid are 0, 2, 4, 5, 12, 13, 14, 15",
        ),
        (
            led,
            "led = { gpio = 16, lit = \"low\" }",
            6,
            "led is GPIO16, no output of the GPIO block: valid are 2, 4, 5, 12, 13, 14, 15",
        ),
        (
            request,
            "request = { gpio = 0, asserted = \"high\" }",
            5,
            "GPIO0 has to be high while the chip starts, and that would ask the meter: `asserted` has to be \"low\"",
        ),
        (
            request,
            "request = { gpio = 15, asserted = \"low\" }",
            5,
            "GPIO15 has to be low while the chip starts, and that would ask the meter: `asserted` has to be \"high\"",
        ),
        (
            led,
            "led = { gpio = 2, lit = \"high\" }",
            6,
            "GPIO2 has to be high while the chip starts, and that would light the LED: `lit` has to be \"low\"",
        ),
        (
            led,
            "led = { gpio = 2, lit = \"dim\" }",
            6,
            "unknown variant `dim`, expected `low` or `high`",
        ),
        (
            led,
            "light = { gpio = 2, lit = \"low\" }",
            6,
            "unknown field `light`, expected one of `p1`, `request`, `led`",
        ),
    ] {
        let expected = format!("boards/x.toml:{line}: {expected}");
        assert_eq!(problem(&chip(from, to)), expected, "{to}");
    }
}

#[test]
fn areas_that_overlap_or_leave_the_chip_are_refused() {
    let log = "log = { origin = 0xea000, length = 0xa000 }";
    for (from, to, line, expected) in [
        (
            "size = 0x100000",
            "size = 0x80000",
            8,
            "size is 0x80000: valid are 0x100000, 0x200000, 0x400000",
        ),
        (
            log,
            "log = { origin = 0xe9000, length = 0xa000 }",
            12,
            "`log` overlaps `settings`, which is at 0xe6000",
        ),
        (
            "settings = { origin = 0xe6000, length = 0x4000 }",
            "settings = { origin = 0xfe000, length = 0x4000 }",
            11,
            "`settings` ends at 0x102000, the chip at 0x100000",
        ),
        (
            log,
            "log = { origin = 0xea000, length = 0xffff_f000 }",
            12,
            "`log` ends at 0x1000e9000, the chip at 0x100000",
        ),
        (
            log,
            "log = { origin = 0xea000, length = 0xa00 }",
            12,
            "`log` is 0xa00 bytes at 0xea000: both have to be sectors of 0x1000, and one at least",
        ),
        (
            log,
            "log = { origin = 0xea000, length = 0 }",
            12,
            "`log` is 0x0 bytes at 0xea000: both have to be sectors of 0x1000, and one at least",
        ),
        (
            "image = { origin = 0x0, length = 0x73000 }",
            "image = { origin = 0x1000, length = 0x72000 }",
            9,
            "`image` is at 0x1000: the chip starts what is at 0",
        ),
        (
            "size = 0x100000",
            "size = 0x200000",
            13,
            "`vendor` is 0x5000 bytes at 0xfb000: the SDK has 0x5000 at 0x1fb000",
        ),
        (
            "staging = { origin = 0x73000, length = 0x73000 }",
            "staging = { origin = 0x73000, length = 0x72000 }",
            10,
            "`staging` has 0x72000 bytes, and an image may have 0x73000",
        ),
        (
            "log =",
            "logs =",
            12,
            "unknown field `logs`, expected one of `size`, `image`, `settings`, `log`, `vendor`, `staging`, `outage`",
        ),
        (
            "log = { origin = 0xea000, length = 0xa000 }\n",
            "",
            7,
            "missing field `log`",
        ),
    ] {
        let expected = format!("boards/x.toml:{line}: {expected}");
        assert_eq!(problem(&chip(from, to)), expected, "{to}");
    }
    // What is mapped ends before the chip.
    let large = chip("size = 0x100000", "size = 0x400000").replacen(
        "length = 0x73000",
        "length = 0x101000",
        1,
    );
    assert_eq!(
        problem(&large),
        "boards/x.toml:9: `image` ends at 0x101000, and the chip maps flash up to 0x100000"
    );
    let code = chip("x", "x").replace("0x63000", "0x64000");
    assert_eq!(
        problem(&code),
        "boards/x.toml:1: memory `irom` is 0x40210000 to 0x40274000, and the area `image` is mapped at 0x40200000 to 0x40273000"
    );
}

#[test]
fn an_esp8266_has_pins_and_flash_and_nobody_else() {
    board::read("boards/x.toml", &chip("x", "x")).unwrap();
    for (from, to, table) in [
        ("[flash]\n", "[pin]\n", None),
        ("soc = \"esp8266\"", "soc = \"qemu\"", Some("pins")),
    ] {
        let expected = match table {
            Some(table) => format!("boards/x.toml:1: table `{table}`: only an esp8266 has it"),
            None => "boards/x.toml:7: unknown field `pin`, expected one of `about`, `soc`, `like`, `commands`, \
                `memory`, `ram`, `pins`, `flash`"
                .into(),
        };
        assert_eq!(problem(&chip(from, to)), expected);
    }
    let bare = format!("about = \"x\"\nsoc = \"esp8266\"\n{MEMORY}{RAM}");
    assert_eq!(problem(&bare), "boards/x.toml:1: missing table `pins`");
}

#[test]
fn a_board_has_the_tables_of_the_one_that_it_is_like() {
    let base = chip("x", "x");
    let find = |_: &str| Ok(("boards/base.toml".to_owned(), base.clone()));
    let like = |more: &str| {
        let text = format!("about = \"y\"\nsoc = \"esp8266\"\nlike = \"base\"\n{more}");
        board::read_like("boards/y.toml", &text, find)
    };
    let same = like("").unwrap();
    assert_eq!(same.pins().unwrap().led().unwrap().gpio, 2);
    let other = like("[pins]\np1 = { gpio = 13, inverted = false, swap = true }\n").unwrap();
    assert!(other.pins().unwrap().is_swapped());
    assert_eq!(other.pins().unwrap().led(), None);
    assert_eq!(other.flash().unwrap().code(), same.flash().unwrap().code());
    assert_eq!(other.ram_constants(), same.ram_constants());
    let wrong = board::read_like(
        "boards/y.toml",
        "about = \"y\"\n\nsoc = \"qemu\"\nlike = \"base\"\n",
        find,
    );
    assert_eq!(
        wrong.unwrap_err(),
        "boards/y.toml:4: base is an esp8266, this a qemu"
    );
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let missing = board::read_like(
        "boards/y.toml",
        "about = \"y\"\nsoc = \"esp8266\"\nlike = \"d2\"",
        |name| board::load(&boards, name).map(|_| unreachable!()),
    );
    assert_eq!(
        missing.unwrap_err(),
        "boards/y.toml:3: no board d2: there are d1-mini, d1-mini-swap, esp-01s, host, nodemcu, qemu, slimmelezer"
    );
    // What is wrong in a table is said of the file where it is.
    let broken = base.replace("gpio = 2, lit", "gpio = 3, lit");
    let text = "about = \"y\"\nsoc = \"esp8266\"\nlike = \"base\"\n";
    let found = board::read_like("boards/y.toml", text, |_| {
        Ok(("boards/base.toml".into(), broken))
    });
    assert_eq!(
        found.unwrap_err(),
        "boards/base.toml:6: led is GPIO3, as p1: valid are 2, 4, 5, 12, 13, 14, 15"
    );
}

#[test]
fn the_code_gets_pins_and_map() {
    let board = board::read("boards/x.toml", &chip("x", "x")).unwrap();
    let pins = board.pins().unwrap().code();
    for line in [
        "pub const WIRING: Wiring = Wiring { inverted: true, swapped: false };",
        "pub type Request = Gpio0;",
        "pub const REQUEST_ON_IS_HIGH: bool = false;",
        "pub type Led = Gpio2;",
        "pub const LED_ON_IS_HIGH: bool = false;",
    ] {
        assert!(pins.lines().any(|found| found == line), "{pins}");
    }
    let map = board.flash().unwrap().code();
    for line in [
        "pub const SIZE: u32 = 0x100000;",
        "pub const IMAGE: core::ops::Range<u32> = 0x0..0x73000;",
        "pub const LOG: core::ops::Range<u32> = 0xea000..0xf4000;",
    ] {
        assert!(map.lines().any(|found| found == line), "{map}");
    }
    assert!(!map.contains("OUTAGE"), "{map}");
    let without = chip("request = { gpio = 0, asserted = \"low\" }\n", "");
    let board = board::read("boards/x.toml", &without).unwrap();
    let pins = board.pins().unwrap().code();
    assert!(pins.contains("pub type Request = Nowhere;"), "{pins}");
}

#[test]
fn the_linker_gets_every_memory() {
    let board = board::read("boards/x.toml", &with_ram(RAM)).unwrap();
    let script = board.linker_script();
    assert_eq!(
        script,
        "MEMORY
{
  vectors : ORIGIN = 0x40100000, LENGTH = 0x100
  iram : ORIGIN = 0x40100100, LENGTH = 0x7f00
  dram : ORIGIN = 0x3ffe8000, LENGTH = 0x14000
  irom : ORIGIN = 0x40210000, LENGTH = 0x73000
}

ASSERT(SIZEOF(.data) + SIZEOF(.bss) <= 1600, \"qemu: .data and .bss are longer than their lines in the board's [ram]\")
ASSERT(_stack_end - _stack_limit >= 100, \"qemu: the stack is shorter than its line in the board's [ram]\")
"
    );
}

#[test]
fn the_code_gets_every_line_of_the_ledger() {
    let board = board::read("boards/x.toml", &with_ram(RAM)).unwrap();
    let constants = board.ram_constants();
    assert!(
        constants.contains("\npub const MQTT_TX: usize = 100;\n"),
        "{constants}"
    );
    assert_eq!(constants.lines().count(), 18);
}

#[test]
fn the_code_gets_what_the_board_can_do() {
    let limits = |max_rate: &str| {
        let text = format!("about = \"x\"\nsoc = \"host\"\n{max_rate}");
        board::read("boards/x.toml", &text).unwrap().limits()
    };
    let code = limits("[commands]\nmax_rate = 50");
    assert!(
        code.ends_with("\npub const MAX_RATE: u32 = 50;\n"),
        "{code}"
    );
    assert!(!code.contains("CLIENTS"), "{code}");
    let code = limits("[commands]\nsessions = 2\nmax_rate = 50");
    assert!(code.contains("\npub const CLIENTS: usize = 2;\n"), "{code}");
    assert_eq!(limits("").lines().count(), 1);
    for sessions in [0, 4] {
        let text = format!(
            "about = \"x\"\nsoc = \"host\"\n[commands]\nmax_rate = 50\nsessions = {sessions}"
        );
        let expected = format!("boards/x.toml:5: sessions is {sessions}, not 1 to 3");
        assert_eq!(problem(&text), expected);
    }
    for rate in [0, 32_001] {
        let text = format!("about = \"x\"\nsoc = \"host\"\ncommands = {{ max_rate = {rate} }}");
        let expected = format!("boards/x.toml:3: max_rate is {rate}, not 1 to 32000 Hz");
        assert_eq!(problem(&text), expected);
    }
}

#[test]
fn an_image_has_memories_and_a_program_none() {
    let host = "about = \"x\"\nsoc = \"host\"";
    let board = board::read("boards/x.toml", host).unwrap();
    assert!(board.is_program());
    let chip = host.replace("host", "qemu");
    assert_eq!(problem(&chip), "boards/x.toml:1: missing table `memory`");
    assert_eq!(
        problem(&format!("{chip}\n{MEMORY}")),
        "boards/x.toml:1: missing table `ram`"
    );
}

/// The ledger of a board with vendor libraries: its stack is elsewhere and not counted, and they are to find a heap.
const VENDOR_RAM: &str = "budget = 1600\nowed = 100\nheap = 500";

#[test]
fn with_vendor_libraries_the_linker_looks_after_their_heap() {
    let memory = "stack = { origin = 0x3fffe000, length = 0x2000 }\n[ram]\n";
    let text = with_ram(RAM).replace("[ram]\n", memory);
    let text = text.replace("budget = 1700", VENDOR_RAM);
    let text = text + "dhcp = { bytes = 50, for = \"x\" }\n";
    let script = board::read("boards/x.toml", &text).unwrap().linker_script();
    let end = script.split_once("LENGTH = 0x73000\n").unwrap().1;
    assert_eq!(
        end,
        "  stack : ORIGIN = 0x3fffe000, LENGTH = 0x2000
}

ASSERT(_own_variables <= 1650, \"qemu: variables are longer than their lines in the board's [ram]\")
ASSERT(_own_variables + 512 >= 1650, \"qemu: variables are much shorter than their lines in the board's [ram]: lower those\")
ASSERT(_cold_variables <= 0, \"qemu: variables in IRAM are longer than their lines in the board's [ram]\")
ASSERT(_cold_variables + 512 >= 0, \"qemu: variables in IRAM are much shorter than their lines in the board's [ram]: lower those\")
ASSERT(_vendor_variables + 1600 + 500 <= LENGTH(dram), \"qemu: with the vendor's variables and heap, dram has no room for the board's budget\")
ASSERT(_heap_end - _heap_start + 100 >= 500, \"qemu: too little is left for the vendor's heap\")
ASSERT(_stack_end - _stack_limit >= 100, \"qemu: the stack is shorter than its line in the board's [ram]\")
"
    );
}

#[test]
fn lines_in_iram_have_a_budget_of_their_own() {
    let memory = "stack = { origin = 0x3fffe000, length = 0x2000 }\n[ram]\n";
    let text = with_ram(RAM).replace("[ram]\n", memory);
    let text = text.replace("budget = 1700", "budget = 1400\nheap = 500\niram = 250");
    let udp = "udp = { bytes = 100, in = \"iram\",";
    let text = text.replace("udp = { bytes = 100,", udp);
    let text = text.replace(
        "sessions = { bytes = 100,",
        "sessions = { bytes = 100, in = \"iram\",",
    );
    let text = text + "cold_rest = { bytes = 50, in = \"iram\", for = \"x\" }\n";
    let board = board::read("boards/x.toml", &text).unwrap();
    let script = board.linker_script();
    for assertion in [
        "ASSERT(_own_variables <= 1400, \"qemu: variables are longer than their lines in the board's [ram]\")",
        "ASSERT(_cold_variables <= 250, \"qemu: variables in IRAM are longer than their lines in the board's [ram]\")",
        "ASSERT(_cold_variables + 512 >= 250, \"qemu: variables in IRAM are much shorter than their lines in the board's [ram]: lower those\")",
    ] {
        assert!(script.lines().any(|line| line == assertion), "{script}");
    }
    let constants = board.ram_constants();
    assert!(constants.contains("\npub const UDP: usize = 100;\n"));
    for (from, to, expected) in [
        (
            "iram = 250",
            "iram = 249",
            "boards/x.toml:15: the lines of [ram] in IRAM take 250 bytes, 1 more than the 249 of `iram`",
        ),
        (
            "iram = 250\n",
            "",
            "boards/x.toml:22: `sessions` is in IRAM: [ram] needs `iram`, the bytes for such lines",
        ),
        (
            "heap = 500\n",
            "",
            "boards/x.toml:14: `iram`: without a `heap` all of data memory is the image's own",
        ),
        (
            "stack = { bytes = 100,",
            "stack = { bytes = 100, in = \"iram\",",
            "boards/x.toml:33: `stack` cannot be in IRAM",
        ),
        (
            udp,
            "udp = { bytes = 100, in = \"irom\",",
            "boards/x.toml:26: unknown variant `irom`, expected `iram`",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(problem(&text.replace(from, to)), expected);
    }
}

#[test]
fn a_heap_for_vendor_libraries_and_memory_for_the_stack_go_together() {
    let heap_alone = with_ram(RAM).replace("budget = 1700", VENDOR_RAM);
    assert_eq!(
        problem(&heap_alone),
        "boards/x.toml:1: memory `stack` is missing: with a `heap` it is elsewhere"
    );
    let memory = "stack = { origin = 0x3fffe000, length = 0x2000 }\n[ram]\n";
    let stack_alone = with_ram(RAM).replace("[ram]\n", memory);
    assert_eq!(
        problem(&stack_alone),
        "boards/x.toml:1: memory `stack`: without a `heap` it is the end of `dram`"
    );
}

#[test]
fn a_ledger_that_contradicts_itself_is_refused() {
    for (from, to, expected) in [
        (
            "rest = { bytes = 100",
            "rest = { bytes = 150",
            "boards/x.toml:12: the lines of [ram] take 1750 bytes, 50 more than the budget of 1700",
        ),
        (
            "budget = 1700",
            "budget = 1000\nowed = 600",
            "boards/x.toml:12: the lines of [ram] take 1700 bytes, 100 more than the budget of 1000 and the 600 owed allow",
        ),
        (
            "budget = 1700",
            "budget = 1000\nowed = 1213",
            "boards/x.toml:13: 1213 bytes are owed, but only 700 are missing: lower it",
        ),
        (
            "meter = { bytes = 100",
            "meter = { bytes = 0",
            "boards/x.toml:16: `meter` takes 0 bytes; name what it takes",
        ),
        (
            "udp = { bytes = 100, for = \"x\" }\n",
            "",
            "boards/x.toml:13: missing field `udp`",
        ),
        (
            "ring = ",
            "rings = ",
            "boards/x.toml:14: unknown field `rings`, expected one of `ring`, `readings`, `meter`, `mqtt_rx`, `mqtt_tx`, \
             `command_sockets`, `sessions`, `device`, `mqtt_commands`, `udp`, `socket_rx`, `socket_tx`, `network`, `common`, `tasks`, `rest`, `stack`, `dhcp`, `cold_tasks`, `cold_rest`",
        ),
    ] {
        assert_eq!(problem(&with_ram(&RAM.replace(from, to))), expected);
    }
}

#[test]
fn mistakes_are_named_with_file_and_line() {
    assert_eq!(
        problem(&format!("about = \"x\"\n\nsoc = 7\n{MEMORY}")),
        "boards/x.toml:3: invalid type: integer `7`, expected a string"
    );
    assert_eq!(
        problem(&format!(
            "about = \"x\"\nsoc = \"qemu\"\nspeed = 1\n{MEMORY}"
        )),
        "boards/x.toml:3: unknown field `speed`, expected one of `about`, `soc`, `like`, `commands`, `memory`, `ram`, `pins`, `flash`"
    );
    let without_iram = MEMORY.replace("iram", "irm");
    assert!(
        problem(&format!("about = \"x\"\nsoc = \"qemu\"\n{without_iram}"))
            .starts_with("boards/x.toml:5: unknown field `irm`")
    );
}

/// Files of Rust below a folder, but for what runs on a PC.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("soc/host") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// LLVM's division of 128 bits gives 0 on the chip, so there are no such numbers.
#[test]
fn no_board_has_numbers_of_128_bits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("crates"), &mut files);
    let mut problems = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // Tests run on a PC, and stand at the end.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word.ends_with("u128") || word.ends_with("i128")) {
                let path = path.strip_prefix(root).unwrap().display();
                problems.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
