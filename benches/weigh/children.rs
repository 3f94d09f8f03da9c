//! Children of the relay under test: the library's own nodes, many in one process. They take stripes and hand none on.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::Timespec;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};
use weir::driver::udp::{Udp, buffer_bytes};
use weir::memory;
use weir::proto::budget::Sizes;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::node::Node;
use weir::proto::transmit::Transmit;
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;
use weir::wire::datagram::Datagram;

/// Their sockets' buffers are those of a listener of a stream like this.
const STREAM_BPS: u64 = 4_000_000;

/// Pools of one child.
const CHILD_BYTES: usize = 1 << 20;

struct Child {
    node: Node<'static>,
    udp: Udp,
    parents: Vec<Addr>,
    /// Messages with chunks that came from those it was told of.
    bursts: u64,
}

impl Child {
    fn new(now: Instant, key: [u8; 32], number: u32, parents: &[SocketAddr]) -> Self {
        let sizes = Sizes::new(1, 0, 0, 1).fill(CHILD_BYTES, 0);
        let mut secret = [7; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        secret[4..8].copy_from_slice(&std::process::id().to_be_bytes());
        let config = NodeConfig {
            max_children: 0,
            ..NodeConfig::new(secret, secret)
        };
        let mut node = Node::new(now, config, memory::node_pools(&sizes));
        memory::add_stream(&mut node, &sizes, key, Role::Listener).expect("the key is a key");
        for &parent in parents {
            node.add_bootstrap(now, 0, Addr::udp(parent));
        }
        let udp = Udp::bind(&"127.0.0.1:0".parse().expect("an address"), true).expect("a port");
        udp.set_buffers((buffer_bytes(STREAM_BPS), buffer_bytes(0)));
        Self {
            node,
            udp,
            parents: parents.iter().copied().map(Addr::udp).collect(),
            bursts: 0,
        }
    }

    fn take(&mut self, now: Instant, mut each: impl FnMut(&[u8])) {
        let (node, udp, bursts) = (&mut self.node, &mut self.udp, &mut self.bursts);
        let parents = &self.parents;
        // What came in one message lies there end to end.
        let mut end = core::ptr::null();
        while udp.receive(|from, bytes| {
            each(bytes);
            let is_chunk = matches!(Datagram::parse(bytes), Ok(Datagram::Chunk { .. }));
            let span = bytes.as_ptr_range();
            let begins = core::mem::replace(&mut end, span.end) != span.start;
            *bursts += u64::from(is_chunk && begins && parents.contains(&from));
            node.handle_datagram(now, from, bytes);
        }) {}
    }

    fn send(&mut self, now: Instant, batch: &mut Transmit) {
        if self.node.poll_timeout().is_some_and(|due| due <= now) {
            self.node.handle_timeout(now);
        }
        while self.node.poll_transmit(now, batch) {
            let _ = self.udp.send(&mut self.node, batch, 0);
        }
    }

    /// Stripes that have a parent, of those a listener wants.
    fn is_fed(&self) -> bool {
        let stream = &self.node.streams()[0];
        let parents = stream
            .parents
            .iter()
            .filter(|parent| parent.peer.is_some())
            .count();
        stream.card.as_ref().is_some_and(|card| parents > card.k()) && stream.stats.played_bytes > 0
    }
}

/// Nodes over their sockets in one thread.
struct Nursery {
    children: Vec<Child>,
    epoll: rustix::fd::OwnedFd,
    began: Clock,
    tick: Instant,
    batch: Box<Transmit>,
}

impl Nursery {
    fn new() -> Self {
        Self {
            children: Vec::new(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"),
            began: Clock::now(),
            tick: Instant::ZERO,
            batch: Box::new(Transmit::new()),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_us(60_000_000 + self.began.elapsed().as_micros() as u64)
    }

    fn add(&mut self, key: [u8; 32], parents: &[SocketAddr]) {
        let number = self.children.len();
        let child = Child::new(self.now(), key, number as u32, parents);
        epoll::add(
            &self.epoll,
            &child.udp,
            EventData::new_u64(number as u64),
            EventFlags::IN,
        )
        .expect("epoll");
        self.children.push(child);
    }

    /// Waits for datagrams, handles them; timers every 10 ms.
    fn turn(&mut self, mut each: impl FnMut(usize, Instant, &[u8])) {
        let mut events = [const { core::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 5_000_000,
        };
        let Ok((ready, _)) = epoll::wait(&self.epoll, &mut events, Some(&wait)) else {
            return;
        };
        for event in ready {
            let (number, now) = (event.data.u64() as usize, self.now());
            self.children[number].take(now, |bytes| each(number, now, bytes));
            self.children[number].send(now, &mut self.batch);
        }
        let now = self.now();
        if now.since(self.tick) >= Span::from_ms(10) {
            self.tick = now;
            for child in &mut self.children {
                child.send(now, &mut self.batch);
            }
        }
    }
}

/// `children COUNT KEY PARENT...`: until it is killed. Says twice a second how many have all they want, and chunks, gaps and
/// messages with chunks from these parents in all.
pub fn run(arguments: &[String]) {
    let count = arguments[0].parse().expect("a count");
    let key = key(&arguments[1]);
    let parents: Vec<SocketAddr> = arguments[2..]
        .iter()
        .map(|a| a.parse().expect("an address"))
        .collect();
    let mut nursery = Nursery::new();
    let mut said = Clock::now();
    loop {
        // A few at a time, as children come.
        for _ in 0..4 {
            if nursery.children.len() < count {
                nursery.add(key, &parents);
            }
        }
        nursery.turn(|_, _, _| ());
        if said.elapsed() > Duration::from_millis(500) {
            said = Clock::now();
            let fed = nursery
                .children
                .iter()
                .filter(|child| child.is_fed())
                .count();
            let stats = nursery
                .children
                .iter()
                .map(|child| &child.node.streams()[0].stats);
            let (chunks, gaps) = stats.fold((0, 0), |(c, g), s| (c + s.chunks, g + s.gaps));
            let bursts: u64 = nursery.children.iter().map(|child| child.bursts).sum();
            println!("{fed} {chunks} {gaps} {bursts}");
        }
    }
}

/// `probe SECONDS KEY SOURCE RELAY`: two nodes, one fed by the source and one by the relay. How much later each chunk comes by way of the
/// relay (0 when it comes sooner): p50, p99 and the most, in microseconds, and how many were compared.
pub fn probe(arguments: &[String]) {
    let seconds = Duration::from_secs(arguments[0].parse().expect("seconds"));
    let key = key(&arguments[1]);
    let mut nursery = Nursery::new();
    for parent in &arguments[2..4] {
        nursery.add(key, &[parent.parse().expect("an address")]);
    }
    while !nursery.children.iter().all(Child::is_fed) {
        nursery.turn(|_, _, _| ());
    }
    let mut first = HashMap::new();
    let mut later: Vec<u64> = Vec::new();
    let began = Clock::now();
    while began.elapsed() < seconds {
        nursery.turn(|child, now, bytes| {
            let Ok(Datagram::Chunk { chunk, .. }) = Datagram::parse(bytes) else {
                return;
            };
            let id = (chunk.id.block, chunk.id.index);
            match first.remove(&id) {
                None => drop(first.insert(id, (child, now))),
                // By the relay, after it came straight.
                Some((0, then)) if child == 1 => later.push(now.since(then).as_us()),
                Some((1, _)) if child == 0 => later.push(0),
                // The same one twice.
                Some(before) => drop(first.insert(id, before)),
            }
        });
    }
    later.sort_unstable();
    let at = |share: usize| later.get(later.len() * share / 100).copied().unwrap_or(0);
    println!(
        "{} {} {} {}",
        at(50),
        at(99),
        later.last().copied().unwrap_or(0),
        later.len()
    );
}

/// `sink COUNT`: sockets that are read and nothing else. Says their ports.
pub fn sink(arguments: &[String]) {
    let count: usize = arguments[0].parse().expect("a count");
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut sockets: Vec<Udp> = (0..count)
        .map(|_| Udp::bind(&"127.0.0.1:0".parse().expect("an address"), true).expect("a port"))
        .collect();
    for (number, socket) in sockets.iter().enumerate() {
        epoll::add(
            &epoll,
            socket,
            EventData::new_u64(number as u64),
            EventFlags::IN,
        )
        .expect("epoll");
    }
    let ports: Vec<String> = sockets
        .iter()
        .map(|socket| socket.local().to_string())
        .collect();
    println!("{}", ports.join(" "));
    loop {
        let mut events = [const { core::mem::MaybeUninit::<epoll::Event>::uninit() }; 64];
        let Ok((ready, _)) = epoll::wait(&epoll, &mut events, None) else {
            continue;
        };
        for event in ready {
            let socket = &mut sockets[event.data.u64() as usize];
            while socket.receive(|_, _| ()) {}
        }
    }
}

fn key(base32: &str) -> [u8; 32] {
    weir::driver::base32::decode_key(base32).expect("a key")
}
