//! SIGHUP: the configuration is read again. What can change while children are fed is applied; the rest is named.

use super::config::Config;
use super::config_source::ConfigSource;
use super::control::{self, Command};
use super::manager;
use super::reactor::Async;
use super::signals;
use super::units::Rate;
use super::view::Running;
use std::os::unix::net::UnixStream;
use std::string::{String, ToString};
use std::vec::Vec;

/// Reads the configuration again at each signal, for as long as the node runs.
pub async fn attend(
    mut hangups: Async<UnixStream>,
    running: &Running,
    config: &Config,
    source: &ConfigSource,
) {
    let mut config = config.clone();
    while signals::next(&mut hangups).await {
        manager::reloading();
        match source.read() {
            Ok(wanted) => config = apply(running, config, &wanted),
            Err(failure) => log::error!("reload: {failure}; going on as before"),
        }
        // Whoever sends the signal may know of another way out to the network.
        running.network_hint.ring();
        manager::ready();
    }
}

/// Applies what can be applied; what comes back is what the node runs by from now on.
fn apply(running: &Running, old: Config, wanted: &Config) -> Config {
    let config = Config {
        upload_limit_bps: wanted.upload_limit_bps,
        max_children: wanted.max_children.min(running.facts.planned_children),
        ..old.clone()
    };
    let mut applied = Vec::new();
    if config.upload_limit_bps != old.upload_limit_bps {
        applied.push(said("upload-limit", config.upload_limit_bps.map(Rate)));
    }
    if config.max_children != old.max_children {
        applied.push(said("max-children", Some(config.max_children)));
    }
    if config.forwarding_limit_bps() != old.forwarding_limit_bps() {
        let limit = Command::Limit(config.forwarding_limit_bps());
        control::apply(&running.control, &running.engine, limit);
    }
    let most = usize::from(config.max_children);
    running
        .engine
        .with(|node, now| node.set_max_children(now, most));
    let later = later(&config, wanted);
    if !applied.is_empty() {
        log::info!("reload: {}", applied.join(", "));
    }
    if !later.is_empty() {
        log::warn!("reload: {} wait for a restart", later.join(", "));
    }
    if applied.is_empty() && later.is_empty() {
        log::info!("reload: nothing has changed");
    }
    config
}

fn said(key: &str, value: Option<impl ToString>) -> String {
    let value = value.map_or(String::from("unlimited"), |value| value.to_string());
    std::format!("{key} is {value} now")
}

/// The keys that differ though what could be applied was: memory is planned once, and sockets are bound once.
fn later(now: &Config, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("streams or programme", now.task != wanted.task),
        ("max-children", now.max_children != wanted.max_children),
        ("quota", now.quota_bytes != wanted.quota_bytes),
        ("quota-day", now.quota_day != wanted.quota_day),
        ("delay-target", now.delay_target != wanted.delay_target),
        ("bind", now.bind != wanted.bind),
        ("http", now.http != wanted.http),
        ("advertise", now.advertise != wanted.advertise),
        ("peers", now.peers != wanted.peers),
        ("memory", now.memory_bytes != wanted.memory_bytes),
        ("max-players", now.max_players != wanted.max_players),
        ("spare", now.spare_stripes != wanted.spare_stripes),
        ("burst", now.burst != wanted.burst),
        ("window", now.window != wanted.window),
        ("serial", now.serial != wanted.serial),
        ("state", now.state != wanted.state),
        ("offload", now.offload != wanted.offload),
        (
            "control-token",
            now.web.control_token != wanted.web.control_token,
        ),
        ("http-hosts", now.web.hosts != wanted.web.hosts),
        ("http-public", now.web.public != wanted.web.public),
        ("mdns", now.web.mdns != wanted.web.mdns),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| key).collect()
}
