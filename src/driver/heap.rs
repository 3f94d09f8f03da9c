//! What the heap holds, counted by the program's allocator, and what the system says is resident.

use std::fs::File;
use std::io::Read;

/// Live bytes and allocations since start. 0 in a program whose allocator is not
/// [`stats_alloc::INSTRUMENTED_SYSTEM`]. The counters are machine words: on 32 bits they wrap, live bytes come out right.
pub fn counted() -> (u64, u64) {
    let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    let live = stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated);
    let calls = stats.allocations.wrapping_add(stats.reallocations);
    (live as u64, calls as u64)
}

/// Bytes of this process in memory (proc(5), `statm`), 0 where the system does not say.
pub fn resident_bytes() -> u64 {
    let mut text = [0; 128];
    let read = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text));
    let text = core::str::from_utf8(text.get(..read.unwrap_or(0)).unwrap_or(&[])).unwrap_or("");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_is_somewhere() {
        let bytes = super::resident_bytes();
        assert!((1 << 18..1 << 34).contains(&bytes), "{bytes}");
    }
}
