//! Finds a Rust that can build for the lx106, and the cross tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::link;
use crate::shell;

/// The data layout in the target's description is this LLVM's; rustc refuses another.
const LLVM: u32 = 22;

/// How to get a Rust that will do.
const GET_RUST: &str = "install Debian's with `apt-get install rustc-web cargo-web rust-web-src`, or add the sources to a \
     rustup toolchain of LLVM 22 with `rustup component add rust-src`";

/// How to get the assembler and the linker.
const GET_CROSS_TOOLS: &str =
    "install them with `apt-get install gcc-xtensa-lx106 binutils-xtensa-lx106`";

/// A compiler with the package manager and the library sources that belong to it.
pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    /// Where the sources of `core` lie.
    pub library: PathBuf,
}

/// The first toolchain that will do; the error says in one sentence what is missing and how to get it.
pub fn find() -> Result<Toolchain, String> {
    if shell::on_path(link::ASSEMBLER).is_none() || shell::on_path(link::LINKER).is_none() {
        return Err(format!(
            "The lx106's assembler and linker ({}, {}) are not on PATH: {GET_CROSS_TOOLS}.",
            link::ASSEMBLER,
            link::LINKER
        ));
    }
    let mut reasons = Vec::new();
    for folder in candidates() {
        match check(&folder) {
            Ok(toolchain) => return Ok(toolchain),
            Err(reason) => reasons.push(format!("{} {reason}", folder.display())),
        }
    }
    Err(format!(
        "No Rust here can build for the lx106 ({}): {GET_RUST}.",
        reasons.join("; ")
    ))
}

/// Folders with a rustc: rustup's toolchains, the one in use first, then PATH and Debian's.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut add = |folder: PathBuf| {
        // /bin is /usr/bin on most machines.
        let folder = folder.canonicalize().unwrap_or(folder);
        if folder.join("rustc").is_file() && !folders.contains(&folder) {
            folders.push(folder);
        }
    };
    let in_use = std::env::var("RUSTUP_TOOLCHAIN").ok();
    for name in in_use.into_iter().chain(rustup_toolchains()) {
        let path = if Path::new(&name).is_absolute() {
            Some(PathBuf::from(name))
        } else {
            rustup_home().map(|home| home.join("toolchains").join(name))
        };
        if let Some(path) = path {
            add(path.join("bin"));
        }
    }
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        // rustup's proxies stand for the toolchains above.
        if !folder.join("rustup").is_file() {
            add(folder);
        }
    }
    add("/usr/bin".into());
    folders
}

fn rustup_home() -> Option<PathBuf> {
    std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")))
}

fn rustup_toolchains() -> Vec<String> {
    let list = Command::new("rustup").args(["toolchain", "list"]).output();
    let Ok(list) = list else { return Vec::new() };
    String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Whether the compiler in this folder will do; the error goes after the folder's name.
fn check(folder: &Path) -> Result<Toolchain, String> {
    let (cargo, rustc) = (folder.join("cargo"), folder.join("rustc"));
    if !cargo.is_file() {
        return Err("has no cargo".into());
    }
    let version = output(&rustc, &["-vV"])?;
    match llvm(&version) {
        Some(LLVM) => {}
        Some(other) => return Err(format!("has LLVM {other}, not {LLVM}")),
        None => return Err("names no LLVM".into()),
    }
    let cpus = output(
        &rustc,
        &["--print=target-cpus", "--target=xtensa-esp32-none-elf"],
    );
    if !cpus.is_ok_and(|cpus| cpus.lines().any(|line| line.trim() == "esp8266")) {
        return Err("has no Xtensa back end".into());
    }
    let sysroot = output(&rustc, &["--print=sysroot"])?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    if !library.join("core").is_dir() {
        return Err("lacks the library sources".into());
    }
    Ok(Toolchain {
        cargo,
        rustc,
        library,
    })
}

fn output(rustc: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new(rustc)
        .args(args)
        .output()
        .map_err(|e| format!("does not start: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("fails at {}", args.join(" "))),
    }
}

fn llvm(version: &str) -> Option<u32> {
    version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llvms_version_is_read_from_rustcs() {
        assert_eq!(
            llvm("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8\n"),
            Some(22)
        );
        assert_eq!(llvm("rustc 1.96.0\n"), None);
    }

    #[test]
    fn a_folder_without_cargo_says_so() {
        let reason = check(Path::new("/nonexistent")).err();
        assert_eq!(reason.as_deref(), Some("has no cargo"));
    }
}
