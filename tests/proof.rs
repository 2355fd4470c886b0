//! The image that links only while the parser cannot panic (`crates/lx106-proof`) calls all of the parser. That it links, the tier
//! lx106 shows.

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    };
    paths.flat_map(below).collect()
}

/// The public functions of a source, without its tests.
fn public_functions(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = source.lines().map(str::trim_start);
    let names = lines.filter_map(|line| {
        let rest = line.strip_prefix("pub ")?;
        let rest = rest.strip_prefix("const ").unwrap_or(rest);
        rest.strip_prefix("fn ")?.split(['(', '<']).next()
    });
    names.collect()
}

#[test]
fn every_public_function_of_the_parser_is_in_the_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let image =
        fs::read_to_string(root.join("crates/lx106-proof/src/image.rs")).expect("the image");
    let (mut missing, mut count) = (vec![], 0);
    for path in sources(&root.join("crates/telegram/src/p1")) {
        // What this machine's CRC is made of; the chip's is in the image by what calls it.
        if path.parent().is_some_and(|folder| folder.ends_with("crc")) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source");
        for name in public_functions(&source) {
            count += 1;
            let is_called = [
                format!(".{name}("),
                format!("::{name}("),
                format!("::{name})"),
            ]
            .iter()
            .any(|call| image.contains(call));
            if !is_called {
                missing.push(format!("{name} of {}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(count > 40, "{count} public functions were found");
}
