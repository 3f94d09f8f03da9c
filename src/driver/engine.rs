//! The node of this process with its clock, shared by the tasks of one thread.
//!
//! Whoever hands the node something does it inside [`Engine::with`]; afterwards the socket's task and the players are woken
//! if there may be something for them.

use super::bell::Bell;
use super::journal::Journal;
use crate::proto::node::{Down, Event, Node, StreamId};
use crate::time::{Instant, Span};
use core::cell::{Cell, Ref, RefCell, RefMut};
use core::fmt;
use log::Level::{Debug, Info, Warn};
use std::boxed::Box;
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
    node: RefCell<Box<Node<'static>>>,
    playable: RefCell<Vec<Playable>>,
    /// Its time.
    pub clock: Clock,
    /// Rung when something may have to be sent, or a timer changed.
    pub work: Bell,
    /// Rung when players may be given more, and at the end.
    pub media: Bell,
    leaving: Cell<bool>,
    turns: Cell<u64>,
    journal: RefCell<Journal>,
}

impl Engine {
    /// Takes a node with all its streams; `tasks` is how many will wait for it.
    pub fn new(node: Box<Node<'static>>, clock: Clock, tasks: usize) -> Self {
        Self {
            playable: RefCell::new(node.streams().iter().map(|_| ((0, 0), 0)).collect()),
            node: RefCell::new(node),
            clock,
            work: Bell::new(2),
            media: Bell::new(tasks),
            leaving: Cell::new(false),
            turns: Cell::new(0),
            journal: RefCell::default(),
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
        self.follow_up(node);
        result
    }

    /// Tells who has to know what came of it. (What [`Engine::turn`] has for everything alike.)
    fn follow_up(&self, mut node: RefMut<'_, Box<Node<'static>>>) {
        while let Some(event) = node.poll_event() {
            self.report(&node, &event);
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
    }

    /// Turns the socket's task has had.
    pub fn turns(&self) -> u64 {
        self.turns.get()
    }

    /// The socket's task has had its turn.
    pub fn count_turn(&self) {
        self.turns.set(self.turns.get() + 1);
    }

    /// Notes for the owner what happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        self.journal.borrow_mut().note(self.clock.now(), what);
    }

    /// What happened lately.
    pub fn journal(&self) -> Ref<'_, Journal> {
        self.journal.borrow()
    }

    /// Looks at the node. Not to be held while waiting.
    pub fn look(&self) -> Ref<'_, Node<'static>> {
        Ref::map(self.node.borrow(), |node| &**node)
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

    /// Says what the owner may want to know, in the log and in the journal.
    fn report(&self, node: &Node<'static>, event: &Event) {
        match *event {
            Event::PeerUp(_, addr) => self.tell(Debug, format_args!("Neighbour {addr} is here.")),
            Event::PeerDown(addr, why) => {
                let why = match why {
                    Down::Bye => "said goodbye",
                    Down::Silent => "fell silent",
                    Down::Unneeded => "is not needed",
                    Down::Hostile => "sent what does not verify",
                    Down::Replaced => "came anew",
                };
                self.tell(Debug, format_args!("Neighbour {addr} {why}."));
            }
            Event::ParentLost(_, addr, stripes) => {
                let n = stripes.count_ones();
                let each = if n == 1 {
                    "stripe comes"
                } else {
                    "stripes come"
                };
                let what = format_args!("{addr} sends no more; {n} {each} from others now.");
                self.tell(Debug, what);
            }
            Event::Described(id) => {
                self.tell(Info, format_args!("Found {}.", Title(node, id)));
            }
            Event::Gap(id, blocks) => self.tell(
                Warn,
                format_args!(
                    "{}: {blocks} blocks could not be had in time.",
                    Title(node, id)
                ),
            ),
            Event::Rests(id, rest) => self.tell(
                Warn,
                format_args!(
                    "{}: there is not enough upload for all; nothing is taken for {} s, for others to play.",
                    Title(node, id),
                    rest.as_ms() / 1000
                ),
            ),
            Event::NotCarried(id, addr) => self.tell(
                Warn,
                format_args!("{} is not carried by {addr}.", Title(node, id)),
            ),
            Event::DoesNotFit {
                stream,
                addr,
                needed_bps,
                line_bps,
            } => self.tell(
                Warn,
                format_args!(
                    "Stream {stream} is not sent over {addr}: it needs {needed_bps} bit/s there, the line carries {line_bps}."
                ),
            ),
        }
    }

    /// Says something in the log and in the journal.
    pub fn tell(&self, level: log::Level, what: fmt::Arguments<'_>) {
        log::log!(level, "{what}");
        self.note(what);
    }
}

/// A stream as the owner knows it: by its title, which comes from outside, and its place.
struct Title<'a>(&'a Node<'static>, StreamId);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = self.0.streams().get(self.1);
        let card = stream.and_then(|stream| stream.card.as_ref());
        match card.map_or("", |card| card.descriptor.title.as_str()) {
            "" => write!(f, "stream {}", self.1),
            title => write!(f, "stream {} {title:?}", self.1),
        }
    }
}
