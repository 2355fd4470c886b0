//! The `metertrekker` command.
#[cfg(not(target_os = "none"))]
fn main() {
    let path = std::env::args().nth(2).unwrap();
    let s = metertrekker::soc::host::decode::decode(
        std::fs::File::open(path).unwrap(),
        std::io::stdout().lock(),
    )
    .unwrap();
    eprintln!("{s}");
}
