//! What the source said to nobody who is alive. When all children that had a stripe from it are gone, the chunks sent to them are
//! nowhere in the grid, and all others together may have too few of a block to make it whole. Whoever takes the stripe next gets them
//! first, and hands them on as it does all others: one copy from the source mends the block for everybody.

use super::node::{Node, StreamId};
use super::stream::{bits, mask_of};
use crate::limits::MAX_N;
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;

/// What is older is not worth sending: players have passed it by.
pub(super) const OLD: Span = Span::from_s(3);

/// So long after a child was missed the source sends what only one has before all else.
const MENDING: Span = Span::from_s(3);

/// How far each stripe has come into the grid.
#[derive(Default)]
pub struct Heard {
    /// Of each stripe, the block before which all is there; zero: nobody has had it yet.
    before: [u64; MAX_N],
    /// When a child was last missed.
    missed_at: Instant,
    /// A child was missed a moment ago: what came to nobody is said again.
    is_mending: bool,
}

impl Node<'_> {
    /// At the source: notes what has come to somebody.
    pub(super) fn note_heard(&mut self, now: Instant, at: StreamId) {
        let stream = &mut self.streams[at];
        let (Some(source), Some(card)) = (stream.source.as_mut(), stream.card.as_ref()) else {
            return;
        };
        let heard = &mut source.heard;
        heard.is_mending &= now.since(heard.missed_at) < MENDING;
        let (ring, log) = (&stream.ring, &stream.log);
        let group = card.group();
        let born_before = |block, when| ring.row(block).is_none_or(|row| row.born_at < when);
        for (_, peer, link) in self.peers.each_link_mut(at) {
            // What others had before it was given the stripe has come to somebody by now, or is too old to matter.
            let joins_on = |stripe: &u8| link.fed_from <= heard.before[usize::from(*stripe)];
            let joined = match born_before(link.fed_from, now - OLD) {
                true => u32::MAX,
                false => mask_of(bits(link.fresh).filter(joins_on)),
            };
            link.fresh &= !joined;
            let held = link.granted_down & !link.fresh;
            if held == 0 {
                continue;
            }
            // What was sent after it was last heard from may have come to nobody. A group leaves over the time of the next.
            let since = peer.heard_at - group - peer.rtt_or_guess();
            let blocks = (ring.tail()..ring.end()).rev();
            let doubtful = blocks.take_while(|&block| !born_before(block, since));
            let came = doubtful.last().unwrap_or(ring.end());
            let mut before = stream.heads.map(|head| came.min(head.end));
            for entry in (link.cursor.max(log.tail())..log.end()).filter_map(|i| log.get(i)) {
                if let Some(before) = before.get_mut(usize::from(entry.index)) {
                    *before = entry.block.min(*before);
                }
            }
            for stripe in bits(held).map(usize::from) {
                heard.before[stripe] = before[stripe].max(heard.before[stripe]);
            }
        }
    }

    /// At the source: a child is missed, which had these stripes.
    pub(super) fn mend(&mut self, now: Instant, at: StreamId, stripes: u32) {
        if let Some(source) = self.streams[at].source.as_mut() {
            (source.heard.missed_at, source.heard.is_mending) = (now, true);
        }
        self.say_again(now, at, stripes);
    }

    /// At the source: these stripes have new children, or some less.
    pub(super) fn say_again(&mut self, now: Instant, at: StreamId, stripes: u32) {
        for stripe in bits(stripes) {
            self.say_stripe_again(now, at, stripe);
        }
    }

    /// Puts what came to nobody before those who have the stripe now, unless one has had it all along.
    fn say_stripe_again(&mut self, now: Instant, at: StreamId, stripe: u8) {
        let stream = &mut self.streams[at];
        let source = stream.source.as_ref();
        let Some(source) = source.filter(|source| source.heard.is_mending) else {
            return;
        };
        let children = self.peers.in_stream(at);
        let begun = children
            .filter(|(_, peer, link)| link.granted_down >> stripe & 1 != 0 && peer.answers())
            .map(|(_, _, link)| (link.fresh >> stripe & 1 != 0).then_some(link.fed_from));
        // None, the least, has had it all along.
        let Some(Some(begun)) = begun.min() else {
            return;
        };
        let before = source.heard.before[usize::from(stripe)];
        let first = if before == 0 { begun } else { before };
        for block in first.max(stream.ring.tail())..begun {
            let row = stream.ring.row(block);
            if row.is_some_and(|row| now.since(row.born_at) < OLD) {
                let index = stripe;
                stream.log.push(ChunkId { block, index });
            }
        }
        for (_, _, link) in self.peers.each_link_mut(at) {
            link.fresh &= !(1 << stripe);
        }
    }
}
