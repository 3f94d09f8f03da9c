//! Who watches the page live. A few at most: each costs the box a little every two seconds.

use crate::time::{Instant, Span};

/// How many may watch at once.
pub const MAX_VIEWERS: usize = 4;

/// What one of them takes.
pub const SEAT_BYTES: usize = size_of::<Seat>();

/// The number it chose, and when it last asked.
type Seat = Option<(u32, Instant)>;

/// Who has not asked for so long is gone.
const GONE: Span = Span::from_s(10);

/// The table of viewers, by the numbers that they chose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Viewers {
    seats: [Seat; MAX_VIEWERS],
}

impl Viewers {
    /// Whether this one may have what changed; it holds its place until it stops asking.
    pub fn admit(&mut self, viewer: u32, now: Instant) -> bool {
        let is_free = |seat: &Option<(u32, Instant)>| {
            seat.is_none_or(|(_, asked_at)| now.since(asked_at) >= GONE)
        };
        let own = self
            .seats
            .iter()
            .position(|seat| seat.is_some_and(|(id, _)| id == viewer));
        let place = own.or_else(|| self.seats.iter().position(is_free));
        let seat = place.and_then(|place| self.seats.get_mut(place));
        seat.map(|seat| *seat = Some((viewer, now))).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_watch_and_a_fifth_when_one_has_gone() {
        let mut viewers = Viewers::default();
        let mut now = Instant::ZERO + Span::from_s(60);
        for _ in 0..5 {
            now += Span::from_s(2);
            for viewer in 1..=4 {
                assert!(viewers.admit(viewer, now));
            }
            assert!(!viewers.admit(5, now));
        }
        // The first goes on asking, the others do not.
        now += Span::from_s(9);
        assert!(viewers.admit(1, now) && !viewers.admit(5, now));
        now += Span::from_s(1);
        assert!((5..=7).all(|viewer| viewers.admit(viewer, now)));
        assert!(!viewers.admit(8, now) && viewers.admit(1, now));
    }
}
