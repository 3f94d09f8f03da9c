//! A link to another node: frames in, frames out, and what the line says about itself.

use super::noise::Ear;
use super::port::{Port, PortError};
use super::turns::Turns;
use crate::driver::engine::Engine;
use crate::driver::lines::{Line, LineState};
use crate::driver::reactor::Timer;
use crate::driver::view::Running;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::framing::{self, Decoder, FrameReader};
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

/// Most datagrams taken off the line before others get a turn.
const MAX_RECEIVED: usize = 16;

/// A line that takes nothing for so long is held up; what waits for it is forgotten.
const STUCK: Span = Span::from_s(2);

/// How often a line is looked at that does not take what waits.
const LOOK: Span = Span::from_ms(100);

/// More than this in the kernel is told to the engine: a line that is as fast as it was said to be has less.
const BACKLOG_BYTES: usize = 2 * framing::MAX_FRAME_BYTES;

/// Tells the node that somebody may be at the end of this line, for every stream that is not its own.
pub fn introduce(engine: &Engine, place: u8) {
    engine.with(|node, now| {
        for stream in 0..node.streams().len() {
            if node.streams()[stream].source.is_none() {
                node.add_bootstrap(now, stream, Addr::Line(place));
            }
        }
    });
}

/// Moves frames between the node and an open device until that is gone; returns why.
pub async fn run(running: &Running, line: &Line, place: u8, port: Port) -> io::Error {
    let mut link = Link::new(&running.engine, line, place, port);
    let mut timer = Timer::never();
    loop {
        let rings = line.bell.rings();
        let more = match link.turn() {
            Ok(more) => more,
            Err(error) => return error,
        };
        if more {
            smol::future::yield_now().await;
            continue;
        }
        timer.set_at(running.engine.clock.system(link.next_at()));
        poll_fn(|context| link.sleep(&mut timer, rings, context)).await;
    }
}

struct Link<'a> {
    engine: &'a Engine,
    line: &'a Line,
    place: u8,
    frames: FrameReader<Port>,
    ear: Ear,
    turns: Option<Turns>,
    /// Since when the device has taken nothing of what waits.
    stuck_since: Option<Instant>,
    /// When to look again whether the line has taken what waits.
    look_at: Option<Instant>,
}

impl<'a> Link<'a> {
    fn new(engine: &'a Engine, line: &'a Line, place: u8, port: Port) -> Self {
        let now = engine.clock.now();
        let [a, b, c, d, e, f, g, h, ..] = *engine.look().public();
        let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        Self {
            engine,
            line,
            place,
            frames: FrameReader::new(port),
            ear: Ear::new(now, line.counters()),
            turns: line.told.turnaround.map(|time| Turns::new(time, seed)),
            stuck_since: None,
            look_at: None,
        }
    }

    /// Reads what is there and writes what the line takes. True when there may be more to read at once.
    fn turn(&mut self) -> io::Result<bool> {
        let more = self.take_in()?;
        self.write()?;
        self.judge();
        Ok(more)
    }

    fn take_in(&mut self) -> io::Result<bool> {
        let (line, engine, now) = (self.line, self.engine, self.engine.clock.now());
        let (bytes, bad) = (self.frames.line().rx_bytes, self.frames.bad_frames());
        let mut taken = 0;
        let gone = loop {
            if taken == MAX_RECEIVED {
                break None;
            }
            let datagram = match self.frames.next_datagram() {
                Ok(Some(datagram)) => datagram,
                Ok(None) | Err(PortError::Idle) => break None,
                Err(PortError::Gone(error)) => break Some(error),
            };
            taken += 1;
            let checksum = framing::checksum(datagram);
            if self
                .turns
                .as_ref()
                .is_some_and(|turns| turns.is_echo(checksum))
            {
                line.count(|c| c.echoes += 1);
                continue;
            }
            line.count(|c| c.rx_frames += 1);
            let from = Addr::Line(self.place);
            engine.with(|node, now| node.handle_datagram(now, from, datagram));
        };
        let bytes = self.frames.line().rx_bytes - bytes;
        let bad = self.frames.bad_frames() - bad;
        line.count(|c| (c.rx_bytes, c.bad_frames) = (c.rx_bytes + bytes, c.bad_frames + bad));
        if let Some(turns) = self.turns.as_mut().filter(|_| bytes > 0) {
            turns.heard(now);
        }
        match gone {
            Some(error) => Err(error),
            None => Ok(taken == MAX_RECEIVED),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let now = self.engine.clock.now();
        self.look_at = None;
        while self.line.queued() > 0 {
            if let Some(turns) = &self.turns
                && turns.may_speak_at() > now
            {
                self.look_at = Some(turns.may_speak_at());
                self.tell_backlog(now);
                return Ok(());
            }
            if self.write_some(now)? == 0 {
                return self.held_up(now);
            }
            self.stuck_since = None;
        }
        if self.frames.line().unsent() > BACKLOG_BYTES {
            self.look_at = Some(now + LOOK);
            self.tell_backlog(now);
        }
        Ok(())
    }

    /// Writes the front of what waits; on a half-duplex line one frame.
    fn write_some(&mut self, now: Instant) -> io::Result<usize> {
        let port = self.frames.line();
        let Some(turns) = &mut self.turns else {
            return self.line.write_queued(|bytes| port.write(bytes));
        };
        let bytes_per_s = u64::from(self.line.told.baud / 10).max(1);
        self.line.write_queued(|bytes| {
            let frame = bytes.split_inclusive(|byte| *byte == 0).next();
            let frame = frame.unwrap_or(bytes);
            let written = port.write(frame)?;
            if let Some(datagram) = Decoder::new().next_datagram(&mut &frame[..]) {
                turns.remember(framing::checksum(datagram));
            }
            turns.spoke(now, Span::from_us(written as u64 * 1_000_000 / bytes_per_s));
            Ok(written)
        })
    }

    /// The device takes nothing more. That is as it should be for a moment; later what waits is worth nothing.
    fn held_up(&mut self, now: Instant) -> io::Result<()> {
        let since = *self.stuck_since.get_or_insert(now);
        self.look_at = Some(now + LOOK);
        self.tell_backlog(now);
        if now.since(since) > STUCK {
            self.line.clear();
            self.frames.line().forget_unsent();
            if self.line.state.replace(LineState::Blocked) != LineState::Blocked {
                let name = self.line.told.path.display();
                self.engine.tell(
                    log::Level::Warn,
                    format_args!(
                        "Serial {name} takes nothing: the far end is off, or holds the line up."
                    ),
                );
            }
        }
        Ok(())
    }

    /// The engine hands over no more while this much waits.
    fn tell_backlog(&self, now: Instant) {
        let waits = self.line.queued() + self.frames.line().unsent();
        let place = self.place;
        self.engine
            .with(|node, _| node.note_line_backlog(now, place, waits));
    }

    fn judge(&mut self) {
        let (now, counters) = (self.engine.clock.now(), self.line.counters());
        let Some(state) = self.ear.judge(now, counters) else {
            return;
        };
        if self.stuck_since.is_some() && self.line.state.get() == LineState::Blocked {
            return;
        }
        let told = &self.line.told;
        let name = told.path.display();
        match (self.line.state.replace(state), state) {
            (before, after) if before == after => {}
            (_, LineState::Noise) => self.engine.tell(
                log::Level::Warn,
                format_args!(
                    "Serial {name}: noise, no sound frame in it. Is the far end a weir link at {} baud?",
                    told.baud
                ),
            ),
            (_, LineState::Up) => self.engine.tell(
                log::Level::Info,
                format_args!("Serial {name}: the far end is heard."),
            ),
            (_, _) => self
                .engine
                .tell(log::Level::Info, format_args!("Serial {name}: nothing is heard.")),
        }
    }

    fn next_at(&self) -> Instant {
        let judged = self.ear.next_at();
        self.look_at.map_or(judged, |at| at.min(judged))
    }

    fn sleep(&self, timer: &mut Timer, rings: u64, context: &mut Context<'_>) -> Poll<()> {
        // While a half-duplex line waits for its turn, it is the timer that says when.
        let waits = self.line.queued() > 0 && self.stuck_since.is_some();
        let awake = self.frames.line().poll_readable(context).is_ready()
            || (waits && self.frames.line().poll_writable(context).is_ready())
            || Pin::new(timer).poll(context).is_ready()
            || self.line.bell.poll_after(rings, context).is_ready();
        match awake {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
