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
    let mut applied = Applied {
        upload_limit_bps: config.upload_limit_bps,
        max_children: config.max_children,
    };
    while signals::next(&mut hangups).await {
        manager::reloading();
        match source.read() {
            Ok(wanted) => applied = apply(running, config, applied, &wanted),
            Err(failure) => log::error!("reload: {failure}; going on as before"),
        }
        // Whoever sends the signal may know of another way out to the network.
        running.network_hint.ring();
        manager::ready();
    }
}

/// By what the node runs now, of what can change.
#[derive(Clone, Copy)]
struct Applied {
    upload_limit_bps: Option<u64>,
    max_children: u16,
}

/// Applies what can be applied; what comes back is what the node runs by from now on.
fn apply(running: &Running, config: &Config, old: Applied, wanted: &Config) -> Applied {
    let now = Applied {
        upload_limit_bps: wanted.upload_limit_bps,
        max_children: wanted.max_children.min(running.facts.planned_children),
    };
    let mut applied = Vec::new();
    if now.upload_limit_bps != old.upload_limit_bps {
        applied.push(said("upload-limit", now.upload_limit_bps.map(Rate)));
    }
    if now.max_children != old.max_children {
        applied.push(said("max-children", Some(now.max_children)));
    }
    let limit = config.forwarding_under(now.upload_limit_bps);
    if limit != config.forwarding_under(old.upload_limit_bps) {
        control::apply(&running.control, &running.engine, Command::Limit(limit));
    }
    let most = usize::from(now.max_children);
    running
        .engine
        .with(|node, now| node.set_max_children(now, most));
    let later = later(config, now, wanted);
    if !applied.is_empty() {
        log::info!("reload: {}", applied.join(", "));
    }
    if !later.is_empty() {
        log::warn!("reload: {} wait for a restart", later.join(", "));
    }
    if applied.is_empty() && later.is_empty() {
        log::info!("reload: nothing has changed");
    }
    now
}

fn said(key: &str, value: Option<impl ToString>) -> String {
    let value = value.map_or(String::from("unlimited"), |value| value.to_string());
    std::format!("{key} is {value} now")
}

/// The keys that differ though what could be applied was: memory is planned once, and sockets are bound once.
fn later(was: &Config, now: Applied, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("streams or programme", was.task != wanted.task),
        ("max-children", now.max_children != wanted.max_children),
        ("quota", was.quota_bytes != wanted.quota_bytes),
        ("quota-day", was.quota_day != wanted.quota_day),
        ("delay-target", was.delay_target != wanted.delay_target),
        ("bind", was.bind != wanted.bind),
        ("http", was.http != wanted.http),
        ("advertise", was.advertise != wanted.advertise),
        ("peers", was.peers != wanted.peers),
        ("memory", was.memory_bytes != wanted.memory_bytes),
        ("max-players", was.max_players != wanted.max_players),
        ("spare", was.spare_stripes != wanted.spare_stripes),
        ("burst", was.burst != wanted.burst),
        ("window", was.window != wanted.window),
        ("serial", was.serial != wanted.serial),
        ("state", was.state != wanted.state),
        ("offload", was.offload != wanted.offload),
        (
            "control-token",
            was.web.control_token != wanted.web.control_token,
        ),
        ("http-hosts", was.web.hosts != wanted.web.hosts),
        ("http-public", was.web.public != wanted.web.public),
        ("mdns", was.web.mdns != wanted.web.mdns),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| key).collect()
}
