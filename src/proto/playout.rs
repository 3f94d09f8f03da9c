//! Playout: how far the stream is whole here, where a player may begin, and what it may read.

use super::card::Card;
use super::player::{Player, Stage};
use crate::storage::ring::{Ring, Row};
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;
use crate::wire::seal::NOWHERE;

/// For so long after a stream was first awaited its players wait until they can be given as much as they want to hold. Whoever
/// begins with less than that hears every loss that takes longer to mend.
const GATHERING: Span = Span::from_ms(2_500);

/// The few that have less than this then wait for it until so long after they came: they would be the ones who hear nearly all there
/// is to be heard of losses, for as long as they listen. Whoever comes later, to a ring that never holds as much, does not wait.
const LITTLE: Span = Span::from_ms(1_500);
const SCRAPING: Span = Span::from_s(4);

/// How far the stream is whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct Playout {
    /// Next block that is not whole yet; all players are at or below it.
    pub next: u64,
    /// Output may not go beyond this (block, byte): what follows could have to be cut away.
    pub limit: (u64, u16),
    /// Whether `next` means anything yet.
    pub started: bool,
    /// Where it began here, in this run of the source or, if later, when this node began to take it.
    pub began: u64,
    /// Since when it has waited for a place to begin; `None` at a source.
    pub awaited_since: Option<Instant>,
}

impl Playout {
    /// The whole stream is wanted from now on: it begins where enough of it is here.
    pub fn await_start(&mut self) {
        self.started = false;
        self.awaited_since = None;
    }

    /// What a player has to be given now to begin: as much as it wants to hold, later less.
    pub fn enough(&self, now: Instant, player: &Player) -> Span {
        let Some(since) = self.awaited_since else {
            return Span::ZERO;
        };
        if now.since(since) < GATHERING {
            player.ago
        } else if now.since(since.min(player.since)) < SCRAPING {
            player.ago.min(LITTLE)
        } else {
            Span::ZERO
        }
    }

    /// The block at `next` is whole: go on to the one behind it.
    pub fn advance(&mut self, row: &Row) {
        if row.mark.cut != NOWHERE {
            self.limit = (self.next, row.mark.cut.min(row.mark.length_bytes));
        }
        self.next += 1;
    }

    /// Another run of the source goes on at `place` in `block`.
    pub fn begin_run(&mut self, ring: &mut Ring<'_>, block: u64, place: u16) {
        self.skip_to(ring, block, place);
        self.began = block;
    }

    /// What lies before `place` in `block` will not come, or does not join on to it: go on there. What was whole before the hole
    /// is given out up to its last cut, and nothing of what comes late.
    pub fn skip_to(&mut self, ring: &mut Ring<'_>, block: u64, place: u16) {
        let (last, cut) = self.limit;
        ring.cut_short(last, cut);
        // What still comes of the skipped blocks comes too late to join on.
        for behind in (last + 1).max(ring.tail())..block.min(ring.end()) {
            ring.cut_short(behind, 0);
        }
        ring.play_from(block, place);
        self.next = block;
    }
}

/// Whether all data chunks of a block are here.
pub fn is_whole(row: &Row, k: usize) -> bool {
    let data = (1u32 << k) - 1;
    row.have & data == data
}

/// The block at which a player begins that wants to hold `ago`: the newest with a sync point from which on so much is whole, or
/// the oldest there is if from there on at least `enough` is. Only blocks from `from` on that join on to the playout without a hole
/// are looked at.
pub fn begin(
    ring: &Ring<'_>,
    playout: &Playout,
    k: usize,
    from: u64,
    ago: Span,
    enough: Span,
) -> Option<(u64, u16)> {
    let newest_at = ring.row(playout.next.checked_sub(1)?)?.born_at;
    let (mut found, mut held) = (None, Span::ZERO);
    for block in (ring.tail().max(from)..playout.next).rev() {
        let Some(row) = ring.row(block).filter(|row| is_whole(row, k)) else {
            break;
        };
        if row.mark.sync != NOWHERE && (block, row.mark.sync) <= playout.limit {
            found = Some((block, row.mark.sync));
            held = newest_at.since(row.born_at);
            if held >= ago {
                return found;
            }
        }
    }
    found.filter(|_| held >= enough)
}

/// The next (block, byte) at or behind `block` at which output can begin again after a hole.
pub fn resume(ring: &Ring<'_>, playout: &Playout, k: usize, block: u64) -> Option<(u64, u16)> {
    (block.max(ring.tail())..playout.next).find_map(|block| {
        let row = ring
            .row(block)
            .filter(|row| is_whole(row, k) && row.mark.sync != NOWHERE)?;
        ((block, row.mark.sync) <= playout.limit).then_some((block, row.mark.sync))
    })
}

/// Moves a playing cursor over holes. False while there is nothing it could read.
pub fn settle(player: &mut Player, ring: &Ring<'_>, playout: &Playout, k: usize) -> bool {
    loop {
        if player.stage != Stage::Playing || (player.block, player.offset) >= playout.limit {
            return false;
        }
        match ring.row(player.block).filter(|row| is_whole(row, k)) {
            Some(row) if player.offset < row.play_from => player.offset = row.play_from,
            Some(row) if player.offset < row.play_bytes => return true,
            Some(_) => {
                player.block += 1;
                player.offset = 0;
            }
            None => {
                let Some((block, offset)) = resume(ring, playout, k, player.block) else {
                    return false;
                };
                player.skipped_bytes += skipped(ring, player.block, player.offset, block, offset);
                player.gaps += 1;
                (player.block, player.offset) = (block, offset);
            }
        }
    }
}

/// Media bytes between two places, as far as their seals are known here.
fn skipped(ring: &Ring<'_>, from: u64, from_offset: u16, to: u64, to_offset: u16) -> u64 {
    let length = |block: u64| {
        ring.row(block)
            .map_or(0, |row| u64::from(row.mark.length_bytes))
    };
    let between: u64 = (from.max(ring.tail())..to).map(length).sum();
    (between + u64::from(to_offset)).saturating_sub(u64::from(from_offset))
}

/// The media bytes a player may read next without a copy: up to the end of one chunk.
pub fn readable<'a>(
    player: &Player,
    ring: &'a Ring<'_>,
    playout: &Playout,
    card: &Card,
) -> &'a [u8] {
    let at = (player.block, player.offset);
    let slice = slice_at(at.0, at.1, ring, playout, card).unwrap_or(&[]);
    player.clip(at, slice)
}

/// The media bytes at (block, offset) up to the end of their chunk, or to the limit.
pub fn slice_at<'a>(
    block: u64,
    offset: u16,
    ring: &'a Ring<'_>,
    playout: &Playout,
    card: &Card,
) -> Option<&'a [u8]> {
    let row = ring.row(block)?;
    let length = row.mark.length_bytes;
    let most = match playout.limit {
        (last, cut) if last == block => cut.min(row.play_bytes),
        (last, _) if last > block => row.play_bytes,
        _ => 0,
    };
    let payload = card.payload_bytes(length);
    let index = usize::from(offset) / payload;
    let start = index * payload;
    let chunk = ring.chunk(ChunkId {
        block,
        index: u8::try_from(index).ok()?,
    })?;
    let end = (start + payload).min(usize::from(most));
    let from = card.payload_offset() + usize::from(offset) - start;
    let to = card.payload_offset() + end.checked_sub(start)?;
    chunk.get(from..to)
}
