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
const ESPTOOL: &str = "5.6.0";

/// The esptool on PATH or the one installed before, where it is the pinned one; else fetches it into the target folder.
pub fn ensure_esptool() -> Result<PathBuf, String> {
    let folder = shell::target_dir().join("tools/esptool");
    let installed = folder.join("bin/esptool");
    let candidates = shell::on_path("esptool")
        .into_iter()
        .chain([installed.clone()]);
    if let Some(found) = pinned(candidates, version) {
        return Ok(found);
    }
    eprintln!(
        "Installing esptool {ESPTOOL} into {}, once.",
        folder.display()
    );
    let made = shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let fetched = made.and_then(|()| {
        let package = format!("esptool=={ESPTOOL}");
        let pip = folder.join("bin/pip");
        shell::run(Command::new(pip).args(["install", "--quiet", &package]))
    });
    fetched.map_err(|problem| {
        format!("esptool {ESPTOOL} makes the files that are flashed, and cannot be installed ({problem}): install Debian's python3-venv and go online once, or put that version on PATH")
    })?;
    Ok(installed)
}

/// The first esptool that says of itself that it is the pinned one.
fn pinned(
    mut candidates: impl Iterator<Item = PathBuf>,
    says: impl Fn(&Path) -> Option<String>,
) -> Option<PathBuf> {
    candidates.find(|path| says(path).is_some_and(|said| is_pinned(&said)))
}

fn version(esptool: &Path) -> Option<String> {
    let said = Command::new(esptool).arg("version").output().ok()?;
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// Its last line is the version alone.
fn is_pinned(said: &str) -> bool {
    said.lines().map(str::trim).next_back() == Some(ESPTOOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_esptool_than_the_pinned_one_is_passed_over() {
        assert!(is_pinned("esptool v5.6.0\n5.6.0\n"));
        for other in ["esptool.py v4.8.1\n4.8.1\n", "5.6.0.dev1\n", ""] {
            assert!(!is_pinned(other), "{other}");
        }
        let says = |path: &Path| match path.to_str()? {
            "/old" => Some("esptool.py v4.8.1\n4.8.1\n".to_owned()),
            "/right" => Some(format!("esptool v{ESPTOOL}\n{ESPTOOL}\n")),
            _ => None,
        };
        let among = |paths: &[&str]| pinned(paths.iter().map(PathBuf::from), says);
        assert_eq!(
            among(&["/missing", "/old", "/right"]),
            Some("/right".into())
        );
        assert_eq!(among(&["/missing", "/old"]), None);
        assert_eq!(version(Path::new("/nonexistent/esptool")), None);
    }
}
