//! The core allocates nothing after start: 100,000 chunks go through a relay with a source above it, children below it,
//! players, loss that is repaired, and whatever an enemy can put into a datagram. Every call into a node is counted.

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use weir::crypto::sign::SigningKey;
use weir::limits::CHUNK_PREFIX_BYTES;
use weir::memory;
use weir::proto::budget::Sizes;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::node::Node;
use weir::proto::player::Stage;
use weir::proto::source::{Programme, Source, Start};
use weir::proto::transmit::Transmit;
use weir::rng::Rng;
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the relay is to take in.
const CHUNKS: u64 = 100_000;

const BITRATE_BPS: u32 = 4_000_000;
/// Media that are altered on their way; a neighbour is given up at the 17th.
const FORGED: u64 = 12;

const SOURCE: usize = 0;
const RELAY: usize = 1;

/// No test harness: its own thread allocates now and then, and all of this process's memory is counted.
fn main() {
    the_counter_sees();
    a_relay_at_work_allocates_nothing();
    println!("test result: ok. 2 passed; 0 failed");
}

fn the_counter_sees() {
    let mut counter = Counter::default();
    counter.watch(|| ());
    assert_eq!(counter.calls, 0, "nothing was done");
    let mut kept = counter.watch(|| vec![1_u8]);
    assert_eq!(counter.calls, 1, "one allocation");
    counter.watch(|| kept.reserve(1_000));
    assert_eq!(counter.calls, 2, "one that grew");
    counter.watch(|| drop(kept));
    assert_eq!(counter.calls, 3, "one that was freed");
    println!("test the_counter_sees ... ok");
}

fn a_relay_at_work_allocates_nothing() {
    let mut world = World::new();
    let taken = |world: &World| world.members[RELAY].node.streams()[0].stats.chunks;
    let mut steps = 0;
    while taken(&world) < CHUNKS {
        world.step();
        steps += 1;
        assert!(steps < 60_000, "only {} chunks came", taken(&world));
    }
    let relay = &world.members[RELAY];
    let stats = &relay.node.streams()[0].stats;
    assert!(stats.repaired + stats.rebuilt > 1_000, "{stats:?}");
    assert!(stats.invalid > 0 && world.forged == FORGED, "{stats:?}");
    assert!(world.lives > 0, "nobody came back");
    assert!(
        relay.node.stats().malformed > 10_000,
        "{:?}",
        relay.node.stats()
    );
    for member in &world.members[RELAY..] {
        let seconds = member.heard * 8 / u64::from(BITRATE_BPS);
        assert!(seconds > 60, "a player heard {seconds} s");
    }
    assert!(world.comings > 20, "players came {} times", world.comings);
    assert_eq!(world.counter.calls, 0, "the core allocated");
    println!(
        "test a_relay_at_work_allocates_nothing ... ok ({} calls into nodes, {} chunks, {} repaired, {} hostile datagrams)",
        world.counter.watched,
        stats.chunks,
        stats.repaired + stats.rebuilt,
        world.hostile
    );
}

/// Counts what is allocated, grown or freed while it watches.
#[derive(Default)]
struct Counter {
    calls: usize,
    watched: u64,
}

impl Counter {
    fn watch<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let sum = |stats: Stats| stats.allocations + stats.reallocations + stats.deallocations;
        let before = sum(HEAP.stats());
        let result = act();
        self.calls += sum(HEAP.stats()) - before;
        self.watched += 1;
        result
    }
}

struct Member {
    node: Node<'static>,
    addr: Addr,
    player: Option<usize>,
    heard: u64,
}

/// A datagram under way: to, from, and what it says.
type Letter = (Addr, Addr, Vec<u8>);

/// A source, a relay, and two listeners below it, on a wire that loses, alters and invents.
struct World {
    now: Instant,
    members: Vec<Member>,
    wire: BTreeMap<(Instant, u64), Letter>,
    letters: u64,
    rng: Rng,
    counter: Counter,
    hostile: u64,
    forged: u64,
    comings: u64,
    lives: u64,
}

impl World {
    fn new() -> Self {
        let signer = SigningKey::from_seed([7; 32]);
        let mut world = Self {
            now: Instant::from_us(1_000_000),
            members: Vec::new(),
            wire: BTreeMap::new(),
            letters: 0,
            rng: Rng::new(5),
            counter: Counter::default(),
            hostile: 0,
            forged: 0,
            comings: 0,
            lives: 0,
        };
        let key = signer.public();
        for (role, parent) in [
            (Role::Source, None),
            (Role::Relay, Some(SOURCE)),
            (Role::Listener, Some(RELAY)),
            (Role::Listener, Some(RELAY)),
        ] {
            world.join(key, role, parent);
        }
        let node = &mut world.members[SOURCE].node;
        node.set_source(0, Source::new(signer, memory::staging(), 1, 1_000, 0));
        let programme = Programme {
            bitrate_bps: BITRATE_BPS,
            ..Programme::default()
        };
        node.publish(world.now, 0, &programme, b"preamble").unwrap();
        world
    }

    fn join(&mut self, key: [u8; 32], role: Role, parent: Option<usize>) {
        let n = self.members.len() as u8;
        let config = NodeConfig::new([n + 1; 32], [n + 100; 32]);
        let parent = parent.map(|parent| self.members[parent].addr);
        self.members.push(Member {
            node: node(self.now, config, key, role, parent),
            addr: address(n),
            player: None,
            heard: 0,
        });
    }

    /// Ten milliseconds of everything.
    fn step(&mut self) {
        self.now += Span::from_ms(10);
        self.feed();
        self.deliver();
        self.attack();
        if self.rng.below(3_000) == 0 {
            self.renew(self.members.len() - 1);
        }
        for at in 0..self.members.len() {
            self.turn(at);
        }
    }

    fn feed(&mut self) {
        let mut media = [0; BITRATE_BPS as usize / 800];
        media.fill_with(|| self.rng.next_u64() as u8);
        let (node, now) = (&mut self.members[SOURCE].node, self.now);
        let pushed = self
            .counter
            .watch(|| node.push_source(now, 0, Start::Sync, &media, true));
        pushed.unwrap();
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, from, datagram) = entry.remove();
            self.hand_over(to, from, &datagram);
        }
    }

    fn hand_over(&mut self, to: Addr, from: Addr, datagram: &[u8]) {
        let now = self.now;
        if let Some(member) = self.members.iter_mut().find(|member| member.addr == to) {
            self.counter
                .watch(|| member.node.handle_datagram(now, from, datagram));
        }
    }

    /// Noise from strangers, and from the addresses of neighbours.
    fn attack(&mut self) {
        for _ in 0..6 {
            let mut noise = [0; 1_300];
            noise.fill_with(|| self.rng.next_u64() as u8);
            // Half of it begins as a datagram does.
            if self.rng.below(2) == 0 {
                noise[0] = noise[0] & 7 | 0x10;
            }
            let len = self.rng.below(noise.len() as u64) as usize;
            let from = address(self.rng.below(200) as u8);
            let to = address(self.rng.below(self.members.len() as u64) as u8);
            self.hostile += 1;
            self.hand_over(to, from, &noise[..len]);
        }
    }

    /// Timers, what leaves, and the player of one member.
    fn turn(&mut self, at: usize) {
        let now = self.now;
        let mut out = Transmit::new();
        let node = &mut self.members[at].node;
        if node.poll_timeout().is_some_and(|due| due <= now) {
            self.counter.watch(|| node.handle_timeout(now));
        }
        loop {
            let member = &mut self.members[at];
            let more = self
                .counter
                .watch(|| member.node.poll_transmit(now, &mut out));
            while self.counter.watch(|| member.node.poll_event()).is_some() {}
            if !more {
                break;
            }
            let from = member.addr;
            let (letters, is_media) = (letters(&member.node, &out), out.control_len == 0);
            for letter in letters {
                self.post(from, out.to, letter, is_media);
            }
        }
        self.listen(at);
    }

    /// One in fifty is lost; of the others some arrive twice, and some altered.
    fn post(&mut self, from: Addr, to: Addr, datagram: Vec<u8>, is_media: bool) {
        let fate = self.rng.below(100);
        let mut copies = vec![];
        match fate {
            0..2 => {}
            2..4 => copies.extend([datagram.clone(), datagram]),
            4..6 => {
                copies.extend([self.altered(&datagram, is_media, fate == 5), datagram]);
            }
            _ => copies.push(datagram),
        }
        for copy in copies {
            self.letters += 1;
            let delay = Span::from_ms(3 + self.rng.below(4));
            self.wire
                .insert((self.now + delay, self.letters), (to, from, copy));
        }
    }

    /// A datagram with a bit turned round, and perhaps cut off there. Whoever seems to send forged media is dropped and
    /// not asked again, so that is done a few times only; otherwise it is what stands before them that is altered.
    fn altered(&mut self, datagram: &[u8], is_media: bool, cut: bool) -> Vec<u8> {
        let forge = is_media && self.forged < FORGED;
        self.forged += u64::from(forge);
        let most = if is_media && !forge {
            CHUNK_PREFIX_BYTES
        } else {
            datagram.len()
        };
        let at = self.rng.below(most as u64) as usize;
        let mut altered = datagram.to_vec();
        altered[at] ^= 1 << self.rng.below(8);
        if cut && !forge {
            altered.truncate(at);
        }
        self.hostile += 1;
        altered
    }

    /// A listener crashes and comes back as a stranger.
    fn renew(&mut self, at: usize) {
        let n = at as u8;
        self.lives += 1;
        let mut entropy = [n + 100; 32];
        entropy[..8].copy_from_slice(&self.lives.to_be_bytes());
        let config = NodeConfig::new([n + 1; 32], entropy);
        let key = self.members[at].node.streams()[0].key;
        let relay = self.members[RELAY].addr;
        let member = &mut self.members[at];
        member.node = node(self.now, config, key, Role::Listener, Some(relay));
        member.player = None;
    }

    /// Players come, listen for a while, and go.
    fn listen(&mut self, at: usize) {
        if at == SOURCE {
            return;
        }
        let now = self.now;
        let member = &mut self.members[at];
        let Some(id) = member.player else {
            let opened = self.counter.watch(|| member.node.open_player(now, 0, None));
            member.player = Some(opened.unwrap());
            self.comings += 1;
            return;
        };
        let mut buf = [0; 16_384];
        let read = self
            .counter
            .watch(|| member.node.read_player(now, id, &mut buf));
        member.heard += read as u64;
        let playing = member.node.player(id).unwrap().stage == Stage::Playing;
        if playing && self.rng.below(2_000) == 0 {
            self.counter.watch(|| member.node.close_player(now, id));
            member.player = None;
        }
    }
}

fn node(
    now: Instant,
    mut config: NodeConfig,
    key: [u8; 32],
    role: Role,
    parent: Option<Addr>,
) -> Node<'static> {
    // The listeners hang on the relay, not on the source.
    config.max_children = if role == Role::Source { 1 } else { 8 };
    let sizes = Sizes::new(1, usize::from(role == Role::Source), 8, 4).fill(3 << 20, 0);
    let mut node = Node::new(now, config, memory::node_pools(&sizes));
    memory::add_stream(&mut node, &sizes, key, role).unwrap();
    if let Some(parent) = parent {
        node.add_bootstrap(now, 0, parent);
    }
    node
}

/// The datagrams of a batch.
fn letters(node: &Node<'_>, out: &Transmit) -> Vec<Vec<u8>> {
    node.datagrams(out).map(<[u8]>::to_vec).collect()
}

fn address(n: u8) -> Addr {
    Addr::udp(SocketAddr::from(([10, 0, 0, n], 8_479)))
}
