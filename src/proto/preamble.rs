//! The preamble: fetched in pieces, believed when its hash fits the descriptor.

use crate::limits::MAX_PREAMBLE_BYTES;
use crate::wire::descriptor::Descriptor;

/// The preamble of a stream, in borrowed memory of [`MAX_PREAMBLE_BYTES`].
pub struct Preamble<'s> {
    bytes: &'s mut [u8],
    len: usize,
    got: usize,
    version: u32,
    verified: bool,
    /// How often a wrong one was assembled.
    pub bad_total: u32,
}

impl<'s> Preamble<'s> {
    /// Nothing known yet. `bytes` may be smaller than [`MAX_PREAMBLE_BYTES`]: streams with longer preambles then cannot be played here.
    pub fn new(bytes: &'s mut [u8]) -> Self {
        Self {
            bytes,
            len: 0,
            got: 0,
            version: 0,
            verified: false,
            bad_total: 0,
        }
    }

    /// Begins anew for a descriptor, unless what is here is already right.
    pub fn expect(&mut self, card: &Descriptor) {
        let len = card.preamble_bytes as usize;
        let same = self.verified
            && self.len == len
            && *blake3::hash(self.get_all()).as_bytes() == card.preamble_hash;
        if same {
            self.version = card.version;
            return;
        }
        (self.len, self.got, self.version) = (len, 0, card.version);
        self.verified = len == 0;
    }

    /// At the source: this is the preamble.
    pub fn set(&mut self, bytes: &[u8], version: u32) -> bool {
        let Some(room) = self
            .bytes
            .get_mut(..bytes.len())
            .filter(|_| bytes.len() <= MAX_PREAMBLE_BYTES)
        else {
            return false;
        };
        room.copy_from_slice(bytes);
        (self.len, self.got, self.version, self.verified) =
            (bytes.len(), bytes.len(), version, true);
        true
    }

    /// A piece from a neighbour. True when it completed the preamble.
    pub fn piece(&mut self, card: &Descriptor, version: u32, offset: u32, piece: &[u8]) -> bool {
        if self.verified
            || version != self.version
            || offset as usize != self.got
            || piece.is_empty()
        {
            return false;
        }
        let end = self.got + piece.len();
        let Some(room) = self
            .bytes
            .get_mut(self.got..end)
            .filter(|_| end <= self.len)
        else {
            return false;
        };
        room.copy_from_slice(piece);
        self.got = end;
        if self.got < self.len {
            return false;
        }
        self.verified = *blake3::hash(&self.bytes[..self.len]).as_bytes() == card.preamble_hash;
        if !self.verified {
            self.got = 0;
            self.bad_total += 1;
        }
        self.verified
    }

    /// What to ask for next: version and offset.
    pub fn missing(&self) -> Option<(u32, u32)> {
        (!self.verified && self.len <= self.bytes.len()).then_some((self.version, self.got as u32))
    }

    /// The preamble, once verified.
    pub fn get(&self) -> Option<&[u8]> {
        self.verified.then(|| self.get_all())
    }

    /// A piece to hand out, at most `most` bytes.
    pub fn serve(&self, version: u32, offset: u32, most: usize) -> Option<&[u8]> {
        let rest = self
            .get()
            .filter(|_| version == self.version)?
            .get(offset as usize..)?;
        Some(&rest[..rest.len().min(most)]).filter(|piece| !piece.is_empty())
    }

    fn get_all(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}
