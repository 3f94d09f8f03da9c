//! The sizes of all pools, derived from the configuration as sums of who holds what.

use super::book::Entry;
use super::config::MAX_STREAMS;
use super::handshake::Attempt;
use super::job::Job;
use super::node::Node;
use super::peer::{Link, Peer};
use super::player::Player;
use super::serve::Repair;
use super::stream::Stream;
use crate::limits::{
    CHUNK_PREFIX_BYTES, MAX_BLOCK_BYTES, MAX_DATAGRAM_BYTES, MAX_PREAMBLE_BYTES, MIN_SLOT_BYTES,
};
use crate::storage::ring::Row;
use crate::storage::slots::{NO_SLOT, Slot};
use crate::wire::chunk::ChunkId;
use core::fmt::{Arguments, Write as _};
use core::mem::size_of;

/// Neighbours beyond the children: a parent for each stripe of a stream and some standing by.
const PARENTS: usize = 24;

/// The same at a node that has no parents: others who only ask, for a moment.
const CALLERS: usize = 8;

fn other_peers(streams: usize, sources: usize) -> usize {
    match sources == streams {
        true => CALLERS,
        false => PARENTS,
    }
}

/// The pool that takes what is left.
const RING: &str = "ring";

/// The least ring worth having: 16 s of a talk programme.
const MIN_RING_BYTES: usize = 128 << 10;

/// A slot of the smallest size.
const LEAST_SLOT_BYTES: usize = CHUNK_PREFIX_BYTES + MIN_SLOT_BYTES;

/// What each slot costs besides: its share of lengths, free list, rows (one for four slots) and log.
const SLOT_OVERHEAD_BYTES: usize =
    size_of::<u16>() + size_of::<Slot>() + size_of::<Row>() / 4 + size_of::<ChunkId>();

/// The least that a ring and its tables take.
const MIN_WHOLE_BYTES: usize =
    (MIN_RING_BYTES * (LEAST_SLOT_BYTES + SLOT_OVERHEAD_BYTES)).div_ceil(LEAST_SLOT_BYTES);

/// Slots have numbers of 16 bits: with more of a budget than that many of the biggest take, a ring could do nothing.
const MAX_SLOTS: usize = NO_SLOT as usize;
const MAX_RING_BYTES: usize = MAX_SLOTS * MAX_DATAGRAM_BYTES;
const MAX_WHOLE_BYTES: usize = MAX_RING_BYTES + MAX_SLOTS * SLOT_OVERHEAD_BYTES;

/// How many of everything a node may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Streams.
    pub streams: usize,
    /// Of these, signed here.
    pub sources: usize,
    /// Neighbours that are fed.
    pub children: usize,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Name.
    pub name: &'static str,
    /// How many.
    pub count: usize,
    /// Bytes each.
    pub each_bytes: usize,
    /// The sum: who holds them.
    pub why: heapless::String<80>,
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
        let peers = max_children + other_peers(streams, sources);
        Self {
            streams,
            sources,
            children: max_children,
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

    /// Gives each ring as much as is left of a budget, with `reserved` bytes kept for what is not a pool. Where that is too
    /// little to be worth it, a ring is as big as it has to be all the same, and the sum is over the budget; where it is more
    /// than a ring can use, it is left.
    pub fn fill(mut self, budget_bytes: usize, reserved_bytes: usize) -> Self {
        let fixed: usize = self.pools().iter().map(Pool::bytes).sum();
        let left = budget_bytes.saturating_sub(fixed + reserved_bytes) / self.streams.max(1);
        let left = left.clamp(MIN_WHOLE_BYTES, MAX_WHOLE_BYTES);
        self.slots = (left / (LEAST_SLOT_BYTES + SLOT_OVERHEAD_BYTES)).min(MAX_SLOTS);
        self.rows = self.slots / 4;
        self.log = self.slots;
        self.ring_bytes = left - self.slots * SLOT_OVERHEAD_BYTES;
        self
    }

    /// Every pool.
    pub fn pools(&self) -> [Pool; 15] {
        let (streams, peers) = (self.streams, self.peers);
        let (children, players) = (self.children, self.players);
        let others = peers - children;
        let why = |text: Arguments<'_>| {
            let mut why = heapless::String::new();
            // Cut short where it is too long: it is for people.
            let _ = why.write_fmt(text);
            why
        };
        let pool = |name, count, each_bytes, text| Pool {
            name,
            count,
            each_bytes,
            why: why(text),
        };
        let of_slots = format_args!("one for each slot of {streams} rings");
        let what = match self.ring_bytes {
            MAX_RING_BYTES.. => "all that 65,535 slots can hold",
            _ => "what the budget leaves",
        };
        [
            pool(
                "node",
                1,
                size_of::<Node<'static>>(),
                format_args!("the engine itself"),
            ),
            pool(
                "streams",
                if streams > 2 { MAX_STREAMS } else { streams },
                size_of::<Stream<'static>>(),
                format_args!("places for {streams} streams"),
            ),
            pool(
                "peers",
                peers,
                size_of::<Option<Peer>>(),
                format_args!("{children} children + {others} parents, standbys and callers"),
            ),
            pool(
                "links",
                peers * streams,
                size_of::<Link>(),
                format_args!("{peers} peers x {streams} streams"),
            ),
            pool(
                "handshakes",
                self.attempts,
                size_of::<Option<Attempt>>(),
                format_args!("a quarter of {peers} peers, 8 to 32"),
            ),
            pool(
                "address book",
                self.book,
                size_of::<Entry>(),
                format_args!("2 for each of {peers} peers + 32"),
            ),
            pool(
                "players",
                players,
                size_of::<Option<Player>>(),
                format_args!("{players} players"),
            ),
            pool(
                "jobs",
                self.jobs,
                size_of::<Job>(),
                format_args!("4 for each of {peers} peers + 128"),
            ),
            pool(
                "repairs",
                self.repairs,
                size_of::<Repair>(),
                format_args!("chunks asked for and not sent yet"),
            ),
            pool(
                "preambles",
                streams,
                MAX_PREAMBLE_BYTES,
                format_args!("one for each of {streams} streams"),
            ),
            pool(
                "staging",
                self.sources,
                MAX_BLOCK_BYTES,
                format_args!("the block under construction, at a source"),
            ),
            pool(
                RING,
                streams,
                self.ring_bytes,
                format_args!("{what}, in {streams} equal parts"),
            ),
            pool(
                "slots",
                streams * self.slots,
                size_of::<u16>() + size_of::<Slot>(),
                of_slots,
            ),
            pool(
                "rows",
                streams * self.rows,
                size_of::<Row>(),
                format_args!("one for four slots"),
            ),
            pool("log", streams * self.log, size_of::<ChunkId>(), of_slots),
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
        for budget in [2 << 20, 8 << 20, 64 << 20] {
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
    fn a_ring_gets_no_more_than_all_its_slots_can_hold() {
        let fill = |budget| Sizes::new(2, 0, 32, 16).fill(budget, 100_000);
        let most = fill(1 << 30);
        assert_eq!(fill(usize::MAX), most);
        assert_eq!((most.slots, most.ring_bytes), (65_535, 65_535 * 1_232));
        let said = |sizes: Sizes| {
            sizes
                .pools()
                .into_iter()
                .find(|pool| pool.name == RING)
                .unwrap()
                .why
        };
        assert_eq!(
            said(most),
            "all that 65,535 slots can hold, in 2 equal parts"
        );
        let total = most.total_bytes() + 100_000;
        assert_eq!(fill(total + 512), most, "but for what rounding leaves");
        let less = fill(total - 4_096);
        assert!(less.ring_bytes < most.ring_bytes);
        assert_eq!(said(less), "what the budget leaves, in 2 equal parts");
    }

    #[test]
    fn a_budget_too_small_is_exceeded_by_the_least_ring_and_its_tables() {
        for streams in 1..=4 {
            let sizes = Sizes::new(streams, 0, 32, 16).fill(10_000, 0);
            assert_eq!(
                sizes.ring_bytes.div_ceil(LEAST_SLOT_BYTES),
                MIN_RING_BYTES.div_ceil(LEAST_SLOT_BYTES)
            );
            let total = sizes.total_bytes();
            assert_eq!(Sizes::new(streams, 0, 32, 16).fill(total, 0), sizes);
        }
    }
}
