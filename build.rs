//! Lays an image out for its board; the work is done by the pure functions in `build/`.

#[path = "build/board.rs"]
mod board;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    if let Err(problem) = lay_out() {
        println!("cargo::error={problem}");
    }
}

/// What a board can do; of the one that `METERTREKKER_BOARD` names also the linker's view, and its SoC as a `cfg`, which a program for
/// a PC needs not.
fn lay_out() -> Result<(), String> {
    println!("cargo::rerun-if-changed=boards");
    println!("cargo::rustc-check-cfg=cfg(soc, values(\"esp8266\", \"qemu\"))");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        let board = board("host")?;
        return write(&out, "limits.rs", &board.limits());
    }
    if env::var_os("CARGO_FEATURE_LIBRARY").is_some() {
        return Ok(());
    }
    // Part of the link step.
    println!("cargo::rerun-if-changed=xtask/src/firmware");
    let variable = "METERTREKKER_BOARD";
    println!("cargo::rerun-if-env-changed={variable}");
    let name = env::var(variable)
        .map_err(|_| format!("{variable} names no board: build with `cargo xtask firmware`"))?;
    let board = board(&name)?;
    if board.is_program() {
        return Err(format!(
            "{variable}={name}: that is a program, not an image"
        ));
    }
    write(&out, "board.x", &board.linker_script())?;
    write(&out, "ram.rs", &board.ram_constants())?;
    write(&out, "limits.rs", &board.limits())?;
    if let (Some(pins), Some(flash)) = (board.pins(), board.flash()) {
        write(&out, "pins.rs", &pins.code())?;
        write(&out, "map.rs", &flash.code())?;
    }
    println!("cargo::rustc-cfg=soc=\"{}\"", board.soc);
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    Ok(())
}

fn board(name: &str) -> Result<board::Board, String> {
    board::load(Path::new("boards"), name)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))
}
