//! What a relay holds: a table of its memory with so many receivers, and how flat its heap stays while they come and go.
//!
//! `cargo bench --bench memory` measures the program of this build; `-- --weir PATH` another one, `-- --short` fewer
//! receivers, `-- --churn 10m` the coming and going for so long instead of the table. It fails where a limit is exceeded
//! that holds for every build; those for the small static one it prints.

mod players;
mod process;
mod swarm;

use players::Players;
use process::{DEADLINE, Process, memory_for_ring};
use serde_json::Value;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use swarm::Swarm;
use weir::rng::Rng;

const BITRATE_BPS: u64 = 4_000_000;
const RING_BYTES: u64 = 2 << 20;

/// What has to have come to a receiver before it counts: some seconds of the stream.
const FED_CHUNKS: u64 = 1_000;
const FED_BYTES: u64 = 2_000_000;

/// What the ring takes in before all of it is in use.
const RING_FULL: Duration = Duration::from_secs(6);

fn main() {
    let given = Given::read();
    println!("{}", given.weir.display());
    match given.churn {
        Some(limit) => churn(&given, limit),
        None => table(&given),
    }
}

struct Given {
    weir: PathBuf,
    /// The program that is the source: one for boards cannot be.
    source: PathBuf,
    is_short: bool,
    churn: Option<Duration>,
}

impl Given {
    fn read() -> Self {
        let mut given = Self {
            weir: env!("CARGO_BIN_EXE_weir").into(),
            source: env!("CARGO_BIN_EXE_weir").into(),
            is_short: false,
            churn: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value behind this");
            match word.as_str() {
                "--weir" => given.weir = value().into(),
                "--short" => given.is_short = true,
                "--churn" => given.churn = Some(span(&value())),
                // What cargo adds.
                "--bench" => {}
                other => panic!("{other} is not known; there are --weir, --short, --churn"),
            }
        }
        given
    }
}

/// `90s` or `10m`.
fn span(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        _ => panic!("{text:?}: write 90s or 10m"),
    };
    Duration::from_secs(number.parse::<u64>().unwrap() * seconds)
}

/// A source, and a relay that is measured.
struct Grid {
    relay: Process,
    source: Option<Process>,
    key: [u8; 32],
    name: String,
}

impl Grid {
    fn start(given: &Given, key_file: &str, children: usize, players: usize) -> Self {
        let bitrate = format!("{}Mbit", BITRATE_BPS / 1_000_000);
        let source = Process::start(
            &given.source,
            &[
                "source",
                "--key",
                key_file,
                "--input",
                "-",
                "--bitrate",
                &bitrate,
                "--max-children",
                "1",
            ],
            Some(BITRATE_BPS),
        );
        let memory_kib = memory_for_ring(&given.weir, &source.uri, (children, players), RING_BYTES);
        let (memory, children) = (format!("{memory_kib}KiB"), children.to_string());
        let players = players.to_string();
        let sizes = ["--max-children", &children, "--max-players", &players];
        let arguments = [
            "relay",
            &source.uri,
            "--upload-limit",
            "unlimited",
            "--memory",
            &memory,
        ];
        let relay = Process::start(&given.weir, &[&arguments[..], &sizes].concat(), None);
        let status = relay.status();
        let name = status["streams"][0]["key"].as_str().unwrap().to_string();
        let key = decode(&name);
        Self {
            relay,
            source: Some(source),
            key,
            name,
        }
    }
}

impl Grid {
    /// Lets so many children in, the first alone: once it is fed, the relay has the one place that the source gives, and
    /// the others cannot take it.
    fn begin(&self, swarm: &Swarm, children: usize) {
        swarm.set(children.min(1), false);
        wait("the relay is fed", || swarm.fed(100) == children.min(1));
        swarm.set(children, false);
    }
}

/// Base32 without padding (RFC 4648 section 6).
fn decode(name: &str) -> [u8; 32] {
    let mut key = [0; 32];
    data_encoding::BASE32_NOPAD
        .decode_mut(name.to_uppercase().as_bytes(), &mut key)
        .unwrap();
    key
}

/// A new stream key in a file.
fn key_file(given: &Given) -> String {
    let file = std::env::temp_dir().join(format!("weir-memory-{}.key", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let file = file.to_str().unwrap().to_string();
    let made = std::process::Command::new(&given.weir)
        .args(["keygen", "--out", &file])
        .output();
    assert!(made.unwrap().status.success());
    file
}

/// One row of the table.
struct Row {
    hwm_kib: u64,
    heap_bytes: u64,
}

impl Row {
    /// Takes it from a relay, prints it, and fails where the process holds more than it planned.
    fn of(name: &str, relay: &Process) -> Self {
        let status = relay.status();
        let memory = |field: &str| status["memory"][field].as_u64().unwrap();
        let kib = relay.kib();
        let row = Self {
            hwm_kib: kib["VmHWM"],
            heap_bytes: memory("heap_live_bytes"),
        };
        let planned_kib = memory("planned_bytes") >> 10;
        println!(
            "{name:<34} {:>7} {:>7} {:>7} {:>9} {planned_kib:>8}",
            row.hwm_kib,
            kib["RssAnon"],
            kib["RssFile"],
            row.heap_bytes >> 10,
        );
        assert!(row.hwm_kib <= planned_kib, "more than planned");
        row
    }
}

fn table(given: &Given) {
    let key_file = &key_file(given);
    println!("4 Mbit/s, ring 2 MiB; KiB as /proc/PID/status counts them");
    println!(
        "{:<34} {:>7} {:>7} {:>7} {:>9} {:>8}",
        "", "VmHWM", "anon", "file", "heap", "planned"
    );
    idle(given, key_file);
    let (counts, both): (&[usize], _) = match given.is_short {
        true => (&[1, 20], (20, 5)),
        false => (&[1, 10, 100, 200], (100, 20)),
    };
    let rows = |row: &dyn Fn(usize) -> Row| counts.iter().map(|&n| row(n)).collect::<Vec<_>>();
    let children = rows(&|n| loaded(given, key_file, n, 0));
    let players = rows(&|n| loaded(given, key_file, 0, n));
    loaded(given, key_file, both.0, both.1);
    stalled(given, key_file, both.1);
    given_back(given, key_file);
    let (child, child_heap) = per_receiver(counts, &children);
    let (player, player_heap) = per_receiver(counts, &players);
    println!(
        "each further child:  {child:.2} KiB (at most 2), of them {child_heap:.2} on the heap"
    );
    println!(
        "each further player: {player:.2} KiB (at most 4), of them {player_heap:.2} on the heap"
    );
    // A few receivers are lost among the pages.
    assert!(given.is_short || child <= 2.0 && player <= 4.0);
    let _ = std::fs::remove_file(key_file);
}

/// What lies between the last two rows, for each receiver between them: resident and heap, in KiB.
fn per_receiver(counts: &[usize], rows: &[Row]) -> (f64, f64) {
    let ([.., few, many], [.., less, more]) = (counts, rows) else {
        panic!("there are two rows at least");
    };
    let each = |less: u64, more: u64| (more as f64 - less as f64) / (many - few) as f64;
    let heap = each(less.heap_bytes, more.heap_bytes) / 1_024.0;
    (each(less.hwm_kib, more.hwm_kib), heap)
}

/// A relay with the defaults, whose source is not there.
fn idle(given: &Given, key_file: &str) {
    let grid = Grid::start(given, key_file, 1, 1);
    let uri = format!("weir://127.0.0.1:9/{}", grid.name);
    drop(grid);
    let relay = Process::start(&given.weir, &["relay", &uri], None);
    thread::sleep(Duration::from_secs(3));
    Row::of("idle (at most 1536)", &relay);
}

/// A relay of its own with so many receivers, measured once all have had their share and the ring is full.
fn loaded(given: &Given, key_file: &str, children: usize, players: usize) -> Row {
    let grid = Grid::start(given, key_file, children.max(1), players.max(1));
    let swarm = Swarm::new(grid.key, grid.relay.udp);
    let audience = Players::new(grid.relay.http, &grid.name);
    grid.begin(&swarm, children);
    (0..players).for_each(|_| audience.add(false));
    wait("all are fed", || {
        swarm.fed(FED_CHUNKS) >= children && audience.fed(FED_BYTES) >= players
    });
    thread::sleep(RING_FULL);
    Row::of(
        &format!("{children} children, {players} players"),
        &grid.relay,
    )
}

/// Players that read nothing: what waits for them in the kernel, and that it is gone once they are dropped.
fn stalled(given: &Given, key_file: &str, players: usize) {
    let grid = Grid::start(given, key_file, 1, players);
    let audience = Players::new(grid.relay.http, &grid.name);
    (0..players).for_each(|_| audience.add(true));
    let seated = |status: &Value| status["players"].as_array().unwrap().len();
    grid.relay
        .wait_until("in their places", |status| seated(status) == players);
    let mut most = 0;
    wait("the stalled are dropped", || {
        most = most.max(grid.relay.send_queues());
        seated(&grid.relay.status()) == 0
    });
    Row::of(
        &format!("{players} stalled players, then dropped"),
        &grid.relay,
    );
    let (each, left) = (most / players as u64, grid.relay.send_queues());
    println!(
        "  in the kernel: at most {} KiB each while they stood still, {left} bytes after",
        each >> 10
    );
    assert!(each < 512 << 10 && left == 0);
}

/// The ring goes back when its stream is over.
fn given_back(given: &Given, key_file: &str) {
    let mut grid = Grid::start(given, key_file, 1, 1);
    let audience = Players::new(grid.relay.http, &grid.name);
    audience.add(false);
    wait("it is fed", || audience.fed(FED_BYTES) == 1);
    thread::sleep(RING_FULL);
    let full = grid.relay.kib()["RssAnon"];
    drop(grid.source.take());
    let mut left = full;
    let over = Duration::from_secs(120);
    wait_for(over, "the ring is given back", || {
        left = grid.relay.kib()["RssAnon"];
        left + RING_BYTES / 1_024 / 2 < full
    });
    Row::of("the stream is over", &grid.relay);
    println!("  anonymous pages: {full} KiB with a full ring, {left} KiB after");
}

/// Children and players come, stand still, leave and vanish. Each time all but one are gone, the heap is as it was.
fn churn(given: &Given, limit: Duration) {
    const CHILDREN: usize = 40;
    const PLAYERS: usize = 20;
    let key_file = &key_file(given);
    let grid = Grid::start(given, key_file, CHILDREN + 1, PLAYERS);
    let swarm = Swarm::new(grid.key, grid.relay.udp);
    let audience = Players::new(grid.relay.http, &grid.name);
    let mut rng = Rng::new(7);
    grid.begin(&swarm, 1);
    let (begin, mut rounds, mut first) = (Instant::now(), 0, None);
    println!(
        "{:>6} {:>6} {:>10} {:>10} {:>7} {:>12}",
        "s", "round", "heap busy", "heap alone", "VmRSS", "allocations"
    );
    while begin.elapsed() < limit || rounds < 3 {
        for _ in 0..8 {
            swarm.set(1 + rng.below(CHILDREN as u64) as usize, rng.below(2) == 0);
            audience.keep(rng.below(PLAYERS as u64 / 2) as usize);
            (0..rng.below(PLAYERS as u64 / 2)).for_each(|_| audience.add(rng.below(4) == 0));
            thread::sleep(Duration::from_millis(500 + rng.below(1_500)));
        }
        let busy = live(&grid.relay.status());
        swarm.set(1, false);
        audience.keep(0);
        let alone = grid.relay.wait_until("alone", is_alone);
        rounds += 1;
        let allocations = alone["memory"]["heap_allocations_total"].as_u64().unwrap();
        let rss = grid.relay.kib()["VmRSS"];
        let seconds = begin.elapsed().as_secs();
        println!(
            "{seconds:>6} {rounds:>6} {busy:>10} {:>10} {rss:>7} {allocations:>12}",
            live(&alone)
        );
        // The first round has made what is made once.
        let flat = *first.get_or_insert(live(&alone));
        assert!(live(&alone) <= flat + SLACK_BYTES, "the heap grows");
    }
    let _ = std::fs::remove_file(key_file);
}

/// What a connection more or less at the moment of asking may hold.
const SLACK_BYTES: u64 = 16 << 10;

fn live(status: &Value) -> u64 {
    status["memory"]["heap_live_bytes"].as_u64().unwrap()
}

/// Nobody but the source and the first child is left.
fn is_alone(status: &Value) -> bool {
    let count = |field: &str| status[field].as_array().unwrap().len();
    count("players") == 0 && count("peers") <= 2
}

fn wait(what: &str, good: impl FnMut() -> bool) {
    wait_for(DEADLINE, what, good);
}

fn wait_for(limit: Duration, what: &str, mut good: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !good() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
