//! What a node does twenty times a second while a stream flows, and twice a second otherwise.

use super::config::{MAX_STREAMS, Role};
use super::node::{Down, Node, StreamId};
use super::peer::{Due, Link, MISSED, Peer, PeerId};
use super::player::{Player, Stage};
use super::source::Source;
use super::stream::bits;
use crate::limits::MAX_N;
use crate::time::{Instant, Span};
use crate::wire::message::Reason;

const BUSY: Span = Span::from_ms(50);
const IDLE: Span = Span::from_ms(500);

/// Neighbours are told what is here this often, and in the same letter what can be had when it has changed, or every third time; that
/// this node now specialises in other stripes, or stands elsewhere, soon. What cannot wait (a stripe that stalls) is told at once.
const NEWS: Span = Span::from_s(8);

/// The same for a parent, which so hears from its child often enough not to ask whether it is there.
const NEWS_UP: Span = Span::from_s(6);
const SOON: Span = Span::from_ms(500);

/// A subscription is renewed this often, with the next news, or by itself after twice that: a parent keeps it for a minute
/// (`control::LEASE`).
const RENEW: Span = Span::from_s(10);

/// So much less often when nothing flows between them; still less if what this node has is not to be had, which is all there is to tell.
const STRANGERS: u64 = 2;

/// Silence after which a neighbour is asked whether it is there: often enough for the mappings of NATs (RFC 4787 section 4.3: two
/// minutes; in practice 30 s).
const QUIET: Span = Span::from_s(25);

/// As much of one that this node feeds on, and of one that is fed from here: its place is wanted by others.
const QUIET_PARENT: Span = Span::from_s(8);
const QUIET_CHILD: Span = Span::from_s(7);

/// As much of one that the source feeds: all others hang on these.
const QUIET_ROOT: Span = Span::from_ms(700);

/// A Ping without a Pong is said again after this long, plus round trips.
const PING_AGAIN: Span = Span::from_ms(150);

/// When somebody has to be turned away, children that were quiet for this long are asked, and no more often than that.
pub(super) const PROBE_QUIET: Span = Span::from_s(1);
const PROBE_PAUSE: Span = Span::from_ms(700);

/// The same when a child is missed: one loss is seldom alone.
const PROBE_QUIET_MISSED: Span = Span::from_ms(200);

/// Whoever was turned away waits this long for a place.
const WAITS: Span = Span::from_s(4);

/// Pings without an answer after which a neighbour is gone.
const MAX_UNANSWERED: u8 = 3;

/// A card or preamble that did not come is asked for again, of somebody else, after this long.
const FETCH_AGAIN: Span = Span::from_ms(300);

/// A relay goes on taking the whole stream this long after its last player left.
const LINGER: Span = Span::from_s(10);

/// After this long without anything, and the time that missing blocks are waited for, a stream is over and its ring goes back.
const OVER: Span = Span::from_s(60);

/// Without a new group for this long a node looks for others, however many it knows.
const STALE: Span = Span::from_s(3);

/// A node tries for better parents eagerly for this long.
const SETTLE: Span = Span::from_s(10);

/// With fewer neighbours than this, others are sought without delay.
const FEW: usize = 6;

/// Sessions a node likes to have for a stream beyond one for each stripe it takes.
const STANDBY: usize = 4;

impl Node<'_> {
    pub(super) fn upkeep(&mut self, now: Instant) {
        for id in 0..self.peers.end() {
            self.tend_peer(now, id);
        }
        self.keep_a_place(now);
        self.tend_uplink(now);
        self.forget_early(now);
        let mut busy = false;
        for at in 0..self.streams.len() {
            self.tend_players(now, at);
            self.note_heard(now, at);
            self.tend_children(now, at);
            self.tend_stripes(now, at);
            self.repair(now, at);
            self.tend_news(now, at);
            self.tend_lines(at);
            self.tend_card(now, at);
            self.tend_title(now, at);
            self.tend_neighbours(now, at);
            self.tend_ring(now, at);
            let stream = &self.streams[at];
            busy |= stream.plays
                || stream.parents.iter().any(|p| p.peer.is_some())
                || stream.source.is_some();
        }
        if now >= self.balance_at {
            for at in 0..self.streams.len() {
                self.balance(now, at);
            }
            // Often while it is new here, then seldom: each move costs others theirs.
            let settled = now.since(self.began) > SETTLE;
            let pause = if settled {
                8_000 + self.rng.below(8_000)
            } else {
                300 + self.rng.below(200)
            };
            self.balance_at = now + Span::from_ms(pause);
        }
        self.repair_at = self.overdue_at(now);
        self.upkeep_at = now + if busy { BUSY } else { IDLE };
    }

    /// When all places are taken, who is of no use goes, and is told: the next newcomer finds a place.
    fn keep_a_place(&mut self, now: Instant) {
        if self.peers.vacancy().is_none()
            && let Some(idle) = self.idle_peer(now)
        {
            self.dismiss(idle, Reason::Full);
        }
    }

    fn tend_peer(&mut self, now: Instant, id: PeerId) {
        let fed = (0..self.streams.len()).filter(|&at| self.peers.link(id, at).granted_down != 0);
        let patience = fed.map(|at| match self.streams[at].source {
            Some(_) => self.unhurried(at, QUIET_ROOT),
            None => self.seldom(at, QUIET_CHILD),
        });
        let patience = patience.min();
        let is_fed = patience.is_some();
        let feeds = (0..self.streams.len()).any(|at| self.peers.link(id, at).granted_up != 0);
        let patience = patience.unwrap_or(if feeds { QUIET_PARENT } else { QUIET });
        // Where upload is scarce answers wait for their turn.
        let shared = (0..self.streams.len()).filter(|&at| self.peers.link(id, at).joined);
        let again = shared.map(|at| self.unhurried(at, PING_AGAIN)).max();
        let again = again.unwrap_or(PING_AGAIN);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some((_, said_at)) = peer.ping.filter(|_| !peer.ping_due) {
            if now.since(said_at) > again + peer.rtt_or_guess().times(2) {
                peer.unanswered += 1;
                match peer.unanswered {
                    MAX_UNANSWERED.. => return self.drop_peer(now, id, Down::Silent),
                    MISSED if is_fed => self.on_child_missed(now, id),
                    _ => {}
                }
                self.ping(now, id);
            }
        } else if now.since(peer.heard_at) > patience || now.since(peer.told_at) > QUIET {
            self.ping(now, id);
        }
    }

    /// A child does not answer. If it is gone, so is what was sent to it, and the sooner its places are taken the better; if it is
    /// not, too much is granted for a while.
    fn on_child_missed(&mut self, now: Instant, id: PeerId) {
        for at in 0..self.streams.len() {
            self.mend(now, at, self.peers.link(id, at).granted_down);
            self.tell_turned_away(now, at);
            self.probe_children(now, at, PROBE_QUIET_MISSED);
        }
    }

    /// One loss is seldom alone: everybody who shares the flow and has been quiet is asked whether it is there, so that places
    /// held by the dead are free again soon.
    pub(super) fn probe_quiet(&mut self, now: Instant) {
        for id in 0..self.peers.end() {
            let flows = (0..self.streams.len()).filter(|&at| {
                let link = self.peers.link(id, at);
                link.granted_up | link.granted_down != 0
            });
            if let Some(patience) = flows.map(|at| self.unhurried(at, Span::from_s(1))).min() {
                self.ping_if_quiet(now, id, patience);
            }
        }
    }

    /// Gives back the ring of a stream that is over, once no player has anything left to read in it.
    fn tend_ring(&mut self, now: Instant, at: StreamId) {
        let stream = &self.streams[at];
        let patience = OVER + self.config.window;
        let makes = |source: &Source<'_>| source.next_at(Span::ZERO).is_some();
        let over = !stream.source.as_ref().is_some_and(makes)
            && stream
                .newest_at()
                .is_some_and(|newest| now.since(newest) > patience);
        let limit = stream.playout.limit;
        let has_read = |player: &Player| {
            player.stage != Stage::Playing || (player.block, player.offset) >= limit
        };
        let mut players = self.players.iter().flatten();
        if over && players.all(|player| player.stream != at || has_read(player)) {
            self.streams[at].let_go();
        }
    }

    /// Somebody had to be turned away: children that have been quiet for a while are asked whether they still need their places.
    pub(super) fn probe_children(&mut self, now: Instant, at: StreamId, quiet: Span) {
        if now < self.probe_at {
            return;
        }
        self.probe_at = now + self.unhurried(at, PROBE_PAUSE);
        let patience = self.unhurried(at, quiet);
        for id in 0..self.peers.end() {
            if self.peers.link(id, at).granted_down != 0 {
                self.ping_if_quiet(now, id, patience);
            }
        }
    }

    /// Places are free again: those who were turned away a moment ago are told; and at the source everybody, when nobody has a stripe
    /// from it any more.
    pub(super) fn tell_turned_away(&mut self, now: Instant, at: StreamId) {
        let bare = self.bare_stripes(at) != 0;
        for (_, _, link) in self.peers.each_link_mut(at) {
            if bare && link.joined || now.since(link.turned_away_at) < WAITS {
                link.turned_away_at = Instant::ZERO;
                link.due.add(Due::OFFER);
            }
        }
    }

    fn tend_players(&mut self, now: Instant, at: StreamId) {
        let anybody = self
            .players
            .iter()
            .flatten()
            .any(|player| player.stream == at);
        let stream = &mut self.streams[at];
        if stream.role == Role::Relay
            && stream.plays
            && !anybody
            && now.since(stream.idle_since) > LINGER
        {
            stream.plays = false;
            stream.playout.await_start();
        }
    }

    fn tend_children(&mut self, now: Instant, at: StreamId) {
        for (_, _, link) in self.peers.each_link_mut(at) {
            if link.granted_down != 0 && now >= link.lease_until {
                link.granted_down = 0;
                link.wants_seals = false;
            }
        }
    }

    /// How long news wait, which are told seldom anyway: at most twice as long where words weigh more.
    fn seldom(&self, at: StreamId, span: Span) -> Span {
        self.unhurried(at, span).min(span.times(2))
    }

    fn tend_news(&mut self, now: Instant, at: StreamId) {
        let (_, home) = self.offered(at);
        let news = self.seldom(at, NEWS);
        let news_up = self.seldom(at, NEWS_UP);
        let renew = self.seldom(at, RENEW);
        let strangers = news.times(STRANGERS + u64::from(!self.config.forwards()));
        let hops: [u8; MAX_N] = core::array::from_fn(|stripe| self.stripe_hops(at, stripe));
        let hops_of = |stripes| -> u16 {
            let each = bits(stripes).map(|stripe| u16::from(hops[usize::from(stripe)]));
            each.sum()
        };
        for id in 0..self.peers.end() {
            let link = self.peers.link(id, at);
            if !link.joined {
                continue;
            }
            // Whoever could be a parent is asked when one is needed; only those who share the flow are kept informed.
            let flows = link.granted_up | link.granted_down != 0;
            let pause = match link.granted_up {
                0 if flows => news,
                0 => strangers,
                _ => news_up,
            };
            let due_have = now.since(link.told_at) >= pause;
            // What has to be counted is counted when it can matter: this is done for everybody twenty times a second.
            let offered = now.since(link.offered_at);
            let is_same = |(stripes, home, places): (u32, u32, u16)| {
                link.told_offer == (stripes, home, places.min(1))
            };
            let moved = link.told_offer.1 != home
                || offered > SOON && link.told_hops != hops_of(link.granted_down);
            let due_offer = match moved {
                true => offered > SOON,
                false => due_have && (offered > pause.times(2) || !is_same(self.offer_for(at, id))),
            };
            // Whoever is asked for news all the time has none that are due.
            let asked = now.since(link.asked_at);
            let due_renewal =
                link.granted_up != 0 && asked >= if due_have { renew } else { renew + renew };
            let due_audience = due_have && link.told_listeners != self.audience_for(id, at);
            let Some(link) = self.peers.link_mut(id, at) else {
                continue;
            };
            for (is_due, what) in [
                (due_offer, Due::OFFER),
                (due_have, Due::HAVE),
                (due_renewal, Due::SUBSCRIBE),
                (due_audience, Due::AUDIENCE),
            ] {
                if is_due {
                    link.due.add(what);
                }
            }
        }
    }

    /// Listeners to tell a neighbour of: all of them to the parent nearest to the source, none to anybody else. Nearness falls along
    /// that way, so nobody is counted in a circle.
    pub(super) fn audience_for(&self, id: PeerId, at: StreamId) -> u32 {
        let parents = self.streams[at].parents.iter().enumerate();
        let nearest = parents.filter_map(|(stripe, parent)| {
            let peer = parent.peer?;
            Some((self.peers.link(peer, at).hops[stripe], peer))
        });
        match nearest.min() {
            Some((_, first)) if first == id => self
                .audience(at)
                .saturating_sub(self.peers.link(id, at).listeners),
            _ => 0,
        }
    }

    /// The hops of the stripes a child gets from here, added up: children of a circle see them climb.
    pub(super) fn hops_told(&self, at: StreamId, id: PeerId) -> u16 {
        let granted = bits(self.peers.link(id, at).granted_down);
        let hops = granted.map(|stripe| u16::from(self.stripe_hops(at, usize::from(stripe))));
        hops.sum()
    }

    fn tend_card(&mut self, now: Instant, at: StreamId) {
        for id in 0..self.peers.end() {
            let link = *self.peers.link(id, at);
            let Some(age) = self.peers.get(id).map(|peer| now.since(peer.since)) else {
                continue;
            };
            if !link.joined {
                // Our Join, or the answer to it, was lost; or it has nothing to do with any of our streams.
                let again = now.since(link.join_at) > Span::from_ms(400);
                if again && age < Span::from_s(5) && link.join_at > Instant::ZERO {
                    self.owe(id, at, Due::JOIN);
                } else if age > Span::from_s(10) && self.stranger(id) {
                    self.dismiss(id, Reason::UnknownStream);
                }
            }
        }
        self.fetch(now, at);
    }

    /// Asks one neighbour for the card or the preamble, if they are missing: a parent, which has what it sends or will have it soon; the
    /// source, which everybody knows first, only if it is a parent or nobody else is known.
    fn fetch(&mut self, now: Instant, at: StreamId) {
        let stream = &self.streams[at];
        let version = stream.version();
        let lacks_preamble = stream.card.is_some() && stream.preamble.missing().is_some();
        let wants_preamble = lacks_preamble && (stream.plays || self.demanded(at) != 0);
        if now < stream.fetch_at || version > 0 && !wants_preamble {
            return;
        }
        let patience = match version {
            // Whoever answers a Join sends it without being asked.
            0 => Span::from_ms(300),
            _ => Span::ZERO,
        };
        let able = |(_, _, link): &(PeerId, &Peer, &Link)| {
            link.joined && link.version >= version.max(1) && now.since(link.told_at) > patience
        };
        let salt = self.rng.next_u64();
        let by_lot = |(id, _, link): &(PeerId, &Peer, &Link)| {
            let is_parent = link.granted_up != 0;
            // Parents may all wait for each other: the source among them is asked as often as any.
            let is_spared = !is_parent && link.standing.is_source();
            (!is_parent, is_spared, salt.rotate_left(*id as u32))
        };
        let candidates = self.peers.in_stream(at).filter(able);
        let Some((id, ..)) = candidates.min_by_key(by_lot) else {
            return;
        };
        self.streams[at].fetch_at = now + self.unhurried(at, FETCH_AGAIN);
        let what = match version {
            0 => Due::WANT_DESCRIPTOR,
            _ => Due::WANT_PREAMBLE,
        };
        self.owe(id, at, what);
    }

    fn stranger(&self, id: PeerId) -> bool {
        (0..self.streams.len()).all(|at| !self.peers.link(id, at).joined)
    }

    /// Opens sessions until there are enough to choose from.
    fn tend_neighbours(&mut self, now: Instant, at: StreamId) {
        if self.leaving
            || self.streams[at].stopped
            || self.streams[at].source.is_some()
            || now < self.connect_at[at.min(MAX_STREAMS - 1)]
        {
            return;
        }
        // Those who could be parents.
        let able = |link: &Link| link.standing.forwards();
        let joined = self
            .peers
            .in_stream(at)
            .filter(|(_, _, link)| able(link))
            .count();
        let k = self.streams[at].card.as_ref().map_or(1, |card| card.k());
        let stripes = k + self.spare_wanted(at);
        let enough = (stripes + STANDBY)
            .min(self.peers.capacity() * 2 / 3)
            .max(1);
        let hungry = self.endangered(at) || joined == 0;
        // Nothing new for a while: those known here may all be cut off from the source together.
        let stale = self.streams[at].plays
            && self.streams[at]
                .head_age(now)
                .is_some_and(|age| age > STALE);
        let wanted = if hungry { enough * 2 } else { enough };
        if joined >= wanted && !stale || self.connecting() >= if hungry { 4 } else { 2 } {
            return;
        }
        let salt = self.rng.next_u64();
        match self
            .book
            .pick(at, now, salt)
            .and_then(|place| self.book.get(place)?.addr)
        {
            Some(addr) if self.peers.by_addr(addr).is_some() => self.book.set_busy(addr, true),
            Some(addr) => drop(self.connect(now, addr, at)),
            None if hungry => self.ask_for_peers(at),
            None => {}
        }
        let pause = match joined {
            _ if hungry => 20 + self.rng.below(60),
            0..FEW => 80 + self.rng.below(80),
            _ => 500 + self.rng.below(1_000),
        };
        let pause = self.unhurried(at, Span::from_ms(pause));
        self.connect_at[at.min(MAX_STREAMS - 1)] = now + pause;
    }

    fn ask_for_peers(&mut self, at: StreamId) {
        let joined = self.peers.in_stream(at).count() as u64;
        // One call in sixteen: this is called some twenty times a second.
        let which = self.rng.below(joined.max(1) * 16) as usize;
        let some = self.peers.in_stream(at).nth(which).map(|(id, _, _)| id);
        if let Some(id) = some {
            self.owe(id, at, Due::WANT_PEERS);
        }
    }
}
