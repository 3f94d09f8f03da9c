//! The client's side of HTTP: pulling a stream from an Icecast or other HTTP server.

use crate::error::{Full, Malformed};
use crate::http::request::Framing;

/// A parsed `http://` URL; texts borrow from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpUrl<'a> {
    /// `user:password`, percent-encoded, if given.
    pub userinfo: Option<&'a str>,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: &'a str,
    /// Port, 80 unless given.
    pub port: u16,
    /// Path and query, beginning with `/`, or empty for `/`.
    pub target: &'a str,
}

impl<'a> HttpUrl<'a> {
    /// Reads a URL. `Malformed::Kind` for a scheme other than `http`, `Malformed::Field` for the rest.
    pub fn parse(_url: &'a str) -> Result<Self, Malformed> {
        Err(Malformed::Kind)
    }

    /// Writes the URL that `location` means when this URL's answer named it (RFC 3986 section 5, what servers use of it).
    pub fn redirect<'b>(&self, _location: &str, _out: &'b mut [u8]) -> Result<&'b str, Full> {
        Err(Full)
    }
}

/// Writes the head of a GET for a live stream, asking for metadata; returns its length.
pub fn write_get(_url: &HttpUrl<'_>, _version: &str, _out: &mut [u8]) -> Result<usize, Full> {
    Err(Full)
}

/// The head of a server's answer; texts borrow from the buffer it was read from.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Status, for example 200.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Location`.
    pub location: Option<&'a str>,
    /// `icy-metaint`; 0 if there is no metadata.
    pub icy_metaint: u32,
    /// `icy-name`.
    pub name: Option<&'a str>,
    /// `icy-genre`.
    pub genre: Option<&'a str>,
    /// `icy-url`.
    pub url: Option<&'a str>,
    /// `icy-br` or `ice-bitrate`, in bits per second.
    pub bitrate_bps: Option<u64>,
    /// How the body's length is known.
    pub body: Framing,
}

/// What is in the buffer so far.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // Short-lived, on the stack; a box needs an allocator.
pub enum ParsedResponse<'a> {
    /// Not all of a head yet: read more.
    Incomplete,
    /// A head; the body begins at `head_bytes`.
    Complete {
        /// The answer.
        head: ResponseHead<'a>,
        /// Bytes of the head, blank line included.
        head_bytes: usize,
    },
    /// Not HTTP, or a head above [`MAX_HEAD_BYTES`](crate::http::request::MAX_HEAD_BYTES).
    Bad(Malformed),
}

impl<'a> ResponseHead<'a> {
    /// Reads a head from the bytes received so far; knows `ICY 200 OK` of old shoutcast servers, and skips 1xx answers.
    pub fn parse(_buf: &'a [u8]) -> ParsedResponse<'a> {
        ParsedResponse::Incomplete
    }
}
