//! A node that is not there, for the tests of the documents.

use crate::http::document::{Document, PART_BYTES};
use crate::http::history::{Counters, History};
use crate::http::status::*;
use crate::rng::Rng;
use crate::wire::addr::Addr;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::string::String;
use std::vec::Vec;

/// What a broadcaster with bad manners calls its stream.
pub(crate) const HOSTILE: &str = "\"}],\\\"</script><img src=x onerror=alert(1)>'&amp;\r\n\t\0\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\u{1f4fb}";

pub(crate) const KEY: &str = "mfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrggzdfmztwq2lkmfrg";

pub(crate) struct Fake {
    pub(crate) states: Vec<Option<StreamState>>,
    pub(crate) stripes: usize,
    pub(crate) peers: Vec<bool>,
    pub(crate) players: Vec<bool>,
    pub(crate) title: String,
    pub(crate) disclosure: String,
    pub(crate) content_type: String,
    /// Added to every number, saturating.
    pub(crate) plus: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) quota: Option<u64>,
    pub(crate) quota_used: u64,
    pub(crate) sharing: &'static str,
    pub(crate) quota_trouble: String,
    pub(crate) lines: Vec<(&'static str, &'static str)>,
    pub(crate) rss: u64,
    pub(crate) role: &'static str,
    pub(crate) machine: MachineStatus,
    pub(crate) stream_peers: u64,
    pub(crate) recent_gaps: u64,
    pub(crate) is_short: bool,
    pub(crate) history: History,
    pub(crate) events: usize,
    pub(crate) address: SocketAddr,
}

impl Fake {
    pub(crate) fn with_states(states: &[StreamState]) -> Self {
        Self {
            states: states.iter().copied().map(Some).collect(),
            stripes: 4,
            peers: Vec::new(),
            players: Vec::new(),
            title: String::from("Radio \u{266b} Caf\u{e9}"),
            disclosure: String::from("Run by volunteers."),
            content_type: String::from("audio/ogg"),
            plus: 0,
            limit: None,
            quota: None,
            quota_used: 5,
            sharing: "open",
            quota_trouble: String::new(),
            lines: Vec::new(),
            rss: 3 << 20,
            role: "relay",
            machine: MachineStatus {
                udp: SocketAddr::from(([192, 168, 1, 7], 8_479)),
                http: SocketAddr::from(([192, 168, 1, 7], 8_480)),
                reach: Reach::Unknown,
                clock_is_set: true,
                cpu_permille: Some(12),
                temperature_mc: Some(48_250),
                paused_s: None,
                has_control: false,
                recent_kernel_drops: 0,
            },
            stream_peers: 4,
            recent_gaps: 0,
            is_short: false,
            history: lived_in(),
            events: 3,
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 8_479),
        }
    }

    pub(crate) fn empty() -> Self {
        Self::with_states(&[])
    }

    /// Two streams, neighbours and players, with holes.
    pub(crate) fn full() -> Self {
        Self {
            states: Vec::from([
                None,
                Some(StreamState::Live),
                None,
                Some(StreamState::Stalled),
            ]),
            peers: Vec::from([false, true, false, true, true]),
            players: Vec::from([true, false]),
            limit: Some(2_000_000),
            quota: Some(200_000_000_000),
            ..Self::empty()
        }
    }

    /// The longest of everything: more tables than a part holds, texts that grow most when escaped, largest numbers.
    pub(crate) fn extreme() -> Self {
        let scoped =
            core::net::SocketAddrV6::new(Ipv6Addr::from([0xff; 16]), u16::MAX, 0, u32::MAX);
        Self {
            states: Vec::from([Some(StreamState::Live); 5]),
            stripes: 32,
            peers: Vec::from([true; 40]),
            players: Vec::from([true; 20]),
            title: "\u{1}".repeat(2_000),
            quota_trouble: "\"".repeat(2_000),
            lines: Vec::from([("link", "noise"); 4]),
            disclosure: "\"'".repeat(2_000),
            content_type: "&".repeat(300),
            plus: u64::MAX,
            limit: Some(u64::MAX),
            quota: Some(u64::MAX),
            recent_gaps: u64::MAX,
            is_short: false,
            events: 16,
            address: SocketAddr::V6(scoped),
            machine: MachineStatus {
                udp: SocketAddr::V6(scoped),
                http: SocketAddr::V6(scoped),
                cpu_permille: Some(u32::MAX),
                temperature_mc: Some(i32::MIN),
                paused_s: Some(u64::MAX),
                has_control: true,
                recent_kernel_drops: u64::MAX,
                ..Self::empty().machine
            },
            ..Self::empty()
        }
    }

    /// Puts other things into the tables.
    pub(crate) fn shuffle(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        self.states = (0..rng.below(6))
            .map(|_| (rng.below(2) == 0).then_some(StreamState::Live))
            .collect();
        self.stripes = rng.below(33) as usize;
        self.peers = (0..rng.below(30)).map(|_| rng.below(2) == 0).collect();
        self.players = (0..rng.below(30)).map(|_| rng.below(2) == 0).collect();
        self.title = HOSTILE.repeat(rng.below(20) as usize);
        self.disclosure = HOSTILE.repeat(rng.below(40) as usize);
    }

    fn n(&self, n: u64) -> u64 {
        n.saturating_add(self.plus)
    }

    fn n32(&self, n: u32) -> u32 {
        n.saturating_add(self.plus as u32)
    }
}

impl StatusSource for Fake {
    fn node(&self) -> NodeStatus<'_> {
        NodeStatus {
            version: "0.1.0",
            role: self.role,
            uptime_s: self.n(4_000),
            node: [7; 32],
            rx_datagrams_total: self.n(1),
            tx_datagrams_total: self.n(2),
            malformed_datagrams_total: self.n(3),
            kernel_drops_total: self.n(4),
        }
    }

    fn memory(&self) -> MemoryStatus {
        MemoryStatus {
            budget_bytes: self.n(8 << 20),
            planned_bytes: self.n(7 << 20),
            heap_live_bytes: self.n(1 << 20),
            heap_allocations_total: self.n(100),
            rss_bytes: self.n(self.rss),
            file_bytes: 1 << 20,
        }
    }

    fn upload(&self) -> UploadStatus {
        UploadStatus {
            limit_bps: self.limit,
            rate_bps: self.n(1_500_000),
            bytes_total: self.n(9_999),
            quota_bytes: self.quota,
            quota_used_bytes: self.n(self.quota_used),
            download_rate_bps: self.n(300_000),
            download_bytes_total: self.n(8_888),
        }
    }

    fn uplink(&self) -> UplinkStatus<'_> {
        UplinkStatus {
            sharing: self.sharing,
            quota_resets_unix_s: self.limit,
            quota_resets_on: Some(Date(2026, 12, 1)),
            quota_trouble: &self.quota_trouble,
            delay_target_ms: Some(self.n32(50)),
            queue_ms: Some(self.n32(7)),
            pace_bps: self.limit,
        }
    }

    fn line_slots(&self) -> usize {
        self.lines.len()
    }

    fn line(&self, i: usize) -> Option<LineStatus<'_>> {
        let (role, state) = *self.lines.get(i)?;
        Some(LineStatus {
            path: "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0",
            role,
            baud: 115_200,
            state,
            rx_bytes_total: self.n(1),
            tx_bytes_total: self.n(2),
            rx_frames_total: self.n(3),
            tx_frames_total: self.n(4),
            bad_frames_total: self.n(5),
            dropped_frames_total: self.n(6),
            echoed_frames_total: self.n(7),
            opened_total: self.n(8),
        })
    }

    fn network_slots(&self) -> usize {
        self.peers.len()
    }

    fn network(&self, i: usize) -> Option<NetworkStatus> {
        self.peers.get(i)?.then_some(NetworkStatus {
            address: Some(match self.address.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)),
                v6 => v6,
            }),
            rx_bytes_total: self.n(1),
            tx_bytes_total: self.n(2),
        })
    }

    fn day_slots(&self) -> usize {
        self.players.len()
    }

    fn day(&self, ago: usize) -> Option<DayStatus> {
        self.players.get(ago)?.then_some(DayStatus {
            date: Date(2026, 11, 22),
            rx_bytes: self.n(1),
            tx_bytes: self.n(2),
        })
    }

    fn stream_slots(&self) -> usize {
        self.states.len()
    }

    fn stream(&self, i: usize) -> Option<StreamStatus<'_>> {
        let state = (*self.states.get(i)?)?;
        Some(StreamStatus {
            key: KEY,
            uri: "weir://192.0.2.1:8479/KEY",
            title: &self.title,
            content_type: &self.content_type,
            disclosure: &self.disclosure,
            now_playing: &self.title,
            trouble: "",
            state,
            bitrate_bps: self.n(128_000),
            k: (self.stripes / 2) as u8,
            m: (self.stripes - self.stripes / 2) as u8,
            head_block: self.n(1_000),
            playout_block: self.n(990),
            lag_ms: (state == StreamState::Live).then(|| self.n(1_234)),
            hops: self.n32(2),
            gaps_total: self.n(1),
            missing_bytes_total: self.n(2),
            repaired_chunks_total: self.n(3),
            invalid_chunks_total: self.n(4),
            discarded_chunks_total: self.n(5),
            audience: self.n(17),
            rx_bytes_total: self.n(6),
            tx_bytes_total: self.n(7),
            peers: self.stream_peers,
            stripe_bps: self.n(80_000),
            recent_gaps: self.recent_gaps,
            is_short: self.is_short,
        })
    }

    fn stripe(&self, _: usize, j: usize) -> Option<StripeStatus> {
        let parent = (j != 2).then_some(self.address);
        // Stripe 1 is a hole.
        (j != 1).then_some(StripeStatus {
            parent: parent.map(Addr::Udp),
            head_block: self.n(999),
            hops: self.n32(2),
            children: self.n32(1),
        })
    }

    fn peer_slots(&self) -> usize {
        self.peers.len()
    }

    fn peer(&self, i: usize) -> Option<PeerStatus> {
        self.peers.get(i)?.then_some(PeerStatus {
            address: Addr::Udp(self.address),
            node: [i as u8; 32],
            state: "established",
            rtt_ms: Some(self.n32(20)),
            rx_bytes_total: self.n(1),
            tx_bytes_total: self.n(2),
            stripes_from: self.n32(3),
            stripes_to: self.n32(4),
        })
    }

    fn link(&self, _: usize, peer: usize) -> LinkStatus {
        match self.peers.get(peer) {
            Some(true) if peer.is_multiple_of(2) => LinkStatus {
                from: 0b1001,
                to: 0,
            },
            Some(true) => LinkStatus {
                from: 0,
                to: u32::MAX >> (32 - self.stripes as u32).min(31),
            },
            _ => LinkStatus::default(),
        }
    }

    fn machine(&self) -> MachineStatus {
        self.machine
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn event(&self, i: usize) -> Option<EventStatus<'_>> {
        (i < self.events).then_some(EventStatus {
            age_s: self.n(i as u64 * 60),
            text: &self.title,
            times: self.n32(2),
        })
    }

    fn player_slots(&self) -> usize {
        self.players.len()
    }

    fn player(&self, i: usize) -> Option<PlayerStatus<'_>> {
        self.players.get(i)?.then_some(PlayerStatus {
            address: self.address,
            stream: KEY,
            user_agent: &self.title,
            tx_bytes_total: self.n(1),
            skipped_bytes_total: self.n(2),
        })
    }
}

/// A day of ups and downs.
fn lived_in() -> History {
    let mut history = History::default();
    let mut at = Counters::default();
    for second in 1..=86_400u64 {
        at.tx_bytes += 60_000 + second % 3_600 * 40;
        at.rx_bytes += 30_000;
        history.note(second, at);
    }
    history
}

/// All parts of a document together.
pub(crate) fn whole(mut document: Document, source: &Fake) -> String {
    let mut text = Vec::new();
    let mut part = [0; PART_BYTES];
    while let Some(len) = document.next(source, &mut part) {
        assert!(len > 0);
        text.extend_from_slice(&part[..len]);
    }
    String::from_utf8(text).unwrap()
}
