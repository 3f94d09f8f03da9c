//! The head of a request, from a player, a browser, or a broadcaster that pushes (Icecast PUT, old SOURCE).

/// Most bytes of a request head; more is answered with 431.
pub const MAX_HEAD_BYTES: usize = 4_096;

/// Most headers of a request; more is answered with 431.
pub const MAX_HEADERS: usize = 48;

/// What a request asks to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Send it.
    Get,
    /// Send only the head.
    Head,
    /// Take this.
    Post,
    /// Take this stream (Icecast 2.4 and later).
    Put,
    /// Take this stream (older source clients).
    Source,
    /// Say what is allowed.
    Options,
    /// Anything else.
    Other,
}

/// The dialect of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0, and ICE/1.0 of old source clients.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the length of a body is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

/// What a broadcaster says about a pushed stream (`ice-*` and `icy-*` headers).
#[derive(Clone, Copy, Default, Debug)]
pub struct Ice<'a> {
    /// Name.
    pub name: Option<&'a str>,
    /// Genre.
    pub genre: Option<&'a str>,
    /// Home page.
    pub url: Option<&'a str>,
    /// Description.
    pub description: Option<&'a str>,
    /// Bit rate in bits per second.
    pub bitrate_bps: Option<u64>,
}

/// A request head; texts borrow from the buffer it was read from. A header that is not UTF-8 counts as absent.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: Method,
    /// Path, as sent, without the query.
    pub path: &'a str,
    /// Query, as sent, without the question mark; empty if there is none.
    pub query: &'a str,
    /// Version.
    pub version: Version,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Icy-MetaData: 1`.
    pub icy_metadata: bool,
    /// `Range`.
    pub range: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Accept-Encoding` names gzip.
    pub accepts_gzip: bool,
    /// The connection may be used again (`Connection`, or the version's default).
    pub keep_alive: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// How the body's length is known; `Length(0)` for a request without one.
    pub body: Framing,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Authorization`, as sent; see [`Request::basic_auth`].
    pub authorization: Option<&'a str>,
    /// What a broadcaster says about its stream.
    pub ice: Ice<'a>,
}

/// What is in the buffer so far.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // Short-lived, on the stack; a box needs an allocator.
pub enum Parsed<'a> {
    /// Not all of a head yet: read more.
    Incomplete,
    /// A head; the body begins at `head_bytes`.
    Complete {
        /// The request.
        request: Request<'a>,
        /// Bytes of the head, blank line included.
        head_bytes: usize,
    },
    /// Answer with this status and close.
    Bad(u16),
}

impl<'a> Request<'a> {
    /// Reads a head from the bytes received so far. Give it a buffer of at least [`MAX_HEAD_BYTES`].
    pub fn parse(_buf: &'a [u8]) -> Parsed<'a> {
        Parsed::Incomplete
    }

    /// The raw value of a query parameter.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        query_value(self.query, name)
    }

    /// User and password of `Authorization: Basic` (RFC 7617), decoded into `out`; `None` if absent or malformed.
    pub fn basic_auth<'b>(&self, _out: &'b mut [u8]) -> Option<(&'b str, &'b str)> {
        None
    }
}

/// The raw value of parameter `name` in a query.
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Decodes `%41` and `+` into `out`; `None` if it is malformed, not UTF-8, or does not fit.
pub fn percent_decode<'b>(_text: &str, _out: &'b mut [u8]) -> Option<&'b str> {
    None
}
