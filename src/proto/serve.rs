//! The other side of repair: chunks that neighbours ask for again.

use super::bucket::Urgency;
use super::forward::Load;
use super::node::{Node, StreamId};
use super::peer::PeerId;
use super::repair::REORDER;
use super::transmit::Transmit;
use crate::error::Full;
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::storage::queue::Queue;
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;

/// A request that waited longer is not served: whoever made it has asked elsewhere.
const STALE: Span = Span::from_ms(250);

/// A request may be so many blocks ahead of the seals known here.
const EARLY_BLOCKS: u64 = 4;

/// What the source is asked for when it is this old may be nowhere else: it goes before the stream, in one part of so many of the upload.
const NOWHERE_ELSE: Span = Span::from_ms(1_700);
const URGENT_PART: u64 = 32;

/// Most requests that wait for what they ask for.
pub const MAX_EARLY: usize = 16;

/// A chunk that was asked for, and when: whoever asked asks somebody else soon.
#[derive(Clone, Copy, Debug)]
pub struct Repair {
    pub(super) peer: PeerId,
    pub(super) stream: u8,
    pub(super) id: ChunkId,
    pub(super) at: Instant,
}

impl Repair {
    /// What storage is filled with at start.
    pub const NONE: Self = Self {
        peer: 0,
        stream: 0,
        id: ChunkId { block: 0, index: 0 },
        at: Instant::ZERO,
    };
}

/// Where upload is short most requests grow stale: the older a block, the sooner it is to be played, and the sooner it is its turn. That
/// holds for one request of each neighbour; whoever asks for more waits behind the others.
fn queue(repairs: &mut Queue<'_, Repair>, repair: Repair) -> Result<(), Full> {
    let is_first = repairs.iter().all(|other| other.peer != repair.peer);
    repairs.push_before(repair, |other| {
        is_first && other.stream == repair.stream && other.id.block > repair.id.block
    })
}

impl Node<'_> {
    /// Somebody asks for a chunk: it is sent when there is room, or, when it is still on its way here, as soon as it has come. False
    /// when neither can be expected.
    pub(super) fn on_want_chunk(&mut self, now: Instant, repair: Repair) -> bool {
        let at = usize::from(repair.stream);
        let same = |other: &&Repair| other.id == repair.id && other.stream == repair.stream;
        // It waits because upload is short: whoever asks second finds it at the first, and what leaves here is something else.
        if let Some(first) = self.repairs.iter().find(same) {
            return first.peer == repair.peer;
        }
        // When there is no room it is lost, as on the wire.
        if self.streams[at].can_serve(repair.id) {
            let _ = queue(&mut self.repairs, repair);
            return true;
        }
        self.expects(now, at, repair.id) && self.early.push(repair).is_ok()
    }

    /// Whether a chunk should come by itself within a few blocks' time.
    fn expects(&self, now: Instant, at: StreamId, id: ChunkId) -> bool {
        let stream = &self.streams[at];
        let bit = 1 << id.index;
        let flows = self.carries(at, id.index) && stream.stalled & bit == 0;
        flows
            && id.block < stream.ring.end() + EARLY_BLOCKS
            && match stream.ring.row(id.block) {
                Some(row) => self.lost(now, at, row, bit, REORDER) == 0,
                None => id.block >= stream.ring.end(),
            }
    }

    /// A chunk of a block has come: what was asked for of this block before may be at hand now.
    pub(super) fn serve_early(&mut self, at: StreamId, block: u64) {
        let (early, repairs, stream) = (&mut self.early, &mut self.repairs, &self.streams[at]);
        early.retain(|repair| {
            let here = usize::from(repair.stream) == at
                && repair.id.block == block
                && stream.can_serve(repair.id);
            here.then(|| queue(repairs, *repair)).is_none()
        });
    }

    /// Drops requests that have waited so long that whoever made them has asked elsewhere.
    pub(super) fn forget_early(&mut self, now: Instant) {
        self.early.retain(|repair| now.since(repair.at) < STALE);
    }

    /// At the source, a chunk that somebody asked for because nobody else has it. One copy mends the block for everybody.
    pub(super) fn poll_urgent(&mut self, now: Instant, out: &mut Transmit) -> bool {
        let Some(limit_bps) = self.uplink_bps().filter(|_| now >= self.urgent_at) else {
            return false;
        };
        let is_urgent = |repair: &&Repair| {
            let stream = &self.streams[usize::from(repair.stream)];
            let row = stream.ring.row(repair.id.block);
            let is_old = row.is_some_and(|row| now.since(row.born_at) > NOWHERE_ELSE);
            let link = self.peers.link(repair.peer, usize::from(repair.stream));
            let hands_on = link.granted_down != 0 && link.standing.forwards();
            stream.source.is_some() && is_old && hands_on
        };
        let Some(&first) = self.repairs.iter().find(is_urgent) else {
            return false;
        };
        if !self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Stream) {
            return false;
        }
        self.repairs.retain(|repair| {
            (repair.peer, repair.stream, repair.id) != (first.peer, first.stream, first.id)
        });
        if !self.send_repair(now, first, out) {
            return false;
        }
        let bits = 8 * (out.count * out.segment_bytes) as u64;
        let took_us = bits * URGENT_PART * 1_000_000 / limit_bps.max(1);
        self.urgent_at = now + Span::from_us(took_us);
        true
    }

    /// A chunk that somebody asked for again. The stream goes first: of a limited upload, repair gets what
    /// it leaves, and leaves it half a bucket.
    pub(super) fn poll_repairs(&mut self, now: Instant, out: &mut Transmit) -> bool {
        for _ in 0..self.repairs.len() {
            let Some(&first) = self.repairs.front() else {
                return false;
            };
            let Repair {
                peer, stream, at, ..
            } = first;
            let waits = self
                .peers
                .get(peer)
                .map_or(STALE, |peer| STALE.max(peer.least_rtt.times(2)));
            let stale = now.since(at) > waits;
            if !stale && !self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Repair) {
                return false;
            }
            self.repairs.pop();
            if !stale && !self.has_room_for(now, peer) {
                // A busy line holds nobody else up.
                let _ = self.repairs.push(first);
                continue;
            }
            let known = usize::from(stream) < self.streams.len() && self.peers.get(peer).is_some();
            if !stale && known && self.send_repair(now, first, out) {
                return true;
            }
        }
        false
    }

    /// Sends a chunk that was asked for. False when it, or who asked, is gone.
    fn send_repair(&mut self, now: Instant, repair: Repair, out: &mut Transmit) -> bool {
        let Some(mut load) = self.begin_load(now, repair.peer) else {
            return false;
        };
        let at = usize::from(repair.stream);
        self.append(at, repair.id, &mut load, out);
        self.add_more_repairs(now, (repair.peer, repair.stream), &mut load, out);
        self.pay(now, repair.peer, at, &load, out);
        self.streams[at].stats.repairs_sent += out.count as u64;
        out.count > 0
    }

    /// What the same neighbour asked for next leaves in the same batch.
    fn add_more_repairs(
        &mut self,
        now: Instant,
        whose: (PeerId, u8),
        load: &mut Load,
        out: &mut Transmit,
    ) {
        while let Some(&next) = self.repairs.front() {
            let headers = (out.count + 1) * load.overhead_bytes;
            let bytes = load.bytes + headers + MAX_DATAGRAM_BYTES;
            if (next.peer, next.stream) != whose
                || !self.bucket.allows(now, bytes, Urgency::Repair)
                || !self.append(usize::from(next.stream), next.id, load, out)
            {
                return;
            }
            self.repairs.pop();
        }
    }
}
