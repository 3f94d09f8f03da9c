//! What the process holds beside the engine's pools: every table of the driver is a row of the plan.

use super::config::{Config, Task};
use super::inbox;
use super::journal;
use super::launch::http_tasks;
use super::lobby;
use super::server;
use super::sheet;
use super::uplinks;
use super::view::Seat;
use super::viewers;
use super::vitals::Vitals;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// What is not on the heap: code and constants that are used, as measured (docs/MEMORY.md), the stack, and that of the
/// thread that looks names up.
pub const PROGRAM_BYTES: usize = CODE_BYTES + STACK_BYTES + NAMES_BYTES;
pub(super) const CODE_BYTES: usize = match cfg!(target_env = "gnu") {
    // It is optimised for speed, and the C library is a file of its own beside it.
    true => 3_904 << 10,
    false => BOARD_CODE_BYTES,
};
pub(super) const BOARD_CODE_BYTES: usize = 1_280 << 10;
const STACK_BYTES: usize = 128 << 10;
const NAMES_BYTES: usize = 64 << 10;

/// Heap of the driver besides its tables: settings, tasks, log lines, and what the allocator itself needs.
const DRIVER_BYTES: usize = 48 << 10;

/// What a source holds before its stream is described, and the scanner's buffers.
const SOURCE_BYTES: usize = 512 << 10;

/// What a serial line holds: frames on their way out and in, a console's screen.
const LINE_BYTES: usize = 16 << 10;

/// One row of the plan.
pub struct Pool {
    /// Name.
    pub name: &'static str,
    /// How many.
    pub count: usize,
    /// Bytes each.
    pub each_bytes: usize,
    /// What the count follows from.
    pub why: String,
}

fn pool(name: &'static str, count: usize, each_bytes: usize, why: impl Into<String>) -> Pool {
    let why = why.into();
    Pool {
        name,
        count,
        each_bytes,
        why,
    }
}

/// What is planned besides the engine's own pools, with room for so many players.
pub fn driver_pools(config: &Config, players: u16) -> Vec<Pool> {
    let (tasks, sheet) = (http_tasks(players), sheet::room_bytes(players));
    let (players, spare) = (usize::from(players), server::SPARE_TASKS);
    let ways = config.bind.len();
    let mut pools = vec![
        pool(
            "connections",
            tasks,
            server::TASK_BYTES,
            format!("{players} players + {spare} for pages"),
        ),
        pool(
            "requests",
            tasks,
            server::REQUEST_BYTES,
            format!("one for each of {tasks} connections, until it is answered"),
        ),
        pool(
            "seats",
            players + 1,
            size_of::<Option<Seat>>(),
            format!("who {players} players are, and standard output"),
        ),
        pool(
            "sheet",
            1,
            sheet,
            "what players in step are given, in one piece",
        ),
        pool(
            "inbox",
            ways,
            inbox::room_bytes(config.offload),
            format!("a message as it comes in, for each of {ways} sockets"),
        ),
    ];
    if ways > 1 {
        let why = format!("by which of {ways} sockets a neighbour is reached");
        pools.push(pool("ways", uplinks::ROUTES, uplinks::ROUTE_BYTES, why));
    }
    if !config.serial.is_empty() {
        let lines = config.serial.len();
        pools.push(pool("serial", lines, LINE_BYTES, "one for each line"));
    }
    if let Task::Source(_) = config.task {
        pools.push(pool("input", 1, SOURCE_BYTES, "scanner and first second"));
    }
    pools.extend([
        pool(
            "history",
            1,
            size_of::<Vitals>(),
            "how the line ran: ten minutes, a day",
        ),
        pool(
            "journal",
            journal::MAX_LINES,
            size_of::<journal::Line>(),
            "the last things that happened",
        ),
        pool(
            "lobby",
            lobby::GUESTS,
            lobby::GUEST_BYTES,
            "connections that have said nothing yet",
        ),
        pool(
            "viewers",
            viewers::MAX_VIEWERS,
            viewers::SEAT_BYTES,
            "who may watch the page change",
        ),
    ]);
    let rest = "tasks, settings, log lines".to_string();
    pools.push(pool("driver", 1, DRIVER_BYTES, rest));
    let code = "code, stack; not on the heap".to_string();
    pools.push(pool("program", 1, PROGRAM_BYTES, code));
    pools
}

/// Bytes of [`driver_pools`].
pub fn reserved_bytes(config: &Config, players: u16) -> usize {
    let pools = driver_pools(config, players);
    pools.iter().map(|pool| pool.count * pool.each_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::config::{self, Role};
    use crate::driver::config_file::from_toml;
    use crate::driver::{launch, udp};

    fn relay(toml: &str) -> Config {
        let uri = "weir://a.example:8479/aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
        let toml = format!("streams = [{uri:?}]\n{toml}");
        config::resolve(Role::Relay, &from_toml("f.toml", &toml).unwrap()).unwrap()
    }

    /// `name = SIZE` of the unit, in MiB.
    fn unit_mib(name: &str) -> u64 {
        let unit = include_str!("../../systemd/weir-relay.service");
        let value = unit.lines().find_map(|line| line.strip_prefix(name));
        let mib = value.and_then(|value| value.strip_prefix('=')?.strip_suffix('M'));
        mib.unwrap().parse().unwrap()
    }

    #[test]
    fn the_unit_s_limit_holds_the_plan_and_what_the_kernel_holds_for_it_and_a_quarter_more() {
        let config = relay("");
        let planned = launch::check(&config).unwrap().total_bytes();
        let connections = http_tasks(config.max_players) as u64 * server::KERNEL_BYTES;
        // In and out.
        let socket = 2 * udp::kernel_bytes(u64::MAX);
        let kernel = connections + config.bind.len() as u64 * socket;
        let limit = unit_mib("MemoryMax") << 20;
        let needed = planned + kernel;
        assert!(needed + needed / 4 <= limit, "{needed} of {limit}");
    }

    #[test]
    fn every_table_is_a_row_and_the_heap_gets_all_but_the_program() {
        let config = relay("bind = [\"0.0.0.0:1\", \"0.0.0.0:2\"]");
        let plan = launch::plan(&config);
        let text = plan.to_string();
        for name in [
            "connections",
            "requests",
            "seats",
            "sheet",
            "inbox",
            "ways",
            "history",
            "journal",
            "lobby",
            "viewers",
            "driver",
            "program",
        ] {
            let row = text
                .lines()
                .find(|line| line.trim_start().starts_with(name));
            assert!(row.is_some(), "{name}: {text}");
        }
        assert!(plan.total_bytes() <= config.memory_bytes);
        let heap = launch::heap_bytes(&plan) as u64;
        assert_eq!(heap + PROGRAM_BYTES as u64, plan.total_bytes());
    }
}
