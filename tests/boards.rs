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
    let mut count = 0;
    for file in fs::read_dir(root.join("boards")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.display().to_string();
        let board = board::read(&name, &fs::read_to_string(&path).unwrap()).unwrap();
        assert!(!board.about.is_empty(), "{name}");
        let soc = root.join("src/soc").join(&board.soc);
        assert!(soc.is_dir(), "{name}: {} is missing", soc.display());
        count += 1;
    }
    assert!(count > 0);
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
             `command_sockets`, `sessions`, `device`, `mqtt_commands`, `udp`, `socket_rx`, `socket_tx`, `network`, `common`, `tasks`, `rest`, `stack`",
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
        "boards/x.toml:3: unknown field `speed`, expected one of `about`, `soc`, `commands`, `memory`, `ram`"
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
