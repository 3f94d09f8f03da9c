//! Players in step: whoever reads at the same spot is given the same media.

use super::node::{Node, PlayerId, StreamId};
use super::player::Stage;
use crate::time::Instant;

/// Where a player reads next and how far it may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// In which stream.
    pub stream: StreamId,
    /// Block, and byte in it.
    pub at: (u64, u16),
    /// As `at`.
    pub limit: (u64, u16),
    /// When the block came: a stream that begins anew may have another of the same number.
    pub sealed_at: Instant,
}

impl Node<'_> {
    /// Where a player stands. `None` when there is nothing for it, or not only what is there for others, too: a preamble, an end.
    pub fn player_spot(&mut self, now: Instant, id: PlayerId) -> Option<Spot> {
        if !self.settle_player(now, id) {
            return None;
        }
        let (player, stream) = self.player_and_stream(id)?;
        let medium = stream.card.as_ref().map(|card| card.medium);
        let in_step =
            player.stage == Stage::Playing && player.end.is_none() && player.medium == medium;
        let row = stream.ring.row(player.block).filter(|_| in_step)?;
        Some(Spot {
            stream: player.stream,
            at: (player.block, player.offset),
            limit: stream.playout.limit,
            sealed_at: row.sealed_at,
        })
    }
}
