//! The ring of a stream: its recent blocks, each with what its seal says and the chunks that are here.
//!
//! Blocks are kept in a window of rows, chunks (and seals) in equal slots of one pool. When either runs short, the oldest
//! block goes. One writer; readers ask by block and index and never hold anything across a write.

use super::lent::Lent;
use super::slots::{NO_SLOT, Slot, Slots};
use crate::limits::{CHUNK_PREFIX_BYTES, MAX_N};
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;
use crate::wire::seal::BlockMark;
use bytemuck::Zeroable;

/// One block of the window. A row of zeros holds none.
#[derive(Clone, Copy, Zeroable)]
pub struct Row {
    /// Its number.
    pub block: u64,
    /// What the seal says about it.
    pub mark: BlockMark,
    /// When its seal became known here.
    pub sealed_at: Instant,
    /// When the source closed its group, on this node's clock, as well as can be told.
    pub born_at: Instant,
    /// When the first of its chunks came that nobody had asked for; zero before that.
    pub begun_at: Instant,
    /// Media bytes that are given out: all, or less when what follows is missing and the rest could not be made sense of.
    pub play_bytes: u16,
    /// Where output goes on in it when what lies before it was skipped; else 0.
    pub play_from: u16,
    /// Bit i: chunk i is here.
    pub have: u32,
    /// Bit i: chunk i was rebuilt here and its Merkle path is not filled in yet.
    pub pathless: u32,
    seal: Slot,
    slots: [Slot; MAX_N],
    is_open: bool,
}

/// The ring.
pub struct Ring<'s> {
    slots: Slots<'s>,
    rows: &'s mut dyn Lent<Row>,
    tail: u64,
    end: u64,
    /// Where the row of the block `tail` is. Those behind it follow, around the end: no look costs a division.
    tail_at: usize,
}

impl<'s> Ring<'s> {
    /// A ring over borrowed memory; useless until [`Ring::reset`].
    pub fn new(slots: Slots<'s>, rows: &'s mut dyn Lent<Row>) -> Self {
        Self {
            slots,
            rows,
            tail: 0,
            end: 0,
            tail_at: 0,
        }
    }

    /// Forgets everything; slots will hold `slot_bytes`, the window begins at `first`.
    pub fn reset(&mut self, slot_bytes: usize, first: u64) {
        self.close_all();
        self.slots.reset(slot_bytes);
        (self.tail, self.end) = (first, first);
    }

    /// Forgets all blocks; what comes later begins where they ended. The memory is not needed until then.
    pub fn give_back(&mut self) {
        self.rows.give_back();
        self.slots.give_back();
        self.tail = self.end;
    }

    /// Closes the rows of the window, and touches no others.
    fn close_all(&mut self) {
        for block in self.tail..self.end {
            if let Some(at) = self.at(block) {
                self.rows.all_mut()[at] = Row::zeroed();
            }
        }
    }

    /// Lowest block number that may still be here.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// One past the highest block.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Slots in all, and free.
    pub fn slots(&self) -> (usize, usize) {
        (self.slots.count(), self.slots.free())
    }

    /// Whether the oldest blocks go soon to make room.
    pub fn is_nearly_full(&self) -> bool {
        let (count, free) = self.slots();
        let rows = self.rows.all().len();
        free < count / 8 || self.end - self.tail >= (rows - rows / 8) as u64
    }

    /// Size of a slot.
    pub fn slot_bytes(&self) -> usize {
        self.slots.slot_bytes()
    }

    /// The row of a block, once its seal is known.
    pub fn row(&self, block: u64) -> Option<&Row> {
        let row = self.rows.all().get(self.at(block)?);
        row.filter(|row| row.is_open && row.block == block)
    }

    fn row_mut(&mut self, block: u64) -> Option<&mut Row> {
        let at = self.at(block)?;
        let row = self.rows.all_mut().get_mut(at);
        row.filter(|row| row.is_open && row.block == block)
    }

    /// The place of a block's row, if the window can reach it.
    fn at(&self, block: u64) -> Option<usize> {
        let rows = self.rows.all().len();
        let ahead = usize::try_from(block.checked_sub(self.tail)?).ok()?;
        let at = self.tail_at + Some(ahead).filter(|&ahead| ahead < rows)?;
        Some(if at < rows { at } else { at - rows })
    }

    /// Makes room for a block and records its mark. False if it is too old to matter or already here.
    pub fn open(&mut self, block: u64, mark: BlockMark, now: Instant, born_at: Instant) -> bool {
        if block < self.tail || self.row(block).is_some() {
            return false;
        }
        if block == u64::MAX {
            return false;
        }
        while block - self.tail >= self.rows.all().len() as u64 {
            if self.tail >= self.end {
                // Nothing left to evict: the window jumps (a new run of the source).
                (self.tail, self.end) = (block, block);
                break;
            }
            self.evict_tail();
        }
        let Some(at) = self.at(block) else {
            return false;
        };
        self.rows.all_mut()[at] = Row {
            block,
            mark,
            sealed_at: now,
            born_at,
            play_bytes: mark.length_bytes,
            seal: NO_SLOT,
            slots: [NO_SLOT; MAX_N],
            is_open: true,
            ..Row::zeroed()
        };
        self.end = self.end.max(block + 1);
        true
    }

    /// A chunk of a block came as it should. How long after the first one of that block.
    pub fn note_arrival(&mut self, block: u64, now: Instant) -> Option<Span> {
        let row = self.row_mut(block)?;
        if row.begun_at == Instant::ZERO {
            row.begun_at = now;
        }
        Some(now.since(row.begun_at))
    }

    /// Replaces what is known of an open block (the source opens it before its root is known).
    pub fn set_mark(&mut self, block: u64, mark: BlockMark) {
        if let Some(row) = self.row_mut(block) {
            row.mark = mark;
            row.play_bytes = mark.length_bytes;
        }
    }

    /// Gives out no more than `play_bytes` of a block.
    pub fn cut_short(&mut self, block: u64, play_bytes: u16) {
        if let Some(row) = self.row_mut(block) {
            row.play_bytes = row.play_bytes.min(play_bytes);
        }
    }

    /// Gives out nothing of a block before this place.
    pub fn play_from(&mut self, block: u64, place: u16) {
        if let Some(row) = self.row_mut(block) {
            row.play_from = place;
        }
    }

    /// Keeps the seal of the group `first..end` (whose rows are open) in one slot.
    pub fn keep_seal(&mut self, first: u64, end: u64, bytes: &[u8]) {
        let Some(slot) = self.take_slot(bytes.len(), end.saturating_sub(1)) else {
            return;
        };
        self.slots.get_mut(slot).copy_from_slice(bytes);
        let mut kept = false;
        for block in first..end {
            if let Some(row) = self.row_mut(block) {
                row.seal = slot;
                kept = true;
            }
        }
        if !kept {
            self.slots.give(slot);
        }
    }

    /// The seal that covers a block.
    pub fn seal(&self, block: u64) -> Option<&[u8]> {
        self.row(block)
            .map(|row| self.slots.get(row.seal))
            .filter(|seal| !seal.is_empty())
    }

    /// A place for a chunk of `len` bytes in an open row; its bytes are to be filled in. `None` when it is there already, the
    /// block is not open, or the ring is too small to hold even one block.
    pub fn insert(&mut self, id: ChunkId, len: usize) -> Option<&mut [u8]> {
        let bit = 1 << id.index;
        if self.row(id.block)?.have & bit != 0 {
            return None;
        }
        let slot = self.take_slot(len, id.block)?;
        let row = self.row_mut(id.block)?;
        row.have |= bit;
        row.slots[usize::from(id.index)] = slot;
        Some(self.slots.get_mut(slot))
    }

    /// Takes a chunk out again.
    pub fn remove(&mut self, id: ChunkId) {
        if let Some(row) = self.row_mut(id.block)
            && row.have & 1 << id.index != 0
        {
            let slot = core::mem::replace(&mut row.slots[usize::from(id.index)], NO_SLOT);
            row.have &= !(1 << id.index);
            row.pathless &= !(1 << id.index);
            self.slots.give(slot);
        }
    }

    /// A chunk's bytes, header first.
    pub fn chunk(&self, id: ChunkId) -> Option<&[u8]> {
        let row = self.row(id.block)?;
        let slot = *row.slots.get(usize::from(id.index))?;
        (slot != NO_SLOT).then(|| self.slots.get(slot))
    }

    /// Writes a receiver's prefix in front of a chunk that is here with its path, fit to be sent: where it is, and the length of both.
    pub fn address(
        &mut self,
        id: ChunkId,
        prefix: &[u8; CHUNK_PREFIX_BYTES],
    ) -> Option<(Slot, usize)> {
        let row = self.row(id.block)?;
        let is_ready = row.have & !row.pathless & 1 << id.index != 0;
        let slot = *row.slots.get(usize::from(id.index)).filter(|_| is_ready)?;
        Some((slot, self.slots.address(slot, prefix)?))
    }

    /// The longest that can be, and then the next slot follows without a gap.
    pub fn longest_bytes(&self) -> usize {
        self.slots.stride()
    }

    /// Chunks in slots that follow each other, as they were addressed last.
    pub fn run(&self, first: Slot, last: Slot) -> &[u8] {
        self.slots.run(first, last)
    }

    /// A chunk's bytes, to write.
    pub fn chunk_mut(&mut self, id: ChunkId) -> Option<&mut [u8]> {
        let slot = *self.row(id.block)?.slots.get(usize::from(id.index))?;
        (slot != NO_SLOT).then(|| self.slots.get_mut(slot))
    }

    /// Two chunks of one block, one to write and one to read.
    pub fn chunk_pair(&mut self, block: u64, write: u8, read: u8) -> Option<(&mut [u8], &[u8])> {
        let slots = self.row(block)?.slots;
        self.slots.pair(
            *slots.get(usize::from(write))?,
            *slots.get(usize::from(read))?,
        )
    }

    /// Marks which rebuilt chunks of a block lack their path.
    pub fn set_pathless(&mut self, block: u64, mask: u32) {
        if let Some(row) = self.row_mut(block) {
            row.pathless = mask;
        }
    }

    /// A slot for bytes that wait (chunks without their seal), if need be at the cost of the oldest block.
    pub fn park(&mut self, bytes: &[u8]) -> Option<Slot> {
        let slot = self.take_slot(bytes.len(), self.end)?;
        self.slots.get_mut(slot).copy_from_slice(bytes);
        Some(slot)
    }

    /// What was parked.
    pub fn parked(&self, slot: Slot) -> &[u8] {
        self.slots.get(slot)
    }

    /// Gives a parked slot back.
    pub fn unpark(&mut self, slot: Slot) {
        self.slots.give(slot);
    }

    /// Moves a parked chunk to its place without copying it. False (and the slot is given back) when there is none.
    pub fn adopt(&mut self, id: ChunkId, slot: Slot) -> bool {
        match self.row_mut(id.block) {
            Some(row) if row.have & 1 << id.index == 0 => {
                row.have |= 1 << id.index;
                row.slots[usize::from(id.index)] = slot;
                true
            }
            _ => {
                self.slots.give(slot);
                false
            }
        }
    }

    /// A free slot, at the cost of the oldest blocks below `block`.
    fn take_slot(&mut self, len: usize, block: u64) -> Option<Slot> {
        loop {
            if let Some(slot) = self.slots.take(len) {
                return Some(slot);
            }
            if len > self.slots.slot_bytes() || self.tail >= block.min(self.end) {
                return None;
            }
            self.evict_tail();
        }
    }

    fn evict_tail(&mut self) {
        let block = self.tail;
        let row = self.row_mut(block);
        let row = row.map(|row| core::mem::replace(row, Row::zeroed()));
        self.tail += 1;
        self.tail_at = if self.tail_at + 1 < self.rows.all().len() {
            self.tail_at + 1
        } else {
            0
        };
        let Some(row) = row else {
            return;
        };
        for slot in row.slots {
            if slot != NO_SLOT {
                self.slots.give(slot);
            }
        }
        let shared = self
            .row(block + 1)
            .is_some_and(|next| next.seal == row.seal);
        if row.seal != NO_SLOT && !shared {
            self.slots.give(row.seal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const MARK: BlockMark = BlockMark {
        root: [0; 16],
        length_bytes: 8,
        sync: 0,
        cut: 0,
    };

    fn with_ring(slots: usize, rows: usize, test: impl FnOnce(&mut Ring<'_>)) {
        let (mut bytes, mut lengths, mut free) =
            (vec![0; slots * 29], vec![0; slots], vec![0; slots]);
        let mut rows = vec![Row::zeroed(); rows];
        let (mut bytes, mut rows) = (&mut bytes[..], &mut rows[..]);
        let mut ring = Ring::new(Slots::new(&mut bytes, &mut lengths, &mut free), &mut rows);
        ring.reset(16, 100);
        test(&mut ring);
    }

    fn id(block: u64, index: u8) -> ChunkId {
        ChunkId { block, index }
    }

    #[test]
    fn the_oldest_block_goes_first() {
        with_ring(6, 8, |ring| {
            for block in 100..105 {
                assert!(ring.open(block, MARK, Instant::ZERO, Instant::ZERO));
                for index in 0..2 {
                    ring.insert(id(block, index), 10).unwrap().fill(block as u8);
                }
            }
            assert_eq!((ring.tail(), ring.end()), (102, 105));
            assert!(ring.chunk(id(101, 0)).is_none());
            assert_eq!(ring.chunk(id(104, 1)), Some(&[104; 10][..]));
            assert!(!ring.open(101, MARK, Instant::ZERO, Instant::ZERO));
            assert!(ring.insert(id(104, 1), 10).is_none());
        });
    }

    #[test]
    fn seals_live_as_long_as_their_last_block() {
        with_ring(8, 4, |ring| {
            for block in 100..103 {
                ring.open(block, MARK, Instant::ZERO, Instant::ZERO);
            }
            ring.keep_seal(100, 103, b"seal");
            for block in 103..106 {
                ring.open(block, MARK, Instant::ZERO, Instant::ZERO);
            }
            assert_eq!(ring.tail(), 102);
            assert_eq!(ring.seal(102), Some(&b"seal"[..]));
            assert_eq!(ring.seal(103), None);
            ring.open(106, MARK, Instant::ZERO, Instant::ZERO);
            assert_eq!(ring.slots(), (8, 8));
        });
    }

    #[test]
    fn a_far_jump_empties_the_window_in_bounded_time() {
        with_ring(8, 4, |ring| {
            ring.open(100, MARK, Instant::ZERO, Instant::ZERO);
            ring.insert(id(100, 0), 4).unwrap();
            assert!(ring.open(u64::MAX - 1, MARK, Instant::ZERO, Instant::ZERO));
            assert_eq!((ring.tail(), ring.end()), (u64::MAX - 1, u64::MAX));
            assert_eq!(ring.slots(), (8, 8));
        });
    }

    #[test]
    fn what_was_given_back_is_gone_and_the_ring_goes_on() {
        with_ring(8, 4, |ring| {
            for block in 100..103 {
                ring.open(block, MARK, Instant::ZERO, Instant::ZERO);
                ring.insert(id(block, 0), 4).unwrap();
            }
            ring.give_back();
            assert_eq!((ring.tail(), ring.end(), ring.slots()), (103, 103, (8, 8)));
            assert!((100..103).all(|block| ring.row(block).is_none()));
            assert!(!ring.open(102, MARK, Instant::ZERO, Instant::ZERO));
            assert!(ring.open(103, MARK, Instant::ZERO, Instant::ZERO));
            assert!(ring.insert(id(103, 0), 4).is_some());
        });
    }

    #[test]
    fn block_zero_is_not_there_before_it_came() {
        with_ring(8, 4, |ring| {
            ring.reset(16, 0);
            assert!(ring.row(0).is_none());
            assert!(ring.open(0, MARK, Instant::ZERO, Instant::ZERO));
            assert!(ring.row(0).is_some());
            ring.reset(16, 0);
            assert!(ring.row(0).is_none());
        });
    }

    #[test]
    fn random_use_never_loses_or_doubles_a_slot() {
        with_ring(40, 16, |ring| {
            let mut rng = crate::rng::Rng::new(3);
            let mut parked = vec![];
            for step in 0..20_000u64 {
                let block = 100 + step / 20 + rng.below(6);
                match rng.below(5) {
                    0 => drop(ring.open(block, MARK, Instant::ZERO, Instant::ZERO)),
                    1 => drop(
                        ring.insert(id(block, rng.below(8) as u8), 12)
                            .map(|b| b.fill(1)),
                    ),
                    2 => ring.remove(id(block, rng.below(8) as u8)),
                    3 => parked.extend(ring.park(&[7; 5])),
                    _ => {
                        if let Some(slot) = parked.pop() {
                            ring.adopt(id(block, 9), slot);
                        }
                    }
                }
                let held: usize = (ring.tail()..ring.end())
                    .filter_map(|b| ring.row(b))
                    .map(|row| row.have.count_ones() as usize)
                    .sum();
                assert_eq!(held + parked.len() + ring.slots().1, 40, "step {step}");
                while parked.len() > 3 {
                    ring.unpark(parked.pop().unwrap());
                }
            }
        });
    }
}
