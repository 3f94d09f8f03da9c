//! A first-in, first-out queue over borrowed entries.

use crate::error::Full;

/// The queue.
pub struct Queue<'s, T> {
    entries: &'s mut [T],
    head: usize,
    len: usize,
}

impl<'s, T: Copy> Queue<'s, T> {
    /// An empty queue over borrowed entries.
    pub fn new(entries: &'s mut [T]) -> Self {
        Self {
            entries,
            head: 0,
            len: 0,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many may wait.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends; refuses when full.
    pub fn push(&mut self, entry: T) -> Result<(), Full> {
        if self.len == self.entries.len() {
            return Err(Full);
        }
        let at = (self.head + self.len) % self.entries.len();
        self.entries[at] = entry;
        self.len += 1;
        Ok(())
    }

    /// Appends, and moves forward past those that it goes before; refuses when full.
    pub fn push_before(&mut self, entry: T, goes_before: impl Fn(&T) -> bool) -> Result<(), Full> {
        self.push(entry)?;
        let capacity = self.entries.len();
        for i in (1..self.len).rev() {
            let before = (self.head + i - 1) % capacity;
            if !goes_before(&self.entries[before]) {
                break;
            }
            self.entries.swap(before, (before + 1) % capacity);
        }
        Ok(())
    }

    /// The first, left in place.
    pub fn front(&self) -> Option<&T> {
        (self.len > 0).then(|| &self.entries[self.head])
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<T> {
        let first = *self.front()?;
        self.head = (self.head + 1) % self.entries.len();
        self.len -= 1;
        Some(first)
    }

    /// All that wait, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len).map(|i| &self.entries[(self.head + i) % self.entries.len()])
    }

    /// Drops what does not satisfy `keep`; the order stays.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for _ in 0..self.len {
            if let Some(entry) = self.pop()
                && keep(&entry)
            {
                // There is room: one was just taken out.
                let _ = self.push(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_never_more_than_fits() {
        let mut entries = [0; 3];
        let mut queue = Queue::new(&mut entries);
        for round in 0..5 {
            (0..3).for_each(|n| queue.push(round + n).unwrap());
            assert_eq!(queue.push(9), Err(Full));
            assert_eq!(queue.pop(), Some(round));
            queue.retain(|&n| n != round + 1);
            assert!(queue.iter().eq([&(round + 2)]));
            assert_eq!(queue.pop(), Some(round + 2));
            assert_eq!(queue.pop(), None);
        }
    }

    #[test]
    fn whoever_goes_before_others_passes_them_and_no_more() {
        let mut entries = [0; 4];
        let mut queue = Queue::new(&mut entries);
        // Once around the end of the entries as well.
        for _ in 0..3 {
            for n in [5, 7, 2, 6] {
                queue.push_before(n, |&other| n < other).unwrap();
            }
            assert_eq!(queue.push_before(1, |_| true), Err(Full));
            assert!(queue.iter().eq([&2, &5, &6, &7]));
            (0..3).for_each(|_| assert!(queue.pop().is_some()));
            queue.push_before(8, |&other| 8 < other).unwrap();
            assert!(queue.iter().eq([&7, &8]));
            (0..2).for_each(|_| assert!(queue.pop().is_some()));
        }
    }
}
