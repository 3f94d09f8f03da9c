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

/// A pace that has not been used up for so long is none any more.
const UNUSED: Span = Span::from_s(60);

/// Cuts that did not help, after which they are larger.
const HELPLESS: u8 = 2;

/// Stripes that one listener takes who has nobody else, or nearly.
const LISTENER: u64 = 16;

/// A step up is a sixteenth of the pace at first, then an eighth, then a quarter each.
const FIRST_STEP: u32 = 4;
const LAST_STEP: u32 = 2;

/// A cut so soon after a step up says that the step came too early.
const RELAPSE: Span = Span::from_s(30);

/// What uses the pace, in bits a second.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Sent in the last second.
    pub used_bps: u64,
    /// That, or what has been promised to children where it is more.
    pub bps: u64,
    /// What one more stripe would take.
    pub step_bps: u64,
}

impl Load {
    /// Bits a second at which it leaves evenly: a sixteenth more, so that what has waited gets away.
    pub fn even_bps(&self) -> u64 {
        self.bps + self.bps / 16
    }
}

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
    /// Steps up since the last cut.
    steps: u32,
    /// Cuts since the queue was last short.
    cuts: u8,
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
            steps: 0,
            cuts: 0,
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

    /// Takes in one reading of the queue, `None` if there is none, with what uses the line. To be called a few times a second.
    pub fn note(&mut self, now: Instant, queue: Option<Span>, load: Load) {
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
                self.cut(now, queue, target, load);
            }
        } else {
            (self.high, self.cuts) = (0, 0);
            let calm = now.since(self.calm_since) >= self.calm;
            if queue.as_us() * 2 > target.as_us() {
                self.hold(now, load);
            } else if calm && now.since(self.changed_at) >= STEP {
                self.raise(now, load);
            }
        }
    }

    fn cut(&mut self, now: Instant, queue: Span, target: Span, load: Load) {
        let used_bps = load.used_bps;
        if self.now_bps.is_none() {
            self.before_bps = used_bps;
        }
        let from = self.now_bps.map_or(used_bps, |pace| pace.min(used_bps));
        // A quarter for each target that the queue is too long, a half at most; a twentieth at least, and a quarter after cuts that did
        // not help: an upload takes what is left to it, and its queue stays.
        let least = if self.cuts < HELPLESS { 50 } else { 250 };
        self.cuts = self.cuts.saturating_add(1);
        let excess = (queue.as_us() - target.as_us()) * 250 / target.as_us();
        let cut = excess.clamp(least, 500);
        let kept = from * (1_000 - cut) / 1_000;
        self.now_bps = Some(if kept < load.step_bps { 0 } else { kept });
        self.lowered(now);
    }

    /// With a queue half as long as it may be nobody gets more.
    fn hold(&mut self, now: Instant, load: Load) {
        if let Some(pace) = self.now_bps
            && load.bps < pace
        {
            self.now_bps = Some(load.bps);
            self.lowered(now);
        }
    }

    /// The pace is less than it was.
    fn lowered(&mut self, now: Instant) {
        if now.since(self.raised_at) < RELAPSE && self.raised_at > Instant::ZERO {
            self.calm = self.calm.times(2).min(MAX_CALM);
            self.raised_at = Instant::ZERO;
        }
        self.changed_at = now;
        self.steps = 0;
    }

    fn raise(&mut self, now: Instant, load: Load) {
        let Some(pace) = self.now_bps else {
            // Well for so long: what was learned of the household's habits is old.
            if now.since(self.changed_at) > MAX_CALM {
                self.calm = CALM;
            }
            return;
        };
        // That more would fit shows only where what there is is used, but for room for one who comes.
        let most = load.bps + load.step_bps * LISTENER;
        if most <= pace {
            // Nobody is held back, and nobody else has needed the line for a while.
            if now.since(self.changed_at) > UNUSED {
                self.now_bps = None;
            }
            return;
        }
        // A small step first, and longer ones while none brings a queue.
        let shift = FIRST_STEP.saturating_sub(self.steps).max(LAST_STEP);
        let least = pace + load.step_bps * 5 / 4;
        let pace = (pace + (pace >> shift)).min(most).max(least);
        self.steps = self.steps.saturating_add(1);
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

    /// Children take so much, and would take more.
    fn load(used_bps: u64) -> Load {
        Load {
            used_bps,
            bps: used_bps,
            step_bps: STRIPE,
        }
    }

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
            pace.note(now, Some(queue), load(ours));
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
            ours.note(now, full, load(ours.now_bps().unwrap_or(5_000_000)));
        }
        assert_eq!(ours.now_bps(), Some(0));
        for _ in 0..1_000 {
            now += TICK;
            ours.note(
                now,
                Some(Span::ZERO),
                load(ours.now_bps().unwrap_or(5_000_000)),
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
        pace.note(
            Instant::from_us(9_000_000),
            Some(Span::from_ms(900)),
            load(1),
        );
        pace.note(Instant::from_us(9_250_000), Some(Span::ZERO), load(1));
        assert_eq!(pace.now_bps(), None);
        let mut blind = Pace::new(Some(Span::ZERO), None);
        for s in 0..10 {
            blind.note(
                Instant::from_us(s * 1_000_000),
                Some(Span::from_s(1)),
                load(1),
            );
        }
        assert!(!blind.watches() && blind.now_bps().is_none());
    }

    /// A pace that has been cut once, from 1 Mbit/s, and the time.
    fn cut_once() -> (Pace, Instant) {
        let (mut pace, mut now) = (Pace::new(Some(TARGET), None), Instant::from_us(60_000_000));
        while pace.now_bps().is_none() {
            now += TICK;
            pace.note(now, Some(TARGET.times(2)), load(1_000_000));
        }
        (pace, now)
    }

    #[test]
    fn a_pace_that_nobody_uses_does_not_grow_beyond_room_for_one_who_comes() {
        let (mut pace, mut now) = cut_once();
        let load = Load {
            step_bps: 20_000,
            ..load(600_000)
        };
        for _ in 0..4 * 60 {
            now += TICK;
            pace.note(now, Some(Span::ZERO), load);
        }
        let most = load.bps + load.step_bps * (LISTENER + 2);
        assert!(
            pace.now_bps()
                .is_some_and(|pace| pace > load.bps && pace <= most),
            "{pace:?}"
        );
        // Nobody has needed the line for a minute, and nobody is held back.
        for _ in 0..4 * 30 {
            now += TICK;
            pace.note(now, Some(Span::ZERO), load);
        }
        assert_eq!(pace.now_bps(), None);
    }

    #[test]
    fn steps_up_are_short_at_first() {
        let (mut pace, mut now) = cut_once();
        let mut steps = std::vec::Vec::new();
        while steps.len() < 3 {
            let before = pace.now_bps().unwrap();
            now += TICK;
            let alone = Load {
                step_bps: 1_000,
                ..load(before * 2)
            };
            pace.note(now, Some(Span::ZERO), alone);
            let step = pace.now_bps().unwrap() - before;
            steps.extend(before.checked_div(step));
        }
        assert_eq!(steps, [16, 8, 4]);
    }

    #[test]
    fn a_step_up_that_brings_a_queue_is_taken_back_before_it_is_long() {
        let (mut pace, mut now) = cut_once();
        let fitted = pace.now_bps().unwrap();
        while pace.now_bps() == Some(fitted) {
            now += TICK;
            pace.note(now, Some(Span::ZERO), load(fitted));
        }
        now += TICK;
        pace.note(now, Some(Span::from_ms(30)), load(fitted));
        assert_eq!(pace.now_bps(), Some(fitted));
        // And the next one comes after twenty seconds of calm, of which there were ten.
        let begun = now;
        while pace.now_bps() == Some(fitted) {
            now += TICK;
            pace.note(now, Some(Span::ZERO), load(fitted));
        }
        assert!(
            now.since(begun) >= Span::from_s(8),
            "{:?}",
            now.since(begun)
        );
        assert_eq!(pace.calm, CALM.times(2));
    }

    #[test]
    fn an_upload_whose_queue_stays_is_yielded_to_within_ten_seconds() {
        // It sends no more than it has in flight: the queue is as long whatever is left to it.
        let mut pace = Pace::new(Some(TARGET), None);
        let mut now = Instant::from_us(60_000_000);
        let begun = now;
        while pace.now_bps().is_none_or(|pace| pace > 250_000) {
            now += TICK;
            let used = pace.now_bps().unwrap_or(2_500_000);
            pace.note(now, Some(Span::from_ms(68)), load(used));
        }
        assert!(
            now.since(begun) < Span::from_s(10),
            "{:?}",
            now.since(begun)
        );
    }
}
