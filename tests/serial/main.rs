//! Serial lines with real processes over pseudo-terminals: neighbours over a bad cable, and a person at a console.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "the grid's tests use the rest")]
mod common;

mod board;
mod console;
mod link;
mod opus;
mod wire;
