//! Media time: from what a container says to one clock that only goes forward.

/// A jump of more than this is a new clock (a chained file, a restarted encoder), not a pause.
const MAX_STEP_US: u64 = 10_000_000;

/// A clock that runs back by less than this waits (interleaved streams); by more, it has been reset.
const MAX_BACK_US: u64 = 2_000_000;

/// Joins the container's clocks end to end.
pub(super) struct Timeline {
    last_us: Option<u64>,
    now_us: u64,
}

impl Timeline {
    pub(super) const fn new() -> Self {
        Self {
            last_us: None,
            now_us: 0,
        }
    }

    /// The continuous time for a container's time. The first one is 0.
    pub(super) fn at(&mut self, time_us: u64) -> u64 {
        match self.last_us {
            Some(last) if time_us >= last && time_us - last <= MAX_STEP_US => {
                self.now_us = self.now_us.saturating_add(time_us - last);
                self.last_us = Some(time_us);
            }
            Some(last) if time_us < last && last - time_us < MAX_BACK_US => {}
            _ => self.last_us = Some(time_us),
        }
        self.now_us
    }

    /// The container's clock starts anew with the next time.
    pub(super) fn restart(&mut self) {
        self.last_us = None;
    }
}

/// Time by counting samples, exact over any number of them.
#[derive(Clone, Copy)]
pub(super) struct SampleClock {
    base_us: u64,
    samples: u64,
    rate_hz: u32,
}

impl SampleClock {
    pub(super) const fn new() -> Self {
        Self {
            base_us: 0,
            samples: 0,
            rate_hz: 0,
        }
    }

    /// Microseconds counted so far.
    pub(super) fn now_us(&self) -> u64 {
        self.base_us
            .saturating_add(scale_us(self.samples, u64::from(self.rate_hz)).unwrap_or(0))
    }

    /// Counts samples played at `rate_hz`, which may change.
    pub(super) fn advance(&mut self, samples: u64, rate_hz: u32) {
        if rate_hz != self.rate_hz {
            *self = Self {
                base_us: self.now_us(),
                samples: 0,
                rate_hz,
            };
        }
        self.samples = self.samples.saturating_add(samples);
    }
}

/// `ticks` of a clock of `rate_hz`, in microseconds; `None` when the clock stands or the time is absurd.
pub(super) fn scale_us(ticks: u64, rate_hz: u64) -> Option<u64> {
    u64::try_from((u128::from(ticks) * 1_000_000).checked_div(u128::from(rate_hz))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_clock_goes_on_where_it_was() {
        let mut line = Timeline::new();
        assert_eq!(line.at(95_443_000), 0);
        assert_eq!(line.at(95_543_000), 100_000);
        assert_eq!(line.at(95_500_000), 100_000); // another stream, a little behind
        assert_eq!(line.at(95_563_000), 120_000);
        assert_eq!(line.at(0), 120_000); // a chained file
        assert_eq!(line.at(40_000), 160_000);
        assert_eq!(line.at(3_600_000_000), 160_000); // a jump is not a pause
    }

    #[test]
    fn samples_are_counted_without_drift() {
        let mut clock = SampleClock::new();
        (0..44_100).for_each(|_| clock.advance(1_152, 44_100));
        assert_eq!(clock.now_us(), 1_152_000_000);
        clock.advance(48_000, 48_000);
        assert_eq!(clock.now_us(), 1_153_000_000);
    }
}
