//! Names of places to begin at, looked up while the node already runs: literal addresses at once, names on a helper thread,
//! again and more slowly while they do not answer, and again when nobody is left to talk to.

use super::aside;
use super::config::{Config, Task};
use super::reactor::Timer;
use super::stream_uri::HostPort;
use super::uplinks::reaches;
use super::view::Running;
use crate::proto::node::StreamId;
use crate::wire::addr::Addr;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use smol::future::FutureExt;
use std::io;
use std::net::ToSocketAddrs;
use std::string::String;
use std::vec::Vec;

/// The first pause before names are asked for again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How often a stream without neighbours is noticed.
const LOOK: Duration = Duration::from_secs(15);

/// Every place to begin at, and the stream it is for.
pub fn wanted(config: &Config) -> Vec<(StreamId, HostPort)> {
    let own: Vec<&[HostPort]> = match &config.task {
        Task::Source(_) => [&[][..]].into(),
        Task::Relay(streams) => streams.iter().map(|s| s.hosts.as_slice()).collect(),
        Task::Listen(stream) => [stream.hosts.as_slice()].into(),
    };
    let mut wanted = Vec::new();
    for (id, hosts) in own.iter().enumerate() {
        for host in hosts.iter().chain(&config.peers) {
            wanted.push((id, host.clone()));
        }
    }
    wanted
}

/// Looks up what is wanted and tells the node, for as long as it runs.
pub async fn run(running: &Running, wanted: Vec<(StreamId, HostPort)>, locals: Vec<SocketAddr>) {
    let mut names = Vec::new();
    for (stream, host) in wanted {
        match host.host.parse::<IpAddr>() {
            Ok(ip) => add(running, stream, SocketAddr::new(ip, host.port), &locals),
            Err(_) => names.push((stream, host)),
        }
    }
    let mut pause = FIRST_PAUSE;
    while !names.is_empty() {
        let mut all_answered = true;
        for (stream, host) in names
            .iter()
            .filter(|(stream, _)| is_alone(running, *stream))
        {
            match addresses(&host.host, host.port).await {
                Ok(addresses) => {
                    for address in addresses {
                        add(running, *stream, address, &locals);
                    }
                }
                Err(error) => {
                    all_answered = false;
                    log::warn!("{host}: {error}; asking again in {} s", pause.as_secs());
                }
            }
        }
        let hints = running.network_hint.rings();
        let pause_over = async {
            Timer::after(match all_answered {
                true => LOOK.max(pause),
                false => pause,
            })
            .await;
        };
        pause_over.or(running.network_hint.after(hints)).await;
        if running.network_hint.rings() != hints {
            pause = FIRST_PAUSE;
            continue;
        }
        let anybody_alone = names.iter().any(|(stream, _)| is_alone(running, *stream));
        pause = match anybody_alone {
            true => (pause * 2).min(LONGEST_PAUSE),
            false => FIRST_PAUSE,
        };
    }
}

/// Whether nobody shares this stream with us.
pub fn is_alone(running: &Running, stream: StreamId) -> bool {
    let node = running.engine.look();
    node.peers().in_stream(stream).next().is_none()
}

/// The addresses of a name.
pub async fn addresses(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = String::from(name);
    let found = aside::begin(move || (name.as_str(), port).to_socket_addrs())?.await?;
    Ok(found.collect())
}

fn add(running: &Running, stream: StreamId, address: SocketAddr, locals: &[SocketAddr]) {
    if !reaches(locals, address) {
        log::debug!("{address} cannot be reached from {locals:?}");
        return;
    }
    let addr = Addr::udp(address);
    running
        .engine
        .with(|node, now| node.add_bootstrap(now, stream, addr));
}
