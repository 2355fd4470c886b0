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
