//! What neighbours say, and what follows from it at once.

use super::forward::Wish;
use super::job::Job;
use super::node::{Down, Event, Node, StreamId};
use super::peer::{Due, Link, Moving, PeerId};
use super::serve::Repair;
use super::stream::{AllTried, Sealed, bits};
use crate::error::Malformed;
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::chunk::{ChunkId, TICK_US, long_ticks, tag_of, ticks};
use crate::wire::datagram::{AEAD_TAG_BYTES, CONTROL_HEADER_BYTES};
use crate::wire::message::{Message, Reason, Standing, Wanted};

/// A subscription that is not renewed ends after this long.
const LEASE: Span = Span::from_s(60);

/// Who subscribes again so soon has something new to say, or had no answer.
const HURRY: Span = Span::from_s(3);

/// A Ping to a new address is said again after this long, plus the round trip; how long it is.
const PROBE_AGAIN: Span = Span::from_ms(300);
const PROBE_BYTES: usize = CONTROL_HEADER_BYTES + AEAD_TAG_BYTES + 7;

/// Forgeries a neighbour is forgiven.
const MAX_INVALID: u32 = 16;

/// Most seals handed to a newcomer, and most blocks' seals one request can ask for.
const MAX_SEALS_ASKED: u16 = 64;

/// An answer that says it waited longer is believed so much.
const MAX_WAITED: Span = Span::from_ms(500);

impl Node<'_> {
    pub(super) fn on_control(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        nonce: u64,
        header: &[u8],
        sealed: &[u8],
    ) -> Result<(), Malformed> {
        let known = self.peers.by_session(session);
        self.count_received(from, header.len() + sealed.len(), known);
        let Some(id) = known else {
            self.stats.stray += 1;
            return Ok(());
        };
        let mut plain = [0; MAX_DATAGRAM_BYTES];
        let Some(peer) = self.peers.get_mut(id) else {
            return Ok(());
        };
        let len = peer.keys.open(nonce, header, sealed, &mut plain)?;
        peer.heard_at = now;
        peer.unanswered = 0;
        if let Some(at) = self.only_stream(id) {
            let bytes = self.on_line(from, header.len() + sealed.len());
            self.streams[at].stats.rx_bytes += bytes as u64;
        }
        self.confirmed(session);
        self.note_address(now, id, from, header.len() + sealed.len());
        let mut rest = &plain[..len];
        while !rest.is_empty() {
            let (message, tail) = Message::take(rest)?;
            rest = tail;
            if let Err(error) = self.on_message(now, id, &message) {
                self.blame(now, id);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A neighbour heard from a new address is asked there for a Pong before anything else is sent to it; the question is not
    /// longer than what came.
    fn note_address(&mut self, now: Instant, id: PeerId, from: Addr, received_bytes: usize) {
        let fresh = self.rng.next_u64() as u32;
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.addr == from {
            peer.moving_to = None;
            return;
        }
        let moving = peer.moving_to.filter(|moving| moving.addr == from);
        let asked = moving.and_then(|moving| moving.asked_at);
        let wait = PROBE_AGAIN + peer.rtt_or_guess();
        if received_bytes >= PROBE_BYTES && asked.is_none_or(|at| now.since(at) > wait) {
            let token = moving.map_or(fresh, |moving| moving.token);
            peer.moving_to = Some(Moving {
                addr: from,
                token,
                asked_at: asked,
                due: true,
            });
        }
    }

    /// Holds against a neighbour what only it can have done; a few can be an accident of memory, a stream of them is not.
    pub(super) fn blame(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        peer.invalid += 1;
        if peer.invalid > MAX_INVALID {
            self.drop_peer(now, id, Down::Hostile);
        }
    }

    fn on_message(
        &mut self,
        now: Instant,
        id: PeerId,
        message: &Message<'_>,
    ) -> Result<(), Malformed> {
        match message {
            Message::Ping { token, sent } => {
                let delay = ticks(now.as_us()).wrapping_sub(*sent) & 0xff_ffff;
                if let Some(peer) = self.peers.get_mut(id) {
                    peer.pong = Some((*token, delay, now));
                }
            }
            Message::Pong {
                token,
                delay,
                waited,
            } => {
                let waited = Span::from_us(u64::from(*waited) * TICK_US).min(MAX_WAITED);
                self.on_pong(now, id, *token, *delay, waited);
            }
            Message::Bye { .. } => self.drop_peer(now, id, Down::Bye),
            Message::Join {
                key,
                standing,
                version,
            } => self.on_join(now, id, key, *standing, *version),
            Message::Descriptor { bytes } => self.on_descriptor(id, bytes)?,
            Message::Seal { age_ms, bytes } => self.on_seal(now, id, *age_ms, bytes)?,
            Message::Preamble {
                tag,
                version,
                offset,
                bytes,
            } => {
                if let Some(at) = self.stream_by_tag(*tag) {
                    self.on_preamble(at, id, *version, *offset, bytes);
                }
            }
            Message::Offer { tag, .. }
            | Message::Subscribe { tag, .. }
            | Message::Grant { tag, .. }
            | Message::Refuse { tag, .. }
            | Message::Unsubscribe { tag, .. }
            | Message::Have { tag, .. }
            | Message::Want { tag, .. }
            | Message::Lack { tag, .. }
            | Message::PeerExchange { tag, .. }
            | Message::Audience { tag, .. } => {
                let at = self.stream_by_tag(*tag);
                if let Some(at) = at.filter(|_| self.peers.get(id).is_some()) {
                    self.on_stream_message(now, id, at, message);
                }
            }
        }
        Ok(())
    }

    /// The stream that all control words with a neighbour are about, if there is just one.
    pub(super) fn only_stream(&self, id: PeerId) -> Option<StreamId> {
        let mut joined = (0..self.streams.len()).filter(|&at| self.peers.link(id, at).joined);
        joined.next().filter(|_| joined.next().is_none())
    }

    pub(super) fn stream_by_tag(&self, tag: u32) -> Option<StreamId> {
        self.streams.iter().position(|stream| stream.tag == tag)
    }

    fn on_pong(&mut self, now: Instant, id: PeerId, token: u32, delay: u32, waited: Span) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let asked = peer.ping.filter(|(ours, _)| *ours == token);
        let round = match asked {
            Some((_, said_at)) => now.since(said_at),
            // One that only measured; its token is the time.
            None => {
                let ticks = long_ticks(now.as_us()).wrapping_sub(token);
                Span::from_us(u64::from(ticks) * TICK_US)
            }
        };
        let round = Span::from_us(round.as_us().saturating_sub(waited.as_us()));
        if asked.is_some() {
            peer.ping = None;
            peer.measured(round);
        }
        let moves = peer.moving_to.is_some_and(|moving| moving.token == token);
        if !moves {
            self.measured(now, id, delay, round);
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some(moving) = peer
            .moving_to
            .filter(|moving| moving.token == token && moving.asked_at.is_some())
        {
            let old = core::mem::replace(&mut peer.addr, moving.addr);
            peer.moving_to = None;
            self.book.set_busy(old, false);
            self.book.set_busy(moving.addr, true);
        }
    }

    fn on_join(
        &mut self,
        now: Instant,
        id: PeerId,
        key: &[u8; 32],
        standing: Standing,
        version: u32,
    ) {
        let Some(at) = self.streams.iter().position(|s| s.key == *key) else {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.unknown = Some(tag_of(key));
            }
            return;
        };
        let ours = self.streams[at].version();
        let addr = self.peers.get(id).map(|peer| peer.addr);
        let Some(link) = self.peers.link_mut(id, at) else {
            return;
        };
        let first = !link.joined;
        link.joined = true;
        link.standing = standing;
        link.version = version;
        link.due.add(Due::OFFER);
        link.due.add(Due::HAVE);
        if version < ours {
            link.due.add(Due::DESCRIPTOR);
        } else if version > ours {
            link.due.add(Due::WANT_DESCRIPTOR);
        }
        if first {
            link.due.add(Due::JOIN);
            link.due.add(Due::EXCHANGE);
            if let Some(addr) = addr.filter(|_| standing.forwards()) {
                self.book.add(addr, at, false, now);
                self.book.set_busy(addr, true);
            }
            self.upkeep_at = now;
        }
    }

    fn on_descriptor(&mut self, id: PeerId, bytes: &[u8]) -> Result<(), Malformed> {
        let Some(at) = (0..self.streams.len()).find(|&at| bytes.starts_with(&self.streams[at].key))
        else {
            return Ok(());
        };
        let news = self.streams[at].accept_descriptor(bytes)?;
        let version = self.streams[at].version();
        if let Some(link) = self.peers.link_mut(id, at) {
            link.version = link.version.max(version);
        }
        if news {
            self.spread_descriptor(at);
            self.upkeep_at = Instant::ZERO;
        }
        Ok(())
    }

    fn on_seal(
        &mut self,
        now: Instant,
        id: PeerId,
        age_ms: u32,
        bytes: &[u8],
    ) -> Result<(), Malformed> {
        let tag = bytes
            .first_chunk()
            .map(|tag| u32::from_be_bytes(*tag))
            .ok_or(Malformed::Short)?;
        let Some(at) = self.stream_by_tag(tag) else {
            return Ok(());
        };
        let half = self
            .peers
            .get(id)
            .map_or(0, |peer| peer.rtt_or_guess().as_us() / 2);
        // Nobody's clock is believed beyond what can matter.
        let age = Span::from_us(half) + Span::from_ms(u64::from(age_ms).min(120_000));
        let mut tried = AllTried::new();
        let sealed = match self.is_idle(at) {
            true => self.streams[at].accept_title(bytes, now - age),
            false => self.streams[at].accept_seal(now, age, bytes, &mut tried),
        };
        for (it, is_true) in tried {
            match is_true {
                true => self.credit(now, at, it.from, it.id, it.behind),
                false => self.debit(now, at, it.from, it.id),
            }
        }
        match sealed? {
            Sealed::New => {
                self.answer_waiting(at);
                self.streams[at].play(now, self.config.burst);
            }
            Sealed::Known => {}
            Sealed::NeedsDescriptor => {
                if let Some(link) = self.peers.link_mut(id, at) {
                    link.due.add(Due::WANT_DESCRIPTOR);
                }
            }
        }
        Ok(())
    }

    /// Neighbours that asked for a seal before it was here get it now.
    fn answer_waiting(&mut self, at: StreamId) {
        let end = self.streams[at].ring.end();
        for id in 0..self.peers.end() {
            let Some(link) = self
                .peers
                .link_mut(id, at)
                .filter(|link| (1..end).contains(&link.seal_wanted))
            else {
                continue;
            };
            let block = core::mem::take(&mut link.seal_wanted);
            self.queue(Job::Seal {
                peer: id,
                stream: at as u8,
                block,
            });
        }
    }

    fn on_preamble(&mut self, at: StreamId, id: PeerId, version: u32, offset: u32, bytes: &[u8]) {
        let stream = &mut self.streams[at];
        let Some(card) = stream.card.as_ref() else {
            return;
        };
        stream
            .preamble
            .piece(&card.descriptor, version, offset, bytes);
        let more = stream.preamble.missing().is_some();
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| more) {
            link.due.add(Due::WANT_PREAMBLE);
        }
    }

    fn on_stream_message(&mut self, now: Instant, id: PeerId, at: StreamId, message: &Message<'_>) {
        let stale_after = now + LEASE;
        let is_source = self.streams[at].source.is_some();
        let Some(link) = self.peers.link_mut(id, at) else {
            return;
        };
        match message {
            Message::Offer {
                stripes,
                home,
                hops,
                places,
                ..
            } => {
                link.joined = true;
                // Whoever will hand a stripe on is given places that others are not: it has to know.
                let (told, _, told_places) = link.told_offer;
                let is_news = told_places == 0 || is_source && *home & !told != 0;
                if *home != link.home && is_news {
                    link.due.add(Due::OFFER);
                }
                // Whoever failed is not forgiven for its own word.
                if link.places == 0 && *places > 0 && link.failures == 0 {
                    link.refused_until = link.refused_until.min(now);
                }
                (link.offer, link.home, link.places) = (*stripes, *home, *places);
                // Its Join may have been lost: whoever has places forwards.
                if *places > 0 {
                    link.standing.0 |= Standing::FORWARDS;
                }
                for (stripe, &hops) in bits(*stripes).zip(hops) {
                    link.hops[usize::from(stripe)] = hops;
                }
                if self.streams[at].parents.iter().any(|p| p.peer.is_none()) {
                    self.upkeep_at = now;
                }
            }
            Message::Subscribe {
                stripes,
                spare,
                seals,
                back_ms,
                ..
            } => {
                let renewed = core::mem::replace(&mut link.lease_until, stale_after);
                let wish = Wish {
                    stripes: *stripes,
                    spare: stripes & spare,
                    seals: *seals,
                    is_hurried: stale_after.since(renewed) < HURRY,
                };
                self.on_subscribe(now, id, at, wish, Span::from_ms(u64::from(*back_ms)));
            }
            Message::Unsubscribe { stripes, .. } => {
                link.granted_down &= !stripes;
                link.due.add(Due::GRANT);
                self.upkeep_at = now;
                self.tell_turned_away(now, at);
            }
            Message::Grant { stripes, .. } => {
                link.asked = 0;
                link.refused &= !stripes;
                let lost = link.granted_up & !stripes;
                link.granted_up = *stripes;
                self.on_granted(now, id, at, *stripes, lost);
            }
            Message::Refuse {
                stripes,
                reason,
                try_these,
                ..
            } => {
                let pause = Span::from_ms(1_500 + self.rng.below(1_500));
                link.asked = 0;
                link.refused |= stripes;
                link.refused_until = now + pause;
                link.granted_up &= !stripes;
                self.on_refused(now, id, at, *stripes, *reason);
                let from = self.peers.get(id).map(|peer| peer.addr);
                if let Some(from) = from {
                    self.note_addresses(now, at, from, try_these.iter().copied());
                }
            }
            Message::Have {
                tail, head, behind, ..
            } => {
                (link.have_tail, link.have_head, link.have_at) = (*tail, *head, now);
                link.behind.fill(u8::MAX);
                for (mine, &theirs) in link.behind.iter_mut().zip(behind) {
                    *mine = theirs;
                }
            }
            Message::Want { wanted, .. } => self.on_want(now, id, at, *wanted),
            Message::Lack { block, stripes, .. } => self.on_lack(now, id, at, *block, *stripes),
            Message::PeerExchange { peers, .. } => {
                let from = self.peers.get(id).map(|peer| peer.addr);
                if let Some(from) = from {
                    self.note_addresses(now, at, from, peers.iter().map(|hint| hint.addr));
                    self.upkeep_at = now;
                }
            }
            Message::Audience { listeners, .. } => link.listeners = *listeners,
            _ => {}
        }
    }

    fn on_refused(&mut self, now: Instant, id: PeerId, at: StreamId, stripes: u32, reason: Reason) {
        for stripe in bits(stripes) {
            let parent = &mut self.streams[at].parents[usize::from(stripe)];
            if parent.peer == Some(id) {
                parent.peer = None;
            }
            if parent.trial.is_some_and(|(trial, _)| trial == id) {
                parent.trial = None;
            }
        }
        if reason == Reason::UnknownStream
            && let Some((peer, link)) = self.peers.both_mut(id, at)
        {
            *link = Link::VACANT;
            let addr = peer.addr;
            if self.book.not_carried(addr, at) {
                self.tell(Event::NotCarried(at, addr));
            }
        }
        self.upkeep_at = now;
    }

    fn on_want(&mut self, now: Instant, id: PeerId, at: StreamId, wanted: Wanted) {
        let stream = at as u8;
        match wanted {
            Wanted::Descriptor => self.owe(id, at, Due::DESCRIPTOR),
            Wanted::Peers => self.owe(id, at, Due::EXCHANGE),
            Wanted::News => {
                if let Some(link) = self.peers.link_mut(id, at) {
                    link.wants_news_at = now;
                    link.due.add(Due::HAVE);
                    link.due.add(Due::OFFER);
                }
            }
            Wanted::Title { mark } => self.on_want_title(id, at, mark),
            Wanted::Preamble { version, offset } => self.queue(Job::Preamble {
                peer: id,
                stream,
                version,
                offset,
            }),
            Wanted::Seals { first, count } => {
                let ring = &self.streams[at].ring;
                let mut block = first.max(ring.tail());
                let end = first
                    .saturating_add(u64::from(count.min(MAX_SEALS_ASKED)))
                    .min(ring.end());
                if first >= ring.end()
                    && let Some(link) = self.peers.link_mut(id, at)
                {
                    link.seal_wanted = first;
                }
                while block < end {
                    let Some(next) = self.streams[at].group_end(block) else {
                        block += 1;
                        continue;
                    };
                    self.queue(Job::Seal {
                        peer: id,
                        stream,
                        block,
                    });
                    block = next;
                }
            }
            Wanted::Chunks { block, stripes } => self.on_want_chunks(now, id, at, block, stripes),
        }
    }

    fn on_want_chunks(&mut self, now: Instant, id: PeerId, at: StreamId, block: u64, stripes: u32) {
        let mut lacking = 0;
        for index in bits(stripes) {
            // No neighbour takes more than its share of the queue.
            let waiting = self.repairs.iter().filter(|repair| repair.peer == id);
            if waiting.count() * 4 > self.repairs.capacity() {
                break;
            }
            let repair = Repair {
                peer: id,
                stream: at as u8,
                id: ChunkId { block, index },
                at: now,
            };
            if !self.on_want_chunk(now, repair) {
                lacking |= 1 << index;
            }
        }
        // Where words have taken what they may, silence says it too, a little later.
        if lacking != 0 && self.may_talk(now) {
            self.queue(Job::Lack {
                peer: id,
                stream: at as u8,
                block,
                stripes: lacking,
            });
        }
    }

    pub(super) fn owe(&mut self, id: PeerId, at: StreamId, due: Due) {
        if let Some(link) = self.peers.link_mut(id, at) {
            link.due.add(due);
        }
    }

    /// Queues something to be sent once. When the queue is full it is lost, as on the wire: whoever wants it asks again.
    pub(super) fn queue(&mut self, job: Job) {
        let _ = self.jobs.push(job);
    }
}
