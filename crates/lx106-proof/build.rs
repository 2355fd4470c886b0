//! The image needs no start and no board: it is linked, and never run.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Part of the link step.
    println!("cargo::rerun-if-changed=../../xtask/src/firmware");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=proof,--gc-sections");
    }
}
