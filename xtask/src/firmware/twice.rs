//! Whether an image can be made again: a second build elsewhere, from nothing, has to give the same bytes.

use std::fs;
use std::path::{Path, PathBuf};

use super::toolchain::Toolchain;
use super::{Place, convert, images, link_board, read_board};
use crate::shell;

/// The board that is built a second time.
pub const BOARD: &str = "d1-mini";

/// What cargo marks as made by it.
const MADE: &str = "CACHEDIR.TAG";

/// Where it is built.
fn place() -> Place {
    Place {
        sources: images().join("again/sources"),
        images: images().join("again"),
    }
}

/// Builds the board of a copy of the sources in another folder, with nothing that was built before, and returns its files.
pub fn build(toolchain: &Toolchain) -> Result<Vec<PathBuf>, String> {
    let place = place();
    clear(&place.images)?;
    copy(&shell::root(), &place.sources)?;
    let board = read_board(BOARD)?;
    let program = link_board(toolchain, &place, BOARD, &board)?;
    let mut files = convert(&program, BOARD, &board)?;
    files.insert(0, program);
    Ok(files)
}

/// Compares the files of the first build with those of the second.
pub fn check(first: &[PathBuf], second: &[PathBuf]) -> Result<(), String> {
    println!("{BOARD}, built again in {}", place().images.display());
    compare(first, second)?;
    // Where they differ, they are there to be looked at.
    clear(&place().images)
}

fn clear(folder: &Path) -> Result<(), String> {
    match folder.exists() {
        true => fs::remove_dir_all(folder)
            .map_err(|error| format!("cannot remove {}: {error}", folder.display())),
        false => Ok(()),
    }
}

/// Copies a folder, but for what is hidden and what cargo has made.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let problem = |error| {
        format!(
            "cannot copy {} to {}: {error}",
            from.display(),
            to.display()
        )
    };
    fs::create_dir_all(to).map_err(problem)?;
    for entry in fs::read_dir(from).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_made = path.join(MADE).is_file() || to.starts_with(&path);
        if is_made || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name)).map_err(problem)?;
        }
    }
    Ok(())
}

/// Prints the checksums of both builds' files, and fails when they differ.
fn compare(first: &[PathBuf], second: &[PathBuf]) -> Result<(), String> {
    let names = |files: &[PathBuf]| -> Vec<_> {
        let names = files.iter().filter_map(|file| file.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    let (names, others) = (names(first), names(second));
    if names.is_empty() || names != others {
        return Err(format!(
            "a second build made other files: {} and {}",
            names.join(", "),
            others.join(", ")
        ));
    }
    let mut different = Vec::new();
    for ((name, first), second) in names.iter().zip(first).zip(second) {
        let sums = [shell::sha256(first)?, shell::sha256(second)?];
        println!(
            "{name}\n  first build   {}\n  second build  {}",
            sums[0], sums[1]
        );
        if sums[0] != sums[1] {
            different.push(format!("{} and {}", first.display(), second.display()));
        }
    }
    match different.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "built twice of the same sources, these differ: {}",
            different.join("; ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(folder: &Path, files: &[(&str, &str)]) -> Vec<PathBuf> {
        fs::create_dir_all(folder).unwrap();
        let made = files.iter().map(|(name, text)| {
            let file = folder.join(name);
            fs::write(&file, text).unwrap();
            file
        });
        made.collect()
    }

    #[test]
    fn two_builds_are_the_same_only_with_the_same_files_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, files: &[(&str, &str)]| build(&folder.path().join(name), files);
        let first = at("first", &[("x.elf", "elf"), ("x.bin", "bin")]);
        let same = at("same", &[("x.elf", "elf"), ("x.bin", "bin")]);
        assert_eq!(compare(&first, &same), Ok(()));
        let other = at("other", &[("x.elf", "elf"), ("x.bin", "bun")]);
        let problem = compare(&first, &other).unwrap_err();
        assert!(problem.contains("these differ"), "{problem}");
        assert!(problem.contains("other/x.bin"), "{problem}");
        assert!(!problem.contains("x.elf"), "{problem}");
        for (a, b) in [(&first[..], &same[..1]), (&[], &[])] {
            let problem = compare(a, b).unwrap_err();
            assert!(problem.contains("other files"), "{problem}");
        }
        let missing = [folder.path().join("x.elf"), folder.path().join("x.bin")];
        assert!(compare(&first, &missing).is_err());
    }

    #[test]
    fn the_copy_has_the_sources_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        build(&from, &[("Cargo.toml", "x"), (".hidden", "x")]);
        build(&from.join("src/soc"), &[("main.rs", "x")]);
        build(&from.join("target"), &[(MADE, "x"), ("built", "x")]);
        build(&from.join(".git"), &[("HEAD", "x")]);
        copy(&from, &to).unwrap();
        // Within itself it has no end of its own.
        copy(&from, &from.join("made/copy")).unwrap();
        assert!(!from.join("made/copy/made").exists());
        let has = |path: &str| to.join(path).exists();
        assert!(has("Cargo.toml") && has("src/soc/main.rs"));
        assert!(!has(".hidden") && !has(".git") && !has("target"));
        clear(&to).unwrap();
        assert!(!to.exists());
        clear(&to).unwrap();
    }
}
