//! Reading header fields, for both directions.

use crate::http::request::Framing;
use httparse::Header;

/// Why the framing of a body is refused, as a status.
pub(crate) type BadFraming = u16;

/// A field's value as trimmed text; `None` if it is not UTF-8.
pub(crate) fn text<'a>(header: &Header<'a>) -> Option<&'a str> {
    core::str::from_utf8(header.value).ok().map(str::trim)
}

/// Whether a comma-separated list names `token`; parameters after a semicolon are not looked at.
pub(crate) fn names(list: &str, token: &str) -> bool {
    list.split(',')
        .filter_map(|item| item.split(';').next())
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The digits that a text begins with, as a number; `None` if there are none or too many.
pub(crate) fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start();
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.get(..end)?.parse().ok()
}

/// A bit rate given in kbit/s, as `icy-br: 128` or `ice-bitrate: 128,128`, in bits per second; `None` if 0 or absurd.
pub(crate) fn bitrate_bps(kbit_s: &str) -> Option<u64> {
    match leading_number(kbit_s)? {
        kbit_s @ 1..=1_000_000 => Some(kbit_s * 1_000),
        _ => None,
    }
}

/// How the length of a body is known, from `Transfer-Encoding` and `Content-Length` (RFC 9112 section 6.3); `None` if neither
/// is there. Two answers to that question are refused: that is how requests are smuggled.
pub(crate) fn framing(headers: &[Header<'_>]) -> Result<Option<Framing>, BadFraming> {
    let mut found = None;
    for header in headers {
        let this = if header.name.eq_ignore_ascii_case("transfer-encoding") {
            match text(header) {
                Some(coding) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
                Some(coding) if coding.eq_ignore_ascii_case("identity") => continue,
                _ => return Err(501),
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            Framing::Length(length(header.value).ok_or(400u16)?)
        } else {
            continue;
        };
        if found.is_some_and(|found| found != this) {
            return Err(400);
        }
        found = Some(this);
    }
    Ok(found)
}

/// Digits only: no sign, no list.
fn length(value: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(value).ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
