//! An endless log over a fixed ring: one writer, any number of cursors. A cursor that is lapped learns how much it lost.

/// The log.
pub struct Log<'s, T> {
    entries: &'s mut [T],
    end: u64,
}

impl<'s, T: Copy> Log<'s, T> {
    /// An empty log over borrowed entries.
    pub fn new(entries: &'s mut [T]) -> Self {
        Self { entries, end: 0 }
    }

    /// Sequence number of the next entry.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Oldest sequence number still here.
    pub fn tail(&self) -> u64 {
        self.end.saturating_sub(self.entries.len() as u64)
    }

    /// Appends, over the oldest entry if need be.
    pub fn push(&mut self, entry: T) {
        if !self.entries.is_empty() {
            let at = (self.end % self.entries.len() as u64) as usize;
            self.entries[at] = entry;
            self.end += 1;
        }
    }

    /// The entry with that number, if it is still here.
    pub fn get(&self, sequence: u64) -> Option<T> {
        let here = (self.tail()..self.end).contains(&sequence);
        here.then(|| self.entries[(sequence % self.entries.len() as u64) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest() {
        let mut entries = [0; 4];
        let mut log = Log::new(&mut entries);
        assert_eq!((log.get(0), log.tail(), log.end()), (None, 0, 0));
        (0..10).for_each(|n| log.push(n));
        assert_eq!((log.tail(), log.end()), (6, 10));
        assert!((6..10).all(|n| log.get(n) == Some(n as i32)));
        assert_eq!((log.get(5), log.get(10)), (None, None));
        let mut none: [i32; 0] = [];
        let mut empty = Log::new(&mut none);
        empty.push(1);
        assert_eq!(empty.get(0), None);
    }
}
