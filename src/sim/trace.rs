//! What is told about a node: who feeds it, and how it stands, second by second.

use super::member::Life;
use super::topology::{Edge, ORPHAN};
use super::wire::node_of;
use crate::time::Instant;
use std::format;
use std::string::String;
use std::vec::Vec;

/// Who feeds a node.
pub fn edges(second: u64, node: u32, life: &Life, out: &mut Vec<Edge>) {
    let it = &life.node.streams()[0];
    let Some(card) = it.card.as_ref().filter(|_| it.source.is_none()) else {
        return;
    };
    let mut lacking = if it.plays { card.k() } else { 0 };
    let mut add = |stripe: usize, parent| {
        out.push(Edge {
            second,
            stripe: stripe as u8,
            node,
            parent,
        });
        lacking = lacking.saturating_sub(1);
    };
    for (stripe, parent) in it.parents[..card.n()].iter().enumerate() {
        let peer = parent.peer.and_then(|id| life.node.peers().get(id));
        if let Some((parent, _)) = peer.and_then(|peer| node_of(peer.addr)) {
            add(stripe, parent);
        }
    }
    // What a player lacks stands under the first stripes that have no parent.
    let open = (0..card.n()).filter(|&stripe| it.parents[stripe].peer.is_none());
    let orphans: Vec<usize> = open.take(lacking).collect();
    out.extend(orphans.into_iter().map(|stripe| Edge {
        second,
        stripe: stripe as u8,
        node,
        parent: ORPHAN,
    }));
}

/// How a node stands, in two lines: itself, and for each stripe its parent, the hops it tells, and how far the stripe is behind.
pub fn trace(node: u32, life: &Life, clock: Instant, bitrate_bps: u64, now_us: u64) -> String {
    let it = &life.node.streams()[0];
    let peers = life.node.peers();
    let n = it.card.as_ref().map_or(0, |card| card.n());
    let head = it.head_end();
    let stripes = it.parents[..n].iter().zip(&it.heads).enumerate();
    let parents: Vec<String> = stripes
        .map(|(stripe, (parent, at))| {
            let behind = head - at.end;
            let fed_by = parent.peer.and_then(|id| Some((id, peers.get(id)?)));
            let Some((id, peer)) = fed_by else {
                return format!("none(-{behind})");
            };
            let link = peers.link(id, 0);
            let who = node_of(peer.addr).map_or(0, |(node, _)| node);
            let granted = if link.granted_up >> stripe & 1 != 0 {
                ""
            } else {
                "?"
            };
            format!("{who}{granted}({}h,-{behind})", link.hops[stripe])
        })
        .collect();
    let copies: u32 = peers
        .in_stream(0)
        .map(|(_, _, link)| link.granted_down.count_ones())
        .sum();
    let lag = life.lag(bitrate_bps, now_us).unwrap_or((0.0, 0.0));
    format!(
        "{:>9.3} node {node} lag {:.2} delivery {:.2} buffer {:.2} s, next {} of {} (head age {} ms), peers {}, copies fed {copies}, stats {:?}\n          parents {}",
        now_us as f64 / 1e6,
        lag.0,
        lag.1,
        life.viewer.buffered() * 8.0 / bitrate_bps as f64,
        it.playout.next,
        it.ring.end(),
        it.head_age(clock).map_or(0, |age| age.as_ms()),
        peers.in_stream(0).count(),
        it.stats,
        parents.join(" "),
    )
}
