//! The child's side: which stripes this node takes, from whom, and when a parent is replaced.

use super::card::Card;
use super::node::{Event, Node, StreamId};
use super::peer::{Due, Link, Peer, PeerId};
use super::stream::{Parent, bits, mask_of};
use crate::limits::MAX_N;
use crate::storage::ring::Row;
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;

/// Hops beyond which a stripe is taken to run in a circle.
const MAX_HOPS: u8 = 24;

/// Hops told of a stripe that is not taken here, because nobody asks for it; and of one that somebody waits for in vain.
const IDLE_HOPS: u8 = 12;
const ORPHAN_HOPS: u8 = 13;

/// An unanswered Subscribe is said again after this long, plus the round trip.
const ASK_AGAIN: Span = Span::from_ms(250);

/// Subscribes without an answer before another parent is looked for.
const MAX_ASKED: u8 = 3;

/// A stripe of which nothing came for a group's time and this has stalled; its parent is replaced after the second.
const QUIET: Span = Span::from_ms(200);
const GRACE: Span = Span::from_ms(150);

/// Blocks looked at for what a parent owes.
const MAX_OWED: u64 = 64;

/// A reordered chunk is given this long before it counts as late.
const REORDER: Span = Span::from_ms(40);

/// What has become spare, or no longer is, is told this long after what was said last.
const NEWS_OF_SPARE: Span = Span::from_ms(1_500);

/// A tree that brought nothing for this long, and is so many blocks behind others, has no root.
const ROOTLESS: Span = Span::from_ms(1_000);
const ROOTLESS_BLOCKS: u64 = 4;

/// By so many blocks a new parent's tree may be behind the present one's, which flows.
const EASE: u64 = 3;

/// A trial parent that sent nothing by then is not tried further.
const TRIAL: Span = Span::from_s(3);

/// A parent that was given up has been forgiven after this long.
const FORGIVE: Span = Span::from_s(60);

/// How often the time doubles after which one that failed is asked again: 48 s in the end, and 384 s while nothing at all comes from it.
const MOST_PATIENT: u8 = 4;
const LEAST_PATIENT: u8 = 7;

/// Whoever had nothing newer of a stripe than this when it told was without it.
const LACKS: Span = Span::from_s(2);

/// Neighbours asked for news at once, and how soon one is asked again.
const MAX_NEWS_ASKED: usize = 6;
const NEWS_AGAIN: Span = Span::from_ms(1_500);
const NEWS_PAUSE: Span = Span::from_ms(500);
const MAX_NEWS_PAUSE: Span = Span::from_s(2);
const MAX_CALM_PAUSE: Span = Span::from_s(16);

/// Whoever asked for news is told unasked for this long when a stripe flows again.
const REMEMBERED: Span = Span::from_s(4);

/// A spare stripe for which there is no place is sought again after this long, and as much by chance.
const SPARE_AGAIN_MS: u64 = 3_000;

/// Most parents on trial at once.
const MAX_TRIALS: usize = 3;

/// What each stripe that already hangs on a parent adds to its cost, and what a move must gain; in ms of delay or their like.
const SAME_PEER: u64 = 80;
const WORTH_MOVING: u64 = 90;

/// From this rate on words are said as often as they are any good.
const FULL_PACE_BPS: u64 = 256_000;

impl Node<'_> {
    /// Stripes this node sends to others.
    pub(super) fn demanded(&self, at: StreamId) -> u32 {
        self.granted_to(at, |_, _| true)
    }

    /// Stripes this node sends to some of its neighbours.
    pub(super) fn granted_to(&self, at: StreamId, counts: impl Fn(PeerId, &Peer) -> bool) -> u32 {
        let children = self.peers.in_stream(at);
        let counted = children.filter(|(id, peer, _)| counts(*id, peer));
        counted.fold(0, |mask, (_, _, link)| mask | link.granted_down)
    }

    pub(super) fn carries(&self, at: StreamId, stripe: u8) -> bool {
        let parent = &self.streams[at].parents[usize::from(stripe)];
        parent
            .peer
            .is_some_and(|id| self.peers.link(id, at).granted_up & 1 << stripe != 0)
    }

    /// See [`Self::carries`].
    pub(super) fn carried(&self, at: StreamId) -> u32 {
        mask_of((0..MAX_N as u8).filter(|&stripe| self.carries(at, stripe)))
    }

    /// Stripes that come from their parents.
    pub(super) fn coming(&self, at: StreamId) -> u32 {
        self.carried(at) & !self.streams[at].stalled
    }

    /// Hops of a stripe here, as it is offered to others.
    pub fn stripe_hops(&self, at: StreamId, stripe: usize) -> u8 {
        let stream = &self.streams[at];
        if stream.source.is_some() {
            return 0;
        }
        match stream.parents.get(stripe).and_then(|parent| parent.peer) {
            Some(id) if self.carries(at, stripe as u8) && stream.rootless >> stripe & 1 == 0 => {
                self.peers.link(id, at).hops[stripe].saturating_add(1)
            }
            _ if self.demanded(at) >> stripe & 1 == 0 => IDLE_HOPS,
            _ => ORPHAN_HOPS,
        }
    }

    /// How many stripes are wanted: what suffices and the spare, or what others get from here.
    fn wanted_count(&self, at: StreamId) -> usize {
        let stream = &self.streams[at];
        match stream.card.as_ref() {
            Some(card) if self.takes_all(at) => (card.k() + self.spare_wanted(at)).min(card.n()),
            _ => 0,
        }
    }

    /// Stripes that come although K others do, and that nobody is fed from here: the grid may use their places when it is short.
    pub(super) fn spare_stripes(&self, at: StreamId) -> u32 {
        let Some(card) = self.streams[at].card.as_ref() else {
            return 0;
        };
        let coming = self.coming(at);
        let surplus = (coming.count_ones() as usize).saturating_sub(card.k());
        let free: heapless::Vec<u8, MAX_N> = bits(coming & !self.demanded(at)).collect();
        mask_of(free.into_iter().rev().take(surplus))
    }

    /// Finds parents for stripes that lack one, gives up parents that send nothing, and lets go of stripes not needed.
    pub(super) fn tend_stripes(&mut self, now: Instant, at: StreamId) {
        if self.streams[at].source.is_some() || self.streams[at].card.is_none() {
            return;
        }
        self.tend_home(now, at);
        self.tend_turn(now, at);
        self.ask_again(now, at);
        self.replace_stalled(now, at);
        self.let_go(at);
        self.find_parents(now, at);
    }

    fn ask_again(&mut self, now: Instant, at: StreamId) {
        let spare = self.spare_stripes(at);
        for id in 0..self.peers.end() {
            let wanted = self.wanted_from(id, at);
            let Some((peer, link)) = self.peers.both_mut(id, at) else {
                continue;
            };
            let open = wanted & !link.granted_up;
            let wait = if open != 0 {
                ASK_AGAIN + peer.rtt_or_guess().times(2)
            } else if wanted & spare != link.told_spare {
                NEWS_OF_SPARE
            } else {
                continue;
            };
            if wanted == 0 || now.since(link.asked_at) < wait {
                continue;
            }
            if open != 0 {
                link.asked += 1;
            }
            link.due.add(Due::SUBSCRIBE);
            if link.asked > MAX_ASKED {
                link.asked = 0;
                link.refused |= open;
                link.refused_until = now + Span::from_s(2);
                self.abandon(at, id, open);
            }
        }
    }

    /// Stripes are no longer expected from this parent.
    pub(super) fn abandon(&mut self, at: StreamId, id: PeerId, stripes: u32) {
        for stripe in bits(stripes) {
            let parent = &mut self.streams[at].parents[usize::from(stripe)];
            if parent.peer == Some(id) {
                parent.peer = None;
            }
            if parent.trial.is_some_and(|(trial, _)| trial == id) {
                parent.trial = None;
            }
        }
        self.owe(id, at, Due::SUBSCRIBE);
    }

    /// The newest block anybody is known to have, for any stripe.
    fn horizon(&self, now: Instant, at: StreamId) -> u64 {
        let n = self.streams[at].card.as_ref().map_or(0, |card| card.n());
        let own = self.streams[at].heads[..n]
            .iter()
            .map(|head| head.end)
            .max()
            .unwrap_or(0);
        let told = self
            .peers
            .in_stream(at)
            .filter(|(_, _, link)| now.since(link.have_at) < Span::from_s(3))
            // Nobody's word counts for more than what is sealed here.
            .map(|(_, _, link)| link.have_head.min(self.streams[at].ring.end()));
        told.fold(own, u64::max)
    }

    /// Stripes taken here of which nothing has come for longer than a group takes, while others went on: two blocks behind.
    fn stalled(&self, now: Instant, at: StreamId) -> u32 {
        let Some(card) = self.streams[at].card.as_ref() else {
            return 0;
        };
        let patience = card.group() + QUIET;
        let horizon = self.horizon(now, at);
        let behind = |stripe: u8| {
            let (head, parent) = (
                self.streams[at].heads[usize::from(stripe)],
                self.streams[at].parents[usize::from(stripe)],
            );
            let quiet = now.since(head.at).min(now.since(parent.since));
            // The second block of which it is missing is later than this stripe usually is. While nothing of that one has come,
            // time has to tell.
            let second = self.streams[at].ring.row(head.end + 1);
            let begun = second
                .map(|row| row.begun_at)
                .filter(|at| *at > Instant::ZERO);
            let late = match begun {
                Some(begun) => quiet > QUIET && now.since(begun) > head.pace.expected() + REORDER,
                None => quiet > patience,
            };
            parent.peer.is_some()
                && late
                && horizon >= head.end + 2
                && self.is_owed(now, at, stripe, horizon, patience)
        };
        mask_of(bits(card.all_stripes()).filter(|&stripe| behind(stripe)))
    }

    /// Stripes taken here whose tree has brought nothing for long, while others went on: it has lost its root, or runs in a circle,
    /// and what comes was rebuilt somewhere on the way.
    fn rootless(&self, at: StreamId) -> u32 {
        let stream = &self.streams[at];
        let heads = stream.heads.iter();
        let newest = heads.clone().map(|head| head.rooted).max().unwrap_or(0);
        let moved_at = heads.map(|head| head.rooted_at).max();
        let moved_at = moved_at.unwrap_or(Instant::ZERO);
        let stands = |stripe: &u8| {
            let at = usize::from(*stripe);
            let (head, parent) = (&stream.heads[at], &stream.parents[at]);
            let since = head.rooted_at.max(parent.since).max(stream.resumed_at);
            parent.peer.is_some()
                && newest >= head.rooted + ROOTLESS_BLOCKS
                && moved_at.since(since) > ROOTLESS
        };
        mask_of(bits(u32::MAX).filter(stands))
    }

    /// Whether two blocks below the horizon should have come from a stripe's parent by now. It sends what is sealed once it was asked;
    /// and media that come whole, after seconds of nothing, are due a group's time after their seal and not at once.
    fn is_owed(
        &self,
        now: Instant,
        at: StreamId,
        stripe: u8,
        horizon: u64,
        patience: Span,
    ) -> bool {
        let stream = &self.streams[at];
        let head = stream.heads[usize::from(stripe)];
        let since = stream.parents[usize::from(stripe)].since;
        let from = head.end.max(horizon.saturating_sub(MAX_OWED));
        let mut known = (from..horizon).filter_map(|block| stream.ring.row(block));
        let Some(first) = known.find(|row| row.born_at >= since) else {
            return false;
        };
        let came_late = first.sealed_at.since(head.at.max(since)) > patience;
        first.block + 2 <= horizon && (!came_late || now.since(first.sealed_at) > patience)
    }

    /// A stripe that stalls gets another parent; but while the parent says that it is without it too, whoever stands highest in the
    /// broken branch is to mend it, and those below wait: else every loss would set the whole branch in motion.
    fn replace_stalled(&mut self, now: Instant, at: StreamId) {
        self.streams[at].rootless = self.rootless(at);
        let stalled = self.stalled(now, at) | self.streams[at].rootless;
        if stalled & !self.streams[at].stalled != 0 {
            self.streams[at].news_pause = NEWS_PAUSE;
            self.ask_news(now, at, stalled);
        }
        self.tell_stalled(at, stalled);
        self.tell_flowing(now, at);
        // With nothing at all coming nobody can be seen to be ahead: they are asked.
        let expected = self.streams[at]
            .parents
            .iter()
            .any(|parent| parent.peer.is_some());
        if expected && now.since(self.streams[at].flowed_at) > self.group(at).times(2) + QUIET {
            self.ask_news(now, at, u32::MAX);
        }
        let mut lost = heapless::Vec::<(PeerId, u32), 32>::new();
        for stripe in 0..MAX_N {
            let Parent {
                peer: Some(id),
                since,
                trial,
            } = self.streams[at].parents[stripe]
            else {
                continue;
            };
            if let Some((trial, begun)) = trial
                && now.since(begun) > TRIAL
            {
                self.streams[at].parents[stripe].trial = None;
                if self.peers.link(trial, at).chunk_at < begun
                    && !self.says_it_lacks(at, trial, 1 << stripe)
                {
                    self.distrust(now, at, trial, 1 << stripe);
                }
                self.owe(trial, at, Due::SUBSCRIBE);
            }
            let link = self.peers.link(id, at);
            let head = self.streams[at].heads[stripe];
            let granted = link.granted_up & 1 << stripe != 0;
            let starving = link.have_at > head.at && link.head_of(stripe) <= head.end + 1;
            let patience = if starving {
                Span::from_ms(2_000 + self.rng.below(2_000))
            } else {
                GRACE
            };
            let given_up = stalled & 1 << stripe != 0
                && now.since(head.at).min(now.since(since)) > QUIET + self.group(at) + patience;
            if granted && (given_up || link.hops[stripe] > MAX_HOPS) {
                match lost.iter_mut().find(|(other, _)| *other == id) {
                    Some((_, mask)) => *mask |= 1 << stripe,
                    // Room: there are at most as many parents as stripes.
                    None => drop(lost.push((id, 1 << stripe))),
                }
            }
        }
        for (id, stripes) in lost {
            self.give_up(now, at, id, stripes);
        }
        self.try_others(now, at, stalled);
        self.probe_silent(now, at);
    }

    /// A stripe that has stalled is taken on trial from somebody who has it; whoever sends first is its parent.
    fn try_others(&mut self, now: Instant, at: StreamId, stalled: u32) {
        for stripe in bits(stalled) {
            let parent = self.streams[at].parents[usize::from(stripe)];
            let Some(old) = parent.peer.filter(|_| parent.trial.is_none()) else {
                continue;
            };
            if let Some(other) = self.best_parent(now, at, stripe, Some(old)) {
                self.streams[at].parents[usize::from(stripe)].trial = Some((other, now));
                self.owe(other, at, Due::SUBSCRIBE);
            }
        }
    }

    /// Asks neighbours that could be parents what they have now: what they said seconds ago does not tell who is upstream.
    fn ask_news(&mut self, now: Instant, at: StreamId, stripes: u32) {
        let longest = if self.endangered(at) {
            MAX_NEWS_PAUSE
        } else {
            MAX_CALM_PAUSE
        };
        let stream = &mut self.streams[at];
        if now.since(stream.news_asked_at) < stream.news_pause.min(longest) {
            return;
        }
        stream.news_asked_at = now;
        stream.news_pause = stream.news_pause.times(2).min(longest);
        let turn = self.rng.next_u64() as usize;
        let capacity = self.peers.capacity().max(1);
        let mut asked = 0;
        for i in 0..capacity {
            let Some(link) = self.peers.link_mut((i + turn % capacity) % capacity, at) else {
                continue;
            };
            let able = link.joined && link.offer & stripes & !link.granted_down != 0;
            if able && now.since(link.news_asked_at) > NEWS_AGAIN {
                link.news_asked_at = now;
                link.due.add(Due::WANT_NEWS);
                asked += 1;
            }
            if asked == MAX_NEWS_ASKED {
                return;
            }
        }
    }

    /// Whether less comes than the stream is made of, or than children wait for.
    pub(super) fn endangered(&self, at: StreamId) -> bool {
        let stream = &self.streams[at];
        let Some(card) = stream.card.as_ref() else {
            return stream.plays;
        };
        let coming = self.coming(at);
        let whole = coming.count_ones() as usize >= card.k();
        !whole && (stream.plays || self.demanded(at) & !coming != 0)
    }

    /// Children learn at once that a stripe has stalled here, or flows again.
    fn tell_stalled(&mut self, at: StreamId, stalled: u32) {
        let changed = core::mem::replace(&mut self.streams[at].stalled, stalled) ^ stalled;
        for (_, _, link) in self.peers.each_link_mut(at) {
            if link.granted_down & changed != 0 {
                link.due.add(Due::HAVE);
            }
        }
    }

    /// A stripe flows here again: those who asked in vain a moment ago learn it at once, and can take it from here.
    fn tell_flowing(&mut self, now: Instant, at: StreamId) {
        let newest = self.streams[at].head_end();
        let flows = |&stripe: &u8| {
            let head = self.streams[at].heads[usize::from(stripe)];
            self.carries(at, stripe) && head.end + 2 >= newest
        };
        let flowing = mask_of(bits(u32::MAX).filter(flows));
        let stream = &mut self.streams[at];
        stream.broken |= stream.stalled | stream.orphans;
        let news = stream.broken & flowing & !stream.stalled;
        stream.broken &= !news;
        for (_, _, link) in self.peers.each_link_mut(at).filter(|_| news != 0) {
            if now.since(link.wants_news_at) < REMEMBERED && link.granted_up & news == 0 {
                link.due.add(Due::HAVE);
                link.due.add(Due::OFFER);
            }
        }
    }

    /// How long a group is, about.
    pub(super) fn group(&self, at: StreamId) -> Span {
        let card = self.streams[at].card.as_ref();
        card.map_or(Span::from_ms(250), Card::group)
    }

    fn give_up(&mut self, now: Instant, at: StreamId, id: PeerId, stripes: u32) {
        self.streams[at].stats.parents_lost += u64::from(stripes.count_ones());
        self.abandon(at, id, stripes);
        self.distrust(now, at, id, stripes);
        if let Some((peer, link)) = self.peers.both_mut(id, at) {
            link.granted_up &= !stripes;
            let addr = peer.addr;
            self.tell(Event::ParentLost(at, addr, stripes));
            // It shares the flow no longer, and would be asked for nothing.
            self.ping_if_quiet(now, id, Span::ZERO);
            self.probe_quiet(now);
        }
    }

    /// Holds against a neighbour that stripes did not come from it: whoever fails again is asked again later each time. Whoever says
    /// that it has them, and has sent nothing since it failed before, is asked for nothing else either.
    fn distrust(&mut self, now: Instant, at: StreamId, id: PeerId, stripes: u32) {
        let lacks = self.says_it_lacks(at, id, stripes);
        let Some(link) = self.peers.link_mut(id, at) else {
            return;
        };
        let sent = lacks || link.failures == 0 || link.chunk_at > link.refused_until;
        let forgotten = sent && now.since(link.refused_until) > FORGIVE;
        link.failures = if forgotten {
            1
        } else {
            link.failures.saturating_add(1)
        };
        link.refused |= if sent { stripes } else { u32::MAX };
        let most = if sent { MOST_PATIENT } else { LEAST_PATIENT };
        link.refused_until = now + Span::from_s(3 << (link.failures - 1).min(most));
    }

    /// Whether a neighbour said itself that it was without one of these stripes.
    fn says_it_lacks(&self, at: StreamId, id: PeerId, stripes: u32) -> bool {
        let (link, ring) = (self.peers.link(id, at), &self.streams[at].ring);
        bits(stripes).any(|stripe| {
            let end = link.head_of(usize::from(stripe));
            let last = end.checked_sub(1).and_then(|block| ring.row(block));
            let is_old = |row: &Row| link.have_at.since(row.sealed_at) > LACKS;
            end <= ring.end() && last.is_none_or(is_old)
        })
    }

    /// What came does not verify: no stripe is taken from whoever sends that.
    pub(super) fn disown(&mut self, now: Instant, at: StreamId, id: PeerId, stripe: u8) {
        let Some(parent) = self.streams[at].parents.get_mut(usize::from(stripe)) else {
            return;
        };
        if parent.peer == Some(id) {
            self.give_up(now, at, id, 1 << stripe);
        } else if parent.trial.is_some_and(|(trial, _)| trial == id) {
            parent.trial = None;
            self.distrust(now, at, id, 1 << stripe);
            self.owe(id, at, Due::SUBSCRIBE);
        }
    }

    /// A parent from which nothing at all comes is asked whether it is there.
    fn probe_silent(&mut self, now: Instant, at: StreamId) {
        let quiet = self.unhurried(at, self.group(at).times(2) + Span::from_ms(100));
        for id in 0..self.peers.end() {
            let link = self.peers.link(id, at);
            let silent =
                link.granted_up != 0 && now.since(link.chunk_at.max(link.asked_at)) > quiet;
            if silent {
                self.ping_if_quiet(now, id, Span::ZERO);
            }
        }
    }

    /// Lets go of what nobody needs any more.
    fn let_go(&mut self, at: StreamId) {
        let demanded = self.demanded(at);
        let wanted = self.wanted_count(at);
        let taken = (0..32u8).filter(|&s| self.streams[at].parents[usize::from(s)].peer.is_some());
        let taken = mask_of(taken);
        let mut surplus = (taken.count_ones() as usize)
            .saturating_sub(wanted.max(demanded.count_ones() as usize));
        for stripe in bits(taken & !demanded)
            .collect::<heapless::Vec<u8, 32>>()
            .into_iter()
            .rev()
        {
            if surplus == 0 {
                break;
            }
            surplus -= 1;
            if let Some(id) = self.streams[at].parents[usize::from(stripe)].peer.take() {
                self.owe(id, at, Due::SUBSCRIBE);
            }
        }
    }

    fn find_parents(&mut self, now: Instant, at: StreamId) {
        let Some(card) = self.streams[at].card.as_ref() else {
            return;
        };
        let (all, k, n) = (card.all_stripes(), card.k(), card.n() as u64);
        let demanded = self.demanded(at) & all;
        let mut short = self.wanted_count(at);
        let taken = bits(all).filter(|&s| self.streams[at].parents[usize::from(s)].peer.is_some());
        let taken = taken.count();
        short = short.saturating_sub(taken);
        // Without its spare a node plays on: it can wait, and leave the grid in peace.
        if taken >= k && short > 0 {
            if now < self.streams[at].spare_at {
                short = 0;
            } else {
                let pause = SPARE_AGAIN_MS + self.rng.below(SPARE_AGAIN_MS);
                self.streams[at].spare_at = now + self.unhurried(at, Span::from_ms(pause));
            }
        }
        let mut orphans = 0;
        // What others wait for first, then what is easiest to get; beginning at a place of its own, so that nodes do not all want the same.
        let [a, ..] = self.public;
        // Over a line there is one neighbour to ask, and data need no rebuilding.
        let begins = match self.is_lines_only(at) {
            true => 0,
            false => u64::from(a),
        };
        let turned = (0..n)
            .map(|i| ((i + begins) % n) as u8)
            .collect::<heapless::Vec<u8, 32>>();
        let first = turned.iter().copied().filter(|&s| demanded >> s & 1 != 0);
        let rest = turned.iter().copied().filter(|&s| demanded >> s & 1 == 0);
        for stripe in first.chain(rest).collect::<heapless::Vec<u8, 32>>() {
            let needed = demanded >> stripe & 1 != 0;
            if self.streams[at].parents[usize::from(stripe)].peer.is_some() || !needed && short == 0
            {
                continue;
            }
            let Some(id) = self.best_parent(now, at, stripe, None) else {
                orphans |= 1 << stripe;
                continue;
            };
            self.streams[at].parents[usize::from(stripe)] = Parent {
                peer: Some(id),
                since: now,
                trial: None,
            };
            self.owe(id, at, Due::SUBSCRIBE);
            short = short.saturating_sub(1);
        }
        let stream = &mut self.streams[at];
        if orphans & !core::mem::replace(&mut stream.orphans, orphans) != 0 {
            stream.news_pause = NEWS_PAUSE;
        }
        if orphans != 0 {
            self.ask_news(now, at, orphans);
            self.plead(now, at, orphans);
        }
    }

    /// How long words of a stream may wait: the slower it is, the more they weigh.
    pub(super) fn unhurried(&self, at: StreamId, span: Span) -> Span {
        let bps = self.streams[at]
            .card
            .as_ref()
            .map_or(FULL_PACE_BPS, |card| u64::from(card.descriptor.bitrate_bps));
        span.times((FULL_PACE_BPS / bps.max(1)).clamp(1, 4))
    }

    /// Who would be the best parent for a stripe, other than `not`.
    fn best_parent(
        &self,
        now: Instant,
        at: StreamId,
        stripe: u8,
        not: Option<PeerId>,
    ) -> Option<PeerId> {
        let candidates = self.peers.in_stream(at).filter(|(id, peer, link)| {
            Some(*id) != not
                && peer.bye.is_none()
                && self.is_worth_a_line(at, peer.addr)
                && self.may_ask(now, *id, at, stripe, link)
        });
        candidates
            .min_by_key(|(id, peer, link)| self.cost(at, *id, stripe, peer, link))
            .map(|(id, _, _)| id)
    }

    fn may_ask(&self, now: Instant, id: PeerId, at: StreamId, stripe: u8, link: &Link) -> bool {
        let pending = self.wanted_from(id, at) & !link.granted_up;
        u32::from(link.places) > pending.count_ones() && self.could_send(now, at, stripe, link)
    }

    /// Whether a neighbour could send a stripe here, had it a place.
    pub(super) fn could_send(&self, now: Instant, at: StreamId, stripe: u8, link: &Link) -> bool {
        let bit = 1 << stripe;
        link.offer & bit != 0
            && link.granted_down & bit == 0
            && link.hops[usize::from(stripe)] < MAX_HOPS
            && (link.refused & bit == 0 || now >= link.refused_until)
            && self.is_upstream(at, stripe, link)
    }

    /// Whether a neighbour cannot be fed this stripe by way of this node: it has seen more of it than this node, or stands nearer
    /// to the source than the present parent, or does not take it yet at all.
    fn is_upstream(&self, at: StreamId, stripe: u8, link: &Link) -> bool {
        let stripe = usize::from(stripe);
        let (ours, theirs) = (self.streams[at].heads[stripe], link.head_of(stripe));
        let flows = self.streams[at].stalled >> stripe & 1 == 0;
        let parent = self.streams[at].parents[stripe]
            .peer
            .filter(|_| flows)
            .map(|id| self.peers.link(id, at).hops[stripe]);
        match parent {
            // Nobody is fed this stripe from here, or it stands no lower than the present parent, or it does not take it yet: where it
            // gets it from shows before it is relied on.
            Some(hops) => {
                let theirs = link.hops[stripe];
                self.demanded(at) >> stripe & 1 == 0 || theirs <= hops || theirs == IDLE_HOPS
            }
            None => {
                let hops = link.hops[stripe];
                link.standing.is_source()
                    // One that does not take it yet will find a parent; one that waits for it could be waiting for this node.
                    || hops == IDLE_HOPS
                    || hops < IDLE_HOPS && theirs > 0 && (ours.at == Instant::ZERO || theirs > ours.end)
            }
        }
    }

    /// What it costs to take a stripe from a neighbour, in ms of delay or their like: distance, hops, and how much already hangs on
    /// it and on what it shares with other parents.
    fn cost(&self, at: StreamId, id: PeerId, stripe: u8, peer: &Peer, link: &Link) -> u64 {
        let (mut same_peer, mut same_prefix) = (0u64, 0u64);
        for parent in &self.streams[at].parents {
            let Some(other) = parent.peer else { continue };
            if other == id {
                same_peer += 1;
            } else if self
                .peers
                .get(other)
                .is_some_and(|o| o.addr.prefix() == peer.addr.prefix())
            {
                same_prefix += 1;
            }
        }
        let far = if peer.addr.is_local() { 0 } else { 20 };
        let off_home = if link.home >> stripe & 1 != 0 { 0 } else { 60 };
        // The source's places are for those who hand on.
        let hands_on = self.streams[at].home >> stripe & 1 != 0 && self.standing(at).forwards();
        let source = if link.standing.is_source() && !hands_on {
            300
        } else {
            0
        };
        // A relay that does not take the stripe yet will, a hop or two below the source.
        let hops = match link.hops[usize::from(stripe)] {
            IDLE_HOPS => 3,
            hops => u64::from(hops),
        };
        let rtt = peer.rtt_or_guess().as_ms().min(2_000);
        rtt + far + off_home + source + 25 * hops + SAME_PEER * same_peer + 5 * same_prefix
    }

    /// All stripes wanted from a parent.
    pub(super) fn wanted_from(&self, id: PeerId, at: StreamId) -> u32 {
        let from = |parent: &Parent| {
            parent.peer == Some(id) || parent.trial.is_some_and(|(trial, _)| trial == id)
        };
        let parents = self.streams[at].parents.iter().enumerate();
        let from = parents.filter(|(_, parent)| from(parent));
        mask_of(from.map(|(stripe, _)| stripe as u8))
    }

    /// Whether seals are taken from this parent: from the one that stands nearest to the source. When it is lost, or late, a chunk
    /// that comes before its seal has whoever sent it asked; from the others they would be the same bytes again.
    pub(super) fn seals_from(&self, id: PeerId, at: StreamId) -> bool {
        let parents = self.streams[at].parents.iter().enumerate();
        let mut nearest: heapless::Vec<(u8, PeerId), MAX_N> = heapless::Vec::new();
        for (stripe, peer) in parents.filter_map(|(stripe, parent)| Some((stripe, parent.peer?))) {
            let hops = self.peers.link(peer, at).hops[stripe];
            match nearest.iter_mut().find(|(_, known)| *known == peer) {
                Some((least, _)) => *least = hops.min(*least),
                // Room: there are at most as many parents as stripes.
                None => drop(nearest.push((hops, peer))),
            }
        }
        // Chance spreads the load over those that stand nearest.
        let [.., a] = self.public;
        let first = nearest
            .iter()
            .min_by_key(|(hops, peer)| (*hops, *peer as u8 ^ a));
        first.is_some_and(|(_, peer)| *peer == id)
    }

    /// What a parent granted.
    pub(super) fn on_granted(
        &mut self,
        now: Instant,
        id: PeerId,
        at: StreamId,
        granted: u32,
        lost: u32,
    ) {
        for stripe in bits(lost) {
            let parent = &mut self.streams[at].parents[usize::from(stripe)];
            if parent.peer == Some(id) && parent.trial.is_none() {
                parent.peer = None;
                self.upkeep_at = now;
            }
        }
        for stripe in bits(granted) {
            let parent = &mut self.streams[at].parents[usize::from(stripe)];
            if parent.peer == Some(id) {
                parent.since = parent.since.max(now - Span::from_ms(50));
            }
        }
        if granted & !self.wanted_from(id, at) != 0 {
            self.owe(id, at, Due::SUBSCRIBE);
        }
    }

    /// A chunk came: if it is the first from a parent on trial, that one takes over. One that is long known proves nothing, nor does one
    /// of a tree that has come no further there.
    pub(super) fn promote_trial(
        &mut self,
        now: Instant,
        at: StreamId,
        from: PeerId,
        chunk: ChunkId,
        rooted: u64,
    ) {
        let (stream, stripe) = (&self.streams[at], usize::from(chunk.index));
        let Some(parent) = stream.parents.get(stripe) else {
            return;
        };
        // Hardly a chunk is of a trial, so this comes before the look for its block.
        let Some((trial, since)) = parent.trial.filter(|(trial, _)| *trial == from) else {
            return;
        };
        let row = stream.ring.row(chunk.block);
        if row.is_none_or(|row| now.since(row.sealed_at) >= TRIAL) {
            return;
        }
        let old = parent.peer;
        let flows = stream.stalled >> stripe & 1 == 0;
        let slack = if flows { EASE } else { 0 };
        if rooted + slack <= stream.heads[stripe].rooted {
            return;
        }
        // Children wait for it and it flows: one that stands lower could be getting it from here.
        let hops = |id| self.peers.link(id, at).hops[stripe];
        if old.is_some_and(|old| {
            flows && self.demanded(at) >> stripe & 1 != 0 && hops(trial) > hops(old)
        }) {
            return;
        }
        let parent = &mut self.streams[at].parents[stripe];
        *parent = Parent {
            peer: Some(trial),
            since,
            trial: None,
        };
        if let Some(old) = old {
            self.owe(old, at, Due::SUBSCRIBE);
        }
    }

    /// Tries a better parent for the stripe that gains most by it; the old one stays until the new one sends.
    pub(super) fn balance(&mut self, now: Instant, at: StreamId) {
        let stream = &self.streams[at];
        let trials = stream.parents.iter().filter(|p| p.trial.is_some()).count();
        if stream.source.is_some() || stream.card.is_none() || trials >= MAX_TRIALS {
            return;
        }
        let gains = (0..MAX_N as u8).filter_map(|stripe| {
            let parent = &stream.parents[usize::from(stripe)];
            let id = parent.peer.filter(|_| parent.trial.is_none())?;
            let peer = self.peers.get(id)?;
            let other = self.best_parent(now, at, stripe, Some(id))?;
            let present = self.cost(at, id, stripe, peer, self.peers.link(id, at));
            // It would be one more on the other, and one less here.
            let then = self.cost(
                at,
                other,
                stripe,
                self.peers.get(other)?,
                self.peers.link(other, at),
            ) + SAME_PEER;
            Some((present.saturating_sub(then), stripe, other))
        });
        if let Some((_, stripe, other)) = gains.filter(|(gain, ..)| *gain >= WORTH_MOVING).max() {
            self.streams[at].parents[usize::from(stripe)].trial = Some((other, now));
            self.owe(other, at, Due::SUBSCRIBE);
        }
    }
}
