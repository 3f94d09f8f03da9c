//! The chunk: what one datagram carries of a stream. The part behind the prefix is the same for every receiver, so a relay
//! forwards the bytes it received.
//!
//! ```text
//! prefix  kind u8 | sent u24, units of 16 us | session u64 | behind u8         13 bytes, per receiver
//! header  stream tag u32 | block u64 | index u8                                13 bytes
//! path    siblings from the leaf up, 16 bytes each, ceil(log2 N) of them
//! payload media or parity bytes
//! ```

use super::bytes::Reader;
use super::datagram::{CHUNK, first_byte};
use crate::error::Malformed;
use crate::limits::{CHUNK_HEADER_BYTES, CHUNK_PREFIX_BYTES, MAX_N, MERKLE_NODE_BYTES};

/// The first four bytes of a stream's key, as a number: tells the streams of one node apart inside a chunk.
pub type Tag = u32;

/// The tag of a stream.
pub fn tag_of(key: &[u8; 32]) -> Tag {
    u32::from_be_bytes([key[0], key[1], key[2], key[3]])
}

/// Which chunk of which block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, bytemuck::Zeroable)]
pub struct ChunkId {
    /// Block number, counted by the source.
    pub block: u64,
    /// Stripe: 0..K are data, K..N parity.
    pub index: u8,
}

/// Unit of the send times in chunks and Pings, in microseconds.
pub const TICK_US: u64 = 16;

/// A moment of the sender's clock as it is told to others: in ticks of [`TICK_US`], modulo 2^24.
pub fn ticks(us: u64) -> u32 {
    (us / TICK_US) as u32 & 0xff_ffff
}

/// The same in 32 bits, for whoever reads only his own.
pub fn long_ticks(us: u64) -> u32 {
    (us / TICK_US) as u32
}

/// The per-receiver part in front of a chunk. `sent_us` is the sender's clock, for one-way delay variation; `behind` says by how
/// many blocks the stripe's tree is behind this chunk there.
pub fn prefix(session: u64, sent_us: u64, behind: u8) -> [u8; CHUNK_PREFIX_BYTES] {
    let mut out = [0; CHUNK_PREFIX_BYTES];
    out[0] = first_byte(CHUNK);
    out[1..4].copy_from_slice(&ticks(sent_us).to_be_bytes()[1..]);
    out[4..12].copy_from_slice(&session.to_be_bytes());
    say_behind(out, behind)
}

/// The same, with another `behind`.
pub fn say_behind(mut prefix: [u8; CHUNK_PREFIX_BYTES], behind: u8) -> [u8; CHUNK_PREFIX_BYTES] {
    prefix[12] = behind;
    prefix
}

/// Writes the fixed header.
pub fn header(tag: Tag, id: ChunkId) -> [u8; CHUNK_HEADER_BYTES] {
    let mut out = [0; CHUNK_HEADER_BYTES];
    out[..4].copy_from_slice(&tag.to_be_bytes());
    out[4..12].copy_from_slice(&id.block.to_be_bytes());
    out[12] = id.index;
    out
}

/// Nodes in the Merkle path of a block with `n` stripes: `ceil(log2 n)`.
pub const fn path_nodes(n: u8) -> usize {
    (n as usize).next_power_of_two().trailing_zeros() as usize
}

/// Where the payload starts in a chunk (behind header and path) of a block with `n` stripes.
pub const fn payload_offset(n: u8) -> usize {
    CHUNK_HEADER_BYTES + path_nodes(n) * MERKLE_NODE_BYTES
}

/// A chunk as received, prefix removed; borrowed from the datagram.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Stream it says it belongs to.
    pub tag: Tag,
    /// Its place.
    pub id: ChunkId,
    /// All bytes from the header on: what the ring keeps and what is forwarded.
    pub bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Splits the header off. Path and payload are cut apart later, when the descriptor tells N.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader(bytes);
        let (tag, block, index) = (r.u32()?, r.u64()?, r.u8()?);
        if usize::from(index) >= MAX_N {
            return Err(Malformed::Field);
        }
        Ok(Self {
            tag,
            id: ChunkId { block, index },
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let id = ChunkId {
            block: 0x0102_0304_0506_0708,
            index: 17,
        };
        let bytes = header(0xaabb_ccdd, id);
        let chunk = Chunk::parse(&bytes).unwrap();
        assert_eq!((chunk.tag, chunk.id), (0xaabb_ccdd, id));
        assert_eq!(Chunk::parse(&bytes[..12]).unwrap_err(), Malformed::Short);
    }

    #[test]
    fn path_lengths() {
        assert_eq!(
            [2, 3, 4, 5, 8, 9, 20, 32].map(path_nodes),
            [1, 2, 2, 3, 3, 4, 5, 5]
        );
    }
}
