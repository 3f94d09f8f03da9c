//! From the configuration to a node with all its memory, and the plan that says how much that is.

use super::config::{Config, Places, Task};
use super::failure::Failure;
use super::keyfile;
use super::plan::Plan;
use super::pools;
use super::serial_line::{LineRole, MAX_LINES};
use super::server;
use crate::memory;
use crate::proto::budget::Sizes;
use crate::proto::config::{NodeConfig, Role};
use crate::proto::node::Node;
use crate::time::{Instant, Span};
use std::boxed::Box;
use std::format;
use std::string::String;
use std::vec::Vec;

/// The streams of a configuration and what this node is to them.
pub fn streams(config: &Config, own_key: Option<[u8; 32]>) -> Vec<([u8; 32], Role)> {
    match &config.task {
        Task::Source(_) => own_key.map(|key| (key, Role::Source)).into_iter().collect(),
        Task::Relay(streams) => streams.iter().map(|s| (s.key, Role::Relay)).collect(),
        Task::Listen(stream) => [(stream.key, Role::Listener)].into(),
    }
}

/// Tasks that attend to HTTP connections.
pub fn http_tasks(players: u16) -> usize {
    usize::from(players) + server::SPARE_TASKS
}

/// The sizes of the node's pools: what the budget leaves goes to the rings.
pub fn sizes(config: &Config, places: Places) -> Sizes {
    let streams = match &config.task {
        Task::Relay(streams) => streams.len(),
        Task::Source(_) | Task::Listen(_) => 1,
    };
    let sources = usize::from(matches!(config.task, Task::Source(_)));
    // Standard output is one player more.
    let stdout = usize::from(matches!(config.task, Task::Listen(_)));
    let players = usize::from(places.players) + stdout;
    let budget = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
    Sizes::new(streams, sources, usize::from(places.children), players)
        .fill(budget, pools::reserved_bytes(config, places.players))
}

/// Bytes a second that each line carries to another node; none over a console.
fn line_rates(config: &Config) -> [u32; MAX_LINES] {
    let mut rates = [0; MAX_LINES];
    for (rate, line) in rates.iter_mut().zip(&config.serial) {
        if line.role == LineRole::Link {
            *rate = line.bytes_per_s();
        }
    }
    rates
}

/// Every pool of a node with this configuration. Where the budget leaves no ring worth having, the plan has one all the
/// same, and is over the budget.
pub fn plan(config: &Config) -> Plan {
    plan_for(config, config.places())
}

/// The same with room for others.
fn plan_for(config: &Config, places: Places) -> Plan {
    let mut plan = Plan::default();
    for pool in sizes(config, places).pools() {
        plan.add(
            pool.name,
            pool.count as u64,
            pool.each_bytes as u64,
            pool.why.as_str(),
        );
    }
    for pool in pools::driver_pools(config, places.players) {
        plan.add(
            pool.name,
            pool.count as u64,
            pool.each_bytes as u64,
            pool.why,
        );
    }
    plan
}

/// Refuses a plan over the budget, and says what would fit.
pub fn check(config: &Config) -> Result<Plan, Failure> {
    let plan = plan(config);
    plan.within(config.memory_bytes, &fewer(config))?;
    Ok(plan)
}

/// Settings with which the plan would be within the budget.
fn fewer(config: &Config) -> Vec<String> {
    let places = config.places();
    let most = |now: u16, with: &dyn Fn(u16) -> Places| {
        let fits_with = |count| plan_for(config, with(count)).total_bytes() <= config.memory_bytes;
        // Half of what is left between what fits and what does not.
        let (mut good, mut bad) = (fits_with(0).then_some(0)?, now);
        while good + 1 < bad {
            let middle = good.midpoint(bad);
            match fits_with(middle) {
                true => good = middle,
                false => bad = middle,
            }
        }
        Some(good)
    };
    let children = most(places.children, &|children| Places { children, ..places });
    let players = most(places.players, &|players| Places { players, ..places });
    let flags = [("--max-players", players), ("--max-children", children)];
    let flags = flags.into_iter();
    flags
        .filter_map(|(flag, count)| Some(format!("{flag} {}", count?)))
        .collect()
}

/// What the heap may hold of a plan.
pub fn heap_bytes(plan: &Plan) -> usize {
    let bytes = usize::try_from(plan.total_bytes()).unwrap_or(usize::MAX);
    bytes.saturating_sub(pools::PROGRAM_BYTES)
}

/// The node with its streams, and their places in the order of [`streams`].
#[inline(never)] // Or its tables would fill its caller's frame.
pub fn node(
    config: &Config,
    now: Instant,
    streams: &[([u8; 32], Role)],
) -> Result<Box<Node<'static>>, Failure> {
    let sizes = sizes(config, config.places());
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|error| Failure::runtime("the system's random numbers", error))?;
    let secret = keyfile::node_key(config.state.as_deref())?;
    let told = NodeConfig {
        upload_limit_bps: config.forwarding_limit_bps(),
        delay_target: Some(config.delay_target).filter(|target| *target > Span::ZERO),
        max_children: usize::from(config.max_children),
        spare: config.spare_stripes,
        burst: config.burst,
        window: config.window,
        lines: line_rates(config),
        ..NodeConfig::new(secret, entropy)
    };
    let mut node = Box::new(Node::new(now, told, memory::node_pools(&sizes)));
    for &(key, role) in streams {
        memory::add_stream(&mut node, &sizes, key, role)
            .map_err(|_| Failure::usage("URI", "its key is not a public key"))?;
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::config::{self, Role};
    use crate::driver::config_file::from_toml;
    use std::string::ToString;

    const KEY: &str = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";

    fn relay(streams: usize, memory: &str, children: u16, players: u16) -> Config {
        let keys = [KEY, "25ikstgizlq43tzskj6alpy6jb4ypwxfm3fwztclxr6jbhkcwvhq"];
        let uris: Vec<_> = keys[..streams]
            .iter()
            .map(|key| format!("weir://a.example:8479/{key}"))
            .collect();
        let toml = format!(
            "streams = {uris:?}\nmemory = {memory:?}\nmax-children = {children}\nmax-players = {players}\n"
        );
        config::resolve(Role::Relay, &from_toml("f.toml", &toml).unwrap()).unwrap()
    }

    fn refusal(config: &Config) -> Option<String> {
        check(config).err().map(|failure| failure.to_string())
    }

    #[test]
    fn what_a_refusal_names_passes_and_is_the_least() {
        for streams in [1, 2] {
            for children in [0, 1, 7, 32, 333, 1_000] {
                for players in [0, 1, 16, 150, 1_000] {
                    let refused =
                        |memory: &str| refusal(&relay(streams, memory, children, players));
                    let line = refused("1MiB").unwrap();
                    let (_, named) = line.split_once("give it --memory ").unwrap();
                    let named = named.split(' ').next().unwrap();
                    assert_eq!(refused(named), None, "{line}");
                    let named_bytes = relay(streams, named, children, players).memory_bytes;
                    assert!(
                        refused(&format!("{}B", named_bytes - 1_024)).is_some(),
                        "{line}"
                    );
                }
            }
        }
    }

    #[test]
    fn fewer_children_or_players_that_a_refusal_names_pass() {
        let memory = format!("{}KiB", (pools::PROGRAM_BYTES >> 10) + 1_600);
        let refused = |children, players| refusal(&relay(1, &memory, children, players));
        let line = refused(1_000, 100).unwrap();
        let named = |flag: &str| -> u16 {
            let (_, rest) = line.split_once(flag).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        let (players, children) = (named("--max-players "), named("--max-children "));
        assert_eq!(refused(1_000, players), None, "{line}");
        assert_eq!(refused(children, 100), None, "{line}");
        assert!(refused(1_000, players + 1).is_some(), "{line}");
        assert!(refused(children + 1, 100).is_some(), "{line}");
    }
}
