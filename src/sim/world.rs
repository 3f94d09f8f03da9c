//! A scenario set going: who lives where, what happens when, and the shards that run it.

use super::dist::mix;
use super::network::Geography;
use super::post::Post;
use super::results::Tally;
use super::scenario::{EventKind, Scenario};
use super::shard::{Act, Shard, TICK_US};
use super::wire::Partition;
use crate::crypto::sign::SigningKey;
use std::panic::resume_unwind;
use std::thread::ScopedJoinHandle;
use std::vec::Vec;

/// What all shards share; it does not change.
pub struct World {
    scenario: Scenario,
    geography: Geography,
    cuts: Vec<Partition>,
    plan: Vec<(u32, u64, Act)>,
    key: [u8; 32],
    trace: Option<u32>,
}

impl World {
    /// A world for a scenario; `trace` names a node about which everything is told on stderr.
    pub fn new(scenario: Scenario, trace: Option<u32>) -> Self {
        let nodes = scenario.nodes();
        let mut world = Self {
            geography: Geography::new(&scenario.network, nodes, scenario.seed),
            cuts: Vec::new(),
            plan: Vec::new(),
            key: [0; 32],
            trace,
            scenario,
        };
        world.key = SigningKey::from_seed(world.signing_seed()).public();
        world.plan = world.joins();
        world.plan_events();
        world
    }

    /// Runs it to its end on so many threads, which change nothing but the time it takes.
    pub fn run(&self, threads: usize) -> Tally {
        let ticks = self.scenario.seconds * 1_000_000 / TICK_US;
        let threads = threads.clamp(1, self.nodes());
        // A datagram is under way at least this long: what others send meanwhile arrives in a later window.
        let window = (self.geography.network().least_ms * 1_000 / TICK_US).max(1);
        let tallies: Vec<Tally> = std::thread::scope(|scope| {
            let shards: Vec<_> = Post::between(threads)
                .into_iter()
                .enumerate()
                .map(|(me, post)| scope.spawn(move || self.run_shard(me, &post, ticks, window)))
                .collect();
            shards.into_iter().map(joined).collect()
        });
        let mut sum = Tally::new(self.scenario.seconds);
        tallies.into_iter().for_each(|tally| sum.merge(tally));
        sum.records.sort_by_key(|record| (record.node, record.life));
        sum.wrong.sort();
        sum.edges.sort();
        sum
    }

    /// One shard to its end, or until another one is gone: its panic is then what ends the run.
    fn run_shard(&self, me: usize, post: &Post, ticks: u64, window: u64) -> Tally {
        let mut shard = Shard::new(self, me, post.shards());
        let mut begin = 0;
        while begin <= ticks {
            let end = (begin + window).min(ticks + 1);
            shard.run(begin, end);
            if post.exchange(&mut shard).is_none() {
                break;
            }
            begin = end;
        }
        shard.finish(ticks * TICK_US)
    }

    fn joins(&self) -> Vec<(u32, u64, Act)> {
        let mut plan = std::vec![(0, 0, Act::Join)];
        let mut node = 1;
        for group in &self.scenario.groups {
            let step = group.join_over / group.count.max(1) as f64;
            for index in 0..group.count {
                let at = group.join_at + step * index as f64;
                plan.push((node, (at * 1e6) as u64, Act::Join));
                node += 1;
            }
        }
        plan
    }

    fn plan_events(&mut self) {
        for (number, event) in self.scenario.events.clone().iter().enumerate() {
            let at_us = (event.at * 1e6) as u64;
            let of_group = |node: &u32| match &event.group {
                Some(name) => self.place(*node).0 == self.scenario.group(name),
                None => *node != 0,
            };
            let mut some: Vec<u32> = (0..self.nodes() as u32).filter(of_group).collect();
            some.sort_by_key(|node| mix(self.scenario.seed, u64::from(*node), 100 + number as u64));
            some.truncate((some.len() as f64 * event.share).round() as usize);
            let act = match event.kind {
                EventKind::Kill => Act::End(false),
                EventKind::Leave => Act::End(true),
                EventKind::Rebind => Act::Rebind,
                EventKind::Partition => {
                    let mut side = std::vec![false; self.nodes()];
                    some.iter().for_each(|node| side[*node as usize] = true);
                    self.cuts.push(Partition {
                        from_us: at_us,
                        until_us: (event.until * 1e6) as u64,
                        side,
                    });
                    continue;
                }
            };
            self.plan
                .extend(some.into_iter().map(|node| (node, at_us, act)));
        }
    }

    /// The group of a node and its place there; the source is node 0 and belongs to none.
    pub fn place(&self, node: u32) -> (Option<usize>, usize) {
        let mut index = match (node as usize).checked_sub(1) {
            Some(index) => index,
            None => return (None, 0),
        };
        for (at, group) in self.scenario.groups.iter().enumerate() {
            if index < group.count {
                return (Some(at), index);
            }
            index -= group.count;
        }
        (None, index)
    }

    /// The first nodes of a group.
    pub fn first_of(&self, name: &str, most: usize) -> impl Iterator<Item = u32> {
        let before = |at: usize| {
            1 + self.scenario.groups[..at]
                .iter()
                .map(|g| g.count)
                .sum::<usize>()
        };
        let range = self.scenario.group(name).map_or(0..0, |at| {
            let first = before(at);
            first..first + self.scenario.groups[at].count.min(most)
        });
        range.map(|node| node as u32)
    }

    /// What happens when, from the beginning.
    pub fn plan(&self) -> &[(u32, u64, Act)] {
        &self.plan
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Where everybody is.
    pub fn geography(&self) -> &Geography {
        &self.geography
    }

    /// Who is cut off when.
    pub fn cuts(&self) -> &[Partition] {
        &self.cuts
    }

    /// Nodes in all.
    pub fn nodes(&self) -> usize {
        self.scenario.nodes()
    }

    /// Seed of everything.
    pub fn seed(&self) -> u64 {
        self.scenario.seed
    }

    /// The stream's public key.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Seed of the stream's secret key.
    pub fn signing_seed(&self) -> [u8; 32] {
        *blake3::hash(&mix(self.scenario.seed, 1, 1).to_be_bytes()).as_bytes()
    }

    /// Whether a node is to be told about.
    pub fn traces(&self, node: u32) -> bool {
        self.trace == Some(node)
    }
}

/// What a thread came to; its panic is this one's.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = "
about = 'somebody and the source'
seconds = 2
[stream]
bitrate_kbps = 100
[network]
[[group]]
name = 'homes'
count = 1
role = 'listener'
";

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_shard_that_panics_ends_the_run() {
        let mut world = World::new(Scenario::parse(PAIR).unwrap(), None);
        let nobody = world.nodes() as u32;
        world.plan.push((nobody, 500_000, Act::End(false)));
        world.run(2);
    }
}
