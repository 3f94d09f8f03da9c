//! What the heap holds, counted and capped, and what the system says is resident.
//!
//! The program's allocator asks [`ACCOUNT`] before it gives anything out. Once the pools are planned, the cap is what
//! the owner's budget leaves for the heap, and it cannot be exceeded: the program ends before it would.

use core::fmt::{Arguments, Write as _};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::fs::File;
use std::io::Read;

/// The account of the program's heap. All zero in a program whose allocator does not keep it.
pub static ACCOUNT: Account = Account {
    live: AtomicUsize::new(0),
    most: AtomicUsize::new(0),
    calls: AtomicUsize::new(0),
    cap: AtomicUsize::new(usize::MAX),
};

/// Bytes given out and how often, in machine words: on 32 bits the number of calls wraps.
pub struct Account {
    live: AtomicUsize,
    most: AtomicUsize,
    calls: AtomicUsize,
    cap: AtomicUsize,
}

impl Account {
    /// Notes that so many bytes are given out. Where that would exceed the cap, the program says so and ends with
    /// status 1.
    pub fn take(&self, bytes: usize) {
        if !self.admit(bytes) {
            self.refuse(bytes);
        }
    }

    /// False, and nothing noted, where the cap would be exceeded.
    fn admit(&self, bytes: usize) -> bool {
        let cap = self.cap.load(Relaxed);
        let more = |live: usize| live.checked_add(bytes).filter(|&sum| sum <= cap);
        let Ok(before) = self.live.fetch_update(Relaxed, Relaxed, more) else {
            return false;
        };
        self.calls.fetch_add(1, Relaxed);
        self.most.fetch_max(before + bytes, Relaxed);
        true
    }

    /// Notes that so many bytes came back.
    pub fn give(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Relaxed);
    }

    /// From here on the heap holds no more than this.
    pub fn set_cap(&self, bytes: usize) {
        self.cap.store(bytes, Relaxed);
    }

    /// Live bytes, the most there ever were, and allocations since the start.
    pub fn counted(&self) -> (u64, u64, u64) {
        let word = |word: &AtomicUsize| word.load(Relaxed) as u64;
        (word(&self.live), word(&self.most), word(&self.calls))
    }

    fn refuse(&self, bytes: usize) -> ! {
        let cap = self.cap.load(Relaxed);
        end(format_args!(
            "--memory: all {cap} bytes for the heap are given out and {bytes} more were asked for; give it more"
        ))
    }

    /// The system has not got what was planned. The program says so and ends with status 1.
    pub fn system_refused(&self, bytes: usize) -> ! {
        let live = self.live.load(Relaxed);
        end(format_args!(
            "--memory: the system has not got {bytes} of the {live} bytes needed; give it less"
        ))
    }
}

/// Ends the program with a line. Nothing here allocates or takes a lock.
fn end(why: Arguments<'_>) -> ! {
    let mut line = heapless::String::<192>::new();
    // Longer than any such line.
    let _ = writeln!(line, "weir: {why}");
    let _ = rustix::io::write(rustix::stdio::stderr(), line.as_bytes());
    std::process::exit(1)
}

/// Bytes of this process in memory, and of these pages of files: code of this program and of the system's libraries, which the
/// kernel drops when it is short. 0 where the system does not say (proc(5), `statm`).
pub fn resident_bytes() -> (u64, u64) {
    let mut text = [0; 128];
    let read = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text));
    let text = core::str::from_utf8(text.get(..read.unwrap_or(0)).unwrap_or(&[])).unwrap_or("");
    let mut fields = text
        .split(' ')
        .skip(1)
        .map(|pages| pages.parse().unwrap_or(0));
    let mut bytes = || fields.next().unwrap_or(0) * rustix::param::page_size() as u64;
    (bytes(), bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_somewhere() {
        let (bytes, of_files) = resident_bytes();
        assert!((1 << 18..1 << 34).contains(&bytes), "{bytes}");
        assert!((1 << 16..bytes).contains(&of_files), "{of_files}");
    }

    #[test]
    fn no_more_is_given_out_than_the_cap() {
        let account = Account {
            live: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            cap: AtomicUsize::new(100),
        };
        assert!(account.admit(60) && account.admit(40) && !account.admit(1));
        account.give(60);
        assert!(!account.admit(61) && !account.admit(usize::MAX) && account.admit(60));
        assert_eq!(account.counted(), (100, 100, 3));
    }

    #[test]
    fn threads_together_stay_below_the_cap() {
        static SHARED: Account = Account {
            live: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            cap: AtomicUsize::new(1_000),
        };
        std::thread::scope(|scope| {
            for bytes in [300, 400, 500, 600] {
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        if SHARED.admit(bytes) {
                            SHARED.give(bytes);
                        }
                    }
                });
            }
        });
        let (live, most, calls) = SHARED.counted();
        assert!(
            live == 0 && most <= 1_000 && calls > 0,
            "{live} {most} {calls}"
        );
    }
}
