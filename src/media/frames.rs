//! What MPEG audio and ADTS have in common: frames that say their own length, one behind the other, with tags between.

use super::fields::{tail, u32_le};
use super::metadata::{id3v2_len, may_be_id3v2};

/// Frames in a row that make a beginning believable when it is not at the first byte.
const RHYTHM_FRAMES: usize = 3;

/// Bytes of an ID3v1 tag, and of an APEv2 tag's header or footer.
const ID3V1_BYTES: u64 = 128;
const APE_HEADER_BYTES: usize = 32;

/// Bytes of an ID3v2 tag in mid-stream that are waited for to read what is playing.
const TAG_LOOK_BYTES: u64 = 4_096;

/// No frame header is longer than this.
const MAX_HEADER_BYTES: usize = 7;

/// A frame's header.
pub(super) trait Header: Copy {
    /// Reads the header in front.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Bytes of the whole frame, at least the header's.
    fn len(&self) -> usize;
    /// Whether another frame can belong to the same stream.
    fn goes_with(&self, other: &Self) -> bool;
}

/// What is in front.
pub(super) enum Front<H> {
    /// More bytes are needed to tell.
    Unclear,
    /// A tag of so many bytes.
    Tag(u64),
    /// A frame, whole.
    Frame(H),
    /// So many bytes that are neither.
    Junk(usize),
}

/// Tells what is in front. A frame is believed when it goes with the last one, or when another stands behind it.
pub(super) fn front<H: Header>(last: Option<H>, window: &[u8], ended: bool) -> Front<H> {
    if window.len() < MAX_HEADER_BYTES || may_be_id3v2(window) {
        return Front::Unclear;
    }
    if let Some(len) = tag_len(window) {
        let seen = window.len() as u64 >= len.min(TAG_LOOK_BYTES) || ended;
        return if seen {
            Front::Tag(len)
        } else {
            Front::Unclear
        };
    }
    if window.len() < APE_HEADER_BYTES && window.starts_with(b"APETAG") {
        return Front::Unclear;
    }
    match H::read(window) {
        Some(header) if window.len() < header.len() => Front::Unclear,
        Some(header) if last.is_some_and(|last| last.goes_with(&header)) => Front::Frame(header),
        Some(header) => match tail(window, header.len()) {
            next if is_followed_by(&header, next) => Front::Frame(header),
            next if next.len() < MAX_HEADER_BYTES => {
                if ended {
                    Front::Frame(header)
                } else {
                    Front::Unclear
                }
            }
            _ => junk::<H>(window),
        },
        None => junk::<H>(window),
    }
}

/// The first position at which frames follow one another.
pub(super) fn find_rhythm<H: Header>(bytes: &[u8], ended: bool) -> Option<usize> {
    (0..bytes.len())
        .find(|&at| in_a_row::<H>(bytes, at, if at == 0 { 2 } else { RHYTHM_FRAMES }, ended))
}

/// Bits per second of so many bytes in such a time.
pub(super) fn average_bps(bytes: u64, time_us: u64) -> Option<u32> {
    u32::try_from(bytes.checked_mul(8_000_000)?.checked_div(time_us)?).ok()
}

fn in_a_row<H: Header>(bytes: &[u8], at: usize, wanted: usize, ended: bool) -> bool {
    let Some(first) = H::read(tail(bytes, at)) else {
        return false;
    };
    let mut next = at + first.len();
    for _ in 1..wanted {
        match H::read(tail(bytes, next)) {
            Some(header) if header.goes_with(&first) => next += header.len(),
            // The very last frame has nothing behind it.
            _ => return ended && next == bytes.len(),
        }
    }
    true
}

fn is_followed_by<H: Header>(header: &H, next: &[u8]) -> bool {
    H::read(next).is_some_and(|next| next.goes_with(header)) || tag_len(next).is_some()
}

/// Junk up to the next place that looks like a frame with another behind it, or that is too near the end to tell.
fn junk<H: Header>(window: &[u8]) -> Front<H> {
    let looks_good = |&at: &usize| {
        let rest = tail(window, at);
        let near_the_end = rest.len() < MAX_HEADER_BYTES;
        near_the_end
            || tag_len(rest).is_some()
            || H::read(rest).is_some_and(|first| {
                let next = tail(rest, first.len());
                next.len() < MAX_HEADER_BYTES || is_followed_by(&first, next)
            })
    };
    Front::Junk((1..window.len()).find(looks_good).unwrap_or(window.len()))
}

/// Bytes of a tag that is no audio (ID3v2, ID3v1, APEv2) in front; `None` when there is none.
fn tag_len(window: &[u8]) -> Option<u64> {
    if window.starts_with(b"TAG") {
        return Some(ID3V1_BYTES);
    }
    if window.starts_with(b"APETAGEX") {
        // A header says how long items and footer are; a footer comes after them.
        let is_header = u32_le(window, 20)? & 1 << 29 != 0;
        let body = if is_header { u32_le(window, 12)? } else { 0 };
        return Some(APE_HEADER_BYTES as u64 + u64::from(body));
    }
    id3v2_len(window)
}
