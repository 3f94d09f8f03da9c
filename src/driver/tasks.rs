//! The tasks of one thread: all there before the first runs, none later, so that waking one takes no memory.

use super::stint::Stint;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::vec::Vec;

/// Tasks have their turns for so long before the system is asked again what has happened.
const TURNS: Duration = Duration::from_millis(2);

/// A set of tasks.
#[derive(Default)]
pub struct Tasks<'a> {
    tasks: Vec<Task<'a>>,
    queue: Arc<Queue>,
}

struct Task<'a> {
    /// On the heap: all are of one type here, and the code around them is there once. `None` when it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    call: Arc<Call>,
    waker: Waker,
}

/// Who has something to do.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Places of tasks, in the order in which they were woken, each once.
    places: VecDeque<usize>,
    /// Wakes the one that runs them.
    runner: Option<Waker>,
}

/// Wakes one task, from any thread.
struct Call {
    queue: Arc<Queue>,
    place: usize,
    is_waiting: AtomicBool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here can stop half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_waiting.swap(true, SeqCst) {
            return;
        }
        let mut waiting = self.queue.lock();
        waiting.places.push_back(self.place);
        if let Some(runner) = &waiting.runner {
            runner.wake_by_ref();
        }
    }
}

impl<'a> Tasks<'a> {
    /// One more; it has its first turn when they run.
    pub fn add(&mut self, task: impl Future<Output = ()> + 'a) {
        let call = Arc::new(Call {
            queue: self.queue.clone(),
            place: self.tasks.len(),
            is_waiting: AtomicBool::new(false),
        });
        let waker = Waker::from(call.clone());
        waker.wake_by_ref();
        self.tasks.push(Task {
            future: Some(Box::pin(task)),
            call,
            waker,
        });
    }

    /// Runs them until something else has come to its end.
    pub async fn run<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        // Each waits in one place at most.
        self.queue.lock().places.reserve(self.tasks.len());
        poll_fn(|context| match until.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                self.turn(context);
                Poll::Pending
            }
        })
        .await
    }

    fn turn(&mut self, context: &Context<'_>) {
        self.queue.lock().runner = Some(context.waker().clone());
        let stint = Stint::of(TURNS);
        while !stint.is_over() {
            let next = self.queue.lock().places.pop_front();
            let Some(place) = next else {
                return;
            };
            if let Some(task) = self.tasks.get_mut(place) {
                task.turn();
            }
        }
        context.waker().wake_by_ref();
    }
}

impl Task<'_> {
    fn turn(&mut self) {
        // What wakes it from here on is for another turn.
        self.call.is_waiting.store(false, SeqCst);
        let mut context = Context::from_waker(&self.waker);
        let polled = self.future.as_mut().map(|f| f.as_mut().poll(&mut context));
        if polled.is_some_and(|polled| polled.is_ready()) {
            self.future = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::bell::Bell;
    use core::cell::Cell;
    use smol::future::{block_on, pending, poll_once, yield_now};
    use std::thread;

    #[test]
    fn each_has_its_turn_and_none_is_polled_unasked() {
        let (polls, bell) = (Cell::new(0), Bell::new(2));
        let mut tasks = Tasks::default();
        for _ in 0..2 {
            tasks.add(async {
                loop {
                    let rings = bell.rings();
                    polls.set(polls.get() + 1);
                    bell.after(rings).await;
                }
            });
        }
        block_on(async {
            for round in 1..5 {
                assert_eq!(poll_once(tasks.run(pending::<()>())).await, None);
                assert_eq!(poll_once(tasks.run(pending::<()>())).await, None);
                assert_eq!(polls.get(), 2 * round);
                bell.ring();
            }
        });
    }

    #[test]
    fn one_that_never_waits_lets_the_others_and_the_end_come() {
        let turns = Cell::new(0);
        let mut tasks = Tasks::default();
        tasks.add(async {
            loop {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
        });
        let end = poll_fn(|context| {
            context.waker().wake_by_ref();
            match turns.get() {
                0..1_000 => Poll::Pending,
                turns => Poll::Ready(turns),
            }
        });
        assert!(block_on(tasks.run(end)) >= 1_000);
    }

    #[test]
    fn what_a_task_held_goes_when_it_ends_and_a_late_call_is_nothing() {
        let (held, kept) = (Arc::new(()), Cell::new(None));
        let mut tasks = Tasks::default();
        tasks.add({
            let (held, kept) = (held.clone(), &kept);
            async move {
                poll_fn(|context| {
                    kept.set(Some(context.waker().clone()));
                    Poll::Ready(())
                })
                .await;
                drop(held);
            }
        });
        block_on(async {
            assert_eq!(poll_once(tasks.run(pending::<()>())).await, None);
            assert_eq!(Arc::strong_count(&held), 1);
            kept.take().unwrap().wake();
            assert_eq!(poll_once(tasks.run(pending::<()>())).await, None);
        });
    }

    #[test]
    fn another_thread_wakes_a_task() {
        let (done, answer) = (Cell::new(false), Bell::new(1));
        let mut tasks = Tasks::default();
        tasks.add(async {
            smol::unblock(|| thread::sleep(core::time::Duration::from_millis(20))).await;
            done.set(true);
            answer.ring();
        });
        block_on(tasks.run(answer.after(0)));
        assert!(done.get());
    }
}
