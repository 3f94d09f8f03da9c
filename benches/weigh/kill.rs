//! Twenty real processes, of which parents are killed: how long the output pauses, how long one who holds a second of it stands still,
//! and what is missing.

use crate::common::{Node, Scratch};
use crate::table::title;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const NODES: usize = 20;
const BPS: u64 = 1_000_000;
const KILLS: usize = 20;

/// What a player that connects gets at once, and so holds.
const BURST: Duration = Duration::from_secs(1);

/// How long the output is watched before and after a kill.
const WATCHED: Duration = Duration::from_secs(4);

/// Between the coming of a new node and the next kill.
const SETTLED: Duration = Duration::from_secs(4);

/// Settings of the source and of the others: as they come, and so that every node feeds as many as it may.
struct Settings {
    source: &'static [&'static str],
    others: &'static [&'static str],
}

const USUAL: Settings = Settings {
    source: &[],
    others: &[],
};

const TIGHT: Settings = Settings {
    source: &["--max-children", "3"],
    others: &["--max-children", "6", "--upload-limit", "3Mbit"],
};

/// One parent of a listener at a time.
pub fn one() {
    strike("one parent killed", 1, USUAL);
}

/// The same where places are short.
pub fn tight() {
    strike("one parent killed, six children each", 1, TIGHT);
}

/// Two parents of one listener at once.
pub fn several() {
    strike("two parents of one listener killed at once", 2, USUAL);
}

fn strike(what: &str, count: usize, settings: Settings) {
    let mut grid = Grid::start(settings);
    let mut pauses = Pauses::default();
    for round in 0..KILLS {
        thread::sleep(SETTLED);
        let begin = Instant::now();
        thread::sleep(WATCHED);
        pauses.calm.extend(grid.pauses(begin).map(|(raw, _)| raw));
        let (killed, fed) = grid.kill_parents(round, count);
        thread::sleep(WATCHED);
        for member in &grid.members {
            let (raw, stall) = member.player.pause(killed);
            match fed.contains(&member.node.udp.to_string()) {
                true => pauses.note(raw, stall),
                false => pauses.others.push(raw),
            }
        }
        grid.refill();
    }
    let missing: u64 = grid.members.iter().map(Member::missing).sum();
    title(
        &format!("{what}: {NODES} processes, {BPS} bit/s, {KILLS} times"),
        "output pauses, ms             p50     p90    most   count",
    );
    for (name, pauses) in [
        ("before, everybody", &mut pauses.calm),
        ("after, whom they fed", &mut pauses.raw),
        ("after, the others", &mut pauses.others),
        ("a player stands still", &mut pauses.stalls),
    ] {
        pauses.sort_unstable();
        let at = |share: usize| {
            let place = (pauses.len() * share / 100).min(pauses.len().saturating_sub(1));
            pauses.get(place).map_or(0, Duration::as_millis)
        };
        println!(
            "{name:<25} {:>7} {:>7} {:>7} {:>7}",
            at(50),
            at(90),
            at(100),
            pauses.len()
        );
    }
    let over = pauses
        .raw
        .iter()
        .filter(|raw| raw.as_millis() > 300)
        .count();
    println!(
        "{over} of {} pauses over 300 ms; {missing} bytes missing",
        pauses.raw.len()
    );
}

/// Longest pauses of the output, and for how long one who had a second in hand had nothing to play.
#[derive(Default)]
struct Pauses {
    calm: Vec<Duration>,
    raw: Vec<Duration>,
    others: Vec<Duration>,
    stalls: Vec<Duration>,
}

impl Pauses {
    fn note(&mut self, raw: Duration, stall: Duration) {
        self.raw.push(raw);
        self.stalls.push(stall);
    }
}

struct Member {
    node: Node,
    player: Player,
}

impl Member {
    fn start(uri: &str, settings: &[&str]) -> Self {
        let node = Node::start(&[&["listen", uri, "--burst", "1s"][..], settings].concat());
        let player = Player::of(&node, uri);
        Self { node, player }
    }

    /// Bytes that were left out.
    fn missing(&self) -> u64 {
        let status = self.node.status();
        assert!(
            self.player.is_exact(),
            "what was heard is not what was sent"
        );
        status["streams"][0]["missing_bytes_total"]
            .as_u64()
            .unwrap_or(0)
    }

    /// Who feeds it, but for the source, those that feed most first.
    fn parents(&self, source: &str) -> Vec<String> {
        let status = self.node.status();
        let mut parents: Vec<(u64, String)> = peers(&status, "stripes_from")
            .into_iter()
            .filter(|(_, address)| address != source)
            .collect();
        parents.sort_unstable();
        parents
            .into_iter()
            .rev()
            .map(|(_, address)| address)
            .collect()
    }
}

/// Neighbours with whom stripes are shared, as `stripes_from` or `stripes_to` say.
fn peers(status: &serde_json::Value, way: &str) -> Vec<(u64, String)> {
    let peers = status["peers"].as_array().into_iter().flatten();
    let shared = peers.filter_map(|peer| {
        let stripes = peer[way].as_u64().filter(|&count| count > 0)?;
        Some((stripes, peer["address"].as_str()?.to_string()))
    });
    shared.collect()
}

/// A source, and listeners who know only it.
struct Grid {
    settings: Settings,
    source: Node,
    uri: String,
    members: Vec<Member>,
    _scratch: Scratch,
}

impl Grid {
    fn start(settings: Settings) -> Self {
        let scratch = Scratch::new("kill");
        let key = scratch.key("one");
        let usual = [
            "source",
            "--key",
            &key,
            "--input",
            "-",
            "--bitrate",
            "1Mbit",
        ];
        let mut source = Node::start(&[&usual[..], settings.source].concat());
        let uri = source.first_line();
        source.feed(feed);
        let mut grid = Self {
            settings,
            source,
            uri,
            members: Vec::new(),
            _scratch: scratch,
        };
        grid.refill();
        grid
    }

    /// Brings it to its size, and waits until everybody plays.
    fn refill(&mut self) {
        while self.members.len() + 1 < NODES {
            self.members
                .push(Member::start(&self.uri, self.settings.others));
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.members.iter().all(|member| member.player.plays()) {
            assert!(Instant::now() < deadline, "somebody does not play");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn pauses(&self, since: Instant) -> impl Iterator<Item = (Duration, Duration)> {
        self.members
            .iter()
            .map(move |member| member.player.pause(since))
    }

    /// Kills parents of the first listener, from `turn` on, that has so many. When, and whom they fed.
    fn kill_parents(&mut self, turn: usize, count: usize) -> (Instant, Vec<String>) {
        let source = self.source.udp.to_string();
        let turned = (0..self.members.len()).map(|i| (i + turn) % self.members.len());
        let mut parents = turned
            .map(|i| self.members[i].parents(&source))
            .find(|parents| parents.len() >= count)
            .expect("somebody is fed by others");
        parents.truncate(count);
        let (mut struck, left): (Vec<Member>, Vec<Member>) = std::mem::take(&mut self.members)
            .into_iter()
            .partition(|member| parents.contains(&member.node.udp.to_string()));
        self.members = left;
        let fed = struck
            .iter()
            .flat_map(|member| peers(&member.node.status(), "stripes_to"))
            .map(|(_, address)| address)
            .collect();
        let killed = Instant::now();
        for member in &mut struck {
            member.node.child.kill().expect("it ran");
        }
        (killed, fed)
    }
}

/// A player over HTTP that checks what it hears and notes when it came.
struct Player(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    /// When so many bytes in all were there.
    came: Vec<(Instant, u64)>,
    check: Check,
}

impl Player {
    fn of(node: &Node, uri: &str) -> Self {
        let key = uri.rsplit('/').next().expect("a key");
        let mut stream = TcpStream::connect(node.http).expect("a page");
        let request = format!("GET /streams/{key} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let heard = Arc::<Mutex<Heard>>::default();
        let shared = heard.clone();
        thread::spawn(move || listen(stream, &shared));
        Self(heard)
    }

    fn plays(&self) -> bool {
        let burst = BPS / 8 * BURST.as_secs();
        let heard = self.0.lock().expect("no panic");
        heard
            .came
            .last()
            .is_some_and(|(_, total)| *total > 2 * burst)
    }

    fn is_exact(&self) -> bool {
        !self.0.lock().expect("no panic").check.wrong
    }

    /// The longest pause of the output since then; and for how long one that had a burst in hand then, and plays at the stream's
    /// rate, had nothing to play.
    fn pause(&self, since: Instant) -> (Duration, Duration) {
        let heard = self.0.lock().expect("no panic");
        let first = heard.came.partition_point(|(at, _)| *at < since);
        let mut total = first.checked_sub(1).map_or(0, |i| heard.came[i].1);
        let (mut at, mut in_hand) = (since, BURST.as_secs_f64());
        let (mut raw, mut stalled) = (Duration::ZERO, 0.0);
        let now = (Instant::now(), heard.came.last().map_or(0, |last| last.1));
        for &(then, bytes) in heard.came[first..].iter().chain([&now]) {
            let passed = then - at;
            raw = raw.max(passed);
            stalled += (passed.as_secs_f64() - in_hand).max(0.0);
            in_hand = (in_hand - passed.as_secs_f64()).max(0.0);
            in_hand += (bytes - total) as f64 * 8.0 / BPS as f64;
            (at, total) = (then, bytes);
        }
        (raw, Duration::from_secs_f64(stalled))
    }
}

fn listen(mut stream: TcpStream, heard: &Mutex<Heard>) {
    let mut buf = [0; 16_384];
    let mut head = Vec::new();
    let mut total = 0;
    while let Ok(n @ 1..) = stream.read(&mut buf) {
        let mut media = &buf[..n];
        if total == 0 {
            head.extend_from_slice(media);
            let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            media = &head[end + 4..];
        }
        if media.is_empty() {
            continue;
        }
        total += media.len() as u64;
        let mut heard = heard.lock().expect("no panic");
        heard.came.push((Instant::now(), total));
        heard.check.hear(media);
    }
}

/// The programme: numbers that count up, so that a player knows at any place what must come next.
fn cell(number: u64) -> [u8; 8] {
    // An odd factor: every number has a cell of its own.
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// The factor's inverse modulo 2^64.
const INVERSE: u64 = 0xf1de_83e1_9937_733d;

fn number(cell: [u8; 8]) -> u64 {
    u64::from_be_bytes(cell).wrapping_mul(INVERSE)
}

fn feed(mut pipe: std::process::ChildStdin) {
    let begin = Instant::now();
    let mut fed = 0;
    loop {
        let due = begin.elapsed().as_millis() as u64 * BPS / 64_000;
        let cells: Vec<u8> = (fed..due).flat_map(cell).collect();
        if pipe.write_all(&cells).is_err() {
            return;
        }
        fed = due;
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether what is heard is the programme, without a hole.
#[derive(Default)]
struct Check {
    /// Position of the next byte.
    next: Option<u64>,
    begin: Vec<u8>,
    wrong: bool,
}

impl Check {
    fn hear(&mut self, media: &[u8]) {
        let Some(next) = self.next.as_mut() else {
            self.begin.extend_from_slice(media);
            return self.find_place();
        };
        for &byte in media {
            self.wrong |= cell(*next / 8)[(*next % 8) as usize] != byte;
            *next += 1;
        }
    }

    fn find_place(&mut self) {
        if self.begin.len() < 64 {
            return;
        }
        let begin = std::mem::take(&mut self.begin);
        let at = |i: usize| number(begin[i..i + 8].try_into().expect("eight"));
        let place = (0..8).find(|&i| at(i).wrapping_add(1) == at(i + 8));
        self.wrong |= place.is_none();
        let place = place.unwrap_or(0);
        self.next = Some(at(place).wrapping_mul(8).wrapping_sub(place as u64));
        self.hear(&begin);
    }
}
