//! The client's side of HTTP: pulling a stream from an Icecast or other HTTP server.

use crate::error::{Full, Malformed};
use crate::http::header;
use crate::http::out::Out;
use crate::http::request::{Framing, MAX_HEAD_BYTES, MAX_HEADERS, percent_decode};
use core::net::Ipv6Addr;
use data_encoding::BASE64;
use httparse::{Header, Status};

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
    /// Reads a URL; a fragment is left out. `Malformed::Kind` for a scheme other than `http`, `Malformed::Field` for the rest.
    pub fn parse(url: &'a str) -> Result<Self, Malformed> {
        let rest = strip_scheme(url).ok_or(Malformed::Kind)?;
        // Nothing here may end the request line or a header.
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Malformed::Field);
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(Malformed::Field)?;
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (Some(userinfo), authority),
            None => (None, authority),
        };
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err(Malformed::Field);
        }
        Ok(Self {
            userinfo,
            host,
            port,
            target,
        })
    }

    /// Writes the URL that `location` means when this URL's answer named it (RFC 3986 section 5, what servers use of it).
    pub fn redirect<'b>(&self, location: &str, out: &'b mut [u8]) -> Result<&'b str, Full> {
        let location = location.trim();
        let mut text = Out::new(out);
        if has_scheme(location) {
            text.str(location);
        } else if location.starts_with("//") {
            text.str("http:");
            text.str(location);
        } else {
            text.str("http://");
            if let Some(userinfo) = self.userinfo {
                text.fmt(format_args!("{userinfo}@"));
            }
            self.write_authority(&mut text);
            text.str(self.directory_for(location));
            text.str(location);
        }
        let len = text.finish()?;
        // Only text was written.
        out.get(..len)
            .and_then(|text| core::str::from_utf8(text).ok())
            .ok_or(Full)
    }

    /// What of this URL's target stands before a relative `location`.
    fn directory_for(&self, location: &str) -> &'a str {
        let path = self.target.split('?').next().unwrap_or("");
        match location.bytes().next() {
            Some(b'/') => "",
            Some(b'?') => path,
            _ => path
                .rfind('/')
                .and_then(|at| path.get(..=at))
                .unwrap_or("/"),
        }
    }

    fn write_authority(&self, out: &mut Out<'_>) {
        let ipv6 = self.host.contains(':');
        let (open, close) = if ipv6 { ("[", "]") } else { ("", "") };
        out.fmt(format_args!("{open}{}{close}", self.host));
        if self.port != 80 {
            out.fmt(format_args!(":{}", self.port));
        }
    }
}

fn strip_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_at_checked("http://".len())?;
    scheme.eq_ignore_ascii_case("http://").then_some(rest)
}

/// Whether a URL is absolute; `://` further on belongs to a path or query.
fn has_scheme(url: &str) -> bool {
    url.split_once("://")
        .is_some_and(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port`.
fn split_port(authority: &str) -> Result<(&str, u16), Malformed> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(Malformed::Field)?;
            host.parse::<Ipv6Addr>().map_err(|_| Malformed::Field)?;
            (
                host,
                port.strip_prefix(':')
                    .or(port.is_empty().then_some(""))
                    .ok_or(Malformed::Field)?,
            )
        }
        // A second colon, and so an IPv6 address without brackets, is left in the port and refused with it.
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    match port {
        "" => Ok((host, 80)),
        port => Ok((host, port.parse().map_err(|_| Malformed::Field)?)),
    }
}

/// Most bytes of `user:password` in a URL.
const MAX_USERINFO_BYTES: usize = 192;

/// Writes the head of a GET for a live stream, asking for metadata; returns its length. `version` goes into `User-Agent`.
pub fn write_get(url: &HttpUrl<'_>, version: &str, out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Out::new(out);
    let slash = if url.target.starts_with('/') { "" } else { "/" };
    out.fmt(format_args!("GET {slash}{} HTTP/1.1\r\nHost: ", url.target));
    url.write_authority(&mut out);
    out.fmt(format_args!("\r\nUser-Agent: weir/{version}\r\n"));
    out.str("Accept: */*\r\nIcy-MetaData: 1\r\nConnection: close\r\n");
    if let Some(userinfo) = url.userinfo {
        write_basic_auth(userinfo, &mut out)?;
    }
    out.str("\r\n");
    out.finish()
}

fn write_basic_auth(userinfo: &str, out: &mut Out<'_>) -> Result<(), Full> {
    let mut plain = [0; MAX_USERINFO_BYTES];
    let mut coded = [0; MAX_USERINFO_BYTES.div_ceil(3) * 4];
    let plain = percent_decode(userinfo, &mut plain).ok_or(Full)?;
    let coded = coded
        .get_mut(..BASE64.encode_len(plain.len()))
        .ok_or(Full)?;
    BASE64.encode_mut(plain.as_bytes(), coded);
    out.str("Authorization: Basic ");
    out.bytes(coded);
    out.str("\r\n");
    Ok(())
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
    /// Not HTTP, or a head above [`MAX_HEAD_BYTES`].
    Bad(Malformed),
}

impl<'a> ResponseHead<'a> {
    /// Reads a head from the bytes received so far; knows `ICY 200 OK` of old shoutcast servers, and skips 1xx answers.
    pub fn parse(buf: &'a [u8]) -> ParsedResponse<'a> {
        let window = buf.get(..MAX_HEAD_BYTES).unwrap_or(buf);
        let mut begin = 0;
        loop {
            let rest = window.get(begin..).unwrap_or(&[]);
            match parse_one(rest) {
                Ok(Some((head, head_bytes))) if matches!(head.status, 100..200) => {
                    begin += head_bytes
                }
                Ok(Some((head, head_bytes))) => {
                    return ParsedResponse::Complete {
                        head,
                        head_bytes: begin + head_bytes,
                    };
                }
                Ok(None) if window.len() < MAX_HEAD_BYTES => return ParsedResponse::Incomplete,
                Ok(None) => return ParsedResponse::Bad(Malformed::Long),
                Err(why) => return ParsedResponse::Bad(why),
            }
        }
    }

    fn new(status: u16, headers: &[Header<'a>]) -> Result<Self, Malformed> {
        let framing = header::framing(headers).map_err(|_| Malformed::Field)?;
        let mut head = Self {
            status,
            content_type: None,
            location: None,
            icy_metaint: 0,
            name: None,
            genre: None,
            url: None,
            bitrate_bps: None,
            body: framing.unwrap_or(Framing::UntilClose),
        };
        headers.iter().for_each(|header| head.read(header));
        Ok(head)
    }

    fn read(&mut self, header: &Header<'a>) {
        let Some(value) = header::text(header) else {
            return;
        };
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-type") {
            self.content_type = Some(value);
        } else if is("location") {
            self.location = Some(value);
        } else if is("icy-metaint") {
            self.icy_metaint = value.parse().unwrap_or(0);
        } else if is("icy-name") || is("ice-name") {
            self.name = Some(value);
        } else if is("icy-genre") || is("ice-genre") {
            self.genre = Some(value);
        } else if is("icy-url") || is("ice-url") {
            self.url = Some(value);
        } else if is("icy-br") || is("ice-bitrate") {
            self.bitrate_bps = header::bitrate_bps(value).or(self.bitrate_bps);
        }
    }
}

/// A head and its length; `None` if more bytes are needed.
fn parse_one(bytes: &[u8]) -> Result<Option<(ResponseHead<'_>, usize)>, Malformed> {
    if bytes.starts_with(b"ICY ") {
        return parse_icy(bytes);
    }
    if b"ICY ".starts_with(bytes) {
        return Ok(None);
    }
    let mut parser = httparse::ParserConfig::default();
    parser.allow_spaces_after_header_name_in_responses(true);
    parser.allow_obsolete_multiline_headers_in_responses(true);
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    match parser.parse_response(&mut head, bytes).map_err(blame)? {
        Status::Partial => Ok(None),
        Status::Complete(len) => Ok(Some((
            ResponseHead::new(head.code.unwrap_or(0), head.headers)?,
            len,
        ))),
    }
}

/// `ICY 200 OK` and headers.
fn parse_icy(bytes: &[u8]) -> Result<Option<(ResponseHead<'_>, usize)>, Malformed> {
    let Some(line_end) = bytes.iter().position(|&b| b == b'\n') else {
        return Ok(None);
    };
    let (line, rest) = bytes.split_at(line_end + 1);
    let status = line
        .get(4..7)
        .and_then(|digits| core::str::from_utf8(digits).ok());
    let status = status
        .and_then(|digits| digits.parse().ok())
        .ok_or(Malformed::Field)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(rest, &mut headers).map_err(blame)? {
        Status::Partial => Ok(None),
        Status::Complete((len, headers)) => Ok(Some((
            ResponseHead::new(status, headers)?,
            line_end + 1 + len,
        ))),
    }
}

fn blame(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::Long,
        httparse::Error::Version => Malformed::Version,
        _ => Malformed::Field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn get(url: &str) -> String {
        let mut out = [0; 1_024];
        let len = write_get(&HttpUrl::parse(url).unwrap(), "0.1.0", &mut out).unwrap();
        core::str::from_utf8(&out[..len]).unwrap().to_string()
    }

    #[test]
    fn a_request_for_a_stream() {
        assert_eq!(
            get("http://radio.example:8000/live.mp3?x=1#t"),
            "GET /live.mp3?x=1 HTTP/1.1\r\nHost: radio.example:8000\r\nUser-Agent: weir/0.1.0\r\n\
             Accept: */*\r\nIcy-MetaData: 1\r\nConnection: close\r\n\r\n"
        );
        // "Aladdin:open sesame" is the example of RFC 7617 section 2.
        let text = get("HTTP://Aladdin:open%20sesame@[2001:db8::1]");
        assert!(
            text.starts_with("GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"),
            "{text}"
        );
    }

    #[test]
    fn urls_that_are_refused() {
        assert_eq!(HttpUrl::parse("https://a/"), Err(Malformed::Kind));
        for bad in [
            "http://",
            "http://:80/",
            "http://a:b/",
            "http://a:65536/",
            "http://[::1/",
            "http://[x]/",
            "http://::1/",
        ] {
            assert_eq!(HttpUrl::parse(bad), Err(Malformed::Field), "{bad}");
        }
        for bad in ["http://a/ b", "http://a/\r\nX: y", "http://a\u{e9}/"] {
            assert_eq!(HttpUrl::parse(bad), Err(Malformed::Field), "{bad}");
        }
    }

    #[test]
    fn redirects_mean_what_the_standard_says() {
        let base = HttpUrl::parse("http://u:p@a:8000/b/c?d").unwrap();
        for (location, url) in [
            ("http://x/y", "http://x/y"),
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/y?u=http://z", "http://u:p@a:8000/y?u=http://z"),
            ("y", "http://u:p@a:8000/b/y"),
            ("?z", "http://u:p@a:8000/b/c?z"),
        ] {
            let mut out = [0; 64];
            assert_eq!(base.redirect(location, &mut out), Ok(url));
        }
        assert_eq!(base.redirect("/long", &mut [0; 8]), Err(Full));
    }

    const ICECAST: &str = "HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-br:128\r\nice-audio-info: bitrate=128\r\n\
        icy-name:Station\r\nicy-genre: Jazz\r\nicy-url: http://s\r\nicy-metaint:16000\r\n\r\nAB";

    fn parse(text: &str) -> (ResponseHead<'_>, usize) {
        match ResponseHead::parse(text.as_bytes()) {
            ParsedResponse::Complete { head, head_bytes } => (head, head_bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn servers_old_and_new_are_understood_cut_anywhere() {
        let shoutcast = ICECAST.replace("HTTP/1.0 200 OK", "ICY 200 OK");
        let continued = std::format!("HTTP/1.1 100 Continue\r\n\r\n{ICECAST}");
        for text in [ICECAST, &shoutcast, &continued] {
            for cut in 0..text.len() - 2 {
                let parsed = ResponseHead::parse(&text.as_bytes()[..cut]);
                assert!(
                    matches!(parsed, ParsedResponse::Incomplete),
                    "{cut} of {text}: {parsed:?}"
                );
            }
            let (head, head_bytes) = parse(text);
            assert_eq!(head_bytes, text.len() - 2);
            assert_eq!(
                (head.status, head.icy_metaint, head.bitrate_bps),
                (200, 16_000, Some(128_000))
            );
            assert_eq!(
                (head.content_type, head.name),
                (Some("audio/mpeg"), Some("Station"))
            );
            assert_eq!(
                (head.genre, head.url, head.body),
                (Some("Jazz"), Some("http://s"), Framing::UntilClose)
            );
        }
        let (head, _) = parse("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            (head.status, head.location, head.body),
            (302, Some("/x"), Framing::Length(0))
        );
        let (head, _) = parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(head.body, Framing::Chunked);
    }

    #[test]
    fn hostile_bytes_are_refused_never_fatal() {
        let long = std::format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(MAX_HEAD_BYTES));
        assert!(matches!(
            ResponseHead::parse(long.as_bytes()),
            ParsedResponse::Bad(Malformed::Long)
        ));
        assert!(matches!(
            ResponseHead::parse(b"SSH-2.0-x\r\n"),
            ParsedResponse::Bad(_)
        ));
        assert!(matches!(
            ResponseHead::parse(b"ICY x\r\n\r\n"),
            ParsedResponse::Bad(_)
        ));
        let mut rng = Rng::new(8);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = ICECAST.bytes().collect();
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            if let ParsedResponse::Complete { head_bytes, .. } = ResponseHead::parse(&bytes) {
                assert!(head_bytes <= bytes.len());
            }
            let text = String::from_utf8_lossy(&bytes);
            let _ = HttpUrl::parse(&text);
            let _ = HttpUrl::parse(&std::format!("http://{}", crate::http::out::cut(&text, 20)));
        }
    }
}
