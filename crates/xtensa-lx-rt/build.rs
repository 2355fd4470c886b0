//! Assembles the vectors and puts the linker script where the linker looks.

#[path = "../assemble.rs"]
mod assemble;

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=link.x");
    if env::var_os("CARGO_FEATURE_XTOS").is_some() {
        let mut sources = vec!["asm/narrow.S", "asm/xtos.S", "asm/xtos_hand_on.S"];
        if env::var_os("CARGO_FEATURE_LIBMAIN").is_some() {
            sources.push("asm/libmain.S");
        }
        assemble::archive("xtensa_lx_rt_asm", &sources);
        return;
    }
    if env::var_os("CARGO_FEATURE_VECTORS").is_none() {
        println!("cargo::rerun-if-changed=build.rs");
        return;
    }
    assemble::archive(
        "xtensa_lx_rt_asm",
        &[
            "asm/start.S",
            "asm/vectors.S",
            "asm/narrow.S",
            // Tried by the tests, which have vectors as those libraries have them.
            "asm/xtos.S",
        ],
    );
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        println!("cargo::error=OUT_DIR is not set");
        return;
    };
    if let Err(error) = fs::copy("link.x", out.join("link.x")) {
        println!("cargo::error=cannot copy link.x: {error}");
    }
    println!("cargo::rustc-link-search={}", out.display());
}
