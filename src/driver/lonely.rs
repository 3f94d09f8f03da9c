//! A stream for which nobody answers: its owner is told, since a wrong key, a host that is down and a blocked port all look
//! the same from here.

use super::reactor::Timer;
use super::resolve::is_alone;
use super::stream_uri::HostPort;
use super::view::Running;
use crate::proto::node::StreamId;
use core::time::Duration;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Alone for so long is worth a line.
const FIRST: Duration = Duration::from_secs(5);

/// As long as nobody answers, again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// Says in the log which streams have nobody to get them from, for as long as the node runs.
pub async fn watch(running: &Running, wanted: &[(StreamId, HostPort)]) {
    loop {
        Timer::after(FIRST).await;
        let mut anybody = false;
        for (id, names) in running.facts.names.iter().enumerate() {
            let hosts = hosts_of(wanted, id);
            if !hosts.is_empty() && is_alone(running, id) {
                anybody = true;
                log::warn!(
                    "nobody answers for stream {}: tried {hosts}, trying on; is the key right, the host up, UDP let through?",
                    names.key
                );
            }
        }
        if anybody {
            Timer::after(AGAIN - FIRST).await;
        }
    }
}

fn hosts_of(wanted: &[(StreamId, HostPort)], stream: StreamId) -> String {
    let hosts = wanted.iter().filter(|(id, _)| *id == stream);
    let hosts: Vec<String> = hosts.map(|(_, host)| format!("{host}")).collect();
    hosts.join(", ")
}
