//! The owner's line: what the quota still allows, and what the household leaves. Children are let go in good order when either gets
//! short: one stripe after the other, spare ones first, each with whom to try; a child of which nothing is left and that is of
//! no use to this node gets Bye in the same datagram.

use super::bucket::Urgency;
use super::card::Card;
use super::forward::not_handed_on;
use super::node::{Node, StreamId};
use super::pace::{Load, Pace};
use super::peer::{Link, Peer, PeerId};
use super::stream::bits;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::message::Reason;

/// How often the queue is read.
const TICK: Span = Span::from_ms(250);

/// What a tick of congestion counts for in the age of the base, so that an upload of an hour is not taken for the way itself.
const TICK_CONGESTED: Span = Span::from_us(TICK.as_us() / 8);

/// A child whose chunks have waited here for so many ticks is served too late; what has waited for half as many is still sent.
const LATE_TICKS: usize = 4;

/// Of the copies that were taken back for want of upload one more may be given again each time so much has passed. Much is late for a
/// moment while a grid grows; after ten seconds for each it was short of places for most of a minute.
const WITHHELD: Span = Span::from_s(3);

/// A reading is good for so long.
const FRESH: Span = Span::from_s(3);

/// Neighbours asked how long the way to them takes; the middle one is believed, so that no single one can talk this node
/// into letting go of its children, or into keeping them.
const PANEL: usize = 5;

/// How often each is asked, at most; under a small limit less, so that asking takes no more than a fiftieth of it.
const ASK: Span = Span::from_ms(250);
const ASK_BYTES: u64 = 75;

/// All children are let go within this when the quota nears its end, or the owner pauses.
pub const ENDING: Span = Span::from_s(20);

/// Neighbours' sums go into the ledger's table of networks this often.
const SETTLE: Span = Span::from_s(1);

/// What the quota allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sharing {
    /// Children are taken.
    #[default]
    Open,
    /// Nobody gets more than he has.
    Full,
    /// The children are let go; this node's own players are served on.
    Ended,
}

/// What a node keeps to look after the line.
pub(super) struct Uplink {
    sharing: Sharing,
    /// The owner wants to share nothing for a while.
    paused: bool,
    /// When either changed.
    changed_at: Instant,
    pace: Pace,
    /// The queue on the way out, as read last, and when.
    queue: Option<Span>,
    read_at: Instant,
    /// When the panel was asked last.
    asked_at: Instant,
    /// By it the bases of the delays grow old.
    age: Span,
    /// When the neighbours' sums were last put into the ledger.
    settled_at: Instant,
    /// Bits a second that the limit is good for by reckoning and turned out not to be; and when that was last changed.
    withheld_bps: u64,
    withheld_at: Instant,
}

impl Uplink {
    pub(super) fn new(now: Instant, target: Option<Span>, limit_bps: Option<u64>) -> Self {
        Self {
            sharing: Sharing::default(),
            paused: false,
            changed_at: now,
            pace: Pace::new(target, limit_bps),
            queue: None,
            read_at: now,
            asked_at: now,
            age: Span::ZERO,
            settled_at: now,
            withheld_bps: 0,
            withheld_at: now,
        }
    }
}

impl Uplink {
    /// The owner allows something else from now on.
    pub(super) fn set_limit(&mut self, limit_bps: Option<u64>) {
        self.pace.set_limit(limit_bps);
    }
}

/// How the line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UplinkState {
    /// What the quota allows.
    pub sharing: Sharing,
    /// Queueing delay on the way out, as far as it is known.
    pub queue: Option<Span>,
    /// Bits a second that the household leaves; `None`: as many as the owner allows.
    pub pace_bps: Option<u64>,
}

impl Node<'_> {
    /// So many bytes may be sent from now on, of which the last `reserve` are for control alone; `None`: there is no quota. Nothing
    /// leaves beyond it, whatever it is.
    pub fn set_allowance(
        &mut self,
        now: Instant,
        bytes: Option<u64>,
        reserve: u64,
        sharing: Sharing,
    ) {
        self.bucket.set_allowance(bytes, reserve);
        if self.uplink.sharing != sharing {
            self.uplink.sharing = sharing;
            self.uplink.changed_at = now;
            self.upkeep_at = now;
        }
    }

    /// Lets the children go in good order, as at the quota's end, and takes none until it is called with `false`.
    pub fn set_paused(&mut self, now: Instant, paused: bool) {
        if self.uplink.paused != paused {
            self.uplink.paused = paused;
            self.uplink.changed_at = now;
            for at in 0..self.streams.len() {
                self.tell_standing(at);
            }
            self.upkeep_at = now;
        }
    }

    /// What is left of the allowance.
    pub fn allowance(&self) -> Option<u64> {
        self.bucket.allowance()
    }

    /// Bytes that may leave now by another way than the node's own datagrams, to clients beyond this network: of the stream, or of
    /// what they are told.
    pub fn room(&mut self, now: Instant, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Stream | Urgency::Repair => self.bucket.room(now),
            Urgency::Words | Urgency::Strangers => self.bucket.room_to_answer(now),
        }
    }

    /// So many bytes have left that way.
    pub fn served(&mut self, to: Addr, bytes: usize) {
        self.bucket.spend(bytes, Urgency::Stream);
        self.count_served(to, bytes);
    }

    /// Bits a second that come in when all streams do, and that go out by what is granted; for the buffers of sockets.
    pub fn flow_bps(&self) -> (u64, u64) {
        let cards = self.streams.iter().filter_map(|s| s.card.as_ref());
        let stripes = |card: &Card| card.stripe_bps() * card.n() as u64;
        (cards.map(stripes).sum(), self.granted_bps())
    }

    /// How the line stands.
    pub fn uplink(&self) -> UplinkState {
        UplinkState {
            sharing: self.uplink.sharing,
            queue: self.uplink.queue,
            pace_bps: self.uplink.pace.now_bps(),
        }
    }

    /// Bits a second for everything, as the owner allows and the household leaves.
    pub(super) fn uplink_bps(&self) -> Option<u64> {
        let pace = self.uplink.pace.now_bps();
        [self.config.upload_limit_bps, pace]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the quota has ended the sharing, or the owner.
    pub(super) fn has_ended(&self) -> bool {
        self.uplink.sharing == Sharing::Ended || self.uplink.paused
    }

    /// Whether somebody may be granted more.
    pub(super) fn may_grant(&self) -> bool {
        !self.leaving && !self.uplink.paused && self.uplink.sharing == Sharing::Open
    }

    /// Looks after the line, a few times a second.
    pub(super) fn tend_uplink(&mut self, now: Instant) {
        if now.since(self.uplink.settled_at) >= SETTLE {
            self.uplink.settled_at = now;
            self.settle_ledger();
        }
        if now.since(self.uplink.read_at) < TICK {
            return;
        }
        self.uplink.read_at = now;
        if self.has_ended() {
            self.end_sharing(now);
        }
        if self.uplink.pace.watches() {
            self.watch_queue(now);
        }
        if self.uplink_bps().is_some() {
            self.relieve(now);
        }
    }

    /// What is promised to children but does not leave in time is taken back, one copy a time, that which is missed least; and what has
    /// waited too long is not sent any more, so that the rest is in time again. Else a node that owes more than it can send
    /// is late for all its children, and for everybody below them.
    fn relieve(&mut self, now: Instant) {
        let late = (0..self.streams.len()).any(|at| {
            let before = self.streams[at].log_ends[LATE_TICKS - 1];
            let waits = |link: &Link| link.granted_down != 0 && link.cursor < before;
            // A line has its own room, which limits nobody else; and whoever may be gone is not fed, and waits for that.
            let limited = |peer: &Peer| peer.addr.socket().is_some() && peer.unanswered == 0;
            let mut children = self.peers.in_stream(at);
            children.any(|(_, peer, link)| limited(peer) && waits(link))
        });
        for stream in self.streams.iter_mut() {
            stream.log_ends.rotate_right(1);
            stream.log_ends[0] = stream.log.end();
            if late {
                stream.too_late = stream.log_ends[LATE_TICKS / 2];
                // Not twice for the same.
                stream.log_ends[LATE_TICKS / 2..].fill(stream.too_late);
            }
        }
        let step_bps = self.stripe_bps();
        if late && self.take_least() {
            let most_bps = self.uplink_bps().unwrap_or(0) / 4;
            self.uplink.withheld_bps = (self.uplink.withheld_bps + step_bps).min(most_bps);
            self.uplink.withheld_at = now;
        } else if now.since(self.uplink.withheld_at) > WITHHELD {
            self.uplink.withheld_bps = self.uplink.withheld_bps.saturating_sub(step_bps);
            self.uplink.withheld_at = now;
        }
    }

    /// Bits a second that are not given out as places, because they turned out to be missing.
    pub(super) fn withheld_bps(&self) -> u64 {
        self.uplink.withheld_bps
    }

    /// Reads the queue, follows it, and asks again.
    fn watch_queue(&mut self, now: Instant) {
        let panel = self.panel();
        let queue = self.middle_queue(now, &panel);
        // While children are being fed, no answer at all is not a short queue.
        self.uplink.queue = queue.or(self.uplink.queue.filter(|_| !panel.is_empty()));
        let used_bps = self.bucket.last_second_bits(now);
        let load = Load {
            used_bps,
            bps: used_bps.max(self.granted_bps()),
            step_bps: self.stripe_bps(),
        };
        self.uplink.pace.note(now, self.uplink.queue, load);
        let pace_bps = self.uplink.pace.now_bps();
        if let Some(pace_bps) = pace_bps {
            while self.granted_bps() > pace_bps && self.take_least() {}
        }
        // On a line that was once full what is sent leaves evenly: what is left of it is for others to burst in.
        let even_bps = pace_bps.map(|pace_bps| pace_bps.min(load.even_bps()));
        self.bucket.set_pace(now, even_bps);
        let congested = self.uplink.queue > self.config.delay_target;
        self.uplink.age = self.uplink.age + if congested { TICK_CONGESTED } else { TICK };
        self.ask_panel(now, &panel);
    }

    /// Neighbours by whom the queue is measured: those beyond this network if there are any. While nobody is fed because
    /// the line is needed, others tell when it is free again.
    fn panel(&self) -> heapless::Vec<PeerId, PANEL> {
        let yields = self.uplink.pace.now_bps().is_some();
        let fit = |id: PeerId| self.is_child(id) || yields && self.joined(id);
        let beyond = |peer: &Peer| !peer.addr.is_local();
        // A serial line is no part of it, and what waits on the way to this machine itself is its processor.
        let ours = |peer: &Peer| peer.addr.socket().is_some() && !peer.addr.is_here();
        let any_beyond = self.peers.iter().any(|(id, peer)| beyond(peer) && fit(id));
        let all = self.peers.iter();
        all.filter(|(id, peer)| ours(peer) && beyond(peer) == any_beyond && fit(*id))
            .map(|(id, _)| id)
            .take(PANEL)
            .collect()
    }

    fn joined(&self, id: PeerId) -> bool {
        (0..self.streams.len()).any(|at| self.peers.link(id, at).joined)
    }

    fn middle_queue(&self, now: Instant, panel: &[PeerId]) -> Option<Span> {
        let read = |id: &PeerId| self.peers.get(*id)?.gauge.queue(now, FRESH);
        let mut queues: heapless::Vec<Span, PANEL> = panel.iter().filter_map(read).collect();
        queues.sort_unstable();
        queues.get(queues.len().saturating_sub(1) / 2).copied()
    }

    fn ask_panel(&mut self, now: Instant, panel: &[PeerId]) {
        let cost = panel.len() as u64 * ASK_BYTES * 8 * 50;
        let pause = match self.config.upload_limit_bps {
            Some(limit) => Span::from_us(cost * 1_000_000 / limit.max(1)).max(ASK),
            None => ASK,
        };
        if now.since(self.uplink.asked_at) < pause {
            return;
        }
        self.uplink.asked_at = now;
        for &id in panel {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.gauge_due = true;
            }
        }
    }

    /// A neighbour's answer to a Ping.
    pub(super) fn measured(&mut self, now: Instant, id: PeerId, delay: u32, round: Span) {
        let age = self.uplink.age;
        if let Some(peer) = self.peers.get_mut(id) {
            peer.gauge.note(now, age, delay, round);
        }
    }

    /// What one more child would take: a stripe of the widest stream.
    fn stripe_bps(&self) -> u64 {
        let cards = self.streams.iter().filter_map(|s| s.card.as_ref());
        cards.map(|card| card.stripe_bps()).max().unwrap_or(0)
    }

    /// Lets the children go, evenly over a while.
    fn end_sharing(&mut self, now: Instant) {
        let left = ENDING
            .as_us()
            .saturating_sub(now.since(self.uplink.changed_at).as_us());
        let turns = (left / TICK.as_us()).max(1) as usize;
        let copies: u32 = (0..self.streams.len())
            .flat_map(|at| self.peers.in_stream(at))
            .filter(|(_, peer, _)| peer.addr.socket().is_some())
            .map(|(_, _, link)| link.granted_down.count_ones())
            .sum();
        for _ in 0..(copies as usize).div_ceil(turns) {
            if !self.take_least() {
                break;
            }
        }
    }

    /// Takes the stripe back that is missed least: at the source, one that somebody else has; one that a child can do without; then
    /// one of a child that does not hand it on; of these, from the child that has most. False when nobody has any.
    fn take_least(&mut self) -> bool {
        let worth = |at: StreamId, id: PeerId, link: &Link| {
            let kept = not_handed_on(link).count_ones();
            (
                link.granted_down & !self.sole(at, id, link) != 0,
                link.spare & link.granted_down != 0,
                kept > 0,
                link.granted_down.count_ones(),
            )
        };
        let all = (0..self.streams.len()).flat_map(|at| {
            self.peers
                .in_stream(at)
                // What goes over a serial line costs the uplink nothing.
                .filter(|(_, peer, _)| peer.addr.socket().is_some() && peer.answers())
                .map(move |(id, _, link)| (at, id, link))
        });
        let fed = all.filter(|(_, _, link)| link.granted_down != 0);
        let Some((at, id, link)) = fed.max_by_key(|&(at, id, link)| worth(at, id, link)) else {
            return false;
        };
        let elsewhere = match link.granted_down & !self.sole(at, id, link) {
            0 => link.granted_down,
            some => some,
        };
        let choice = [link.spare, not_handed_on(link), u32::MAX].map(|mask| mask & elsewhere);
        let from = choice.into_iter().find(|mask| *mask != 0).unwrap_or(0);
        if let Some(stripe) = bits(from).last() {
            self.take_stripe(id, at, stripe);
        }
        if self.has_ended() && !self.is_child(id) && !self.is_of_use(id) {
            self.dismiss(id, Reason::Full);
        }
        true
    }

    /// Whether this node may want something of a neighbour.
    fn is_of_use(&self, id: PeerId) -> bool {
        let feeds = |at: StreamId| {
            let link = self.peers.link(id, at);
            link.granted_up != 0 || link.standing.forwards() && self.streams[at].plays
        };
        (0..self.streams.len()).any(feeds)
    }
}
