//! Native FLAC (RFC 9639).
//!
//! The end of a frame is known only by the header of the next one, so one frame is held back. The preamble is a
//! stream marker and a STREAMINFO block of unknown length and unknown checksum: what a player that joins needs.

use crc::{CRC_8_SMBUS, CRC_16_UMTS, Crc, Table};

use super::fields::{array, find, tail, u8, u16_be, u32_be, u64_be};
use super::frames::average_bps;
use super::scanner::{MAX_HELD_BYTES, Start};
use super::step::{Findings, Step};
use super::timeline::scale_us;

const MARKER: &[u8; 4] = b"fLaC";
const BLOCK_HEADER_BYTES: usize = 4;
const STREAMINFO_BYTES: usize = 34;

/// A frame header takes 5 to 16 bytes (RFC 9639, 9.1).
const MAX_HEADER_BYTES: usize = 16;

/// RFC 9639, 9.1.8: polynomial x^8 + x^2 + x + 1 from 0. And 9.3: x^16 + x^15 + x^2 + 1 from 0.
static HEADER_CRC: Crc<u8, Table<1>> = Crc::<u8, Table<1>>::new(&CRC_8_SMBUS);
static FRAME_CRC: Crc<u16, Table<1>> = Crc::<u16, Table<1>>::new(&CRC_16_UMTS);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Marker,
    Metadata,
    Frames,
}

/// Follows metadata blocks and frames.
pub(super) struct Flac {
    place: Place,
    info: StreamInfo,
    search: Search,
    bytes: u64,
}

/// What the first metadata block says (RFC 9639, 8.2).
#[derive(Clone, Copy)]
struct StreamInfo {
    max_block_samples: u16,
    rate_hz: u32,
    sample_bits: usize,
}

/// How far the search for the end of the frame in front has come.
#[derive(Clone, Copy)]
struct Search {
    seen: usize,
    crc: u16,
    /// The first place behind the beginning that looks like a header.
    next_header: Option<usize>,
}

impl Search {
    const fn new() -> Self {
        Self {
            seen: 0,
            crc: 0,
            next_header: None,
        }
    }
}

/// What a frame header says (RFC 9639, 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    block_samples: u32,
    channels: usize,
    /// The coded number counts samples, not frames.
    counts_samples: bool,
    number: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, b1, b2, b3] = array::<4>(bytes, 0)? else {
            return None;
        };
        let is_reserved =
            b3 >> 4 > 10 || b3 >> 1 & 7 == 3 || b3 & 1 != 0 || b2 >> 4 == 0 || b2 & 0xf == 15;
        if b1 & 0xfe != 0xf8 || is_reserved {
            return None;
        }
        let (number, number_len) = coded_number(tail(bytes, 4))?;
        let mut at = 4 + number_len;
        let block_samples = match b2 >> 4 {
            1 => 192,
            n @ 2..=5 => 144 << n,
            6 => u32::from(u8(bytes, at)?) + 1,
            7 => u32::from(u16_be(bytes, at)?) + 1,
            n => 1 << n,
        };
        at += match b2 >> 4 {
            6 => 1,
            7 => 2,
            _ => 0,
        };
        at += match b2 & 0xf {
            12 => 1,
            13 | 14 => 2,
            _ => 0,
        };
        let channels = if b3 >> 4 < 8 {
            usize::from(b3 >> 4) + 1
        } else {
            2
        };
        (HEADER_CRC.checksum(bytes.get(..at)?) == u8(bytes, at)?).then_some(Self {
            block_samples,
            channels,
            counts_samples: b1 & 1 != 0,
            number,
        })
    }

    /// The most bytes a frame of this shape can take: every sample verbatim, and headers.
    fn max_bytes(&self, sample_bits: usize) -> usize {
        // A side channel has one bit more.
        self.block_samples as usize * self.channels * (sample_bits + 1) / 8 + 64 + 8 * self.channels
    }
}

/// A number coded like UTF-8, of up to 36 bits, and the bytes it takes.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = u8(bytes, 0)?;
    let len = match first.leading_ones() as usize {
        0 => return Some((u64::from(first), 1)),
        len @ 2..=7 => len,
        _ => return None,
    };
    let mut number = u64::from(first) & (0x7f >> len);
    for &byte in bytes.get(1..len)? {
        if byte & 0xc0 != 0x80 {
            return None;
        }
        number = number << 6 | u64::from(byte & 0x3f);
    }
    Some((number, len))
}

impl Flac {
    pub(super) const fn new() -> Self {
        let info = StreamInfo {
            max_block_samples: 0,
            rate_hz: 0,
            sample_bits: 32,
        };
        Self {
            place: Place::Marker,
            info,
            search: Search::new(),
            bytes: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        found.content_type = "audio/flac";
        match self.place {
            Place::Marker => {
                self.place = Place::Metadata;
                Step::unit(Start::Cut, MARKER.len(), None)
            }
            Place::Metadata => self.metadata(window, found),
            Place::Frames if window.starts_with(MARKER) => {
                self.place = Place::Marker;
                self.step(window, ended, found)
            }
            Place::Frames => self.frames(window, ended, found),
        }
    }

    fn metadata(&mut self, window: &[u8], found: &mut Findings) -> Step {
        let Some(head) = u32_be(window, 0) else {
            return Step::Need;
        };
        let (kind, len) = (
            head >> 24 & 0x7f,
            BLOCK_HEADER_BYTES + (head & 0x00ff_ffff) as usize,
        );
        // STREAMINFO and the comments are read; pictures and the rest only pass.
        if (kind == 0 || kind == 4) && window.len() < len && len <= MAX_HELD_BYTES {
            return Step::Need;
        }
        let body = window
            .get(BLOCK_HEADER_BYTES..len.min(window.len()))
            .unwrap_or_default();
        match kind {
            0 => self.read_info(body, found),
            4 => found.now_playing.read_vorbis_comment(body),
            _ => {}
        }
        if head >> 31 == 1 {
            self.place = Place::Frames;
        }
        Step::pass(len as u64)
    }

    fn read_info(&mut self, body: &[u8], found: &mut Findings) {
        let Some(mut info) = array::<STREAMINFO_BYTES>(body, 0) else {
            return;
        };
        let packed = u64_be(&info, 10).unwrap_or(0);
        self.info = StreamInfo {
            max_block_samples: u16_be(&info, 2).unwrap_or(0),
            rate_hz: (packed >> 44) as u32,
            sample_bits: (packed >> 36 & 0x1f) as usize + 1,
        };
        // Total samples and MD5 are those of the whole, which a player that joins never sees: 0 is "unknown".
        info.iter_mut().skip(14).for_each(|b| *b = 0);
        info[13] &= 0xf0;
        found.preamble.clear();
        for part in [
            MARKER.as_slice(),
            &[0x80, 0, 0, STREAMINFO_BYTES as u8],
            &info,
        ] {
            // 42 bytes in all, so it fits.
            let _ = found.preamble.append(part);
        }
        found.preamble.commit();
    }

    fn frames(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        let header = match Header::read(window) {
            Some(header) => header,
            None if window.len() < MAX_HEADER_BYTES && !ended => return Step::Need,
            None => return Step::Junk(next_header(window, 1).unwrap_or(window.len())),
        };
        if let Some(len) = self.frame_end(window, ended) {
            self.search = Search::new();
            let samples = match header.counts_samples {
                true => header.number,
                false => header
                    .number
                    .saturating_mul(u64::from(self.info.max_block_samples)),
            };
            let time_us = scale_us(samples, u64::from(self.info.rate_hz));
            self.bytes = self.bytes.saturating_add(len as u64);
            found.bitrate_bps = time_us
                .filter(|&us| us > 0)
                .and_then(|us| average_bps(self.bytes, us));
            return Step::unit(Start::Sync, len, time_us);
        }
        let most = header
            .max_bytes(self.info.sample_bits)
            .min(MAX_HELD_BYTES - MAX_HEADER_BYTES);
        if self.search.seen > most {
            // The frame is broken: had it been whole, its end would have been found.
            let next = self.search.next_header.unwrap_or(self.search.seen);
            self.search = Search::new();
            return Step::Junk(next);
        }
        Step::Need
    }

    /// The end of the frame in front: where a header follows and the frame's checksum fits.
    fn frame_end(&mut self, window: &[u8], ended: bool) -> Option<usize> {
        let mut crc = FRAME_CRC.digest_with_initial(self.search.crc);
        let mut seen = self.search.seen;
        let mut end = None;
        while end.is_none() && seen < window.len() {
            let rest = tail(window, seen);
            let is_unclear = rest.len() < MAX_HEADER_BYTES && !ended;
            if is_unclear && (rest.starts_with(&[0xff]) || rest.starts_with(b"f")) {
                break;
            }
            let is_header = seen > 0 && (Header::read(rest).is_some() || rest.starts_with(MARKER));
            if is_header {
                self.search.next_header = self.search.next_header.or(Some(seen));
                // The checksum is the frame's last two bytes, so over all of it the sum is 0.
                end = Some(seen).filter(|_| crc.clone().finalize() == 0);
            }
            if end.is_none() {
                // On to the next byte that may begin something.
                let step = tail(rest, 1)
                    .iter()
                    .position(|&b| b == 0xff || b == b'f')
                    .map_or(rest.len(), |n| n + 1);
                crc.update(rest.get(..step).unwrap_or(rest));
                seen += step;
            }
        }
        let sum = crc.finalize();
        self.search = Search {
            seen,
            crc: sum,
            ..self.search
        };
        end.or((ended && seen == window.len() && sum == 0).then_some(seen))
    }
}

fn next_header(window: &[u8], from: usize) -> Option<usize> {
    let mut at = find(window, from, &[0xff])?;
    while Header::read(tail(window, at)).is_none() && window.len() - at >= MAX_HEADER_BYTES {
        at = find(window, at + 1, &[0xff])?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_header_of_the_rfc() {
        // RFC 9639, appendix D.1.3: the only frame of the first example file.
        let header = Header::read(&[0xff, 0xf8, 0x69, 0x18, 0x00, 0x00, 0xbf]).unwrap();
        assert_eq!(
            header,
            Header {
                block_samples: 1,
                channels: 2,
                counts_samples: false,
                number: 0
            }
        );
        assert_eq!(
            Header::read(&[0xff, 0xf8, 0x69, 0x18, 0x00, 0x00, 0xbe]),
            None
        );
    }

    #[test]
    fn coded_numbers() {
        assert_eq!(coded_number(&[0x24]), Some((0x24, 1)));
        assert_eq!(coded_number(&[0xe2, 0x82, 0xac]), Some((0x20ac, 3)));
        assert_eq!(
            coded_number(&[0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]),
            Some((0xf_ffff_ffff, 7))
        );
        assert_eq!(coded_number(&[0x80]), None);
    }
}
