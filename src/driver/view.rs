//! What the status page shows, read from the node at the moment it is asked for.

use super::bell::Bell;
use super::control::Control;
use super::engine::Engine;
use super::heap;
use super::hls::Memories;
use super::in_step::Waiting;
use super::journal::Journal;
use super::lines::Lines;
use super::months;
use super::quota::Quota;
use super::rates::Rates;
use super::sheet::Sheet;
use super::vitals::{self, Vitals};
use crate::http::history::History;
use crate::http::status::{
    Date, DayStatus, EventStatus, LineStatus, LinkStatus, MachineStatus, MemoryStatus,
    NetworkStatus, NodeStatus, PeerStatus, PlayerStatus, StatusSource, StreamState, StreamStatus,
    StripeStatus, UplinkStatus, UploadStatus,
};
use crate::proto::ledger::{MAX_DAYS, MAX_PREFIXES};
use crate::proto::node::{Node, PlayerId, StreamId};
use crate::proto::peer::PeerId;
use crate::proto::stream::Stream;
use crate::proto::uplink::Sharing;
use crate::time::{Instant, Span};
use core::cell::{OnceCell, Ref, RefCell};
use core::net::SocketAddr;
use std::string::String;
use std::vec::Vec;

/// Without a new group for so long, a stream is stalled.
const STALLED: Span = Span::from_s(5);

/// What does not change while the node runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `source`, `relay` or `listener`.
    pub role: &'static str,
    /// What the owner allows.
    pub budget_bytes: u64,
    /// What the plan adds up to.
    pub planned_bytes: u64,
    /// Most bytes a month sent.
    pub quota_bytes: Option<u64>,
    /// Places for children that memory was planned for.
    pub planned_children: u16,
    /// Where datagrams arrive, at an address others on its network can use.
    pub udp: SocketAddr,
    /// Where the page is.
    pub http: SocketAddr,
    /// The memory plan, where somebody may ask for it on a serial console.
    #[cfg_attr(
        not(feature = "serial"),
        allow(dead_code, reason = "there is no console in such a build")
    )]
    pub plan: String,
    /// Each stream's key and the URI by which others join here.
    pub names: Vec<Names>,
}

/// How a stream is called.
#[derive(Clone, Debug)]
pub struct Names {
    /// The public key in base32.
    pub key: String,
    /// Its URI through this node.
    pub uri: String,
}

/// Who sits in a player's place.
pub struct Seat {
    /// Where it is.
    pub address: SocketAddr,
    /// What it calls itself.
    pub user_agent: heapless::String<64>,
    /// It is in step with others.
    pub waiting: Option<Waiting>,
}

/// Everything the tasks of a node share.
pub struct Running {
    /// The node.
    pub engine: Engine,
    /// What does not change.
    pub facts: Facts,
    /// What its owner told it since.
    pub control: Control,
    /// How fast the line runs.
    pub rates: RefCell<Rates>,
    /// The monthly quota, if there is one.
    pub quota: RefCell<Option<Quota>>,
    /// What is sampled once a second.
    pub vitals: RefCell<Vitals>,
    /// Who sits where, by the node's places for players.
    pub seats: RefCell<Vec<Option<Seat>>>,
    /// What players in step are given.
    pub sheet: RefCell<Sheet>,
    /// Serial lines.
    pub lines: Lines,
    /// What HLS remembers of each stream.
    pub hls: Memories,
    /// Rung when the way out to the network may have changed.
    pub network_hint: Bell,
}

impl Running {
    /// Whether the owner stopped this stream.
    pub fn is_stopped(&self, stream: StreamId) -> bool {
        let node = self.engine.look();
        node.streams().get(stream).is_some_and(|s| s.stopped)
    }

    /// The status now. Not to be held while waiting.
    pub fn view(&self) -> View<'_> {
        View {
            node: self.engine.look(),
            seats: self.seats.borrow(),
            quota: self.quota.borrow(),
            vitals: self.vitals.borrow(),
            journal: self.engine.journal(),
            memory: OnceCell::new(),
            now: self.engine.clock.now(),
            running: self,
        }
    }
}

/// A look at a running node.
pub struct View<'a> {
    node: Ref<'a, Node<'static>>,
    seats: Ref<'a, Vec<Option<Seat>>>,
    quota: Ref<'a, Option<Quota>>,
    vitals: Ref<'a, Vitals>,
    journal: Ref<'a, Journal>,
    /// Asked for more than once, and the system takes its time to count.
    memory: OnceCell<MemoryStatus>,
    running: &'a Running,
    now: Instant,
}

impl StatusSource for View<'_> {
    fn node(&self) -> NodeStatus<'_> {
        let stats = self.node.stats();
        NodeStatus {
            version: env!("CARGO_PKG_VERSION"),
            role: self.running.facts.role,
            uptime_s: self.running.engine.clock.uptime().as_secs(),
            node: *self.node.public(),
            rx_datagrams_total: stats.rx_datagrams,
            tx_datagrams_total: stats.tx_datagrams,
            malformed_datagrams_total: stats.malformed,
            kernel_drops_total: self.running.rates.borrow().dropped,
        }
    }

    fn memory(&self) -> MemoryStatus {
        *self.memory.get_or_init(|| {
            let (heap_live_bytes, _, heap_allocations_total) = heap::ACCOUNT.counted();
            let (rss_bytes, file_bytes) = heap::resident_bytes();
            MemoryStatus {
                budget_bytes: self.running.facts.budget_bytes,
                planned_bytes: self.running.facts.planned_bytes,
                heap_live_bytes,
                heap_allocations_total,
                rss_bytes,
                file_bytes,
            }
        })
    }

    fn upload(&self) -> UploadStatus {
        let stats = self.node.stats();
        let (rate_bps, download_rate_bps) = self.running.rates.borrow().now(self.now, stats);
        UploadStatus {
            limit_bps: self.running.control.limit_bps(),
            rate_bps,
            bytes_total: stats.tx_bytes,
            quota_bytes: self.running.facts.quota_bytes,
            quota_used_bytes: match self.quota.as_ref() {
                Some(quota) => quota.shown().used_bytes,
                None => stats.tx_bytes,
            },
            download_rate_bps,
            download_bytes_total: stats.rx_bytes,
        }
    }

    fn uplink(&self) -> UplinkStatus<'_> {
        let line = self.node.uplink();
        let ms = |span: Span| u32::try_from(span.as_ms()).unwrap_or(u32::MAX);
        let quota = self.quota.as_ref().map(Quota::shown);
        UplinkStatus {
            sharing: match line.sharing {
                Sharing::Open => "open",
                Sharing::Full => "full",
                Sharing::Ended => "ended",
            },
            quota_resets_unix_s: quota.and_then(|quota| quota.resets_unix_s),
            quota_resets_on: quota
                .and_then(|quota| quota.resets_unix_s)
                .map(|unix_s| date(unix_s / 86_400)),
            quota_trouble: quota.map_or("", |quota| quota.trouble),
            delay_target_ms: self.node.config().delay_target.map(ms),
            queue_ms: line.queue.map(ms),
            pace_bps: line.pace_bps,
        }
    }

    fn network_slots(&self) -> usize {
        MAX_PREFIXES
    }

    fn network(&self, i: usize) -> Option<NetworkStatus> {
        let (network, traffic) = (*self.node.ledger().networks().get(i)?)?;
        Some(NetworkStatus {
            address: network.address(),
            rx_bytes_total: traffic.rx_bytes,
            tx_bytes_total: traffic.tx_bytes,
        })
    }

    fn other_networks(&self) -> (u64, u64) {
        let others = self.node.ledger().others();
        (others.rx_bytes, others.tx_bytes)
    }

    fn day_slots(&self) -> usize {
        MAX_DAYS
    }

    fn day(&self, ago: usize) -> Option<DayStatus> {
        let (number, traffic) = self.node.ledger().day(ago)?;
        Some(DayStatus {
            date: date(u64::from(number)),
            rx_bytes: traffic.rx_bytes,
            tx_bytes: traffic.tx_bytes,
        })
    }

    fn stream_slots(&self) -> usize {
        self.node.streams().len()
    }

    fn stream(&self, i: usize) -> Option<StreamStatus<'_>> {
        let stream = self.node.streams().get(i)?;
        let names = self.running.facts.names.get(i)?;
        let described = stream.card.as_ref().map(|card| &card.descriptor);
        let stats = &stream.stats;
        Some(StreamStatus {
            key: &names.key,
            uri: &names.uri,
            title: described.map_or("", |d| &d.title),
            content_type: described.map_or("", |d| &d.content_type),
            disclosure: described.map_or("", |d| &d.disclosure),
            now_playing: &stream.title.text,
            trouble: stream.trouble.unwrap_or(""),
            state: self.state(i, stream),
            bitrate_bps: described.map_or(0, |d| u64::from(d.bitrate_bps)),
            k: described.map_or(0, |d| d.k),
            m: described.map_or(0, |d| d.n.saturating_sub(d.k)),
            head_block: stream.ring.end().saturating_sub(1),
            playout_block: match stream.plays {
                true => stream.playout.next,
                false => 0,
            },
            lag_ms: self.lag(i, stream).map(Span::as_ms),
            hops: u32::from(self.node.hops(i)),
            gaps_total: stats.gaps,
            missing_bytes_total: stats.missing_bytes,
            repaired_chunks_total: stats.repaired + stats.rebuilt,
            invalid_chunks_total: stats.invalid,
            discarded_chunks_total: stats.duplicate,
            audience: u64::from(self.node.audience(i)),
            rx_bytes_total: stats.rx_bytes,
            tx_bytes_total: stats.tx_bytes,
            peers: self.node.peers().in_stream(i).count() as u64,
            stripe_bps: stream
                .card
                .as_ref()
                .map_or(0, |card| card.stripe_bps() + card.seal_bps()),
            recent_gaps: self.vitals.recent_gaps(i),
            is_short: stream.is_short(),
        })
    }

    fn stripe(&self, i: usize, j: usize) -> Option<StripeStatus> {
        let stream = self.node.streams().get(i)?;
        let n = stream.card.as_ref().map_or(0, |card| card.n());
        let (head, parent) = (stream.heads.get(j)?, stream.parents.get(j)?.peer);
        let fed = |id: PeerId| self.node.peers().link(id, i).granted_down >> j & 1;
        (j < n).then(|| StripeStatus {
            parent: parent.and_then(|id| Some(self.node.peers().get(id)?.addr)),
            head_block: head.end.saturating_sub(1),
            hops: match parent.is_some() || stream.source.is_some() {
                true => u32::from(self.node.stripe_hops(i, j)),
                false => 0,
            },
            children: self.node.peers().iter().map(|(id, _)| fed(id)).sum(),
        })
    }

    fn peer_slots(&self) -> usize {
        self.node.peers().capacity()
    }

    fn peer(&self, i: usize) -> Option<PeerStatus> {
        let peer = self.node.peers().get(i)?;
        let links = || (0..self.node.streams().len()).map(|s| self.node.peers().link(i, s));
        let parent_of = |stream: &Stream<'_>| {
            let parents = stream.parents.iter();
            parents.filter(|parent| parent.peer == Some(i)).count() as u32
        };
        Some(PeerStatus {
            address: peer.addr,
            node: peer.node,
            state: match peer.bye {
                Some(_) => "closing",
                None => "established",
            },
            rtt_ms: peer
                .rtt
                .map(|rtt| u32::try_from(rtt.as_ms()).unwrap_or(u32::MAX)),
            rx_bytes_total: peer.rx_bytes,
            tx_bytes_total: peer.tx_bytes,
            stripes_from: self.node.streams().iter().map(parent_of).sum(),
            stripes_to: links().map(|link| link.granted_down.count_ones()).sum(),
        })
    }

    fn link(&self, i: usize, peer: usize) -> LinkStatus {
        let to = self.node.peers().link(peer, i).granted_down;
        let stream = self.node.streams().get(i);
        let parents = stream.map_or(&[][..], |stream| &stream.parents);
        let fed = parents
            .iter()
            .enumerate()
            .filter(|(_, parent)| parent.peer == Some(peer));
        let from = fed.fold(0, |mask, (j, _)| mask | 1 << j);
        LinkStatus { from, to }
    }

    fn machine(&self) -> MachineStatus {
        let facts = &self.running.facts;
        let paused_until = self.running.control.paused_until();
        MachineStatus {
            udp: facts.udp,
            http: facts.http,
            reach: self.vitals.reach(),
            clock_is_set: vitals::clock_is_set(),
            cpu_permille: self.vitals.cpu_permille,
            temperature_mc: self.vitals.temperature_mc,
            paused_s: paused_until.map(|until| until.since(self.now).as_ms().div_ceil(1_000)),
            has_control: self.running.control.is_on(),
            recent_kernel_drops: self.vitals.recent_kernel_drops(),
        }
    }

    fn history(&self) -> &History {
        &self.vitals.history
    }

    fn event(&self, i: usize) -> Option<EventStatus<'_>> {
        let line = self.journal.line(i)?;
        Some(EventStatus {
            age_s: self.now.since(line.at).as_ms() / 1_000,
            text: &line.text,
            times: line.times,
        })
    }

    fn line_slots(&self) -> usize {
        self.running.lines.iter().count()
    }

    fn line(&self, i: usize) -> Option<LineStatus<'_>> {
        let line = self.running.lines.get(i)?;
        let counters = line.counters();
        Some(LineStatus {
            path: line.told.path.to_str().unwrap_or(""),
            role: line.told.role.name(),
            baud: line.told.baud,
            state: line.state.get().as_str(),
            rx_bytes_total: counters.rx_bytes,
            tx_bytes_total: counters.tx_bytes,
            rx_frames_total: counters.rx_frames,
            tx_frames_total: counters.tx_frames,
            bad_frames_total: counters.bad_frames,
            dropped_frames_total: counters.dropped_frames,
            echoed_frames_total: counters.echoes,
            opened_total: counters.opened,
        })
    }

    fn player_slots(&self) -> usize {
        self.node.players().len()
    }

    fn player(&self, i: PlayerId) -> Option<PlayerStatus<'_>> {
        let player = self.node.player(i)?;
        let seat = self.seats.get(i)?.as_ref()?;
        Some(PlayerStatus {
            address: seat.address,
            stream: &self.running.facts.names.get(player.stream)?.key,
            user_agent: &seat.user_agent,
            tx_bytes_total: player.tx_bytes,
            skipped_bytes_total: player.skipped_bytes,
        })
    }
}

impl View<'_> {
    fn state(&self, i: usize, stream: &Stream<'_>) -> StreamState {
        let fed = stream.source.is_some() || stream.parents.iter().any(|p| p.peer.is_some());
        let listened = self.node.audience(i) > 0;
        match stream.head_age(self.now) {
            _ if stream.stopped => StreamState::Stopped,
            _ if !fed && !stream.plays && !listened => StreamState::Idle,
            Some(age) if age < STALLED => StreamState::Live,
            Some(_) => StreamState::Stalled,
            None => StreamState::Joining,
        }
    }

    /// How old the newest block is that players may have; of a stream that is not played here, the newest block. Of one that
    /// does not flow it would grow and say nothing.
    fn lag(&self, i: StreamId, stream: &Stream<'_>) -> Option<Span> {
        let flows = self.state(i, stream) == StreamState::Live;
        let played = stream.playout.next.checked_sub(1).filter(|_| stream.plays);
        let newest = played.or(stream.ring.end().checked_sub(1));
        let row = newest.and_then(|block| stream.ring.row(block));
        row.filter(|_| flows).map(|row| self.now.since(row.born_at))
    }
}

/// A day by its number since 1970.
fn date(day: u64) -> Date {
    let (year, month, day) = months::civil(day);
    Date(year, month, day)
}
