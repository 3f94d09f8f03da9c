//! The address book: a fixed table of nodes that may be asked, with what came of it.

use crate::time::{Instant, Span};
use crate::wire::addr::Addr;

/// One address.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where; `None` while the entry is vacant.
    pub addr: Option<Addr>,
    /// Given by the user (a URI's host): never forgotten.
    pub bootstrap: bool,
    /// Bit i: said to be in the node's stream i.
    pub streams: u8,
    /// A session with it is open or being opened.
    pub busy: bool,
    /// Attempts that failed in a row.
    pub failures: u8,
    /// Not to be asked before.
    pub retry_at: Instant,
    /// When it was last heard of.
    pub heard_at: Instant,
}

impl Entry {
    /// An entry that holds nothing; what storage is filled with at start.
    pub const VACANT: Self = Self {
        addr: None,
        bootstrap: false,
        streams: 0,
        busy: false,
        failures: 0,
        retry_at: Instant::ZERO,
        heard_at: Instant::ZERO,
    };
}

/// In place of a count of failures: it sent forgeries.
const SHUNNED: u8 = u8::MAX;

/// The book.
pub struct Book<'s> {
    entries: &'s mut [Entry],
}

impl<'s> Book<'s> {
    /// An empty book.
    pub fn new(entries: &'s mut [Entry]) -> Self {
        Self { entries }
    }

    /// Writes an address down, or adds to what is known of it. A full book forgets the worst entry that is not in use.
    pub fn add(&mut self, addr: Addr, stream: usize, bootstrap: bool, now: Instant) {
        let at = match self.find(addr) {
            Some(at) => at,
            None => {
                let Some(at) = self.place() else { return };
                self.entries[at] = Entry {
                    addr: Some(addr),
                    ..Entry::VACANT
                };
                at
            }
        };
        let entry = &mut self.entries[at];
        entry.streams |= 1 << stream;
        entry.bootstrap |= bootstrap;
        entry.heard_at = now;
    }

    /// The entry to try next for a stream: bootstrap and local addresses are not preferred, only those that failed least; `salt`
    /// decides among equals, so that a crowd does not ask one node.
    pub fn pick(&self, stream: usize, now: Instant, salt: u64) -> Option<usize> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, e)| {
                e.addr.is_some() && !e.busy && e.streams & 1 << stream != 0 && e.retry_at <= now
            })
            .min_by_key(|(at, e)| {
                (
                    e.failures,
                    !e.addr.is_some_and(Addr::is_local),
                    mix(*at as u64 ^ salt),
                )
            })
            .map(|(at, _)| at)
    }

    /// When an address will next be worth trying.
    pub fn next_retry(&self, stream: usize) -> Option<Instant> {
        let wanted = self
            .entries
            .iter()
            .filter(|e| e.addr.is_some() && !e.busy && e.streams & 1 << stream != 0);
        wanted.map(|e| e.retry_at).min()
    }

    /// The entry at a place.
    pub fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// A session is being opened with this address.
    pub fn set_busy(&mut self, addr: Addr, busy: bool) {
        if let Some(at) = self.find(addr) {
            self.entries[at].busy = busy;
        }
    }

    /// It answered.
    pub fn succeeded(&mut self, addr: Addr, now: Instant) {
        if let Some(at) = self.find(addr) {
            self.entries[at].failures = 0;
            self.entries[at].heard_at = now;
        }
    }

    /// It did not, or had no room: wait longer each time, with jitter from `salt`; give up on strangers after a while.
    pub fn failed(&mut self, addr: Addr, now: Instant, salt: u64) {
        let Some(at) = self.find(addr) else { return };
        let entry = &mut self.entries[at];
        entry.busy = false;
        entry.failures = entry.failures.saturating_add(1).min(SHUNNED - 1);
        if entry.failures > 6 && !entry.bootstrap {
            *entry = Entry::VACANT;
            return;
        }
        // Whoever the user named is never far from being asked again.
        let base_ms = 500u64 << entry.failures.min(if entry.bootstrap { 2 } else { 6 });
        entry.retry_at = now + Span::from_ms(base_ms / 2 + mix(salt) % base_ms);
    }

    /// It said that it does not carry a stream: it is not asked for that again. True if the user had named it for that.
    pub fn not_carried(&mut self, addr: Addr, stream: usize) -> bool {
        let Some(at) = self.find(addr) else {
            return false;
        };
        let entry = &mut self.entries[at];
        let named = entry.bootstrap && entry.streams & 1 << stream != 0;
        entry.streams &= !(1 << stream);
        named
    }

    /// Whether the user named an address.
    pub fn is_bootstrap(&self, addr: Addr) -> bool {
        self.find(addr).is_some_and(|at| self.entries[at].bootstrap)
    }

    /// Whether an address is known for a stream.
    pub fn knows(&self, addr: Addr, stream: usize) -> bool {
        self.find(addr)
            .is_some_and(|at| self.entries[at].streams & 1 << stream != 0)
    }

    /// Not before `until`, though nothing is wrong with it.
    pub fn rest(&mut self, addr: Addr, until: Instant) {
        if let Some(at) = self.find(addr) {
            self.entries[at].retry_at = until;
            self.entries[at].busy = false;
        }
    }

    /// It sent forgeries: not before `until`, whoever calls.
    pub fn shun(&mut self, addr: Addr, until: Instant) {
        let Some(at) = self.find(addr).or_else(|| self.place()) else {
            return;
        };
        let entry = &mut self.entries[at];
        entry.addr = Some(addr);
        (entry.failures, entry.retry_at, entry.busy) = (SHUNNED, until, false);
    }

    /// Whether an address is to be left alone even when it calls.
    pub fn shuns(&self, addr: Addr, now: Instant) -> bool {
        self.find(addr)
            .map(|at| &self.entries[at])
            .is_some_and(|entry| entry.failures == SHUNNED && now < entry.retry_at)
    }

    /// Up to `out.len()` addresses of a stream worth telling others, beginning at a salted place.
    pub fn sample(&self, stream: usize, salt: u64, mut tell: impl FnMut(Addr) -> bool) {
        let len = self.entries.len().max(1);
        let start = (mix(salt) % len as u64) as usize;
        for i in 0..self.entries.len() {
            let entry = &self.entries[(start + i) % len];
            if let Some(addr) = entry.addr
                && entry.streams & 1 << stream != 0
                && entry.failures == 0
                && !tell(addr)
            {
                return;
            }
        }
    }

    fn find(&self, addr: Addr) -> Option<usize> {
        self.entries.iter().position(|e| e.addr == Some(addr))
    }

    fn place(&self) -> Option<usize> {
        let vacant = self.entries.iter().position(|e| e.addr.is_none());
        vacant.or_else(|| {
            let idle = self
                .entries
                .iter()
                .enumerate()
                .filter(|(_, e)| !e.busy && !e.bootstrap);
            // Whom to shun is remembered longest.
            idle.max_by_key(|(_, e)| {
                let shunned = e.failures == SHUNNED;
                (!shunned, e.failures, u64::MAX - e.heard_at.as_us())
            })
            .map(|(at, _)| at)
        })
    }
}

/// Spreads a small number over 64 bits.
fn mix(n: u64) -> u64 {
    crate::rng::Rng::new(n).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> Addr {
        Addr::udp(core::net::SocketAddr::from(([203, 0, 113, 1], n)))
    }

    #[test]
    fn bootstraps_stay_and_failures_go_first() {
        let mut entries = [Entry::VACANT; 3];
        let mut book = Book::new(&mut entries);
        book.add(addr(1), 0, true, Instant::ZERO);
        book.add(addr(2), 0, false, Instant::ZERO);
        book.add(addr(3), 0, false, Instant::ZERO);
        book.failed(addr(1), Instant::ZERO, 1);
        book.failed(addr(3), Instant::ZERO, 1);
        book.add(addr(4), 0, false, Instant::ZERO);
        assert!(book.find(addr(1)).is_some() && book.find(addr(2)).is_some());
        assert!(book.find(addr(3)).is_none() && book.find(addr(4)).is_some());
        for _ in 0..20 {
            book.failed(addr(1), Instant::ZERO, 1);
            book.failed(addr(2), Instant::ZERO, 1);
        }
        assert!(book.find(addr(1)).is_some() && book.find(addr(2)).is_none());
    }

    #[test]
    fn whom_to_shun_is_remembered_longest_and_forgiven_in_the_end() {
        let mut entries = [Entry::VACANT; 3];
        let mut book = Book::new(&mut entries);
        let until = Instant::from_us(600_000_000);
        // It need not have been written down.
        book.shun(addr(1), until);
        for n in 2..9 {
            book.add(addr(n), 0, false, Instant::ZERO);
            book.failed(addr(n), Instant::ZERO, 1);
        }
        book.add(addr(1), 0, false, Instant::ZERO);
        assert!(book.shuns(addr(1), Instant::ZERO) && !book.shuns(addr(8), Instant::ZERO));
        book.set_busy(addr(8), true);
        let picked = book.pick(0, Instant::from_us(500_000_000), 0);
        assert_ne!(picked.and_then(|at| book.get(at)?.addr), Some(addr(1)));
        assert!(!book.shuns(addr(1), until));
    }

    #[test]
    fn picks_what_is_due_and_of_the_stream() {
        let mut entries = [Entry::VACANT; 4];
        let mut book = Book::new(&mut entries);
        book.add(addr(1), 1, false, Instant::ZERO);
        assert!(book.pick(0, Instant::ZERO, 0).is_none());
        let at = book.pick(1, Instant::ZERO, 0).unwrap();
        assert_eq!(book.get(at).unwrap().addr, Some(addr(1)));
        book.failed(addr(1), Instant::ZERO, 9);
        assert!(book.pick(1, Instant::ZERO, 0).is_none());
        assert!(book.pick(1, book.next_retry(1).unwrap(), 0).is_some());
        book.set_busy(addr(1), true);
        assert!(book.pick(1, Instant::from_us(1 << 40), 0).is_none());
    }
}
