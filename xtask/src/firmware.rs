//! Images for the lx106: `cargo xtask firmware`.
//!
//! `xtask/lx106` holds what the compiler is told, and why.

mod assembly;
mod image;
pub mod link;
mod sdk;
mod toolchain;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toolchain::Toolchain;

use crate::shell;

const TARGET: &str = "xtensa-lx106-none-elf";

/// Arguments of `cargo xtask firmware`.
#[derive(clap::Args)]
pub struct Args {
    /// A file in boards/, without its .toml
    #[arg(required_unless_present_any = ["all", "stand_in", "self_tests", "proof", "bench"])]
    board: Option<String>,
    /// Every board that has an image
    #[arg(long, conflicts_with = "board")]
    all: bool,
    /// The images of the D1 mini, in both its wirings, with a stand-in for the vendor's libraries: they run in QEMU
    #[arg(long, conflicts_with_all = ["board", "all"])]
    stand_in: bool,
    /// The images that try start-up, exceptions and interrupts in QEMU
    #[arg(long, conflicts_with = "board")]
    self_tests: bool,
    /// The image that links only while the parser has no way to a panic
    #[arg(long, conflicts_with_all = ["board", "self_tests"])]
    proof: bool,
    /// The image that counts what a telegram costs
    #[arg(long, conflicts_with_all = ["board", "self_tests", "proof"])]
    bench: bool,
}

/// Builds what was asked for and names the images.
pub fn run(args: &Args) -> Result<(), String> {
    let toolchain = toolchain::find()?;
    let images = match &args.board {
        Some(board) => build_board(&toolchain, board)?,
        None if args.all => build_each(&toolchain, &boards())?,
        None if args.stand_in => build_stand_ins(&toolchain)?,
        None if args.bench => vec![build_bench()?],
        None if args.proof => {
            prove(&toolchain)?;
            vec![images().join(PROOF)]
        }
        None => build_self_tests(&toolchain)?,
    };
    for image in images {
        println!("{}", image.display());
    }
    Ok(())
}

/// The emulator that the tests use.
const EMULATOR: &str = "qemu-system-xtensa";

/// Whether images can be built and run; the error says in one sentence what is missing and how to get it.
pub fn ready() -> Result<(), String> {
    toolchain::find()?;
    match shell::on_path(EMULATOR) {
        Some(_) => Ok(()),
        None => Err(format!(
            "The emulator ({EMULATOR}) is not on PATH: install it with `apt-get install qemu-system-misc`."
        )),
    }
}

/// Builds every image that the tests run.
pub fn build_for_tests() -> Result<(), String> {
    let toolchain = toolchain::find()?;
    build_self_tests(&toolchain)?;
    build_board(&toolchain, "qemu")?;
    build_bench()?;
    prove(&toolchain)
}

/// The board whose firmware is a program.
const HOST: &str = "host";

/// The SoC whose images are linked with the vendor's libraries.
const CHIP: &str = "esp8266";

/// The board's file, with what it has of the one that it is like, as `build/board.rs` reads it.
fn read_board(name: &str) -> Result<toml::Table, String> {
    let file = shell::root().join("boards").join(format!("{name}.toml"));
    let text = fs::read_to_string(&file)
        .map_err(|_| format!("no board {name}: there are {}", boards().join(", ")))?;
    let mut board: toml::Table =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    if let Some(toml::Value::String(like)) = board.remove("like") {
        for (key, value) in read_board(&like)? {
            board.entry(key).or_insert(value);
        }
    }
    Ok(board)
}

/// Builds these boards, also when another one fails; all failures are told. Boards that differ in name alone have to have the same image,
/// byte by byte: what is built twice of the same is the same.
fn build_each(toolchain: &Toolchain, names: &[String]) -> Result<Vec<PathBuf>, String> {
    let mut images = Vec::new();
    let mut problems = Vec::new();
    let mut built: Vec<(toml::Table, &String, Vec<PathBuf>)> = Vec::new();
    for name in names {
        let mut board = read_board(name)?;
        board.remove("about");
        println!("{name}");
        let files = match build_board(toolchain, name) {
            Ok(files) => files,
            Err(problem) => {
                problems.push(format!("{name}: {problem}"));
                continue;
            }
        };
        if let Some((_, twin, others)) = built.iter().find(|(other, ..)| *other == board) {
            for (file, other) in files.iter().zip(others) {
                if fs::read(file).ok() != fs::read(other).ok() {
                    problems.push(format!(
                        "{name}: {} is not the same as {twin}'s, and should be",
                        file.display()
                    ));
                }
            }
        }
        images.extend_from_slice(&files);
        built.push((board, name, files));
    }
    match problems.is_empty() {
        true => Ok(images),
        false => Err(problems.join("\n")),
    }
}

/// The boards that have an image.
fn boards() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(shell::root().join("boards"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .filter(|name| name != HOST)
        .collect();
    names.sort();
    names
}

/// Builds a board's image and returns its files, the linked program first.
fn build_board(toolchain: &Toolchain, name: &str) -> Result<Vec<PathBuf>, String> {
    if name == HOST {
        return Err("the board host is a program, not an image: `cargo build` makes it".into());
    }
    let board = read_board(name)?;
    let mut cargo = cargo(toolchain)?;
    cargo
        .args(["--package", "metertrekker", "--bin", "metertrekker"])
        .env("METERTREKKER_BOARD", name);
    // Vectors and start-up code come from us, or from the chip's vendor libraries.
    if !is_chip(&board) {
        shell::run(cargo.args(["--features", "xtensa-lx-rt/vectors"]))?;
        return Ok(vec![copy(&built("metertrekker"), &format!("{name}.elf"))?]);
    }
    cargo
        .args(["--features", "esp8266,xtensa-lx-rt/xtos"])
        .env(sdk::VARIABLE, sdk::find(&toolchain.cargo)?);
    shell::run(&mut cargo)?;
    let program = copy(&built("metertrekker"), &format!("{name}.elf"))?;
    let board: image::Board = board
        .try_into()
        .map_err(|error| format!("boards/{name}.toml: {error}"))?;
    let mut files = image::make(&program, &board)?;
    files.insert(0, program);
    Ok(files)
}

/// The boards whose glue runs in the emulator: P1 beside the console, and away from it.
const STOOD_IN: [&str; 2] = ["d1-mini", "d1-mini-swap"];

fn build_stand_ins(toolchain: &Toolchain) -> Result<Vec<PathBuf>, String> {
    let boards = STOOD_IN.iter();
    boards
        .map(|board| build_stand_in(toolchain, board))
        .collect()
}

/// Builds the image of a board with an ESP8266 that has a stand-in for the vendor's libraries.
fn build_stand_in(toolchain: &Toolchain, board: &str) -> Result<PathBuf, String> {
    let mut cargo = cargo(toolchain)?;
    cargo
        .args(["--package", "metertrekker", "--bin", "metertrekker"])
        .args(["--features", "stand-in"])
        .env("METERTREKKER_BOARD", board)
        .env(sdk::VARIABLE, sdk::find(&toolchain.cargo)?);
    shell::run(&mut cargo)?;
    copy(&built("metertrekker"), &format!("{board}-stand-in.elf"))
}

fn build_self_tests(toolchain: &Toolchain) -> Result<Vec<PathBuf>, String> {
    shell::run(cargo(toolchain)?.args(["--package", "lx106-tests", "--features", "emulator"]))?;
    let sources = shell::root().join("crates/lx106-tests/src/bin");
    let mut images: Vec<PathBuf> = Vec::new();
    for file in fs::read_dir(&sources)
        .map_err(|e| format!("cannot read {}: {e}", sources.display()))?
        .flatten()
    {
        if let Some(name) = file.path().file_stem().and_then(|name| name.to_str()) {
            images.push(copy(&built(name), &format!("self-tests/{name}.elf"))?);
        }
    }
    images.sort();
    Ok(images)
}

const PROOF: &str = "proof.elf";

/// What the linker does not find in crates/lx106-proof when a panic can be reached.
const PANIC: &str = "a_panic_can_be_reached";

/// Links the image that only links while the parser has no way to a panic, and sees that another one does not.
fn prove(toolchain: &Toolchain) -> Result<(), String> {
    let mut with_a_panic = proof(toolchain, "emulator,panic-path")?;
    let output = with_a_panic
        .output()
        .map_err(|e| format!("cannot start {}: {e}", shell::shown(&with_a_panic)))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !text.contains(&format!("undefined reference to `{PANIC}'")) {
        return Err(format!(
            "the image with a panic on purpose should not link for want of {PANIC}, so that the one without proves something:\n{text}"
        ));
    }
    shell::run(&mut proof(toolchain, "emulator")?).map_err(|problem| {
        format!(
            "{problem}\nIf {PANIC} is what the linker wants, a function of crates/telegram/src/p1 can panic; docs/fuzzing.md tells how to find it."
        )
    })?;
    copy(&built("proof"), PROOF).map(|_| ())
}

fn proof(toolchain: &Toolchain, features: &str) -> Result<Command, String> {
    let mut command = cargo(toolchain)?;
    command.args(["--package", "lx106-proof", "--features", features]);
    Ok(command)
}

/// Builds a board's image, and returns its linked program.
pub fn build(board: &str) -> Result<PathBuf, String> {
    let mut files = build_board(&toolchain::find()?, board)?;
    Ok(files.swap_remove(0))
}

/// What is written to a board.
pub struct Chip {
    /// As esptool calls the flash that the board has.
    pub flash_size: &'static str,
    /// Addresses and files.
    pub files: Vec<(String, PathBuf)>,
}

/// Builds and judges the image of a board that has the chip.
pub fn build_for_chip(name: &str) -> Result<Chip, String> {
    let board = read_board(name)?;
    if !is_chip(&board) {
        return Err(format!("{name} has no ESP8266 that could be written to"));
    }
    let board: image::Board =
        (board.try_into()).map_err(|error| format!("boards/{name}.toml: {error}"))?;
    let program = build(name)?;
    Ok(Chip {
        flash_size: board.flash_size(),
        files: image::files(&program).to_vec(),
    })
}

/// Builds and judges the image of every board that has the chip.
pub fn build_for_chips() -> Result<(), String> {
    let toolchain = toolchain::find()?;
    build_stand_ins(&toolchain)?;
    let mut names = boards();
    // A file that cannot be read is told by who builds it.
    names.retain(|name| read_board(name).map_or(true, |board| is_chip(&board)));
    build_each(&toolchain, &names).map(drop)
}

/// Whether an image for it is linked with the vendor's libraries.
fn is_chip(board: &toml::Table) -> bool {
    board.get("soc").and_then(toml::Value::as_str) == Some(CHIP)
}

/// Builds the image that counts instructions.
pub fn build_bench() -> Result<PathBuf, String> {
    build_bench_with(None, "bench.elf")
}

/// The same with another table than `metrics.toml`.
pub fn build_bench_with(metrics: Option<&Path>, name: &str) -> Result<PathBuf, String> {
    let mut cargo = cargo(&toolchain::find()?)?;
    cargo.args(["--package", "lx106-bench", "--features", "emulator"]);
    if let Some(metrics) = metrics {
        cargo.env(shell::METRICS, metrics);
    }
    shell::run(&mut cargo)?;
    copy(&built("bench"), name)
}

/// Runs an image in the emulator: standard input and output by semihosting, the rest is for the caller to say.
pub fn emulator(image: &Path) -> Command {
    let mut command = Command::new(EMULATOR);
    command
        .args(["-M", "lx60-nommu", "-cpu", "lx106", "-semihosting"])
        .args(["-display", "none", "-kernel"])
        .arg(image);
    command
}

fn images() -> PathBuf {
    shell::target_dir().join("firmware")
}

fn cargo_dir() -> PathBuf {
    images().join("cargo")
}

fn built(name: &str) -> PathBuf {
    cargo_dir().join(TARGET).join("firmware").join(name)
}

fn copy(from: &Path, to: &str) -> Result<PathBuf, String> {
    let to = images().join(to);
    let problem = |e| format!("cannot copy {} to {}: {e}", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(problem)?;
    }
    fs::copy(from, &to).map_err(problem)?;
    Ok(to)
}

/// `cargo build` for the lx106, with this program as the linker.
fn cargo(toolchain: &Toolchain) -> Result<Command, String> {
    let settings = shell::root().join("xtask/lx106");
    let me = env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut command = Command::new(&toolchain.cargo);
    command
        .current_dir(shell::root())
        .args(["build", "--profile", "firmware", "--config"])
        .arg(settings.join("config.toml"))
        .arg("--target")
        .arg(settings.join(format!("{TARGET}.json")))
        .arg("--target-dir")
        .arg(cargo_dir())
        .env("RUSTC", &toolchain.rustc)
        // For -Zbuild-std and the target's description; the compiler stays the stock one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_XTENSA_LX106_NONE_ELF_LINKER", me)
        // Anybody's own flags would be for another compiler.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain).join("\x1f"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    Ok(command)
}

/// The link step works on the text. Panics name their place: not by folders of this machine, which would make images long and
/// different wherever they are built.
fn flags(toolchain: &Toolchain) -> Vec<String> {
    let registries = fs::read_dir(cargo_home().join("registry/src"));
    let registries = registries.into_iter().flatten().flatten();
    let mut folders = vec![shell::root().to_owned(), cargo_dir()];
    folders.extend(registries.map(|folder| folder.path()));
    folders.push(toolchain.library.clone());
    let shortened = |folder: &PathBuf| format!("--remap-path-prefix={}=", folder.display());
    let mut flags = vec!["--emit=asm".to_owned()];
    flags.extend(folders.iter().map(shortened));
    flags
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
