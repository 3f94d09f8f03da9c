//! Instructions a relay spends on each chunk, counted by callgrind: the same on every run, whatever else the machine does.

use crate::table::title;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::Command;
use weir::crypto::sign::SigningKey;
use weir::memory;
use weir::proto::budget::Sizes;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::node::Node;
use weir::proto::source::{Programme, Source, Start};
use weir::proto::transmit::Transmit;
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;

/// Children of the relay, which take 17 stripes each.
const CHILDREN: usize = 8;

/// Media bytes each 20 ms: 4 Mbit/s.
const STEP_BYTES: usize = 10_000;
const STEP: Span = Span::from_ms(20);

/// Everybody has what they want by then; and so long it is counted.
const WARM_STEPS: usize = 200;
const COUNTED_STEPS: usize = 100;

/// Counts both ways of a chunk, or says why not.
pub fn count() {
    title(
        "Instructions of a relay (callgrind; 8 children, 4 Mbit/s, K 16, N 20)",
        "what                                        chunks  instructions a chunk",
    );
    for (what, function, column) in [
        (
            "a chunk in: verified and kept",
            "weigh::instructions::counted_in",
            0,
        ),
        (
            "a chunk out: chosen, paid for, put in a batch",
            "weigh::instructions::counted_out",
            1,
        ),
    ] {
        let own = std::env::current_exe().expect("this program");
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(format!("--toggle-collect={function}"))
            .arg(own)
            .arg("chunks")
            .output();
        let Ok(run) = run else {
            println!("(valgrind is not installed)");
            return;
        };
        let (said, counted) = (
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr),
        );
        let chunks: Vec<u64> = said
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let collected = counted
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        match (
            chunks.get(column),
            collected.and_then(|(_, n)| n.trim().parse::<u64>().ok()),
        ) {
            (Some(&chunks), Some(all)) => {
                println!("{what:<46} {chunks:>6} {:>12}", all / chunks.max(1))
            }
            _ => println!("{what}: not counted\n{counted}"),
        }
    }
}

/// What callgrind looks at: everything that comes in, from when it is asked to look on.
#[inline(never)]
fn counted_in(relay: &mut Node<'_>, now: Instant, from: Addr, bytes: &[u8]) {
    relay.handle_datagram(now, from, bytes);
}

/// And everything that goes out.
#[inline(never)]
fn counted_out(relay: &mut Node<'_>, now: Instant, out: &mut Transmit) -> bool {
    relay.poll_transmit(now, out)
}

/// `chunks`: a source, a relay and its children in this process, on a clock of its own. Says chunks taken in and sent by the relay.
pub fn forward(_: &[String]) {
    let mut grid = Grid::new();
    grid.run(WARM_STEPS, false);
    let before = *grid.relay_stats();
    grid.run(COUNTED_STEPS, true);
    let after = *grid.relay_stats();
    println!(
        "{} {}",
        after.chunks - before.chunks,
        after.forwarded - before.forwarded
    );
}

/// Nodes by place: the source, the relay, the children. Their addresses are their places.
struct Grid {
    nodes: Vec<Node<'static>>,
    now: Instant,
    batch: Box<Transmit>,
    way: VecDeque<(usize, usize, Vec<u8>)>,
}

const RELAY: usize = 1;

impl Grid {
    fn new() -> Self {
        let now = Instant::from_us(60_000_000);
        let signer = SigningKey::from_seed([5; 32]);
        let key = signer.public();
        let nodes = (0..CHILDREN + 2)
            .map(|place| node(now, key, place))
            .collect();
        let mut grid = Self {
            nodes,
            now,
            batch: Box::new(Transmit::new()),
            way: VecDeque::new(),
        };
        let source = Source::new(signer, memory::staging(), 1, 1, 0);
        grid.nodes[0].set_source(0, source);
        let programme = Programme {
            bitrate_bps: (STEP_BYTES * 8 * 50) as u32,
            ..Programme::default()
        };
        grid.nodes[0]
            .publish(now, 0, &programme, &[])
            .expect("a programme");
        grid
    }

    fn relay_stats(&self) -> &weir::proto::stats::StreamStats {
        &self.nodes[RELAY].streams()[0].stats
    }

    fn run(&mut self, steps: usize, counted: bool) {
        let media = [0x47; STEP_BYTES];
        for step in 0..steps * 4 {
            self.now += Span::from_us(STEP.as_us() / 4);
            if step % 4 == 0 {
                let pushed = self.nodes[0].push_source(self.now, 0, Start::Sync, &media, true);
                pushed.expect("room");
            }
            for node in &mut self.nodes {
                if node.poll_timeout().is_some_and(|due| due <= self.now) {
                    node.handle_timeout(self.now);
                }
            }
            for place in 0..self.nodes.len() {
                self.collect(place, counted);
            }
            while let Some((from, to, bytes)) = self.way.pop_front() {
                let from = addr(from);
                match (to, counted) {
                    (RELAY, true) => counted_in(&mut self.nodes[to], self.now, from, &bytes),
                    _ => self.nodes[to].handle_datagram(self.now, from, &bytes),
                }
                // Bursts are handled whole, as they come.
                if self.way.front().is_none_or(|(_, next, _)| *next != to) {
                    self.collect(to, counted);
                }
            }
        }
    }

    /// Takes what a node has to send.
    fn collect(&mut self, place: usize, counted: bool) {
        loop {
            let (node, out) = (&mut self.nodes[place], &mut *self.batch);
            let more = match (place, counted) {
                (RELAY, true) => counted_out(node, self.now, out),
                _ => node.poll_transmit(self.now, out),
            };
            let to = out.to.socket().map(|to| usize::from(to.port()) - 1);
            let Some(to) = to.filter(|_| more) else {
                return;
            };
            for datagram in node.datagrams(out) {
                self.way.push_back((place, to, datagram.to_vec()));
            }
        }
    }
}

fn addr(place: usize) -> Addr {
    Addr::udp(SocketAddr::from(([127, 0, 0, 1], place as u16 + 1)))
}

fn node(now: Instant, key: [u8; 32], place: usize) -> Node<'static> {
    let role = [Role::Source, Role::Relay, Role::Listener][place.min(2)];
    let hands_on = role != Role::Listener;
    let children = if hands_on { CHILDREN } else { 0 };
    let sizes = Sizes::new(1, usize::from(role == Role::Source), children, 1).fill(4 << 20, 0);
    let secret = [place as u8 + 1; 32];
    let config = NodeConfig {
        max_children: children,
        ..NodeConfig::new(secret, secret)
    };
    let mut node = Node::new(now, config, memory::node_pools(&sizes));
    memory::add_stream(&mut node, &sizes, key, role).expect("the key is a key");
    if place > 0 {
        node.add_bootstrap(now, 0, addr(place.min(2) - 1));
    }
    node
}
