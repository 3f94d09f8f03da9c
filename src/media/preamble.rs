//! The bytes a player needs before any sync point, gathered in a fixed buffer.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::error::Full;
use crate::limits::MAX_PREAMBLE_BYTES;

static FINGERPRINT: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// A preamble under construction or in use.
pub(super) struct Preamble {
    bytes: [u8; MAX_PREAMBLE_BYTES],
    len: usize,
    /// Length and checksum of the preamble in use, and of the one last announced.
    current: (usize, u32),
    announced: (usize, u32),
}

impl Preamble {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; MAX_PREAMBLE_BYTES],
            len: 0,
            current: (0, 0),
            announced: (0, 0),
        }
    }

    /// The bytes gathered so far.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Starts a new one.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds to the end; nothing is added when it does not fit.
    pub(super) fn append(&mut self, more: &[u8]) -> Result<(), Full> {
        let end = self.len.checked_add(more.len()).ok_or(Full)?;
        self.bytes
            .get_mut(self.len..end)
            .ok_or(Full)?
            .copy_from_slice(more);
        self.len = end;
        Ok(())
    }

    /// What was gathered from `at` on, to write over.
    pub(super) fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        self.bytes.get_mut(at..self.len).unwrap_or_default()
    }

    /// Writes over what was gathered; what does not lie within it is left out.
    pub(super) fn patch(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.tail_mut(at).get_mut(..with.len()) {
            place.copy_from_slice(with);
        }
    }

    /// It is whole: players may be given it from now on.
    pub(super) fn commit(&mut self) {
        self.current = if self.len == 0 {
            (0, 0)
        } else {
            (self.len, FINGERPRINT.checksum(self.bytes()))
        };
    }

    /// Whether it differs from the one this was last asked about.
    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::replace(&mut self.announced, self.current) != self.current
    }
}
