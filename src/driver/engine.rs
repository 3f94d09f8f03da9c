//! The node of this process with its clock, shared by the tasks of one thread.
//!
//! Whoever hands the node something does it inside [`Engine::with`]; afterwards the socket's task and the players are woken
//! if there may be something for them.

use super::bell::Bell;
use crate::proto::node::{Event, Node, StreamId};
use crate::time::{Instant, Span};
use core::cell::{Cell, Ref, RefCell};
use std::time::Duration;
use std::vec::Vec;

/// The node's time at start: moments before it can be named.
const ORIGIN: Span = Span::from_s(60);

/// The node's clock: monotonic, from the start of the process on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    /// The node's time.
    pub fn now(&self) -> Instant {
        let us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Instant::from_us(us) + ORIGIN
    }

    /// The system's time for a node's.
    pub fn system(&self, at: Instant) -> std::time::Instant {
        self.start + Duration::from_micros(at.since(Instant::ZERO + ORIGIN).as_us())
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// Wall clock minus the node's, in ms.
    #[cfg(feature = "source")]
    pub fn wall_offset_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.now().as_ms())
    }
}

/// Milliseconds since 1970; 0 on a box whose clock is before that.
#[cfg(feature = "source")]
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// How far a stream can be played: changes when there is something for its players.
type Playable = ((u64, u16), u32);

/// The node and what its tasks share.
pub struct Engine {
    node: RefCell<Node<'static>>,
    playable: RefCell<Vec<Playable>>,
    /// Its time.
    pub clock: Clock,
    /// Rung when something may have to be sent, or a timer changed.
    pub work: Bell,
    /// Rung when players may be given more, and at the end.
    pub media: Bell,
    leaving: Cell<bool>,
}

impl Engine {
    /// Takes a node with all its streams; `tasks` is how many will wait for it.
    pub fn new(node: Node<'static>, clock: Clock, tasks: usize) -> Self {
        Self {
            playable: RefCell::new(node.streams().iter().map(|_| ((0, 0), 0)).collect()),
            node: RefCell::new(node),
            clock,
            work: Bell::new(2),
            media: Bell::new(tasks),
            leaving: Cell::new(false),
        }
    }

    /// Hands the node something, from outside the socket's own task.
    pub fn with<T>(&self, act: impl FnOnce(&mut Node<'static>, Instant) -> T) -> T {
        let result = self.turn(act);
        self.work.ring();
        result
    }

    /// As [`Engine::with`], by the task that sends afterwards in any case.
    pub fn turn<T>(&self, act: impl FnOnce(&mut Node<'static>, Instant) -> T) -> T {
        let mut node = self.node.borrow_mut();
        let result = act(&mut node, self.clock.now());
        while let Some(event) = node.poll_event() {
            report(&node, &event);
        }
        let mut more = false;
        for (seen, stream) in self.playable.borrow_mut().iter_mut().zip(node.streams()) {
            let now = (stream.playout.limit, stream.version());
            more |= core::mem::replace(seen, now) != now;
        }
        drop(node);
        if more {
            self.media.ring();
        }
        result
    }

    /// Looks at the node. Not to be held while waiting.
    pub fn look(&self) -> Ref<'_, Node<'static>> {
        self.node.borrow()
    }

    /// Says goodbye to everybody and sends the players away.
    pub fn leave(&self) {
        if !self.leaving.replace(true) {
            self.with(|node, now| node.shutdown(now));
            self.media.ring();
        }
    }

    /// Whether [`Engine::leave`] was called.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// The stream with this key.
    pub fn find(&self, key: &[u8; 32]) -> Option<StreamId> {
        self.look()
            .streams()
            .iter()
            .position(|stream| stream.key == *key)
    }
}

/// Says in the log what the owner may want to know.
fn report(node: &Node<'_>, event: &Event) {
    let title = |id: StreamId| {
        let stream = node.streams().get(id);
        let card = stream.and_then(|stream| stream.card.as_ref());
        card.map_or("", |card| card.descriptor.title.as_str())
    };
    match *event {
        Event::PeerUp(_, addr) => log::debug!("neighbour {addr} is here"),
        Event::PeerDown(addr, why) => log::debug!("neighbour {addr} is gone: {why:?}"),
        Event::ParentLost(_, addr, stripes) => {
            log::debug!("{addr} fell silent; {} stripes move", stripes.count_ones());
        }
        Event::Described(id) => log::info!("stream {id} is {:?}", title(id)),
        Event::Gap(id, blocks) => log::warn!("stream {id}: {blocks} blocks were skipped"),
        Event::DoesNotFit {
            stream,
            addr,
            needed_bps,
            line_bps,
        } => log::warn!(
            "stream {stream} is not sent over {addr}: it needs {needed_bps} bit/s there, and the line carries {line_bps}"
        ),
        Event::NotCarried(id, addr) => log::warn!("stream {id} is not carried by {addr}"),
    }
}
