//! What the owner changes while the node runs: how much it may send, and which streams it carries.

use super::bucket::places_bps;
use super::config::Role;
use super::forward::not_handed_on;
use super::node::{Node, StreamId};
use super::peer::{Due, Link};
use super::stream::bits;
use crate::time::Instant;
use crate::wire::addr::Addr;
use crate::wire::message::Reason;

/// In which order stripes are taken back: what a child can do without, what it does not hand on, the rest.
const ORDER: [fn(&Link) -> u32; 3] = [
    |link| link.spare & link.granted_down,
    not_handed_on,
    |link| link.granted_down,
];

impl Node<'_> {
    /// Sets the upload limit, in bits a second (see [`NodeConfig`](super::config::NodeConfig)). Children for whom it leaves
    /// no room are let go at once and told so, so that they find another parent before they miss anything.
    pub fn set_upload_limit(&mut self, now: Instant, limit_bps: Option<u64>) {
        if self.config.upload_limit_bps == limit_bps {
            return;
        }
        self.config.upload_limit_bps = limit_bps;
        self.bucket.set_limit(limit_bps, now);
        self.uplink.set_limit(limit_bps);
        self.held_until = None;
        // As much as `places` gives out.
        let most_bps = limit_bps.map_or(u64::MAX, places_bps);
        self.take_back(self.granted_bps().saturating_sub(most_bps));
        for at in 0..self.streams.len() {
            self.tell_standing(at);
        }
        self.upkeep_at = now;
    }

    /// Stops carrying a stream, or takes it up again: nothing of it is fetched, forwarded or played meanwhile.
    pub fn set_carried(&mut self, now: Instant, at: StreamId, carried: bool) {
        let Some(stream) = self.streams.get_mut(at) else {
            return;
        };
        stream.stopped = !carried;
        if stream.source.is_none() {
            stream.plays = carried && stream.role != Role::Relay;
            stream.playout.await_start();
        }
        if !carried {
            for (_, _, link) in self.peers.each_link_mut(at) {
                refuse(link, link.granted_down);
            }
        }
        self.tell_standing(at);
        self.upkeep_at = now;
    }

    /// An address that may be worth asking for a stream, heard of on the own network. Unlike one of the configuration it is
    /// forgotten when it does not answer.
    pub fn add_acquaintance(&mut self, now: Instant, at: StreamId, addr: Addr) {
        self.book.add(addr, at, false, now);
        self.upkeep_at = now;
    }

    /// Takes places back until so many bits a second are free.
    fn take_back(&mut self, mut over_bps: u64) {
        for yields in ORDER {
            for at in 0..self.streams.len() {
                let stripe_bps = self.streams[at]
                    .card
                    .as_ref()
                    .map_or(0, |card| card.stripe_bps());
                for (_, _, link) in self.peers.each_link_mut(at) {
                    for stripe in bits(yields(link)) {
                        if over_bps == 0 {
                            return;
                        }
                        refuse(link, 1 << stripe);
                        over_bps = over_bps.saturating_sub(stripe_bps);
                    }
                }
            }
        }
    }

    /// What can be had here has changed, and so has what this node is to others.
    pub(super) fn tell_standing(&mut self, at: StreamId) {
        for (_, _, link) in self.peers.each_link_mut(at).filter(|(_, _, l)| l.joined) {
            link.told_at = Instant::ZERO;
            link.offered_at = Instant::ZERO;
            link.due.add(Due::JOIN);
        }
    }
}

/// A child does not get these stripes any longer.
fn refuse(link: &mut Link, stripes: u32) {
    let already = match link.refuse {
        Some((stripes, Reason::Full)) => stripes,
        _ => 0,
    };
    if stripes & link.granted_down == 0 {
        return;
    }
    link.granted_down &= !stripes;
    link.spare &= !stripes;
    link.refuse = Some((stripes | already, Reason::Full));
    link.due.add(Due::GRANT);
    link.due.add(Due::REFUSE);
}
