//! A part of the world: some of its nodes, and everything that is due for them. Nodes of different shards only meet by
//! datagrams that are under way for at least one window, so shards can run side by side; what is due in one tick is sorted,
//! so the number of shards changes nothing.

use super::check::UploadCheck;
use super::dist::mix;
use super::media::Wrong;
use super::member::{Life, Member};
use super::results::Tally;
use super::scenario::Fault;
use super::trace::{edges, trace};
use super::wheel::Wheel;
use super::wire::{Fate, Packet, Port, node_of};
use super::world::World;
use crate::proto::transmit::Transmit;
use crate::wire::addr::Addr;
use std::boxed::Box;
use std::format;
use std::vec::Vec;

/// Length of a tick. What happens within one is handled at its end.
pub const TICK_US: u64 = 1_000;

/// Ticks between samples.
const SAMPLE_TICKS: u64 = 1_000_000 / TICK_US;

/// Seconds between snapshots of the trees.
const MAP_SECONDS: u64 = 10;

/// Most times a node's timers are run in one tick.
const MAX_ROUNDS: usize = 64;

/// Something that happens to one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A node moves in.
    Join,
    /// The node that lives there for the so-manyth time goes, with a Bye or without.
    Go(u32, bool),
    /// Whoever lives there goes, with a Bye or without, and nobody follows.
    End(bool),
    /// The source's encoder has something.
    Push,
    /// Its public address changes.
    Rebind,
}

enum What {
    Act(Act),
    Packet(Box<Packet>),
    Wake,
}

struct Due {
    member: u32,
    /// Order within a tick: acts, datagrams by arrival, wake-ups.
    class: u8,
    at_us: u64,
    order: u64,
    what: What,
}

/// The shard.
pub struct Shard<'w> {
    world: &'w World,
    members: Vec<Member>,
    traffic: Traffic,
    due: Vec<Due>,
    out: Box<Transmit>,
    read: Vec<u8>,
    /// What was measured.
    pub tally: Tally,
}

/// What is under way to nodes of this shard, and from here to those of others.
#[allow(
    clippy::vec_box,
    reason = "datagrams move between queues; the boxes are what is reused"
)]
struct Traffic {
    shard: usize,
    shards: usize,
    wheel: Wheel<Due>,
    pool: Vec<Box<Packet>>,
    outbox: Vec<Vec<Box<Packet>>>,
}

impl<'w> Shard<'w> {
    /// The `shard`th of `shards` parts.
    pub fn new(world: &'w World, shard: usize, shards: usize) -> Self {
        let nodes = (shard..world.nodes()).step_by(shards);
        let mut it = Self {
            world,
            members: nodes.map(|node| Member::new(world, node as u32)).collect(),
            traffic: Traffic {
                shard,
                shards,
                wheel: Wheel::default(),
                pool: Vec::new(),
                outbox: (0..shards).map(|_| Vec::new()).collect(),
            },
            due: Vec::new(),
            out: Box::new(Transmit::new()),
            read: std::vec![0; 1 << 16],
            tally: Tally::new(world.scenario().seconds),
        };
        for (node, at_us, act) in world.plan() {
            if *node as usize % shards == shard {
                it.traffic.plan(*node, *at_us, *act);
            }
        }
        it
    }

    /// Who lives here, by number.
    pub fn lives(&self) -> impl Iterator<Item = (u32, &Life)> {
        let lives = self.members.iter();
        lives.filter_map(|member| Some((member.port.node, member.life.as_ref()?)))
    }

    /// Runs the ticks from `begin` until before `end`.
    pub fn run(&mut self, begin: u64, end: u64) {
        for tick in begin..end {
            self.run_tick(tick);
        }
    }

    /// Takes the datagrams for another shard.
    pub fn take_outbox(&mut self, shard: usize) -> Vec<Box<Packet>> {
        core::mem::take(&mut self.traffic.outbox[shard])
    }

    /// Datagrams from other shards.
    pub fn receive(&mut self, packets: Vec<Box<Packet>>) {
        packets
            .into_iter()
            .for_each(|packet| self.traffic.put(packet));
    }

    fn run_tick(&mut self, tick: u64) {
        let mut due = core::mem::take(&mut self.due);
        self.traffic.wheel.take(tick, &mut due);
        due.sort_unstable_by_key(|due| (due.member, due.class, due.at_us, due.order));
        let mut rest = due.drain(..).peekable();
        let mut touched = false;
        while let Some(one) = rest.next() {
            let at = one.member as usize;
            touched |= self.handle(tick, at, one.what);
            let is_last = rest.peek().is_none_or(|next| next.member as usize != at);
            if is_last && core::mem::take(&mut touched) {
                self.settle(tick, at);
            }
        }
        drop(rest);
        self.due = due;
        if tick > 0 && tick.is_multiple_of(SAMPLE_TICKS) {
            self.sample(tick * TICK_US);
        }
    }

    /// Handles one thing; whether the node has to be looked after.
    fn handle(&mut self, tick: u64, at: usize, what: What) -> bool {
        match what {
            What::Wake => self.members[at].wake == tick,
            What::Act(act) => self.act(tick * TICK_US, at, act),
            What::Packet(packet) => self.deliver(tick, at, packet),
        }
    }

    fn act(&mut self, now_us: u64, at: usize, act: Act) -> bool {
        let member = &mut self.members[at];
        let node = member.port.node;
        match act {
            Act::Join if member.closed => false,
            Act::Join => {
                self.end(now_us, at, false);
                let member = &mut self.members[at];
                if let Some((at_us, bye)) = member.join(self.world, now_us) {
                    let go = Act::Go(member.lives, bye);
                    self.traffic.plan(node, at_us.max(now_us + TICK_US), go);
                }
                if member.group.is_none() {
                    self.traffic.plan(node, now_us + TICK_US, Act::Push);
                }
                true
            }
            Act::Go(life, bye) => {
                if member.lives == life && member.life.is_some() {
                    let group = member
                        .group
                        .map(|group| &self.world.scenario().groups[group]);
                    let after = group.map_or(-1.0, |group| group.replaced_after);
                    self.end(now_us, at, bye);
                    if after >= 0.0 {
                        let at_us = now_us + (after * 1e6) as u64 + TICK_US;
                        self.traffic.plan(node, at_us, Act::Join);
                    }
                }
                false
            }
            Act::End(bye) => {
                member.closed = true;
                self.end(now_us, at, bye);
                false
            }
            Act::Push => {
                member.push(self.world, now_us);
                let next = now_us + self.world.scenario().stream.piece_ms * 1_000;
                self.traffic.plan(node, next, Act::Push);
                true
            }
            Act::Rebind => {
                member.port.rebind();
                true
            }
        }
    }

    /// Whoever lives there goes.
    fn end(&mut self, now_us: u64, at: usize, bye: bool) {
        let clock = self.members[at].clock(now_us);
        if bye && let Some(life) = self.members[at].life.as_mut() {
            life.node.shutdown(clock);
            self.send_all(now_us, at);
        }
        // Whoever goes before the measurement, or as it begins, has nothing that counts.
        if now_us <= self.world.scenario().measure_from * 1_000_000
            && let Some(life) = self.members[at].life.as_mut()
        {
            life.reset(now_us);
        }
        if let Some(record) = self.members[at].end(now_us) {
            if record.upload_excess > 0 {
                self.tally.complain(|| {
                    format!(
                        "node {} sent {} bytes above limit and bucket in one second",
                        record.node, record.upload_excess
                    )
                });
            }
            self.tally.records.push(record);
        }
    }

    fn deliver(&mut self, tick: u64, at: usize, mut packet: Box<Packet>) -> bool {
        let member = &mut self.members[at];
        if !packet.is_in {
            if packet.to_turn != member.port.turn {
                self.tally.nowhere += 1;
                self.traffic.pool.push(packet);
                return false;
            }
            let Some(done_us) = member.port.down.carry(packet.at_us, packet.len) else {
                self.tally.queue_drops += 1;
                self.traffic.pool.push(packet);
                return false;
            };
            packet.is_in = true;
            packet.at_us = done_us;
            if done_us.div_ceil(TICK_US) > tick {
                self.traffic.put(packet);
                return false;
            }
        }
        let now_us = tick * TICK_US;
        let timeout_us = (self.world.scenario().network.nat_timeout * 1e6) as u64;
        let open = member.port.lets_in(packet.from, now_us, timeout_us);
        let clock = member.clock(now_us);
        match member.life.as_mut() {
            Some(life) if open => {
                let bytes = &packet.bytes[..packet.len];
                let from = super::wire::address(packet.from, packet.from_turn);
                let tail = bytes
                    .iter()
                    .rev()
                    .take(8)
                    .fold(0u64, |n, b| n << 8 | u64::from(*b));
                let what = u64::from(packet.from) << 16 | packet.len as u64;
                member.digest = mix(member.digest ^ tick, what, tail);
                life.node.handle_datagram(clock, from, bytes);
                self.tally.delivered += 1;
            }
            Some(_) => self.tally.nat_drops += 1,
            None => self.tally.nowhere += 1,
        }
        self.traffic.pool.push(packet);
        open
    }

    /// Does what the node's contract asks for after anything happened to it.
    fn settle(&mut self, tick: u64, at: usize) {
        let now_us = tick * TICK_US;
        self.send_all(now_us, at);
        let clock = self.members[at].clock(now_us);
        let mut rounds = 0;
        while let Some(life) = self.members[at].life.as_mut()
            && life.node.poll_timeout().is_some_and(|due| due <= clock)
        {
            life.node.handle_timeout(clock);
            self.send_all(now_us, at);
            rounds += 1;
            if rounds == MAX_ROUNDS {
                let node = self.members[at].port.node;
                self.tally
                    .complain(|| format!("node {node} at {now_us} us: a timer that is always due"));
                break;
            }
        }
        self.play(now_us, at);
        let member = &mut self.members[at];
        member.wake = u64::MAX;
        let Some(life) = member.life.as_mut() else {
            return;
        };
        while let Some(event) = life.node.poll_event() {
            if self.world.traces(member.port.node) {
                std::eprintln!(
                    "{:>9.3} node {} {event:?}",
                    now_us as f64 / 1e6,
                    member.port.node
                );
            }
        }
        if let Some(due) = life.node.poll_timeout() {
            let wait_us = due.since(clock).as_us();
            let wake = (now_us + wait_us).div_ceil(TICK_US).max(tick + 1);
            member.wake = wake;
            self.traffic.wake(at, wake);
        }
    }

    /// Takes everything the node has to send.
    fn send_all(&mut self, now_us: u64, at: usize) {
        let member = &mut self.members[at];
        let clock = member.clock(now_us);
        let Some(life) = member.life.as_mut() else {
            return;
        };
        while life.node.poll_transmit(clock, &mut self.out) {
            let Some(to) = self.world.node_at(self.out.to) else {
                self.tally.nowhere += 1;
                continue;
            };
            for datagram in life.node.datagrams(&self.out) {
                let mut packet = self.traffic.take();
                packet.len = datagram.len();
                packet.bytes[..packet.len].copy_from_slice(datagram);
                let sent = Sent {
                    now_us,
                    to,
                    packet,
                    is_chunk: self.out.count > 0,
                };
                self.traffic.dispatch(
                    self.world,
                    &mut member.port,
                    &mut life.upload,
                    sent,
                    &mut self.tally,
                );
            }
        }
    }

    /// The player takes what there is; every byte is checked.
    fn play(&mut self, now_us: u64, at: usize) {
        let member = &mut self.members[at];
        let (clock, node) = (member.clock(now_us), member.port.node);
        let Some(life) = member.life.as_mut() else {
            return;
        };
        let Some(player) = life.player else { return };
        loop {
            let n = life.node.read_player(clock, player, &mut self.read);
            if n == 0 {
                return;
            }
            if self.world.scenario().fault == Some(Fault::FlippedByte) && now_us > 9_000_000 {
                self.read[n / 2] ^= 1;
            }
            match life.checker.hear(&self.read[..n]) {
                Ok(heard) => life.viewer.hear(now_us, heard.bytes, heard.skipped),
                Err(wrong) => {
                    self.tally.complain(|| complaint(node, now_us, wrong));
                    // What follows cannot be told from it any more.
                    life.player = None;
                    return;
                }
            }
        }
    }

    fn sample(&mut self, now_us: u64) {
        let scenario = self.world.scenario();
        let bitrate_bps = scenario.bitrate_bps();
        let measured = now_us > scenario.measure_from * 1_000_000;
        let late = now_us > scenario.seconds.saturating_sub(10) * 1_000_000;
        let index = (now_us / 1_000_000 - 1) as usize;
        let Some(second) = self.tally.seconds.get_mut(index) else {
            return;
        };
        for member in &mut self.members {
            let traced = self.world.traces(member.port.node);
            let clock = member.clock(now_us);
            let is_source = member.group.is_none();
            let Some(life) = member.life.as_mut() else {
                continue;
            };
            life.viewer.advance(now_us);
            if traced {
                std::eprintln!(
                    "{}",
                    trace(member.port.node, life, clock, bitrate_bps, now_us)
                );
            }
            if life.player.is_some() {
                second.present += 1;
                second.playing += u64::from(life.viewer.started_us.is_some());
                second.stalled += life.viewer.stalled - life.sampled.0;
                second.missing += life.viewer.missing - life.sampled.1;
                life.sampled = (life.viewer.stalled, life.viewer.missing);
            }
            if now_us.is_multiple_of(MAP_SECONDS * 1_000_000) {
                edges(
                    now_us / 1_000_000,
                    member.port.node,
                    life,
                    &mut self.tally.edges,
                );
            }
            if let Some((lag, newest)) = life.lag(bitrate_bps, now_us).filter(|_| measured) {
                self.tally.lag.add(lag);
                self.tally.delivery.add(newest);
                if late {
                    self.tally.lag_end.add(lag);
                }
            }
            if is_source {
                let stats = life.node.stats();
                let now = (
                    stats.tx_bytes,
                    stats.rx_datagrams,
                    stats.sessions + stats.turned_away,
                );
                second.source_tx_bytes = now.0 - life.sampled_total.0;
                second.source_rx_datagrams = now.1 - life.sampled_total.1;
                second.source_sessions = now.2 - life.sampled_total.2;
                life.sampled_total = now;
            }
            if now_us == scenario.measure_from * 1_000_000 {
                life.reset(now_us);
            }
        }
    }

    /// The world ends; what was measured.
    pub fn finish(mut self, now_us: u64) -> Tally {
        for at in 0..self.members.len() {
            self.end(now_us, at, false);
            self.tally.digest = self.tally.digest.wrapping_add(self.members[at].digest);
        }
        self.tally.pool_bytes = self
            .members
            .iter()
            .map(|member| u64::from(member.lives) * self.world.pool_bytes(member.group))
            .sum();
        self.tally
    }
}

struct Sent {
    now_us: u64,
    to: (u32, u8),
    packet: Box<Packet>,
    is_chunk: bool,
}

impl Traffic {
    /// Sends a datagram through the node's port.
    fn dispatch(
        &mut self,
        world: &World,
        port: &mut Port,
        upload: &mut UploadCheck,
        sent: Sent,
        tally: &mut Tally,
    ) {
        let Sent {
            now_us,
            to,
            mut packet,
            is_chunk,
        } = sent;
        if let Some(liar) = port.liar.as_mut() {
            let len = packet.len;
            match liar.spoil(now_us, &mut port.rng, &mut packet.bytes, len) {
                Some(len) => packet.len = len,
                None => return self.pool.push(packet),
            }
        }
        let bytes = packet.len + crate::limits::IP_UDP_HEADER_BYTES;
        upload.sent(now_us, bytes as u64, is_chunk);
        tally.sent += 1;
        (packet.from, packet.from_turn) = (port.node, port.turn);
        (packet.to, packet.to_turn) = to;
        packet.sequence = port.next_sequence();
        packet.is_in = false;
        match port.send(world.geography(), world.cuts(), now_us, to.0, packet.len) {
            Fate::Arrives(at_us) => {
                packet.at_us = at_us;
                self.put(packet);
            }
            Fate::Twice(at_us, again_us) => {
                let mut twin = self.take();
                twin.copy_from(&packet);
                (twin.at_us, twin.sequence) = (again_us, port.next_sequence());
                packet.at_us = at_us;
                self.put(packet);
                self.put(twin);
            }
            fate => {
                match fate {
                    Fate::Queue => tally.queue_drops += 1,
                    Fate::Lost => tally.lost += 1,
                    _ => tally.nowhere += 1,
                }
                self.pool.push(packet);
            }
        }
    }

    fn take(&mut self) -> Box<Packet> {
        self.pool.pop().unwrap_or_else(Packet::boxed)
    }

    /// Puts a datagram where it will be taken up.
    fn put(&mut self, packet: Box<Packet>) {
        let to = packet.to as usize;
        if to % self.shards != self.shard {
            return self.outbox[to % self.shards].push(packet);
        }
        let due = Due {
            member: (to / self.shards) as u32,
            class: 1,
            at_us: packet.at_us,
            order: u64::from(packet.from) << 32 | u64::from(packet.sequence),
            what: What::Packet(packet),
        };
        self.wheel.put(due.at_us.div_ceil(TICK_US), due);
    }

    fn plan(&mut self, node: u32, at_us: u64, act: Act) {
        let due = Due {
            member: node / self.shards as u32,
            class: 0,
            at_us,
            order: 0,
            what: What::Act(act),
        };
        self.wheel.put(at_us.div_ceil(TICK_US), due);
    }

    fn wake(&mut self, member: usize, tick: u64) {
        let due = Due {
            member: member as u32,
            class: 2,
            at_us: 0,
            order: 0,
            what: What::Wake,
        };
        self.wheel.put(tick, due);
    }
}

impl World {
    /// The node an address belongs to, if there is such a node.
    fn node_at(&self, addr: Addr) -> Option<(u32, u8)> {
        node_of(addr).filter(|(node, _)| (*node as usize) < self.nodes())
    }

    /// Bytes of the pools of one node.
    fn pool_bytes(&self, group: Option<usize>) -> u64 {
        let source = &self.scenario().source;
        let sizes = match group.map(|group| &self.scenario().groups[group]) {
            None => super::pools::sizes(true, source.max_children, source.ring_kib),
            Some(group) => super::pools::sizes(false, group.max_children, group.ring_kib),
        };
        sizes.total_bytes() as u64
    }
}

fn complaint(node: u32, now_us: u64, wrong: Wrong) -> std::string::String {
    format!("node {node} at {now_us} us played what it must not: {wrong:?}")
}
