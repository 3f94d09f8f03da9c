//! A place in the world where one node lives after another.

use super::check::UploadCheck;
use super::dist::{exponential, mix};
use super::liar::Liar;
use super::line::Direction;
use super::media::{CELL_BYTES, Checker, PREAMBLE, cell};
use super::pools;
use super::results::{Record, node_since, stream_since};
use super::scenario::{Departure, Fault, GroupRole, Nat};
use super::viewer::Viewer;
use super::wire::{Port, address};
use super::world::World;
use crate::crypto::sign::SigningKey;
use crate::proto::config::{NodeConfig, Role};
use crate::proto::node::{Node, PlayerId};
use crate::proto::source::{Programme, Source, Start};
use crate::proto::stats::{NodeStats, StreamStats};
use crate::rng::Rng;
use crate::time::{Instant, Span};
use std::boxed::Box;

/// A listener that does not play by then is counted as stalled.
const PATIENCE_US: u64 = 10_000_000;

/// The place.
pub struct Member {
    /// Where it meets the net.
    pub port: Port,
    /// Its group; `None`: the source's place.
    pub group: Option<usize>,
    /// Place in its group.
    pub index: usize,
    /// Who lives there now.
    pub life: Option<Life>,
    /// How many have lived there.
    pub lives: u32,
    /// Nobody will live there again.
    pub closed: bool,
    /// Tick of the wake-up that counts.
    pub wake: u64,
    /// Hash of everything it was given.
    pub digest: u64,
    /// What its clock shows at the beginning.
    clock_us: u64,
    rng: Rng,
}

/// One node from its joining to its end.
pub struct Life {
    /// The node.
    pub node: Box<Node<'static>>,
    /// Its player.
    pub player: Option<PlayerId>,
    /// Who watches that.
    pub viewer: Viewer,
    /// Checks what comes out.
    pub checker: Checker,
    /// Checks what is sent.
    pub upload: UploadCheck,
    /// When it joined.
    pub joined_us: u64,
    /// Since when it is counted.
    counted_us: u64,
    base_stream: StreamStats,
    base_total: NodeStats,
    /// Media cells the source has taken in.
    cells: u64,
    /// Stalled and missing at the last sample.
    pub sampled: (f64, f64),
    /// Bytes sent, datagrams received, sessions at the last sample.
    pub sampled_total: (u64, u64, u64),
}

impl Member {
    /// An empty place.
    pub fn new(world: &World, node: u32) -> Self {
        let (group, index) = world.place(node);
        let mut it = Self {
            port: Port::new(
                node,
                Nat::Open,
                Direction::default(),
                Direction::default(),
                world.seed(),
            ),
            group,
            index,
            life: None,
            lives: 0,
            closed: false,
            wake: u64::MAX,
            digest: mix(world.seed(), u64::from(node), 11),
            // No node's clock says anything about another's.
            clock_us: 1_000_000 + mix(world.seed(), u64::from(node), 12) % 1_000_000_000,
            rng: Rng::new(mix(world.seed(), u64::from(node), 13)),
        };
        it.draw_lines(world);
        it
    }

    fn draw_lines(&mut self, world: &World) {
        let Some(group) = self.group.map(|group| &world.scenario().groups[group]) else {
            return;
        };
        let bitrate = world.scenario().bitrate_bps();
        let queue_ms = world.scenario().network.queue_ms;
        self.port.nat = group.nat;
        self.port.down = Direction::new((group.downlink * bitrate as f64) as u64, queue_ms);
        let limit = group.upload_limit_bps(self.index, bitrate);
        self.port.up = match limit {
            Some(limit) if group.uplink_over_limit > 0.0 => {
                let line = (limit as f64 * group.uplink_over_limit) as u64;
                Direction::new(line.max(2 * bitrate), queue_ms)
            }
            _ => Direction::default(),
        };
        let from_us = (group.lie_from * 1e6) as u64;
        let which = self.index as u64;
        self.port.liar = group.lie.map(|lie| Liar::new(lie, from_us, which));
    }

    /// The node's clock.
    pub fn clock(&self, now_us: u64) -> Instant {
        Instant::from_us(self.clock_us + now_us)
    }

    /// A node moves in. Returns when it will go, if its days are numbered, and whether with a Bye.
    pub fn join(&mut self, world: &World, now_us: u64) -> Option<(u64, bool)> {
        if self.lives > 0 {
            self.port.rebind();
            self.draw_lines(world);
        }
        self.life = Some(match self.group {
            None => self.source(world, now_us),
            Some(group) => self.member_of(world, group, now_us),
        });
        self.lives += 1;
        let group = &world.scenario().groups[self.group?];
        if group.life <= 0.0 {
            return None;
        }
        let life_us = exponential(group.life, self.rng.next_u64()) * 1e6;
        let bye = match group.departure {
            Departure::Crash => false,
            Departure::Leave => true,
            Departure::Either => self.rng.below(2) == 0,
        };
        Some((now_us + life_us as u64, bye))
    }

    fn config(&self, world: &World) -> NodeConfig {
        let stream = &world.scenario().stream;
        let key = |what: u64| {
            let seed = mix(
                world.seed(),
                u64::from(self.port.node),
                u64::from(self.lives),
            );
            *blake3::hash(&mix(seed, what, 0).to_be_bytes()).as_bytes()
        };
        NodeConfig {
            spare: stream.spare,
            burst: Span::from_ms(stream.burst_ms),
            window: Span::from_ms(stream.window_ms),
            ..NodeConfig::new(key(1), key(2))
        }
    }

    fn source(&mut self, world: &World, now_us: u64) -> Life {
        let scenario = world.scenario();
        let limit = scenario.source.upload * scenario.bitrate_bps() as f64;
        let config = NodeConfig {
            upload_limit_bps: scenario.source.upload.is_finite().then_some(limit as u64),
            max_children: scenario.source.max_children,
            ..self.config(world)
        };
        let mut life = self.live(
            world,
            now_us,
            config,
            Role::Source,
            scenario.source.ring_kib,
        );
        let now = self.clock(now_us);
        let signer = SigningKey::from_seed(world.signing_seed());
        life.node
            .set_source(0, Source::new(signer, pools::staging(), 1, 1_000, 0));
        let programme = Programme {
            bitrate_bps: scenario.bitrate_bps() as u32,
            k: scenario.stream.k,
            m: scenario.stream.m,
            group_ms: scenario.stream.group_ms,
            ..Programme::default()
        };
        let published = life.node.publish(now, 0, &programme, PREAMBLE);
        assert!(
            published.is_ok(),
            "the source refuses its programme: {published:?}"
        );
        life
    }

    fn member_of(&mut self, world: &World, group: usize, now_us: u64) -> Life {
        let scenario = world.scenario();
        let group = &scenario.groups[group];
        let config = NodeConfig {
            upload_limit_bps: group.upload_limit_bps(self.index, scenario.bitrate_bps()),
            max_children: group.max_children,
            ..self.config(world)
        };
        let role = match group.role {
            GroupRole::Relay => Role::Relay,
            GroupRole::Listener => Role::Listener,
        };
        let mut life = self.live(world, now_us, config, role, group.ring_kib);
        let now = self.clock(now_us);
        life.node.add_bootstrap(now, 0, address(0, 0));
        for name in group.bootstrap.iter().filter(|name| *name != "source") {
            for node in world
                .first_of(name, 3)
                .filter(|node| *node != self.port.node)
            {
                life.node.add_bootstrap(now, 0, address(node, 0));
            }
        }
        if role == Role::Listener {
            // A fresh node has room for a player.
            life.player = life.node.open_player(now, 0, None).ok();
        }
        life
    }

    fn live(
        &self,
        world: &World,
        now_us: u64,
        config: NodeConfig,
        role: Role,
        ring_kib: usize,
    ) -> Life {
        let sizes = pools::sizes(role == Role::Source, config.max_children, ring_kib);
        let greed = if world.scenario().fault == Some(Fault::GreedyNodes) {
            10
        } else {
            1
        };
        let upload = UploadCheck::new(config.upload_limit_bps.map(|limit| limit / greed));
        let mut node = Box::new(Node::new(
            self.clock(now_us),
            config,
            pools::node_pools(&sizes),
        ));
        let added = node.add_stream(world.key(), role, pools::stream_pools(&sizes));
        assert!(added.is_ok(), "the node refuses its stream: {added:?}");
        let stream = &world.scenario().stream;
        Life {
            node,
            player: None,
            viewer: Viewer::new(world.scenario().bitrate_bps(), stream.prebuffer_ms, now_us),
            checker: Checker::new(world.seed()),
            upload,
            joined_us: now_us,
            counted_us: now_us,
            base_stream: StreamStats::default(),
            base_total: NodeStats::default(),
            cells: 0,
            sampled: (0.0, 0.0),
            sampled_total: (0, 0, 0),
        }
    }

    /// The source takes in what its encoder has made by now.
    pub fn push(&mut self, world: &World, now_us: u64) {
        let now = self.clock(now_us);
        let Some(life) = self.life.as_mut() else {
            return;
        };
        let due = now_us * world.scenario().bitrate_bps() / 8_000_000 / CELL_BYTES as u64;
        let mut piece = std::vec::Vec::with_capacity(4_096);
        for number in life.cells..due {
            piece.extend(cell(world.seed(), number));
        }
        life.cells = due;
        if !piece.is_empty() {
            let pushed = life.node.push_source(now, 0, Start::Sync, &piece, true);
            assert!(pushed.is_ok(), "the source refuses media: {pushed:?}");
        }
    }

    /// The node goes; what is to be said of it.
    pub fn end(&mut self, now_us: u64) -> Option<Record> {
        let mut life = self.life.take()?;
        life.viewer.end(now_us);
        let stalled = match life.player {
            Some(_) => life.viewer.stalled + life.waited_in_vain(now_us),
            None => 0.0,
        };
        Some(Record {
            node: self.port.node,
            life: self.lives - 1,
            group: self.group,
            plays: life.player.is_some(),
            joined_us: life.joined_us,
            left_us: now_us,
            started_us: life.viewer.started_us,
            counted_us: life.counted_us,
            played: life.viewer.played,
            missing: life.viewer.missing,
            stalled,
            longest_stall_us: life.viewer.longest_stall_us,
            longest_pause_us: life.viewer.longest_pause_us,
            hops: life.node.hops(0),
            stream: stream_since(&life.node.streams()[0].stats, &life.base_stream),
            total: node_since(life.node.stats(), &life.base_total),
            upload_limit_bps: life.node.config().upload_limit_bps,
            upload_excess: life.upload.worst_excess,
        })
    }
}

impl Life {
    /// Counting begins anew.
    pub fn reset(&mut self, now_us: u64) {
        self.viewer.advance(now_us);
        self.viewer.reset();
        self.sampled = (0.0, 0.0);
        self.counted_us = now_us;
        self.base_stream = self.node.streams()[0].stats;
        self.base_total = *self.node.stats();
    }

    /// Media that should have been played by somebody who never began.
    fn waited_in_vain(&self, now_us: u64) -> f64 {
        let from = (self.joined_us + PATIENCE_US).max(self.counted_us);
        match self.viewer.started_us {
            Some(began) => self.viewer.amount(began.min(now_us).saturating_sub(from)),
            None => self.viewer.amount(now_us.saturating_sub(from)),
        }
    }

    /// Lag of what is played, and of the newest byte, s.
    pub fn lag(&self, bitrate_bps: u64, now_us: u64) -> Option<(f64, f64)> {
        self.viewer.started_us?;
        let newest = self.checker.position()? as f64;
        let now = now_us as f64 / 1e6;
        let at = |position: f64| now - position * 8.0 / bitrate_bps as f64;
        Some((at(newest - self.viewer.buffered()), at(newest)))
    }
}
