//! AAC in ADTS frames (ISO/IEC 13818-7, 6.2; ISO/IEC 14496-3, 1.A.2.2). Every frame is a sync point.

use super::fields::array;
use super::frames::{self, Front, average_bps};
use super::scanner::Start;
use super::step::{Findings, Step};
use super::timeline::SampleClock;

const HEADER_BYTES: usize = 7;
const BLOCK_SAMPLES: u64 = 1_024;

/// By sampling_frequency_index.
const RATES_HZ: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// What the seven header bytes say.
#[derive(Clone, Copy)]
pub(super) struct Header {
    /// Version, profile, rate and channels: what stays the same in a stream.
    shape: [u8; 3],
    rate_hz: u32,
    len: usize,
    blocks: u64,
}

impl frames::Header for Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, b1, b2, b3, b4, b5, b6] = array::<HEADER_BYTES>(bytes, 0)? else {
            return None;
        };
        if b1 & 0xf6 != 0xf0 {
            return None;
        }
        let rate_hz = *RATES_HZ.get(usize::from(b2 >> 2 & 0xf))?;
        let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let shape = [b1 & 8, b2 & 0xfd, b3 & 0xc0];
        (len > HEADER_BYTES).then_some(Self {
            shape,
            rate_hz,
            len,
            blocks: u64::from(b6 & 3) + 1,
        })
    }

    fn len(&self) -> usize {
        self.len
    }

    fn goes_with(&self, other: &Self) -> bool {
        self.shape == other.shape
    }
}

/// Follows ADTS frames.
pub(super) struct Aac {
    last: Option<Header>,
    clock: SampleClock,
    bytes: u64,
}

impl Aac {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            clock: SampleClock::new(),
            bytes: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], ended: bool, found: &mut Findings) -> Step {
        found.content_type = "audio/aac";
        match frames::front(self.last, window, ended) {
            Front::Unclear => Step::Need,
            Front::Tag(len) => {
                found.now_playing.read_id3v2(window);
                Step::pass(len)
            }
            Front::Frame(header) => {
                let now_us = self.clock.now_us();
                self.last = Some(header);
                self.bytes = self.bytes.saturating_add(header.len as u64);
                self.clock
                    .advance(header.blocks * BLOCK_SAMPLES, header.rate_hz);
                found.bitrate_bps = average_bps(self.bytes, self.clock.now_us());
                Step::unit(Start::Sync, header.len, Some(now_us))
            }
            Front::Junk(len) => {
                self.last = None;
                Step::Junk(len)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::frames::Header as _;
    use super::*;

    #[test]
    fn header() {
        // AAC-LC, 44.1 kHz, stereo, 371 bytes.
        let header = Header::read(&[0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc]).unwrap();
        assert_eq!(
            (header.len, header.rate_hz, header.blocks),
            (371, 44_100, 1)
        );
        assert!(Header::read(&[0xff, 0xfb, 0x90, 0x64, 0, 0, 0]).is_none()); // layer 3
    }
}
