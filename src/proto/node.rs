//! The one public state machine. Sans-IO: the caller brings datagrams, time and media, and takes what is to be sent.
//!
//! The contract: after any call that hands something in, call [`Node::poll_transmit`] until it says no, read [`Node::poll_timeout`],
//! and call [`Node::handle_timeout`] no later than that. Nothing here blocks, allocates, or reads a clock.

use super::allowance::Allowance;
use super::book::{Book, Entry};
use super::bucket::Bucket;
use super::card::Card;
use super::config::{MAX_LINES, MAX_STREAMS, NodeConfig, Role};
pub use super::handshake::Attempt;
use super::job::Job;
use super::ledger::Ledger;
use super::line::Line;
use super::peer::{Due, Link, Peer, PeerId, Peers};
use super::player::{Player, Stage};
use super::playout;
use super::segments::Segment;
use super::serve::{MAX_EARLY, Repair};
use super::source::{Programme, Start};
use super::stats::NodeStats;
use super::stream::{Stream, StreamPools, Taken};
use super::uplink::Uplink;
use crate::crypto::cookie::CookieJar;
use crate::crypto::session;
use crate::error::{Full, Malformed};
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::rng::Rng;
use crate::storage::queue::Queue;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::chunk::{Chunk, ticks};
use crate::wire::datagram::{Datagram, is_answer};
use crate::wire::message::Reason;

/// Longest datagram of a handshake or a stateless answer.
pub(super) const SMALL_BYTES: usize = 192;

/// A short datagram that waits to be sent to somebody without a session.
pub(super) type Small = (Addr, heapless::Vec<u8, SMALL_BYTES>);

/// All memory a node borrows. Its sizes are the node's limits.
pub struct Pools<'s> {
    /// Streams.
    pub streams: &'s mut heapless::vec::VecView<Stream<'s>>,
    /// Neighbours.
    pub peers: &'s mut [Option<Peer>],
    /// One for each stream of each neighbour.
    pub links: &'s mut [Link],
    /// Handshakes in progress.
    pub attempts: &'s mut [Option<Attempt>],
    /// Address book.
    pub book: &'s mut [Entry],
    /// Players.
    pub players: &'s mut [Option<Player>],
    /// Things owed once.
    pub jobs: &'s mut [Job],
    /// Chunks that were asked for.
    pub repairs: &'s mut [Repair],
}

/// Place of a stream in its node.
pub type StreamId = usize;

/// Place of a player in its node.
pub type PlayerId = usize;

/// Something worth telling the owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A session opened.
    PeerUp(PeerId, Addr),
    /// A session ended: its address, and why.
    PeerDown(Addr, Down),
    /// A parent sent nothing for too long and was replaced: its address and the stripes.
    ParentLost(StreamId, Addr, u32),
    /// A stream's descriptor became known or changed.
    Described(StreamId),
    /// Media was skipped: this many blocks.
    Gap(StreamId, u64),
    /// Too few stripes are to be had: nothing is taken for so long, for others to play.
    Rests(StreamId, Span),
    /// An address answered that the stream is not carried there.
    NotCarried(StreamId, Addr),
    /// A stream is not sent over a serial line because the line is too slow for it.
    DoesNotFit {
        /// Which.
        stream: StreamId,
        /// The line.
        addr: Addr,
        /// What the stream needs there, frames and seals included.
        needed_bps: u64,
        /// What the line carries.
        line_bps: u64,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Down {
    /// The neighbour said Bye.
    Bye,
    /// It fell silent.
    Silent,
    /// This node had no use for it.
    Unneeded,
    /// It sent what does not verify.
    Hostile,
    /// It opened a new session instead.
    Replaced,
}

/// The engine.
pub struct Node<'s> {
    pub(super) config: NodeConfig,
    pub(super) public: [u8; 32],
    pub(super) jar: CookieJar,
    pub(super) rng: Rng,
    pub(super) drawn: u64,
    pub(super) peers: Peers<'s>,
    pub(super) attempts: &'s mut [Option<Attempt>],
    pub(super) book: Book<'s>,
    pub(super) streams: &'s mut heapless::vec::VecView<Stream<'s>>,
    pub(super) players: &'s mut [Option<Player>],
    pub(super) jobs: Queue<'s, Job>,
    pub(super) repairs: Queue<'s, Repair>,
    /// What was asked for before it came here.
    pub(super) early: heapless::Vec<Repair, MAX_EARLY>,
    pub(super) small: heapless::Deque<Small, 16>,
    pub(super) events: heapless::Deque<Event, 16>,
    pub(super) bucket: Bucket,
    pub(super) ledger: Ledger,
    pub(super) uplink: Uplink,
    pub(super) lines: [Line; MAX_LINES],
    pub(super) words: Allowance,
    /// When the bucket will let something through again, if it held something back.
    pub(super) held_until: Option<Instant>,
    pub(super) upkeep_at: Instant,
    /// When something that is to be played next is to be asked for, if before that.
    pub(super) repair_at: Option<Instant>,
    pub(super) connect_at: [Instant; MAX_STREAMS],
    pub(super) balance_at: Instant,
    /// When children may be asked again whether they still need their places.
    pub(super) probe_at: Instant,
    /// When a child may be made to make way again.
    pub(super) way_at: Instant,
    /// When what nobody else has may be sent before the stream again.
    pub(super) urgent_at: Instant,
    /// When the node was made.
    pub(super) began: Instant,
    /// Whose turn it is to be sent to, among those who do not hand on and among those who do.
    pub(super) turns: [(PeerId, StreamId); 2],
    /// When those who hand on were last found to have all that can be sent to them, and how much the logs had come to by then.
    pub(super) trunk_fed: (Instant, u64),
    /// Somebody is owed words that were held back: all are looked at again when something is handed in.
    pub(super) holds_words: bool,
    /// How much the logs had come to when every child was last found to have all of it.
    pub(super) all_fed: Option<u64>,
    pub(super) stats: NodeStats,
    pub(super) leaving: bool,
}

impl<'s> Node<'s> {
    /// A node without streams; add them with [`Node::add_stream`].
    pub fn new(now: Instant, config: NodeConfig, pools: Pools<'s>) -> Self {
        let streams = MAX_STREAMS.min(pools.links.len() / pools.peers.len().max(1));
        let cookie_secret = blake3::derive_key("weir v1 cookie secret", &config.entropy);
        let jitter = blake3::derive_key("weir v1 jitter", &config.entropy);
        let [a, b, c, d, e, f, g, h, ..] = jitter;
        let mut bucket = Bucket::new(config.upload_limit_bps, now);
        bucket.be_gentle(config.delay_target);
        Self {
            public: session::public_key(&config.secret),
            jar: CookieJar::new(cookie_secret),
            rng: Rng::new(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            drawn: 0,
            peers: Peers::new(pools.peers, pools.links, streams),
            attempts: pools.attempts,
            book: Book::new(pools.book),
            streams: pools.streams,
            players: pools.players,
            jobs: Queue::new(pools.jobs),
            repairs: Queue::new(pools.repairs),
            early: heapless::Vec::new(),
            small: heapless::Deque::new(),
            events: heapless::Deque::new(),
            bucket,
            ledger: Ledger::default(),
            uplink: Uplink::new(now, config.delay_target, config.upload_limit_bps),
            lines: Line::all(config.lines),
            words: Allowance::default(),
            held_until: None,
            upkeep_at: now,
            repair_at: None,
            connect_at: [now; MAX_STREAMS],
            balance_at: now,
            probe_at: now,
            way_at: now,
            urgent_at: now,
            began: now,
            turns: [(0, 0); 2],
            trunk_fed: (Instant::ZERO, 0),
            holds_words: false,
            all_fed: None,
            stats: NodeStats::default(),
            leaving: false,
            config,
        }
    }

    /// Takes a stream up.
    ///
    /// # Errors
    /// [`Malformed::Field`] for a key that is none, for a stream too many, and for two streams with the same tag.
    pub fn add_stream(
        &mut self,
        key: [u8; 32],
        role: Role,
        pools: StreamPools<'s>,
    ) -> Result<StreamId, Malformed> {
        let stream = Stream::new(key, role, pools)?;
        let twin = self.streams.iter().any(|other| other.tag == stream.tag);
        if twin
            || (self.streams.len() + 1) * self.peers.capacity()
                > self.peers.capacity() * MAX_STREAMS
        {
            return Err(Malformed::Field);
        }
        self.streams.push(stream).map_err(|_| Malformed::Field)?;
        Ok(self.streams.len() - 1)
    }

    /// Gives a stream what makes it, at the source.
    #[cfg(any(test, feature = "source"))]
    pub fn set_source(&mut self, stream: StreamId, source: super::source::Source<'s>) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.source = Some(source);
        }
    }

    /// An address that may be asked for a stream, from a URI or the configuration.
    pub fn add_bootstrap(&mut self, now: Instant, stream: StreamId, addr: Addr) {
        self.book.add(addr, stream, true, now);
        self.upkeep_at = now;
    }

    /// Says what is broadcast; see [`Stream::publish`].
    pub fn publish(
        &mut self,
        now: Instant,
        stream: StreamId,
        programme: &Programme,
        preamble: &[u8],
    ) -> Result<(), Malformed> {
        let it = self.streams.get_mut(stream).ok_or(Malformed::Kind)?;
        let before = it.version();
        it.publish(now, programme, preamble)?;
        if it.version() != before {
            self.spread_descriptor(stream);
        }
        Ok(())
    }

    /// Takes media in at the source; see [`Stream::push_source`].
    pub fn push_source(
        &mut self,
        now: Instant,
        stream: StreamId,
        start: Start,
        bytes: &[u8],
        end_is_cut: bool,
    ) -> Result<(), Malformed> {
        self.streams
            .get_mut(stream)
            .ok_or(Malformed::Kind)?
            .push_source(now, start, bytes, end_is_cut)
    }

    /// Media time of what is pushed next; see [`Stream::set_media_time`].
    pub fn set_media_time(&mut self, now: Instant, stream: StreamId, time_us: u64) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.set_media_time(now, time_us);
        }
    }

    /// What comes next does not join on to what came before, at the source: the output is cut there. To be followed by media
    /// that begins at a sync point.
    pub fn begin_run(&mut self, now: Instant, stream: StreamId) {
        if let Some(it) = self.streams.get_mut(stream) {
            it.begin_run(now);
            self.spread_descriptor(stream);
        }
    }

    /// Says what is playing now, at the source.
    pub fn set_now_playing(&mut self, now: Instant, stream: StreamId, text: &str) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.set_now_playing(now, text);
        }
    }

    /// Notes why the media of a stream was given up as raw bytes.
    pub fn set_trouble(&mut self, stream: StreamId, trouble: Option<&'static str>) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.trouble = trouble;
        }
    }

    /// Takes a datagram in.
    pub fn handle_datagram(&mut self, now: Instant, from: Addr, bytes: &[u8]) {
        self.look_again();
        let handled = match Datagram::parse(bytes) {
            Ok(Datagram::Chunk {
                session,
                sent,
                behind,
                chunk,
            }) => {
                self.on_chunk(now, from, session, (sent, behind), bytes.len(), &chunk);
                Ok(())
            }
            Ok(Datagram::Control {
                session,
                nonce,
                header,
                sealed,
            }) => self.on_control(now, from, session, nonce, header, sealed),
            Ok(handshake) => {
                self.count_received(from, bytes.len(), None);
                self.on_handshake(now, from, &handshake)
            }
            Err(error) => {
                self.count_received(from, bytes.len(), None);
                Err(error)
            }
        };
        if handled.is_err() {
            self.stats.malformed += 1;
        }
    }

    fn on_chunk(
        &mut self,
        now: Instant,
        from: Addr,
        session: u64,
        (sent, behind): (u32, u8),
        len: usize,
        chunk: &Chunk<'_>,
    ) {
        let peer = self.peers.by_session(session);
        self.count_received(from, len, peer);
        let Some(id) = peer else {
            self.stats.stray += 1;
            return;
        };
        let Some(at) = self.stream_by_tag(chunk.tag) else {
            return;
        };
        self.streams[at].stats.rx_bytes += self.on_line(from, len) as u64;
        let answers = self.streams[at]
            .asked
            .iter()
            .any(|asked| asked.id == chunk.id && asked.peer == id);
        let taken = self.streams[at].accept_chunk(now, id, behind, chunk);
        if matches!(taken, Taken::New | Taken::Duplicate) {
            if let Some((peer, link)) = self.peers.both_mut(id, at) {
                peer.delayed(ticks(now.as_us()).wrapping_sub(sent) & 0xff_ffff);
                if answers {
                    link.unanswered /= 2;
                }
            }
            self.credit(now, at, id, chunk.id, behind);
        }
        match taken {
            Taken::New => {
                self.serve_early(at, chunk.id.block);
                self.streams[at].play(now, self.config.burst);
            }
            Taken::Parked => self.want_seal(now, at, id, chunk.id.block),
            Taken::Invalid => self.debit(now, at, id, chunk.id),
            Taken::Duplicate | Taken::Dropped => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.look_again();
        // A relay's program has no source's code; nothing could make one (`set_source`).
        #[cfg(any(test, feature = "source"))]
        for stream in self.streams.iter_mut().filter(|s| s.source.is_some()) {
            stream.tick_source(now);
        }
        self.tick_handshakes(now);
        if now >= self.upkeep_at {
            self.upkeep(now);
        } else if self.repair_at.is_some_and(|at| at <= now) {
            self.repair_next(now);
        }
        if self.held_until.is_some_and(|at| at <= now) {
            self.held_until = None;
        }
    }

    /// When [`Node::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sources = self
            .streams
            .iter()
            .filter_map(|stream| stream.source.as_ref()?.next_at(stream.group()));
        let attempts = self
            .attempts
            .iter()
            .flatten()
            .map(|attempt| attempt.next_at);
        sources
            .chain(attempts)
            .chain(self.held_until)
            .chain(self.repair_at)
            .chain([self.upkeep_at])
            .min()
    }

    /// The oldest event not yet told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.events.is_full() {
            self.events.pop_front();
        }
        // Room: one was just taken out.
        let _ = self.events.push_back(event);
    }

    /// Says Bye to everybody: drain [`Node::poll_transmit`] once more, then stop.
    pub fn shutdown(&mut self, now: Instant) {
        self.leaving = true;
        for id in 0..self.peers.end() {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.bye = Some(Reason::Leaving);
            }
        }
        self.upkeep_at = now;
    }

    /// A player comes. `ago`: how far in the past it would like to begin; `None`: the configured burst.
    ///
    /// # Errors
    /// When all places are taken, or there is no such stream, or its owner stopped it.
    pub fn open_player(
        &mut self,
        now: Instant,
        stream: StreamId,
        ago: Option<Span>,
    ) -> Result<PlayerId, Full> {
        if self.streams.get(stream).is_none_or(|s| s.stopped) {
            return Err(Full);
        }
        let place = self.players.iter().position(Option::is_none).ok_or(Full)?;
        self.players[place] = Some(Player::new(stream, ago.unwrap_or(self.config.burst), now));
        if !self.streams[stream].plays {
            self.streams[stream].plays = true;
            self.streams[stream].playout.await_start();
            self.upkeep_at = now;
        }
        Ok(place)
    }

    /// A player comes for one segment only, with the preamble before it if so wanted. Also the bytes it will be given.
    ///
    /// # Errors
    /// When all places are taken or there is no such stream.
    pub fn open_segment(
        &mut self,
        now: Instant,
        stream: StreamId,
        segment: &Segment,
        with_preamble: bool,
    ) -> Result<(PlayerId, u64), Full> {
        let id = self.open_player(now, stream, None)?;
        let it = self.streams.get(stream).ok_or(Full)?;
        let preamble = it.preamble.get().filter(|_| with_preamble).unwrap_or(&[]);
        let bytes = preamble.len() as u64 + it.segment_bytes(segment);
        if let Some(player) = self.players.get_mut(id).and_then(Option::as_mut) {
            (player.block, player.offset) = segment.from;
            player.end = Some(segment.to);
            if let Some(card) = &it.card {
                player.begin(card, preamble.len());
            }
        }
        Ok((id, bytes))
    }

    /// How long ago the source sent what a player reads next; `None` before it has begun.
    pub fn player_age(&mut self, now: Instant, id: PlayerId) -> Option<Span> {
        if !self.settle_player(now, id) {
            return None;
        }
        let (player, stream) = self.player_and_stream(id)?;
        let row = stream.ring.row(player.block)?;
        Some(now.since(row.born_at))
    }

    /// A player that is at an end goes on all the same, with the new preamble, as if it had connected anew.
    pub fn restart_player(&mut self, id: PlayerId) {
        let Some(player) = self.players.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        let stream = self.streams.get(player.stream);
        if let Some((stream, card)) = stream.and_then(|it| Some((it, it.card.as_ref()?))) {
            player.begin(card, stream.preamble.get().map_or(0, <[u8]>::len));
        }
    }

    /// A player goes.
    pub fn close_player(&mut self, now: Instant, id: PlayerId) {
        let Some(player) = self.players.get_mut(id).and_then(Option::take) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(player.stream) {
            stream.idle_since = now;
        }
    }

    /// The player at a place.
    pub fn player(&self, id: PlayerId) -> Option<&Player> {
        self.players.get(id)?.as_ref()
    }

    /// Bytes a player can be given now, without a copy: preamble first, then media from a sync point on. Empty when there is nothing.
    /// They stay valid until the node is handed something else; say with [`Node::advance_player`] how many were used.
    pub fn peek_player(&mut self, now: Instant, id: PlayerId) -> &[u8] {
        if !self.settle_player(now, id) {
            return &[];
        }
        let Some((player, stream)) = self.player_and_stream(id) else {
            return &[];
        };
        match (player.stage, &stream.card) {
            (Stage::Preamble(offset), _) => stream
                .preamble
                .get()
                .and_then(|bytes| bytes.get(offset as usize..))
                .unwrap_or(&[]),
            (Stage::Playing, Some(card)) => {
                playout::readable(player, &stream.ring, &stream.playout, card)
            }
            _ => &[],
        }
    }

    /// Several slices a player can be given now, in order, for one vectored write. Returns how many of `out` were filled.
    pub fn peek_player_vectored<'n>(
        &'n mut self,
        now: Instant,
        id: PlayerId,
        out: &mut [&'n [u8]],
    ) -> usize {
        if !self.settle_player(now, id) {
            return 0;
        }
        let this = &*self;
        let Some((player, stream)) = this.player_and_stream(id) else {
            return 0;
        };
        let Some(card) = stream.card.as_ref() else {
            return 0;
        };
        let (mut n, mut at) = (0, (player.block, player.offset));
        if let Stage::Preamble(offset) = player.stage {
            let rest = stream
                .preamble
                .get()
                .and_then(|bytes| bytes.get(offset as usize..))
                .unwrap_or(&[]);
            if let Some(slot) = out.first_mut().filter(|_| !rest.is_empty()) {
                *slot = rest;
                n = 1;
            }
        }
        while n < out.len() {
            let Some(row) = stream
                .ring
                .row(at.0)
                .filter(|row| playout::is_whole(row, card.k()))
            else {
                break;
            };
            if at.1 >= row.play_bytes {
                at = (at.0 + 1, 0);
                continue;
            }
            if at.1 < row.play_from || player.is_outdated(card, at.0) {
                // Something was skipped, or is to be said first: the next call begins there.
                break;
            }
            let slice = playout::slice_at(at.0, at.1, &stream.ring, &stream.playout, card);
            match slice.map(|slice| player.clip(at, slice)) {
                Some(slice) if !slice.is_empty() => {
                    out[n] = slice;
                    n += 1;
                    at.1 += slice.len() as u16;
                }
                _ => break,
            }
        }
        n
    }

    /// The player was given this many of the bytes it was shown.
    pub fn advance_player(&mut self, id: PlayerId, mut bytes: usize) {
        let Some((player, stream)) =
            self.players
                .get_mut(id)
                .and_then(Option::as_mut)
                .and_then(|player| {
                    let stream = self.streams.get(player.stream)?;
                    Some((player, stream))
                })
        else {
            return;
        };
        player.tx_bytes += bytes as u64;
        if let Stage::Preamble(offset) = player.stage {
            let rest = stream
                .preamble
                .get()
                .map_or(0, |p| p.len().saturating_sub(offset as usize));
            let used = rest.min(bytes);
            player.stage = if used == rest {
                Stage::Playing
            } else {
                Stage::Preamble(offset + used as u32)
            };
            bytes -= used;
        }
        while bytes > 0 {
            let Some(row) = stream.ring.row(player.block) else {
                return;
            };
            let rest = usize::from(row.play_bytes.saturating_sub(player.offset));
            if bytes >= rest {
                (player.block, player.offset) = (player.block + 1, 0);
                bytes -= rest;
            } else {
                player.offset += bytes as u16;
                bytes = 0;
            }
        }
    }

    /// Copies what a player can be given into a buffer; returns how much.
    pub fn read_player(&mut self, now: Instant, id: PlayerId, buf: &mut [u8]) -> usize {
        let mut len = 0;
        while len < buf.len() {
            let bytes = self.peek_player(now, id);
            let n = bytes.len().min(buf.len() - len);
            if n == 0 {
                break;
            }
            buf[len..][..n].copy_from_slice(&bytes[..n]);
            self.advance_player(id, n);
            len += n;
        }
        len
    }

    pub(super) fn player_and_stream(&self, id: PlayerId) -> Option<(&Player, &Stream<'s>)> {
        let player = self.players.get(id)?.as_ref()?;
        Some((player, self.streams.get(player.stream)?))
    }

    /// Brings a player to where it can read. False when there is nothing.
    pub(super) fn settle_player(&mut self, now: Instant, id: PlayerId) -> bool {
        let Some(player) = self.players.get_mut(id).and_then(Option::as_mut) else {
            return false;
        };
        let Some(stream) = self.streams.get(player.stream) else {
            return false;
        };
        let (Some(card), Some(preamble)) = (stream.card.as_ref(), stream.preamble.get()) else {
            return false;
        };
        if player.stage == Stage::Waiting {
            let from = card.descriptor.preamble_from_block;
            let Some((block, offset)) = playout::begin(
                &stream.ring,
                &stream.playout,
                card.k(),
                from,
                player.ago,
                stream.playout.enough(now, player),
            ) else {
                return false;
            };
            (player.block, player.offset) = (block, offset);
            player.begin(card, preamble.len());
        }
        loop {
            if player.is_outdated(card, player.block) {
                player.renew(card, preamble.len());
            }
            if matches!(player.stage, Stage::Preamble(_)) {
                return true;
            }
            let reads = playout::settle(player, &stream.ring, &stream.playout, card.k());
            if !reads || !player.is_outdated(card, player.block) {
                return reads;
            }
        }
    }

    /// What the node was told.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Sets how many neighbours are fed at once. Those who are fed already stay; nobody comes while there are more.
    pub fn set_max_children(&mut self, now: Instant, most: usize) {
        self.config.max_children = most;
        self.upkeep_at = now;
    }

    /// X25519 public key: the node's name.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Counters.
    pub fn stats(&self) -> &NodeStats {
        &self.stats
    }

    /// The streams.
    pub fn streams(&self) -> &[Stream<'s>] {
        self.streams
    }

    /// The neighbours.
    pub fn peers(&self) -> &Peers<'s> {
        &self.peers
    }

    /// The players' places.
    pub fn players(&self) -> &[Option<Player>] {
        self.players
    }

    /// Listeners at and below this node, as far as they were told here.
    pub fn audience(&self, stream: StreamId) -> u32 {
        let here = self
            .players
            .iter()
            .flatten()
            .filter(|p| p.stream == stream)
            .count() as u32;
        let below = self
            .peers
            .in_stream(stream)
            .map(|(_, _, link)| link.listeners);
        below.fold(here, u32::saturating_add)
    }

    /// Hops from the source to this node: the longest among the stripes it takes; 0 at the source.
    pub fn hops(&self, stream: StreamId) -> u8 {
        let Some(it) = self.streams.get(stream) else {
            return 0;
        };
        let n = it.card.as_ref().map_or(0, Card::n);
        (0..n)
            .filter(|&s| it.parents[s].peer.is_some())
            .map(|s| self.stripe_hops(stream, s))
            .max()
            .unwrap_or(0)
    }

    pub(super) fn spread_descriptor(&mut self, stream: StreamId) {
        let version = self.streams[stream].version();
        for (_, _, link) in self
            .peers
            .each_link_mut(stream)
            .filter(|(_, _, link)| link.joined)
        {
            if link.version < version {
                link.due.add(Due::DESCRIPTOR);
            }
            // What can be had here may be news with it.
            link.told_at = Instant::ZERO;
            link.offered_at = Instant::ZERO;
        }
        self.upkeep_at = Instant::ZERO;
        self.tell(Event::Described(stream));
    }

    /// 32 fresh secret bytes: BLAKE3 keyed with the caller's entropy, counted.
    pub(super) fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        *blake3::keyed_hash(&self.config.entropy, &self.drawn.to_be_bytes()).as_bytes()
    }

    /// A session id that is in use nowhere here and is not 0.
    pub(super) fn draw_session(&mut self) -> u64 {
        loop {
            let [a, b, c, d, e, f, g, h, ..] = self.draw();
            let id = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let taken = self.attempts.iter().flatten().any(|a| a.ours == id)
                || self.peers.by_session(id).is_some();
            if id != 0 && !taken {
                return id;
            }
        }
    }

    pub(super) fn send_small(&mut self, to: Addr, datagram: &Datagram<'_>) {
        let mut bytes = [0; MAX_DATAGRAM_BYTES];
        let Ok(len) = datagram.write(&mut bytes) else {
            return;
        };
        if let Ok(bytes) = heapless::Vec::from_slice(&bytes[..len]) {
            // When the queue is full a datagram is lost, as on the wire; its sender asks again. What is asked from here goes
            // before what strangers are answered.
            if is_answer(&bytes) {
                let _ = self.small.push_back((to, bytes));
            } else {
                if self.small.is_full() {
                    self.small.pop_back();
                }
                let _ = self.small.push_front((to, bytes));
            }
        }
    }
}
