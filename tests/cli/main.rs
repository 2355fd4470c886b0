//! The program as its users meet it: what it prints, what it answers to mistakes, how it ends.

mod commands;
mod decode;
mod mistakes;
mod names;
mod running;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod terminal;
mod time;
