//! The one who listens: begins to play once a little is buffered, plays at the stream's rate, stalls when nothing is left.

/// Pauses count from so long after the beginning: until then parents are still being found.
const SETTLES_US: u64 = 5_000_000;

/// Media at one player over time. All amounts in bytes of media; time in µs.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    bytes_per_us: f64,
    prebuffer: f64,
    buffer: f64,
    at_us: u64,
    /// When playing began.
    pub started_us: Option<u64>,
    /// Played since the tally was last reset.
    pub played: f64,
    /// Not played because nothing was there: what would have been played meanwhile.
    pub stalled: f64,
    /// Left out of the output.
    pub missing: f64,
    /// Longest time without anything to play, µs.
    pub longest_stall_us: u64,
    stall_us: f64,
    /// Longest time between one thing that came and the next, once it had played for a while, µs.
    pub longest_pause_us: u64,
    heard_us: Option<u64>,
}

impl Viewer {
    /// A viewer that begins once `prebuffer_ms` of media are there.
    pub fn new(bitrate_bps: u64, prebuffer_ms: u64, now_us: u64) -> Self {
        let bytes_per_us = bitrate_bps as f64 / 8e6;
        Self {
            bytes_per_us,
            prebuffer: bytes_per_us * prebuffer_ms as f64 * 1e3,
            buffer: 0.0,
            at_us: now_us,
            started_us: None,
            played: 0.0,
            stalled: 0.0,
            missing: 0.0,
            longest_stall_us: 0,
            stall_us: 0.0,
            longest_pause_us: 0,
            heard_us: None,
        }
    }

    /// Plays up to now.
    pub fn advance(&mut self, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us) as f64;
        self.at_us = self.at_us.max(now_us);
        if self.started_us.is_none() {
            return;
        }
        let wanted = passed * self.bytes_per_us;
        let played = wanted.min(self.buffer);
        self.buffer -= played;
        self.played += played;
        self.stalled += wanted - played;
        if played > 0.0 {
            self.stall_us = 0.0;
        }
        self.stall_us += (wanted - played) / self.bytes_per_us;
        self.longest_stall_us = self.longest_stall_us.max(self.stall_us as u64);
    }

    /// Media arrived, after some that will not.
    pub fn hear(&mut self, now_us: u64, bytes: u64, skipped: u64) {
        self.advance(now_us);
        self.pause(now_us);
        self.heard_us = Some(now_us);
        self.buffer += bytes as f64;
        self.missing += skipped as f64;
        if self.started_us.is_none() && self.buffer >= self.prebuffer {
            self.started_us = Some(now_us);
        }
    }

    /// It ends with a pause, if it does.
    pub fn end(&mut self, now_us: u64) {
        self.advance(now_us);
        self.pause(now_us);
    }

    fn pause(&mut self, now_us: u64) {
        let settled = |at: &u64| {
            self.started_us
                .is_some_and(|began| *at > began + SETTLES_US)
        };
        if let Some(heard_us) = self.heard_us.filter(settled) {
            self.longest_pause_us = self.longest_pause_us.max(now_us - heard_us);
        }
    }

    /// Media that is there and not played yet.
    pub fn buffered(&self) -> f64 {
        self.buffer
    }

    /// Media played in a span of µs.
    pub fn amount(&self, us: u64) -> f64 {
        us as f64 * self.bytes_per_us
    }

    /// Begins to count anew.
    pub fn reset(&mut self) {
        (self.played, self.stalled, self.missing) = (0.0, 0.0, 0.0);
        (self.longest_stall_us, self.longest_pause_us) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_is_played_whole() {
        let mut viewer = Viewer::new(8_000, 1_000, 0);
        // 1,000 bytes a second in pieces of 100 ms, a burst of two seconds first.
        viewer.hear(0, 2_000, 0);
        (1..=100).for_each(|i| viewer.hear(i * 100_000, 100, 0));
        assert_eq!(viewer.started_us, Some(0));
        assert!((viewer.played - 10_000.0).abs() < 1e-6 && viewer.stalled == 0.0);
        assert!((viewer.buffered() - 2_000.0).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_come_in_time_counts_as_stalled() {
        let mut viewer = Viewer::new(8_000, 1_000, 0);
        viewer.hear(0, 2_000, 0);
        viewer.advance(3_000_000);
        assert!((viewer.played - 2_000.0).abs() < 1e-6);
        assert!((viewer.stalled - 1_000.0).abs() < 1e-6);
        assert_eq!(viewer.longest_stall_us, 1_000_000);
        viewer.hear(3_500_000, 500, 700);
        assert_eq!(viewer.longest_stall_us, 1_500_000);
        assert!((viewer.missing - 700.0).abs() < 1e-6);
    }

    #[test]
    fn pauses_are_those_of_one_who_has_settled() {
        let mut viewer = Viewer::new(8_000, 1_000, 0);
        viewer.hear(0, 2_000, 0);
        viewer.hear(1_500_000, 1_500, 0);
        (2..=60).for_each(|i| viewer.hear(i * 1_000_000, 1_000, 0));
        assert_eq!(viewer.longest_pause_us, 1_000_000);
        viewer.end(61_200_000);
        assert_eq!(viewer.longest_pause_us, 1_200_000);
    }
}
