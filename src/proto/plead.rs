//! What happens when every neighbour feeds as many as it may: one that has too little to play asks all the same, and whoever gets
//! the least from the neighbour it asks makes way. That one has other parents, with whom it holds a place already; a newcomer has none.
//! Without this a grid whose members spread their stripes over many parents has no place left for anybody else.

use super::node::{Node, StreamId};
use super::peer::{Due, PeerId};
use super::stream::{Parent, bits, mask_of};
use crate::time::{Instant, Span};

/// One neighbour is asked at a time, as often as this and up to twice as seldom.
const PLEAD_MS: u64 = 250;

/// A neighbour has a child make way no more often than this.
const WAY: Span = Span::from_s(1);

impl Node<'_> {
    /// Too little comes, and nobody has a place: asks one who feeds others what is lacking, as much as it has, since only for one who asks for
    /// more than some child gets does that child make way.
    pub(super) fn plead(&mut self, now: Instant, at: StreamId, orphans: u32) {
        if now < self.streams[at].plead_at || !self.endangered(at) {
            return;
        }
        let salt = self.rng.next_u64();
        let could = |id, link: &_| {
            let sends = bits(orphans).filter(|&stripe| self.could_send(now, at, stripe, link));
            let sends = mask_of(sends);
            (sends.count_ones(), salt >> (id % 32) & 63, id, sends)
        };
        let full = self.peers.in_stream(at).filter(|(_, peer, link)| {
            peer.bye.is_none()
                && peer.addr.socket().is_some()
                && link.places == 0
                && link.granted_up == 0
                && !link.standing.is_source()
        });
        let best = full.map(|(id, _, link)| could(id, link)).max();
        let Some((2.., _, id, stripes)) = best else {
            return;
        };
        for stripe in bits(stripes) {
            self.streams[at].parents[usize::from(stripe)] = Parent {
                peer: Some(id),
                since: now,
                trial: None,
            };
        }
        self.owe(id, at, Due::SUBSCRIBE);
        let pause = PLEAD_MS + self.rng.below(PLEAD_MS);
        self.streams[at].plead_at = now + self.unhurried(at, Span::from_ms(pause));
    }

    /// Somebody who gets nothing from here asks for `needed`, and as many are fed as may be: the child that gets the least makes
    /// way, if that is less.
    pub(super) fn make_way(&mut self, now: Instant, at: StreamId, id: PeerId, needed: u32) {
        let full = !self.is_child(id) && self.children() >= self.config.max_children;
        let root = self.streams[at].source.is_some();
        if !full || root || now < self.way_at || !self.may_grant() || self.is_line(id) {
            return;
        }
        let elsewhere = |child| {
            (0..self.streams.len())
                .any(|other| other != at && self.peers.link(child, other).granted_down != 0)
        };
        let children = self.peers.in_stream(at).filter(|(child, _, link)| {
            link.granted_down != 0 && !self.is_line(*child) && !elsewhere(*child)
        });
        let least = children
            .map(|(child, _, link)| {
                (
                    link.granted_down.count_ones(),
                    link.standing.forwards(),
                    child,
                )
            })
            .min();
        let Some((.., child)) = least.filter(|(count, ..)| *count < needed.count_ones()) else {
            return;
        };
        self.way_at = now + WAY;
        for stripe in bits(self.peers.link(child, at).granted_down) {
            self.take_stripe(child, at, stripe);
        }
    }
}
