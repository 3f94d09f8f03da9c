//! The sizes of all pools, derived from the configuration as sums of who holds what.

use super::book::Entry;
use super::handshake::Attempt;
use super::node::{Job, Node, Repair};
use super::peer::{Link, Peer};
use super::player::Player;
use crate::limits::{MAX_BLOCK_BYTES, MAX_PREAMBLE_BYTES, MIN_SLOT_BYTES};
use crate::storage::ring::Row;
use crate::storage::slots::{NO_SLOT, Slot};
use crate::wire::chunk::ChunkId;
use core::mem::size_of;

/// Neighbours beyond the children: a parent for each stripe of a stream and some standing by.
const PARENTS: usize = 24;

/// How many of everything a node may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Streams.
    pub streams: usize,
    /// Of these, signed here.
    pub sources: usize,
    /// Neighbours.
    pub peers: usize,
    /// Handshakes in progress.
    pub attempts: usize,
    /// Addresses known.
    pub book: usize,
    /// Players.
    pub players: usize,
    /// Things owed once.
    pub jobs: usize,
    /// Chunks asked for by others.
    pub repairs: usize,
    /// Bytes of each stream's ring.
    pub ring_bytes: usize,
    /// Slots of each stream's ring, at most.
    pub slots: usize,
    /// Blocks of each stream's ring, at most.
    pub rows: usize,
    /// Entries of each stream's log.
    pub log: usize,
}

/// One pool: its name, how many, bytes each, and who they are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Name.
    pub name: &'static str,
    /// How many.
    pub count: usize,
    /// Bytes each.
    pub each_bytes: usize,
    /// The sum, in words.
    pub why: &'static str,
}

impl Pool {
    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.count.saturating_mul(self.each_bytes)
    }
}

impl Sizes {
    /// The sizes for so many streams, children and players, with rings of no size yet.
    pub fn new(streams: usize, sources: usize, max_children: usize, max_players: usize) -> Self {
        let peers = max_children + if sources == streams { 8 } else { PARENTS };
        Self {
            streams,
            sources,
            peers,
            attempts: (peers / 4).clamp(8, 32),
            book: peers * 2 + 32,
            players: max_players,
            jobs: peers * 4 + 128,
            repairs: 256,
            ring_bytes: 0,
            slots: 0,
            rows: 0,
            log: 0,
        }
    }

    /// Gives each ring as much as is left of a budget, with `reserved` bytes kept for what is not a pool.
    pub fn fill(mut self, budget_bytes: usize, reserved_bytes: usize) -> Self {
        let fixed: usize = self.pools().iter().map(Pool::bytes).sum();
        let left = budget_bytes.saturating_sub(fixed + reserved_bytes) / self.streams.max(1);
        // A slot of the smallest size, with its share of lengths, free list, rows (one for four slots) and log.
        let overhead =
            size_of::<u16>() + size_of::<Slot>() + size_of::<Row>() / 4 + size_of::<ChunkId>();
        let most = usize::from(NO_SLOT);
        self.slots = (left / (MIN_SLOT_BYTES + overhead)).min(most);
        self.rows = self.slots / 4;
        self.log = self.slots;
        self.ring_bytes = left - (self.slots * overhead).min(left);
        self
    }

    /// Every pool.
    pub fn pools(&self) -> [Pool; 14] {
        let pool = |name, count, each_bytes, why| Pool {
            name,
            count,
            each_bytes,
            why,
        };
        let streams = self.streams;
        [
            pool(
                "engine",
                1,
                size_of::<Node<'static>>(),
                "the node and its streams' state",
            ),
            pool(
                "peers",
                self.peers,
                size_of::<Option<Peer>>(),
                "children + parents and standbys",
            ),
            pool(
                "links",
                self.peers * streams,
                size_of::<Link>(),
                "one for each stream of each peer",
            ),
            pool(
                "handshakes",
                self.attempts,
                size_of::<Option<Attempt>>(),
                "a quarter of the peers, 8 to 32",
            ),
            pool(
                "address book",
                self.book,
                size_of::<Entry>(),
                "twice the peers and 32",
            ),
            pool(
                "players",
                self.players,
                size_of::<Option<Player>>(),
                "max-players",
            ),
            pool(
                "jobs",
                self.jobs,
                size_of::<Job>(),
                "4 for each peer and 128",
            ),
            pool(
                "repairs",
                self.repairs,
                size_of::<Repair>(),
                "requests served at once",
            ),
            pool("preambles", streams, MAX_PREAMBLE_BYTES, "one a stream"),
            pool(
                "staging",
                self.sources,
                MAX_BLOCK_BYTES,
                "the block under construction, at a source",
            ),
            pool(
                "ring",
                streams,
                self.ring_bytes,
                "what is left, shared by the streams",
            ),
            pool(
                "slots",
                streams * self.slots,
                size_of::<u16>() + size_of::<Slot>(),
                "one for each of a ring's slots",
            ),
            pool(
                "rows",
                streams * self.rows,
                size_of::<Row>(),
                "one for four slots",
            ),
            pool(
                "log",
                streams * self.log,
                size_of::<ChunkId>(),
                "one for each of a ring's slots",
            ),
        ]
    }

    /// Bytes of all pools.
    pub fn total_bytes(&self) -> usize {
        self.pools()
            .iter()
            .map(Pool::bytes)
            .fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_gets_what_is_left_and_no_more() {
        for budget in [1 << 20, 2 << 20, 8 << 20, 64 << 20] {
            let sizes = Sizes::new(1, 0, 32, 16).fill(budget, 100_000);
            let total = sizes.total_bytes() + 100_000;
            assert!(
                total <= budget && total + 4_096 > budget,
                "{budget}: {total}"
            );
            assert!(sizes.ring_bytes > budget / 2);
        }
    }

    #[test]
    fn a_budget_too_small_leaves_no_ring() {
        assert_eq!(Sizes::new(1, 0, 32, 16).fill(10_000, 0).ring_bytes, 0);
    }
}
