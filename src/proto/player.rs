//! Players: cursors on a stream's ring.

use super::card::{Card, Medium, Renewal};
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
    /// At an end: what follows it could not make sense of. It has to connect anew.
    Ended,
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
    /// What it knows of the stream, once it has begun.
    pub medium: Option<Medium>,
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

    /// It begins to read, first the preamble if there is one.
    pub fn begin(&mut self, card: &Card, preamble_bytes: usize) {
        self.medium = Some(card.medium);
        self.stage = match preamble_bytes {
            0 => Stage::Playing,
            _ => Stage::Preamble(0),
        };
    }

    /// Whether what it reads next cannot be read with what it knows.
    pub fn is_outdated(&self, card: &Card, block: u64) -> bool {
        let from = card.descriptor.preamble_from_block;
        // The preamble that it was being given is gone.
        let is_cut_off = matches!(self.stage, Stage::Preamble(1..));
        self.medium.is_some_and(|known| known != card.medium) && (block >= from || is_cut_off)
    }

    /// Where output goes on once it has come to media that need another preamble.
    pub fn renew(&mut self, card: &Card, preamble_bytes: usize) {
        let Some(known) = self.medium.replace(card.medium) else {
            return;
        };
        self.stage = match known.renewal(card.medium) {
            _ if matches!(self.stage, Stage::Preamble(1..)) => Stage::Ended,
            Renewal::Refused => Stage::Ended,
            Renewal::Taken if preamble_bytes > 0 => Stage::Preamble(0),
            Renewal::InMedia | Renewal::Taken => self.stage,
        };
    }

    /// A player that has just come.
    pub fn new(stream: usize, ago: Span, now: Instant) -> Self {
        Self {
            stream,
            stage: Stage::Waiting,
            block: 0,
            offset: 0,
            medium: None,
            end: None,
            ago,
            since: now,
            tx_bytes: 0,
            skipped_bytes: 0,
            gaps: 0,
        }
    }
}
