//! A scenario: a file one can read and write. Rates of upload and download are in stream rates, times in seconds, delays in ms.

use super::liar::Lie;
use super::network::Network;
use serde::Deserialize;
use std::string::{String, ToString};
use std::vec::Vec;

/// One scenario; `docs/SIMULATION.md` explains each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a line.
    pub about: String,
    /// Seed of everything that is random.
    #[serde(default = "one")]
    pub seed: u64,
    /// Compared by CI: short enough for that.
    #[serde(default)]
    pub ci: bool,
    /// Length.
    pub seconds: u64,
    /// Everything is counted from here on.
    #[serde(default)]
    pub measure_from: u64,
    /// The programme.
    pub stream: Stream,
    /// The node that signs it.
    #[serde(default)]
    pub source: Origin,
    /// The net between the nodes.
    #[serde(default)]
    pub network: Network,
    /// Everybody else.
    #[serde(rename = "group")]
    pub groups: Vec<Group>,
    /// What happens.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
    /// What must come out.
    #[serde(default)]
    pub expect: Expect,
    /// Something done wrong on purpose, to see that it is found.
    #[serde(skip)]
    pub fault: Option<Fault>,
}

/// What can be done wrong on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A byte of what players are given is changed now and then.
    FlippedByte,
    /// Nodes are told a higher upload limit than they are held to.
    GreedyNodes,
}

/// The programme.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Media rate.
    pub bitrate_kbps: u64,
    /// Data chunks a block; the source's own choice if left out.
    pub k: Option<u8>,
    /// Parity chunks a block; see `k`.
    pub m: Option<u8>,
    /// How often a group is closed; see `k`.
    pub group_ms: Option<u16>,
    /// How often media comes out of the encoder.
    #[serde(default = "piece_ms")]
    pub piece_ms: u64,
    /// Media a viewer wants before playing begins.
    #[serde(default = "prebuffer_ms")]
    pub prebuffer_ms: u64,
    /// Media a node hands a player at once.
    #[serde(default = "burst_ms")]
    pub burst_ms: u64,
    /// How long a missing block is waited for.
    #[serde(default = "window_ms")]
    pub window_ms: u64,
    /// Stripes taken beyond those that suffice.
    #[serde(default = "spare")]
    pub spare: u8,
}

/// The source.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Origin {
    /// Its upload limit.
    pub upload: f64,
    /// Most neighbours it feeds.
    pub max_children: usize,
    /// Its ring.
    pub ring_kib: usize,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            upload: 2.5,
            max_children: 16,
            ring_kib: 2_048,
        }
    }
}

/// What a group of nodes does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupRole {
    /// Forwards, plays nothing.
    Relay,
    /// Plays.
    Listener,
}

/// What stands between a node and the net.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nat {
    /// Nothing.
    #[default]
    Open,
    /// A mapping that anybody may use once there is one (RFC 4787: endpoint-independent filtering).
    Cone,
    /// A mapping that only those may use to whom something was sent (RFC 4787: address-dependent filtering).
    Restricted,
}

/// How nodes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Departure {
    /// Without a word.
    #[default]
    Crash,
    /// With a Bye.
    Leave,
    /// Every other one with a Bye.
    Either,
}

/// Nodes of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name, for events.
    pub name: String,
    /// How many.
    pub count: usize,
    /// What they do.
    pub role: GroupRole,
    /// `[share, limit]` pairs: this share of the group has this upload limit. Shares add up to 1.
    #[serde(default = "unlimited")]
    pub upload: Vec<[f64; 2]>,
    /// What the line carries towards the node; 0: anything.
    #[serde(default)]
    pub downlink: f64,
    /// What the line carries away from it, as a multiple of its limit, two stream rates at least; 0: anything.
    #[serde(default = "uplink_over_limit")]
    pub uplink_over_limit: f64,
    /// NAT.
    #[serde(default)]
    pub nat: Nat,
    /// Ring of each node.
    #[serde(default = "ring_kib")]
    pub ring_kib: usize,
    /// Most neighbours fed.
    #[serde(default = "max_children")]
    pub max_children: usize,
    /// The first joins at this time...
    #[serde(default)]
    pub join_at: f64,
    /// ...and the others, evenly, over so long.
    #[serde(default)]
    pub join_over: f64,
    /// Mean lifetime (exponential); 0: for ever.
    #[serde(default)]
    pub life: f64,
    /// How they go then.
    #[serde(default)]
    pub departure: Departure,
    /// After that another takes the place; negative: nobody does.
    #[serde(default = "one_second")]
    pub replaced_after: f64,
    /// Lies, if they do.
    pub lie: Option<Lie>,
    /// When that begins.
    #[serde(default)]
    pub lie_from: f64,
    /// Groups whose first members stand in the URI beside the source; `["source"]` is always there.
    #[serde(default)]
    pub bootstrap: Vec<String>,
}

/// What happens to some.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: f64,
    /// What.
    pub kind: EventKind,
    /// To whom; everybody but the source if left out.
    pub group: Option<String>,
    /// To how many of them.
    #[serde(default = "whole")]
    pub share: f64,
    /// When a partition heals or a stop ends.
    #[serde(default)]
    pub until: f64,
}

/// See [`Event`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// They crash at once, and nobody takes their place.
    Kill,
    /// They leave with a Bye.
    Leave,
    /// They are cut off from all others.
    Partition,
    /// Their public address changes.
    Rebind,
}

/// What must come out; a limit left out is not looked at. `docs/SIMULATION.md` says how each is measured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Continuity index over all listeners, at least.
    pub continuity: Option<f64>,
    /// Lag, 99th percentile, s, at most.
    pub lag_p99: Option<f64>,
    /// Lag in the last ten seconds, 99th percentile, s, at most.
    pub lag_end_p99: Option<f64>,
    /// Start-up, 99th percentile, s, at most.
    pub startup_p99: Option<f64>,
    /// Share of the joined that are playing within five seconds, at least.
    pub playing_in_5s: Option<f64>,
    /// Longest pause of anybody's output once it has played for a while, s, at most.
    pub longest_pause: Option<f64>,
    /// Source upload in stream rates, most in any second, at most.
    pub source_upload: Option<f64>,
    /// Datagrams the source receives in any second, at most.
    pub source_requests: Option<u64>,
    /// Control bytes sent per stream byte, 99th percentile over nodes, at most.
    pub control_p99: Option<f64>,
    /// The same, on the mean.
    pub control_mean: Option<f64>,
    /// Chunks that were there already, of all that came, at most.
    pub duplicates: Option<f64>,
}

impl Scenario {
    /// Reads a scenario; the error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = basic_toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        if self.seconds == 0 || self.stream.bitrate_kbps == 0 {
            return Err("seconds and stream.bitrate_kbps must not be 0".into());
        }
        for group in &self.groups {
            let sum: f64 = group.upload.iter().map(|[share, _]| share).sum();
            if (sum - 1.0).abs() > 1e-6 {
                return Err(std::format!(
                    "group {}: shares of upload add up to {sum}",
                    group.name
                ));
            }
            let unknown = group
                .bootstrap
                .iter()
                .find(|name| self.group(name).is_none());
            if let Some(name) = unknown.filter(|name| *name != "source") {
                return Err(std::format!(
                    "group {}: no group is called {name}",
                    group.name
                ));
            }
        }
        let unknown = self.events.iter().filter_map(|event| event.group.as_ref());
        match unknown.into_iter().find(|name| self.group(name).is_none()) {
            Some(name) => Err(std::format!("event: no group is called {name}")),
            None => Ok(()),
        }
    }

    /// Place of a group.
    pub fn group(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name == name)
    }

    /// Media bits a second.
    pub fn bitrate_bps(&self) -> u64 {
        self.stream.bitrate_kbps * 1_000
    }

    /// Nodes in all, the source counted.
    pub fn nodes(&self) -> usize {
        1 + self.groups.iter().map(|group| group.count).sum::<usize>()
    }

    /// Makes all groups larger or smaller, so that there are about so many nodes.
    pub fn scale(&mut self, nodes: usize) {
        let now = self.nodes() - 1;
        for group in &mut self.groups {
            group.count = (group.count * nodes).div_ceil(now.max(1)).max(1);
        }
    }
}

impl Group {
    /// Upload limit of one member, bits a second; the shares are met as exactly as the count allows, in no pattern.
    pub fn upload_limit_bps(&self, member: usize, bitrate_bps: u64) -> Option<u64> {
        // The golden ratio spreads members evenly over [0, 1) (Weyl 1916).
        let quantile = (member as f64 * 0.618_033_988_749_894_9).fract();
        let mut sum = 0.0;
        let found = self.upload.iter().find(|[share, _]| {
            sum += share;
            quantile < sum
        });
        let [_, rates] = found.or(self.upload.last())?;
        rates
            .is_finite()
            .then_some((rates * bitrate_bps as f64) as u64)
    }
}

fn one() -> u64 {
    1
}
fn piece_ms() -> u64 {
    50
}
fn prebuffer_ms() -> u64 {
    500
}
fn burst_ms() -> u64 {
    2_000
}
fn window_ms() -> u64 {
    4_000
}
fn spare() -> u8 {
    1
}
fn unlimited() -> Vec<[f64; 2]> {
    [[1.0, f64::INFINITY]].to_vec()
}
fn uplink_over_limit() -> f64 {
    1.25
}
fn ring_kib() -> usize {
    1_024
}
fn max_children() -> usize {
    32
}
fn one_second() -> f64 {
    1.0
}
fn whole() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "about = 'x'\nseconds = 5\n[stream]\nbitrate_kbps = 64\n[[group]]\nname = 'homes'\ncount = 900\nrole = 'listener'\nupload = [[0.34, 0.0], [0.66, 2.25]]\n";

    #[test]
    fn shares_of_upload_are_met() {
        let scenario = Scenario::parse(SMALL).unwrap();
        let limits = (0..900).map(|i| scenario.groups[0].upload_limit_bps(i, 64_000));
        let none = limits.clone().filter(|limit| *limit == Some(0)).count();
        assert!((300..=312).contains(&none), "{none}");
        assert!(limits.flatten().all(|limit| limit == 0 || limit == 144_000));
    }

    #[test]
    fn mistakes_are_named() {
        let complaint = |text: &str| Scenario::parse(text).unwrap_err();
        assert!(complaint(&SMALL.replace("0.66", "0.5")).contains("add up"));
        assert!(complaint(&SMALL.replace("role", "rule")).contains("rule"));
        let event = "[[event]]\nat = 1.0\nkind = 'kill'\ngroup = 'house'\n";
        assert!(complaint(&[SMALL, event].concat()).contains("house"));
    }

    #[test]
    fn scaling_keeps_the_proportions() {
        let mut scenario = Scenario::parse(SMALL).unwrap();
        scenario.scale(90);
        assert_eq!(scenario.nodes(), 91);
    }
}
