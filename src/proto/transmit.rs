//! What leaves the node: batches for one neighbour, so that the driver can send many datagrams with one call.

use super::node::{Node, StreamId};
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::storage::slots::Slot;
use crate::wire::addr::Addr;

/// Most chunks in one batch.
pub const MAX_BATCH: usize = 40;

/// Datagrams for one neighbour: either one control datagram or some chunks. All chunks of a batch but the last have the same
/// length, and none is longer, as UDP segmentation offload wants it. The caller owns it and hands it in again and again.
pub struct Transmit {
    /// To whom.
    pub to: Addr,
    /// A control datagram, `control_len` bytes; 0 when the batch is chunks.
    pub control: [u8; MAX_DATAGRAM_BYTES],
    /// See `control`.
    pub control_len: usize,
    /// Chunks, of one stream; read them with [`Node::datagrams`] before the node is asked for more.
    pub count: usize,
    /// In whose ring they are.
    pub(super) stream: StreamId,
    /// Where: from one slot to another, both included.
    pub(super) runs: heapless::Vec<(Slot, Slot), MAX_BATCH>,
    /// The oldest block that one of them is from.
    pub(super) oldest: u64,
    /// Length of each datagram but the last, of chunks.
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
            count: 0,
            stream: 0,
            runs: heapless::Vec::new(),
            oldest: u64::MAX,
            segment_bytes: 0,
            last_bytes: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.control_len = 0;
        self.segment_bytes = MAX_DATAGRAM_BYTES;
        self.count = 0;
        self.runs.clear();
        self.oldest = u64::MAX;
    }

    /// The control datagram, if it is one.
    pub fn control_bytes(&self) -> &[u8] {
        self.control.get(..self.control_len).unwrap_or(&[])
    }
}

impl Node<'_> {
    /// The datagrams of a batch that [`Node::poll_transmit`] filled last.
    pub fn datagrams<'n>(&'n self, batch: &'n Transmit) -> impl Iterator<Item = &'n [u8]> {
        let each = |run: &'n [u8]| run.chunks(batch.segment_bytes.max(1));
        self.runs(batch).flat_map(each)
    }

    /// The same, those in one piece that stand behind each other in the ring: [`MAX_BATCH`] at most. Nothing any more when the oldest
    /// has left it.
    pub fn runs<'n>(&'n self, batch: &'n Transmit) -> impl Iterator<Item = &'n [u8]> {
        let words = Some(batch.control_bytes()).filter(|words| !words.is_empty());
        let ring = self.streams.get(batch.stream).map(|stream| &stream.ring);
        let ring = ring.filter(|ring| batch.oldest >= ring.tail());
        let chunks = ring.into_iter().flat_map(|ring| {
            let runs = batch.runs.iter();
            runs.map(|&(first, last)| ring.run(first, last))
        });
        words.into_iter().chain(chunks)
    }
}
