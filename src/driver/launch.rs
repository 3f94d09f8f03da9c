//! From the configuration to a node with all its memory, and the plan that says how much that is.

use super::config::{Config, Task};
use super::failure::Failure;
use super::keyfile;
use super::plan::Plan;
use super::server;
use crate::memory;
use crate::proto::budget::Sizes;
use crate::proto::config::{NodeConfig, Role};
use crate::proto::node::Node;
use crate::time::{Instant, Span};
use std::vec::Vec;

/// What is not a pool: code, stack, tables of the allocator and of readiness, log lines.
const PROGRAM_BYTES: usize = 3 << 19;

/// The least ring worth having: 16 s of a talk programme.
const MIN_RING_BYTES: usize = 128 << 10;

/// What a source holds before its stream is described, and the scanner's buffers.
const SOURCE_BYTES: usize = 512 << 10;

/// The streams of a configuration and what this node is to them.
pub fn streams(config: &Config, own_key: Option<[u8; 32]>) -> Vec<([u8; 32], Role)> {
    match &config.task {
        Task::Source(_) => own_key.map(|key| (key, Role::Source)).into_iter().collect(),
        Task::Relay(streams) => streams.iter().map(|s| (s.key, Role::Relay)).collect(),
        Task::Listen(stream) => [(stream.key, Role::Listener)].into(),
    }
}

/// Tasks that attend to HTTP connections.
pub fn http_tasks(config: &Config) -> usize {
    usize::from(config.max_players) + server::SPARE_TASKS
}

/// The sizes of the node's pools: what the budget leaves goes to the rings.
pub fn sizes(config: &Config) -> Sizes {
    let streams = match &config.task {
        Task::Relay(streams) => streams.len(),
        Task::Source(_) | Task::Listen(_) => 1,
    };
    let sources = usize::from(matches!(config.task, Task::Source(_)));
    // Standard output is one player more.
    let stdout = usize::from(matches!(config.task, Task::Listen(_)));
    let players = usize::from(config.max_players) + stdout;
    let budget = usize::try_from(config.memory_bytes).unwrap_or(usize::MAX);
    Sizes::new(streams, sources, usize::from(config.max_children), players)
        .fill(budget, reserved_bytes(config))
}

fn reserved_bytes(config: &Config) -> usize {
    let source = match config.task {
        Task::Source(_) => SOURCE_BYTES,
        _ => 0,
    };
    PROGRAM_BYTES + http_tasks(config) * server::TASK_BYTES + source
}

/// Every pool of a node with this configuration. Where the budget leaves no ring worth having, the plan has one all the
/// same, and is over the budget.
pub fn plan(config: &Config) -> Plan {
    let mut plan = Plan::default();
    for pool in sizes(config).pools() {
        let each = match pool.name {
            "ring" => pool.each_bytes.max(MIN_RING_BYTES),
            _ => pool.each_bytes,
        };
        plan.add(pool.name, pool.count as u64, each as u64, pool.why);
    }
    let tasks = http_tasks(config) as u64;
    let each = server::TASK_BYTES as u64;
    plan.add("connections", tasks, each, "max-players and 4 for pages");
    if let Task::Source(_) = config.task {
        plan.add("input", 1, SOURCE_BYTES as u64, "scanner and first second");
    }
    plan.add("program", 1, PROGRAM_BYTES as u64, "code, stack, sockets");
    plan
}

/// The node with its streams, and their places in the order of [`streams`].
pub fn node(
    config: &Config,
    now: Instant,
    streams: &[([u8; 32], Role)],
) -> Result<Node<'static>, Failure> {
    let sizes = sizes(config);
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy)
        .map_err(|error| Failure::runtime("the system's random numbers", error))?;
    let secret = keyfile::node_key(config.state.as_deref())?;
    let told = NodeConfig {
        upload_limit_bps: match config.quota_bytes {
            Some(0) => Some(0),
            _ => config.upload_limit_bps,
        },
        delay_target: Some(config.delay_target).filter(|target| *target > Span::ZERO),
        max_children: usize::from(config.max_children),
        spare: config.spare_stripes,
        burst: config.burst,
        window: config.window,
        ..NodeConfig::new(secret, entropy)
    };
    let mut node = Node::new(now, told, memory::node_pools(&sizes));
    for &(key, role) in streams {
        memory::add_stream(&mut node, &sizes, key, role)
            .map_err(|_| Failure::usage("URI", "its key is not a public key"))?;
    }
    Ok(node)
}
