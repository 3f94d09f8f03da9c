//! How long one goes on before the others have their turn.

use core::time::Duration;
use std::time::Instant;

/// A stretch of work that ends by the clock: what one thing costs differs a hundredfold between boards.
pub struct Stint {
    began: Instant,
    long: Duration,
}

impl Stint {
    /// Begins now, and is so long.
    pub fn of(long: Duration) -> Self {
        Self {
            began: Instant::now(),
            long,
        }
    }

    /// Whether it is time for others.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= self.long
    }
}
