//! The owner's upload limit, over everything sent, and what is left of the quota.
//!
//! Three things hold a datagram back. `Second` knows what left in the last second, so that no second, wherever it begins, holds more
//! than the limit. A token bucket in front of it spreads the stream over the second, at the limit or at the slower pace of a line that is
//! needed by others. And the allowance is what the caller lets this node send in all until it says more.

use crate::limits::{IP_UDP_HEADER_BYTES, IPV6_EXTRA_HEADER_BYTES, MAX_DATAGRAM_BYTES};
use crate::time::{Instant, Span};

/// What is asked of the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Control: half of the limit, and what the others leave of it.
    Words,
    /// Answers to somebody without a session: an eighth of the limit, so that a flood of questions hurts nobody.
    Strangers,
    /// The stream: leaves a cushion for control.
    Stream,
    /// What was asked for again: leaves half the bucket for the stream.
    Repair,
}

/// Where the stream has used up its tokens it goes on with what comes in this time: what is owed leaves together, and not a datagram
/// with each call and each waking.
const GATHER_MS: u64 = 4;

/// Tokens are saved up for this part of a second.
const PART: u64 = 10;

/// The longest datagram with its headers.
const LONGEST: u64 = (MAX_DATAGRAM_BYTES + IP_UDP_HEADER_BYTES + IPV6_EXTRA_HEADER_BYTES) as u64;

/// The smallest limit under which anything is forwarded, in bits a second: two datagrams a second.
pub const MIN_LIMIT_BPS: u64 = LONGEST * 2 * 8;

/// Bytes of a second in which somebody outside is answered where nothing is forwarded: a page.
const ANSWERS_BYTES: u64 = 20_000;

/// A slot of [`Second`] is 2^12 us long.
const SLOT_SHIFT: u32 = 12;

/// Slots behind the present one that a second covers, wherever in the present slot it ends, and two for the time between the
/// decision to send and the wire.
const SLOTS_BACK: u64 = 1_000_000_u64.div_ceil(1 << SLOT_SHIFT) + 2;

const SLOTS: usize = SLOTS_BACK as usize + 1;

/// Bytes that left in the last second, in slots of 4 ms.
struct Second {
    slots: [u32; SLOTS],
    /// Number of the present slot, counted from the origin of time.
    at: u64,
    sum: u64,
}

impl Second {
    const fn new() -> Self {
        Self {
            slots: [0; SLOTS],
            at: 0,
            sum: 0,
        }
    }

    /// Lets go of what is older than a second.
    fn advance(&mut self, now: Instant) {
        let to = now.as_us() >> SLOT_SHIFT;
        for slot in (self.at + 1..=to).take(SLOTS) {
            let old = &mut self.slots[(slot % SLOTS as u64) as usize];
            self.sum -= u64::from(core::mem::take(old));
        }
        self.at = self.at.max(to);
    }

    fn add(&mut self, bytes: u64) {
        let slot = &mut self.slots[(self.at % SLOTS as u64) as usize];
        let after = slot.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.sum += u64::from(after - *slot);
        *slot = after;
    }

    /// When no more than `most` bytes will be left of what is here now.
    fn below_at(&self, most: u64) -> Instant {
        let mut sum = self.sum;
        let oldest = (self.at + 1).saturating_sub(SLOTS as u64);
        for slot in oldest..=self.at {
            if sum <= most {
                // The slot before this one is overwritten when its place comes again.
                return Instant::from_us((slot + SLOTS_BACK) << SLOT_SHIFT);
            }
            sum -= u64::from(self.slots[(slot % SLOTS as u64) as usize]);
        }
        Instant::from_us((self.at + SLOTS_BACK + 1) << SLOT_SHIFT)
    }
}

/// Tokens are bytes; they come at a rate and there are never more than `burst`.
struct Tokens {
    /// Bytes a second; `None`: there are always enough.
    rate: Option<u64>,
    tokens: u64,
    burst: u64,
    /// The burst is this part of a second's, but two datagrams at least.
    part: u64,
    /// What is left of a token, in byte-microseconds, so that no rounding loses or gains bytes.
    rest: u64,
}

impl Tokens {
    fn new(rate: Option<u64>, part: u64) -> Self {
        let burst = rate.map_or(0, |rate| burst_of(rate, part));
        Self {
            rate,
            tokens: burst,
            burst,
            part,
            rest: 0,
        }
    }

    /// From now on they come at this rate.
    fn set_rate(&mut self, rate: Option<u64>) {
        self.rate = rate;
        self.burst = rate.map_or(0, |rate| burst_of(rate, self.part));
        self.tokens = self.tokens.min(self.burst);
    }

    fn refill(&mut self, passed: Span) {
        let Some(rate) = self.rate else { return };
        let passed_us = passed.as_us().min(10_000_000);
        let earned = rate.saturating_mul(passed_us).saturating_add(self.rest);
        self.rest = earned % 1_000_000;
        self.tokens = self
            .tokens
            .saturating_add(earned / 1_000_000)
            .min(self.burst);
    }

    fn have(&self, bytes: u64) -> bool {
        self.rate.is_none() || self.tokens >= bytes
    }

    fn spend(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    /// How long until there are so many; `None` if never.
    fn wait_for(&self, bytes: u64) -> Option<Span> {
        let Some(rate) = self.rate else {
            return Some(Span::ZERO);
        };
        let short = bytes.saturating_sub(self.tokens);
        (rate > 0 && bytes <= self.burst || short == 0).then(|| {
            let earned = (short * 1_000_000).saturating_sub(self.rest);
            Span::from_us(earned.div_ceil(rate.max(1)))
        })
    }
}

/// What the stream leaves of a second's bytes.
fn cushion_of(limit: u64) -> u64 {
    (limit / 32).max(LONGEST)
}

/// Bits a second of the stream that a limit is good for: what counts as a second is a little longer than one, and on average half a
/// datagram does not fit in it any more.
fn stream_bps(limit_bps: u64) -> u64 {
    let limit = limit_bps / 8;
    let covered_us = (SLOTS as u64) << SLOT_SHIFT;
    limit.saturating_sub(cushion_of(limit) + LONGEST / 2) * 8_000_000 / covered_us
}

/// What comes in a part of a second, and at least two datagrams with room to spare.
fn burst_of(rate: u64, part: u64) -> u64 {
    (rate / part).max(LONGEST * 2)
}

/// Bits a second of a limit that are given out as places: what the stream can have, less a part for repair. A limit that is given
/// out to the last bit never makes up for a burst, and what it owes to children only grows.
pub fn places_bps(limit_bps: u64) -> u64 {
    stream_bps(limit_bps) / 32 * 31
}

/// The limit is hard for everything; control never starves because the stream leaves it a cushion.
pub struct Bucket {
    /// Bytes in any second; `None`: no limit.
    limit: Option<u64>,
    /// Bytes of any second that the stream leaves to control.
    cushion: u64,
    second: Second,
    /// For the stream: at the limit, or at the pace of a line that others need.
    stream: Tokens,
    pace_bps: Option<u64>,
    /// The stream has used up its tokens, and gathers some.
    is_dry: bool,
    words: Tokens,
    strangers: Tokens,
    /// Bytes that may be sent in all until more is allowed; `None`: no quota.
    allowance: Option<u64>,
    /// Of those, what only words may use.
    reserve: u64,
    at: Instant,
}

impl Bucket {
    /// A bucket for a limit in bits a second. Under a limit that is not good for two datagrams a second nothing is forwarded, and control
    /// goes on, unlimited: without it a node could not even listen.
    pub fn new(limit_bps: Option<u64>, now: Instant) -> Self {
        let limit = limit_bps.map(|bps| if bps < MIN_LIMIT_BPS { 0 } else { bps / 8 });
        // Under a limit of nothing control is all there is.
        let part = |of: u64| {
            let limit = limit.filter(|&limit| limit > 0);
            Tokens::new(limit.map(|limit| limit / of), PART)
        };
        let mut second = Second::new();
        second.advance(now);
        Self {
            limit,
            cushion: limit.map_or(0, cushion_of),
            second,
            stream: Tokens::new(limit, PART),
            pace_bps: None,
            is_dry: false,
            words: part(2),
            strangers: part(8),
            allowance: None,
            reserve: 0,
            at: now,
        }
    }

    /// On a line that is watched, a burst of the stream holds others up for half of their delay's `target` at most.
    pub fn be_gentle(&mut self, target: Option<Span>) {
        if let Some(target) = target {
            self.stream.part = (2_000_000 / target.as_us().max(1)).max(PART);
            self.stream.set_rate(self.stream.rate);
        }
    }

    /// Another limit from now on. What left in the last second counts under it.
    pub fn set_limit(&mut self, limit_bps: Option<u64>, now: Instant) {
        self.refill(now);
        let fresh = Self::new(limit_bps, now);
        (self.limit, self.cushion) = (fresh.limit, fresh.cushion);
        self.words.set_rate(fresh.words.rate);
        self.strangers.set_rate(fresh.strangers.rate);
        self.set_pace(now, self.pace_bps);
    }

    /// The stream is sent at this pace, in bits a second, where it is slower than the limit; `None`: as fast as the limit allows.
    pub fn set_pace(&mut self, now: Instant, pace_bps: Option<u64>) {
        self.refill(now);
        self.pace_bps = pace_bps;
        let pace = pace_bps.map(|bps| bps / 8);
        let rate = [self.limit, pace].into_iter().flatten().min();
        if rate != self.stream.rate {
            self.stream.set_rate(rate);
        }
    }

    /// So many bytes may be sent from now on, of which the last `reserve` are for words alone; `None`: there is no quota.
    pub fn set_allowance(&mut self, bytes: Option<u64>, reserve: u64) {
        (self.allowance, self.reserve) = (bytes, reserve);
    }

    /// What is left of the allowance.
    pub fn allowance(&self) -> Option<u64> {
        self.allowance
    }

    /// Whether `bytes` may be sent now.
    pub fn allows(&mut self, now: Instant, bytes: usize, urgency: Urgency) -> bool {
        self.refill(now);
        let bytes = bytes as u64;
        let has_tokens = self.tokens(urgency).have(self.needed(bytes, urgency));
        if urgency == Urgency::Stream {
            self.is_dry = !has_tokens;
        }
        self.left_for(urgency) >= bytes
            && self.second.sum + bytes <= self.most(urgency)
            && has_tokens
    }

    /// Records that `bytes` were sent.
    pub fn spend(&mut self, bytes: usize, urgency: Urgency) {
        let bytes = bytes as u64;
        self.second.add(bytes);
        self.stream.spend(bytes);
        match urgency {
            Urgency::Words => self.words.spend(bytes),
            Urgency::Strangers => self.strangers.spend(bytes),
            Urgency::Stream | Urgency::Repair => {}
        }
        self.allowance = self.allowance.map(|left| left.saturating_sub(bytes));
    }

    /// Bytes of the stream that may be sent now.
    pub fn room(&mut self, now: Instant) -> usize {
        self.refill(now);
        let second = self.most(Urgency::Stream).saturating_sub(self.second.sum);
        let tokens = self.stream.rate.map_or(u64::MAX, |_| self.stream.tokens);
        let room = second.min(tokens).min(self.left_for(Urgency::Stream));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Bytes that may be said now to who asks from outside. They wait as the stream does; under a limit of nothing there are a few,
    /// or nobody out there could let a node go on that is paused.
    pub fn room_to_answer(&mut self, now: Instant) -> usize {
        if self.limit != Some(0) {
            return self.room(now);
        }
        self.refill(now);
        let second = ANSWERS_BYTES.saturating_sub(self.second.sum);
        let room = second.min(self.left_for(Urgency::Stream));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// When `bytes` can be sent at the earliest; `None` if not before something changes.
    pub fn ready_at(&self, bytes: usize, urgency: Urgency) -> Option<Instant> {
        let bytes = bytes as u64;
        if self.left_for(urgency) < bytes {
            return None;
        }
        let most = self.most(urgency).checked_sub(bytes)?;
        let needed = self.needed(bytes, urgency);
        let by_tokens = self.at + self.tokens(urgency).wait_for(needed)?;
        let by_second = match self.second.sum <= most {
            true => self.at,
            false => self.second.below_at(most),
        };
        Some(by_tokens.max(by_second))
    }

    /// Bits that left in the last second.
    pub fn last_second_bits(&mut self, now: Instant) -> u64 {
        self.refill(now);
        self.second.sum * 8
    }

    /// Most chunks' bytes for one child before it is another's turn.
    pub fn turn_bytes(&self) -> usize {
        match self.stream.rate {
            None => usize::MAX,
            Some(_) => (self.stream.burst / 4) as usize,
        }
    }

    /// Bytes of a second that may be used up by what is so urgent.
    fn most(&self, urgency: Urgency) -> u64 {
        match (self.limit, urgency) {
            (None, _) | (Some(0), Urgency::Words | Urgency::Strangers) => u64::MAX,
            (Some(limit), Urgency::Words) => limit,
            (Some(limit), Urgency::Strangers) => limit.saturating_sub(self.cushion / 2),
            (Some(limit), Urgency::Stream | Urgency::Repair) => limit.saturating_sub(self.cushion),
        }
    }

    /// Where the tokens come from.
    fn tokens(&self, urgency: Urgency) -> &Tokens {
        match urgency {
            Urgency::Words => &self.words,
            Urgency::Strangers => &self.strangers,
            Urgency::Stream | Urgency::Repair => &self.stream,
        }
    }

    /// How many have to be there for so many bytes.
    fn needed(&self, bytes: u64, urgency: Urgency) -> u64 {
        match urgency {
            Urgency::Stream if self.is_dry => {
                let gathered = self.stream.rate.unwrap_or(0) * GATHER_MS / 1_000;
                bytes.max(gathered)
            }
            Urgency::Repair => bytes + self.stream.burst / 2,
            _ => bytes,
        }
    }

    fn left_for(&self, urgency: Urgency) -> u64 {
        match (self.allowance, urgency) {
            (None, _) => u64::MAX,
            (Some(left), Urgency::Words) => left,
            (Some(left), _) => left.saturating_sub(self.reserve),
        }
    }

    fn refill(&mut self, now: Instant) {
        if now <= self.at {
            return;
        }
        let passed = now.since(self.at);
        self.at = now;
        self.second.advance(now);
        self.stream.refill(passed);
        self.words.refill(passed);
        self.strangers.refill(passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Urgency::{Repair, Strangers, Stream, Words};
    use std::collections::VecDeque;

    /// Everything that left, and the most of it in any second.
    #[derive(Default)]
    struct Wire {
        last: VecDeque<(u64, u64)>,
        sum: u64,
        most: u64,
        all: u64,
    }

    impl Wire {
        fn send(&mut self, us: u64, bytes: u64) {
            self.last.push_back((us, bytes));
            (self.sum, self.all) = (self.sum + bytes, self.all + bytes);
            while self
                .last
                .front()
                .is_some_and(|&(at, _)| at + 1_000_000 <= us)
            {
                self.sum -= self.last.pop_front().map_or(0, |(_, bytes)| bytes);
            }
            self.most = self.most.max(self.sum);
        }
    }

    #[test]
    fn no_second_holds_more_than_the_limit_and_little_is_wasted() {
        for limit_bps in [64_000, 100_000, 500_000, 2_000_000, 10_000_000, 100_000_000] {
            let start = 60_000_000;
            let mut bucket = Bucket::new(Some(limit_bps), Instant::from_us(start));
            let (mut wire, mut rng) = (Wire::default(), crate::rng::Rng::new(limit_bps));
            let (mut us, mut streamed) = (start, 0);
            while us < start + 12_000_000 {
                // Long pauses are what a burst is saved up in.
                us += match rng.below(1_000) {
                    0 => 300_000,
                    n => n,
                };
                let now = Instant::from_us(us);
                for urgency in [Words, Strangers, Stream, Repair] {
                    let bytes = match urgency {
                        Words => 60 + rng.below(200) as usize,
                        _ => 1_260,
                    };
                    // Everybody but the words wants more than there is.
                    while bucket.allows(now, bytes, urgency) {
                        bucket.spend(bytes, urgency);
                        wire.send(us, bytes as u64);
                        streamed += if urgency == Stream { bytes as u64 } else { 0 };
                        if urgency == Words {
                            break;
                        }
                    }
                }
            }
            let limit = limit_bps / 8;
            assert!(wire.most <= limit, "{limit_bps}: {} in a second", wire.most);
            assert!(
                wire.all * 10 > limit * 12 * 7,
                "{limit_bps}: {} in all",
                wire.all
            );
            assert!(
                streamed * 8 > limit * 12,
                "{limit_bps}: {streamed} of the stream"
            );
        }
    }

    #[test]
    fn a_stream_alone_gets_nine_tenths_of_the_limit_and_more() {
        for limit_bps in [500_000, 2_000_000, 100_000_000] {
            let mut bucket = Bucket::new(Some(limit_bps), Instant::ZERO);
            let mut wire = Wire::default();
            for us in (0..10_000_000).step_by(211) {
                while bucket.allows(Instant::from_us(us), 1_260, Stream) {
                    bucket.spend(1_260, Stream);
                    wire.send(us, 1_260);
                }
            }
            let limit = limit_bps / 8;
            assert!(
                wire.most <= limit && wire.all >= limit * 9,
                "{limit_bps}: {}",
                wire.all
            );
        }
    }

    #[test]
    fn control_finds_its_cushion_whatever_the_others_send() {
        for limit_bps in [64_000, 2_000_000] {
            let mut bucket = Bucket::new(Some(limit_bps), Instant::ZERO);
            for us in (0..20_000_000).step_by(1_000) {
                let now = Instant::from_us(us);
                for urgency in [Strangers, Repair, Stream] {
                    while bucket.allows(now, 1_260, urgency) {
                        bucket.spend(1_260, urgency);
                    }
                }
                // Five words a second, 100 bytes each, at once: strangers may have half of the cushion.
                if us % 200_000 == 0 {
                    assert!(bucket.allows(now, 100, Words), "{limit_bps}: at {us}");
                    bucket.spend(100, Words);
                }
            }
        }
    }

    #[test]
    fn what_is_held_back_is_ready_when_it_is_said_to_be() {
        for urgency in [Words, Strangers, Stream, Repair] {
            let mut bucket = Bucket::new(Some(1_000_000), Instant::from_us(777));
            let mut now = Instant::from_us(777);
            for _ in 0..500 {
                while bucket.allows(now, 1_260, urgency) {
                    bucket.spend(1_260, urgency);
                }
                let ready = bucket.ready_at(1_260, urgency).unwrap();
                assert!(ready > now);
                assert!(!bucket.allows(Instant::from_us(ready.as_us() - 1), 1_260, urgency));
                assert!(bucket.allows(ready, 1_260, urgency), "{urgency:?}");
                now = ready;
            }
        }
    }

    #[test]
    fn repair_leaves_half_of_the_bucket_to_the_stream() {
        let mut bucket = Bucket::new(Some(8_000_000), Instant::ZERO);
        let mut drain = |urgency| {
            let mut bytes = 0;
            while bucket.allows(Instant::ZERO, 1_000, urgency) {
                bucket.spend(1_000, urgency);
                bytes += 1_000;
            }
            bytes
        };
        assert_eq!([drain(Repair), drain(Stream)], [50_000, 50_000]);
    }

    #[test]
    fn who_has_used_up_a_wide_limit_sends_many_at_a_time_and_under_a_narrow_one_each_when_it_can() {
        for (limit_bps, at_a_time) in [(400_000_000, 100), (2_000_000, 1)] {
            let mut bucket = Bucket::new(Some(limit_bps), Instant::ZERO);
            let (mut now, mut sent, mut times) = (Instant::ZERO, 0, 0);
            // The first second has the most that a second may have; it is over then.
            while now < Instant::from_us(900_000) {
                while bucket.allows(now, 1_260, Stream) {
                    bucket.spend(1_260, Stream);
                    sent += 1;
                }
                times += 1;
                now = bucket.ready_at(1_260, Stream).unwrap();
            }
            let most = at_a_time * 2;
            assert!(
                (at_a_time..=most).contains(&(sent / times)),
                "{sent} in {times}"
            );
        }
    }

    #[test]
    fn a_slower_pace_slows_the_stream_and_no_words() {
        let mut bucket = Bucket::new(Some(8_000_000), Instant::ZERO);
        bucket.set_pace(Instant::ZERO, Some(80_000));
        let mut sent = 0;
        for us in (0..10_000_000).step_by(1_000) {
            let now = Instant::from_us(us);
            while bucket.allows(now, 1_000, Stream) {
                bucket.spend(1_000, Stream);
                sent += 1_000;
            }
        }
        assert!((95_000..=105_000).contains(&sent), "{sent}");
        let now = Instant::from_us(10_000_000);
        assert!(bucket.allows(now, 1_200, Words) && !bucket.allows(now, 2_000, Stream));
        assert!(bucket.room(now) < 2_000);
        bucket.set_pace(now, None);
        assert!(bucket.allows(Instant::from_us(11_000_000), 90_000, Stream));
        // Without a limit a pace alone holds the stream.
        let mut free = Bucket::new(None, Instant::ZERO);
        assert!(free.allows(Instant::ZERO, 1 << 30, Stream));
        free.set_pace(Instant::ZERO, Some(80_000));
        assert!(!free.allows(Instant::ZERO, 10_000, Stream));
    }

    #[test]
    fn a_burst_on_a_watched_line_is_half_the_target_long() {
        for (target_ms, limit_bps, most) in [
            (50, 8_000_000, 25_000),
            (400, 8_000_000, 100_000),
            (10, 80_000, LONGEST * 2),
        ] {
            let target = Some(Span::from_ms(target_ms));
            let mut bucket = Bucket::new(Some(limit_bps), Instant::ZERO);
            bucket.be_gentle(target);
            let mut sent = 0;
            while bucket.allows(Instant::ZERO, 500, Stream) {
                bucket.spend(500, Stream);
                sent += 500;
            }
            assert!(sent <= most && sent + 500 > most, "{target_ms} ms: {sent}");
            // And at the pace of a slower line.
            bucket.set_pace(Instant::ZERO, Some(limit_bps / 2));
            let burst = bucket.stream.burst;
            assert_eq!(burst, (most / 2).max(LONGEST * 2), "{target_ms} ms");
        }
    }

    #[test]
    fn another_limit_holds_from_now_on_and_gives_nothing_away() {
        let mut bucket = Bucket::new(Some(8_000_000), Instant::ZERO);
        while bucket.allows(Instant::ZERO, 1_000, Stream) {
            bucket.spend(1_000, Stream);
        }
        for limit in [Some(800_000), Some(8_000_000), Some(1_600_000)] {
            bucket.set_limit(limit, Instant::ZERO);
            assert!(!bucket.allows(Instant::ZERO, 1_000, Stream), "{limit:?}");
        }
        // 100,000 bytes have left, and 200,000 a second may.
        assert_eq!(
            bucket.ready_at(1_000, Stream),
            Some(Instant::from_us(5_000))
        );
        bucket.set_limit(Some(800_000), Instant::ZERO);
        assert!(bucket.ready_at(1_000, Words) > Some(Instant::from_us(1_000_000)));
        bucket.set_limit(None, Instant::ZERO);
        assert!(bucket.allows(Instant::ZERO, 1 << 30, Words));
    }

    #[test]
    fn an_allowance_is_never_exceeded_and_its_reserve_is_for_words() {
        let mut bucket = Bucket::new(None, Instant::ZERO);
        bucket.set_allowance(Some(10_000), 3_000);
        let mut drain = |urgency| {
            let mut bytes = 0;
            while bucket.allows(Instant::ZERO, 900, urgency) {
                bucket.spend(900, urgency);
                bytes += 900;
            }
            assert_eq!(bucket.ready_at(900, urgency), None);
            bytes
        };
        assert_eq!(
            [drain(Stream), drain(Strangers), drain(Words)],
            [6_300, 0, 3_600]
        );
        bucket.set_allowance(None, 0);
        assert!(bucket.allows(Instant::ZERO, 900, Stream));
    }

    #[test]
    fn a_limit_of_nothing_or_next_to_nothing_forwards_nothing_but_talks() {
        for limit_bps in [0, MIN_LIMIT_BPS - 1] {
            let mut bucket = Bucket::new(Some(limit_bps), Instant::ZERO);
            assert!(bucket.allows(Instant::ZERO, 1_000, Words));
            assert!(!bucket.allows(Instant::ZERO, 1, Stream));
            assert_eq!(bucket.ready_at(1_000, Stream), None);
        }
        let mut paused = Bucket::new(Some(0), Instant::ZERO);
        assert_eq!(paused.room(Instant::ZERO), 0);
        let mut answered = 0;
        for us in (0..10_000_000).step_by(1_000) {
            let room = paused.room_to_answer(Instant::from_us(us));
            paused.spend(room, Stream);
            answered += room as u64;
        }
        assert!((ANSWERS_BYTES * 9..=ANSWERS_BYTES * 10).contains(&answered));
        paused.set_allowance(Some(10), 10);
        assert_eq!(paused.room_to_answer(Instant::from_us(20_000_000)), 0);
        let mut least = Bucket::new(Some(MIN_LIMIT_BPS), Instant::ZERO);
        assert!(least.allows(Instant::ZERO, 1_260, Stream));
    }
}
