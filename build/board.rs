//! A board's file to what the linker needs of it.

use serde::Deserialize;

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
    memory: Memory,
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
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text[..start].matches('\n').count();
        format!("{file}:{line}: {}", error.message())
    })
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
        script + "}\n"
    }
}
