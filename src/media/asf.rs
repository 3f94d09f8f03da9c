//! Windows Media: Advanced Systems Format (Microsoft's specification, revision 01.20.05).
//!
//! The preamble is the header object, marked as a broadcast, and the head of the data object with its length unknown.
//! Data packets have one size; a player begins at any of them, or where there is video, at one in which a key frame
//! is the first frame to begin.

mod chunks;

use chunks::{Chunks, Front, HEAD_BYTES};

use super::fields::{array, find, tail, u8, u16_le, u32_le, u64_le};
use super::metadata::{Text, push_utf16};
use super::scanner::{MAX_HELD_BYTES, Start};
use super::step::{Findings, Step};

const OBJECT_HEAD_BYTES: usize = 24;
const HEADER_HEAD_BYTES: usize = 30;
const DATA_HEAD_BYTES: usize = 50;

/// So long without a sync point, and a less clean one will do.
const MAX_WAIT_MS: u32 = 10_000;

type Guid = [u8; 16];

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> Guid {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

// Section 10 of the specification.
const HEADER: Guid = guid(
    0x75b2_2630,
    0x668e,
    0x11cf,
    [0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c],
);
const DATA: Guid = guid(
    0x75b2_2636,
    0x668e,
    0x11cf,
    [0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c],
);
const FILE_PROPERTIES: Guid = guid(
    0x8cab_dca1,
    0xa947,
    0x11cf,
    [0x8e, 0xe4, 0x00, 0xc0, 0x0c, 0x20, 0x53, 0x65],
);
const STREAM_PROPERTIES: Guid = guid(
    0xb7dc_0791,
    0xa9b7,
    0x11cf,
    [0x8e, 0xe6, 0x00, 0xc0, 0x0c, 0x20, 0x53, 0x65],
);
const DESCRIPTION: Guid = guid(
    0x75b2_2633,
    0x668e,
    0x11cf,
    [0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c],
);
const VIDEO: Guid = guid(
    0xbc19_efc0,
    0x5b4d,
    0x11cf,
    [0xa8, 0xfd, 0x00, 0x80, 0x5f, 0x5c, 0x44, 0x2b],
);
const AUDIO: Guid = guid(
    0xf869_9e40,
    0x5b4d,
    0x11cf,
    [0xa8, 0xfd, 0x00, 0x80, 0x5f, 0x5c, 0x44, 0x2b],
);

/// The objects directly inside: id, where it begins, and all of it, header included.
fn objects(bytes: &[u8]) -> impl Iterator<Item = (Guid, usize, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let begin = at;
        let id = array::<16>(bytes, begin)?;
        let len = usize::try_from(u64_le(bytes, begin + 16)?)
            .ok()
            .filter(|&len| len >= OBJECT_HEAD_BYTES)?;
        at = begin.checked_add(len)?;
        Some((id, begin, bytes.get(begin..at)?))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Objects,
    /// Packets still to come.
    Packets {
        left: u64,
    },
}

/// Follows objects and data packets.
pub(super) struct Asf {
    chunks: Chunks,
    place: Place,
    packet_bytes: usize,
    is_broadcast: bool,
    video: Option<u8>,
    /// The header object has been read.
    ready: bool,
    last_sync_ms: u32,
}

impl Asf {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Chunks::Unknown,
            place: Place::Objects,
            packet_bytes: 0,
            is_broadcast: false,
            video: None,
            ready: false,
            last_sync_ms: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], found: &mut Findings) -> Step {
        let most = match self.chunks.front(window) {
            Front::Unclear => return Step::Need,
            Front::Junk(len) => return Step::Junk(len),
            Front::Head { begins_anew } => {
                if begins_anew {
                    self.place = Place::Objects;
                }
                return Step::Drop(HEAD_BYTES);
            }
            Front::Media(most) => most,
        };
        let step = match self.media(window.get(..most).unwrap_or(window), found) {
            // All that the frame carries is here, and does not suffice.
            Step::Need if window.len() >= most => Step::Junk(most),
            step => step,
        };
        match step {
            Step::Unit(unit) => self.chunks.take(unit.len),
            Step::Junk(len) => self.chunks.take(len as u64),
            _ => {}
        }
        step
    }

    fn media(&mut self, window: &[u8], found: &mut Findings) -> Step {
        match self.place {
            Place::Packets { left } if left > 0 && !starts_anew(window) => {
                self.packet(window, left)
            }
            _ if window.len() < DATA_HEAD_BYTES => Step::Need,
            _ => self.object(window, found),
        }
    }

    fn object(&mut self, window: &[u8], found: &mut Findings) -> Step {
        self.place = Place::Objects;
        let (Some(id), Some(len)) = (array::<16>(window, 0), u64_le(window, 16)) else {
            return Step::Need;
        };
        match id {
            HEADER if len > MAX_HELD_BYTES as u64 => Step::Hopeless("ASF header over 64 KiB"),
            HEADER => match window.get(..len as usize) {
                Some(header) => self.header(header, found),
                None => Step::Need,
            },
            DATA if self.ready => self.data_head(window, found),
            _ if len >= OBJECT_HEAD_BYTES as u64 => Step::pass(len),
            _ => resynchronise(window),
        }
    }

    fn header(&mut self, header: &[u8], found: &mut Findings) -> Step {
        *self = Self {
            chunks: self.chunks,
            ..Self::new()
        };
        let (mut has_audio, mut has_other) = (false, false);
        found.preamble.clear();
        if header.len() < HEADER_HEAD_BYTES || found.preamble.append(header).is_err() {
            return Step::Hopeless("ASF header over 64 KiB");
        }
        for (id, at, object) in objects(tail(header, HEADER_HEAD_BYTES)) {
            match id {
                // 3.2: play duration at 64, flags at 88, packet sizes at 92 and 96, bit rate at 100.
                FILE_PROPERTIES => {
                    let flags = u32_le(object, 88).unwrap_or(0);
                    let (least, most) = (
                        u32_le(object, 92).unwrap_or(0),
                        u32_le(object, 96).unwrap_or(0),
                    );
                    self.packet_bytes = if least == most { most as usize } else { 0 };
                    self.is_broadcast = flags & 1 != 0;
                    found.bitrate_bps = u32_le(object, 100).filter(|&bps| bps > 0);
                    found
                        .preamble
                        .patch(HEADER_HEAD_BYTES + at + 88, &(flags & !2 | 1).to_le_bytes());
                }
                // 3.3: stream type at 24, stream number in the flags at 72.
                STREAM_PROPERTIES => {
                    let number = u16_le(object, 72).unwrap_or(0) as u8 & 0x7f;
                    match array::<16>(object, 24) {
                        Some(VIDEO) => self.video = self.video.or(Some(number)),
                        Some(AUDIO) => has_audio = true,
                        _ => has_other = true,
                    }
                }
                DESCRIPTION => read_description(object, found),
                _ => {}
            }
        }
        found.content_type = match (self.video, has_audio && !has_other) {
            (Some(_), _) => "video/x-ms-wmv",
            (None, true) => "audio/x-ms-wma",
            (None, false) => "video/x-ms-asf",
        };
        if self.packet_bytes == 0 || self.packet_bytes > MAX_HELD_BYTES {
            return Step::Hopeless("ASF packets without a fixed size, or over 72 KiB");
        }
        self.ready = true;
        Step::unit(Start::Cut, header.len(), None)
    }

    /// 5.1: object size at 16, file id at 24, total packets at 40.
    fn data_head(&mut self, window: &[u8], found: &mut Findings) -> Step {
        let Some(mut head) = array::<DATA_HEAD_BYTES>(window, 0) else {
            return Step::Need;
        };
        let packets = u64_le(&head, 40).unwrap_or(0);
        let left = if self.is_broadcast || packets == 0 {
            u64::MAX
        } else {
            packets
        };
        head[16..24].copy_from_slice(&(DATA_HEAD_BYTES as u64).to_le_bytes());
        head[40..48].copy_from_slice(&[0; 8]);
        if found.preamble.append(&head).is_err() {
            return Step::Hopeless("ASF header over 64 KiB");
        }
        found.preamble.commit();
        self.place = Place::Packets { left };
        Step::pass(DATA_HEAD_BYTES as u64)
    }

    fn packet(&mut self, window: &[u8], left: u64) -> Step {
        let Some(packet) = window.get(..self.packet_bytes) else {
            return Step::Need;
        };
        self.place = Place::Packets {
            left: if left == u64::MAX { left } else { left - 1 },
        };
        match Packet::read(packet) {
            None => Step::Junk(packet.len()),
            Some(parsed) => {
                let start = self.start(&parsed);
                Step::unit(
                    start,
                    packet.len(),
                    Some(u64::from(parsed.send_time_ms) * 1_000),
                )
            }
        }
    }

    /// A player can begin where a key frame is the first video to begin. Encoders with small frames may put others
    /// in front of every key frame; rather than let nobody in, any packet with a key frame will do after a while.
    fn start(&mut self, packet: &Packet<'_>) -> Start {
        let waited_ms = packet.send_time_ms.saturating_sub(self.last_sync_ms);
        let begins = self
            .video
            .is_none_or(|video| match packet.beginnings(video) {
                Some((first_is_key, any_is_key)) => {
                    first_is_key || any_is_key && waited_ms > MAX_WAIT_MS
                }
                None => false,
            });
        if !begins {
            return Start::Cut;
        }
        self.last_sync_ms = packet.send_time_ms;
        Start::Sync
    }
}

/// What a data packet's header says (5.2).
struct Packet<'a> {
    send_time_ms: u32,
    has_many_payloads: bool,
    properties: u8,
    payloads: &'a [u8],
}

/// A field of the width its two type bits say: 0, 1, 2 or 4 bytes. The value, and where the next field is.
fn sized(bytes: &[u8], at: usize, kind: u8) -> Option<(u32, usize)> {
    match kind & 3 {
        0 => Some((0, at)),
        1 => u8(bytes, at).map(|n| (u32::from(n), at + 1)),
        2 => u16_le(bytes, at).map(|n| (u32::from(n), at + 2)),
        _ => u32_le(bytes, at).map(|n| (n, at + 4)),
    }
}

impl<'a> Packet<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let first = u8(packet, 0)?;
        let mut at = 0;
        if first & 0x80 != 0 {
            // Error correction data: two bytes are the only form there is (5.2.1).
            if first != 0x82 {
                return None;
            }
            at = 3;
        }
        let (lengths, properties) = (u8(packet, at)?, u8(packet, at + 1)?);
        let (_, at) = sized(packet, at + 2, lengths >> 5)?;
        let (_, at) = sized(packet, at, lengths >> 1)?;
        let (padding, at) = sized(packet, at, lengths >> 3)?;
        let end = packet.len().checked_sub(padding as usize)?;
        Some(Self {
            send_time_ms: u32_le(packet, at)?,
            has_many_payloads: lengths & 1 != 0,
            properties,
            payloads: packet.get(at + 6..end)?,
        })
    }

    /// What of the stream begins here: `None` when no frame does, else whether the first one that does is a key
    /// frame, and whether any is. The end of a frame before it may stand in front; players drop a frame without a
    /// beginning. Each payload says so of itself (5.2.3).
    fn beginnings(&self, stream: u8) -> Option<(bool, bool)> {
        let mut found = None;
        let (count, mut at, length_kind) = match self.has_many_payloads {
            true => (u8(self.payloads, 0)? & 0x3f, 1, u8(self.payloads, 0)? >> 6),
            false => (1, 0, 0),
        };
        for _ in 0..count {
            let Some(payload) = Payload::read(self.payloads, at, self.properties, length_kind)
            else {
                break;
            };
            if payload.stream == stream && payload.begins {
                let (first, any) = found.unwrap_or((payload.is_key, false));
                found = Some((first, any | payload.is_key));
            }
            at = payload.end;
        }
        found
    }
}

/// A payload's header.
struct Payload {
    stream: u8,
    is_key: bool,
    /// A media object begins with it.
    begins: bool,
    end: usize,
}

impl Payload {
    fn read(payloads: &[u8], at: usize, properties: u8, length_kind: u8) -> Option<Self> {
        let number = u8(payloads, at)?;
        let (_, at) = sized(payloads, at + 1, properties >> 4)?;
        let (offset, at) = sized(payloads, at, properties >> 2)?;
        let (replicated, at) = sized(payloads, at, properties)?;
        let at = at.checked_add(replicated as usize)?;
        // A single payload has no length: it fills the packet.
        let (len, at) = sized(payloads, at, length_kind).unwrap_or((0, at));
        Some(Self {
            stream: number & 0x7f,
            is_key: number & 0x80 != 0,
            // With replicated data of length 1 the payloads are whole objects, and the offset is a time.
            begins: offset == 0 || replicated == 1,
            end: at.checked_add(len as usize)?,
        })
    }
}

/// 3.10: five lengths, then title and author in UTF-16.
fn read_description(object: &[u8], found: &mut Findings) {
    let len = |at| usize::from(u16_le(object, at).unwrap_or(0));
    let (title_len, author_len) = (len(24), len(26));
    let part = |at: usize, len: usize| tail(object, at).get(..len).unwrap_or_default();
    let (mut title, mut artist) = (Text::new(), Text::new());
    push_utf16(&mut title, part(34, title_len), u16::from_le_bytes);
    push_utf16(
        &mut artist,
        part(34 + title_len, author_len),
        u16::from_le_bytes,
    );
    found.now_playing.set(&artist, &title);
}

/// Another file begins instead of a packet.
fn starts_anew(window: &[u8]) -> bool {
    window.starts_with(&HEADER)
}

/// Junk up to the next header.
fn resynchronise(window: &[u8]) -> Step {
    Step::Junk(find(window, 1, &HEADER).unwrap_or(window.len().saturating_sub(15).max(1)))
}
