//! The numbers everything else is sized by, with the relations between them checked when the crate is compiled.

/// UDP payload of any datagram: what IPv6 carries everywhere without fragmentation (1,280 - 40 - 8; RFC 8200 section 5).
pub const MAX_DATAGRAM_BYTES: usize = 1_232;

/// Bytes before a chunk that differ for each receiver: kind, send time, session id, how far the stripe's tree is behind.
pub const CHUNK_PREFIX_BYTES: usize = 13;

/// Fixed header of a chunk, the same for every receiver: stream tag, block, index.
pub const CHUNK_HEADER_BYTES: usize = 13;

/// One node of a Merkle tree: a BLAKE3 output cut to 128 bits.
pub const MERKLE_NODE_BYTES: usize = 16;

/// Most data chunks in a block.
pub const MAX_K: usize = 16;

/// Most stripes of a stream (data and parity); a stripe mask is a `u32`.
pub const MAX_N: usize = 32;

/// Depth of the Merkle tree over [`MAX_N`] leaves.
pub const MAX_PATH_NODES: usize = 5;

/// Most media or parity bytes in one chunk, when the path is the longest.
pub const MAX_CHUNK_PAYLOAD_BYTES: usize = MAX_DATAGRAM_BYTES
    - CHUNK_PREFIX_BYTES
    - CHUNK_HEADER_BYTES
    - MAX_PATH_NODES * MERKLE_NODE_BYTES;

/// Most media bytes in one block.
pub const MAX_BLOCK_BYTES: usize = MAX_K * MAX_CHUNK_PAYLOAD_BYTES;

/// Most bytes of a preamble.
pub const MAX_PREAMBLE_BYTES: usize = 64 * 1024;

/// Most bytes of a descriptor, signature included; it travels in one control datagram.
pub const MAX_DESCRIPTOR_BYTES: usize = 1_024;

/// Most bytes of a seal, signature included; it travels in one control datagram.
pub const MAX_SEAL_BYTES: usize = 1_152;

/// Smallest slot of a ring: a seal of one block with the longest metadata must fit.
pub const MIN_SLOT_BYTES: usize = 448;

/// Most bytes of the "now playing" text.
pub const MAX_METADATA_BYTES: usize = 255;

/// Bytes of IPv4 and UDP header that every datagram costs on the owner's line.
pub const IP_UDP_HEADER_BYTES: usize = 28;

/// Bytes that an IPv6 header has more than an IPv4 one (RFC 8200 section 3).
pub const IPV6_EXTRA_HEADER_BYTES: usize = 20;

const _: () = {
    assert!(MAX_K <= MAX_N && MAX_N <= 32);
    assert!(1 << MAX_PATH_NODES == MAX_N);
    assert!(MAX_BLOCK_BYTES < u16::MAX as usize);
    assert!(MAX_SEAL_BYTES <= MAX_DATAGRAM_BYTES);
};
