//! One stream here: its card, its ring, what was proved and what waits for its seal.

use super::card::Card;
use super::config::Role;
use super::peer::PeerId;
use super::playout::{Playout, is_whole};
use super::preamble::Preamble;
use super::source::Source;
use super::stats::StreamStats;
use super::title::Title;
use super::turns::Turn;
use crate::coding::gf256;
use crate::crypto::merkle;
use crate::crypto::sign::Verifier;
use crate::error::Malformed;
use crate::limits::{
    CHUNK_HEADER_BYTES, CHUNK_PREFIX_BYTES, MAX_CHUNK_PAYLOAD_BYTES, MAX_K, MAX_N,
};
use crate::storage::lent::Lent;
use crate::storage::log::Log;
use crate::storage::ring::{Ring, Row};
use crate::storage::slots::Slot;
use crate::time::{Instant, Span};
use crate::wire::chunk::{Chunk, ChunkId, Tag, header, say_behind, tag_of};
use crate::wire::seal::{self, Seal};
use heapless::{Deque, Vec};

/// Index of a log entry that stands for the seal of the group `block` begins.
pub const SEAL_ENTRY: u8 = u8::MAX;

/// Most chunks that wait for their seal.
const MAX_PARKED: usize = 48;

/// Most chunks that are asked for at once.
pub const MAX_ASKED: usize = 64;

/// Most answers that are remembered of neighbours that lack something.
const MAX_LACKING: usize = 32;

/// How far ahead of the known blocks a chunk may claim to be before its seal has come.
const MAX_AHEAD_BLOCKS: u64 = 4 * seal::MAX_GROUP_BLOCKS as u64;

/// Without a chunk for so long this node was cut off, and nothing could be asked for; until a seal or a chunk comes again.
const SILENCE: Span = Span::from_ms(1_000);

/// Where a stripe stands here.
#[derive(Clone, Copy, Default, Debug)]
pub struct Head {
    /// One past the newest block of which this node has this stripe's chunk.
    pub end: u64,
    /// When that came.
    pub at: Instant,
    /// One past the newest block for which it was rebuilt here instead.
    pub rebuilt: u64,
    /// One past the newest block to which the stripe's tree reached, as the parents say. Nobody but the source moves it on: where a
    /// tree has no root, or runs in a circle, it stands still for all below, whatever is rebuilt there. And when it moved.
    pub rooted: u64,
    /// See `rooted`.
    pub rooted_at: Instant,
    /// How long after the first chunk of its block a chunk of this stripe comes.
    pub pace: Pace,
}

/// Mean and mean deviation of a delay, each eased by a share of what is new (Jacobson, "Congestion Avoidance and Control", 1988).
#[derive(Clone, Copy, Default, Debug)]
pub struct Pace {
    mean_us: u32,
    deviation_us: u32,
}

impl Pace {
    fn note(&mut self, delay: Span) {
        let delay_us = u32::try_from(delay.as_us())
            .unwrap_or(u32::MAX)
            .min(2_000_000);
        let off_us = delay_us.abs_diff(self.mean_us);
        self.mean_us = self.mean_us - self.mean_us / 8 + delay_us / 8;
        self.deviation_us = self.deviation_us - self.deviation_us / 4 + off_us / 4;
    }

    /// What is later than this is out of the ordinary.
    pub fn expected(&self) -> Span {
        Span::from_us(u64::from(self.mean_us) + 4 * u64::from(self.deviation_us))
    }
}

/// Who sends a stripe here.
#[derive(Clone, Copy, Default, Debug)]
pub struct Parent {
    /// The parent, asked or granted.
    pub peer: Option<PeerId>,
    /// Since when.
    pub since: Instant,
    /// Another one that is tried beside it; it takes over with its first chunk.
    pub trial: Option<(PeerId, Instant)>,
}

/// A chunk that was asked for again.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Which.
    pub id: ChunkId,
    /// Whom.
    pub peer: PeerId,
    /// When.
    pub at: Instant,
}

/// Chunks of a block that a neighbour said it lacks.
#[derive(Clone, Copy, Debug)]
pub struct Lacking {
    /// Who.
    pub peer: PeerId,
    /// The block.
    pub block: u64,
    /// Which of its chunks.
    pub stripes: u32,
    /// When it said so.
    pub at: Instant,
}

/// No place of the table of peers.
const NOBODY: PeerId = PeerId::MAX;

/// A chunk that waits for its seal.
pub struct Parked {
    pub(super) id: ChunkId,
    pub(super) from: PeerId,
    pub(super) behind: u8,
    slot: Slot,
}

/// Chunks whose seal has come, and whether they verify.
pub type AllTried = Vec<(Parked, bool), MAX_PARKED>;

/// What became of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// Proved and kept.
    New,
    /// Was here.
    Duplicate,
    /// Waits for its seal.
    Parked,
    /// Too old, too far ahead, or no room to wait.
    Dropped,
    /// Does not verify: the sender is to blame.
    Invalid,
}

/// What became of a seal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sealed {
    /// Verified; its blocks are open.
    New,
    /// Was here.
    Known,
    /// Belongs to a descriptor that is not known here.
    NeedsDescriptor,
}

/// Memory one stream borrows.
pub struct StreamPools<'s> {
    /// The ring.
    pub ring: Ring<'s>,
    /// Log of what is to be forwarded.
    pub log: &'s mut dyn Lent<ChunkId>,
    /// Preamble.
    pub preamble: &'s mut [u8],
}

/// One stream.
pub struct Stream<'s> {
    /// Public key.
    pub key: [u8; 32],
    /// First bytes of the key.
    pub tag: Tag,
    /// What this node is to it.
    pub role: Role,
    /// The descriptor in force.
    pub card: Option<Card>,
    /// The preamble.
    pub preamble: Preamble<'s>,
    /// Recent blocks.
    pub ring: Ring<'s>,
    /// What is to be forwarded, in order.
    pub log: Log<'s, ChunkId>,
    /// Where the log ended at the last looks at the uplink, newest first; what stands in it before `too_late` is not sent any more.
    pub log_ends: [u64; 4],
    /// See `log_ends`.
    pub too_late: u64,
    /// How far it is whole.
    pub playout: Playout,
    /// When a card or preamble that is missing is asked for again.
    pub fetch_at: Instant,
    /// When neighbours were last asked for news, and after what pause they may be asked again.
    pub news_asked_at: Instant,
    /// See `news_asked_at`; it grows while nothing comes of it.
    pub news_pause: Span,
    /// When a spare stripe is sought again.
    pub spare_at: Instant,
    /// Whether the grid has enough for this node's players.
    pub(super) turn: Turn,
    /// When neighbours without a place may be asked again.
    pub plead_at: Instant,
    /// Stripes for which there was no parent when last looked for.
    pub orphans: u32,
    /// The seal that was asked for last, and when.
    pub seal_asked: (u64, Instant),
    /// Where each stripe stands.
    pub heads: [Head; MAX_N],
    /// Who sends each stripe.
    pub parents: [Parent; MAX_N],
    /// Stripes that were stalled when last looked at.
    pub stalled: u32,
    /// Of these, those whose tree has no root.
    pub rootless: u32,
    /// Stripes that stalled, or had no parent, and have not flowed since.
    pub broken: u32,
    /// The stripes this node prefers to carry.
    pub home: u32,
    /// When that is next reconsidered.
    pub home_at: Instant,
    /// When the newest chunk came.
    pub flowed_at: Instant,
    /// When seals or chunks began to come again after a silence.
    pub resumed_at: Instant,
    /// What was asked for again.
    pub asked: Vec<Asked, MAX_ASKED>,
    /// What neighbours said they lack, the newest last.
    pub lacking: Deque<Lacking, MAX_LACKING>,
    /// How many may be asked for at once: grows with each that comes, shrinks when one does not (as a congestion window does,
    /// RFC 5681), so that repair never takes the upload that the stream itself needs.
    pub ask_window: u8,
    /// Now playing.
    pub title: Title,
    /// What makes it, at the source.
    pub source: Option<Source<'s>>,
    /// Counters.
    pub stats: StreamStats,
    /// The whole stream is wanted: by players here, or by configuration.
    pub plays: bool,
    /// The owner stopped it: nothing is fetched, forwarded or played.
    pub stopped: bool,
    /// When the last player left.
    pub idle_since: Instant,
    /// Why the media was given up, when it was.
    pub trouble: Option<&'static str>,
    pub(super) hasher: merkle::Keys,
    verifier: Verifier,
    parked: Vec<Parked, MAX_PARKED>,
}

impl<'s> Stream<'s> {
    /// A stream of which only the name is known. `Err` when the key is no good Ed25519 key.
    pub fn new(key: [u8; 32], role: Role, pools: StreamPools<'s>) -> Result<Self, Malformed> {
        Ok(Self {
            key,
            tag: tag_of(&key),
            role,
            card: None,
            preamble: Preamble::new(pools.preamble),
            ring: pools.ring,
            log: Log::new(pools.log),
            log_ends: [0; 4],
            too_late: 0,
            playout: Playout::default(),
            fetch_at: Instant::ZERO,
            news_asked_at: Instant::ZERO,
            news_pause: Span::ZERO,
            spare_at: Instant::ZERO,
            turn: Turn::Served,
            plead_at: Instant::ZERO,
            orphans: 0,
            seal_asked: (0, Instant::ZERO),
            heads: [Head::default(); MAX_N],
            parents: [Parent::default(); MAX_N],
            stalled: 0,
            rootless: 0,
            broken: 0,
            home: 0,
            home_at: Instant::ZERO,
            flowed_at: Instant::ZERO,
            resumed_at: Instant::ZERO,
            asked: Vec::new(),
            lacking: Deque::new(),
            ask_window: 32,
            title: Title::default(),
            source: None,
            stats: StreamStats::default(),
            plays: role != Role::Relay,
            stopped: false,
            idle_since: Instant::ZERO,
            trouble: None,
            hasher: merkle::Keys::new(&key),
            verifier: Verifier::new(&key)?,
            parked: Vec::new(),
        })
    }

    /// Descriptor version known; 0 for none.
    pub fn version(&self) -> u32 {
        self.card.as_ref().map_or(0, |card| card.descriptor.version)
    }

    /// A descriptor from outside. True if it is news.
    pub fn accept_descriptor(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let card = Card::verify(bytes, &self.verifier)?;
        if card.descriptor.version <= self.version() || self.source.is_some() {
            return Ok(false);
        }
        self.adopt_card(card);
        Ok(true)
    }

    /// Puts a card in force. A new shape empties the ring; a new run of the source only moves on.
    pub(super) fn adopt_card(&mut self, card: Card) {
        let first = card.descriptor.first_block;
        if !self.card.as_ref().is_some_and(|old| old.same_shape(&card)) {
            self.drop_parked();
            self.ring.reset(card.slot_bytes(), first);
            self.playout = Playout {
                next: first,
                limit: (first, 0),
                started: false,
                began: first,
                ..self.playout
            };
            self.heads = [Head {
                end: first,
                rooted: first,
                ..Head::default()
            }; MAX_N];
        }
        if self.source.is_none() {
            self.preamble.expect(&card.descriptor);
        }
        self.card = Some(card);
    }

    /// A seal from outside, `age` old. Chunks that waited for it are tried: true ones are taken in.
    pub fn accept_seal(
        &mut self,
        now: Instant,
        age: Span,
        bytes: &[u8],
        tried: &mut AllTried,
    ) -> Result<Sealed, Malformed> {
        let seal = Seal::parse(bytes)?;
        let Some(card) = self.card.as_ref() else {
            return Ok(Sealed::NeedsDescriptor);
        };
        if seal.version > card.descriptor.version {
            return Ok(Sealed::NeedsDescriptor);
        }
        let old =
            seal.end_block() <= self.ring.tail() || self.ring.row(seal.end_block() - 1).is_some();
        if old || bytes.len() > self.ring.slot_bytes() {
            return Ok(Sealed::Known);
        }
        self.verify(&seal)?;
        let most = card.k() * usize::from(card.descriptor.chunk_bytes);
        if seal
            .blocks()
            .any(|(_, mark)| usize::from(mark.length_bytes) > most)
        {
            return Err(Malformed::Field);
        }
        self.stats.seals += 1;
        if now.since(self.flowed_at) > SILENCE && self.resumed_at <= self.flowed_at {
            self.resumed_at = now;
        }
        self.open_group(&seal, bytes, now, now - age);
        self.admit_parked(now, tried);
        Ok(Sealed::New)
    }

    /// Whether the source signed this.
    pub(super) fn verify(&self, seal: &Seal<'_>) -> Result<(), Malformed> {
        let parts: [&[u8]; 2] = [&self.key, seal.signed];
        self.verifier.verify(seal::DOMAIN, &parts, &seal.signature)
    }

    /// Opens the rows of a verified group and remembers its seal.
    pub(super) fn open_group(
        &mut self,
        seal: &Seal<'_>,
        bytes: &[u8],
        now: Instant,
        born_at: Instant,
    ) {
        for (block, mark) in seal.blocks() {
            self.ring.open(block, mark, now, born_at);
            if self.playout.started && block < self.playout.next {
                // It was skipped already; what was played does not join on to it.
                self.ring.cut_short(block, 0);
            }
        }
        self.ring
            .keep_seal(seal.first_block, seal.end_block(), bytes);
        self.log.push(ChunkId {
            block: seal.first_block,
            index: SEAL_ENTRY,
        });
        self.title.note(seal, bytes, born_at);
    }

    /// A chunk from outside.
    pub fn accept_chunk(
        &mut self,
        now: Instant,
        from: PeerId,
        behind: u8,
        chunk: &Chunk<'_>,
    ) -> Taken {
        let Some(card) = self.card.as_ref() else {
            return Taken::Dropped;
        };
        let id = chunk.id;
        if usize::from(id.index) >= card.n() {
            return Taken::Invalid;
        }
        let taken = match self.ring.row(id.block) {
            None => self.park(id, from, behind, chunk.bytes),
            Some(row) if row.have & 1 << id.index != 0 => Taken::Duplicate,
            Some(row) if !proves(&self.hasher, card, row, id, chunk.bytes) => Taken::Invalid,
            Some(_) => match self.ring.insert(id, chunk.bytes.len()) {
                None => Taken::Dropped,
                Some(room) => {
                    room.copy_from_slice(chunk.bytes);
                    self.note_new(now, id);
                    Taken::New
                }
            },
        };
        match taken {
            Taken::New => {}
            Taken::Duplicate => self.stats.duplicate += 1,
            Taken::Invalid => self.stats.invalid += 1,
            Taken::Dropped => self.stats.dropped += 1,
            Taken::Parked => {}
        }
        taken
    }

    fn note_new(&mut self, now: Instant, id: ChunkId) {
        self.stats.chunks += 1;
        if now.since(self.flowed_at) > SILENCE {
            self.resumed_at = now;
        }
        self.flowed_at = now;
        let asked = self.asked.iter().position(|asked| asked.id == id);
        let delay = match asked {
            None => self.ring.note_arrival(id.block, now),
            Some(_) => None,
        };
        let head = &mut self.heads[usize::from(id.index)];
        if let Some(delay) = delay {
            head.pace.note(delay);
        }
        if id.block >= head.end {
            (head.end, head.at) = (id.block + 1, now);
        }
        if let Some(at) = asked {
            self.asked.swap_remove(at);
            self.ask_window = (self.ask_window + 1).min(MAX_ASKED as u8);
            self.stats.repaired += 1;
        }
        self.log.push(id);
    }

    /// Keeps a chunk until its seal comes: one of each sender, so that a forged one does not keep the true one out, and of no sender
    /// more than half of what there is room for.
    fn park(&mut self, id: ChunkId, from: PeerId, behind: u8, bytes: &[u8]) -> Taken {
        let (tail, end) = (self.ring.tail(), self.ring.end());
        let near = id.block >= tail && (end == tail || id.block < end + MAX_AHEAD_BLOCKS);
        let same = self.parked.iter().any(|p| p.id == id && p.from == from);
        if !near || same {
            return Taken::Dropped;
        }
        let greedy = self.parked.iter().filter(|p| p.from == from).count() >= MAX_PARKED / 2;
        let oldest = if greedy {
            self.parked.iter().position(|p| p.from == from)
        } else {
            Some(0)
        };
        if let Some(oldest) = oldest.filter(|_| greedy || self.parked.is_full()) {
            let oldest = self.parked.remove(oldest);
            self.ring.unpark(oldest.slot);
        }
        match self.ring.park(bytes) {
            // Cannot be full: one was just taken out.
            Some(slot) => self
                .parked
                .push(Parked {
                    id,
                    from,
                    behind,
                    slot,
                })
                .map_or(Taken::Dropped, |()| Taken::Parked),
            None => Taken::Dropped,
        }
    }

    /// Blocks that chunks wait for: the lowest without a seal.
    pub fn unsealed(&self) -> Option<u64> {
        self.parked.iter().map(|p| p.id.block).min()
    }

    /// A neighbour is gone: what becomes of its waiting chunks is not put down to whoever gets its place.
    pub fn forget_sender(&mut self, id: PeerId) {
        for parked in self.parked.iter_mut().filter(|parked| parked.from == id) {
            parked.from = NOBODY;
        }
    }

    /// Takes in the parked chunks whose seal has come.
    fn admit_parked(&mut self, now: Instant, tried: &mut AllTried) {
        let mut at = 0;
        while at < self.parked.len() {
            let id = self.parked[at].id;
            if self.ring.row(id.block).is_none() {
                if id.block < self.ring.tail() {
                    let old = self.parked.remove(at);
                    self.ring.unpark(old.slot);
                } else {
                    at += 1;
                }
                continue;
            }
            let waited = self.parked.remove(at);
            let Parked { id, slot, .. } = waited;
            let parts = self.card.as_ref().zip(self.ring.row(id.block));
            let is_true = parts.is_some_and(|(card, row)| {
                proves(&self.hasher, card, row, id, self.ring.parked(slot))
            });
            if !is_true {
                self.stats.invalid += 1;
                self.ring.unpark(slot);
            } else if self.ring.adopt(id, slot) {
                self.note_new(now, id);
            }
            // Room: there are no more than wait.
            let _ = tried.push((waited, is_true));
        }
    }

    /// Nothing has come for so long that what is here is of no use to anybody: its memory goes back.
    pub fn let_go(&mut self) {
        self.drop_parked();
        self.asked.clear();
        self.ring.give_back();
        self.log.give_back();
        self.playout.await_start();
    }

    /// The block behind the newest of which a chunk has come; at the source, of which one was let out.
    pub fn head_end(&self) -> u64 {
        self.heads.iter().map(|head| head.end).max().unwrap_or(0)
    }

    /// When the newest chunk or seal came; nothing when the ring is empty.
    pub fn newest_at(&self) -> Option<Instant> {
        let newest = self.ring.row(self.ring.end().checked_sub(1)?)?;
        Some(self.flowed_at.max(newest.sealed_at))
    }

    fn drop_parked(&mut self) {
        while let Some(parked) = self.parked.pop() {
            self.ring.unpark(parked.slot);
        }
    }

    /// Takes the playout as far as whole blocks reach; rebuilds what parity allows.
    pub fn play(&mut self, now: Instant, burst: Span) {
        if !self.plays {
            return;
        }
        if !self.playout.started {
            self.try_start(now, burst);
            if !self.playout.started {
                return;
            }
        }
        while let Some((k, row)) = self
            .card
            .as_ref()
            .map(Card::k)
            .zip(self.ring.row(self.playout.next).copied())
        {
            if (row.have.count_ones() as usize) < k {
                return;
            }
            let data = (1u32 << k) - 1;
            if !is_whole(&row, k) && !self.rebuild(row.block, data & !row.have) {
                return;
            }
            let run = self.card.as_ref().map_or(0, |c| c.descriptor.first_block);
            if row.block == run && self.playout.limit.0 < run {
                // What came before may end in the middle of a frame.
                self.playout.begin_run(&mut self.ring, run, 0);
            }
            self.stats.played_bytes += u64::from(row.mark.length_bytes);
            self.playout.advance(&row);
        }
    }

    /// Rebuilds chunks of a block from K others, without their paths. False when it cannot be done.
    pub fn rebuild(&mut self, block: u64, missing: u32) -> bool {
        let Some(plan) = Combination::of(self.card.as_ref(), self.ring.row(block)) else {
            return false;
        };
        for index in bits(missing) {
            let id = ChunkId { block, index };
            let Some(room) = self.ring.insert(id, plan.offset + plan.payload) else {
                return false;
            };
            room.fill(0);
            room[..CHUNK_HEADER_BYTES].copy_from_slice(&header(self.tag, id));
            let Some(coefficients) = plan.coefficients(index) else {
                return false;
            };
            for (&from, &c) in plan.present.iter().zip(&coefficients) {
                if let Some((write, read)) = self.ring.chunk_pair(block, index, from) {
                    gf256::mul_add(&mut write[plan.offset..], &read[plan.offset..], c);
                }
            }
            let pathless = self.ring.row(block).map_or(0, |row| row.pathless) | 1 << index;
            self.ring.set_pathless(block, pathless);
            self.stats.rebuilt += 1;
            let head = &mut self.heads[usize::from(index)];
            head.rebuilt = head.rebuilt.max(block + 1);
            self.log.push(id);
        }
        true
    }

    /// Fills in the Merkle paths of rebuilt chunks, so that they can be sent on. False when the block does not add up, which
    /// only its source can have caused; the rebuilt chunks are then dropped.
    pub fn fill_paths(&mut self, block: u64) -> bool {
        let Some(row) = self.ring.row(block).copied() else {
            return false;
        };
        if row.pathless == 0 {
            return true;
        }
        let Some(plan) = Combination::of(self.card.as_ref(), Some(&row)) else {
            return false;
        };
        let mut leaves = [[0; 16]; MAX_N];
        for index in 0..plan.n {
            let id = ChunkId { block, index };
            let head = header(self.tag, id);
            let mut scratch = [0; MAX_CHUNK_PAYLOAD_BYTES];
            let payload = match self.ring.chunk(id) {
                Some(chunk) => &chunk[plan.offset..],
                None => self.combine(&plan, block, index, &mut scratch),
            };
            leaves[usize::from(index)] = self.hasher.leaf(&head, payload);
        }
        let tree = merkle::Tree::build(&self.hasher, &leaves[..usize::from(plan.n)]);
        let adds_up = tree.root() == row.mark.root;
        for index in bits(row.pathless) {
            let id = ChunkId { block, index };
            match self.ring.chunk_mut(id).filter(|_| adds_up) {
                Some(chunk) => drop(tree.path(index, &mut chunk[CHUNK_HEADER_BYTES..plan.offset])),
                None => self.ring.remove(id),
            }
        }
        self.ring.set_pathless(block, 0);
        adds_up
    }

    fn combine<'b>(
        &self,
        plan: &Combination,
        block: u64,
        index: u8,
        scratch: &'b mut [u8],
    ) -> &'b [u8] {
        let out = &mut scratch[..plan.payload];
        if let Some(coefficients) = plan.coefficients(index) {
            for (&from, &c) in plan.present.iter().zip(&coefficients) {
                if let Some(chunk) = self.ring.chunk(ChunkId { block, index: from }) {
                    gf256::mul_add(out, &chunk[plan.offset..], c);
                }
            }
        }
        out
    }

    /// How long ago the source closed the newest group known here.
    pub fn head_age(&self, now: Instant) -> Option<Span> {
        let newest = self.ring.end().checked_sub(1)?;
        self.ring.row(newest).map(|row| now.since(row.born_at))
    }

    /// The seals of the last `back`, oldest first: each group's first block.
    pub fn groups_since(&self, now: Instant, back: Span, mut each: impl FnMut(u64)) {
        let mut block = self.ring.end();
        while block > self.ring.tail() {
            match self.ring.row(block - 1) {
                Some(row) if now.since(row.born_at) <= back => block -= 1,
                _ => break,
            }
        }
        while let Some(seal) = self
            .ring
            .seal(block)
            .and_then(|bytes| Seal::parse(bytes).ok())
        {
            each(seal.first_block);
            block = seal.end_block();
        }
    }

    /// One past the last block of the group a block belongs to, if its seal is here.
    pub fn group_end(&self, block: u64) -> Option<u64> {
        Seal::parse(self.ring.seal(block)?)
            .ok()
            .map(|seal| seal.end_block())
    }

    /// Whether a chunk is here or can be rebuilt.
    pub fn can_serve(&self, id: ChunkId) -> bool {
        let Some((card, row)) = self.card.as_ref().zip(self.ring.row(id.block)) else {
            return false;
        };
        usize::from(id.index) < card.n()
            && (row.have & 1 << id.index != 0 || row.have.count_ones() as usize >= card.k())
    }

    /// Makes a chunk fit to be sent: rebuilt if need be, its path filled in, the receiver's prefix in front of it. Where it is and
    /// the length of both, or nothing when it cannot be had.
    pub fn prepare(
        &mut self,
        id: ChunkId,
        prefix: &[u8; CHUNK_PREFIX_BYTES],
    ) -> Option<(Slot, usize)> {
        let prefix = say_behind(*prefix, self.behind(id));
        if let Some(ready) = self.ring.address(id, &prefix) {
            return Some(ready);
        }
        let have = self.ring.row(id.block)?.have;
        let here = have & 1 << id.index != 0 || self.rebuild(id.block, 1 << id.index);
        if !here || !self.fill_paths(id.block) {
            return None;
        }
        self.ring.address(id, &prefix)
    }

    /// By how many blocks a stripe's tree is behind a chunk here.
    fn behind(&self, id: ChunkId) -> u8 {
        let head = self
            .heads
            .get(usize::from(id.index))
            .map_or(0, |head| head.rooted);
        u8::try_from((id.block + 1).saturating_sub(head)).unwrap_or(u8::MAX)
    }
}

/// Which chunks of a block are used to rebuild others.
struct Combination {
    code: crate::coding::block::Code,
    present: Vec<u8, MAX_K>,
    n: u8,
    offset: usize,
    payload: usize,
}

impl Combination {
    /// `None` when fewer than K chunks are here.
    fn of(card: Option<&Card>, row: Option<&Row>) -> Option<Self> {
        let (card, row) = (card?, row?);
        let mut present = Vec::new();
        // Received chunks first, then rebuilt ones; both are right.
        for index in bits(row.have).take(card.k()) {
            present.push(index).ok()?;
        }
        (present.len() == card.k()).then(|| Self {
            code: card.code,
            present,
            n: card.descriptor.n,
            offset: card.payload_offset(),
            payload: card.payload_bytes(row.mark.length_bytes),
        })
    }

    fn coefficients(&self, index: u8) -> Option<[u8; MAX_K]> {
        let mut out = [[0; MAX_K]];
        self.code
            .coefficients(&self.present, &[index], &mut out)
            .ok()?;
        Some(out[0])
    }
}

/// Whether a chunk leads to its block's root and is as long as it must be.
fn proves(hasher: &merkle::Keys, card: &Card, row: &Row, id: ChunkId, bytes: &[u8]) -> bool {
    let offset = card.payload_offset();
    if bytes.len() != offset + card.payload_bytes(row.mark.length_bytes) {
        return false;
    }
    let Some((head, _)) = bytes.split_first_chunk::<CHUNK_HEADER_BYTES>() else {
        return false;
    };
    let leaf = hasher.leaf(head, &bytes[offset..]);
    hasher.root_from_path(&leaf, id.index, &bytes[CHUNK_HEADER_BYTES..offset]) == Ok(row.mark.root)
}

/// The mask in which these bits are set.
pub fn mask_of(bits: impl Iterator<Item = u8>) -> u32 {
    bits.fold(0, |mask, bit| mask | 1 << bit)
}

/// The positions of the bits that are set, lowest first.
pub fn bits(mut mask: u32) -> impl Iterator<Item = u8> {
    core::iter::from_fn(move || {
        let lowest = (mask != 0).then(|| mask.trailing_zeros() as u8)?;
        mask &= mask - 1;
        Some(lowest)
    })
}
