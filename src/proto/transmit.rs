//! What leaves the node: batches for one neighbour, so that the driver can send many datagrams with one call.

use crate::limits::{CHUNK_PREFIX_BYTES, MAX_DATAGRAM_BYTES};
use crate::wire::addr::Addr;
use crate::wire::chunk::ChunkId;

/// Most chunks in one batch.
pub const MAX_BATCH: usize = 40;

/// One chunk to send: the receiver's prefix, and where the rest stands in the ring.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The receiver's part.
    pub prefix: [u8; CHUNK_PREFIX_BYTES],
    /// Stream in whose ring the chunk is.
    pub stream: u8,
    /// Which chunk.
    pub id: ChunkId,
}

/// Datagrams for one neighbour: either one control datagram or some chunks. All chunks of a batch but the last have the same
/// length, and none is longer, as UDP segmentation offload wants it. The caller owns it and hands it in again and again.
pub struct Transmit {
    /// To whom.
    pub to: Addr,
    /// A control datagram, `control_len` bytes; 0 when the batch is chunks.
    pub control: [u8; MAX_DATAGRAM_BYTES],
    /// See `control`.
    pub control_len: usize,
    /// Chunks; read their bytes with [`super::node::Node::chunk_bytes`] before anything else happens to the node.
    pub chunks: heapless::Vec<Outgoing, MAX_BATCH>,
    /// Length of each datagram but the last.
    pub segment_bytes: usize,
    /// Length of the last one.
    pub(super) last_bytes: usize,
}

impl Default for Transmit {
    fn default() -> Self {
        Self::new()
    }
}

impl Transmit {
    /// An empty batch.
    pub const fn new() -> Self {
        Self {
            to: Addr::Line(0),
            control: [0; MAX_DATAGRAM_BYTES],
            control_len: 0,
            chunks: heapless::Vec::new(),
            segment_bytes: 0,
            last_bytes: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.control_len = 0;
        self.segment_bytes = 0;
        self.chunks.clear();
    }

    /// The control datagram, if it is one.
    pub fn control_bytes(&self) -> &[u8] {
        self.control.get(..self.control_len).unwrap_or(&[])
    }
}
