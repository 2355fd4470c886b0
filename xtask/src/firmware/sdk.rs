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

/// The vendor's tag with the same libraries. They name themselves 3.0.6-dev(072755c), while their headers say 3.0.4.
const TAG: &str = "v3.0.6";

/// What is linked, as `build.rs` has it, and its SHA-256. Our code enters a handler of its own into libmain's vectors and relies on what
/// the libraries do at their start, which no header tells: others may link, and not work.
const LIBRARIES: [(&str, &str); 7] = [
    (
        "main",
        "962bf3bf936607c41de83b204089db610ac4e82138ca823ee65cb29edcb4d7af",
    ),
    (
        "net80211",
        "7f4171a9420917f25bc0cce2a72bb34edcd3f466265a4aab014da51c6d360451",
    ),
    (
        "wpa",
        "e126440a0a266695b8a7f0f65ffa4ad42dd21c89b25c3e37eaff1271dfc534fd",
    ),
    (
        "pp",
        "fc4258f1a2de6f2824a426321b1f5e8304f06f982678838b74f6d9a4bf83b1ff",
    ),
    (
        "phy",
        "ddc000df8017b659f30b32c1cf2cb1cdfa1262cc138f11e7909d87aad7155396",
    ),
    (
        "crypto",
        "27a03c00d428407f45dddfc649e9ea0c98d616f1328c22921557597eb0490700",
    ),
    (
        "hal",
        "586f535240888d630862eedb6ff2f17aa70a982869d42f7667cee232f4467418",
    ),
];

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
        format!(
            "The vendor's libraries cannot be fetched ({problem}): go online once, or {}.",
            checkout()
        )
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

/// Which other libraries will do.
fn checkout() -> String {
    format!(
        "let {VARIABLE} name a checkout of the tag {TAG} of https://github.com/espressif/ESP8266_NONOS_SDK"
    )
}

/// Whether all that is linked is there, and is what the code was written for.
fn complete(folder: &Path) -> Result<(), String> {
    let libraries = ["libs", "lib"].map(|name| folder.join(name));
    let libraries = libraries
        .iter()
        .find(|path| path.join("libmain.a").is_file());
    let libraries = libraries.ok_or_else(|| {
        format!(
            "{}: there is no libmain.a in libs/ or lib/; {}, or unset it",
            folder.display(),
            checkout()
        )
    })?;
    if !folder.join("include/user_interface.h").is_file() {
        return Err(format!(
            "{}: there is no include/user_interface.h; the headers are needed, too",
            folder.display()
        ));
    }
    for (name, expected) in LIBRARIES {
        let library = libraries.join(format!("lib{name}.a"));
        if shell::sha256(&library)? != expected {
            return Err(format!(
                "{} is of another release of the SDK than the one whose code ours relies on; {}, or unset it",
                library.display(),
                checkout()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn libraries_of_another_release_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sdk = folder.path();
        for made in ["lib", "include"] {
            fs::create_dir(sdk.join(made)).unwrap();
        }
        fs::write(sdk.join("lib/libmain.a"), "3.0.4(9532ceb)").unwrap();
        fs::write(sdk.join("include/user_interface.h"), "").unwrap();
        let problem = complete(sdk).unwrap_err();
        assert!(
            problem.contains("libmain.a is of another release"),
            "{problem}"
        );
        assert!(problem.contains("the tag v3.0.6"), "{problem}");
    }

    #[test]
    fn every_library_that_is_linked_has_a_checksum() {
        let build = fs::read_to_string(shell::root().join("build.rs")).unwrap();
        let list = build
            .split_once("const LIBRARIES: [&str; 7] = [")
            .unwrap()
            .1;
        let linked = list.split_once(']').unwrap().0.replace(['"', ' '], "");
        assert!(linked.split(',').eq(LIBRARIES.map(|(name, _)| name)));
    }

    #[test]
    fn the_lock_file_pins_the_archive() {
        let lock = fs::read_to_string(shell::root().join("sdk/Cargo.lock")).unwrap();
        let pinned = "name = \"esp8266-nonos-sdk\"\nversion = \"0.1.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"1275dbb039c85d6c46f2fd5ffad2f6987bbc26f832067f08b2d475b03119853c\"";
        assert!(lock.contains(pinned));
    }
}
