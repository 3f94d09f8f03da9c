//! The head of a request, from a player, a browser, or a broadcaster that pushes (Icecast PUT, old SOURCE).

use crate::http::header;
use data_encoding::BASE64;
use httparse::{Header, Status};

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
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
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
    pub fn parse(buf: &'a [u8]) -> Parsed<'a> {
        let window = buf.get(..MAX_HEAD_BYTES).unwrap_or(buf);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(window) {
            Ok(Status::Complete(head_bytes)) => {
                let version = if head.version == Some(0) {
                    Version::Http10
                } else {
                    Version::Http11
                };
                let line = (head.method.unwrap_or(""), head.path.unwrap_or(""), version);
                complete(line, head.headers, head_bytes)
            }
            Ok(Status::Partial) => more(window),
            Err(httparse::Error::Version) => parse_ice(window),
            Err(error) => refuse(error),
        }
    }

    /// The raw value of a query parameter.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        query_value(self.query, name)
    }

    /// User and password of `Authorization: Basic` (RFC 7617), decoded into `out`; `None` if absent or malformed, or if they
    /// do not fit.
    pub fn basic_auth<'b>(&self, out: &'b mut [u8]) -> Option<(&'b str, &'b str)> {
        let (scheme, credentials) = self.authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let credentials = credentials.trim().as_bytes();
        let room = out.get_mut(..BASE64.decode_len(credentials.len()).ok()?)?;
        let len = BASE64.decode_mut(credentials, room).ok()?;
        core::str::from_utf8(out.get(..len)?).ok()?.split_once(':')
    }

    fn new((method, target, version): (&str, &'a str, Version)) -> Self {
        let (authority, target) = split_target(target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: Method::from_token(method),
            path,
            query,
            version,
            host: authority,
            icy_metadata: false,
            range: None,
            user_agent: None,
            accepts_gzip: false,
            keep_alive: version == Version::Http11,
            expects_continue: false,
            body: Framing::Length(0),
            content_type: None,
            origin: None,
            fetch_site: None,
            authorization: None,
            ice: Ice::default(),
        }
    }

    fn read(&mut self, header: &Header<'a>) {
        let Some(value) = header::text(header) else {
            return;
        };
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let is_ice = |name: &str| {
            header
                .name
                .split_at_checked(4)
                .is_some_and(|(prefix, rest)| {
                    let prefixed =
                        prefix.eq_ignore_ascii_case("ice-") || prefix.eq_ignore_ascii_case("icy-");
                    prefixed && rest.eq_ignore_ascii_case(name)
                })
        };
        if is("host") {
            // An absolute target's own authority wins (RFC 9112 section 3.2.2).
            self.host = self.host.or(Some(value));
        } else if is("icy-metadata") {
            self.icy_metadata = value == "1";
        } else if is("range") {
            self.range = Some(value);
        } else if is("user-agent") {
            self.user_agent = Some(value);
        } else if is("accept-encoding") {
            self.accepts_gzip |= accepts_gzip(value);
        } else if is("connection") {
            self.keep_alive = match self.version {
                Version::Http11 => self.keep_alive && !header::names(value, "close"),
                Version::Http10 => header::names(value, "keep-alive"),
            };
        } else if is("expect") {
            self.expects_continue = value.eq_ignore_ascii_case("100-continue");
        } else if is("content-type") {
            self.content_type = Some(value);
        } else if is("origin") {
            self.origin = Some(value);
        } else if is("sec-fetch-site") {
            self.fetch_site = Some(value);
        } else if is("authorization") {
            self.authorization = Some(value);
        } else if is_ice("name") {
            self.ice.name = Some(value);
        } else if is_ice("genre") {
            self.ice.genre = Some(value);
        } else if is_ice("url") {
            self.ice.url = Some(value);
        } else if is_ice("description") {
            self.ice.description = Some(value);
        } else if is_ice("bitrate") || is_ice("br") {
            self.ice.bitrate_bps = header::bitrate_bps(value).or(self.ice.bitrate_bps);
        } else if is_ice("audio-info") {
            self.ice.bitrate_bps = self.ice.bitrate_bps.or(audio_info_bitrate(value));
        }
    }
}

impl Method {
    fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "SOURCE" => Self::Source,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

/// A parsed request line: method, target, version.
type Line<'a> = (&'a str, &'a str, Version);

fn complete<'a>(line: Line<'a>, headers: &[Header<'a>], head_bytes: usize) -> Parsed<'a> {
    let hosts = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"));
    if hosts.count() > 1 {
        return Parsed::Bad(400);
    }
    let mut request = Request::new(line);
    request.body = match header::framing(headers) {
        // HTTP/1.0 knows no chunks, so whoever announces them so is not understood the same way by everybody.
        Ok(Some(Framing::Chunked)) if request.version == Version::Http10 => {
            return Parsed::Bad(400);
        }
        Ok(Some(framing)) => framing,
        Ok(None) if matches!(request.method, Method::Put | Method::Source) => Framing::UntilClose,
        Ok(None) => Framing::Length(0),
        Err(status) => return Parsed::Bad(status),
    };
    headers.iter().for_each(|header| request.read(header));
    Parsed::Complete {
        request,
        head_bytes,
    }
}

/// Old source clients speak `SOURCE /mount ICE/1.0`, which is HTTP/1.0 by another name.
fn parse_ice(window: &[u8]) -> Parsed<'_> {
    let Some(line_end) = window.iter().position(|&b| b == b'\n') else {
        return more(window);
    };
    let (line, rest) = window.split_at(line_end + 1);
    let Some(line) = core::str::from_utf8(line).ok().and_then(ice_line) else {
        return Parsed::Bad(400);
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(rest, &mut headers) {
        Ok(Status::Complete((rest_bytes, headers))) => {
            complete(line, headers, line_end + 1 + rest_bytes)
        }
        Ok(Status::Partial) => more(window),
        Err(error) => refuse(error),
    }
}

fn ice_line(line: &str) -> Option<Line<'_>> {
    let mut words = line.trim_end().split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let plain = target.bytes().all(|b| b.is_ascii_graphic());
    (version.starts_with("ICE/1.") && words.next().is_none() && plain).then_some((
        method,
        target,
        Version::Http10,
    ))
}

fn more(window: &[u8]) -> Parsed<'_> {
    if window.len() < MAX_HEAD_BYTES {
        Parsed::Incomplete
    } else {
        Parsed::Bad(431)
    }
}

fn refuse<'a>(error: httparse::Error) -> Parsed<'a> {
    Parsed::Bad(if error == httparse::Error::TooManyHeaders {
        431
    } else {
        400
    })
}

/// Splits `http://authority/path` (what a proxy is sent) into authority and path; other targets have no authority.
fn split_target(target: &str) -> (Option<&str>, &str) {
    match target.strip_prefix("http://") {
        None => (None, target),
        Some(rest) => match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) => (Some(authority), path),
            None => (Some(rest), "/"),
        },
    }
}

/// Whether `Accept-Encoding` names gzip without forbidding it (`gzip;q=0`, RFC 9110 section 12.5.3).
fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|item| {
        let mut words = item.split(';').map(str::trim);
        let gzip = words
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let refused = words.any(|word| {
            let weight = word.strip_prefix("q=").or(word.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.bytes().all(|b| matches!(b, b'0' | b'.')))
        });
        gzip && !refused
    })
}

/// The bit rate out of `ice-audio-info: ice-samplerate=44100;ice-bitrate=128;ice-channels=2`.
fn audio_info_bitrate(value: &str) -> Option<u64> {
    value.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        matches!(key, "bitrate" | "ice-bitrate").then(|| header::bitrate_bps(value))?
    })
}

/// The raw value of parameter `name` in a query.
pub fn query_value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Decodes `%41` (RFC 3986 section 2.1) into `out`; `None` if it is malformed, not UTF-8, or does not fit.
pub fn percent_decode<'b>(text: &str, out: &'b mut [u8]) -> Option<&'b str> {
    decode(text, false, out)
}

/// The same for the value of a query parameter, in which `+` is a space.
pub fn query_decode<'b>(text: &str, out: &'b mut [u8]) -> Option<&'b str> {
    decode(text, true, out)
}

fn decode<'b>(text: &str, plus_is_space: bool, out: &'b mut [u8]) -> Option<&'b str> {
    let mut bytes = text.bytes();
    let mut len = 0;
    while let Some(byte) = bytes.next() {
        *out.get_mut(len)? = match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            byte => byte,
        };
        len += 1;
    }
    core::str::from_utf8(out.get(..len)?).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::format;
    use std::string::String;
    use std::vec::Vec;

    const PUSH: &str = "PUT /live.ogg?x=1 HTTP/1.1\r\nHost: box.lan:8000\r\nAuthorization: Basic c291cmNlOmhhY2s6bWU=\r\n\
        User-Agent: Lavf/60\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nContent-Type: application/ogg\r\n\
        Ice-Name: Caf\u{e9} \u{266b}\r\nice-genre: talk\r\nIce-Audio-Info: ice-samplerate=44100;ice-bitrate=96\r\n\r\nBODY";

    fn parse(text: &str) -> Request<'_> {
        match Request::parse(text.as_bytes()) {
            Parsed::Complete { request, .. } => request,
            other => panic!("{other:?}"),
        }
    }

    fn status(text: &str) -> u16 {
        match Request::parse(text.as_bytes()) {
            Parsed::Bad(status) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_head_in_any_number_of_pieces_is_incomplete_until_its_last_byte() {
        let head_end = PUSH.len() - 4;
        for cut in 0..head_end {
            assert!(
                matches!(Request::parse(&PUSH.as_bytes()[..cut]), Parsed::Incomplete),
                "{cut}"
            );
        }
        for cut in head_end..=PUSH.len() {
            let Parsed::Complete { head_bytes, .. } = Request::parse(&PUSH.as_bytes()[..cut])
            else {
                panic!("{cut}")
            };
            assert_eq!(head_bytes, head_end);
        }
    }

    #[test]
    fn a_push_says_what_it_is() {
        let request = parse(PUSH);
        assert_eq!(
            (request.method, request.path, request.query),
            (Method::Put, "/live.ogg", "x=1")
        );
        assert_eq!(request.host, Some("box.lan:8000"));
        assert!(request.expects_continue && request.keep_alive);
        assert_eq!(request.body, Framing::Chunked);
        assert_eq!(request.content_type, Some("application/ogg"));
        assert_eq!(request.ice.name, Some("Caf\u{e9} \u{266b}"));
        assert_eq!(request.ice.genre, Some("talk"));
        assert_eq!(request.ice.bitrate_bps, Some(96_000));
        let mut room = [0; 64];
        assert_eq!(request.basic_auth(&mut room), Some(("source", "hack:me")));
        assert_eq!(request.basic_auth(&mut [0; 4]), None);
    }

    #[test]
    fn old_source_clients_are_understood() {
        for version in ["HTTP/1.0", "ICE/1.0"] {
            let text = format!(
                "SOURCE /mount {version}\r\ncontent-type: audio/mpeg\r\nice-bitrate: 128,128\r\n\r\n"
            );
            for cut in 0..text.len() {
                assert!(
                    matches!(Request::parse(&text.as_bytes()[..cut]), Parsed::Incomplete),
                    "{version} {cut}"
                );
            }
            let request = parse(&text);
            assert_eq!(
                (request.method, request.path, request.version),
                (Method::Source, "/mount", Version::Http10)
            );
            assert_eq!(
                (request.body, request.ice.bitrate_bps),
                (Framing::UntilClose, Some(128_000))
            );
        }
    }

    /// Heads as programs sent them: ffmpeg 5.1 to icecast://, with -legacy_icecast, and to http://; curl 7.88 -T; ffprobe.
    #[test]
    fn recorded_heads_are_understood() {
        let request = parse(
            "PUT /live.mp3 HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nExpect: 100-continue\r\n\
             Connection: close\r\nHost: 127.0.0.1:56107\r\nContent-Type: audio/mpeg\r\nIcy-MetaData: 1\r\n\
             Ice-Name: Caf\u{e9}\r\nIce-Genre: talk\r\nIce-Public: 0\r\nAuthorization: Basic c291cmNlOmhhY2shbWU=\r\n\r\n",
        );
        assert_eq!(
            (request.method, request.body),
            (Method::Put, Framing::UntilClose)
        );
        assert!(request.expects_continue && !request.keep_alive);
        assert_eq!(
            request.basic_auth(&mut [0; 64]),
            Some(("source", "hack!me"))
        );
        let request = parse(
            "SOURCE /live.mp3 HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nConnection: close\r\n\
             Host: 127.0.0.1:48775\r\nContent-Type: audio/mpeg\r\nIcy-MetaData: 1\r\nIce-Public: 0\r\n\
             Authorization: Basic c291cmNlOmhhY2ttZQ==\r\n\r\n",
        );
        assert_eq!(
            (request.method, request.body),
            (Method::Source, Framing::UntilClose)
        );
        let request = parse(
            "PUT /live.mp3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\n\
             Connection: close\r\nHost: 127.0.0.1:59459\r\nIcy-MetaData: 1\r\n\r\n",
        );
        assert_eq!(
            (request.body, request.expects_continue),
            (Framing::Chunked, false)
        );
        let request = parse(
            "PUT /x HTTP/1.1\r\nHost: 127.0.0.1:54987\r\nAuthorization: Basic dTpw\r\nUser-Agent: curl/7.88.1\r\n\
             Accept: */*\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(
            (request.body, request.expects_continue),
            (Framing::Chunked, true)
        );
        let request = parse(
            "GET /streams/x HTTP/1.1\r\nUser-Agent: Lavf/59.27.100\r\nAccept: */*\r\nRange: bytes=0-\r\n\
             Connection: close\r\nHost: 127.0.0.1:58529\r\nIcy-MetaData: 1\r\n\r\n",
        );
        assert_eq!(
            (request.range, request.icy_metadata),
            (Some("bytes=0-"), true)
        );
    }

    #[test]
    fn a_player_says_what_it_wants() {
        let request = parse(
            "GET http://box/streams/abc HTTP/1.1\r\nHost: other\r\nIcy-MetaData: 1\r\nRange: bytes=0-\r\n\
             Accept-Encoding: br, gzip;q=0.5\r\nConnection: foo, Close\r\n\r\n",
        );
        assert_eq!((request.host, request.path), (Some("box"), "/streams/abc"));
        assert!(request.icy_metadata && request.accepts_gzip && !request.keep_alive);
        assert_eq!(
            (request.range, request.body),
            (Some("bytes=0-"), Framing::Length(0))
        );
        assert!(!parse("GET / HTTP/1.1\r\nAccept-Encoding: gzip;q=0, br\r\n\r\n").accepts_gzip);
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn what_is_refused_and_how() {
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(
            status("PUT / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(
            status("PUT / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            400
        );
        assert_eq!(status("PUT / HTTP/1.1\r\nContent-Length: +5\r\n\r\n"), 400);
        assert_eq!(
            status("PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
            400
        );
        assert_eq!(
            status("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            400
        );
        assert_eq!(
            status("PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            501
        );
        assert_eq!(status("\u{16}\u{3}\u{1} TLS hello"), 400);
        assert_eq!(status("GET / FOO/1.0\r\n\r\n"), 400);
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(status(&long), 431);
        let many: String = (0..=MAX_HEADERS).map(|i| format!("X-{i}: 1\r\n")).collect();
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
    }

    #[test]
    fn percent_decoding_takes_no_malformed_escape() {
        let mut room = [0; 8];
        assert_eq!(percent_decode("a%20b+c", &mut room), Some("a b+c"));
        assert_eq!(query_decode("a%20b+c", &mut room), Some("a b c"));
        assert_eq!(query_decode("%e2%99%ab", &mut room), Some("\u{266b}"));
        for bad in ["%", "%4", "%zz", "%+1", "%ff", "123456789"] {
            assert_eq!(percent_decode(bad, &mut room), None, "{bad}");
        }
        assert_eq!(query_value("a=1&ago=30s&ago=2", "ago"), Some("30s"));
        assert_eq!(query_value("a&b", "b"), Some(""));
    }

    #[test]
    fn hostile_bytes_are_answered_never_fatal() {
        let mut rng = Rng::new(1);
        let parts = [
            "GET ", "SOURCE ", "/", "%", " HTTP/1.", "1", "0", " ICE/1.0", "\r\n", "\n", ":",
            "Host: a", "\u{e9}",
        ];
        let mut answered = [0u32; 3];
        for _ in 0..20_000 {
            // Half of them noise, half of them a good head with a few bytes or words put in.
            let mut bytes = if rng.below(2) == 0 {
                Vec::new()
            } else {
                PUSH.as_bytes().to_vec()
            };
            for _ in 0..rng.below(8) {
                let at = rng.below(bytes.len() as u64 + 1) as usize;
                let part = parts[rng.below(parts.len() as u64) as usize].as_bytes();
                let noise = [rng.next_u64() as u8];
                let part = if rng.below(4) == 0 {
                    noise.as_slice()
                } else {
                    part
                };
                bytes.splice(at..at, part.iter().copied());
            }
            match Request::parse(&bytes) {
                Parsed::Incomplete => answered[0] += 1,
                Parsed::Complete { head_bytes, .. } => {
                    assert!(head_bytes <= bytes.len());
                    answered[1] += 1;
                }
                Parsed::Bad(status) => {
                    assert!(matches!(status, 400 | 431 | 501));
                    answered[2] += 1;
                }
            }
        }
        assert!(answered.iter().all(|&n| n > 100), "{answered:?}");
    }
}
