//! A node whose memory goes when it goes: the program's own is made once and for ever, and there are many nodes here.

use core::mem::ManuallyDrop;
use weir::crypto::sign::SigningKey;
use weir::limits::{MAX_BLOCK_BYTES, MAX_PREAMBLE_BYTES};
use weir::proto::book::Entry;
use weir::proto::budget::Sizes;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::job::Job;
use weir::proto::node::{Node, Pools};
use weir::proto::peer::Link;
use weir::proto::serve::Repair;
use weir::proto::source::Source;
use weir::proto::stream::{Stream, StreamPools};
use weir::storage::ring::Ring;
use weir::storage::slots::Slots;
use weir::time::Instant;

/// All that a node may hold.
const RING_BYTES: usize = 1 << 19;

fn filled<T>(count: usize, make: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(make).take(count).collect()
}

/// Does `act` with a node of one stream: its source, if it is given what signs it, and else a listener.
pub fn with_node<R>(
    now: Instant,
    config: NodeConfig,
    key: [u8; 32],
    signer: Option<SigningKey>,
    act: impl FnOnce(&mut Node<'_>) -> R,
) -> R {
    let sizes = Sizes::new(1, usize::from(signer.is_some()), 4, 2).fill(RING_BYTES, 0);
    let mut peers = filled(sizes.peers, || None);
    let mut links = filled(sizes.peers * sizes.streams, || Link::VACANT);
    let mut attempts = filled(sizes.attempts, || None);
    let mut book = filled(sizes.book, || Entry::VACANT);
    let mut players = filled(sizes.players, || None);
    let mut jobs = filled(sizes.jobs, || Job::NONE);
    let mut repairs = filled(sizes.repairs, || Repair::NONE);
    let mut ring: Vec<u8> = bytemuck::zeroed_vec(sizes.ring_bytes);
    let mut ring = ring.as_mut_slice();
    let mut lengths = bytemuck::zeroed_vec(sizes.slots);
    let mut free = bytemuck::zeroed_vec(sizes.slots);
    let mut rows = bytemuck::zeroed_vec(sizes.rows);
    let mut rows = rows.as_mut_slice();
    let mut log = bytemuck::zeroed_vec(sizes.log);
    let mut log = log.as_mut_slice();
    let mut preamble = vec![0; MAX_PREAMBLE_BYTES];
    let mut staging = vec![0; MAX_BLOCK_BYTES];
    // Streams borrow from what is above for as long as that is; they hold nothing that would have to be dropped.
    let mut streams = ManuallyDrop::new(heapless::Vec::<Stream<'_>, 1>::new());
    let pools = Pools {
        streams: &mut *streams,
        peers: &mut peers,
        links: &mut links,
        attempts: &mut attempts,
        book: &mut book,
        players: &mut players,
        jobs: &mut jobs,
        repairs: &mut repairs,
    };
    let stream = StreamPools {
        ring: Ring::new(Slots::new(&mut ring, &mut lengths, &mut free), &mut rows),
        log: &mut log,
        preamble: &mut preamble,
    };
    let mut node = Node::new(now, config, pools);
    let role = match signer {
        Some(_) => Role::Source,
        None => Role::Listener,
    };
    node.add_stream(key, role, stream).expect("the first one");
    if let Some(signer) = signer {
        node.set_source(0, Source::new(signer, &mut staging, 1, 1_000, 0));
    }
    act(&mut node)
}
