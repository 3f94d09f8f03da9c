//! A pool of equal slots over borrowed bytes. A slot that was never used is never touched, so its page is not resident.
//!
//! In front of each there is room for what a chunk's receiver has for itself: whoever sends a chunk writes that there, and takes
//! both as one piece; and chunks of full length in slots that follow each other are one piece together. So that they do,
//! slots are taken again in the order in which they were given back.

use super::lent::Lent;
use crate::limits::CHUNK_PREFIX_BYTES;

/// Number of a slot.
pub type Slot = u16;

/// "No slot."
pub const NO_SLOT: Slot = Slot::MAX;

/// The pool.
pub struct Slots<'s> {
    bytes: &'s mut dyn Lent<u8>,
    lengths: &'s mut [u16],
    /// Slots given back; a queue that begins at `free_first`.
    free: &'s mut [Slot],
    free_first: usize,
    free_count: usize,
    /// Slots below this one have been used at least once.
    touched: usize,
    count: usize,
    slot_bytes: usize,
}

impl<'s> Slots<'s> {
    /// `lengths` and `free` bound the number of slots, whatever their size turns out to be.
    pub fn new(bytes: &'s mut dyn Lent<u8>, lengths: &'s mut [u16], free: &'s mut [Slot]) -> Self {
        Self {
            bytes,
            lengths,
            free,
            free_first: 0,
            free_count: 0,
            touched: 0,
            count: 0,
            slot_bytes: 1,
        }
    }

    /// Forgets everything and cuts the pool into slots of `slot_bytes`.
    pub fn reset(&mut self, slot_bytes: usize) {
        self.slot_bytes = slot_bytes.max(1);
        let most = self
            .lengths
            .len()
            .min(self.free.len())
            .min(usize::from(NO_SLOT));
        self.count = (self.bytes.all().len() / self.stride()).min(most);
        self.free_count = 0;
        self.touched = 0;
    }

    /// Forgets everything; the memory is not needed until slots are taken again.
    pub fn give_back(&mut self) {
        self.bytes.give_back();
        self.free_count = 0;
        self.touched = 0;
    }

    /// How many slots there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.count - self.touched + self.free_count
    }

    /// Size of a slot.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// From where one slot begins to where the next does.
    pub fn stride(&self) -> usize {
        CHUNK_PREFIX_BYTES + self.slot_bytes
    }

    /// Takes a slot for `len` bytes; its content is whatever was there before.
    pub fn take(&mut self, len: usize) -> Option<Slot> {
        let fits = u16::try_from(len).ok().filter(|_| len <= self.slot_bytes)?;
        let slot = if self.free_count > 0 {
            let first = self.free[self.free_first];
            self.free_first = self.free_place(1);
            self.free_count -= 1;
            first
        } else if self.touched < self.count {
            self.touched += 1;
            (self.touched - 1) as Slot
        } else {
            return None;
        };
        self.lengths[usize::from(slot)] = fits;
        Some(slot)
    }

    /// Gives a slot back.
    pub fn give(&mut self, slot: Slot) {
        if usize::from(slot) < self.touched && self.free_count < self.count {
            let last = self.free_place(self.free_count);
            self.free[last] = slot;
            self.free_count += 1;
        }
    }

    /// So far behind the first that was given back, around the end.
    fn free_place(&self, behind: usize) -> usize {
        let place = self.free_first + behind;
        place.checked_sub(self.free.len()).unwrap_or(place)
    }

    /// Writes what a receiver has for itself in front of a slot. The length of both.
    pub fn address(&mut self, slot: Slot, prefix: &[u8; CHUNK_PREFIX_BYTES]) -> Option<usize> {
        let whole = self.whole_mut(slot);
        *whole.first_chunk_mut()? = *prefix;
        Some(whole.len())
    }

    /// The bytes of slots that follow each other, with what was written in front of each.
    pub fn run(&self, first: Slot, last: Slot) -> &[u8] {
        let ends = self.whole(first).zip(self.whole(last));
        ends.and_then(|(first, last)| self.bytes.all().get(first.start..last.end))
            .unwrap_or(&[])
    }

    /// The bytes in a slot; nothing for [`NO_SLOT`].
    pub fn get(&self, slot: Slot) -> &[u8] {
        self.run(slot, slot)
            .get(CHUNK_PREFIX_BYTES..)
            .unwrap_or(&[])
    }

    /// The bytes in a slot, to write.
    pub fn get_mut(&mut self, slot: Slot) -> &mut [u8] {
        self.whole_mut(slot)
            .get_mut(CHUNK_PREFIX_BYTES..)
            .unwrap_or(&mut [])
    }

    /// With the room in front.
    fn whole_mut(&mut self, slot: Slot) -> &mut [u8] {
        self.whole(slot)
            .and_then(|whole| self.bytes.all_mut().get_mut(whole))
            .unwrap_or(&mut [])
    }

    /// One slot to write and another to read.
    pub fn pair(&mut self, write: Slot, read: Slot) -> Option<(&mut [u8], &[u8])> {
        let (w, r) = (self.whole(write)?, self.whole(read)?);
        let bytes = self.bytes.all_mut();
        let (w, r) = if w.start < r.start {
            let (low, high) = bytes.split_at_mut_checked(r.start)?;
            (low.get_mut(w)?, high.get(..r.end - r.start)?)
        } else if w.start > r.start {
            let (low, high) = bytes.split_at_mut_checked(w.start)?;
            (high.get_mut(..w.end - w.start)?, low.get(r)?)
        } else {
            return None;
        };
        Some((
            w.get_mut(CHUNK_PREFIX_BYTES..)?,
            r.get(CHUNK_PREFIX_BYTES..)?,
        ))
    }

    /// Where a slot is that was taken, with the room in front.
    fn whole(&self, slot: Slot) -> Option<core::ops::Range<usize>> {
        let start = usize::from(slot) * self.stride();
        (usize::from(slot) < self.touched).then(|| {
            start..start + CHUNK_PREFIX_BYTES + usize::from(self.lengths[usize::from(slot)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_given_back_and_never_shared() {
        let (mut bytes, mut lengths, mut free) = ([0; 230], [0; 16], [0; 16]);
        let mut bytes = &mut bytes[..];
        let mut slots = Slots::new(&mut bytes, &mut lengths, &mut free);
        slots.reset(10);
        let taken: std::vec::Vec<_> = (0..10).map(|i| slots.take(i).unwrap()).collect();
        assert!(slots.take(1).is_none() && slots.free() == 0);
        for (i, &slot) in taken.iter().enumerate() {
            slots.get_mut(slot).fill(i as u8);
        }
        for (i, &slot) in taken.iter().enumerate() {
            assert!(slots.get(slot).len() == i && slots.get(slot).iter().all(|&b| b == i as u8));
        }
        slots.give(taken[3]);
        assert_eq!(slots.take(10), Some(taken[3]));
        assert!(slots.take(11).is_none());
        let (w, r) = slots.pair(taken[9], taken[3]).unwrap();
        assert_eq!((w.len(), r.len()), (9, 10));
        let (w, r) = slots.pair(taken[3], taken[9]).unwrap();
        assert_eq!((w.len(), r.len()), (10, 9));
        assert!(slots.pair(taken[3], taken[3]).is_none() && slots.get(NO_SLOT).is_empty());
    }

    #[test]
    fn neighbours_are_one_piece_each_with_its_address_and_come_back_in_their_order() {
        let (mut bytes, mut lengths, mut free) = ([0; 75], [0; 5], [0; 5]);
        let mut bytes = &mut bytes[..];
        let mut slots = Slots::new(&mut bytes, &mut lengths, &mut free);
        slots.reset(2);
        for _ in 0..7 {
            let taken: std::vec::Vec<_> = (0..5).map(|_| slots.take(2).unwrap()).collect();
            assert_eq!(taken, [0, 1, 2, 3, 4]);
            taken.iter().for_each(|&slot| slots.give(slot));
        }
        for slot in [0, 1] {
            slots.take(2 - usize::from(slot));
            slots.get_mut(slot).fill(7 + slot as u8);
            let prefix = [slot as u8; CHUNK_PREFIX_BYTES];
            assert_eq!(slots.address(slot, &prefix), Some(15 - usize::from(slot)));
        }
        let (first, second) = slots.run(0, 1).split_at(15);
        assert_eq!(first, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7]);
        assert_eq!(second, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8]);
        slots.reset(2);
        assert!(slots.run(0, 1).is_empty() && slots.address(0, &[0; CHUNK_PREFIX_BYTES]).is_none());
    }
}
