//! Which container it is, from its first bytes.

use super::metadata::{id3v2_len, may_be_id3v2};
use super::scanner::Container;
use super::step::{Findings, Step};
use super::{aac, frames, mp3, mpegts};

/// After so many bytes without a known beginning the input is taken as raw.
const MAX_LOOK_BYTES: usize = 12 * 1024;

/// No magic number is longer.
const LONGEST_MAGIC_BYTES: usize = 16;

/// Magic numbers at the first byte: RFC 3533, RFC 9639, RFC 8794, and the ASF header object's GUID.
const MAGIC: [(&[u8], Container); 4] = [
    (b"OggS", Container::Ogg),
    (b"fLaC", Container::Flac),
    (&[0x1a, 0x45, 0xdf, 0xa3], Container::Matroska),
    (
        &[
            0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62,
            0xce, 0x6c,
        ],
        Container::Asf,
    ),
];

/// Types of boxes an ISO base media file may begin with (ISO/IEC 14496-12).
const BOXES: [&[u8; 4]; 10] = [
    b"ftyp", b"styp", b"moov", b"moof", b"sidx", b"prft", b"emsg", b"mdat", b"free", b"wide",
];

/// Says what the input is, passes an ID3v2 tag in front of it, or asks for more.
pub(super) fn step(window: &[u8], ended: bool, found: &mut Findings) -> Step {
    if let Some(len) = id3v2_len(window) {
        if (window.len() as u64) < len.min(MAX_LOOK_BYTES as u64) && !ended {
            return Step::Need;
        }
        found.now_playing.read_id3v2(window);
        return Step::pass(len);
    }
    if !ended && (window.len() < LONGEST_MAGIC_BYTES || may_be_id3v2(window)) {
        return Step::Need;
    }
    if let Some(container) = by_magic(window) {
        return Step::Recognised(container);
    }
    if let Some(container) = by_rhythm(window, ended) {
        return Step::Recognised(container);
    }
    if ended || window.len() >= MAX_LOOK_BYTES {
        Step::Recognised(Container::Raw)
    } else {
        Step::Need
    }
}

fn by_magic(window: &[u8]) -> Option<Container> {
    if let Some(&(_, container)) = MAGIC.iter().find(|(magic, _)| window.starts_with(magic)) {
        return Some(container);
    }
    // The same in the frames of HTTP.
    if window.starts_with(b"$H") && window.get(12..16) == Some(&[0x30, 0x26, 0xb2, 0x75]) {
        return Some(Container::Asf);
    }
    let (first, kind) = (window.get(..4)?, window.get(4..8)?);
    if (first == b"RIFF" || first == b"RF64") && window.get(8..12) == Some(b"WAVE") {
        return Some(Container::Wav);
    }
    // Containers that are not followed, but whose audio inside might look like frames: AVI, FLV, MPEG program stream.
    if first == b"RIFF" || first.starts_with(b"FLV") || first == [0, 0, 1, 0xba] {
        return Some(Container::Raw);
    }
    BOXES
        .iter()
        .any(|name| name.as_slice() == kind)
        .then_some(Container::Mp4)
}

/// Streams without a magic number, which may also have been tuned into in the middle of a frame: three frames or
/// packets in a row tell them. Whatever has such a row earliest is it.
fn by_rhythm(window: &[u8], ended: bool) -> Option<Container> {
    let look = window.get(..MAX_LOOK_BYTES).unwrap_or(window);
    let page = super::fields::find(look, 0, b"OggS").map(|at| (at, Container::Ogg));
    let packet = mpegts::find_rhythm(look).map(|at| (at, Container::MpegTs));
    let mpeg = frames::find_rhythm::<mp3::Header>(look, ended).map(|at| (at, Container::Mp3));
    let adts = frames::find_rhythm::<aac::Header>(look, ended).map(|at| (at, Container::Aac));
    [page, packet, mpeg, adts]
        .into_iter()
        .flatten()
        .min_by_key(|&(at, _)| at)
        .map(|(_, container)| container)
}
