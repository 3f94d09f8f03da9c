//! ICY metadata, the "now playing" text that shoutcast put between the media bytes: after every `metaint` media bytes
//! one length byte (in units of 16), then `StreamTitle='...';` padded with zeros.

use crate::http::body::Piece;
use crate::limits::MAX_METADATA_BYTES;

/// Longest metadata block we write: length byte and text padded to 16.
pub const MAX_ICY_BLOCK_BYTES: usize = 1 + (MAX_METADATA_BYTES + 15).div_ceil(16) * 16;

/// Media bytes between two metadata blocks that we send.
pub const ICY_METAINT: u32 = 16_000;

/// Takes the metadata out of a pulled stream.
#[derive(Clone, Debug)]
pub struct IcyRemover {
    metaint: u32,
}

impl IcyRemover {
    /// For a stream that announced `icy-metaint`; 0 means that it has no metadata.
    pub fn new(metaint: u32) -> Self {
        Self { metaint }
    }

    /// Takes the next run of media bytes from `input`. Call again with the rest until the rest is empty.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Piece<'a> {
        let _ = self.metaint;
        Piece {
            consumed: input.len(),
            data: input,
        }
    }

    /// The title, once after each change of it.
    pub fn take_title(&mut self) -> Option<&str> {
        None
    }
}

/// Puts metadata into a stream for a player that asked with `Icy-MetaData: 1`.
#[derive(Clone, Debug)]
pub struct IcyInterleaver {
    metaint: u32,
}

impl IcyInterleaver {
    /// At the start of a response that announced `icy-metaint`.
    pub fn new(metaint: u32) -> Self {
        Self { metaint }
    }

    /// Media bytes that may be written before the next metadata block; 0 means that [`IcyInterleaver::metadata`] is due.
    pub fn media_room(&self) -> usize {
        self.metaint as usize
    }

    /// Notes that `bytes` of media, at most [`IcyInterleaver::media_room`], were written.
    pub fn wrote_media(&mut self, _bytes: usize) {}

    /// Writes the block that is due and returns its length. An unchanged title costs one byte.
    pub fn metadata(&mut self, _title: &str, _out: &mut [u8; MAX_ICY_BLOCK_BYTES]) -> usize {
        0
    }
}
