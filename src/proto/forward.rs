//! The parent's side: who is granted which stripes, and the chunks on their way to children.

use super::bucket::{Urgency, places_bps};
use super::job::Job;
use super::node::{Node, StreamId};
use super::peer::{Due, Link, PeerId};
use super::stream::{SEAL_ENTRY, bits};
use super::transmit::{MAX_BATCH, Transmit};
use super::unheard::OLD;
use super::upkeep::PROBE_QUIET;
use crate::limits::{CHUNK_PREFIX_BYTES, MAX_DATAGRAM_BYTES};
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::chunk::{ChunkId, prefix};
use crate::wire::message::Reason;
use core::cmp::Reverse;

/// Most log entries one child is taken through in one go, so that a long log is no long turn.
const MAX_STEPS: usize = 512;

/// One part of so many of a source's upload is not given out as places.
const SOURCE_KEEPS: u64 = 16;

/// What a child asks for: stripes, those of them it could do without, whether the seals as well, and whether it waits for the answer.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub stripes: u32,
    pub spare: u32,
    pub seals: bool,
    pub is_hurried: bool,
}

/// A batch on its way: to whom, and what it may hold.
pub(super) struct Load {
    to: Addr,
    prefix: [u8; CHUNK_PREFIX_BYTES],
    /// Headers of each datagram.
    pub(super) overhead_bytes: usize,
    /// What the limit leaves now.
    room_bytes: usize,
    turn_bytes: usize,
    /// Chunks.
    most: usize,
    /// Length of the chunk for which there was no room.
    short_bytes: Option<usize>,
    /// What it holds, without the headers.
    pub(super) bytes: usize,
}

impl Node<'_> {
    /// A child says which stripes it wants from here: the whole set.
    pub(super) fn on_subscribe(
        &mut self,
        now: Instant,
        id: PeerId,
        at: StreamId,
        wish: Wish,
        back: Span,
    ) {
        let link = *self.peers.link(id, at);
        let kept = link.granted_down & wish.stripes;
        let mut granted = kept;
        // What comes from a neighbour is not sent back to it.
        let offered = self.offered(at).0 & !self.wanted_from(id, at);
        self.make_way(now, at, id, wish.stripes & offered & !wish.spare);
        for stripe in self.scarce_first(at, wish.stripes & !kept & offered) {
            let new = (granted & !kept).count_ones() as u16;
            let spare = wish.spare >> stripe & 1 != 0;
            if self.places(at, id) <= new && (spare || !self.make_room(at, id, stripe)) {
                break;
            }
            granted |= 1 << stripe;
        }
        let refused = wish.stripes & !granted;
        let log_end = self.streams[at].log.end();
        let released = self.streams[at].head_end();
        let Some(link) = self.peers.link_mut(id, at) else {
            return;
        };
        if link.granted_down == 0 {
            link.cursor = log_end;
        }
        if granted & !kept != 0 {
            link.fed_from = released;
            link.fresh |= granted & !kept;
        }
        // Whoever gets no chunks from here reads the seals where it gets them.
        let seals = wish.seals && granted != 0;
        let begins = seals && !link.wants_seals;
        let news = link.granted_down != granted;
        (link.granted_down, link.spare, link.wants_seals) = (granted, wish.spare & granted, seals);
        // What stays as it was is said with the next news.
        link.due.add(match news || wish.is_hurried {
            true => Due::GRANT,
            false => Due::CONFIRM,
        });
        if refused != 0 {
            let reason = if refused & offered == 0 {
                Reason::NotCarried
            } else {
                Reason::Full
            };
            link.refuse = Some((refused, reason));
            link.due.add(Due::REFUSE);
        }
        let needed = refused & offered & !wish.spare;
        if needed != 0 {
            link.turned_away_at = now;
        }
        self.say_again(now, at, granted & !kept);
        if needed != 0 {
            self.probe_children(now, at, PROBE_QUIET);
        }
        if begins {
            self.queue_seals_since(now, id, at, back);
        }
        if news {
            self.upkeep_at = now;
        }
    }

    fn queue_seals_since(&mut self, now: Instant, id: PeerId, at: StreamId, back: Span) {
        let Some(stream) = self.streams.get(at) else {
            return;
        };
        let jobs = &mut self.jobs;
        stream.groups_since(now, back, |block| {
            // A lost one is asked for.
            let _ = jobs.push(Job::Seal {
                peer: id,
                stream: at as u8,
                block,
            });
        });
    }

    /// Copies of each stripe that are granted.
    fn copies(&self, at: StreamId, stripe: u8) -> usize {
        self.peers
            .in_stream(at)
            .filter(|(_, peer, link)| peer.answers() && link.granted_down & 1 << stripe != 0)
            .count()
    }

    /// The stripes of a mask, those with the fewest copies first.
    fn scarce_first(&self, at: StreamId, mask: u32) -> impl Iterator<Item = u8> + use<> {
        let mut order: heapless::Vec<(usize, u8), 32> = heapless::Vec::new();
        for stripe in bits(mask) {
            // Room: a mask has 32 bits.
            let _ = order.push((self.copies(at, stripe), stripe));
        }
        order.sort_unstable();
        order.into_iter().map(|(_, stripe)| stripe)
    }

    /// Stripe copies that can still be granted to a peer.
    pub(super) fn places(&self, at: StreamId, id: PeerId) -> u16 {
        let Some(card) = self.streams[at].card.as_ref() else {
            return 0;
        };
        // Counting the children is what takes long, so it comes last.
        let full = || !self.is_child(id) && self.children() >= self.config.max_children;
        if !self.may_grant() || full() {
            return 0;
        }
        if let Some(addr @ Addr::Line(_)) = self.peers.get(id).map(|peer| peer.addr) {
            return self.line_places(at, id, addr);
        }
        let Some(limit) = self.uplink_bps() else {
            return (self.config.max_children * card.n()).min(usize::from(u16::MAX)) as u16;
        };
        // At the source, which all look to when something is lost, room is kept for words and for what is said again.
        let kept = match self.streams[at].source {
            Some(_) => limit / SOURCE_KEEPS,
            None => 0,
        };
        let taken = self.granted_bps() + self.withheld_bps() + kept;
        let free = places_bps(limit).saturating_sub(taken);
        u16::try_from(free / card.stripe_bps()).unwrap_or(u16::MAX)
    }

    /// What a peer is offered: stripes, those this node prefers, and for how many there are places: free ones, and those that it would be
    /// given at the cost of others. Where only what it will hand on is given at others' cost, it is offered nothing else.
    pub(super) fn offer_for(&self, at: StreamId, id: PeerId) -> (u32, u32, u16) {
        let (stripes, home) = self.offered(at);
        let free = self.places(at, id);
        if free > 0
            || !self.may_grant()
            || self.is_line(id)
            || !self.is_child(id) && self.children() >= self.config.max_children
        {
            return (stripes, home, free);
        }
        let newcomer = self.peers.link(id, at);
        let others = self
            .peers
            .in_stream(at)
            .filter(|(other, _, _)| *other != id);
        let (mut spare, mut wasted) = (0, 0);
        for (_, _, link) in others {
            spare += link.spare.count_ones();
            wasted += not_handed_on(link).count_ones();
        }
        let hands_on = newcomer.standing.forwards();
        if spare > 0 || !hands_on {
            return (stripes, home, spare as u16);
        }
        let bare = self.bare_stripes(at) != 0;
        let several = self.doubled(at, newcomer) != 0;
        let places = wasted
            .min(newcomer.home.count_ones())
            .max(u32::from(bare || several));
        let its = newcomer.home | newcomer.granted_down;
        match stripes & its {
            its if its != 0 && places > 0 => (its, home, places as u16),
            _ => (stripes, home, 0),
        }
    }

    /// At the source, the stripes that nobody gets from it: until somebody does, the grid has to do without them.
    pub(super) fn bare_stripes(&self, at: StreamId) -> u32 {
        match (&self.streams[at].source, &self.streams[at].card) {
            (Some(_), Some(card)) => {
                card.all_stripes() & !self.granted_to(at, |_, peer| peer.answers())
            }
            _ => 0,
        }
    }

    /// At the source, stripes that a child has and nobody else that answers.
    pub(super) fn sole(&self, at: StreamId, id: PeerId, link: &Link) -> u32 {
        if self.streams[at].source.is_none() {
            return 0;
        }
        link.granted_down & !self.granted_to(at, |other, peer| other != id && peer.answers())
    }

    /// At the source, stripes that a neighbour would hand on and that a child has who has others too: losing one child is to cost the
    /// grid one stripe, so whoever has none comes first.
    fn doubled(&self, at: StreamId, newcomer: &Link) -> u32 {
        if self.streams[at].source.is_none() || newcomer.granted_down != 0 {
            return 0;
        }
        let children = self.peers.in_stream(at);
        let several = children.filter(|(_, _, link)| link.granted_down.count_ones() > 1);
        newcomer.home & several.fold(0, |mask, (_, _, link)| mask | link.granted_down)
    }

    pub(super) fn is_line(&self, id: PeerId) -> bool {
        self.peers
            .get(id)
            .is_some_and(|peer| peer.addr.socket().is_none())
    }

    pub(super) fn children(&self) -> usize {
        self.peers
            .iter()
            .filter(|(id, _)| self.is_child(*id))
            .count()
    }

    /// Bits a second that all granted stripes take, and the seals.
    pub(super) fn granted_bps(&self) -> u64 {
        let of = |at: usize| -> u64 {
            let (mut copies, mut readers, mut hand_on) = (0, 0, 0);
            for (_, peer, link) in self.peers.in_stream(at) {
                if peer.addr.socket().is_some() && peer.answers() {
                    copies += link.granted_down.count_ones();
                }
                readers += u32::from(link.wants_seals && link.granted_down != 0);
                hand_on += u32::from(link.standing.forwards());
            }
            let stream = &self.streams[at];
            // At the source as many may come to read seals as its stripes can go to who hand them on.
            let seals = match stream.source {
                Some(_) => readers.max(copies.min(hand_on)),
                None => readers,
            };
            stream.card.as_ref().map_or(0, |card| {
                u64::from(copies) * card.stripe_bps() + u64::from(seals) * card.seal_bps()
            })
        };
        (0..self.streams.len()).map(of).sum()
    }

    /// Whether a neighbour is fed from here.
    pub(super) fn is_child(&self, id: PeerId) -> bool {
        (0..self.streams.len()).any(|at| self.peers.link(id, at).granted_down != 0)
    }

    /// Takes a place from another child: a stripe that child can do without; or, for one that will hand the stripe on and so reach
    /// many, a stripe whose holder will not.
    fn make_room(&mut self, at: StreamId, id: PeerId, stripe: u8) -> bool {
        let newcomer = self.peers.link(id, at);
        let hands_on = newcomer.home & 1 << stripe != 0 && newcomer.standing.forwards();
        // A line has its own room, which nobody else takes.
        let barred =
            !self.may_grant() || !self.is_child(id) && self.children() >= self.config.max_children;
        if barred || self.is_line(id) {
            return false;
        }
        // The source can do with fewer copies of a stripe that several have, and not with none.
        let bare = hands_on && self.bare_stripes(at) >> stripe & 1 != 0;
        let doubled = hands_on && self.doubled(at, newcomer) >> stripe & 1 != 0;
        let yields = |id: PeerId, link: &Link| {
            let sole = self.sole(at, id, link);
            let wasted = if hands_on { not_handed_on(link) } else { 0 };
            let several = link.granted_down.count_ones() > 1;
            let gently = match link.spare & link.granted_down & !sole {
                0 if bare || doubled => link.granted_down & !sole,
                0 => wasted & !sole,
                spare => spare,
            };
            // All that hangs on whoever loses what nobody else has must find its way to the newcomer: only if nothing else is to be had.
            match gently {
                0 if doubled && several => (false, sole & 1 << stripe),
                0 => (false, (wasted | link.spare) & sole & 1 << stripe),
                some => (true, some),
            }
        };
        // The same stripe if somebody has it: the newcomer can hand it on to them.
        let others = self.peers.in_stream(at);
        let victims = others.filter_map(|(other, peer, link)| {
            let (gently, theirs) = yields(other, link);
            let fits = other != id && theirs != 0;
            let order = [gently, link.spare & theirs != 0, theirs >> stripe & 1 != 0];
            let order = order.iter().fold(0, |sum, &is| sum << 1 | u8::from(is));
            let count = link.granted_down.count_ones();
            fits.then_some((order, count, Reverse(peer.since), other, theirs))
        });
        let Some((.., victim, theirs)) = victims.max() else {
            return false;
        };
        let taken = if theirs & 1 << stripe != 0 {
            stripe
        } else {
            theirs.trailing_zeros() as u8
        };
        self.take_stripe(victim, at, taken);
        true
    }

    /// A stripe is no longer sent to a child, and it is told whom to try.
    pub(super) fn take_stripe(&mut self, id: PeerId, at: StreamId, stripe: u8) {
        if let Some(link) = self.peers.link_mut(id, at) {
            link.granted_down &= !(1 << stripe);
            link.spare &= !(1 << stripe);
            // What is still to be refused for the same reason goes with it.
            let full = link.refuse.filter(|(_, reason)| *reason == Reason::Full);
            let before = full.map_or(0, |(stripes, _)| stripes);
            link.refuse = Some((before | 1 << stripe, Reason::Full));
            link.due.add(Due::GRANT);
            link.due.add(Due::REFUSE);
        }
    }

    /// The next batch of chunks (or a seal) for a child, in turn.
    pub(super) fn poll_stream(&mut self, now: Instant, out: &mut Transmit) -> bool {
        // Looked at first, so that nobody loses his turn because the one before him took what there was.
        if !self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Stream) {
            return false;
        }
        let logged = self.streams.iter().map(|stream| stream.log.end()).sum();
        if self.all_fed == Some(logged) {
            return false;
        }
        // Whoever hands it on first: many wait for that. That they have it all need not be found out anew for each of the others.
        if self.trunk_fed != (now, logged) {
            if self.poll_turns(now, true, out) {
                return true;
            }
            self.trunk_fed = (now, logged);
        }
        let is_sent = self.poll_turns(now, false, out);
        if !is_sent && !self.is_anybody_behind() {
            self.all_fed = Some(logged);
        }
        is_sent
    }

    /// Whether some child has not been taken to the end of the log.
    fn is_anybody_behind(&self) -> bool {
        let ends = self.streams.iter().map(|stream| stream.log.end());
        ends.enumerate().any(|(at, end)| {
            let mut links = (0..self.peers.end()).map(|id| self.peers.link(id, at));
            links.any(|link| link.is_behind(end))
        })
    }

    /// The same among those who hand the stream on, or among the others.
    fn poll_turns(&mut self, now: Instant, hands_on: bool, out: &mut Transmit) -> bool {
        let (capacity, streams) = (self.peers.capacity(), self.streams.len());
        let mut left = capacity * streams;
        while left > 0 {
            let (id, at) = self.turns[usize::from(hands_on)];
            // Places behind the last neighbour are passed over together.
            let vacant = id >= self.peers.end();
            let places = if vacant { (capacity - id).min(left) } else { 1 };
            left -= places;
            self.turns[usize::from(hands_on)] = if id + places < capacity {
                (id + places, at)
            } else {
                (0, if at + 1 < streams { at + 1 } else { 0 })
            };
            let link = self.peers.link(id, at);
            let is_next = link.standing.forwards() == hands_on
                && self
                    .streams
                    .get(at)
                    .is_some_and(|stream| link.is_behind(stream.log.end()));
            if is_next && self.feed(now, id, at, out) {
                return true;
            }
        }
        false
    }

    /// Takes a child through the log from where it stands.
    fn feed(&mut self, now: Instant, id: PeerId, at: StreamId, out: &mut Transmit) -> bool {
        let link = self.peers.link(id, at);
        let (mask, wants_seals, before) = (link.granted_down, link.wants_seals, link.cursor);
        if !self.has_room_for(now, id) {
            return false;
        }
        // It may be gone: what it would get serves those who lost it as well. If it is not, it is taken on from where it stood.
        if self.peers.get(id).is_some_and(|peer| peer.unanswered > 0) {
            return false;
        }
        let Some(mut load) = self.begin_load(now, id) else {
            return false;
        };
        let mut cursor = before.max(self.streams[at].log.tail());
        self.streams[at].stats.skipped += cursor - before;
        let too_late = match load.to.socket() {
            Some(_) => self.streams[at].too_late,
            None => 0,
        };
        for _ in 0..MAX_STEPS {
            let Some(entry) = self.streams[at].log.get(cursor) else {
                break;
            };
            if entry.index == SEAL_ENTRY {
                if wants_seals && out.count > 0 {
                    break;
                }
                if wants_seals && !self.may_send(now, MAX_DATAGRAM_BYTES, Urgency::Words) {
                    break;
                }
                cursor += 1;
                if wants_seals && self.write_seal(now, id, at, entry.block, out) {
                    break;
                }
            } else if mask & 1 << entry.index == 0 {
                cursor += 1;
            } else if cursor < too_late && self.may_skip(now, at, id, entry, cursor) {
                self.streams[at].stats.skipped += 1;
                cursor += 1;
            } else if !self.append(at, entry, &mut load, out) {
                break;
            } else {
                cursor += 1;
            }
        }
        self.peers.move_cursor(id, at, cursor);
        self.pay(now, id, at, &load, out);
        out.count > 0 || out.control_len > 0
    }

    /// Whether a chunk at `cursor` that is late need not be sent: others have it, or it is too late for everybody. What the source
    /// says to nobody is nowhere.
    fn may_skip(
        &self,
        now: Instant,
        at: StreamId,
        id: PeerId,
        chunk: ChunkId,
        cursor: u64,
    ) -> bool {
        let stream = &self.streams[at];
        let row = stream.ring.row(chunk.block);
        if stream.source.is_none() || row.is_none_or(|row| now.since(row.born_at) > OLD) {
            return true;
        }
        let has_it = |link: &Link| {
            let is_fresh = link.fresh >> chunk.index & 1 != 0 && link.fed_from > chunk.block;
            link.granted_down >> chunk.index & 1 != 0 && link.cursor > cursor && !is_fresh
        };
        let mut others = self.peers.in_stream(at).filter(|(other, ..)| *other != id);
        others.any(|(_, peer, link)| peer.answers() && has_it(link))
    }

    /// What a batch for a neighbour may hold: looked up once for all its chunks.
    pub(super) fn begin_load(&mut self, now: Instant, id: PeerId) -> Option<Load> {
        let peer = self.peers.get(id)?;
        let (to, session) = (peer.addr, peer.theirs);
        Some(Load {
            to,
            prefix: prefix(session, now.as_us(), 0),
            overhead_bytes: self.on_line(to, 0),
            room_bytes: self.bucket.room(now),
            turn_bytes: self.bucket.turn_bytes(),
            // A line is asked for room before each.
            most: if to.socket().is_some() { MAX_BATCH } else { 1 },
            short_bytes: None,
            bytes: 0,
        })
    }

    /// Adds a chunk to a batch. False when the batch must end before it. A chunk that is gone is skipped.
    pub(super) fn append(
        &mut self,
        at: StreamId,
        id: ChunkId,
        load: &mut Load,
        out: &mut Transmit,
    ) -> bool {
        let stream = &mut self.streams[at];
        let Some((slot, len)) = stream.prepare(id, &load.prefix) else {
            stream.stats.skipped += 1;
            return true;
        };
        // Only the last of a batch may be shorter.
        let fits =
            out.count == 0 || out.last_bytes == out.segment_bytes && len <= out.segment_bytes;
        // A child's turn is as long as the bucket is deep: the others want their part of it.
        let turn_over = out.count * len >= load.turn_bytes;
        if !fits || turn_over || out.count >= load.most {
            return false;
        }
        if len + load.overhead_bytes > load.room_bytes {
            load.short_bytes = Some(len);
            return false;
        }
        if out.count == 0 {
            (out.to, out.stream, out.segment_bytes) = (load.to, at, len);
        }
        let joins = out.segment_bytes == stream.ring.longest_bytes();
        match out.runs.last_mut() {
            Some((_, last)) if joins && *last + 1 == slot => *last = slot,
            _ => {
                // Not full: there are no more of them than of chunks, and those were looked at above.
                let _ = out.runs.push((slot, slot));
            }
        }
        out.oldest = out.oldest.min(id.block);
        out.last_bytes = len;
        out.count += 1;
        load.room_bytes -= len + load.overhead_bytes;
        load.bytes += len;
        true
    }

    /// Counts the chunks of a batch, and pays for them.
    pub(super) fn pay(
        &mut self,
        now: Instant,
        id: PeerId,
        at: StreamId,
        load: &Load,
        out: &Transmit,
    ) {
        let count = out.count;
        if count > 0 {
            let sent = self.account_chunks(now, load.to, id, count, load.bytes);
            let stats = &mut self.streams[at].stats;
            stats.forwarded += count as u64;
            stats.tx_bytes += sent;
        }
        if let Some(bytes) = load.short_bytes {
            // When there will be room again is noted.
            self.may_send(now, bytes, Urgency::Stream);
        }
    }
}

/// Stripes granted to a child that does not specialise in handing them on.
pub(super) fn not_handed_on(link: &Link) -> u32 {
    let handed_on = if link.standing.forwards() {
        link.home
    } else {
        0
    };
    link.granted_down & !handed_on
}
