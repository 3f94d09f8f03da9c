//! The event loop's turns: how long it is between the end of one wait and the beginning of the next. Needs perf and root.

use crate::common::Scratch;
use crate::fanout::{Grid, children};
use crate::table::title;
use std::process::{Command, Output};

const SECONDS: &str = "10";
const RUNS: usize = 3;
const CHILDREN: usize = 500;

/// One turn, in nanoseconds.
struct Turn {
    /// By the clock.
    wall: u64,
    /// Of these, those in which the thread had a core: its children are on the same cores.
    cpu: u64,
}

/// Prints how long turns are with so many children.
pub fn measure() {
    let grid = Grid::start(1_000_000, 1, &["--max-children", "600"]);
    let _children = children(CHILDREN, &grid);
    title(
        &format!("the event loop's turn, 1 Mbit/s to {CHILDREN} children, in ms"),
        "                   turns     p50     p90     p99    most",
    );
    for _ in 0..RUNS {
        let Some(turns) = watch(grid.relays[0].child.id()) else {
            println!("(perf cannot trace here)");
            return;
        };
        print("by the clock", turns.iter().map(|turn| turn.wall));
        print("on a core", turns.iter().map(|turn| turn.cpu));
    }
}

fn print(what: &str, of: impl Iterator<Item = u64>) {
    let mut all: Vec<u64> = of.collect();
    all.sort_unstable();
    let at = |percent: usize| {
        let last = all.len().saturating_sub(1);
        all.get((all.len() * percent / 100).min(last)).copied()
    };
    let ms = [50, 90, 99, 100].map(|percent| at(percent).unwrap_or(0) as f64 / 1e6);
    let [p50, p90, p99, most] = ms;
    let count = all.len();
    println!("{what:<16} {count:>7} {p50:>7.2} {p90:>7.2} {p99:>7.2} {most:>7.2}");
}

/// The turns of a thread for a while, from the kernel's trace of its waits and of who has a core when.
fn watch(thread: u32) -> Option<Vec<Turn>> {
    let scratch = Scratch::new("weigh-turns");
    let file = scratch.path("trace");
    let (waits, switches) = (
        format!("common_pid=={thread}"),
        format!("prev_pid=={thread} || next_pid=={thread}"),
    );
    let mut record = vec!["record", "-q", "-a", "-m", "4M", "-o", &file];
    for (event, filter) in [
        ("syscalls:sys_exit_epoll_pwait", &waits),
        ("syscalls:sys_enter_epoll_pwait", &waits),
        ("sched:sched_switch", &switches),
    ] {
        record.extend(["-e", event, "--filter", filter]);
    }
    perf(&[&record[..], &["sleep", SECONDS]].concat())?;
    let text = perf(&["script", "--ns", "-F", "time,event,trace", "-i", &file])?;
    let mut lines: Vec<(u64, String)> = String::from_utf8_lossy(&text.stdout)
        .lines()
        .filter_map(line)
        .collect();
    lines.sort_unstable();
    Some(turns(&lines, &format!("prev_pid={thread} ")))
}

fn perf(arguments: &[&str]) -> Option<Output> {
    let output = Command::new("perf").args(arguments).output().ok()?;
    output.status.success().then_some(output)
}

/// `seconds.nanoseconds: event: what`.
fn line(text: &str) -> Option<(u64, String)> {
    let (time, what) = text.trim().split_once(": ")?;
    let (s, ns) = time.split_once('.')?;
    let at = s.parse::<u64>().ok()? * 1_000_000_000 + ns.parse::<u64>().ok()?;
    Some((at, what.to_string()))
}

fn turns(lines: &[(u64, String)], leaves: &str) -> Vec<Turn> {
    let mut turns = Vec::new();
    let (mut began, mut left, mut away) = (None, None, 0);
    for (at, what) in lines {
        if what.contains("sys_exit_epoll_pwait") {
            (began, left, away) = (Some(*at), None, 0);
        } else if what.contains("sys_enter_epoll_pwait") {
            turns.extend(began.take().map(|began| Turn {
                wall: at - began,
                cpu: at - began - away,
            }));
        } else if what.contains(leaves) {
            left = Some(*at);
        } else if let Some(left) = left.take() {
            away += at - left;
        }
    }
    turns
}
