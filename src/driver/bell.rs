//! A bell that tasks of one thread wait for. Ringing it wakes all of them; nothing is allocated once each has waited.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::vec::Vec;

/// Counts its rings, so that one between a look and a wait is not missed.
pub struct Bell {
    rings: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Bell {
    /// With room for so many tasks at once.
    pub fn new(tasks: usize) -> Self {
        Self {
            rings: Cell::new(0),
            waiting: RefCell::new(Vec::with_capacity(tasks)),
        }
    }

    /// Wakes everybody.
    pub fn ring(&self) {
        self.rings.set(self.rings.get() + 1);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// How often it was rung; hand it to [`Bell::poll_after`] or [`Bell::after`].
    pub fn rings(&self) -> u64 {
        self.rings.get()
    }

    /// Ready once it has been rung more often than `rings`.
    pub fn poll_after(&self, rings: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.rings.get() != rings {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it has been rung more often than `rings`.
    pub async fn after(&self, rings: u64) {
        poll_fn(|context| self.poll_after(rings, context)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{block_on, poll_once};

    #[test]
    fn a_ring_wakes_who_looked_before_it() {
        block_on(async {
            let bell = Bell::new(1);
            let before = bell.rings();
            assert_eq!(poll_once(bell.after(before)).await, None);
            bell.ring();
            assert_eq!(poll_once(bell.after(before)).await, Some(()));
            assert_eq!(poll_once(bell.after(bell.rings())).await, None);
        });
    }

    #[test]
    fn a_task_waits_in_one_place_only() {
        block_on(async {
            let bell = Bell::new(1);
            for _ in 0..10 {
                poll_once(bell.after(bell.rings())).await;
            }
            assert_eq!(bell.waiting.borrow().len(), 1);
        });
    }
}
