//! What each command does once its configuration stands.

use super::config::{Broadcast, Config, DemoConfig, Task};
use super::failure::Failure;
use super::output;
use super::plan::Plan;
use super::stream_uri::StreamUri;
use crate::limits::MAX_PREAMBLE_BYTES;
use std::format;
use std::string::String;

/// `weir source`, `weir relay` or `weir listen`, until it is stopped.
pub fn run(config: &Config) -> Result<(), Failure> {
    plan(config).within(config.memory_bytes)?;
    log::info!("{}", config.sharing());
    match &config.task {
        Task::Source(broadcast) => source(config, broadcast),
        Task::Relay(streams) => relay(config, streams),
        Task::Listen(stream) => listen(config, stream),
    }
}

/// `weir check`: what a node would run by, and the memory it would plan.
pub fn check(file: &str, config: &Config) -> Result<(), Failure> {
    let plan = plan(config);
    output::print(&format!("{file}:\n{config}memory plan, in bytes:\n{plan}"))?;
    plan.within(config.memory_bytes)
}

/// Every pool of a node with this configuration.
pub fn plan(config: &Config) -> Plan {
    let streams = match &config.task {
        Task::Relay(streams) => streams.len() as u64,
        Task::Source(_) | Task::Listen(_) => 1,
    };
    let mut plan = Plan::default();
    plan.add(
        "preambles",
        streams,
        MAX_PREAMBLE_BYTES as u64,
        "one a stream",
    );
    plan
}

/// A whole grid on this machine.
pub fn demo(_config: &DemoConfig) -> Result<(), Failure> {
    Err(not_yet("demo"))
}

/// Signs and sends a stream.
fn source(_config: &Config, _broadcast: &Broadcast) -> Result<(), Failure> {
    Err(not_yet("source"))
}

/// Carries streams.
fn relay(_config: &Config, _streams: &[StreamUri]) -> Result<(), Failure> {
    Err(not_yet("relay"))
}

/// Rebuilds a stream on stdout and for players.
fn listen(_config: &Config, _stream: &StreamUri) -> Result<(), Failure> {
    Err(not_yet("listen"))
}

fn not_yet(command: &str) -> Failure {
    Failure::Runtime(String::from("weir ") + command + " is not built yet")
}
