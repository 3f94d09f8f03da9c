//! Turns: how a grid whose upload does not suffice for all shares out what it lacks. With fewer than K stripes nothing can be played,
//! and what comes is lost to those who lack one more: so whoever has been short for long, with the least first, takes nothing for a
//! while but what it hands on. Who plays goes on playing.

use super::node::{Event, Node, StreamId};
use super::stream::Stream;
use crate::time::{Instant, Span};

/// So long a node is short before it lets go, and before it lets go again; the more stripes come, up to `FOR_ALL_MS` longer; then
/// by a lot of one in so many looks, so that not all go at once.
const PATIENCE_MS: u64 = 20_000;
const PATIENCE_AGAIN_MS: u64 = 6_000;
const FOR_ALL_MS: u64 = 6_000;
const LOT: u64 = 40;

/// For so long it takes nothing, and up to as much again by chance; twice as long each time until K come, as often as this.
const REST_MS: u64 = 10_000;
const MOST_DOUBLED: u8 = 2;

/// Without a new group for this long it is cut off, and has nobody to make room for.
const CUT_OFF: Span = Span::from_s(3);

/// How a node whose players want the whole stream fares.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// K stripes come, or have not been missed yet.
    Served,
    /// Fewer than K come; and how often it has rested since K came last.
    Short { since: Instant, rests: u8 },
    /// It takes nothing.
    Rests { until: Instant, rests: u8 },
}

impl Stream<'_> {
    /// Whether players here get too little because the grid has too little, or nothing because it is the others' turn.
    pub fn is_short(&self) -> bool {
        matches!(
            self.turn,
            Turn::Short { rests: 1.., .. } | Turn::Rests { .. }
        )
    }
}

impl Node<'_> {
    /// Whether the whole stream is to be had here now.
    pub(super) fn takes_all(&self, at: StreamId) -> bool {
        let stream = &self.streams[at];
        stream.plays && !matches!(stream.turn, Turn::Rests { .. })
    }

    pub(super) fn tend_turn(&mut self, now: Instant, at: StreamId) {
        let stream = &self.streams[at];
        let k = stream.card.as_ref().map_or(0, |card| card.k()) as u64;
        let coming = u64::from(self.coming(at).count_ones());
        let cut_off = stream.head_age(now).is_none_or(|age| age > CUT_OFF);
        self.streams[at].turn = match stream.turn {
            Turn::Rests { until, .. } if stream.plays && now < until => return,
            _ if !stream.plays || coming >= k => Turn::Served,
            Turn::Served => Turn::Short {
                since: now,
                rests: 0,
            },
            Turn::Rests { rests, .. } => Turn::Short { since: now, rests },
            Turn::Short { rests, .. } if cut_off => Turn::Short { since: now, rests },
            Turn::Short { since, rests } => {
                let patience_ms = match rests {
                    0 => PATIENCE_MS,
                    _ => PATIENCE_AGAIN_MS,
                };
                let patience = Span::from_ms(patience_ms + FOR_ALL_MS * coming / k);
                if now.since(since) <= self.unhurried(at, patience) || self.rng.below(LOT) != 0 {
                    return;
                }
                let rest = Span::from_ms((REST_MS + self.rng.below(REST_MS)) << rests);
                self.tell(Event::Rests(at, rest));
                Turn::Rests {
                    until: now + rest,
                    rests: (rests + 1).min(MOST_DOUBLED),
                }
            }
        };
    }
}
