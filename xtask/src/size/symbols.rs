//! Symbols to the crates that they come from.

use object::{Object, ObjectSymbol, SymbolKind};

/// A named place of the image.
pub struct Symbol {
    pub address: u64,
    pub size: u64,
    /// Demangled.
    pub path: String,
}

/// A part of a section.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    pub size: u64,
    /// The symbol's demangled name; empty where no symbol is.
    pub path: String,
    /// The crate, or of this project's the module.
    pub owner: String,
}

/// Bytes without a symbol: literals, texts, padding, and assembly that does not tell its size.
pub const NOBODY: &str = "(no symbol)";

impl Share {
    /// Belongs to a crate or module, or what is in it.
    pub fn is_of(&self, owner: &str) -> bool {
        let path = place(&self.path);
        let rest = path.strip_prefix(owner);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    }
}

/// All symbols that have a size.
pub fn of(elf: &object::File<'_>) -> Vec<Symbol> {
    let named = elf.symbols().filter(|symbol| {
        let kinds = [SymbolKind::Text, SymbolKind::Data];
        symbol.size() > 0 && kinds.contains(&symbol.kind())
    });
    let mut symbols: Vec<Symbol> = named
        .filter_map(|symbol| {
            Some(Symbol {
                address: symbol.address(),
                size: symbol.size(),
                path: format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?)),
            })
        })
        .collect();
    // Of two names for one place the first in the alphabet, so that the answer is always the same.
    symbols.sort_by(|a, b| (a.address, &a.path).cmp(&(b.address, &b.path)));
    symbols
}

/// Every byte of a section once: that of the first symbol that covers it, or nobody's.
pub fn shares(symbols: &[Symbol], address: u64, size: u64) -> Vec<Share> {
    let end = address + size;
    let mut shares = Vec::new();
    let mut at = address;
    let mut add = |size: u64, path: &str| {
        if size > 0 {
            let owner = owner(path);
            let path = path.to_owned();
            shares.push(Share { size, path, owner });
        }
    };
    for symbol in symbols {
        let (from, to) = (symbol.address.max(at), symbol.address + symbol.size);
        if from >= end || to <= at {
            continue;
        }
        add(from - at, "");
        add(to.min(end) - from, &symbol.path);
        at = to.min(end);
    }
    add(end - at, "");
    shares
}

/// The path behind the brackets of an implementation: `<a::B as c::D>::e` is a's.
fn place(path: &str) -> &str {
    let path = path.trim_start_matches(['<', '&', '[', '(', '*']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    path.strip_prefix("const ").unwrap_or(path)
}

fn owner(path: &str) -> String {
    let place = place(path);
    let end = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let module = |text: &str| text[..end(text).unwrap_or(text.len())].to_owned();
    let first = module(place);
    match place.strip_prefix(&first).unwrap_or("").strip_prefix("::") {
        Some(rest) if matches!(first.as_str(), "metertrekker" | "telegram") => {
            format!("{first}::{}", module(rest))
        }
        Some(_) => first,
        // Names without a path: what the linker and the compiler call by themselves.
        None if first.is_empty() => NOBODY.into(),
        None if first.starts_with("xtensa_lx") || first.starts_with("__atomic") => {
            "xtensa_lx, xtensa_lx_rt".into()
        }
        None => "(names without a crate)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_belongs_to_the_crate_of_its_type() {
        for (path, expected) in [
            ("nom::number::u8", "nom"),
            ("<telegram::p1::framing::Framer>::end", "telegram::p1"),
            ("telegram::p1::crc::ARC", "telegram::p1"),
            (
                "<&mut crc::Digest<u16> as core::clone::Clone>::clone",
                "crc",
            ),
            ("memcpy", "(names without a crate)"),
            ("xtensa_lx_rt_fault", "xtensa_lx, xtensa_lx_rt"),
            ("", NOBODY),
        ] {
            assert_eq!(owner(path), expected, "{path}");
        }
    }

    fn share(symbols: &[(u64, u64, &str)]) -> Vec<(u64, String)> {
        let symbols: Vec<Symbol> = symbols
            .iter()
            .map(|&(address, size, path)| Symbol {
                address,
                size,
                path: path.into(),
            })
            .collect();
        let shares = shares(&symbols, 100, 50);
        assert_eq!(shares.iter().map(|share| share.size).sum::<u64>(), 50);
        shares
            .into_iter()
            .map(|share| (share.size, share.path))
            .collect()
    }

    #[test]
    fn every_byte_of_a_section_is_counted_once() {
        let rows = |rows: &[(u64, &str)]| -> Vec<(u64, String)> {
            rows.iter()
                .map(|(size, path)| (*size, (*path).to_owned()))
                .collect()
        };
        assert_eq!(share(&[]), rows(&[(50, "")]));
        // An alias, one within another, gaps, and some outside.
        let symbols = [
            (0, 100, "before"),
            (104, 10, "a::b"),
            (104, 10, "c"),
            (110, 8, "d"),
            (140, 20, "e"),
            (150, 4, "behind"),
        ];
        assert_eq!(
            share(&symbols),
            rows(&[(4, ""), (10, "a::b"), (4, "d"), (22, ""), (10, "e")])
        );
    }

    #[test]
    fn a_module_is_no_other_that_begins_like_it() {
        let share = Share {
            size: 1,
            path: "<telegram::p1::line::Groups>::next".into(),
            owner: String::new(),
        };
        assert!(share.is_of("telegram::p1"));
        assert!(!share.is_of("telegram::p"));
    }
}
