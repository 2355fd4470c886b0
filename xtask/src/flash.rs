//! From an image to a board on a serial port, and what the board says there: `cargo xtask flash`, `cargo xtask monitor`.

use std::path::Path;
use std::process::Command;

use crate::{firmware, shell, tools};

/// Arguments of `cargo xtask flash`.
#[derive(clap::Args)]
pub struct Args {
    /// A file in boards/, without its .toml
    board: String,
    /// Where the board is connected, such as /dev/ttyUSB0
    #[arg(long)]
    port: String,
    /// Bits per second
    #[arg(long, default_value_t = 460_800)]
    baud: u32,
}

/// Arguments of `cargo xtask monitor`.
#[derive(clap::Args)]
pub struct MonitorArgs {
    /// Where the board is connected, such as /dev/ttyUSB0
    #[arg(long)]
    port: String,
}

/// The console's speed.
const CONSOLE: &str = "115200";

/// Builds the board's image, looks whether chip and flash are those of the board, and writes it.
pub fn run(args: &Args) -> Result<(), String> {
    let chip = firmware::build_for_chip(&args.board)?;
    let esptool = tools::ensure_esptool()?;
    let tool = || {
        let mut command = Command::new(&esptool);
        command.args(["--chip", "esp8266", "--port", &args.port]);
        command.args(["--baud", &args.baud.to_string()]);
        command
    };
    let found = tool()
        .arg("flash-id")
        .output()
        .map_err(|error| format!("cannot start {}: {error}", esptool.display()))?;
    let said = String::from_utf8_lossy(&found.stdout);
    if !found.status.success() {
        return Err(format!(
            "{}: no ESP8266 answers there: hold its FLASH button (GPIO0 to ground) while it is reset, and look at port and cable\n{}",
            args.port,
            said.trim()
        ));
    }
    fits(&said, chip.flash_size).map_err(|problem| format!("{}: {problem}", args.board))?;
    let mut write = tool();
    write.arg("write-flash");
    for (at, file) in &chip.files {
        write.arg(at).arg(file);
    }
    // With esptool's own bar of progress.
    shell::run(&mut write)?;
    println!(
        "Written. The console is the device's for ten seconds after a reset: cargo xtask monitor --port {}",
        args.port
    );
    Ok(())
}

/// Whether what esptool says of the board is what its file says.
fn fits(said: &str, flash_size: &str) -> Result<(), String> {
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.split_once(key))?;
        Some(line.1.trim_start_matches(':').trim())
    };
    let size = value("Detected flash size")
        .ok_or("esptool does not tell the flash's size; is the module's flash damaged?")?;
    if mega(size) < mega(flash_size) {
        return Err(format!(
            "its file says {flash_size} of flash, the module has {size}; choose a board with less"
        ));
    }
    Ok(())
}

fn mega(size: &str) -> u32 {
    size.trim_end_matches("MB").parse().unwrap_or(0)
}

/// Shows what the board says and sends what is typed.
pub fn monitor(args: &MonitorArgs) -> Result<(), String> {
    let esptool = tools::ensure_esptool()?;
    // It comes with esptool.
    let beside = esptool
        .parent()
        .map(|folder| folder.join("pyserial-miniterm"));
    let terminal = beside.filter(|path| path.is_file());
    let terminal = terminal.unwrap_or_else(|| Path::new("pyserial-miniterm").to_path_buf());
    shell::run(Command::new(terminal).args(["--eol", "LF", "--raw", &args.port, CONSOLE]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Connected to ESP8266 on /dev/ttyUSB0:
Chip type:          ESP8266EX

Flash Memory Information:
=========================
Manufacturer: 68
Device: 4016
Detected flash size: 4MB
";

    #[test]
    fn a_module_with_as_much_flash_or_more_is_taken() {
        assert_eq!(fits(SAID, "4MB"), Ok(()));
        assert_eq!(fits(SAID, "1MB"), Ok(()));
    }

    #[test]
    fn a_module_with_less_flash_is_refused() {
        let said = SAID.replace("4MB", "1MB");
        let problem = fits(&said, "4MB").unwrap_err();
        assert_eq!(
            problem,
            "its file says 4MB of flash, the module has 1MB; choose a board with less"
        );
        assert!(fits("nothing", "1MB").is_err());
        assert!(fits(&SAID.replace("4MB", "512KB"), "1MB").is_err());
    }
}
