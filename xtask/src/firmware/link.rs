//! What rustc runs as its linker for the lx106: assembles LLVM's text with GNU as, links with gcc.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::assembly;
use crate::shell;

/// The first argument with which the target's description calls this program.
pub const MODE: &str = "lx106-link";

pub const ASSEMBLER: &str = "xtensa-lx106-elf-as";
pub const LINKER: &str = "xtensa-lx106-elf-gcc";

/// Links as rustc's arguments say, with text in the place of what holds bitcode.
pub fn run(args: &[OsString]) -> Result<(), String> {
    let mut linker = Command::new(LINKER);
    linker.args(["-fno-lto", "-Wl,--size-opt"]);
    let output = output(args)?;
    for arg in translate(args, output)? {
        match arg {
            Input::Text(text) => linker.arg(assemble(&text, output)?),
            Input::Other(arg) => linker.arg(arg),
        };
    }
    shell::run(&mut linker)
}

/// One argument for the linker.
#[derive(Debug, PartialEq, Eq)]
enum Input<'a> {
    /// Assembly text that is to be an object file first.
    Text(PathBuf),
    Other(&'a OsStr),
}

/// The program to be made.
fn output(args: &[OsString]) -> Result<&Path, String> {
    let option = args.iter().position(|arg| arg == "-o");
    match option.and_then(|at| args.get(at + 1)) {
        Some(output) => Ok(Path::new(output)),
        None => Err("rustc named no output file".into()),
    }
}

/// Finds the text that belongs to each file of bitcode.
fn translate<'a>(args: &'a [OsString], output: &Path) -> Result<Vec<Input<'a>>, String> {
    let mut objects = 0;
    let mut inputs = Vec::new();
    for arg in args {
        let path = Path::new(arg);
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
        if name.ends_with(".rcgu.o") {
            objects += 1;
            inputs.push(Input::Text(beside(output, "s")));
        } else if let Some(stem) = name
            .strip_suffix(".rlib")
            .and_then(|stem| stem.strip_prefix("lib"))
        {
            inputs.push(Input::Text(path.with_file_name(format!("{stem}.s"))));
        } else {
            inputs.push(Input::Other(arg));
        }
    }
    match objects {
        1 => Ok(inputs),
        // There is text for the whole only, and it must not be linked twice.
        _ => Err(format!(
            "{objects} object files instead of one: the profile must say lto = \"fat\" and codegen-units = 1"
        )),
    }
}

/// The path with one more extension: a program's name may hold a dot.
fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Assembles `text` into a file beside `output`: several programs may be linked at a time, with some text in common.
fn assemble(text: &Path, output: &Path) -> Result<PathBuf, String> {
    let source = fs::read_to_string(text).map_err(|e| {
        format!(
            "cannot read {}: {e}; rustc writes it when told --emit=asm",
            text.display()
        )
    })?;
    let prepared =
        assembly::prepare(&source).map_err(|problem| format!("{}:{problem}", text.display()))?;
    let name = text.file_stem().and_then(OsStr::to_str).unwrap_or("text");
    let ready = beside(output, &format!("{name}.gas.s"));
    let object = beside(output, &format!("{name}.o"));
    fs::write(&ready, prepared).map_err(|e| format!("cannot write {}: {e}", ready.display()))?;
    // What it complains about, it names by file and line itself.
    shell::run(
        Command::new(ASSEMBLER)
            .args(["--longcalls", "--no-target-align", "-o"])
            .arg(&object)
            .arg(&ready),
    )?;
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn bitcode_is_replaced_by_the_text_beside_it() {
        let args = args(
            "d/p-1.p.abc-cgu.0.rcgu.o -Wl,-Bstatic d/libcompiler_builtins-2.rlib -lx -o d/p-1",
        );
        let expected = [
            Input::Text("d/p-1.s".into()),
            Input::Other(OsStr::new("-Wl,-Bstatic")),
            Input::Text("d/compiler_builtins-2.s".into()),
            Input::Other(OsStr::new("-lx")),
            Input::Other(OsStr::new("-o")),
            Input::Other(OsStr::new("d/p-1")),
        ];
        assert_eq!(translate(&args, output(&args).unwrap()).unwrap(), expected);
    }

    #[test]
    fn more_than_one_object_file_is_refused() {
        let problem = translate(&args("a.0.rcgu.o a.1.rcgu.o -o a"), Path::new("a")).unwrap_err();
        assert!(problem.starts_with("2 object files"), "{problem}");
    }

    #[test]
    fn no_output_file_is_refused() {
        for line in ["a.rcgu.o", "a.rcgu.o -o"] {
            assert_eq!(
                output(&args(line)).unwrap_err(),
                "rustc named no output file"
            );
        }
    }

    #[test]
    fn an_error_in_the_text_names_file_and_line() {
        let folder = std::env::temp_dir().join(format!("lx106-link-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let text = folder.join("odd.s");
        fs::write(&text, "f:\n\tret\n\t.literal .LCPI0_0, 1\n").unwrap();
        let problem = assemble(&text, &folder.join("odd")).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            problem,
            format!(
                "{}:3: no function follows this literal: .literal .LCPI0_0, 1",
                text.display()
            )
        );
    }
}
