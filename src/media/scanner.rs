//! The filter itself: bytes in, the same bytes out as marked segments.

use heapless::String;

use super::step::{Findings, Step, Unit};
use super::timeline::Timeline;
use super::{aac, asf, flac, matroska, mp3, mp4, mpegts, ogg, raw, recognise, wav};

/// Most bytes held back: the longest Ogg page is 65,307 (RFC 3533 section 6), and what precedes a box fits beside it.
pub const MAX_HELD_BYTES: usize = 72 * 1024;

/// So many bytes that make no sense, without a sync point between them, and the media is taken as raw.
pub const MAX_JUNK_BYTES: u64 = 256 * 1024;

/// Most bytes of a content type that are kept.
const MAX_CONTENT_TYPE_BYTES: usize = 64;

/// The container of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// Not recognised yet.
    Unknown,
    /// Ogg pages (RFC 3533).
    Ogg,
    /// MPEG audio frames, layers 1 to 3 (ISO/IEC 11172-3, 13818-3).
    Mp3,
    /// AAC in ADTS frames (ISO/IEC 13818-7).
    Aac,
    /// Native FLAC (RFC 9639).
    Flac,
    /// RIFF WAVE.
    Wav,
    /// MPEG transport stream (ISO/IEC 13818-1).
    MpegTs,
    /// Fragmented ISO base media (ISO/IEC 14496-12).
    Mp4,
    /// Matroska and WebM (RFC 9559).
    Matroska,
    /// Advanced Systems Format (Microsoft, revision 01.20.05).
    Asf,
    /// Anything else.
    Raw,
}

/// What the first byte of a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Nothing special.
    Continue,
    /// A clean frame boundary, where output may end and something else begin.
    Cut,
    /// A place where a player can begin, once it has the preamble.
    Sync,
}

/// A run of media bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// What the first byte is.
    pub start: Start,
    /// The bytes as they came in; places in the whole file that MP4 fragments name are counted from themselves, and the frames
    /// around ASF that HTTP has carried are gone.
    pub bytes: &'a [u8],
    /// Media time at the first byte in microseconds since the first one known; never runs back.
    pub time_us: Option<u64>,
    /// The preamble of this sync point is another one than that of the sync point before.
    pub preamble_changed: bool,
    /// Something was lost before this segment: the input was restarted.
    pub discontinuity: bool,
    /// [`Scanner::preamble`] as of this segment; it means something at a sync point only.
    pub preamble: &'a [u8],
}

// There is no heap to put the large ones on, and the scanner's buffers dwarf them all.
#[allow(clippy::large_enum_variant)]
enum Parser {
    Recognising,
    Ogg(ogg::Ogg),
    Mp3(mp3::Mp3),
    Aac(aac::Aac),
    Flac(flac::Flac),
    Wav(wav::Wav),
    MpegTs(mpegts::MpegTs),
    Mp4(mp4::Mp4),
    Matroska(matroska::Matroska),
    Asf(asf::Asf),
    Raw,
}

impl Parser {
    fn step(&mut self, window: &mut [u8], ended: bool, found: &mut Findings) -> Step {
        match self {
            Self::Recognising => recognise::step(window, ended, found),
            Self::Ogg(ogg) => ogg.step(window, found),
            Self::Mp3(mp3) => mp3.step(window, ended, found),
            Self::Aac(aac) => aac.step(window, ended, found),
            Self::Flac(flac) => flac.step(window, ended, found),
            Self::Wav(wav) => wav.step(window, found),
            Self::MpegTs(ts) => ts.step(window, ended, found),
            Self::Mp4(mp4) => mp4.step(window, ended, found),
            Self::Matroska(matroska) => matroska.step(window, ended, found),
            Self::Asf(asf) => asf.step(window, found),
            Self::Raw => raw::step(window),
        }
    }
}

/// Finds out where players can begin in a stream of media bytes.
///
/// The contract: [`push`](Self::push) bytes, then call [`next_segment`](Self::next_segment) until it returns `None`,
/// and so on. The segments' bytes, put together, are the bytes pushed (but see [`Segment::bytes`]); what is held back is at most
/// [`MAX_HELD_BYTES`], in practice one frame, and comes out with [`finish`](Self::finish). Only
/// [`restart`](Self::restart) loses bytes.
///
/// ```
/// use weir::media::{Scanner, Start};
///
/// let mut scanner = Box::new(Scanner::new());
/// let mut input: &[u8] = &[0; 40_000]; // bytes as they come from a socket
/// while !input.is_empty() {
///     let taken = scanner.push(input);
///     input = &input[taken..];
///     while let Some(segment) = scanner.next_segment() {
///         if segment.start == Start::Sync && segment.preamble_changed {
///             // segment.preamble goes out before this segment's bytes
///         }
///         // segment.bytes go out
///     }
/// }
/// assert_eq!(scanner.content_type(), "application/octet-stream");
/// ```
///
/// A scanner is about 150 KiB: keep it in a `Box` or a `static`, and make no two where one will do.
pub struct Scanner {
    held: [u8; MAX_HELD_BYTES],
    /// The window is `held[from..to]`.
    from: usize,
    to: usize,
    parser: Parser,
    container: Container,
    found: Findings,
    timeline: Timeline,
    /// Bytes of the current unit that have not come in yet.
    flowing: u64,
    /// Since the last sync point, restarts or not: a short broken file may come again and again.
    junk_bytes: u64,
    ended: bool,
    restarted: bool,
    trouble: Option<&'static str>,
    hint: String<MAX_CONTENT_TYPE_BYTES>,
}

const _: () = assert!(size_of::<Scanner>() <= 160 * 1024);

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner that has seen nothing.
    pub const fn new() -> Self {
        Self {
            held: [0; MAX_HELD_BYTES],
            from: 0,
            to: 0,
            parser: Parser::Recognising,
            container: Container::Unknown,
            found: Findings::new(),
            timeline: Timeline::new(),
            flowing: 0,
            junk_bytes: 0,
            ended: false,
            restarted: false,
            trouble: None,
            hint: String::new(),
        }
    }

    /// The content type as the user or the pushing program gave it. Only a hint: the first bytes decide, and it is
    /// used for what they cannot tell. One longer than 64 bytes or not printable ASCII is ignored.
    pub fn set_hint(&mut self, content_type: &str) {
        let content_type = content_type.trim();
        self.hint.clear();
        if content_type
            .bytes()
            .all(|b| b == b' ' || b.is_ascii_graphic())
        {
            // One that does not fit is ignored, as documented.
            let _ = self.hint.push_str(content_type);
        }
    }

    /// Takes as many bytes as there is room for and returns how many; after draining the segments there is room.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        if self.to.saturating_add(bytes.len()) > MAX_HELD_BYTES && self.from > 0 {
            self.held.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        let room = self.held.get_mut(self.to..).unwrap_or_default();
        let taken = bytes.len().min(room.len());
        room.iter_mut()
            .zip(bytes)
            .for_each(|(to, &from)| *to = from);
        self.to += taken;
        taken
    }

    /// The next segment, `None` when more bytes are needed.
    pub fn next_segment(&mut self) -> Option<Segment<'_>> {
        loop {
            let unit = self.next_unit()?;
            // A unit was cut to the window, so its length fits.
            let at = self.from;
            self.from = self.to.min(at.saturating_add(unit.len as usize));
            if self.restarted && !self.may_begin_with(unit.start) {
                continue;
            }
            let time_us = unit.time_us.map(|time_us| self.timeline.at(time_us));
            return Some(Segment {
                start: unit.start,
                time_us,
                preamble_changed: unit.start == Start::Sync && self.found.preamble.take_changed(),
                discontinuity: core::mem::take(&mut self.restarted),
                bytes: self.held.get(at..self.from).unwrap_or_default(),
                preamble: self.found.preamble.bytes(),
            });
        }
    }

    /// The input went away and came back: what was held back is lost (drain first), recognition starts anew, and the
    /// next segment has `discontinuity` set. It starts at a sync point; only in Ogg it starts at the header pages,
    /// which belong in the stream there (chaining, RFC 3533 section 4).
    pub fn restart(&mut self) {
        (self.from, self.to) = (0, 0);
        self.parser = Parser::Recognising;
        self.container = Container::Unknown;
        self.found.preamble.clear();
        self.found.preamble.commit();
        self.found.content_type = "";
        self.found.bitrate_bps = None;
        self.timeline.restart();
        self.flowing = 0;
        self.ended = false;
        self.restarted = true;
        self.trouble = None;
    }

    /// The input has ended: what is held back comes out with the next segments. Only [`restart`](Self::restart) may
    /// follow.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// What the input was recognised as, [`Container::Unknown`] before that.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The content type for players, e.g. `audio/mpeg`; the hint or `application/octet-stream` when not known.
    pub fn content_type(&self) -> &str {
        match (self.found.content_type, self.hint.as_str()) {
            ("", "") => "application/octet-stream",
            ("", hint) => hint,
            // ADTS does not tell HE-AAC from AAC, the encoder does.
            ("audio/aac", hint @ "audio/aacp") => hint,
            (found, _) => found,
        }
    }

    /// The bytes a player needs before any sync point of the segments now coming out; may be empty.
    pub fn preamble(&self) -> &[u8] {
        self.found.preamble.bytes()
    }

    /// The bit rate of the media, when the container tells.
    pub fn bitrate_bps(&self) -> Option<u32> {
        self.found.bitrate_bps
    }

    /// What is playing, once after each change; empty when the new piece does not say. At most
    /// [`crate::limits::MAX_METADATA_BYTES`].
    pub fn metadata(&mut self) -> Option<&str> {
        self.found.now_playing.take()
    }

    /// Why the media was given up as raw from here on.
    pub fn trouble(&self) -> Option<&'static str> {
        self.trouble
    }

    /// Bytes that have come in and not gone out.
    pub fn held_bytes(&self) -> usize {
        self.to - self.from
    }

    fn may_begin_with(&self, start: Start) -> bool {
        match start {
            Start::Sync => true,
            Start::Cut => self.container == Container::Ogg,
            Start::Continue => false,
        }
    }

    /// The next unit, cut to what the window holds of it.
    fn next_unit(&mut self) -> Option<Unit> {
        loop {
            let window = self
                .held
                .get_mut(self.from..self.to)
                .filter(|window| !window.is_empty())?;
            let held = window.len() as u64;
            if self.flowing > 0 {
                let len = self.flowing.min(held);
                self.flowing -= len;
                return Some(Unit {
                    start: Start::Continue,
                    len,
                    time_us: None,
                });
            }
            match self.parser.step(window, self.ended, &mut self.found) {
                Step::Unit(unit) => {
                    if unit.start == Start::Sync && self.container != Container::Raw {
                        self.junk_bytes = 0;
                    }
                    let len = unit.len.clamp(1, held);
                    self.flowing = unit.len.saturating_sub(len);
                    return Some(Unit { len, ..unit });
                }
                // At least one, or it would go on for ever.
                Step::Drop(len) => self.from = self.to.min(self.from + len.max(1)),
                Step::Junk(len) => return Some(self.junk((len as u64).clamp(1, held))),
                Step::Need if self.ended => {
                    return Some(Unit {
                        start: Start::Continue,
                        len: held,
                        time_us: None,
                    });
                }
                Step::Need if held == MAX_HELD_BYTES as u64 => return Some(self.junk(held)),
                Step::Need => return None,
                Step::Recognised(container) => self.recognised(container),
                Step::Hopeless(why) => self.give_up(why),
            }
        }
    }

    fn junk(&mut self, len: u64) -> Unit {
        self.junk_bytes = self.junk_bytes.saturating_add(len);
        if self.junk_bytes > MAX_JUNK_BYTES {
            self.give_up("no valid frame in 256 KiB");
        }
        Unit {
            start: Start::Continue,
            len,
            time_us: None,
        }
    }

    fn recognised(&mut self, container: Container) {
        self.container = container;
        self.parser = match container {
            Container::Ogg => Parser::Ogg(ogg::Ogg::new()),
            Container::Mp3 => Parser::Mp3(mp3::Mp3::new()),
            Container::Aac => Parser::Aac(aac::Aac::new()),
            Container::Flac => Parser::Flac(flac::Flac::new()),
            Container::Wav => Parser::Wav(wav::Wav::new()),
            Container::MpegTs => Parser::MpegTs(mpegts::MpegTs::new()),
            Container::Mp4 => Parser::Mp4(mp4::Mp4::new()),
            Container::Matroska => Parser::Matroska(matroska::Matroska::new()),
            Container::Asf => Parser::Asf(asf::Asf::new()),
            Container::Raw | Container::Unknown => Parser::Raw,
        };
    }

    fn give_up(&mut self, why: &'static str) {
        self.parser = Parser::Raw;
        self.container = Container::Raw;
        self.trouble = Some(why);
        self.found.preamble.clear();
        self.found.preamble.commit();
    }
}
