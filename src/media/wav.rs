//! RIFF WAVE (Microsoft and IBM, Multimedia Programming Interface 1.0; RF64: EBU Tech 3306).
//!
//! The preamble is a header of our own: the format chunk, and a data chunk of unknown length.

use super::fields::{u16_le, u32_le};
use super::scanner::Start;
use super::step::{Findings, Step};
use super::timeline::scale_us;

const RIFF_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;

/// Longest format chunk; WAVEFORMATEXTENSIBLE takes 40.
const MAX_FORMAT_BYTES: usize = 1_024;

/// Sync points stand this close.
const SYNCS_PER_SECOND: usize = 10;

/// Where in the file the parser is.
#[derive(Clone, Copy)]
enum Place {
    Riff,
    Chunk,
    /// Data bytes still to come.
    Data {
        left: u64,
    },
}

/// Follows the chunks of a WAVE file.
pub(super) struct Wav {
    place: Place,
    /// Bytes of one sample of all channels, and of a second.
    block_bytes: usize,
    second_bytes: usize,
    data_bytes: u64,
}

impl Wav {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Riff,
            block_bytes: 0,
            second_bytes: 0,
            data_bytes: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], found: &mut Findings) -> Step {
        found.content_type = "audio/wav";
        match self.place {
            Place::Riff if window.len() < RIFF_HEADER_BYTES => Step::Need,
            Place::Riff => {
                self.place = Place::Chunk;
                Step::unit(Start::Cut, RIFF_HEADER_BYTES, None)
            }
            Place::Data { left: 0 } => {
                self.place = Place::Chunk;
                self.chunk(window, found)
            }
            Place::Chunk => self.chunk(window, found),
            Place::Data { left } => self.data(window, left),
        }
    }

    fn chunk(&mut self, window: &[u8], found: &mut Findings) -> Step {
        let (Some(id), Some(size)) = (window.first_chunk::<4>(), u32_le(window, 4)) else {
            return Step::Need;
        };
        let whole = CHUNK_HEADER_BYTES as u64 + u64::from(size) + u64::from(size & 1);
        match id {
            b"RIFF" | b"RF64" => {
                // Another file behind the first one.
                self.place = Place::Riff;
                self.step(window, found)
            }
            b"fmt " if size as usize > MAX_FORMAT_BYTES => {
                Step::Hopeless("WAVE format chunk over 1 KiB")
            }
            b"fmt " => match window.get(..CHUNK_HEADER_BYTES + size as usize) {
                None => Step::Need,
                Some(chunk) => {
                    self.read_format(chunk, found);
                    Step::pass(whole)
                }
            },
            b"data" if self.block_bytes == 0 => Step::Hopeless("WAVE data without a format"),
            b"data" => {
                // Streaming writers leave the size 0 or at its greatest.
                let is_known = size != 0 && size < 0xffff_0000;
                self.place = Place::Data {
                    left: if is_known { u64::from(size) } else { u64::MAX },
                };
                Step::unit(Start::Cut, CHUNK_HEADER_BYTES, None)
            }
            _ if id.iter().all(|b| b.is_ascii_graphic() || *b == b' ') => Step::pass(whole),
            // The padding byte behind data of odd size.
            [0, ..] => Step::pass(1),
            _ => Step::Junk(window.len()),
        }
    }

    fn read_format(&mut self, chunk: &[u8], found: &mut Findings) {
        let block_bytes = usize::from(u16_le(chunk, 20).unwrap_or(0)).max(1);
        let second_bytes = u32_le(chunk, 16).unwrap_or(0);
        (self.block_bytes, self.second_bytes) = (block_bytes, second_bytes as usize);
        found.bitrate_bps = second_bytes.checked_mul(8).filter(|&bps| bps > 0);
        found.preamble.clear();
        let padding: &[u8] = if chunk.len() & 1 == 1 { &[0] } else { &[] };
        for part in [
            b"RIFF\xff\xff\xff\xffWAVE".as_slice(),
            chunk,
            padding,
            b"data\xff\xff\xff\xff",
        ] {
            // At most about 1 KiB in all, so it fits.
            let _ = found.preamble.append(part);
        }
        found.preamble.commit();
    }

    fn data(&mut self, window: &[u8], left: u64) -> Step {
        let time_us = scale_us(self.data_bytes, self.second_bytes as u64);
        let most = (self.second_bytes / SYNCS_PER_SECOND).max(self.block_bytes);
        let held = window
            .len()
            .min(most)
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let len = match held - held % self.block_bytes.max(1) {
            0 if left < self.block_bytes as u64 => held,
            0 => return Step::Need,
            whole => whole,
        };
        self.data_bytes = self.data_bytes.saturating_add(len as u64);
        self.place = Place::Data {
            left: if left == u64::MAX {
                left
            } else {
                left - len as u64
            },
        };
        Step::unit(
            if len % self.block_bytes.max(1) == 0 {
                Start::Sync
            } else {
                Start::Continue
            },
            len,
            time_us,
        )
    }
}
