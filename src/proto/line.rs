//! Neighbours over serial lines: what a line carries, when it may be handed more, and which streams fit it.
//!
//! A line takes bytes one after another, ten bits each (start bit, eight, stop bit), and nobody pushes back before its
//! buffers are full. So the engine keeps its own account of when a line will have sent what it was given, and hands over
//! the next datagram only shortly before: a word never waits behind more than one or two chunks. A line neighbour is
//! one neighbour: stripes beyond the K that suffice would come by the same wire and be lost with it, so none are taken.

use super::card::Card;
use super::config::MAX_LINES;
use super::node::{Event, Node, StreamId};
use super::peer::PeerId;
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::framing::frame_bytes;

/// A line is handed the next datagram this long before it falls idle, so that it does not.
const AHEAD: Span = Span::from_ms(20);

/// A request and its answer each wait for a frame under way and one before it.
const FRAMES_A_ROUND_TRIP: u64 = 4;

/// One line, as far as the engine is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// Bytes a second; 0: there is none.
    bytes_per_s: u32,
    /// When it will have sent what it was given.
    free_at: Instant,
}

impl Line {
    pub(super) fn all(bytes_per_s: [u32; MAX_LINES]) -> [Self; MAX_LINES] {
        bytes_per_s.map(|bytes_per_s| Self {
            bytes_per_s,
            free_at: Instant::ZERO,
        })
    }

    /// Time it takes to send so many bytes.
    fn takes(&self, bytes: usize) -> Span {
        Span::from_us(bytes as u64 * 1_000_000 / u64::from(self.bytes_per_s.max(1)))
    }
}

impl Node<'_> {
    fn line_at(&self, addr: Addr) -> Option<&Line> {
        let Addr::Line(line) = addr else { return None };
        self.lines
            .get(usize::from(line))
            .filter(|line| line.bytes_per_s > 0)
    }

    /// Says that `bytes` handed out for a line have not left it yet: it is slower than it was said to be, or its far end
    /// holds it up.
    pub fn note_line_backlog(&mut self, now: Instant, line: u8, bytes: usize) {
        if let Some(line) = self.lines.get_mut(usize::from(line)) {
            line.free_at = line.free_at.max(now + line.takes(bytes));
        }
    }

    /// Whether there is room for a datagram on the way to `addr`; if not, it is noted when there will be.
    pub(super) fn has_line_room(&mut self, now: Instant, addr: Addr) -> bool {
        let Some(free_at) = self.line_at(addr).map(|line| line.free_at) else {
            return true;
        };
        if free_at <= now + AHEAD {
            return true;
        }
        let ready = Some(free_at - AHEAD);
        self.held_until = [self.held_until, ready].into_iter().flatten().min();
        false
    }

    /// As [`Node::has_line_room`], for a neighbour.
    pub(super) fn has_room_for(&mut self, now: Instant, id: PeerId) -> bool {
        let addr = self.peers.get(id).map(|peer| peer.addr);
        addr.is_none_or(|addr| self.has_line_room(now, addr))
    }

    /// Counts a datagram that goes to `addr` against its line. False if it goes over the network instead.
    pub(super) fn charge_line(&mut self, now: Instant, addr: Addr, datagram_bytes: usize) -> bool {
        let Addr::Line(line) = addr else { return false };
        if let Some(line) = self.lines.get_mut(usize::from(line)) {
            line.free_at = line.free_at.max(now) + line.takes(frame_bytes(datagram_bytes));
        }
        true
    }

    /// The least round trip to reckon with on the way to `addr`: none but over lines.
    pub(super) fn line_round_trip(&self, addr: Addr) -> Span {
        self.line_at(addr).map_or(Span::ZERO, |line| {
            line.takes(frame_bytes(MAX_DATAGRAM_BYTES))
                .times(FRAMES_A_ROUND_TRIP)
        })
    }

    /// Whether everybody who shares a stream with this node is at the end of a line.
    pub(super) fn is_lines_only(&self, at: StreamId) -> bool {
        self.config.lines != [0; MAX_LINES]
            && self
                .peers
                .in_stream(at)
                .all(|(_, peer, _)| matches!(peer.addr, Addr::Line(_)))
    }

    /// Stripes to take beyond the K that suffice.
    pub(super) fn spare_wanted(&self, at: StreamId) -> usize {
        match self.is_lines_only(at) {
            true => 0,
            false => usize::from(self.config.spare),
        }
    }

    /// Whether a stripe may be taken from `addr`: over a line only while fewer than K come. The others are rebuilt here.
    pub(super) fn is_worth_a_line(&self, at: StreamId, addr: Addr) -> bool {
        if addr.socket().is_some() {
            return true;
        }
        let stream = &self.streams[at];
        let taken = stream.parents.iter().filter(|p| p.peer.is_some()).count();
        let needed = stream.card.as_ref().is_some_and(|card| taken < card.k());
        needed && self.line_fits(at, addr).is_ok()
    }

    /// Whether a stream fits a line beside nothing else; if not, what it needs and what the line carries, in bits a second.
    fn line_fits(&self, at: StreamId, addr: Addr) -> Result<(), (u64, u64)> {
        let (Some(line), Some(card)) = (self.line_at(addr), self.streams[at].card.as_ref()) else {
            return Ok(());
        };
        let (needed, carried) = (card.line_bytes_per_s(), u64::from(line.bytes_per_s));
        match needed <= carried {
            true => Ok(()),
            false => Err((needed * 8, carried * 8)),
        }
    }

    /// Stripes that can still be granted to whoever is at the end of a line: up to K, if the whole stream fits beside what
    /// is granted of others.
    pub(super) fn line_places(&self, at: StreamId, id: PeerId, addr: Addr) -> u16 {
        let share = |at: StreamId, card: &Card| {
            let granted = self.peers.link(id, at).granted_down.count_ones();
            card.line_bytes_per_s() * u64::from(granted) / card.k() as u64
        };
        let others = (0..self.streams.len()).filter(|&other| other != at);
        let taken: u64 = others
            .filter_map(|other| Some(share(other, self.streams[other].card.as_ref()?)))
            .sum();
        let (Some(line), Some(card)) = (self.line_at(addr), self.streams[at].card.as_ref()) else {
            return 0;
        };
        let granted = self.peers.link(id, at).granted_down.count_ones() as u16;
        match taken + card.line_bytes_per_s() <= u64::from(line.bytes_per_s) {
            true => (card.k() as u16).saturating_sub(granted),
            false => 0,
        }
    }

    /// Says once a session which stream does not fit a line.
    pub(super) fn tend_lines(&mut self, at: StreamId) {
        for id in 0..self.peers.end() {
            let joined = self.peers.link(id, at).joined;
            let Some(peer) = self.peers.get(id).filter(|_| joined) else {
                continue;
            };
            let (addr, told) = (peer.addr, peer.told_unfit >> at & 1 != 0);
            if let Err((needed_bps, line_bps)) = self.line_fits(at, addr)
                && !told
            {
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.told_unfit |= 1 << at;
                }
                self.tell(Event::DoesNotFit {
                    stream: at,
                    addr,
                    needed_bps,
                    line_bps,
                });
            }
        }
    }
}
