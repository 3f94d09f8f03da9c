//! The one place that allocates for the core: all pools of a node, once, for as long as the process runs.

use crate::error::Malformed;
use crate::limits::{MAX_BLOCK_BYTES, MAX_PREAMBLE_BYTES};
use crate::proto::book::Entry;
use crate::proto::budget::Sizes;
use crate::proto::config::{MAX_STREAMS, Role};
use crate::proto::job::Job;
use crate::proto::node::{Node, Pools, StreamId};
use crate::proto::peer::Link;
use crate::proto::serve::Repair;
use crate::proto::stream::{Stream, StreamPools};
use crate::storage::lent::Lent;
use crate::storage::ring::Ring;
use crate::storage::slots::Slots;
use bytemuck::Zeroable;
use heapless::vec::VecView;
use std::boxed::Box;
use std::vec::Vec;

fn leak<T>(count: usize, make: impl FnMut() -> T) -> &'static mut [T] {
    Vec::leak(core::iter::repeat_with(make).take(count).collect())
}

/// Zeros on the heap. An allocator that has big pieces from the system gives it back the pages of what is dropped, and
/// holds none for zeros that were never written over.
struct Zeros<T>(Vec<T>);

impl<T: Zeroable + Send> Lent<T> for Zeros<T> {
    fn all(&self) -> &[T] {
        &self.0
    }

    fn all_mut(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn give_back(&mut self) {
        let count = self.0.len();
        // One after the other: there is no room for both.
        self.0 = Vec::new();
        self.0 = bytemuck::zeroed_vec(count);
    }
}

fn zeros<T: Zeroable + Send + 'static>(count: usize) -> &'static mut dyn Lent<T> {
    Box::leak(Box::new(Zeros(bytemuck::zeroed_vec(count))))
}

/// Places for so many streams, at most [`MAX_STREAMS`]. Each costs 11 KiB.
fn streams(count: usize) -> &'static mut VecView<Stream<'static>> {
    fn places<const N: usize>() -> &'static mut VecView<Stream<'static>> {
        Box::leak(Box::<heapless::Vec<_, N>>::default())
    }
    match count {
        0..=1 => places::<1>(),
        2 => places::<2>(),
        _ => places::<MAX_STREAMS>(),
    }
}

/// The pools of a node. They are never given back.
pub fn node_pools(sizes: &Sizes) -> Pools<'static> {
    Pools {
        streams: streams(sizes.streams),
        peers: leak(sizes.peers, || None),
        links: leak(sizes.peers * sizes.streams, || Link::VACANT),
        attempts: leak(sizes.attempts, || None),
        book: leak(sizes.book, || Entry::VACANT),
        players: leak(sizes.players, || None),
        jobs: leak(sizes.jobs, || Job::NONE),
        repairs: leak(sizes.repairs, || Repair::NONE),
    }
}

/// The pools of one stream. They are zeros until the stream fills them, and again when it is over.
pub fn stream_pools(sizes: &Sizes) -> StreamPools<'static> {
    let slots = Slots::new(
        zeros(sizes.ring_bytes),
        bytemuck::zeroed_vec(sizes.slots).leak(),
        bytemuck::zeroed_vec(sizes.slots).leak(),
    );
    StreamPools {
        ring: Ring::new(slots, zeros(sizes.rows)),
        log: zeros(sizes.log),
        preamble: bytemuck::zeroed_vec(MAX_PREAMBLE_BYTES).leak(),
    }
}

/// Room for the block under construction, at a source.
pub fn staging() -> &'static mut [u8] {
    bytemuck::zeroed_vec(MAX_BLOCK_BYTES).leak()
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
