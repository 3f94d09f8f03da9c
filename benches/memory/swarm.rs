//! Children without processes of their own: the engine itself, many times, over real sockets in one thread.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Clock};
use weir::memory;
use weir::proto::budget::Sizes;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::node::Node;
use weir::proto::transmit::Transmit;
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;

/// A ring of so many bytes is enough for somebody whom nobody asks.
const CHILD_BYTES: usize = 512 << 10;

/// Children of one node, all played through by one thread.
pub struct Swarm {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// How many there are to be.
    wanted: AtomicUsize,
    ended: AtomicBool,
    /// Children that leave without a word, instead of saying Bye.
    rude: AtomicBool,
    chunks: Mutex<Vec<u64>>,
}

impl Swarm {
    /// Nobody yet. They will join the stream at this address.
    pub fn new(key: [u8; 32], parent: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            wanted: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            rude: AtomicBool::new(false),
            chunks: Mutex::new(Vec::new()),
        });
        let thread = thread::spawn({
            let shared = shared.clone();
            move || run(&shared, key, parent)
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// So many from now on; the newest leave first.
    pub fn set(&self, count: usize, rude: bool) {
        self.shared.rude.store(rude, SeqCst);
        self.shared.wanted.store(count, SeqCst);
    }

    /// How many have had at least so many chunks.
    pub fn fed(&self, chunks: u64) -> usize {
        let counts = self.shared.chunks.lock().unwrap();
        counts.iter().filter(|&&count| count >= chunks).count()
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Child {
    node: Node<'static>,
    socket: UdpSocket,
}

impl Child {
    fn new(number: u64, now: Instant, key: [u8; 32], parent: SocketAddr) -> Self {
        let seed =
            |salt: u8| *blake3::hash(&[&number.to_be_bytes()[..], &[salt]].concat()).as_bytes();
        let mut config = NodeConfig::new(seed(0), seed(1));
        // They take and give nothing, so that all of them are the relay's.
        config.max_children = 0;
        config.upload_limit_bps = Some(0);
        let sizes = Sizes::new(1, 0, 0, 0).fill(CHILD_BYTES, 0);
        let mut node = Node::new(now, config, memory::node_pools(&sizes));
        memory::add_stream(&mut node, &sizes, key, Role::Listener).unwrap();
        node.add_bootstrap(now, 0, Addr::udp(parent));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { node, socket }
    }

    fn turn(&mut self, now: Instant, out: &mut Transmit) {
        let mut buf = [0; 2_048];
        while let Ok((len, from)) = self.socket.recv_from(&mut buf) {
            self.node.handle_datagram(now, Addr::udp(from), &buf[..len]);
        }
        if self.node.poll_timeout().is_some_and(|due| due <= now) {
            self.node.handle_timeout(now);
        }
        while self.node.poll_transmit(now, out) {
            if let (Some(to), 1..) = (out.to.socket(), out.control_len) {
                let _ = self.socket.send_to(out.control_bytes(), to);
            }
        }
        while self.node.poll_event().is_some() {}
    }
}

fn run(shared: &Shared, key: [u8; 32], parent: SocketAddr) {
    let begin = Clock::now();
    let now = || Instant::from_us(begin.elapsed().as_micros() as u64) + Span::from_s(60);
    let mut children: Vec<Child> = Vec::new();
    let mut born = 0;
    let mut out = Transmit::new();
    while !shared.ended.load(SeqCst) {
        let wanted = shared.wanted.load(SeqCst);
        // A few at a time, as people come.
        for _ in 0..4 {
            if children.len() < wanted {
                born += 1;
                let salt = u64::from(std::process::id()) << 32;
                children.push(Child::new(salt + born, now(), key, parent));
            }
        }
        while children.len() > wanted {
            let Some(mut child) = children.pop() else {
                break;
            };
            if !shared.rude.load(SeqCst) {
                child.node.shutdown(now());
                child.turn(now(), &mut out);
            }
        }
        for child in &mut children {
            child.turn(now(), &mut out);
        }
        let counts = children.iter().map(|c| c.node.streams()[0].stats.chunks);
        *shared.chunks.lock().unwrap() = counts.collect();
        thread::sleep(Duration::from_millis(2));
    }
}
