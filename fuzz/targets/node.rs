//! A listener between its source, which is honest, and whoever the input makes: strangers, a neighbour with a session of his
//! own, and a wire that loses and alters. Whatever they do, what is played is what the source took in.

use super::memory::with_node;
use super::neighbour::Neighbour;
use super::script::Script;
use core::net::SocketAddr;
use std::collections::VecDeque;
use weir::crypto::sign::SigningKey;
use weir::limits::{CHUNK_PREFIX_BYTES, MAX_DATAGRAM_BYTES};
use weir::proto::config::NodeConfig;
use weir::proto::node::Node;
use weir::proto::source::{Programme, Start};
use weir::proto::transmit::Transmit;
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;
use weir::wire::chunk;
use weir::wire::datagram::Datagram;

const STEP: Span = Span::from_ms(25);
/// An input that says "wait" only is not run for ever.
const MAX_STEPS: u32 = 1_200;
/// Media in a step, in cells of eight bytes that are their own number.
const CELLS: u64 = 25;
const BITRATE_BPS: u32 = CELLS as u32 * 8 * 8 * 40;
const PREAMBLE: &[u8; 8] = b"preamble";

const SOURCE: u8 = 1;
const LISTENER: u8 = 2;
const NEIGHBOUR: u8 = 3;

pub fn run(bytes: &[u8]) {
    play(bytes);
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes of media that were played, each of them right.
    pub heard_bytes: u64,
    /// Sessions that the listener has.
    pub sessions: usize,
}

/// Does what the input says.
pub fn play(bytes: &[u8]) -> Outcome {
    let signer = SigningKey::from_seed([7; 32]);
    let key = signer.public();
    let now = Instant::from_us(1_000_000);
    let config = |n: u8| NodeConfig::new([n; 32], [n + 100; 32]);
    with_node(now, config(SOURCE), key, Some(signer), |source| {
        let programme = Programme {
            bitrate_bps: BITRATE_BPS,
            ..Programme::default()
        };
        source
            .publish(now, 0, &programme, PREAMBLE)
            .expect("a programme");
        with_node(now, config(LISTENER), key, None, |listener| {
            listener.add_bootstrap(now, 0, address(SOURCE));
            let player = listener.open_player(now, 0, None).expect("a place");
            let mut world = World {
                now,
                source,
                listener,
                player,
                neighbour: Neighbour::new(address(NEIGHBOUR), chunk::tag_of(&key)),
                wire: VecDeque::new(),
                last_chunk: Vec::new(),
                cells: 0,
                heard: Heard::default(),
                steps: 0,
            };
            world.follow(Script(bytes));
            Outcome {
                heard_bytes: world.heard.bytes,
                sessions: world.listener.peers().iter().count(),
            }
        })
    })
}

fn address(n: u8) -> Addr {
    Addr::udp(SocketAddr::from(([10, 0, 0, n], 8_479)))
}

struct Letter {
    to: Addr,
    from: Addr,
    bytes: Vec<u8>,
}

struct World<'w, 'a, 'b> {
    now: Instant,
    source: &'w mut Node<'a>,
    listener: &'w mut Node<'b>,
    player: usize,
    neighbour: Neighbour,
    wire: VecDeque<Letter>,
    /// The last real chunk, without the prefix that is its receiver's.
    last_chunk: Vec<u8>,
    cells: u64,
    heard: Heard,
    steps: u32,
}

impl World<'_, '_, '_> {
    fn follow(&mut self, mut script: Script<'_>) {
        while !script.is_over() && self.steps < MAX_STEPS {
            self.act(&mut script);
            self.turn();
        }
    }

    fn act(&mut self, script: &mut Script<'_>) {
        let op = script.byte();
        let to = address(if op & 8 == 0 { LISTENER } else { SOURCE });
        match op & 7 {
            0 => (0..=script.byte() % 64).for_each(|_| self.step()),
            1 => {
                let from = address(script.byte());
                let bytes = self.words(script);
                self.hand_over(to, from, &bytes);
            }
            2 => {
                let words = self.words(script);
                let said = self.neighbour.says(&words);
                self.neighbourly(to, said);
            }
            3 => {
                let words = self.words(script);
                let sent = self.neighbour.sends(&words);
                self.neighbourly(to, sent);
            }
            4 => {
                let (at, change) = (script.number(), script.byte());
                if let Some(letter) = self.wire.front_mut() {
                    alter(&mut letter.bytes, at, change);
                }
            }
            5 => {
                let lost = usize::from(script.byte() % 16).min(self.wire.len());
                self.wire.drain(..lost);
            }
            6 => {
                let hello = self.neighbour.hello();
                self.neighbourly(to, Some(hello));
            }
            _ => {
                let (at, change) = (script.number(), script.byte());
                let mut forged = self.last_chunk.clone();
                alter(&mut forged, at, change);
                let sent = self.neighbour.sends(&forged);
                self.neighbourly(to, sent);
            }
        }
    }

    fn words(&self, script: &mut Script<'_>) -> Vec<u8> {
        let len = script.number() % (MAX_DATAGRAM_BYTES + 64);
        script.bytes(len).to_vec()
    }

    fn neighbourly(&mut self, to: Addr, said: Option<Vec<u8>>) {
        if let Some(bytes) = said {
            self.hand_over(to, self.neighbour.addr, &bytes);
        }
    }

    /// A little time passes, and everything that was under way arrives.
    fn step(&mut self) {
        self.steps += 1;
        self.now += STEP;
        let mut media = [0; CELLS as usize * 8];
        for cell in media.chunks_exact_mut(8) {
            cell.copy_from_slice(&self.cells.to_be_bytes());
            self.cells += 1;
        }
        self.source
            .push_source(self.now, 0, Start::Sync, &media, true)
            .expect("there is room for what is so slow");
        for _ in 0..self.wire.len() {
            if let Some(Letter { to, from, bytes }) = self.wire.pop_front() {
                self.hand_over(to, from, &bytes);
            }
        }
        self.turn();
    }

    fn hand_over(&mut self, to: Addr, from: Addr, bytes: &[u8]) {
        if to == address(SOURCE) {
            self.source.handle_datagram(self.now, from, bytes);
        } else if to == address(LISTENER) {
            if let Ok(Datagram::Chunk { .. }) = Datagram::parse(bytes) {
                self.last_chunk = bytes[CHUNK_PREFIX_BYTES..].to_vec();
            }
            self.listener.handle_datagram(self.now, from, bytes);
        } else if to == self.neighbour.addr
            && let Some(answer) = self.neighbour.answer(bytes)
        {
            self.hand_over(from, self.neighbour.addr, &answer);
        }
    }

    /// Timers, what leaves, and the player.
    fn turn(&mut self) {
        drain(self.now, SOURCE, self.source, &mut self.wire);
        drain(self.now, LISTENER, self.listener, &mut self.wire);
        let mut buf = [0; 4_096];
        loop {
            let read = self.listener.read_player(self.now, self.player, &mut buf);
            if read == 0 {
                break;
            }
            self.heard.hear(&buf[..read]);
        }
    }
}

/// Does with a node what its contract says, and puts what leaves on the wire.
fn drain(now: Instant, n: u8, node: &mut Node<'_>, wire: &mut VecDeque<Letter>) {
    if node.poll_timeout().is_some_and(|due| due <= now) {
        node.handle_timeout(now);
    }
    let mut out = Transmit::new();
    while node.poll_transmit(now, &mut out) {
        let letters = letters(node, &out);
        wire.extend(letters.into_iter().map(|bytes| Letter {
            to: out.to,
            from: address(n),
            bytes,
        }));
    }
    while node.poll_event().is_some() {}
    let due = node.poll_timeout();
    assert!(due.is_none_or(|due| due > now), "a timer is due for ever");
}

fn alter(bytes: &mut [u8], at: usize, change: u8) {
    if let Some(byte) = at.checked_rem(bytes.len()).and_then(|at| bytes.get_mut(at)) {
        *byte ^= change;
    }
}

/// The datagrams of a batch.
fn letters(node: &Node<'_>, out: &Transmit) -> Vec<Vec<u8>> {
    node.datagrams(out).map(<[u8]>::to_vec).collect()
}

/// The one who listens: knows what must come.
#[derive(Default)]
struct Heard {
    bytes: u64,
    last_cell: Option<u64>,
    rest: Vec<u8>,
}

impl Heard {
    fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / 8 * 8;
        let heard: Vec<u8> = self.rest.drain(..whole).collect();
        for cell in heard.chunks_exact(8) {
            self.hear_cell(cell.try_into().expect("eight"));
        }
    }

    fn hear_cell(&mut self, cell: [u8; 8]) {
        self.bytes += 8;
        if &cell == PREAMBLE {
            return;
        }
        let cell = u64::from_be_bytes(cell);
        let follows = match self.last_cell {
            Some(last) => cell == last + 1 || (cell > last && cell.is_multiple_of(CELLS)),
            None => cell.is_multiple_of(CELLS),
        };
        assert!(follows, "{cell} after {:?}", self.last_cell);
        self.last_cell = Some(cell);
    }
}
