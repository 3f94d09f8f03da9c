//! Fragmented ISO base media files (ISO/IEC 14496-12): what DASH, HLS and `-movflags empty_moov` make.
//!
//! The preamble is the file type and movie boxes. A player begins at a movie fragment whose video starts with a sync
//! sample, and at the boxes that stand directly before it.

mod places;
mod samples;

use heapless::Vec;

use super::fields::{array, find, tail, u8, u32_be, u64_be};
use super::scanner::{MAX_HELD_BYTES, Start};
use super::step::{Findings, Step};
use super::timeline::scale_us;

/// Tracks of one movie.
const MAX_TRACKS: usize = 8;

/// Most bytes of a box that is neither header nor media.
const MAX_OTHER_BYTES: u64 = 1024 * 1024;

/// Over less than this a bit rate says nothing: key frames are many times as long as others.
const RATE_WITHIN_US: u64 = 1_000_000;

/// `sample_is_non_sync_sample` (14496-12, 8.8.3.1).
const NON_SYNC_SAMPLE: u32 = 0x0001_0000;

/// A box header.
#[derive(Clone, Copy)]
struct Head {
    kind: [u8; 4],
    header: usize,
    /// The whole length, `u64::MAX` when it reaches to the end of the stream.
    len: u64,
}

impl Head {
    /// Reads the header in front: `None` when it is not whole, `Some(None)` when it is none (14496-12, 4.2).
    fn read(bytes: &[u8]) -> Option<Option<Self>> {
        let (size, kind) = (u32_be(bytes, 0)?, array::<4>(bytes, 4)?);
        let (header, len) = match size {
            0 => (8, u64::MAX),
            1 => (16, u64_be(bytes, 8)?),
            size => (8, u64::from(size)),
        };
        let is_name = kind
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || b == b' ' || b == 0xa9);
        Some((is_name && len >= header as u64).then_some(Self { kind, header, len }))
    }
}

/// The boxes directly inside, with their bodies; ends at what is no whole box.
fn children(body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = body;
    core::iter::from_fn(move || {
        let head = Head::read(rest)??;
        let len = usize::try_from(head.len)
            .ok()
            .filter(|&len| len <= rest.len())
            .unwrap_or(rest.len());
        let child = rest.get(head.header..len)?;
        rest = tail(rest, len);
        Some((head.kind, child))
    })
}

/// The first box of a kind.
fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    children(body)
        .find(|(name, _)| name == kind)
        .map(|(_, body)| body)
}

/// Hands out the boxes that stand one behind the other, whole, until one is given up.
fn each_box(
    mut rest: &mut [u8],
    mut take: impl FnMut([u8; 4], &mut [u8]) -> Option<()>,
) -> Option<()> {
    while let Some(Some(head)) = Head::read(rest) {
        // A long header has no place in 64 KiB.
        let len = usize::try_from(head.len)
            .ok()
            .filter(|_| head.header == 8)?;
        let (whole, behind) = core::mem::take(&mut rest).split_at_mut_checked(len)?;
        take(head.kind, whole)?;
        rest = behind;
    }
    Some(())
}

/// Writes a number where there is room for it.
fn put(bytes: &mut [u8], at: usize, number: [u8; 4]) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut::<4>()? = number;
    Some(())
}

/// A track of the movie.
#[derive(Clone, Copy)]
struct Track {
    id: u32,
    is_video: bool,
    ticks_per_second: u32,
    /// What samples are where a fragment says nothing.
    defaults: Defaults,
}

/// What samples are of which nothing else is said: ticks, bytes and flags.
#[derive(Clone, Copy, Default)]
struct Defaults {
    ticks: u32,
    bytes: u32,
    flags: u32,
}

impl Track {
    fn read(trak: &[u8]) -> Option<Self> {
        // In version 1 of these boxes the two times before the field are 64 bits wide.
        let after_times = |body: &[u8]| u32_be(body, if u8(body, 0)? == 1 { 20 } else { 12 });
        let mdia = child(trak, b"mdia")?;
        Some(Self {
            id: after_times(child(trak, b"tkhd")?)?,
            is_video: array(child(mdia, b"hdlr")?, 8) == Some(*b"vide"),
            ticks_per_second: after_times(child(mdia, b"mdhd")?)?,
            defaults: Defaults::default(),
        })
    }
}

/// What one track fragment says of its beginning, and of all of it.
struct TrackFragment {
    track_id: u32,
    time: Option<u64>,
    is_sync: bool,
    is_absolute: bool,
    ticks: u64,
    bytes: u64,
}

impl TrackFragment {
    fn read(traf: &[u8], tracks: &[Track]) -> Option<Self> {
        let tfhd = child(traf, b"tfhd")?;
        let (flags, track_id) = (u32_be(tfhd, 0)?, u32_be(tfhd, 4)?);
        let track = tracks.iter().find(|track| track.id == track_id);
        let mut defaults = track.map_or_else(Defaults::default, |track| track.defaults);
        // 14496-12, 8.8.7: those that are there stand in this order, behind a place in the file and a sample description.
        let mut at =
            8 + if flags & 0x1 != 0 { 8 } else { 0 } + if flags & 0x2 != 0 { 4 } else { 0 };
        for (bit, field) in [
            (0x08, &mut defaults.ticks),
            (0x10, &mut defaults.bytes),
            (0x20, &mut defaults.flags),
        ] {
            if flags & bit != 0 {
                *field = u32_be(tfhd, at)?;
                at += 4;
            }
        }
        let time = child(traf, b"tfdt").and_then(|tfdt| match u8(tfdt, 0)? {
            1 => u64_be(tfdt, 4),
            _ => u32_be(tfdt, 4).map(u64::from),
        });
        let first_flags =
            child(traf, b"trun").map(|trun| first_sample_flags(trun).unwrap_or(defaults.flags));
        let runs = children(traf).filter(|(kind, _)| kind == b"trun");
        let sums = runs.filter_map(|(_, trun)| samples::sums(trun, defaults));
        let (ticks, bytes) = sums.fold((0u64, 0u64), |sum, run| {
            (sum.0.saturating_add(run.0), sum.1.saturating_add(run.1))
        });
        Some(Self {
            track_id,
            time,
            is_sync: first_flags.is_some_and(|flags| flags & NON_SYNC_SAMPLE == 0),
            is_absolute: flags & 0x1 != 0,
            ticks,
            bytes,
        })
    }
}

/// The flags of a run's first sample, where the run has any (14496-12, 8.8.8).
fn first_sample_flags(trun: &[u8]) -> Option<u32> {
    let flags = u32_be(trun, 0)?;
    let samples = if flags & 0x1 != 0 { 12 } else { 8 };
    if flags & 0x4 != 0 {
        return u32_be(trun, samples);
    }
    let before = [0x100, 0x200]
        .iter()
        .filter(|&bit| flags & bit != 0)
        .count()
        * 4;
    if flags & 0x400 != 0 {
        u32_be(trun, samples + before)
    } else {
        None
    }
}

/// Follows the boxes of the top level.
pub(super) struct Mp4 {
    tracks: Vec<Track, MAX_TRACKS>,
    /// The preamble is whole.
    ready: bool,
    /// Bytes of the file that lie before the window; not known once some made no sense.
    place: Option<u64>,
    /// Bytes of media that the last fragment names, if all of them are understood.
    named_bytes: Option<u64>,
}

impl Mp4 {
    pub(super) const fn new() -> Self {
        Self {
            tracks: Vec::new(),
            ready: false,
            place: Some(0),
            named_bytes: None,
        }
    }

    pub(super) fn step(&mut self, window: &mut [u8], ended: bool, found: &mut Findings) -> Step {
        let step = self.look(window, ended, found);
        match step {
            Step::Unit(unit) => {
                self.place = self.place.and_then(|place| place.checked_add(unit.len));
            }
            Step::Junk(_) => self.place = None,
            _ => {}
        }
        step
    }

    fn look(&mut self, window: &mut [u8], ended: bool, found: &mut Findings) -> Step {
        let head = match Head::read(window) {
            None => return Step::Need,
            Some(None) => return resynchronise(window),
            Some(Some(head)) => head,
        };
        let is_held = head.len <= MAX_HELD_BYTES as u64;
        match &head.kind {
            b"ftyp" | b"moov" if !is_held => Step::Hopeless("MP4 header over 64 KiB"),
            b"ftyp" | b"moov" => {
                match window.get(..usize::try_from(head.len).unwrap_or(usize::MAX)) {
                    None => Step::Need,
                    Some(whole) => self.header(head, whole, found),
                }
            }
            b"mdat" if !self.ready => {
                Step::Hopeless("the MP4 is not fragmented (make it with empty_moov)")
            }
            b"styp" | b"sidx" | b"prft" | b"emsg" | b"moof" if self.ready => {
                self.fragment(head, window, ended, found)
            }
            // A broken length must not hide what follows.
            b"mdat" if self.is_too_long(head) => resynchronise(window),
            b"mdat" => Step::pass(head.len),
            // A name nobody knows with a great length is more likely broken than new.
            _ if head.len > MAX_OTHER_BYTES => resynchronise(window),
            _ => Step::pass(head.len),
        }
    }

    fn header(&mut self, head: Head, whole: &[u8], found: &mut Findings) -> Step {
        if &head.kind == b"ftyp" {
            self.place = Some(0);
        }
        if &head.kind == b"ftyp" || self.ready {
            self.ready = false;
            found.preamble.clear();
        }
        let at = found.preamble.bytes().len();
        if found.preamble.append(whole).is_err() {
            return Step::Hopeless("MP4 header over 64 KiB");
        }
        if &head.kind == b"moov" {
            samples::forget(found.preamble.tail_mut(at));
            let moov = tail(whole, head.header);
            let Some(mvex) = child(moov, b"mvex") else {
                return Step::Hopeless("the MP4 is not fragmented (make it with empty_moov)");
            };
            self.read_tracks(moov, mvex);
            let has_video = self.tracks.iter().any(|track| track.is_video);
            found.content_type = if has_video { "video/mp4" } else { "audio/mp4" };
            found.preamble.commit();
            self.ready = true;
        }
        Step::unit(Start::Cut, whole.len(), None)
    }

    /// Whether media are much longer than what the fragment before them names.
    fn is_too_long(&self, mdat: Head) -> bool {
        let most = self
            .named_bytes
            .map(|bytes| bytes.saturating_add(MAX_OTHER_BYTES));
        most.is_some_and(|most| mdat.len > most)
    }

    fn read_tracks(&mut self, moov: &[u8], mvex: &[u8]) {
        self.tracks.clear();
        let tracks = children(moov)
            .filter(|(kind, _)| kind == b"trak")
            .filter_map(|(_, trak)| Track::read(trak));
        self.tracks.extend(tracks.take(MAX_TRACKS));
        for (_, trex) in children(mvex).filter(|(kind, _)| kind == b"trex") {
            let id = u32_be(trex, 4);
            if let Some(track) = self.tracks.iter_mut().find(|track| Some(track.id) == id) {
                track.defaults = Defaults {
                    ticks: u32_be(trex, 12).unwrap_or(0),
                    bytes: u32_be(trex, 16).unwrap_or(0),
                    flags: u32_be(trex, 20).unwrap_or(0),
                };
            }
        }
    }

    /// The boxes from here to the end of the next movie fragment are one unit, so that a player begins before all of
    /// them; where they are too many, they only pass.
    fn fragment(
        &mut self,
        first: Head,
        window: &mut [u8],
        ended: bool,
        found: &mut Findings,
    ) -> Step {
        let mut at = 0;
        loop {
            let head = match Head::read(tail(window, at)) {
                Some(Some(head)) => head,
                None if !ended && at + 16 <= MAX_HELD_BYTES => return Step::Need,
                _ => return Step::pass(first.len),
            };
            let end = usize::try_from(head.len)
                .ok()
                .and_then(|len| at.checked_add(len));
            let Some(end) = end.filter(|&end| end <= MAX_HELD_BYTES) else {
                return Step::pass(first.len);
            };
            match &head.kind {
                b"moof" => match window.get_mut(at..end) {
                    Some(moof) => return self.movie_fragment(head, moof, at, found),
                    None if ended => return Step::pass(first.len),
                    None => return Step::Need,
                },
                b"styp" | b"sidx" | b"prft" | b"emsg" => at = end,
                _ => return Step::pass(at as u64),
            }
        }
    }

    /// `before` are the bytes of the unit that stand before the movie fragment.
    fn movie_fragment(
        &mut self,
        head: Head,
        moof: &mut [u8],
        before: usize,
        found: &mut Findings,
    ) -> Step {
        let lead = self
            .tracks
            .iter()
            .find(|track| track.is_video)
            .or(self.tracks.first());
        let mut start = Start::Cut;
        let mut time_us = None;
        let mut is_absolute = false;
        let (mut parts, mut bytes, mut lasts_us) = (0, 0u64, None);
        let mut is_understood = true;
        for (_, traf) in children(tail(moof, head.header)).filter(|(kind, _)| kind == b"traf") {
            let Some(fragment) = TrackFragment::read(traf, &self.tracks) else {
                is_understood = false;
                continue;
            };
            is_understood &= self
                .tracks
                .iter()
                .any(|track| track.id == fragment.track_id);
            is_absolute |= fragment.is_absolute;
            parts += 1;
            bytes = bytes.saturating_add(fragment.bytes);
            let Some(track) = lead.filter(|track| track.id == fragment.track_id) else {
                continue;
            };
            let us = |ticks| scale_us(ticks, u64::from(track.ticks_per_second));
            time_us = fragment.time.and_then(us);
            lasts_us = us(fragment.ticks);
            if fragment.is_sync || !track.is_video {
                start = Start::Sync;
            }
        }
        self.named_bytes = Some(bytes).filter(|_| is_understood);
        // The first that is long enough tells the rate, if all tracks are in it.
        if found.bitrate_bps.is_none() && parts == self.tracks.len() {
            found.bitrate_bps = lasts_us
                .filter(|us| *us >= RATE_WITHIN_US)
                .and_then(|us| u32::try_from(u128::from(bytes) * 8_000_000 / u128::from(us)).ok());
        }
        let place = self
            .place
            .and_then(|place| place.checked_add(before as u64));
        if is_absolute && places::make_relative(moof, place).is_none() {
            return Step::Hopeless(
                "MP4 fragments whose media lie elsewhere (make it with default_base_moof)",
            );
        }
        Step::unit(start, before + moof.len(), time_us)
    }
}

/// Junk up to the next fragment.
fn resynchronise(window: &[u8]) -> Step {
    let names: [&[u8]; 3] = [b"moof", b"styp", b"ftyp"];
    // The name stands four bytes into the box.
    let next = names
        .iter()
        .filter_map(|name| find(window, 5, name))
        .min()
        .map(|at| at - 4);
    Step::Junk(next.unwrap_or(window.len().saturating_sub(7).max(1)))
}
