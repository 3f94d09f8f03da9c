//! `/playlist.m3u`: every stream with its title and an absolute URL.

use crate::http::status::StatusSource;
use heapless::String;

/// Most bytes of a Host header that is used: a name of 253, a colon and a port.
pub const MAX_HOST_BYTES: usize = 259;

/// The playlist, written in parts.
#[derive(Clone, Default, Debug)]
pub struct Playlist {
    host: String<MAX_HOST_BYTES>,
}

impl Playlist {
    /// At its beginning; a `host` that cannot stand in a URL is not used.
    pub fn new(_host: Option<&str>) -> Self {
        Self::default()
    }

    /// Writes the next part into `out` (at least [`PART_BYTES`](crate::http::document::PART_BYTES)); `None` after the last.
    pub fn next(&mut self, _source: &dyn StatusSource, _out: &mut [u8]) -> Option<usize> {
        None
    }
}
