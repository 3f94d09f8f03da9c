//! What a source sends, and how.

use super::config::missing;
use super::failure::Failure;
use super::settings::Settings;
use super::units::{self, Rate, Time};
use super::values::{count, path, span_between};
use crate::limits::{MAX_K, MAX_N};
use crate::time::Span;
use std::fmt;
use std::format;
use std::path::PathBuf;
use std::string::{String, ToString};

/// What a source sends, and how.
#[derive(Clone, PartialEq, Debug)]
pub struct Broadcast {
    /// The stream's key file.
    pub key: PathBuf,
    /// Where the media comes from.
    pub input: String,
    /// Begin the file again at its end.
    pub repeat: bool,
    /// The stream's title; may be empty.
    pub name: String,
    /// The kind of programme; may be empty.
    pub genre: String,
    /// The programme's own page; may be empty.
    pub url: String,
    /// What listeners are told about how it is made or paid for; may be empty.
    pub disclosure: String,
    /// The media type; nothing means found out from the bytes.
    pub content_type: Option<String>,
    /// Bits per second of the media; nothing means measured.
    pub bitrate_bps: Option<u32>,
    /// Data chunks in a block: 2, 4, 8 or 16; nothing means it follows the bit rate.
    pub k: Option<u8>,
    /// Parity chunks in a block; nothing means it follows K.
    pub m: Option<u8>,
    /// How long blocks are collected under one seal; nothing means it follows the bit rate.
    pub group: Option<Span>,
}

impl Broadcast {
    /// As it is set, or what is missing.
    pub fn read(given: &Settings) -> Result<Self, Failure> {
        let key = given
            .one("key", path)?
            .ok_or_else(|| missing("--key", "weir keygen --out stream.key makes one"))?;
        let input = given
            .one("input", |text| Ok(text.to_string()))?
            .filter(|input| !input.is_empty())
            .ok_or_else(|| missing("--input", "write -, a file, or a URL, for example show.mp3"))?;
        let repeat = given.origin("repeat");
        if let Some(origin) = repeat
            && (input == "-" || input.contains("://") && !input.starts_with("file://"))
        {
            let what = format!("only a file can be played again, and {input:?} is none");
            return Err(Failure::usage(origin, what));
        }
        let k = given.one("k", block_k)?;
        // The lengths a descriptor has room for.
        let text = |name, most| Ok(given.one(name, line(most))?.unwrap_or_default());
        Ok(Self {
            key,
            input,
            repeat: repeat.is_some(),
            name: text("name", 128)?,
            genre: text("genre", 64)?,
            url: text("url", 128)?,
            disclosure: text("disclosure", 256)?,
            content_type: given.one("content-type", content_type)?,
            bitrate_bps: given.one("bitrate", bitrate)?,
            k,
            m: given
                .one("m", count(1, (MAX_N - usize::from(k.unwrap_or(2))) as u16))?
                .map(|m| m as u8),
            group: given.one("group", span_between(Span::from_ms(50), Span::from_s(2)))?,
        })
    }

    /// Every value under its key; no secret is among them.
    pub fn rows(&self, row: &mut dyn FnMut(&str, &dyn fmt::Display) -> fmt::Result) -> fmt::Result {
        row("key", &self.key.display())?;
        row("input", &hidden(&self.input))?;
        row("repeat", &self.repeat)?;
        for (key, text) in [
            ("name", &self.name),
            ("genre", &self.genre),
            ("url", &self.url),
            ("disclosure", &self.disclosure),
        ] {
            row(key, &or_none(text))?;
        }
        row("content-type", &or_found_out(self.content_type.as_ref()))?;
        row(
            "bitrate",
            &or_found_out(self.bitrate_bps.map(|bps| Rate(bps.into()))),
        )?;
        row("k", &or_found_out(self.k))?;
        row("m", &or_found_out(self.m))?;
        row("group", &or_found_out(self.group.map(Time)))
    }
}

/// What was not given follows from the media.
fn or_found_out(value: Option<impl fmt::Display>) -> String {
    value.map_or(String::from("follows from the input"), |value| {
        value.to_string()
    })
}

/// An input without the user and password in its address.
fn hidden(input: &str) -> String {
    match input.split_once("://").zip(input.rsplit_once('@')) {
        Some(((scheme, _), (_, place))) => format!("{scheme}://...@{place}"),
        None => input.to_string(),
    }
}

fn or_none(text: &str) -> &str {
    match text {
        "" => "none",
        text => text,
    }
}

/// Bits per second of a programme.
fn bitrate(text: &str) -> Result<u32, String> {
    match units::parse_rate(text)? {
        bps @ 1_000..=100_000_000 => Ok(bps as u32),
        _ => Err(format!(
            "{text:?} is out of range; write a rate from 1kbit to 100Mbit"
        )),
    }
}

/// Data chunks in a block.
fn block_k(text: &str) -> Result<u8, String> {
    let k = text.parse().ok();
    k.filter(|k| [2, 4, 8, MAX_K as u8].contains(k))
        .ok_or_else(|| format!("{text:?} is not 2, 4, 8 or {MAX_K}"))
}

/// Text on one line, of at most `most` bytes.
fn line(most: usize) -> impl Fn(&str) -> Result<String, String> {
    move |text| match text {
        text if text.chars().any(char::is_control) => Err(format!(
            "{text:?} has a control character; write one line of text"
        )),
        text if text.len() > most => Err(format!("is {} bytes long; at most {most}", text.len())),
        text => Ok(text.to_string()),
    }
}

/// A media type as HTTP carries it (RFC 9110 section 8.3.1): it goes into a response header, so nothing else may.
fn content_type(text: &str) -> Result<String, String> {
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
