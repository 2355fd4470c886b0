//! The command line of `metertrekker`.

use std::{
    boxed::Box,
    format,
    fs::File,
    io::{self, BufWriter, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    string::{String, ToString},
};

use clap::{Parser, Subcommand};

use super::{decode, run, simulate};
use crate::p1::cipher::{Keys, Secret};

/// P1 smart meter reader: telegrams to MQTT and InfluxDB lines
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Options),
    Decode(DecodeOptions),
    Simulate(simulate::Options),
}

/// Prints one JSON object per telegram of a capture to stdout
#[derive(Debug, clap::Args)]
struct DecodeOptions {
    /// The capture: a file, or - for stdin
    file: PathBuf,
    /// The meter's key, when its port is encrypted: 32 hex digits
    #[arg(long, value_name = "HEX", value_parser = key)]
    decryption_key: Option<Secret>,
    /// Its authentication key, when that is not Luxembourg's
    #[arg(long, value_name = "HEX", value_parser = key, requires = "decryption_key")]
    authentication_key: Option<Secret>,
}

fn key(text: &str) -> Result<Secret, &'static str> {
    Secret::parse(text).ok_or("give 32 hex digits")
}

/// Runs the command line and returns the exit status: 0 for success, 1 with a sentence on stderr,
/// 2 for a command line that cannot be understood.
pub fn main() -> ExitCode {
    let failed = match Cli::parse().command {
        Command::Run(options) => run::run(&options).map_err(|error| error.to_string()),
        Command::Simulate(options) => {
            simulate::simulate(&options).map_err(|error| error.to_string())
        }
        Command::Decode(options) => {
            let keys = Keys::of(options.decryption_key, options.authentication_key);
            decode_file(&options.file, keys)
        }
    };
    match failed {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            // Nobody may be listening any more, which is no reason to panic.
            let _ = writeln!(io::stderr(), "metertrekker: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn decode_file(path: &Path, keys: Option<Keys>) -> Result<(), String> {
    let name = match path == Path::new("-") {
        true => "standard input".to_string(),
        false => path.display().to_string(),
    };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|error| unreadable(path, &error))?)
    };
    let output = BufWriter::new(io::stdout().lock());
    match decode::decode(input, output, keys) {
        Ok(summary) if summary.is_clean() => Ok(()),
        Ok(summary) => Err(format!("{name}: {summary}")),
        // Whoever reads our output has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let name = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("{name}: there is no such file; name one that exists"),
        ErrorKind::IsADirectory => format!("{name}: is a directory; name a file in it"),
        _ => format!("{name}: {error}"),
    }
}
