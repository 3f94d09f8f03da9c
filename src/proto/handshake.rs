//! Opening and ending sessions: Hello, Cookie, Initiate, Reply, Finish; Try these when there is no room.

use super::config::MAX_STREAMS;
use super::gauge::Gauge;
use super::ledger::Traffic;
use super::node::{Down, Event, Node, SMALL_BYTES, StreamId};
use super::peer::{Due, Peer, PeerId};
use crate::crypto::session::{Handshake, SessionKeys};
use crate::error::Malformed;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::chunk::Tag;
use crate::wire::datagram::{COOKIE_BYTES, Datagram, HELLO_BYTES, TRY_THESE_HEADER_BYTES};
use crate::wire::message::{self, MAX_TRY, Reason};
use core::net::SocketAddr;
use heapless::Vec;

/// First wait for an answer; it doubles with each try.
const RETRY: Span = Span::from_ms(250);

/// Tries of one step before the address is given up.
const MAX_TRIES: u8 = 4;

/// When so many that were let in have not been spoken to yet, for want of upload, others would wait as well.
const MAX_UNGREETED: usize = 4;

/// When so many answers wait for upload, whoever comes is better off elsewhere.
const MAX_UNANSWERED: usize = 4;

/// How long a responder remembers an unfinished handshake.
const HALF_OPEN: Span = Span::from_s(4);

/// A session without a use makes room for a newcomer after this long.
const GRACE: Span = Span::from_s(10);

/// Whoever sent forgeries is not asked again for this long.
const HOSTILE: Span = Span::from_s(600);

/// A line to a node that is known over the network is tried again after this long.
const LINE_IN_RESERVE: Span = Span::from_s(20);

enum Step {
    /// Hello is out.
    Hello,
    /// Initiate is out: the cookie and the first Noise message.
    Initiate {
        cookie: [u8; COOKIE_BYTES],
        handshake: Handshake,
        noise: [u8; 32],
    },
    /// The session stands; Finish is said again until the other side is heard.
    Confirm {
        theirs: u64,
        noise: Vec<u8, SMALL_BYTES>,
    },
    /// At the responder: Reply is out.
    Reply {
        handshake: Handshake,
        noise: Vec<u8, SMALL_BYTES>,
    },
}

/// One handshake in progress.
pub struct Attempt {
    addr: Addr,
    /// The session id this side listens to.
    pub(super) ours: u64,
    /// The initiator's session id, at the responder.
    theirs: u64,
    stream: StreamId,
    step: Step,
    tries: u8,
    pub(super) next_at: Instant,
}

impl Node<'_> {
    /// Begins to open a session. False when no more can be opened at once.
    pub(super) fn connect(&mut self, now: Instant, addr: Addr, stream: StreamId) -> bool {
        let Some(at) = self.attempts.iter().position(Option::is_none) else {
            return false;
        };
        let ours = self.draw_session();
        self.attempts[at] = Some(Attempt {
            addr,
            ours,
            theirs: 0,
            stream,
            step: Step::Hello,
            tries: 0,
            next_at: now,
        });
        self.book.set_busy(addr, true);
        self.tick_handshakes(now);
        true
    }

    /// Where the attempt is of which this holds.
    fn attempt_where(&self, holds: impl Fn(&Attempt) -> bool) -> Option<usize> {
        self.attempts
            .iter()
            .position(|attempt| attempt.as_ref().is_some_and(&holds))
    }

    /// How many sessions are being opened from here.
    pub(super) fn connecting(&self) -> usize {
        self.attempts
            .iter()
            .flatten()
            .filter(|a| matches!(a.step, Step::Hello | Step::Initiate { .. }))
            .count()
    }

    /// Says again what was not answered; gives up what has had its tries.
    pub(super) fn tick_handshakes(&mut self, now: Instant) {
        for at in 0..self.attempts.len() {
            let addr = self.attempts[at].as_ref().map(|attempt| attempt.addr);
            let line_round_trip = addr.map_or(Span::ZERO, |addr| self.line_round_trip(addr));
            let Some(attempt) = self.attempts[at].as_mut().filter(|a| a.next_at <= now) else {
                continue;
            };
            let over = matches!(attempt.step, Step::Reply { .. }) || attempt.tries >= MAX_TRIES;
            if over {
                let (addr, ours) = (
                    attempt.addr,
                    !matches!(attempt.step, Step::Reply { .. } | Step::Confirm { .. }),
                );
                self.attempts[at] = None;
                if ours {
                    let salt = self.rng.next_u64();
                    self.book.failed(addr, now, salt);
                }
                continue;
            }
            attempt.next_at = now + RETRY.times(1 << attempt.tries) + line_round_trip;
            attempt.tries += 1;
            self.say_step(at);
        }
    }

    fn say_step(&mut self, at: usize) {
        let Some(attempt) = self.attempts[at].as_ref() else {
            return;
        };
        let (addr, session) = (attempt.addr, attempt.ours);
        let tag = self
            .streams
            .get(attempt.stream)
            .map_or(0, |stream| stream.tag);
        match &attempt.step {
            Step::Hello => self.send_small(addr, &Datagram::Hello { session, tag }),
            Step::Initiate { cookie, noise, .. } => {
                let (cookie, noise) = (*cookie, *noise);
                self.send_small(
                    addr,
                    &Datagram::Initiate {
                        session,
                        tag,
                        cookie,
                        noise: &noise,
                    },
                );
            }
            Step::Confirm { theirs, noise } => {
                let (theirs, noise) = (*theirs, noise.clone());
                self.send_small(
                    addr,
                    &Datagram::Finish {
                        session: theirs,
                        noise: &noise,
                    },
                );
            }
            Step::Reply { noise, .. } => {
                let (theirs, noise) = (attempt.theirs, noise.clone());
                self.send_small(
                    addr,
                    &Datagram::Reply {
                        session: theirs,
                        noise: &noise,
                    },
                );
            }
        }
    }

    pub(super) fn on_handshake(
        &mut self,
        now: Instant,
        from: Addr,
        datagram: &Datagram<'_>,
    ) -> Result<(), Malformed> {
        if self.leaving {
            return Ok(());
        }
        match *datagram {
            Datagram::Hello { session, tag } => {
                self.on_hello(now, from, session, tag);
                Ok(())
            }
            Datagram::Cookie { session, cookie } => self.on_cookie(now, from, session, cookie),
            Datagram::Initiate {
                session,
                tag,
                cookie,
                noise,
            } => {
                if !self.jar.fits(now, from, session, &cookie) {
                    return Err(Malformed::Forged);
                }
                self.on_initiate(now, from, session, tag, noise)
            }
            Datagram::Reply { session, noise } => self.on_reply(now, from, session, noise),
            Datagram::Finish { session, noise } => self.on_finish(now, from, session, noise),
            Datagram::TryThese { session, list } => self.on_try_these(now, from, session, list),
            // The other two kinds have their own way in.
            Datagram::Control { .. } | Datagram::Chunk { .. } => Ok(()),
        }
    }

    /// Whoever could not be let in, or spoken to soon, is told at once whom to try, in no more bytes than it sent: its address is not
    /// proved yet.
    fn on_hello(&mut self, now: Instant, from: Addr, session: u64, tag: Tag) {
        let stream = self.stream_by_tag(tag).unwrap_or(0);
        let is_crowd = self.small.len() >= MAX_UNANSWERED || self.ungreeted() >= MAX_UNGREETED;
        if !self.has_room(now) || is_crowd {
            let others = self.try_these(stream, from);
            if !others.is_empty() {
                self.say_try_these(from, session, &others, HELLO_BYTES);
                return;
            }
        }
        let cookie = self.jar.bake(now, from, session);
        self.send_small(from, &Datagram::Cookie { session, cookie });
    }

    /// How many have been let in that nothing was said to yet, for want of upload.
    fn ungreeted(&self) -> usize {
        let waits =
            |(id, peer): &(PeerId, &Peer)| peer.told_at == peer.since && self.owes(*id, false);
        self.peers.iter().filter(waits).count()
    }

    fn on_cookie(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        cookie: [u8; COOKIE_BYTES],
    ) -> Result<(), Malformed> {
        let waiting =
            |a: &Attempt| a.ours == session && a.addr == from && matches!(a.step, Step::Hello);
        let Some(at) = self.attempt_where(waiting) else {
            return Ok(());
        };
        let tag = self.attempts[at]
            .as_ref()
            .and_then(|a| self.streams.get(a.stream))
            .map_or(0, |s| s.tag);
        let ephemeral = self.draw();
        let mut handshake = Handshake::new(
            true,
            &self.config.secret,
            ephemeral,
            &prologue(session, tag),
        );
        let mut noise = [0; 32];
        handshake.write(&[], &mut noise)?;
        if let Some(attempt) = self.attempts[at].as_mut() {
            attempt.step = Step::Initiate {
                cookie,
                handshake,
                noise,
            };
            (attempt.tries, attempt.next_at) = (0, now);
        }
        self.tick_handshakes(now);
        Ok(())
    }

    fn on_initiate(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        tag: Tag,
        noise: &[u8],
    ) -> Result<(), Malformed> {
        let same = |a: &Attempt| {
            a.theirs == session && a.addr == from && matches!(a.step, Step::Reply { .. })
        };
        if let Some(at) = self.attempt_where(same) {
            self.say_step(at);
            return Ok(());
        }
        if self.book.shuns(from, now) {
            return Ok(());
        }
        let stream = self.stream_by_tag(tag).unwrap_or(0);
        let place = self.attempts.iter().position(Option::is_none);
        let Some(at) = place.filter(|_| self.has_room(now)) else {
            self.turn_away(from, session, stream);
            return Ok(());
        };
        let ephemeral = self.draw();
        let ours = self.draw_session();
        let mut handshake = Handshake::new(
            false,
            &self.config.secret,
            ephemeral,
            &prologue(session, tag),
        );
        handshake.read(noise, &mut [])?;
        let mut reply = [0; SMALL_BYTES];
        let len = handshake.write(&ours.to_be_bytes(), &mut reply)?;
        let noise = Vec::from_slice(&reply[..len]).map_err(|_| Malformed::Long)?;
        let step = Step::Reply { handshake, noise };
        self.attempts[at] = Some(Attempt {
            addr: from,
            ours,
            theirs: session,
            stream,
            step,
            tries: 0,
            next_at: now + HALF_OPEN,
        });
        self.say_step(at);
        Ok(())
    }

    /// Whether a newcomer finds a place, now or by letting a session go that serves nobody.
    fn has_room(&self, now: Instant) -> bool {
        let half_open = self
            .attempts
            .iter()
            .flatten()
            .filter(|a| matches!(a.step, Step::Reply { .. }))
            .count();
        let vacant = self.peers.capacity() - self.peers.len();
        half_open < vacant || self.idle_peer(now).is_some()
    }

    /// The session that is missed least: feeds nobody, is fed by nobody, hands nothing on, is the oldest. Who hands a stream on keeps
    /// its source, even where it gets nothing from it: that is where it will be needed when a tree has lost its root.
    pub(super) fn idle_peer(&self, now: Instant) -> Option<PeerId> {
        let worth = |(id, peer): (PeerId, &Peer)| {
            let mut hands_on = false;
            for at in 0..self.streams.len() {
                let link = self.peers.link(id, at);
                let is_root = link.standing.is_source() && self.standing(at).forwards();
                if link.granted_down | link.granted_up != 0 || is_root {
                    return None;
                }
                hands_on |= link.standing.forwards();
            }
            let is_new = now.since(peer.since) <= GRACE;
            (!is_new).then_some((hands_on, peer.since, id))
        };
        let idle = self.peers.iter().filter_map(worth).min();
        idle.map(|(.., id)| id)
    }

    fn turn_away(&mut self, to: Addr, session: u64, stream: StreamId) {
        self.stats.turned_away += 1;
        let others = self.try_these(stream, to);
        self.say_try_these(to, session, &others, SMALL_BYTES);
    }

    /// Says whom to try instead: as many as fit into a datagram of `most_bytes`.
    fn say_try_these(&mut self, to: Addr, session: u64, others: &[SocketAddr], most_bytes: usize) {
        let mut list = [0; SMALL_BYTES - TRY_THESE_HEADER_BYTES];
        let room = (most_bytes - TRY_THESE_HEADER_BYTES).min(list.len());
        if let Ok(len) = message::write_try_these(others, &mut list[..room]) {
            let list = &list[..len];
            self.send_small(to, &Datagram::TryThese { session, list });
        }
    }

    /// Nodes of a stream that somebody may try instead of this one; a different choice each time. The source, which has the least to
    /// spare, only where there is room left.
    pub(super) fn try_these(&mut self, stream: StreamId, not: Addr) -> Vec<SocketAddr, MAX_TRY> {
        let mut out = Vec::new();
        let salt = self.rng.next_u64();
        let capacity = self.peers.capacity().max(1);
        for i in 0..2 * capacity {
            let id = (i + salt as usize % capacity) % capacity;
            let Some(addr) = self.peers.get(id).map(|p| p.addr) else {
                continue;
            };
            let link = self.peers.link(id, stream);
            if link.joined
                && link.standing.forwards()
                && link.standing.is_source() == (i >= capacity)
                && addr != not
                && self.worth_telling(addr, not)
            {
                out.extend(addr.socket().filter(|_| !out.is_full()));
            }
        }
        out
    }

    /// An address on this machine or network means nothing to somebody outside it.
    pub(super) fn worth_telling(&self, addr: Addr, to: Addr) -> bool {
        !addr.is_local() || to.is_local()
    }

    fn on_reply(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        noise: &[u8],
    ) -> Result<(), Malformed> {
        let ours = |a: &Attempt| a.ours == session && a.addr == from;
        let Some(at) = self.attempt_where(ours) else {
            return Ok(());
        };
        let Some(Attempt {
            step: Step::Initiate { .. },
            ..
        }) = &self.attempts[at]
        else {
            // Our Finish was lost: say it again.
            self.say_step(at);
            return Ok(());
        };
        let Some(Attempt {
            step: Step::Initiate { mut handshake, .. },
            stream,
            ..
        }) = self.attempts[at].take()
        else {
            return Ok(());
        };
        let mut theirs = [0; 8];
        let result = handshake.read(noise, &mut theirs);
        let mut finish = [0; SMALL_BYTES];
        let finished = result.and_then(|()| handshake.write(&[], &mut finish));
        let (Ok(len), Some((node, keys))) = (finished, handshake.finish()) else {
            let salt = self.rng.next_u64();
            self.book.failed(from, now, salt);
            return Err(Malformed::Forged);
        };
        let theirs = u64::from_be_bytes(theirs);
        if !self.install(now, from, session, theirs, node, keys, true) {
            return Ok(());
        }
        let noise = Vec::from_slice(&finish[..len]).map_err(|_| Malformed::Long)?;
        let step = Step::Confirm { theirs, noise };
        self.attempts[at] = Some(Attempt {
            addr: from,
            ours: session,
            theirs,
            stream,
            step,
            tries: 0,
            next_at: now,
        });
        self.tick_handshakes(now);
        Ok(())
    }

    fn on_finish(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        noise: &[u8],
    ) -> Result<(), Malformed> {
        let ours = |a: &Attempt| {
            a.ours == session && a.addr == from && matches!(a.step, Step::Reply { .. })
        };
        let Some(at) = self.attempt_where(ours) else {
            return Ok(());
        };
        let Some(Attempt {
            step: Step::Reply { mut handshake, .. },
            theirs,
            stream,
            ..
        }) = self.attempts[at].take()
        else {
            return Ok(());
        };
        handshake.read(noise, &mut [])?;
        let (node, keys) = handshake.finish().ok_or(Malformed::Kind)?;
        let is_in = self.install(now, from, session, theirs, node, keys, false);
        // The last place has gone to somebody else meanwhile, and Finish would be said into silence.
        if !is_in && self.peers.vacancy().is_none() {
            self.turn_away(from, theirs, stream);
        }
        Ok(())
    }

    /// The other side has been heard in the session: Finish need not be said again.
    pub(super) fn confirmed(&mut self, session: u64) {
        let ours = |a: &Attempt| a.ours == session && matches!(a.step, Step::Confirm { .. });
        if let Some(at) = self.attempt_where(ours) {
            self.attempts[at] = None;
        }
    }

    /// Puts a new session into the table. False when it is not wanted.
    #[allow(clippy::too_many_arguments, reason = "all of a session's parts, once")]
    fn install(
        &mut self,
        now: Instant,
        addr: Addr,
        ours: u64,
        theirs: u64,
        node: [u8; 32],
        keys: SessionKeys,
        outgoing: bool,
    ) -> bool {
        if node == self.public {
            // Our own address, as others see it: never again. A line that ends here too may be plugged elsewhere.
            let pause = addr
                .socket()
                .map_or(LINE_IN_RESERVE, |_| Span::from_s(86_400));
            self.book.rest(addr, now + pause);
            return false;
        }
        if let Some(twin) = self.peers.by_node(&node) {
            let old = self.peers.get(twin);
            let crossed =
                old.is_some_and(|p| p.outgoing != outgoing && now.since(p.since) < Span::from_s(3));
            // Both sides called at once: both keep the call of the smaller key.
            if crossed && (self.public < node) != outgoing {
                self.book.set_busy(addr, true);
                return false;
            }
            // The network is faster than any line between the same two.
            let by_network = self
                .peers
                .get(twin)
                .is_some_and(|p| p.addr.socket().is_some());
            if by_network && addr.socket().is_none() {
                self.book.rest(addr, now + LINE_IN_RESERVE);
                return false;
            }
            self.drop_peer(now, twin, Down::Replaced);
        }
        // A line has one far end: whoever was there before has been unplugged.
        if let (Addr::Line(_), Some(before)) = (addr, self.peers.by_addr(addr)) {
            self.drop_peer(now, before, Down::Replaced);
        }
        if self.peers.vacancy().is_none()
            && let Some(idle) = self.idle_peer(now)
        {
            self.drop_peer(now, idle, Down::Unneeded);
        }
        let Some(id) = self.peers.vacancy() else {
            return false;
        };
        let peer = Peer {
            addr,
            node,
            theirs,
            ours,
            keys,
            outgoing,
            since: now,
            heard_at: now,
            told_at: now,
            rtt: None,
            least_rtt: self.line_round_trip(addr),
            told_unfit: 0,
            ping: None,
            ping_due: false,
            unanswered: 0,
            pong: None,
            least_delay: None,
            gauge: Gauge::NEW,
            gauge_due: false,
            moving_to: None,
            unknown: None,
            rx_bytes: 0,
            tx_bytes: 0,
            settled: Traffic::default(),
            invalid: 0,
            bye: None,
        };
        self.peers.insert(id, peer);
        self.stats.sessions += 1;
        self.book.succeeded(addr, now);
        self.book.set_busy(addr, true);
        // Whoever calls says for what; nobody is told of streams it did not ask about.
        for stream in 0..self.streams.len() {
            if outgoing
                && self.book.knows(addr, stream)
                && let Some(link) = self.peers.link_mut(id, stream)
            {
                link.due.add(Due::JOIN);
                link.join_at = now;
            }
        }
        self.ping(now, id);
        self.tell(Event::PeerUp(id, addr));
        true
    }

    /// Ends a session and forgets everything that hung on it.
    pub(super) fn drop_peer(&mut self, now: Instant, id: PeerId, why: Down) {
        self.settle_peer(id);
        let fed = self.is_child(id);
        let Some(peer) = self.peers.remove(id) else {
            return;
        };
        self.jobs.retain(|job| job.peer() != id);
        self.repairs.retain(|repair| repair.peer != id);
        for stream in self.streams.iter_mut() {
            stream.asked.retain(|asked| asked.peer != id);
            stream.forget_sender(id);
            for parent in &mut stream.parents {
                if parent.peer == Some(id) {
                    parent.peer = None;
                }
                if parent.trial.is_some_and(|(trial, _)| trial == id) {
                    parent.trial = None;
                }
            }
        }
        match why {
            Down::Hostile => self.book.shun(peer.addr, now + HOSTILE),
            // Nobody is left: it was rather this node that was away.
            Down::Silent if self.peers.is_empty() => self.book.rest(peer.addr, now),
            Down::Silent => {
                let salt = self.rng.next_u64();
                self.book.failed(peer.addr, now, salt);
            }
            Down::Bye | Down::Unneeded => {
                // A source or relay that says Bye is often back at once; somebody the user named is asked first.
                let base_ms = if self.book.is_bootstrap(peer.addr) {
                    300
                } else {
                    3_000
                };
                let pause = Span::from_ms(base_ms + self.rng.below(2 * base_ms));
                self.book.rest(peer.addr, now + pause);
            }
            Down::Replaced => {}
        }
        if fed {
            (0..self.streams.len()).for_each(|at| self.tell_turned_away(now, at));
        }
        if why == Down::Silent {
            self.probe_quiet(now);
            self.stats.silent += 1;
        }
        self.upkeep_at = now;
        self.tell(Event::PeerDown(peer.addr, why));
    }

    fn on_try_these(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        list: &[u8],
    ) -> Result<(), Malformed> {
        let ours = |a: &Attempt| {
            let called = !matches!(a.step, Step::Reply { .. });
            a.ours == session && a.addr == from && called
        };
        let Some(at) = self.attempt_where(ours) else {
            return Ok(());
        };
        let addresses = message::read_try_these(list)?;
        let stream = self.attempts[at].take().map_or(0, |a| a.stream);
        self.note_addresses(now, stream, from, addresses);
        // It is alive but full: come back later, not at once.
        let pause = Span::from_ms(2_000 + self.rng.below(4_000));
        self.book.rest(from, now + pause);
        self.connect_at[stream.min(MAX_STREAMS - 1)] = now;
        self.upkeep_at = now;
        Ok(())
    }

    /// Writes down what a neighbour says about others.
    pub(super) fn note_addresses(
        &mut self,
        now: Instant,
        stream: StreamId,
        from: Addr,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) {
        for addr in addresses {
            let addr = Addr::udp(addr);
            let usable = addr.socket().is_some_and(|a| {
                a.port() != 0 && !a.ip().is_unspecified() && !a.ip().is_multicast()
            });
            if usable && addr != from && self.worth_telling(addr, from) {
                self.book.add(addr, stream, false, now);
            }
        }
    }

    /// Asks a neighbour whether it is there.
    pub(super) fn ping(&mut self, now: Instant, id: PeerId) {
        let token = self.rng.next_u64() as u32;
        if let Some(peer) = self.peers.get_mut(id) {
            peer.ping = Some((token, now));
            peer.ping_due = true;
        }
    }

    /// Asks a neighbour that was not heard for so long whether it is there.
    pub(super) fn ping_if_quiet(&mut self, now: Instant, id: PeerId, patience: Span) {
        let is_quiet = |peer: &Peer| peer.ping.is_none() && now.since(peer.heard_at) > patience;
        if self.peers.get(id).is_some_and(is_quiet) {
            self.ping(now, id);
        }
    }

    /// Says Bye at the next opportunity, and forgets the neighbour then.
    pub(super) fn dismiss(&mut self, id: PeerId, reason: Reason) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.bye = Some(reason);
        }
    }
}

/// What both sides of a handshake must agree on.
fn prologue(initiator_session: u64, tag: Tag) -> [u8; 19] {
    let mut out = *b"weir v1\0\0\0\0\0\0\0\0\0\0\0\0";
    out[7..15].copy_from_slice(&initiator_session.to_be_bytes());
    out[15..].copy_from_slice(&tag.to_be_bytes());
    out
}
