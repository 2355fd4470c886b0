//! Many damaged telegrams: `cargo xtask mutate`, which runs tests/mutations.rs for longer than `./test` does.

use crate::shell;

/// Arguments of `cargo xtask mutate`.
#[derive(clap::Args)]
pub struct Args {
    /// How many
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// The number of the first: what a finding names
    #[arg(long, default_value_t = 0)]
    from: u64,
}

/// Judges so many.
pub fn run(args: &Args) -> Result<(), String> {
    shell::run(
        shell::cargo()
            .args([
                "test",
                "--release",
                "--test",
                "mutations",
                "a_damaged_telegram_is_refused",
            ])
            .args(["--", "--nocapture"])
            .env("MUTATIONS", args.count.to_string())
            .env("MUTATIONS_FROM", args.from.to_string()),
    )
}
