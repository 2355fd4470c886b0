//! Lays the image out as the emulated board.

#[path = "../assemble.rs"]
mod assemble;
// Of a board, only where things lie.
#[allow(dead_code)]
#[path = "../../build/board.rs"]
mod board;

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=../../build/board.rs");
    println!("cargo::rerun-if-changed=../../build/board");
    println!("cargo::rerun-if-changed=../../boards/qemu.toml");
    // Part of the link step.
    println!("cargo::rerun-if-changed=../../xtask/src/firmware");
    assemble::archive("lx106_bench_asm", &["asm/loop.S"]);
    if let Err(problem) = lay_out() {
        println!("cargo::error={problem}");
    }
}

fn lay_out() -> Result<(), String> {
    let file = "../../boards/qemu.toml";
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let script = board::read(file, &text)?.linker_script();
    fs::write(out.join("board.x"), script).map_err(|error| format!("board.x: {error}"))?;
    println!("cargo::rustc-link-search={}", out.display());
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
    }
    Ok(())
}
