//! Matroska and WebM (RFC 9559 over EBML, RFC 8794).
//!
//! The preamble is the EBML header, a segment of unknown size, the segment information without a duration, and the
//! tracks. A player begins at a cluster whose first video block is a key frame; without video at any cluster.

use super::fields::{find, tail, u8, u16_be};
use super::scanner::{MAX_HELD_BYTES, Start};
use super::step::{Findings, Step, Unit};

const EBML: u32 = 0x1a45_dfa3;
const DOC_TYPE: u32 = 0x4282;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const REFERENCE_BLOCK: u32 = 0xfb;

/// Elements that only pass, inside a cluster or beside it: Void, CRC-32, PrevSize, Position, SilentTracks,
/// EncryptedBlock, SeekHead, Tags, Cues, Chapters, Attachments.
const PASSING: [u32; 11] = [
    0xec,
    0xbf,
    0xab,
    0xa7,
    0x5854,
    0xaf,
    0x114d_9b74,
    0x1254_c367,
    0x1c53_bb6b,
    0x1043_a770,
    0x1941_a469,
];

/// A longer block is a broken length.
const MAX_BLOCK_BYTES: u64 = 16 * 1024 * 1024;

/// A segment whose end is not known.
const OPEN_SEGMENT: [u8; 12] = [
    0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];

/// Bytes of a cluster looked at for its first video block.
const CLUSTER_LOOK_BYTES: usize = 32 * 1024;

/// A longer group of blocks is not waited for.
const MAX_GROUP_BYTES: u64 = (MAX_HELD_BYTES - CLUSTER_LOOK_BYTES) as u64;

/// An element header.
#[derive(Clone, Copy)]
struct Element {
    id: u32,
    header: usize,
    /// Bytes of its body, `None` when it ends where the next of its kind begins.
    size: Option<u64>,
}

impl Element {
    /// Reads the header in front: `None` when it is not whole, `Some(None)` when it is none.
    fn read(bytes: &[u8]) -> Option<Option<Self>> {
        let id_len = u8(bytes, 0)?.leading_zeros() as usize + 1;
        if id_len > 4 {
            return Some(None);
        }
        let id = bytes
            .get(..id_len)?
            .iter()
            .fold(0, |id, &b| id << 8 | u32::from(b));
        let Some((value, size_len)) = vint(tail(bytes, id_len))? else {
            return Some(None);
        };
        let is_unknown = value == u64::MAX >> (64 - 7 * size_len);
        Some(Some(Self {
            id,
            header: id_len + size_len,
            size: (!is_unknown).then_some(value),
        }))
    }

    /// The whole length; of the header alone when the end is not known.
    fn len(&self) -> u64 {
        (self.header as u64).saturating_add(self.size.unwrap_or(0))
    }

    /// The whole element, if the window holds it.
    fn whole<'a>(&self, window: &'a [u8]) -> Option<&'a [u8]> {
        window.get(..usize::try_from(self.len()).ok()?)
    }
}

/// A number of variable length, 1 to 8 bytes, without its marker (RFC 8794, section 4).
fn vint(bytes: &[u8]) -> Option<Option<(u64, usize)>> {
    let first = u8(bytes, 0)?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Some(None);
    }
    let rest = bytes.get(1..len)?;
    // The marker is the highest bit that is set.
    let top = u64::from(first) & !(0x80 >> (len - 1));
    Some(Some((
        rest.iter().fold(top, |value, &b| value << 8 | u64::from(b)),
        len,
    )))
}

/// The elements directly inside, with where they begin; ends at what is not whole.
fn children(body: &[u8]) -> impl Iterator<Item = (Element, usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let begin = at;
        let element = Element::read(tail(body, begin))??;
        let whole = element.whole(tail(body, begin))?;
        at += whole.len();
        Some((element, begin, tail(whole, element.header)))
    })
}

fn child(body: &[u8], id: u32) -> Option<&[u8]> {
    children(body)
        .find(|(element, ..)| element.id == id)
        .map(|(_, _, body)| body)
}

/// An unsigned number of up to eight bytes.
fn uint(body: &[u8]) -> Option<u64> {
    (body.len() <= 8).then(|| body.iter().fold(0, |value, &b| value << 8 | u64::from(b)))
}

/// What a cluster begins with.
#[derive(Clone, Copy, Default)]
struct Opening {
    ticks: Option<u64>,
    is_key: bool,
}

/// What a block at the beginning of a cluster turns out to be.
enum Look {
    /// It takes more bytes to tell.
    More,
    /// It is of the stream that leads, and a key frame or not.
    Key(bool),
    NotVideo,
}

/// Follows elements; segments and clusters are entered, all others are taken or passed whole.
pub(super) struct Matroska {
    ticks_ns: u64,
    video_track: Option<u64>,
    /// The tracks are known, so the preamble is whole.
    ready: bool,
    is_webm: bool,
    cluster_ticks: u64,
    /// The cluster's end is not known, so it may end behind any block.
    cluster_is_open: bool,
    /// Bytes of the cluster still to come.
    cluster_left: Option<u64>,
}

impl Matroska {
    pub(super) const fn new() -> Self {
        Self {
            ticks_ns: 1_000_000,
            video_track: None,
            ready: false,
            is_webm: false,
            cluster_ticks: 0,
            cluster_is_open: false,
            cluster_left: None,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        let step = self.look(window, ended, found);
        if let Step::Unit(unit) = step {
            let left = self.cluster_left.map(|left| left.saturating_sub(unit.len));
            self.cluster_left = left.filter(|left| *left > 0);
        }
        step
    }

    fn look(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        let element = match Element::read(window) {
            None => return Step::Need,
            Some(None) => return resynchronise(window),
            Some(Some(element)) => element,
        };
        // A broken length must not hide what follows.
        let most = self.cluster_left.map(|left| left.min(MAX_BLOCK_BYTES));
        let is_bounded = matches!(element.id, TIMESTAMP | SIMPLE_BLOCK | BLOCK_GROUP)
            || PASSING.contains(&element.id);
        match element.id {
            _ if is_bounded && most.is_some_and(|most| element.len() > most) => {
                resynchronise(window)
            }
            EBML | INFO | TRACKS => match element.whole(window) {
                _ if element.size.is_none() => resynchronise(window),
                Some(whole) => self.header(element, whole, found),
                None if element.len() > MAX_HELD_BYTES as u64 => {
                    Step::Hopeless("Matroska header over 64 KiB")
                }
                None => Step::Need,
            },
            SEGMENT => match found.preamble.append(&OPEN_SEGMENT) {
                Ok(()) => Step::pass(element.header as u64),
                Err(_) => Step::Hopeless("Matroska header over 64 KiB"),
            },
            CLUSTER if !self.ready => Step::Hopeless("Matroska clusters before the tracks"),
            CLUSTER => match self.opening(window, element, ended) {
                None => Step::Need,
                Some(opening) => self.cluster(element, opening),
            },
            TIMESTAMP => match element.whole(window) {
                None if element.len() > 16 => resynchronise(window),
                None => Step::Need,
                Some(whole) => {
                    self.cluster_ticks =
                        uint(tail(whole, element.header)).unwrap_or(self.cluster_ticks);
                    Step::pass(element.len())
                }
            },
            SIMPLE_BLOCK | BLOCK_GROUP if element.len() <= MAX_BLOCK_BYTES => {
                self.block(element, window)
            }
            id if PASSING.contains(&id) && element.size.is_some() => Step::pass(element.len()),
            _ => resynchronise(window),
        }
    }

    fn header(&mut self, element: Element, whole: &[u8], found: &mut Findings) -> Step {
        let body = tail(whole, element.header);
        if element.id == EBML {
            *self = Self::new();
            self.is_webm = child(body, DOC_TYPE).is_some_and(|name| name.starts_with(b"webm"));
            found.preamble.clear();
        }
        let at = found.preamble.bytes().len();
        if found.preamble.append(whole).is_err() {
            return Step::Hopeless("Matroska header over 64 KiB");
        }
        match element.id {
            INFO => {
                self.ticks_ns = child(body, TIMESTAMP_SCALE)
                    .and_then(uint)
                    .unwrap_or(1_000_000);
                blank_duration(body, at + element.header, found);
            }
            TRACKS => {
                self.read_tracks(body, found);
                found.preamble.commit();
                self.ready = true;
            }
            _ => {}
        }
        Step::unit(
            if element.id == EBML {
                Start::Cut
            } else {
                Start::Continue
            },
            whole.len(),
            None,
        )
    }

    fn read_tracks(&mut self, body: &[u8], found: &mut Findings) {
        let entries = children(body).filter(|(element, ..)| element.id == TRACK_ENTRY);
        let mut video =
            entries.filter(|(.., entry)| child(entry, TRACK_TYPE).and_then(uint) == Some(1));
        self.video_track = video
            .next()
            .and_then(|(.., entry)| uint(child(entry, TRACK_NUMBER)?));
        found.content_type = match (self.is_webm, self.video_track.is_some()) {
            (true, true) => "video/webm",
            (true, false) => "audio/webm",
            (false, true) => "video/x-matroska",
            (false, false) => "audio/x-matroska",
        };
    }

    /// Looks into the cluster as far as its first block, or its first video block; `None` when more bytes are needed.
    fn opening(&self, window: &[u8], cluster: Element, ended: bool) -> Option<Opening> {
        let mut opening = Opening::default();
        let mut at = cluster.header;
        loop {
            let rest = tail(window, at);
            let element = match Element::read(rest) {
                Some(Some(element)) if element.size.is_some() => element,
                Some(_) => return Some(opening),
                None if ended || at > CLUSTER_LOOK_BYTES => return Some(opening),
                None => return None,
            };
            match element.id {
                TIMESTAMP => {
                    let body = element.whole(rest).map(|whole| tail(whole, element.header));
                    opening.ticks = body.and_then(uint);
                }
                SIMPLE_BLOCK | BLOCK_GROUP => match self.key_frame(element, rest) {
                    Look::More if ended => return Some(opening),
                    Look::More => return None,
                    Look::Key(is_key) => return Some(Opening { is_key, ..opening }),
                    Look::NotVideo => {}
                },
                EBML | SEGMENT | INFO | TRACKS | CLUSTER => return Some(opening),
                _ => {}
            }
            at = at.saturating_add(usize::try_from(element.len()).unwrap_or(usize::MAX));
            if at > CLUSTER_LOOK_BYTES {
                return Some(opening);
            }
        }
    }

    /// Whether a block, or the block of a group, is a key frame of the video; without video every block is one.
    fn key_frame(&self, element: Element, rest: &[u8]) -> Look {
        let Some(video) = self.video_track else {
            return Look::Key(true);
        };
        let body = tail(rest, element.header);
        if element.id == SIMPLE_BLOCK {
            return match block_head(body) {
                None => Look::More,
                Some((track, _, flags)) if track == video => Look::Key(flags & 0x80 != 0),
                Some(_) => Look::NotVideo,
            };
        }
        // What a group refers to stands behind its block, so all of it must be there.
        match element.whole(rest).map(|whole| tail(whole, element.header)) {
            None if element.len() > MAX_GROUP_BYTES => Look::Key(false),
            None => Look::More,
            Some(group)
                if child(group, BLOCK)
                    .and_then(block_head)
                    .is_some_and(|(track, ..)| track == video) =>
            {
                Look::Key(child(group, REFERENCE_BLOCK).is_none())
            }
            Some(_) => Look::NotVideo,
        }
    }

    fn cluster(&mut self, element: Element, opening: Opening) -> Step {
        self.cluster_is_open = element.size.is_none();
        self.cluster_left = Some(element.size.map_or(u64::MAX, |_| element.len()));
        self.cluster_ticks = opening.ticks.unwrap_or(self.cluster_ticks);
        let start = if opening.is_key {
            Start::Sync
        } else {
            Start::Cut
        };
        Step::unit(
            start,
            element.header,
            opening.ticks.and_then(|ticks| self.time_us(ticks)),
        )
    }

    fn block(&mut self, element: Element, window: &[u8]) -> Step {
        let body = tail(window, element.header);
        // The block is the first element of its group (RFC 9559, 5.1.3.5 does not say so, but all writers do it).
        let block = match (element.id, Element::read(body)) {
            (SIMPLE_BLOCK, _) => body,
            (_, Some(Some(inner))) if inner.id == BLOCK => tail(body, inner.header),
            _ => &[],
        };
        let ticks = block_head(block).and_then(|(_, relative, _)| {
            self.cluster_ticks.checked_add_signed(i64::from(relative))
        });
        let is_clean = self.cluster_is_open && element.size.is_some();
        let start = if is_clean {
            Start::Cut
        } else {
            Start::Continue
        };
        let time_us = ticks.and_then(|ticks| self.time_us(ticks));
        Step::Unit(Unit {
            start,
            len: element.len(),
            time_us,
        })
    }

    fn time_us(&self, ticks: u64) -> Option<u64> {
        u64::try_from(u128::from(ticks) * u128::from(self.ticks_ns) / 1_000).ok()
    }
}

/// Track number, time relative to the cluster and flags of a block (RFC 9559, 10.1 and 10.2).
fn block_head(block: &[u8]) -> Option<(u64, i16, u8)> {
    let (track, at) = vint(block)??;
    Some((track, u16_be(block, at)? as i16, u8(block, at + 2)?))
}

/// A player that joins has no use for the length of the whole: the element becomes a Void of the same size.
fn blank_duration(info: &[u8], at: usize, found: &mut Findings) {
    for (element, begin, body) in children(info) {
        // Two bytes of id, one of size, four or eight of number.
        if element.id == DURATION && element.header == 3 && body.len() < 0x7e {
            found
                .preamble
                .patch(at + begin, &[0xec, 0x80 | (body.len() as u8 + 1)]);
        }
    }
}

/// Junk up to the next cluster or file.
fn resynchronise(window: &[u8]) -> Step {
    let ids = [CLUSTER.to_be_bytes(), EBML.to_be_bytes()];
    let next = ids.iter().filter_map(|id| find(window, 1, id)).min();
    Step::Junk(next.unwrap_or(window.len().saturating_sub(3).max(1)))
}
