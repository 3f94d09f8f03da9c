//! Readers of single values, whose errors say what would be right; `settings` adds where the value was given.

use super::units::{self, Rate, Time};
use crate::proto::bucket::MIN_LIMIT_BPS;
use crate::time::Span;
use std::format;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::string::String;

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
