//! What words may take of the upload: what the stream that was promised to children leaves, and a little always. In a storm of losses
//! words that wait grow into fewer and longer letters, and the chunks whose want causes the storm go first.

use crate::time::{Instant, Span};

/// Words may run ahead by so much, or by four seconds of their rate if that is less: a node that joins says much at once.
const AHEAD_BYTES: u64 = 16 * 1024;

fn ahead_bytes(rate_bps: u64) -> u64 {
    AHEAD_BYTES.min(rate_bps / 2)
}

/// A debt of bytes that is forgiven at a steady rate.
#[derive(Default)]
pub struct Allowance {
    debt_bytes: u64,
    /// What is left of a byte, in bit-microseconds.
    rest: u64,
    at: Instant,
}

impl Allowance {
    /// Forgives what `rate_bps` is good for since it was last asked; whether more may be said.
    pub fn allows(&mut self, now: Instant, rate_bps: u64) -> bool {
        let earned = rate_bps
            .saturating_mul(now.since(self.at).as_us())
            .saturating_add(self.rest);
        self.rest = earned % 8_000_000;
        self.debt_bytes = self.debt_bytes.saturating_sub(earned / 8_000_000);
        self.at = now;
        self.debt_bytes < ahead_bytes(rate_bps)
    }

    /// Records that `bytes` were said.
    pub fn spend(&mut self, bytes: usize) {
        self.debt_bytes += bytes as u64;
    }

    /// When the debt is small enough again, at `rate_bps`.
    pub fn ready_at(&self, rate_bps: u64) -> Instant {
        let over = (self.debt_bytes + 1).saturating_sub(ahead_bytes(rate_bps));
        self.at + Span::from_us((over * 8_000_000).div_ceil(rate_bps.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_at_once_and_then_the_rate() {
        let mut words = Allowance::default();
        let mut said = 0u64;
        for ms in 0..10_000 {
            let now = Instant::from_us(ms * 1_000);
            while words.allows(now, 8_000) {
                words.spend(100);
                said += 100;
            }
            assert!(words.ready_at(8_000) > now);
        }
        assert!((13_900..14_200).contains(&said), "{said}");
    }
}
