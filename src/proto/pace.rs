//! How fast a gentle neighbour sends: what is left of the owner's line when the household has taken its part.
//!
//! LEDBAT (RFC 6817) grows and shrinks a window by how far the queueing delay is from a target. A live stream cannot be sent a little
//! slower, only to fewer, and each child that is sent away has to find somebody else. So the pace falls at once and in proportion
//! to the excess, and rises in steps after a pause, which grows each time that it was too short.

use crate::time::{Instant, Span};

/// After a cut the queue gets this long to show its effect.
const REACT: Span = Span::from_ms(750);

/// And so much more for the way through the queue itself.
const MAX_LAG: Span = Span::from_s(1);

/// Readings above the target, one after the other, that are no accident.
const HIGH: u8 = 2;

/// A queue is falling when it has lost a tenth within so many readings: what was cut is enough, and takes its time.
const FALLING: usize = 4;

/// Calm before the pace rises: at first, and at most.
const CALM: Span = Span::from_s(10);
const MAX_CALM: Span = Span::from_s(300);

/// Time between two steps up.
const STEP: Span = Span::from_s(2);

/// A cut so soon after a step up says that the step came too early.
const RELAPSE: Span = Span::from_s(30);

/// The pace of what is sent to children.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Queueing delay to stay below; `None`: the line is not watched.
    target: Option<Span>,
    /// Bits a second that the owner allows.
    limit_bps: Option<u64>,
    /// Bits a second now; `None`: as many as the owner allows.
    now_bps: Option<u64>,
    /// The most that was sent before the pace was first cut: without a limit, where it ends.
    before_bps: u64,
    high: u8,
    /// The last readings, the newest first.
    queues: [Span; FALLING],
    changed_at: Instant,
    raised_at: Instant,
    calm_since: Instant,
    calm: Span,
}

impl Pace {
    /// As fast as the owner allows, for now.
    pub fn new(target: Option<Span>, limit_bps: Option<u64>) -> Self {
        Self {
            target: target.filter(|target| *target > Span::ZERO),
            limit_bps,
            now_bps: None,
            before_bps: 0,
            high: 0,
            queues: [Span::ZERO; FALLING],
            changed_at: Instant::ZERO,
            raised_at: Instant::ZERO,
            calm_since: Instant::ZERO,
            calm: CALM,
        }
    }

    /// The owner allows something else from now on.
    pub fn set_limit(&mut self, limit_bps: Option<u64>) {
        self.limit_bps = limit_bps;
    }

    /// Whether the line is watched at all.
    pub fn watches(&self) -> bool {
        self.target.is_some()
    }

    /// Bits a second; `None`: as many as the owner allows.
    pub fn now_bps(&self) -> Option<u64> {
        self.now_bps
    }

    /// Takes in one reading of the queue, `None` if there is none, with what was sent in the last second and what one more child
    /// would take. To be called a few times a second.
    pub fn note(&mut self, now: Instant, queue: Option<Span>, used_bps: u64, step_bps: u64) {
        let Some(target) = self.target else { return };
        let queue = queue.unwrap_or(Span::ZERO);
        let before = self.queues[FALLING - 1];
        self.queues.rotate_right(1);
        self.queues[0] = queue;
        let falls = queue.as_us() * 10 <= before.as_us() * 9;
        if queue > target {
            self.calm_since = now;
            self.high = self.high.saturating_add(1);
            // What is measured now went into the queue before it.
            let seen = REACT + queue.min(MAX_LAG);
            if self.high >= HIGH && now.since(self.changed_at) >= seen && !falls {
                self.cut(now, queue, target, used_bps, step_bps);
            }
        } else {
            self.high = 0;
            let calm = now.since(self.calm_since) >= self.calm;
            if calm && now.since(self.changed_at) >= STEP {
                self.raise(now, queue, target, step_bps);
            }
        }
    }

    fn cut(&mut self, now: Instant, queue: Span, target: Span, used_bps: u64, step_bps: u64) {
        if self.now_bps.is_none() {
            self.before_bps = used_bps;
        }
        let from = self.now_bps.map_or(used_bps, |pace| pace.min(used_bps));
        // A quarter for each target that the queue is too long, a twentieth at least, a half at most.
        let excess = (queue.as_us() - target.as_us()).saturating_mul(250) / target.as_us();
        let kept = from * (1_000 - excess.clamp(50, 500)) / 1_000;
        self.now_bps = Some(if kept < step_bps { 0 } else { kept });
        if now.since(self.raised_at) < RELAPSE && self.raised_at > Instant::ZERO {
            self.calm = self.calm.times(2).min(MAX_CALM);
            self.raised_at = Instant::ZERO;
        }
        self.changed_at = now;
    }

    fn raise(&mut self, now: Instant, queue: Span, target: Span, step_bps: u64) {
        let Some(pace) = self.now_bps else {
            // Well for so long: what was learned of the household's habits is old.
            if now.since(self.changed_at) > MAX_CALM {
                self.calm = CALM;
            }
            return;
        };
        let room = (target.as_us() - queue.as_us()) * 1_000 / target.as_us();
        let more = (pace / 8).max(step_bps * 5 / 4) * room.max(100) / 1_000;
        let pace = pace + more.max(step_bps / 4);
        let enough = match self.limit_bps {
            Some(limit) => limit,
            None => self.before_bps * 2,
        };
        self.now_bps = (pace < enough).then_some(pace);
        (self.changed_at, self.raised_at) = (now, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A modem with a buffer: everybody's bits go in, so many come out.
    struct Modem {
        line_bps: u64,
        buffer_bits: u64,
        queued_bits: u64,
    }

    impl Modem {
        /// The delay a bit has that goes in after `span` of this load.
        fn run(&mut self, load_bps: u64, span: Span) -> Span {
            let bits = |bps: u64| bps * span.as_us() / 1_000_000;
            let queued = (self.queued_bits + bits(load_bps)).saturating_sub(bits(self.line_bps));
            self.queued_bits = queued.min(self.buffer_bits);
            Span::from_us(self.queued_bits * 1_000_000 / self.line_bps)
        }
    }

    const TICK: Span = Span::from_ms(250);
    const TARGET: Span = Span::from_ms(50);
    const STRIPE: u64 = 100_000;

    /// Children that want 2 Mbit/s, on a line of 3; the household takes what `others` says. Returns each tick's pace and queue.
    fn evening(ticks: u64, others: impl Fn(u64) -> u64) -> std::vec::Vec<(u64, Span)> {
        let mut modem = Modem {
            line_bps: 3_000_000,
            buffer_bits: 1_500_000,
            queued_bits: 0,
        };
        let mut pace = Pace::new(Some(TARGET), Some(2_000_000));
        let mut now = Instant::from_us(60_000_000);
        let each = (0..ticks).map(|tick| {
            now += TICK;
            let ours = pace.now_bps().unwrap_or(u64::MAX).min(2_000_000) / STRIPE * STRIPE;
            let queue = modem.run(ours + others(tick), TICK);
            pace.note(now, Some(queue), ours, STRIPE);
            (pace.now_bps().unwrap_or(2_000_000), queue)
        });
        each.collect()
    }

    #[test]
    fn a_call_gets_its_part_and_the_queue_is_short_again() {
        // A call of 2 Mbit/s from the tenth second to the fortieth.
        let call = |tick| {
            if (40..160).contains(&tick) {
                2_000_000
            } else {
                0
            }
        };
        let seen = evening(480, call);
        assert!(
            seen[..40]
                .iter()
                .all(|&(pace, queue)| pace == 2_000_000 && queue == Span::ZERO)
        );
        let over = seen[..100].iter().rposition(|&(_, queue)| queue > TARGET);
        assert!(over.unwrap() < 40 + 24, "a queue at {over:?}");
        // Then it tries now and then whether there is more.
        let tries = seen[64..160].iter().filter(|&&(_, queue)| queue > TARGET);
        assert!(tries.count() < 8, "{seen:?}");
        assert!(
            seen[70..160].iter().all(|&(pace, _)| pace <= 1_200_000),
            "{seen:?}"
        );
        assert!(
            seen[100..160].iter().any(|&(pace, _)| pace > 300_000),
            "{seen:?}"
        );
        let back = seen
            .iter()
            .rposition(|&(pace, _)| pace < 2_000_000)
            .unwrap();
        assert!(back < 160 + 160, "not back at {back}");
    }

    #[test]
    fn an_upload_that_fills_every_buffer_gets_the_line() {
        let mut ours = Pace::new(Some(TARGET), None);
        let mut now = Instant::from_us(60_000_000);
        let full = Some(Span::from_ms(400));
        for _ in 0..40 {
            now += TICK;
            ours.note(now, full, ours.now_bps().unwrap_or(5_000_000), STRIPE);
        }
        assert_eq!(ours.now_bps(), Some(0));
        for _ in 0..1_000 {
            now += TICK;
            ours.note(
                now,
                Some(Span::ZERO),
                ours.now_bps().unwrap_or(5_000_000),
                STRIPE,
            );
        }
        assert_eq!(ours.now_bps(), None);
    }

    #[test]
    fn a_line_that_is_always_short_is_tried_less_and_less_often() {
        // The limit says 2 Mbit/s, the household leaves 1.
        let seen = evening(4 * 1_800, |_| 2_000_000);
        let high = |part: &[(u64, Span)]| part.iter().filter(|(_, queue)| *queue > TARGET).count();
        let (first, last) = (high(&seen[..2_400]), high(&seen[4_800..]));
        assert!(last < first && last < 120, "{first} {last}");
        let kept: u64 =
            seen[240..].iter().map(|(pace, _)| pace).sum::<u64>() / (seen.len() as u64 - 240);
        assert!(kept > 500_000, "{kept}");
    }

    #[test]
    fn one_reading_alone_changes_nothing_and_no_target_watches_nothing() {
        let mut pace = Pace::new(Some(TARGET), None);
        pace.note(Instant::from_us(9_000_000), Some(Span::from_ms(900)), 1, 1);
        pace.note(Instant::from_us(9_250_000), Some(Span::ZERO), 1, 1);
        assert_eq!(pace.now_bps(), None);
        let mut blind = Pace::new(Some(Span::ZERO), None);
        for s in 0..10 {
            blind.note(Instant::from_us(s * 1_000_000), Some(Span::from_s(1)), 1, 1);
        }
        assert!(!blind.watches() && blind.now_bps().is_none());
    }
}
