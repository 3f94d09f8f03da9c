//! The body of a push or a pull, taken out of its framing; and the framing of what we send (RFC 9112 sections 6 and 7).

use crate::error::Malformed;
use crate::http::request::Framing;

/// What [`Body::next`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// Bytes of the input that are dealt with, framing included.
    pub consumed: usize,
    /// Bytes of the body among them; may be empty.
    pub data: &'a [u8],
}

/// Takes a body out of its framing, whatever pieces it arrives in.
#[derive(Clone, Debug)]
pub struct Body {
    framing: Framing,
}

impl Body {
    /// A body about to begin.
    pub fn new(framing: Framing) -> Self {
        Self { framing }
    }

    /// Takes the next run of body bytes from `input`. Call again with the rest until the rest is empty or [`Body::is_done`].
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<Piece<'a>, Malformed> {
        let _ = self.framing;
        Ok(Piece {
            consumed: input.len(),
            data: input,
        })
    }

    /// Whether the body is complete. One that lasts until close never is.
    pub fn is_done(&self) -> bool {
        false
    }
}

/// After the bytes of each chunk we send.
pub const CHUNK_END: &[u8] = b"\r\n";

/// After the last chunk we send.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes of the longest chunk head we send.
pub const MAX_CHUNK_HEAD_BYTES: usize = 10;

/// Writes what goes before `len` bytes of a chunk (`len` above 0: an empty chunk would end the body); returns its length.
pub fn chunk_head(_len: u32, _out: &mut [u8; MAX_CHUNK_HEAD_BYTES]) -> usize {
    0
}
