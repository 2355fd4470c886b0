//! From a linked image for the ESP8266 to the files that are flashed: what it is made of, whether that is what it should be, and the
//! vendor's format.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use serde::Deserialize;

use crate::size::ledger::Ledger;
use crate::{shell, tools};

/// What the image's parts may take.
#[derive(Deserialize)]
pub struct Board {
    memory: Memory,
    ram: Ram,
    flash: Flash,
}

#[derive(Deserialize)]
struct Memory {
    vectors: Region,
    iram: Region,
    dram: Region,
    irom: Region,
}

#[derive(Deserialize)]
struct Ram {
    heap: u64,
    owed: Option<u64>,
}

#[derive(Deserialize)]
struct Flash {
    size: u64,
    image: Region,
}

#[derive(Clone, Copy, Deserialize)]
struct Region {
    origin: u64,
    length: u64,
}

impl Region {
    fn contains(self, address: u64) -> bool {
        (self.origin..self.origin + self.length).contains(&address)
    }
}

/// The image's files begin at these addresses of flash: what is copied to RAM, and what is run where it lies.
const FILES: [u64; 2] = [0, 0x1_0000];

/// What has to be in an image, so that it is one that does the whole work: the vendor's radio, and the way of a frame to it.
const RADIO: [&str; 6] = [
    "call_user_start",
    "wDev_ProcessFiq",
    "ieee80211_output_pbuf",
    "register_chipv6_phy",
    "eagle_lwip_getif",
    "wpa_attach",
];

/// Parts of the firmware, by the beginning of their functions' names.
const PARTS: [&str; 8] = [
    "telegram::p1",
    "telegram::receiver",
    "metertrekker::app::publisher",
    "metertrekker::app::session",
    "metertrekker::app::wifi",
    "metertrekker::publish",
    "metertrekker::smartmeter",
    "metertrekker::soc::esp8266::radio",
];

/// What runs while flash cannot be read, or may do so: P1's interrupt with the message that it sends, the handlers of narrow accesses
/// with their way in and out, and what the vendor's and our own code in IRAM call. That these call nothing in flash their literals say.
const IN_IRAM: [&str; 13] = [
    "metertrekker::soc::esp8266::port::on_interrupt",
    "metertrekker::soc::esp8266::executor::post",
    "__wrap_spi_flash_read",
    "xtensa_lx_rt_narrow_load",
    "xtensa_lx_rt_narrow_store",
    "xtensa_lx_rt_xtos_narrow_load",
    "xtensa_lx_rt_take_exception",
    "xtensa_lx_mask_interrupts",
    "xtensa_lx_set_ps",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
];

/// The one thing in flash that code of ours in IRAM reads: at start, when flash is there.
const READ_AT_START: &str = "metertrekker::soc::esp8266::rf::INIT_DATA";

/// An image as far as it is judged.
#[derive(Default)]
struct Image {
    entry: u64,
    undefined: Vec<String>,
    symbols: HashMap<String, u64>,
    /// Bytes of what is in flash, and where.
    text: (u64, Vec<u8>),
    /// Bytes of all that the ROM copies to RAM.
    iram: u64,
    data: u64,
    /// Bytes of variables in IRAM, and whether they take nothing of the file.
    cold: u64,
    cold_is_empty: bool,
    /// What code of ours in IRAM loads as constants, addresses among them.
    own_literals: Vec<u32>,
    ledger: Ledger,
}

impl Image {
    fn read(path: &Path, board: &toml::Table) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut image = Self {
            entry: file.entry(),
            ledger: Ledger::of(board, &file)?,
            ..Self::default()
        };
        for symbol in file.symbols() {
            let name = symbol.name().unwrap_or_default();
            if symbol.is_undefined() && !name.is_empty() {
                image.undefined.push(name.to_owned());
            } else {
                let name = format!("{:#}", rustc_demangle::demangle(name));
                image.symbols.insert(name, symbol.address());
            }
        }
        for section in file.sections() {
            let content = section.data().unwrap_or_default();
            match section.name().unwrap_or_default() {
                ".vectors" => image.iram += section.size(),
                ".iram" => {
                    image.iram += section.size();
                    let own = image.symbol("_own_iram_end")? - section.address();
                    image.own_literals = literals(content.get(..own as usize).unwrap_or_default());
                }
                ".text" => image.text = (section.address(), content.to_vec()),
                ".data" => image.data = section.size(),
                ".cold" => {
                    image.cold = section.size();
                    image.cold_is_empty = section.kind() == SectionKind::UninitializedData;
                }
                ".bss" => {}
                other
                    if section.kind() == SectionKind::Text
                        || section.kind() == SectionKind::Data =>
                {
                    return Err(format!(
                        "{}: section {other} is in no memory that link.x knows",
                        path.display()
                    ));
                }
                _ => {}
            }
        }
        Ok(image)
    }

    fn symbol(&self, name: &str) -> Result<u64, String> {
        let address = self.symbols.get(name).copied();
        address.ok_or_else(|| format!("the image lacks the symbol {name}"))
    }

    fn between(&self, from: &str, to: &str) -> Result<u64, String> {
        Ok(self.symbol(to)?.saturating_sub(self.symbol(from)?))
    }

    fn has_part(&self, part: &str) -> bool {
        let inside = format!("{part}::");
        let is_of =
            |name: &String| name.starts_with(&inside) || name.contains(&format!("<{inside}"));
        self.symbols.keys().any(is_of)
    }

    fn has_text(&self, text: &str) -> bool {
        let mut windows = self.text.1.windows(text.len());
        windows.any(|window| window == text.as_bytes())
    }

    /// What flash takes, from the image's start to its end.
    fn length(&self) -> u64 {
        FILES[1] + self.text.1.len() as u64
    }

    /// All that is not as it has to be.
    fn problems(&self, board: &Board, topics: &[String]) -> Result<Vec<String>, String> {
        let mut problems: Vec<String> = self
            .undefined
            .iter()
            .map(|name| format!("undefined symbol {name}"))
            .collect();
        if self.entry != self.symbol("call_user_start")? {
            problems.push("the entry is not the vendor's call_user_start".into());
        }
        problems.extend(
            (RADIO
                .iter()
                .filter(|name| !self.symbols.contains_key(**name)))
            .map(|name| format!("the vendor's {name} is not in it")),
        );
        problems.extend(
            (PARTS.iter().filter(|part| !self.has_part(part)))
                .map(|part| format!("{part} is not in it")),
        );
        problems.extend(
            (topics.iter().filter(|topic| !self.has_text(topic)))
                .map(|topic| format!("the topic {topic} is not in it")),
        );
        if self.cold > 0 && !self.cold_is_empty {
            problems.push("variables in IRAM have values, which nobody copies there".into());
        }
        let iram = |address: u64| board.memory.iram.contains(address);
        for name in IN_IRAM {
            match self.symbols.get(name) {
                Some(address) if iram(*address) => {}
                Some(_) => problems.push(format!(
                    "{name} is not in IRAM, and runs while flash cannot be read"
                )),
                None => problems.push(format!(
                    "{name} is not in it, by this name: it has to be in IRAM"
                )),
            }
        }
        let start_only = self.symbols.get(READ_AT_START).copied();
        problems.extend(
            (self.own_literals.iter().map(|word| u64::from(*word)))
                .filter(|word| board.memory.irom.contains(*word) && Some(*word) != start_only)
                .map(|word| format!("code in IRAM, which runs while flash cannot be read, refers to flash at {word:#x}")),
        );
        let limits = [
            (
                "IRAM",
                self.iram + self.cold,
                board.memory.vectors.length + board.memory.iram.length,
            ),
            (
                "the flash area `image`",
                self.length(),
                board.flash.image.length,
            ),
            (
                "what the ROM copies to RAM",
                self.iram + self.data,
                FILES[1] - 0x1000,
            ),
        ];
        problems.extend(
            (limits.iter().filter(|(_, taken, limit)| taken > limit))
                .map(|(what, taken, limit)| format!("{what}: {taken} bytes of {limit}")),
        );
        problems.extend_from_slice(self.ledger.problems());
        let heap = self.between("_heap_start", "_heap_end")?;
        let owed = board.ram.owed.unwrap_or(0);
        if heap + owed < board.ram.heap {
            problems.push(format!(
                "the vendor's heap: {heap} bytes, {} with the {owed} owed",
                board.ram.heap - owed
            ));
        }
        Ok(problems)
    }

    fn table(&self, board: &Board) -> Result<String, String> {
        let mut table = String::new();
        let heap = self.between("_heap_start", "_heap_end")?;
        let rows = [
            (
                "IRAM",
                self.iram + self.cold,
                board.memory.vectors.length + board.memory.iram.length,
            ),
            (
                "  code of our own",
                self.between("_iram_start", "_own_iram_end")?,
                0,
            ),
            ("  variables, as in the ledger", self.cold, 0),
            (
                "data RAM",
                board.memory.dram.length - heap,
                board.memory.dram.length,
            ),
            (
                "  the vendor's variables",
                self.symbol("_vendor_variables")?,
                0,
            ),
            (
                "  our own, as in the ledger",
                self.symbol("_own_variables")?,
                0,
            ),
            ("left for the vendor's heap", heap, board.ram.heap),
            (
                "flash, code and constants",
                self.text.1.len() as u64,
                board.memory.irom.length,
            ),
            (
                "  the vendor's code",
                self.between("_irom0_text_start", "_vendor_text_end")?,
                0,
            ),
            (
                "  our own code",
                self.between("_vendor_text_end", "_own_text_end")?,
                0,
            ),
            (
                "  constants",
                self.between("_own_text_end", "_irom_end")?,
                0,
            ),
            ("image, from 0", self.length(), board.flash.image.length),
        ];
        for (what, bytes, of) in rows {
            let of = match of {
                0 => String::new(),
                of => format!("{of:>9}"),
            };
            let line = format!("{what:<30}{bytes:>9}{of}");
            let _ = writeln!(table, "{}", line.trim_end());
        }
        Ok(table + &self.ledger.table())
    }
}

/// The words that `l32r` loads in this code. Where an instruction begins is not known, so every byte is taken for one: some words too many.
fn literals(code: &[u8]) -> Vec<u32> {
    let mut places: Vec<usize> = (code.windows(3).enumerate())
        .filter(|(_, bytes)| bytes[0] & 0xF == 1)
        .filter_map(|(at, bytes)| {
            // 256 KiB back from the next word at most (Xtensa ISA Reference Manual, L32R).
            let back = 0x1_0000 - usize::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            ((at + 3) & !3).checked_sub(4 * back)
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    let words = places.into_iter().filter_map(|at| code.get(at..at + 4));
    words
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
        .collect()
}

impl Board {
    /// The flash chip, as esptool calls it.
    pub fn flash_size(&self) -> &'static str {
        match self.flash.size {
            0x10_0000 => "1MB",
            0x20_0000 => "2MB",
            _ => "4MB",
        }
    }
}

/// Where each file of an image belongs in flash.
pub fn files(program: &Path) -> [(String, PathBuf); 2] {
    let prefix = program.with_extension("");
    FILES.map(|at| {
        let file = PathBuf::from(format!("{}-0x{at:05x}.bin", prefix.display()));
        (format!("0x{at:x}"), file)
    })
}

impl Board {
    /// Of a board's file.
    pub fn of(board: &toml::Table) -> Result<Self, String> {
        let read = board.clone().try_into();
        read.map_err(|error| error.to_string())
    }
}

/// Prints what the image is made of, and judges it.
pub fn judge(elf: &Path, board: &toml::Table) -> Result<(), String> {
    let image = Image::read(elf, board)?;
    let board = Board::of(board)?;
    print!("{}", image.table(&board)?);
    let problems = image.problems(&board, &topics()?)?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(format!("{}: {}", elf.display(), problems.join("; "))),
    }
}

/// Makes the files that are flashed of an image.
pub fn convert(elf: &Path, board: &Board) -> Result<Vec<PathBuf>, String> {
    let esptool = tools::ensure_esptool()?;
    let prefix = elf.with_extension("");
    let size = board.flash_size();
    let tool = || {
        let mut command = Command::new(&esptool);
        command.args(["--chip", "esp8266"]);
        command
    };
    let files = files(elf).map(|(_, file)| file);
    // Those of an earlier image are not to be taken for this one's.
    for file in &files {
        forget(file)?;
    }
    // The mode that every module has wires for.
    let made = tool()
        .args(["elf2image", "--version", "1", "--flash-mode", "dio"])
        .args(["--flash-freq", "40m", "--flash-size", size, "--output"])
        .arg(format!("{}-", prefix.display()))
        .arg(elf)
        .output()
        .map_err(|error| format!("cannot start {}: {error}", esptool.display()))?;
    said_well("elf2image", &made)?;
    if let Some(missing) = files.iter().find(|file| !file.is_file()) {
        return Err(format!(
            "esptool elf2image has made no {}: {}",
            missing.display(),
            shell::said(&made)
        ));
    }
    let info = tool()
        .arg("image-info")
        .arg(&files[0])
        .output()
        .map_err(|error| format!("cannot start {}: {error}", esptool.display()))?;
    said_well("image-info", &info)?;
    let text = String::from_utf8_lossy(&info.stdout);
    valid(&text, entry(elf)?)?;
    Ok(files.to_vec())
}

fn entry(elf: &Path) -> Result<u64, String> {
    let bytes = fs::read(elf).map_err(|e| format!("cannot read {}: {e}", elf.display()))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", elf.display()))?;
    Ok(file.entry())
}

fn forget(file: &Path) -> Result<(), String> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

fn said_well(what: &str, output: &std::process::Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    Err(format!("esptool {what}: {}", shell::said(output)))
}

/// Whether esptool finds the checksum right, and the entry where it belongs.
fn valid(info: &str, entry: u64) -> Result<(), String> {
    let lower = info.to_lowercase();
    if !lower.contains("(valid)") {
        return Err(format!("esptool finds no valid checksum: {info}"));
    }
    let entry = format!("{entry:08x}");
    match lower.contains(&entry) {
        true => Ok(()),
        false => Err(format!("esptool finds another entry than {entry}: {info}")),
    }
}

/// The table's topics, which say that it is in the image.
fn topics() -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Table {
        metric: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        topic: Option<String>,
    }
    let file = shell::root().join("metrics.toml");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let table: Table = toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(table
        .metric
        .into_iter()
        .filter_map(|row| row.topic)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        toml::from_str(
            "[memory]
            vectors = { origin = 0x40100000, length = 0x100 }
            iram = { origin = 0x40100100, length = 0x7f00 }
            dram = { origin = 0x3ffe8000, length = 0x14000 }
            irom = { origin = 0x40210000, length = 0x1000 }
            [ram]
            heap = 20480
            owed = 480
            [flash]
            size = 0x100000
            image = { origin = 0, length = 0x11000 }",
        )
        .unwrap()
    }

    /// One that nothing is wrong with.
    fn image() -> Image {
        let mut image = Image {
            entry: 0x4010_0004,
            text: (0x4021_0000, b"....../power....".to_vec()),
            iram: 24_000,
            data: 9_000,
            cold: 7_000,
            cold_is_empty: true,
            own_literals: vec![0x4021_0004, 0x3ffe_8000, 0x4010_0200],
            ..Image::default()
        };
        let mut add = |name: &str, address| image.symbols.insert(name.to_owned(), address);
        for name in RADIO.iter().chain(&IN_IRAM) {
            add(name, 0x4010_0200);
        }
        for part in PARTS {
            add(&format!("{part}::f"), 0x4021_0000);
        }
        add("call_user_start", 0x4010_0004);
        add("_heap_start", 0x3ffe_8000);
        add("_heap_end", 0x3ffe_8000 + 20_000);
        add(READ_AT_START, 0x4021_0004);
        image
    }

    fn problems(image: &Image) -> Vec<String> {
        image.problems(&board(), &["/power".to_owned()]).unwrap()
    }

    #[test]
    fn a_whole_image_is_taken() {
        assert_eq!(problems(&image()), Vec::<String>::new());
    }

    #[test]
    fn an_image_that_lacks_something_says_what() {
        let lacks = |name: &str| {
            let mut image = image();
            assert!(image.symbols.remove(name).is_some(), "{name}");
            problems(&image)
        };
        assert_eq!(
            lacks("wDev_ProcessFiq"),
            ["the vendor's wDev_ProcessFiq is not in it"]
        );
        assert_eq!(
            lacks("metertrekker::app::publisher::f"),
            ["metertrekker::app::publisher is not in it"]
        );
        let mut without_topics = image();
        without_topics.text.1.fill(0);
        assert_eq!(problems(&without_topics), ["the topic /power is not in it"]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_limit() {
        let mut large = image();
        large.iram = 26_000;
        assert_eq!(problems(&large), ["IRAM: 33000 bytes of 32768"]);
        let mut long = image();
        long.text.1.resize(5_000, 0);
        assert_eq!(
            problems(&long),
            ["the flash area `image`: 70536 bytes of 69632"]
        );
        let mut full = image();
        full.symbols.insert("_heap_start".into(), 0x3ffe_8001);
        assert_eq!(
            problems(&full),
            ["the vendor's heap: 19999 bytes, 20000 with the 480 owed"]
        );
    }

    #[test]
    fn code_that_runs_without_flash_may_not_refer_to_it() {
        let mut image = image();
        image.own_literals.push(0x4021_0008);
        let problems = problems(&image);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].ends_with("refers to flash at 0x40210008"));
    }

    #[test]
    fn what_runs_without_flash_has_to_be_in_iram() {
        for name in IN_IRAM {
            let mut moved = image();
            moved.symbols.insert(name.into(), 0x4021_0000);
            assert_eq!(
                problems(&moved),
                [format!(
                    "{name} is not in IRAM, and runs while flash cannot be read"
                )]
            );
            let mut without = image();
            without.symbols.remove(name);
            assert_eq!(
                problems(&without),
                [format!(
                    "{name} is not in it, by this name: it has to be in IRAM"
                )]
            );
        }
    }

    #[test]
    fn variables_in_iram_have_no_values_that_somebody_would_have_to_copy() {
        let mut image = image();
        image.cold_is_empty = false;
        assert_eq!(
            problems(&image),
            ["variables in IRAM have values, which nobody copies there"]
        );
        image.cold = 0;
        assert_eq!(problems(&image), Vec::<String>::new());
    }

    #[test]
    fn literals_are_found_by_who_loads_them() {
        // A literal, `l32r a2, .-4`, `ret.n`, and a word that nobody loads.
        let code = [
            0x08, 0x00, 0x21, 0x40, 0x21, 0xff, 0xff, 0x0d, 0xf0, 0, 0, 0, 0x04, 0x00, 0x21, 0x40,
        ];
        assert!(literals(&code).contains(&0x4021_0008));
        assert!(!literals(&code).contains(&0x4021_0004));
    }

    #[test]
    fn files_of_an_earlier_image_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("d1-mini-0x10000.bin");
        fs::write(&file, "of yesterday").unwrap();
        assert_eq!(forget(&file), Ok(()));
        assert!(!file.exists());
        assert_eq!(forget(&file), Ok(()));
        assert!(forget(folder.path()).is_err());
    }

    #[test]
    fn esptools_word_is_read() {
        let info = "Entry point: 0x40100004\nChecksum: 0x5d (valid)";
        assert_eq!(valid(info, 0x4010_0004), Ok(()));
        assert!(valid(info, 0x4010_0008).is_err());
        assert!(
            valid(
                "Entry point: 0x40100004\nChecksum: 0x5d (invalid)",
                0x4010_0004
            )
            .is_err()
        );
    }
}
