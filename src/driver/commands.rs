//! What each command does once its configuration stands.

use super::config::{Config, DemoConfig};
use super::config_source::ConfigSource;
use super::failure::Failure;
use super::units::Size;
use super::{heap, launch, output, run as running, server, udp};
use std::format;
use std::string::ToString;

/// `weir source`, `weir relay` or `weir listen`, until it is stopped.
pub fn run(config: &Config, source: &ConfigSource) -> Result<(), Failure> {
    let plan = launch::check(config)?;
    log::info!(
        "memory plan, in bytes ({} allowed):",
        Size(config.memory_bytes)
    );
    for line in plan.to_string().lines() {
        log::info!("{line}");
    }
    heap::ACCOUNT.set_cap(launch::heap_bytes(&plan));
    log::info!("{}", config.sharing());
    running::run(config, source)
}

/// `weir check`: what a node would run by, and the memory it would plan.
pub fn check(file: &str, config: &Config) -> Result<(), Failure> {
    let plan = launch::plan(config);
    let budget = config.memory_bytes;
    output::print(&format!(
        "{file}:\n{config}memory plan, in bytes:\n{plan}  {:<16} {budget:>33}\n\
         besides, in the kernel: at most {} for each of {} connections that stand still, until they are dropped; \
         for each of {} UDP sockets, by the rates, at most {} for what comes in and {} for what goes out\n",
        "budget",
        Size(server::KERNEL_BYTES),
        launch::http_tasks(config.max_players),
        config.bind.len(),
        // How fast the streams are is found out when they come.
        Size(udp::kernel_bytes(u64::MAX)),
        Size(udp::kernel_bytes(
            config.forwarding_limit_bps().unwrap_or(u64::MAX)
        ))
    ))?;
    launch::check(config).map(drop)
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
