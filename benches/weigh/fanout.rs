//! Fan-out over UDP: relays with children, and loops that send the same to sockets that are read.

use crate::common::{Node, Scratch, random_source};
use crate::table::{Helper, median, per_gb, title};
use crate::usage::Window;
use std::thread;
use std::time::Duration;
use weir::limits::IP_UDP_HEADER_BYTES;

/// How long each figure is taken for, and how often: of ratios the middle one counts.
const WINDOW: Duration = Duration::from_secs(6);
const WINDOWS: usize = 5;

/// A stream, relays, and their children.
pub struct Grid {
    _scratch: Scratch,
    _source: Node,
    source_udp: String,
    pub key: String,
    pub relays: Vec<Node>,
}

impl Grid {
    /// A source at this rate and so many relays below it.
    pub fn start(bps: u64, relays: usize, relay: &[&str]) -> Self {
        let scratch = Scratch::new("weigh");
        let (source, uri, _) = random_source(&scratch, bps, 100_000);
        let key = uri.rsplit('/').next().expect("a key").to_string();
        let common = [
            "--upload-limit",
            "unlimited",
            "--quota",
            "unlimited",
            "--memory",
            "16MiB",
        ];
        let start = |_| {
            let relay = Node::start(&[&["relay", &uri][..], &common, relay].concat());
            relay.wait_until("described", |status| status["streams"][0]["k"] != 0);
            relay
        };
        let relays = (0..relays).map(start).collect();
        let source_udp = source.udp.to_string();
        Self {
            _scratch: scratch,
            _source: source,
            source_udp,
            key,
            relays,
        }
    }
}

/// What was measured of something that sends.
struct Figure {
    cpu: Duration,
    wall: Duration,
    bytes: u64,
    datagrams: u64,
    /// Messages with chunks, as their receivers count them.
    bursts: u64,
}

impl Figure {
    fn per_gb(&self) -> f64 {
        per_gb(self.cpu, self.bytes)
    }

    /// Several windows as one.
    fn sum<'a>(all: impl Iterator<Item = &'a Figure>) -> Self {
        let none = Self {
            cpu: Duration::ZERO,
            wall: Duration::ZERO,
            bytes: 0,
            datagrams: 0,
            bursts: 0,
        };
        all.fold(none, |sum, one| Self {
            cpu: sum.cpu + one.cpu,
            wall: sum.wall + one.wall,
            bytes: sum.bytes + one.bytes,
            datagrams: sum.datagrams + one.datagrams,
            bursts: sum.bursts + one.bursts,
        })
    }

    fn print(&self, name: &str, ratios: &str) {
        let (mb, cpu) = (
            self.bytes as f64 / self.wall.as_secs_f64() / 1e6,
            self.cpu.as_secs_f64() / self.wall.as_secs_f64(),
        );
        println!(
            "{name:<34} {mb:>8.1} {:>9.0} {:>7.2} {:>9.3}{ratios}",
            self.bytes as f64 / self.datagrams.max(1) as f64,
            cpu * 100.0,
            self.per_gb()
        );
    }
}

fn sent(relays: &[Node]) -> (u64, u64) {
    let of = |relay: &Node| {
        let status = relay.status();
        let datagrams = status["datagrams"]["tx_total"]
            .as_u64()
            .or(status["tx_datagrams_total"].as_u64())
            .unwrap_or(0);
        let bytes = status["upload"]["bytes_total"].as_u64().unwrap_or(0);
        (bytes - datagrams * IP_UDP_HEADER_BYTES as u64, datagrams)
    };
    relays
        .iter()
        .map(of)
        .fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
}

/// So many, fed by all relays of a grid.
pub fn children(count: usize, grid: &Grid) -> Helper {
    let count_text = count.to_string();
    let parents: Vec<String> = grid
        .relays
        .iter()
        .map(|relay| relay.udp.to_string())
        .collect();
    let parents: Vec<&str> = parents.iter().map(String::as_str).collect();
    let helper = Helper::start(&[&["children", &count_text, &grid.key][..], &parents].concat());
    let all = helper.wait_for(60, |line| line.split(' ').next() == Some(&count_text));
    if all.is_none() {
        println!("(not all children are fed: {:?})", helper.numbers());
    }
    // What is moved at the beginning has been moved.
    thread::sleep(Duration::from_secs(5));
    helper
}

fn measure(grid: &Grid, children: &Helper, time: Duration) -> Figure {
    let before = sent(&grid.relays);
    let counted = |at| children.numbers().get(at).copied().unwrap_or(0);
    let [gaps, bursts] = [2, 3].map(counted);
    let pids: Vec<u32> = grid.relays.iter().map(|relay| relay.child.id()).collect();
    let window = Window::open(&pids);
    thread::sleep(time);
    let (cpu, wall) = window.close();
    let after = sent(&grid.relays);
    let gaps = counted(2) - gaps;
    if gaps > 0 {
        println!("(children skipped {gaps} times)");
    }
    Figure {
        cpu,
        wall,
        bytes: after.0 - before.0,
        datagrams: after.1 - before.1,
        bursts: counted(3) - bursts,
    }
}

/// A loop that sends the same, to sockets that are read, while it lives.
struct Bare {
    name: &'static str,
    _sink: Helper,
    helper: Helper,
    bytes: u64,
    per_second: f64,
}

fn bare(method: &'static str, like: &Figure, children: usize, pace_ms: f64) -> Bare {
    let sink = Helper::start(&["sink", &children.to_string()]);
    let ports = sink.wait_for(10, |_| true).expect("a sink");
    let bytes = like.bytes / like.datagrams.max(1);
    let per_second = like.datagrams as f64 / like.wall.as_secs_f64() / children as f64;
    let settings = [
        bytes.to_string(),
        format!("{per_second:.1}"),
        pace_ms.to_string(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let ports: Vec<&str> = ports.split(' ').collect();
    let helper = Helper::start(&[&["bare-udp", method][..], &settings, &ports].concat());
    Bare {
        name: method,
        _sink: sink,
        helper,
        bytes,
        per_second: per_second * children as f64,
    }
}

/// One window: the loops, and what they are compared with.
struct Round {
    loops: Vec<Figure>,
    ours: Figure,
}

impl Round {
    fn take(loops: &[Bare], grid: &Grid, children: &Helper) -> Self {
        let windows: Vec<Window> = loops
            .iter()
            .map(|bare| Window::open(&[bare.helper.pid()]))
            .collect();
        let ours = measure(grid, children, WINDOW);
        let figure = |(bare, window): (&Bare, &Window)| {
            let (cpu, wall) = window.close();
            let datagrams = (bare.per_second * wall.as_secs_f64()) as u64;
            Figure {
                cpu,
                wall,
                bytes: datagrams * bare.bytes,
                datagrams,
                bursts: 0,
            }
        };
        let loops = loops.iter().zip(&windows).map(figure).collect();
        Self { loops, ours }
    }

    fn to_best(&self) -> f64 {
        let each = self.loops.iter().map(Figure::per_gb);
        self.ours.per_gb() / each.fold(f64::INFINITY, f64::min)
    }

    fn to_sendto(&self) -> f64 {
        self.ours.per_gb() / self.loops[0].per_gb()
    }
}

/// Relays with children and the bare loops beside them, all at the same time, so that they share whatever else the machine does.
fn compare(name: &str, bps: u64, relays: usize, count: usize) {
    let grid = Grid::start(bps, relays, &["--max-children", "600"]);
    let children_helper = children(count, &grid);
    let like = measure(&grid, &children_helper, WINDOW);
    let (ms, receivers) = (like.wall.as_secs_f64() * 1e3, (count * relays) as f64);
    let pace_ms = ms * receivers / like.bursts.max(1) as f64;
    println!("(a receiver is sent chunks every {pace_ms:.1} ms)");
    let loops = ["sendto", "sendmmsg", "gso", "gso gathered"]
        .map(|method| bare(method, &like, count * relays, pace_ms));
    thread::sleep(Duration::from_secs(1));
    let rounds: Vec<Round> = (0..WINDOWS)
        .map(|_| Round::take(&loops, &grid, &children_helper))
        .collect();
    title(
        name,
        "who sends                              MB/s  B/datagr   CPU %  CPU-s/GB   to best  to sendto",
    );
    for (at, bare) in loops.iter().enumerate() {
        let sum = Figure::sum(rounds.iter().map(|round| &round.loops[at]));
        sum.print(&format!("bare {}", bare.name), "");
    }
    let ratios = [Round::to_best, Round::to_sendto].map(|ratio| {
        let each = rounds.iter().map(ratio).collect();
        format!("{:>10.2}", median(each))
    });
    let sum = Figure::sum(rounds.iter().map(|round| &round.ours));
    sum.print("weir relay", &ratios.concat());
    drop(loops);
    println!("{}", probe(&grid));
}

fn probe(grid: &Grid) -> String {
    let relay = grid.relays[0].udp.to_string();
    let helper = Helper::start(&["probe", "8", &grid.key, &grid.source_udp, &relay]);
    match helper.wait_for(40, |_| true).map(|_| helper.numbers()) {
        Some(n) if n.len() == 4 => format!(
            "a chunk comes later through the relay by {:.2} ms (p50), {:.2} ms (p99), {:.2} ms (most) of {}",
            n[0] as f64 / 1e3,
            n[1] as f64 / 1e3,
            n[2] as f64 / 1e3,
            n[3]
        ),
        _ => "the probe was not fed".into(),
    }
}

/// One relay, 100 children, which take 17 stripes of 20 from it.
pub fn hundred() {
    compare(
        "UDP, 4 Mbit/s to 100 children of one relay (17 stripes each)",
        4_000_000,
        1,
        100,
    );
}

/// Three relays, 100 children, which take some 6 stripes from each.
pub fn few_stripes() {
    compare(
        "UDP, 4 Mbit/s to 100 children of three relays (some 6 stripes from each)",
        4_000_000,
        3,
        100,
    );
}

/// What one more child costs.
pub fn many() {
    title(
        "UDP, 1 Mbit/s from one relay",
        "children                               MB/s  B/datagr   CPU %  CPU-s/GB",
    );
    for count in [100, 250, 500] {
        let grid = Grid::start(1_000_000, 1, &["--max-children", "600"]);
        let helper = children(count, &grid);
        measure(&grid, &helper, WINDOW).print(&count.to_string(), "");
    }
}
