//! A listener at the end of a serial line: the whole engine of weir with pools for one stream and one neighbour, over
//! `embedded_io`. It allocates nothing, blocks never, and every byte it hands out was proved and signed.
//!
//! It runs on a microcontroller as it runs on a host. [`RAM_BYTES`] is all of its memory but the stack and what the line
//! itself needs.

use bytemuck::Zeroable;
use embedded_io::{Read, ReadReady, Write, WriteReady};
use weir::proto::book::Entry;
use weir::proto::config::{NodeConfig, Role};
use weir::proto::job::Job;
use weir::proto::node::{Attempt, Node, Pools};
use weir::proto::peer::{Link, Peer};
use weir::proto::player::Player;
use weir::proto::serve::Repair;
use weir::proto::stream::{Stream, StreamPools};
use weir::proto::transmit::Transmit;
use weir::storage::lent::Lent;
use weir::storage::ring::{Ring, Row};
use weir::storage::slots::{Slot, Slots};
use weir::time::{Instant, Span};
use weir::wire::addr::Addr;
use weir::wire::chunk::ChunkId;
use weir::wire::framing::{self, FrameReader, MAX_FRAME_BYTES};

/// Neighbours: the one at the other end of the line, and the one who is plugged in next.
const PEERS: usize = 2;

/// Sound kept: three seconds at 64 kbit/s with its proofs and seals.
const RING_BYTES: usize = 40 * 1_024;

/// Chunks kept: what fits the ring if they are small.
const SLOTS: usize = 90;
const ROWS: usize = 32;

/// Ogg headers with some tags; a stream with a longer preamble (a picture) cannot be played here.
const PREAMBLE_BYTES: usize = 4_096;

/// Entries that stay where they are.
struct Held<T, const N: usize>([T; N]);

impl<T: Copy + Zeroable + Send, const N: usize> Lent<T> for Held<T, N> {
    fn all(&self) -> &[T] {
        &self.0
    }

    fn all_mut(&mut self) -> &mut [T] {
        &mut self.0
    }

    fn give_back(&mut self) {
        self.0.fill(T::zeroed());
    }
}

/// All memory of a listener, to be lent to it once.
pub struct Memory<'m> {
    streams: heapless::Vec<Stream<'m>, 1>,
    peers: [Option<Peer>; PEERS],
    links: [Link; PEERS],
    attempts: [Option<Attempt>; 4],
    book: [Entry; 4],
    players: [Option<Player>; 1],
    jobs: [Job; 32],
    repairs: [Repair; 4],
    ring: Held<u8, RING_BYTES>,
    lengths: [u16; SLOTS],
    free: [Slot; SLOTS],
    rows: Option<Held<Row, ROWS>>,
    log: Held<ChunkId, SLOTS>,
    preamble: [u8; PREAMBLE_BYTES],
}

impl<'m> Memory<'m> {
    /// Nothing in it.
    pub const fn new() -> Self {
        Self {
            streams: heapless::Vec::new(),
            peers: [const { None }; PEERS],
            links: [Link::VACANT; PEERS],
            attempts: [const { None }; 4],
            book: [Entry::VACANT; 4],
            players: [None; 1],
            jobs: [Job::NONE; 32],
            repairs: [Repair::NONE; 4],
            ring: Held([0; RING_BYTES]),
            lengths: [0; SLOTS],
            free: [0; SLOTS],
            rows: None,
            log: Held([ChunkId { block: 0, index: 0 }; SLOTS]),
            preamble: [0; PREAMBLE_BYTES],
        }
    }
}

impl<'m> Memory<'m> {
    /// Lends all of it, for good: what the node needs, and what its stream needs.
    pub fn lend(&'m mut self) -> (Pools<'m>, StreamPools<'m>) {
        let pools = Pools {
            streams: &mut self.streams,
            peers: &mut self.peers,
            links: &mut self.links,
            attempts: &mut self.attempts,
            book: &mut self.book,
            players: &mut self.players,
            jobs: &mut self.jobs,
            repairs: &mut self.repairs,
        };
        let slots = Slots::new(&mut self.ring, &mut self.lengths, &mut self.free);
        let stream = StreamPools {
            ring: Ring::new(slots, self.rows.insert(Held([Row::zeroed(); ROWS]))),
            log: &mut self.log,
            preamble: &mut self.preamble,
        };
        (pools, stream)
    }
}

/// What a listener is told.
#[derive(Clone, Copy)]
pub struct Told {
    /// The board's own X25519 secret.
    pub secret: [u8; 32],
    /// Random bytes, other ones at each start.
    pub entropy: [u8; 32],
    /// The line's rate.
    pub baud: u32,
}

/// A listener on a line.
pub struct Listener<'m, L> {
    node: Node<'m>,
    frames: FrameReader<L>,
    out: Transmit,
    frame: [u8; MAX_FRAME_BYTES],
    /// The part of `frame` that was not written yet.
    unsent: core::ops::Range<usize>,
}

/// Bytes of RAM that a listener takes on this machine: its pools, its engine, its frames.
pub const RAM_BYTES: usize =
    core::mem::size_of::<Memory<'_>>() + core::mem::size_of::<Listener<'_, ()>>();

const _: () = assert!(RAM_BYTES <= 84 * 1_024, "more than 84 KiB");

const FAR_END: Addr = Addr::Line(0);

impl<'m, L: Read> Listener<'m, L> {
    /// A listener of nothing yet. It is large: to be made where it stays, not moved about on a small stack.
    #[inline(always)]
    pub fn new(pools: Pools<'m>, line: L, told: &Told, now: Instant) -> Self {
        Self {
            node: Node::new(now, config(told), pools),
            frames: FrameReader::new(line),
            out: Transmit::new(),
            frame: [0; MAX_FRAME_BYTES],
            unsent: 0..0,
        }
    }

    /// Takes the stream up; false if `key` is no key.
    pub fn listen(&mut self, now: Instant, key: [u8; 32], pools: StreamPools<'m>) -> bool {
        let known = self.node.add_stream(key, Role::Listener, pools).is_ok();
        self.node.add_bootstrap(now, 0, FAR_END);
        known && self.node.open_player(now, 0, None).is_ok()
    }

    /// The engine, to look at: its counters, the stream's title.
    #[allow(dead_code, reason = "not everybody does")]
    pub fn node(&self) -> &Node<'m> {
        &self.node
    }
}

fn config(told: &Told) -> NodeConfig {
    let mut config = NodeConfig::new(told.secret, told.entropy);
    config.lines[0] = told.baud / 10;
    config.max_children = 0;
    config.spare = 0;
    config.burst = Span::from_ms(600);
    config.window = Span::from_s(2);
    config
}

impl<L: Read + ReadReady + Write + WriteReady> Listener<'_, L> {
    /// Does what there is to do: bytes in, timers, bytes out, media to `play`. To be called again and again; it does not
    /// wait for the line.
    ///
    /// # Errors
    /// What the line says.
    pub fn turn(&mut self, now: Instant, play: impl FnMut(&[u8])) -> Result<(), L::Error> {
        self.take_in(now)?;
        if self.node.poll_timeout().is_some_and(|due| due <= now) {
            self.node.handle_timeout(now);
        }
        self.let_out(now)?;
        self.play(now, play);
        Ok(())
    }

    fn take_in(&mut self, now: Instant) -> Result<(), L::Error> {
        while let Some(datagram) = self.frames.ready_datagram()? {
            self.node.handle_datagram(now, FAR_END, datagram);
        }
        Ok(())
    }

    fn let_out(&mut self, now: Instant) -> Result<(), L::Error> {
        loop {
            while !self.unsent.is_empty() {
                if !self.frames.line_mut().write_ready()? {
                    return Ok(());
                }
                let unsent = self.frame.get(self.unsent.clone()).unwrap_or(&[]);
                self.unsent.start += self.frames.line_mut().write(unsent)?;
            }
            if !self.node.poll_transmit(now, &mut self.out) {
                return Ok(());
            }
            // A listener without children sends words only, and no others than to the far end.
            if self.out.to == FAR_END {
                let len = framing::encode(self.out.control_bytes(), &mut self.frame);
                self.unsent = 0..len.unwrap_or(0);
            }
        }
    }

    fn play(&mut self, now: Instant, mut play: impl FnMut(&[u8])) {
        loop {
            let media = self.node.peek_player(now, 0);
            let len = media.len();
            if len == 0 {
                return;
            }
            play(media);
            self.node.advance_player(0, len);
        }
    }
}
