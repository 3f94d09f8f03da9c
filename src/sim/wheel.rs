//! What is due when: a wheel of ticks for the near future and an ordered map for the rest. Taking a tick gives everything
//! that was put there; the caller sorts it, so that the order of putting in does not matter.

use std::collections::BTreeMap;
use std::vec::Vec;

const NEAR: u64 = 2_048;

/// Things by tick.
pub struct Wheel<T> {
    near: Vec<Vec<T>>,
    far: BTreeMap<u64, Vec<T>>,
    now: u64,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self {
            near: (0..NEAR).map(|_| Vec::new()).collect(),
            far: BTreeMap::new(),
            now: 0,
        }
    }
}

impl<T> Wheel<T> {
    /// Puts a thing in for `tick`, which must not have been taken yet.
    pub fn put(&mut self, tick: u64, thing: T) {
        debug_assert!(tick >= self.now, "{tick} is over, it is {}", self.now);
        if tick < self.now + NEAR {
            self.near[(tick % NEAR) as usize].push(thing);
        } else {
            self.far.entry(tick).or_default().push(thing);
        }
    }

    /// Moves everything due at `tick` into `out`. Every tick must be taken, in order.
    pub fn take(&mut self, tick: u64, out: &mut Vec<T>) {
        debug_assert_eq!(tick, self.now);
        out.append(&mut self.near[(tick % NEAR) as usize]);
        if let Some(mut far) = self.far.remove(&tick) {
            out.append(&mut far);
        }
        self.now = tick + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn everything_comes_out_at_its_tick() {
        let (mut wheel, mut rng) = (Wheel::default(), Rng::new(1));
        (0..5_000).for_each(|_| {
            let tick = rng.below(10_000);
            wheel.put(tick, tick);
        });
        let mut seen = 0;
        for tick in 0..10_000 {
            let mut out = Vec::new();
            wheel.take(tick, &mut out);
            assert!(out.iter().all(|&due| due == tick));
            seen += out.len();
        }
        assert_eq!(seen, 5_000);
    }
}
