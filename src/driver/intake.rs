//! From an input's bytes to the node: the scanner marks where players can begin, the programme is published before the first
//! of its media, and again when what players need first has changed.

use super::config::Broadcast;
use super::input::{InputState, MediaTime, Sink, StreamInfo};
use super::units::Rate;
use super::view::Running;
use crate::media::{self, Container, Scanner};
use crate::proto::node::{Node, StreamId};
use crate::proto::source::{Programme, Start};
use crate::time::{Instant, Span};
use core::cell::RefCell;
use heapless::String;
use std::boxed::Box;
use std::vec::Vec;

/// The only stream of a source.
const STREAM: StreamId = 0;

/// So long the first media is held while nothing else tells the bit rate: it is measured.
const MEASURED: Span = Span::from_s(1);

/// Measuring over less than this says nothing.
const MEASURED_AT_LEAST: Span = Span::from_ms(250);

/// Most media held while the rate is measured. Room for all of it is taken at once: room that doubles as it fills came to
/// more than is planned.
const MAX_HELD_BYTES: usize = 256 << 10;

/// Most pieces held.
const MAX_HELD_PIECES: usize = 4_096;

/// Media of so many seconds in which no player can begin are wrong, however long the groups of pictures.
const NO_BEGINNING_S: u64 = 15;

/// Bit rates that are believed.
const RATES_BPS: core::ops::RangeInclusive<u64> = 8_000..=100_000_000;

/// What takes an input's bytes.
pub struct Intake<'a> {
    running: &'a Running,
    taking: RefCell<Taking>,
}

/// How far it is.
struct Taking {
    broadcast: Broadcast,
    scanner: Box<Scanner>,
    /// What the other side of the input says about the stream.
    said: Programme,
    published: bool,
    held: Held,
    /// Media that came out of the scanner since the last beginning.
    emitted_bytes: u64,
    media_time: Option<MediaTime>,
    trouble: Option<&'static str>,
    /// Media since the last place where a player can begin.
    unbegun_bytes: u64,
    /// It was said that these are many.
    nobody_begins: bool,
    /// The input came back, and no player could begin since.
    began_anew: bool,
    /// The piece in front of which something is published.
    piece: Vec<u8>,
}

/// The first media, before its stream is described.
#[derive(Default)]
struct Held {
    /// When the first byte came.
    since: Option<Instant>,
    /// When the first place came where a player can begin, and behind how many bytes.
    sync: Option<(Instant, usize)>,
    pieces: Vec<(Start, Option<u64>, u32)>,
    bytes: Vec<u8>,
    /// What a player needs before the first sync point.
    preamble: Vec<u8>,
}

impl<'a> Intake<'a> {
    /// Before the first byte.
    pub fn new(running: &'a Running, broadcast: Broadcast) -> Self {
        let mut scanner = Box::new(Scanner::new());
        scanner.set_hint(broadcast.content_type.as_deref().unwrap_or(""));
        Self {
            running,
            taking: RefCell::new(Taking {
                broadcast,
                scanner,
                said: Programme::default(),
                published: false,
                held: Held::default(),
                emitted_bytes: 0,
                media_time: None,
                trouble: None,
                unbegun_bytes: 0,
                nobody_begins: false,
                began_anew: false,
                piece: Vec::new(),
            }),
        }
    }

    /// Publishes what is held when it has been held long enough.
    pub fn tick(&self) {
        let taking = &mut *self.taking.borrow_mut();
        if !taking.published && taking.held.since.is_some() {
            self.running
                .engine
                .with(|node, now| taking.settle(node, now, false));
        }
    }

    /// The input has ended: what is held back goes out, and the output may end there.
    pub fn finish(&self) {
        let taking = &mut *self.taking.borrow_mut();
        self.running.engine.with(|node, now| {
            taking.scanner.finish();
            taking.drain(node, now);
            taking.settle(node, now, true);
            // Fails only where nothing was ever published.
            let _ = node.push_source(now, STREAM, Start::Cut, &[], true);
        });
    }
}

impl Sink for Intake<'_> {
    fn content_type_hint(&self, content_type: &str) {
        let taking = &mut *self.taking.borrow_mut();
        if taking.broadcast.content_type.is_none() {
            taking.scanner.set_hint(content_type);
        }
    }

    fn media(&self, bytes: &[u8]) {
        let taking = &mut *self.taking.borrow_mut();
        self.running
            .engine
            .with(|node, now| taking.take(node, now, bytes));
    }

    fn restarted(&self) {
        let taking = &mut *self.taking.borrow_mut();
        self.running.engine.with(|node, now| {
            taking.drain(node, now);
            // Nothing can be made of a header that nothing came behind.
            if taking.held.sync.is_some() {
                taking.settle(node, now, true);
            }
            taking.scanner.restart();
            taking.held = Held::default();
            (taking.emitted_bytes, taking.media_time) = (0, None);
            taking.unbegun_bytes = 0;
        });
    }

    fn now_playing(&self, title: &str) {
        self.running
            .engine
            .with(|node, now| node.set_now_playing(now, STREAM, title));
    }

    fn stream_info(&self, info: &StreamInfo<'_>) {
        let said = &mut self.taking.borrow_mut().said;
        said.title = fitting(info.name.unwrap_or(""));
        said.genre = fitting(info.genre.unwrap_or(""));
        said.url = fitting(info.url.unwrap_or(""));
        said.bitrate_bps = info.bitrate_bps.unwrap_or(0);
    }

    fn state(&self, state: &InputState) {
        match state {
            InputState::Waiting(_) => log::warn!("input: {state}"),
            InputState::Flowing | InputState::Ended => log::info!("input: {state}"),
        }
    }

    fn media_time(&self) -> Option<MediaTime> {
        self.taking.borrow().media_time
    }
}

impl Taking {
    fn take(&mut self, node: &mut Node<'_>, now: Instant, mut bytes: &[u8]) {
        self.held.since.get_or_insert(now);
        while !bytes.is_empty() {
            let taken = self.scanner.push(bytes);
            bytes = bytes.get(taken..).unwrap_or(&[]);
            self.drain(node, now);
        }
        if !self.published {
            self.settle(node, now, false);
        }
        self.watch_beginnings(node);
        if let Some(title) = self.scanner.metadata() {
            node.set_now_playing(now, STREAM, title);
        }
        let trouble = self.scanner.trouble();
        if trouble != self.trouble {
            if let Some(why) = trouble {
                log::warn!("input: taken as raw bytes from here on: {why}");
            }
            self.trouble = trouble;
            node.set_trouble(STREAM, trouble);
        }
    }

    /// Without places to begin at whoever connects waits, and nothing else shows why. Counted in media, so that an input that
    /// pauses is not blamed for it.
    fn watch_beginnings(&mut self, node: &Node<'_>) {
        let most_bytes = published_bps(node).map(|bps| bps / 8 * NO_BEGINNING_S);
        let nobody_begins = most_bytes.is_some_and(|most| self.unbegun_bytes > most);
        if nobody_begins == core::mem::replace(&mut self.nobody_begins, nobody_begins) {
            return;
        }
        match nobody_begins {
            true => log::warn!(
                "input: for {NO_BEGINNING_S} s no place came where a player can begin; whoever connects waits for one. Does the \
                 encoder make key frames, and repeat its parameter sets with them?"
            ),
            false => log::info!("input: players can begin again"),
        }
    }

    /// Moves every segment the scanner has to the node, or to what is held.
    fn drain(&mut self, node: &mut Node<'_>, now: Instant) {
        loop {
            if self.held.is_full() {
                self.settle(node, now, true);
            }
            let is_raw = self.scanner.container() == Container::Raw;
            let Some(segment) = self.scanner.next_segment() else {
                return;
            };
            let (start, time_us) = (start_of(segment.start), segment.time_us);
            if let Some(time_us) = time_us {
                self.media_time = Some(MediaTime {
                    time_us,
                    bytes: self.emitted_bytes,
                });
            }
            self.emitted_bytes += segment.bytes.len() as u64;
            self.unbegun_bytes = match start == Start::Sync || is_raw {
                true => 0,
                false => self.unbegun_bytes + segment.bytes.len() as u64,
            };
            let broken = segment.discontinuity;
            self.began_anew |= broken;
            // At a sync point only: the preamble of a new beginning is whole when players can begin.
            let news = start == Start::Sync
                && (segment.preamble_changed | core::mem::take(&mut self.began_anew));
            if self.published && broken {
                node.begin_run(now, STREAM);
            }
            if self.published && !news {
                push(node, now, (start, time_us), segment.bytes, is_raw);
                continue;
            }
            self.piece.clear();
            self.piece.extend_from_slice(segment.bytes);
            if self.published || (news && self.held.sync.is_some()) {
                self.settle(node, now, true);
                self.publish(node, now, None, None);
                push(node, now, (start, time_us), &self.piece, is_raw);
            } else {
                if start == Start::Sync && self.held.sync.is_none() {
                    self.held.sync = Some((now, self.held.bytes.len()));
                    self.held
                        .preamble
                        .extend_from_slice(self.scanner.preamble());
                }
                self.held.add(start, time_us, &self.piece);
            }
        }
    }

    /// Publishes the stream and sends what is held, if enough is known by now, or in any case.
    fn settle(&mut self, node: &mut Node<'_>, now: Instant, in_any_case: bool) {
        if self.published || self.held.bytes.is_empty() {
            return;
        }
        let told = self.told_bps();
        if !in_any_case && !self.held.is_enough(now, told.is_some()) {
            return;
        }
        let measured_bps = self
            .held
            .bps_by_media_time()
            .unwrap_or(self.held.bps_by_arrival(now));
        if told.is_none() {
            let shown = Rate(measured_bps / 1_000 * 1_000);
            log::info!("bit rate: {shown}, as measured; --bitrate says it exactly");
        }
        let held = core::mem::take(&mut self.held);
        self.publish(node, now, Some(measured_bps), Some(&held.preamble));
        let is_raw = self.scanner.container() == Container::Raw;
        let mut rest = held.bytes.as_slice();
        for (start, time_us, len) in held.pieces {
            let (piece, behind) = rest.split_at_checked(len as usize).unwrap_or((rest, &[]));
            push(node, now, (start, time_us), piece, is_raw);
            rest = behind;
        }
    }

    /// The bit rate, from whoever knows it best.
    fn told_bps(&self) -> Option<u32> {
        let said = Some(self.said.bitrate_bps).filter(|bps| *bps > 0);
        let scanned = || self.scanner.bitrate_bps().filter(|bps| *bps > 0);
        self.broadcast.bitrate_bps.or(said).or_else(scanned)
    }

    /// Says what is broadcast from here on; `preamble` is the scanner's where it is not given.
    fn publish(
        &mut self,
        node: &mut Node<'_>,
        now: Instant,
        measured_bps: Option<u64>,
        preamble: Option<&[u8]>,
    ) {
        let told = self.told_bps().map(u64::from);
        let bps = told
            .or(published_bps(node))
            .or(measured_bps)
            .unwrap_or(1_000_000);
        let broadcast = &self.broadcast;
        let content_type = broadcast.content_type.as_deref();
        let programme = Programme {
            title: first(&broadcast.name, &self.said.title),
            content_type: fitting(content_type.unwrap_or(self.scanner.content_type())),
            genre: first(&broadcast.genre, &self.said.genre),
            url: first(&broadcast.url, &self.said.url),
            disclosure: fitting(&broadcast.disclosure),
            bitrate_bps: bps.clamp(*RATES_BPS.start(), *RATES_BPS.end()) as u32,
            k: broadcast.k,
            m: broadcast.m,
            group_ms: broadcast.group.map(|group| group.as_ms() as u16),
        };
        let preamble = preamble.unwrap_or(self.scanner.preamble());
        match node.publish(now, STREAM, &programme, preamble) {
            Ok(()) => self.published = true,
            Err(error) => log::error!("the stream cannot be described: {error:?}"),
        }
    }
}

/// The bit rate that was published last.
fn published_bps(node: &Node<'_>) -> Option<u64> {
    let card = node.streams().get(STREAM)?.card.as_ref()?;
    Some(u64::from(card.descriptor.bitrate_bps))
}

impl Held {
    fn add(&mut self, start: Start, time_us: Option<u64>, piece: &[u8]) {
        if self.pieces.is_empty() {
            self.bytes.reserve_exact(MAX_HELD_BYTES);
            self.pieces.reserve_exact(MAX_HELD_PIECES);
        }
        // A piece is no longer than the scanner.
        self.pieces.push((start, time_us, piece.len() as u32));
        self.bytes.extend_from_slice(piece);
    }

    /// Whether it can be said what the stream is. A header alone tells no rate, however long it takes until media follow.
    fn is_enough(&self, now: Instant, rate_is_told: bool) -> bool {
        let measured = |(since, _)| now.since(since) >= MEASURED;
        self.is_full() || self.sync.is_some_and(|sync| rate_is_told || measured(sync))
    }

    /// The rate by the time it took to come, without what comes once.
    fn bps_by_arrival(&self, now: Instant) -> u64 {
        let (since, before) = self.sync.unwrap_or((self.since.unwrap_or(now), 0));
        let took = now.since(since).max(MEASURED_AT_LEAST);
        bits_per_second((self.bytes.len() - before) as u64, took)
    }

    /// The rate by the media's own clock, where that has gone on for long enough. Media that come in pieces of a second, or as fast
    /// as they can, seem faster by their arrival than they are.
    fn bps_by_media_time(&self) -> Option<u64> {
        let (mut before, mut marks) = (0, Marks::default());
        for &(_, time_us, len) in &self.pieces {
            if let Some(time_us) = time_us {
                marks.first.get_or_insert((before, time_us));
                marks.last = Some((before, time_us));
            }
            before += u64::from(len);
        }
        let ((from, begin_us), (to, end_us)) = (marks.first?, marks.last?);
        let took = Span::from_us(end_us.checked_sub(begin_us)?);
        (took >= MEASURED_AT_LEAST).then(|| bits_per_second(to - from, took))
    }

    /// There may be no room for another piece.
    fn is_full(&self) -> bool {
        self.bytes.len() + media::MAX_HELD_BYTES > MAX_HELD_BYTES
            || self.pieces.len() >= MAX_HELD_PIECES
    }
}

/// The first and the last place among pieces where the media tell their time: bytes before it, and that time in us.
#[derive(Default)]
struct Marks {
    first: Option<(u64, u64)>,
    last: Option<(u64, u64)>,
}

/// `took` is not zero.
fn bits_per_second(bytes: u64, took: Span) -> u64 {
    bytes * 8_000_000 / took.as_us()
}

/// `at`: what the first byte is, and its media time.
fn push(node: &mut Node<'_>, now: Instant, at: (Start, Option<u64>), bytes: &[u8], is_raw: bool) {
    let (start, time_us) = at;
    if let Some(time_us) = time_us {
        node.set_media_time(now, STREAM, time_us);
    }
    if let Err(error) = node.push_source(now, STREAM, start, bytes, is_raw) {
        log::debug!("media before its description: {error:?}");
    }
}

fn start_of(start: media::Start) -> Start {
    match start {
        media::Start::Continue => Start::Continue,
        media::Start::Cut => Start::Cut,
        media::Start::Sync => Start::Sync,
    }
}

/// What the owner wrote, else what the other side says.
fn first<const N: usize>(own: &str, said: &String<N>) -> String<N> {
    match own {
        "" => said.clone(),
        own => fitting(own),
    }
}

/// As much of a text as fits.
fn fitting<const N: usize>(text: &str) -> String<N> {
    let mut fitting = String::new();
    for c in text.chars() {
        if fitting.push(c).is_err() {
            break;
        }
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(pieces: &[(Option<u64>, usize)]) -> Held {
        let mut held = Held::default();
        for &(time_us, len) in pieces {
            held.add(Start::Sync, time_us, &std::vec![0; len]);
        }
        held
    }

    #[test]
    fn pages_of_a_second_have_the_rate_of_their_clock() {
        // Headers, then 64 kbit/s: by their arrival within a second it would be twice as much.
        let pages = [(None, 4_000), (Some(0), 8_000), (Some(1_000_000), 8_000)];
        assert_eq!(held(&pages).bps_by_media_time(), Some(64_000));
    }

    #[test]
    fn a_header_alone_tells_no_rate() {
        let mut held = held(&[(None, 1_200)]);
        let at = |ms| Instant::ZERO + Span::from_ms(ms);
        held.since = Some(at(0));
        assert!(!held.is_enough(at(60_000), true));
        // The first fragment comes when it is over.
        held.sync = Some((at(6_400), 1_200));
        held.add(Start::Sync, Some(0), &[0; 16_000]);
        assert!(held.is_enough(at(6_400), true) && !held.is_enough(at(7_399), false));
        assert!(held.is_enough(at(7_400), false));
        assert_eq!(held.bps_by_arrival(at(7_400)), 128_000);
    }

    #[test]
    fn a_clock_that_does_not_go_on_tells_nothing() {
        for pieces in [
            &[][..],
            &[(None, 9_000), (None, 9_000)],
            &[(Some(7_000_000), 9_000)],
            &[(Some(0), 9_000), (Some(249_999), 9_000)],
            &[(Some(7_000_000), 9_000), (Some(0), 9_000)],
        ] {
            assert_eq!(held(pieces).bps_by_media_time(), None, "{pieces:?}");
        }
    }
}
