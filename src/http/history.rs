//! How the line ran: the means of the last ten minutes and of the last day, in rings of fixed size.

/// Steps of the short ring: ten minutes.
pub const SHORT_STEPS: usize = 120;
/// Seconds of one of them.
const SHORT_STEP_S: u64 = 5;
/// Steps of the long ring: a day.
pub const LONG_STEPS: usize = 144;
/// Seconds of one of them.
const LONG_STEP_S: u64 = 600;

/// A step that has begun is shown from this age on.
const OPEN_S: u64 = 10;

/// Where the line's counters stand, in bytes since start.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Sent.
    pub tx_bytes: u64,
    /// Received.
    pub rx_bytes: u64,
}

impl Counters {
    fn mean_to(self, now: Self, seconds: u64) -> Mean {
        let bps = |now: u64, then: u64| {
            let bits = now.saturating_sub(then).saturating_mul(8);
            u32::try_from(bits / seconds.max(1)).unwrap_or(u32::MAX)
        };
        Mean {
            tx_bps: bps(now.tx_bytes, self.tx_bytes),
            rx_bps: bps(now.rx_bytes, self.rx_bytes),
        }
    }
}

/// Bits per second over one step; what is more than four Gbit/s is that.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Mean {
    /// Sent.
    pub tx_bps: u32,
    /// Received.
    pub rx_bps: u32,
}

/// Means over steps of equal length, as many of the last ones as there is room for.
#[derive(Clone, Debug)]
pub struct Ring<M: ?Sized = [Mean]> {
    step_s: u64,
    /// Steps that are over; the newest is at `(complete - 1) % capacity`.
    complete: u64,
    /// Where the counters stood when the present step began.
    began: Counters,
    /// The mean of the present step so far, once it is old enough to mean something.
    open: Option<Mean>,
    /// Last, so that rings of all sizes are one type behind a reference.
    means: M,
}

impl<const N: usize> Ring<[Mean; N]> {
    const fn new(step_s: u64) -> Self {
        Self {
            step_s,
            complete: 0,
            began: Counters {
                tx_bytes: 0,
                rx_bytes: 0,
            },
            open: None,
            means: [Mean {
                tx_bps: 0,
                rx_bps: 0,
            }; N],
        }
    }
}

impl<M: AsRef<[Mean]> + AsMut<[Mean]> + ?Sized> Ring<M> {
    /// Takes in where the counters stand; a gap is filled with what was its mean.
    fn note(&mut self, uptime_s: u64, now: Counters) {
        let step = uptime_s / self.step_s;
        let passed = step.saturating_sub(self.complete);
        if passed == 0 {
            let age_s = uptime_s.saturating_sub(self.complete * self.step_s);
            self.open = (age_s >= OPEN_S).then(|| self.began.mean_to(now, age_s));
            return;
        }
        let mean = self.began.mean_to(now, passed.saturating_mul(self.step_s));
        let capacity = self.capacity();
        for back in 1..=passed.min(capacity) {
            let place = ((step - back) % capacity) as usize;
            if let Some(place) = self.means.as_mut().get_mut(place) {
                *place = mean;
            }
        }
        (self.complete, self.began, self.open) = (step, now, None);
    }

    /// The means that there are, the oldest first; at most the capacity.
    pub fn means(&self) -> impl Iterator<Item = Mean> + Clone + '_ {
        let (means, capacity) = (self.means.as_ref(), self.capacity());
        let first = self.complete - self.complete.min(capacity);
        let at = move |step: u64| means.get((step % capacity) as usize).copied();
        (first..self.complete).filter_map(at)
    }

    /// What a chart shows: the means, and the present step as far as it has got; at most the capacity, the oldest first.
    pub fn levels(&self) -> impl Iterator<Item = Mean> + Clone + '_ {
        let is_over = self.complete >= self.capacity() && self.open.is_some();
        self.means().skip(usize::from(is_over)).chain(self.open)
    }

    /// Steps it has room for.
    pub fn capacity(&self) -> u64 {
        self.means.as_ref().len() as u64
    }
}

/// Both rings.
#[derive(Clone, Debug)]
pub struct History {
    /// Ten minutes.
    pub short: Ring<[Mean; SHORT_STEPS]>,
    /// A day.
    pub long: Ring<[Mean; LONG_STEPS]>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            short: Ring::new(SHORT_STEP_S),
            long: Ring::new(LONG_STEP_S),
        }
    }
}

impl History {
    /// Takes in where the counters stand so many seconds after the start. To be called about once a second.
    pub fn note(&mut self, uptime_s: u64, now: Counters) {
        self.short.note(uptime_s, now);
        self.long.note(uptime_s, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// A week, a second at a time: by day 1 Mbit/s out, by night a tenth of it; 200 kbit/s in all the time.
    #[test]
    fn a_week_leaves_its_last_day_and_its_last_ten_minutes() {
        let mut history = History::default();
        let mut at = Counters::default();
        let is_day = |second: u64| second % 86_400 < 43_200;
        let week = 7 * 86_400;
        for second in 1..=week {
            at.tx_bytes += if is_day(second - 1) { 125_000 } else { 12_500 };
            at.rx_bytes += 25_000;
            history.note(second, at);
        }
        let day: Vec<Mean> = history.long.means().collect();
        assert_eq!(day.len(), LONG_STEPS);
        for (i, mean) in day.iter().enumerate() {
            let expected = if i < LONG_STEPS / 2 {
                1_000_000
            } else {
                100_000
            };
            assert_eq!((mean.tx_bps, mean.rx_bps), (expected, 200_000), "step {i}");
        }
        let minutes: Vec<Mean> = history.short.means().collect();
        assert_eq!(minutes.len(), SHORT_STEPS);
        assert!(minutes.iter().all(|mean| mean.tx_bps == 100_000));
        // It does not grow with the time it has run.
        assert!(size_of::<History>() < 4_096);
    }

    #[test]
    fn every_byte_is_in_it_once_whenever_it_is_looked_at() {
        let mut history = History::default();
        let mut at = Counters::default();
        // Looked at every 3 s, so that looks and steps do not fall together.
        for second in (0..=600).step_by(3) {
            at.tx_bytes += 3 * (1_000 + second * 7);
            history.note(second, at);
        }
        let bits: u64 = history
            .short
            .means()
            .map(|mean| u64::from(mean.tx_bps) * 5)
            .sum();
        let open = (at.tx_bytes - history.short.began.tx_bytes) * 8;
        let all = at.tx_bytes * 8;
        assert!(all - bits - open < 120 * 5, "{all} {bits} {open}");
    }

    #[test]
    fn the_present_step_is_shown_as_far_as_it_has_got() {
        let mut history = History::default();
        let at = |second: u64| Counters {
            tx_bytes: second * 1_000,
            rx_bytes: 0,
        };
        (0..=9).for_each(|second| history.note(second, at(second)));
        assert_eq!(history.long.levels().count(), 0);
        (10..=60).for_each(|second| history.note(second, at(second)));
        assert_eq!(
            history.long.levels().map(|mean| mean.tx_bps).last(),
            Some(8_000)
        );
        assert_eq!(
            (history.long.levels().count(), history.long.means().count()),
            (1, 0)
        );
        (61..=200_015).for_each(|second| history.note(second, at(second)));
        assert_eq!(history.long.levels().count(), LONG_STEPS);
    }

    #[test]
    fn a_gap_is_its_mean_and_a_short_life_a_short_chart() {
        let mut history = History::default();
        let at = |tx_bytes| Counters {
            tx_bytes,
            rx_bytes: 0,
        };
        history.note(4, at(500));
        assert_eq!(history.short.means().count(), 0);
        history.note(20, at(2_500));
        let means: Vec<u32> = history.short.means().map(|mean| mean.tx_bps).collect();
        assert_eq!(means, [1_000; 4]);
        // Asleep for a year; the counters then beyond all reason.
        history.note(31_536_000, at(u64::MAX));
        assert_eq!(history.short.means().count(), SHORT_STEPS);
        history.note(31_536_005, at(u64::MAX));
        assert_eq!(history.short.means().last().unwrap().tx_bps, 0);
        // A clock that goes back changes nothing.
        history.note(5, at(0));
        assert_eq!(history.short.means().count(), SHORT_STEPS);
    }
}
