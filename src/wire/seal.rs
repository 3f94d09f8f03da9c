//! The seal: the source's signed list of block roots for one group, with the marks players and schedulers need.
//!
//! ```text
//! stream tag u32 | descriptor version u32 | first block u64 | source clock ms u64 | flags u8 | count u8 | metadata length u8
//! count x { root 16 | length u16 | sync u16 | cut u16 }
//! { index u8 | number u32 | discontinuities u32 | media time u64 }, if the flag says so
//! metadata, UTF-8
//! signature 64
//! ```
//! The signature covers everything before it (domain [`DOMAIN`], with the stream's key in front).

use super::bytes::{Reader, Writer};
use super::chunk::Tag;
use crate::error::{Full, Malformed};
use crate::limits::{
    MAX_BLOCK_BYTES, MAX_METADATA_BYTES, MAX_SEAL_BYTES, MERKLE_NODE_BYTES, MIN_SLOT_BYTES,
};

/// What the signature of a seal is separated by from all other signatures.
pub const DOMAIN: &str = "weir v1 seal";

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// "No such position in this block."
pub const NOWHERE: u16 = u16::MAX;

const HEADER_BYTES: usize = 27;
const MARK_BYTES: usize = 22;
const SEGMENT_BYTES: usize = 17;
/// What a seal has beside its marks, at most.
const OTHER_BYTES: usize = HEADER_BYTES + SEGMENT_BYTES + MAX_METADATA_BYTES + SIGNATURE_BYTES;

/// Most blocks in one group, when the metadata is the longest.
pub const MAX_GROUP_BLOCKS: usize = (MAX_SEAL_BYTES - OTHER_BYTES) / MARK_BYTES;

const _: () = assert!(MAX_GROUP_BLOCKS >= 32);
const _: () = assert!(OTHER_BYTES + MARK_BYTES <= MIN_SLOT_BYTES);
const _: () = assert!(MAX_BLOCK_BYTES < NOWHERE as usize);

/// Most blocks of a group whose seal must fit in `slot_bytes`.
pub const fn group_blocks_that_fit(slot_bytes: usize) -> usize {
    let fit = slot_bytes.saturating_sub(OTHER_BYTES) / MARK_BYTES;
    if fit < MAX_GROUP_BLOCKS {
        fit
    } else {
        MAX_GROUP_BLOCKS
    }
}

/// Bytes of the control message that carries the seal of a group of `blocks`, without metadata.
pub const fn seal_message_bytes(blocks: usize) -> usize {
    // Kind, age and length in front, each a short varint.
    const MESSAGE_BYTES: usize = 5;
    MESSAGE_BYTES + HEADER_BYTES + blocks * MARK_BYTES + SIGNATURE_BYTES
}

/// Flag: this group carries the now-playing text (it does when it changes, and every few seconds).
pub const HAS_METADATA: u8 = 1;

/// Flag: a segment begins in this group.
pub const BEGINS_SEGMENT: u8 = 2;

/// What a seal says about one block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, bytemuck::Zeroable)]
pub struct BlockMark {
    /// Merkle root over the block's N chunks.
    pub root: [u8; MERKLE_NODE_BYTES],
    /// Media bytes in the block; each data chunk carries `ceil(length / K)` of them, the last ones padded with zeros.
    pub length_bytes: u16,
    /// First byte at which a player can begin, or [`NOWHERE`].
    pub sync: u16,
    /// Last byte at which the output may end and something else begin, or [`NOWHERE`].
    pub cut: u16,
}

/// The beginning of a segment: a stretch of media for players that fetch a stream piece by piece (HLS). It ends where the next
/// one begins. The source says where, so that all nodes have the same segments under the same numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentStart {
    /// Which block of the group; the segment begins at its first sync point.
    pub index: u8,
    /// One more than that of the segment before; higher than any of an earlier run.
    pub number: u32,
    /// Grows where media time does not join on to what was before.
    pub discontinuities: u32,
    /// Media time at the beginning, µs.
    pub time_us: u64,
}

/// A seal, taken apart. The signature has not been checked.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// Stream.
    pub tag: Tag,
    /// Descriptor version in force.
    pub version: u32,
    /// Number of the first block.
    pub first_block: u64,
    /// The source's wall clock when the group was closed, ms since 1970; for people, not for decisions.
    pub clock_ms: u64,
    /// [`HAS_METADATA`], [`BEGINS_SEGMENT`].
    pub flags: u8,
    /// How many blocks.
    pub count: u8,
    /// The segment that begins in this group, when the flag says so.
    pub segment: Option<SegmentStart>,
    /// Now playing, when the flag says so.
    pub metadata: &'a str,
    /// Everything the signature covers.
    pub signed: &'a [u8],
    /// Ed25519 signature.
    pub signature: [u8; SIGNATURE_BYTES],
    marks: &'a [u8],
}

impl<'a> Seal<'a> {
    /// Takes a seal apart; lengths, counts and UTF-8 are checked.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_SEAL_BYTES {
            return Err(Malformed::Long);
        }
        let signed = bytes
            .get(..bytes.len().saturating_sub(SIGNATURE_BYTES))
            .ok_or(Malformed::Short)?;
        let mut r = Reader(bytes);
        let (tag, version, first_block, clock_ms) = (r.u32()?, r.u32()?, r.u64()?, r.u64()?);
        let (flags, count, metadata_bytes) = (r.u8()?, r.u8()?, r.u8()?);
        let marks = r.take(usize::from(count) * MARK_BYTES)?;
        let segment = match flags & BEGINS_SEGMENT {
            0 => None,
            _ => Some(SegmentStart {
                index: r.u8()?,
                number: r.u32()?,
                discontinuities: r.u32()?,
                time_us: r.u64()?,
            }),
        };
        let metadata = core::str::from_utf8(r.take(usize::from(metadata_bytes))?)
            .map_err(|_| Malformed::Field)?;
        let signature = r.array()?;
        r.end()?;
        if count == 0
            || usize::from(count) > MAX_GROUP_BLOCKS
            || first_block.checked_add(u64::from(count)).is_none()
            || segment.is_some_and(|segment| segment.index >= count)
        {
            return Err(Malformed::Field);
        }
        Ok(Self {
            tag,
            version,
            first_block,
            clock_ms,
            flags,
            count,
            segment,
            metadata,
            signed,
            signature,
            marks,
        })
    }

    /// One past the last block.
    pub fn end_block(&self) -> u64 {
        self.first_block + u64::from(self.count)
    }

    /// The marks of the blocks, in order, with their numbers.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, BlockMark)> + use<'a> {
        let first = self.first_block;
        self.marks
            .chunks_exact(MARK_BYTES)
            .zip(first..)
            .map(|(mark, block)| {
                let mut root = [0; MERKLE_NODE_BYTES];
                root.copy_from_slice(&mark[..MERKLE_NODE_BYTES]);
                let field = |at: usize| u16::from_be_bytes([mark[at], mark[at + 1]]);
                (
                    block,
                    BlockMark {
                        root,
                        length_bytes: field(16),
                        sync: field(18),
                        cut: field(20),
                    },
                )
            })
    }
}

/// What the source wants sealed.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed<'a> {
    /// Stream.
    pub tag: Tag,
    /// Descriptor version in force.
    pub version: u32,
    /// Number of the first block.
    pub first_block: u64,
    /// Wall clock, ms since 1970.
    pub clock_ms: u64,
    /// Now playing, if this group carries it; at most [`MAX_METADATA_BYTES`].
    pub metadata: Option<&'a str>,
    /// The segment that begins in this group.
    pub segment: Option<SegmentStart>,
    /// The blocks in order.
    pub marks: &'a [BlockMark],
}

impl Unsealed<'_> {
    /// Writes everything that is to be signed; the caller appends the signature. Returns the length.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Full> {
        let metadata = self.metadata.unwrap_or("");
        let metadata_bytes = u8::try_from(metadata.len()).map_err(|_| Full)?;
        let count = u8::try_from(self.marks.len()).map_err(|_| Full)?;
        let mut w = Writer::new(out);
        w.put(&self.tag.to_be_bytes())?;
        w.put(&self.version.to_be_bytes())?;
        w.put(&self.first_block.to_be_bytes())?;
        w.put(&self.clock_ms.to_be_bytes())?;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(self.metadata.is_some(), HAS_METADATA)
            | flag(self.segment.is_some(), BEGINS_SEGMENT);
        w.put(&[flags, count, metadata_bytes])?;
        for mark in self.marks {
            w.put(&mark.root)?;
            w.put(&mark.length_bytes.to_be_bytes())?;
            w.put(&mark.sync.to_be_bytes())?;
            w.put(&mark.cut.to_be_bytes())?;
        }
        if let Some(segment) = &self.segment {
            w.put(&[segment.index])?;
            w.put(&segment.number.to_be_bytes())?;
            w.put(&segment.discontinuities.to_be_bytes())?;
            w.put(&segment.time_us.to_be_bytes())?;
        }
        w.put(metadata.as_bytes())?;
        Ok(w.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: SegmentStart = SegmentStart {
        index: 2,
        number: 900_000_000,
        discontinuities: 5,
        time_us: 1 << 40,
    };

    #[test]
    fn round_trip_with_everything() {
        let marks = [BlockMark {
            root: [7; 16],
            length_bytes: 900,
            sync: 3,
            cut: NOWHERE,
        }; 3];
        let unsealed = Unsealed {
            tag: 1,
            version: 2,
            first_block: 3,
            clock_ms: 4,
            metadata: Some("Ärzte – Lied"),
            segment: Some(SEGMENT),
            marks: &marks,
        };
        let mut out = [0; MAX_SEAL_BYTES];
        let n = unsealed.write(&mut out).unwrap();
        out[n..n + 64].fill(9);
        let seal = Seal::parse(&out[..n + 64]).unwrap();
        assert_eq!(
            (seal.tag, seal.version, seal.first_block, seal.clock_ms),
            (1, 2, 3, 4)
        );
        assert_eq!(
            (seal.metadata, seal.signature, seal.end_block()),
            ("Ärzte – Lied", [9; 64], 6)
        );
        assert_eq!(seal.segment, Some(SEGMENT));
        assert!(
            seal.blocks()
                .eq([(3, marks[0]), (4, marks[1]), (5, marks[2])])
        );
        for cut in 0..n + 64 {
            assert!(
                Seal::parse(&out[..cut]).is_err(),
                "a truncated seal parses at {cut}"
            );
        }
    }

    #[test]
    fn hostile_counts_and_numbers_are_refused() {
        let mut out = [0xff; MAX_SEAL_BYTES];
        assert!(Seal::parse(&out).is_err());
        let mark = [BlockMark {
            root: [0; 16],
            length_bytes: 0,
            sync: 0,
            cut: 0,
        }];
        let last = Unsealed {
            tag: 0,
            version: 0,
            first_block: u64::MAX,
            clock_ms: 0,
            metadata: None,
            segment: None,
            marks: &mark,
        };
        let n = last.write(&mut out).unwrap();
        assert_eq!(Seal::parse(&out[..n + 64]).unwrap_err(), Malformed::Field);
        let beyond = Unsealed {
            first_block: 0,
            segment: Some(SegmentStart {
                index: 1,
                ..SEGMENT
            }),
            ..last
        };
        let n = beyond.write(&mut out).unwrap();
        assert_eq!(Seal::parse(&out[..n + 64]).unwrap_err(), Malformed::Field);
    }
}
