//! Work that may block, on a thread of its own, while the node goes on.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

/// What such work comes to. Where nobody waits any more, it goes on, and what it comes to is dropped.
pub struct Aside<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    result: Option<T>,
    waker: Option<Waker>,
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    // Nothing in here can stop half-way.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins it. Fails where the system has no thread to give.
pub fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Aside<T>> {
    let state = Arc::new(Mutex::new(State {
        result: None,
        waker: None,
    }));
    let there = state.clone();
    spawn(Box::new(move || {
        let result = work();
        let mut state = lock(&there);
        state.result = Some(result);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }))?;
    Ok(Aside(state))
}

/// One for all kinds of work: what starts a thread is there once.
fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

impl<T> Aside<T> {
    /// What it came to, if it is done.
    pub fn take(&self) -> Option<T> {
        lock(&self.0).result.take()
    }
}

impl<T> Future for Aside<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = lock(&self.0);
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use smol::future::block_on;

    #[test]
    fn who_waits_is_woken_and_who_asks_is_told() {
        let slow = begin(|| {
            thread::sleep(Duration::from_millis(20));
            7
        });
        assert_eq!(block_on(slow.unwrap()), 7);
        let quick = begin(|| 8).unwrap();
        let mut asked = core::iter::repeat_with(|| {
            thread::sleep(Duration::from_millis(1));
            quick.take()
        });
        assert_eq!(asked.find_map(|result| result), Some(8));
        assert_eq!(quick.take(), None);
    }
}
