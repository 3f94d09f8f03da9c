//! The only layer with sockets, files, clocks and threads: arguments and configuration in, a running node out.

pub mod args;
pub mod base32;
pub mod commands;
pub mod config;
pub mod config_file;
pub mod failure;
pub mod help;
pub mod keyfile;
pub mod logging;
pub mod output;
pub mod plan;
pub mod settings;
pub mod status;
pub mod stream_uri;
pub mod units;
mod values;
