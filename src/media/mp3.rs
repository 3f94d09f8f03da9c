//! MPEG audio: frames of ISO/IEC 11172-3 (MPEG-1) and 13818-3 (MPEG-2), and the unofficial MPEG-2.5; layers 1 to 3.
//!
//! A layer 3 frame may take main data from the frames before it (the bit reservoir), so a player that begins there
//! mutes the first frame or two. Frames that take nothing are sync points; where those are rare, every frame is.

use super::fields::{self, array};
use super::frames::{self, Front, average_bps};
use super::scanner::Start;
use super::step::{Findings, Step};
use super::timeline::SampleClock;

/// With frames that stand alone at least this often, only those are sync points.
const SELF_CONTAINED_WITHIN_US: u64 = 200_000;

/// Bit rates in kbit/s by row (MPEG-1 layers 1, 2, 3; MPEG-2 layer 1, layers 2 and 3) and index (13818-3, 2.4.2.3).
const BITRATE_KBPS: [[u16; 15]; 5] = [
    [
        0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
    ],
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ],
    [
        0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
    ],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
    TwoAndHalf,
}

/// What the four header bytes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    version: Version,
    layer: u8,
    rate_hz: u32,
    bitrate_bps: u32,
    len: usize,
    samples: u16,
    has_crc: bool,
    mono: bool,
}

impl frames::Header for Header {
    // Free format (bit rate index 0) is not followed.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [sync, b1, b2, b3] = array::<4>(bytes, 0)?;
        if sync != 0xff || b1 & 0xe0 != 0xe0 || b3 & 3 == 2 {
            return None;
        }
        let version = match b1 >> 3 & 3 {
            0 => Version::TwoAndHalf,
            2 => Version::Two,
            3 => Version::One,
            _ => return None,
        };
        let layer = 4 - (b1 >> 1 & 3);
        let row = match (version, layer) {
            (_, 4) => return None,
            (Version::One, layer) => usize::from(layer) - 1,
            (_, 1) => 3,
            _ => 4,
        };
        let kbps = *BITRATE_KBPS
            .get(row)?
            .get(usize::from(b2 >> 4))
            .filter(|&&kbps| kbps > 0)?;
        let rate_hz = *[44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))?
            >> match version {
                Version::One => 0,
                Version::Two => 1,
                Version::TwoAndHalf => 2,
            };
        let samples = match (layer, version) {
            (1, _) => 384,
            (3, Version::Two | Version::TwoAndHalf) => 576,
            _ => 1_152,
        };
        let bitrate_bps = u32::from(kbps) * 1_000;
        let padding = u32::from(b2 >> 1 & 1);
        let len = match layer {
            1 => (12 * bitrate_bps / rate_hz + padding) * 4,
            _ => u32::from(samples) / 8 * bitrate_bps / rate_hz + padding,
        };
        Some(Self {
            version,
            layer,
            rate_hz,
            bitrate_bps,
            len: len as usize,
            samples,
            has_crc: b1 & 1 == 0,
            mono: b3 >> 6 == 3,
        })
    }

    fn len(&self) -> usize {
        self.len
    }

    fn goes_with(&self, other: &Self) -> bool {
        (self.version, self.layer, self.rate_hz) == (other.version, other.layer, other.rate_hz)
    }
}

impl Header {
    /// Where layer 3 side information begins in the frame.
    fn side_info_at(&self) -> usize {
        if self.has_crc { 6 } else { 4 }
    }

    /// Bytes of layer 3 side information.
    fn side_info_len(&self) -> usize {
        match (self.version, self.mono) {
            (Version::One, false) => 32,
            (Version::One, true) | (_, false) => 17,
            (_, true) => 9,
        }
    }

    /// Whether the frame takes main data from the frames before it (11172-3, 2.4.1.7, main_data_begin).
    fn leans_back(&self, frame: &[u8]) -> bool {
        let begin = fields::u16_be(frame, self.side_info_at()).unwrap_or(0);
        self.layer == 3 && begin >> if self.version == Version::One { 7 } else { 8 } != 0
    }

    /// Whether the frame is an encoder's information frame (Xing, Info, VBRI), not music.
    fn is_information(&self, frame: &[u8]) -> bool {
        let xing = array::<4>(frame, self.side_info_at() + self.side_info_len());
        self.layer == 3
            && (xing == Some(*b"Xing")
                || xing == Some(*b"Info")
                || array::<4>(frame, 36) == Some(*b"VBRI"))
    }
}

/// Follows MPEG audio frames.
pub(super) struct Mp3 {
    /// The header of the last frame; the next one is believed without proof when it goes with it.
    last: Option<Header>,
    clock: SampleClock,
    self_contained_us: Option<u64>,
    bytes: u64,
    constant: bool,
}

impl Mp3 {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            clock: SampleClock::new(),
            self_contained_us: None,
            bytes: 0,
            constant: true,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        match frames::front(self.last, window, ended) {
            Front::Unclear => Step::Need,
            Front::Tag(len) => {
                found.now_playing.read_id3v2(window);
                Step::pass(len)
            }
            Front::Frame(header) => self.frame(header, window, found),
            Front::Junk(len) => {
                self.last = None;
                self.self_contained_us = None;
                Step::Junk(len)
            }
        }
    }

    fn frame(&mut self, header: Header, window: &[u8], found: &mut Findings) -> Step {
        let frame = window.get(..header.len).unwrap_or(window);
        let first = self.last.is_none();
        let now_us = self.clock.now_us();
        if first && header.is_information(frame) {
            return Step::unit(Start::Cut, header.len, Some(now_us));
        }
        let start = self.start(!header.leans_back(frame), now_us);
        self.constant &= self
            .last
            .is_none_or(|last| last.bitrate_bps == header.bitrate_bps);
        self.last = Some(header);
        self.bytes = self.bytes.saturating_add(header.len as u64);
        self.clock
            .advance(u64::from(header.samples), header.rate_hz);
        found.content_type = "audio/mpeg";
        found.bitrate_bps = if self.constant {
            Some(header.bitrate_bps)
        } else {
            average_bps(self.bytes, self.clock.now_us())
        };
        Step::unit(start, header.len, Some(now_us))
    }

    /// A frame that stands alone is a sync point; another one only when no such frame came for a while.
    fn start(&mut self, self_contained: bool, now_us: u64) -> Start {
        if self_contained {
            self.self_contained_us = Some(now_us);
            return Start::Sync;
        }
        match self.self_contained_us {
            Some(then_us) if now_us.saturating_sub(then_us) <= SELF_CONTAINED_WITHIN_US => {
                Start::Cut
            }
            _ => Start::Sync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::frames::Header as _;
    use super::*;

    #[test]
    fn headers() {
        // LAME's usual frame: MPEG-1 layer 3, 128 kbit/s, 44.1 kHz, joint stereo.
        let header = Header::read(&[0xff, 0xfb, 0x90, 0x64]).unwrap();
        assert_eq!(
            (
                header.len,
                header.samples,
                header.rate_hz,
                header.bitrate_bps
            ),
            (417, 1_152, 44_100, 128_000)
        );
        // MPEG-2 layer 3, 64 kbit/s, 22.05 kHz; MPEG-1 layer 2, 192 kbit/s, 48 kHz.
        let header = Header::read(&[0xff, 0xf3, 0x80, 0x64]).unwrap();
        assert_eq!(
            (header.len, header.samples, header.rate_hz),
            (208, 576, 22_050)
        );
        let header = Header::read(&[0xff, 0xfd, 0xa4, 0x00]).unwrap();
        assert_eq!((header.len, header.samples, header.layer), (576, 1_152, 2));
        assert_eq!(Header::read(&[0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(Header::read(&[0xff, 0xf1, 0x50, 0x80]), None); // ADTS
    }
}
