//! Heads of our answers, and short answers whole.

use crate::error::Full;
use crate::http::request::{Framing, Method, Version};

/// Room that every head written here fits in, the longest icy texts included.
pub const MAX_RESPONSE_HEAD_BYTES: usize = 1_536;

/// Sent before reading the body of a push that `expects_continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a player is told about a live stream.
#[derive(Clone, Copy, Default, Debug)]
pub struct Live<'a> {
    /// Media type; `application/octet-stream` if it cannot stand in a header.
    pub content_type: &'a str,
    /// `icy-name`; cleaned, and left out if empty.
    pub name: &'a str,
    /// `icy-br`, from bits per second; left out if 0.
    pub bitrate_bps: u64,
    /// `icy-metaint`: set if the body goes through an [`IcyInterleaver`](crate::http::icy::IcyInterleaver).
    pub icy_metaint: Option<u32>,
    /// Chunked transfer coding; else until close. Never for HTTP/1.0.
    pub chunked: bool,
}

/// The head of a live stream's answer; returns its length.
pub fn live(_version: Version, _live: &Live<'_>, out: &mut [u8]) -> Result<usize, Full> {
    let _ = out;
    Err(Full)
}

/// The head of a document's answer, status 200; `keep_alive` says whether we will read another request after it.
pub fn document(
    _version: Version,
    _content_type: &str,
    _body: Framing,
    _keep_alive: bool,
    out: &mut [u8],
) -> Result<usize, Full> {
    let _ = out;
    Err(Full)
}

/// A whole short answer, body included unless `method` is HEAD, after which we close. Knows the headers that 401, 405 and
/// 503 need. `text` is one line; a newline is added.
pub fn short(_method: Method, _status: u16, _text: &str, out: &mut [u8]) -> Result<usize, Full> {
    let _ = out;
    Err(Full)
}

/// The words for a status.
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Error",
    }
}
