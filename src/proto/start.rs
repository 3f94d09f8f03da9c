//! Where a node begins to play, and begins anew after it was cut off for long.

use super::card::Card;
use super::playout::Playout;
use super::stream::Stream;
use crate::time::{Instant, Span};
use crate::wire::seal::NOWHERE;

/// The playout begins with less than a whole burst when that does not come within this time.
const PATIENCE: Span = Span::from_ms(1_000);

/// Who is further behind what is live than the window and this was cut off for long: it would rather go on with that than with what
/// it missed, most of which its neighbours no longer have, or have no upload for.
const FAR_BEHIND: Span = Span::from_s(12);

impl Stream<'_> {
    /// Whether it is to be played, and its playout is still to begin, or to begin anew.
    pub fn is_starting(&self, now: Instant, window: Span) -> bool {
        let next = self.playout.next;
        let last = self
            .ring
            .row(next.saturating_sub(1))
            .or(self.ring.row(next));
        let is_far_behind = last.is_some_and(|row| now.since(row.born_at) > window + FAR_BEHIND);
        self.plays && (!self.playout.started || is_far_behind)
    }

    /// Whether this is the block that is played next.
    pub(super) fn is_next(&self, block: u64) -> bool {
        self.playout.started && self.playout.next == block
    }

    /// Where a player wants to begin that comes now: the newest block with a sync point that is at least `burst` old, or the
    /// oldest with one.
    pub fn start_wanted(&self, now: Instant, burst: Span) -> Option<u64> {
        let run = self.card.as_ref()?.descriptor.preamble_from_block;
        let mut wanted = None;
        for block in (self.ring.tail().max(run)..self.ring.end()).rev() {
            let Some(row) = self.ring.row(block) else {
                break;
            };
            if row.mark.sync != NOWHERE {
                wanted = Some(block);
                if now.since(row.born_at) >= burst {
                    break;
                }
            }
        }
        wanted
    }

    /// The first block of the part that reaches, without a hole, from the wanted start to the newest whole block; after a while the
    /// first with a sync point of as much of it as is here.
    pub fn start_place(&mut self, now: Instant, burst: Span) -> Option<u64> {
        let wanted = self.start_wanted(now, burst)?;
        let since = *self.playout.awaited_since.get_or_insert(now);
        let since = if self.playout.started {
            self.resumed_at
        } else {
            since
        };
        let k = self.card.as_ref().map_or(0, Card::k);
        let mut place = None;
        let mut reached = false;
        for block in (wanted..self.ring.end()).rev() {
            let row = self.ring.row(block);
            match row.filter(|row| row.have.count_ones() as usize >= k) {
                Some(row) => {
                    reached = true;
                    if row.mark.sync != NOWHERE {
                        place = Some(block);
                    }
                }
                None if reached => break,
                None => {}
            }
        }
        place.filter(|&place| place == wanted || now.since(since) >= PATIENCE)
    }

    pub(super) fn try_start(&mut self, now: Instant, burst: Span) {
        if let Some(place) = self.start_place(now, burst) {
            self.playout = Playout {
                next: place,
                limit: (place, 0),
                started: true,
                began: place,
                ..self.playout
            };
        }
    }

    /// Whether the playout has come less than `span` from where it began.
    pub fn has_played_less(&self, span: Span) -> bool {
        let Playout { began, next, .. } = self.playout;
        let born_at = |block: u64| self.ring.row(block).map(|row| row.born_at);
        match (born_at(began), born_at(next)) {
            (Some(first), Some(last)) => last.since(first) < span,
            _ => next <= began,
        }
    }
}
