//! The inputs of a broadcaster, against the programs people use: ffmpeg, curl, Icecast, and sockets by hand where a
//! program would be too polite. A program that is not installed skips its test with a line, except where `CI=true`.
#![cfg(all(feature = "std", feature = "source", target_os = "linux"))]

mod files;
#[path = "../common/port.rs"]
mod port;
mod programs;
mod pull;
mod push;
mod recorder;
mod udp;
