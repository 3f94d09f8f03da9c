//! The source of a stream: media bytes into blocks, blocks into sealed groups, groups out at an even pace.

use super::card::Card;
use super::stream::{Head, Stream};
use super::unheard::Heard;
use crate::crypto::merkle::Tree;
use crate::crypto::sign::SigningKey;
use crate::error::Malformed;
use crate::limits::{
    CHUNK_HEADER_BYTES, CHUNK_PREFIX_BYTES, MAX_CHUNK_PAYLOAD_BYTES, MAX_DATAGRAM_BYTES,
    MAX_METADATA_BYTES, MAX_N, MAX_SEAL_BYTES,
};
use crate::time::{Instant, Span};
use crate::wire::chunk::{ChunkId, header, payload_offset};
use crate::wire::descriptor::Descriptor;
use crate::wire::seal::{
    self, BlockMark, MAX_GROUP_BLOCKS, NOWHERE, Seal, SegmentStart, Unsealed, group_blocks_that_fit,
};
use heapless::{String, Vec};

/// Chunks leave in bursts this far apart, so that several for one child can share a system call.
const PACE: Span = Span::from_ms(20);

/// Groups that end with a block are on average as long as this, or longer: there are no more than four signatures a second.
pub(super) const LEAST_GROUP: Span = Span::from_ms(250);

/// Groups end with a block if they can: one that is closed half full has as many headers and proofs as a full one, chunks of a length
/// of their own, which share no system call with others, and is a write of its own to every player. One block more is waited for
/// if it is expected this part of a group's time after that time.
const EXPECTED: u64 = 8;

/// This part of a group's time after that time no block is waited for any more.
const PATIENCE: u64 = 4;

/// A group leaves over the time it was gathered in, or every group ends with a pause that all players have; but this part sooner: what
/// is left of it when the next is there leaves at once. A longer group leaves a tenth sooner than it has to: with less, a crowd asks for
/// more of what is only late.
const SOONER: u64 = 16;

/// The now-playing text is repeated this often for nodes that join.
const METADATA_REPEAT: Span = Span::from_s(5);

/// A segment begins at the first sync point that is so far behind the beginning of the last one.
const SEGMENT: Span = Span::from_s(2);

/// Segments are counted from a run's first block divided by this on: those of later runs have higher numbers, as there are
/// never so many blocks in so short a time, and the numbers fit 31 bits, which is what some players have for them.
const BLOCKS_PER_SEGMENT: u64 = 2_048;

/// What the first byte of a piece of media is to a player.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The middle of something.
    Continue,
    /// The output may end before it and something else begin.
    Cut,
    /// A player may begin here.
    Sync,
}

/// What the broadcaster says about the programme.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programme {
    /// Name.
    pub title: String<128>,
    /// Media type.
    pub content_type: String<64>,
    /// Genre.
    pub genre: String<64>,
    /// Home page.
    pub url: String<128>,
    /// What the people are told whose lines carry it.
    pub disclosure: String<256>,
    /// Nominal media rate.
    pub bitrate_bps: u32,
    /// K and M, if the broadcaster chose them.
    pub k: Option<u8>,
    /// See `k`.
    pub m: Option<u8>,
    /// How often a group is closed, if the broadcaster chose it.
    pub group_ms: Option<u16>,
}

/// How a stream is cut: K, N, payload bytes a chunk, ms a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Data chunks a block.
    pub k: u8,
    /// All chunks a block.
    pub n: u8,
    /// Most payload bytes a chunk.
    pub chunk_bytes: u16,
    /// How often a group is closed.
    pub group_ms: u16,
}

impl Shape {
    /// The shape for a rate: as many stripes as give chunks of at least some 500 bytes and neighbours few enough for
    /// what they cost, groups of 250 ms, or 500 ms below 600 kbit/s,
    /// one parity chunk for four data chunks.
    pub fn for_programme(programme: &Programme) -> Self {
        let bps = u64::from(programme.bitrate_bps);
        let group_ms = programme
            .group_ms
            .unwrap_or(if bps < 600_000 { 500 } else { 250 });
        let group_bytes = bps * u64::from(group_ms) / 8_000;
        let k = programme.k.unwrap_or(match group_bytes {
            24_000.. => 16,
            5_000.. => 8,
            1_800.. => 4,
            _ => 2,
        });
        let n = (k + programme.m.unwrap_or((k / 4).max(1))).min(MAX_N as u8);
        let overhead = CHUNK_PREFIX_BYTES + payload_offset(n);
        let most = (MAX_DATAGRAM_BYTES - overhead).max(MAX_CHUNK_PAYLOAD_BYTES);
        // Blocks are made to fill a group evenly: two blocks of 900 rather than one of 1,100 and one of 700. The last is full
        // soon after the group's time.
        let blocks = group_bytes
            .div_ceil(u64::from(k) * MAX_CHUNK_PAYLOAD_BYTES as u64)
            .max(1);
        // A slow stream comes in pages of a fifth of a second or more: a group that holds one more of them than most still has
        // one block, not a second of a few bytes with as many proofs.
        let slack = if bps < 600_000 {
            group_bytes / 2
        } else {
            group_bytes / 16
        };
        let even = (group_bytes + slack).div_ceil(blocks * u64::from(k));
        let chunk_bytes = even.clamp(128, most.min(MAX_CHUNK_PAYLOAD_BYTES) as u64) as u16;
        Self {
            k,
            n,
            chunk_bytes,
            group_ms,
        }
    }
}

/// The making of a stream.
pub struct Source<'s> {
    signer: SigningKey,
    staging: &'s mut [u8],
    filled: usize,
    sync: u16,
    cut: u16,
    next_block: u64,
    group_first: u64,
    marks: Vec<BlockMark, MAX_GROUP_BLOCKS>,
    opened_at: Option<Instant>,
    /// Until then the group under way goes on.
    not_before: Instant,
    /// When the block under construction was begun.
    block_opened_at: Instant,
    release: Release,
    segments: Segments,
    metadata: String<MAX_METADATA_BYTES>,
    metadata_due: Instant,
    /// Wall clock minus the node's clock.
    clock_offset_ms: u64,
    version: u32,
    first_block: u64,
    /// Media bytes taken in.
    pub taken_bytes: u64,
    /// How far each stripe has come into the grid.
    pub(super) heard: Heard,
}

/// Where segments begin.
struct Segments {
    /// Media time last told, µs, and when.
    told: Option<(u64, Instant)>,
    /// Media time from which on the next one may begin; `None`: at once.
    due_us: Option<u64>,
    next_number: u32,
    discontinuities: u32,
    /// The one that begins in the group under way.
    begun: Option<SegmentStart>,
}

/// Sealed chunks on their way into the log.
#[derive(Clone, Copy, Default)]
struct Release {
    next: u64,
    index: u8,
    end: u64,
    total: u64,
    done: u64,
    began: Instant,
    /// When some were let out last.
    at: Instant,
    interval: Span,
}

impl<'s> Source<'s> {
    /// `version` must be above that of any earlier run, `first_block` above any block of one: both are made from the wall clock (or
    /// kept state) by the caller. `staging` holds one block: [`crate::limits::MAX_BLOCK_BYTES`].
    pub fn new(
        signer: SigningKey,
        staging: &'s mut [u8],
        version: u32,
        first_block: u64,
        clock_offset_ms: u64,
    ) -> Self {
        Self {
            signer,
            staging,
            filled: 0,
            heard: Heard::default(),
            sync: NOWHERE,
            cut: NOWHERE,
            next_block: first_block,
            group_first: first_block,
            marks: Vec::new(),
            opened_at: None,
            not_before: Instant::ZERO,
            block_opened_at: Instant::ZERO,
            release: Release::default(),
            segments: Segments {
                told: None,
                due_us: None,
                next_number: (first_block / BLOCKS_PER_SEGMENT) as u32,
                discontinuities: version,
                begun: None,
            },
            metadata: String::new(),
            metadata_due: Instant::ZERO,
            clock_offset_ms,
            version,
            first_block,
            taken_bytes: 0,
        }
    }

    /// When something is to be done next.
    pub fn next_at(&self, group: Span) -> Option<Instant> {
        let close = self.group_ends_at(group);
        let release = (self.release.next < self.release.end).then(|| self.release.at + PACE);
        close.into_iter().chain(release).min()
    }
}

impl Stream<'_> {
    /// Says what is broadcast from the next block on, and with which preamble. Called before the first media and whenever
    /// something changes.
    ///
    /// # Errors
    /// When this is not the source, or the preamble or the texts are too long.
    pub fn publish(
        &mut self,
        now: Instant,
        programme: &Programme,
        preamble: &[u8],
    ) -> Result<(), Malformed> {
        self.close_block(now);
        let old = self.card.as_ref().map(|card| card.descriptor.clone());
        let source = self.source.as_mut().ok_or(Malformed::Kind)?;
        let shape = match &old {
            Some(d) => Shape {
                k: d.k,
                n: d.n,
                chunk_bytes: d.chunk_bytes,
                group_ms: d.group_ms,
            },
            None => Shape::for_programme(programme),
        };
        let hash = *blake3::hash(preamble).as_bytes();
        let same_preamble = old.as_ref().is_some_and(|d| d.preamble_hash == hash);
        let descriptor = Descriptor {
            key: self.key,
            version: source.version,
            first_block: source.first_block,
            k: shape.k,
            n: shape.n,
            chunk_bytes: shape.chunk_bytes,
            group_ms: shape.group_ms,
            bitrate_bps: programme.bitrate_bps,
            preamble_bytes: u32::try_from(preamble.len()).map_err(|_| Malformed::Long)?,
            preamble_hash: hash,
            preamble_from_block: match &old {
                Some(d) if same_preamble => d.preamble_from_block,
                _ => source.next_block,
            },
            content_type: programme.content_type.clone(),
            title: programme.title.clone(),
            genre: programme.genre.clone(),
            url: programme.url.clone(),
            disclosure: programme.disclosure.clone(),
        };
        if old.as_ref().is_some_and(|old| {
            Descriptor {
                version: old.version,
                ..descriptor.clone()
            } == *old
        }) {
            return Ok(());
        }
        let card = Card::sign(descriptor, &source.signer)?;
        if !self.preamble.set(preamble, source.version) {
            return Err(Malformed::Long);
        }
        // What is under way was made under the old card and is sealed with it.
        source.version += 1;
        if !same_preamble {
            source.segments.break_off();
        }
        self.close_group(now);
        self.adopt_card(card);
        Ok(())
    }

    /// What comes next does not join on to what came before: a new run begins with the next block.
    pub fn begin_run(&mut self, now: Instant) {
        self.close_block(now);
        let (Some(card), Some(source)) = (self.card.as_ref(), self.source.as_mut()) else {
            return;
        };
        source.first_block = source.next_block;
        source.segments.break_off();
        let descriptor = Descriptor {
            version: source.version,
            first_block: source.first_block,
            preamble_from_block: source.first_block,
            ..card.descriptor.clone()
        };
        // Cannot fail: nothing in it got longer.
        if let Ok(card) = Card::sign(descriptor, &source.signer) {
            source.version += 1;
            self.close_group(now);
            self.preamble.expect(&card.descriptor);
            self.adopt_card(card);
        }
    }

    /// Says what is playing now, as one line: control characters become spaces. Longer texts are cut at a character.
    pub fn set_now_playing(&mut self, now: Instant, text: &str) {
        let Some(source) = self.source.as_mut() else {
            return;
        };
        source.metadata.clear();
        let margin = |c: char| c.is_whitespace() || c.is_control();
        for c in text.trim_matches(margin).chars() {
            let c = if c.is_control() { ' ' } else { c };
            if source.metadata.push(c).is_err() {
                break;
            }
        }
        source.metadata_due = now;
    }

    /// Says the media time of the first byte that is pushed next, µs. It does not run back within a run. Where it is not said,
    /// the clock counts on from the last one.
    pub fn set_media_time(&mut self, now: Instant, time_us: u64) {
        if let Some(source) = self.source.as_mut() {
            source.segments.told = Some((time_us, now));
        }
    }

    /// Takes media in. `start` says what the first byte is; `end_is_cut` that the output may end behind the last one.
    ///
    /// # Errors
    /// Before [`Stream::publish`], or when this is not the source.
    pub fn push_source(
        &mut self,
        now: Instant,
        start: Start,
        mut bytes: &[u8],
        end_is_cut: bool,
    ) -> Result<(), Malformed> {
        let capacity = self.block_bytes().ok_or(Malformed::Kind)?;
        let source = self.source.as_mut().ok_or(Malformed::Kind)?;
        source.taken_bytes += bytes.len() as u64;
        if source.filled == capacity {
            // The frame ends exactly with the block: what was taken so far may stand alone.
            let end = match start {
                Start::Continue => Start::Continue,
                Start::Cut | Start::Sync => Start::Cut,
            };
            source.mark(now, end);
            self.next_block(now);
        }
        let mut start = Some(start);
        while !bytes.is_empty() {
            let source = self.source.as_mut().ok_or(Malformed::Kind)?;
            if source.filled == capacity {
                self.next_block(now);
                continue;
            }
            if let Some(start) = start.take() {
                source.mark(now, start);
            }
            source.opened_at.get_or_insert(now);
            if source.filled == 0 {
                source.block_opened_at = now;
            }
            let n = bytes.len().min(capacity - source.filled);
            source.staging[source.filled..][..n].copy_from_slice(&bytes[..n]);
            source.filled += n;
            bytes = &bytes[n..];
        }
        if end_is_cut && let Some(source) = self.source.as_mut() {
            source.cut = source.filled as u16;
        }
        Ok(())
    }

    /// Media bytes that fill a block.
    fn block_bytes(&self) -> Option<usize> {
        self.card
            .as_ref()
            .map(|card| card.k() * usize::from(card.descriptor.chunk_bytes))
    }

    /// Closes a full block, and the group when its seal can carry no more.
    fn next_block(&mut self, now: Instant) {
        self.close_block(now);
        let most = group_blocks_that_fit(self.ring.slot_bytes()).max(1);
        let group = self.group();
        let ends = |s: &Source<'_>| s.marks.len() >= most || s.group_ends_here(now, group);
        if self.source.as_ref().is_some_and(ends) {
            self.close_group(now);
        }
    }

    /// How long a group lasts, about; nothing while that is not known.
    pub(super) fn group(&self) -> Span {
        self.card.as_ref().map_or(Span::ZERO, Card::group)
    }

    /// Does what is due at the source: closes a group, lets chunks out.
    pub fn tick_source(&mut self, now: Instant) {
        let group = self.group();
        let ends_at = self.source.as_ref().and_then(|s| s.group_ends_at(group));
        let due = ends_at.is_some_and(|at| at <= now);
        if due {
            let begun_late = self.source.as_ref().is_some_and(Source::began_late);
            if !begun_late {
                self.close_block(now);
            }
            self.close_group(now);
        }
        // Not sooner, whatever else woke the node: a burst in two halves is twice as many calls for everybody below.
        let paced = |s: &Source<'_>| now.since(s.release.at) >= PACE;
        if self.source.as_ref().is_some_and(paced) {
            self.let_out(now);
        }
    }

    /// Makes the block under construction final: chunks, parity, tree.
    fn close_block(&mut self, now: Instant) {
        let (Some(card), Some(source)) = (self.card.as_ref(), self.source.as_mut()) else {
            return;
        };
        if source.filled == 0 {
            return;
        }
        let block = source.next_block;
        let length = source.filled as u16;
        let (offset, payload) = (card.payload_offset(), card.payload_bytes(length));
        let (k, n) = (card.k(), card.n());
        let mark = BlockMark {
            root: [0; 16],
            length_bytes: length,
            sync: source.sync,
            cut: source.cut,
        };
        source.staging[usize::from(length)..k * payload].fill(0);
        self.ring.open(block, mark, now, now);
        let data: Vec<&[u8], MAX_N> = source.staging[..k * payload]
            .chunks_exact(payload)
            .collect();
        let mut leaves = [[0; 16]; MAX_N];
        for index in 0..n as u8 {
            let id = ChunkId { block, index };
            let head = header(self.tag, id);
            let Some(chunk) = self.ring.insert(id, offset + payload) else {
                return;
            };
            chunk[..CHUNK_HEADER_BYTES].copy_from_slice(&head);
            // Cannot fail: the card's code fits its own shape.
            let _ = card.code.encode_parity(&data, index, &mut chunk[offset..]);
            leaves[usize::from(index)] = self.hasher.leaf(&head, &chunk[offset..]);
        }
        let tree = Tree::build(&self.hasher, &leaves[..n]);
        for index in 0..n as u8 {
            if let Some(chunk) = self.ring.chunk_mut(ChunkId { block, index }) {
                tree.path(index, &mut chunk[CHUNK_HEADER_BYTES..offset]);
            }
        }
        self.ring.set_mark(
            block,
            BlockMark {
                root: tree.root(),
                ..mark
            },
        );
        // Room: a full group is closed before another block is begun.
        let _ = source.marks.push(BlockMark {
            root: tree.root(),
            ..mark
        });
        source.next_block += 1;
        (source.filled, source.sync, source.cut) = (0, NOWHERE, NOWHERE);
    }

    /// Seals the blocks since the last group and begins to let them out.
    fn close_group(&mut self, now: Instant) {
        let Some(version) = self.card.as_ref().map(|c| c.descriptor.version) else {
            return;
        };
        let group = self.group();
        self.let_all_out(now);
        let Some(source) = self.source.as_mut() else {
            return;
        };
        let gathered = source.opened_at.map_or(Span::ZERO, |at| now.since(at));
        source.opened_at = (source.filled > 0).then_some(source.block_opened_at);
        if source.marks.is_empty() {
            return;
        }
        source.keep_apart(now, group);
        // That there is none is said as well: an earlier run may have had one.
        let metadata = (now >= source.metadata_due).then(|| {
            source.metadata_due = now + METADATA_REPEAT;
            source.metadata.as_str()
        });
        let blocks = source.marks.len();
        let mut segment = source.segments.begun;
        source.segments.begun = segment.take_if(|it| usize::from(it.index) >= blocks);
        if let Some(later) = source.segments.begun.as_mut() {
            // It begins in the block that is left open.
            later.index -= blocks as u8;
        }
        let unsealed = Unsealed {
            tag: self.tag,
            version,
            first_block: source.group_first,
            clock_ms: source.clock_offset_ms + now.as_ms(),
            metadata,
            segment,
            marks: &source.marks,
        };
        let mut bytes = [0; MAX_SEAL_BYTES];
        // Fits: the number of blocks in a group is bounded so that it does.
        let Ok(len) = unsealed.write(&mut bytes) else {
            return;
        };
        let signature = source
            .signer
            .sign(seal::DOMAIN, &[&self.key, &bytes[..len]]);
        bytes[len..len + signature.len()].copy_from_slice(&signature);
        let end = source.next_block;
        let total = source.marks.len() as u64 * self.card.as_ref().map_or(0, |c| c.n() as u64);
        source.release = Release {
            next: source.group_first,
            index: 0,
            end,
            total,
            done: 0,
            began: now,
            at: now,
            interval: leaves_over(gathered, group),
        };
        source.group_first = end;
        source.marks.clear();
        if let Ok(seal) = Seal::parse(&bytes[..len + signature.len()]) {
            self.open_group(&seal, &bytes[..len + signature.len()], now, now);
        }
        // A source has every block whole: its own players begin with the first.
        if !self.playout.started {
            self.playout.started = true;
        }
        self.play(now, Span::ZERO);
        self.let_out(now);
    }

    /// Lets out as many chunks as the pace allows by now.
    fn let_out(&mut self, now: Instant) {
        let Some(release) = self.source.as_ref().map(|s| s.release) else {
            return;
        };
        let passed = now.since(release.began).as_us() + PACE.as_us();
        let due = (release.total * passed)
            .div_ceil(release.interval.as_us().max(1))
            .min(release.total);
        self.let_out_until(now, due);
    }

    fn let_all_out(&mut self, now: Instant) {
        let total = self.source.as_ref().map_or(0, |s| s.release.total);
        self.let_out_until(now, total);
    }

    fn let_out_until(&mut self, now: Instant, due: u64) {
        let n = self.card.as_ref().map_or(0, |card| card.descriptor.n);
        let Some(source) = self.source.as_mut() else {
            return;
        };
        let release = &mut source.release;
        release.at = now;
        while release.done < due && release.next < release.end {
            let id = ChunkId {
                block: release.next,
                index: release.index,
            };
            self.log.push(id);
            self.heads[usize::from(id.index)] = Head {
                end: id.block + 1,
                at: now,
                rooted: id.block + 1,
                rooted_at: now,
                ..Head::default()
            };
            release.done += 1;
            release.index += 1;
            if release.index >= n {
                (release.next, release.index) = (release.next + 1, 0);
            }
        }
    }
}

impl Source<'_> {
    /// Whether the block under construction was begun so late in its group that the next group can have it: closed with this one it
    /// would be a few bytes with as many headers and proofs as a full one. No byte waits longer for its seal by that, and no
    /// more than four seals are made a second.
    fn began_late(&self) -> bool {
        let opened_at = self.opened_at.unwrap_or(self.block_opened_at);
        !self.marks.is_empty() && self.block_opened_at.since(opened_at) >= LEAST_GROUP
    }

    /// Whether the group under way ends with the block that was just closed.
    fn group_ends_here(&self, now: Instant, group: Span) -> bool {
        let Some(opened_at) = self.opened_at else {
            return false;
        };
        let lasted = now.since(opened_at).as_us();
        let with_next = lasted + lasted / (self.marks.len() as u64).max(1);
        let is_over = lasted >= group.as_us() || with_next > late(group, EXPECTED).as_us();
        is_over && now >= self.not_before
    }

    /// A group ends now. The next lasts the least on the average of both: what this one lasted beyond that, it may fall short of it, but
    /// not by more than a quarter.
    fn keep_apart(&mut self, now: Instant, group: Span) {
        let least = LEAST_GROUP.min(group);
        let quarter = Span::from_us(least.as_us() / 4);
        self.not_before = (self.not_before + least).max(now - quarter + least);
    }

    /// When the group under way ends, whole blocks or not. One that has whole blocks waits for another.
    fn group_ends_at(&self, group: Span) -> Option<Instant> {
        let waits = !self.marks.is_empty() && self.filled > 0;
        let span = if waits { late(group, PATIENCE) } else { group };
        self.opened_at.map(|at| (at + span).max(self.not_before))
    }

    /// Records what the next byte is.
    fn mark(&mut self, now: Instant, start: Start) {
        let here = self.filled as u16;
        if start == Start::Sync && self.sync == NOWHERE {
            self.sync = here;
            self.segments.sync(now, self.marks.len() as u8);
        }
        if start != Start::Continue {
            self.cut = here;
        }
    }
}

/// How long a group is let out. It was not gathered in less than its time if media came in lumps, nor in more than the source waits.
fn leaves_over(gathered: Span, group: Span) -> Span {
    if group > LEAST_GROUP {
        return Span::from_us(group.as_us() * 9 / 10);
    }
    let about = gathered.max(group).min(late(group, PATIENCE));
    Span::from_us(about.as_us() - about.as_us() / SOONER)
}

/// A group's time and a part of it.
fn late(group: Span, part: u64) -> Span {
    Span::from_us(group.as_us() + group.as_us() / part)
}

impl Segments {
    /// There is a sync point in this block of the group: a segment begins there, if it is time.
    fn sync(&mut self, now: Instant, index: u8) {
        let (told_us, told_at) = *self.told.get_or_insert((0, now));
        let time_us = told_us.saturating_add(now.since(told_at).as_us());
        if self.begun.is_some() || self.due_us.is_some_and(|due_us| time_us < due_us) {
            return;
        }
        self.begun = Some(SegmentStart {
            index,
            number: self.next_number,
            discontinuities: self.discontinuities,
            time_us,
        });
        self.next_number = self.next_number.wrapping_add(1);
        self.due_us = Some(time_us + SEGMENT.as_us());
    }

    /// What comes next does not join on.
    fn break_off(&mut self) {
        if self.due_us.take().is_some() {
            self.discontinuities = self.discontinuities.wrapping_add(1);
        }
    }
}
