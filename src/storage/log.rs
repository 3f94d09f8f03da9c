//! An endless log over a fixed ring: one writer, any number of cursors. A cursor that is lapped learns how much it lost.

use super::lent::Lent;

/// The log.
pub struct Log<'s, T> {
    entries: &'s mut dyn Lent<T>,
    begin: u64,
    end: u64,
    /// Where the next entry goes: `end` modulo their number, without the division that each look would cost.
    next: usize,
}

impl<'s, T: Copy> Log<'s, T> {
    /// An empty log over borrowed entries.
    pub fn new(entries: &'s mut dyn Lent<T>) -> Self {
        Self {
            entries,
            begin: 0,
            end: 0,
            next: 0,
        }
    }

    /// Sequence number of the next entry.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Oldest sequence number still here.
    pub fn tail(&self) -> u64 {
        let oldest = self.end.saturating_sub(self.entries.all().len() as u64);
        oldest.max(self.begin)
    }

    /// Appends, over the oldest entry if need be.
    pub fn push(&mut self, entry: T) {
        let entries = self.entries.all_mut();
        let count = entries.len();
        if let Some(place) = entries.get_mut(self.next) {
            *place = entry;
            self.end += 1;
            self.next = if self.next + 1 < count {
                self.next + 1
            } else {
                0
            };
        }
    }

    /// Forgets all entries; the count goes on.
    pub fn give_back(&mut self) {
        self.entries.give_back();
        self.begin = self.end;
    }

    /// The entry with that number, if it is still here.
    pub fn get(&self, sequence: u64) -> Option<T> {
        let entries = self.entries.all();
        let back = self
            .end
            .checked_sub(sequence)
            .filter(|_| sequence >= self.begin)?;
        let back = usize::try_from(back)
            .ok()
            .filter(|back| (1..=entries.len()).contains(back))?;
        let at = self
            .next
            .checked_sub(back)
            .unwrap_or(self.next + entries.len() - back);
        entries.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let mut entries = &mut [0; 4][..];
        let mut log = Log::new(&mut entries);
        assert_eq!((log.get(0), log.tail(), log.end()), (None, 0, 0));
        (0..10).for_each(|n| log.push(n));
        assert_eq!((log.tail(), log.end()), (6, 10));
        assert!((6..10).all(|n| log.get(n) == Some(n as i32)));
        assert_eq!((log.get(5), log.get(10)), (None, None));
        log.give_back();
        assert_eq!((log.get(9), log.tail(), log.end()), (None, 10, 10));
        log.push(10);
        assert_eq!((log.get(9), log.get(10)), (None, Some(10)));
        let mut none: &mut [i32] = &mut [];
        let mut empty = Log::new(&mut none);
        empty.push(1);
        assert_eq!(empty.get(0), None);
    }
}
