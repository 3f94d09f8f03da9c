//! The page at `/`.

use crate::http::status::StatusSource;

/// placeholder
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'";

/// The page at `/`. Written in parts.
#[derive(Clone, Default, Debug)]
pub struct Page {}

impl Page {
    /// At its beginning.
    pub fn new() -> Self {
        Self {}
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, _source: &dyn StatusSource, _out: &mut [u8]) -> Option<usize> {
        None
    }
}
