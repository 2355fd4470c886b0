//! Images for the lx106: `cargo xtask firmware`.
//!
//! `xtask/lx106` holds what the compiler is told, and why.

mod assembly;
mod image;
pub mod link;
mod sdk;
mod toolchain;
mod twice;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use toolchain::Toolchain;

use crate::{shell, size};

const TARGET: &str = "xtensa-lx106-none-elf";

/// Arguments of `cargo xtask firmware`.
#[derive(clap::Args)]
pub struct Args {
    /// A file in boards/, without its .toml
    #[arg(required_unless_present_any = ["all", "stand_in", "self_tests", "proof", "bench"])]
    board: Option<String>,
    /// Every board that has an image, and one of them twice
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
    if args.all {
        let (images, result) = build_each(&toolchain, &boards());
        list(&images);
        return result;
    }
    let images = match &args.board {
        Some(board) => build_board(&toolchain, board)?,
        None if args.stand_in => build_stand_ins(&toolchain)?,
        None if args.bench => vec![build_bench()?],
        None if args.proof => {
            prove(&toolchain)?;
            vec![images().join(PROOF)]
        }
        None => build_self_tests(&toolchain)?,
    };
    list(&images);
    Ok(())
}

fn list(images: &[PathBuf]) {
    for image in images {
        println!("{}", image.display());
    }
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
pub fn read_board(name: &str) -> Result<toml::Table, String> {
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

/// Builds these boards, also when another one fails, and one of them a second time; returns what was built, and all failures.
fn build_each(toolchain: &Toolchain, names: &[String]) -> (Vec<PathBuf>, Result<(), String>) {
    let mut images = Vec::new();
    let mut problems = Vec::new();
    let mut first = None;
    // Beside the others: most of a build is one crate, which keeps one core busy.
    let second = thread::scope(|scope| {
        let second = scope.spawn(|| twice::build(toolchain));
        for name in names {
            println!("{name}");
            match build_board(toolchain, name) {
                Ok(files) => {
                    images.extend_from_slice(&files);
                    if name == twice::BOARD {
                        first = Some(files);
                    }
                }
                Err(problem) => problems.push(format!("{name}: {problem}")),
            }
        }
        let ended = second.join();
        ended.unwrap_or_else(|_| Err("the second build broke off".into()))
    });
    match (first, second) {
        (_, Err(problem)) => problems.push(format!("{}, again: {problem}", twice::BOARD)),
        (Some(first), Ok(second)) => problems.extend(twice::check(&first, &second).err()),
        // Else why it could not be built is told already.
        (None, Ok(_)) if problems.is_empty() => {
            problems.push(format!(
                "there is no {} that could be built twice",
                twice::BOARD
            ));
        }
        (None, Ok(_)) => {}
    }
    let result = match problems.is_empty() {
        true => Ok(()),
        false => Err(problems.join("\n")),
    };
    (images, result)
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

/// Builds a board's image, prints what it takes, and returns its files, the linked program first.
fn build_board(toolchain: &Toolchain, name: &str) -> Result<Vec<PathBuf>, String> {
    let board = read_board(name)?;
    let program = link_board(toolchain, &Place::here(), name, &board)?;
    if !is_chip(&board) {
        print!("{}", size::table(name, &program)?);
        return Ok(vec![program]);
    }
    image::judge(&program, &board)?;
    let mut files = convert(&program, name, &board)?;
    files.insert(0, program);
    Ok(files)
}

/// Builds a board's program.
fn link_board(
    toolchain: &Toolchain,
    place: &Place,
    name: &str,
    board: &toml::Table,
) -> Result<PathBuf, String> {
    if name == HOST {
        return Err("the board host is a program, not an image: `cargo build` makes it".into());
    }
    let mut cargo = place.cargo(toolchain)?;
    cargo
        .args(["--package", "metertrekker", "--bin", "metertrekker"])
        .env("METERTREKKER_BOARD", name);
    // Vectors and start-up code come from us, or from the chip's vendor libraries.
    match is_chip(board) {
        false => cargo.args(["--features", "xtensa-lx-rt/vectors"]),
        true => (cargo.args(["--features", "esp8266,xtensa-lx-rt/xtos"]))
            .env(sdk::VARIABLE, sdk::find(&toolchain.cargo)?),
    };
    shell::run(&mut cargo)?;
    place.copy("metertrekker", &format!("{name}.elf"))
}

fn convert(program: &Path, name: &str, board: &toml::Table) -> Result<Vec<PathBuf>, String> {
    let problem = |error| format!("boards/{name}.toml: {error}");
    image::convert(program, &image::Board::of(board).map_err(problem)?)
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
    let mut cargo = Place::here().cargo(toolchain)?;
    cargo
        .args(["--package", "metertrekker", "--bin", "metertrekker"])
        .args(["--features", "stand-in"])
        .env("METERTREKKER_BOARD", board)
        .env(sdk::VARIABLE, sdk::find(&toolchain.cargo)?);
    shell::run(&mut cargo)?;
    Place::here().copy("metertrekker", &format!("{board}-stand-in.elf"))
}

fn build_self_tests(toolchain: &Toolchain) -> Result<Vec<PathBuf>, String> {
    shell::run(Place::here().cargo(toolchain)?.args([
        "--package",
        "lx106-tests",
        "--features",
        "emulator",
    ]))?;
    let sources = shell::root().join("crates/lx106-tests/src/bin");
    let mut images: Vec<PathBuf> = Vec::new();
    for file in fs::read_dir(&sources)
        .map_err(|e| format!("cannot read {}: {e}", sources.display()))?
        .flatten()
    {
        if let Some(name) = file.path().file_stem().and_then(|name| name.to_str()) {
            images.push(Place::here().copy(name, &format!("self-tests/{name}.elf"))?);
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
    Place::here().copy("proof", PROOF).map(|_| ())
}

fn proof(toolchain: &Toolchain, features: &str) -> Result<Command, String> {
    let mut command = Place::here().cargo(toolchain)?;
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
    let board = image::Board::of(&board).map_err(|error| format!("boards/{name}.toml: {error}"))?;
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
    build_each(&toolchain, &names).1
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
    let mut cargo = Place::here().cargo(&toolchain::find()?)?;
    cargo.args(["--package", "lx106-bench", "--features", "emulator"]);
    if let Some(metrics) = metrics {
        cargo.env(shell::METRICS, metrics);
    }
    shell::run(&mut cargo)?;
    Place::here().copy("bench", name)
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

/// Where images are built, and what of.
struct Place {
    /// The repository's top, or a copy of it.
    sources: PathBuf,
    /// Where images come to lie.
    images: PathBuf,
}

impl Place {
    fn here() -> Self {
        Self {
            sources: shell::root(),
            images: images(),
        }
    }

    fn cargo_dir(&self) -> PathBuf {
        self.images.join("cargo")
    }

    /// Gives what cargo has built a name of its own.
    fn copy(&self, built: &str, to: &str) -> Result<PathBuf, String> {
        let from = self.cargo_dir().join(TARGET).join("firmware").join(built);
        let to = self.images.join(to);
        let problem = |e| format!("cannot copy {} to {}: {e}", from.display(), to.display());
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(problem)?;
        }
        fs::copy(&from, &to).map_err(problem)?;
        Ok(to)
    }

    /// `cargo build` for the lx106, with this program as the linker.
    fn cargo(&self, toolchain: &Toolchain) -> Result<Command, String> {
        let settings = self.sources.join("xtask/lx106");
        let me = env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let mut command = Command::new(&toolchain.cargo);
        command
            .current_dir(&self.sources)
            .args(["build", "--profile", "firmware", "--config"])
            .arg(settings.join("config.toml"))
            .arg("--target")
            .arg(settings.join(format!("{TARGET}.json")))
            .arg("--target-dir")
            .arg(self.cargo_dir())
            .env("RUSTC", &toolchain.rustc)
            // For -Zbuild-std and the target's description; the compiler stays the stock one.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_XTENSA_LX106_NONE_ELF_LINKER", me)
            // Anybody's own flags would be for another compiler.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                self.flags(toolchain).join("\x1f"),
            )
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        Ok(command)
    }

    /// The link step works on the text. Panics name their place: not by folders of this machine, which would make images long and
    /// different wherever they are built.
    fn flags(&self, toolchain: &Toolchain) -> Vec<String> {
        let registries = fs::read_dir(cargo_home().join("registry/src"));
        let registries = registries.into_iter().flatten().flatten();
        let mut folders = vec![self.sources.clone(), self.cargo_dir()];
        folders.extend(registries.map(|folder| folder.path()));
        folders.push(toolchain.library.clone());
        let shortened = |folder: &PathBuf| format!("--remap-path-prefix={}=", folder.display());
        let mut flags = vec!["--emit=asm".to_owned()];
        flags.extend(folders.iter().map(shortened));
        flags
    }
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
