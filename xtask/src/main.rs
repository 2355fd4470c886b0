//! The project's chores: `cargo xtask --help`.

mod bench;
mod curves;
mod failures;
mod firmware;
mod flash;
mod fuzz;
mod latency;
mod mutate;
mod shell;
mod size;
mod tiers;
mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "The project's own chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run the test tiers in order, all of them unless some are named
    Test(tiers::Args),
    /// Fuzz one target, or every target in turn
    Fuzz(fuzz::Args),
    /// Judge many damaged telegrams, each made of its number
    Mutate(mutate::Args),
    /// Build a board's image for the lx106 into target/firmware
    Firmware(firmware::Args),
    /// Build the image of a board with an ESP8266 and write it to the one that is connected
    Flash(flash::Args),
    /// Show what a connected board says, and send it what is typed
    Monitor(flash::MonitorArgs),
    /// Count what a telegram costs, on this machine or on the emulated lx106
    Bench(bench::Args),
    /// Tell what an image in target/firmware is made of
    Size(size::Args),
    /// Fetch and build the tools that the tests need and Debian does not have
    Tools,
    /// What rustc runs as its linker for the lx106
    #[command(name = firmware::link::MODE, hide = true, disable_help_flag = true)]
    Link {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Test(args) => tiers::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Mutate(args) => mutate::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Size(args) => size::run(&args),
        Chore::Firmware(args) => firmware::run(&args),
        Chore::Flash(args) => flash::run(&args),
        Chore::Monitor(args) => flash::monitor(&args),
        Chore::Link { args } => firmware::link::run(&args),
        Chore::Tools => tools::ensure_telegraf().map(|path| println!("{}", path.display())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
