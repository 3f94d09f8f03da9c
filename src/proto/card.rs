//! A verified descriptor and what follows from it.

use super::source::LEAST_GROUP;
use crate::coding::block::Code;
use crate::crypto::sign::{SigningKey, Verifier};
use crate::error::Malformed;
use crate::limits::{
    CHUNK_PREFIX_BYTES, IP_UDP_HEADER_BYTES, MAX_DESCRIPTOR_BYTES, MIN_SLOT_BYTES,
};
use crate::time::Span;
use crate::wire::chunk::payload_offset;
use crate::wire::datagram::{AEAD_TAG_BYTES, CONTROL_HEADER_BYTES};
use crate::wire::descriptor::{DOMAIN, Descriptor};
use crate::wire::framing::frame_bytes;
use crate::wire::seal::seal_message_bytes;

/// A seal of a few blocks as a control datagram, IP and UDP headers counted.
const SEAL_DATAGRAM_BYTES: u64 = 220;
/// What a player does with another preamble in the middle of what it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// It comes as part of the media: Ogg.
    InMedia,
    /// It takes it: MPEG-TS.
    Taken,
    /// It does not take it, and has to connect anew: all others.
    Refused,
}

/// What a player has to know to read a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Medium {
    /// How the next one can be told to a player.
    pub renewal: Renewal,
    /// Content type and preamble, roughly.
    mark: u64,
}

impl Medium {
    fn of(descriptor: &Descriptor) -> Self {
        let content_type = descriptor.content_type.as_str();
        let essence = content_type.split(';').next().unwrap_or("").trim();
        let renewal = match essence {
            "audio/ogg" | "video/ogg" | "application/ogg" => Renewal::InMedia,
            "video/mp2t" | "video/MP2T" => Renewal::Taken,
            _ => Renewal::Refused,
        };
        let mut hash = blake3::Hasher::new();
        hash.update(&descriptor.preamble_hash);
        hash.update(essence.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = *hash.finalize().as_bytes();
        let mark = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Self { renewal, mark }
    }

    /// How a player that knows this one comes to know another.
    pub fn renewal(self, next: Self) -> Renewal {
        match self.renewal == next.renewal {
            true => next.renewal,
            false => Renewal::Refused,
        }
    }
}

/// A verified descriptor.
pub struct Card {
    /// What it says.
    pub descriptor: Descriptor,
    /// What follows from it for players.
    pub medium: Medium,
    /// The erasure code of its shape.
    pub code: Code,
    bytes: [u8; MAX_DESCRIPTOR_BYTES],
    len: usize,
}

impl Card {
    /// Takes a descriptor from outside; refuses one that its stream's key did not sign.
    pub fn verify(bytes: &[u8], verifier: &Verifier) -> Result<Self, Malformed> {
        let (descriptor, signed, signature) = Descriptor::parse(bytes)?;
        if descriptor.key != verifier.public() {
            return Err(Malformed::Forged);
        }
        verifier.verify(DOMAIN, &[signed], &signature)?;
        Self::assemble(descriptor, bytes)
    }

    /// Signs a descriptor.
    pub fn sign(descriptor: Descriptor, key: &SigningKey) -> Result<Self, Malformed> {
        let mut bytes = [0; MAX_DESCRIPTOR_BYTES];
        let len = descriptor.write(&mut bytes).map_err(|_| Malformed::Long)?;
        let signature = key.sign(DOMAIN, &[&bytes[..len]]);
        let end = len + signature.len();
        bytes
            .get_mut(len..end)
            .ok_or(Malformed::Long)?
            .copy_from_slice(&signature);
        Self::assemble(descriptor, &bytes[..end])
    }

    fn assemble(descriptor: Descriptor, signed: &[u8]) -> Result<Self, Malformed> {
        let code = Code::new(descriptor.k, descriptor.n).map_err(|_| Malformed::Field)?;
        let mut bytes = [0; MAX_DESCRIPTOR_BYTES];
        bytes
            .get_mut(..signed.len())
            .ok_or(Malformed::Long)?
            .copy_from_slice(signed);
        Ok(Self {
            medium: Medium::of(&descriptor),
            descriptor,
            code,
            bytes,
            len: signed.len(),
        })
    }

    /// The signed bytes, to pass on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Data chunks a block.
    pub fn k(&self) -> usize {
        usize::from(self.descriptor.k)
    }

    /// Chunks a block.
    pub fn n(&self) -> usize {
        usize::from(self.descriptor.n)
    }

    /// All stripes.
    pub fn all_stripes(&self) -> u32 {
        (((1u64) << self.descriptor.n) - 1) as u32
    }

    /// Where the payload begins in a chunk.
    pub fn payload_offset(&self) -> usize {
        payload_offset(self.descriptor.n)
    }

    /// Payload bytes of each chunk of a block of `length` media bytes.
    pub fn payload_bytes(&self, length: u16) -> usize {
        usize::from(length).div_ceil(self.k()).max(1)
    }

    /// Bytes a slot of the ring needs.
    pub fn slot_bytes(&self) -> usize {
        (self.payload_offset() + usize::from(self.descriptor.chunk_bytes)).max(MIN_SLOT_BYTES)
    }

    /// How long a group is.
    pub fn group(&self) -> Span {
        Span::from_ms(u64::from(self.descriptor.group_ms))
    }

    /// Bits a second that one copy of one stripe takes on the line, headers counted; at least 1.
    pub fn stripe_bps(&self) -> u64 {
        let media_bps = u64::from(self.descriptor.bitrate_bps) / self.k() as u64;
        let group_bytes = media_bps * u64::from(self.descriptor.group_ms) / 8_000;
        let most = u64::from(self.descriptor.chunk_bytes).max(64);
        // The last block of a short group is not full; a long one leaves it to the next.
        let blocks = if self.group() >= LEAST_GROUP.times(2) {
            1
        } else {
            group_bytes.div_ceil(most).max(1)
        };
        let payload = (group_bytes / blocks).clamp(64, most);
        let overhead = (IP_UDP_HEADER_BYTES + CHUNK_PREFIX_BYTES + self.payload_offset()) as u64;
        (media_bps * (payload + overhead) / payload).max(1)
    }

    /// Bytes a second that the stream takes on a serial line as K stripes: chunks and seals in their frames, and a twentieth
    /// for words and repair.
    pub fn line_bytes_per_s(&self) -> u64 {
        let d = &self.descriptor;
        let (k, group_ms) = (self.k() as u64, u64::from(d.group_ms).max(1));
        let group_bytes = u64::from(d.bitrate_bps) * group_ms / 8_000;
        let blocks = group_bytes.div_ceil(k * u64::from(d.chunk_bytes).max(1));
        let chunk = group_bytes.div_ceil((blocks * k).max(1)) as usize;
        let chunk = CHUNK_PREFIX_BYTES + self.payload_offset() + chunk;
        let seal = CONTROL_HEADER_BYTES + AEAD_TAG_BYTES + seal_message_bytes(blocks as usize);
        let group = blocks * k * frame_bytes(chunk) as u64 + frame_bytes(seal) as u64;
        group * 1_000 / group_ms * 21 / 20
    }

    /// Bits a second that the seals take on the line, about; at least 1.
    pub fn seal_bps(&self) -> u64 {
        SEAL_DATAGRAM_BYTES * 8_000 / u64::from(self.descriptor.group_ms.max(1))
    }

    /// Whether blocks under both cards can share a ring.
    pub fn same_shape(&self, other: &Self) -> bool {
        let (a, b) = (&self.descriptor, &other.descriptor);
        (a.k, a.n, a.chunk_bytes) == (b.k, b.n, b.chunk_bytes)
    }
}
