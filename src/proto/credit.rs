//! What a chunk says about the neighbour that sent it, once it has been tried: at once, or when its seal has come.

use super::node::{Node, StreamId};
use super::peer::PeerId;
use crate::time::Instant;
use crate::wire::chunk::ChunkId;

impl Node<'_> {
    /// It verifies. `behind` tells by how many blocks the stripe's tree was behind it there.
    pub(super) fn credit(
        &mut self,
        now: Instant,
        at: StreamId,
        id: PeerId,
        chunk: ChunkId,
        behind: u8,
    ) {
        let Some((peer, link)) = self.peers.both_mut(id, at) else {
            return;
        };
        peer.heard_at = now;
        link.chunk_at = now;
        let rooted = (chunk.block + 1).saturating_sub(u64::from(behind));
        self.promote_trial(now, at, id, chunk, rooted);
        let (stream, stripe) = (&mut self.streams[at], usize::from(chunk.index));
        let parent = stream.parents.get(stripe).and_then(|parent| parent.peer);
        let head = stream.heads.get_mut(stripe);
        if let Some(head) = head.filter(|head| parent == Some(id) && rooted > head.rooted) {
            (head.rooted, head.rooted_at) = (rooted, now);
        }
    }

    /// It does not.
    pub(super) fn debit(&mut self, now: Instant, at: StreamId, id: PeerId, chunk: ChunkId) {
        self.disown(now, at, id, chunk.index);
        self.blame(now, id);
    }
}
