//! What each command does once its configuration stands.

use super::config::{Config, DemoConfig};
use super::config_source::ConfigSource;
use super::failure::Failure;
use super::{launch, output, run as running};
use std::format;

/// `weir source`, `weir relay` or `weir listen`, until it is stopped.
pub fn run(config: &Config, source: &ConfigSource) -> Result<(), Failure> {
    let plan = launch::plan(config);
    plan.within(config.memory_bytes)?;
    let planned = super::units::Size(plan.total_bytes() / 1_024 * 1_024);
    log::info!("memory: {planned} planned, nothing more is taken later");
    log::debug!("memory plan, in bytes:\n{plan}");
    log::info!("{}", config.sharing());
    running::run(config, source)
}

/// `weir check`: what a node would run by, and the memory it would plan.
pub fn check(file: &str, config: &Config) -> Result<(), Failure> {
    let plan = launch::plan(config);
    output::print(&format!("{file}:\n{config}memory plan, in bytes:\n{plan}"))?;
    plan.within(config.memory_bytes)
}

/// A whole grid on this machine.
#[cfg(feature = "demo")]
pub fn demo(config: &DemoConfig) -> Result<(), Failure> {
    super::demo::run(config)
}

/// A whole grid on this machine, which this build has not.
#[cfg(not(feature = "demo"))]
pub fn demo(_config: &DemoConfig) -> Result<(), Failure> {
    Err(Failure::usage("demo", "is not in this build of weir"))
}
