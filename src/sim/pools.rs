//! Memory of simulated nodes: the pools of `proto::budget`, small, and never given back (a node borrows them for as long as
//! the process runs). A scenario with churn therefore grows by the pools of those who died; the report says by how much.

use crate::limits::{MAX_BLOCK_BYTES, MAX_PREAMBLE_BYTES, MIN_SLOT_BYTES};
use crate::proto::book::Entry;
use crate::proto::budget::Sizes;
use crate::proto::node::{Job, Pools};
use crate::proto::peer::Link;
use crate::proto::stream::StreamPools;
use crate::storage::ring::{Ring, Row};
use crate::storage::slots::Slots;
use crate::wire::chunk::ChunkId;
use std::vec;
use std::vec::Vec;

/// Sizes of a simulated node.
pub fn sizes(is_source: bool, max_children: usize, ring_kib: usize) -> Sizes {
    let ring_bytes = ring_kib << 10;
    let slots = (ring_bytes / MIN_SLOT_BYTES).min(usize::from(u16::MAX) - 1);
    Sizes {
        ring_bytes,
        slots,
        rows: slots / 4,
        log: slots,
        ..Sizes::new(1, usize::from(is_source), max_children, 1)
    }
}

fn leak<T>(count: usize, make: impl FnMut() -> T) -> &'static mut [T] {
    Vec::leak(core::iter::repeat_with(make).take(count).collect())
}

/// Pools of a node.
pub fn node_pools(sizes: &Sizes) -> Pools<'static> {
    Pools {
        peers: leak(sizes.peers, || None),
        links: leak(sizes.peers * sizes.streams, || Link::VACANT),
        attempts: leak(sizes.attempts, || None),
        book: leak(sizes.book, || Entry::VACANT),
        players: leak(sizes.players, || None),
        jobs: leak(sizes.jobs, || Job::NONE),
    }
}

/// Pools of its stream.
pub fn stream_pools(sizes: &Sizes) -> StreamPools<'static> {
    let slots = Slots::new(
        vec![0; sizes.ring_bytes].leak(),
        vec![0; sizes.slots].leak(),
        vec![0; sizes.slots].leak(),
    );
    StreamPools {
        ring: Ring::new(slots, leak(sizes.rows, || Row::VACANT)),
        log: leak(sizes.log, ChunkId::default),
        preamble: vec![0; MAX_PREAMBLE_BYTES].leak(),
    }
}

/// Room for the block under construction, at a source.
pub fn staging() -> &'static mut [u8] {
    vec![0; MAX_BLOCK_BYTES].leak()
}
