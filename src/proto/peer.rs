//! Neighbours: one [`Peer`] a session, one [`Link`] for each stream it shares with this node.

use super::gauge::{Gauge, least_delay};
use super::ledger::Traffic;
use crate::crypto::session::SessionKeys;
use crate::limits::MAX_N;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::message::{Reason, Standing};
use core::ops::Range;

/// Place of a peer in the table.
pub type PeerId = usize;

/// The proof that a neighbour is at a new address: a Ping goes there, alone, and its Pong must come back.
#[derive(Clone, Copy, Debug)]
pub struct Moving {
    /// Where it was heard from.
    pub addr: Addr,
    /// What the Ping says.
    pub token: u32,
    /// When the Ping was said last.
    pub asked_at: Option<Instant>,
    /// It has to be said (again).
    pub due: bool,
}

/// A neighbour with an open session.
pub struct Peer {
    /// Where it is.
    pub addr: Addr,
    /// Its X25519 public key.
    pub node: [u8; 32],
    /// The session id it listens to.
    pub theirs: u64,
    /// The session id it uses towards this node.
    pub ours: u64,
    /// Keys of the session.
    pub keys: SessionKeys,
    /// This node opened the session.
    pub outgoing: bool,
    /// When the session was opened.
    pub since: Instant,
    /// Last authenticated control datagram or valid chunk from it.
    pub heard_at: Instant,
    /// Last control datagram to it.
    pub told_at: Instant,
    /// Smoothed round-trip time (RFC 6298 section 2); `None` before the first Pong.
    pub rtt: Option<Span>,
    /// Round-trip time to reckon with at the least: what frames take on a slow line.
    pub least_rtt: Span,
    /// Bit i: it was said that stream i does not fit the line to it.
    pub told_unfit: u8,
    /// The Ping that is out: token and when.
    pub ping: Option<(u32, Instant)>,
    /// The Ping has still to be said.
    pub ping_due: bool,
    /// Pings in a row that were not answered.
    pub unanswered: u8,
    /// The Pong owed: the token, the one-way delay of the Ping, and when that came.
    pub pong: Option<(u32, u32, Instant)>,
    /// The least one-way delay of chunks since the last Pong, in ticks modulo 2^24.
    pub least_delay: Option<u32>,
    /// The queue on the way to it.
    pub gauge: Gauge,
    /// A Ping is owed that only measures.
    pub gauge_due: bool,
    /// An address it was heard from, under proof.
    pub moving_to: Option<Moving>,
    /// The tag of a stream it asked for that is not carried here.
    pub unknown: Option<u32>,
    /// Bytes received and sent, IP and UDP headers counted.
    pub rx_bytes: u64,
    /// See `rx_bytes`.
    pub tx_bytes: u64,
    /// Of those, what is in the ledger's table of networks.
    pub settled: Traffic,
    /// Chunks from it that did not verify.
    pub invalid: u32,
    /// The session ends as soon as this has been said.
    pub bye: Option<Reason>,
}

/// Unanswered Pings in a row that are no accident.
pub const MISSED: u8 = 2;

impl Peer {
    /// Takes in one more measurement of the round-trip time.
    pub fn measured(&mut self, rtt: Span) {
        self.rtt = Some(match self.rtt {
            None => rtt,
            Some(old) => Span::from_us((old.as_us() * 7 + rtt.as_us()) / 8),
        });
    }

    /// Notes the one-way delay of a chunk.
    pub fn delayed(&mut self, ticks: u32) {
        self.least_delay = Some(
            self.least_delay
                .map_or(ticks, |least| least_delay(least, ticks)),
        );
    }

    /// What has not been put into the ledger's table of networks; it has been afterwards.
    pub fn unsettled(&mut self) -> Traffic {
        let before = self.settled;
        // What was settled and then refused by the system is settled against what comes.
        self.settled = Traffic {
            rx_bytes: self.rx_bytes,
            tx_bytes: self.tx_bytes.max(before.tx_bytes),
        };
        Traffic {
            rx_bytes: self.settled.rx_bytes - before.rx_bytes,
            tx_bytes: self.settled.tx_bytes - before.tx_bytes,
        }
    }

    /// Whether it is to be reckoned with: not while two Pings are unanswered, as one may be lost. What it would take of the
    /// upload is for others then.
    pub fn answers(&self) -> bool {
        self.unanswered < MISSED
    }

    /// Round-trip time to reckon with while none is measured.
    pub fn rtt_or_guess(&self) -> Span {
        self.rtt.unwrap_or(Span::from_ms(100)).max(self.least_rtt)
    }
}

/// Things a link owes its peer; written when the next control datagram leaves.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Due(u16);

impl Due {
    /// Say that this node takes part.
    pub const JOIN: Self = Self(1);
    /// Hand over the descriptor.
    pub const DESCRIPTOR: Self = Self(2);
    /// Say what can be had here.
    pub const OFFER: Self = Self(4);
    /// Say what is wanted from it.
    pub const SUBSCRIBE: Self = Self(8);
    /// Say what it gets.
    pub const GRANT: Self = Self(16);
    /// Say what it does not get.
    pub const REFUSE: Self = Self(32);
    /// Say what is here.
    pub const HAVE: Self = Self(64);
    /// Tell of other nodes.
    pub const EXCHANGE: Self = Self(128);
    /// Tell how many listen.
    pub const AUDIENCE: Self = Self(256);
    /// Ask for the descriptor.
    pub const WANT_DESCRIPTOR: Self = Self(512);
    /// Ask for the next piece of the preamble.
    pub const WANT_PREAMBLE: Self = Self(1_024);
    /// Ask for other nodes.
    pub const WANT_PEERS: Self = Self(2_048);

    /// Ask what it has and offers.
    pub const WANT_NEWS: Self = Self(4_096);
    /// Ask what is playing.
    pub const WANT_TITLE: Self = Self(8_192);
    /// Say that it still gets what it got.
    pub const CONFIRM: Self = Self(16_384);

    /// Owes this too.
    pub fn add(&mut self, more: Self) {
        self.0 |= more.0;
    }

    /// Whether this is owed; it no longer is afterwards.
    pub fn take(&mut self, one: Self) -> bool {
        let owed = self.0 & one.0 != 0;
        self.0 &= !one.0;
        owed
    }

    /// What keeps the stream flowing; the rest is news, and can wait for a letter that is written anyway.
    const PRESSING: Self = Self(
        Self::JOIN.0
            | Self::DESCRIPTOR.0
            | Self::SUBSCRIBE.0
            | Self::GRANT.0
            | Self::REFUSE.0
            | Self::WANT_DESCRIPTOR.0
            | Self::WANT_PREAMBLE.0,
    );

    /// Whether something is owed that has to be said now; with `news`, whether anything is that is worth a letter.
    pub fn presses(self, news: bool) -> bool {
        let counts = if news {
            !Self::CONFIRM.0
        } else {
            Self::PRESSING.0
        };
        self.0 & counts != 0
    }
}

/// What a peer is to this node in one stream.
#[derive(Clone, Copy)]
pub struct Link {
    /// It said Join for this stream, or answered ours.
    pub joined: bool,
    /// Its standing.
    pub standing: Standing,
    /// Descriptor version it is known to have.
    pub version: u32,
    /// When our Join was last said.
    pub join_at: Instant,

    /// As a parent: what it offers, prefers, how far each stripe is from the source there, how many places it has.
    pub offer: u32,
    /// See `offer`.
    pub home: u32,
    /// See `offer`.
    pub hops: [u8; MAX_N],
    /// See `offer`.
    pub places: u16,
    /// Stripes it agreed to send here.
    pub granted_up: u32,
    /// Not to be asked for these before `refused_until`.
    pub refused: u32,
    /// See `refused`.
    pub refused_until: Instant,
    /// Requests it did not answer, lately; halved by each it does.
    pub unanswered: u8,
    /// How often it was given up as a parent, lately.
    pub failures: u8,
    /// Stripes it was told that this node could do without.
    pub told_spare: u32,
    /// When Subscribe was last said, and how often without an answer.
    pub asked_at: Instant,
    /// See `asked_at`.
    pub asked: u8,
    /// Blocks it holds: from `have_tail`; `have_head - behind[i]` is the head of stripe i (255: nothing).
    pub have_tail: u64,
    /// See `have_tail`.
    pub have_head: u64,
    /// See `have_tail`.
    pub behind: [u8; MAX_N],
    /// When it last said so.
    pub have_at: Instant,
    /// Last chunk from it.
    pub chunk_at: Instant,

    /// As a child: stripes it gets from here.
    pub granted_down: u32,
    /// Of these, what it could do without.
    pub spare: u32,
    /// What it asked for and did not get, and why.
    pub refuse: Option<(u32, Reason)>,
    /// When it was last turned away for want of a place.
    pub turned_away_at: Instant,
    /// It takes its seals from here.
    pub wants_seals: bool,
    /// It asked for the seal of this block before that was here; 0 for none.
    pub seal_wanted: u64,
    /// Where it is in the stream's log.
    pub cursor: u64,
    /// Stripes that it was given a short while ago, the last of them from this block on: at the source, what came before may be nowhere.
    pub fresh: u32,
    /// See `fresh`.
    pub fed_from: u64,
    /// Its subscription ends unless renewed.
    pub lease_until: Instant,
    /// Listeners below it that it counts here.
    pub listeners: u32,

    /// Listeners told to it last.
    pub told_listeners: u32,
    /// When the standing news (Have, Offer) was last told.
    pub told_at: Instant,
    /// The Offer told last: stripes, home, whether there was a place; and when.
    pub told_offer: (u32, u32, u16),
    /// The hops told last of the stripes it gets from here, added up.
    pub told_hops: u16,
    /// See `told_offer`.
    pub offered_at: Instant,
    /// When it last asked for news.
    pub wants_news_at: Instant,
    /// When it was last asked for news.
    pub news_asked_at: Instant,
    /// What is owed.
    pub due: Due,
}

impl Link {
    /// A link that holds nothing.
    pub const VACANT: Self = Self {
        joined: false,
        standing: Standing(0),
        version: 0,
        join_at: Instant::ZERO,
        offer: 0,
        home: 0,
        hops: [0; MAX_N],
        places: 0,
        granted_up: 0,
        refused: 0,
        refused_until: Instant::ZERO,
        unanswered: 0,
        failures: 0,
        told_spare: 0,
        asked_at: Instant::ZERO,
        asked: 0,
        have_tail: 0,
        have_head: 0,
        behind: [u8::MAX; MAX_N],
        have_at: Instant::ZERO,
        chunk_at: Instant::ZERO,
        granted_down: 0,
        spare: 0,
        refuse: None,
        turned_away_at: Instant::ZERO,
        wants_seals: false,
        seal_wanted: 0,
        cursor: 0,
        fresh: 0,
        fed_from: 0,
        lease_until: Instant::ZERO,
        listeners: 0,
        told_listeners: 0,
        told_at: Instant::ZERO,
        told_offer: (0, 0, 0),
        told_hops: 0,
        offered_at: Instant::ZERO,
        wants_news_at: Instant::ZERO,
        news_asked_at: Instant::ZERO,
        due: Due(0),
    };

    /// Whether it gets stripes from here and has not been taken to the end of the log.
    pub fn is_behind(&self, log_end: u64) -> bool {
        self.granted_down != 0 && self.cursor != log_end
    }

    /// One past the newest block of a stripe it is known to hold.
    pub fn head_of(&self, stripe: usize) -> u64 {
        match self.behind.get(stripe) {
            Some(&behind) if behind != u8::MAX => self.have_head.saturating_sub(u64::from(behind)),
            _ => 0,
        }
    }
}

/// All neighbours, and their links; the table's size never changes.
pub struct Peers<'s> {
    peers: &'s mut [Option<Peer>],
    links: &'s mut [Link],
    streams: usize,
    /// No peer is at this place or behind it.
    end: usize,
    /// Who may be owed something: of the others, nothing was changed since they were looked at.
    owing: Range<PeerId>,
    /// Where the peer with a session id was found last, by the last bits of that id.
    found: [u16; FOUND],
}

/// Session ids that are remembered; a power of two.
const FOUND: usize = 64;

const NOBODY: Range<PeerId> = Range {
    start: usize::MAX,
    end: 0,
};

impl<'s> Peers<'s> {
    /// A table over borrowed memory: `links` has room for every stream of every peer.
    pub fn new(peers: &'s mut [Option<Peer>], links: &'s mut [Link], streams: usize) -> Self {
        Self {
            peers,
            links,
            streams,
            end: 0,
            owing: NOBODY,
            found: [0; FOUND],
        }
    }

    /// Those in these places may be owed something. Whoever is written to may be, and need not be named here.
    pub fn note_owing(&mut self, places: Range<PeerId>) {
        let Range { start, end } = self.owing;
        self.owing = places.start.min(start)..places.end.max(end);
    }

    /// The places of all who may be owed something since this was last asked.
    pub fn take_owing(&mut self) -> Range<PeerId> {
        let owing = core::mem::replace(&mut self.owing, NOBODY);
        owing.start..owing.end.min(self.end)
    }

    fn note_one(&mut self, id: PeerId) {
        // Some ask for the peer at a place that is none.
        if id < self.end {
            self.note_owing(id..id + 1);
        }
    }

    /// No peer is at this place or behind it.
    pub fn end(&self) -> usize {
        self.end
    }

    fn taken(&self) -> &[Option<Peer>] {
        self.peers.get(..self.end).unwrap_or(&[])
    }

    /// How many places there are.
    pub fn capacity(&self) -> usize {
        let linked = self.links.len().checked_div(self.streams).unwrap_or(0);
        self.peers.len().min(linked)
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        self.taken().iter().flatten().count()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The peer at a place.
    #[inline(never)] // Asked for everywhere.
    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id)?.as_ref()
    }

    /// The peer at a place.
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.note_one(id);
        self.get_unnoted(id)
    }

    /// The same, for what is changed when something is sent: it is owed no more than before.
    pub fn get_unnoted(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id)?.as_mut()
    }

    /// A vacant place.
    pub fn vacancy(&self) -> Option<PeerId> {
        (0..self.capacity()).find(|&id| self.peers[id].is_none())
    }

    /// Puts a peer in its place with fresh links.
    pub fn insert(&mut self, id: PeerId, peer: Peer) {
        if id < self.capacity() {
            self.peers[id] = Some(peer);
            self.end = self.end.max(id + 1);
            self.links[id * self.streams..][..self.streams].fill(Link::VACANT);
        }
    }

    /// Takes a peer out.
    pub fn remove(&mut self, id: PeerId) -> Option<Peer> {
        let peer = self.peers.get_mut(id)?.take();
        if peer.is_some() {
            self.links[id * self.streams..][..self.streams].fill(Link::VACANT);
        }
        while self.end > 0 && self.peers[self.end - 1].is_none() {
            self.end -= 1;
        }
        peer
    }

    /// The peer that uses a session id of ours.
    pub fn by_session(&mut self, ours: u64) -> Option<PeerId> {
        let is = |p: &Option<Peer>| p.as_ref().is_some_and(|p| p.ours == ours);
        let slot = ours as usize % FOUND;
        let last = usize::from(self.found[slot]);
        if self.peers.get(last).is_some_and(is) {
            return Some(last);
        }
        let id = self.taken().iter().position(is)?;
        self.found[slot] = u16::try_from(id).unwrap_or(0);
        Some(id)
    }

    /// The peer at an address.
    pub fn by_addr(&self, addr: Addr) -> Option<PeerId> {
        self.taken()
            .iter()
            .position(|p| p.as_ref().is_some_and(|p| p.addr == addr))
    }

    /// The peer with a node key.
    pub fn by_node(&self, node: &[u8; 32]) -> Option<PeerId> {
        self.taken()
            .iter()
            .position(|p| p.as_ref().is_some_and(|p| p.node == *node))
    }

    /// Everybody, with places.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.taken()
            .iter()
            .enumerate()
            .filter_map(|(id, peer)| Some((id, peer.as_ref()?)))
    }

    /// What a peer is to a stream. Places outside the table give a vacant link.
    pub fn link(&self, id: PeerId, stream: usize) -> &Link {
        const NOBODY: &Link = &Link::VACANT;
        // The links of a place without a peer are vacant.
        if stream < self.streams && id < self.end {
            &self.links[id * self.streams + stream]
        } else {
            NOBODY
        }
    }

    /// What a peer is to a stream.
    pub fn link_mut(&mut self, id: PeerId, stream: usize) -> Option<&mut Link> {
        self.note_one(id);
        let here = stream < self.streams && self.get(id).is_some();
        here.then(|| &mut self.links[id * self.streams + stream])
    }

    /// A child has come so far in a stream's log. It is owed no more than before.
    pub fn move_cursor(&mut self, id: PeerId, stream: usize, to: u64) {
        if let Some(link) = self.links.get_mut(id * self.streams + stream) {
            link.cursor = to;
        }
    }

    /// A peer together with its link.
    pub fn both_mut(&mut self, id: PeerId, stream: usize) -> Option<(&mut Peer, &mut Link)> {
        self.note_one(id);
        let link = self
            .links
            .get_mut(id * self.streams + stream)
            .filter(|_| stream < self.streams)?;
        Some((self.peers.get_mut(id)?.as_mut()?, link))
    }

    /// Everybody who takes part in a stream.
    pub fn in_stream(&self, stream: usize) -> impl Iterator<Item = (PeerId, &Peer, &Link)> {
        self.iter()
            .map(move |(id, peer)| (id, peer, self.link(id, stream)))
            .filter(|(_, _, link)| link.joined)
    }

    /// Runs through the links of a stream.
    pub fn each_link_mut(
        &mut self,
        stream: usize,
    ) -> impl Iterator<Item = (PeerId, &mut Peer, &mut Link)> {
        self.note_owing(0..self.end);
        let streams = self.streams.max(1);
        let links = self.links.chunks_mut(streams);
        self.peers
            .iter_mut()
            .take(self.end)
            .zip(links)
            .enumerate()
            .filter_map(move |(id, (peer, links))| {
                Some((id, peer.as_mut()?, links.get_mut(stream)?))
            })
    }
}
