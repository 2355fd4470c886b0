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
    commands: Commands,
    memory: Memory,
    ram: Ram,
}

/// What the command protocol may take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    /// Clients over TCP at a time: one to three.
    sessions: u32,
    /// The most samples a second.
    max_rate: u32,
}

/// What the image takes of the chip's data memory, line by line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ram {
    budget: Spanned<u32>,
    /// By how much the lines are above it.
    owed: Option<Spanned<u32>>,
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

/// Declares the lines that a ledger has: each becomes a constant of the code.
macro_rules! lines {
    ($($name:ident $constant:ident,)*) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Lines {
            $($name: Line,)*
        }

        impl Lines {
            fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, &Line)> {
                [$((stringify!($name), stringify!($constant), &self.$name),)*].into_iter()
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
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    vectors: Region,
    iram: Region,
    dram: Region,
    irom: Region,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    origin: u32,
    length: u32,
}

/// Reads a board's text; the error names the file, and the line as far as TOML knows it.
pub fn read(file: &str, text: &str) -> Result<Board, String> {
    let at = |start: usize| format!("{file}:{}", 1 + text[..start].matches('\n').count());
    let board: Board = toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        format!("{}: {}", at(start), error.message())
    })?;
    match board.ram.problem() {
        Some((start, problem)) => Err(format!("{}: {problem}", at(start))),
        None => Ok(board),
    }
}

/// What `owed` may be above the truth: changes of a few bytes should not touch the file.
const SLACK: u64 = 512;

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
        let sum: u64 = self
            .lines
            .all()
            .map(|(_, _, line)| u64::from(*line.bytes.get_ref()))
            .sum();
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
        let Memory {
            vectors,
            iram,
            dram,
            irom,
        } = &self.memory;
        let mut script = String::from("MEMORY\n{\n");
        for (name, region) in [
            ("vectors", vectors),
            ("iram", iram),
            ("dram", dram),
            ("irom", irom),
        ] {
            script.push_str(&format!(
                "  {name} : ORIGIN = {:#x}, LENGTH = {:#x}\n",
                region.origin, region.length
            ));
        }
        script += "}\n";
        script + &self.ram.assertions(&self.soc)
    }

    /// The ledger's lines as constants.
    #[allow(dead_code)] // Not every build script asks.
    pub fn ram_constants(&self) -> String {
        let mut code =
            String::from("// Generated from the board's [ram] by build.rs. Do not edit.\n");
        for (_, constant, line) in self.ram.lines.all() {
            code += &format!("pub const {constant}: usize = {};\n", line.bytes.get_ref());
        }
        let Commands { sessions, max_rate } = self.commands;
        code += &format!("pub const CLIENTS: usize = {sessions};\n");
        code + &format!("pub const MAX_RATE: u32 = {max_rate};\n")
    }
}

impl Ram {
    /// What only the linker knows: it stops when the ledger's lines are not kept.
    fn assertions(&self, soc: &str) -> String {
        let lines = &self.lines;
        let stack = *lines.stack.bytes.get_ref();
        let sum: u32 = lines.all().map(|(_, _, line)| *line.bytes.get_ref()).sum();
        let variables = sum - stack;
        format!(
            "
ASSERT(SIZEOF(.data) + SIZEOF(.bss) <= {variables}, \"{soc}: .data and .bss are longer than their lines in the board's [ram]\")
ASSERT(_stack_end - _stack_limit >= {stack}, \"{soc}: the stack is shorter than its line in the board's [ram]\")
"
        )
    }
}
