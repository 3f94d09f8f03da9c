//! Whether what a link hears makes sense. Two ends at different rates hear each other as bytes without a sound frame.

use crate::driver::lines::{LineCounters, LineState};
use crate::time::{Instant, Span};

/// What was heard is judged this often.
const LOOK: Span = Span::from_s(2);

/// With fewer bytes than this there is nothing to judge.
const ENOUGH_BYTES: u64 = 24;

/// A line on which nothing sound came for so long is quiet.
const QUIET: Span = Span::from_s(10);

/// What was heard at the last look, and since when.
#[derive(Debug)]
pub struct Ear {
    before: LineCounters,
    looked_at: Instant,
    sound_at: Option<Instant>,
}

impl Ear {
    /// Begins to listen.
    pub fn new(now: Instant, counters: LineCounters) -> Self {
        Self {
            before: counters,
            looked_at: now,
            sound_at: None,
        }
    }

    /// When [`Ear::judge`] has something to say again.
    pub fn next_at(&self) -> Instant {
        self.looked_at + LOOK
    }

    /// How the line does, every two seconds.
    pub fn judge(&mut self, now: Instant, counters: LineCounters) -> Option<LineState> {
        if now < self.next_at() {
            return None;
        }
        let frames = counters.rx_frames - self.before.rx_frames;
        let bytes = counters.rx_bytes - self.before.rx_bytes;
        if frames > 0 {
            self.sound_at = Some(now);
        }
        let noisy = frames == 0 && bytes >= ENOUGH_BYTES;
        if noisy || frames > 0 || bytes == 0 {
            // Too few bytes to judge are judged together with those that follow.
            self.before = counters;
        }
        self.looked_at = now;
        let sound = self.sound_at.is_some_and(|at| now.since(at) < QUIET);
        Some(match (noisy, sound) {
            (true, _) => LineState::Noise,
            (false, true) => LineState::Up,
            (false, false) => LineState::Quiet,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_without_frames_are_noise_and_frames_are_none() {
        let mut heard = LineCounters::default();
        let mut ear = Ear::new(Instant::ZERO, heard);
        let at = |s: u64| Instant::ZERO + Span::from_s(s);
        assert_eq!(ear.judge(at(1), heard), None);
        assert_eq!(ear.judge(at(2), heard), Some(LineState::Quiet));
        heard.rx_bytes += 10;
        assert_eq!(ear.judge(at(4), heard), Some(LineState::Quiet));
        heard.rx_bytes += 20;
        assert_eq!(ear.judge(at(6), heard), Some(LineState::Noise));
        heard.rx_bytes += 1_000;
        heard.rx_frames += 1;
        assert_eq!(ear.judge(at(8), heard), Some(LineState::Up));
        assert_eq!(ear.judge(at(16), heard), Some(LineState::Up));
        assert_eq!(ear.judge(at(18), heard), Some(LineState::Quiet));
    }
}
