//! What is loaded from flash in less than words: on the chip each such load is an exception of some 50 instructions.
//!
//! QEMU gives bytes from everywhere. So its trace tells the registers before each such instruction, and with them the address.
//! docs/numbers.md keeps the figures; `--nocapture` shows them.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use support::peers::find;
use support::qemu::qemu;

/// ROM, IRAM and flash on the chip.
const WORDS_ONLY: std::ops::Range<u32> = 0x4000_0000..0x4030_0000;

/// A narrow load: the number of its base register and the offset.
struct Load {
    base: usize,
    offset: u32,
}

/// The narrow loads of an image by address, and the address where the cycle counter is read.
fn disassembled(image: &Path) -> Option<(BTreeMap<u32, Load>, u32)> {
    let objdump = find("xtensa-lx106-elf-objdump", "`./test` installs it")?;
    let output = Command::new(objdump)
        .arg("-d")
        .arg(image)
        .output()
        .expect("objdump starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut loads = BTreeMap::new();
    let mut mark = None;
    for line in text.lines() {
        if let Some(place) = line.strip_suffix(" <xtensa_lx_get_ccount>:") {
            mark = u32::from_str_radix(place, 16).ok();
        }
        // `40210595:	02a282        	l8ui	a8, a2, 2`
        let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        if let [place, _, "l8ui" | "l16ui" | "l16si", operands] = fields[..] {
            let place = u32::from_str_radix(place.trim_end_matches(':'), 16).expect("an address");
            let operands: Vec<&str> = operands.split(", ").collect();
            let load = Load {
                base: operands[1][1..].parse().expect("a register"),
                offset: offset(operands[2]),
            };
            loads.insert(place, load);
        }
    }
    Some((loads, mark.expect("a reading of the cycle counter")))
}

/// As objdump writes it: large ones in hex.
fn offset(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).expect("an offset in hex"),
        None => text.parse().expect("an offset"),
    }
}

/// How many narrow loads from flash come behind each reading of the cycle counter.
fn counted(image: &str, input: Option<&Path>) -> Option<Vec<u32>> {
    let mut command = qemu(image)?;
    let path = Path::new(command.get_args().last().expect("the image"));
    let (loads, mark) = disassembled(path)?;
    let places: Vec<String> = loads
        .keys()
        .chain([&mark])
        .map(|place| format!("{place:#x}+1"))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("trace");
    let status = command
        .args(["-monitor", "none", "-nic", "none", "-serial", "none"])
        // One instruction at a time, or only the first of a block would be told.
        .args(["-icount", "shift=10", "-singlestep"])
        .args(["-d", "exec,cpu,nochain", "-dfilter", &places.join(",")])
        .arg("-D")
        .arg(&log)
        .stdin(match input {
            Some(input) => Stdio::from(File::open(input).expect("a telegram")),
            None => Stdio::null(),
        })
        .stdout(Stdio::null())
        .status()
        .expect("QEMU starts");
    assert_eq!(status.code(), Some(0), "{image}");
    let trace = fs::read_to_string(&log).expect("a trace");
    Some(count(&trace, &loads, mark))
}

/// Reads `PC=40210595`, then lines of ` A00=40210103  A01=3fff8de0 …`.
fn count(trace: &str, loads: &BTreeMap<u32, Load>, mark: u32) -> Vec<u32> {
    let mut counts = Vec::new();
    let mut load = None;
    for line in trace.lines() {
        if let Some(place) = line.strip_prefix("PC=") {
            let place = u32::from_str_radix(place, 16).expect("an address");
            load = loads.get(&place);
            if place == mark {
                counts.push(0);
            }
        } else if let (true, Some(Load { base, offset })) = (line.starts_with(" A"), load)
            && let Some(at) = line.find(&format!(" A{base:02}="))
            && let Some(count) = counts.last_mut()
        {
            let value = u32::from_str_radix(&line[at + 5..at + 13], 16).expect("a register");
            *count += u32::from(WORDS_ONLY.contains(&value.wrapping_add(*offset)));
        }
    }
    counts
}

#[test]
fn copying_and_comparing_load_words() {
    let Some(counts) = counted("self-tests/words.elf", None) else {
        return;
    };
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert_eq!(counts[0], 0);
}

/// Counts for a telegram what `crates/lx106-bench` measures, which is each thing twice: nothing, then the work.
fn within(telegram: &str, bounds: [(&str, u32); 6]) {
    let telegram = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/meters")
        .join(telegram);
    let Some(counts) = counted("bench.elf", Some(&telegram)) else {
        return;
    };
    // The known loop comes first, twice.
    let found: Vec<u32> = counts.iter().skip(4).copied().collect();
    let found: Vec<u32> = found.chunks(4).map(|four| four[2]).collect();
    println!("{}: {found:?}", telegram.display());
    assert_eq!(found.len(), bounds.len(), "{counts:?}");
    for ((what, bound), found) in bounds.iter().zip(&found) {
        assert!(found <= bound, "{what}: {found} above {bound}");
    }
}

#[test]
fn a_telegram_is_received_with_few_exceptions() {
    within(
        "esmr50.p1",
        [
            ("frame", 3),
            ("first", 52),
            ("receive", 52),
            ("publish", 170),
            ("verdict", 0),
            ("line", 72),
        ],
    );
}
