//! The token bucket over everything sent. Handshakes are paid for and not held back.

use crate::time::{Instant, Span};

/// What is asked of the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Control: may empty the bucket.
    Words,
    /// The stream: leaves a cushion for control.
    Stream,
    /// What was asked for again: leaves half the bucket for the stream.
    Repair,
}

/// Tokens are bytes. The limit is hard for everything; control never starves because the stream leaves it a cushion.
pub struct Bucket {
    /// Bytes a second; `None`: no limit.
    rate: Option<u64>,
    tokens: u64,
    burst: u64,
    /// What is left of a token, in byte-microseconds, so that no rounding loses or gains bytes.
    rest: u64,
    at: Instant,
}

impl Bucket {
    /// A bucket for a limit in bits a second. It holds what a tenth of a second brings, at least eight datagrams. A limit of 0 forwards
    /// nothing, and control goes on: without it a node could not even listen.
    pub fn new(limit_bps: Option<u64>, now: Instant) -> Self {
        let rate = limit_bps.map(|bps| bps / 8);
        let burst = rate.map_or(0, |rate| (rate / 10).max(10_240));
        Self {
            rate,
            tokens: burst,
            burst,
            rest: 0,
            at: now,
        }
    }

    /// Another limit from now on. What was saved up stays, as far as the new bucket holds it.
    pub fn set_limit(&mut self, limit_bps: Option<u64>, now: Instant) {
        self.refill(now);
        let full = Self::new(limit_bps, now);
        let saved = self.rate.map_or(full.burst, |_| self.tokens);
        *self = Self {
            tokens: saved.min(full.burst),
            ..full
        };
    }

    /// Whether `bytes` may be sent now.
    pub fn allows(&mut self, now: Instant, bytes: usize, urgency: Urgency) -> bool {
        self.refill(now);
        match self.rate {
            None => true,
            Some(0) => urgency == Urgency::Words,
            Some(_) => self.tokens >= self.needed(bytes, urgency),
        }
    }

    /// Records that `bytes` were sent.
    pub fn spend(&mut self, bytes: usize) {
        self.tokens = self.tokens.saturating_sub(bytes as u64);
    }

    /// When `bytes` can be sent at the earliest; `None` if never.
    pub fn ready_at(&self, bytes: usize, urgency: Urgency) -> Option<Instant> {
        let Some(rate) = self.rate else {
            return Some(self.at);
        };
        let short = self.needed(bytes, urgency).saturating_sub(self.tokens);
        (rate > 0).then(|| self.at + Span::from_us((short * 1_000_000).div_ceil(rate)))
    }

    fn needed(&self, bytes: usize, urgency: Urgency) -> u64 {
        let cushion = match urgency {
            Urgency::Words => 0,
            Urgency::Stream => self.burst / 4,
            Urgency::Repair => self.burst / 2,
        };
        bytes as u64 + cushion
    }

    fn refill(&mut self, now: Instant) {
        let Some(rate) = self.rate else { return };
        if now <= self.at {
            return;
        }
        let passed_us = now.since(self.at).as_us().min(10_000_000);
        self.at = self.at.max(now);
        let earned = rate.saturating_mul(passed_us).saturating_add(self.rest);
        self.rest = earned % 1_000_000;
        self.tokens = self
            .tokens
            .saturating_add(earned / 1_000_000)
            .min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{Repair, Stream, Words};

    #[test]
    fn never_more_than_the_rate_and_one_bucket() {
        let mut bucket = Bucket::new(Some(2_000_000), Instant::ZERO);
        let mut sent = 0u64;
        for us in (0..10_000_000).step_by(137) {
            let now = Instant::from_us(us);
            let urgency = [Words, Stream, Repair][us as usize % 3];
            while bucket.allows(now, 1_260, urgency) {
                bucket.spend(1_260);
                sent += 1_260;
            }
        }
        assert!(sent <= 250_000 * 10 + 25_000, "{sent}");
        assert!(sent >= 250_000 * 10 - 2_520, "{sent}");
    }

    #[test]
    fn the_stream_leaves_a_cushion_for_control_and_repair_leaves_more() {
        let mut bucket = Bucket::new(Some(8_000_000), Instant::ZERO);
        let mut drain = |urgency| {
            let mut bytes = 0;
            while bucket.allows(Instant::ZERO, 1_000, urgency) {
                bucket.spend(1_000);
                bytes += 1_000;
            }
            bytes
        };
        assert_eq!(
            [drain(Repair), drain(Stream), drain(Words)],
            [50_000, 25_000, 25_000]
        );
        assert_eq!(bucket.ready_at(1_000, Words), Some(Instant::from_us(1_000)));
        assert!(bucket.allows(Instant::from_us(26_000), 1_000, Stream));
    }

    #[test]
    fn another_limit_holds_from_now_on_and_gives_nothing_away() {
        let mut bucket = Bucket::new(Some(8_000_000), Instant::ZERO);
        while bucket.allows(Instant::ZERO, 1_000, Words) {
            bucket.spend(1_000);
        }
        for limit in [Some(800_000), Some(8_000_000), Some(1_600_000)] {
            bucket.set_limit(limit, Instant::ZERO);
            assert!(!bucket.allows(Instant::ZERO, 1_000, Words), "{limit:?}");
        }
        assert_eq!(bucket.ready_at(1_000, Words), Some(Instant::from_us(5_000)));
        bucket.set_limit(None, Instant::ZERO);
        assert!(bucket.allows(Instant::ZERO, 1 << 30, Words));
    }

    #[test]
    fn a_limit_of_nothing_forwards_nothing_but_talks() {
        let mut bucket = Bucket::new(Some(0), Instant::ZERO);
        assert!(
            bucket.allows(Instant::ZERO, 1_000, Words) && !bucket.allows(Instant::ZERO, 1, Stream)
        );
        assert_eq!(bucket.ready_at(6_000, Stream), None);
    }
}
