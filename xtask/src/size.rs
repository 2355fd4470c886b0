//! What an image is made of: `cargo xtask size`.

pub mod ledger;
mod symbols;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ledger::Ledger;
use object::{Object, ObjectSection, SectionFlags};
use serde::Deserialize;
use symbols::{Share, Symbol};

use crate::{firmware, shell};

/// Bytes of data memory that reading and publishing are to take at most, network buffers aside.
const DATA_GOAL: u64 = 20_000;

/// Bytes that they may take: the stack's places for the commands' sockets, 3,520, cannot be told from its others.
const DATA_LIMIT: u64 = 23_400;

/// Bytes of data memory that the commands may take.
const COMMANDS_LIMIT: u64 = 41_000;

/// What is there for the commands alone.
const COMMANDS: &[&str] = &[
    "metertrekker::soc::qemu::run::COMMAND_BUFFERS",
    "metertrekker::soc::qemu::run::COMMAND_DOORS",
    "metertrekker::soc::qemu::run::DEVICE",
    "metertrekker::soc::qemu::run::LOCKED",
    "metertrekker::soc::qemu::run::MDNS_BUFFERS",
    "metertrekker::soc::qemu::run::MDNS_ROOM",
    "metertrekker::soc::qemu::run::MONITORS",
    "metertrekker::soc::qemu::run::REMOTE",
    "metertrekker::soc::qemu::run::ROOMS",
    "metertrekker::soc::qemu::run::SAMPLE_BUFFERS",
    "metertrekker::soc::qemu::run::STREAM_BUFFERS",
    "metertrekker::soc::qemu::run::STREAM_PACKET",
    "metertrekker::soc::qemu::run::TIME_BUFFERS",
    "metertrekker::soc::qemu::run::answer_mqtt",
    "metertrekker::soc::qemu::run::call_server",
    "metertrekker::soc::qemu::run::keep_console",
    "metertrekker::soc::qemu::run::keep_house",
    "metertrekker::soc::qemu::run::keep_log",
    "metertrekker::soc::qemu::run::keep_time",
    "metertrekker::soc::qemu::run::let_in",
    "metertrekker::soc::qemu::run::serve_client",
    "metertrekker::soc::qemu::run::serve_streams",
    "metertrekker::soc::qemu::run::start_over",
    "metertrekker::soc::qemu::run::tell_name",
];

/// Bytes of code that framing, CRC and lines are to take at most.
const RECEIVING_GOAL: u64 = 8 * 1024;

/// Bytes of code that they may take: a little more than they do.
const RECEIVING_LIMIT: u64 = 24_100;

/// Where data memory ends, as on the chip: ROM, IRAM and flash lie above.
const DATA_END: u64 = 0x4000_0000;

/// What receives telegrams: bytes to values, all meters' oddities included.
const RECEIVING: &[&str] = &[
    "telegram::metric",
    "telegram::p1",
    "telegram::reading",
    "telegram::receiver",
    "crc",
    "memchr",
    "nom",
];

/// What there is beside it only because values are written out again.
const WRITING_OUT: &[&str] = &[
    "telegram::p1::value::Number>::write",
    "telegram::p1::value::Number>::write_as_sent",
    "telegram::p1::value::Number>::write_large",
    "telegram::p1::value::Number>::write_padded",
    "telegram::p1::timestamp::Calendar",
    "telegram::reading::Reading>::is_newest_of_device",
    "telegram::reading::Reading>::values_of",
];

/// Network buffers: the sockets' windows, and the MQTT packets being sent, acknowledged and received.
const NETWORK: &[&str] = &[
    "metertrekker::soc::qemu::run::BUFFERS",
    "metertrekker::soc::qemu::run::ROOM",
];

/// Arguments of `cargo xtask size`.
#[derive(clap::Args)]
pub struct Args {
    /// A board, whose image lies in target/firmware, or an ELF file
    #[arg(default_value = "qemu")]
    image: String,
    /// Fail when the image breaks a rule
    #[arg(long)]
    check: bool,
}

/// Prints what the image is made of; with `--check`, fails when it breaks a rule.
pub fn run(args: &Args) -> Result<(), String> {
    let path = match args.image.ends_with(".elf") {
        true => PathBuf::from(&args.image),
        false => shell::target_dir().join(format!("firmware/{}.elf", args.image)),
    };
    let board = match args.image.ends_with(".elf") {
        true => "qemu",
        false => &args.image,
    };
    let image = Image::read(&path)?;
    print!("{}", image.report(&regions(board)?));
    match args.check {
        false => Ok(()),
        // Another image than a board's has no ledger.
        true if args.image.ends_with(".elf") => image.check(),
        true => check(board),
    }
}

/// Fails when a board's image breaks a rule.
pub fn check(board: &str) -> Result<(), String> {
    let path = shell::target_dir().join(format!("firmware/{board}.elf"));
    Image::read(&path)?.check()?;
    match ledger(board, &path)?.problems() {
        [] => Ok(()),
        problems => Err(format!("{}: {}", path.display(), problems.join("; "))),
    }
}

/// What an image takes of a board's memories, and of its ledger.
pub fn table(board: &str, image: &Path) -> Result<String, String> {
    let memories = Image::read(image)?.memories(&regions(board)?);
    Ok(memories + &ledger(board, image)?.table())
}

fn ledger(board: &str, image: &Path) -> Result<Ledger, String> {
    let bytes = fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    let elf = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", image.display()))?;
    Ledger::of(&firmware::read_board(board)?, &elf)
}

/// A memory of the board.
#[derive(Deserialize)]
struct Region {
    origin: u64,
    length: u64,
}

fn regions(board: &str) -> Result<BTreeMap<String, Region>, String> {
    #[derive(Deserialize)]
    struct Board {
        memory: BTreeMap<String, Region>,
    }
    let read: Result<Board, _> = firmware::read_board(board)?.try_into();
    let board = read.map_err(|error| format!("boards/{board}.toml: {error}"))?;
    Ok(board.memory)
}

/// The kinds of sections, as columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Text,
    Rodata,
    Data,
    Bss,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Text, Self::Rodata, Self::Data, Self::Bss];

    fn of(section: &str) -> Self {
        match section {
            ".rodata" => Self::Rodata,
            ".data" => Self::Data,
            ".bss" | ".noinit" => Self::Bss,
            _ => Self::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Rodata => "rodata",
            Self::Data => "data",
            Self::Bss => "bss",
        }
    }
}

/// A section that takes up memory.
struct Section {
    kind: Kind,
    address: u64,
    size: u64,
    shares: Vec<Share>,
}

struct Image {
    name: String,
    sections: Vec<Section>,
}

impl Image {
    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let bytes = fs::read(path)
            .map_err(|e| format!("{name}: {e}; `cargo xtask firmware` builds images"))?;
        let elf = object::File::parse(&*bytes).map_err(|e| format!("{name}: {e}"))?;
        let symbols: Vec<Symbol> = symbols::of(&elf);
        let allocated = |section: &object::Section<'_, '_>| match section.flags() {
            SectionFlags::Elf { sh_flags } => {
                sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && section.size() > 0
            }
            _ => false,
        };
        let sections = elf.sections().filter(allocated).map(|section| Section {
            kind: Kind::of(section.name().unwrap_or_default()),
            address: section.address(),
            size: section.size(),
            shares: symbols::shares(&symbols, section.address(), section.size()),
        });
        let sections = sections.collect();
        Ok(Self { name, sections })
    }

    fn shares(&self) -> impl Iterator<Item = (Kind, &Share)> {
        let of = |section| {
            let Section { kind, shares, .. }: &Section = section;
            shares.iter().map(move |share| (*kind, share))
        };
        self.sections.iter().flat_map(of)
    }

    fn total(&self, kind: Kind) -> u64 {
        let sections = self.sections.iter().filter(|section| section.kind == kind);
        sections.map(|section| section.size).sum()
    }

    /// Bytes of what belongs to one of `owners`.
    fn owned(&self, kinds: &[Kind], owners: &[&str]) -> u64 {
        let wanted = |(kind, share): &(Kind, &Share)| {
            kinds.contains(kind) && owners.iter().any(|owner| share.is_of(owner))
        };
        self.shares()
            .filter(wanted)
            .map(|(_, share)| share.size)
            .sum()
    }

    /// Bytes of what formats by `core::fmt`, none where it says nothing of itself.
    fn formatting(&self) -> u64 {
        let formats = |(_, share): &(Kind, &Share)| share.path.contains("core::fmt::");
        self.shares()
            .filter(formats)
            .map(|(_, share)| share.size)
            .sum()
    }

    /// What of data memory the commands take.
    fn commands(&self) -> u64 {
        self.owned(&[Kind::Data, Kind::Bss], COMMANDS)
    }

    /// What lies in data memory, without network buffers and the commands.
    fn data(&self) -> u64 {
        let in_ram = |section: &&Section| section.address < DATA_END;
        let all: u64 = self
            .sections
            .iter()
            .filter(in_ram)
            .map(|section| section.size)
            .sum();
        all - self.owned(&[Kind::Data, Kind::Bss], NETWORK) - self.commands()
    }

    fn rodata_in_flash(&self) -> u64 {
        let in_flash =
            |section: &&Section| section.kind == Kind::Rodata && section.address >= DATA_END;
        let sections = self.sections.iter().filter(in_flash);
        sections.map(|section| section.size).sum()
    }

    fn receiving(&self) -> u64 {
        self.owned(&[Kind::Text], RECEIVING) - self.owned(&[Kind::Text], WRITING_OUT)
    }

    fn memories(&self, regions: &BTreeMap<String, Region>) -> String {
        let mut out = format!("{:<30}{:>9}{:>9}\n", "memory", "used", "of");
        for (name, Region { origin, length }) in regions {
            let within = |section: &&Section| (*origin..origin + length).contains(&section.address);
            let used: u64 = self
                .sections
                .iter()
                .filter(within)
                .map(|section| section.size)
                .sum();
            out += &format!("{name:<30}{used:>9}{length:>9}\n");
        }
        out
    }

    fn report(&self, regions: &BTreeMap<String, Region>) -> String {
        let mut rows: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for (kind, share) in self.shares() {
            rows.entry(&share.owner).or_default()[kind as usize] += share.size;
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(_, sizes)| std::cmp::Reverse(sizes.iter().sum::<u64>()));
        let totals = Kind::ALL.map(|kind| self.total(kind));
        rows.push(("together", totals));
        let mut out = format!("{}\n{:<32}", self.name, "");
        for kind in Kind::ALL {
            out += &format!(" {:>8}", kind.name());
        }
        out += "    bytes\n";
        for (owner, sizes) in rows {
            let [text, rodata, data, bss] = sizes;
            let sum: u64 = sizes.iter().sum();
            out += &format!("{owner:<32} {text:>8} {rodata:>8} {data:>8} {bss:>8} {sum:>8}\n");
        }
        out += "\n";
        out += &self.memories(regions);
        let formatting = match self.formatting() {
            0 => "no".to_owned(),
            bytes => format!("yes, {bytes} bytes"),
        };
        out += &format!("\ncore::fmt in the image: {formatting}\n");
        out += &format!("rodata in flash: {} bytes\n", self.rodata_in_flash());
        out += &against(
            "data memory without network buffers",
            self.data(),
            DATA_GOAL,
        );
        out += &format!("data memory of the commands: {} bytes\n", self.commands());
        out + &against(
            "code of frame, CRC and lines",
            self.receiving(),
            RECEIVING_GOAL,
        )
    }

    fn check(&self) -> Result<(), String> {
        let limits = [
            ("core::fmt", self.formatting(), 0),
            (
                "data memory without network buffers",
                self.data(),
                DATA_LIMIT,
            ),
            (
                "data memory of the commands",
                self.commands(),
                COMMANDS_LIMIT,
            ),
            (
                "code of frame, CRC and lines",
                self.receiving(),
                RECEIVING_LIMIT,
            ),
        ];
        let over = limits
            .iter()
            .filter(|(_, found, limit)| found > limit)
            .map(|(what, found, limit)| format!("{found} bytes of {what}, {limit} allowed"));
        // Renamed, they would count as data.
        let lost = NETWORK
            .iter()
            .filter(|name| self.owned(&[Kind::Data, Kind::Bss], &[name]) == 0)
            .map(|name| format!("no {name} among the network buffers"));
        let broken: Vec<String> = over.chain(lost).collect();
        match broken.is_empty() {
            true => Ok(()),
            false => Err(format!("{}: {}", self.name, broken.join("; "))),
        }
    }
}

/// A figure beside its goal.
fn against(what: &str, found: u64, goal: u64) -> String {
    let verdict = match found.checked_sub(goal) {
        Some(over @ 1..) => format!("missed by {over}"),
        _ => "met".to_owned(),
    };
    format!("{what}: {found} bytes; goal {goal}, {verdict}\n")
}

#[cfg(test)]
mod tests {
    use super::symbols::{NOBODY, shares};
    use super::*;

    const RAM: u64 = 0x3ffe_8000;
    const FLASH: u64 = 0x4021_0000;

    /// A section's kind, address, and symbols with their sizes.
    type Made<'a> = (Kind, u64, &'a [(u64, &'a str)]);

    fn image(sections: &[Made<'_>]) -> Image {
        let section = |(kind, address, parts): &Made<'_>| {
            let address = *address;
            let mut symbols = Vec::new();
            let mut at = address;
            for (size, path) in *parts {
                if !path.is_empty() {
                    symbols.push(Symbol {
                        address: at,
                        size: *size,
                        path: (*path).into(),
                    });
                }
                at += size;
            }
            Section {
                kind: *kind,
                address,
                size: at - address,
                shares: shares(&symbols, address, at - address),
            }
        };
        Image {
            name: "an image".into(),
            sections: sections.iter().map(section).collect(),
        }
    }

    /// Each network buffer, and so many bytes more.
    fn data(more: u64) -> Vec<(u64, &'static str)> {
        let buffers = NETWORK.iter().map(|name| (60_000, *name));
        buffers.chain([(more, "x::Y")]).collect()
    }

    #[test]
    fn an_image_within_its_limits_passes() {
        let code = [
            (8000, "nom::number"),
            (50_000, "minimq::connect"),
            (9000, ""),
        ];
        let image = image(&[
            (Kind::Text, FLASH, &code),
            (Kind::Rodata, FLASH, &[(30_000, "")]),
            (Kind::Bss, RAM, &data(DATA_LIMIT)),
        ]);
        assert_eq!(image.check(), Ok(()));
    }

    #[test]
    fn every_limit_that_is_broken_is_told() {
        let code = [
            (24_101, "<telegram::p1::framing::Framer>::next"),
            (400, "<telegram::p1::value::Number>::write_padded"),
            (7, "<u32 as core::fmt::Display>::fmt"),
        ];
        let image = image(&[
            (Kind::Text, FLASH, &code),
            (Kind::Rodata, RAM, &[(15_000, "")]),
            (Kind::Bss, RAM, &data(DATA_LIMIT - 15_000 + 1)[1..]),
        ]);
        let problem = image.check().unwrap_err();
        assert_eq!(
            problem,
            "an image: 7 bytes of core::fmt, 0 allowed; 23401 bytes of data memory without network buffers, 23400 allowed; \
             24101 bytes of code of frame, CRC and lines, 24100 allowed; \
             no metertrekker::soc::qemu::run::BUFFERS among the network buffers"
        );
    }

    #[test]
    fn the_report_has_every_byte_and_names_what_is_missed() {
        let image = image(&[
            (Kind::Text, FLASH, &[(100, "nom::number"), (20, "")]),
            (
                Kind::Rodata,
                FLASH + 120,
                &[(3000, "telegram::metric::raw::METRICS")],
            ),
            (Kind::Data, RAM, &[(20_500, "metertrekker::soc::X")]),
        ]);
        let region = Region {
            origin: FLASH,
            length: 4000,
        };
        let report = image.report(&BTreeMap::from([("irom".to_owned(), region)]));
        let has = |start: &str, figures: &[&str]| {
            let line = report.lines().find(|line| line.starts_with(start));
            let words = line.unwrap_or_default().split_whitespace();
            let found: Vec<_> = words.rev().take(figures.len()).collect();
            assert!(found.iter().rev().eq(figures.iter()), "{start}: {report}");
        };
        has("nom", &["100", "0", "0", "0", "100"]);
        has(NOBODY, &["20", "0", "0", "0", "20"]);
        has("telegram::metric", &["0", "3000", "0", "0", "3000"]);
        has("together", &["120", "3000", "20500", "0", "23620"]);
        has("irom", &["3120", "4000"]);
        has("core::fmt in the image", &["no"]);
        has("rodata in flash", &["3000", "bytes"]);
        has("data memory", &["missed", "by", "500"]);
        has("code of frame", &["100", "bytes;", "goal", "8192,", "met"]);
    }
}
