//! What a request asks for.

use crate::http::request::Request;

/// What a request asks for; texts borrow from the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route<'a> {
    /// `/`
    Page,
    /// `/status.json`
    StatusJson,
    /// `/status.txt`
    StatusText,
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Healthz,
    /// `/playlist.m3u`
    PlaylistM3u,
    /// `/streams/KEY`, live, or so long ago (`?ago=30s`).
    Stream {
        /// The key as sent, not yet known to be a stream of ours.
        key: &'a str,
        /// Time shift.
        ago_ms: Option<u64>,
    },
    /// `/streams/KEY/hls.m3u8` (reserved: answer 404).
    HlsPlaylist {
        /// The key as sent.
        key: &'a str,
    },
    /// `/streams/KEY/hls/NUMBER` with any extension (reserved: answer 404).
    HlsSegment {
        /// The key as sent.
        key: &'a str,
        /// Number of the segment.
        sequence: u64,
    },
    /// Answer 400.
    BadRequest,
    /// Answer 404.
    NotFound,
    /// Answer 405.
    MethodNotAllowed,
}

/// What `request` asks for. HEAD is routed like GET.
pub fn route<'a>(_request: &Request<'a>) -> Route<'a> {
    Route::NotFound
}

/// Reads `1500ms`, `30s`, `2m` or `1h` as milliseconds; a bare number is seconds.
pub fn parse_ago(_text: &str) -> Option<u64> {
    None
}

/// Whether a Host header may be answered: an IP address, `localhost`, a name of the LAN (`*.local`, `*.lan`, `*.home.arpa`, a
/// single label) or one of `allowed`. A page on the web that rebinds its own name to this box's address is refused. No header
/// at all is fine: browsers always send one.
pub fn host_allowed<S: AsRef<str>>(_host: Option<&str>, _allowed: &[S]) -> bool {
    false
}
