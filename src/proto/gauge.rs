//! Queueing delay on the way to one neighbour, as LEDBAT measures it (RFC 6817 section 3.4.2): the delay now, the least of the last
//! samples, less the base, the least of the last minutes.
//!
//! One-way delays come from the neighbour's clock, which may run faster or slower than this one; within the minutes of the base that
//! adds up to as much as a queue (appendix A.2). Round trips have no such error but know no direction. A queue on the way out shows in
//! both: the smaller of the two is believed.

use crate::time::{Instant, Span};
use crate::wire::chunk::TICK_US;

/// Periods of which the base is kept, and how long each is.
const PERIODS: usize = 5;
const PERIOD: Span = Span::from_s(120);

/// Samples of which the least is the delay now.
const CURRENT: usize = 2;

/// A round trip longer than this is no measurement.
const MAX_ROUND: Span = Span::from_s(10);

/// What is not known yet.
const NOTHING: i32 = i32::MAX;

/// Least delays, in ticks of [`TICK_US`].
#[derive(Clone, Copy, Debug)]
struct Filter {
    base: [i32; PERIODS],
    current: [i32; CURRENT],
}

impl Filter {
    const NEW: Self = Self {
        base: [NOTHING; PERIODS],
        current: [NOTHING; CURRENT],
    };

    fn note(&mut self, delay: i32, periods: usize) {
        self.base.rotate_right(periods.min(PERIODS));
        self.base[..periods.min(PERIODS)].fill(NOTHING);
        self.base[0] = self.base[0].min(delay);
        self.current.rotate_right(1);
        self.current[0] = delay;
    }

    /// Ticks above the base.
    fn queue(&self) -> i32 {
        let least = |all: &[i32]| all.iter().copied().min().unwrap_or(NOTHING);
        least(&self.current).saturating_sub(least(&self.base))
    }
}

/// What is known of the way to one neighbour.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    forward: Filter,
    round: Filter,
    /// The first one-way delay: others are told apart from it, since nothing is known of the other clock.
    origin: Option<u32>,
    /// Which period it is.
    period: u64,
    /// When it was measured last.
    at: Instant,
}

impl Gauge {
    /// Nothing is known.
    pub const NEW: Self = Self {
        forward: Filter::NEW,
        round: Filter::NEW,
        origin: None,
        period: 0,
        at: Instant::ZERO,
    };

    /// Takes in a neighbour's answer: the one-way delay it saw, in ticks modulo 2^24, and the round trip. `age` is a clock by which the
    /// base grows old.
    pub fn note(&mut self, now: Instant, age: Span, forward_ticks: u32, round: Span) {
        if round > MAX_ROUND {
            return;
        }
        let origin = *self.origin.get_or_insert(forward_ticks);
        let period = age.as_us() / PERIOD.as_us();
        let passed = period.saturating_sub(self.period);
        let passed = usize::try_from(passed).unwrap_or(PERIODS);
        self.period = period;
        self.at = now;
        self.forward
            .note(signed24(forward_ticks.wrapping_sub(origin)), passed);
        let round_ticks = i32::try_from(round.as_us() / TICK_US).unwrap_or(NOTHING);
        self.round.note(round_ticks, passed);
    }

    /// The queueing delay, if it was measured within `fresh`.
    pub fn queue(&self, now: Instant, fresh: Span) -> Option<Span> {
        let known = self.origin.is_some() && now.since(self.at) <= fresh;
        let ticks = self.forward.queue().min(self.round.queue()).max(0);
        known.then(|| Span::from_us(ticks.unsigned_abs().into()).times(TICK_US))
    }
}

/// A number of 24 bits as one that may be negative.
fn signed24(ticks: u32) -> i32 {
    (ticks << 8).cast_signed() >> 8
}

/// The earlier of two one-way delays, modulo 2^24.
pub fn least_delay(a: u32, b: u32) -> u32 {
    if signed24(a.wrapping_sub(b)) < 0 {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunk::ticks;

    /// A way whose clock at the other end stands somewhere else and runs `ppm` faster.
    fn measure(gauge: &mut Gauge, at_s: u64, queue_ms: u64, back_ms: u64, ppm: u64) -> u64 {
        for n in 0..5 {
            let us = at_s * 1_000_000 + n * 200_000;
            let forward_us = 20_000 + queue_ms * 1_000;
            let there = us + us * ppm / 1_000_000 + forward_us + 987_654_321;
            let delay = ticks(there).wrapping_sub(ticks(us)) & 0xff_ffff;
            let now = Instant::from_us(us);
            let round = Span::from_us(forward_us + 20_000 + back_ms * 1_000);
            gauge.note(now, Span::from_us(us), delay, round);
        }
        let now = Instant::from_us(at_s * 1_000_000 + 800_000);
        gauge.queue(now, Span::from_s(3)).unwrap().as_ms()
    }

    #[test]
    fn a_queue_is_seen_and_seen_to_end() {
        let mut gauge = Gauge::NEW;
        assert_eq!(gauge.queue(Instant::ZERO, Span::from_s(3)), None);
        assert_eq!(measure(&mut gauge, 1, 0, 0, 0), 0);
        for queue_ms in [30, 120, 500, 3] {
            let seen = measure(&mut gauge, 2 + queue_ms, queue_ms, 0, 0);
            assert!(seen.abs_diff(queue_ms) <= 1, "{queue_ms}: {seen}");
        }
        assert_eq!(
            gauge.queue(Instant::from_us(900_000_000), Span::from_s(3)),
            None
        );
    }

    #[test]
    fn neither_the_way_back_nor_a_fast_clock_is_taken_for_a_queue() {
        let mut gauge = Gauge::NEW;
        assert_eq!(measure(&mut gauge, 1, 0, 0, 0), 0);
        assert_eq!(measure(&mut gauge, 2, 0, 400, 0), 0);
        // 200 parts in a million: 120 ms in ten minutes.
        let mut fast = Gauge::NEW;
        for at_s in (0..1_200).step_by(20) {
            assert!(measure(&mut fast, at_s, 0, 0, 200) <= 1, "after {at_s} s");
        }
    }

    #[test]
    fn a_longer_way_is_the_new_base_after_ten_minutes() {
        let mut gauge = Gauge::NEW;
        measure(&mut gauge, 1, 0, 0, 0);
        assert!(measure(&mut gauge, 500, 70, 0, 0) >= 69);
        for at_s in (510..1_300).step_by(10) {
            measure(&mut gauge, at_s, 70, 0, 0);
        }
        assert_eq!(measure(&mut gauge, 1_300, 70, 0, 0), 0);
    }

    #[test]
    fn delays_compare_across_the_turn_of_their_24_bits() {
        assert_eq!(least_delay(0xff_fff0, 5), 0xff_fff0);
        assert_eq!(least_delay(5, 0xff_fff0), 0xff_fff0);
        assert_eq!(least_delay(7, 5), 5);
    }
}
