//! Two nodes and nothing but a serial line between them: what the line carries, counted byte by byte.

use super::budget::Sizes;
use super::config::{NodeConfig, Role};
use super::node::{Event, Node};
use super::source::{Programme, Source, Start};
use super::transmit::Transmit;
use crate::crypto::sign::SigningKey;
use crate::memory;
use crate::rng::Rng;
use crate::time::{Instant, Span};
use crate::wire::addr::Addr;
use crate::wire::framing;
use std::collections::VecDeque;
use std::vec::Vec;

/// One direction of a line: a byte after another.
#[derive(Default)]
struct Wire {
    free_at: Instant,
    bytes: u64,
    longest_wait: Span,
    queue: VecDeque<(Instant, Vec<u8>)>,
}

struct End {
    node: Node<'static>,
    out: Wire,
}

/// A source and a listener at the two ends.
struct Pair {
    now: Instant,
    bytes_per_s: u32,
    loss_percent: u64,
    rng: Rng,
    ends: [End; 2],
    taken: Vec<u8>,
    heard: Vec<u8>,
}

const ADDR: Addr = Addr::Line(0);

fn end(now: Instant, role: Role, bytes_per_s: u32, key: [u8; 32]) -> End {
    let secret = [role as u8 + 1; 32];
    let mut config = NodeConfig::new(secret, [role as u8 + 9; 32]);
    config.lines[0] = bytes_per_s;
    // What crosses the line is not the owner's upload.
    config.upload_limit_bps = Some(64_000);
    let sizes = Sizes::new(1, usize::from(role == Role::Source), 8, 2).fill(2 << 20, 0);
    let mut node = Node::new(now, config, memory::node_pools(&sizes));
    memory::add_stream(&mut node, &sizes, key, role).unwrap();
    End {
        node,
        out: Wire::default(),
    }
}

impl Pair {
    fn new(bytes_per_s: u32, bitrate_bps: u32) -> Self {
        Self::with_groups(bytes_per_s, bitrate_bps, None)
    }

    fn with_groups(bytes_per_s: u32, bitrate_bps: u32, group_ms: Option<u16>) -> Self {
        let now = Instant::from_us(1_000_000);
        let signer = SigningKey::from_seed([7; 32]);
        let key = signer.public();
        let mut ends = [
            end(now, Role::Source, bytes_per_s, key),
            end(now, Role::Listener, bytes_per_s, key),
        ];
        let source = &mut ends[0].node;
        source.set_source(0, Source::new(signer, memory::staging(), 1, 1_000, 0));
        let programme = Programme {
            bitrate_bps,
            group_ms,
            ..Programme::default()
        };
        source.publish(now, 0, &programme, b"preamble").unwrap();
        ends[1].node.add_bootstrap(now, 0, ADDR);
        ends[1].node.open_player(now, 0, None).unwrap();
        Self {
            now,
            bytes_per_s,
            loss_percent: 0,
            rng: Rng::new(3),
            ends,
            taken: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn send(&mut self, from: usize, datagram: &[u8]) {
        let wire = &mut self.ends[from].out;
        let mut frame = [0; framing::MAX_FRAME_BYTES];
        let len = framing::encode(datagram, &mut frame).unwrap();
        wire.longest_wait = wire.longest_wait.max(wire.free_at.since(self.now));
        wire.bytes += len as u64;
        let takes = Span::from_us(len as u64 * 1_000_000 / u64::from(self.bytes_per_s));
        wire.free_at = wire.free_at.max(self.now) + takes;
        if self.rng.below(100) >= self.loss_percent {
            wire.queue.push_back((wire.free_at, datagram.to_vec()));
        }
    }

    fn step(&mut self, media: &mut Rng, bitrate_bps: u32) {
        self.now += Span::from_ms(10);
        let bytes: Vec<u8> = (0..bitrate_bps / 800)
            .map(|_| media.next_u64() as u8)
            .collect();
        self.taken.extend(&bytes);
        let source = &mut self.ends[0].node;
        source
            .push_source(self.now, 0, Start::Sync, &bytes, true)
            .unwrap();
        for at in 0..2 {
            while let Some((when, _)) = self.ends[at].out.queue.front()
                && *when <= self.now
            {
                let (_, datagram) = self.ends[at].out.queue.pop_front().unwrap();
                let other = &mut self.ends[1 - at].node;
                other.handle_datagram(self.now, ADDR, &datagram);
            }
        }
        let mut out = Transmit::new();
        for at in 0..2 {
            let node = &mut self.ends[at].node;
            if node.poll_timeout().is_some_and(|due| due <= self.now) {
                node.handle_timeout(self.now);
            }
            while self.ends[at].node.poll_transmit(self.now, &mut out) {
                assert_eq!(out.to, ADDR);
                let node = &self.ends[at].node;
                let datagrams: Vec<Vec<u8>> = node.datagrams(&out).map(<[u8]>::to_vec).collect();
                for datagram in datagrams {
                    self.send(at, &datagram);
                }
            }
        }
        let mut buf = [0; 16_384];
        let n = self.ends[1].node.read_player(self.now, 0, &mut buf);
        self.heard.extend(&buf[..n]);
    }

    fn run(&mut self, seconds: u64, bitrate_bps: u32) {
        let mut media = Rng::new(self.taken.len() as u64 + 11);
        for _ in 0..seconds * 100 {
            self.step(&mut media, bitrate_bps);
        }
    }

    fn events(&mut self, at: usize) -> Vec<Event> {
        core::iter::from_fn(|| self.ends[at].node.poll_event()).collect()
    }

    /// What was heard, as a part of what was sent; returns its length.
    fn check_heard(&self) -> usize {
        let heard = self.heard.strip_prefix(b"preamble").expect("the preamble");
        let begins = self.taken.windows(64).position(|w| w == &heard[..64]);
        let begins = begins.expect("a part of the stream");
        assert!(heard == &self.taken[begins..][..heard.len()]);
        heard.len()
    }
}

/// 64 kbit/s of Opus in Ogg, pages and all, at 115,200 baud: it flows without a gap, and a fifth of the line is left.
#[test]
fn opus_at_64_kbit_fits_115200_baud() {
    let mut pair = Pair::new(11_520, 65_600);
    pair.run(10, 65_600);
    let (bytes, media) = (pair.ends[0].out.bytes, pair.taken.len());
    pair.run(60, 65_600);
    let heard = pair.check_heard();
    assert!(heard > 66 * 8_200, "{heard}");
    let stats = pair.ends[1].node.streams()[0].stats;
    assert!(stats.gaps == 0 && stats.duplicate < 5, "{stats:?}");
    let sent = pair.ends[0].out.bytes - bytes;
    let each = sent as f64 / (pair.taken.len() - media) as f64;
    let used = sent as f64 / (60.0 * 11_520.0);
    std::println!(
        "{each:.3} bytes a stream byte, {:.1} % of the line",
        used * 100.0
    );
    assert!(
        each < 1.14,
        "{each} bytes on the line for one of the stream"
    );
    assert!(used < 0.82, "{used} of the line");
    // A word waits for one chunk at most.
    assert!(pair.ends[0].out.longest_wait <= Span::from_ms(120));
    let backwards = pair.ends[1].out.bytes as f64 / (70.0 * 11_520.0);
    assert!(
        backwards < 0.02,
        "{backwards} of the line in the other direction"
    );
}

#[test]
fn what_noise_destroys_is_asked_for_again() {
    let mut pair = Pair::new(11_520, 65_600);
    pair.loss_percent = 3;
    pair.run(60, 65_600);
    let heard = pair.check_heard();
    let stats = pair.ends[1].node.streams()[0].stats;
    assert!(stats.repaired > 5 && stats.gaps == 0, "{stats:?}");
    assert!(heard > 54 * 8_200, "{heard}");
}

#[test]
fn a_stream_too_fast_for_the_line_is_refused_with_both_numbers() {
    let mut pair = Pair::new(1_920, 64_000);
    pair.run(20, 64_000);
    assert!(pair.heard.is_empty());
    for at in 0..2 {
        let told: Vec<Event> = pair.events(at);
        let unfit = told.iter().filter_map(|event| match event {
            Event::DoesNotFit {
                needed_bps,
                line_bps,
                ..
            } => Some((*needed_bps, *line_bps)),
            _ => None,
        });
        let unfit: Vec<(u64, u64)> = unfit.collect();
        assert_eq!(unfit.len(), 1, "said once at end {at}: {told:?}");
        assert!((64_000..80_000).contains(&unfit[0].0), "{unfit:?}");
        assert_eq!(unfit[0].1, 15_360);
    }
    // Nor is the line filled with what is of no use.
    assert!(
        pair.ends[0].out.bytes < 20 * 200,
        "{}",
        pair.ends[0].out.bytes
    );
}

#[test]
fn slow_lines_carry_slow_streams_and_fast_lines_fast_ones() {
    // Where a group is a few hundred bytes, its seal weighs: slow streams are sealed less often.
    let cases = [
        (9_600, 4_000, Some(2_000)),
        (19_200, 12_000, Some(2_000)),
        (1_000_000, 640_000, None),
    ];
    for (baud, bitrate_bps, group_ms) in cases {
        let mut pair = Pair::with_groups(baud / 10, bitrate_bps, group_ms);
        pair.run(60, bitrate_bps);
        let heard = pair.check_heard();
        let most = bitrate_bps as usize / 800 * 100 * 60;
        assert!(heard * 10 > most * 8, "{baud} baud: {heard} of {most}");
        let stats = pair.ends[1].node.streams()[0].stats;
        assert_eq!(stats.gaps, 0, "{baud} baud: {stats:?}");
    }
}

#[test]
fn whoever_is_plugged_in_next_is_heard() {
    let mut pair = Pair::new(11_520, 64_000);
    pair.run(10, 64_000);
    let before = pair.heard.len();
    assert!(before > 0);
    // The same stream from another box: its session is not known there.
    let key = pair.ends[0].node.streams()[0].key;
    pair.ends[1] = end(pair.now, Role::Relay, 11_520, key);
    let node = &mut pair.ends[1].node;
    node.add_bootstrap(pair.now, 0, ADDR);
    node.open_player(pair.now, 0, None).unwrap();
    pair.heard.clear();
    pair.run(10, 64_000);
    assert!(pair.check_heard() > 40_000, "{}", pair.heard.len());
    assert_eq!(pair.ends[0].node.peers().len(), 1);
}

#[test]
fn a_line_held_up_by_its_far_end_is_handed_nothing_more() {
    let mut pair = Pair::new(11_520, 64_000);
    pair.run(10, 64_000);
    let now = pair.now;
    let mut out = Transmit::new();
    let node = &mut pair.ends[0].node;
    while node.poll_transmit(now, &mut out) {}
    node.note_line_backlog(now, 0, 11_520);
    pair.ends[0].out.queue.clear();
    let before = pair.ends[0].out.bytes;
    pair.run(1, 64_000);
    let sent = pair.ends[0].out.bytes - before;
    assert!(sent <= 2 * framing::MAX_FRAME_BYTES as u64, "{sent}");
}
