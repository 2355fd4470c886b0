//! The boards' files: what the linker gets of them, and what their author is told.

#[path = "../build/board.rs"]
mod board;

use std::fs;
use std::path::Path;

const MEMORY: &str = "[memory]
vectors = { origin = 0x40100000, length = 0x100 }
iram = { origin = 0x40100100, length = 0x7f00 }
dram = { origin = 0x3ffe8000, length = 0x14000 }
irom = { origin = 0x40210000, length = 0x73000 }
";

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
    let text = format!("about = \"x\"\nsoc = \"qemu\"\n{MEMORY}");
    let script = board::read("boards/x.toml", &text).unwrap().linker_script();
    assert_eq!(
        script,
        "MEMORY
{
  vectors : ORIGIN = 0x40100000, LENGTH = 0x100
  iram : ORIGIN = 0x40100100, LENGTH = 0x7f00
  dram : ORIGIN = 0x3ffe8000, LENGTH = 0x14000
  irom : ORIGIN = 0x40210000, LENGTH = 0x73000
}
"
    );
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
        "boards/x.toml:3: unknown field `speed`, expected one of `about`, `soc`, `memory`"
    );
    let without_iram = MEMORY.replace("iram", "irm");
    assert!(
        problem(&format!("about = \"x\"\nsoc = \"qemu\"\n{without_iram}"))
            .starts_with("boards/x.toml:5: unknown field `irm`")
    );
}
