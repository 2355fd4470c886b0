//! The `metertrekker` command.
fn main() {}
