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
    if board.soc == board::Soc::Esp8266 {
        match env::var_os("CARGO_FEATURE_STAND_IN") {
            None => vendor_libraries(&out)?,
            Some(_) => stand_in(&board, &out)?,
        }
    }
    Ok(())
}

/// Links what stands in for the vendor's libraries in their place. The ROM's functions are its own, too.
fn stand_in(board: &board::Board, out: &Path) -> Result<(), String> {
    let folder = Path::new("src/soc/stand_in");
    println!("cargo::rerun-if-changed={}", folder.display());
    check_layouts(&sdk()?, out)?;
    copy(&Path::new("src/soc/esp8266").join("link.x"), out)?;
    copy(&folder.join("rom.x"), out)?;
    let script = folder.join("stand_in.x");
    let script =
        fs::read_to_string(&script).map_err(|error| format!("{}: {error}", script.display()))?;
    let variables = board.vendor_variables().unwrap_or_default();
    let script = format!("_stand_in_vendor_variables = {variables};\n{script}");
    write(out, "stand_in.x", &script)?;
    println!("cargo::rustc-link-arg-bins=-Tstand_in.x");
    wrap();
    Ok(())
}

/// What is linked of the vendor's libraries; they refer to each other.
const LIBRARIES: [&str; 7] = ["main", "net80211", "wpa", "pp", "phy", "crypto", "hal"];

/// Functions of the vendor's that pass through ours, which call the real ones.
const WRAPPED: [&str; 1] = ["spi_flash_read"];

/// Links the vendor's libraries as our own script says, once the structures that are shared with them have the layout that the
/// code expects.
fn vendor_libraries(out: &Path) -> Result<(), String> {
    let sdk = sdk()?;
    let libraries = ["libs", "lib"].map(|folder| sdk.join(folder));
    let libraries = libraries
        .iter()
        .find(|folder| folder.join("libmain.a").is_file());
    let libraries = libraries.ok_or_else(|| {
        format!(
            "{SDK}={}: there is no libmain.a in libs/ or lib/",
            sdk.display()
        )
    })?;
    check_layouts(&sdk, out)?;
    for script in ["link.x", "rom.x"] {
        copy(&Path::new("src/soc/esp8266").join(script), out)?;
    }
    println!("cargo::rustc-link-search=native={}", libraries.display());
    let names: Vec<String> = LIBRARIES.iter().map(|name| format!("-l{name}")).collect();
    let group = names.join(",");
    println!("cargo::rustc-link-arg-bins=-Wl,--start-group,{group},--end-group");
    wrap();
    Ok(())
}

fn wrap() {
    for function in WRAPPED {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
}

/// The folder of the vendor's libraries and headers.
const SDK: &str = "METERTREKKER_SDK";

fn sdk() -> Result<PathBuf, String> {
    println!("cargo::rerun-if-env-changed={SDK}");
    println!("cargo::rerun-if-changed=src/soc/esp8266");
    env::var_os(SDK).map(PathBuf::from).ok_or_else(|| {
        format!("{SDK} names no vendor libraries: build with `cargo xtask firmware`")
    })
}

/// Puts a linker script where the linker looks.
fn copy(script: &Path, out: &Path) -> Result<(), String> {
    let name = script.file_name().unwrap_or_default();
    let copied = fs::copy(script, out.join(name));
    copied
        .map(drop)
        .map_err(|error| format!("{}: {error}", script.display()))
}

/// Has the cross compiler judge `layouts.c`, which includes the vendor's headers. lwIP's are beside the others in the archive, and in a
/// folder of their own in a checkout.
fn check_layouts(sdk: &Path, out: &Path) -> Result<(), String> {
    let checked = Command::new("xtensa-lx106-elf-gcc")
        .args(["-c", "-std=gnu11", "-w", "-I"])
        .arg(sdk.join("include"))
        .arg("-I")
        .arg(sdk.join("third_party/include"))
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
