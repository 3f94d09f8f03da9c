//! The one question a container parser answers: what are the bytes in front of me?

use super::metadata::NowPlaying;
use super::preamble::Preamble;
use super::scanner::{Container, Start};

/// What a parser says about the front of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It cannot be told from so few bytes. A parser says so only below [`super::MAX_HELD_BYTES`].
    Need,
    /// A unit of the container. The parser sees the window again when all of it has gone out.
    Unit(Unit),
    /// So many bytes that make no sense; they pass through, and too many of them in a row end the parsing.
    Junk(usize),
    /// So many bytes that only carried the media here, and do not go out.
    Drop(usize),
    /// The first bytes of the input are those of this container.
    Recognised(Container),
    /// The media cannot be followed from here on, and why.
    Hopeless(&'static str),
}

/// A run of bytes that belong together: a page, a frame, a packet, a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unit {
    /// What its first byte is.
    pub start: Start,
    /// Bytes; more than the window holds is allowed, the rest follows as it comes.
    pub len: u64,
    /// The container's own time at its first byte, in microseconds; it may jump, the scanner smooths it.
    pub time_us: Option<u64>,
}

impl Step {
    /// A unit of `len` bytes.
    pub(super) fn unit(start: Start, len: usize, time_us: Option<u64>) -> Self {
        Self::Unit(Unit {
            start,
            len: len as u64,
            time_us,
        })
    }

    /// Bytes that belong to the stream but begin nothing, however many.
    pub(super) fn pass(len: u64) -> Self {
        Self::Unit(Unit {
            start: Start::Continue,
            len,
            time_us: None,
        })
    }
}

/// What a parser has found out so far.
pub(super) struct Findings {
    /// What a player needs before any sync point.
    pub preamble: Preamble,
    /// Artist and title.
    pub now_playing: NowPlaying,
    /// The content type, empty when not known.
    pub content_type: &'static str,
    /// The bit rate the container claims.
    pub bitrate_bps: Option<u32>,
}

impl Findings {
    pub(super) const fn new() -> Self {
        Self {
            preamble: Preamble::new(),
            now_playing: NowPlaying::new(),
            content_type: "",
            bitrate_bps: None,
        }
    }
}
