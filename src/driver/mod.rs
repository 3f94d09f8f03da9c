//! The only layer with sockets, files, clocks and threads: arguments and configuration in, a running node out.

pub mod args;
pub mod base32;
pub mod board;
#[cfg(feature = "source")]
mod broadcast;
#[cfg(not(feature = "source"))]
#[path = "no_broadcast.rs"]
mod broadcast;
pub mod commands;
pub mod config;
pub mod config_file;
pub mod config_source;
pub mod failure;
pub mod heap;
pub mod help;
#[cfg(feature = "source")]
pub mod input;
pub mod keyfile;
pub mod logging;
pub mod output;
pub mod plan;
mod pools;
pub mod settings;
pub mod status;
pub mod stream_uri;
pub mod udp;
pub mod units;
mod values;

mod aside;
mod audience;
mod bell;
mod beyond;
pub mod control;
mod control_form;
#[cfg(feature = "demo")]
mod demo;
mod engine;
mod hls;
mod in_step;
mod inbox;
#[cfg(feature = "source")]
mod intake;
mod journal;
mod launch;
mod lease;
#[cfg_attr(
    not(feature = "serial"),
    allow(dead_code, reason = "nobody opens a line in such a build")
)]
mod lines;
mod lobby;
mod lonely;
#[cfg_attr(not(feature = "systemd"), path = "no_manager.rs")]
mod manager;
mod mdns;
mod months;
#[cfg(feature = "demo")]
mod orphan;
mod place;
mod pump;
mod quota;
mod rates;
pub mod reactor;
mod reload;
mod reply;
mod resolve;
mod run;
mod segments;
#[cfg(feature = "source")]
mod sequence;
#[cfg(feature = "serial")]
mod serial;
mod serial_line;
mod server;
mod sheet;
mod short_file;
mod signals;
#[cfg(feature = "source")]
mod source;
#[cfg(not(feature = "source"))]
#[path = "no_source.rs"]
mod source;
mod state_lock;
mod stdout;
mod stint;
mod tasks;
mod tick;
mod toml;
mod uplinks;
mod view;
mod viewers;
mod vitals;
pub mod web;
mod within;
