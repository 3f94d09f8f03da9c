//! Segments: stretches of the ring from one sync point to a later one, for players that fetch a stream piece by piece (HLS).
//!
//! Where a segment begins follows from the seals alone, so that every node, and every request, finds the same places: at the
//! first sync point of each [`SEGMENT_MS`] of the source's clock.

use super::playout::is_whole;
use super::stream::Stream;
use crate::storage::ring::Row;
use crate::wire::seal::{NOWHERE, Seal};
use heapless::Vec;

/// A segment begins with the first sync point in each such stretch of the source's clock.
pub const SEGMENT_MS: u64 = 2_000;

/// Most segments that are looked for, counted from the newest.
pub const MAX_SEGMENTS: usize = 20;

/// A stretch of media that can be played by itself, after the preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it begins: the block that names it, and the place of its first sync point.
    pub from: (u64, u16),
    /// Where the next one begins.
    pub to: (u64, u16),
    /// The source's clock at its beginning, ms since 1970, to within a group.
    pub clock_ms: u64,
    /// How long it lasts by that clock.
    pub duration_ms: u64,
    /// It does not join on to the segment before it.
    pub is_new_run: bool,
}

/// Where a segment begins.
#[derive(Clone, Copy)]
struct Place {
    at: (u64, u16),
    clock_ms: u64,
    is_new_run: bool,
}

impl Stream<'_> {
    /// The newest segments that are complete here, oldest first. The oldest that the ring holds is left out: it may be gone when
    /// it is asked for.
    pub fn segments(&self) -> Vec<Segment, MAX_SEGMENTS> {
        let mut found = Vec::new();
        let mut open: Option<Place> = None;
        self.each_beginning(|place| {
            if let Some(begun) = open.replace(place) {
                if found.is_full() {
                    found.remove(0);
                }
                // Room: one was just taken out.
                let _ = found.push(between(begun, place));
            }
        });
        found
    }

    /// The complete segment that a block names.
    pub fn segment(&self, block: u64) -> Option<Segment> {
        let (mut begun, mut found) = (None, None);
        self.each_beginning(|place| {
            if found.is_none() {
                found = begun.map(|begun| between(begun, place));
            }
            if place.at.0 == block {
                begun = Some(place);
            }
        });
        found
    }

    /// Media bytes of a segment that are given out.
    pub fn segment_bytes(&self, segment: &Segment) -> u64 {
        let (from, to) = (segment.from, segment.to);
        let bytes = |block: u64| {
            let row = self.ring.row(block)?;
            let begin = if block == from.0 {
                from.1
            } else {
                row.play_from
            };
            let end = match block == to.0 {
                true => to.1.min(row.play_bytes),
                false => row.play_bytes,
            };
            Some(u64::from(end.saturating_sub(begin)))
        };
        (from.0..=to.0).filter_map(bytes).sum()
    }

    /// Every place where a segment begins, from the oldest that the ring has whole up to where players may read.
    fn each_beginning(&self, mut each: impl FnMut(Place)) {
        let Some(card) = self.card.as_ref().filter(|_| self.playout.started) else {
            return;
        };
        let (k, run) = (card.k(), card.descriptor.first_block);
        let oldest = self.ring.tail().max(card.descriptor.preamble_from_block);
        let last = self.playout.limit.0;
        let playable = |row: &Row| is_whole(row, k) || row.play_bytes == 0;
        let first = (oldest..=last)
            .rev()
            .take_while(|&block| self.ring.row(block).is_some_and(playable))
            .last();
        let mut before = None;
        for row in (first.unwrap_or(last)..=last).filter_map(|block| self.ring.row(block)) {
            let at = (row.block, row.mark.sync);
            if at.1 == NOWHERE || at.1 >= row.play_bytes || at > self.playout.limit {
                continue;
            }
            let Some(clock_ms) = self.clock_ms(row.block) else {
                continue;
            };
            let stretch = clock_ms / SEGMENT_MS;
            // The oldest sync point may be the second of its stretch.
            if before.is_some_and(|before| before != stretch) {
                let is_new_run = row.block == run || row.play_from > 0;
                each(Place {
                    at,
                    clock_ms,
                    is_new_run,
                });
            }
            before = Some(stretch);
        }
    }

    /// The source's clock when it closed the group of a block.
    fn clock_ms(&self, block: u64) -> Option<u64> {
        let seal = Seal::parse(self.ring.seal(block)?).ok()?;
        Some(seal.clock_ms)
    }
}

impl Segment {
    /// The stretch of the source's clock that it begins in: grows by one from segment to segment while none has to be longer.
    pub fn stretch(&self) -> u64 {
        self.clock_ms / SEGMENT_MS
    }
}

fn between(from: Place, to: Place) -> Segment {
    Segment {
        from: from.at,
        to: to.at,
        clock_ms: from.clock_ms,
        duration_ms: to.clock_ms.saturating_sub(from.clock_ms),
        is_new_run: from.is_new_run,
    }
}
