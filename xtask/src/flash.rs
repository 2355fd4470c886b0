//! From an image to a board on a serial port, and what the board says there: `cargo xtask flash`, `cargo xtask monitor`.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

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
    let said = shell::said(&found);
    if !found.status.success() {
        return Err(format!("{}: {}\n{said}", args.port, no_chip(&said)));
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

/// Why esptool found no chip, and what to do.
fn no_chip(said: &str) -> &'static str {
    if let Some(problem) = closed(said) {
        return problem;
    }
    let said = one_line(said);
    if said.contains("this chip is") {
        "another chip than an ESP8266 answers there: look whether this is the board's port"
    } else if said.contains("failed to connect") {
        "no ESP8266 answers there: hold its FLASH button (GPIO0 to ground) while it is reset, and look at port and cable"
    } else {
        "esptool does not get to the chip"
    }
}

/// Why the port cannot be opened, if so, and what to do. esptool and its terminal tell it in the same words, pyserial's.
fn closed(said: &str) -> Option<&'static str> {
    let said = one_line(said);
    // The number alone may be of any other file.
    if !said.contains("could not open") {
        return None;
    }
    let is = |number: &str| said.contains(&format!("[errno {number}]"));
    Some(if is("2") || is("6") || is("19") {
        "there is no such port: plug the board in with a cable that has data wires, and look for it by `ls /dev/tty*`"
    } else if is("13") {
        "you may not open the port: `sudo usermod -aG dialout $USER`, then log out and in again"
    } else if is("11") || is("16") || is("35") {
        "somebody else has the port: end `cargo xtask monitor`, or what else listens there"
    } else {
        "that cannot be opened as a serial port"
    })
}

/// Without the line breaks that a tool makes where its terminal ends.
fn one_line(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.join(" ").to_lowercase()
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
    let mut command = Command::new(terminal);
    command.args(["--eol", "LF", "--raw", &args.port, CONSOLE]);
    let said = watch(&mut command)?;
    said.map_err(|said| match closed(&said) {
        Some(problem) => format!("{}: {problem}", args.port),
        None => format!("{} failed", shell::shown(&command)),
    })
}

/// Runs a command that somebody talks to; when it fails the inner error has what it said of that, which was shown as well.
fn watch(command: &mut Command) -> Result<Result<(), String>, String> {
    let started = command.stderr(Stdio::piped()).spawn();
    let mut child =
        started.map_err(|error| format!("cannot start {}: {error}", shell::shown(command)))?;
    let mut said = Vec::new();
    if let Some(mut errors) = child.stderr.take() {
        let mut piece = [0; 256];
        while let Ok(length @ 1..) = errors.read(&mut piece) {
            let _ = io::stderr().write_all(&piece[..length]);
            // A mistake comes at once; what is said later in hours is of no use here.
            if said.len() < 4096 {
                said.extend_from_slice(&piece[..length]);
            }
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&said).into_owned()),
    })
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

    /// esptool 5.6.0 about a port, with pyserial's reason.
    fn esptool(reason: &str) -> String {
        format!(
            "esptool v5.6.0\nSerial port /dev/x:\nERROR: A fatal error occurred: Could not open /dev/x, the port is busy or doesn't exist.\n({reason})"
        )
    }

    #[test]
    fn a_port_that_cannot_be_opened_is_no_chip_that_does_not_answer() {
        for (reason, expected) in [
            (
                "[Errno 2] could not open port /dev/x: [Errno 2] No such file or directory: '/dev/x'",
                "there is no such port",
            ),
            (
                "[Errno\n13] could not open port /dev/x: [Errno\n13] Permission denied: '/dev/x'",
                "you may not open the port: `sudo usermod -aG dialout $USER`",
            ),
            (
                "[Errno 16] could not open port /dev/x: [Errno 16] Device or resource busy: '/dev/x'",
                "somebody else has the port",
            ),
            (
                "[Errno 11] Could not exclusively lock port /dev/x: [Errno 11] Resource temporarily unavailable",
                "somebody else has the port",
            ),
            (
                "Could not configure port: (25, 'Inappropriate ioctl for device')",
                "that cannot be opened as a serial port",
            ),
        ] {
            let problem = no_chip(&esptool(reason));
            assert!(problem.starts_with(expected), "{reason}: {problem}");
            // The terminal's words.
            let problem = closed(&format!("could not open port '/dev/x': {reason}"));
            assert!(
                problem.is_some_and(|problem| problem.starts_with(expected)),
                "{reason}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_chip_that_does_not_answer_or_is_another_is_told_as_that() {
        let silent = "Serial port /dev/x:\nConnecting......\n\nERROR: A fatal error occurred: Failed to connect to ESP8266: No serial data received.";
        assert!(no_chip(silent).starts_with("no ESP8266 answers there: hold its FLASH button"));
        let other =
            "ERROR: A fatal error occurred: This chip is ESP32, not ESP8266. Wrong chip argument?";
        assert!(no_chip(other).starts_with("another chip than an ESP8266"));
        // esptool that cannot read a file of its own.
        let broken = "PermissionError: [Errno 13] Permission denied: 'esptool.cfg'";
        assert_eq!(no_chip(broken), "esptool does not get to the chip");
        assert_eq!(closed(silent), None);
    }

    #[test]
    fn what_a_failed_command_said_is_kept() {
        let mut fails = Command::new("sh");
        fails.args(["-c", "echo no port >&2; exit 3"]);
        assert_eq!(watch(&mut fails), Ok(Err("no port\n".to_owned())));
        let mut ends = Command::new("sh");
        ends.args(["-c", "echo hello >&2"]);
        assert_eq!(watch(&mut ends), Ok(Ok(())));
        let nobody = watch(&mut Command::new("/nonexistent/terminal"));
        assert!(nobody.unwrap_err().starts_with("cannot start terminal"));
    }

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
