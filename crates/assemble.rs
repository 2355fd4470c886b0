//! What the build scripts of the crates with assembly share.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Assembles `sources` into the static library `name` and has it linked. Does nothing for another target than Xtensa.
pub fn archive(name: &str, sources: &[&str]) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../assemble.rs");
    println!("cargo::rerun-if-changed=asm");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("xtensa") {
        return;
    }
    if let Err(problem) = assemble(name, sources) {
        println!("cargo::error={problem}");
    }
}

fn assemble(name: &str, sources: &[&str]) -> Result<(), String> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let mut objects = Vec::new();
    for source in sources {
        let object = out.join(
            Path::new(source)
                .with_extension("o")
                .file_name()
                .unwrap_or_default(),
        );
        // Literals in the section of the code that loads them: vectors are far from everything else.
        run(Command::new("xtensa-lx106-elf-gcc")
            .args(["-c", "-mtext-section-literals", "-mlongcalls", source, "-o"])
            .arg(&object))?;
        objects.push(object);
    }
    let archive = out.join(format!("lib{name}.a"));
    // `ar` adds to what is there.
    let _ = std::fs::remove_file(&archive);
    run(Command::new("xtensa-lx106-elf-ar")
        .arg("crs")
        .arg(&archive)
        .args(&objects))?;
    println!("cargo::rustc-link-search=native={}", out.display());
    // Bundled into the Rust library it would be taken for bitcode by the link step.
    println!("cargo::rustc-link-lib=static:-bundle={name}");
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!(
            "cannot start {program}: {error}; install gcc-xtensa-lx106 and binutils-xtensa-lx106"
        )),
    }
}
