//! Serial lines as the rest of the driver sees them: where frames are put that are to go out, and what is known of each.

use super::bell::Bell;
use super::serial_line::SerialLine;
use crate::proto::node::Node;
use crate::proto::transmit::Transmit;
use crate::wire::addr::Addr;
use crate::wire::framing::{self, MAX_FRAME_BYTES};
use core::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::vec::Vec;

/// Bytes that wait for a line at most. The node hands over one or two frames at a time; the rest is for a stop.
pub const QUEUE_BYTES: usize = 4 * MAX_FRAME_BYTES;

/// How a line does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LineState {
    /// The device is not there (any more).
    #[default]
    Missing,
    /// Another program uses it.
    Taken,
    /// It is open, and nothing sound has been heard on it yet, or for a while.
    Quiet,
    /// Bytes come, and no frame among them: another baud rate, or not a weir.
    Noise,
    /// It takes nothing: the far end holds it up.
    Blocked,
    /// In use.
    Up,
}

impl LineState {
    /// The word in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Taken => "taken",
            Self::Quiet => "quiet",
            Self::Noise => "noise",
            Self::Blocked => "blocked",
            Self::Up => "up",
        }
    }
}

/// What happened on a line since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineCounters {
    /// Bytes read.
    pub rx_bytes: u64,
    /// Bytes written.
    pub tx_bytes: u64,
    /// Sound frames read (link).
    pub rx_frames: u64,
    /// Frames written (link).
    pub tx_frames: u64,
    /// Frames that were damaged, cut short or run together (link); bytes no keyboard sends (console).
    pub bad_frames: u64,
    /// Frames that were not written because the line was held up or gone.
    pub dropped_frames: u64,
    /// Own frames heard again, on a line that echoes.
    pub echoes: u64,
    /// Times it was opened.
    pub opened: u64,
}

/// One line.
pub struct Line {
    /// What it was told.
    pub told: SerialLine,
    /// Rung when there is something to write.
    pub bell: Bell,
    /// How it does.
    pub state: Cell<LineState>,
    counters: Cell<LineCounters>,
    queue: RefCell<VecDeque<u8>>,
}

impl Line {
    fn new(told: SerialLine) -> Self {
        Self {
            told,
            bell: Bell::new(1),
            state: Cell::default(),
            counters: Cell::default(),
            queue: RefCell::new(VecDeque::with_capacity(QUEUE_BYTES)),
        }
    }

    /// What happened so far.
    pub fn counters(&self) -> LineCounters {
        self.counters.get()
    }

    /// Counts.
    pub fn count(&self, change: impl FnOnce(&mut LineCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Queues a datagram in its frame. What finds no room is lost, as on the wire.
    fn put(&self, datagram: &[u8]) {
        let mut frame = [0; MAX_FRAME_BYTES];
        let len = framing::encode(datagram, &mut frame).unwrap_or(0);
        let mut queue = self.queue.borrow_mut();
        if queue.len() + len > QUEUE_BYTES {
            self.count(|c| c.dropped_frames += 1);
            return;
        }
        queue.extend(frame.get(..len).unwrap_or(&[]));
        self.count(|c| c.tx_frames += 1);
        drop(queue);
        self.bell.ring();
    }

    /// Bytes that wait.
    pub fn queued(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Hands the first bytes that wait to `write`, which says how many it took.
    pub fn write_queued<E>(
        &self,
        write: impl FnOnce(&[u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let mut queue = self.queue.borrow_mut();
        let taken = write(queue.make_contiguous())?.min(queue.len());
        queue.drain(..taken);
        self.count(|c| c.tx_bytes += taken as u64);
        Ok(taken)
    }

    /// Forgets what waits: it would come too late.
    pub fn clear(&self) {
        let mut queue = self.queue.borrow_mut();
        let frames = queue.iter().filter(|byte| **byte == 0).count() as u64;
        queue.clear();
        self.count(|c| c.dropped_frames += frames);
    }
}

/// All lines, in the order of the configuration: [`Addr::Line`] counts through them.
#[derive(Default)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// The lines of a configuration.
    pub fn new(told: &[SerialLine]) -> Self {
        Self(told.iter().cloned().map(Line::new).collect())
    }

    /// The line in a place.
    pub fn get(&self, place: usize) -> Option<&Line> {
        self.0.get(place)
    }

    /// Every line, with its place.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Line)> {
        (0..).zip(&self.0)
    }

    /// Puts a batch on its line; nothing where it is not for a line.
    pub fn put(&self, node: &Node<'_>, batch: &Transmit) {
        let Addr::Line(place) = batch.to else { return };
        let Some(line) = self.get(usize::from(place)) else {
            return;
        };
        node.datagrams(batch)
            .for_each(|datagram| line.put(datagram));
    }
}
