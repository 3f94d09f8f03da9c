//! The core's own clock: microseconds since an origin that the caller chose. The core never reads a clock itself.

use core::ops::{Add, AddAssign, Sub};

/// A moment, in microseconds since the caller's origin (boot of the process, start of a simulation).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, bytemuck::Zeroable)]
pub struct Instant(u64);

/// A span, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Span(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// The moment `us` microseconds after the origin.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the origin.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Milliseconds since the origin.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// Time since `earlier`, nothing if `earlier` is in fact later.
    #[inline(never)] // Asked for everywhere, and long on 32-bit processors.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// A span of milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// A span of seconds.
    pub const fn from_s(s: u64) -> Self {
        Self(s * 1_000_000)
    }

    /// Whole microseconds.
    pub const fn as_us(self) -> u64 {
        self.0
    }

    /// Whole milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// This span `n` times.
    pub const fn times(self, n: u64) -> Self {
        Self(self.0 * n)
    }
}

impl Add<Span> for Instant {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Instant {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Sub<Span> for Instant {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_saturate_instead_of_wrapping() {
        assert_eq!(Instant::ZERO - Span::from_s(1), Instant::ZERO);
        assert_eq!(Instant::from_us(5).since(Instant::from_us(9)), Span::ZERO);
        assert_eq!(
            Instant::from_us(5) + Span::from_ms(2),
            Instant::from_us(2_005)
        );
    }
}
