//! How fast the line runs now: the counters of the last few seconds.

use crate::proto::stats::NodeStats;
use crate::time::{Instant, Span};

/// Samples kept, one a second.
const KEPT: usize = 5;

#[derive(Clone, Copy, Default, Debug)]
struct Sample {
    at: Instant,
    tx_bytes: u64,
    rx_bytes: u64,
}

/// Samples of the line's counters.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    samples: [Sample; KEPT],
    newest: usize,
    /// Datagrams the system would not take.
    pub refused: u64,
    /// Datagrams that came and that the kernel dropped before they were taken in.
    pub dropped: u64,
}

impl Rates {
    /// Notes where the counters stand; does something once a second.
    pub fn note(&mut self, now: Instant, stats: &NodeStats, refused: u64) {
        self.refused = refused;
        self.tick(now, stats);
    }

    /// The same where nothing was sent: a line that has fallen silent shows no rate.
    pub fn tick(&mut self, now: Instant, stats: &NodeStats) {
        if now.since(self.samples[self.newest].at) >= Span::from_s(1) {
            self.newest = (self.newest + 1) % KEPT;
            self.samples[self.newest] = Sample {
                at: now,
                tx_bytes: stats.tx_bytes,
                rx_bytes: stats.rx_bytes,
            };
        }
    }

    /// Bits per second sent and received between the oldest sample and now.
    pub fn now(&self, now: Instant, stats: &NodeStats) -> (u64, u64) {
        let oldest = self.samples[(self.newest + 1) % KEPT];
        let first = self
            .samples
            .iter()
            .filter(|sample| sample.at > Instant::ZERO);
        let from = match oldest.at > Instant::ZERO {
            true => Some(&oldest),
            false => first.min_by_key(|sample| sample.at),
        };
        let Some(from) = from else {
            return (0, 0);
        };
        let ms = now.since(from.at).as_ms().max(1);
        let bps = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(8_000) / ms;
        (
            bps(stats.tx_bytes, from.tx_bytes),
            bps(stats.rx_bytes, from.rx_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut rates = Rates::default();
        let mut stats = NodeStats::default();
        let mut now = Instant::from_us(60_000_000);
        assert_eq!(rates.now(now, &stats), (0, 0));
        // 10 s at 1,000 bytes a second, then 10 s at 125,000.
        for step in 0..200 {
            now += Span::from_ms(100);
            stats.tx_bytes += if step < 100 { 100 } else { 12_500 };
            stats.rx_bytes += 10;
            rates.note(now, &stats, 0);
            if step == 99 {
                assert_eq!(rates.now(now, &stats).0, 8_000);
            }
        }
        assert_eq!(rates.now(now, &stats), (1_000_000, 800));
    }
}
