//! The pace of a file: how long to wait after each piece so that it goes out as fast as it plays.
//!
//! The container's time is trusted where there is one. It may move in leaps (an Ogg page, a fragment of MP4, of seconds),
//! so between two leaps the position is carried on by bytes, at the rate measured so far.

use core::time::Duration;

/// How far the file may be ahead of its own time.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// A piece is about so long, if the rate is known.
const PIECE_US: u64 = 40_000;

/// The position is not carried further than this without word from the container.
const CARRY_US: u64 = 2_000_000;

/// A leap longer than this, or one back, is another timeline and not a long wait.
const LEAP_US: u64 = 10_000_000;

/// Once so far behind (the machine slept), what was missed is not made up for in a burst.
const LATE_US: u64 = 2_000_000;

/// What was read so far, and how it lies in time.
pub(super) struct Pacer {
    bitrate_bps: Option<u32>,
    bytes: u64,
    /// Where time was last set: this position of the stream was due at that moment.
    anchor: Option<Anchor>,
    /// The container's time, at its first word on this timeline and at its last change.
    first: Option<Mark>,
    last: Option<Mark>,
}

#[derive(Clone, Copy)]
struct Anchor {
    now_us: u64,
    position_us: u64,
}

#[derive(Clone, Copy)]
struct Mark {
    media_us: u64,
    bytes: u64,
}

impl Pacer {
    /// At the start of a file, with the rate the user gave.
    pub fn new(bitrate_bps: Option<u32>) -> Self {
        let bitrate_bps = bitrate_bps.filter(|&bps| bps > 0);
        Self {
            bitrate_bps,
            bytes: 0,
            anchor: None,
            first: None,
            last: None,
        }
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much to read at once.
    pub fn piece_bytes(&self) -> usize {
        match self.byte_us() {
            Some((bytes, us)) => {
                (bytes.saturating_mul(PIECE_US) / us).clamp(256, 16 * 1024) as usize
            }
            None => 1024,
        }
    }

    /// `bytes` more were taken in at `now` (since the file began), and reach as far as `media_us`. Says how long to wait
    /// before the next; `None` if nothing tells the pace yet.
    pub fn taken(
        &mut self,
        now: Duration,
        bytes: usize,
        media_us: Option<u64>,
    ) -> Option<Duration> {
        let now_us = micros(now);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(media_us) = media_us {
            self.mark(media_us);
        }
        let position_us = self.position_us()?;
        let anchor = *self.anchor.get_or_insert(Anchor {
            now_us,
            position_us,
        });
        let due_us = anchor
            .now_us
            .saturating_add(position_us.saturating_sub(anchor.position_us));
        if now_us > due_us.saturating_add(LATE_US) {
            self.anchor = Some(Anchor {
                now_us,
                position_us,
            });
        }
        Some(Duration::from_micros(due_us.saturating_sub(now_us)).saturating_sub(LEAD))
    }

    /// At the file's end: how long it still plays, so that a repetition does not begin too early. `now` since it began.
    pub fn finish(&self, now: Duration) -> Duration {
        let Some((bytes, us)) = self.byte_us() else {
            return Duration::ZERO;
        };
        let whole_us = u128::from(self.bytes) * u128::from(us) / u128::from(bytes.max(1));
        let rest = Duration::from_micros(u64::try_from(whole_us).unwrap_or(0)).saturating_sub(now);
        rest.min(Duration::from_micros(CARRY_US))
    }

    fn mark(&mut self, media_us: u64) {
        let mark = Mark {
            media_us,
            bytes: self.bytes,
        };
        match self.last {
            Some(last) if last.media_us == media_us => return,
            Some(last)
                if (last.media_us..=last.media_us.saturating_add(LEAP_US)).contains(&media_us) => {}
            _ => {
                self.first = Some(mark);
                self.anchor = None;
            }
        }
        self.last = Some(mark);
    }

    fn position_us(&self) -> Option<u64> {
        let rate = self.byte_us();
        let carried = |since: u64| rate.map(|(bytes, us)| since.saturating_mul(us) / bytes.max(1));
        match self.last {
            Some(last) => {
                let carried_us = carried(self.bytes.saturating_sub(last.bytes)).unwrap_or(0);
                Some(last.media_us.saturating_add(carried_us.min(CARRY_US)))
            }
            None => carried(self.bytes),
        }
    }

    /// The rate as so many bytes in so many microseconds, both above 0: measured, else given.
    fn byte_us(&self) -> Option<(u64, u64)> {
        let measured = self
            .first
            .zip(self.last)
            .map(|(a, b)| (b.bytes - a.bytes, b.media_us - a.media_us));
        let given = self.bitrate_bps.map(|bps| (u64::from(bps), 8_000_000));
        measured
            .filter(|&(bytes, us)| bytes > 0 && us > 0)
            .or(given)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::rust_2024::*;

    /// Plays `total` bytes on a clock that only waits move; returns the most it was ever ahead of `time_of(bytes)`, the
    /// most it was behind, and the time it took, all in µs. `told` is what the container says.
    fn play(
        bitrate: Option<u32>,
        total: u64,
        time_of: impl Fn(u64) -> u64,
        told: impl Fn(u64) -> Option<u64>,
    ) -> (u64, u64, u64) {
        let mut pacer = Pacer::new(bitrate);
        let (mut now, mut ahead, mut behind) = (Duration::ZERO, 0, 0);
        while pacer.bytes() < total {
            let piece = pacer.piece_bytes().min((total - pacer.bytes()) as usize);
            let pause = pacer
                .taken(now, piece, told(pacer.bytes() + piece as u64))
                .unwrap_or_default();
            let media = time_of(pacer.bytes());
            ahead = ahead.max(media.saturating_sub(micros(now)));
            behind = behind.max(micros(now).saturating_sub(media));
            now += pause;
        }
        now += pacer.finish(now);
        (ahead, behind, micros(now))
    }

    /// 128 kbit/s: 16 bytes a millisecond.
    fn cbr(bytes: u64) -> u64 {
        bytes * 1_000 / 16
    }

    #[test]
    fn a_given_rate_is_kept() {
        let (ahead, behind, took) = play(Some(128_000), 160_000, cbr, |_| None);
        assert!(ahead <= 180_000 && behind == 0, "{ahead} {behind}");
        assert!(took.abs_diff(10_000_000) < 1_000, "{took}");
    }

    #[test]
    fn frames_pace_a_file_at_their_own_time() {
        // MP3 at 128 kbit/s: a frame of 417 bytes is 26 ms.
        let (ahead, behind, took) = play(None, 160_000, cbr, |bytes| Some(bytes / 417 * 26_062));
        assert!(ahead <= 250_000 && behind == 0, "{ahead} {behind}");
        assert!(took.abs_diff(10_000_000) < 30_000, "{took}");
    }

    #[test]
    fn leaps_of_a_page_are_smoothed() {
        // Ogg pages of one second: without carrying on by bytes, a page would leave in one burst.
        let page = |bytes: u64| Some(bytes / 16_000 * 1_000_000);
        let (ahead, behind, took) = play(None, 320_000, cbr, page);
        assert!(took.abs_diff(20_000_000) < 200_000, "{took}");
        // The first page is not paced: nothing is known then. After it the lead is what it was, not more.
        assert!(ahead <= 2_200_000 && behind == 0, "{ahead} {behind}");
    }

    #[test]
    fn a_container_that_is_faster_than_the_flag_wins() {
        let (_, _, took) = play(Some(1_000), 160_000, cbr, |bytes| Some(cbr(bytes)));
        assert!(took < 12_500_000, "{took}");
    }

    #[test]
    fn a_new_timeline_neither_stops_nor_rushes() {
        // A recording whose clock starts at an hour, wraps to zero in the middle, and leaps by a day later.
        let told = |bytes: u64| {
            Some(match cbr(bytes) {
                us @ ..4_000_000 => us + 3_600_000_000,
                us @ ..8_000_000 => us - 4_000_000,
                us => us + 86_400_000_000,
            })
        };
        let (_, _, took) = play(None, 160_000, cbr, told);
        assert!(took.abs_diff(10_000_000) < 500_000, "{took}");
    }

    #[test]
    fn a_machine_that_slept_does_not_burst() {
        let mut pacer = Pacer::new(Some(128_000));
        pacer.taken(Duration::ZERO, 1_600, None).unwrap();
        let woke = Duration::from_secs(3_600);
        pacer.taken(woke, 1_600, None).unwrap();
        assert!(pacer.taken(woke, 16_000, None).unwrap() > Duration::from_millis(800));
    }

    #[test]
    fn without_any_rate_there_is_no_pace() {
        let mut pacer = Pacer::new(Some(0));
        assert_eq!(pacer.taken(Duration::ZERO, 1_024, None), None);
        assert_eq!(pacer.finish(Duration::ZERO), Duration::ZERO);
        assert_eq!(
            pacer.taken(Duration::ZERO, 1_024, Some(0)),
            Some(Duration::ZERO)
        );
    }
}
