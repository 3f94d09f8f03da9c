//! The one place that allocates for the core: all pools of a node, once, for as long as the process runs.

use crate::error::Malformed;
use crate::limits::{MAX_BLOCK_BYTES, MAX_PREAMBLE_BYTES};
use crate::proto::book::Entry;
use crate::proto::budget::Sizes;
use crate::proto::config::Role;
use crate::proto::node::{Job, Node, Pools, Repair, StreamId};
use crate::proto::peer::Link;
use crate::proto::stream::StreamPools;
use crate::storage::ring::{Ring, Row};
use crate::storage::slots::Slots;
use crate::wire::chunk::ChunkId;
use std::vec;
use std::vec::Vec;

fn leak<T>(count: usize, make: impl FnMut() -> T) -> &'static mut [T] {
    Vec::leak(core::iter::repeat_with(make).take(count).collect())
}

/// The pools of a node. They are never given back.
pub fn node_pools(sizes: &Sizes) -> Pools<'static> {
    Pools {
        peers: leak(sizes.peers, || None),
        links: leak(sizes.peers * sizes.streams, || Link::VACANT),
        attempts: leak(sizes.attempts, || None),
        book: leak(sizes.book, || Entry::VACANT),
        players: leak(sizes.players, || None),
        jobs: leak(sizes.jobs, || Job::NONE),
        repairs: leak(sizes.repairs, || Repair::NONE),
    }
}

/// The pools of one stream. The ring's pages are zero pages of the kernel until a stream fills them.
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

/// Adds a stream to a node with pools of its own.
pub fn add_stream(
    node: &mut Node<'static>,
    sizes: &Sizes,
    key: [u8; 32],
    role: Role,
) -> Result<StreamId, Malformed> {
    node.add_stream(key, role, stream_pools(sizes))
}
