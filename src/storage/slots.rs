//! A pool of equal slots over borrowed bytes. A slot that was never used is never touched, so its page is not resident.

use super::lent::Lent;

/// Number of a slot.
pub type Slot = u16;

/// "No slot."
pub const NO_SLOT: Slot = Slot::MAX;

/// The pool.
pub struct Slots<'s> {
    bytes: &'s mut dyn Lent<u8>,
    lengths: &'s mut [u16],
    /// Slots given back; a stack.
    free: &'s mut [Slot],
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
        self.count = (self.bytes.all().len() / self.slot_bytes).min(most);
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

    /// Takes a slot for `len` bytes; its content is whatever was there before.
    pub fn take(&mut self, len: usize) -> Option<Slot> {
        let fits = u16::try_from(len).ok().filter(|_| len <= self.slot_bytes)?;
        let slot = if self.free_count > 0 {
            self.free_count -= 1;
            self.free[self.free_count]
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
            self.free[self.free_count] = slot;
            self.free_count += 1;
        }
    }

    /// How many bytes are in a slot that was taken.
    pub fn length(&self, slot: Slot) -> usize {
        self.lengths
            .get(usize::from(slot))
            .map_or(0, |&length| length.into())
    }

    /// The bytes in a slot; nothing for [`NO_SLOT`].
    pub fn get(&self, slot: Slot) -> &[u8] {
        self.range(slot)
            .and_then(|range| self.bytes.all().get(range))
            .unwrap_or(&[])
    }

    /// The bytes in a slot, to write.
    pub fn get_mut(&mut self, slot: Slot) -> &mut [u8] {
        self.range(slot)
            .and_then(|range| self.bytes.all_mut().get_mut(range))
            .unwrap_or(&mut [])
    }

    /// One slot to write and another to read.
    pub fn pair(&mut self, write: Slot, read: Slot) -> Option<(&mut [u8], &[u8])> {
        let (w, r) = (self.range(write)?, self.range(read)?);
        let bytes = self.bytes.all_mut();
        if w.start < r.start {
            let (low, high) = bytes.split_at_mut_checked(r.start)?;
            Some((low.get_mut(w)?, high.get(..r.end - r.start)?))
        } else if w.start > r.start {
            let (low, high) = bytes.split_at_mut_checked(w.start)?;
            Some((high.get_mut(..w.end - w.start)?, low.get(r)?))
        } else {
            None
        }
    }

    fn range(&self, slot: Slot) -> Option<core::ops::Range<usize>> {
        let start = usize::from(slot) * self.slot_bytes;
        (usize::from(slot) < self.touched)
            .then(|| start..start + usize::from(self.lengths[usize::from(slot)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_given_back_and_never_shared() {
        let (mut bytes, mut lengths, mut free) = ([0; 100], [0; 16], [0; 16]);
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
}
