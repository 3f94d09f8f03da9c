//! Programme tables (ISO/IEC 13818-1, 2.4.4; DVB's SDT: ETSI EN 300 468).

use crc::{CRC_32_MPEG_2, Crc};

use super::PACKET_BYTES;
use super::key_frame::Codec;
use crate::media::fields::{tail, u8, u16_be};

/// Longest section of the tables read here.
const MAX_SECTION_BYTES: usize = 1_024;

/// Packets a section can spread over, with one byte of it in the first.
const MAX_PACKETS: usize = 8;

static SECTION_CRC: Crc<u32, crc::Table<1>> = Crc::<u32, crc::Table<1>>::new(&CRC_32_MPEG_2);

/// One table: the section in use with the packets that carried it, and the one being gathered.
pub(super) struct Table {
    id: u8,
    used: Section,
    next: Section,
}

struct Section {
    packets: [[u8; PACKET_BYTES]; MAX_PACKETS],
    packet_count: usize,
    bytes: [u8; MAX_SECTION_BYTES],
    len: usize,
}

impl Section {
    const fn new() -> Self {
        Self {
            packets: [[0; PACKET_BYTES]; MAX_PACKETS],
            packet_count: 0,
            bytes: [0; MAX_SECTION_BYTES],
            len: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn add(&mut self, packet: &[u8; PACKET_BYTES], payload: &[u8]) {
        if let Some(place) = self.packets.get_mut(self.packet_count) {
            *place = *packet;
            self.packet_count += 1;
        }
        self.bytes
            .iter_mut()
            .skip(self.len)
            .zip(payload)
            .for_each(|(to, &from)| *to = from);
        self.len = (self.len + payload.len()).min(MAX_SECTION_BYTES);
    }

    /// The section's whole length, once its header is there.
    fn wanted(&self) -> Option<usize> {
        u16_be(self.bytes(), 1).map(|len| 3 + usize::from(len & 0xfff))
    }
}

impl Table {
    pub(super) const fn new(id: u8) -> Self {
        Self {
            id,
            used: Section::new(),
            next: Section::new(),
        }
    }

    /// The packets that carry the table in use.
    pub(super) fn packets(&self) -> &[u8] {
        self.used
            .packets
            .as_flattened()
            .get(..self.used.packet_count * PACKET_BYTES)
            .unwrap_or_default()
    }

    /// The section in use without its checksum.
    pub(super) fn body(&self) -> &[u8] {
        self.used
            .bytes()
            .split_last_chunk::<4>()
            .map_or(&[], |(body, _)| body)
    }

    /// Takes the payload of a packet of the table's stream; whether another section than before came into use.
    pub(super) fn take(
        &mut self,
        packet: &[u8; PACKET_BYTES],
        payload: &[u8],
        starts: bool,
    ) -> bool {
        let payload = if starts {
            // 13818-1, 2.4.4.1: the pointer field says where in the payload the section begins.
            let section = tail(payload, 1 + usize::from(u8(payload, 0).unwrap_or(0)));
            (self.next.len, self.next.packet_count) = (0, 0);
            if u8(section, 0) != Some(self.id) {
                return false;
            }
            section
        } else if self.next.len == 0 {
            return false;
        } else {
            payload
        };
        self.next.add(packet, payload);
        let Some(wanted) = self.next.wanted().filter(|&wanted| wanted <= self.next.len) else {
            return false;
        };
        self.next.len = wanted;
        let is_current = u8(&self.next.bytes, 5).unwrap_or(0) & 1 != 0;
        let good = wanted >= 12 && SECTION_CRC.checksum(self.next.bytes()) == 0 && is_current;
        let differs = good && self.next.bytes() != self.used.bytes();
        if differs {
            core::mem::swap(&mut self.used, &mut self.next);
        }
        (self.next.len, self.next.packet_count) = (0, 0);
        differs
    }
}

/// The video codec of a stream type (13818-1, table 2-34); `None` for what is no video.
pub(super) fn video_codec(kind: u8, descriptors: &[u8]) -> Option<Codec> {
    Some(match kind {
        0x01 | 0x02 => Codec::Mpeg2,
        0x10 => Codec::Mpeg4,
        0x1b => Codec::H264,
        0x24 => Codec::Hevc,
        0x33 | 0x42 | 0xd1 | 0xd2 | 0xea => Codec::Other,
        // AV1 and others in private data say so in a registration descriptor.
        0x06 if registration(descriptors) == Some(*b"AV01") => Codec::Other,
        _ => return None,
    })
}

/// Whether a stream type is audio: MPEG, AAC, LATM, AC-3, DTS and the like, or private data with an audio descriptor.
pub(super) fn is_audio(kind: u8, descriptors: &[u8]) -> bool {
    match kind {
        0x03 | 0x04 | 0x0f | 0x11 | 0x1c | 0x2d | 0x2e | 0x81 | 0x82 | 0x83 | 0x84 | 0x87
        | 0x8a => true,
        // EN 300 468, 6.1: AC-3, enhanced AC-3, DTS and AAC descriptors; and Opus.
        0x06 => {
            has(descriptors, &[0x6a, 0x7a, 0x7b, 0x7c])
                || registration(descriptors).is_some_and(|id| AUDIO.contains(&id))
        }
        _ => false,
    }
}

/// Registrations of audio in private data.
const AUDIO: [[u8; 4]; 6] = [*b"Opus", *b"AC-3", *b"EAC3", *b"BSSD", *b"DTS1", *b"DTS2"];

fn each(descriptors: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let (tag, len) = (u8(descriptors, at)?, usize::from(u8(descriptors, at + 1)?));
        let body = descriptors.get(at + 2..at + 2 + len)?;
        at += 2 + len;
        Some((tag, body))
    })
}

fn has(descriptors: &[u8], tags: &[u8]) -> bool {
    each(descriptors).any(|(tag, _)| tags.contains(&tag))
}

fn registration(descriptors: &[u8]) -> Option<[u8; 4]> {
    each(descriptors)
        .find(|&(tag, _)| tag == 0x05)
        .and_then(|(_, body)| body.first_chunk::<4>().copied())
}
