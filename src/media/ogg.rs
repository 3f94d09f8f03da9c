//! Ogg pages (RFC 3533) and what of the codecs' mappings tells headers, key frames and time.

use crc::{Algorithm, Crc, Table};
use heapless::Vec;

use super::fields::{array, find, tail, u8, u16_be, u32_be, u32_le, u64_le};
use super::scanner::Start;
use super::step::{Findings, Step};
use super::timeline::scale_us;

const CAPTURE: &[u8; 4] = b"OggS";
const HEADER_BYTES: usize = 27;
const FLAG_CONTINUED: u8 = 1;
const FLAG_FIRST: u8 = 2;
const FLAG_LAST: u8 = 4;

/// Logical streams of one group.
const MAX_STREAMS: usize = 8;

/// Data that may pass while some stream's headers are still missing.
const MAX_DATA_BEFORE_HEADERS: usize = 64 * 1024;

/// A first time stamp below this is the end of a page that began at 0; above, the stream was tuned into.
const FIRST_PAGE_US: u64 = 10_000_000;

/// RFC 3533 section 6, field 7: the direct algorithm, initial value and final XOR 0.
static PAGE_CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&Algorithm {
    width: 32,
    poly: 0x04c1_1db7,
    init: 0,
    refin: false,
    refout: false,
    xorout: 0,
    check: 0x89a1_897f,
    residue: 0,
});

/// What is known of a codec's mapping into Ogg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Codec {
    Vorbis,
    Opus,
    Flac,
    Speex,
    /// Bits of the granule position that count frames since the key frame.
    Theora {
        shift: u8,
    },
    Vp8,
    Skeleton,
    /// Its headers are the pages with granule position 0.
    Other,
}

impl Codec {
    /// Reads a stream's first packet.
    fn read(packet: &[u8]) -> Mapping {
        Self::try_read(packet).unwrap_or(Mapping {
            codec: Self::Other,
            headers: usize::MAX,
            clock: (0, 1),
            bps: None,
        })
    }

    fn try_read(packet: &[u8]) -> Option<Mapping> {
        let bps_at = |at| u32_le(packet, at).filter(|&bps| 0 < bps && bps < 1 << 31);
        let (codec, headers, clock, bps) = if packet.starts_with(b"\x01vorbis") {
            (Self::Vorbis, 2, (u32_le(packet, 12)?, 1), bps_at(20)) // Vorbis I, 4.2.2
        } else if packet.starts_with(b"OpusHead") {
            (Self::Opus, 1, (48_000, 1), None) // RFC 7845
        } else if packet.starts_with(b"\x7fFLAC") {
            (Self::Flac, usize::MAX, (u32_be(packet, 27)? >> 12, 1), None) // RFC 9639, 10.1 and 8.2
        } else if packet.starts_with(b"Speex   ") {
            let extra = u32_le(packet, 68).unwrap_or(0).min(64) as usize;
            (Self::Speex, 1 + extra, (u32_le(packet, 36)?, 1), bps_at(52))
        } else if packet.starts_with(b"\x80theora") {
            let shift = (u16_be(packet, 40)? >> 5 & 0x1f) as u8; // Theora specification, 6.2
            let nominal = u32_be(packet, 36)? & 0x00ff_ffff;
            let clock = (u32_be(packet, 22)?, u32_be(packet, 26)?);
            (
                Self::Theora { shift },
                2,
                clock,
                Some(nominal).filter(|&bps| bps > 0),
            )
        } else if packet.starts_with(b"OVP80\x01") {
            // As ffmpeg and GStreamer write it; there is no document. The comments may be missing.
            let clock = (u32_be(packet, 18)?, u32_be(packet, 22)?);
            (Self::Vp8, 1, clock, None)
        } else if packet.starts_with(b"fishead\0") {
            (Self::Skeleton, usize::MAX, (0, 1), None)
        } else {
            return None;
        };
        Some(Mapping {
            codec,
            headers,
            clock,
            bps,
        })
    }

    /// Whether a packet that stands where a header must be can be one (Vorbis I, 4.2.1; Theora specification, 6.1; RFC 7845, 5.2).
    fn may_be_header(self, packet: &[u8]) -> bool {
        let marked = |bit| packet.first().is_none_or(|&b| b & bit != 0);
        match self {
            Self::Vorbis => marked(0x01),
            Self::Theora { .. } => marked(0x80),
            Self::Opus => packet.starts_with(b"OpusTags"),
            _ => true,
        }
    }

    fn is_video(self) -> bool {
        matches!(self, Self::Theora { .. } | Self::Vp8)
    }

    /// Whether a packet of video is a key frame. Theora specification, 7.1: the first bit is 0 for data, the second 0 for a
    /// key frame; RFC 6386, 9.1: the lowest bit is 0 for one.
    fn is_key_frame(self, packet: &[u8]) -> bool {
        let bits = if self == Self::Vp8 { 0x01 } else { 0xc0 };
        packet.first().is_some_and(|&b| b & bits == 0)
    }

    /// The time a granule position stands for.
    fn time_us(self, granule: u64, (ticks, per): (u32, u32)) -> Option<u64> {
        let count = match self {
            Self::Theora { shift } => {
                (granule >> shift).checked_add(granule & !(u64::MAX << shift))?
            }
            Self::Vp8 => granule >> 32,
            _ => granule,
        };
        scale_us(count.checked_mul(u64::from(per))?, u64::from(ticks))
    }
}

/// What a stream's first packet says.
struct Mapping {
    codec: Codec,
    /// Header packets after this one.
    headers: usize,
    /// Ticks per second, as a fraction.
    clock: (u32, u32),
    /// The nominal bit rate.
    bps: Option<u32>,
}

/// One logical stream of the group.
#[derive(Clone, Copy)]
struct Stream {
    serial: u32,
    codec: Codec,
    clock: (u32, u32),
    /// Header packets still to come.
    headers: usize,
    /// Its last page ended within a packet.
    open: bool,
    /// Where its last page ended.
    end_us: Option<u64>,
}

/// One page, whole and proved.
#[derive(Clone, Copy)]
struct Page<'a> {
    bytes: &'a [u8],
    flags: u8,
    granule: u64,
    serial: u32,
    lacing: &'a [u8],
    body: &'a [u8],
}

impl<'a> Page<'a> {
    /// Bytes of the page whose header is in front, `None` when that is not whole.
    fn len(window: &[u8]) -> Option<usize> {
        let segments = usize::from(u8(window, 26)?);
        let lacing = window.get(HEADER_BYTES..HEADER_BYTES + segments)?;
        Some(HEADER_BYTES + segments + lacing.iter().map(|&n| usize::from(n)).sum::<usize>())
    }

    /// Reads the page that `bytes` are, if its checksum fits.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut digest = PAGE_CRC.digest();
        digest.update(bytes.get(..22)?);
        digest.update(&[0; 4]);
        digest.update(bytes.get(26..)?);
        if digest.finalize() != u32_le(bytes, 22)? {
            return None;
        }
        let segments = usize::from(u8(bytes, 26)?);
        Some(Self {
            bytes,
            flags: u8(bytes, 5)?,
            granule: u64_le(bytes, 6)?,
            serial: u32_le(bytes, 14)?,
            lacing: bytes.get(HEADER_BYTES..HEADER_BYTES + segments)?,
            body: tail(bytes, HEADER_BYTES + segments),
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the last packet goes on in the stream's next page.
    fn ends_open(&self) -> bool {
        self.lacing.last() == Some(&255)
    }

    /// The packets that begin in this page, as much of each as is in it, and whether it ends here.
    fn packets(&self) -> impl Iterator<Item = (&'a [u8], bool)> {
        let (lacing, body) = (self.lacing, self.body);
        let (mut segment, mut at, mut inside) = (0, 0, self.has(FLAG_CONTINUED));
        core::iter::from_fn(move || {
            loop {
                if segment >= lacing.len() {
                    return None;
                }
                let begin = at;
                let mut ended = false;
                while let Some(&len) = lacing.get(segment) {
                    segment += 1;
                    at += usize::from(len);
                    ended = len < 255;
                    if ended {
                        break;
                    }
                }
                if !core::mem::take(&mut inside) {
                    return Some((body.get(begin..at).unwrap_or_default(), ended));
                }
            }
        })
    }

    /// Packets that end in this page.
    fn packets_ended(&self) -> usize {
        self.lacing.iter().filter(|&&len| len < 255).count()
    }
}

/// Follows Ogg pages, chained groups of multiplexed streams among them.
pub(super) struct Ogg {
    streams: Vec<Stream, MAX_STREAMS>,
    /// Every stream of the group has all its headers, and they are the preamble.
    ready: bool,
    /// Another page than a first one has passed, so the next first page begins another group (RFC 3533 section 4).
    firsts_over: bool,
    data_before_headers: usize,
    /// Group time 0 on the container's clock, and where the group's clock began.
    base_us: u64,
    origin_us: Option<u64>,
    now_us: u64,
}

impl Ogg {
    pub(super) const fn new() -> Self {
        Self {
            streams: Vec::new(),
            ready: false,
            firsts_over: false,
            data_before_headers: 0,
            base_us: 0,
            origin_us: None,
            now_us: 0,
        }
    }

    pub(super) fn step(&mut self, window: &[u8], found: &mut Findings) -> Step {
        let seen = window.len().min(CAPTURE.len());
        if window.get(..seen) != CAPTURE.get(..seen)
            || u8(window, 4).is_some_and(|version| version != 0)
        {
            return junk(window);
        }
        let Some(len) = Page::len(window) else {
            return Step::Need;
        };
        let Some(bytes) = window.get(..len) else {
            return Step::Need;
        };
        match Page::read(bytes) {
            None => {
                // A packet of which a part is missing is dropped by decoders; nothing stays open.
                self.streams
                    .iter_mut()
                    .for_each(|stream| stream.open = false);
                junk(window)
            }
            Some(page) if page.has(FLAG_FIRST) => self.first_page(page, found),
            Some(page) => match self
                .streams
                .iter()
                .position(|stream| stream.serial == page.serial)
            {
                None => Step::Junk(len),
                Some(index) => self.next_page(index, page, found),
            },
        }
    }

    fn first_page(&mut self, page: Page<'_>, found: &mut Findings) -> Step {
        if self.firsts_over || self.streams.is_empty() {
            self.streams.clear();
            (self.ready, self.firsts_over, self.data_before_headers) = (false, false, 0);
            (self.base_us, self.origin_us) = (self.now_us, None);
            found.preamble.clear();
            found.bitrate_bps = None;
        }
        let packet = page
            .packets()
            .next()
            .map(|(packet, _)| packet)
            .unwrap_or_default();
        let Mapping {
            codec,
            headers,
            clock,
            bps,
        } = Codec::read(packet);
        let stream = Stream {
            serial: page.serial,
            codec,
            clock,
            headers,
            open: page.ends_open(),
            end_us: None,
        };
        if self.streams.push(stream).is_err() {
            return Step::Hopeless("more than 8 streams in one Ogg group");
        }
        if let Some(bps) = bps {
            found.bitrate_bps = Some(found.bitrate_bps.unwrap_or(0).saturating_add(bps));
        }
        found.content_type = self.content_type();
        self.header_page(page, found)
    }

    fn header_page(&mut self, page: Page<'_>, found: &mut Findings) -> Step {
        if found.preamble.append(page.bytes).is_err() {
            return Step::Hopeless("Ogg headers over 64 KiB");
        }
        Step::unit(
            if page.has(FLAG_CONTINUED) {
                Start::Continue
            } else {
                Start::Cut
            },
            page.bytes.len(),
            None,
        )
    }

    fn next_page(&mut self, index: usize, page: Page<'_>, found: &mut Findings) -> Step {
        self.firsts_over = true;
        let Some(stream) = self.streams.get_mut(index) else {
            return Step::Junk(page.bytes.len());
        };
        let is_header = match stream.codec {
            _ if stream.headers == 0 => false,
            Codec::Other => page.granule == 0 || page.packets_ended() == 0,
            Codec::Vp8 => page.body.starts_with(b"OVP80"),
            _ => true,
        };
        if !is_header {
            stream.headers = 0;
            return self.data_page(index, page, found);
        }
        let codec = stream.codec;
        if !page
            .packets()
            .all(|(packet, _)| codec.may_be_header(packet))
        {
            return Step::Hopeless("Ogg headers are missing");
        }
        stream.open = page.ends_open();
        stream.headers = match stream.codec {
            Codec::Skeleton if page.has(FLAG_LAST) => 0,
            Codec::Flac
                if page
                    .packets()
                    .any(|(packet, _)| packet.first().is_some_and(|&b| b & 0x80 != 0)) =>
            {
                0
            }
            Codec::Skeleton | Codec::Flac | Codec::Other => stream.headers,
            _ => stream.headers.saturating_sub(page.packets_ended()),
        };
        page.packets()
            .for_each(|(packet, _)| read_comment(codec, packet, found));
        let step = self.header_page(page, found);
        self.note_ready(found);
        step
    }

    fn note_ready(&mut self, found: &mut Findings) {
        let whole = |stream: &Stream| stream.headers == 0 || matches!(stream.codec, Codec::Other);
        if self.streams.iter().all(whole) && !self.streams.iter().all(|s| s.headers > 0) {
            self.ready = true;
            found.preamble.commit();
        }
    }

    fn data_page(&mut self, index: usize, page: Page<'_>, found: &mut Findings) -> Step {
        if !self.ready {
            // Skeleton tracks need not end before the data; for the others the headers must be there.
            self.streams
                .iter_mut()
                .filter(|s| s.codec == Codec::Skeleton)
                .for_each(|s| s.headers = 0);
            self.note_ready(found);
            self.data_before_headers += page.bytes.len();
            if self.data_before_headers > MAX_DATA_BEFORE_HEADERS {
                return Step::Hopeless("Ogg headers are missing");
            }
        }
        let start = self.start(index, page);
        let time_us = self.time(index, page);
        if let Some(stream) = self.streams.get_mut(index) {
            stream.open = page.ends_open();
        }
        Step::unit(start, page.bytes.len(), time_us)
    }

    /// A page is clean when no stream is within a packet, and a player can begin at one that moreover begins with a
    /// key frame, or with any packet where there is no video.
    fn start(&self, index: usize, page: Page<'_>) -> Start {
        if page.has(FLAG_CONTINUED) || self.streams.iter().any(|stream| stream.open) {
            return Start::Continue;
        }
        let first = page.packets().next();
        let begins = match self.streams.get(index) {
            Some(Stream { codec, .. }) if codec.is_video() => {
                first.is_some_and(|(packet, _)| codec.is_key_frame(packet))
            }
            Some(_) => first.is_some() && !self.streams.iter().any(|s| s.codec.is_video()),
            None => false,
        };
        // Nothing comes after a last page, so nobody should begin there.
        if self.ready && begins && !page.has(FLAG_LAST) {
            Start::Sync
        } else {
            Start::Cut
        }
    }

    /// Where the page begins: where the stream's page before it ended.
    fn time(&mut self, index: usize, page: Page<'_>) -> Option<u64> {
        let stream = self.streams.get_mut(index)?;
        let begin_us = stream.end_us;
        // Granule position -1: no packet ends in this page.
        let end_us = Some(page.granule)
            .filter(|&g| g < 1 << 63)
            .and_then(|g| stream.codec.time_us(g, stream.clock));
        stream.end_us = end_us.or(begin_us);
        if let (None, Some(end_us)) = (self.origin_us, end_us) {
            self.origin_us = Some(if end_us < FIRST_PAGE_US { 0 } else { end_us });
        }
        let group_us = |us: u64| {
            self.base_us
                .saturating_add(us.saturating_sub(self.origin_us.unwrap_or(0)))
        };
        self.now_us = self.now_us.max(end_us.map_or(0, group_us));
        Some(group_us(begin_us.unwrap_or(0)))
    }

    fn content_type(&self) -> &'static str {
        let has = |test: fn(Codec) -> bool| self.streams.iter().any(|stream| test(stream.codec));
        if has(Codec::is_video) {
            "video/ogg"
        } else if has(|codec| codec == Codec::Other) {
            "application/ogg"
        } else {
            "audio/ogg"
        }
    }
}

fn junk(window: &[u8]) -> Step {
    // A capture pattern may begin in the last three bytes.
    Step::Junk(find(window, 1, CAPTURE).unwrap_or(window.len().saturating_sub(3).max(1)))
}

fn read_comment(codec: Codec, packet: &[u8], found: &mut Findings) {
    let comment = match codec {
        Codec::Vorbis => packet.strip_prefix(b"\x03vorbis"),
        Codec::Opus => packet.strip_prefix(b"OpusTags"),
        // A FLAC metadata block of type 4 (RFC 9639, 8.1).
        Codec::Flac => array::<4>(packet, 0)
            .filter(|head| head[0] & 0x7f == 4)
            .map(|_| tail(packet, 4)),
        Codec::Speex => Some(packet),
        Codec::Theora { .. } | Codec::Vp8 | Codec::Skeleton | Codec::Other => None,
    };
    if let Some(comment) = comment {
        found.now_playing.read_vorbis_comment(comment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checksum bit by bit, from RFC 3533's description.
    fn checksum(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
                crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
            })
        })
    }

    fn page(flags: u8, granule: u64, serial: u32, lacing: &[u8], body: &[u8]) -> std::vec::Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(granule.to_le_bytes());
        page.extend(serial.to_le_bytes());
        page.extend([0; 8]);
        page.push(lacing.len() as u8);
        page.extend(lacing);
        page.extend(body);
        let sum = checksum(&page).to_le_bytes();
        page[22..26].copy_from_slice(&sum);
        page
    }

    fn theora_head() -> std::vec::Vec<u8> {
        let mut head = b"\x80theora\x03\x02\x01".to_vec();
        head.resize(42, 0);
        head[25] = 10; // 10 frames a second
        head[29] = 1;
        head[41] = 6 << 5;
        head
    }

    /// Steps over pages one by one.
    fn starts(pages: &[std::vec::Vec<u8>], found: &mut Findings) -> std::vec::Vec<Option<Start>> {
        let mut ogg = Ogg::new();
        let start = |page: &std::vec::Vec<u8>| match ogg.step(page, found) {
            Step::Unit(unit) => Some(unit.start),
            _ => None,
        };
        pages.iter().map(start).collect()
    }

    #[test]
    fn video_with_a_skeleton() {
        let theora = theora_head();
        let pages = [
            page(
                2,
                0,
                9,
                &[64],
                &[b"fishead\0".as_slice(), &[0; 56]].concat(),
            ),
            page(2, 0, 1, &[42], &theora),
            page(
                2,
                0,
                2,
                &[30],
                &[b"\x01vorbis".as_slice(), &[0; 23]].concat(),
            ),
            page(0, 0, 1, &[7, 7], b"\x81theora\x82theora"),
            page(0, 0, 2, &[7, 7], b"\x03vorbis\x05vorbis"),
            page(0, 0, 9, &[8], b"fisbone\0"),
            page(4, 0, 9, &[0], b""),
            page(0, 1 << 6, 1, &[3], &[0x00, 1, 2]), // a key frame
            page(0, 1 << 6 | 1, 1, &[3], &[0x40, 1, 2]), // one made from it
            page(0, u64::MAX, 2, &[255], &[0; 255]), // sound, which goes on
            page(0, 3 << 6, 1, &[3], &[0x00, 1, 2]), // a key frame while a packet is open
            page(1, 4_410, 2, &[5], &[0; 5]),        // the sound's end
            page(0, 4 << 6, 1, &[3], &[0x00, 1, 2]),
            page(4, 5 << 6, 1, &[3], &[0x00, 1, 2]), // the last
        ];
        let mut found = Findings::new();
        let starts = starts(&pages, &mut found);
        use Start::{Continue, Cut, Sync};
        assert!(starts[..7].iter().all(|&start| start == Some(Cut)));
        assert_eq!(
            starts[7..],
            [Sync, Cut, Cut, Continue, Continue, Sync, Cut].map(Some)
        );
        assert_eq!(found.preamble.bytes(), pages[..7].concat());
        assert_eq!(found.content_type, "video/ogg");
    }

    #[test]
    fn first_pages_behind_headers_begin_another_group() {
        let opus = |serial| {
            [
                page(
                    2,
                    0,
                    serial,
                    &[19],
                    b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0",
                ),
                page(0, 0, serial, &[8], b"OpusTags"),
            ]
        };
        let pages = [opus(1), opus(2)].concat();
        let mut found = Findings::new();
        starts(&pages, &mut found);
        assert_eq!(found.preamble.bytes(), pages[2..].concat());
    }

    #[test]
    fn data_do_not_pass_for_headers() {
        let head = page(
            2,
            0,
            1,
            &[30],
            &[b"\x01vorbis".as_slice(), &[0; 23]].concat(),
        );
        let (comment, data) = (
            page(0, 0, 1, &[7], b"\x03vorbis"),
            page(0, 9, 1, &[2], b"\x02a"),
        );
        // The setup header is missing.
        let starts = starts(&[head, comment, data], &mut Findings::new());
        assert_eq!(starts, [Some(Start::Cut), Some(Start::Cut), None]);
    }

    #[test]
    fn a_page_with_a_wrong_checksum_is_junk() {
        let mut bad = page(2, 0, 1, &[42], &theora_head());
        bad[40] ^= 1;
        assert_eq!(starts(&[bad], &mut Findings::new()), [None]);
        assert_eq!(PAGE_CRC.checksum(b"123456789"), checksum(b"123456789"));
    }

    #[test]
    fn theora_granules_count_frames() {
        let theora = Codec::Theora { shift: 6 };
        assert_eq!(theora.time_us(50 << 6 | 10, (30, 1)), Some(2_000_000));
        assert_eq!(Codec::Vorbis.time_us(44_100, (44_100, 1)), Some(1_000_000));
        assert_eq!(Codec::Other.time_us(5, (0, 1)), None);
    }
}
