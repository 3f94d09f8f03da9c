//! The descriptor: the signed card of a stream. Postcard, followed by the signature.

use super::array;
use crate::error::{Full, Malformed};
use crate::limits::{MAX_CHUNK_PAYLOAD_BYTES, MAX_DESCRIPTOR_BYTES, MAX_N, MAX_PREAMBLE_BYTES};
use heapless::String;
use serde::{Deserialize, Serialize};

/// What the signature of a descriptor is separated by from all other signatures.
pub const DOMAIN: &str = "weir v1 descriptor";

const SIGNATURE_BYTES: usize = 64;

/// The card of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Descriptor {
    /// Public key: the stream's name.
    #[serde(deserialize_with = "array::read")]
    pub key: [u8; 32],
    /// Grows with every change; the highest wins.
    pub version: u32,
    /// Blocks below this one belong to an earlier run of the source and do not join on to what follows.
    pub first_block: u64,
    /// Data chunks a block.
    pub k: u8,
    /// All chunks a block.
    pub n: u8,
    /// Most payload bytes in one chunk.
    pub chunk_bytes: u16,
    /// How often a group is closed.
    pub group_ms: u16,
    /// Nominal media rate.
    pub bitrate_bps: u32,
    /// Length of the preamble.
    pub preamble_bytes: u32,
    /// BLAKE3 of the preamble.
    #[serde(deserialize_with = "array::read")]
    pub preamble_hash: [u8; 32],
    /// First block the preamble goes with.
    pub preamble_from_block: u64,
    /// Media type, for players.
    pub content_type: String<64>,
    /// Name of the programme.
    pub title: String<128>,
    /// Genre, as Icecast knows it.
    pub genre: String<64>,
    /// Home page.
    pub url: String<128>,
    /// What the broadcaster tells the people whose lines carry it.
    pub disclosure: String<256>,
}

impl Descriptor {
    /// Writes the part to be signed; the caller appends the signature. Returns the length.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, Full> {
        postcard::to_slice(self, out)
            .map(|used| used.len())
            .map_err(|_| Full)
    }

    /// Splits a descriptor into what is signed, the signature, and its (not yet verified) meaning.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8], [u8; SIGNATURE_BYTES]), Malformed> {
        if bytes.len() > MAX_DESCRIPTOR_BYTES {
            return Err(Malformed::Long);
        }
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(Malformed::Short)?;
        let (card, rest) =
            postcard::take_from_bytes::<Self>(signed).map_err(|_| Malformed::Field)?;
        if !rest.is_empty() {
            return Err(Malformed::Long);
        }
        card.check()?;
        Ok((card, signed, *signature))
    }

    fn check(&self) -> Result<(), Malformed> {
        let fits = shape_is_valid(self.k, self.n)
            && (1..=MAX_CHUNK_PAYLOAD_BYTES).contains(&usize::from(self.chunk_bytes))
            && (20..=5_000).contains(&self.group_ms)
            && self.preamble_bytes as usize <= MAX_PREAMBLE_BYTES
            && self.first_block <= self.preamble_from_block;
        if fits { Ok(()) } else { Err(Malformed::Field) }
    }
}

/// Whether blocks can have this shape: K of 2, 4, 8 or 16, at least one parity chunk, at most [`MAX_N`] stripes.
pub fn shape_is_valid(k: u8, n: u8) -> bool {
    matches!(k, 2 | 4 | 8 | 16) && n > k && usize::from(n) <= MAX_N
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Descriptor {
        Descriptor {
            key: [1; 32],
            version: 7,
            first_block: 100,
            k: 8,
            n: 10,
            chunk_bytes: 1_000,
            group_ms: 250,
            bitrate_bps: 128_000,
            preamble_bytes: 0,
            preamble_hash: [0; 32],
            preamble_from_block: 100,
            content_type: "audio/mpeg".try_into().unwrap(),
            title: "Radio".try_into().unwrap(),
            genre: String::new(),
            url: String::new(),
            disclosure: "We play music.".try_into().unwrap(),
        }
    }

    #[test]
    fn round_trip_and_truncation() {
        let mut out = [0; MAX_DESCRIPTOR_BYTES];
        let n = card().write(&mut out).unwrap();
        let (back, signed, signature) = Descriptor::parse(&out[..n + 64]).unwrap();
        assert_eq!((back, signed.len(), signature), (card(), n, [0; 64]));
        for cut in 0..n + 64 {
            assert!(Descriptor::parse(&out[..cut]).is_err());
        }
    }

    #[test]
    fn the_longest_card_fits() {
        let mut card = card();
        let long = |n: usize| std::string::String::from_utf8(std::vec![b'x'; n]).unwrap();
        card.title = long(128).as_str().try_into().unwrap();
        card.content_type = long(64).as_str().try_into().unwrap();
        card.genre = long(64).as_str().try_into().unwrap();
        card.url = long(128).as_str().try_into().unwrap();
        card.disclosure = long(256).as_str().try_into().unwrap();
        (card.first_block, card.preamble_from_block) = (u64::MAX, u64::MAX);
        (card.version, card.bitrate_bps) = (u32::MAX, u32::MAX);
        let mut out = [0; MAX_DESCRIPTOR_BYTES - 64];
        assert!(card.write(&mut out).is_ok());
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (k, n) in [(0, 1), (3, 4), (8, 8), (16, 33), (16, 15)] {
            let card = Descriptor { k, n, ..card() };
            let mut out = [0; MAX_DESCRIPTOR_BYTES];
            let len = card.write(&mut out).unwrap();
            assert_eq!(
                Descriptor::parse(&out[..len + 64]).unwrap_err(),
                Malformed::Field
            );
        }
    }
}
