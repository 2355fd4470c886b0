//! Tools that the tests need and Debian does not have.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// Pinned, so that a passing test keeps its meaning.
const TELEGRAF: &str = "github.com/influxdata/telegraf/cmd/telegraf@v1.39.3";

/// Only the plugins that examples/telegraf.conf and the chain test use: a build of minutes instead of a quarter of an hour.
const TELEGRAF_TAGS: &str =
    "custom,inputs.mqtt_consumer,outputs.file,outputs.influxdb,parsers.influx,serializers.influx";

/// Where Telegraf is built to; `tests/support/peers.rs` looks in the same place.
fn telegraf_folder() -> PathBuf {
    shell::target_dir().join("tools/telegraf")
}

/// The Telegraf on PATH or the one built before; else builds it, which takes minutes.
pub fn ensure_telegraf() -> Result<PathBuf, String> {
    if let Some(path) = shell::on_path("telegraf") {
        return Ok(path);
    }
    let folder = telegraf_folder();
    let built = folder.join("telegraf");
    if !built.is_file() {
        build_telegraf(&folder)?;
    }
    Ok(built)
}

fn build_telegraf(folder: &Path) -> Result<(), String> {
    if shell::on_path("go").is_none() {
        return Err(
            "Telegraf is not installed, and there is no Go to build it with: ./test fetches one"
                .into(),
        );
    }
    eprintln!(
        "Building Telegraf into {}: this takes some minutes, once.",
        folder.display()
    );
    shell::run(
        Command::new("go")
            .args(["install", "-tags", TELEGRAF_TAGS, TELEGRAF])
            .env("GOBIN", folder),
    )
}

/// Pinned: the files that it makes of an image are compared byte by byte.
const ESPTOOL: &str = "esptool==5.6.0";

/// The esptool on PATH or the one installed before; else fetches it into the target folder.
pub fn ensure_esptool() -> Result<PathBuf, String> {
    if let Some(path) = shell::on_path("esptool") {
        return Ok(path);
    }
    let folder = shell::target_dir().join("tools/esptool");
    let installed = folder.join("bin/esptool");
    if !installed.is_file() {
        eprintln!("Installing {ESPTOOL} into {}, once.", folder.display());
        let made = shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        let fetched = made.and_then(|()| {
            let pip = folder.join("bin/pip");
            shell::run(Command::new(pip).args(["install", "--quiet", ESPTOOL]))
        });
        fetched.map_err(|problem| {
            format!("esptool makes the files that are flashed, and cannot be installed ({problem}): install Debian's python3-venv and go online once, or put esptool on PATH")
        })?;
    }
    Ok(installed)
}
