//! The project's chores: `cargo xtask --help`.

mod fuzz;
mod shell;
mod tiers;
mod tools;

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
    /// Fetch and build the tools that the tests need and Debian does not have
    Tools,
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Test(args) => tiers::run(&args),
        Chore::Fuzz(args) => fuzz::run(&args),
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
