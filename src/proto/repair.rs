//! Repair: what is late is asked for again, or rebuilt; what cannot be had in time is skipped.

use super::job::Job;
use super::node::{Event, Node, StreamId};
use super::peer::{Peer, PeerId};
use super::player::Stage;
use super::source::LEAST_GROUP;
use super::stream::{Asked, Lacking, bits, mask_of};
use crate::storage::ring::Row;
use crate::time::{Instant, Span};
use crate::wire::chunk::ChunkId;
use crate::wire::seal::NOWHERE;

/// Blocks looked at in one go.
const MAX_LOOK: u64 = 256;

/// How long the answer to a request may take beyond two round trips.
const ANSWER: Span = Span::from_ms(200);

/// An answer that takes so much longer than a round trip is slow.
const SLOW: Span = Span::from_ms(100);

/// How long after its group's pace a chunk counts as late: uplinks are shared, and a held-back chunk is not a lost one.
const LATE: Span = Span::from_ms(1_000);

/// What a neighbour said that it has counts for so long.
const NEWS_AGE: Span = Span::from_s(30);

/// After this long the seals that a new parent sends of the recent past are here.
const SETTLED: Span = Span::from_ms(500);

/// What is asked for at once at the least, and the unanswered requests that count against a neighbour at the most.
const MIN_WINDOW: u8 = 4;
const MAX_UNANSWERED: u8 = 10;

/// So much silence of one that does not answer, and it is asked whether it is there.
const SILENT: Span = Span::from_s(1);

/// Milliseconds that asking one who does not have it yet is taken to cost.
const EARLY: u64 = 60;

/// Whoever lacked something is not asked for it again for so long.
const LACK_AGE: Span = Span::from_ms(500);

/// What it counts against a neighbour, in ms of delay, that it failed as a parent.
const DISTRUSTED: u64 = 400;

/// And that it has no place for anybody: what its children leave of its upload is little, and others ask for that too.
const FULL: u64 = 100;

/// What could not be had for so long is asked of the source, which has all of it.
const LAST_RESORT: Span = Span::from_ms(1_500);

/// Before so much has been played a hole is not waited for longer than this.
const BEGINNING: Span = Span::from_s(1);

/// So much of the time that a seal takes through the tree counts as waited: who is far from the source lags behind it by no more
/// than others do. In a slow stream answers take their time too, and the whole window is needed.
const SEAL_DELAY: Span = Span::from_ms(500);

/// A reordered chunk is given this long before it counts as lost, and is made again for children from others of its block.
pub(super) const REORDER: Span = Span::from_ms(40);

/// And this long before it is asked for: a parent to which it did not come either makes it again by then.
const ASK: Span = Span::from_ms(80);

/// For what is to be played next all players wait: it is asked for after this long, and of somebody else when the answer takes so much
/// longer than a round trip. Not while a grid comes together: then much is late that is not lost. Nor in streams with longer groups, whose
/// blocks are farther apart than this saves: it would cost half a percent of these in words.
const NEXT: Span = Span::from_ms(60);
const SETTLES: Span = Span::from_s(5);

/// What is overdue within so long of another is asked for with it.
const TOGETHER: Span = Span::from_ms(10);

impl Node<'_> {
    /// Asks again for what is late, skips what is lost.
    pub(super) fn repair(&mut self, now: Instant, at: StreamId) {
        if self.streams[at].source.is_some() || self.streams[at].card.is_none() {
            return;
        }
        self.forget_asked(now, at);
        if self.streams[at].plays {
            self.skip_lost(now, at);
        }
        let demanded = self.demanded(at);
        if self.takes_all(at) || demanded != 0 {
            self.regenerate(now, at, demanded);
            self.ask_for_late(now, at, demanded);
            self.ask_for_seals(now, at);
        }
    }

    /// Makes the chunks that children wait for and that do not come, from K others of their block: a branch below a node that has the
    /// stream never notices that a stripe was lost above it.
    fn regenerate(&mut self, now: Instant, at: StreamId, demanded: u32) {
        let stream = &self.streams[at];
        let Some(card) = stream.card.as_ref() else {
            return;
        };
        let (k, settled, coming) = (card.k(), card.group() + REORDER, self.coming(at));
        let blocks = stream.ring.tail()..stream.ring.end();
        for block in blocks.rev().take(MAX_LOOK as usize) {
            let Some(row) = self.streams[at].ring.row(block).copied() else {
                continue;
            };
            let age = now.since(row.sealed_at);
            if age > Span::from_s(2) {
                break;
            }
            let missing = demanded & !row.have;
            if missing == 0 || (row.have.count_ones() as usize) < k {
                continue;
            }
            let late = match age > settled {
                true => missing,
                false => missing & (!coming | self.lost(now, at, &row, missing, REORDER)),
            };
            if late != 0 {
                self.streams[at].rebuild(block, late);
            }
        }
    }

    /// Requests that were not answered in time may be made again.
    fn forget_asked(&mut self, now: Instant, at: StreamId) {
        let (peers, stream) = (&mut self.peers, &mut self.streams[at]);
        let before = stream.asked.len();
        let mut silent = None;
        stream.asked.retain(|asked| {
            let rtt = peers.get(asked.peer).map_or(Span::ZERO, Peer::rtt_or_guess);
            let waits = now.since(asked.at) < rtt.times(2) + ANSWER;
            if let Some(link) = peers.link_mut(asked.peer, at).filter(|_| !waits) {
                link.unanswered = (link.unanswered + 1).min(MAX_UNANSWERED);
                if link.unanswered == MAX_UNANSWERED {
                    silent = Some(asked.peer);
                }
            }
            waits
        });
        if stream.asked.len() < before {
            stream.ask_window = (stream.ask_window * 3 / 4).max(MIN_WINDOW);
        }
        // It may have forgotten this node, which was cut off or asleep for a while: then a new session is needed.
        if let Some(id) = silent {
            self.ping_if_quiet(now, id, SILENT);
        }
    }

    fn ask_for_late(&mut self, now: Instant, at: StreamId, demanded: u32) {
        let stream = &self.streams[at];
        let starting = stream.is_starting(now, self.config.window);
        let Some(first) = self.first_open(now, at) else {
            return;
        };
        let end = stream.ring.end().min(first + MAX_LOOK);
        for i in 0..end.saturating_sub(first) {
            // Before the start the newest come first: what is played must join on to what is live.
            let block = if starting { end - 1 - i } else { first + i };
            let Some(row) = self.streams[at].ring.row(block).copied() else {
                continue;
            };
            let (missing, open) = self.missing(now, at, &row, demanded);
            if open > 0 {
                self.ask_chunks(now, at, block, missing, open);
            }
            if self.asked_enough(at) {
                return;
            }
        }
    }

    fn asked_enough(&self, at: StreamId) -> bool {
        self.streams[at].asked.len() >= usize::from(self.streams[at].ask_window)
    }

    /// The first block that may lack something that still matters.
    fn first_open(&self, now: Instant, at: StreamId) -> Option<u64> {
        let stream = &self.streams[at];
        if stream.is_starting(now, self.config.window) {
            return stream.start_wanted(now, self.config.burst);
        }
        if stream.plays {
            return Some(stream.playout.next);
        }
        // For children: what is younger than their patience.
        let mut block = stream.ring.end();
        while block > stream.ring.tail() && stream.ring.end() - block < MAX_LOOK {
            match stream.ring.row(block - 1) {
                Some(row) if now.since(row.sealed_at) < Span::from_s(2) => block -= 1,
                _ => break,
            }
        }
        Some(block)
    }

    /// Chunks of a block that are late, and how many of them are to be asked for: enough to play it, or those that children wait for.
    fn missing(&self, now: Instant, at: StreamId, row: &Row, demanded: u32) -> (u32, usize) {
        let stream = &self.streams[at];
        let Some(card) = stream.card.as_ref() else {
            return (0, 0);
        };
        let have = row.have.count_ones() as usize;
        if have >= card.k() {
            return (0, 0);
        }
        let age = now.since(row.sealed_at);
        let group = card.group();
        let late = age > group + LATE;
        let is_next = stream.is_next(row.block);
        let (grace, slow) = match is_next && self.is_prompt(now, at) {
            true => (NEXT, NEXT),
            false => (ASK, SLOW),
        };
        let backlog = stream.plays && now.since(row.born_at) > group.times(3);
        let absent = card.all_stripes() & !row.have;
        let lost = if late || backlog && age > REORDER {
            absent
        } else {
            self.lost(now, at, row, absent, grace)
        };
        let of_block = stream.asked.iter().filter(|a| a.id.block == row.block);
        let asked = mask_of(of_block.clone().map(|a| a.id.index));
        // What is to be played next does not wait for an answer that should be here: others of its block do as well.
        let is_slow = |a: &&Asked| {
            let rtt = self.peers.get(a.peer).map(Peer::rtt_or_guess);
            is_next && now.since(a.at) > rtt.unwrap_or(Span::ZERO) + slow
        };
        let coming_soon = of_block.filter(|a| !is_slow(a)).map(|a| a.id.index);
        let awaited = mask_of(coming_soon).count_ones() as usize;
        if !stream.plays {
            let waited_for = lost & demanded & !asked;
            return (waited_for, waited_for.count_ones() as usize);
        }
        // Stripes whose parent is alive are still on their way; only what they leave open is asked for.
        let coming = if late {
            0
        } else {
            bits(absent & !lost)
                .filter(|&s| stream.parents[usize::from(s)].peer.is_some())
                .count()
        };
        let open = card.k().saturating_sub(have + coming + awaited);
        (lost & !asked, open)
    }

    /// Whether what is to be played next is asked for as soon as it is any good.
    fn is_prompt(&self, now: Instant, at: StreamId) -> bool {
        let card = self.streams[at].card.as_ref();
        now.since(self.began) > SETTLES && card.is_some_and(|card| card.group() <= LEAST_GROUP)
    }

    /// Between upkeeps: asks for what is to be played next.
    pub(super) fn repair_next(&mut self, now: Instant) {
        for at in 0..self.streams.len() {
            self.repair(now, at);
        }
        self.repair_at = self.overdue_at(now);
    }

    /// When something that is to be played next will be overdue.
    pub(super) fn overdue_at(&self, now: Instant) -> Option<Instant> {
        let prompt = (0..self.streams.len()).filter(|&at| self.is_prompt(now, at));
        let all = prompt.filter_map(|at| self.next_overdue_at(now, at));
        Some(all.min()?.max(now + TOGETHER))
    }

    fn next_overdue_at(&self, now: Instant, at: StreamId) -> Option<Instant> {
        let stream = &self.streams[at];
        let card = stream.card.as_ref().filter(|_| stream.plays)?;
        let row = stream.ring.row(stream.playout.next)?;
        if !stream.playout.started || row.have.count_ones() as usize >= card.k() {
            return None;
        }
        let is_expected = |&stripe: &u8| stream.parents[usize::from(stripe)].peer.is_some();
        let expected = bits(card.all_stripes() & !row.have).filter(is_expected);
        let late =
            |stripe: u8| row.begun_at + stream.heads[usize::from(stripe)].pace.expected() + NEXT;
        expected.map(late).filter(|at| *at > now).min()
    }

    /// Which of these chunks of a block should have come by now, reordered ones given so long.
    pub(super) fn lost(
        &self,
        now: Instant,
        at: StreamId,
        row: &Row,
        absent: u32,
        grace: Span,
    ) -> u32 {
        let stream = &self.streams[at];
        let settled = self.group(at) + grace;
        let is_lost = |&s: &u8| {
            let head = stream.heads[usize::from(s)];
            let overtaken =
                head.end > row.block + 1 && now.since(head.at) >= grace || head.end > row.block + 2;
            // The others of its block are here, and it is late by its own measure.
            let overdue = row.begun_at != Instant::ZERO
                && now.since(row.begun_at) >= head.pace.expected() + grace;
            let nobodys =
                stream.parents[usize::from(s)].peer.is_none() && now.since(row.sealed_at) > settled;
            overtaken || overdue || nobodys
        };
        mask_of(bits(absent).filter(is_lost))
    }

    /// A neighbour lacks what it was asked for: somebody else is asked with the next upkeep, or 10 ms from now if it is to be played next.
    /// Asked at once, neighbours that lack the same would send each other in circles as fast as the round trip lets them.
    pub(super) fn on_lack(
        &mut self,
        now: Instant,
        id: PeerId,
        at: StreamId,
        block: u64,
        stripes: u32,
    ) {
        let stream = &mut self.streams[at];
        let before = stream.asked.len();
        let is_answer = |asked: &Asked| {
            asked.peer == id && asked.id.block == block && stripes >> asked.id.index & 1 != 0
        };
        stream.asked.retain(|asked| !is_answer(asked));
        if stream.asked.len() == before {
            return;
        }
        if stream.lacking.is_full() {
            stream.lacking.pop_front();
        }
        // Room: made above.
        let _ = stream.lacking.push_back(Lacking {
            peer: id,
            block,
            stripes,
            at: now,
        });
        if self.streams[at].is_next(block) && self.is_prompt(now, at) {
            self.repair_at = Some(now + TOGETHER);
        }
    }

    /// Asks for chunks of a block; for each, somebody who says that it has it. Where nobody has these, others of the block do as well.
    fn ask_chunks(
        &mut self,
        now: Instant,
        at: StreamId,
        block: u64,
        missing: u32,
        mut open: usize,
    ) {
        let mut to_ask = heapless::Vec::<(PeerId, u32), 32>::new();
        let (all, have) = match self.streams[at]
            .card
            .as_ref()
            .zip(self.streams[at].ring.row(block))
        {
            Some((card, row)) => (card.all_stripes(), row.have),
            None => return,
        };
        let substitutes = if self.streams[at].plays {
            all & !have & !missing
        } else {
            0
        };
        // First what was lost on its way from the source, which has it for certain. Beginning elsewhere each time, so that one that cannot
        // be had does not stand in the way of the others.
        let turn = self.rng.below(32) as u32;
        let turned = |mask: u32| bits(mask.rotate_right(turn)).map(move |i| (i + turn as u8) % 32);
        let is_of_source = |&stripe: &u8| self.stripe_hops(at, stripe.into()) == 1;
        let of_source = mask_of(bits(missing).filter(is_of_source));
        for stripes in [of_source, missing ^ of_source, substitutes] {
            for index in turned(stripes) {
                if open == 0 || self.asked_enough(at) {
                    break;
                }
                let Some(peer) = self.holder(now, at, block, index) else {
                    continue;
                };
                open -= 1;
                // Room: the window is not larger than the table.
                let _ = self.streams[at].asked.push(Asked {
                    id: ChunkId { block, index },
                    peer,
                    at: now,
                });
                match to_ask.iter_mut().find(|(other, _)| *other == peer) {
                    Some((_, mask)) => *mask |= 1 << index,
                    // Room: there are at most as many neighbours asked as stripes.
                    None => drop(to_ask.push((peer, 1 << index))),
                }
            }
        }
        for (peer, stripes) in to_ask {
            self.queue(Job::Want {
                peer,
                stream: at as u8,
                block,
                stripes,
            });
        }
    }

    /// Somebody who has a chunk, nearest first, those that were asked much last.
    pub(super) fn holder(
        &mut self,
        now: Instant,
        at: StreamId,
        block: u64,
        index: u8,
    ) -> Option<PeerId> {
        let salt = self.rng.next_u64();
        let stream = &self.streams[at];
        let k = stream.card.as_ref()?.k();
        let pace = self.blocks_each_second(at);
        let sealed_at = stream.ring.row(block).map(|row| row.sealed_at);
        let urgent = sealed_at.is_some_and(|at| now.since(at) > LAST_RESORT);
        let holders = self.peers.in_stream(at).filter_map(|(id, peer, link)| {
            let age = now.since(link.have_at);
            // What flowed when it last said so has gone on flowing. A block is allowed for the way; what is a little early waits
            // there until it comes.
            let more = pace * age.as_ms() / 1_000;
            let has = |stripe: usize, more: u64| {
                let head = link.head_of(stripe);
                let flowed = head + 2 >= link.have_head && block + 1 >= link.have_head;
                block >= link.have_tail
                    && block < head.saturating_add(if flowed { more } else { 0 })
            };
            // It sends the stripe here, and has sent what came later.
            let sends = link.granted_up >> index & 1 != 0
                && block < stream.heads[usize::from(index)].end
                && stream.parents[usize::from(index)].peer.is_some();
            // What it gets from here it does not have sooner.
            let flows = |stripe: usize, more: u64| {
                link.head_of(stripe) > 0
                    && link.granted_down >> stripe & 1 == 0
                    && has(stripe, more)
            };
            let holds = |more: u64| {
                flows(usize::from(index), more) || (0..32).filter(|&s| flows(s, more)).count() >= k
            };
            let fresh = age < NEWS_AGE;
            let owes = stream.parents[usize::from(index)].peer == Some(id);
            let lacks = stream.lacking.iter().any(|it| {
                let same = it.peer == id && it.block == block && it.stripes >> index & 1 != 0;
                same && now.since(it.at) < LACK_AGE
            });
            // A parent that has not sent it is late itself, or gone; whoever gives nothing would not answer.
            if lacks || owes && !sends || !link.standing.forwards() {
                return None;
            }
            let wait = if sends || fresh && holds(more.saturating_sub(1)) {
                0
            } else if fresh && holds(more + 2) {
                EARLY
            } else {
                return None;
            };
            peer.bye.is_none().then_some((id, peer, link, wait))
        });
        holders
            .min_by_key(|(id, peer, link, wait)| {
                if urgent && link.standing.is_source() && link.unanswered < MAX_UNANSWERED {
                    return 0;
                }
                let asked = stream.asked.iter().filter(|a| a.peer == *id).count() as u64;
                let source = if link.standing.is_source() { 30 } else { 0 };
                // Chance spreads the load, and leads past one that does not deliver.
                let silent = 40 * u64::from(link.unanswered);
                let failed = link.failures > 0 && now < link.refused_until;
                let distrusted = if failed { DISTRUSTED } else { 0 };
                let full = if link.places == 0 { FULL } else { 0 };
                peer.rtt_or_guess().as_ms()
                    + wait
                    + 20 * asked
                    + source
                    + silent
                    + distrusted
                    + full
                    + (salt >> (id % 32) & 63)
            })
            .map(|(id, ..)| id)
    }

    /// How many blocks the stream makes each second, from the ages of those in the ring.
    fn blocks_each_second(&self, at: StreamId) -> u64 {
        let ring = &self.streams[at].ring;
        let newest = ring.end().saturating_sub(1);
        let older = newest.saturating_sub(32).max(ring.tail());
        match (ring.row(older), ring.row(newest)) {
            (Some(a), Some(b)) => {
                (newest - older) * 1_000 / b.born_at.since(a.born_at).as_ms().max(1)
            }
            _ => 0,
        }
    }

    /// Asks for the seals of blocks whose chunks wait for them, and of holes in the window.
    fn ask_for_seals(&mut self, now: Instant, at: StreamId) {
        let stream = &self.streams[at];
        if now.since(stream.seal_asked.1) < ANSWER {
            return;
        }
        let window = stream.playout.next..stream.ring.end().min(stream.playout.next + MAX_LOOK);
        let plays = stream.plays && !stream.is_starting(now, self.config.window);
        let hole = window
            .filter(|_| plays)
            .find(|&block| stream.ring.row(block).is_none());
        let Some(first) = hole.or_else(|| stream.unsealed()) else {
            return;
        };
        let Some(peer) = self
            .holder(now, at, first, 0)
            .or_else(|| self.any_parent(at))
        else {
            return;
        };
        self.streams[at].seal_asked = (first, now);
        self.queue(Job::WantSeals {
            peer,
            stream: at as u8,
            first,
            count: 16,
        });
    }

    fn any_parent(&mut self, at: StreamId) -> Option<PeerId> {
        let parents = &self.streams[at].parents;
        let salt = self.rng.below(32) as usize;
        (0..32).find_map(|i| parents[(i + salt) % 32].peer)
    }

    /// A chunk came before its seal: ask whoever sent it, once.
    pub(super) fn want_seal(&mut self, now: Instant, at: StreamId, peer: PeerId, block: u64) {
        let Some(rtt) = self.peers.get(peer).map(Peer::rtt_or_guess) else {
            return;
        };
        let (asked, when) = self.streams[at].seal_asked;
        if block > asked || now.since(when) > rtt.times(2) + ANSWER {
            self.streams[at].seal_asked = (block, now);
            self.queue(Job::WantSeals {
                peer,
                stream: at as u8,
                first: block,
                count: 1,
            });
        }
    }

    /// Skips what will not come: blocks older than the window, or gone from the ring; and the hole between two runs of the source.
    fn skip_lost(&mut self, now: Instant, at: StreamId) {
        let window = self.config.window;
        let is_line = self.is_lines_only(at);
        let is_slow = self.unhurried(at, SEAL_DELAY) > SEAL_DELAY;
        let stream = &mut self.streams[at];
        if !stream.playout.started {
            return;
        }
        let (next, end) = (stream.playout.next, stream.ring.end());
        let run = stream
            .card
            .as_ref()
            .map_or(0, |card| card.descriptor.first_block);
        if next < run {
            self.enter_run(now, at, run);
            return;
        }
        let first = next.max(stream.ring.tail());
        // The hole may be long: as many rows as the ring has are looked at.
        let newest_known = (first..end).find_map(|b| stream.ring.row(b));
        let Some(known) = newest_known else { return };
        // Whoever has heard nothing yet, or for long, would rather hear what is here than wait; over a line it takes its time.
        let begins_anew = !is_line && stream.is_starting(now, window);
        let is_new = !is_line && (begins_anew || stream.has_played_less(BEGINNING));
        let patience = if is_new {
            window.min(BEGINNING)
        } else {
            window
        };
        let on_its_way = if is_new || is_line || is_slow {
            Span::ZERO
        } else {
            SEAL_DELAY
        };
        // While this node was cut off nothing could be had: the time begins when it is back.
        let resumed_at = stream.resumed_at;
        let waited = |row: &Row| {
            let heard_at = row.born_at.max(row.sealed_at - on_its_way);
            now.since(heard_at.max(resumed_at))
        };
        let age = waited(known);
        let lost = next < stream.ring.tail() || age > patience;
        if !lost {
            return;
        }
        let k = stream.card.as_ref().map_or(0, |card| card.k());
        let can_begin = |row: &Row| {
            let is_coming = !is_new && waited(row) <= window;
            row.mark.sync != NOWHERE && (row.have.count_ones() as usize >= k || is_coming)
        };
        let mut behind = first.max(next + 1)..end;
        let begins = if begins_anew {
            let place = stream.start_place(now, self.config.burst);
            place.filter(|block| behind.contains(block))
        } else {
            behind.find(|&block| stream.ring.row(block).is_some_and(can_begin))
        };
        let Some(begins) = begins else { return };
        // Nobody hears it yet: what is whole before the hole is the better beginning until more is whole behind it.
        let is_whole = |block: &u64| {
            let row = stream.ring.row(*block);
            row.is_some_and(|row| row.have.count_ones() as usize >= k)
        };
        let mut players = self.players.iter().flatten();
        let is_heard = players.any(|it| it.stream == at && it.stage != Stage::Waiting);
        let mut pairs = (begins..end).take_while(is_whole).zip((0..next).rev());
        if is_new && !is_heard && age <= window && pairs.all(|(_, before)| is_whole(&before)) {
            return;
        }
        let missing: u64 = (first..begins)
            .filter_map(|b| stream.ring.row(b))
            .map(|row| u64::from(row.mark.length_bytes))
            .sum();
        if stream.stats.played_bytes > 0 {
            stream.stats.gaps += 1;
            stream.stats.missing_bytes += missing;
        }
        let sync = stream.ring.row(begins).map_or(0, |row| row.mark.sync);
        stream.playout.skip_to(&mut stream.ring, begins, sync);
        stream.play(now, self.config.burst);
        if stream.stats.gaps > 0 {
            self.tell(Event::Gap(at, begins - next));
        }
    }

    /// Goes on in the present run of the source: at its first block, or, where that came too late for it, at the
    /// oldest place to begin once the seals before it have had time to come.
    fn enter_run(&mut self, now: Instant, at: StreamId, run: u64) {
        let stream = &mut self.streams[at];
        let known = |block: &u64| {
            stream.ring.row(*block).is_some_and(|row| {
                let settled = now.since(row.sealed_at) >= SETTLED;
                *block == run || settled && row.mark.sync != crate::wire::seal::NOWHERE
            })
        };
        let Some(begins) = (run.max(stream.ring.tail())..stream.ring.end()).find(known) else {
            return;
        };
        let Some(row) = stream.ring.row(begins) else {
            return;
        };
        // What is still on its way of the run before is played too.
        let coming = stream.ring.row(stream.playout.next).is_some();
        if coming && now.since(row.sealed_at) < SETTLED {
            return;
        }
        let place = if begins == run { 0 } else { row.mark.sync };
        stream.playout.begin_run(&mut stream.ring, begins, place);
        stream.play(now, self.config.burst);
        if begins > run && stream.stats.played_bytes > 0 {
            stream.stats.gaps += 1;
            self.tell(Event::Gap(at, begins - run));
        }
    }
}
