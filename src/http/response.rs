//! Heads of our answers, and short answers whole.

use crate::error::Full;
use crate::http::out::{Out, cut};
use crate::http::page::CONTENT_SECURITY_POLICY;
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
    /// `icy-genre`; as the name.
    pub genre: &'a str,
    /// `icy-url`; as the name.
    pub url: &'a str,
    /// `icy-br`, from bits per second; left out if 0.
    pub bitrate_bps: u64,
    /// `icy-metaint`: set if the body goes through an [`IcyInterleaver`](crate::http::icy::IcyInterleaver).
    pub icy_metaint: Option<u32>,
    /// `X-Weir-Ago-Ms`: how far in the past the media begins, for a player that asked for that.
    pub ago_ms: Option<u64>,
    /// Chunked transfer coding; else until close. Never for HTTP/1.0.
    pub chunked: bool,
}

/// Most bytes of a text in an `icy-*` header.
const MAX_ICY_TEXT_BYTES: usize = 255;

/// Said with every answer: do not guess another type, do not keep it.
const ALWAYS: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// The head of a live stream's answer; returns its length.
pub fn live(version: Version, live: &Live<'_>, out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Out::new(out);
    status_line(&mut out, version, 200);
    out.fmt(format_args!(
        "Content-Type: {}\r\n",
        media_type(live.content_type)
    ));
    out.str("Connection: close\r\nAccept-Ranges: none\r\n");
    if live.chunked && version == Version::Http11 {
        out.str("Transfer-Encoding: chunked\r\n");
    }
    out.str(ALWAYS);
    for (header, text) in [
        ("icy-name: ", live.name),
        ("icy-genre: ", live.genre),
        ("icy-url: ", live.url),
    ] {
        if !text.is_empty() {
            out.str(header);
            header_text(&mut out, text);
            out.str("\r\n");
        }
    }
    if live.bitrate_bps > 0 {
        out.fmt(format_args!(
            "icy-br: {}\r\n",
            live.bitrate_bps.div_ceil(1_000)
        ));
    }
    if let Some(metaint) = live.icy_metaint {
        out.fmt(format_args!("icy-metaint: {metaint}\r\n"));
    }
    if let Some(ago_ms) = live.ago_ms {
        out.fmt(format_args!("X-Weir-Ago-Ms: {ago_ms}\r\n"));
    }
    out.str("\r\n");
    out.finish()
}

/// The head of a document's answer, status 200; `keep_alive` says whether we will read another request after it. A body until
/// close is never followed by one.
pub fn document(
    version: Version,
    content_type: &str,
    body: Framing,
    keep_alive: bool,
    out: &mut [u8],
) -> Result<usize, Full> {
    let mut out = Out::new(out);
    status_line(&mut out, version, 200);
    out.fmt(format_args!("Content-Type: {content_type}\r\n"));
    match body {
        Framing::Length(bytes) => out.fmt(format_args!("Content-Length: {bytes}\r\n")),
        Framing::Chunked => out.str("Transfer-Encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    let keep_alive = keep_alive && body != Framing::UntilClose;
    out.str(if keep_alive {
        "Connection: keep-alive\r\n"
    } else {
        "Connection: close\r\n"
    });
    out.str(ALWAYS);
    if content_type.starts_with("text/html") {
        out.fmt(format_args!(
            "Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\nReferrer-Policy: same-origin\r\n"
        ));
    }
    out.str("\r\n");
    out.finish()
}

/// A whole short answer, body included unless `method` is HEAD, after which we close. Knows the headers that 303 (to the page),
/// 401, 405 and 503 need. `text` is one line; a newline is added.
pub fn short(method: Method, status: u16, text: &str, out: &mut [u8]) -> Result<usize, Full> {
    let mut out = Out::new(out);
    status_line(&mut out, Version::Http11, status);
    out.str("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n");
    out.fmt(format_args!("Content-Length: {}\r\n", text.len() + 1));
    out.str(ALWAYS);
    out.str(match status {
        401 => "WWW-Authenticate: Basic realm=\"weir\", charset=\"UTF-8\"\r\n",
        405 => "Allow: GET, HEAD\r\n",
        303 => "Location: /\r\n",
        503 => "Retry-After: 5\r\n",
        _ => "",
    });
    out.str("\r\n");
    if method != Method::Head {
        out.fmt(format_args!("{text}\n"));
    }
    out.finish()
}

/// What a broadcaster is sent when its push is accepted, before its first byte of media. A client that expects 100 waits for it
/// (libshout, ffmpeg); others expect the 200 that Icecast sends at once, and never another.
pub const fn push_accepted(expects_continue: bool) -> &'static [u8] {
    if expects_continue {
        CONTINUE
    } else {
        b"HTTP/1.0 200 OK\r\n\r\n"
    }
}

fn status_line(out: &mut Out<'_>, version: Version, status: u16) {
    let minor = if version == Version::Http10 { 0 } else { 1 };
    out.fmt(format_args!(
        "HTTP/1.{minor} {status} {}\r\n",
        reason(status)
    ));
}

/// A text from outside as a header's value: no control characters, and not too long.
fn header_text(out: &mut Out<'_>, text: &str) {
    cut(text, MAX_ICY_TEXT_BYTES)
        .split(char::is_control)
        .for_each(|part| out.str(part));
}

/// A stream's media type if it is one that a browser plays or saves. A broadcaster that calls its stream `text/html` must not
/// run its script on our page's origin.
pub fn media_type(content_type: &str) -> &str {
    const PLAIN: &str = "application/octet-stream";
    const APPLICATION: [&str; 3] = [
        "application/ogg",
        "application/vnd.ms-asf",
        "application/x-mms-framed",
    ];
    let sane =
        content_type.len() <= 127 && content_type.bytes().all(|b| (b' '..=b'~').contains(&b));
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let is_media = essence.starts_with("audio/")
        || essence.starts_with("video/")
        || APPLICATION.contains(&essence);
    if sane && is_media && !essence.ends_with("xml") {
        content_type
    } else {
        PLAIN
    }
}

/// The words for a status.
pub const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, Full>) -> String {
        let mut out = [0; MAX_RESPONSE_HEAD_BYTES];
        let len = write(&mut out).unwrap();
        core::str::from_utf8(&out[..len]).unwrap().to_string()
    }

    /// Parses with an independent parser; returns the status and the value of `name`.
    fn field(text: &str, name: &str) -> (u16, Option<String>) {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        assert!(head.parse(text.as_bytes()).unwrap().is_complete());
        let header = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        (
            head.code.unwrap(),
            header.map(|header| core::str::from_utf8(header.value).unwrap().to_string()),
        )
    }

    #[test]
    fn a_live_head() {
        let what = Live {
            content_type: "audio/mpeg",
            name: "Caf\u{e9}\r\nX-Evil: 1",
            genre: "jazz",
            url: "",
            bitrate_bps: 128_000,
            icy_metaint: Some(16_000),
            ago_ms: None,
            chunked: true,
        };
        let text = written(|out| live(Version::Http11, &what, out));
        assert_eq!(field(&text, "icy-name").1.unwrap(), "Caf\u{e9}X-Evil: 1");
        assert_eq!(field(&text, "icy-genre").1.unwrap(), "jazz");
        assert_eq!(field(&text, "icy-url").1, None);
        assert_eq!(field(&text, "x-evil"), (200, None));
        assert_eq!(field(&text, "icy-br").1.unwrap(), "128");
        assert_eq!(field(&text, "icy-metaint").1.unwrap(), "16000");
        assert_eq!(field(&text, "transfer-encoding").1.unwrap(), "chunked");
        let text = written(|out| live(Version::Http10, &what, out));
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n"));
        assert_eq!(field(&text, "transfer-encoding").1, None);
    }

    #[test]
    fn the_longest_live_head_fits() {
        let what = Live {
            content_type: &std::format!("audio/{}", "x".repeat(121)),
            name: &"\u{266b}".repeat(500),
            genre: &"\u{266b}".repeat(500),
            url: &"x".repeat(500),
            bitrate_bps: u64::MAX,
            icy_metaint: Some(u32::MAX),
            ago_ms: None,
            chunked: true,
        };
        assert!(written(|out| live(Version::Http11, &what, out)).len() < MAX_RESPONSE_HEAD_BYTES);
    }

    #[test]
    fn a_stream_cannot_be_a_page() {
        for bad in [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "audio/x\r\nX: y",
            "",
            "TEXT/HTML",
            "audio/x+xml",
            "audio/x+xml;a",
        ] {
            assert_eq!(media_type(bad), "application/octet-stream", "{bad}");
        }
        for good in [
            "audio/mpeg",
            "video/mp2t",
            "application/ogg",
            "audio/ogg; codecs=opus",
        ] {
            assert_eq!(media_type(good), good);
        }
    }

    #[test]
    fn documents_and_short_answers() {
        let text = written(|out| {
            document(
                Version::Http11,
                "text/html; charset=utf-8",
                Framing::Chunked,
                true,
                out,
            )
        });
        assert!(
            field(&text, "content-security-policy")
                .1
                .unwrap()
                .contains("default-src 'none'")
        );
        assert_eq!(field(&text, "connection").1.unwrap(), "keep-alive");
        let text = written(|out| {
            document(
                Version::Http10,
                "application/json",
                Framing::UntilClose,
                true,
                out,
            )
        });
        assert_eq!(field(&text, "connection").1.unwrap(), "close");
        for (status, name) in [
            (401, "www-authenticate"),
            (405, "allow"),
            (503, "retry-after"),
        ] {
            let text = written(|out| short(Method::Get, status, reason(status), out));
            assert!(field(&text, name).1.is_some(), "{status}");
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert_eq!(
                field(&text, "content-length"),
                (status, Some(body.len().to_string()))
            );
            let only_head = written(|out| short(Method::Head, status, reason(status), out));
            assert_eq!(only_head, std::format!("{head}\r\n\r\n"));
        }
        assert_eq!(short(Method::Get, 404, "no", &mut [0; 40]), Err(Full));
    }
}
