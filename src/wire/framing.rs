//! Datagrams over a byte stream, such as a serial line: COBS frames with a checksum, each ended by a zero byte.
//!
//! A frame is COBS (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999) over the datagram and its CRC-32C
//! (RFC 3720 appendix B.4) in little-endian order, then `00`. Inside a frame no byte is zero, so a receiver that joins
//! late or loses bytes is back in step at the next zero. The checksum finds what the line damages; what is hostile is
//! for the layers that verify.
//!
//! An empty datagram has no frame: its checksum is zero, and so four zeros that damage cuts out of a longer frame would
//! pass for it.

use core::ops::Range;

use crc::{CRC_32_ISCSI, Crc};

use crate::error::Full;
use crate::limits::MAX_DATAGRAM_BYTES;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC_BYTES: usize = 4;

/// Most bytes of a frame between zeros.
const MAX_STUFFED_BYTES: usize = cobs::max_encoding_length(MAX_DATAGRAM_BYTES + CRC_BYTES);

/// Most bytes of a frame, its final zero included.
pub const MAX_FRAME_BYTES: usize = MAX_STUFFED_BYTES + 1;

/// Most bytes that a datagram of this length takes on a line.
pub const fn frame_bytes(datagram_bytes: usize) -> usize {
    cobs::max_encoding_length(datagram_bytes + CRC_BYTES) + 1
}

/// The checksum of a datagram, as its frame carries it.
pub const fn checksum(datagram: &[u8]) -> u32 {
    CRC.checksum(datagram)
}

/// Writes the frame of `datagram` to the front of `out` and returns its length, at most [`MAX_FRAME_BYTES`]; 0, and
/// nothing written, if the datagram is empty.
///
/// [`Full`] if `out` has no room for it, or if the datagram is longer than any receiver takes.
pub fn encode(datagram: &[u8], out: &mut [u8]) -> Result<usize, Full> {
    if datagram.len() > MAX_DATAGRAM_BYTES {
        return Err(Full);
    }
    if datagram.is_empty() {
        return Ok(0);
    }
    let mut encoder = cobs::CobsEncoder::new(out);
    encoder.push(datagram).map_err(|_| Full)?;
    let crc = CRC.checksum(datagram).to_le_bytes();
    encoder.push(&crc).map_err(|_| Full)?;
    let stuffed = encoder.finalize();
    // The last byte to be written is also what shows that all before it had room.
    *out.get_mut(stuffed).ok_or(Full)? = 0;
    Ok(stuffed + 1)
}

/// Finds datagrams in the bytes of a line.
#[derive(Clone, Debug)]
pub struct Decoder {
    frame: [u8; MAX_STUFFED_BYTES],
    len: usize,
    /// The frame at hand is longer than any datagram's; it is skipped to its end.
    overlong: bool,
    bad_frames: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a frame.
    pub const fn new() -> Self {
        Self {
            frame: [0; MAX_STUFFED_BYTES],
            len: 0,
            overlong: false,
            bad_frames: 0,
        }
    }

    /// Takes bytes off the front of `input` up to the end of the next sound frame, and returns its datagram; `None` when
    /// `input` is used up. Call it until then. Unsound frames are counted and skipped, empty ones just skipped.
    pub fn next_datagram(&mut self, input: &mut &[u8]) -> Option<&[u8]> {
        let len = self.next_len(input)?;
        Some(&self.frame[..len])
    }

    /// As [`Decoder::next_datagram`]: the length of the datagram now at the front of `frame`.
    fn next_len(&mut self, input: &mut &[u8]) -> Option<usize> {
        while let Some(end) = input.iter().position(|byte| *byte == 0) {
            let (last, rest) = input.split_at(end);
            *input = &rest[1..];
            self.keep(last);
            if let Some(len) = self.close() {
                return Some(len);
            }
        }
        self.keep(input);
        *input = &[];
        None
    }

    /// Frames that were damaged, too long or never frames at all.
    pub fn bad_frames(&self) -> u64 {
        self.bad_frames
    }

    /// Appends bytes that are not zero to the frame at hand.
    fn keep(&mut self, bytes: &[u8]) {
        match self.frame[self.len..].get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overlong = true,
        }
    }

    /// Ends the frame at hand, and returns the length of the datagram now at the front of `frame` if it is sound.
    fn close(&mut self) -> Option<usize> {
        let len = core::mem::take(&mut self.len);
        let overlong = core::mem::take(&mut self.overlong);
        if len == 0 && !overlong {
            return None;
        }
        let datagram = if overlong {
            None
        } else {
            unstuff(&mut self.frame[..len])
        };
        if datagram.is_none() {
            self.bad_frames = self.bad_frames.saturating_add(1);
        }
        datagram
    }
}

/// Decodes a frame where it lies, and returns the length of its datagram if the checksum fits.
fn unstuff(frame: &mut [u8]) -> Option<usize> {
    let len = cobs::decode_in_place(frame).ok()?;
    let (datagram, crc) = frame.get(..len)?.split_last_chunk::<CRC_BYTES>()?;
    let sound = (1..=MAX_DATAGRAM_BYTES).contains(&datagram.len())
        && CRC.checksum(datagram) == u32::from_le_bytes(*crc);
    sound.then_some(datagram.len())
}

/// Most bytes asked of a line at once.
const READ_BYTES: usize = 256;

/// Reads datagrams from a line: anything that a board or a system implements [`embedded_io::Read`] for.
#[derive(Clone, Debug)]
pub struct FrameReader<R> {
    line: R,
    decoder: Decoder,
    bytes: [u8; READ_BYTES],
    /// The part of `bytes` that was read and not looked at yet.
    fresh: Range<usize>,
}

impl<R: embedded_io::Read> FrameReader<R> {
    /// A reader at the start of a frame.
    pub const fn new(line: R) -> Self {
        Self {
            line,
            decoder: Decoder::new(),
            bytes: [0; READ_BYTES],
            fresh: 0..0,
        }
    }

    /// The next sound datagram, waited for as the line waits; `None` at the end of the line.
    ///
    /// # Errors
    /// Whatever the line says (that it timed out or has nothing yet, for example). No byte is lost by it: call again.
    pub fn next_datagram(&mut self) -> Result<Option<&[u8]>, R::Error> {
        loop {
            let mut input = self.bytes.get(self.fresh.clone()).unwrap_or(&[]);
            let found = self.decoder.next_len(&mut input);
            self.fresh.start = self.fresh.end - input.len();
            if let Some(len) = found {
                return Ok(self.decoder.frame.get(..len));
            }
            let read = self.line.read(&mut self.bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.fresh = 0..read.min(READ_BYTES);
        }
    }

    /// Frames that were damaged, too long or never frames at all.
    pub fn bad_frames(&self) -> u64 {
        self.decoder.bad_frames()
    }

    /// The line, to look at.
    pub fn line(&self) -> &R {
        &self.line
    }

    /// The line, to write to.
    pub fn line_mut(&mut self) -> &mut R {
        &mut self.line
    }
}

impl<R: embedded_io::Read + embedded_io::ReadReady> FrameReader<R> {
    /// The next sound datagram of those that are here; `None` rather than wait for one.
    ///
    /// # Errors
    /// Whatever the line says. No byte is lost by it: call again.
    pub fn ready_datagram(&mut self) -> Result<Option<&[u8]>, R::Error> {
        loop {
            let mut input = self.bytes.get(self.fresh.clone()).unwrap_or(&[]);
            let found = self.decoder.next_len(&mut input);
            self.fresh.start = self.fresh.end - input.len();
            if let Some(len) = found {
                return Ok(self.decoder.frame.get(..len));
            }
            if !self.line.read_ready()? {
                return Ok(None);
            }
            let read = self.line.read(&mut self.bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.fresh = 0..read.min(READ_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    fn frame(datagram: &[u8]) -> Vec<u8> {
        let mut out = [0xee; MAX_FRAME_BYTES];
        let len = encode(datagram, &mut out).unwrap();
        out[..len].to_vec()
    }

    fn decode(decoder: &mut Decoder, mut input: &[u8]) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while let Some(datagram) = decoder.next_datagram(&mut input) {
            datagrams.push(datagram.to_vec());
        }
        assert!(input.is_empty());
        datagrams
    }

    /// COBS as the paper has it, byte by byte, without the crate.
    fn stuff_by_definition(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut run = Vec::new();
        let mut ended_by_zero = true;
        for byte in bytes {
            ended_by_zero = *byte == 0;
            if *byte != 0 {
                run.push(*byte);
            }
            if *byte == 0 || run.len() == 254 {
                out.push(run.len() as u8 + 1);
                out.append(&mut run);
            }
        }
        if !run.is_empty() || ended_by_zero {
            out.push(run.len() as u8 + 1);
            out.append(&mut run);
        }
        out
    }

    /// Bytes of which some are zero, from almost none to almost all.
    fn random_datagram(rng: &mut Rng, len: usize) -> Vec<u8> {
        let zeros = [0, 1, 30, 90][rng.below(4) as usize];
        let mut byte = || {
            if rng.below(100) < zeros {
                0
            } else {
                1 + rng.below(255) as u8
            }
        };
        (0..len).map(|_| byte()).collect()
    }

    #[test]
    fn published_checksum() {
        // The check value of CRC-32C, and RFC 3720 appendix B.4: 32 bytes of zeros.
        assert_eq!(CRC.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(CRC.checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn every_length_goes_and_comes_back() {
        let mut rng = Rng::new(5);
        let mut decoder = Decoder::new();
        for len in 1..=MAX_DATAGRAM_BYTES {
            for datagram in [
                std::vec![0; len],
                std::vec![0xff; len],
                random_datagram(&mut rng, len),
            ] {
                let sent = frame(&datagram);
                let crc = CRC.checksum(&datagram).to_le_bytes();
                let (zero, stuffed) = sent.split_last().unwrap();
                assert_eq!(*zero, 0);
                assert_eq!(
                    stuffed,
                    stuff_by_definition(&[&datagram[..], &crc].concat())
                );
                assert_eq!(decode(&mut decoder, &sent), [datagram]);
            }
        }
        assert_eq!(decoder.bad_frames(), 0);
    }

    #[test]
    fn an_empty_datagram_has_no_frame() {
        assert_eq!(encode(&[], &mut [0; 10]), Ok(0));
        let mut decoder = Decoder::new();
        assert!(decode(&mut decoder, &[1, 1, 1, 1, 1, 0]).is_empty());
        assert_eq!(decoder.bad_frames(), 1);
    }

    #[test]
    fn bytes_may_come_in_any_pieces() {
        let mut rng = Rng::new(6);
        let datagrams: Vec<Vec<u8>> = (0..50)
            .map(|i| random_datagram(&mut rng, 1 + i * 24))
            .collect();
        let line: Vec<u8> = datagrams
            .iter()
            .flat_map(|datagram| frame(datagram))
            .collect();
        let mut decoder = Decoder::new();
        for size in [1, 2, 3, 700, 5_000, line.len()] {
            let pieces = line.chunks(size);
            let received: Vec<Vec<u8>> = pieces
                .flat_map(|piece| decode(&mut decoder, piece))
                .collect();
            assert_eq!(received, datagrams);
        }
        assert_eq!(decoder.bad_frames(), 0);
    }

    #[test]
    fn a_damaged_line_yields_only_what_was_sent() {
        let mut rng = Rng::new(7);
        let mut decoder = Decoder::new();
        let mut intact = 0;
        for _ in 0..100_000 {
            let lens: [u64; 3] = core::array::from_fn(|_| 1 + rng.below(60));
            let sent = lens.map(|len| random_datagram(&mut rng, len as usize));
            let mut line: Vec<u8> = sent.iter().flat_map(|datagram| frame(datagram)).collect();
            for _ in 0..=rng.below(3) {
                let at = rng.below(line.len() as u64) as usize;
                match rng.below(4) {
                    0 => line[at] ^= 1 << rng.below(8),
                    1 => drop(line.remove(at)),
                    2 => line.insert(at, line[at]),
                    _ => line[at] = rng.next_u64() as u8,
                }
            }
            // A zero ends whatever the damage left open, so that cases do not reach into each other.
            line.push(0);
            for datagram in decode(&mut decoder, &line) {
                assert!(sent.contains(&datagram), "{datagram:02x?}");
                intact += 1;
            }
            // In step again at once.
            assert_eq!(decode(&mut decoder, &frame(b"next")), [b"next"]);
        }
        let damaged = decoder.bad_frames();
        assert!(
            intact > 100_000 && damaged > 100_000,
            "{intact} intact, {damaged} damaged"
        );
    }

    #[test]
    fn noise_is_counted_and_bounded() {
        let mut rng = Rng::new(8);
        let mut decoder = Decoder::new();
        for _ in 0..1_000 {
            let noise: Vec<u8> = (0..rng.below(4_000))
                .map(|_| 1 + rng.below(255) as u8)
                .collect();
            let before = decoder.bad_frames();
            assert!(decode(&mut decoder, &noise).is_empty());
            assert!(decode(&mut decoder, &[0, 0, 0]).is_empty());
            assert_eq!(decoder.bad_frames() - before, u64::from(!noise.is_empty()));
        }
        assert_eq!(decode(&mut decoder, &frame(b"after")), [b"after"]);
    }

    #[test]
    fn a_frame_of_a_datagram_too_long_is_bad() {
        // 1,233 zeros and a sound checksum stuff into few enough bytes to be kept, and are refused all the same.
        for extra in 1..=5 {
            let datagram = std::vec![0; MAX_DATAGRAM_BYTES + extra];
            let crc = CRC.checksum(&datagram).to_le_bytes();
            let mut line = stuff_by_definition(&[&datagram[..], &crc].concat());
            line.push(0);
            let mut decoder = Decoder::new();
            assert!(decode(&mut decoder, &line).is_empty());
            assert_eq!(decoder.bad_frames(), 1);
        }
    }

    #[test]
    fn too_little_room_is_refused() {
        let mut rng = Rng::new(9);
        for len in [1, 250, 254, 300, 1_232] {
            let datagram = random_datagram(&mut rng, len);
            let expected = frame(&datagram);
            for room in 0..expected.len() {
                assert_eq!(encode(&datagram, &mut std::vec![0; room]), Err(Full));
            }
            let mut exact = std::vec![0xee; expected.len()];
            assert_eq!(encode(&datagram, &mut exact), Ok(expected.len()));
            assert_eq!(exact, expected);
        }
        assert_eq!(encode(&[0; 1_233], &mut [0; 2_000]), Err(Full));
    }

    /// A line that hands out few bytes at a time, and every other time none yet.
    struct Slow<'a> {
        rest: &'a [u8],
        turn: usize,
    }

    impl embedded_io::ErrorType for Slow<'_> {
        type Error = embedded_io::ErrorKind;
    }

    impl embedded_io::Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> Result<usize, Self::Error> {
            self.turn += 1;
            if self.turn.is_multiple_of(2) {
                return Err(embedded_io::ErrorKind::TimedOut);
            }
            let most = (self.turn % 7 + 1).min(out.len());
            let read = embedded_io::Read::read(&mut self.rest, &mut out[..most]);
            read.map_err(|never| match never {})
        }
    }

    impl embedded_io::ReadReady for Slow<'_> {
        fn read_ready(&mut self) -> Result<bool, Self::Error> {
            // One step further each time it is asked, so that not everything is ready at once.
            self.turn += 1;
            Ok(!self.turn.is_multiple_of(3) && !(self.turn + 1).is_multiple_of(2))
        }
    }

    #[test]
    fn a_reader_that_does_not_wait_finds_the_same() {
        let mut line = frame(b"weir");
        line.extend(frame(&[0; 600]));
        let mut reader = FrameReader::new(Slow {
            rest: &line,
            turn: 0,
        });
        let (mut found, mut pauses) = (Vec::new(), 0);
        while !reader.line().rest.is_empty() || reader.fresh.start < reader.fresh.end {
            match reader.ready_datagram().unwrap() {
                Some(datagram) => found.push(datagram.to_vec()),
                None => pauses += 1,
            }
        }
        assert_eq!(found, [b"weir".to_vec(), std::vec![0; 600]]);
        assert!(pauses > 10, "{pauses}");
        assert_eq!(reader.line_mut().rest.len(), 0);
    }

    #[test]
    fn a_reader_finds_what_was_sent_whatever_the_line_hands_out() {
        let datagrams: [&[u8]; 4] = [&[0; 40], b"weir", &[7; MAX_DATAGRAM_BYTES], &[1]];
        let mut line: Vec<u8> = b"noise before the first frame\0".to_vec();
        for datagram in datagrams {
            line.extend_from_slice(&frame(datagram));
        }
        let mut whole = FrameReader::new(line.as_slice());
        let mut slow = FrameReader::new(Slow {
            rest: &line,
            turn: 0,
        });
        for datagram in datagrams {
            assert_eq!(whole.next_datagram(), Ok(Some(datagram)));
            let found = loop {
                match slow.next_datagram() {
                    Ok(found) => break found.map(<[u8]>::to_vec),
                    Err(error) => assert_eq!(error, embedded_io::ErrorKind::TimedOut),
                }
            };
            assert_eq!(found.as_deref(), Some(datagram));
        }
        assert_eq!(whole.next_datagram(), Ok(None));
        assert_eq!((whole.bad_frames(), slow.bad_frames()), (1, 1));
    }
}
