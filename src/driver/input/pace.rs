//! The pace of a file: how long to wait after each piece so that it goes out as fast as it plays.
//!
//! The container's time is trusted where there is one. It is known at a few positions only (the Ogg pages, the fragments
//! of MP4, seconds apart), so from the last of them on it is carried by bytes, at the rate measured so far.

use super::MediaTime;
use core::time::Duration;

/// How far the file may be ahead of its own time.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// A piece is about so long, if the rate is known.
const PIECE_US: u64 = 40_000;

/// Until the container has spoken twice, its time is not carried further than this.
const FIRST_STEP_US: u64 = 1_000_000;

/// A leap longer than this, or one back, is another timeline and not a long wait.
const LEAP_US: u64 = 10_000_000;

/// More than this without word from the container, and more than [`LEAP_US`] at its rate, is neither a picture nor a frame.
const SILENT_BYTES: u64 = 1024 * 1024;

/// Once so far behind (the machine slept), what was missed is not made up for in a burst.
const LATE_US: u64 = 2_000_000;

/// What was read so far, and how it lies in time.
pub(super) struct Pacer {
    bitrate_bps: Option<u32>,
    bytes: u64,
    /// Where time was last set: this position of the stream was due at that moment.
    anchor: Option<Anchor>,
    /// The container's first and last word on this timeline.
    first: Option<MediaTime>,
    last: Option<MediaTime>,
    /// How far its time went from word to word, last; it is carried no further than that, for the next big frame is not
    /// a long one.
    step_us: u64,
    /// The container has fallen silent (its bytes are damaged): the rate measured until then goes on.
    silent: bool,
}

#[derive(Clone, Copy)]
struct Anchor {
    now_us: u64,
    position_us: u64,
}

impl Anchor {
    fn due_us(&self, position_us: u64) -> u64 {
        self.now_us
            .saturating_add(position_us.saturating_sub(self.position_us))
    }
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
            step_us: FIRST_STEP_US,
            silent: false,
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

    /// `bytes` more were taken in at `now` (since the file began), and the container's last word is `told`. Says how long to
    /// wait before the next; `None` if nothing tells the pace yet.
    pub fn taken(
        &mut self,
        now: Duration,
        bytes: usize,
        told: Option<MediaTime>,
    ) -> Option<Duration> {
        let now_us = micros(now);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(told) = told {
            self.hear(now_us, told);
        }
        self.notice_silence(now_us);
        let position_us = self.position_us()?;
        let anchor = *self.anchor.get_or_insert(Anchor {
            now_us,
            position_us: 0,
        });
        let due_us = anchor.due_us(position_us);
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
        let due_us = self
            .anchor
            .zip(self.position_us())
            .map_or(0, |(anchor, position_us)| anchor.due_us(position_us));
        Duration::from_micros(due_us.saturating_sub(micros(now)))
    }

    /// Takes the container's word. On a new timeline the position it speaks of is due now.
    fn hear(&mut self, now_us: u64, told: MediaTime) {
        let goes_on = |last: &MediaTime| {
            let times = last.time_us..=last.time_us.saturating_add(LEAP_US);
            times.contains(&told.time_us) && told.bytes >= last.bytes
        };
        match self.last.filter(goes_on) {
            Some(last) if told.time_us == last.time_us => return,
            Some(_) if self.silent => self.begin_at(now_us, told),
            Some(last) => self.step_us = told.time_us - last.time_us,
            None => self.begin_at(now_us, told),
        }
        self.last = Some(told);
    }

    fn begin_at(&mut self, now_us: u64, told: MediaTime) {
        self.silent = false;
        self.first = Some(told);
        self.anchor = Some(Anchor {
            now_us,
            position_us: told.time_us,
        });
    }

    fn notice_silence(&mut self, now_us: u64) {
        let Some(last) = self.last.filter(|_| !self.silent) else {
            return;
        };
        let bytes = self.bytes.saturating_sub(last.bytes);
        if bytes > SILENT_BYTES && self.lasting_us(bytes).is_some_and(|us| us > LEAP_US) {
            self.silent = true;
            self.anchor = self.position_us().map(|position_us| Anchor {
                now_us,
                position_us,
            });
        }
    }

    /// The time that the bytes taken in reach to, as far as can be told.
    fn position_us(&self) -> Option<u64> {
        match self.last.filter(|_| !self.silent) {
            Some(last) => {
                let carried_us = self
                    .lasting_us(self.bytes.saturating_sub(last.bytes))
                    .unwrap_or(0);
                Some(
                    last.time_us
                        .saturating_add(carried_us.min(2 * self.step_us)),
                )
            }
            None => self.lasting_us(self.bytes),
        }
    }

    /// How long so many bytes last at the rate known.
    fn lasting_us(&self, bytes: u64) -> Option<u64> {
        let (rate_bytes, rate_us) = self.byte_us()?;
        Some(bytes.saturating_mul(rate_us) / rate_bytes.max(1))
    }

    /// The rate as so many bytes in so many microseconds, both above 0: measured, else given.
    fn byte_us(&self) -> Option<(u64, u64)> {
        let measured = self
            .first
            .zip(self.last)
            .map(|(a, b)| (b.bytes - a.bytes, b.time_us - a.time_us));
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

    /// Plays `total` bytes on a clock that only waits move; returns the most it was ever ahead of and behind `time_of(bytes)`
    /// after the first second, and the time it took, all in µs. `told` is the container's word when so many bytes are in.
    fn play(
        bitrate: Option<u32>,
        total: u64,
        time_of: impl Fn(u64) -> u64,
        told: impl Fn(u64) -> Option<MediaTime>,
    ) -> (u64, u64, u64) {
        let mut pacer = Pacer::new(bitrate);
        let (mut now, mut ahead, mut behind) = (Duration::ZERO, 0, 0);
        while pacer.bytes() < total {
            let piece = pacer.piece_bytes().min((total - pacer.bytes()) as usize);
            let (media_us, now_us) = (time_of(pacer.bytes()), micros(now));
            if now_us > 1_000_000 {
                ahead = ahead.max(media_us.saturating_sub(now_us));
                behind = behind.max(now_us.saturating_sub(media_us));
            }
            now += pacer
                .taken(now, piece, told(pacer.bytes() + piece as u64))
                .unwrap_or_default();
        }
        now += pacer.finish(now);
        (ahead, behind, micros(now))
    }

    /// 128 kbit/s: 16 bytes a millisecond.
    fn cbr(bytes: u64) -> u64 {
        bytes * 1_000 / 16
    }

    /// The word of a container that tells the time at the start of each unit of `unit` bytes, `late` bytes after it.
    fn units(unit: u64, late: u64) -> impl Fn(u64) -> Option<MediaTime> {
        move |bytes| {
            let begin = bytes.checked_sub(late)? / unit * unit;
            Some(MediaTime {
                time_us: cbr(begin),
                bytes: begin,
            })
        }
    }

    const TEN_SECONDS: u64 = 160_000;

    #[test]
    fn a_given_rate_is_kept() {
        let (ahead, behind, took) = play(Some(128_000), TEN_SECONDS, cbr, |_| None);
        assert!(ahead <= 100_000 && behind == 0, "{ahead} {behind}");
        assert_eq!(took, 10_000_000);
    }

    #[test]
    fn frames_pace_a_file_at_their_own_time() {
        // The first piece holds two frames, and the first of them is told of too late to count.
        let (ahead, behind, took) = play(None, TEN_SECONDS, cbr, units(417, 417));
        assert!(ahead <= 127_000 && behind == 0, "{ahead} {behind}");
        assert!(took.abs_diff(10_000_000) < 30_000, "{took}");
    }

    #[test]
    fn steps_of_a_second_are_smoothed() {
        // A page is known when it is complete; a fragment of MP4 when it begins. Neither may leave in one burst.
        for late in [16_000, 100] {
            let (ahead, behind, took) = play(None, TEN_SECONDS, cbr, units(16_000, late));
            assert!(took.abs_diff(10_000_000) < 2_000, "{late}: {took}");
            assert!(ahead <= 101_000 && behind == 0, "{late}: {ahead} {behind}");
        }
    }

    #[test]
    fn a_big_frame_is_not_a_long_one() {
        // Frames of 40 ms, 100 bytes each, and one of 50,000: 20 seconds at the rate measured before it.
        let mut pacer = Pacer::new(None);
        let mut now = Duration::ZERO;
        for frame in 0..100_u64 {
            let told = MediaTime {
                time_us: frame * 40_000,
                bytes: frame * 100,
            };
            now += pacer.taken(now, 100, Some(told)).unwrap();
        }
        let big = MediaTime {
            time_us: 4_000_000,
            bytes: 10_000,
        };
        let pause = pacer.taken(now, 50_000, Some(big)).unwrap();
        assert!(pause <= Duration::from_millis(80), "{pause:?}");
    }

    #[test]
    fn a_damaged_container_does_not_set_the_rest_free() {
        // Two seconds in order, then 200 without a word. The first MiB is given away as if it were a picture.
        let told = |bytes: u64| units(417, 417)(bytes.min(32_000));
        let (_, _, took) = play(None, 20 * TEN_SECONDS, cbr, told);
        assert!(
            took.abs_diff(200_000_000 - cbr(SILENT_BYTES)) < 1_000_000,
            "{took}"
        );
        // When it speaks again, its word counts again.
        let told = |bytes: u64| {
            units(417, 417)(if bytes < 15 * TEN_SECONDS {
                bytes.min(32_000)
            } else {
                bytes
            })
        };
        let (_, _, again) = play(None, 20 * TEN_SECONDS, cbr, told);
        assert!(again.abs_diff(took) < 1_000_000, "{again} {took}");
    }

    #[test]
    fn the_container_goes_before_the_flag() {
        let (_, _, took) = play(Some(1_000), TEN_SECONDS, cbr, units(417, 417));
        assert!(took < 12_000_000, "{took}");
    }

    #[test]
    fn a_new_timeline_neither_stops_nor_rushes() {
        // A recording whose clock starts at an hour, wraps to zero in the middle, and leaps by a day later.
        let told = |bytes: u64| {
            let time_us = match cbr(bytes) {
                us @ ..4_000_000 => us + 3_600_000_000,
                us @ ..8_000_000 => us - 4_000_000,
                us => us + 86_400_000_000,
            };
            Some(MediaTime { time_us, bytes })
        };
        let (_, _, took) = play(None, TEN_SECONDS, cbr, told);
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
            pacer.taken(
                Duration::ZERO,
                1_024,
                Some(MediaTime {
                    time_us: 0,
                    bytes: 0
                })
            ),
            Some(Duration::ZERO)
        );
    }
}
