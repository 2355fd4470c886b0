//! The `metertrekker` command, or a board's image: wiring only.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
// The image's entry is in there.
use metertrekker as _;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    metertrekker::soc::host::cli::main()
}
