//! Players: cursors on a stream's ring.

use crate::time::{Instant, Span};

/// Where a player is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// For the first block it can begin at.
    Waiting,
    /// In the preamble, at this offset.
    Preamble(u32),
    /// In the ring.
    Playing,
}

/// One player.
#[derive(Clone, Copy, Debug)]
pub struct Player {
    /// Stream it plays.
    pub stream: usize,
    /// Where it is.
    pub stage: Stage,
    /// Next block to read, and the media byte in it.
    pub block: u64,
    /// See `block`.
    pub offset: u16,
    /// It reads no further than this; `None`: for ever.
    pub end: Option<(u64, u16)>,
    /// How far in the past it wants to begin.
    pub ago: Span,
    /// When it came.
    pub since: Instant,
    /// Media and preamble bytes it was given.
    pub tx_bytes: u64,
    /// Media bytes it was not given because they were missing or it was too slow.
    pub skipped_bytes: u64,
    /// Times that happened.
    pub gaps: u32,
}

impl Player {
    /// What it may read of a slice that begins at a place.
    pub fn clip<'a>(&self, (block, offset): (u64, u16), slice: &'a [u8]) -> &'a [u8] {
        match self.end {
            Some((last, _)) if block > last => &[],
            Some((last, end)) if block == last => slice
                .get(..usize::from(end.saturating_sub(offset)))
                .unwrap_or(slice),
            _ => slice,
        }
    }

    /// A player that has just come.
    pub fn new(stream: usize, ago: Span, now: Instant) -> Self {
        Self {
            stream,
            stage: Stage::Waiting,
            block: 0,
            offset: 0,
            end: None,
            ago,
            since: now,
            tx_bytes: 0,
            skipped_bytes: 0,
            gaps: 0,
        }
    }
}
