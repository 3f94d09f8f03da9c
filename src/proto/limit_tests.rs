//! A source under an upload limit and listeners that want more than it allows: every datagram seen from outside, headers counted.

use super::budget::Sizes;
use super::config::{NodeConfig, Role};
use super::node::Node;
use super::source::{Programme, Source, Start};
use super::transmit::Transmit;
use crate::crypto::sign::SigningKey;
use crate::limits::IP_UDP_HEADER_BYTES;
use crate::memory;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use core::net::SocketAddr;
use std::collections::VecDeque;
use std::vec::Vec;

const LISTENERS: usize = 8;
const STEP: Span = Span::from_ms(1);

/// Nodes whose address is their place; the source is the first. What is sent arrives with the next step.
struct Net {
    now: Instant,
    nodes: Vec<Node<'static>>,
    way: VecDeque<(usize, usize, Vec<u8>)>,
    /// When the source sent how much.
    sent: Vec<(Instant, u64)>,
}

fn addr(place: usize) -> Addr {
    Addr::udp(SocketAddr::from(([192, 0, 2, 1], place as u16 + 1)))
}

impl Net {
    fn new(limit_bps: u64, bitrate_bps: u32) -> Self {
        let now = Instant::from_us(60_000_000);
        let signer = SigningKey::from_seed([9; 32]);
        let key = signer.public();
        let node = |place: usize| {
            let role = if place == 0 {
                Role::Source
            } else {
                Role::Listener
            };
            let config = NodeConfig {
                upload_limit_bps: (place == 0).then_some(limit_bps),
                max_children: if place == 0 { LISTENERS } else { 0 },
                ..NodeConfig::new([place as u8 + 1; 32], [place as u8 + 40; 32])
            };
            let sizes = Sizes::new(1, usize::from(place == 0), LISTENERS, 1).fill(2 << 20, 0);
            let mut node = Node::new(now, config, memory::node_pools(&sizes));
            memory::add_stream(&mut node, &sizes, key, role).unwrap();
            node.add_bootstrap(now, 0, addr(0));
            node
        };
        let mut nodes: Vec<_> = (0..=LISTENERS).map(node).collect();
        nodes[0].set_source(0, Source::new(signer, memory::staging(), 1, 1_000, 0));
        let programme = Programme {
            bitrate_bps,
            ..Programme::default()
        };
        nodes[0].publish(now, 0, &programme, &[]).unwrap();
        Self {
            now,
            nodes,
            way: VecDeque::new(),
            sent: Vec::new(),
        }
    }

    fn step(&mut self, media: &[u8]) {
        self.now += STEP;
        for (from, to, bytes) in core::mem::take(&mut self.way) {
            self.nodes[to].handle_datagram(self.now, addr(from), &bytes);
        }
        if !media.is_empty() {
            let pushed = self.nodes[0].push_source(self.now, 0, Start::Sync, media, true);
            pushed.unwrap();
        }
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            if node.poll_timeout().is_some_and(|due| due <= self.now) {
                node.handle_timeout(self.now);
            }
            self.collect(place);
        }
    }

    fn collect(&mut self, place: usize) {
        let mut out = Transmit::new();
        while self.nodes[place].poll_transmit(self.now, &mut out) {
            let to = out.to.socket().map_or(0, |to| usize::from(to.port()) - 1);
            let mut post = |bytes: Vec<u8>| {
                if place == 0 {
                    let bytes = (bytes.len() + IP_UDP_HEADER_BYTES) as u64;
                    self.sent.push((self.now, bytes));
                }
                self.way.push_back((place, to, bytes));
            };
            for datagram in self.nodes[place].datagrams(&out) {
                post(datagram.to_vec());
            }
        }
    }

    /// Bytes in the fullest second, wherever it begins.
    fn most_in_a_second(&self) -> u64 {
        let (mut first, mut sum, mut most) = (0, 0, 0);
        for &(at, bytes) in &self.sent {
            sum += bytes;
            while self.sent[first].0 + Span::from_s(1) <= at {
                sum -= self.sent[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}

#[test]
fn no_second_holds_more_than_the_limit_and_round_trips_are_measured_without_the_wait() {
    for (limit_bps, bitrate_bps) in [
        (200_000, 48_000),
        (1_500_000, 400_000),
        (20_000_000, 4_000_000),
    ] {
        let mut net = Net::new(limit_bps, bitrate_bps);
        // Each 20 ms as much as the rate has in that time.
        let media: Vec<u8> = (0..bitrate_bps / 400).map(|n| n as u8).collect();
        for step in 0..10_000 {
            net.step(if step % 20 == 0 { &media } else { &[] });
        }
        let (limit, most) = (limit_bps / 8, net.most_in_a_second());
        let late = net
            .sent
            .iter()
            .filter(|(at, _)| *at > net.now - Span::from_s(4));
        let used: u64 = late.map(|(_, bytes)| bytes / 4).sum();
        assert!(most <= limit, "{limit_bps}: {most} bytes in a second");
        assert!(used * 10 > limit * 6, "{limit_bps}: {used} bytes a second");
        for node in &net.nodes[1..] {
            for (_, peer) in node.peers().iter().filter(|(_, peer)| peer.addr == addr(0)) {
                // A step there and a step back; an answer to a handshake may have waited, and is one of many.
                let rtt = peer.rtt.unwrap_or(Span::ZERO);
                assert!(rtt <= STEP.times(8), "{limit_bps}: {} us", rtt.as_us());
            }
        }
    }
}
