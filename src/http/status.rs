//! What a node shows about itself: small records that the driver gathers and the documents render.
//!
//! Names are those of `/status.json` (README, "What it shows"). Numbers are plain; a number that has no meaning yet is 0
//! and the `state` beside it says so. `None` means "no limit" or "nobody".

use crate::http::history::History;
use crate::wire::addr::Addr;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// A node id, an X25519 public key.
pub type NodeId = [u8; 32];

/// Where the documents find what they show. Tables may have holes and may change between any two calls.
pub trait StatusSource {
    /// The node itself.
    fn node(&self) -> NodeStatus<'_>;
    /// The memory plan and what is really used.
    fn memory(&self) -> MemoryStatus;
    /// The owner's line.
    fn upload(&self) -> UploadStatus;
    /// How the owner's line stands beyond plain numbers.
    fn uplink(&self) -> UplinkStatus<'_> {
        UplinkStatus::default()
    }
    /// Places in the ledger's table of networks, holes included.
    fn network_slots(&self) -> usize {
        0
    }
    /// The network in place `i`, if there is one.
    fn network(&self, _i: usize) -> Option<NetworkStatus> {
        None
    }
    /// What the ledger has of networks that have no place of their own: bytes received and sent.
    fn other_networks(&self) -> (u64, u64) {
        (0, 0)
    }
    /// Days in the ledger, at most.
    fn day_slots(&self) -> usize {
        0
    }
    /// The day that was counted `ago` days before the present one, if there was one.
    fn day(&self, _ago: usize) -> Option<DayStatus> {
        None
    }
    /// Places in the table of streams, holes included.
    fn stream_slots(&self) -> usize;
    /// The stream in place `i`, if there is one.
    fn stream(&self, i: usize) -> Option<StreamStatus<'_>>;
    /// Stripe `j` of the stream in place `i`; `j` runs from 0 to below K + M.
    fn stripe(&self, i: usize, j: usize) -> Option<StripeStatus>;
    /// Places in the table of neighbours, holes included.
    fn peer_slots(&self) -> usize;
    /// The neighbour in place `i`, if there is one.
    fn peer(&self, i: usize) -> Option<PeerStatus>;
    /// What neighbour `peer` and this node send each other of the stream in place `i`.
    fn link(&self, i: usize, peer: usize) -> LinkStatus;
    /// The machine and how it stands in the world.
    fn machine(&self) -> MachineStatus;
    /// How the line ran.
    fn history(&self) -> &History;
    /// What happened lately, the newest first; holes only at the end.
    fn event(&self, i: usize) -> Option<EventStatus<'_>>;
    /// Places in the table of players, holes included.
    fn player_slots(&self) -> usize;
    /// The player in place `i`, if there is one.
    fn player(&self, i: usize) -> Option<PlayerStatus<'_>>;
    /// Serial lines, at most four.
    fn line_slots(&self) -> usize {
        0
    }
    /// The serial line in place `i`.
    fn line(&self, _i: usize) -> Option<LineStatus<'_>> {
        None
    }
}

/// The node itself.
#[derive(Clone, Copy, Debug)]
pub struct NodeStatus<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// `source`, `relay` or `listener`.
    pub role: &'a str,
    /// Seconds since start.
    pub uptime_s: u64,
    /// The node's public key; its first 8 bytes are shown.
    pub node: NodeId,
    /// Datagrams received.
    pub rx_datagrams_total: u64,
    /// Datagrams sent.
    pub tx_datagrams_total: u64,
    /// Datagrams that could not be read, or did not verify.
    pub malformed_datagrams_total: u64,
    /// Datagrams the kernel dropped because this program was late to read them (SO_RXQ_OVFL).
    pub kernel_drops_total: u64,
}

/// Whether nodes outside the own network have come here by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Reach {
    /// Too early to say, or only the own network is known.
    #[default]
    Unknown,
    /// Somebody did.
    Reached,
    /// Nobody did, for long enough to say so.
    NotReached,
}

impl Reach {
    /// The word in `/status.json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reached => "reached",
            Self::NotReached => "not_reached",
        }
    }
}

/// The machine and how it stands in the world.
#[derive(Clone, Copy, Debug)]
pub struct MachineStatus {
    /// Where datagrams arrive: an address of this machine on its network, and the port.
    pub udp: SocketAddr,
    /// Where the page is.
    pub http: SocketAddr,
    /// Whether others can reach it.
    pub reach: Reach,
    /// Whether the system's clock has been set.
    pub clock_is_set: bool,
    /// Thousandths of one processor this program used lately.
    pub cpu_permille: Option<u32>,
    /// Thousandths of a degree Celsius.
    pub temperature_mc: Option<i32>,
    /// Seconds until relaying goes on, while its owner has paused it.
    pub paused_s: Option<u64>,
    /// Whether the page may control.
    pub has_control: bool,
    /// Datagrams the kernel dropped in the last minutes.
    pub recent_kernel_drops: u64,
}

/// What a neighbour and this node send each other of one stream, as masks of stripes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// It sends us these.
    pub from: u32,
    /// We send it these.
    pub to: u32,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub struct EventStatus<'a> {
    /// How long ago.
    pub age_s: u64,
    /// One sentence; it may hold texts from outside.
    pub text: &'a str,
    /// How often in a row.
    pub times: u32,
}

/// The memory plan and what is really used, in bytes; 0 where the system does not tell.
#[derive(Clone, Copy, Default, Debug)]
pub struct MemoryStatus {
    /// What the owner allows.
    pub budget_bytes: u64,
    /// What the pools add up to.
    pub planned_bytes: u64,
    /// Live heap now.
    pub heap_live_bytes: u64,
    /// Heap allocations since start.
    pub heap_allocations_total: u64,
    /// Resident set.
    pub rss_bytes: u64,
    /// Of these, pages of files, code above all: the system drops them when it is short.
    pub file_bytes: u64,
}

/// The owner's line.
#[derive(Clone, Copy, Default, Debug)]
pub struct UploadStatus {
    /// Most bits per second; `None` is unlimited.
    pub limit_bps: Option<u64>,
    /// Bits per second sent now.
    pub rate_bps: u64,
    /// Bytes sent since start, headers included.
    pub bytes_total: u64,
    /// Most bytes a month; `None` is unlimited.
    pub quota_bytes: Option<u64>,
    /// Bytes sent this month.
    pub quota_used_bytes: u64,
    /// Bits per second received now.
    pub download_rate_bps: u64,
    /// Bytes received since start, headers included.
    pub download_bytes_total: u64,
}

/// What quota and household leave of the owner's line.
#[derive(Clone, Copy, Default, Debug)]
pub struct UplinkStatus<'a> {
    /// `open`: children are taken. `full`: the quota nears its end, nobody new is sent to. `ended`: it has, nothing is passed on.
    pub sharing: &'a str,
    /// When the quota begins anew, in seconds since 1970, and that day; `None` while nobody knows.
    pub quota_resets_unix_s: Option<u64>,
    /// See `quota_resets_unix_s`.
    pub quota_resets_on: Option<Date>,
    /// Why the quota cannot be kept on disk; empty when all is well.
    pub quota_trouble: &'a str,
    /// Queueing delay on the way out to stay below, in ms; `None`: it is not watched.
    pub delay_target_ms: Option<u32>,
    /// Queueing delay measured, in ms; `None`: there is nobody by whom it could be.
    pub queue_ms: Option<u32>,
    /// Most bits a second that are sent because the household needs the line; `None`: it does not.
    pub pace_bps: Option<u64>,
}

/// One network at the other end of the line: a /24 of IPv4, or a /48 of IPv6. Headers are counted.
#[derive(Clone, Copy, Debug)]
pub struct NetworkStatus {
    /// Its first address; `None` is a serial line.
    pub address: Option<IpAddr>,
    /// Bytes received from there since start.
    pub rx_bytes_total: u64,
    /// Bytes sent there since start.
    pub tx_bytes_total: u64,
}

impl NetworkStatus {
    /// Leading bits that its addresses share.
    pub fn bits(&self) -> u8 {
        match self.address {
            Some(IpAddr::V4(_)) => 24,
            Some(IpAddr::V6(_)) => 48,
            None => 0,
        }
    }
}

/// `192.0.2.0/24`, `2001:db8:1::/48`, `line`.
impl fmt::Display for NetworkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}/{}", self.bits()),
            None => f.write_str("line"),
        }
    }
}

/// One day of the ledger, by the box's clock in UTC. Headers are counted.
#[derive(Clone, Copy, Debug)]
pub struct DayStatus {
    /// Which, UTC.
    pub date: Date,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// Year, month from 1, day: `2026-11-22`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date(pub u32, pub u32, pub u32);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(year, month, day) = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// How a stream does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamState {
    /// Nobody asks for it here, and it is not kept warm.
    Idle,
    /// Looking for parents, or waiting for the source's first bytes.
    Joining,
    /// Data flows.
    Live,
    /// Data flowed and stopped.
    Stalled,
    /// Its owner does not want it carried for now.
    Stopped,
    /// The source said goodbye.
    Ended,
}

impl StreamState {
    /// The word in `/status.json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Joining => "joining",
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

/// One stream. Texts come from outside; the documents escape them.
#[derive(Clone, Copy, Debug)]
pub struct StreamStatus<'a> {
    /// The stream's public key in base32.
    pub key: &'a str,
    /// The URI by which others join through this node; empty if not known.
    pub uri: &'a str,
    /// The stream's name.
    pub title: &'a str,
    /// Media type.
    pub content_type: &'a str,
    /// What the broadcaster says about itself and how the stream is carried.
    pub disclosure: &'a str,
    /// What plays now; empty if not known.
    pub now_playing: &'a str,
    /// Why the source takes its input for raw bytes, where players may begin anywhere; empty when all is well.
    pub trouble: &'a str,
    /// How it does.
    pub state: StreamState,
    /// Media bits per second.
    pub bitrate_bps: u64,
    /// Data chunks in a block.
    pub k: u8,
    /// Parity chunks in a block.
    pub m: u8,
    /// Newest block known.
    pub head_block: u64,
    /// Block that players are given next.
    pub playout_block: u64,
    /// How far this node is behind the source.
    pub lag_ms: Option<u64>,
    /// Hops to the source; the source has 0.
    pub hops: u32,
    /// Times that something was skipped because it could not be had in time.
    pub gaps_total: u64,
    /// Media bytes skipped so.
    pub missing_bytes_total: u64,
    /// Chunks rebuilt from others, or had again by asking.
    pub repaired_chunks_total: u64,
    /// Chunks that did not verify.
    pub invalid_chunks_total: u64,
    /// Chunks received twice.
    pub discarded_chunks_total: u64,
    /// Listeners at and below this node.
    pub audience: u64,
    /// Bytes received of this stream and of what neighbours say about it, headers included.
    pub rx_bytes_total: u64,
    /// Bytes sent, likewise.
    pub tx_bytes_total: u64,
    /// Neighbours that take part in it.
    pub peers: u64,
    /// Bits per second that one copy of one stripe takes on the line, its seals included.
    pub stripe_bps: u64,
    /// Times something was skipped in the last minutes.
    pub recent_gaps: u64,
    /// There is too little upload among its nodes, and this one takes turns with others.
    pub is_short: bool,
}

impl StreamStatus<'_> {
    /// What stands in for a stream that went while it was being shown.
    pub const GONE: StreamStatus<'static> = StreamStatus {
        key: "",
        uri: "",
        title: "",
        content_type: "",
        disclosure: "",
        now_playing: "",
        trouble: "",
        state: StreamState::Ended,
        bitrate_bps: 0,
        k: 0,
        m: 0,
        head_block: 0,
        playout_block: 0,
        lag_ms: None,
        hops: 0,
        gaps_total: 0,
        missing_bytes_total: 0,
        repaired_chunks_total: 0,
        invalid_chunks_total: 0,
        discarded_chunks_total: 0,
        audience: 0,
        rx_bytes_total: 0,
        tx_bytes_total: 0,
        peers: 0,
        stripe_bps: 0,
        recent_gaps: 0,
        is_short: false,
    };

    /// Stripes of this stream, K + M.
    pub fn stripes(&self) -> usize {
        usize::from(self.k) + usize::from(self.m)
    }
}

/// One stripe of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StripeStatus {
    /// Who sends it to us.
    pub parent: Option<Addr>,
    /// Newest block of it that arrived.
    pub head_block: u64,
    /// Hops to the source along this stripe.
    pub hops: u32,
    /// How many neighbours we send it to.
    pub children: u32,
}

/// One neighbour.
#[derive(Clone, Copy, Debug)]
pub struct PeerStatus {
    /// Where it is.
    pub address: Addr,
    /// Its public key.
    pub node: NodeId,
    /// How the session stands, for example `handshake`, `established`, `closing`.
    pub state: &'static str,
    /// Round-trip time, if measured.
    pub rtt_ms: Option<u32>,
    /// Bytes received from it.
    pub rx_bytes_total: u64,
    /// Bytes sent to it.
    pub tx_bytes_total: u64,
    /// How many stripes it sends us.
    pub stripes_from: u32,
    /// How many stripes we send it.
    pub stripes_to: u32,
}

/// One player.
#[derive(Clone, Copy, Debug)]
pub struct PlayerStatus<'a> {
    /// Where it is.
    pub address: SocketAddr,
    /// Key of the stream it plays.
    pub stream: &'a str,
    /// What it calls itself; empty if it did not say.
    pub user_agent: &'a str,
    /// Media bytes given to it.
    pub tx_bytes_total: u64,
    /// Media bytes it was too slow for.
    pub skipped_bytes_total: u64,
}

/// One serial line.
#[derive(Clone, Copy, Debug)]
pub struct LineStatus<'a> {
    /// The device.
    pub path: &'a str,
    /// `console` or `link`.
    pub role: &'static str,
    /// Its rate.
    pub baud: u32,
    /// `up`, `quiet`, `noise`, `blocked`, `missing` or `taken`.
    pub state: &'static str,
    /// Bytes read.
    pub rx_bytes_total: u64,
    /// Bytes written.
    pub tx_bytes_total: u64,
    /// Sound frames read.
    pub rx_frames_total: u64,
    /// Frames written.
    pub tx_frames_total: u64,
    /// Frames read that were damaged; on a console, bytes that no keyboard sends.
    pub bad_frames_total: u64,
    /// Frames not written because the line was held up or gone.
    pub dropped_frames_total: u64,
    /// Own frames heard again.
    pub echoed_frames_total: u64,
    /// Times the device was opened.
    pub opened_total: u64,
}
