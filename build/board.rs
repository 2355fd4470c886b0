//! A board's file to what the linker needs of it.

#[path = "board/flash.rs"]
pub mod flash;
#[path = "board/pins.rs"]
pub mod pins;

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use flash::Flash;
use pins::Pins;

/// A file in `boards/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What it is, in a few words.
    #[allow(dead_code)] // For people.
    pub about: String,
    /// What its core is a part of.
    pub soc: Soc,
    /// The board whose tables it has, but for those that are in its file.
    like: Option<Spanned<String>>,
    /// For boards that have the command protocol.
    commands: Option<Commands>,
    /// What a program for a PC need not know.
    memory: Option<Memory>,
    ram: Option<Ram>,
    /// What only an ESP8266 has.
    pins: Option<Pins>,
    flash: Option<Flash>,
}

/// A folder below `src/soc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Soc {
    /// The chip, with its vendor's libraries.
    Esp8266,
    /// A PC.
    Host,
    /// The chip's core alone, emulated.
    Qemu,
}

impl Soc {
    const ALL: [Self; 3] = [Self::Esp8266, Self::Host, Self::Qemu];
}

impl TryFrom<String> for Soc {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|soc| soc.to_string() == name).ok_or_else(|| {
            let valid = Self::ALL.map(|soc| soc.to_string());
            format!("soc is \"{name}\": valid are {}", valid.join(", "))
        })
    }
}

impl fmt::Display for Soc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Esp8266 => "esp8266",
            Self::Host => "host",
            Self::Qemu => "qemu",
        })
    }
}

/// What the command protocol may take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    /// Clients over TCP at a time: one to three, for boards whose memory is one.
    sessions: Option<Spanned<u32>>,
    /// The most samples a second.
    max_rate: Spanned<u32>,
}

/// What the image takes of the chip's data memory, line by line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ram {
    budget: Spanned<u32>,
    /// By how much the lines are above it.
    owed: Option<Spanned<u32>>,
    /// What the vendor's libraries are to find free for a heap of theirs; they have their own memory for the stack then.
    heap: Option<u32>,
    /// What the lines may take that are in IRAM, beside code.
    iram: Option<Spanned<u32>>,
    lines: Lines,
}

/// A part's bytes and purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    bytes: Spanned<u32>,
    /// Data memory, when nothing is said.
    r#in: Option<Spanned<Place>>,
    #[allow(dead_code)] // For people.
    r#for: String,
}

/// Where a part lies that is not in data memory.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    /// With the code, where only words can be stored.
    Iram,
}

/// Declares the lines that a ledger has, and those that it may have: each becomes a constant of the code.
macro_rules! lines {
    ($($name:ident $constant:ident,)* ; $($more:ident $more_constant:ident,)*) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Lines {
            $($name: Line,)*
            $($more: Option<Line>,)*
        }

        impl Lines {
            fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, &Line)> {
                let here = [$((stringify!($name), stringify!($constant), Some(&self.$name)),)*
                    $((stringify!($more), stringify!($more_constant), self.$more.as_ref()),)*];
                here.into_iter().filter_map(|(name, constant, line)| Some((name, constant, line?)))
            }
        }
    };
}

lines! {
    ring RING,
    readings READINGS,
    meter METER,
    mqtt_rx MQTT_RX,
    mqtt_tx MQTT_TX,
    command_sockets COMMAND_SOCKETS,
    sessions SESSIONS,
    device DEVICE,
    mqtt_commands MQTT_COMMANDS,
    udp UDP,
    socket_rx SOCKET_RX,
    socket_tx SOCKET_TX,
    network NETWORK,
    common COMMON,
    tasks TASKS,
    rest REST,
    stack STACK,
    ;
    dhcp DHCP,
    cold_tasks COLD_TASKS,
    cold_rest COLD_REST,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    vectors: Spanned<Region>,
    iram: Spanned<Region>,
    dram: Spanned<Region>,
    irom: Spanned<Region>,
    /// Where the stack is, when it is not the end of `dram`.
    stack: Option<Spanned<Region>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    origin: u32,
    length: u32,
}

/// Reads the board `name` of `folder`, and the one that it is like.
#[allow(dead_code)] // Not every build script asks.
pub fn load(folder: &Path, name: &str) -> Result<Board, String> {
    let text = text(folder, name)?;
    read_like(&file(folder, name), &text, |base| {
        let text = self::text(folder, base)?;
        Ok((file(folder, base), text))
    })
}

fn file(folder: &Path, name: &str) -> String {
    folder.join(format!("{name}.toml")).display().to_string()
}

fn text(folder: &Path, name: &str) -> Result<String, String> {
    let boards = names(folder);
    if !boards.iter().any(|board| board == name) {
        return Err(format!("no board {name}: there are {}", boards.join(", ")));
    }
    let file = file(folder, name);
    fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))
}

/// The boards that there are.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Reads the text of a board that is like no other; the error names the file, and the line as far as TOML knows it.
pub fn read(file: &str, text: &str) -> Result<Board, String> {
    read_like(file, text, |base| Err(format!("no board {base} here")))
}

/// Reads a board's text, and by `find` file and text of the one that it is like.
pub fn read_like(
    file: &str,
    text: &str,
    find: impl FnOnce(&str) -> Result<(String, String), String>,
) -> Result<Board, String> {
    let at = |start: usize| format!("{file}:{}", 1 + text[..start].matches('\n').count());
    let mut board = parse(file, text)?;
    // Where a mistake is depends on the file, so each is looked at by itself first.
    if let Some((start, problem)) = board.own_problem() {
        return Err(format!("{}: {problem}", at(start)));
    }
    if let Some(like) = board.like.take() {
        let start = like.span().start;
        let (base_file, base_text) =
            find(like.get_ref()).map_err(|problem| format!("{}: {problem}", at(start)))?;
        let base = read(&base_file, &base_text)?;
        if base.soc != board.soc {
            let problem = format!(
                "{} is an {}, this a {}",
                like.get_ref(),
                base.soc,
                board.soc
            );
            return Err(format!("{}: {problem}", at(start)));
        }
        board.commands = board.commands.or(base.commands);
        board.memory = board.memory.or(base.memory);
        board.ram = board.ram.or(base.ram);
        board.pins = board.pins.or(base.pins);
        board.flash = board.flash.or(base.flash);
    }
    match board.problem() {
        Some(problem) => Err(format!("{file}:1: {problem}")),
        None => Ok(board),
    }
}

fn parse(file: &str, text: &str) -> Result<Board, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text[..start].matches('\n').count();
        format!("{file}:{line}: {}", error.message())
    })
}

/// What `owed` may be above the truth: changes of a few bytes should not touch the file.
const SLACK: u64 = 512;

impl Board {
    /// What contradicts itself in one of its tables, and where.
    fn own_problem(&self) -> Option<(usize, String)> {
        let commands = self.commands.as_ref().and_then(Commands::problem);
        let memory = || {
            let memory = self.memory.as_ref()?;
            (self.soc == Soc::Esp8266).then(|| memory.problem())?
        };
        commands
            .or_else(memory)
            .or_else(|| self.ram.as_ref().and_then(Ram::problem))
            .or_else(|| self.pins.as_ref().and_then(Pins::problem))
            .or_else(|| self.flash.as_ref().and_then(Flash::problem))
    }

    /// What is missing, or does not go together.
    fn problem(&self) -> Option<String> {
        if self.is_program() {
            return None;
        }
        let is_chip = self.soc == Soc::Esp8266;
        let tables = [
            ("memory", self.memory.is_some(), true),
            ("ram", self.ram.is_some(), true),
            ("pins", self.pins.is_some(), is_chip),
            ("flash", self.flash.is_some(), is_chip),
        ];
        tables
            .into_iter()
            .find_map(|(name, is_there, is_due)| match (is_there, is_due) {
                (false, true) => Some(format!("missing table `{name}`")),
                (true, false) => Some(format!("table `{name}`: only an esp8266 has it")),
                _ => None,
            })
            .or_else(|| {
                let memory = self.memory.as_ref()?;
                let ram = self.ram.as_ref()?;
                match (ram.heap, &memory.stack) {
                    (None, None) if is_chip => {
                        Some("[ram] lacks `heap`: the vendor's libraries need one".into())
                    }
                    (Some(_), None) => {
                        Some("memory `stack` is missing: with a `heap` it is elsewhere".into())
                    }
                    (None, Some(_)) => {
                        Some("memory `stack`: without a `heap` it is the end of `dram`".into())
                    }
                    _ => self.flash.as_ref()?.misplaced(memory.irom.get_ref()),
                }
            })
    }

    /// Its pins, when it is an ESP8266.
    #[allow(dead_code)] // Not every build script asks.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// Its flash, when it is an ESP8266.
    #[allow(dead_code)] // Not every build script asks.
    pub fn flash(&self) -> Option<&Flash> {
        self.flash.as_ref()
    }

    /// Whether it is a program for a PC and no image.
    pub fn is_program(&self) -> bool {
        self.soc == Soc::Host
    }
}

/// What the chip has for an image with the vendor's libraries: the first 32 KiB of IRAM, the rest being flash's cache, data memory, and
/// the ROM's stack.
const CHIP: [(&str, Region); 4] = [
    ("vectors", Region::new(0x4010_0000, 0x100)),
    ("iram", Region::new(0x4010_0100, 0x7f00)),
    ("dram", Region::new(0x3ffe_8000, 0x1_4000)),
    ("stack", Region::new(0x3fff_e000, 0x2000)),
];

impl Memory {
    /// What is not as the chip has it, and where.
    fn problem(&self) -> Option<(usize, String)> {
        let regions = [
            Some(&self.vectors),
            Some(&self.iram),
            Some(&self.dram),
            self.stack.as_ref(),
        ];
        let other = regions.into_iter().zip(&CHIP);
        let mut other = other.filter_map(|(region, chip)| Some((region?, chip)));
        if let Some((region, (name, chip))) =
            other.find(|(region, (_, chip))| region.get_ref() != chip)
        {
            let Region { origin, length } = region.get_ref();
            let problem = format!(
                "`{name}` is {length:#x} bytes at {origin:#x}: the chip has {:#x} at {:#x}",
                chip.length, chip.origin
            );
            return Some((region.span().start, problem));
        }
        let origin = self.irom.get_ref().origin;
        (origin != flash::CODE).then(|| {
            let problem = format!(
                "`irom` is at {origin:#x}: the part of the image that runs from flash is mapped at {:#x}",
                flash::CODE
            );
            (self.irom.span().start, problem)
        })
    }
}

impl Region {
    const fn new(origin: u32, length: u32) -> Self {
        Self { origin, length }
    }
}

impl Commands {
    fn problem(&self) -> Option<(usize, String)> {
        let rate = &self.max_rate;
        if !(1..=32_000).contains(rate.get_ref()) {
            let problem = format!("max_rate is {}, not 1 to 32000 Hz", rate.get_ref());
            return Some((rate.span().start, problem));
        }
        let sessions = self.sessions.as_ref()?;
        if !(1..=3).contains(sessions.get_ref()) {
            let problem = format!("sessions is {}, not 1 to 3", sessions.get_ref());
            return Some((sessions.span().start, problem));
        }
        None
    }
}

impl Ram {
    /// What contradicts itself, and where.
    fn problem(&self) -> Option<(usize, String)> {
        if let Some((name, _, line)) = self
            .lines
            .all()
            .find(|(_, _, line)| *line.bytes.get_ref() == 0)
        {
            let problem = format!("`{name}` takes 0 bytes; name what it takes");
            return Some((line.bytes.span().start, problem));
        }
        if let Some(problem) = self.iram_problem() {
            return Some(problem);
        }
        let sum = u64::from(match self.heap {
            Some(_) => self.variables(),
            None => self.variables() + *self.lines.stack.bytes.get_ref(),
        });
        let budget = u64::from(*self.budget.get_ref());
        let owed = self
            .owed
            .as_ref()
            .map_or(0, |owed| u64::from(*owed.get_ref()));
        let over = sum.saturating_sub(budget);
        if over > owed {
            let allowed = match owed {
                0 => format!("the budget of {budget}"),
                owed => format!("the budget of {budget} and the {owed} owed allow"),
            };
            let over = over - owed;
            let problem =
                format!("the lines of [ram] take {sum} bytes, {over} more than {allowed}");
            return Some((self.budget.span().start, problem));
        }
        match &self.owed {
            Some(said) if owed > over + SLACK => {
                let problem =
                    format!("{owed} bytes are owed, but only {over} are missing: lower it");
                Some((said.span().start, problem))
            }
            _ => None,
        }
    }
}

impl Ram {
    fn iram_problem(&self) -> Option<(usize, String)> {
        let placed = self
            .lines
            .all()
            .find_map(|(name, _, line)| Some((name, line.r#in.as_ref()?.span().start)));
        let Some(budget) = &self.iram else {
            let (name, start) = placed?;
            let problem =
                format!("`{name}` is in IRAM: [ram] needs `iram`, the bytes for such lines");
            return Some((start, problem));
        };
        if self.heap.is_none() {
            let problem = "`iram`: without a `heap` all of data memory is the image's own";
            return Some((budget.span().start, problem.into()));
        }
        if let Some(place) = &self.lines.stack.r#in {
            return Some((place.span().start, "`stack` cannot be in IRAM".into()));
        }
        let (sum, budget_bytes) = (self.variables_in_iram(), *budget.get_ref());
        let over = sum.checked_sub(budget_bytes).filter(|over| *over > 0)?;
        let problem = format!(
            "the lines of [ram] in IRAM take {sum} bytes, {over} more than the {budget_bytes} of `iram`"
        );
        Some((budget.span().start, problem))
    }
}

impl Board {
    /// `board.x`, which `link.x` of xtensa-lx-rt includes.
    pub fn linker_script(&self) -> String {
        let (
            Some(Memory {
                vectors,
                iram,
                dram,
                irom,
                stack,
            }),
            Some(ram),
        ) = (&self.memory, &self.ram)
        else {
            return String::new();
        };
        let mut script = String::from("MEMORY\n{\n");
        for (name, region) in [
            ("vectors", Some(vectors)),
            ("iram", Some(iram)),
            ("dram", Some(dram)),
            ("irom", Some(irom)),
            ("stack", stack.as_ref()),
        ] {
            let Some(region) = region.map(Spanned::get_ref) else {
                continue;
            };
            script.push_str(&format!(
                "  {name} : ORIGIN = {:#x}, LENGTH = {:#x}\n",
                region.origin, region.length
            ));
        }
        script += "}\n";
        script + &ram.assertions(self.soc)
    }

    /// Bytes of the vendor's variables, by the ledger: what neither the budget nor the heap has of the data memory.
    #[allow(dead_code)] // Not every build script asks.
    pub fn vendor_variables(&self) -> Option<u32> {
        let (memory, ram) = (self.memory.as_ref()?, self.ram.as_ref()?);
        (memory.dram.get_ref().length).checked_sub(*ram.budget.get_ref() + ram.heap?)
    }

    /// What the board can do, as constants.
    #[allow(dead_code)] // Not every build script asks.
    pub fn limits(&self) -> String {
        let mut code =
            String::from("// Generated from the board's file by build.rs. Do not edit.\n");
        let Some(Commands { sessions, max_rate }) = &self.commands else {
            return code;
        };
        if let Some(sessions) = sessions {
            code += "/// Clients of the command protocol over TCP at a time, at most.\n";
            code += &format!("pub const CLIENTS: usize = {};\n", sessions.get_ref());
        }
        code += "/// Samples of the command protocol a second, at most.\n";
        code += &format!("pub const MAX_RATE: u32 = {};\n", max_rate.get_ref());
        code
    }

    /// The ledger's lines as constants.
    #[allow(dead_code)] // Not every build script asks.
    pub fn ram_constants(&self) -> String {
        let mut code =
            String::from("// Generated from the board's [ram] by build.rs. Do not edit.\n");
        for (_, constant, line) in self.ram.iter().flat_map(|ram| ram.lines.all()) {
            code += &format!("pub const {constant}: usize = {};\n", line.bytes.get_ref());
        }
        code
    }
}

impl Ram {
    fn sum(&self, is_in_iram: bool) -> u32 {
        let lines = self.lines.all().map(|(_, _, line)| line);
        lines
            .filter(|line| line.r#in.is_some() == is_in_iram)
            .map(|line| *line.bytes.get_ref())
            .sum()
    }

    /// The lines in data memory but the stack's.
    fn variables(&self) -> u32 {
        self.sum(false) - *self.lines.stack.bytes.get_ref()
    }

    fn variables_in_iram(&self) -> u32 {
        self.sum(true)
    }

    /// What only the linker knows: it stops when the ledger's lines are not kept.
    fn assertions(&self, soc: Soc) -> String {
        let stack = *self.lines.stack.bytes.get_ref();
        let variables = self.variables();
        let Some(heap) = self.heap else {
            return format!(
                "
ASSERT(SIZEOF(.data) + SIZEOF(.bss) <= {variables}, \"{soc}: .data and .bss are longer than their lines in the board's [ram]\")
ASSERT(_stack_end - _stack_limit >= {stack}, \"{soc}: the stack is shorter than its line in the board's [ram]\")
"
            );
        };
        let budget = *self.budget.get_ref();
        let owed = self.owed.as_ref().map_or(0, |owed| *owed.get_ref());
        let cold = self.variables_in_iram();
        format!(
            "
ASSERT(_own_variables <= {variables}, \"{soc}: variables are longer than their lines in the board's [ram]\")
ASSERT(_own_variables + {SLACK} >= {variables}, \"{soc}: variables are much shorter than their lines in the board's [ram]: lower those\")
ASSERT(_cold_variables <= {cold}, \"{soc}: variables in IRAM are longer than their lines in the board's [ram]\")
ASSERT(_cold_variables + {SLACK} >= {cold}, \"{soc}: variables in IRAM are much shorter than their lines in the board's [ram]: lower those\")
ASSERT(_vendor_variables + {budget} + {heap} <= LENGTH(dram), \"{soc}: with the vendor's variables and heap, dram has no room for the board's budget\")
ASSERT(_heap_end - _heap_start + {owed} >= {heap}, \"{soc}: too little is left for the vendor's heap\")
ASSERT(_stack_end - _stack_limit >= {stack}, \"{soc}: the stack is shorter than its line in the board's [ram]\")
"
        )
    }
}
