//! Finds the vendor's libraries: `sdk/README.md` says which and why.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::shell;

/// A checkout of the vendor's own SDK, in the place of the pinned archive.
pub const VARIABLE: &str = "METERTREKKER_SDK";

/// The archive's name in the registry.
const PACKAGE: &str = "esp8266-nonos-sdk";

/// What `cargo metadata` says of packages.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// The folder with the libraries and their headers; fetches them when they are not here yet.
pub fn find(cargo: &Path) -> Result<PathBuf, String> {
    let folder = match env::var_os(VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => fetch(cargo)?,
    };
    complete(&folder)?;
    Ok(folder)
}

/// Has cargo fetch the archive that `sdk/Cargo.lock` names, and compare its checksum.
fn fetch(cargo: &Path) -> Result<PathBuf, String> {
    let stub = shell::root().join("sdk");
    shell::run(command(cargo, &stub).args(["fetch", "--locked"])).map_err(|problem| {
        format!("The vendor's libraries cannot be fetched ({problem}): go online once, or let {VARIABLE} name a checkout of the ESP8266's Non-OS SDK 3.0.4.")
    })?;
    let output = command(cargo, &stub)
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata in sdk/: {error}"))?;
    unpacked(metadata)
        .ok_or_else(|| format!("sdk/Cargo.lock names no {PACKAGE}: restore it from the repository"))
}

fn command(cargo: &Path, stub: &Path) -> Command {
    let mut command = Command::new(cargo);
    command.current_dir(stub).env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// Where cargo has unpacked the archive.
fn unpacked(metadata: Metadata) -> Option<PathBuf> {
    let mut packages = metadata.packages.into_iter();
    let package = packages.find(|package| package.name == PACKAGE)?;
    package.manifest_path.parent().map(Path::to_path_buf)
}

/// Whether all that is linked is there.
fn complete(folder: &Path) -> Result<(), String> {
    let has = |file: &str| folder.join(file).is_file();
    let libraries = ["libs", "lib"];
    if !libraries
        .iter()
        .any(|folder| has(&format!("{folder}/libmain.a")))
    {
        return Err(format!(
            "{}: there is no libmain.a in libs/ or lib/; let {VARIABLE} name a checkout of the ESP8266's Non-OS SDK 3.0.4, or unset it",
            folder.display()
        ));
    }
    if !has("include/user_interface.h") {
        return Err(format!(
            "{}: there is no include/user_interface.h; the headers are needed, too",
            folder.display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_found_by_its_name() {
        let text = r#"{"packages": [{"name": "sdk", "manifest_path": "/a/Cargo.toml"},
            {"name": "esp8266-nonos-sdk", "manifest_path": "/b/c/Cargo.toml"}]}"#;
        let metadata = serde_json::from_str(text).unwrap();
        assert_eq!(unpacked(metadata), Some(PathBuf::from("/b/c")));
        let none = serde_json::from_str(r#"{"packages": []}"#).unwrap();
        assert_eq!(unpacked(none), None);
    }

    #[test]
    fn a_folder_without_libraries_says_what_is_missing() {
        let problem = complete(Path::new("/nonexistent")).unwrap_err();
        assert!(problem.contains("no libmain.a"), "{problem}");
        assert!(problem.contains(VARIABLE), "{problem}");
    }

    #[test]
    fn the_lock_file_pins_the_archive() {
        let lock = std::fs::read_to_string(shell::root().join("sdk/Cargo.lock")).unwrap();
        let pinned = "name = \"esp8266-nonos-sdk\"\nversion = \"0.1.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"1275dbb039c85d6c46f2fd5ffad2f6987bbc26f832067f08b2d475b03119853c\"";
        assert!(lock.contains(pinned));
    }
}
