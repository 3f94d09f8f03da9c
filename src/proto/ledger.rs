//! What went over the owner's line: by day, and by the network at the other end. Fixed memory; headers are counted.
//!
//! Streams keep their own sums ([`super::stats::StreamStats`]). The core knows no calendar: the caller numbers the days.

use super::bucket::Urgency;
use super::node::Node;
use super::peer::PeerId;
use super::transmit::Transmit;
use crate::limits::IPV6_EXTRA_HEADER_BYTES;
use crate::time::Instant;
use crate::wire::addr::Addr;
use core::net::IpAddr;

/// Networks kept apart; the smallest gives its place to a new one and is counted with the others from then on.
pub const MAX_PREFIXES: usize = 64;

/// Days kept.
pub const MAX_DAYS: usize = 31;

/// The number of a day that the caller has not named.
const UNNAMED: u32 = u32::MAX;

/// Bytes received and sent, IP and UDP headers counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

impl Traffic {
    fn add(&mut self, more: Self) {
        self.rx_bytes += more.rx_bytes;
        self.tx_bytes += more.tx_bytes;
    }

    fn sum(self) -> u64 {
        self.rx_bytes + self.tx_bytes
    }
}

/// A network at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 48 bits of an IPv6 address.
    V6([u16; 3]),
    /// A serial line.
    Line(u8),
}

impl Network {
    /// The network an address is in.
    pub fn of(addr: Addr) -> Self {
        match addr {
            Addr::Udp(addr) => match addr.ip() {
                IpAddr::V4(ip) => {
                    let [a, b, c, _] = ip.octets();
                    Self::V4([a, b, c])
                }
                IpAddr::V6(ip) => {
                    let [a, b, c, ..] = ip.segments();
                    Self::V6([a, b, c])
                }
            },
            Addr::Line(line) => Self::Line(line),
        }
    }

    /// Its first address; a line has none.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::V4([a, b, c]) => Some(IpAddr::from([a, b, c, 0])),
            Self::V6([a, b, c]) => Some(IpAddr::from([a, b, c, 0, 0, 0, 0, 0])),
            Self::Line(_) => None,
        }
    }
}

/// The tables.
pub struct Ledger {
    networks: [Option<(Network, Traffic)>; MAX_PREFIXES],
    /// What was sent to and got from networks that have no row.
    others: Traffic,
    /// The latest days, each with the caller's number; the present one is at `today`.
    days: [(u32, Traffic); MAX_DAYS],
    today: usize,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            networks: [None; MAX_PREFIXES],
            others: Traffic::default(),
            days: [(UNNAMED, Traffic::default()); MAX_DAYS],
            today: 0,
        }
    }
}

impl Ledger {
    /// Rows of the table of networks, with holes.
    pub fn networks(&self) -> &[Option<(Network, Traffic)>] {
        &self.networks
    }

    /// What is not in the table of networks.
    pub fn others(&self) -> Traffic {
        self.others
    }

    /// The day `ago` days that were counted before the present one: its number, and its sums.
    pub fn day(&self, ago: usize) -> Option<(u32, Traffic)> {
        if ago >= MAX_DAYS {
            return None;
        }
        let day = self.days[(self.today + MAX_DAYS - ago) % MAX_DAYS];
        (day.0 != UNNAMED).then_some(day)
    }

    /// From now on it is the day of this number. One that was counted before, because a clock went wrong, goes on where it was.
    pub fn begin_day(&mut self, number: u32) {
        let known = self.days.iter().position(|(other, _)| *other == number);
        if self.days[self.today].0 == UNNAMED {
            // What was counted before the caller named a day belongs to the first it names.
            self.days[self.today].0 = number;
        } else if let Some(place) = known {
            self.days.swap(place, self.today);
        } else {
            self.today = (self.today + 1) % MAX_DAYS;
            self.days[self.today] = (number, Traffic::default());
        }
    }

    pub(super) fn count_day(&mut self, traffic: Traffic) {
        self.days[self.today].1.add(traffic);
    }

    /// What was counted of it had not been sent.
    fn uncount(&mut self, addr: Option<Addr>, bytes: u64) {
        let day = &mut self.days[self.today].1;
        let network = addr.map(Network::of);
        let mut rows = self.networks.iter_mut().flatten();
        let row = rows.find(|(other, _)| Some(*other) == network);
        let row = row.map(|(_, sums)| sums);
        let row = row.or(network.map(|_| &mut self.others));
        for sums in [Some(day), row].into_iter().flatten() {
            sums.tx_bytes = sums.tx_bytes.saturating_sub(bytes);
        }
    }

    pub(super) fn count_network(&mut self, addr: Addr, traffic: Traffic) {
        if traffic == Traffic::default() {
            return;
        }
        let network = Network::of(addr);
        let mut rows = self.networks.iter_mut().flatten();
        if let Some((_, sums)) = rows.find(|(other, _)| *other == network) {
            return sums.add(traffic);
        }
        let size = |row: &Option<(Network, Traffic)>| row.map_or(0, |(_, sums)| sums.sum() + 1);
        let place = (0..MAX_PREFIXES).min_by_key(|&place| size(&self.networks[place]));
        let Some(row) = place.and_then(|place| self.networks.get_mut(place)) else {
            return;
        };
        if let Some((_, sums)) = row.replace((network, traffic)) {
            self.others.add(sums);
        }
    }
}

impl Node<'_> {
    /// What went over the line.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// From now on it is this day, by the caller's calendar.
    pub fn begin_day(&mut self, number: u32) {
        self.ledger.begin_day(number);
    }

    /// Bytes on the owner's line of a datagram to or from there.
    pub(super) fn on_line(&self, addr: Addr, payload_bytes: usize) -> usize {
        match addr.socket() {
            Some(addr) if addr.is_ipv6() => {
                payload_bytes + self.config.overhead_bytes + IPV6_EXTRA_HEADER_BYTES
            }
            Some(_) => payload_bytes + self.config.overhead_bytes,
            None => payload_bytes,
        }
    }

    /// Counts a datagram that came. Those of a session are counted with its peer, all others with their network at once.
    pub(super) fn count_received(
        &mut self,
        from: Addr,
        payload_bytes: usize,
        peer: Option<PeerId>,
    ) {
        let bytes = self.on_line(from, payload_bytes) as u64;
        let traffic = Traffic {
            rx_bytes: bytes,
            tx_bytes: 0,
        };
        self.stats.rx_datagrams += 1;
        // What comes over a serial line costs the owner's line nothing.
        if from.socket().is_some() {
            self.stats.rx_bytes += bytes;
            self.ledger.count_day(traffic);
        }
        let peer = peer.and_then(|id| self.peers.get_mut(id));
        match peer.filter(|peer| peer.addr == from) {
            Some(peer) => peer.rx_bytes += bytes,
            None => self.ledger.count_network(from, traffic),
        }
    }

    /// Counts so many chunks for a neighbour, of so many bytes together, and pays for them. The owner's upload is not touched by what
    /// goes over a line. Returns their bytes there.
    pub(super) fn account_chunks(
        &mut self,
        now: Instant,
        to: Addr,
        id: PeerId,
        count: usize,
        payload_bytes: usize,
    ) -> u64 {
        let bytes = payload_bytes + count * self.on_line(to, 0);
        self.count_sent(to, count as u64, bytes, Some(id));
        if !self.charge_line(now, to, payload_bytes) {
            self.bucket.spend(bytes, Urgency::Stream);
        }
        bytes as u64
    }

    /// Counts datagrams that leave for one place, of so many bytes together.
    pub(super) fn count_sent(
        &mut self,
        to: Addr,
        datagrams: u64,
        bytes: usize,
        peer: Option<PeerId>,
    ) {
        let traffic = Traffic {
            rx_bytes: 0,
            tx_bytes: bytes as u64,
        };
        self.stats.tx_datagrams += datagrams;
        if to.socket().is_some() {
            self.stats.tx_bytes += bytes as u64;
            self.ledger.count_day(traffic);
        }
        match peer.and_then(|id| self.peers.get_unnoted(id)) {
            Some(peer) => peer.tx_bytes += bytes as u64,
            None => self.ledger.count_network(to, traffic),
        }
    }

    /// Takes back what was counted as sent, of a batch of which the system would not take so many datagrams of so many bytes together.
    /// What was paid for them stays paid.
    pub fn not_sent(&mut self, batch: &Transmit, datagrams: u64, payload_bytes: usize) {
        let each = self.on_line(batch.to, 0) as u64;
        let bytes = payload_bytes as u64 + datagrams * each;
        let less = |sum: &mut u64, by: u64| *sum = sum.saturating_sub(by);
        less(&mut self.stats.tx_datagrams, datagrams);
        less(&mut self.stats.tx_bytes, bytes);
        let id = self.peers.by_addr(batch.to);
        let stream = match batch.count {
            0 => id.and_then(|id| self.only_stream(id)),
            _ => Some(batch.stream),
        };
        if let Some(stream) = stream.and_then(|at| self.streams.get_mut(at)) {
            less(&mut stream.stats.tx_bytes, bytes);
        }
        let peer = id.and_then(|id| self.peers.get_unnoted(id));
        let network = match peer {
            Some(peer) => {
                less(&mut peer.tx_bytes, bytes);
                None
            }
            None => Some(batch.to),
        };
        self.ledger.uncount(network, bytes);
    }

    /// Counts what left in no datagram of ours.
    pub(super) fn count_served(&mut self, to: Addr, bytes: usize) {
        let traffic = Traffic {
            rx_bytes: 0,
            tx_bytes: bytes as u64,
        };
        self.stats.tx_bytes += bytes as u64;
        self.ledger.count_day(traffic);
        self.ledger.count_network(to, traffic);
    }

    /// Puts what was counted with a peer into the table of networks.
    pub(super) fn settle_peer(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            let traffic = peer.unsettled();
            self.ledger.count_network(peer.addr, traffic);
        }
    }

    pub(super) fn settle_ledger(&mut self) {
        for id in 0..self.peers.end() {
            self.settle_peer(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn sent(bytes: u64) -> Traffic {
        Traffic {
            rx_bytes: 0,
            tx_bytes: bytes,
        }
    }

    fn at(text: &str) -> Addr {
        Addr::udp(text.parse().unwrap())
    }

    #[test]
    fn networks_are_told_apart_by_24_and_48_bits() {
        let mut ledger = Ledger::default();
        for (addr, bytes) in [
            ("192.0.2.1:1", 1),
            ("192.0.2.200:9", 10),
            ("192.0.3.1:1", 100),
            ("[2001:db8:1:2::1]:1", 1_000),
            ("[2001:db8:1:3::1]:1", 10_000),
            ("[2001:db8:2::1]:1", 100_000),
        ] {
            ledger.count_network(at(addr), sent(bytes));
        }
        let rows: std::vec::Vec<_> = ledger.networks().iter().flatten().collect();
        let shown = rows
            .iter()
            .map(|(n, t)| (n.address().unwrap().to_string(), t.tx_bytes));
        assert_eq!(
            shown.collect::<std::vec::Vec<_>>(),
            [
                ("192.0.2.0".to_string(), 11),
                ("192.0.3.0".to_string(), 100),
                ("2001:db8:1::".to_string(), 11_000),
                ("2001:db8:2::".to_string(), 100_000)
            ]
        );
    }

    #[test]
    fn a_flood_of_networks_costs_no_byte_and_spares_the_large_ones() {
        let mut ledger = Ledger::default();
        ledger.count_network(at("192.0.2.1:1"), sent(1_000_000));
        let mut all = 1_000_000;
        for n in 0..10_000u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let addr = core::net::SocketAddr::from(([a + 10, b, c, 1], 9));
            ledger.count_network(Addr::udp(addr), sent(53));
            all += 53;
        }
        let rows = ledger.networks().iter().flatten();
        let listed: u64 = rows.clone().map(|(_, sums)| sums.tx_bytes).sum();
        assert_eq!(listed + ledger.others().tx_bytes, all);
        assert!(rows.clone().any(|(_, sums)| sums.tx_bytes == 1_000_000));
    }

    #[test]
    fn days_are_kept_for_a_month_and_a_clock_that_errs_loses_none() {
        let mut ledger = Ledger::default();
        ledger.count_day(sent(5));
        for day in 20_000..20_040 {
            ledger.begin_day(day);
            ledger.begin_day(day);
            ledger.count_day(sent(u64::from(day)));
        }
        assert_eq!(ledger.day(0), Some((20_039, sent(20_039))));
        assert_eq!(ledger.day(30), Some((20_009, sent(20_009))));
        assert_eq!(ledger.day(31), None);
        // Back for a moment, and on.
        ledger.begin_day(20_038);
        ledger.count_day(sent(1));
        ledger.begin_day(20_039);
        ledger.count_day(sent(1));
        let sums = |day| (0..31).find_map(|ago| ledger.day(ago).filter(|(n, _)| *n == day));
        assert_eq!(sums(20_038), Some((20_038, sent(20_039))));
        assert_eq!(sums(20_039), Some((20_039, sent(20_040))));
    }
}
