//! Readers of single values, whose errors say what would be right; `settings` adds where the value was given.

use super::units::{self, Rate, Time};
use crate::limits::MAX_K;
use crate::proto::bucket::MIN_LIMIT_BPS;
use crate::time::Span;
use std::format;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::string::{String, ToString};

/// An address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address; write ADDR:PORT, for example 0.0.0.0:8479")
    })
}

/// An address that somebody else could dial.
pub(super) fn dialable(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 {
        return Err(format!(
            "{text:?} cannot be dialled; write for example 192.0.2.1:8479"
        ));
    }
    Ok(address)
}

/// A path; only the empty one is wrong.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err(String::from("\"\" is not a file name")),
        text => Ok(PathBuf::from(text)),
    }
}

/// A number from `least` to `most`.
pub(super) fn count(least: u16, most: u16) -> impl Fn(&str) -> Result<u16, String> {
    move |text| {
        let number = text.parse().ok();
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("{text:?} is not a number from {least} to {most}"))
    }
}

/// A time from `least` to `most`.
pub(super) fn span_between(least: Span, most: Span) -> impl Fn(&str) -> Result<Span, String> {
    move |text| {
        let span = units::parse_span(text)?;
        match (least..=most).contains(&span) {
            true => Ok(span),
            false => Err(format!(
                "{text:?} is out of range; write a time from {} to {}",
                Time(least),
                Time(most)
            )),
        }
    }
}

/// Whether something is done where it can be.
pub(super) fn auto_or_off(text: &str) -> Result<bool, String> {
    match text {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither auto nor off")),
    }
}

/// Bits per second of a programme.
pub(super) fn bitrate(text: &str) -> Result<u32, String> {
    match units::parse_rate(text)? {
        bps @ 1_000..=100_000_000 => Ok(bps as u32),
        _ => Err(format!(
            "{text:?} is out of range; write a rate from 1kbit to 100Mbit"
        )),
    }
}

/// Bits per second sent at most: none, or enough for two datagrams a second.
pub(super) fn upload_limit(text: &str) -> Result<Option<u64>, String> {
    match units::parse_rate_limit(text)? {
        Some(bps) if bps > 0 && bps < MIN_LIMIT_BPS => Err(format!(
            "{text:?} is too little for anything; write 0, or {} and more",
            Rate(MIN_LIMIT_BPS)
        )),
        limit => Ok(limit),
    }
}

/// Data chunks in a block.
pub(super) fn block_k(text: &str) -> Result<u8, String> {
    let k = text.parse().ok();
    k.filter(|k| [2, 4, 8, MAX_K as u8].contains(k))
        .ok_or_else(|| format!("{text:?} is not 2, 4, 8 or {MAX_K}"))
}

/// Text on one line, of at most `most` bytes.
pub(super) fn line(most: usize) -> impl Fn(&str) -> Result<String, String> {
    move |text| match text {
        text if text.chars().any(char::is_control) => Err(format!(
            "{text:?} has a control character; write one line of text"
        )),
        text if text.len() > most => Err(format!("is {} bytes long; at most {most}", text.len())),
        text => Ok(text.to_string()),
    }
}

/// A media type as HTTP carries it (RFC 9110 section 8.3.1): it goes into a response header, so nothing else may.
pub(super) fn content_type(text: &str) -> Result<String, String> {
    let token = |part: &str| {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        !part.is_empty() && part.bytes().all(legal)
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let printable = parameters.bytes().all(|b| (b' '..=b'~').contains(&b));
    match essence.trim_end().split_once('/') {
        Some((kind, subtype)) if token(kind) && token(subtype) && printable && text.len() <= 64 => {
            Ok(text.to_string())
        }
        _ => Err(format!(
            "{text:?} is not a media type; write for example audio/mpeg"
        )),
    }
}
