//! Who speaks when, where both ends share one pair of wires (RS-485, half duplex): listen first, speak for a turn, leave
//! a pause in which the other can begin. What collides all the same fails its checksum and is asked for again.

use crate::driver::serial_line::TURN;
use crate::rng::Rng;
use crate::time::{Instant, Span};

/// Most own frames remembered, to know them when the line echoes them.
const REMEMBERED: usize = 8;

/// The state of a half-duplex line at one end.
#[derive(Debug)]
pub struct Turns {
    turnaround: Span,
    /// Nothing is sent before.
    free_at: Instant,
    /// When the turn began that goes on.
    began: Option<Instant>,
    /// When what was written will have left.
    sent_until: Instant,
    rng: Rng,
    own: heapless::Deque<u32, REMEMBERED>,
}

impl Turns {
    /// Both ends are free. `seed` must differ from the other end's.
    pub fn new(turnaround: Span, seed: u64) -> Self {
        Self {
            turnaround,
            free_at: Instant::ZERO,
            began: None,
            sent_until: Instant::ZERO,
            rng: Rng::new(seed),
            own: heapless::Deque::new(),
        }
    }

    /// Something is heard: the other end speaks, and is let finish. Both would begin together after that, but for chance.
    pub fn heard(&mut self, now: Instant) {
        if now < self.sent_until {
            // An echo, or a collision.
            return;
        }
        let us = self.turnaround.as_us();
        let pause = Span::from_us(us + self.rng.below(us.max(1)));
        self.free_at = self.free_at.max(now + pause);
        self.began = None;
    }

    /// When the next frame may be written.
    pub fn may_speak_at(&self) -> Instant {
        self.free_at
    }

    /// A frame that takes `takes` on the line is written now.
    pub fn spoke(&mut self, now: Instant, takes: Span) {
        let began = *self.began.get_or_insert(now);
        self.sent_until = self.sent_until.max(now) + takes;
        if self.sent_until.since(began) >= TURN {
            self.free_at = self.sent_until + self.turnaround.times(3);
            self.began = None;
        }
    }

    /// Remembers a frame by its checksum.
    pub fn remember(&mut self, checksum: u32) {
        if self.own.is_full() {
            self.own.pop_front();
        }
        // Room: one was just taken out.
        let _ = self.own.push_back(checksum);
    }

    /// Whether a frame is one of our own.
    pub fn is_echo(&self, checksum: u32) -> bool {
        self.own.iter().any(|own| *own == checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_and_leaves_a_pause() {
        let mut turns = Turns::new(Span::from_ms(5), 1);
        let now = Instant::ZERO + Span::from_s(1);
        assert!(turns.may_speak_at() <= now);
        turns.spoke(now, Span::from_ms(94));
        assert!(turns.may_speak_at() <= now);
        turns.spoke(now + Span::from_ms(80), Span::from_ms(94));
        assert_eq!(turns.may_speak_at(), now + Span::from_ms(188 + 15));
    }

    #[test]
    fn who_speaks_is_let_finish_and_echoes_are_known() {
        let mut turns = Turns::new(Span::from_ms(5), 1);
        let now = Instant::ZERO + Span::from_s(1);
        turns.heard(now);
        let free = turns.may_speak_at().since(now);
        assert!((Span::from_ms(5)..=Span::from_ms(10)).contains(&free));
        turns.remember(7);
        assert!(turns.is_echo(7) && !turns.is_echo(8));
        (0..8).for_each(|other| turns.remember(100 + other));
        assert!(!turns.is_echo(7));
    }
}
