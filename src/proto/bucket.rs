//! The token bucket over everything sent.

use crate::time::{Instant, Span};

/// Tokens are bytes. Control traffic may overdraw the bucket, so it never starves; forwarding waits until it is positive again.
pub struct Bucket {
    /// Bytes a second; `None`: no limit.
    rate: Option<u64>,
    tokens: i64,
    burst: i64,
    /// What is left of a token, in byte-microseconds, so that no rounding loses or gains bytes.
    rest: u64,
    at: Instant,
}

impl Bucket {
    /// A bucket for a limit in bits a second. It holds what a tenth of a second brings (at least four datagrams).
    pub fn new(limit_bps: Option<u64>, now: Instant) -> Self {
        let rate = limit_bps.map(|bps| bps / 8);
        let burst = rate.map_or(0, |rate| {
            ((rate / 10).max(5_000)).min(i64::MAX as u64) as i64
        });
        Self {
            rate,
            tokens: burst,
            burst,
            rest: 0,
            at: now,
        }
    }

    /// Whether `bytes` may be sent now.
    pub fn allows(&mut self, now: Instant, bytes: usize) -> bool {
        self.refill(now);
        self.rate.is_none() || self.tokens >= bytes as i64
    }

    /// What less urgent traffic leaves in the bucket: half of it.
    pub fn reserve_bytes(&self) -> usize {
        (self.burst / 2) as usize
    }

    /// Records that `bytes` were sent.
    pub fn spend(&mut self, bytes: usize) {
        if self.rate.is_some() {
            // A bound below keeps one second of control traffic from becoming a debt of hours.
            self.tokens = (self.tokens - bytes as i64).max(-self.burst * 10);
        }
    }

    /// When `bytes` can be sent at the earliest; `None` if never (limit 0).
    pub fn ready_at(&self, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.rate else {
            return Some(self.at);
        };
        let short = (bytes as i64 - self.tokens).max(0) as u64;
        (rate > 0).then(|| self.at + Span::from_us((short * 1_000_000).div_ceil(rate)))
    }

    fn refill(&mut self, now: Instant) {
        let Some(rate) = self.rate else { return };
        let passed_us = now.since(self.at).as_us().min(10_000_000);
        self.at = self.at.max(now);
        let earned = rate.saturating_mul(passed_us).saturating_add(self.rest);
        self.rest = earned % 1_000_000;
        self.tokens = self
            .tokens
            .saturating_add((earned / 1_000_000) as i64)
            .min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_rate_and_one_bucket() {
        let mut bucket = Bucket::new(Some(2_000_000), Instant::ZERO);
        let mut sent = 0u64;
        for us in (0..10_000_000).step_by(137) {
            let now = Instant::from_us(us);
            while bucket.allows(now, 1_260) {
                bucket.spend(1_260);
                sent += 1_260;
            }
        }
        assert!(sent <= 250_000 * 10 + 25_000, "{sent}");
        assert!(sent >= 250_000 * 10 - 2_520, "{sent}");
    }

    #[test]
    fn control_may_overdraw_and_forwarding_then_waits() {
        let mut bucket = Bucket::new(Some(80_000), Instant::ZERO);
        bucket.spend(15_000);
        assert!(!bucket.allows(Instant::ZERO, 1));
        assert_eq!(bucket.ready_at(0), Some(Instant::from_us(1_000_000)));
        assert!(bucket.allows(Instant::from_us(1_200_000), 1_000));
        assert_eq!(Bucket::new(Some(0), Instant::ZERO).ready_at(6_000), None);
    }
}
