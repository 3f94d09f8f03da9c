//! A datagram on its way: out through the sender's line and NAT, over the net, in through the receiver's.

use super::dist::mix;
use super::liar::Liar;
use super::line::Direction;
use super::network::Geography;
use super::scenario::Nat;
use crate::limits::MAX_DATAGRAM_BYTES;
use crate::rng::Rng;
use crate::wire::addr::Addr;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::boxed::Box;
use std::vec::Vec;

/// UDP port of every node.
const PORT: u16 = 8_479;

/// Public address of a node, `turn` counting its address changes. Neighbours in number lie in different /16 networks.
pub fn address(node: u32, turn: u8) -> Addr {
    let [_, high, middle, low] = node.to_be_bytes();
    let ip = Ipv4Addr::new(20 + (high & 63), low, middle, turn);
    Addr::udp(SocketAddr::from((ip, PORT)))
}

/// The node, and the turn of its address.
pub fn node_of(addr: Addr) -> Option<(u32, u8)> {
    let Addr::Udp(SocketAddr::V4(addr)) = addr else {
        return None;
    };
    let [high, low, middle, turn] = addr.ip().octets();
    let known = IpAddr::V4(*addr.ip()).is_ipv4() && addr.port() == PORT;
    known.then(|| {
        (
            u32::from_be_bytes([0, high.wrapping_sub(20), middle, low]),
            turn,
        )
    })
}

/// One datagram.
pub struct Packet {
    /// Sender, and its address when it sent.
    pub from: u32,
    /// See `from`.
    pub from_turn: u8,
    /// Receiver.
    pub to: u32,
    /// Address it was sent to.
    pub to_turn: u8,
    /// Counted by the sender.
    pub sequence: u32,
    /// When it reaches the receiver's line.
    pub at_us: u64,
    /// It has come through the receiver's line.
    pub is_in: bool,
    /// Bytes used.
    pub len: usize,
    /// The datagram.
    pub bytes: [u8; MAX_DATAGRAM_BYTES],
}

impl Packet {
    /// An empty one.
    pub fn boxed() -> Box<Self> {
        Box::new(Self {
            from: 0,
            from_turn: 0,
            to: 0,
            to_turn: 0,
            sequence: 0,
            at_us: 0,
            is_in: false,
            len: 0,
            bytes: [0; MAX_DATAGRAM_BYTES],
        })
    }

    /// Copies another one.
    pub fn copy_from(&mut self, other: &Self) {
        let bytes = &other.bytes[..other.len];
        self.bytes[..other.len].copy_from_slice(bytes);
        (self.from, self.from_turn) = (other.from, other.from_turn);
        (self.to, self.to_turn) = (other.to, other.to_turn);
        (self.at_us, self.is_in, self.len) = (other.at_us, other.is_in, other.len);
    }
}

/// Some nodes are cut off from all others for a while.
#[derive(Clone, Debug)]
pub struct Partition {
    /// From, µs.
    pub from_us: u64,
    /// Until, µs.
    pub until_us: u64,
    /// Which side each node is on.
    pub side: Vec<bool>,
}

/// What became of a datagram that a node sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Reaches the receiver's line then.
    Arrives(u64),
    /// The same, twice.
    Twice(u64, u64),
    /// Did not fit into the sender's queue.
    Queue,
    /// Lost on the way.
    Lost,
    /// Went nowhere: no such address, or cut off.
    Nowhere,
}

/// Where a node meets the net.
pub struct Port {
    /// The node.
    pub node: u32,
    /// Turn of its address.
    pub turn: u8,
    /// The line.
    pub up: Direction,
    /// See `up`.
    pub down: Direction,
    /// What stands before it.
    pub nat: Nat,
    /// Whom it sent something, and when last.
    opened: Vec<(u32, u64)>,
    /// Spoils what leaves.
    pub liar: Option<Liar>,
    /// Chance on its way.
    pub rng: Rng,
    sequence: u32,
}

impl Port {
    /// A port with a seed of its own.
    pub fn new(node: u32, nat: Nat, up: Direction, down: Direction, seed: u64) -> Self {
        Self {
            node,
            turn: 0,
            up,
            down,
            nat,
            opened: Vec::new(),
            liar: None,
            rng: Rng::new(mix(seed, u64::from(node), 7)),
            sequence: 0,
        }
    }

    /// Number of the next datagram.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Sends a datagram of `payload_bytes`.
    pub fn send(
        &mut self,
        net: &Geography,
        cuts: &[Partition],
        now_us: u64,
        to: u32,
        payload_bytes: usize,
    ) -> Fate {
        if self.nat != Nat::Open {
            self.open(to, now_us);
        }
        let Some(leaves_us) = self.up.carry(now_us, payload_bytes) else {
            return Fate::Queue;
        };
        let cut = cuts.iter().any(|cut| {
            let during = (cut.from_us..cut.until_us).contains(&now_us);
            during && cut.side[self.node as usize] != cut.side[to as usize]
        });
        if cut {
            return Fate::Nowhere;
        }
        let network = net.network();
        if self.happens(network.loss) {
            return Fate::Lost;
        }
        let first = self.arrival(net, leaves_us, to);
        if self.happens(network.duplicate) {
            let late = self.rng.below(20_000);
            return Fate::Twice(first, first + late);
        }
        Fate::Arrives(first)
    }

    fn arrival(&mut self, net: &Geography, leaves_us: u64, to: u32) -> u64 {
        let network = net.network();
        let late = if self.happens(network.reorder) {
            self.rng.below((network.reorder_ms * 1e3) as u64)
        } else {
            0
        };
        leaves_us + net.delay_us(self.node, to, leaves_us) + late
    }

    /// Whether the NAT lets a datagram in.
    pub fn lets_in(&self, from: u32, now_us: u64, timeout_us: u64) -> bool {
        let fresh = |opened: &&(u32, u64)| now_us.saturating_sub(opened.1) <= timeout_us;
        match self.nat {
            Nat::Open => true,
            Nat::Cone => self.opened.iter().any(|opened| fresh(&opened)),
            Nat::Restricted => self.opened.iter().filter(fresh).any(|&(to, _)| to == from),
        }
    }

    /// The NAT forgets everything (a redial, a new node).
    pub fn rebind(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.opened.clear();
    }

    fn open(&mut self, to: u32, now_us: u64) {
        match self.opened.iter_mut().find(|(node, _)| *node == to) {
            Some(opened) => opened.1 = now_us,
            None => self.opened.push((to, now_us)),
        }
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && super::dist::unit(self.rng.next_u64()) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::network::Network;

    fn port(nat: Nat) -> Port {
        Port::new(1, nat, Direction::default(), Direction::default(), 5)
    }

    fn net(network: Network) -> Geography {
        Geography::new(&network, 4, 5)
    }

    #[test]
    fn addresses_name_nodes() {
        for node in [0, 1, 255, 256, 65_536, 9_999] {
            assert_eq!(node_of(address(node, 3)), Some((node, 3)));
            assert!(!address(node, 3).is_local());
        }
        assert_ne!(address(1, 0).prefix(), address(2, 0).prefix());
    }

    #[test]
    fn loss_duplication_and_reordering_are_as_often_as_said() {
        let net = net(Network {
            loss: 0.02,
            duplicate: 0.05,
            reorder: 0.1,
            reorder_ms: 30.0,
            jitter_ms: 0.0,
            ..Network::default()
        });
        let mut port = port(Nat::Open);
        let (mut lost, mut twice, mut late) = (0, 0, 0);
        let base = (net.base_ms(1, 2) * 1e3) as u64;
        for _ in 0..100_000 {
            match port.send(&net, &[], 0, 2, 100) {
                Fate::Lost => lost += 1,
                Fate::Twice(..) => twice += 1,
                Fate::Arrives(at) if at > base => late += 1,
                Fate::Arrives(at) => assert_eq!(at, base),
                fate => panic!("{fate:?}"),
            }
        }
        assert!((1_900..2_100).contains(&lost), "{lost}");
        assert!((4_750..5_050).contains(&twice), "{twice}");
        assert!((9_000..9_600).contains(&late), "{late}");
    }

    #[test]
    fn nats_let_in_whom_they_should() {
        let net = net(Network::default());
        for (nat, known, stranger) in [
            (Nat::Open, true, true),
            (Nat::Cone, true, true),
            (Nat::Restricted, true, false),
        ] {
            let mut port = port(nat);
            assert_eq!(port.lets_in(2, 0, 1_000), nat == Nat::Open);
            port.send(&net, &[], 0, 2, 100);
            assert_eq!(port.lets_in(2, 900, 1_000), known);
            assert_eq!(port.lets_in(3, 900, 1_000), stranger);
            assert_eq!(port.lets_in(2, 1_100, 1_000), nat == Nat::Open, "forgotten");
        }
    }

    #[test]
    fn a_partition_cuts_between_its_sides_for_its_time() {
        let net = net(Network::default());
        let cuts = [Partition {
            from_us: 10,
            until_us: 20,
            side: std::vec![false, false, true, false],
        }];
        let mut port = port(Nat::Open);
        let nowhere = [9, 10, 19, 20].map(|at| port.send(&net, &cuts, at, 2, 9) == Fate::Nowhere);
        assert_eq!(nowhere, [false, true, true, false]);
        assert_ne!(port.send(&net, &cuts, 15, 3, 9), Fate::Nowhere);
    }
}
