//! Segments: stretches of the ring from one sync point to a later one, for players that fetch a stream piece by piece (HLS).
//!
//! Where a segment begins is said in the seals, so that every node, and every request, finds the same under the same numbers.

use super::playout::is_whole;
use super::stream::Stream;
use crate::storage::ring::Row;
use crate::wire::seal::{NOWHERE, Seal, SegmentStart};
use heapless::Vec;

/// Most segments that are looked for, counted from the newest.
pub const MAX_SEGMENTS: usize = 20;

/// A stretch of media that can be played by itself, after the preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it begins: the block that names it, and the place of its first sync point.
    pub from: (u64, u16),
    /// Where the next one begins.
    pub to: (u64, u16),
    /// Its number, the same at all nodes; one more than that of the segment before.
    pub number: u32,
    /// Grows where media time does not join on to what was before.
    pub discontinuities: u32,
    /// Media time goes on from the segment before; false also for the first that this node has of a run of the source.
    pub joins_on: bool,
    /// Media time at its beginning, µs.
    pub time_us: u64,
    /// How long it lasts, µs.
    pub duration_us: u64,
}

/// Where a segment begins.
#[derive(Clone, Copy)]
struct Place {
    at: (u64, u16),
    start: SegmentStart,
    joins_on: bool,
}

impl Stream<'_> {
    /// The newest segments that are complete here, oldest first, with numbers in a row. One whose media were lost is there all the
    /// same, with what is left of it; the oldest is left out when it may be gone before it is asked for.
    pub fn segments(&self) -> Vec<Segment, MAX_SEGMENTS> {
        let mut found = Vec::new();
        let mut open: Option<Place> = None;
        let mut leaves_soon = self.ring.is_nearly_full();
        self.each_beginning(|place| {
            let begun = open.replace(place);
            let Some(begun) = begun.filter(|_| !core::mem::take(&mut leaves_soon)) else {
                return;
            };
            if found.is_full() {
                found.remove(0);
            }
            // Room: one was just taken out.
            let _ = found.push(between(begun, place));
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
            let begin = match block == from.0 {
                true => from.1.max(row.play_from),
                false => row.play_from,
            };
            let end = match block == to.0 {
                true => to.1.min(row.play_bytes),
                false => row.play_bytes,
            };
            Some(u64::from(end.saturating_sub(begin)))
        };
        (from.0..=to.0).filter_map(bytes).sum()
    }

    /// The first block that goes with the preamble known here.
    fn first_that_fits(&self) -> u64 {
        let card = self.card.as_ref();
        card.map_or(0, |card| card.descriptor.preamble_from_block)
    }

    /// Every place where a segment begins, from the oldest that the ring has whole up to where players may read.
    fn each_beginning(&self, mut each: impl FnMut(Place)) {
        let Some(card) = self.card.as_ref().filter(|_| self.playout.started) else {
            return;
        };
        let oldest = self.ring.tail().max(self.first_that_fits());
        let last = self.playout.limit.0;
        let playable = |row: &Row| is_whole(row, card.k()) || row.play_bytes == 0;
        let first = (oldest..=last)
            .rev()
            .take_while(|&block| self.ring.row(block).is_some_and(playable))
            .last();
        let mut block = first.unwrap_or(last);
        // A player that stayed while the source was started again has only this to tell it that time begins anew.
        let first_joins_on = block > self.first_that_fits().max(self.playout.began);
        let mut before = None;
        while block <= last {
            let seal = self.ring.seal(block);
            let Some(seal) = seal.and_then(|bytes| Seal::parse(bytes).ok()) else {
                return;
            };
            let begun = seal
                .segment
                .map(|start| (seal.first_block + u64::from(start.index), start))
                .filter(|&(at, _)| at >= block);
            if let Some((at, start)) = begun
                && let Some(row) = self.ring.row(at)
                && row.mark.sync != NOWHERE
                && (at, row.mark.sync) <= self.playout.limit
            {
                let at = (at, row.mark.sync);
                let joins_on =
                    before.map_or(first_joins_on, |before| before == start.discontinuities);
                before = Some(start.discontinuities);
                each(Place {
                    at,
                    start,
                    joins_on,
                });
            }
            block = seal.end_block();
        }
    }
}

fn between(from: Place, to: Place) -> Segment {
    Segment {
        from: from.at,
        to: to.at,
        number: from.start.number,
        discontinuities: from.start.discontinuities,
        joins_on: from.joins_on,
        time_us: from.start.time_us,
        duration_us: to.start.time_us.saturating_sub(from.start.time_us),
    }
}
