//! A node's access line: two directions, each with a rate and a queue that drops what does not fit.

/// Bytes of IP and UDP header in front of each datagram.
pub const HEADER_BYTES: u64 = crate::limits::IP_UDP_HEADER_BYTES as u64;

/// One direction of a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Direction {
    /// Bits a second; 0: no limit.
    pub rate_bps: u64,
    /// Most bytes that wait; what comes then is dropped.
    pub queue_bytes: u64,
    /// When it has carried everything it accepted.
    free_at_ns: u64,
}

impl Direction {
    /// A direction with a queue of so many milliseconds at full rate.
    pub fn new(rate_bps: u64, queue_ms: u64) -> Self {
        Self {
            rate_bps,
            // Room for two full datagrams, as slow modems have.
            queue_bytes: (rate_bps * queue_ms / 8_000).max(2_600),
            free_at_ns: 0,
        }
    }

    /// Takes a datagram of `payload_bytes`; when it has been carried, in µs, or `None` when the queue is full.
    pub fn carry(&mut self, now_us: u64, payload_bytes: usize) -> Option<u64> {
        if self.rate_bps == 0 {
            return Some(now_us);
        }
        let now_ns = now_us * 1_000;
        let begins = self.free_at_ns.max(now_ns);
        let waiting = u128::from(begins - now_ns) * u128::from(self.rate_bps) / 8_000_000_000;
        let bytes = payload_bytes as u64 + HEADER_BYTES;
        if waiting as u64 + bytes > self.queue_bytes {
            return None;
        }
        self.free_at_ns = begins + bytes * 8_000_000_000 / self.rate_bps;
        Some(self.free_at_ns.div_ceil(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_sender_gets_exactly_the_rate_and_the_rest_is_dropped() {
        let mut line = Direction::new(2_000_000, 100);
        // 4 Mbit/s offered for ten seconds: 1,250 bytes on the line each 2.5 ms.
        let carried = (0..4_000u64)
            .filter_map(|i| line.carry(i * 2_500, 1_222))
            .filter(|&at| at <= 10_000_000)
            .count();
        assert_eq!(carried, 2_000);
    }

    #[test]
    fn the_queue_delays_by_what_waits_in_it_and_no_more() {
        let mut line = Direction::new(1_000_000, 50);
        let delays: std::vec::Vec<_> = (0..20).map(|_| line.carry(0, 972)).collect();
        // 1,000 bytes take 8 ms; 6,250 bytes fit.
        assert_eq!(delays[0], Some(8_000));
        assert_eq!(delays[5], Some(48_000));
        assert!(delays[6..].iter().all(Option::is_none));
        assert_eq!(line.carry(48_000, 972), Some(56_000));
    }

    #[test]
    fn without_a_rate_there_is_no_delay() {
        assert_eq!(Direction::default().carry(77, 1_232), Some(77));
    }
}
