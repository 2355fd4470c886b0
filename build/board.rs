//! A board's file to what the linker needs of it.

use serde::Deserialize;
use toml::Spanned;

/// A file in `boards/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What it is, in a few words.
    #[allow(dead_code)] // For people.
    pub about: String,
    /// The folder below `src/soc` with its code.
    #[allow(dead_code)] // Not every build script asks.
    pub soc: String,
    /// For boards that have the command protocol.
    commands: Option<Commands>,
    /// What a program for a PC need not know.
    memory: Option<Memory>,
    ram: Option<Ram>,
    /// For boards that keep everything in one flash chip.
    flash: Option<Flash>,
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
    /// What the vendor's libraries want to find free beside the lines, when there are any.
    heap: Option<u32>,
    lines: Lines,
}

/// A part's bytes and purpose.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    bytes: Spanned<u32>,
    #[allow(dead_code)] // For people.
    r#for: String,
}

/// Declares the lines that a ledger has, and behind `+` those that it may have: each becomes a constant of the code.
macro_rules! lines {
    ($($name:ident $constant:ident,)* + $($extra:ident $extra_constant:ident,)*) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Lines {
            $($name: Line,)*
            $($extra: Option<Line>,)*
        }

        impl Lines {
            fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, &Line)> {
                let all = [$((stringify!($name), stringify!($constant), &self.$name),)*];
                let extra = [$((stringify!($extra), stringify!($extra_constant), &self.$extra),)*];
                let extra = extra.into_iter().filter_map(|(name, constant, line)| {
                    Some((name, constant, line.as_ref()?))
                });
                all.into_iter().chain(extra)
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
    + dhcp DHCP,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    vectors: Region,
    iram: Region,
    dram: Region,
    irom: Region,
    /// Memory of its own that the stack has; without it, it is the end of `dram`.
    stack: Option<Region>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    origin: u32,
    length: u32,
}

/// What lies where in the flash chip.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flash {
    /// Bytes of the chip.
    size: Spanned<u32>,
    /// What runs.
    image: Spanned<Region>,
    /// Where an update waits until it is whole.
    staging: Spanned<Region>,
    /// What survives a restart.
    settings: Spanned<Region>,
    log: Spanned<Region>,
    /// What the vendor's libraries keep there: the last of the chip.
    vendor: Spanned<Region>,
}

/// Reads a board's text; the error names the file, and the line as far as TOML knows it.
pub fn read(file: &str, text: &str) -> Result<Board, String> {
    let at = |start: usize| format!("{file}:{}", 1 + text[..start].matches('\n').count());
    let board: Board = toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        format!("{}: {}", at(start), error.message())
    })?;
    match board.problem() {
        Some((start, problem)) => Err(format!("{}: {problem}", at(start))),
        None => Ok(board),
    }
}

/// What `owed` may be above the truth: changes of a few bytes should not touch the file.
const SLACK: u64 = 512;

impl Board {
    /// What contradicts itself or is not there, and where.
    fn problem(&self) -> Option<(usize, String)> {
        if let Some(problem) = self.commands.as_ref().and_then(Commands::problem) {
            return Some(problem);
        }
        match (&self.memory, &self.ram) {
            _ if self.is_program() => None,
            (None, _) => Some((0, "missing table `memory`".into())),
            (_, None) => Some((0, "missing table `ram`".into())),
            (Some(memory), Some(ram)) => {
                let problem = ram.problem(memory.stack.as_ref());
                problem.or_else(|| self.flash.as_ref()?.problem())
            }
        }
    }

    /// Whether it is a program for a PC and no image.
    pub fn is_program(&self) -> bool {
        self.soc == "host"
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

/// Flash is erased by so many bytes.
const SECTOR: u32 = 4096;
/// Sectors of the vendor's libraries: the radio's calibration, its initial data, and three of parameters, which have to be the
/// last of the chip.
const VENDOR: u32 = 5 * SECTOR;
/// Sizes that the vendor's libraries have a map for, and its number there (`enum flash_size_map`).
const SIZES: [(u32, u32); 2] = [(0x10_0000, 2), (0x40_0000, 4)];

impl Flash {
    fn areas(&self) -> [(&'static str, &Spanned<Region>); 5] {
        [
            ("image", &self.image),
            ("staging", &self.staging),
            ("settings", &self.settings),
            ("log", &self.log),
            ("vendor", &self.vendor),
        ]
    }

    /// What contradicts itself, and where.
    fn problem(&self) -> Option<(usize, String)> {
        let size = *self.size.get_ref();
        if !SIZES.iter().any(|(known, _)| *known == size) {
            let problem = format!("a flash of {size:#x} bytes; there are 0x100000 and 0x400000");
            return Some((self.size.span().start, problem));
        }
        let mut end = 0;
        let mut before = "the chip's start";
        for (name, area) in self.areas() {
            let Region { origin, length } = *area.get_ref();
            let at = area.span().start;
            if origin % SECTOR != 0 || length % SECTOR != 0 || length == 0 {
                let problem = format!("`{name}` is not made of whole sectors of {SECTOR} bytes");
                return Some((at, problem));
            }
            if origin < end {
                return Some((at, format!("`{name}` begins before the end of {before}")));
            }
            let Some(its_end) = origin.checked_add(length).filter(|end| *end <= size) else {
                return Some((at, format!("`{name}` ends behind the chip's {size:#x} bytes")));
            };
            (end, before) = (its_end, name);
        }
        let vendor = self.vendor.get_ref();
        if vendor.length != VENDOR || end != size {
            let problem = format!("`vendor` has to be the last {VENDOR:#x} bytes");
            return Some((self.vendor.span().start, problem));
        }
        if self.image.get_ref().origin != 0 {
            let problem = "`image` has to begin at 0, where the chip starts".into();
            return Some((self.image.span().start, problem));
        }
        None
    }

    /// As constants.
    fn constants(&self) -> String {
        let mut code = String::new();
        for (name, area) in self.areas() {
            let Region { origin, length } = area.get_ref();
            let name = name.to_uppercase();
            code += &format!("pub const {name}: core::ops::Range<u32> = {origin:#x}..{:#x};\n", origin + length);
        }
        let size = *self.size.get_ref();
        code += &format!("pub const SIZE: u32 = {size:#x};\n");
        code
    }
}

impl Ram {
    /// What contradicts itself, and where. A stack with memory of its own is none of the budget's.
    fn problem(&self, stack: Option<&Region>) -> Option<(usize, String)> {
        if let Some((name, _, line)) = self
            .lines
            .all()
            .find(|(_, _, line)| *line.bytes.get_ref() == 0)
        {
            let problem = format!("`{name}` takes 0 bytes; name what it takes");
            return Some((line.bytes.span().start, problem));
        }
        let line = &self.lines.stack.bytes;
        let sum: u64 = self
            .lines
            .all()
            .map(|(_, _, line)| u64::from(*line.bytes.get_ref()))
            .sum();
        let sum = match stack {
            Some(region) if *line.get_ref() > region.length => {
                let problem = format!(
                    "the stack takes {} bytes, its memory has {}",
                    line.get_ref(),
                    region.length
                );
                return Some((line.span().start, problem));
            }
            Some(_) => sum - u64::from(*line.get_ref()),
            None => sum,
        };
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
            let Some(region) = region else { continue };
            script.push_str(&format!(
                "  {name} : ORIGIN = {:#x}, LENGTH = {:#x}\n",
                region.origin, region.length
            ));
        }
        script += "}\n";
        script + &ram.assertions(&self.soc)
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

    /// The flash map as constants; nothing for boards without.
    #[allow(dead_code)] // Not every build script asks.
    pub fn flash_constants(&self) -> String {
        let code = "// Generated from the board's [flash] by build.rs. Do not edit.\n";
        let map = self.flash.as_ref().map(Flash::constants);
        code.to_owned() + &map.unwrap_or_default()
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
    /// What only the linker knows: it stops when the ledger's lines are not kept.
    fn assertions(&self, soc: &str) -> String {
        let lines = &self.lines;
        let stack = *lines.stack.bytes.get_ref();
        let sum: u32 = lines.all().map(|(_, _, line)| *line.bytes.get_ref()).sum();
        let variables = sum - stack;
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
        format!(
            "
/* With vendor libraries: variables of our own, and what is left for their heap. */
_board_variables = {variables};
_board_heap = {heap};
ASSERT(_own_variables <= {variables}, \"{soc}: variables are longer than their lines in the board's [ram]\")
ASSERT(_own_variables + {SLACK} >= {variables}, \"{soc}: variables are much shorter than their lines in the board's [ram]: lower those\")
ASSERT(_vendor_variables + {budget} + {heap} <= LENGTH(dram), \"{soc}: with the vendor's variables and heap, dram has no room for the board's budget\")
ASSERT(_heap_end - _heap_start + {owed} >= {heap}, \"{soc}: too little is left for the vendor's heap\")
ASSERT(_stack_end - _stack_limit >= {stack}, \"{soc}: the stack is shorter than its line in the board's [ram]\")
"
        )
    }
}
