//! Lays an image out for its board; the work is done by the pure functions in `build/`.

#[path = "build/board.rs"]
mod board;

use std::path::{Path, PathBuf};
use std::process::Command;
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
    if board.soc == "esp8266" {
        vendor_libraries(&out)?;
    }
    Ok(())
}

/// What is linked of the vendor's libraries; they refer to each other.
const LIBRARIES: [&str; 7] = ["main", "net80211", "wpa", "pp", "phy", "crypto", "hal"];

/// Functions of the vendor's that pass through ours, which call the real ones.
const WRAPPED: [&str; 1] = ["spi_flash_read"];

/// Links the vendor's libraries as our own script says, once the structures that are shared with them have the layout that the
/// code expects.
fn vendor_libraries(out: &Path) -> Result<(), String> {
    let variable = "METERTREKKER_SDK";
    println!("cargo::rerun-if-env-changed={variable}");
    println!("cargo::rerun-if-changed=src/soc/esp8266");
    let sdk = env::var_os(variable).map(PathBuf::from).ok_or_else(|| {
        format!("{variable} names no vendor libraries: build with `cargo xtask firmware`")
    })?;
    let libraries = ["libs", "lib"].map(|folder| sdk.join(folder));
    let libraries = libraries
        .iter()
        .find(|folder| folder.join("libmain.a").is_file());
    let libraries = libraries.ok_or_else(|| {
        format!(
            "{variable}={}: there is no libmain.a in libs/ or lib/",
            sdk.display()
        )
    })?;
    check_layouts(&sdk.join("include"), out)?;
    for script in ["link.x", "rom.x"] {
        let from = Path::new("src/soc/esp8266").join(script);
        fs::copy(&from, out.join(script))
            .map_err(|error| format!("{}: {error}", from.display()))?;
    }
    println!("cargo::rustc-link-search=native={}", libraries.display());
    let names: Vec<String> = LIBRARIES.iter().map(|name| format!("-l{name}")).collect();
    let group = names.join(",");
    println!("cargo::rustc-link-arg-bins=-Wl,--start-group,{group},--end-group");
    for function in WRAPPED {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    Ok(())
}

/// Has the cross compiler judge `layouts.c`, which includes the vendor's headers.
fn check_layouts(headers: &Path, out: &Path) -> Result<(), String> {
    let checked = Command::new("xtensa-lx106-elf-gcc")
        .args(["-c", "-std=gnu11", "-w", "-I"])
        .arg(headers)
        .arg("-o")
        .arg(out.join("layouts.o"))
        .arg("src/soc/esp8266/layouts.c")
        .output()
        .map_err(|error| format!("xtensa-lx106-elf-gcc: {error}"))?;
    if checked.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&checked.stderr);
    let asserts = said.lines().filter(|line| line.contains("error:"));
    let asserts: Vec<&str> = asserts.collect();
    Err(format!(
        "the vendor's structures are not what src/soc/esp8266 takes them for: {}",
        asserts.join("; ")
    ))
}

fn board(name: &str) -> Result<board::Board, String> {
    board::load(Path::new("boards"), name)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))
}
