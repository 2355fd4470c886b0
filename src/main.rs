//! The `metertrekker` command: wiring only.

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    metertrekker::soc::host::cli::main()
}
