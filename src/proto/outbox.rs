//! What leaves: handshakes first, then what neighbours are owed in words, then what they asked for, then the stream.

use super::bucket::{Urgency, places_bps};
use super::gauge::least_delay;
use super::job::Job;
use super::node::{Down, Node};
use super::peer::{Due, Moving, PeerId};
use super::transmit::Transmit;
use crate::limits::{IPV6_EXTRA_HEADER_BYTES, MAX_DATAGRAM_BYTES, MAX_N};
use crate::time::Instant;
use crate::wire::addr::Addr;
use crate::wire::chunk::{TICK_US, long_ticks, ticks};
use crate::wire::datagram::{CONTROL_HEADER_BYTES, MAX_CONTROL_BYTES, is_answer};
use crate::wire::message::{Message, PeerHint, Reason, Standing, Wanted};
use heapless::Vec;

/// Most bytes of a preamble in one message.
const PREAMBLE_PIECE_BYTES: usize = 1_024;

/// Words may always take this much of a limited upload; and a fifth of the stream while that is little, a twentieth where it is more:
/// who has hardly any upload has to ask for all it hears as well.
const MIN_WORDS_BPS: u64 = 4_000;
const FIFTH_BPS: u64 = 64_000;

/// How far back a node that is about to play asks for seals: they tell where it can begin.
const SEALS_BACK_MS: u64 = 8_000;

/// What a datagram carries, for the counters.
#[derive(Clone, Copy)]
pub(super) enum Traffic {
    Words,
    Answer,
    Seal,
}

/// Plaintext of a control datagram under construction.
struct Letter<'b> {
    room: &'b mut [u8],
    len: usize,
}

impl Letter<'_> {
    /// Appends a message; false when it does not fit any more.
    fn add(&mut self, message: &Message<'_>) -> bool {
        let room = self.room.get_mut(self.len..).unwrap_or(&mut []);
        match message.write(room) {
            Ok(n) => {
                self.len += n;
                true
            }
            Err(_) => false,
        }
    }
}

/// Writes one kind of news; false when it does not fit any more.
type Write<'n> = fn(&mut Node<'n>, Instant, PeerId, usize, &mut Letter<'_>) -> bool;

impl<'n> Node<'n> {
    /// Fills `out` with the next batch to send. False when there is nothing (more) to send now.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Transmit) -> bool {
        out.clear();
        let talks = self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Words);
        talks
            && (self.poll_small(now, out) || self.poll_words(now, out) || self.poll_jobs(now, out))
            || self.poll_urgent(now, out)
            || self.poll_stream(now, out)
            || self.poll_repairs(now, out)
    }

    /// Counts a datagram that leaves, and pays for it. The owner's upload is not touched by what goes over a line.
    pub(super) fn account(
        &mut self,
        now: Instant,
        to: Addr,
        payload_bytes: usize,
        peer: Option<PeerId>,
        what: Traffic,
    ) {
        let bytes = self.on_line(to, payload_bytes);
        self.count_sent(to, 1, bytes, peer);
        if self.charge_line(now, to, payload_bytes) {
            return;
        }
        let urgency = match what {
            Traffic::Words | Traffic::Seal => Urgency::Words,
            Traffic::Answer => Urgency::Strangers,
        };
        self.bucket.spend(bytes, urgency);
        match what {
            Traffic::Words => {
                self.words.spend(bytes);
                self.stats.tx_control_bytes += bytes as u64;
            }
            Traffic::Answer => self.stats.tx_control_bytes += bytes as u64,
            Traffic::Seal => self.stats.tx_seal_bytes += bytes as u64,
        }
    }

    /// A datagram of a handshake. Those for a line that is busy wait behind the others, and so does what strangers are answered while
    /// their share of the limit is used up.
    fn poll_small(&mut self, now: Instant, out: &mut Transmit) -> bool {
        for _ in 0..self.small.len() {
            let Some((to, bytes)) = self.small.pop_front() else {
                return false;
            };
            let (urgency, what) = match is_answer(&bytes) {
                true => (Urgency::Strangers, Traffic::Answer),
                false => (Urgency::Words, Traffic::Words),
            };
            if !self.has_line_room(now, to) || !self.may_send(now, bytes.len(), urgency) {
                // Room: one was just taken out.
                let _ = self.small.push_back((to, bytes));
                continue;
            }
            out.to = to;
            out.control[..bytes.len()].copy_from_slice(&bytes);
            out.control_len = bytes.len();
            self.account(now, to, bytes.len(), None, what);
            return true;
        }
        false
    }

    /// Whether news may be told: whether words have not yet taken what they may; if they have, it is noted when they may again.
    pub(super) fn may_talk(&mut self, now: Instant) -> bool {
        let rate_bps = match self.config.upload_limit_bps {
            None => return true,
            Some(limit) => {
                // The source keeps free what it has not granted yet: everybody waits for that.
                let promised = match self.streams.iter().any(|it| it.source.is_some()) {
                    true => places_bps(limit),
                    false => self.granted_bps(),
                };
                let left = limit.saturating_sub(promised);
                let bitrates = self.streams.iter().filter_map(|s| s.card.as_ref());
                let bitrates = bitrates.map(|card| u64::from(card.descriptor.bitrate_bps));
                let bitrate = bitrates.sum::<u64>();
                left.max(limit / 10)
                    .max((bitrate / 5).min(FIFTH_BPS).max(bitrate / 20))
                    .max(MIN_WORDS_BPS)
            }
        };
        let may = self.words.allows(now, rate_bps);
        if !may {
            let ready = self.words.ready_at(rate_bps);
            self.held_until = Some(self.held_until.map_or(ready, |at| at.min(ready)));
        }
        may
    }

    /// What was held back may be said now.
    pub(super) fn look_again(&mut self) {
        if core::mem::take(&mut self.holds_words) {
            self.peers.note_owing(0..self.peers.end());
        }
    }

    /// A control datagram for somebody who is owed one.
    fn poll_words(&mut self, now: Instant, out: &mut Transmit) -> bool {
        let mut news = None;
        let owing = self.peers.take_owing();
        for id in owing.clone() {
            if self.peers.get(id).is_some() && !self.has_room_for(now, id) {
                self.holds_words = true;
                continue;
            }
            let Some(peer) = self.peers.get(id) else {
                continue;
            };
            let probes = peer.moving_to.is_some_and(|moving| moving.due);
            let presses = peer.ping_due
                || peer.gauge_due
                || peer.unknown.is_some()
                || peer.pong.is_some()
                || peer.bye.is_some()
                || self.owes(id, false);
            let tells = !presses && self.owes(id, true);
            let may_tell = tells && *news.get_or_insert_with(|| self.may_talk(now));
            self.holds_words |= tells && !may_tell;
            if probes && self.write_probe(now, id, out)
                || (presses || may_tell) && self.write_words(now, id, out)
            {
                self.peers.note_owing(id..owing.end);
                return true;
            }
        }
        false
    }

    /// Whether something is owed in any stream that has to be said now; with `news`, whether anything is owed.
    pub(super) fn owes(&self, id: PeerId, news: bool) -> bool {
        (0..self.streams.len()).any(|at| self.peers.link(id, at).due.presses(news))
    }

    fn write_words(&mut self, now: Instant, id: PeerId, out: &mut Transmit) -> bool {
        let mut plain = [0; MAX_CONTROL_BYTES];
        let mut letter = Letter {
            room: &mut plain,
            len: 0,
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        if let Some((token, said_at)) = peer.ping.as_mut().filter(|_| peer.ping_due) {
            *said_at = now;
            let (token, sent) = (*token, ticks(now.as_us()));
            letter.add(&Message::Ping { token, sent });
            peer.ping_due = false;
        }
        if core::mem::take(&mut peer.gauge_due) {
            // The token says when it was sent: nothing has to be remembered.
            let (token, sent) = (long_ticks(now.as_us()), ticks(now.as_us()));
            letter.add(&Message::Ping { token, sent });
        }
        if let Some((token, delay, came_at)) = peer.pong.take() {
            let chunks = peer.least_delay.take();
            let delay = chunks.map_or(delay, |least| least_delay(least, delay));
            let waited = now.since(came_at).as_us() / TICK_US;
            letter.add(&Message::Pong {
                token,
                delay,
                waited: u32::try_from(waited).unwrap_or(u32::MAX),
            });
        }
        if let Some(tag) = peer.unknown.take() {
            let reason = Reason::UnknownStream;
            letter.add(&Message::Refuse {
                tag,
                stripes: 0,
                reason,
                try_these: Vec::new(),
            });
        }
        let bye = peer.bye;
        for at in 0..self.streams.len() {
            self.write_stream_words(now, id, at, &mut letter);
        }
        self.write_jobs(now, id, &mut letter);
        if let Some(reason) = bye {
            letter.add(&Message::Bye { reason });
        }
        let len = letter.len;
        let sent = self.post(now, id, &plain[..len], Traffic::Words, out);
        if let Some(reason) = bye {
            let why = if reason == Reason::Leaving {
                Down::Bye
            } else {
                Down::Unneeded
            };
            self.drop_peer(now, id, why);
        }
        sent
    }

    /// A Ping, alone, to an address that a neighbour was heard from.
    fn write_probe(&mut self, now: Instant, id: PeerId, out: &mut Transmit) -> bool {
        let Some(moving) = self
            .peers
            .get_mut(id)
            .and_then(|peer| peer.moving_to.as_mut())
        else {
            return false;
        };
        moving.asked_at = Some(now);
        moving.due = false;
        let Moving { addr, token, .. } = *moving;
        let mut plain = [0; 16];
        let mut letter = Letter {
            room: &mut plain,
            len: 0,
        };
        // It measures nothing, and is short.
        letter.add(&Message::Ping { token, sent: 0 });
        let len = letter.len;
        let sent = self.post(now, id, &plain[..len], Traffic::Words, out);
        out.to = addr;
        sent
    }

    /// Seals a letter and addresses it.
    fn post(
        &mut self,
        now: Instant,
        id: PeerId,
        plain: &[u8],
        what: Traffic,
        out: &mut Transmit,
    ) -> bool {
        let Some(peer) = self.peers.get_unnoted(id) else {
            return false;
        };
        if plain.is_empty() {
            return false;
        }
        out.control[CONTROL_HEADER_BYTES..][..plain.len()].copy_from_slice(plain);
        let Ok(len) = peer.keys.seal(peer.theirs, &mut out.control, plain.len()) else {
            return false;
        };
        let to = peer.addr;
        out.to = to;
        out.control_len = len;
        peer.told_at = now;
        self.account(now, to, len, Some(id), what);
        if let Some(at) = self.only_stream(id) {
            self.streams[at].stats.tx_bytes += self.on_line(to, len) as u64;
        }
        true
    }

    /// What a neighbour is owed in one stream. What does not fit stays owed.
    fn write_stream_words(&mut self, now: Instant, id: PeerId, at: usize, letter: &mut Letter<'_>) {
        let mut due = self.peers.link(id, at).due;
        let mut left = Due::default();
        if due.take(Due::CONFIRM) {
            due.add(Due::GRANT);
        }
        let order: [(Due, Write<'n>); 11] = [
            (Due::JOIN, Self::write_join),
            (Due::DESCRIPTOR, Self::write_descriptor),
            (Due::SUBSCRIBE, Self::write_subscribe),
            (Due::GRANT, Self::write_grant),
            (Due::REFUSE, Self::write_refuse),
            (Due::OFFER, Self::write_offer),
            (Due::HAVE, Self::write_have),
            (Due::EXCHANGE, Self::write_exchange),
            (Due::AUDIENCE, Self::write_audience),
            (Due::WANT_DESCRIPTOR, Self::write_want),
            (Due::WANT_PREAMBLE, Self::write_want_preamble),
        ];
        for (what, write) in order {
            if due.take(what) && !write(self, now, id, at, letter) {
                left.add(what);
            }
        }
        let (tag, mark) = (self.streams[at].tag, self.streams[at].title.mark());
        for (what, wanted) in [
            (Due::WANT_PEERS, Wanted::Peers),
            (Due::WANT_NEWS, Wanted::News),
            (Due::WANT_TITLE, Wanted::Title { mark }),
        ] {
            if due.take(what) && !letter.add(&Message::Want { tag, wanted }) {
                left.add(what);
            }
        }
        if let Some(link) = self.peers.link_mut(id, at) {
            link.due = left;
        }
    }

    fn write_join(&mut self, now: Instant, id: PeerId, at: usize, letter: &mut Letter<'_>) -> bool {
        let stream = &self.streams[at];
        let standing = self.standing(at);
        let said = letter.add(&Message::Join {
            key: stream.key,
            standing,
            version: stream.version(),
        });
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.join_at = now;
        }
        said
    }

    /// What this node is to a stream, as it tells others.
    pub(super) fn standing(&self, at: usize) -> Standing {
        let source = if self.streams[at].source.is_some() {
            Standing::SOURCE
        } else {
            0
        };
        let forwards = if self.config.forwards() && !self.streams[at].stopped {
            Standing::FORWARDS
        } else {
            0
        };
        let plays = if self.streams[at].plays {
            Standing::PLAYS
        } else {
            0
        };
        Standing(source | forwards | plays)
    }

    fn write_descriptor(
        &mut self,
        _: Instant,
        id: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let Some(card) = self.streams[at].card.as_ref() else {
            return true;
        };
        let said = letter.add(&Message::Descriptor {
            bytes: card.bytes(),
        });
        let version = card.descriptor.version;
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.version = version;
        }
        said
    }

    fn write_subscribe(
        &mut self,
        now: Instant,
        id: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let stripes = self.wanted_from(id, at);
        let stream = &self.streams[at];
        // A node that plays begins a burst in the past; a relay takes what comes.
        let fresh =
            stream.plays && !stream.playout.started && stream.ring.end() == stream.ring.tail();
        let back = if fresh { SEALS_BACK_MS } else { 1_000 };
        let seals = self.seals_from(id, at);
        let spare = stripes & self.spare_stripes(at);
        let said = letter.add(&Message::Subscribe {
            tag: stream.tag,
            stripes,
            spare,
            seals,
            back_ms: back as u32,
        });
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.asked_at = now;
            link.granted_up &= stripes;
            link.told_spare = spare;
        }
        said
    }

    fn write_grant(&mut self, _: Instant, id: PeerId, at: usize, letter: &mut Letter<'_>) -> bool {
        letter.add(&Message::Grant {
            tag: self.streams[at].tag,
            stripes: self.peers.link(id, at).granted_down,
        })
    }

    fn write_refuse(&mut self, _: Instant, id: PeerId, at: usize, letter: &mut Letter<'_>) -> bool {
        let Some((stripes, reason)) = self.peers.link(id, at).refuse else {
            return true;
        };
        let Some(addr) = self.peers.get(id).map(|peer| peer.addr) else {
            return true;
        };
        let try_these = self.try_these(at, addr);
        let said = letter.add(&Message::Refuse {
            tag: self.streams[at].tag,
            stripes,
            reason,
            try_these,
        });
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.refuse = None;
        }
        said
    }

    fn write_offer(
        &mut self,
        now: Instant,
        id: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let (stripes, home, places) = self.offer_for(at, id);
        let mut hops = Vec::new();
        for stripe in super::stream::bits(stripes) {
            // Room: there are at most as many stripes.
            let _ = hops.push(self.stripe_hops(at, usize::from(stripe)));
        }
        let said = letter.add(&Message::Offer {
            tag: self.streams[at].tag,
            stripes,
            home,
            hops,
            places,
        });
        let told_hops = self.hops_told(at, id);
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.told_hops = told_hops;
            link.told_offer = (stripes, home, places.min(1));
            link.offered_at = now;
        }
        said
    }

    fn write_have(&mut self, now: Instant, id: PeerId, at: usize, letter: &mut Letter<'_>) -> bool {
        let stream = &self.streams[at];
        let Some(n) = stream.card.as_ref().map(|card| card.n()) else {
            return true;
        };
        let ends = stream.heads[..n]
            .iter()
            .map(|h| (h.end.max(h.rebuilt), h.at != Instant::ZERO || h.rebuilt > 0));
        let head = ends.clone().map(|(end, _)| end).max().unwrap_or(0);
        let mut behind: Vec<u8, MAX_N> = Vec::new();
        for (end, any) in ends {
            let gap = u8::try_from(head - end).unwrap_or(u8::MAX);
            // Room: there are at most as many stripes.
            let _ = behind.push(if any { gap } else { u8::MAX });
        }
        let said = letter.add(&Message::Have {
            tag: stream.tag,
            tail: stream.ring.tail(),
            head,
            behind,
        });
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.told_at = now;
        }
        said
    }

    fn write_exchange(
        &mut self,
        _: Instant,
        id: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let Some(to) = self.peers.get(id).map(|peer| peer.addr) else {
            return true;
        };
        let mut peers: Vec<PeerHint, { crate::wire::message::MAX_EXCHANGE }> = Vec::new();
        let salt = self.rng.next_u64() as usize;
        let capacity = self.peers.capacity().max(1);
        for i in 0..capacity {
            let other = (i + salt % capacity) % capacity;
            let Some(peer) = self.peers.get(other).filter(|_| other != id) else {
                continue;
            };
            let link = self.peers.link(other, at);
            let told = link.joined && link.standing.forwards() && !link.standing.is_source();
            if told && self.worth_telling(peer.addr, to) {
                peers.extend(
                    peer.addr
                        .socket()
                        .map(|addr| PeerHint {
                            addr,
                            home: link.home,
                        })
                        .filter(|_| !peers.is_full()),
                );
            }
        }
        peers.is_empty()
            || letter.add(&Message::PeerExchange {
                tag: self.streams[at].tag,
                peers,
            })
    }

    fn write_audience(
        &mut self,
        _: Instant,
        id: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let listeners = self.audience_for(id, at);
        let said = letter.add(&Message::Audience {
            tag: self.streams[at].tag,
            listeners,
        });
        if let Some(link) = self.peers.link_mut(id, at).filter(|_| said) {
            link.told_listeners = listeners;
        }
        said
    }

    fn write_want(&mut self, _: Instant, _: PeerId, at: usize, letter: &mut Letter<'_>) -> bool {
        letter.add(&Message::Want {
            tag: self.streams[at].tag,
            wanted: Wanted::Descriptor,
        })
    }

    fn write_want_preamble(
        &mut self,
        _: Instant,
        _: PeerId,
        at: usize,
        letter: &mut Letter<'_>,
    ) -> bool {
        let Some((version, offset)) = self.streams[at].preamble.missing() else {
            return true;
        };
        letter.add(&Message::Want {
            tag: self.streams[at].tag,
            wanted: Wanted::Preamble { version, offset },
        })
    }

    /// Serves the first of the things owed once, and in the same letter what else its neighbour is owed.
    fn poll_jobs(&mut self, now: Instant, out: &mut Transmit) -> bool {
        for _ in 0..self.jobs.len() {
            let Some(job) = self.jobs.pop() else {
                return false;
            };
            if !self.has_room_for(now, job.peer()) {
                self.queue(job);
                continue;
            }
            if job.is_bulky() && !self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Stream) {
                // It waits behind the others, unless nothing may ever be sent here.
                if self.config.forwards() {
                    self.queue(job);
                }
            } else if self.serve(now, job, out) {
                return true;
            }
        }
        false
    }

    fn serve(&mut self, now: Instant, job: Job, out: &mut Transmit) -> bool {
        let mut plain = [0; MAX_CONTROL_BYTES];
        let mut letter = Letter {
            room: &mut plain,
            len: 0,
        };
        self.write_job(now, job, &mut letter);
        let only_seals = self.write_jobs(now, job.peer(), &mut letter) && job.is_seal();
        let what = if only_seals {
            Traffic::Seal
        } else {
            Traffic::Words
        };
        let len = letter.len;
        self.post(now, job.peer(), &plain[..len], what, out)
    }

    /// All that waits for a neighbour and fits: a datagram's headers are longer than most of it. Whether it was nothing but seals.
    fn write_jobs(&mut self, now: Instant, id: PeerId, letter: &mut Letter<'_>) -> bool {
        let mut only_seals = true;
        for _ in 0..self.jobs.len() {
            let Some(job) = self.jobs.pop() else { break };
            let joins = job.peer() == id && !job.is_bulky();
            if joins && self.write_job(now, job, letter) {
                only_seals &= job.is_seal();
            } else {
                self.queue(job);
            }
        }
        only_seals
    }

    /// Writes what is owed once; false when it does not fit any more. What is no longer here needs no room.
    fn write_job(&self, now: Instant, job: Job, letter: &mut Letter<'_>) -> bool {
        let Some(it) = self.streams.get(usize::from(job.stream())) else {
            return true;
        };
        let tag = it.tag;
        match job {
            Job::Seal { block, .. } => self.add_seal(now, usize::from(job.stream()), block, letter),
            Job::Title { .. } => {
                let (bytes, born_at) = it.title.seal();
                let age_ms = u32::try_from(now.since(born_at).as_ms()).unwrap_or(u32::MAX);
                letter.add(&Message::Seal { age_ms, bytes })
            }
            Job::Preamble {
                version, offset, ..
            } => {
                let Some(bytes) = it.preamble.serve(version, offset, PREAMBLE_PIECE_BYTES) else {
                    return true;
                };
                letter.add(&Message::Preamble {
                    tag,
                    version,
                    offset,
                    bytes,
                })
            }
            Job::Want { block, stripes, .. } => letter.add(&Message::Want {
                tag,
                wanted: Wanted::Chunks { block, stripes },
            }),
            Job::Lack { block, stripes, .. } => letter.add(&Message::Lack {
                tag,
                block,
                stripes,
            }),
            Job::WantSeals { first, count, .. } => letter.add(&Message::Want {
                tag,
                wanted: Wanted::Seals { first, count },
            }),
        }
    }

    /// Adds a seal with its age; false when it does not fit any more.
    fn add_seal(&self, now: Instant, at: usize, block: u64, letter: &mut Letter<'_>) -> bool {
        let ring = self.streams.get(at).map(|stream| &stream.ring);
        let Some((bytes, row)) = ring.and_then(|ring| ring.seal(block).zip(ring.row(block))) else {
            return true;
        };
        let age_ms = u32::try_from(now.since(row.born_at).as_ms()).unwrap_or(u32::MAX);
        letter.add(&Message::Seal { age_ms, bytes })
    }

    /// A seal for a neighbour.
    pub(super) fn write_seal(
        &mut self,
        now: Instant,
        id: PeerId,
        at: usize,
        block: u64,
        out: &mut Transmit,
    ) -> bool {
        let mut plain = [0; MAX_CONTROL_BYTES];
        let mut letter = Letter {
            room: &mut plain,
            len: 0,
        };
        self.add_seal(now, at, block, &mut letter);
        let len = letter.len;
        self.post(now, id, &plain[..len], Traffic::Seal, out)
    }

    /// Whether the bucket lets a datagram of this size through; if not, it is noted when it will.
    pub(super) fn may_send(
        &mut self,
        now: Instant,
        payload_bytes: usize,
        urgency: Urgency,
    ) -> bool {
        // Whether it goes over IPv4 or IPv6 does not matter here.
        let bytes = payload_bytes + self.config.overhead_bytes + IPV6_EXTRA_HEADER_BYTES;
        if self.bucket.allows(now, bytes, urgency) {
            return true;
        }
        let ready = self.bucket.ready_at(bytes, urgency);
        self.held_until = [self.held_until, ready].into_iter().flatten().min();
        false
    }
}
